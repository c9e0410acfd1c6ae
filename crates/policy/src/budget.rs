//! Budgets: what a team may spend in a calendar month (UTC), in steps. This module counts nothing: the spend comes with
//! the facts, and when it is unknown or old the budget says what that means.

use chrono::{DateTime, Months};
use tollgate_interaction::Usd;

use crate::bundle::{Budget, Bundle, StepAction, Uncertain};
use crate::condition::{Conditions, Scope};
use crate::decide::{Denial, Prefer, Verdict, code};
use crate::facts::Facts;
use crate::signals;
use crate::variable::BudgetFacts;

/// One whole share of a limit, see the steps of [`crate::bundle::Budget`].
const WHOLE: Usd = Usd::from_dollars(1);

/// How sure the spend is.
enum Certainty {
    Certain,
    Stale { age_s: u64 },
    Missing,
}

/// Applies the budgets that cover the caller's team: preferences go into the verdict, a refusal is returned.
pub(crate) fn apply(bundle: &Bundle, facts: &Facts<'_>, verdict: &mut Verdict) -> Option<Denial> {
    if bundle.budgets.is_empty() {
        return None;
    }
    let team = facts.principal.team.as_str();
    let has_its_own = bundle.budgets.iter().any(|budget| budget.team.as_deref() == Some(team));
    for budget in &bundle.budgets {
        let covers = match &budget.team {
            Some(named) => named == team,
            None => !has_its_own,
        };
        if !covers {
            continue;
        }
        if let Some(denial) = apply_one(budget, bundle, facts, verdict) {
            return Some(denial);
        }
    }
    None
}

/// The spend of the month, and how sure it is.
fn spend(budget: &Budget, facts: &Facts<'_>) -> (Usd, Certainty) {
    match facts.spend {
        None => (Usd::ZERO, Certainty::Missing),
        Some(spend) if spend.age_s > budget.max_snapshot_age_s => {
            (spend.month_to_date, Certainty::Stale { age_s: spend.age_s })
        }
        Some(spend) => (spend.month_to_date, Certainty::Certain),
    }
}

fn apply_one(budget: &Budget, bundle: &Bundle, facts: &Facts<'_>, verdict: &mut Verdict) -> Option<Denial> {
    let (spent, certainty) = spend(budget, facts);
    let uncertain = match certainty {
        Certainty::Certain => None,
        Certainty::Stale { .. } => Some(budget.on_stale),
        Certainty::Missing => Some(budget.on_missing),
    };
    if let Some(response) = uncertain {
        verdict.explain(&budget.id, response.effect(), uncertainty(budget, facts, &certainty, response));
    }
    for step in &budget.steps {
        let reached = is_reached(step.at, spent, budget.limit) && !matches!(certainty, Certainty::Missing);
        match &step.action {
            StepAction::Prefer(prefer) => {
                let assumed = matches!(uncertain, Some(Uncertain::Conservative | Uncertain::Deny));
                if reached {
                    verdict.explain(
                        &budget.id,
                        "prefer",
                        format!("{}; {}", figures(budget, facts, spent), prefer.phrase()),
                    );
                }
                if reached || assumed {
                    verdict.prefer = Some(prefer.clone());
                }
            }
            StepAction::DenyUnless(conditions) => {
                let assumed = uncertain == Some(Uncertain::Deny);
                if !reached && !assumed {
                    continue;
                }
                let known = BudgetFacts { spent, limit: budget.limit, certain: uncertain.is_none() };
                match conditions.hold(&Scope::of_budget(bundle, facts, known)) {
                    Err(error) => return Some(Denial::of_error(&budget.id, &error)),
                    Ok(true) => {
                        verdict.explain(&budget.id, "allow", exempted(budget, facts, spent, conditions, reached))
                    }
                    Ok(false) if reached => return Some(exceeded(budget, facts, spent, conditions)),
                    Ok(false) => return Some(unknown_spend(budget, facts, &certainty)),
                }
            }
        }
    }
    None
}

