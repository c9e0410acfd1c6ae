//! A provider that is not there.

use bytes::Bytes;
use tollgate_interaction::{Dialect, Operation};

/// How the sandbox behaves for one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Before the first byte of the answer. Milliseconds.
    pub ttft_ms: u64,
    /// Between two chunks of a stream. Milliseconds.
    pub inter_chunk_ms: u64,
    /// Tokens the answer has; `None` lets the prompt decide. A limit in the request still holds.
    pub output_tokens: Option<u64>,
    /// Tokens in each chunk of a stream, at least one.
    pub chunk_tokens: u64,
    /// Goes into `created`. Seconds since 1970.
    pub created_at_s: i64,
}
/// An answer and its timing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxReply {
    /// HTTP status.
    pub status: u16,
    /// Headers, `content-type` among them; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, in pieces, each with the milliseconds to wait before it is sent.
    pub frames: Vec<(u64, Bytes)>,
}
