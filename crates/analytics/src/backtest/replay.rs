//! One call put to the proposed bundle.

use std::cell::RefCell;
use std::sync::Arc;

use tollgate_interaction::{Decision, Dialect, Operation, Usage, Usd};
use tollgate_policy::control::Principal;
use tollgate_policy::ledger::Amounts;
use tollgate_policy::residency::NO_ELIGIBLE_TARGET;
use tollgate_policy::route::{PlanError, WhyNot, barred};
use tollgate_policy::{Facts, Recall, Verdict, decide_recalling};

use super::Trial;
use super::course::{Call, Course, Courses};
use super::history::History;
use super::known::Known;
use super::ledger::Ledger;
use super::logged::Logged;
use super::report::Change;
use super::row::Row;
use super::rows::Rows;
use super::tally::{Seen, Tally};

/// Label whose value policy knows as the call's priority.
const PRIORITY: &str = "priority";
/// Reasons to deny that no bundle has a say in.
const BEYOND_BUNDLES: [&str; 3] = ["builtin/key-expiry", "builtin/contention", "builtin/shared-ledger"];
/// Stands for a rule where no target may serve a call and no rule is the reason.
const NO_TARGET: &str = "builtin/no-target";
/// Effects that routing notes after the decision.
const OF_ROUTING: [&str; 3] = ["route", "assign", "skip"];

/// What calls are put to.
pub(super) struct Replay {
    pub(super) trial: Trial,
    pub(super) history: Arc<History>,
    pub(super) courses: Courses,
}

/// What is used again from one call to the next.
pub(super) struct Scratch {
    pub(super) known: Known,
    pub(super) tags: Vec<(String, String)>,
    pub(super) capabilities: Vec<String>,
    pii: Vec<(String, u32)>,
    pub(super) principal: Principal,
    recall: RefCell<Recall>,
}

/// What the log says was decided.
struct Before<'a> {
    /// The rule that denied it.
    denied_by: Option<&'a str>,
    /// Whether it was stopped by something that comes after the decision, such as a guard.
    was_stopped: bool,
}

impl Replay {
    /// Decides each call by what its row says its budgets and limits stood at.
    pub(super) fn as_recorded(&self, rows: &Rows, tally: &mut Tally) {
        let mut scratch = Scratch::new(&self.trial);
        for row in (0..rows.count).map(|at| rows.row(at)) {
            self.put(&row, &mut scratch, None, tally);
        }
    }

    /// Decides each call by what its budgets and limits would have stood at, which the calls before it have a part in.
    pub(super) fn in_order(&self, rows: &Rows, ledger: &mut Ledger, tally: &mut Tally) {
        let mut scratch = Scratch::new(&self.trial);
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
        let Scratch { known, tags, capabilities, pii, principal, recall } = scratch;
        let Some(facts) = self.facts(row, tags, capabilities, pii, principal) else {
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
        let verdict = decide_recalling(bundle, &facts, recall);
        let call = Call { row, facts: &facts, verdict: &verdict, is_own: bundle_hash == bundle.hash };
        let seen = self.seen(call, &logged, known);
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
    pub(super) fn facts<'a>(
        &'a self,
        row: &Row<'a>,
        tags: &'a [(String, String)],
        capabilities: &'a [String],
        pii: &'a [(String, u32)],
        principal: &'a Principal,
    ) -> Option<Facts<'a>> {
        let operation = Operation::from_text(row.operation())?;
        let dialect = Dialect::from_text(row.dialect())?;
        let (input, output) = (row.estimated_input_tokens(), row.estimated_output_tokens());
        let facts = Facts {
            stream: row.stream(),
            metadata: tags,
            user_ref: row.user_ref(),
            estimated_input_tokens: input,
            capabilities,
            pii_counts: (!pii.is_empty() || row.is_looked_at()).then_some(pii),
            estimate: Amounts {
                usd: row.estimated_cost().unwrap_or_default(),
                tokens: input.unwrap_or(0).saturating_add(output.unwrap_or(0)),
                calls: 1,
            },
            signals_id: row.signals_id(),
            ..Facts::new(principal, operation, dialect, row.model(), row.decided_at_us())
        };
        let data_class = self.trial.bundle.data_class(&Facts { priority: facts.label(PRIORITY), ..facts });
        Some(Facts { priority: facts.label(PRIORITY), data_class, ..facts })
    }

