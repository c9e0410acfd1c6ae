//! The decision. Access rules first (default deny, a matching `deny` wins), then the budgets and limits that are about the
//! call. Every rule that had a part in it is named in the verdict with the figures it went by.

use std::cell::RefCell;

use tollgate_interaction::{Decision, Reason, Share};

use crate::budget;
use crate::bundle::{AccessRule, Bundle, DATA_CLASS_LABEL, Effect};
use crate::condition::{EvaluationError, Recall, Scope};
use crate::facts::Facts;
use crate::ledger::Cap;
use crate::rate;
use crate::suggestion;

/// Stable codes of verdicts, as callers see them.
pub mod code {
    /// The call may go ahead.
    pub const ALLOWED: &str = "allowed";
    /// No access rule allows it, or one denies it.
    pub const ACCESS_DENIED: &str = "access_denied";
    /// The caller may do this, but not with this model.
    pub const MODEL_NOT_ALLOWED: &str = "model_not_allowed";
    /// The caller may use this model, but not for this.
    pub const OPERATION_NOT_ALLOWED: &str = "operation_not_allowed";
    /// The team's budget is spent.
    pub const BUDGET_EXCEEDED: &str = "budget_exceeded";
    /// It is not known (recently enough) what the team has spent, and the bundle denies in that case.
    pub const SPEND_UNKNOWN: &str = "spend_unknown";
    /// A condition of the bundle failed to evaluate.
    pub const POLICY_ERROR: &str = "policy_error";
    /// The caller's label `data_class` is none of the bundle's classes.
    pub const DATA_CLASS_UNKNOWN: &str = "data_class_unknown";
    /// A limit on calls, tokens, cost or calls at once is reached.
    pub const RATE_LIMITED: &str = "rate_limited";
    /// The key is past its expiry.
    pub const KEY_EXPIRED: &str = "key_expired";

    /// All of them.
    pub const ALL: [&str; 10] = [
        ALLOWED,
        ACCESS_DENIED,
        MODEL_NOT_ALLOWED,
        OPERATION_NOT_ALLOWED,
        BUDGET_EXCEEDED,
        SPEND_UNKNOWN,
        RATE_LIMITED,
        DATA_CLASS_UNKNOWN,
        POLICY_ERROR,
        KEY_EXPIRED,
    ];
}

/// Which target of a route to take, where there is a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prefer {
    /// The one with the lowest price.
    Cheapest,
    /// One whose provider carries this tag.
    Tag(String),
}

/// The outcome of one decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the call may go ahead.
    pub decision: Decision,
    /// The rules that had a part in it, in the order they were applied.
    pub reasons: Vec<Reason>,
    /// What routing should prefer; `None` for what the route says.
    pub prefer: Option<Prefer>,
    /// Quality that routing should want of a target; `None` for what the route says.
    pub min_quality: Option<Share>,
    /// What must still hold when the call reserves: see [`crate::ledger::Books::reserve`]. Empty for a denial.
    pub caps: Vec<Cap>,
    /// After how many seconds the same call may be let through, if that is known.
    pub retry_after_s: Option<u64>,
    /// One of [`code`]; `allowed` if the call may go ahead.
    pub code: &'static str,
    /// For the caller: what was refused and why. Empty if the call may go ahead.
    pub message: String,
    /// For the caller: what to do about it. Empty if the call may go ahead.
    pub hint: String,
}

/// Decides one call. Reads nothing but its arguments; evaluates a condition only if its rule applies.
#[must_use]
pub fn decide(bundle: &Bundle, facts: &Facts<'_>) -> Verdict {
    decide_in(bundle, facts, Scope::of_request(bundle, facts))
}

/// As [`decide`], for one of many calls that are put to the same bundle: what conditions of access rules came to is looked up
/// in `recall`, which is of this bundle alone.
#[must_use]
pub fn decide_recalling(bundle: &Bundle, facts: &Facts<'_>, recall: &RefCell<Recall>) -> Verdict {
    decide_in(bundle, facts, Scope::of_request(bundle, facts).recalling(recall))
}

