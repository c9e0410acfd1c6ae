//! Budgets: what a scope may spend in a window, in steps. This module counts nothing: what was spent comes with the facts,
//! and when it is unknown or old the budget says what that means. Every budget that is about a call applies; the first
//! that denies is the answer, and of preferences that of the budget nearest to its end holds.

use crate::allowance::{Allowance, Certainty, Kind, Standing, threshold};
use crate::bundle::{Bundle, Step, Uncertain, Wall};
use crate::condition::Scope;
use crate::decide::{Denial, Prefer, Verdict, code};
use crate::facts::Facts;
use crate::ledger::{Cap, Unit};
use crate::variable::BudgetFacts;
use tollgate_interaction::Usd;

/// What the budgets together want of routing.
#[derive(Default)]
struct Wanted {
    prefer: Option<Prefer>,
    /// How much of its budget was used by whoever wants that, in parts per ten thousand.
    used: i64,
}

/// Applies the budgets that are about the call: preferences and caps go into the verdict, refusals are returned, the
/// first of them first.
pub(crate) fn apply(
    bundle: &Bundle,
    facts: &Facts<'_>,
    standings: &[Standing<'_>],
    verdict: &mut Verdict,
) -> Vec<Denial> {
    let mut wanted = Wanted::default();
    let mut denials = Vec::new();
    for standing in standings {
        if let Kind::Budget(steps) = &standing.allowance.kind {
            denials.extend(apply_one(standing, steps, bundle, facts, verdict, &mut wanted));
        }
    }
    verdict.prefer = wanted.prefer;
    denials
}

fn apply_one(
    standing: &Standing<'_>,
    steps: &[Step],
    bundle: &Bundle,
    facts: &Facts<'_>,
    verdict: &mut Verdict,
    wanted: &mut Wanted,
) -> Option<Denial> {
    let Allowance { id, limit, .. } = standing.allowance;
    let uncertain = uncertain(standing);
    if let Some(response) = uncertain {
        verdict.explain(id, response.effect(), uncertainty(standing, response));
    }
    let share = Usd::new(*limit).basis_points_used(Usd::new(standing.used())).unwrap_or(i64::MAX);
    for step in steps {
        let ceiling = threshold(step.at, *limit);
        let reached = standing.used() >= ceiling && standing.certainty != Certainty::Missing;
        let assumed = matches!(uncertain, Some(Uncertain::Conservative | Uncertain::Deny));
        if reached || assumed {
            let changes = prefer(step, share, verdict, wanted);
            if reached && let Some(changes) = changes {
                verdict.explain(id, "prefer", format!("{}; {changes}", standing.figures(facts.signals_id)));
            }
        }
        let Some(wall) = &step.wall else { continue };
        if !reached && uncertain != Some(Uncertain::Deny) {
            if standing.certainty != Certainty::Missing {
                let (account, unit) = (standing.place, standing.allowance.unit);
                verdict.caps.push(Cap { account, unit, ceiling, fits: false });
            }
            continue;
        }
        let Wall::Unless(conditions) = wall else {
            return Some(denial(standing, facts, (wall, ceiling), reached));
        };
        let (spent, limit) = (Usd::new(standing.used_in_trillionths()), Usd::new(standing.limit_in_trillionths()));
        let known = BudgetFacts { spent, limit, certain: uncertain.is_none() };
        match conditions.hold(&Scope::of_budget(bundle, facts, known)) {
            Err(error) => return Some(Denial::of_error(id, &error)),
            Ok(true) => {
                let basis =
                    if reached { standing.figures(facts.signals_id) } else { "the spend is uncertain".to_owned() };
                verdict.explain(id, "allow", format!("{basis}; the call may go ahead because {conditions} holds"));
            }
            Ok(false) => return Some(denial(standing, facts, (wall, ceiling), reached)),
        }
    }
    None
}

/// What an allowance does about a reading that is old or missing; `None` for one that is certain.
pub(crate) fn uncertain(standing: &Standing<'_>) -> Option<Uncertain> {
    match standing.certainty {
        Certainty::Certain => None,
        Certainty::Stale { .. } => Some(standing.allowance.on_stale),
        Certainty::Missing => Some(standing.allowance.on_missing),
    }
}

/// Enters what a step wants of routing, and words it.
fn prefer(step: &Step, share: i64, verdict: &mut Verdict, wanted: &mut Wanted) -> Option<String> {
    let mut changes = Vec::new();
    if let Some(prefer) = &step.prefer {
        if wanted.prefer.is_none() || share >= wanted.used {
            *wanted = Wanted { prefer: Some(prefer.clone()), used: share };
        }
        changes.push(prefer.phrase());
    }
    if let Some(floor) = step.min_quality {
        verdict.min_quality = verdict.min_quality.max(Some(floor));
        changes.push(format!("with a quality of at least {}", floor));
    }
    (!changes.is_empty()).then(|| changes.join(", "))
}

fn denial(standing: &Standing<'_>, facts: &Facts<'_>, wall: (&Wall, i128), reached: bool) -> Denial {
    if reached { exceeded(standing, facts, wall) } else { unknown_spend(standing) }
}

fn exceeded(standing: &Standing<'_>, facts: &Facts<'_>, (wall, ceiling): (&Wall, i128)) -> Denial {
    let (id, figures) = (&standing.allowance.id, standing.figures(facts.signals_id));
    let (message, detail) = match wall {
        Wall::Unless(conditions) => (String::new(), format!("{figures}; budget `{id}` then allows only {conditions}")),
        Wall::Always { message } => (message.clone(), format!("{figures}; budget `{id}` then denies")),
    };
    let said = if message.is_empty() { String::new() } else { format!(": {message}") };
    let wait = match standing.tally.window {
        _ if standing.is_held_back(ceiling) => "wait for calls under way to end".to_owned(),
        crate::window::Window::Rolling { .. } => format!("wait until {}", standing.next_text(facts.now_us)),
        _ => format!("wait for {}", standing.next_text(facts.now_us)),
    };
    Denial {
        rule: id.clone(),
        code: code::BUDGET_EXCEEDED,
        message: format!("{} (budget `{id}`){said}", standing.refusal(ceiling)),
        hint: format!("{wait} or ask for a larger budget"),
        detail,
        retry_after_s: Some(standing.retry_after_s(facts.now_us, ceiling)),
    }
}

pub(crate) fn unknown_spend(standing: &Standing<'_>) -> Denial {
    let id = &standing.allowance.id;
    let kind = if matches!(standing.allowance.kind, Kind::Budget(_)) { "budget" } else { "limit" };
    let what = match standing.certainty {
        Certainty::Stale { age_s } => format!("{} was last known {age_s} s ago", standing.what()),
        _ => format!("{} is not known", standing.what()),
    };
    Denial {
        rule: id.clone(),
        code: code::SPEND_UNKNOWN,
        message: format!("{what}, and {kind} `{id}` denies calls until it is"),
        detail: format!("{what}, and {kind} `{id}` denies in that case"),
        hint: "try again in a minute; if it lasts, tell whoever runs the gateway".to_owned(),
        retry_after_s: None,
    }
}

pub(crate) fn uncertainty(standing: &Standing<'_>, response: Uncertain) -> String {
    let Allowance { id, max_snapshot_age_s, .. } = standing.allowance;
    let what = match standing.certainty {
        Certainty::Stale { age_s } => {
            let accepts = format!("over the {max_snapshot_age_s} s that budget `{id}` accepts");
            format!("{} is {age_s} s old, {accepts}", standing.what())
        }
        _ => format!("{} is not known", standing.what()),
    };
    let consequence = match response {
        Uncertain::Allow => "going by the last known figure",
        Uncertain::Conservative => "preferring as if the budget were used up, denying by the last known figure",
        Uncertain::Deny => "acting as if the budget were used up",
    };
    format!("{what}; {consequence}")
}

impl Standing<'_> {
    /// What conditions see of any unit: one token or call is a whole dollar.
    fn used_in_trillionths(&self) -> i128 {
        in_trillionths(self.allowance.unit, self.used())
    }

    fn limit_in_trillionths(&self) -> i128 {
        in_trillionths(self.allowance.unit, self.allowance.limit)
    }
}

fn in_trillionths(unit: Unit, amount: i128) -> i128 {
    if unit == Unit::Usd { amount } else { amount.saturating_mul(Usd::from_dollars(1).get()) }
}

impl Uncertain {
    const fn effect(self) -> &'static str {
        match self {
            Uncertain::Allow => "allow",
            Uncertain::Conservative => "prefer",
            Uncertain::Deny => "deny",
        }
    }
}

impl Prefer {
    pub(crate) fn phrase(&self) -> String {
        match self {
            Prefer::Cheapest => "preferring the cheapest target".to_owned(),
            Prefer::Tag(tag) => format!("preferring targets tagged `{tag}`"),
        }
    }
}
