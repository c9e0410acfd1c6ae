//! One call put to the proposed bundle.

use std::sync::Arc;

use tollgate_interaction::{Decision, Dialect, Operation, Usage, Usd};
use tollgate_policy::control::Principal;
use tollgate_policy::ledger::Amounts;
use tollgate_policy::residency::{self, Eligibility, NO_ELIGIBLE_TARGET, TargetFacts};
use tollgate_policy::{Facts, Prefer, Verdict, decide};

use super::history::History;
use super::ledger::Ledger;
use super::report::Change;
use super::row::{LoggedTarget, Row, Rows};
use super::tally::{Seen, Tally};
use super::{Trial, Whereabouts};

/// Label whose value policy knows as the call's priority.
const PRIORITY: &str = "priority";
/// Reasons to deny that no bundle has a say in.
const BEYOND_BUNDLES: [&str; 3] = ["builtin/key-expiry", "builtin/contention", "builtin/shared-ledger"];
/// Why-not of a target that stood by.
const NOT_NEEDED: &str = "not_needed";
/// Effects that routing notes after the decision.
const OF_ROUTING: [&str; 3] = ["route", "assign", "skip"];

/// What calls are put to.
pub(super) struct Replay {
    pub(super) trial: Trial,
    pub(super) history: Arc<History>,
}

/// What one call is used again for the next.
#[derive(Default)]
struct Scratch {
    tags: Vec<(String, String)>,
    capabilities: Vec<String>,
    pii: Vec<(String, u32)>,
    principal: Principal,
}

/// What the log says was decided.
struct Logged<'a> {
    /// The rule that denied it.
    denied_by: Option<&'a str>,
    /// Whether it was stopped by something that comes after the decision, such as a guard.
    was_stopped: bool,
}

/// Where a call goes.
struct Way<'a> {
    target: LoggedTarget<'a>,
    whereabouts: Option<Arc<Whereabouts>>,
}

impl Replay {
    /// Decides each call by what its row says its budgets and limits stood at.
    pub(super) fn as_recorded(&self, rows: &Rows, tally: &mut Tally) {
        let mut scratch = Scratch::default();
        for row in (0..rows.count).map(|at| rows.row(at)) {
            self.put(&row, &mut scratch, None, tally);
        }
    }

    /// Decides each call by what its budgets and limits would have stood at, which the calls before it have a part in.
    pub(super) fn in_order(&self, rows: &Rows, ledger: &mut Ledger, tally: &mut Tally) {
        let mut scratch = Scratch::default();
        for row in (0..rows.count).map(|at| rows.row(at)) {
            self.put(&row, &mut scratch, Some(ledger), tally);
        }
    }

    fn put(&self, row: &Row<'_>, scratch: &mut Scratch, ledger: Option<&mut Ledger>, tally: &mut Tally) {
        let is_before = ledger.as_ref().is_some_and(|ledger| ledger.is_before(row));
        let logged = logged(row);
        let Some((logged, bundle_hash)) = logged.zip(row.bundle()) else {
            if !is_before {
                tally.undecided += 1;
            }
            return;
        };
        scratch.read(row, &self.trial);
        let Some(facts) = self.facts(row, scratch) else {
            tally.undecided += u64::from(!is_before);
            return;
        };
        let did = amounts(row, logged.denied_by.is_none());
        if is_before {
            if let Some(ledger) = ledger {
                ledger.enter(row, &facts, did, did);
            }
            return;
        }
        if logged.denied_by.is_some_and(|rule| BEYOND_BUNDLES.contains(&rule)) {
            tally.kept += 1;
            return;
        }
        let bundle = &self.trial.bundle;
        let accounts = bundle.accounts(&facts);
        let readings = match &ledger {
            Some(ledger) => ledger.readings(bundle, &accounts, row),
            None if accounts.is_empty() => Vec::new(),
            None => bundle.recorded_readings(&accounts, &row.budget_readings(), &row.limit_readings()),
        };
        let facts = Facts { accounts: &accounts, readings: &readings, ..facts };
        let verdict = decide(bundle, &facts);
        let seen = self.seen(row, &facts, &logged, &verdict, bundle_hash == bundle.hash);
        if let Some(ledger) = ledger {
            let would = if seen.is_denied() {
                Amounts::ZERO
            } else {
                // What is not known is taken to stay as it was; what never was known counts for nothing, as in the books.
                let usd = seen.would_cost.or(seen.did_cost).unwrap_or_default();
                let of_estimate = Amounts { usd, tokens: facts.estimate.tokens, calls: 1 };
                if logged.denied_by.is_some() { of_estimate } else { Amounts { usd, ..did } }
            };
            ledger.enter(row, &facts, did, would);
        }
        tally.see(row, seen);
    }

