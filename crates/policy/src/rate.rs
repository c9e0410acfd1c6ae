//! Limits: walls for calls, tokens, cost or calls at once, per scope and window. A call that would go over one is turned
//! away for a while: its own estimate counts, so that a limit is kept as exactly as the estimates are.
//!
//! While the log has not been counted yet, a limit goes by what this process has seen, unless it says `on_missing: deny`.

use crate::allowance::{Kind, Standing, readable, unit_name};
use crate::budget::{uncertain, uncertainty, unknown_spend};
use crate::bundle::Uncertain;
use crate::decide::{Denial, Verdict, code};
use crate::facts::Facts;
use crate::ledger::{Cap, Unit};

/// Applies the limits that are about the call: caps go into the verdict, refusals are returned.
pub(crate) fn apply(facts: &Facts<'_>, standings: &[Standing<'_>], verdict: &mut Verdict) -> Vec<Denial> {
    let limits = standings.iter().filter(|standing| matches!(standing.allowance.kind, Kind::Limit));
    limits.filter_map(|standing| apply_one(standing, facts, verdict)).collect()
}

fn apply_one(standing: &Standing<'_>, facts: &Facts<'_>, verdict: &mut Verdict) -> Option<Denial> {
    let allowance = standing.allowance;
    let cap = Cap { account: standing.place, unit: allowance.unit, ceiling: allowance.limit, fits: true };
    match uncertain(standing) {
        Some(Uncertain::Deny) => return Some(unknown_spend(standing)),
        Some(response @ Uncertain::Conservative) => {
            verdict.explain(&allowance.id, "allow", uncertainty(standing, response));
        }
        Some(Uncertain::Allow) | None => {}
    }
    if cap.holds(&standing.reading, &facts.estimate) {
        verdict.caps.push(cap);
        return None;
    }
    Some(over(standing, facts))
}

fn over(standing: &Standing<'_>, facts: &Facts<'_>) -> Denial {
    let (id, unit, limit) = (&standing.allowance.id, standing.allowance.unit, standing.allowance.limit);
    let figures = standing.figures(facts.signals_id);
    let own = facts.estimate.get(unit);
    let own_text = match unit {
        Unit::Usd | Unit::Tokens => {
            format!(", and this call may take {} {}", readable(unit, own, limit), unit_name(unit))
        }
        Unit::Calls | Unit::Concurrency => String::new(),
    };
    let who = standing.who();
    if own > limit {
        let (own, of, name) = (readable(unit, own, limit), readable(unit, limit, limit), unit_name(unit));
        let (message, hint) = match unit {
            Unit::Usd | Unit::Tokens => (
                format!("this call alone may take {own} {name}, and limit `{id}` gives {who} {of}"),
                "lower the maximum of output tokens, or ask for a higher limit",
            ),
            // A call is one: only nothing is less.
            Unit::Calls | Unit::Concurrency => {
                (format!("limit `{id}` lets {who} make no call at all"), "ask whoever maintains the gateway's policy")
            }
        };
        return Denial {
            rule: id.clone(),
            code: code::RATE_LIMITED,
            message,
            detail: format!("{figures}{own_text}; limit `{id}` has no room for it at any time"),
            hint: hint.to_owned(),
            retry_after_s: None,
        };
    }
    // What was spent must leave room for all of the call.
    let ceiling = limit - own + 1;
    let retry_after_s = standing.retry_after_s(facts.now_us, ceiling);
    let hint = match unit {
        Unit::Concurrency => "wait for a call to end, or ask for a higher limit".to_owned(),
        _ => format!("try again in {retry_after_s} s, or ask for a higher limit"),
    };
    Denial {
        rule: id.clone(),
        code: code::RATE_LIMITED,
        message: format!("{}{own_text} (limit `{id}`)", standing.refusal(ceiling)),
        detail: format!("{figures}{own_text}; limit `{id}` turns the call away"),
        hint,
        retry_after_s: Some(retry_after_s),
    }
}