fn decide_in(bundle: &Bundle, facts: &Facts<'_>, scope: Scope<'_>) -> Verdict {
    let mut verdict = Verdict {
        decision: Decision::Allow,
        reasons: Vec::with_capacity(2),
        prefer: None,
        min_quality: None,
        caps: Vec::new(),
        retry_after_s: None,
        code: code::ALLOWED,
        message: String::new(),
        hint: String::new(),
    };
    let denied = expired(facts).or_else(|| misclassified(bundle, facts));
    if let Some(denial) = denied.or_else(|| access(bundle, facts, &scope, &mut verdict)) {
        verdict.deny(denial);
        return verdict;
    }
    let standings = bundle.standings(facts);
    let mut denials = budget::apply(bundle, facts, &standings, &mut verdict);
    denials.extend(rate::apply(facts, &standings, &mut verdict));
    verdict.deny_all(denials);
    verdict
}

/// Why a call may not go ahead.
pub(crate) struct Denial {
    pub(crate) rule: String,
    pub(crate) code: &'static str,
    /// For the log.
    pub(crate) detail: String,
    /// For the caller.
    pub(crate) message: String,
    pub(crate) hint: String,
    pub(crate) retry_after_s: Option<u64>,
}

impl Verdict {
    pub(crate) fn explain(&mut self, rule: &str, effect: &str, detail: String) {
        self.reasons.push(Reason { rule: rule.to_owned(), effect: effect.to_owned(), detail });
    }

    fn deny(&mut self, denial: Denial) {
        self.deny_all(vec![denial]);
    }

    /// Denies if there is a reason to. All are named; the caller is told the first, and to wait for the last.
    fn deny_all(&mut self, denials: Vec<Denial>) {
        let waits: Option<Vec<u64>> = denials.iter().map(|denial| denial.retry_after_s).collect();
        for denial in denials {
            self.explain(&denial.rule, "deny", denial.detail);
            if self.decision != Decision::Deny {
                (self.code, self.message, self.hint) = (denial.code, denial.message, denial.hint);
            }
            self.decision = Decision::Deny;
        }
        if self.decision == Decision::Deny {
            (self.prefer, self.min_quality) = (None, None);
            self.caps.clear();
            self.retry_after_s = waits.and_then(|waits| waits.into_iter().max());
        }
    }
}

impl Denial {
    /// `on_error: deny`: what cannot be evaluated cannot be allowed.
    pub(crate) fn of_error(rule: &str, error: &EvaluationError) -> Denial {
        let detail = format!("a condition of rule `{rule}` could not be evaluated: {error}");
        Denial {
            rule: rule.to_owned(),
            code: code::POLICY_ERROR,
            message: format!("the gateway's policy failed on this call: {detail}"),
            hint: "ask whoever maintains the gateway's policy to correct that condition".to_owned(),
            detail,
            retry_after_s: None,
        }
    }
}

fn expired(facts: &Facts<'_>) -> Option<Denial> {
    let expires_at_us = facts.principal.expires_at_us?;
    if facts.now_us < expires_at_us {
        return None;
    }
    let key_id = &facts.principal.key_id;
    let (message, hint) = match facts.principal.is_superseded {
        true => (format!("this secret of the key `{key_id}` was replaced"), "use the new one"),
        false => (format!("the key `{key_id}` has expired"), "ask for a new key"),
    };
    Some(Denial {
        rule: "builtin/key-expiry".to_owned(),
        code: code::KEY_EXPIRED,
        detail: message.clone(),
        message,
        hint: hint.to_owned(),
        retry_after_s: None,
    })
}

