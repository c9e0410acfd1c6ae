//! OpenAI's Responses API in its own words. SKELETON: to be written.
pub(crate) mod answer;
pub(crate) mod request;
pub(crate) mod stream;

use super::ErrorShape;

/// `event: error` and its data.
pub(super) fn error_event(_error: &ErrorShape) -> Vec<u8> {
    Vec::new()
}
