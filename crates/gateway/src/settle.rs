//! How a call ends: its usage is priced, its reservation becomes a cost or is given back, its facts become the settled
//! event, and the event goes to the log. Every way out of a call leads through [`settle`] or [`settle_on_disk`], once.

use std::future::poll_fn;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::runtime::{Handle, RuntimeFlavor};
use tollgate_interaction::{
    CostSource, Decision, Event, Interaction, Operation, Outcome, Payload, Settled, Usage, UsageSource, Usd,
};
use tollgate_policy::ledger::Posting;
use tollgate_provider::price::{self, Beside};
use tollgate_provider::tokens::{self, Estimate, Vocabulary};
use tollgate_provider::{Observation, failure};
use tollgate_wal::AppendError;

use crate::call::Call;
use crate::charge;
use crate::error::{CallError, UpstreamVerdict};
use crate::intake::OWN_LABELS;
use crate::{answer, clock, guard, random, shadow};

/// How a call ended.
pub(crate) struct Ending {
    pub(crate) outcome: Outcome,
    /// Status the caller was sent; `None` if it had left.
    pub(crate) http_status: Option<u16>,
    /// Stable code and a sentence.
    pub(crate) error: Option<(String, String)>,
    /// What the answer said, if there was one.
    pub(crate) observation: Option<Observation>,
    /// What is kept of the answer, and how long it was.
    pub(crate) response: Payload,
    pub(crate) received_bytes: u64,
    /// Bytes of the body that was sent.
    pub(crate) sent_bytes: u64,
}

impl Ending {
    /// An end without an answer by a provider.
    pub(crate) fn of_error(error: &CallError, http_status: Option<u16>, body: Bytes) -> Ending {
        let received_bytes = body.len() as u64;
        let content_type = if body.is_empty() { String::new() } else { "application/json".to_owned() };
        Ending {
            outcome: error.outcome(),
            http_status,
            error: Some((error.code().to_owned(), error.message())),
            observation: None,
            response: Payload { content_type, body },
            received_bytes,
            sent_bytes: received_bytes,
        }
    }
}

/// What is known once a call has been settled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settlement {
    pub(crate) cost: Option<Usd>,
    pub(crate) attempts: usize,
}

/// A settled event on its way to the log.
pub(crate) struct Closing {
    event: Event,
    pub(crate) settlement: Settlement,
}

/// Ends the call: its event has reached the operating system when this returns.
///
/// # Errors
/// [`CallError::LogLost`] if the log did not take it and the operator wants no answer without a record.
pub(crate) fn settle(call: &mut Call, ending: Ending) -> Result<Settlement, CallError> {
    let closing = close(call, ending);
    let appended = call.gateway.appender.append_written(&closing.event);
    closed(call, &closing, &appended);
    accept(&closing, appended)
}

/// Ends the call: its event is on disk when this returns.
///
/// # Errors
/// As for [`settle`].
pub(crate) async fn settle_on_disk(call: &mut Call, ending: Ending) -> Result<Settlement, CallError> {
    let closing = close(call, ending);
    let appended = call.gateway.appender.append_durable(&closing.event).await;
    closed(call, &closing, &appended);
    accept(&closing, appended)
}

/// Builds the event from the facts. From here on the call counts as settled.
fn close(call: &mut Call, mut ending: Ending) -> Closing {
    call.settled = true;
    call.upstream = None;
    call.permit = None;
    if let Some(order) = call.shadow.take().filter(|_| ending.outcome == Outcome::Success) {
        shadow::send(&call.gateway, order, &call.record);
    }
    call.gateway.counters.settled(ending.outcome);
    let recorded_bytes = ending.response.body.len() as u64;
    // Tokens are counted in what the provider sent, whatever of it may be logged.
    let received = ending.response.body.clone();
    guard::finish(call, &mut ending.response);
    let ended_in_us = clock::elapsed_us(call.started);
    call.dropped = answer::dropped_value(&call.record.dropped);
    let mut record = std::mem::replace(&mut call.record, Interaction::blank());
    record.outcome = ending.outcome;
    if ending.outcome == Outcome::Denied {
        record.decision = Decision::Deny;
    }
    record.http_status = ending.http_status;
    record.ended_at_us = call_end(&record, ended_in_us);
    record.latency_us = ended_in_us;
    record.response_bytes = ending.sent_bytes;
    if let Some((code, message)) = ending.error {
        (record.error_type, record.error_message) = (Some(code), Some(message));
    }
    if recorded_bytes < ending.received_bytes {
        let kept = format!("first {recorded_bytes} of {} bytes", ending.received_bytes);
        label(&mut record, "response_recorded", kept);
    }
    if let Some(observation) = ending.observation.or_else(|| call.lost.take()) {
        // A part of an answer says nothing about how long it was.
        let is_whole = recorded_bytes >= ending.received_bytes;
        let response: &[u8] = if is_whole { &received } else { b"" };
        count(call, &mut record, observation, response);
    }
    if let Some(earlier) = call.earlier.take() {
        charge::add(&mut record, earlier);
    }
    if is_unpriced(&record) {
        call.gateway.counters.unpriced.fetch_add(1, Ordering::Relaxed);
    }
    if let Some(keeping) = &mut call.keeping {
        keeping.learn(&record, call.target.as_deref().map(|target| target.name.as_str()));
    }
    let settlement = Settlement { cost: record.cost_usd, attempts: record.attempts.len() };
    let request = (!call.is_opened).then(|| std::mem::take(&mut call.request));
    let salt = random::salt();
    let event = Event::Settled(Box::new(Settled { interaction: record, request, response: ending.response, salt }));
    Closing { event, settlement }
}

