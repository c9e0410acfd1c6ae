//! The facts of one row, borrowed from its columns.

use arrow::array::{Array, AsArray, Decimal128Array, Int64Array, StringArray};
use tollgate_interaction::{BudgetReading, GuardOutcome, GuardPhase, LimitReading, Share, Usage, Usd};
use tollgate_policy::route::{Rest, RestReason};

use super::rows::{Rows, millionths};

/// What the row of a call says that a guardrail stopped: the gateway's code.
const GUARDRAIL_BLOCKED: &str = "guardrail_blocked";

/// Labels that the gateway itself writes, which the caller did not send.
const OWN_LABELS: &str = "tollgate.";

/// One row.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    rows: &'a Rows,
    at: usize,
}

/// A target of a row, in the order it was preferred.
#[derive(Clone, Copy)]
pub(super) struct LoggedTarget<'a> {
    pub(super) provider: &'a str,
    pub(super) model: &'a str,
    /// `None` for one that was tried or stood ready.
    pub(super) rejected_because: Option<&'a str>,
}

/// What a target stood at when the call was routed.
#[derive(Clone, Copy)]
pub(super) struct LoggedReading<'a> {
    pub(super) provider: &'a str,
    pub(super) model: &'a str,
    pub(super) rest: Rest,
    pub(super) weight: u32,
    pub(super) stands_by: bool,
    pub(super) load_us: Option<u64>,
    pub(super) p50_ms: Option<u64>,
    pub(super) estimate: Option<Usd>,
    pub(super) quality_lower: Option<Share>,
}

impl LoggedTarget<'_> {
    /// Whether it was left alone for a while, as far as its why-not says.
    pub(super) fn rest(&self) -> Rest {
        match self.rejected_because {
            Some(why) if why == RestReason::Throttled.code() => Rest::Strict,
            Some(why) if [RestReason::Failures, RestReason::Credentials].iter().any(|reason| reason.code() == why) => {
                Rest::Failing
            }
            _ => Rest::No,
        }
    }
}

fn known(column: &StringArray, at: usize) -> Option<&str> {
    column.is_valid(at).then(|| column.value(at))
}

fn number(column: &Int64Array, at: usize) -> Option<u64> {
    column.is_valid(at).then(|| u64::try_from(column.value(at)).unwrap_or(0))
}

fn amount(column: &Decimal128Array, at: usize) -> Option<Usd> {
    column.is_valid(at).then(|| Usd::new(column.value(at)))
}

impl<'a> Row<'a> {
    pub(super) const fn new(rows: &'a Rows, at: usize) -> Row<'a> {
        Row { rows, at }
    }

    pub(super) fn id(&self) -> &'a str {
        self.rows.ids.value(self.at)
    }

    pub(super) fn started_at_us(&self) -> i64 {
        self.rows.started.value(self.at)
    }

    /// When policy was asked; of rows that do not say, when the call started.
    pub(super) fn decided_at_us(&self) -> i64 {
        let decided = &self.rows.decided;
        if decided.is_valid(self.at) { decided.value(self.at) } else { self.started_at_us() }
    }

