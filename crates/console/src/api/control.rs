//! `GET /api/v1/control`: what a sidecar needs to decide on its own, keys as hashes, the policy bundle, and what the log
//! showed last. Nothing in it is a secret that a caller could use.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tollgate_policy::control::ControlDocument;
use tollgate_policy::signals::SignalsSnapshot;

use crate::error::ConsoleError;
use crate::state::ConsoleState;

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct ControlAnswer {
    /// Keys and policy.
    pub control: ControlDocument,
    /// Spend, latency and errors; `None` until they were computed for the first time.
    pub signals: Option<Arc<SignalsSnapshot>>,
    /// Names the price update in force, which `/api/v1/control/prices` gives; `builtin` while there is none.
    pub prices: String,
}

/// Keys, policy and signals as of now.
///
/// # Errors
/// `metastore_unavailable` if the control plane does not answer.
pub async fn show(State(state): State<ConsoleState>) -> Result<Json<ControlAnswer>, ConsoleError> {
    let control = state.metastore.control_document().await?;
    let (signals, prices) = (state.instruments.signals(), state.prices.update_id());
    Ok(Json(ControlAnswer { control, signals, prices }))
}
