//! One call from its first byte to its row. Whatever happens, exactly one settled event is written: by the code that saw
//! how the call ended, or else when the [`Call`] is dropped, because the caller hung up, the gateway was told to stop, or a
//! handler panicked. A call that is dropped while a provider is still answering is read to its end in the background.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use tollgate_interaction::{Attempt, Dialect, Event, Interaction, InteractionId, Opened, Operation, Payload};
use tollgate_policy::control::Principal;
use tollgate_policy::route::TimeLimits;
use tollgate_provider::dialect::Endpoint;
use tollgate_provider::translate::Asked;
use tollgate_provider::{Observation, Observer, RequestHead, observe};

use crate::charge::{self, Earlier};
use crate::error::CallError;
use crate::guard::Watch;
use crate::health::Permit;
use crate::intake::Intake;
use crate::patience::Patience;
use crate::recording::Recording;
use crate::route::Target;
use crate::settings::{AckMode, OnDisconnect, Timeouts};
use crate::spending::Held;
use crate::upstream::{AnswerHead, ExchangeError, Upstream};
use crate::{Gateway, cache, clock, media, random, settle, shadow};

/// Length to which the name of a model is kept. No provider has one of half that length.
const MAX_MODEL_CHARS: usize = 256;

/// How long a call waits for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    /// For all of it.
    pub(crate) total: Duration,
    /// For the head of an answer, in each attempt.
    pub(crate) per_try: Duration,
    /// Between two pieces of an answer.
    pub(crate) idle_stream: Duration,
}

impl Waits {
    fn of(timeouts: &Timeouts) -> Waits {
        let Timeouts { total, first_byte, idle_stream, .. } = *timeouts;
        Waits { total, per_try: first_byte, idle_stream }
    }

    /// Takes over what a route says.
    pub(crate) fn limit(&mut self, limits: &TimeLimits) {
        let or = |span: Option<tollgate_policy::route::Span>, usual| span.map_or(usual, |span| span.duration());
        self.total = or(limits.total, self.total);
        self.per_try = or(limits.per_try, self.per_try);
        self.idle_stream = or(limits.idle_stream, self.idle_stream);
    }
}

/// The state of one call.
pub(crate) struct Call {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) started: Instant,
    /// The record's id and dialect, for as long as the caller may want them.
    pub(crate) public_id: InteractionId,
    pub(crate) dialect: Dialect,
    /// The format spoken with the provider.
    pub(crate) spoken: Dialect,
    /// Whether it asks for the content of a stored file.
    returns_content: bool,
    /// When its record counts as safe.
    pub(crate) ack: AckMode,
    pub(crate) on_disconnect: OnDisconnect,
    /// The facts so far; blank once settled.
    pub(crate) record: Interaction,
    pub(crate) request: Payload,
    /// The event that is being appended just now; it holds the facts meanwhile.
    opening: Option<Event>,
    /// Whether an `opened` event with the request is in the log.
    pub(crate) is_opened: bool,
    /// The other end of its connection.
    pub(crate) peer: Option<IpAddr>,
    pub(crate) principal: Option<Arc<Principal>>,
    /// What is held back for it in the books.
    pub(crate) held: Option<Held>,
    pub(crate) target: Option<Arc<Target>>,
    pub(crate) upstream: Option<Upstream>,
    /// Whether the present attempt's request has gone out, so that it may be charged for.
    pub(crate) is_sent: bool,
    /// Reads a stream in passing; a whole answer is read at its end.
    pub(crate) observer: Option<Observer>,
    /// Whether the answer is not for reading: sound, or a file.
    pub(crate) is_opaque: bool,
    pub(crate) recording: Recording,
    /// What was left out, for the answer's head, once the record is gone.
    pub(crate) dropped: Option<HeaderValue>,
    pub(crate) response_type: String,
    patience: Patience,
    /// How long to wait from the next time on that there is nothing.
    wait_next: Option<Duration>,
    attempt_started: Instant,
    /// Place of the present attempt among those of the record.
    attempt_at: usize,
    /// The right to call the present target.
    pub(crate) permit: Option<Permit>,
    /// How long is waited for what.
    pub(crate) waits: Waits,
    /// Whether several attempts are under way, of which the call holds none yet.
    pub(crate) is_racing: bool,
    /// The copy of the call that is made once it has been answered.
    pub(crate) shadow: Option<Box<shadow::Order>>,
    /// What became of it at the cache, if its route has one.
    pub(crate) cache_label: Option<cache::Label>,
    /// The copy of its answer that may be given again.
    pub(crate) keeping: Option<Box<cache::Keeping>>,
    pub(crate) body_wait: Duration,
    pub(crate) estimated_input_tokens: u64,
    pub(crate) has_answer_head: bool,
    /// Whether that answer is an error, which nobody is charged for.
    pub(crate) is_refused: bool,
    /// Status of the answer, once its head has gone to the caller.
    pub(crate) status_sent: Option<u16>,
    /// Bytes of its body that went to the caller.
    pub(crate) sent_bytes: u64,
    /// Nobody waits any more, and this is the last attempt to learn what the call cost.
    is_draining: bool,
    pub(crate) settled: bool,
    /// There if the policy has guardrails.
    pub(crate) guard: Option<Box<Watch>>,
    /// What the present attempt used although it did not answer.
    pub(crate) lost: Option<Observation>,
    /// What those before it cost.
    pub(crate) earlier: Option<Earlier>,
}

