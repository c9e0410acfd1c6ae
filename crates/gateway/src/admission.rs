//! May this call go ahead: what the team has spent and what the call may cost go to the policy bundle, and its verdict,
//! with the reasons, onto the record. The decision itself is [`tollgate_policy::decide()`]'s.

use std::sync::Arc;

use tollgate_interaction::{Decision, Interaction};
use tollgate_policy::control::{ControlSnapshot, Principal};
use tollgate_policy::signals::SignalsSnapshot;
use tollgate_policy::{Bundle, Facts, Prefer, Spend, decide};
use tollgate_provider::RequestHead;

use crate::call::Call;
use crate::error::CallError;
use crate::route::Resolved;

/// Output tokens reserved for a call that sets no limit of its own.
const ASSUMED_OUTPUT_TOKENS: u64 = 1_000;
/// Label whose value policy knows as the call's priority.
const PRIORITY: &str = "priority";

/// What an admitted call goes on with.
pub(crate) struct Admitted {
    pub(crate) prefer: Option<Prefer>,
    pub(crate) signals: Arc<SignalsSnapshot>,
    /// What the team had spent, as far as known.
    spend: Option<Spend>,
    /// When it was asked.
    pub(crate) now_us: i64,
}

/// What policy is told of a call.
pub(crate) fn facts<'a>(
    bundle: &'a Bundle,
    record: &'a Interaction,
    principal: &'a Principal,
    head: &'a RequestHead,
    admitted: &'a Admitted,
) -> Facts<'a> {
    let facts = Facts {
        stream: head.stream,
        metadata: &record.tags,
        user_ref: record.user_ref.as_deref(),
        estimated_input_tokens: Some(head.estimated_input_tokens),
        spend: admitted.spend,
        signals_id: &admitted.signals.id,
        ..Facts::new(principal, record.operation, record.dialect, &head.model, admitted.now_us)
    };
    Facts { priority: facts.label(PRIORITY), data_class: bundle.data_class(&facts), ..facts }
}

/// Asks policy, and holds a reservation in the spend ledger from here on.
///
/// # Errors
/// [`CallError::Denied`] in the words of the bundle.
pub(crate) fn admit(
    call: &mut Call,
    control: &ControlSnapshot,
    principal: &Arc<Principal>,
    head: &RequestHead,
    resolved: &Resolved,
) -> Result<Admitted, CallError> {
    let now_us = call.now_us();
    let output_tokens = head.max_output_tokens.unwrap_or(ASSUMED_OUTPUT_TOKENS).saturating_mul(head.choices);
    let estimates = resolved.targets.iter().map(|target| target.estimate(head.estimated_input_tokens, output_tokens));
    let estimate = estimates.max().unwrap_or_default();
    let standing = call.gateway.ledger.reserve(&principal.team, estimate, now_us);
    call.reserved = Some(estimate);
    call.principal = Some(Arc::clone(principal));
    let mut admitted = Admitted { prefer: None, signals: standing.signals, spend: standing.spend, now_us };
    let verdict = decide(&control.bundle, &facts(&control.bundle, &call.record, principal, head, &admitted));
    let record = &mut call.record;
    record.decided_at_us = Some(now_us);
    record.decision = verdict.decision;
    record.decision_reasons = verdict.reasons;
    record.policy_bundle_hash = Some(control.bundle.hash.clone());
    record.signals_id = Some(&admitted.signals.id).filter(|id| !id.is_empty()).cloned();
    if verdict.decision == Decision::Deny {
        let message =
            if verdict.hint.is_empty() { verdict.message } else { format!("{}; {}", verdict.message, verdict.hint) };
        return Err(CallError::Denied { code: verdict.code, message });
    }
    admitted.prefer = verdict.prefer;
    Ok(admitted)
}