    /// What policy was told; `None` if the row names an operation or a format that this version does not know.
    fn facts<'a>(&'a self, row: &Row<'a>, scratch: &'a Scratch) -> Option<Facts<'a>> {
        let operation = Operation::from_text(row.operation())?;
        let dialect = Dialect::from_text(row.dialect())?;
        let (input, output) = (row.estimated_input_tokens(), row.estimated_output_tokens());
        let facts = Facts {
            stream: row.stream(),
            metadata: &scratch.tags,
            user_ref: row.user_ref(),
            estimated_input_tokens: input,
            capabilities: &scratch.capabilities,
            pii_counts: (!scratch.pii.is_empty()).then_some(scratch.pii.as_slice()),
            estimate: Amounts {
                usd: row.estimated_cost().unwrap_or_default(),
                tokens: input.unwrap_or(0).saturating_add(output.unwrap_or(0)),
                calls: 1,
            },
            signals_id: row.signals_id(),
            ..Facts::new(&scratch.principal, operation, dialect, row.model(), row.decided_at_us())
        };
        let data_class = self.trial.bundle.data_class(&Facts { priority: facts.label(PRIORITY), ..facts });
        Some(Facts { priority: facts.label(PRIORITY), data_class, ..facts })
    }

    fn seen<'a>(
        &self,
        row: &Row<'a>,
        facts: &Facts<'_>,
        logged: &Logged<'a>,
        verdict: &Verdict,
        is_by_it: bool,
    ) -> Seen<'a> {
        let mut seen = Seen {
            denied_before: logged.denied_by,
            was_stopped: logged.was_stopped,
            did_cost: row.cost(),
            did_take_us: row.latency_us(),
            same_reasons: same_reasons(row, verdict, &[]),
            is_by_it,
            ..Seen::default()
        };
        if verdict.decision == Decision::Deny {
            let rule = verdict.reasons.iter().find(|reason| reason.effect == "deny");
            let (rule, why) = rule.map_or(("", ""), |reason| (reason.rule.as_str(), reason.detail.as_str()));
            seen.denied_after = Some((rule.to_owned(), verdict.code));
            seen.why = why.to_owned();
            seen.would_cost = Some(Usd::ZERO);
            seen.violation = self.violation(row, facts);
            seen.settle();
            return seen;
        }
        self.route(row, facts, logged, verdict, &mut seen);
        seen.settle();
        seen
    }

    /// Where the call would have gone, and what that would have cost and taken.
    fn route<'a>(&self, row: &Row<'a>, facts: &Facts<'_>, logged: &Logged<'a>, verdict: &Verdict, seen: &mut Seen<'a>) {
        if logged.denied_by.is_some() && row.targets().next().is_none() {
            // No route was looked for then.
            self.estimate_unrouted(row, seen);
            return;
        }
        let mut ways: Vec<Way<'a>> = Vec::new();
        let mut excluded: Vec<(String, String)> = Vec::new();
        for target in row.targets() {
            if target.rejected_because.is_some_and(is_unfit) {
                continue;
            }
            let whereabouts = self.trial.market.whereabouts(target.provider, target.model);
            match self.eligible(facts, &target, whereabouts.as_deref()) {
                Eligibility::Eligible => ways.push(Way { target, whereabouts }),
                Eligibility::Excluded { rule, why } => excluded.push((rule, why)),
            }
        }
        let first = row.targets().find(|target| target.rejected_because.is_none());
        seen.violation = self.violation(row, facts);
        if ways.is_empty() {
            seen.same_reasons = same_reasons(row, verdict, &excluded);
            if let Some((rule, why)) = excluded.into_iter().next() {
                seen.denied_after = Some((rule, NO_ELIGIBLE_TARGET));
                seen.why = why;
                seen.would_cost = Some(Usd::ZERO);
            } else {
                (seen.would_cost, seen.would_take_us) = (row.cost(), Some(row.latency_us()));
            }
            return;
        }
        self.prefer(row, verdict.prefer.as_ref(), &mut ways);
        let chosen = ways[0].target;
        seen.from = first.map(|target| (target.provider, target.model));
        seen.to = Some((chosen.provider, chosen.model));
        if seen.from == seen.to || first.is_none() {
            (seen.would_cost, seen.would_take_us) = (row.cost(), Some(row.latency_us()));
            return;
        }
        let target = format!("{}/{}", chosen.provider, chosen.model);
        seen.is_estimate = true;
        seen.would_take_us = self.history.of_target(&target).map(|seen| seen.latency_us);
        seen.would_cost = match row.cost() {
            // What cost nothing because it failed, or because nobody knows, is not priced elsewhere.
            None => None,
            Some(_) => self.trial.market.cost(chosen.provider, chosen.model, &row.usage(), row.started_at_us()),
        };
        seen.why = match &verdict.prefer {
            Some(Prefer::Cheapest) => "the cheapest target is preferred".to_owned(),
            Some(Prefer::Tag(tag)) => format!("targets tagged `{tag}` are preferred"),
            None => excluded.first().map_or_else(String::new, |(rule, why)| format!("`{rule}`: {why}")),
        };
    }

    fn prefer(&self, row: &Row<'_>, prefer: Option<&Prefer>, ways: &mut [Way<'_>]) {
        match prefer {
            None => {}
            Some(Prefer::Tag(tag)) => ways.sort_by_key(|way| {
                !way.whereabouts.as_ref().is_some_and(|whereabouts| whereabouts.tags.iter().any(|known| known == tag))
            }),
            Some(Prefer::Cheapest) => {
                let usage = Usage {
                    input_tokens: row.estimated_input_tokens(),
                    output_tokens: row.estimated_output_tokens(),
                    ..Usage::default()
                };
                ways.sort_by_cached_key(|way| {
                    let LoggedTarget { provider, model, .. } = way.target;
                    let known = row.target_estimate(provider, model);
                    let cost = known.or_else(|| self.trial.market.cost(provider, model, &usage, row.started_at_us()));
                    (cost.is_none(), cost.unwrap_or_default())
                });
            }
        }
    }

    fn eligible(&self, facts: &Facts<'_>, target: &LoggedTarget<'_>, whereabouts: Option<&Whereabouts>) -> Eligibility {
        let unknown = Whereabouts::default();
        let Whereabouts { tags, places, self_hosted } = whereabouts.unwrap_or(&unknown);
        let LoggedTarget { provider, model, .. } = *target;
        residency::eligible(
            &self.trial.bundle,
            facts,
            &TargetFacts { provider, model, tags, places, self_hosted: *self_hosted },
        )
    }

    /// The rule by which the target that did serve the call was not to.
    fn violation(&self, row: &Row<'_>, facts: &Facts<'_>) -> Option<String> {
        let provider = row.provider().filter(|_| row.outcome() != "denied")?;
        let served = row.targets().find(|target| target.provider == provider)?;
        let whereabouts = self.trial.market.whereabouts(provider, served.model);
        match self.eligible(facts, &served, whereabouts.as_deref()) {
            Eligibility::Excluded { rule, .. } => Some(rule),
            Eligibility::Eligible => None,
        }
    }

    /// A call that was denied and would not have been: its target is what it asked for, if that names one.
    fn estimate_unrouted(&self, row: &Row<'_>, seen: &mut Seen<'_>) {
        seen.is_estimate = true;
        let Some((provider, model)) = row.model().split_once('/') else {
            seen.would_cost = row.estimated_cost();
            return;
        };
        let did = self.history.of_target(row.model());
        seen.would_take_us = did.map(|did| did.latency_us);
        let usage = Usage {
            input_tokens: row.estimated_input_tokens(),
            output_tokens: did.map(|did| did.output_tokens).or(row.estimated_output_tokens()),
            ..Usage::default()
        };
        let cost = self.trial.market.cost(provider, model, &usage, row.started_at_us());
        seen.would_cost = cost.or(row.estimated_cost());
    }
}