fn call_end(record: &Interaction, ended_in_us: u64) -> i64 {
    record.started_at_us.saturating_add(i64::try_from(ended_in_us).unwrap_or(i64::MAX))
}

/// Enters what the call used up into the books.
fn closed(call: &mut Call, closing: &Closing, appended: &Result<u64, AppendError>) {
    let (Some(held), Event::Settled(settled)) = (call.held.take(), &closing.event) else { return };
    // Where the log took no row, no reading of it will ever hold the call, but the money is spent.
    let seq = appended.as_ref().map_or(u64::MAX, |seq| *seq);
    held.settle(seq, &Posting::of(&settled.interaction));
}

fn accept(closing: &Closing, appended: Result<u64, AppendError>) -> Result<Settlement, CallError> {
    match appended {
        Ok(_) => Ok(closing.settlement),
        Err(error) if error.may_proceed() => Ok(closing.settlement),
        Err(error) => {
            let id = closing.event.interaction_id().map(|id| id.to_string()).unwrap_or_default();
            tracing::error!(interaction.id = %id, %error, "the log did not take the end of call `{id}`");
            Err(CallError::LogLost)
        }
    }
}

/// Enters what the answer said about itself, and its price.
fn count(call: &Call, record: &mut Interaction, mut observation: Observation, response: &[u8]) {
    let was_cut = matches!(record.outcome, Outcome::Cancelled | Outcome::Interrupted);
    // The provider has read the prompt, and will charge for it, even if nobody waited for the answer; and some of those who
    // embed a text do not say how long it was.
    let has_read_text = match record.operation {
        Operation::Chat | Operation::Completions => was_cut,
        Operation::Embeddings => was_cut || record.outcome == Outcome::Success,
        _ => false,
    };
    if observation.needs_estimate() {
        let estimate = estimate(call, &observation, response);
        observation = observation.with_estimate(estimate);
    } else if observation.usage.is_empty() && has_read_text && call.is_sent {
        let Estimate { input_tokens, .. } = estimate(call, &observation, response);
        observation.usage = Usage { input_tokens: Some(input_tokens), output_tokens: Some(0), ..Usage::default() };
        observation.usage_source = UsageSource::Estimated;
    }
    let beside = note_beside(call, record, &mut observation);
    if let Some(Cost { usd, source, price_id }) = cost_of(call, record.started_at_us, &observation, &beside) {
        (record.cost_usd, record.cost_source, record.price_id) = (Some(usd), source, price_id);
    }
    // Google's vectors, Amazon's answers and sounds do not name the model: it is the one that was called.
    let is_answer = observation.terminated && observation.error.is_none();
    let called = || call.model_called().filter(|_| is_answer).map(str::to_owned);
    record.model_served = observation.model_served.or_else(called);
    record.usage = observation.usage;
    record.usage_source = observation.usage_source;
    record.finish_reasons = observation.finish_reasons;
    record.service_tier = observation.service_tier;
    record.provider_cost_usd = observation.cost;
    if let Some(attempt) = record.attempts.get_mut(call.attempt_at()) {
        attempt.input_tokens = record.usage.input_tokens;
        attempt.output_tokens = record.usage.output_tokens;
        attempt.cost_usd = record.cost_usd;
    }
}

/// Labels the record with what was used beside tokens and tools, for which it has no columns.
fn note_beside(call: &Call, record: &mut Interaction, observation: &mut Observation) -> Beside {
    let audio_seconds = observation.audio_seconds.take();
    let images = observation.images.map(|images| images.to_string());
    // A provider that has begun to speak has read all of it.
    let is_spoken = record.operation == Operation::Speech && call.has_answer_head;
    let characters = is_spoken.then(|| price::characters_to_speak(&call.request.body)).flatten();
    let values = [audio_seconds, images, characters.map(|characters| characters.to_string())];
    let beside = Beside::read(values.each_ref().map(Option::as_deref));
    for (name, value) in Beside::LABELS.into_iter().zip(values) {
        if let Some(value) = value {
            label(record, name, value);
        }
    }
    beside
}

/// What the provider left uncounted, in its model's own tokens where they are known. Counting takes milliseconds, and the
/// first time much longer: other calls of this thread go on meanwhile.
pub(crate) fn estimate(call: &Call, observation: &Observation, response: &[u8]) -> Estimate {
    let rough = Estimate {
        input_tokens: call.estimated_input_tokens,
        output_tokens: tokens::of_chars(observation.output_chars),
    };
    let model = call.target.as_ref().map(|target| target.model.as_str());
    let Some(vocabulary) = model.and_then(Vocabulary::of_model) else { return rough };
    let counted = || Estimate::counted(vocabulary, &call.request.body, response, rough);
    // A runtime with one thread has none to hand its work to, and outside of any nobody waits.
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(counted),
        _ => counted(),
    }
}

