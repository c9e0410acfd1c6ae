//! Bytes on their way to the caller. An answer that is whole goes out as it is. A stream goes out piece by piece as it
//! comes, except for its end: the piece that tells the caller that all has been said waits until the call is in the log.
//!
//! An answer that breaks off is never passed off as a whole one: a stream ends with an error event in the caller's
//! dialect, any other answer with a broken connection.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tollgate_interaction::{Dialect, Operation, Outcome, Payload};
use tollgate_provider::eventstream::WholeFrames;
use tollgate_provider::translate::AnswerStream;
use tollgate_provider::{Observation, UsageFilter, dialect};

use crate::call::Call;
use crate::error::CallError;
use crate::listener::Presence;
use crate::media;
use crate::settings::AckMode;
use crate::settle::{self, Ending, Settlement};

/// How long a provider may keep a stream open after it has said that it is over.
const LINGER: Duration = Duration::from_secs(2);

/// The body of every response.
pub(crate) struct Body {
    content: Content,
    /// Tells the connection that a response is on its way, for as long as it is.
    presence: Option<Presence>,
}

enum Content {
    Whole(Bytes),
    Relay(Box<Relay>),
}

/// The answer broke off and nothing can be said about it any more: the connection must break too.
#[derive(Debug, thiserror::Error)]
#[error("the answer of provider `{provider}` broke off")]
pub(crate) struct BrokenAnswer {
    provider: String,
}

impl Body {
    pub(crate) fn whole(content: Bytes) -> Body {
        Body { content: Content::Whole(content), presence: None }
    }

    pub(crate) fn relay(relay: Relay) -> Body {
        Body { content: Content::Relay(Box::new(relay)), presence: None }
    }

    /// The content, if it is whole.
    pub(crate) fn into_whole(self) -> Option<Bytes> {
        match self.content {
            Content::Whole(bytes) => Some(bytes),
            Content::Relay(_) => None,
        }
    }

    pub(crate) fn accompany(&mut self, presence: Presence) {
        self.presence = Some(presence);
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BrokenAnswer;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        match &mut self.get_mut().content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Relay(relay) => relay.poll_next(cx).map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Relay(relay) => matches!(relay.phase, Phase::Ended),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Relay(_) => SizeHint::default(),
        }
    }
}

/// An answer that is passed on while it comes.
pub(crate) struct Relay {
    /// `None` only while its end is being written to disk.
    call: Option<Box<Call>>,
    dialect: Dialect,
    operation: Operation,
    provider: String,
    form: Form,
    rewording: Rewording,
    /// Not to be sent before the call is settled.
    held: Bytes,
    has_ended: bool,
    phase: Phase,
}

/// What an answer is to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One thing, which is nothing until it is whole.
    Whole,
    /// Events, one after the other.
    Events,
    /// The items of a JSON array, one after the other.
    Array,
}

/// What is done to a stream on its way to the caller.
pub(crate) enum Rewording {
    /// Nothing: the caller gets the provider's bytes.
    None,
    /// The usage that the gateway, not the caller, asked for is hidden.
    HideUsage(Box<UsageFilter>),
    /// Nothing, but what goes out ends where one of Amazon's frames does.
    WholeFrames(Box<WholeFrames>),
    /// It is put into the caller's format.
    Reword(Box<AnswerStream>),
}

impl Rewording {
    pub(crate) fn hide_usage() -> Rewording {
        Rewording::HideUsage(Box::default())
    }

    fn push(&mut self, chunk: Bytes) -> Bytes {
        match self {
            Rewording::None => chunk,
            Rewording::HideUsage(filter) => filter.push(chunk),
            Rewording::WholeFrames(frames) => frames.push(chunk),
            Rewording::Reword(stream) => stream.push(&chunk),
        }
    }

