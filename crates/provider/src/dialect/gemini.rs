//! Google's Gemini API in its own words. SKELETON: to be written.
pub(crate) mod answer;
pub(crate) mod request;
pub(crate) mod stream;

use super::{ErrorShape, ModelEntry};

pub(super) fn error_body(_error: &ErrorShape) -> Vec<u8> {
    Vec::new()
}

pub(super) fn models_list(_models: &[ModelEntry]) -> Vec<u8> {
    Vec::new()
}
