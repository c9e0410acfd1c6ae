//! Residency at the gateway: which targets of a call the policy leaves out, and the refusal when it leaves out all.

use tollgate_interaction::{Decision, Reason};
use tollgate_policy::residency::NO_ELIGIBLE_TARGET;

use crate::call::Call;
use crate::error::CallError;

/// Why a target may not be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exclusion {
    /// Rule of the bundle.
    pub(crate) rule: String,
    /// What is missing.
    pub(crate) why: String,
}

impl Exclusion {
    /// For the list of candidates: the rule, and what it misses.
    pub(crate) fn why_not(&self) -> String {
        format!("{}: {}", self.rule, self.why)
    }
}

/// Notes on the record that no target is left, and words the refusal. `excluded` is why each of them is not there.
pub(crate) fn refuse(call: &mut Call, excluded: &[(String, Exclusion)]) -> CallError {
    let record = &mut call.record;
    record.decision = Decision::Deny;
    for (target, exclusion) in excluded {
        let Exclusion { rule, why } = exclusion;
        let detail = format!("rule `{rule}` leaves out the target `{target}`: {why}");
        let reason = Reason { rule: rule.clone(), effect: "deny".to_owned(), detail };
        if !record.decision_reasons.contains(&reason) {
            record.decision_reasons.push(reason);
        }
    }
    let model = &record.model_requested;
    let first = excluded.first().map(|(target, exclusion)| format!("`{target}`: {}", exclusion.why_not()));
    let message = format!(
        "no target of model `{model}` may be called with this data ({}); choose another model, or ask whoever maintains \
         the gateway's policy",
        first.unwrap_or_default()
    );
    CallError::Denied { code: NO_ELIGIBLE_TARGET, message, retry_after: None }
}
