//! `GET /api/v1/overview`.

use axum::extract::State;
use axum::{Extension, Json};
use tollgate_analytics::report::{Bucket, Overview};

use crate::access::Reader;
use crate::error::ConsoleError;
use crate::params::Params;
use crate::range::Range;
use crate::state::ConsoleState;

/// What happened in a range, against the range before it.
///
/// # Errors
/// `parameter_invalid` for an unknown range; a report error if the log could not be read.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    params: Params,
) -> Result<Json<Overview>, ConsoleError> {
    let span = params.span(Range::Day, state.now_us())?;
    Ok(Json(reader.ledger(&state).overview(span, Bucket::fitting(span)).await?))
}