impl Scratch {
    fn read(&mut self, row: &Row<'_>, trial: &Trial) {
        row.tags(&mut self.tags);
        row.capabilities(&mut self.capabilities);
        row.pii(&mut self.pii);
        let key_id = row.key_id().unwrap_or_default();
        let principal = &mut self.principal;
        let is_same = principal.key_id == key_id
            && principal.team == row.team()
            && principal.tenant == row.tenant()
            && principal.project.as_deref() == row.project();
        if !is_same {
            let known = trial.keys.get(key_id).cloned().unwrap_or_default();
            *principal = Principal {
                key_id: key_id.to_owned(),
                tenant: row.tenant().to_owned(),
                project: row.project().map(str::to_owned),
                team: row.team().to_owned(),
                // Whether it had ended then is known: the row would say so.
                expires_at_us: None,
                ..known
            };
        }
    }
}

/// `None` for a call that no bundle decided.
fn logged<'a>(row: &Row<'a>) -> Option<Logged<'a>> {
    row.bundle()?;
    // What guardrails did is left as it was.
    let mut denials = row.reasons().filter(|(_, effect, _)| *effect == "deny" && !row.is_blocked());
    let denied_by = denials.next().map(|(rule, ..)| rule);
    let was_stopped = denied_by.is_none() && row.outcome() == "denied";
    Some(Logged { denied_by, was_stopped })
}

