//! One conversation, from the handshake to the row. Bytes pass in both directions as they come, one buffer each way: whoever
//! does not read makes the other side wait. Both sides' frames are read in passing, for the record and for what the model
//! used. However it ends (a farewell of either side, a broken connection, silence, the gateway's own end), the row is written
//! before the last bytes go out, once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::Instant;
use tollgate_interaction::{Outcome, Payload, Usage, UsageSource};
use tollgate_provider::Observation;
use tollgate_provider::realtime::{Listener, Record, Side};
use tollgate_provider::websocket::{FrameError, FrameReader, Message, Sender, close_frame};

use crate::call::Call;
use crate::clock;
use crate::error::CallError;
use crate::listener::Place;
use crate::settings::{AckMode, OnDisconnect};
use crate::settle::{self, Ending};
use crate::upstream::Switched;

/// Bytes on their way in one direction.
const BUFFER_BYTES: usize = 16 * 1024;
/// How long a caller may take to go from HTTP to frames, and either side to return a farewell or to take the last bytes.
const PARTING: Duration = Duration::from_secs(5);

/// Codes of farewells (<https://www.iana.org/assignments/websocket/websocket.xhtml>, 2026-11-26).
mod code {
    /// All was said.
    pub(super) const NORMAL: u16 = 1000;
    /// The side is going away.
    pub(super) const AWAY: u16 = 1001;
    /// The other side breaks the protocol.
    pub(super) const PROTOCOL: u16 = 1002;
    /// A message is too long.
    pub(super) const TOO_LARGE: u16 = 1009;
    /// The side failed.
    pub(super) const FAILED: u16 = 1011;
}

/// How a conversation ended.
enum End {
    /// A side said farewell. `None` for a farewell without a code.
    Farewell(Side, Option<u16>, String),
    /// A side broke the connection.
    Gone(Side),
    /// A side's frames make no sense, or are too long.
    Unreadable(Side, FrameError),
    /// Nobody said anything.
    Idle,
    /// It lasted too long.
    TooLong,
    /// The gateway stops.
    Stopped,
}

/// One direction.
struct Lane<R, W> {
    from: ReadHalf<R>,
    to: WriteHalf<W>,
    /// Read and not yet written.
    held: BytesMut,
    /// Written, perhaps no further than to where it is encrypted.
    is_unflushed: bool,
    frames: FrameReader,
}

impl<R: AsyncRead + AsyncWrite + Unpin, W: AsyncRead + AsyncWrite + Unpin> Lane<R, W> {
    fn new(from: ReadHalf<R>, to: WriteHalf<W>, sender: Sender, message_bytes: usize) -> Self {
        let (held, frames) = (BytesMut::with_capacity(BUFFER_BYTES), FrameReader::new(sender, message_bytes));
        Lane { from, to, held, is_unflushed: false, frames }
    }

    /// Moves bytes one step on. Can be dropped at any time without loss.
    async fn step(&mut self) -> io::Result<Step> {
        if self.held.has_remaining() {
            self.to.write_buf(&mut self.held).await?;
            self.is_unflushed = true;
            return Ok(Step::Wrote);
        }
        if self.is_unflushed {
            self.to.flush().await?;
            self.is_unflushed = false;
            return Ok(Step::Wrote);
        }
        self.held.clear();
        self.held.reserve(BUFFER_BYTES);
        Ok(if self.from.read_buf(&mut self.held).await? == 0 { Step::End } else { Step::Read })
    }

    fn is_writing(&self) -> bool {
        self.held.has_remaining() || self.is_unflushed
    }

    /// Writes what is held and then `last`, if there is room for it between two frames.
    async fn part(&mut self, last: Option<Vec<u8>>) {
        let parting = async {
            self.to.write_all_buf(&mut self.held).await?;
            if let Some(last) = last.filter(|_| self.frames.is_between_frames()) {
                self.to.write_all(&last).await?;
            }
            self.to.shutdown().await
        };
        // There is nobody left to tell.
        let _ = tokio::time::timeout(PARTING, parting).await;
    }
}

enum Step {
    Read,
    Wrote,
    End,
}

/// What is known of the conversation.
struct Session {
    call: Box<Call>,
    listener: Listener,
    /// `None` once the row has been written.
    record: Option<Record>,
}

