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
    /// Of those, such as are decided the same again, by the same rules, and go to the same target first.
    pub own_agreed: u64,
    /// Of the calls that the proposed bundle itself had decided, those that went to a target.
    pub own_routed: u64,
    /// Of those, such as go to the same target first, and are in the same arm.
    pub own_routes_agreed: u64,
    /// What became of the calls, in the order of [`Change::ALL`].
    pub decisions: Vec<DecisionCount>,
    /// By rule that did or would deny.
    pub denials: Vec<DenialCount>,
    /// By team.
    pub teams: Vec<TeamCount>,
    /// Targets that calls would have gone to instead, most calls first.
    pub routes: Vec<RouteCount>,
    /// How the routes of calls were found.
    pub routing: Routing,
    /// What guardrails would have found, if they were tried again.
    #[serde(default)]
    pub guardrails: Option<GuardReplay>,
    /// Arms of experiments that calls were in or would have been.
    pub arms: Vec<ArmCount>,
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

/// How the routes of the replayed calls were found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routing {
    /// Calls for which the bundle has a route or an experiment.
    pub planned: u64,
    /// Calls whose route was kept, since the choice rests on what the row does not tell.
    pub kept: Vec<(Unlogged, u64)>,
    /// Calls whose target is not known for that reason: the one they went to is not among those of the route.
    pub unknown: Vec<(Unlogged, u64)>,
    /// Calls for which a number was drawn anew, since none that was drawn then decides such a choice.
    pub drawn_anew: u64,
    /// Calls with targets that their rows do not speak of, which were taken to be ready.
    pub assumed_ready: u64,
    /// Calls routed by cost where that cost is by the prices in force now.
    pub priced_now: u64,
    /// Calls whose targets were taken from the row, since the configuration leads elsewhere now.
    pub has_drifted: u64,
    /// Names in the bundle that lead nowhere by the configuration as it is now.
    pub unknown_targets: Vec<String>,
}

/// Guardrails tried again on the texts of some calls, as the log has them. Both figures of a comparison are of the same calls:
/// those whose texts are kept as the guardrails of then read them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardReplay {
    /// Calls that were chosen, by their ids alone.
    pub chosen: u64,
    /// Of those, calls whose texts were looked at.
    pub looked_at: u64,
    /// Of those, calls of which no text is kept.
    pub without_texts: u64,
    /// Of those, calls for which a condition of a guardrail could not be evaluated.
    pub failed: u64,
    /// Of those, calls from whose texts something was taken out before they were kept, so that it cannot be found again.
    #[serde(default)]
    pub altered: u64,
    /// Of the calls looked at, those that a guardrail did block.
    pub blocked_before: u64,
    /// Those that one would block.
    pub blocked_after: u64,
    /// Those of which one would redact something. None did in any of them: such calls are among [`GuardReplay::altered`].
    pub redacted_after: u64,
    /// By rule that did or would find something.
    pub rules: Vec<GuardCount>,
    /// Whether rules of the bundle ask services, which were not asked again.
    pub asks_services: bool,
}

impl GuardReplay {
    /// How far it reaches, for people.
    #[must_use]
    pub fn sentence(&self) -> String {
        let GuardReplay { chosen, looked_at, without_texts, failed, altered, .. } = self;
        let mut left_out = Vec::new();
        for (count, what) in [
            (*without_texts, "have no texts that are kept"),
            (*altered, "had something taken out of their texts, which cannot be found again"),
            (*failed, "could not be evaluated"),
        ] {
            if count > 0 {
                left_out.push(format!("{count} {what}"));
            }
        }
        let left_out = if left_out.is_empty() { String::new() } else { format!(" ({})", left_out.join("; ")) };
        if *looked_at == 0 {
            return format!(
                "Guardrails were not replayed: of the {chosen} calls chosen, none has texts to try them on{left_out}"
            );
        }
        let services = if self.asks_services { "; services are not asked again" } else { "" };
        format!(
            "Guardrails were tried again on the texts of {looked_at} of the {chosen} calls chosen{left_out}: of these {looked_at} they \
             would block {} (did {}) and redact in {}. In all other calls what they did is left as it was{services}",
            self.blocked_after, self.blocked_before, self.redacted_after
        )
    }

    /// What there is to say in place of rules.
    #[must_use]
    pub fn nothing(&self) -> &'static str {
        match self.looked_at {
            0 => "Not replayed: no call that was chosen has texts to try guardrails on.",
            _ => "No guardrail found anything in these calls, then or now.",
        }
    }
}

