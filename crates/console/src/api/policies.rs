//! `GET /api/v1/policies` and `POST /api/v1/policies/simulate`.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use serde::Serialize;
use tollgate_analytics::report::TimeRange;
use tollgate_metastore::BundleRevision;

use crate::access::Reader;
use crate::access_log::purpose;
use crate::error::ConsoleError;
use crate::params::{Params, parse_time_us};
use crate::simulation::{Simulation, SimulationRequest, simulate};
use crate::state::ConsoleState;

const BODY_HINT: &str = "Send `{\"bundle\": \"apiVersion: …\", \"from\": \"2026-11-01\", \"to\": \"2026-12-01\", \
                         \"limits\": {\"max_denials\": 10000}}`; shares are in parts per million.";

/// The bundles that were put in force.
#[derive(Debug, Serialize)]
pub struct Policies {
    /// The active bundle, as it was written.
    pub active: String,
    /// Newest first; none while the built-in bundle is active.
    pub revisions: Vec<BundleRevision>,
}

/// The active bundle and those before it.
///
/// # Errors
/// A metastore error.
pub async fn show(State(state): State<ConsoleState>) -> Result<Json<Policies>, ConsoleError> {
    let document = state.metastore.control_document().await?;
    let revisions = state.metastore.list_bundles().await?;
    Ok(Json(Policies { active: document.bundle_yaml, revisions }))
}

/// Tries a bundle on calls of the past.
///
/// # Errors
/// `parameter_invalid` if the body or the bundle cannot be used; a report error if the log could not be read.
pub async fn try_out(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Simulation>, ConsoleError> {
    let invalid = |message: String| ConsoleError::Invalid { message, hint: BODY_HINT };
    let asked: SimulationRequest = serde_json::from_slice(&body)
        .map_err(|error| invalid(format!("the body does not say what to try: {error}")))?;
    let moment = |name: &str, text: &str| {
        parse_time_us(text).ok_or_else(|| invalid(format!("`{text}` is not a usable `{name}`")))
    };
    let range = TimeRange::new(moment("from", &asked.from)?, moment("to", &asked.to)?);
    if range.length_us() == 0 {
        return Err(invalid(format!("`{}` is not a usable `to`: it must be after `from`", asked.to)));
    }
    let asker = (&reader, purpose(&headers, &Params::default()));
    simulate(&state, asker, &asked.bundle, range, asked.decided_by, &asked.limits).await.map(Json)
}