    /// What the stream should have been, if it cannot be read any further.
    fn broken(&self) -> Option<&'static str> {
        const SHORTER: &str = "a stream of events of at most 16 MiB each";
        match self {
            Rewording::None | Rewording::HideUsage(_) => None,
            Rewording::WholeFrames(frames) => frames.is_broken().then_some("an undamaged stream of events"),
            Rewording::Reword(stream) => stream.is_broken().then_some(SHORTER),
        }
    }

    /// Whether the stream has ended within one of Amazon's frames.
    fn is_midway(&self) -> bool {
        match self {
            Rewording::None | Rewording::HideUsage(_) => false,
            Rewording::WholeFrames(frames) => frames.is_midway(),
            Rewording::Reword(stream) => stream.is_midway(),
        }
    }

    /// Whether a stream is over that never began.
    fn is_unbegun(&self) -> bool {
        if let Rewording::Reword(stream) = self { stream.is_unbegun() } else { false }
    }

    /// What is left at the end; `is_whole` says whether the provider's answer was.
    fn finish(&mut self, is_whole: bool) -> Bytes {
        match self {
            Rewording::HideUsage(filter) => filter.finish(),
            Rewording::Reword(stream) if is_whole => stream.finish(),
            Rewording::None | Rewording::WholeFrames(_) | Rewording::Reword(_) => Bytes::new(),
        }
    }

    /// Whether `piece`, the last that came out, tells the caller that all has been said.
    fn end_in(&self, dialect: Dialect, operation: Operation, piece: &[u8]) -> End {
        match self {
            Rewording::Reword(stream) if stream.has_ended() => End::Yes,
            Rewording::Reword(_) => End::No,
            Rewording::None | Rewording::HideUsage(_) | Rewording::WholeFrames(_) => end_in(dialect, operation, piece),
        }
    }
}

type Settling = Pin<Box<dyn Future<Output = (Box<Call>, Result<Settlement, CallError>)> + Send>>;

enum Phase {
    Flowing,
    /// Waiting for the disk; then comes `last`.
    Settling {
        settling: Settling,
        last: Last,
    },
    Ended,
}

/// What is still to be sent when the call has been settled.
struct Last {
    bytes: BytesMut,
    is_broken: bool,
}

impl Relay {
    /// Relays the answer of `call`. `first` is what has been read of it already.
    pub(crate) fn new(call: Box<Call>, form: Form, first: Bytes, rewording: Rewording) -> Relay {
        let (dialect, operation, provider) = (call.dialect, call.record.operation, call.provider_name());
        let (call, phase) = (Some(call), Phase::Flowing);
        Relay { call, dialect, operation, provider, form, rewording, held: first, has_ended: false, phase }
    }