impl Call {
    /// The call of `endpoint`.
    pub(crate) fn of(gateway: &Arc<Gateway>, endpoint: &Endpoint) -> Box<Call> {
        let mut call = Call::begin(gateway, endpoint.dialect, endpoint.operation);
        call.returns_content = endpoint.is_stored_content();
        call
    }

    pub(crate) fn begin(gateway: &Arc<Gateway>, dialect: Dialect, operation: Operation) -> Box<Call> {
        let started_at_us = clock::now_us();
        gateway.counters.started();
        let mut record = Interaction::blank();
        record.interaction_id = random::interaction_id(started_at_us);
        record.started_at_us = started_at_us;
        record.dialect = dialect;
        record.operation = operation;
        Box::new(Call::new(Arc::clone(gateway), record))
    }

    /// A call that is made because of `original`: for the same caller, in the same conversation and trace.
    pub(crate) fn because_of(original: &Interaction, gateway: &Arc<Gateway>, kind: (Dialect, Operation)) -> Box<Call> {
        let mut call = Call::begin(gateway, kind.0, kind.1);
        let record = &mut call.record;
        record.tenant.clone_from(&original.tenant);
        record.project.clone_from(&original.project);
        record.team.clone_from(&original.team);
        record.user_ref.clone_from(&original.user_ref);
        record.api_key_id.clone_from(&original.api_key_id);
        record.conversation_id.clone_from(&original.conversation_id);
        (record.trace_id, record.span_id) = (original.trace_id.clone(), original.span_id.clone());
        record.tags.clone_from(&original.tags);
        call
    }

    fn new(gateway: Arc<Gateway>, record: Interaction) -> Call {
        let now = Instant::now();
        Call {
            started: now,
            public_id: record.interaction_id,
            dialect: record.dialect,
            spoken: record.dialect,
            returns_content: false,
            ack: gateway.settings.ack,
            on_disconnect: gateway.settings.on_disconnect,
            record,
            request: Payload::default(),
            opening: None,
            is_opened: false,
            peer: None,
            principal: None,
            held: None,
            target: None,
            upstream: None,
            is_sent: false,
            observer: None,
            is_opaque: false,
            dropped: None,
            recording: Recording::new(gateway.settings.limits.recorded_response_bytes),
            response_type: String::new(),
            patience: Patience::since(now, gateway.settings.timeouts.total),
            wait_next: None,
            attempt_started: now,
            attempt_at: 0,
            permit: None,
            waits: Waits::of(&gateway.settings.timeouts),
            is_racing: false,
            shadow: None,
            cache_label: None,
            keeping: None,
            body_wait: Duration::ZERO,
            estimated_input_tokens: 0,
            has_answer_head: false,
            is_refused: false,
            status_sent: None,
            sent_bytes: 0,
            is_draining: false,
            settled: false,
            guard: None,
            lost: None,
            earlier: None,
            gateway,
        }
    }

