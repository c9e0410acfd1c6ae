//! May this call go ahead: what the team has spent and what the call may cost go to the policy bundle, and its verdict,
//! with the reasons, onto the record. The decision itself is [`tollgate_policy::decide()`]'s.

use std::sync::Arc;

use tollgate_interaction::{Decision, Interaction};
use tollgate_policy::control::{ControlSnapshot, Principal};
use tollgate_policy::signals::SignalsSnapshot;
use tollgate_policy::{Facts, Prefer, Spend, decide};
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
    /// When it was asked.
    pub(crate) now_us: i64,
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
    let record = &mut call.record;
    let facts = facts(record, principal, head, standing.spend, &standing.signals.id, now_us);
    let verdict = decide(&control.bundle, &facts);
    record.decision = verdict.decision;
    record.decision_reasons = verdict.reasons;
    record.policy_bundle_hash = Some(control.bundle.hash.clone());
    record.signals_id = Some(&standing.signals.id).filter(|id| !id.is_empty()).cloned();
    if verdict.decision == Decision::Deny {
        let message =
            if verdict.hint.is_empty() { verdict.message } else { format!("{}; {}", verdict.message, verdict.hint) };
        return Err(CallError::Denied { code: verdict.code, message });
    }
    Ok(Admitted { prefer: verdict.prefer, signals: standing.signals, now_us })
}

/// Output tokens that a call is estimated by.
pub(crate) fn output_tokens(head: &RequestHead) -> u64 {
    head.max_output_tokens.unwrap_or(ASSUMED_OUTPUT_TOKENS).saturating_mul(head.choices)
}

/// What the bundle is told of a call.
pub(crate) fn facts<'a>(
    record: &'a Interaction,
    principal: &'a Principal,
    head: &'a RequestHead,
    spend: Option<Spend>,
    signals_id: &'a str,
    now_us: i64,
) -> Facts<'a> {
    let priority = record.tags.iter().find(|(name, _)| name == PRIORITY).map(|(_, value)| value.as_str());
    Facts {
        principal,
        operation: record.operation,
        dialect: record.dialect,
        model: &head.model,
        stream: head.stream,
        priority,
        metadata: &record.tags,
        spend,
        signals_id,
        now_us,
    }
}
