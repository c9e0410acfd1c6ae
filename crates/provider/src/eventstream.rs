//! Amazon's binary event stream. SKELETON: to be written.
use crate::sse::Event;

/// Decodes a stream of frames. An event's name is the frame's `:event-type` or `:exception-type`, its data the payload.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decoder {}

impl Decoder {
    /// Reads the next bytes and hands out every event that ends in them.
    pub(crate) fn push(&mut self, _chunk: &[u8], _each: impl FnMut(Event<'_>)) {}
}
