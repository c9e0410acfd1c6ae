//! From an admitted request to the targets to try: the course that bundle and configuration lay out, the candidates in their
//! order, and what of all that goes onto the record.

use std::sync::Arc;

use tollgate_interaction::Usd;
use tollgate_policy::control::{ControlSnapshot, Principal};
use tollgate_policy::route::RouteFacts;
use tollgate_provider::RequestHead;
use tollgate_provider::dialect::needs;

use crate::admission::{self, Admitted};
use crate::attempt::Order;
use crate::call::Call;
use crate::error::CallError;
use crate::route::{Asking, Course, Ordered};
use crate::{random, residency};

/// Notes what the request needs and finds its course.
///
/// # Errors
/// [`CallError`] if the model is unknown or a condition of the bundle fails.
pub(crate) fn course(
    call: &mut Call,
    control: &ControlSnapshot,
    principal: &Arc<Principal>,
    head: &RequestHead,
    body: &[u8],
    provider: Option<&str>,
) -> Result<Course, CallError> {
    let (dialect, operation) = (call.dialect, call.record.operation);
    let capabilities = needs(dialect, operation, head, body);
    call.record.capabilities = capabilities.into_iter().map(str::to_owned).collect();
    call.record.estimated_input_tokens = Some(head.estimated_input_tokens);
    let gateway = Arc::clone(&call.gateway);
    let course = match head.model.as_str() {
        "" => gateway.routes.course_without_model(provider, dialect, operation)?,
        _ => {
            let record = &call.record;
            let facts = RouteFacts {
                request: admission::request_facts(&control.bundle, record, principal, head.into(), call.now_us()),
                conversation: record.conversation_id.as_deref(),
            };
            gateway.routes.course(&control.bundle, &facts)?
        }
    };
    call.record.route_id.clone_from(&course.base.alias);
    call.ack = course.base.ack.unwrap_or(call.ack);
    call.on_disconnect = course.base.on_disconnect.unwrap_or(call.on_disconnect);
    Ok(course)
}

/// What a call may cost at most by any of its targets.
pub(crate) fn dearest(course: &Course, input_tokens: u64, output_tokens: u64) -> Usd {
    let estimates = course.targets().map(|target| target.estimate(input_tokens, output_tokens));
    estimates.max().unwrap_or_default()
}

/// Puts the candidates in order and notes it all.
///
/// # Errors
/// The named denial of a call that no target may serve.
pub(crate) fn order(
    call: &mut Call,
    control: &ControlSnapshot,
    principal: &Principal,
    course: &Course,
    admitted: &Admitted,
    head: &RequestHead,
) -> Result<Ordered, CallError> {
    let (dialect, operation) = (call.dialect, call.record.operation);
    let ordered = course.order(&asking(call, control, principal, admitted, head));
    let record = &mut call.record;
    record.candidates.clone_from(&ordered.candidates);
    // Where there is one target, there was no choice.
    if ordered.readings.len() > 1 {
        record.target_readings.clone_from(&ordered.readings);
    }
    record.experiment.clone_from(&ordered.choice.experiment);
    record.arm.clone_from(&ordered.choice.arm);
    record.propensity = ordered.choice.propensity;
    record.route_draw = ordered.choice.used_draw.then_some(ordered.draw);
    record.decision_reasons.extend(course.reasons.iter().chain(&ordered.choice.reasons).cloned());
    if !ordered.barred.is_empty() {
        return Err(residency::refuse(call, &ordered.barred));
    }
    if let Some(provider) = &ordered.unable {
        return Err(call.gateway.routes.unable(provider, dialect, operation));
    }
    if let Some(denial) = &ordered.denial {
        return Err(denial.clone());
    }
    call.waits.limit(&ordered.resolved.conduct.timeouts);
    Ok(ordered)
}

/// What the candidates of a call are asked.
pub(crate) fn asking<'a>(
    call: &'a Call,
    control: &'a ControlSnapshot,
    principal: &'a Principal,
    admitted: &'a Admitted,
    head: &'a RequestHead,
) -> Asking<'a> {
    Asking {
        bundle: &control.bundle,
        facts: admission::facts(&control.bundle, &call.record, principal, head, admitted),
        input_tokens: head.estimated_input_tokens,
        output_tokens: admission::output_tokens(head),
        prefer: admitted.prefer.as_ref(),
        min_quality: admitted.min_quality,
        signals: &admitted.signals,
        when_all_rest: call.gateway.settings.when_all_rest,
        now_us: admitted.now_us,
        draw: random::share(),
    }
}

/// What is tried, and how.
pub(crate) fn attempts<'a>(call: &Call, ordered: &'a Ordered, admitted: &'a Admitted) -> Order<'a> {
    Order {
        targets: &ordered.targets,
        is_last_resort: ordered.is_last_resort,
        retries: ordered.resolved.conduct.retries.unwrap_or(call.gateway.settings.retries),
        hedge: ordered.resolved.conduct.hedge,
        signals: &admitted.signals,
    }
}
