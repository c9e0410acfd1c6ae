//! What a back-test comes to: exact sums, which add up in any order, and the rows to look at, which are the same ones
//! whatever order the calls came in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tollgate_interaction::Usd;
use tollgate_policy::route::Offer;

use super::Trial;
use super::course::Notes;
use super::report::{
    ArmCount, BacktestReport, Change, CostChange, DecisionCount, DenialCount, GuardReplay, LatencyChange, RouteCount,
    Routing, SampleRow, TeamCount, Unlogged,
};
use super::row::Row;
use crate::report::AsOf;

/// What became of one call.
#[derive(Debug, Default)]
pub(super) struct Seen<'a> {
    pub(super) change: Change,
    /// The rule that did deny it.
    pub(super) denied_before: Option<&'a str>,
    /// The rule that would have, and its code.
    pub(super) denied_after: Option<(String, &'static str)>,
    pub(super) was_stopped: bool,
    /// Whether the same rules had a part in the decision.
    pub(super) same_reasons: bool,
    /// Whether the proposed bundle is the one that did decide.
    pub(super) is_by_it: bool,
    pub(super) why: String,
    /// The target it went to first, and the one it would go to.
    pub(super) from: Option<Arc<dyn Offer>>,
    pub(super) to: Option<Arc<dyn Offer>>,
    /// Experiment and arm.
    pub(super) arm_before: Option<(&'a str, &'a str)>,
    pub(super) arm_after: Option<(String, String)>,
    pub(super) notes: Notes,
    /// Residency rule that the target which did serve it breaks.
    pub(super) violation: Option<String>,
    pub(super) is_estimate: bool,
    pub(super) did_cost: Option<Usd>,
    pub(super) would_cost: Option<Usd>,
    pub(super) did_take_us: u64,
    pub(super) would_take_us: Option<u64>,
}

#[derive(Debug, Default)]
struct Team {
    calls: u64,
    denied_before: u64,
    denied_after: u64,
    did_cost: Usd,
    would_cost: Usd,
}

/// Sums over some calls.
#[derive(Debug)]
pub(super) struct Tally {
    sample_size: usize,
    /// How many calls are chosen for their texts, and which.
    texts_size: usize,
    texts: BTreeSet<(u64, String)>,
    /// Calls that no bundle decided.
    pub(super) undecided: u64,
    /// Calls that were denied for what no bundle has a say in.
    pub(super) kept: u64,
    replayed: u64,
    /// Calls the proposed bundle itself decided, and of those such as are decided the same again, by the same rules.
    own: u64,
    own_agreed: u64,
    own_routed: u64,
    own_routes_agreed: u64,
    routing: RoutingSums,
    /// By experiment and arm: before and after.
    arms: BTreeMap<(String, String), (u64, u64)>,
    changes: BTreeMap<Change, u64>,
    /// By rule: before and after.
    denials: BTreeMap<String, (u64, u64)>,
    teams: BTreeMap<String, Team>,
    routes: BTreeMap<(String, String), u64>,
    violations: BTreeMap<String, u64>,
    cost: CostChange,
    /// Sums of microseconds over calls of which both are known.
    latency: (u64, u128, u128),
    latency_unknown: u64,
    samples: BTreeMap<Change, BTreeSet<SampleRow>>,
}

/// How many routes were found how.
#[derive(Debug, Default)]
struct RoutingSums {
    planned: u64,
    kept: BTreeMap<Unlogged, u64>,
    unknown: BTreeMap<Unlogged, u64>,
    drawn_anew: u64,
    assumed_ready: u64,
    priced_now: u64,
    has_drifted: u64,
}

impl RoutingSums {
    fn see(&mut self, seen: &Seen<'_>) {
        let notes = &seen.notes;
        self.planned += u64::from(notes.is_planned);
        if let Some(unlogged) = notes.unlogged {
            let sums = if seen.to.is_some() { &mut self.kept } else { &mut self.unknown };
            *sums.entry(unlogged).or_default() += 1;
        }
        self.drawn_anew += u64::from(notes.drawn_anew);
        self.assumed_ready += u64::from(notes.assumed_ready);
        self.priced_now += u64::from(notes.priced_now);
        self.has_drifted += u64::from(notes.has_drifted);
    }

