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

/// What a budget or a limit in US dollars stood at when it was asked, this call not included.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, serde::Serialize, serde::Deserialize)]
#[cbor(map)]
pub struct BudgetReading {
    /// Id of the budget or limit in the policy bundle.
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

/// What a limit or a budget in another unit than US dollars stood at when it was asked, this call not included.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, serde::Serialize, serde::Deserialize)]
#[cbor(map)]
pub struct LimitReading {
    /// Id of the limit or budget in the policy bundle.
    #[n(0)]
    pub limit: String,
    /// Whose share of it, as in [`BudgetReading::scope`].
    #[n(1)]
    pub scope: String,
    /// In what it is counted: `tokens`, `calls`, `concurrency`.
    #[n(2)]
    pub unit: String,
    /// Used in its window, calls in flight included.
    #[n(3)]
    pub used: u64,
    /// Age of the log's figures underneath, in seconds; `None` if the log had not been counted.
    #[n(4)]
    pub age_s: Option<u64>,
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
    /// Whether it was left alone for a while: `ready`, `failing`, `resting`.
    #[n(2)]
    pub health: String,
    /// Its weight in the route.
    #[n(3)]
    pub weight: u32,
    /// Whether it only stood by for the targets of an arm.
    #[n(4)]
    pub stands_by: bool,
    /// Measured latency times one more than the calls in flight, if it was known. Microseconds.
    #[n(5)]
    pub load_us: Option<u64>,
    /// Median latency in the log, if it was known.
    #[n(6)]
    pub p50_ms: Option<u64>,
    /// What the call was likely to cost there by the catalogue in force, if the price was known.
    #[n(7)]
    pub estimate_usd: Option<Usd>,
    /// Lower confidence bound of its quality, if it was known.
    #[n(8)]
    pub quality_lower: Option<Share>,
}