/// Lets the two sides talk until one of them ends it. `place` is the caller's among all connections.
pub(super) async fn converse(call: Box<Call>, upgrade: OnUpgrade, switched: Switched, place: Option<Place>) {
    let limit = call.gateway.settings.limits.recorded_response_bytes;
    let (listener, record) = (Listener::default(), Some(Record::new(limit)));
    let mut session = Session { call, listener, record };
    let gateway = Arc::clone(&session.call.gateway);
    let joined = tokio::select! {
        () = gateway.abort.cancelled() => None,
        upgraded = tokio::time::timeout(PARTING, upgrade) => upgraded.ok().and_then(Result::ok),
    };
    match joined {
        Some(upgraded) => session.relay(upgraded, switched).await,
        None => {
            let end = if gateway.abort.is_cancelled() { End::Stopped } else { End::Gone(Side::Caller) };
            // The log has said why, if it did not take it; there is nobody else to tell.
            let _ = session.end(&end).await;
        }
    }
    drop(place);
}

impl Session {
    async fn relay(&mut self, upgraded: Upgraded, switched: Switched) {
        let message_bytes = self.call.gateway.settings.limits.message_bytes;
        let (caller_reads, caller_writes) = tokio::io::split(TokioIo::new(upgraded));
        let (provider_reads, provider_writes) = tokio::io::split(switched.stream);
        let mut up = Lane::new(caller_reads, provider_writes, Sender::Client, message_bytes);
        let mut down = Lane::new(provider_reads, caller_writes, Sender::Server, message_bytes);
        let end = match self.begin(&mut down, &switched.first) {
            Some(end) => end,
            None => self.pass(&mut up, &mut down).await,
        };
        match &end {
            // What cannot be read is not passed on.
            End::Unreadable(Side::Caller, _) => up.held.truncate(up.frames.whole_bytes()),
            End::Unreadable(Side::Provider, _) => down.held.truncate(down.frames.whole_bytes()),
            End::Gone(Side::Caller) if self.should_drain() => {
                self.call.note_leaving();
                self.drain(&mut down, false).await;
            }
            End::Farewell(Side::Caller, ..) => {
                let has_ended = self.should_drain() && self.drain(&mut down, true).await;
                if !has_ended {
                    self.return_farewell(&mut up, &mut down).await;
                }
            }
            _ => {}
        }
        let settled = self.end(&end).await;
        let (to_provider, to_caller) = farewells(&end, settled.is_ok());
        down.part(to_caller).await;
        if let End::Farewell(Side::Provider, ..) = end {
            // The caller answers a farewell with its own, and ends the connection.
            let answered = async { while matches!(up.step().await, Ok(Step::Read | Step::Wrote)) {} };
            let _ = tokio::time::timeout(PARTING, answered).await;
        }
        up.part(to_provider).await;
        if !matches!(end, End::Gone(Side::Caller) | End::Stopped) {
            // A socket that is closed with bytes unread takes those that are on their way to the caller with it.
            let _ = tokio::time::timeout(PARTING, tokio::io::copy(&mut up.from, &mut tokio::io::sink())).await;
        }
    }

    /// Takes in what came with the provider's handshake.
    fn begin<R, W>(&mut self, down: &mut Lane<R, W>, first: &Bytes) -> Option<End> {
        down.held.extend_from_slice(first);
        self.read(Side::Provider, &mut down.frames, first)
    }

    /// Passes bytes both ways until there is an end.
    async fn pass<C, P>(&mut self, up: &mut Lane<C, P>, down: &mut Lane<P, C>) -> End
    where
        C: AsyncRead + AsyncWrite + Unpin,
        P: AsyncRead + AsyncWrite + Unpin,
    {
        let gateway = Arc::clone(&self.call.gateway);
        let timeouts = &gateway.settings.timeouts;
        let mut total = std::pin::pin!(tokio::time::sleep(timeouts.session_total));
        let mut idle = std::pin::pin!(tokio::time::sleep(timeouts.session_idle));
        let mut abort = std::pin::pin!(gateway.abort.cancelled());
        loop {
            let (side, step) = tokio::select! {
                () = &mut abort => return End::Stopped,
                () = &mut total => return End::TooLong,
                step = down.step() => (Side::Provider, step),
                step = up.step() => (Side::Caller, step),
                () = &mut idle => return End::Idle,
            };
            let end = match (side, step) {
                (Side::Provider, Ok(Step::Read)) => self.read(side, &mut down.frames, &down.held),
                (Side::Caller, Ok(Step::Read)) => self.read(side, &mut up.frames, &up.held),
                (_, Ok(Step::Wrote)) => None,
                (side, Ok(Step::End)) => Some(End::Gone(side)),
                (Side::Provider, Err(error)) => Some(broken(side, down.is_writing(), &error)),
                (Side::Caller, Err(error)) => Some(broken(side, up.is_writing(), &error)),
            };
            if let Some(end) = end {
                return end;
            }
            idle.as_mut().reset(Instant::now() + timeouts.session_idle);
        }
    }