    fn add(&mut self, other: RoutingSums) {
        self.planned += other.planned;
        for (sums, others) in [(&mut self.kept, other.kept), (&mut self.unknown, other.unknown)] {
            for (unlogged, calls) in others {
                *sums.entry(unlogged).or_default() += calls;
            }
        }
        self.drawn_anew += other.drawn_anew;
        self.assumed_ready += other.assumed_ready;
        self.priced_now += other.priced_now;
        self.has_drifted += other.has_drifted;
    }

    fn report(self, unknown_targets: Vec<String>) -> Routing {
        Routing {
            planned: self.planned,
            kept: self.kept.into_iter().collect(),
            unknown: self.unknown.into_iter().collect(),
            drawn_anew: self.drawn_anew,
            assumed_ready: self.assumed_ready,
            priced_now: self.priced_now,
            has_drifted: self.has_drifted,
            unknown_targets,
        }
    }
}

impl Tally {
    pub(super) fn new(trial: &Trial) -> Tally {
        Tally {
            sample_size: trial.sample,
            texts_size: trial.guard_sample,
            texts: BTreeSet::new(),
            undecided: 0,
            kept: 0,
            replayed: 0,
            own: 0,
            own_agreed: 0,
            own_routed: 0,
            own_routes_agreed: 0,
            routing: RoutingSums::default(),
            arms: BTreeMap::new(),
            changes: BTreeMap::new(),
            denials: BTreeMap::new(),
            teams: BTreeMap::new(),
            routes: BTreeMap::new(),
            violations: BTreeMap::new(),
            cost: CostChange::default(),
            latency: (0, 0, 0),
            latency_unknown: 0,
            samples: BTreeMap::new(),
        }
    }

    /// Counts one call.
    pub(super) fn see(&mut self, row: &Row<'_>, seen: Seen<'_>) {
        self.replayed += 1;
        if self.texts_size > 0 {
            self.choose_for_texts(row.id());
        }
        *self.changes.entry(seen.change).or_default() += 1;
        if seen.is_by_it {
            self.own += 1;
            let is_routed = seen.from.is_some() && !seen.is_denied();
            let is_alike = !is_routed || seen.is_routed_alike();
            self.own_agreed += u64::from(seen.change == Change::Same && seen.same_reasons && is_alike);
            self.own_routed += u64::from(is_routed);
            self.own_routes_agreed += u64::from(is_routed && is_alike);
        }
        self.routing.see(&seen);
        self.see_arms(&seen);
        if let Some(rule) = seen.denied_before {
            count(&mut self.denials, rule).0 += 1;
        }
        if let Some((rule, _)) = &seen.denied_after {
            count(&mut self.denials, rule).1 += 1;
        }
        if seen.change == Change::Rerouted
            && let (Some(from), Some(to)) = (&seen.from, &seen.to)
        {
            *self.routes.entry((from.name().to_owned(), to.name().to_owned())).or_default() += 1;
        }
        if let Some(rule) = &seen.violation {
            *count(&mut self.violations, rule) += 1;
        }
        let team = count(&mut self.teams, row.team());
        team.calls += 1;
        team.denied_before += u64::from(seen.denied_before.is_some());
        team.denied_after += u64::from(seen.denied_after.is_some());
        let did_cost = seen.did_cost.unwrap_or_default();
        team.did_cost += did_cost;
        self.cost.logged_usd += did_cost;
        // What is not known is taken to stay as it was, and said to be.
        let would_cost = seen.would_cost.unwrap_or(did_cost);
        team.would_cost += would_cost;
        self.cost.would_usd += would_cost;
        let usage = row.usage();
        let was_unpriced = seen.did_cost.is_none() && usage.input_tokens.or(usage.output_tokens).is_some();
        if was_unpriced || (seen.is_estimate && seen.would_cost.is_none()) {
            self.cost.unknown += 1;
        } else if seen.is_estimate {
            self.cost.estimated += 1;
        }
        self.see_latency(&seen);
        if seen.change != Change::Same {
            self.sample(row, &seen);
        }
    }