    fn is_stream(&self) -> bool {
        self.form != Form::Whole
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenAnswer>>> {
        loop {
            match &mut self.phase {
                Phase::Ended => return Poll::Ready(None),
                Phase::Settling { settling, last } => {
                    let (mut call, settled) = ready!(settling.as_mut().poll(cx));
                    let last = std::mem::replace(last, Last { bytes: BytesMut::new(), is_broken: false });
                    return Poll::Ready(self.last(&mut call, last, settled));
                }
                Phase::Flowing => {}
            }
            let Some(call) = &mut self.call else { return Poll::Ready(None) };
            let end = match ready!(call.poll_chunk(cx)) {
                Ok(Some(chunk)) => match (self.pass(chunk), self.fault()) {
                    (Some(piece), None) => return Poll::Ready(Some(Ok(piece))),
                    (None, None) => continue,
                    (piece, Some(error)) => {
                        self.take_back(piece.unwrap_or_default());
                        Some(error)
                    }
                },
                Ok(None) => None,
                // It had said that it was over: how the connection ended does not matter.
                Err(_) if self.has_ended => None,
                Err(error) => Some(error),
            };
            if let Some(piece) = self.close(end) {
                return Poll::Ready(piece);
            }
        }
    }

    /// Why nothing more of the answer can go out, if that is so.
    fn fault(&mut self) -> Option<CallError> {
        if let Some(expected) = self.rewording.broken() {
            return Some(CallError::UpstreamInvalid { provider: self.provider.clone(), expected, came: String::new() });
        }
        self.call.as_mut()?.blocked_answer()
    }

    /// What of `chunk`, and of what was held back before it, may go out now.
    fn pass(&mut self, chunk: Bytes) -> Option<Bytes> {
        let piece = self.rewording.push(chunk);
        let is_stream = self.is_stream();
        let call = self.call.as_mut()?;
        let piece = if is_stream {
            let piece = if self.held.is_empty() { piece } else { join(&std::mem::take(&mut self.held), &piece) };
            match self.rewording.end_in(self.dialect, self.operation, &piece) {
                End::No => piece,
                End::Maybe => {
                    self.held = piece;
                    return None;
                }
                End::Yes => {
                    self.held = piece;
                    self.has_ended = true;
                    call.expect_within(LINGER);
                    return None;
                }
            }
        } else {
            // Any piece could be the last one.
            std::mem::replace(&mut self.held, piece)
        };
        call.sent_bytes += piece.len() as u64;
        call.note_sent(&piece);
        (!piece.is_empty()).then_some(piece)
    }

    /// Puts a piece that was about to go out before what is held back.
    fn take_back(&mut self, piece: Bytes) {
        if let Some(call) = &mut self.call {
            call.sent_bytes -= piece.len() as u64;
        }
        self.held = join(&piece, &self.held);
    }

    /// Settles the call. `None` if that takes a while.
    fn close(&mut self, error: Option<CallError>) -> Option<Option<Result<Bytes, BrokenAnswer>>> {
        let mut call = self.call.take()?;
        let observation = call.observation(error.is_none());
        let error = error.or_else(|| self.shortcoming(&observation));
        let (last, error) = self.rest(&mut call, error);
        call.sent_bytes += last.bytes.len() as u64;
        call.note_attempt(None, error.as_ref().and_then(CallError::of_provider));
        let ending = ending_of(&mut call, observation, error);
        if call.ack == AckMode::Sync {
            let settling: Settling = Box::pin(async move {
                let settled = settle::settle_on_disk(&mut call, ending).await;
                (call, settled)
            });
            self.phase = Phase::Settling { settling, last };
            return None;
        }
        let settled = settle::settle(&mut call, ending);
        Some(self.last(&mut call, last, settled))
    }

    /// What is wrong with an answer that has ended as HTTP wants it to.
    fn shortcoming(&self, observation: &Observation) -> Option<CallError> {
        // Some servers that speak OpenAI's dialect leave `[DONE]` out; that every choice has its reason to stop will do.
        let is_whole = observation.terminated || (self.is_stream() && !observation.finish_reasons.is_empty());
        let is_whole = is_whole && (self.has_ended || !self.rewording.is_midway());
        let provider = self.provider.clone();
        match (is_whole || observation.error.is_some(), self.is_stream()) {
            (true, _) => None,
            (false, true) => Some(CallError::UpstreamIncomplete { provider }),
            (false, false) => Some(CallError::UpstreamInvalid {
                provider,
                expected: media::expected(self.operation),
                came: String::new(),
            }),
        }
    }

    /// Whether a comment can stand in the caller's stream. Amazon's binary one has none, and Google's client library takes
    /// every line for data (google-genai 3.6, 2026-11-26).
    fn has_comments(&self) -> bool {
        !matches!(self.dialect, Dialect::Gemini | Dialect::Bedrock)
    }

    /// What is left to be sent, and what is wrong with the answer as far as that is known now.
    fn rest(&mut self, call: &mut Call, error: Option<CallError>) -> (Last, Option<CallError>) {
        let mut bytes = BytesMut::from(std::mem::take(&mut self.held));
        bytes.extend_from_slice(&self.rewording.finish(error.is_none()));
        // What was held back to the end may be what is blocked.
        let error = error.or_else(|| call.blocked_answer());
        let unbegun = || CallError::UpstreamIncomplete { provider: self.provider.clone() };
        let error = error.or_else(|| self.rewording.is_unbegun().then(unbegun));
        if let (Some(error), true) = (&error, self.is_stream()) {
            let is_first = call.sent_bytes == 0 && bytes.is_empty();
            bytes.extend_from_slice(&self.error_event(call, error, &bytes, is_first));
        }
        (Last { bytes, is_broken: error.is_some() && !self.is_stream() }, error)
    }

    /// The error as an event of its own, also behind half an event. `is_first` says whether nothing has been sent.
    fn error_event(&self, call: &Call, error: &CallError, before: &[u8], is_first: bool) -> Vec<u8> {
        let shape = error.shape(call.public_id.to_string());
        if self.form == Form::Array {
            return dialect::error_item(&shape, is_first);
        }
        let breaks: &[u8] = if self.is_between_events(call, before) { b"" } else { b"\n\n" };
        [breaks, &dialect::error_event(self.dialect, &shape)].concat()
    }

    fn is_between_events(&self, call: &Call, before: &[u8]) -> bool {
        if matches!(self.rewording, Rewording::Reword(_) | Rewording::WholeFrames(_)) {
            // They let out whole events only.
            return true;
        }
        let sent = if before.is_empty() { call.recording.as_slice() } else { before };
        sent.is_empty() || sent.ends_with(b"\n\n") || sent.ends_with(b"\r\n\r\n")
    }

    /// The end of the body.
    fn last(
        &mut self,
        call: &mut Call,
        last: Last,
        settled: Result<Settlement, CallError>,
    ) -> Option<Result<Bytes, BrokenAnswer>> {
        self.phase = Phase::Ended;
        let Last { mut bytes, is_broken } = last;
        if settled.is_ok() && !is_broken {
            call.note_sent(&bytes);
            call.keep_answer();
        }
        match settled {
            Ok(Settlement { cost: Some(cost), .. }) if self.is_stream() && !is_broken && self.has_comments() => {
                bytes.extend_from_slice(format!(": tollgate cost_usd={cost}\n\n").as_bytes());
            }
            Ok(_) => {}
            Err(error) if self.is_stream() => {
                // What was held back counts as sent, and is not.
                let is_first = call.sent_bytes <= bytes.len() as u64;
                bytes.clear();
                bytes.extend_from_slice(&self.error_event(call, &error, b"\n\n", is_first));
            }
            Err(_) => return Some(Err(BrokenAnswer { provider: self.provider.clone() })),
        }
        if is_broken {
            return Some(Err(BrokenAnswer { provider: self.provider.clone() }));
        }
        (!bytes.is_empty()).then(|| Ok(bytes.freeze()))
    }
}

fn ending_of(call: &mut Call, observation: Observation, error: Option<CallError>) -> Ending {
    let reported = settle::class_of(&observation);
    let outcome = match (&error, &reported) {
        (Some(CallError::Denied { .. }), _) => Outcome::Denied,
        (None, None) => Outcome::Success,
        _ => Outcome::Failed,
    };
    let error = error.map(|error| (error.code().to_owned(), error.message())).or(reported);
    let received_bytes = call.recording.received_bytes();
    let response = Payload { content_type: std::mem::take(&mut call.response_type), body: call.recording.take() };
    Ending {
        outcome,
        http_status: call.status_sent,
        error,
        observation: Some(observation),
        response,
        received_bytes,
        sent_bytes: call.sent_bytes,
    }
}

/// Whether a piece of a stream is the one that must not go out before the call is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    No,
    /// It ends one of several answers, or more may follow: it waits for what comes next, however long that takes.
    Maybe,
    /// A client library stops reading after it.
    Yes,
}

