//! Translates a stream while it passes: bytes of the provider's in, bytes of the caller's out, however they are cut.

use bytes::Bytes;
use tollgate_interaction::Dialect;

use super::{Asked, CallIds, read_stream, write_stream};
use crate::chat::Event;
use crate::framing::Decoder;

/// Reads the events of one dialect's stream.
pub(crate) trait ReadStream: std::fmt::Debug + Send {
    /// Reads one event of the wire. `name` is its name, where it has one beside its data. Data that cannot be read is
    /// passed over: it is the observer's to notice.
    fn read(&mut self, name: &[u8], data: &[u8], out: &mut Vec<Event>);

    /// The body has ended as HTTP wants it to: says what the dialect leaves unsaid, if the stream was whole.
    fn end(&mut self, out: &mut Vec<Event>);
}

/// Writes the events of one dialect's stream.
pub(crate) trait WriteStream: std::fmt::Debug + Send {
    /// Writes what `event` comes to, framing included; nothing if it has to wait for a later one.
    fn write(&mut self, event: Event, out: &mut Vec<u8>);
}

/// Translates one stream. Feed it every chunk in order, and send what it returns to the caller.
#[derive(Debug)]
pub struct StreamTranslator {
    decoder: Decoder,
    reader: Box<dyn ReadStream>,
    writer: Box<dyn WriteStream>,
    call_ids: CallIds,
    events: Vec<Event>,
    has_ended: bool,
}

impl StreamTranslator {
    /// From a provider of dialect `from` to a caller of dialect `to`.
    #[must_use]
    pub fn new(from: Dialect, to: Dialect, asked: Asked) -> Self {
        StreamTranslator {
            decoder: Decoder::of(from),
            reader: read_stream(from),
            call_ids: CallIds::of(&asked.id),
            writer: write_stream(to, asked),
            events: Vec::new(),
            has_ended: false,
        }
    }

    /// What the caller may see now; possibly empty.
    #[must_use]
    pub fn push(&mut self, chunk: &[u8]) -> Bytes {
        let StreamTranslator { decoder, reader, events, .. } = self;
        decoder.push(chunk, |event| reader.read(event.name, event.data, events));
        self.written()
    }

    /// What is left when the body has ended as HTTP wants it to. Nothing more is written after an end or an error.
    #[must_use]
    pub fn finish(&mut self) -> Bytes {
        let StreamTranslator { decoder, reader, events, .. } = self;
        decoder.finish(|event| reader.read(event.name, event.data, events));
        reader.end(events);
        self.written()
    }

    /// Whether the caller has been told that all has been said, or that it broke off.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn written(&mut self) -> Bytes {
        let mut out = Vec::new();
        for mut event in self.events.drain(..) {
            if self.has_ended {
                break;
            }
            self.has_ended = matches!(event, Event::End | Event::Error(_));
            self.call_ids.name_next(&mut event);
            self.writer.write(event, &mut out);
        }
        out.into()
    }
}
