//! What governance found out about one call while it was made: what guards saw, what budgets, limits and targets stood at
//! when the decision was taken. A decision can be taken again from these, and from nothing that has gone since.

use minicbor::{Decode, Encode};

use crate::money::Usd;
use crate::outcome::{GuardAction, GuardOutcome, GuardPhase};
use crate::share::Share;

/// What one guard said of one text, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, serde::Serialize, serde::Deserialize)]
#[cbor(map)]
pub struct GuardVerdict {
    /// The detector, such as `pii.iban`.
    #[n(0)]
    pub guard: String,
    /// Id of the rule in the policy bundle that had it run.
    #[n(1)]
    pub rule: String,
    /// On which text.
    #[n(2)]
    pub phase: GuardPhase,
    /// What it found.
    #[n(3)]
    pub verdict: GuardOutcome,
    /// What was done.
    #[n(4)]
    pub action: GuardAction,
    /// How often it matched.
    #[n(5)]
    pub matches: u32,
    /// How long it took.
    #[n(6)]
    pub duration_us: u64,
    /// One sentence for a person; never what was matched.
    #[n(7)]
    pub detail: Option<String>,
}

/// What a budget stood at when it was asked, this call not included.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, serde::Serialize, serde::Deserialize)]
#[cbor(map)]
pub struct BudgetReading {
    /// Id of the budget in the policy bundle.
    #[n(0)]
    pub budget: String,
    /// Whose share of it: `team=kyc`, or what else the budget is kept by.
    #[n(1)]
    pub scope: String,
    /// Spent in its window, calls in flight not included.
    #[n(2)]
    pub spent_usd: Usd,
    /// Held for calls in flight.
    #[n(3)]
    pub reserved_usd: Usd,
    /// Age of the signals snapshot underneath, in seconds; `None` if the spend was not known.
    #[n(4)]
    pub age_s: Option<u64>,
}

/// What a limit on calls, tokens, cost or concurrency stood at when it was asked, this call not included.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, serde::Serialize, serde::Deserialize)]
#[cbor(map)]
pub struct LimitReading {
    /// Id of the limit in the policy bundle.
    #[n(0)]
    pub limit: String,
    /// Whose share of it, as in [`BudgetReading::scope`].
    #[n(1)]
    pub scope: String,
    /// Used in its window, in the limit's own unit: calls, tokens, calls in flight, 10⁻⁶ dollars.
    #[n(2)]
    pub used: u64,
}

/// What a target stood at when a route had to choose.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, serde::Serialize, serde::Deserialize)]
#[cbor(map)]
pub struct TargetReading {
    /// Provider's name in the configuration.
    #[n(0)]
    pub provider: String,
    /// Model at that provider.
    #[n(1)]
    pub model: String,
    /// State of its circuit breaker, such as `closed`, `open`, `half_open`.
    #[n(2)]
    pub health: String,
    /// Expected latency under its present load, if the route went by it. Microseconds.
    #[n(3)]
    pub load_us: Option<u64>,
    /// What the call would cost there by the catalogue in force, if the route went by it.
    #[n(4)]
    pub estimate_usd: Option<Usd>,
    /// Lower confidence bound of its quality, if the route went by it.
    #[n(5)]
    pub quality_lower: Option<Share>,
}