    /// Reads what `side` sent; says if that is the end.
    fn read(&mut self, side: Side, frames: &mut FrameReader, bytes: &[u8]) -> Option<End> {
        let at_ms = clock::micros(self.call.started.elapsed()) / 1_000;
        match side {
            Side::Provider => self.call.sent_bytes += bytes.len() as u64,
            Side::Caller => self.call.record.request_bytes += bytes.len() as u64,
        }
        let mut end = None;
        let Session { listener, record, .. } = self;
        let read = frames.push(bytes, |message| match message {
            Message::Text(text) => {
                listener.hear(side, text);
                record.iter_mut().for_each(|record| record.text(side, at_ms, text));
            }
            Message::Binary(bytes) => {
                record.iter_mut().for_each(|record| record.binary(side, at_ms, bytes.len()));
            }
            Message::Close(code, why) => {
                record.iter_mut().for_each(|record| record.close(side, at_ms, code, why));
                end = Some(End::Farewell(side, code, String::from_utf8_lossy(why).into_owned()));
            }
        });
        read.err().map(|error| End::Unreadable(side, error)).or(end)
    }

    /// Whether the answer being given is to be heard to its end after its caller has left, so that the provider counts it.
    fn should_drain(&self) -> bool {
        self.listener.is_answering() && self.call.on_disconnect == OnDisconnect::Drain
    }

    /// Hears the answer being given to its end, within bounds, and says whether the provider took its leave meanwhile.
    /// `passes_on` says whether the caller still takes it.
    async fn drain<R, W>(&mut self, down: &mut Lane<R, W>, mut passes_on: bool) -> bool
    where
        R: AsyncRead + AsyncWrite + Unpin,
        W: AsyncRead + AsyncWrite + Unpin,
    {
        let gateway = Arc::clone(&self.call.gateway);
        let mut has_ended = false;
        let rest = async {
            while self.listener.is_answering() {
                if !passes_on {
                    down.held.clear();
                    down.is_unflushed = false;
                }
                let sent_bytes = self.call.sent_bytes;
                match down.step().await {
                    Ok(Step::Read) if self.read(Side::Provider, &mut down.frames, &down.held).is_some() => {
                        has_ended = true;
                        break;
                    }
                    Ok(Step::Read | Step::Wrote) => {}
                    Err(_) if passes_on && down.is_writing() => passes_on = false,
                    Ok(Step::End) | Err(_) => break,
                }
                if !passes_on {
                    // Nobody hears it.
                    self.call.sent_bytes = sent_bytes;
                }
            }
        };
        tokio::select! {
            () = gateway.abort.cancelled() => {}
            _ = tokio::time::timeout(gateway.settings.timeouts.drain, rest) => {}
        }
        if !passes_on {
            down.held.clear();
        }
        has_ended
    }

    /// Passes the caller's farewell on and waits for the provider's, which may come behind the last of its words.
    async fn return_farewell<C, P>(&mut self, up: &mut Lane<C, P>, down: &mut Lane<P, C>)
    where
        C: AsyncRead + AsyncWrite + Unpin,
        P: AsyncRead + AsyncWrite + Unpin,
    {
        let returned = async {
            while up.is_writing() {
                up.step().await?;
            }
            loop {
                match down.step().await? {
                    Step::End => return Ok::<(), io::Error>(()),
                    Step::Read if self.read(Side::Provider, &mut down.frames, &down.held).is_some() => return Ok(()),
                    Step::Read | Step::Wrote => {}
                }
            }
        };
        // How it ended is said already: by the caller's farewell.
        let _ = tokio::time::timeout(PARTING, returned).await;
    }

    /// Writes the row.
    async fn end(&mut self, end: &End) -> Result<(), CallError> {
        let Some(record) = self.record.take() else { return Ok(()) };
        let error = self.error_of(end);
        let (lines, whole_bytes) = record.finish();
        let observation = self.observed();
        let call = &mut self.call;
        call.note_attempt(None, error.as_ref().map(CallError::code));
        let ending = Ending {
            outcome: error.as_ref().map_or(Outcome::Success, CallError::outcome),
            http_status: call.status_sent,
            error: error.map(|error| (error.code().to_owned(), error.message())),
            observation: Some(observation),
            response: Payload { content_type: "application/jsonl".to_owned(), body: lines.into() },
            received_bytes: whole_bytes,
            sent_bytes: call.sent_bytes,
        };
        let settled = match call.ack {
            AckMode::Sync => settle::settle_on_disk(call, ending).await,
            AckMode::Async | AckMode::Intent => settle::settle(call, ending),
        };
        settled.map(drop)
    }