    /// What is left behind where a call was taken from.
    fn hollow(gateway: &Arc<Gateway>) -> Call {
        let mut call = Call::new(Arc::clone(gateway), Interaction::blank());
        call.settled = true;
        call
    }

    /// Takes over what the headers said.
    pub(crate) fn describe(&mut self, intake: &mut Intake<'_>) {
        if let Some(trace) = intake.trace.take() {
            self.record.trace_id = Some(trace.trace_id);
            self.record.span_id = Some(trace.span_id);
        }
        self.record.conversation_id = intake.conversation.take();
        self.record.tags = std::mem::take(&mut intake.labels);
        if let Some(content_type) = intake.content_type {
            self.request.content_type = text_of(content_type);
        }
    }

    /// Takes over who is calling.
    pub(crate) fn identify(&mut self, principal: &Principal, user: Option<&str>) {
        self.record.tenant.clone_from(&principal.tenant);
        self.record.project.clone_from(&principal.project);
        self.record.team.clone_from(&principal.team);
        self.record.api_key_id = Some(principal.key_id.clone());
        self.gateway.known.note(&principal.tenant, self.record.interaction_id);
        // A key that is one person's stays theirs, whatever the call says.
        self.name_user(principal.user.as_deref().or(user));
    }

    /// Takes over what the body said.
    pub(crate) fn read(&mut self, head: &RequestHead) {
        self.name_model(&head.model);
        self.record.stream = head.stream;
        self.estimated_input_tokens = head.estimated_input_tokens;
        self.record.estimated_input_tokens = Some(head.estimated_input_tokens);
        if self.record.user_ref.is_none() {
            self.name_user(head.user.as_deref());
        }
    }

    /// Enters the model that the caller asked for, as far as it is of any use to read.
    pub(crate) fn name_model(&mut self, model: &str) {
        if model.len() <= MAX_MODEL_CHARS {
            model.clone_into(&mut self.record.model_requested);
        } else {
            self.record.model_requested = model.chars().take(MAX_MODEL_CHARS).collect();
            let kept = format!("first {} of {} bytes", self.record.model_requested.len(), model.len());
            settle::label(&mut self.record, "model_requested", kept);
        }
    }

    fn name_user(&mut self, user: Option<&str>) {
        self.record.user_ref = user.map(|user| self.gateway.users.reference(&self.record.tenant, user));
    }

    /// Writes `opened`, so that whatever happens from here on is accounted for.
    ///
    /// # Errors
    /// [`CallError::LogUnavailable`] if it cannot be written and the operator wants no call without a record.
    pub(crate) async fn open(&mut self) -> Result<(), CallError> {
        let interaction = std::mem::replace(&mut self.record, Interaction::blank());
        let request = std::mem::take(&mut self.request);
        let event = self.opening.insert(Event::Opened(Box::new(Opened { interaction, request })));
        let appended = match self.ack {
            AckMode::Async => self.gateway.appender.append_written(event),
            AckMode::Intent | AckMode::Sync => self.gateway.appender.append_durable(event).await,
        };
        self.restore();
        match appended {
            Ok(_) => self.is_opened = true,
            // Counted by the log; the settled event will carry the request in case there is room for it.
            Err(error) if error.may_proceed() => {}
            Err(error) => {
                let id = self.public_id;
                tracing::error!(interaction.id = %id, %error, "call `{id}` was refused because the log took no record of it");
                return Err(CallError::LogUnavailable);
            }
        }
        Ok(())
    }

    fn restore(&mut self) {
        if let Some(Event::Opened(opened)) = self.opening.take() {
            let Opened { interaction, request } = *opened;
            (self.record, self.request) = (interaction, request);
        }
    }

    /// Whether the provider is spoken to in another format than the caller's.
    pub(crate) fn is_translated(&self) -> bool {
        let has_own_words = |target: &Arc<Target>| target.provider.embeds_in_its_own_words(self.record.operation);
        self.spoken != self.dialect || self.target.as_ref().is_some_and(has_own_words)
    }

