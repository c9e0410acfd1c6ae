//! The result of a back-test.

use serde::{Deserialize, Serialize};
use tollgate_interaction::Usd;

use crate::report::{AsOf, TimeRange};

/// What a proposed bundle would have decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BacktestReport {
    /// SHA-256 of the proposed bundle.
    pub bundle_hash: String,
    /// What it calls itself.
    pub bundle_name: String,
    /// Its version, if it has one.
    pub bundle_version: Option<String>,
    /// Starts of the calls.
    pub range: TimeRange,
    /// The bundle whose decisions alone were looked at, if not all were.
    pub decided_by: Option<String>,
    /// Whether all of them were decided by the proposed bundle itself: then budgets stand at what the log says they did,
    /// else at what they would have.
    pub is_exact: bool,
    /// Calls put to the bundle.
    pub replayed: u64,
    /// Calls that no bundle had decided.
    pub undecided: u64,
    /// Calls that had been denied for what no bundle has a say in, such as a key that had ended.
    pub kept: u64,
    /// Of the replayed calls, those the proposed bundle itself had decided.
    pub own: u64,
    /// Of those, such as are decided the same again, by the same rules.
    pub own_agreed: u64,
    /// What became of the calls, in the order of [`Change::ALL`].
    pub decisions: Vec<DecisionCount>,
    /// By rule that did or would deny.
    pub denials: Vec<DenialCount>,
    /// By team.
    pub teams: Vec<TeamCount>,
    /// Targets that calls would have gone to instead, most calls first.
    pub routes: Vec<RouteCount>,
    /// Calls that were served where the proposed bundle would not have let them go, by its rule.
    pub violations: Vec<(String, u64)>,
    /// What it would have cost.
    pub cost: CostChange,
    /// How long it would have taken.
    pub latency: LatencyChange,
    /// Calls to look at, of each kind of change.
    pub sample: Vec<SampleRow>,
    /// What it was read from.
    pub as_of: AsOf,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Nothing else.
    #[default]
    Same,
    /// It would be denied.
    Denied,
    /// It was denied and would not be.
    Allowed,
    /// It was denied and would be, by another rule.
    OtherRule,
    /// It would go to another target first.
    Rerouted,
}

impl Change {
    /// All of them.
    pub const ALL: [Change; 5] = [Change::Same, Change::Denied, Change::Allowed, Change::OtherRule, Change::Rerouted];
}

/// How many calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionCount {
    /// What becomes of them.
    pub change: Change,
    /// How many.
    pub calls: u64,
}

/// Denials by one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenialCount {
    /// Its id.
    pub rule: String,
    /// Calls it did deny.
    pub before: u64,
    /// Calls it would deny.
    pub after: u64,
}

/// One team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamCount {
    /// Its name.
    pub team: String,
    /// Its calls.
    pub calls: u64,
    /// Those that were denied.
    pub denied_before: u64,
    /// Those that would be.
    pub denied_after: u64,
    /// What they cost.
    pub cost_before: Usd,
    /// What they would cost: an estimate.
    pub cost_after: Usd,
}

/// Calls that would go from one target to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteCount {
    /// Where they went first.
    pub from: String,
    /// Where they would go first.
    pub to: String,
    /// How many.
    pub calls: u64,
}

/// Cost before and after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostChange {
    /// Known cost of the replayed calls.
    pub logged_usd: Usd,
    /// What they would cost: an estimate, as far as calls go elsewhere. A cost that is not known is taken to stay.
    pub would_usd: Usd,
    /// Calls whose cost is estimated.
    pub estimated: u64,
    /// Calls whose cost is not known: as it was, although they used something, or where they go.
    pub unknown: u64,
}

/// Latency before and after, of calls that are neither denied before nor after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyChange {
    /// Calls of which both are known.
    pub calls: u64,
    /// Calls that go to a target that answered none in the period.
    pub unknown: u64,
    /// Mean of what they took.
    pub logged_mean_us: Option<u64>,
    /// Mean of what they would take: of calls that go elsewhere, the median of their new target in the period.
    pub would_mean_us: Option<u64>,
}

/// One call to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SampleRow {
    /// What chose it: a number that depends on its id alone.
    #[serde(skip)]
    pub(super) order: u64,
    /// Its id.
    pub interaction_id: String,
    /// When it started. Microseconds since 1970, UTC.
    pub started_at_us: i64,
    /// Its team.
    pub team: String,
    /// The model it asked for.
    pub model: String,
    /// What becomes of it.
    pub change: Change,
    /// The rule that did deny it.
    pub rule_before: Option<String>,
    /// The rule that would.
    pub rule_after: Option<String>,
    /// Where it went first.
    pub target_before: Option<String>,
    /// Where it would go first.
    pub target_after: Option<String>,
    /// What it cost.
    pub cost_before: Option<Usd>,
    /// What it would cost.
    pub cost_after: Option<Usd>,
    /// Why.
    pub why: String,
}

impl BacktestReport {
    /// Calls that this becomes of.
    #[must_use]
    pub fn calls(&self, change: Change) -> u64 {
        self.decisions.iter().filter(|count| count.change == change).map(|count| count.calls).sum()
    }

    /// Calls served where the bundle would not have let them go.
    #[must_use]
    pub fn violations(&self) -> u64 {
        self.violations.iter().map(|(_, calls)| calls).sum()
    }
}