    fn seen<'a>(&self, call: Call<'_, 'a>, before: &Before<'a>, known: &mut Known) -> Seen<'a> {
        let Call { row, verdict, .. } = call;
        let logged = Logged::of(row, known);
        let no_target = Some(NO_TARGET).filter(|_| logged.had_nobody);
        let mut seen = Seen {
            denied_before: before.denied_by.or(no_target),
            was_stopped: before.was_stopped && !logged.had_nobody,
            did_cost: row.cost(),
            did_take_us: row.latency_us(),
            same_reasons: same_reasons(row, verdict, &[]),
            is_by_it: call.is_own,
            violation: violation(&self.trial, call, &logged),
            from: logged.first.and_then(|at| logged.seats.get(at)).map(|seat| Arc::clone(&seat.target)),
            arm_before: row.arm(),
            ..Seen::default()
        };
        if verdict.decision == Decision::Deny {
            let rule = verdict.reasons.iter().find(|reason| reason.effect == "deny");
            let (rule, why) = rule.map_or(("", ""), |reason| (reason.rule.as_str(), reason.detail.as_str()));
            seen.deny(rule.to_owned(), verdict.code, why.to_owned());
        } else {
            let course = self.courses.find(call, &logged, known);
            self.route(call, course, &mut seen);
        }
        seen.settle();
        seen
    }

    /// Where the call would have gone, and what that would have cost and taken.
    fn route(&self, call: Call<'_, '_>, course: Result<Course, PlanError>, seen: &mut Seen<'_>) {
        let row = call.row;
        let course = match course {
            Ok(course) => course,
            Err(PlanError { rule, detail, .. }) => {
                seen.deny(rule, tollgate_policy::decide::code::POLICY_ERROR, detail);
                return;
            }
        };
        (seen.notes, seen.arm_after) = (course.notes, course.arm);
        if let Some((rule, why)) = course.barred.first().cloned() {
            seen.same_reasons = same_reasons(row, call.verdict, &course.barred);
            seen.deny(rule, NO_ELIGIBLE_TARGET, why);
            return;
        }
        let Some(to) = course.first else {
            match course.nobody {
                Some(why) => seen.deny(NO_TARGET.to_owned(), NO_ELIGIBLE_TARGET, why),
                // What it was to go by is not known.
                None => {
                    let estimate = row.estimated_cost().filter(|_| seen.denied_before.is_some());
                    (seen.is_estimate, seen.would_cost, seen.why) = (true, estimate, course.why);
                }
            }
            return;
        };
        seen.to = Some(Arc::clone(&to));
        let is_moved = seen.from.as_ref().is_none_or(|from| from.name() != to.name());
        if !is_moved || (seen.from.is_none() && seen.denied_before.is_none()) {
            (seen.would_cost, seen.would_take_us) = (row.cost(), Some(row.latency_us()));
            return;
        }
        seen.why = course.why;
        seen.is_estimate = true;
        let did = self.history.of_target(to.name());
        seen.would_take_us = did.map(|did| did.latency_us);
        let facts = to.facts();
        let cost = |usage: &Usage| self.trial.market.cost(facts.provider, facts.model, usage, row.started_at_us());
        seen.would_cost = match seen.denied_before {
            // What it would have answered nobody knows: as others there were, at most as long as it may be.
            Some(_) => {
                let output_tokens = did.map(|did| did.output_tokens).or(row.estimated_output_tokens());
                let usage = Usage { input_tokens: row.estimated_input_tokens(), output_tokens, ..Usage::default() };
                cost(&usage).or(row.estimated_cost())
            }
            // What cost nothing because it failed, or because nobody knows, is not priced elsewhere.
            None => row.cost().and_then(|_| cost(&row.usage())),
        };
    }
}

impl Scratch {
    pub(super) fn new(trial: &Trial) -> Scratch {
        Scratch {
            known: Known::new(&trial.market),
            tags: Vec::new(),
            capabilities: Vec::new(),
            pii: Vec::new(),
            principal: Principal::default(),
            recall: RefCell::default(),
        }
    }

    pub(super) fn read(&mut self, row: &Row<'_>, trial: &Trial) {
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
fn logged<'a>(row: &Row<'a>) -> Option<Before<'a>> {
    row.bundle()?;
    // What guardrails did is left as it was.
    let mut denials = row.reasons().filter(|(_, effect, _)| *effect == "deny" && !row.is_blocked());
    let denied_by = denials.next().map(|(rule, ..)| rule);
    let was_stopped = denied_by.is_none() && row.outcome() == "denied";
    Some(Before { denied_by, was_stopped })
}

fn amounts(row: &Row<'_>, is_admitted: bool) -> Amounts {
    let usage = row.usage();
    Amounts::of_row(is_admitted, row.cost(), usage.input_tokens, usage.output_tokens)
}

/// The rule by which the target that did serve the call was not to.
fn violation(trial: &Trial, call: Call<'_, '_>, logged: &Logged<'_>) -> Option<String> {
    let provider = call.row.provider().filter(|_| call.row.outcome() != "denied")?;
    let served = logged.seats.iter().find(|seat| seat.target.facts().provider == provider)?;
    match barred(&trial.bundle, call.facts, &served.target)? {
        WhyNot::Barred { rule, .. } => Some(rule),
        WhyNot::Unable | WhyNot::Lacks(_) | WhyNot::TooShort => None,
    }
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

    fn deny(&mut self, rule: String, code: &'static str, why: String) {
        self.denied_after = Some((rule, code));
        self.why = why;
        self.would_cost = Some(Usd::ZERO);
    }

    /// Whether it would go elsewhere.
    pub(super) fn is_moved(&self) -> bool {
        self.from.as_ref().zip(self.to.as_ref()).is_some_and(|(from, to)| from.name() != to.name())
    }

    /// Whether its target is the one it went to first, and its arm the one it was in.
    pub(super) fn is_routed_alike(&self) -> bool {
        let is_same_target = match (&self.from, &self.to) {
            (Some(from), Some(to)) => from.name() == to.name(),
            (None, None) => true,
            _ => false,
        };
        let arm = self.arm_after.as_ref().map(|(experiment, arm)| (experiment.as_str(), arm.as_str()));
        is_same_target && arm == self.arm_before
    }

    /// Names what became of the call.
    fn settle(&mut self) {
        let after = self.denied_after.as_ref().map(|(rule, _)| rule.as_str());
        self.change = match (self.denied_before, after) {
            (None, Some(_)) if self.was_stopped => Change::Same,
            (None, Some(_)) => Change::Denied,
            (Some(_), None) => Change::Allowed,
            (Some(before), Some(after)) if before != after => Change::OtherRule,
            (None, None) if self.is_moved() => Change::Rerouted,
            _ => Change::Same,
        };
    }
}
