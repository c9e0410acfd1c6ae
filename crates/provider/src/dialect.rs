//! What the callers' wire formats have in common: the head of a request, and answers the gateway writes itself. Each
//! format's own words are in its module. Nothing here translates one format into another.

pub mod anthropic;
pub mod bedrock;
mod endpoint;
pub mod gemini;
mod head;
mod model_of;
mod multipart;
mod needs;
pub mod openai;
pub mod responses;
pub(crate) mod splice;
mod usage_filter;

use tollgate_interaction::Dialect;

pub use endpoint::{Endpoint, unescape};
pub(crate) use head::asks_for_usage;
pub use head::{RequestError, RequestHead, parse, parse_head, parse_head_at};
pub use model_of::model_of;
pub(crate) use multipart::{form_file, form_texts};
pub use needs::{CAPABILITIES, needs};
pub use splice::{for_vertex, for_vertex_count, forwarded, with_model};
pub use usage_filter::UsageFilter;

/// What a caller should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Fix the request.
    Invalid,
    /// The key is missing, unknown, revoked or expired.
    Unauthenticated,
    /// Ask for permission.
    Denied,
    /// There is no such model or path.
    NotFound,
    /// The body is larger than allowed.
    TooLarge,
    /// Wait, then retry.
    Throttled,
    /// Pay, or have the limit raised; to wait does not help.
    Spent,
    /// Retry: the way to the provider is broken.
    Unavailable,
    /// Retry later: the provider is out of capacity.
    Overloaded,
    /// Retry: the provider took too long.
    Late,
    /// Retry, and report the interaction id if it stays: something failed inside.
    Internal,
}

/// An error in the gateway's own terms, to be written in the caller's dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorShape {
    /// Stable code, such as `budget_exceeded`.
    pub code: String,
    /// One sentence that names the object and says what to do.
    pub message: String,
    /// Path of the field of the request that is at fault, where it is one.
    pub param: Option<String>,
    /// What the caller should do about it.
    pub kind: ErrorKind,
    /// Status the response carries; inside a stream, the one it would have carried.
    pub http_status: u16,
    /// The call it belongs to, as text; empty if there is none.
    pub interaction_id: String,
}

/// One model a caller may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelEntry {
    /// What goes into a request's `model`.
    pub id: String,
    /// Who serves it: the provider's name, or `tollgate` for an alias.
    pub owned_by: String,
    /// Seconds since 1970; zero if unknown.
    pub created_at_s: i64,
}

/// The error as the caller's client library expects a response body.
#[must_use]
pub fn error_body(dialect: Dialect, error: &ErrorShape) -> Vec<u8> {
    match dialect {
        Dialect::Openai | Dialect::Responses => openai::error_body(error),
        Dialect::Anthropic => anthropic::error_body(error),
        Dialect::Gemini => gemini::error_body(error),
        Dialect::Bedrock => bedrock::error_body(error),
    }
}

/// The error as an event inside a stream that has begun, blank line included.
#[must_use]
pub fn error_event(dialect: Dialect, error: &ErrorShape) -> Vec<u8> {
    let body = error_body(dialect, error);
    match dialect {
        Dialect::Openai | Dialect::Gemini => [b"data: ", body.as_slice(), b"\n\n"].concat(),
        Dialect::Anthropic => [b"event: error\ndata: ", body.as_slice(), b"\n\n"].concat(),
        Dialect::Responses => responses::error_event(error),
        Dialect::Bedrock => bedrock::error_event(error),
    }
}

/// The error as the last item of a stream that is one JSON array (Gemini's, where the caller wants no events).
/// `is_first` says whether nothing of the array has been sent.
#[must_use]
pub fn error_item(error: &ErrorShape, is_first: bool) -> Vec<u8> {
    [gemini::array::opening(is_first), &gemini::error_body(error), gemini::array::CLOSING].concat()
}

/// The list of models, as the caller's client library expects it.
#[must_use]
pub fn models_list(dialect: Dialect, models: &[ModelEntry]) -> Vec<u8> {
    match dialect {
        Dialect::Openai | Dialect::Responses | Dialect::Bedrock => openai::models_list(models),
        Dialect::Anthropic => anthropic::models_list(models),
        Dialect::Gemini => gemini::models_list(models),
    }
}
