//! What the write-ahead log holds. A call is two events: [`Opened`] before any provider is called, with the request,
//! and [`Settled`] when it has ended, with the facts and the response. An `Opened` that never settled is a call that
//! was in flight when the process died; replay settles it as `interrupted`. What is beside the calls is one event each
//! ([`Governance`]).

use bytes::Bytes;
use minicbor::{Decode, Encode};

use crate::commitment::Salt;
use crate::governance::Governance;
use crate::id::InteractionId;
use crate::interaction::Interaction;

/// A body on the wire with its media type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map, context_bound = "Body")]
pub struct Payload {
    /// As in the `content-type` header; empty if there was none.
    #[n(0)]
    pub content_type: String,
    /// The bytes as received or sent; a stream is the raw concatenation of its events.
    #[n(1)]
    #[cbor(encode_with = "encode_bytes", decode_with = "decode_bytes")]
    pub body: Bytes,
}

/// A call that is about to reach a provider: everything that would be needed to account for it if the process died now.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map, context_bound = "Body")]
pub struct Opened {
    /// The facts known so far; its outcome is `interrupted` until a [`Settled`] says otherwise.
    #[n(0)]
    pub interaction: Interaction,
    /// What the caller sent.
    #[n(1)]
    pub request: Payload,
}

/// A call that has ended.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map, context_bound = "Body")]
pub struct Settled {
    /// The final facts.
    #[n(0)]
    pub interaction: Interaction,
    /// What the caller sent; `None` if an [`Opened`] with the same id holds it.
    #[n(1)]
    pub request: Option<Payload>,
    /// What the caller was sent.
    #[n(2)]
    pub response: Payload,
    /// Drawn for this call, so that nobody can guess what it said, or who said it, from the commitments that outlive
    /// both. `None` in logs of earlier versions.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub salt: Option<Salt>,
}

/// The kind of an event, as the frame header stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EventKind {
    /// [`Opened`].
    Opened = 1,
    /// [`Settled`].
    Settled = 2,
    /// [`Governance::Control`]. (3 is a note of the log's own.)
    Control = 4,
    /// [`Governance::Access`].
    Access = 5,
    /// [`Governance::Gap`].
    Gap = 6,
    /// [`Governance::Price`].
    Price = 7,
    /// [`Governance::Feedback`].
    Feedback = 8,
}

impl EventKind {
    /// The kind with this number, if there is one.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(EventKind::Opened),
            2 => Some(EventKind::Settled),
            4 => Some(EventKind::Control),
            5 => Some(EventKind::Access),
            6 => Some(EventKind::Gap),
            7 => Some(EventKind::Price),
            8 => Some(EventKind::Feedback),
            _ => None,
        }
    }
}

/// One event of the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A call began.
    Opened(Box<Opened>),
    /// A call ended.
    Settled(Box<Settled>),
    /// Something beside the calls.
    Governance(Box<Governance>),
}

/// Bytes that are not an event of the stated kind.
#[derive(Debug, thiserror::Error)]
#[error("the body of a `{kind:?}` frame is not the CBOR of such an event")]
pub struct DecodeEventError {
    /// The kind the frame claims.
    pub kind: EventKind,
    /// What the decoder said.
    #[source]
    pub source: minicbor::decode::Error,
}

impl Event {
    /// The call it belongs to, if it belongs to one.
    #[must_use]
    pub fn interaction_id(&self) -> Option<InteractionId> {
        match self {
            Event::Opened(opened) => Some(opened.interaction.interaction_id),
            Event::Settled(settled) => Some(settled.interaction.interaction_id),
            Event::Governance(_) => None,
        }
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        match self {
            Event::Opened(_) => EventKind::Opened,
            Event::Settled(_) => EventKind::Settled,
            Event::Governance(event) => match **event {
                Governance::Control(_) => EventKind::Control,
                Governance::Access(_) => EventKind::Access,
                Governance::Gap(_) => EventKind::Gap,
                Governance::Price(_) => EventKind::Price,
                Governance::Feedback(_) => EventKind::Feedback,
            },
        }
    }

