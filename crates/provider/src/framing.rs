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
}
