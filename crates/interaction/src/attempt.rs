//! What routing considered and what it tried.

use minicbor::{Decode, Encode};

use crate::money::Usd;

/// One upstream call made on behalf of an interaction.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, serde::Serialize, serde::Deserialize)]
#[cbor(map)]
pub struct Attempt {
    /// Provider's name in the configuration.
    #[n(0)]
    pub provider: String,
    /// Model asked of that provider.
    #[n(1)]
    pub model: String,
    /// HTTP status it answered with; `None` if it gave no answer.
    #[n(2)]
    pub http_status: Option<u16>,
    /// Stable class of what went wrong (`connect`, `timeout`, `reset`, `rate_limited`, `server_error`, …).
    #[n(3)]
    pub error_class: Option<String>,
    /// Microseconds since 1970, UTC.
    #[n(4)]
    pub started_at_us: i64,
    /// Until its last byte or its failure.
    #[n(5)]
    pub duration_us: u64,
    /// As the provider counted, if it did.
    #[n(6)]
    pub input_tokens: Option<u64>,
    /// As the provider counted, if it did.
    #[n(7)]
    pub output_tokens: Option<u64>,
    /// What it cost; `None` if the price or the usage is unknown.
    #[n(8)]
    pub cost_usd: Option<Usd>,
}

/// A target that routing looked at, in the order of preference it ended up in.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, serde::Serialize, serde::Deserialize)]
#[cbor(map)]
pub struct Candidate {
    /// Provider's name in the configuration.
    #[n(0)]
    pub provider: String,
    /// Model at that provider.
    #[n(1)]
    pub model: String,
    /// Why it was not used; `None` for a target that was tried or stood ready.
    #[n(2)]
    pub rejected_because: Option<String>,
}

/// One reason behind a decision.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, serde::Serialize, serde::Deserialize)]
#[cbor(map)]
pub struct Reason {
    /// Id of the rule in the policy bundle, or `builtin/…` for what no bundle can switch off.
    #[n(0)]
    pub rule: String,
    /// What the rule did: `allow`, `deny`, `prefer`.
    #[n(1)]
    pub effect: String,
    /// One sentence for a person, with the figures that decided.
    #[n(2)]
    pub detail: String,
}