/// Calls in which one guardrail finds what it looks for, of those looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardCount {
    /// Its id.
    pub rule: String,
    /// What it does about it.
    pub action: String,
    /// Calls in which it did find something.
    pub before: u64,
    /// Calls in which it would. Of no meaning if it asks a service.
    pub after: u64,
    /// Whether it asks a service in the proposed bundle, which was not asked again.
    #[serde(default)]
    pub asks_service: bool,
}

impl GuardCount {
    /// Calls in which it would find something; `None` if it was not replayed.
    #[must_use]
    pub fn would(&self) -> Option<u64> {
        (!self.asks_service).then_some(self.after)
    }
}

/// What a choice of target can rest on that a row does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unlogged {
    /// How busy and how quick a target was in the gateway's process.
    LiveHealth,
    /// Its median latency in the log.
    Latency,
    /// What its answers were judged.
    Quality,
    /// What its model stands for: nothing, by the configuration as it is now.
    Name,
}

impl Routing {
    /// What is to be known of how routes were found, a sentence each; none where every route was found from its row and the
    /// bundle alone.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let calls = |count: u64| if count == 1 { "1 call".to_owned() } else { format!("{count} calls") };
        let mut said = Vec::new();
        for (unlogged, count) in &self.kept {
            said.push(format!("{}: route kept as it was: {}", calls(*count), unlogged.sentence()));
        }
        for (unlogged, count) in &self.unknown {
            said.push(format!("{}: target not known: {}", calls(*count), unlogged.sentence()));
        }
        for (count, what) in [
            (self.drawn_anew, "a number was drawn anew for a choice by chance, since the row has none for it"),
            (self.assumed_ready, "targets that the row does not speak of were taken to be ready"),
            (self.priced_now, "routed by cost, at the prices in force now"),
            (self.has_drifted, "the configuration leads elsewhere now than it did; the targets of the row were taken"),
        ] {
            if count > 0 {
                said.push(format!("{}: {what}", calls(count)));
            }
        }
        if !self.unknown_targets.is_empty() {
            let names = self.unknown_targets.join("`, `");
            said.push(format!("the bundle names `{names}`, which the configuration does not serve"));
        }
        said
    }
}

impl Unlogged {
    /// For people.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Unlogged::LiveHealth => "chosen by live health, of which the row does not tell",
            Unlogged::Latency => "chosen by the latency of then, of which the row does not tell",
            Unlogged::Quality => "chosen by the quality of then, of which the row does not tell",
            Unlogged::Name => "its model stands for nothing by the configuration as it is now",
        }
    }
}

/// Calls in one arm of an experiment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArmCount {
    /// Its experiment.
    pub experiment: String,
    /// Its name.
    pub arm: String,
    /// Calls that were in it.
    pub before: u64,
    /// Calls that would be.
    pub after: u64,
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
    /// The arm it would be in, as `experiment/arm`.
    pub arm_after: Option<String>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_of_guardrails_says_on_how_many_calls_and_why_not_on_the_others() {
        let replay = GuardReplay {
            chosen: 200,
            looked_at: 157,
            without_texts: 12,
            altered: 31,
            blocked_before: 1,
            blocked_after: 4,
            redacted_after: 21,
            ..GuardReplay::default()
        };
        assert_eq!(
            replay.sentence(),
            "Guardrails were tried again on the texts of 157 of the 200 calls chosen (12 have no texts that are kept; 31 had \
             something taken out of their texts, which cannot be found again): of these 157 they would block 4 (did 1) and redact \
             in 21. In all other calls what they did is left as it was"
        );
        let none = GuardReplay { chosen: 3, without_texts: 3, ..GuardReplay::default() };
        assert!(
            none.sentence().starts_with("Guardrails were not replayed: of the 3 calls chosen"),
            "{}",
            none.sentence()
        );
        assert!(none.nothing().starts_with("Not replayed"));
    }

    #[test]
    fn a_rule_that_asks_a_service_is_not_said_to_find_nothing() {
        let count = GuardCount {
            rule: "moderation".to_owned(),
            action: "block".to_owned(),
            before: 3,
            after: 0,
            asks_service: true,
        };
        assert_eq!(count.would(), None);
        assert_eq!(GuardCount { asks_service: false, ..count }.would(), Some(0));
    }
}
