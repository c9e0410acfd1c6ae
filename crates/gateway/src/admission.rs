//! May this call go ahead: what was spent and what the call may cost go to the policy bundle, and its verdict,
//! with the reasons, onto the record. The decision itself is [`tollgate_policy::decide()`]'s.

use std::sync::Arc;
use std::time::Duration;

use tollgate_interaction::{Decision, Interaction, Share};
use tollgate_policy::control::{ControlSnapshot, Principal};
use tollgate_policy::ledger::Amounts;
use tollgate_policy::signals::SignalsSnapshot;
use tollgate_policy::{Bundle, Facts, Prefer};
use tollgate_provider::RequestHead;

use crate::call::Call;
use crate::dispatch;
use crate::error::CallError;
use crate::route::Course;
use crate::spending::{self, Reserved};

/// Output tokens reserved for a call that sets no limit of its own.
const ASSUMED_OUTPUT_TOKENS: u64 = 1_000;
/// Label whose value policy knows as the call's priority.
const PRIORITY: &str = "priority";

/// What an admitted call goes on with.
pub(crate) struct Admitted {
    pub(crate) prefer: Option<Prefer>,
    pub(crate) min_quality: Option<Share>,
    pub(crate) signals: Arc<SignalsSnapshot>,
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
    let facts = request_facts(bundle, record, principal, head.into(), admitted.now_us);
    Facts { signals_id: &admitted.signals.id, ..facts }
}

/// What the head of a request says; nothing if it cannot be read.
#[derive(Clone, Copy, Default)]
pub(crate) struct Asked<'a> {
    model: &'a str,
    stream: bool,
    estimated_input_tokens: Option<u64>,
}

impl<'a> From<&'a RequestHead> for Asked<'a> {
    fn from(head: &'a RequestHead) -> Self {
        let estimated_input_tokens = Some(head.estimated_input_tokens);
        Asked { model: &head.model, stream: head.stream, estimated_input_tokens }
    }
}

/// What policy is told of a call before anything is looked up, and guardrails as far as it is known by then.
pub(crate) fn request_facts<'a>(
    bundle: &'a Bundle,
    record: &'a Interaction,
    principal: &'a Principal,
    asked: Asked<'a>,
    now_us: i64,
) -> Facts<'a> {
    let facts = Facts {
        stream: asked.stream,
        metadata: &record.tags,
        user_ref: record.user_ref.as_deref(),
        estimated_input_tokens: asked.estimated_input_tokens,
        capabilities: &record.capabilities,
        // If nothing looked for any, nothing is known of it.
        pii_counts: (!record.guards.is_empty()).then_some(record.pii_counts.as_slice()),
        ..Facts::new(principal, record.operation, record.dialect, asked.model, now_us)
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
pub(crate) async fn admit(
    call: &mut Call,
    control: &ControlSnapshot,
    principal: &Arc<Principal>,
    head: &RequestHead,
    course: &Course,
) -> Result<Admitted, CallError> {
    let now_us = call.now_us();
    let usd = dispatch::dearest(course, head.estimated_input_tokens, output_tokens(head));
    let tokens = head.estimated_input_tokens.saturating_add(output_tokens(head));
    call.principal = Some(Arc::clone(principal));
    let facts = Facts {
        estimate: Amounts { usd, tokens, calls: 1 },
        ..request_facts(&control.bundle, &call.record, principal, head.into(), now_us)
    };
    let data_class = facts.data_class.map(str::to_owned);
    let Reserved { verdict, signals, held, readings } =
        spending::decide_and_reserve(&call.gateway, &control.bundle, &facts).await;
    call.held = held;
    let record = &mut call.record;
    (record.budget_readings, record.limit_readings) = readings;
    record.decided_at_us = Some(now_us);
    record.estimated_output_tokens = Some(output_tokens(head));
    record.estimated_cost_usd = Some(usd);
    record.data_class = data_class;
    record.decision = verdict.decision;
    record.decision_reasons = verdict.reasons;
    record.policy_bundle_hash = Some(control.bundle.hash.clone());
    record.signals_id = Some(&signals.id).filter(|id| !id.is_empty()).cloned();
    if verdict.decision == Decision::Deny {
        let message =
            if verdict.hint.is_empty() { verdict.message } else { format!("{}; {}", verdict.message, verdict.hint) };
        let retry_after = verdict.retry_after_s.map(Duration::from_secs);
        return Err(CallError::Denied { code: verdict.code, message, retry_after });
    }
    Ok(Admitted { prefer: verdict.prefer, min_quality: verdict.min_quality, signals, now_us })
}