    /// What a writer of the answer in the caller's format has to know. `events` is the caller's.
    pub(crate) fn asked(&self, head: &RequestHead, events: bool) -> Asked {
        Asked {
            id: self.public_id.to_string(),
            created_at_s: self.record.started_at_us / 1_000_000,
            model: self.model_called().unwrap_or(&self.record.model_requested).to_owned(),
            include_usage: !head.hides_usage(),
            events,
            base64: head.base64,
        }
    }

    /// Notes that `target` is about to be called, in the format `spoken`.
    pub(crate) fn begin_attempt(&mut self, target: &Arc<Target>, spoken: Dialect) {
        if let Some(lost) = self.lost.take() {
            charge::enter(self, &lost);
        }
        self.spoken = spoken;
        self.is_sent = false;
        self.record.upstream_dialect = Some(spoken);
        self.attempt_started = Instant::now();
        if self.record.attempts.is_empty() {
            let before = self.attempt_started.duration_since(self.started);
            self.record.gateway_overhead_us = Some(clock::micros(before.saturating_sub(self.body_wait)));
        }
        self.record.provider = Some(target.provider.name.clone());
        self.record.region.clone_from(&target.region);
        self.attempt_at = self.record.attempts.len();
        self.record.region_evidence = target.evidence();
        self.record.attempts.push(Attempt {
            provider: target.provider.name.clone(),
            model: target.model.clone(),
            http_status: None,
            error_class: None,
            started_at_us: self.at_us(self.attempt_started.duration_since(self.started)),
            duration_us: 0,
            input_tokens: None,
            output_tokens: None,
            cost_usd: None,
        });
        self.target = Some(Arc::clone(target));
    }

    /// What there is to know of the present attempt when another becomes the present one meanwhile.
    pub(crate) fn set_aside(&mut self) -> Aside {
        Aside {
            at: self.attempt_at,
            started: self.attempt_started,
            target: self.target.clone(),
            spoken: self.spoken,
            dropped: std::mem::take(&mut self.record.dropped),
        }
    }

    /// Makes an attempt that was set aside the present one.
    pub(crate) fn take_up(&mut self, aside: Aside) {
        let Aside { at, started, target, spoken, dropped } = aside;
        (self.attempt_at, self.attempt_started, self.spoken) = (at, started, spoken);
        self.record.dropped = dropped;
        self.record.upstream_dialect = Some(spoken);
        if let Some(target) = &target {
            self.record.provider = Some(target.provider.name.clone());
            self.record.region.clone_from(&target.region);
            self.record.region_evidence = target.evidence();
        }
        self.target = target;
    }

    /// Notes that every attempt still under way is broken off.
    pub(crate) fn break_off_attempts(&mut self, error_class: &str) {
        let now_us = self.now_us();
        for attempt in self.record.attempts.iter_mut().filter(|attempt| attempt.error_class.is_none()) {
            let lasted_us = now_us.saturating_sub(attempt.started_at_us);
            attempt.duration_us = u64::try_from(lasted_us).unwrap_or(0);
            attempt.error_class = Some(error_class.to_owned());
        }
    }

    /// How long the present attempt has lasted.
    pub(crate) fn attempt_lasts(&self) -> Duration {
        self.attempt_started.elapsed()
    }

    /// Place of the attempt that answered, or of the last one.
    pub(crate) fn attempt_at(&self) -> usize {
        self.attempt_at
    }

    /// When the call must have ended.
    pub(crate) fn deadline(&self) -> Instant {
        self.started + self.waits.total
    }

    /// Notes how the present attempt went, as far as it has.
    pub(crate) fn note_attempt(&mut self, http_status: Option<u16>, error_class: Option<&str>) {
        let duration_us = clock::elapsed_us(self.attempt_started);
        if let Some(attempt) = self.record.attempts.get_mut(self.attempt_at) {
            attempt.duration_us = duration_us;
            attempt.http_status = http_status.or(attempt.http_status);
            attempt.error_class = error_class.map(str::to_owned).or(attempt.error_class.take());
        }
    }