/// Types of the last events of OpenAI's streams of pictures, speech and transcripts.
const LAST_EVENTS: [&[u8]; 4] = [
    b"\"image_generation.completed\"",
    b"\"image_edit.completed\"",
    b"\"speech.audio.done\"",
    b"\"transcript.text.done\"",
];

/// `{"type":"message_stop` in base64: how Claude's last event begins inside the frames of InvokeModel.
const LAST_CHUNK: &[u8] = b"eyJ0eXBlIjoibWVzc2FnZV9zdG9w";

/// What `piece` says about the end. JSON has no raw line breaks and no bare quotes within a text, so the model's own words
/// cannot be mistaken for it.
fn end_in(dialect: Dialect, operation: Operation, piece: &[u8]) -> End {
    let holds = |mark: &[u8], before: fn(u8) -> bool| {
        memchr::memmem::find_iter(piece, mark).any(|at| at == 0 || before(piece[at - 1]))
    };
    let starts_line = |mark: &[u8]| holds(mark, |before| before == b'\n');
    match dialect {
        Dialect::Openai if starts_line(b"data: [DONE]") => End::Yes,
        // These end without it, as a rule; where one comes after all, it is the end.
        Dialect::Openai if matches!(operation, Operation::Images | Operation::Speech | Operation::Transcription) => {
            let is_last = LAST_EVENTS.iter().any(|last| holds(last, |before| before != b'\\'));
            if is_last { End::Maybe } else { End::No }
        }
        Dialect::Anthropic if starts_line(b"event: message_stop") => End::Yes,
        Dialect::Responses
            if [&b"event: response.completed"[..], b"event: response.incomplete", b"event: response.failed"]
                .iter()
                .any(|mark| starts_line(mark)) =>
        {
            End::Yes
        }
        Dialect::Gemini if holds(b"\"finishReason\"", |before| before != b'\\') => End::Maybe,
        Dialect::Bedrock
            if [&b"messageStop"[..], LAST_CHUNK].iter().any(|mark| memchr::memmem::find(piece, mark).is_some()) =>
        {
            End::Maybe
        }
        Dialect::Openai | Dialect::Anthropic | Dialect::Responses | Dialect::Gemini | Dialect::Bedrock => End::No,
    }
}

