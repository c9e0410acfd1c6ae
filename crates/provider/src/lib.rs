//! Speaks every provider's wire format without touching a socket: reads the head of a request, splices what policy
//! changes, decodes a stream, says what a response reports, prices it, and plays a provider in the sandbox. This crate
//! does no I/O, reads no clock and draws no randomness: bytes come in, bytes and facts go out.

pub mod aws;
pub mod canonical;
pub mod chat;
pub mod dialect;
pub mod eventstream;
pub mod failure;
mod framing;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod observe;
pub mod preset;
pub mod price;
pub mod realtime;
pub mod sandbox;
mod scan;
pub mod served;
pub mod sse;
pub mod texts;
pub mod tokens;
pub mod transcript;
pub mod translate;
mod usage;
pub mod websocket;

pub use dialect::{ErrorKind, ErrorShape, ModelEntry, RequestError, RequestHead, UsageFilter};
pub use observe::{Observation, Observer, StreamError};
pub use price::{Catalog, PriceError, Priced};