    pub(super) fn tenant(&self) -> &'a str {
        self.rows.tenants.value(self.at)
    }

    pub(super) fn project(&self) -> Option<&'a str> {
        known(&self.rows.projects, self.at)
    }

    pub(super) fn team(&self) -> &'a str {
        self.rows.teams.value(self.at)
    }

    pub(super) fn user_ref(&self) -> Option<&'a str> {
        known(&self.rows.users, self.at)
    }

    pub(super) fn key_id(&self) -> Option<&'a str> {
        known(&self.rows.keys, self.at)
    }

    pub(super) fn operation(&self) -> &'a str {
        self.rows.operations.value(self.at)
    }

    pub(super) fn dialect(&self) -> &'a str {
        self.rows.dialects.value(self.at)
    }

    pub(super) fn stream(&self) -> bool {
        self.rows.streams.value(self.at)
    }

    pub(super) fn model(&self) -> &'a str {
        self.rows.models.value(self.at)
    }

    /// The bundle that decided it; `None` if none did.
    pub(super) fn bundle(&self) -> Option<&'a str> {
        known(&self.rows.bundles, self.at)
    }

    pub(super) fn signals_id(&self) -> &'a str {
        known(&self.rows.signals, self.at).unwrap_or_default()
    }

    pub(super) fn provider(&self) -> Option<&'a str> {
        known(&self.rows.providers, self.at)
    }

    pub(super) fn outcome(&self) -> &'a str {
        self.rows.outcomes.value(self.at)
    }

    /// Whether a guardrail stopped it, whatever had been decided.
    pub(super) fn is_blocked(&self) -> bool {
        known(&self.rows.errors, self.at) == Some(GUARDRAIL_BLOCKED)
    }

    pub(super) fn latency_us(&self) -> u64 {
        number(&self.rows.latencies, self.at).unwrap_or(0)
    }

    pub(super) fn cost(&self) -> Option<Usd> {
        amount(&self.rows.costs, self.at)
    }

    pub(super) fn usage(&self) -> Usage {
        let [input, output, read, written_5m, written_1h] = &self.rows.tokens;
        Usage {
            input_tokens: number(input, self.at),
            output_tokens: number(output, self.at),
            cache_read_input_tokens: number(read, self.at),
            cache_write_5m_input_tokens: number(written_5m, self.at),
            cache_write_1h_input_tokens: number(written_1h, self.at),
            ..Usage::default()
        }
    }

    pub(super) fn estimated_input_tokens(&self) -> Option<u64> {
        number(&self.rows.estimated_input, self.at)
    }

    pub(super) fn estimated_output_tokens(&self) -> Option<u64> {
        number(&self.rows.estimated_output, self.at)
    }

    pub(super) fn estimated_cost(&self) -> Option<Usd> {
        amount(&self.rows.estimated_cost, self.at)
    }

    /// The caller's labels, into a buffer that is used again.
    pub(super) fn tags(&self, into: &mut Vec<(String, String)>) {
        into.clear();
        let map = &self.rows.tags;
        let (Some(keys), Some(values)) = (map.keys().as_string_opt::<i32>(), map.values().as_string_opt::<i32>())
        else {
            return;
        };
        let at = |row: usize| usize::try_from(map.value_offsets()[row]).unwrap_or(0);
        for place in at(self.at)..at(self.at + 1) {
            if !keys.value(place).starts_with(OWN_LABELS) && values.is_valid(place) {
                into.push((keys.value(place).to_owned(), values.value(place).to_owned()));
            }
        }
    }

    /// Whether the gateway gave the call one of these labels of its own.
    pub(super) fn has_own_label(&self, names: &[&str]) -> bool {
        let map = &self.rows.tags;
        let Some(keys) = map.keys().as_string_opt::<i32>() else { return false };
        let at = |row: usize| usize::try_from(map.value_offsets()[row]).unwrap_or(0);
        (at(self.at)..at(self.at + 1))
            .any(|place| keys.value(place).strip_prefix(OWN_LABELS).is_some_and(|name| names.contains(&name)))
    }

    pub(super) fn capabilities(&self, into: &mut Vec<String>) {
        into.clear();
        let list = &self.rows.capabilities;
        let texts = list.values().as_string_opt::<i32>();
        let Some(texts) = texts.filter(|_| list.is_valid(self.at)) else { return };
        let at = |row: usize| usize::try_from(list.value_offsets()[row]).unwrap_or(0);
        into.extend((at(self.at)..at(self.at + 1)).map(|place| texts.value(place).to_owned()));
    }

    /// Personal data found; none if nothing was, or nothing looked for it.
    pub(super) fn pii(&self, into: &mut Vec<(String, u32)>) {
        into.clear();
        let pii = &self.rows.pii;
        for at in pii.places(self.at) {
            let count = u32::try_from(pii.count(1, at).unwrap_or(0)).unwrap_or(u32::MAX);
            into.push((pii.text(0, at).to_owned(), count));
        }
    }

    /// (rule, effect, detail) of every reason.
    pub(super) fn reasons(&self) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
        let reasons = &self.rows.reasons;
        reasons.places(self.at).map(|at| (reasons.text(0, at), reasons.text(1, at), reasons.text(2, at)))
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = LoggedTarget<'a>> {
        let candidates = &self.rows.candidates;
        candidates.places(self.at).map(|at| LoggedTarget {
            provider: candidates.text(0, at),
            model: candidates.text(1, at),
            rejected_because: (!candidates.is_null(2, at)).then(|| candidates.text(2, at)),
        })
    }

    /// What the targets stood at that the route went by, in the order of the route. Where there was one target, there was
    /// no choice, and nothing is told of it.
    pub(super) fn readings(&self) -> impl Iterator<Item = LoggedReading<'a>> {
        let targets = &self.rows.targets;
        targets.places(self.at).map(|at| LoggedReading {
            provider: targets.text(0, at),
            model: targets.text(1, at),
            rest: match targets.text(2, at) {
                "failing" => Rest::Failing,
                "resting" => Rest::Strict,
                _ => Rest::No,
            },
            weight: u32::try_from(targets.count(3, at).unwrap_or(1)).unwrap_or(u32::MAX),
            stands_by: targets.is_true(4, at),
            load_us: targets.count(5, at),
            p50_ms: targets.count(6, at),
            estimate: targets.usd(7, at),
            quality_lower: targets.share(8, at),
        })
    }

    /// The experiment it took part in, and its arm.
    pub(super) fn arm(&self) -> Option<(&'a str, &'a str)> {
        known(&self.rows.experiments, self.at).zip(known(&self.rows.arms, self.at))
    }

    /// The number that chance came in as, if it had a part in the route.
    pub(super) fn draw(&self) -> Option<Share> {
        let draws = &self.rows.draws;
        draws.is_valid(self.at).then(|| millionths(draws.value(self.at)))
    }

    /// The conversation; `None` too if the bundle does not ask.
    pub(super) fn conversation(&self) -> Option<&'a str> {
        self.rows.conversations.as_ref().and_then(|column| known(column, self.at))
    }

    /// Rules of guardrails that found what they look for, each with what was done.
    pub(super) fn guard_hits(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let guards = self.rows.guards.iter().flat_map(|guards| guards.places(self.at).map(move |at| (guards, at)));
        let hits = guards.filter(|(guards, at)| guards.text(3, *at) == GuardOutcome::Hit.as_str());
        hits.map(|(guards, at)| (guards.text(1, at), guards.text(4, at)))
    }

    /// Whether guardrails looked at the request before it was decided, so that what they found is known even if it is
    /// nothing. False too if the bundle does not ask.
    pub(super) fn is_looked_at(&self) -> bool {
        let Some(guards) = &self.rows.guards else { return false };
        guards.places(self.at).any(|at| guards.text(2, at) != GuardPhase::Output.as_str())
    }

    pub(super) fn budget_readings(&self) -> Vec<BudgetReading> {
        let Some(budgets) = &self.rows.budgets else { return Vec::new() };
        let reading = |at: usize| BudgetReading {
            budget: budgets.text(0, at).to_owned(),
            scope: budgets.text(1, at).to_owned(),
            spent_usd: budgets.usd(2, at).unwrap_or_default(),
            reserved_usd: budgets.usd(3, at).unwrap_or_default(),
            age_s: budgets.count(4, at),
        };
        budgets.places(self.at).map(reading).collect()
    }

    pub(super) fn limit_readings(&self) -> Vec<LimitReading> {
        let Some(limits) = &self.rows.limits else { return Vec::new() };
        let reading = |at: usize| LimitReading {
            limit: limits.text(0, at).to_owned(),
            scope: limits.text(1, at).to_owned(),
            unit: limits.text(2, at).to_owned(),
            used: limits.count(3, at).unwrap_or(0),
            age_s: limits.count(4, at),
        };
        limits.places(self.at).map(reading).collect()
    }
}