fn join(left: &Bytes, right: &Bytes) -> Bytes {
    [left.as_ref(), right.as_ref()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(dialect: Dialect, piece: &[u8]) -> End {
        end_in(dialect, Operation::Chat, piece)
    }

    #[test]
    fn the_end_of_a_stream_is_told_from_words_about_it() {
        assert_eq!(end(Dialect::Openai, b"data: {}\n\ndata: [DONE]\n\n"), End::Yes);
        assert_eq!(end(Dialect::Anthropic, b"event: message_stop\ndata: {}\n\n"), End::Yes);
        assert_eq!(end(Dialect::Openai, br#"data: {"content":"data: [DONE]"}"#), End::No);
        assert_eq!(end(Dialect::Anthropic, b"data: [DONE]\n\n"), End::No);
        assert_eq!(end(Dialect::Responses, b"event: response.incomplete\ndata: {}\n\n"), End::Yes);
        assert_eq!(end(Dialect::Gemini, br#"data: {"text":"say \"finishReason\""}"#), End::No);
        assert_eq!(end(Dialect::Gemini, br#"data: {"candidates":[{"finishReason":"STOP"}]}"#), End::Maybe);
    }

    #[test]
    fn the_last_event_of_a_stream_without_a_mark_waits_for_the_log() {
        let end = |piece: &[u8]| end_in(Dialect::Openai, Operation::Transcription, piece);
        assert_eq!(
            end(b"data: {\"type\":\"transcript.text.delta\",\"delta\":\"\\\"transcript.text.done\\\"\"}\n\n"),
            End::No
        );
        assert_eq!(end(b"data: {\"type\": \"transcript.text.done\",\"text\":\"\"}\n\n"), End::Maybe);
        assert_eq!(end(b"data: [DONE]\n\n"), End::Yes);
        let mut wrapper = tollgate_provider::dialect::bedrock::invoke::Wrapper::default();
        let frame = wrapper.push(b"data: {\"type\":\"message_stop\",\"amazon-bedrock-invocationMetrics\":{}}\n\n");
        assert_eq!(end_in(Dialect::Bedrock, Operation::Chat, &frame), End::Maybe);
    }
}
