//! `GET /api/v1/cache` and `POST /api/v1/cache/purge`.

use axum::body::Bytes;
use axum::extract::State;
use axum::{Extension, Json};
use serde_json::Value;

use crate::access::Reader;
use crate::answers::{PurgeOrder, Purged};
use crate::error::ConsoleError;
use crate::state::ConsoleState;

const BODY_HINT: &str = "Send `{\"tenant\": \"acme\"}`, `{\"team\": \"core\"}`, `{\"subject\": \"USER_REF or KEY_ID\"}`, \
                         `{\"model\": \"assistant\"}`, `{\"interaction\": \"ID\"}`, several of them together, or `{\"all\": true}`.";

/// How the answers stand that are kept to be given again.
pub async fn show(State(state): State<ConsoleState>) -> Json<Value> {
    Json(state.answers.look())
}

/// Forgets answers.
///
/// # Errors
/// `parameter_invalid` if the body does not say which; `purge_failed` if the store cannot be rewritten.
pub async fn purge(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    body: Bytes,
) -> Result<Json<Purged>, ConsoleError> {
    let invalid = |message: String| ConsoleError::Invalid { message, hint: BODY_HINT };
    let order: PurgeOrder = serde_json::from_slice(&body)
        .map_err(|error| invalid(format!("the body does not say which answers to forget: {error}")))?;
    if order.names_some() == order.all {
        return Err(invalid("the body says either which answers to forget, or `all`".to_owned()));
    }
    let purged = state.answers.purge(PurgeOrder { actor: reader.author, ..order }).await;
    purged.map(|answers| Json(Purged { answers })).map_err(|why| ConsoleError::NotPurged { why })
}
