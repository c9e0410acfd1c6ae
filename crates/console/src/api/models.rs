//! `GET /api/v1/models`.

use axum::Json;
use axum::extract::State;
use tollgate_policy::route::ModelsSnapshot;

use crate::error::ConsoleError;
use crate::state::ConsoleState;

/// Every route and how its targets are doing, as of now.
///
/// # Errors
/// `routing_unknown` if this process routes no calls.
pub async fn show(State(state): State<ConsoleState>) -> Result<Json<ModelsSnapshot>, ConsoleError> {
    state.instruments.routing().map(Json).ok_or(ConsoleError::NoRouting)
}
