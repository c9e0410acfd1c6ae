//! Amazon Bedrock's Converse API in its own words. SKELETON: to be written.
pub(crate) mod answer;
pub(crate) mod request;
pub(crate) mod stream;

use super::ErrorShape;

pub(super) fn error_body(_error: &ErrorShape) -> Vec<u8> {
    Vec::new()
}

/// An exception frame of the event stream.
pub(super) fn error_event(_error: &ErrorShape) -> Vec<u8> {
    Vec::new()
}
