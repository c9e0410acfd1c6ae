//! May this call go ahead: what the team has spent and what the call may cost go to the policy bundle, and its verdict,
//! with the reasons, onto the record. The decision itself is [`tollgate_policy::decide()`]'s.

use std::sync::Arc;

use tollgate_interaction::{Decision, Interaction};
use tollgate_policy::control::{ControlSnapshot, Principal};
use tollgate_policy::signals::SignalsSnapshot;
use tollgate_policy::{Bundle, Facts, Prefer, Spend, decide};
use tollgate_provider::RequestHead;

use crate::call::Call;
use crate::dispatch;
use crate::error::CallError;
use crate::route::Course;

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
    let facts = request_facts(bundle, record, principal, head, admitted.now_us);
    Facts { spend: admitted.spend, signals_id: &admitted.signals.id, ..facts }
}

/// What policy is told of a call before anything is looked up.
pub(crate) fn request_facts<'a>(
    bundle: &'a Bundle,
    record: &'a Interaction,
    principal: &'a Principal,
    head: &'a RequestHead,
    now_us: i64,
) -> Facts<'a> {
    let facts = Facts {
        stream: head.stream,
        metadata: &record.tags,
        user_ref: record.user_ref.as_deref(),
        estimated_input_tokens: Some(head.estimated_input_tokens),
        capabilities: &record.capabilities,
        ..Facts::new(principal, record.operation, record.dialect, &head.model, now_us)
    };
    Facts { priority: facts.label(PRIORITY), data_class: bundle.data_class(&facts), ..facts }
}

/// Output tokens that a call is estimated by.
pub(crate) fn output_tokens(head: &RequestHead) -> u64 {
    head.max_output_tokens.unwrap_or(ASSUMED_OUTPUT_TOKENS).saturating_mul(head.choices)
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
    course: &Course,
) -> Result<Admitted, CallError> {
    let now_us = call.now_us();
    let estimate = dispatch::dearest(course, head.estimated_input_tokens, output_tokens(head));
    let standing = call.gateway.ledger.reserve(&principal.team, estimate, now_us);
    call.reserved = Some(estimate);
    call.principal = Some(Arc::clone(principal));
    let mut admitted = Admitted { prefer: None, signals: standing.signals, spend: standing.spend, now_us };
    let facts = facts(&control.bundle, &call.record, principal, head, &admitted);
    let (verdict, data_class) = (decide(&control.bundle, &facts), facts.data_class.map(str::to_owned));
    let record = &mut call.record;
    record.decided_at_us = Some(now_us);
    record.data_class = data_class;
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
