//! `GET /api/v1/experiments`.

use axum::extract::State;
use axum::{Extension, Json};
use tollgate_analytics::report::Experiments;

use crate::access::Reader;
use crate::error::ConsoleError;
use crate::params::Params;
use crate::range::Range;
use crate::state::ConsoleState;

/// Every experiment of a range.
///
/// # Errors
/// `parameter_invalid` for an unknown range; a report error if the log could not be read.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    params: Params,
) -> Result<Json<Experiments>, ConsoleError> {
    let span = params.span(Range::Month, state.now_us())?;
    Ok(Json(reader.ledger(&state).experiments(span).await?))
}
