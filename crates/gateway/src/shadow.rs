//! Copies of calls: a share of those that were answered is sent to another target as well, to see what that would have said.
//! A copy begins when its call has been settled, so no caller waits for it; it has a row of its own, which names the call in
//! `shadow_of`; and when too many are under way it is not made, which is counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::spending;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use tokio::sync::OwnedSemaphorePermit;
use tollgate_interaction::{Interaction, Operation, Outcome, Payload, Reason, Usd};
use tollgate_policy::control::Principal;
use tollgate_policy::ledger::Amounts;
use tollgate_policy::route::Retries;
use tollgate_policy::signals::SignalsSnapshot;
use tollgate_provider::RequestHead;
use tollgate_provider::dialect::Endpoint;
use tollgate_provider::translate::OnUnsupported;

use crate::attempt::{self, Failure, Outbound};
use crate::call::Call;
use crate::route::{Asking, Ordered, Target, why_not};
use crate::settle::{self, Ending};
use crate::{Gateway, guard, random};

/// What a copy is made from.
pub(crate) struct Order {
    endpoint: Endpoint,
    head: RequestHead,
    verb: Method,
    content_type: Option<HeaderValue>,
    body: Bytes,
    on_unsupported: OnUnsupported,
    passed_on: Vec<(HeaderName, HeaderValue)>,
    target: Arc<Target>,
    principal: Arc<Principal>,
    estimate: Usd,
    guard: Option<Box<guard::Watch>>,
}

/// What a call leaves to be copied once it has been answered, if chance and the target allow it.
pub(crate) fn prepare(
    call: &Call,
    ordered: &Ordered,
    asking: &Asking<'_>,
    outbound: &Outbound<'_>,
) -> Option<Box<Order>> {
    let (target, share) = ordered.resolved.shadow.as_ref()?;
    // What changes something at a provider is done once.
    let is_harmless = matches!(
        call.record.operation,
        Operation::Chat | Operation::Completions | Operation::Embeddings | Operation::Rerank | Operation::Moderations
    );
    if !is_harmless || random::share() >= *share || why_not(target, asking).is_some() {
        return None;
    }
    let passed_on = outbound.passed_on.iter().map(|(name, value)| ((*name).clone(), (*value).clone()));
    Some(Box::new(Order {
        endpoint: outbound.endpoint.clone(),
        head: outbound.head.clone(),
        verb: outbound.verb.clone(),
        content_type: outbound.content_type.cloned(),
        body: outbound.body.clone(),
        on_unsupported: outbound.on_unsupported,
        passed_on: passed_on.collect(),
        target: Arc::clone(target),
        principal: Arc::clone(call.principal.as_ref()?),
        estimate: target.estimate(asking.input_tokens, asking.output_tokens),
        guard: call.guard.as_ref().map(|watch| Box::new(watch.of_copy())),
    }))
}

/// Sends the copy of a call that has been answered, unless too many are under way.
pub(crate) fn send(gateway: &Arc<Gateway>, mut order: Box<Order>, original: &Interaction) {
    let Ok(permit) = Arc::clone(&gateway.shadows).try_acquire_owned() else {
        gateway.counters.shadows_left_out.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let mut call = Call::because_of(original, gateway, (original.dialect, original.operation));
    let record = &mut call.record;
    record.shadow_of = Some(original.interaction_id);
    record.stream = original.stream;
    record.model_requested.clone_from(&original.model_requested);
    record.route_id.clone_from(&original.route_id);
    record.policy_bundle_hash.clone_from(&original.policy_bundle_hash);
    record.signals_id.clone_from(&original.signals_id);
    record.capabilities.clone_from(&original.capabilities);
    record.estimated_input_tokens = original.estimated_input_tokens;
    record.data_class.clone_from(&original.data_class);
    record.request_bytes = original.request_bytes;
    record.guards.clone_from(&original.guards);
    record.pii_counts.clone_from(&original.pii_counts);
    record.candidates = vec![order.target.candidate(None)];
    record.decision_reasons = vec![Reason {
        rule: original.route_id.clone().unwrap_or_default(),
        effect: "shadow".to_owned(),
        detail: format!("a copy of call `{}`, which nobody waits for", original.interaction_id),
    }];
    call.estimated_input_tokens = order.head.estimated_input_tokens;
    call.request.body = guard::without_secrets(&mut call, &order.body, "request");
    call.guard = order.guard.take();
    call.principal = Some(Arc::clone(&order.principal));
    let estimate = Amounts { usd: order.estimate, ..Amounts::ZERO };
    call.held = Some(spending::hold(gateway, &call.record, estimate, call.now_us()));
    gateway.tasks.spawn(run(call, order, permit));
}

/// Makes the copy. When the gateway stops meanwhile, dropping the call settles it as interrupted.
async fn run(mut call: Box<Call>, order: Box<Order>, _permit: OwnedSemaphorePermit) {
    let gateway = Arc::clone(&call.gateway);
    tokio::select! {
        biased;
        () = gateway.abort.cancelled() => {}
        () = conduct(&mut call, &order) => {}
    }
}

async fn conduct(call: &mut Call, order: &Order) {
    let ending = match answer(call, order).await {
        Ok(ending) => ending,
        Err(Failure::Own(error)) => Ending::of_error(&error, None, Bytes::new()),
        Err(Failure::Theirs(error)) => Ending {
            outcome: Outcome::Failed,
            http_status: None,
            error: Some((
                error.class.to_owned(),
                format!("the provider answered with status {}", error.status.as_u16()),
            )),
            observation: None,
            received_bytes: error.body.len() as u64,
            response: Payload { content_type: "application/json".to_owned(), body: error.body },
            sent_bytes: 0,
        },
    };
    // The log has said why, if it did not take it; there is nobody else to tell.
    let _ = settle::settle(call, ending);
}

async fn answer(call: &mut Call, order: &Order) -> Result<Ending, Failure> {
    call.open().await.map_err(Failure::Own)?;
    let outbound = Outbound {
        head: &order.head,
        endpoint: &order.endpoint,
        verb: &order.verb,
        content_type: order.content_type.as_ref(),
        body: order.body.clone(),
        on_unsupported: order.on_unsupported,
        passed_on: order.passed_on.iter().map(|(name, value)| (name, value)).collect(),
        upgrade: None,
    };
    let (targets, signals) = ([Arc::clone(&order.target)], SignalsSnapshot::default());
    let attempts = attempt::Order {
        targets: &targets,
        is_last_resort: false,
        retries: Retries::NONE,
        hedge: None,
        signals: &signals,
    };
    let head = attempt::call_first(call, &outbound, &attempts).await?;
    let is_stream = call.begin_answer(&head);
    guard::begin(call, &order.head, is_stream).map_err(Failure::Own)?;
    let is_complete = settle::read_to_end(call).await;
    call.upstream = None;
    let observation = call.observation(is_complete);
    let broke_off =
        || ("upstream_incomplete".to_owned(), "the provider broke off in the middle of its answer".to_owned());
    let error = settle::class_of(&observation).or_else(|| (!is_complete).then(broke_off));
    call.note_attempt(None, error.as_ref().map(|(code, _)| code.as_str()));
    let received_bytes = call.recording.received_bytes();
    Ok(Ending {
        outcome: if error.is_some() { Outcome::Failed } else { Outcome::Success },
        http_status: None,
        error,
        observation: Some(observation),
        received_bytes,
        response: Payload { content_type: std::mem::take(&mut call.response_type), body: call.recording.take() },
        sent_bytes: 0,
    })
}
