//! OpenAI's Responses API in its own words: requests, answers, streams and errors, read into and written from
//! [`crate::chat`]. What the API keeps between calls (`previous_response_id`, conversations, stored prompts, items by
//! reference) is not looked up here: it is known to its own provider alone and is refused by name everywhere else.
//! Sources: <https://developers.openai.com/api/reference/resources/responses>,
//! <https://developers.openai.com/api/reference/resources/responses/streaming-events>, and the types of OpenAI's Python
//! library 3.57.0 (2026-11-26).

pub(crate) mod answer;
mod content;
mod output;
pub(crate) mod request;
pub(crate) mod stream;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use super::{ErrorShape, openai};

/// `event: error` and its data. The reference has code and message beside the type; the servers put them into an `error`
/// as well, by which the client libraries raise an exception instead of handing the event to a caller who may not look.
pub(super) fn error_event(error: &ErrorShape) -> Vec<u8> {
    let mut data = json!({
        "type": "error",
        "sequence_number": 0,
        "code": error.code,
        "message": error.message,
        "param": error.param,
        "error": {
            "type": openai::error_type(error.kind),
            "code": error.code,
            "message": error.message,
            "param": error.param,
        },
    });
    if !error.interaction_id.is_empty() {
        data["error"]["interaction_id"] = Value::from(error.interaction_id.as_str());
    }
    let mut event = Vec::new();
    write_event("error", &data, &mut event);
    event
}

/// Writes one event of a stream: every one has its name on the `event:` line as well as in its data.
fn write_event(name: &str, data: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    out.extend_from_slice(data.to_string().as_bytes());
    out.extend_from_slice(b"\n\n");
}
