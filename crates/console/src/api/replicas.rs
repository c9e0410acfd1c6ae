//! `POST /api/v1/leases` and `POST /api/v1/control/report`: what sidecars ask and tell beside downloading.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use serde::de::DeserializeOwned;
use tollgate_policy::ledger::lease::{LeaseAnswer, LeaseRequest};

use crate::error::{ConsoleError, own};
use crate::replicas::{NotLent, SidecarReport};
use crate::state::ConsoleState;

/// A gateway that opens a session names every account that it holds a slice of.
const MAX_LEASE_BYTES: usize = 64 << 20;
const MAX_REPORT_BYTES: usize = 64 << 10;

/// One exchange about slices of budgets.
///
/// # Errors
/// `lease_session_unknown` if the gateway has to open another session; `lease_refused` if this process lends nothing.
pub async fn lend(State(state): State<ConsoleState>, body: Body) -> Result<Json<LeaseAnswer>, ConsoleError> {
    let request: LeaseRequest = read(body, MAX_LEASE_BYTES).await?;
    match state.replicas.lend(&request) {
        Ok(answer) => Ok(Json(answer)),
        Err(NotLent::UnknownSession) => Err(ConsoleError::NoSuchSession { gateway: request.position }),
        Err(NotLent::Refused(why)) => Err(ConsoleError::NotLent { why }),
    }
}

/// Notes what a sidecar says of itself.
///
/// # Errors
/// `parameter_invalid` if it cannot be understood.
pub async fn report(State(state): State<ConsoleState>, body: Body) -> Result<axum::http::StatusCode, ConsoleError> {
    let report: SidecarReport = read(body, MAX_REPORT_BYTES).await?;
    state.replicas.note(report);
    Ok(own::NO_CONTENT)
}

async fn read<Asked: DeserializeOwned>(body: Body, limit_bytes: usize) -> Result<Asked, ConsoleError> {
    let bytes = to_bytes(body, limit_bytes).await.map_err(|_| ConsoleError::TooLarge { limit_bytes })?;
    serde_json::from_slice(&bytes).map_err(|error| ConsoleError::Invalid {
        message: format!("the body is not what a sidecar sends: {error}"),
        hint: "Sidecar and control plane should be of the same version.",
    })
}