/// Whoever writes a class that is none may have meant any: what that would allow is not guessed at.
fn misclassified(bundle: &Bundle, facts: &Facts<'_>) -> Option<Denial> {
    let label = facts.label(DATA_CLASS_LABEL)?;
    let mut classes = bundle.data_class_names().peekable();
    if classes.peek().is_none() || classes.any(|class| class == label) {
        return None;
    }
    let classes: Vec<&str> = bundle.data_class_names().collect();
    let advice = suggestion::phrase(label, classes.iter().copied());
    let message = format!("the label `{DATA_CLASS_LABEL}` says `{label}`, which is no class of data here{advice}");
    Some(Denial {
        rule: "builtin/data-class".to_owned(),
        code: code::DATA_CLASS_UNKNOWN,
        detail: message.clone(),
        message,
        hint: format!("write one of `{}`, or leave the label out", classes.join("`, `")),
        retry_after_s: None,
    })
}

/// Every `deny` that matches wins over every `allow`, wherever they stand.
fn access(bundle: &Bundle, facts: &Facts<'_>, scope: &Scope<'_>, verdict: &mut Verdict) -> Option<Denial> {
    let mut allowed_by: Option<&AccessRule> = None;
    let mut nearly: Option<(&AccessRule, &'static str)> = None;
    for rule in &bundle.access {
        if allowed_by.is_some() && matches!(rule.effect, Effect::Allow { .. }) {
            continue;
        }
        match rule.when.hold(scope) {
            Err(error) => return Some(Denial::of_error(&rule.id, &error)),
            Ok(false) => continue,
            Ok(true) => {}
        }
        match &rule.effect {
            Effect::Deny { message } => return Some(denied_by(rule, message)),
            Effect::Allow { models, operations } => {
                let operation_fits = operations.is_empty() || operations.contains(&facts.operation);
                let model_fits = models.is_empty() || models.iter().any(|pattern| pattern.matches(facts.model));
                match (operation_fits, model_fits) {
                    (true, true) => allowed_by = Some(rule),
                    (true, false) => nearly = Some((rule, code::MODEL_NOT_ALLOWED)),
                    (false, _) => nearly = nearly.or(Some((rule, code::OPERATION_NOT_ALLOWED))),
                }
            }
        }
    }
    let Some(rule) = allowed_by else {
        return Some(not_allowed(facts, nearly));
    };
    verdict.explain(&rule.id, "allow", format!("access rule `{}` allows the call", rule.id));
    None
}

fn denied_by(rule: &AccessRule, message: &str) -> Denial {
    Denial {
        rule: rule.id.clone(),
        code: code::ACCESS_DENIED,
        detail: format!("access rule `{}` denies the call: {message}", rule.id),
        message: message.to_owned(),
        hint: format!("the policy rule is `{}`; ask whoever maintains the gateway's policy", rule.id),
        retry_after_s: None,
    }
}

fn not_allowed(facts: &Facts<'_>, nearly: Option<(&AccessRule, &'static str)>) -> Denial {
    let team = &facts.principal.team;
    let model = match facts.model {
        "" => "that a provider chooses for a call without one".to_owned(),
        model => format!("`{model}`"),
    };
    let (rule, code, message) = match nearly {
        Some((rule, code::MODEL_NOT_ALLOWED)) => {
            let message = format!("team `{team}` may not use the model {model}");
            (rule.id.clone(), code::MODEL_NOT_ALLOWED, message)
        }
        Some((rule, code)) => {
            (rule.id.clone(), code, format!("team `{team}` may not call the operation `{}`", facts.operation))
        }
        None => {
            let message = format!("no access rule allows team `{team}` to call the model {model}");
            ("builtin/default-deny".to_owned(), code::ACCESS_DENIED, message)
        }
    };
    let hint = match facts.model {
        "" => "ask whoever maintains the gateway's policy; an access rule without `models` allows calls that name none",
        _ => "choose another model, or ask whoever maintains the gateway's policy",
    };
    Denial { rule, code, detail: message.clone(), message, hint: hint.to_owned(), retry_after_s: None }
}