    fn choose_for_texts(&mut self, id: &str) {
        let order = order_of(id);
        if self.texts.len() >= self.texts_size && self.texts.last().is_none_or(|(last, _)| *last <= order) {
            return;
        }
        self.texts.insert((order, id.to_owned()));
        if self.texts.len() > self.texts_size {
            self.texts.pop_last();
        }
    }

    /// Ids of the calls that were chosen for their texts.
    pub(super) fn chosen_for_texts(&mut self) -> Vec<String> {
        std::mem::take(&mut self.texts).into_iter().map(|(_, id)| id).collect()
    }

    fn see_arms(&mut self, seen: &Seen<'_>) {
        if let Some((experiment, arm)) = seen.arm_before {
            self.arms.entry((experiment.to_owned(), arm.to_owned())).or_default().0 += 1;
        }
        if let Some(arm) = seen.arm_after.as_ref().filter(|_| !seen.is_denied()) {
            match self.arms.get_mut(arm) {
                Some(known) => known.1 += 1,
                None => self.arms.entry(arm.clone()).or_default().1 += 1,
            }
        }
    }

    fn see_latency(&mut self, seen: &Seen<'_>) {
        if seen.denied_before.is_some() || seen.denied_after.is_some() || seen.was_stopped {
            return;
        }
        match seen.would_take_us {
            Some(would_us) => {
                self.latency.0 += 1;
                self.latency.1 += u128::from(seen.did_take_us);
                self.latency.2 += u128::from(would_us);
            }
            None => self.latency_unknown += 1,
        }
    }

    fn sample(&mut self, row: &Row<'_>, seen: &Seen<'_>) {
        let named = |target: &Option<Arc<dyn Offer>>| target.as_ref().map(|target| target.name().to_owned());
        let kept = self.samples.entry(seen.change).or_default();
        let order = order_of(row.id());
        if kept.len() >= self.sample_size && kept.last().is_none_or(|last| last.order <= order) {
            return;
        }
        kept.insert(SampleRow {
            order,
            interaction_id: row.id().to_owned(),
            started_at_us: row.started_at_us(),
            team: row.team().to_owned(),
            model: row.model().to_owned(),
            change: seen.change,
            rule_before: seen.denied_before.map(str::to_owned),
            rule_after: seen.denied_after.as_ref().map(|(rule, _)| rule.clone()),
            target_before: named(&seen.from),
            target_after: named(&seen.to),
            arm_after: seen.arm_after.as_ref().map(|(experiment, arm)| format!("{experiment}/{arm}")),
            cost_before: seen.did_cost,
            cost_after: seen.would_cost,
            why: seen.why.clone(),
        });
        if kept.len() > self.sample_size {
            kept.pop_last();
        }
    }

