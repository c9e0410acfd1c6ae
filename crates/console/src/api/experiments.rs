//! `GET /api/v1/experiments`.

use axum::Json;
use axum::extract::State;
use tollgate_analytics::report::Experiments;

use crate::error::ConsoleError;
use crate::params::Params;
use crate::range::Range;
use crate::state::ConsoleState;

/// Every experiment of a range.
///
/// # Errors
/// `parameter_invalid` for an unknown range; a report error if the log could not be read.
pub async fn show(State(state): State<ConsoleState>, params: Params) -> Result<Json<Experiments>, ConsoleError> {
    let span = params.span(Range::Month, state.now_us())?;
    Ok(Json(state.ledger.experiments(span).await?))
}