    fn observed(&mut self) -> Observation {
        let mut observation = std::mem::take(&mut self.listener).finish_conversation();
        if observation.usage_source == UsageSource::None {
            // The model was asked for nothing, and only what it was asked for costs anything.
            observation.usage = Usage { input_tokens: Some(0), output_tokens: Some(0), ..Usage::default() };
            observation.usage_source = UsageSource::Estimated;
        }
        observation
    }

    fn error_of(&self, end: &End) -> Option<CallError> {
        let (timeouts, provider) = (&self.call.gateway.settings.timeouts, self.call.provider_name());
        Some(match end {
            End::Farewell(Side::Caller, ..) => return None,
            End::Farewell(Side::Provider, None | Some(code::NORMAL), _) => return None,
            End::Farewell(Side::Provider, Some(code), reason) => {
                let told = self.listener.error().map(|error| error.message.clone()).filter(|told| !told.is_empty());
                let reason = if reason.is_empty() {
                    told.unwrap_or_else(|| "no reason given".to_owned())
                } else {
                    reason.clone()
                };
                CallError::UpstreamClosed { provider, code: *code, reason }
            }
            End::Gone(Side::Caller) => CallError::HungUp,
            End::Gone(Side::Provider) => CallError::UpstreamIncomplete { provider },
            End::Unreadable(Side::Caller, why) => CallError::FramesUnreadable { why: *why },
            End::Unreadable(Side::Provider, _) => {
                CallError::UpstreamInvalid { provider, expected: "a readable WebSocket frame", came: String::new() }
            }
            End::Idle => CallError::SessionIdle { waited_ms: timeouts.session_idle.as_millis() },
            End::TooLong => CallError::SessionTooLong { waited_ms: timeouts.session_total.as_millis() },
            End::Stopped => CallError::Interrupted,
        })
    }
}

impl Drop for Session {
    /// The task was dropped or panicked. What was heard until then stands.
    fn drop(&mut self) {
        let Some(record) = self.record.take() else { return };
        let error = if std::thread::panicking() { CallError::Internal } else { CallError::Interrupted };
        let (lines, received_bytes) = record.finish();
        let observation = Some(self.observed());
        let ending = Ending {
            outcome: error.outcome(),
            http_status: self.call.status_sent,
            error: Some((error.code().to_owned(), error.message())),
            observation,
            response: Payload { content_type: "application/jsonl".to_owned(), body: lines.into() },
            received_bytes,
            sent_bytes: self.call.sent_bytes,
        };
        // The log has said why, if it did not take it; there is nobody else to tell.
        let _ = settle::settle(&mut self.call, ending);
    }
}

/// Whose connection broke while bytes of `from` were on their way: reading fails at its own side, writing at the other.
fn broken(from: Side, was_writing: bool, error: &io::Error) -> End {
    tracing::debug!(%error, "a conversation broke off");
    match (from, was_writing) {
        (Side::Caller, true) | (Side::Provider, false) => End::Gone(Side::Provider),
        (Side::Provider, true) | (Side::Caller, false) => End::Gone(Side::Caller),
    }
}

/// What the gateway says to the provider and to the caller in parting, beyond what they say to each other.
fn farewells(end: &End, is_recorded: bool) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let provider = |code, why: &str| Some(close_frame(Sender::Client, code, why));
    let caller = |code, why: &str| Some(close_frame(Sender::Server, code, why));
    if !is_recorded {
        let why = "the gateway could not record this conversation";
        return (provider(code::AWAY, ""), caller(code::FAILED, why));
    }
    match end {
        End::Farewell(..) => (None, None),
        End::Gone(Side::Caller) => (provider(code::AWAY, ""), None),
        End::Gone(Side::Provider) => (None, caller(code::FAILED, "the provider broke the connection")),
        End::Unreadable(Side::Caller, FrameError::TooLong { .. }) => {
            (provider(code::AWAY, ""), caller(code::TOO_LARGE, "the message is too long"))
        }
        End::Unreadable(Side::Caller, FrameError::Protocol(why)) => {
            (provider(code::AWAY, ""), caller(code::PROTOCOL, why))
        }
        End::Unreadable(Side::Provider, FrameError::TooLong { .. }) => {
            (provider(code::TOO_LARGE, ""), caller(code::FAILED, "the provider sent a message that is too long"))
        }
        End::Unreadable(Side::Provider, FrameError::Protocol(why)) => {
            (provider(code::PROTOCOL, why), caller(code::FAILED, "the provider's frames cannot be read"))
        }
        End::Idle => (provider(code::AWAY, ""), caller(code::AWAY, "nobody said anything")),
        End::TooLong => (provider(code::AWAY, ""), caller(code::AWAY, "the conversation lasted too long")),
        End::Stopped => (provider(code::AWAY, ""), caller(code::AWAY, "the gateway is shutting down")),
    }
}