/// Exactly at the threshold counts as over it. Both sides are whole numbers: nothing is rounded.
fn is_reached(at: Usd, spent: Usd, limit: Usd) -> bool {
    spent.get().saturating_mul(WHOLE.get()) >= at.get().saturating_mul(limit.get())
}

/// "team `kyc` has spent 81.20 of 100.00 USD this month (81 %), as of signals sig-…".
fn figures(budget: &Budget, facts: &Facts<'_>, spent: Usd) -> String {
    let team = &facts.principal.team;
    let share = budget.limit.basis_points_used(spent).map(|points| format!(" ({} %)", points / 100));
    let source = match facts.signals_id {
        "" => String::new(),
        id => format!(", as of signals {id}"),
    };
    let (spent, limit) = (readable(spent, budget.limit), readable(budget.limit, budget.limit));
    format!("team `{team}` has spent {spent} of {limit} USD this month{}{source}", share.unwrap_or_default())
}

/// Whole cents, rounded down; every place of budgets so small that cents would say nothing.
fn readable(amount: Usd, limit: Usd) -> String {
    const CENT: i128 = 10_000_000_000;
    if limit < WHOLE {
        return amount.to_string();
    }
    Usd::new(amount.get().div_euclid(CENT) * CENT).to_string()
}

fn exempted(budget: &Budget, facts: &Facts<'_>, spent: Usd, conditions: &Conditions, reached: bool) -> String {
    let basis = if reached { figures(budget, facts, spent) } else { "the spend is uncertain".to_owned() };
    format!("{basis}; the call may go ahead because {conditions} holds")
}

fn exceeded(budget: &Budget, facts: &Facts<'_>, spent: Usd, conditions: &Conditions) -> Denial {
    let detail = format!("{}; budget `{}` then allows only {conditions}", figures(budget, facts, spent), budget.id);
    let (spent, limit) = (readable(spent, budget.limit), readable(budget.limit, budget.limit));
    let team = &facts.principal.team;
    Denial {
        rule: budget.id.clone(),
        code: code::BUDGET_EXCEEDED,
        message: format!("team `{team}` has spent {spent} of its {limit} USD for this month (budget `{}`)", budget.id),
        hint: format!("wait for {} (UTC) or ask for a larger budget", next_month(facts.now_us)),
        detail,
    }
}

fn unknown_spend(budget: &Budget, facts: &Facts<'_>, certainty: &Certainty) -> Denial {
    let team = &facts.principal.team;
    let what = match certainty {
        Certainty::Stale { age_s } => format!("the spend of team `{team}` was last known {age_s} s ago"),
        _ => format!("the spend of team `{team}` is not known"),
    };
    Denial {
        rule: budget.id.clone(),
        code: code::SPEND_UNKNOWN,
        message: format!("{what}, and budget `{}` denies calls until it is", budget.id),
        detail: format!("{what}, and budget `{}` denies in that case", budget.id),
        hint: "try again in a minute; if it lasts, tell whoever runs the gateway".to_owned(),
    }
}

fn uncertainty(budget: &Budget, facts: &Facts<'_>, certainty: &Certainty, response: Uncertain) -> String {
    let team = &facts.principal.team;
    let what = match certainty {
        Certainty::Stale { age_s } => {
            let limit_s = budget.max_snapshot_age_s;
            format!(
                "the spend of team `{team}` is {age_s} s old, over the {limit_s} s that budget `{}` accepts",
                budget.id
            )
        }
        _ => format!("the spend of team `{team}` is not known"),
    };
    let consequence = match response {
        Uncertain::Allow => "going by the last known figure",
        Uncertain::Conservative => "preferring as if the budget were used up, denying by the last known figure",
        Uncertain::Deny => "acting as if the budget were used up",
    };
    format!("{what}; {consequence}")
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

/// The first of the next month, as `2026-12-01`.
fn next_month(now_us: i64) -> String {
    let first = DateTime::from_timestamp_micros(signals::month_start_us(now_us)).unwrap_or_default();
    let next = first.date_naive().checked_add_months(Months::new(1)).unwrap_or_default();
    next.format("%Y-%m-%d").to_string()
}
