//! `/api/v1/integrity`: the state of the log and of its proof.

use axum::Json;
use axum::extract::State;

use crate::error::ConsoleError;
use crate::integrity::{IntegrityStatus, VerificationView};
use crate::state::ConsoleState;

/// How the log stands.
pub async fn show(State(state): State<ConsoleState>) -> Json<IntegrityStatus> {
    Json(state.integrity.status())
}

/// Verifies the whole lake.
///
/// # Errors
/// `verification_impossible` if the lake could not be read.
pub async fn verify(State(state): State<ConsoleState>) -> Result<Json<VerificationView>, ConsoleError> {
    state.integrity.verify().await.map(Json).map_err(|why| ConsoleError::NotVerified { why })
}