    /// Appends its deterministic CBOR to `buffer`.
    pub fn encode_into(&self, buffer: &mut Vec<u8>) {
        // Writing to a Vec cannot fail, and no field's encoder refuses a value.
        let written: Result<(), minicbor::encode::Error<std::convert::Infallible>> = match self {
            Event::Opened(opened) => minicbor::encode(opened, Growing(buffer)),
            Event::Settled(settled) => minicbor::encode(settled, Growing(buffer)),
            Event::Governance(event) => match &**event {
                Governance::Control(event) => minicbor::encode(event, Growing(buffer)),
                Governance::Access(event) => minicbor::encode(event, Growing(buffer)),
                Governance::Gap(event) => minicbor::encode(event, Growing(buffer)),
                Governance::Price(event) => minicbor::encode(event, Growing(buffer)),
                Governance::Feedback(event) => minicbor::encode(event, Growing(buffer)),
            },
        };
        debug_assert!(written.is_ok(), "encoding an event failed: {written:?}");
    }

    /// Reads an event back from the body of a frame. Payloads are parts of `body` and not copies.
    ///
    /// # Errors
    /// [`DecodeEventError`] if `body` is not the CBOR of an event of this kind.
    pub fn decode(kind: EventKind, body: &Bytes) -> Result<Event, DecodeEventError> {
        let mut whole = body.clone();
        let decoded = match kind {
            EventKind::Opened => minicbor::decode_with(body, &mut whole).map(|opened| Event::Opened(Box::new(opened))),
            EventKind::Settled => {
                minicbor::decode_with(body, &mut whole).map(|settled| Event::Settled(Box::new(settled)))
            }
            EventKind::Control => minicbor::decode(body).map(|event| Governance::Control(event).into()),
            EventKind::Access => minicbor::decode(body).map(|event| Governance::Access(event).into()),
            EventKind::Gap => minicbor::decode(body).map(|event| Governance::Gap(event).into()),
            EventKind::Price => minicbor::decode(body).map(|event| Governance::Price(event).into()),
            EventKind::Feedback => minicbor::decode(body).map(|event| Governance::Feedback(event).into()),
        };
        decoded.map_err(|source| DecodeEventError { kind, source })
    }
}

impl From<Governance> for Event {
    fn from(event: Governance) -> Event {
        Event::Governance(Box::new(event))
    }
}

/// A vector as CBOR is written to it: mostly single bytes, for which a copy of a slice is a detour. This halves the
/// instructions an event takes to encode.
pub(crate) struct Growing<'a>(pub(crate) &'a mut Vec<u8>);

impl minicbor::encode::Write for Growing<'_> {
    type Error = std::convert::Infallible;

    #[inline(always)]
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        match bytes {
            [byte] => self.0.push(*byte),
            bytes => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }
}

fn encode_bytes<C, W: minicbor::encode::Write>(
    bytes: &Bytes,
    encoder: &mut minicbor::Encoder<W>,
    _: &mut C,
) -> Result<(), minicbor::encode::Error<W::Error>> {
    encoder.bytes(bytes)?.ok()
}

/// What an event is decoded from.
pub trait Body {
    /// A part of it.
    fn part(&self, part: &[u8]) -> Bytes;
}

/// For encoding, which takes nothing apart.
impl Body for () {
    fn part(&self, part: &[u8]) -> Bytes {
        Bytes::copy_from_slice(part)
    }
}

impl Body for Bytes {
    fn part(&self, part: &[u8]) -> Bytes {
        self.slice_ref(part)
    }
}

fn decode_bytes<C: Body>(decoder: &mut minicbor::Decoder<'_>, body: &mut C) -> Result<Bytes, minicbor::decode::Error> {
    decoder.bytes().map(|part| body.part(part))
}
