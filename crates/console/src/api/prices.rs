//! `POST /api/v1/prices/reprice` and, for sidecars, `GET /api/v1/control/prices`.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;

use crate::access::Reader;
use crate::error::ConsoleError;
use crate::params::parse_time_us;
use crate::prices::{RepriceMode, RepriceOrder, Repricing};
use crate::state::ConsoleState;

const BODY_HINT: &str = "Send `{\"from\": \"2026-11-01\", \"to\": \"2026-12-01\", \"mode\": \"dry_run\"}`; with the mode \
                         `append`, a `reason` too.";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    from: String,
    to: String,
    mode: RepriceMode,
    #[serde(default)]
    reason: String,
}

/// Prices recorded calls by today's catalogue; what is another becomes a correction, if that is asked for.
///
/// # Errors
/// `parameter_invalid` if the body cannot be used; `repricing_failed` if the log cannot be read or takes no corrections.
pub async fn reprice(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    body: Bytes,
) -> Result<Json<Repricing>, ConsoleError> {
    let invalid = |message: String| ConsoleError::Invalid { message, hint: BODY_HINT };
    let asked: Asked = serde_json::from_slice(&body)
        .map_err(|error| invalid(format!("the body does not say what to price again: {error}")))?;
    let moment = |name: &str, text: &str| {
        parse_time_us(text).ok_or_else(|| invalid(format!("`{text}` is not a usable `{name}`")))
    };
    let (from_us, to_us) = (moment("from", &asked.from)?, moment("to", &asked.to)?);
    if from_us >= to_us {
        return Err(invalid(format!("`{}` is not a usable `to`: it must be after `from`", asked.to)));
    }
    let reason = asked.reason.trim().to_owned();
    if asked.mode == RepriceMode::Append && reason.is_empty() {
        return Err(invalid("corrections need a `reason`, which is recorded with them".to_owned()));
    }
    let order = RepriceOrder { from_us, to_us, mode: asked.mode, reason, actor: reader.author };
    state.prices.reprice(order).await.map(Json).map_err(|why| ConsoleError::NotRepriced { why })
}

/// The price update in force; nothing while the prices that come with the program are.
///
/// # Errors
/// `internal_error` if it cannot be read.
pub async fn update(State(state): State<ConsoleState>) -> Result<Response, ConsoleError> {
    let unreadable =
        |why: String| ConsoleError::Internal { what: "the copy of the price catalogue", source: why.into() };
    let update = state.prices.update().map_err(unreadable)?.unwrap_or_default();
    Ok(([(header::CONTENT_TYPE, "application/json")], update).into_response())
}