/// What something costs, and by whose word.
pub(crate) struct Cost {
    pub(crate) usd: Usd,
    pub(crate) source: CostSource,
    price_id: Option<String>,
}

/// Looks up the price of the model that answered, or else of the one that was asked for; `None` if it is not known.
pub(crate) fn cost_of(call: &Call, at_us: i64, observation: &Observation, beside: &Beside) -> Option<Cost> {
    let target = call.target.as_ref()?;
    if observation.usage.is_empty() && beside.is_empty() {
        return None;
    }
    let asked = price::Call {
        provider: &target.provider.price_name,
        model: &target.model,
        region: target.region.as_deref(),
        service_tier: observation.service_tier.as_deref(),
        usage: &observation.usage,
        at_us,
    };
    match call.gateway.prices.load().cost_as_served(&asked, observation.model_served.as_deref(), beside) {
        Ok(priced) => Some(Cost { usd: priced.cost, source: CostSource::Catalog, price_id: Some(priced.price_id) }),
        // The catalogue is the same for everybody and can be checked; the provider's word stands in where it has no price.
        Err(error) => {
            if observation.cost.is_none() {
                tracing::debug!(%error, "the cost of a call to `{}` is not known", target.name);
            }
            observation.cost.map(|usd| Cost { usd, source: CostSource::Provider, price_id: None })
        }
    }
}

/// Whether the call may have cost something that is not known. The reports count by the same rule.
fn is_unpriced(record: &Interaction) -> bool {
    let cost_nothing = record.outcome == Outcome::Failed && record.usage_source == UsageSource::None;
    record.cost_usd.is_none() && record.provider.is_some() && !cost_nothing
}

/// Adds one of the gateway's own labels, in its place.
pub(crate) fn label(record: &mut Interaction, name: &str, value: String) {
    let name = format!("{OWN_LABELS}{name}");
    let at = record.tags.partition_point(|(existing, _)| *existing < name);
    record.tags.insert(at, (name, value));
}

/// Settles a call that nobody waits for any more.
pub(crate) fn abandon(call: &mut Call, error: &CallError) {
    // Whoever was asked for nothing, or refused, is owed nothing.
    let is_charged = (call.upstream.is_some() || call.has_answer_head || call.is_racing) && !call.is_refused;
    call.break_off_attempts(error.code());
    let observation = is_charged.then(|| call.observation(false));
    end_unheard(call, error, observation);
}

/// Reads the answer of a call whose caller has hung up, within bounds, so that it is charged as the provider counts it.
pub(crate) async fn drain(mut call: Box<Call>) {
    let gateway = std::sync::Arc::clone(&call.gateway);
    let deadline = tokio::time::sleep(gateway.settings.timeouts.drain);
    let is_complete = tokio::select! {
        biased;
        () = gateway.abort.cancelled() => false,
        is_complete = read_to_end(&mut call) => is_complete,
        () = deadline => false,
    };
    call.upstream = None;
    let broke = (!is_complete || call.is_refused).then_some("client_disconnected");
    call.note_attempt(None, broke);
    let observation = (!call.is_refused).then(|| call.observation(is_complete));
    end_unheard(&mut call, &CallError::HungUp, observation);
}

pub(crate) async fn read_to_end(call: &mut Call) -> bool {
    if !call.has_answer_head {
        match poll_fn(|cx| call.poll_head(cx)).await {
            Ok(head) => {
                call.begin_answer(&head);
                call.is_refused = UpstreamVerdict::of(head.status) != UpstreamVerdict::Answered;
            }
            Err(_) => return false,
        }
    }
    let limit = call.gateway.settings.limits.drain_bytes as u64;
    let already = call.recording.received_bytes();
    while call.recording.received_bytes() - already <= limit {
        match poll_fn(|cx| call.poll_chunk(cx)).await {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
    false
}

fn end_unheard(call: &mut Call, error: &CallError, observation: Option<Observation>) {
    let received_bytes = call.recording.received_bytes();
    let response = Payload { content_type: std::mem::take(&mut call.response_type), body: call.recording.take() };
    let ending = Ending {
        outcome: error.outcome(),
        http_status: call.status_sent,
        error: Some((error.code().to_owned(), error.message())),
        observation,
        response,
        received_bytes,
        sent_bytes: call.sent_bytes,
    };
    // The log has said why, if it did not take it; there is nobody else to tell.
    let _ = settle(call, ending);
}

/// The class of an error that a provider reported inside an answer with a good status.
pub(crate) fn class_of(observation: &Observation) -> Option<(String, String)> {
    let error = observation.error.as_ref()?;
    let class = failure::classify_error(200, error);
    let kind = if error.kind.is_empty() { class } else { error.kind.as_str() };
    Some((class.to_owned(), format!("the provider reported `{kind}` inside its answer")))
}
