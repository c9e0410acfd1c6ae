//! How events are cut out of a body: server-sent events, or Amazon's binary event stream.

use tollgate_interaction::Dialect;

use crate::{eventstream, sse};

/// Decodes a stream of events in the framing of one dialect.
#[derive(Debug)]
pub(crate) enum Decoder {
    Sse(sse::Decoder),
    Amazon(eventstream::Decoder),
}

impl Decoder {
    /// The framing of `dialect`'s streams.
    pub(crate) fn of(dialect: Dialect) -> Decoder {
        match dialect {
            Dialect::Bedrock => Decoder::Amazon(eventstream::Decoder::default()),
            Dialect::Openai | Dialect::Anthropic | Dialect::Responses | Dialect::Gemini => {
                Decoder::Sse(sse::Decoder::default())
            }
        }
    }

    /// As [`Decoder::of`], but nothing is handed out behind an event that was too long.
    pub(crate) fn halting(dialect: Dialect) -> Decoder {
        match Decoder::of(dialect) {
            Decoder::Sse(decoder) => Decoder::Sse(decoder.halting()),
            // It halts anyway.
            amazon @ Decoder::Amazon(_) => amazon,
        }
    }

    /// Reads the next bytes and hands out every event that ends in them.
    pub(crate) fn push(&mut self, chunk: &[u8], each: impl FnMut(sse::Event<'_>)) {
        match self {
            Decoder::Sse(decoder) => decoder.push(chunk, each),
            Decoder::Amazon(decoder) => decoder.push(chunk, each),
        }
    }

    /// Hands out what is left at the end of the body, if the framing can tell.
    pub(crate) fn finish(&mut self, each: impl FnMut(sse::Event<'_>)) {
        match self {
            Decoder::Sse(decoder) => decoder.finish(each),
            // A frame states its length: half of one is nothing.
            Decoder::Amazon(_) => {}
        }
    }

    /// Whether a frame has begun and not ended. Events of text may lack their end.
    pub(crate) fn is_midway(&self) -> bool {
        match self {
            Decoder::Sse(_) => false,
            Decoder::Amazon(decoder) => decoder.is_midway(),
        }
    }

    /// Events that were too long to be read.
    pub(crate) fn dropped(&self) -> u64 {
        match self {
            Decoder::Sse(decoder) => decoder.dropped(),
            // Reported as an event of its own.
            Decoder::Amazon(_) => 0,
        }
    }
}