    /// Adds the sums over other calls.
    pub(super) fn add(&mut self, other: Tally) {
        self.texts.extend(other.texts);
        while self.texts.len() > self.texts_size {
            self.texts.pop_last();
        }
        self.undecided += other.undecided;
        self.kept += other.kept;
        self.replayed += other.replayed;
        self.own += other.own;
        self.own_agreed += other.own_agreed;
        self.own_routed += other.own_routed;
        self.own_routes_agreed += other.own_routes_agreed;
        self.routing.add(other.routing);
        for (arm, (before, after)) in other.arms {
            let sums = self.arms.entry(arm).or_default();
            (sums.0, sums.1) = (sums.0 + before, sums.1 + after);
        }
        for (change, calls) in other.changes {
            *self.changes.entry(change).or_default() += calls;
        }
        for (rule, (before, after)) in other.denials {
            let sums = self.denials.entry(rule).or_default();
            (sums.0, sums.1) = (sums.0 + before, sums.1 + after);
        }
        for (name, team) in other.teams {
            let sums = self.teams.entry(name).or_default();
            sums.calls += team.calls;
            sums.denied_before += team.denied_before;
            sums.denied_after += team.denied_after;
            sums.did_cost += team.did_cost;
            sums.would_cost += team.would_cost;
        }
        for (route, calls) in other.routes {
            *self.routes.entry(route).or_default() += calls;
        }
        for (rule, calls) in other.violations {
            *self.violations.entry(rule).or_default() += calls;
        }
        self.cost.logged_usd += other.cost.logged_usd;
        self.cost.would_usd += other.cost.would_usd;
        self.cost.estimated += other.cost.estimated;
        self.cost.unknown += other.cost.unknown;
        self.latency.0 += other.latency.0;
        self.latency.1 += other.latency.1;
        self.latency.2 += other.latency.2;
        self.latency_unknown += other.latency_unknown;
        for (change, rows) in other.samples {
            let kept = self.samples.entry(change).or_default();
            kept.extend(rows);
            while kept.len() > self.sample_size {
                kept.pop_last();
            }
        }
    }

    /// The sums, for reading.
    pub(super) fn report(
        self,
        trial: &Trial,
        unknown_targets: Vec<String>,
        guardrails: Option<GuardReplay>,
        is_exact: bool,
        as_of: AsOf,
    ) -> BacktestReport {
        let mut routes: Vec<RouteCount> =
            self.routes.into_iter().map(|((from, to), calls)| RouteCount { from, to, calls }).collect();
        routes.sort_by_key(|route| std::cmp::Reverse(route.calls));
        let mean = |sum: u128| (self.latency.0 > 0).then(|| (sum / u128::from(self.latency.0)) as u64);
        let team = |(team, sums): (String, Team)| TeamCount {
            team,
            calls: sums.calls,
            denied_before: sums.denied_before,
            denied_after: sums.denied_after,
            cost_before: sums.did_cost,
            cost_after: sums.would_cost,
        };
        BacktestReport {
            bundle_hash: trial.bundle.hash.clone(),
            bundle_name: trial.bundle.name.clone(),
            bundle_version: trial.bundle.version.clone(),
            range: trial.range,
            decided_by: trial.decided_by.clone(),
            is_exact,
            replayed: self.replayed,
            undecided: self.undecided,
            kept: self.kept,
            own: self.own,
            own_agreed: self.own_agreed,
            own_routed: self.own_routed,
            own_routes_agreed: self.own_routes_agreed,
            routing: self.routing.report(unknown_targets),
            guardrails,
            arms: self
                .arms
                .into_iter()
                .map(|((experiment, arm), (before, after))| ArmCount { experiment, arm, before, after })
                .collect(),
            decisions: Change::ALL
                .into_iter()
                .map(|change| DecisionCount { change, calls: self.changes.get(&change).copied().unwrap_or(0) })
                .collect(),
            denials: self
                .denials
                .into_iter()
                .map(|(rule, (before, after))| DenialCount { rule, before, after })
                .collect(),
            teams: self.teams.into_iter().map(team).collect(),
            routes,
            violations: self.violations.into_iter().collect(),
            cost: self.cost,
            latency: LatencyChange {
                calls: self.latency.0,
                unknown: self.latency_unknown,
                logged_mean_us: mean(self.latency.1),
                would_mean_us: mean(self.latency.2),
            },
            sample: self.samples.into_values().flatten().collect(),
            as_of,
        }
    }
}

/// The sums under `name`. The name is only copied the first time.
fn count<'a, T: Default>(sums: &'a mut BTreeMap<String, T>, name: &str) -> &'a mut T {
    if !sums.contains_key(name) {
        sums.insert(name.to_owned(), T::default());
    }
    match sums.get_mut(name) {
        Some(known) => known,
        None => unreachable!("it was put in above"),
    }
}

/// A number that depends on the call alone and on nothing that calls have in common (FNV-1a).
pub(super) fn order_of(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