fn amounts(row: &Row<'_>, is_admitted: bool) -> Amounts {
    let usage = row.usage();
    Amounts::of_row(is_admitted, row.cost(), usage.input_tokens, usage.output_tokens)
}

/// Whether a target was left out for what it is or how it was, which a bundle does not change. Those that a residency rule
/// left out have the rule's id and a sentence there, all others a code.
fn is_unfit(why: &str) -> bool {
    why != NOT_NEEDED && !why.contains(": ")
}

/// Whether the rules that had a part in the decision are the same, with the same effects; `excluded` are those by which
/// targets are left out, where that leaves none.
fn same_reasons(row: &Row<'_>, verdict: &Verdict, excluded: &[(String, String)]) -> bool {
    let logged = row
        .reasons()
        .filter(|(rule, effect, _)| !OF_ROUTING.contains(effect) && !BEYOND_BUNDLES.contains(rule))
        .filter(|(_, effect, _)| *effect != "deny" || !row.is_blocked())
        .map(|(rule, effect, _)| (rule, effect));
    let decided = verdict.reasons.iter().map(|reason| (reason.rule.as_str(), reason.effect.as_str()));
    logged.eq(decided.chain(excluded.iter().map(|(rule, _)| (rule.as_str(), "deny"))))
}

impl Seen<'_> {
    pub(super) fn is_denied(&self) -> bool {
        self.denied_after.is_some()
    }

    /// Names what became of the call.
    fn settle(&mut self) {
        let after = self.denied_after.as_ref().map(|(rule, _)| rule.as_str());
        self.change = match (self.denied_before, after) {
            (None, Some(_)) if self.was_stopped => Change::Same,
            (None, Some(_)) => Change::Denied,
            (Some(_), None) => Change::Allowed,
            (Some(before), Some(after)) if before != after => Change::OtherRule,
            (None, None) if self.from.is_some() && self.to.is_some() && self.from != self.to => Change::Rerouted,
            _ => Change::Same,
        };
    }
}
