//! How routing stands at a gateway, to be looked at: every route with its targets, what they cost, how they are doing, and
//! what the log says of them. A gateway fills it in; pages and the API show it.

use serde::{Deserialize, Serialize};
use tollgate_interaction::{Share, Usd};

use super::Strategy;
use super::look::{ExperimentLook, PlacesLook, WhenLook};

/// Routing, as of a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelsSnapshot {
    /// When it was looked at. Microseconds since 1970, UTC.
    pub at_us: i64,
    /// Age of the signals in milliseconds; `None` if there never were any.
    pub signals_age_ms: Option<u64>,
    /// Id of the signals snapshot.
    pub signals_id: Option<String>,
    /// Hash of the bundle in force.
    pub bundle_hash: String,
    /// Routes of the bundle first, in its order; then the aliases of the configuration, the models that providers list, and
    /// those that callers named themselves and that were called.
    pub routes: Vec<RouteLook>,
    /// Experiments of the bundle, in its order: they divide the calls of an alias before its routes do.
    #[serde(default)]
    pub experiments: Vec<ExperimentLook>,
}

/// One way a call can take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteLook {
    /// What callers write as the model.
    pub alias: String,
    /// Route of the bundle, if it is one.
    pub rule: Option<String>,
    /// Which calls take it; `None` if all do.
    #[serde(default)]
    pub when: Option<WhenLook>,
    /// How its targets are ordered.
    pub strategy: Strategy,
    /// Where a share of its calls is copied to, and the share in millionths.
    pub shadow: Option<(String, u32)>,
    /// When a second attempt is made: `p95` or a time.
    pub hedge_after: Option<String>,
    /// Targets that the bundle names and nobody here serves.
    pub unknown: Vec<String>,
    /// Its targets, in the order they are written.
    pub targets: Vec<TargetLook>,
}

/// One target of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetLook {
    /// Provider, as configured.
    pub provider: String,
    /// Its model.
    pub model: String,
    /// Part of the calls that starts here, for a weighted route.
    pub weight: u32,
    /// How it is doing in this process.
    pub health: TargetHealth,
    /// Attempts in the log in the last quarter of an hour.
    pub calls: u64,
    /// Of those, attempts that failed at the target.
    pub errors: u64,
    /// Median latency of them in milliseconds, rounded up.
    pub p50_ms: Option<u64>,
    /// 95th percentile of it in milliseconds, rounded up.
    pub p95_ms: Option<u64>,
    /// Median latency of them in microseconds.
    #[serde(default)]
    pub p50_us: Option<u64>,
    /// 95th percentile of it in microseconds.
    #[serde(default)]
    pub p95_us: Option<u64>,
    /// Dollars per million input tokens.
    pub input_price: Option<Usd>,
    /// Dollars per million output tokens.
    pub output_price: Option<Usd>,
    /// Mean of what its answers were judged, as a share: a score of −1 is nothing and one of 1 is all.
    pub quality_mean: Option<Share>,
    /// Its lower confidence bound, which routing goes by.
    pub quality_lower: Option<Share>,
    /// Feedback it rests on.
    pub quality_n: u64,
    /// Region it is served in.
    pub region: Option<String>,
    /// The places that its calls touch, as far as the configuration tells them.
    #[serde(default)]
    pub places: PlacesLook,
    /// Tokens it reads at most.
    pub context_tokens: Option<u32>,
}

/// Why a target rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestReason {
    /// Too many of the last calls failed, in a row or in part.
    Failures,
    /// It refused the gateway's credentials.
    Credentials,
    /// It asked to be left alone.
    Throttled,
}

/// Where a circuit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CircuitState {
    /// Calls go through.
    Closed,
    /// Calls go elsewhere.
    Open,
    /// One call may try, or is trying.
    HalfOpen,
}

/// The health of one target, to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetHealth {
    /// Where its circuit stands.
    pub circuit: CircuitState,
    /// Why it rests, if it does.
    pub resting_because: Option<RestReason>,
    /// Until when, if it does. Microseconds since 1970, UTC.
    pub resting_until_us: Option<i64>,
    /// Calls that it is answering now.
    pub in_flight: u32,
    /// Attempts in the breaker's window.
    pub window_calls: u32,
    /// Of those, attempts that failed.
    pub window_errors: u32,
    /// Moving average of the time to the head of an answer, in microseconds; `None` if nothing was measured.
    pub latency_us: Option<u64>,
}

impl RestReason {
    /// Why-not of a candidate.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            RestReason::Failures => "resting_after_failures",
            RestReason::Credentials => "resting_after_refused_credentials",
            RestReason::Throttled => "resting_until_retry_after",
        }
    }
}

impl TargetLook {
    /// `provider/model`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.provider, self.model)
    }
}