    /// The model as its provider knows it; `None` if the call names none.
    pub(crate) fn model_called(&self) -> Option<&str> {
        self.target.as_ref().map(|target| target.model.as_str()).filter(|model| !model.is_empty())
    }

    pub(crate) fn provider_name(&self) -> String {
        self.record.provider.clone().unwrap_or_default()
    }

    /// The wall clock, read through the monotonic one: within a call, time does not jump.
    pub(crate) fn now_us(&self) -> i64 {
        self.at_us(self.started.elapsed())
    }

    fn at_us(&self, since_start: Duration) -> i64 {
        self.record.started_at_us.saturating_add(i64::try_from(since_start.as_micros()).unwrap_or(i64::MAX))
    }

    /// Gives the upstream `wait` for what comes next, within what the whole call may take. Counted from the moment at
    /// which there is something to wait for: what is there already costs no look at the clock.
    pub(crate) fn expect_within(&mut self, wait: Duration) {
        self.wait_next = Some(wait);
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(wait) = self.wait_next.take() {
            let whole = tokio::time::Instant::from_std(self.started) + self.waits.total;
            self.patience.wait_until((tokio::time::Instant::now() + wait).min(whole));
        }
        self.patience.poll(cx)
    }

    /// Waits for the head of the answer.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<AnswerHead, HeadError>> {
        let Some(upstream) = &mut self.upstream else { return Poll::Ready(Err(HeadError::Call(CallError::Internal))) };
        match upstream.poll_head(cx) {
            Poll::Ready(Ok(head)) => {
                self.has_answer_head = true;
                self.response_type = head.headers.get(http::header::CONTENT_TYPE).map(text_of).unwrap_or_default();
                self.expect_within(self.waits.idle_stream);
                Poll::Ready(Ok(head))
            }
            Poll::Ready(Err(ExchangeError::Stale)) => Poll::Ready(Err(HeadError::Stale)),
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, cause = ?std::error::Error::source(&error), "an upstream call broke before its answer");
                Poll::Ready(Err(HeadError::Call(CallError::UpstreamReset { provider: self.provider_name() })))
            }
            Poll::Pending => self.poll_patience(cx).map(|()| {
                let waited_ms = self.waits.per_try.as_millis();
                let (provider, setting) = (self.provider_name(), "first_byte");
                Err(HeadError::Call(CallError::UpstreamTimeout {
                    provider,
                    what: "begin to answer",
                    waited_ms,
                    setting,
                }))
            }),
        }
    }

    /// Waits for the next piece of the answer and records it; `None` at its end.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, CallError>> {
        let Some(upstream) = &mut self.upstream else { return Poll::Ready(Ok(None)) };
        match upstream.poll_chunk(cx) {
            Poll::Ready(None) => {
                self.upstream = None;
                Poll::Ready(Ok(None))
            }
            Poll::Ready(Some(Ok(chunk))) => {
                self.observe(&chunk);
                self.expect_within(self.waits.idle_stream);
                Poll::Ready(Ok(Some(chunk)))
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!(%error, cause = ?std::error::Error::source(&error), "an upstream call broke inside its answer");
                self.upstream = None;
                self.note_break();
                Poll::Ready(Err(CallError::UpstreamIncomplete { provider: self.provider_name() }))
            }
            Poll::Pending => self.poll_patience(cx).map(|()| {
                self.upstream = None;
                self.note_break();
                let waited_ms = self.waits.idle_stream.as_millis();
                let (provider, setting) = (self.provider_name(), "idle_stream");
                Err(CallError::UpstreamTimeout { provider, what: "continue its answer", waited_ms, setting })
            }),
        }
    }

    /// An answer that breaks off or stalls counts against its target, which had counted as well for beginning it.
    fn note_break(&self) {
        if let Some(target) = self.target.as_ref().filter(|_| !self.is_refused) {
            target.health.broke_off(self.now_us());
        }
    }

    /// Takes over an answer whose head was waited for elsewhere.
    pub(crate) fn adopt(&mut self, upstream: Upstream, head: AnswerHead) -> AnswerHead {
        self.upstream = Some(upstream);
        self.has_answer_head = true;
        self.response_type = head.headers.get(http::header::CONTENT_TYPE).map(text_of).unwrap_or_default();
        self.expect_within(self.waits.idle_stream);
        head
    }

    /// Prepares for the body of an answer whose head has come, and says whether it is a stream of events.
    pub(crate) fn begin_answer(&mut self, answer: &AnswerHead) -> bool {
        if let Some(attempt) = self.record.attempts.get_mut(self.attempt_at) {
            attempt.http_status = Some(answer.status.as_u16());
        }
        let is_stream = media::is_event_stream(&answer.headers);
        self.observer = is_stream.then(|| Observer::new(self.spoken, self.record.operation, true));
        self.is_opaque = !is_stream && media::is_opaque(self.record.operation, self.returns_content, &answer.headers);
        is_stream
    }

    fn observe(&mut self, chunk: &Bytes) {
        self.recording.push(chunk);
        let has_content = match &mut self.observer {
            Some(observer) => {
                observer.push(chunk);
                self.record.ttft_us.is_none() && observer.saw_content()
            }
            None => self.record.ttft_us.is_none(),
        };
        if has_content {
            self.record.ttft_us = Some(clock::elapsed_us(self.started));
        }
    }

    /// What the answer said. `is_complete` says whether its body ended as HTTP wants it to.
    pub(crate) fn observation(&mut self, is_complete: bool) -> Observation {
        match self.observer.take() {
            Some(observer) => observer.finish(is_complete),
            None if self.is_opaque => Observation::opaque(),
            None => observe::whole(self.spoken, self.record.operation, self.recording.as_slice()),
        }
    }

    /// Lets go of a failed attempt's answer, so that the next one starts clean.
    pub(crate) fn forget_answer(&mut self) {
        (self.upstream, self.observer) = (None, None);
        (self.has_answer_head, self.is_refused, self.is_opaque) = (false, false, false);
        self.recording.take();
        self.record.ttft_us = None;
    }

    /// Takes the call away from a caller who hung up and reads its answer to the end.
    fn drain(&mut self) {
        let gateway = Arc::clone(&self.gateway);
        let mut call = std::mem::replace(self, Call::hollow(&gateway));
        call.is_draining = true;
        call.note_leaving();
        gateway.tasks.spawn(settle::drain(Box::new(call)));
    }

    /// Labels the call with when its caller left: its end is the end of the answer, which is read on.
    pub(crate) fn note_leaving(&mut self) {
        let after_ms = clock::elapsed_us(self.started) / 1_000;
        settle::label(&mut self.record, "caller_left_after_ms", after_ms.to_string());
    }

    fn should_drain(&self) -> bool {
        // A runtime that is shutting down drops what is spawned on it, which must not lead back here.
        !self.is_draining
            && self.upstream.is_some()
            // A conversation that has not begun has no end to wait for.
            && self.record.operation != Operation::Realtime
            && self.on_disconnect == OnDisconnect::Drain
            && !self.gateway.abort.is_cancelled()
            && !std::thread::panicking()
            && tokio::runtime::Handle::try_current().is_ok()
    }
}

/// An attempt that is not the present one.
pub(crate) struct Aside {
    at: usize,
    started: Instant,
    target: Option<Arc<Target>>,
    spoken: Dialect,
    dropped: Vec<String>,
}

/// Why there is no head of an answer.
pub(crate) enum HeadError {
    /// An idle connection had died: the same request may go out on a fresh one.
    Stale,
    /// Anything else.
    Call(CallError),
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.settled {
            // The caller left while the end of the call was on its way to the disk.
            self.held = None;
            return;
        }
        self.restore();
        if self.should_drain() {
            return self.drain();
        }
        let error = if std::thread::panicking() {
            CallError::Internal
        } else if self.gateway.abort.is_cancelled() {
            CallError::Interrupted
        } else {
            CallError::HungUp
        };
        settle::abandon(self, &error);
    }
}

fn text_of(value: &http::HeaderValue) -> String {
    match value.to_str() {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
    }
}
