//! Puts a stream of server-sent events into the one JSON array that Gemini answers with where the caller does not ask for
//! events. Providers are always asked for events, which can be read in passing; each item's bytes stay as they are.

use bytes::Bytes;

use crate::sse;

/// Puts one stream into an array. Feed it every chunk in order, and send what it returns to the caller.
#[derive(Debug)]
pub struct EventArray {
    decoder: sse::Decoder,
    has_begun: bool,
}

impl Default for EventArray {
    fn default() -> Self {
        EventArray { decoder: sse::Decoder::default().halting(), has_begun: false }
    }
}

impl EventArray {
    /// The items that are whole now; possibly nothing.
    #[must_use]
    pub fn push(&mut self, chunk: &[u8]) -> Bytes {
        let mut out = Vec::new();
        let EventArray { decoder, has_begun } = self;
        decoder.push(chunk, |event| {
            out.extend_from_slice(opening(*has_begun));
            out.extend_from_slice(event.data);
            *has_begun = true;
        });
        out.into()
    }

    /// The end of the array, of a stream that was whole.
    #[must_use]
    pub fn finish(&mut self) -> Bytes {
        let mut out = Vec::new();
        let EventArray { decoder, has_begun } = self;
        decoder.finish(|event| {
            out.extend_from_slice(opening(*has_begun));
            out.extend_from_slice(event.data);
            *has_begun = true;
        });
        out.extend_from_slice(if self.has_begun { b"\r\n]" } else { b"[]" });
        out.into()
    }

    /// Whether an event was too long to be read. No more is passed on from there.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.decoder.dropped() > 0
    }
}

/// What stands before an item.
pub(in crate::dialect) const fn opening(has_begun: bool) -> &'static [u8] {
    if has_begun { b",\r\n" } else { b"[" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_become_the_items_of_an_array_however_they_are_cut() {
        let stream = b"data: {\"a\":1}\r\n\r\ndata: {\"b\":\"\xc3\xa9\"}\r\n\r\n";
        for size in 1..=stream.len() {
            let mut array = EventArray::default();
            let mut out: Vec<u8> = stream.chunks(size).flat_map(|piece| array.push(piece)).collect();
            out.extend_from_slice(&array.finish());
            assert_eq!(out, b"[{\"a\":1},\r\n{\"b\":\"\xc3\xa9\"}\r\n]");
        }
        assert_eq!(EventArray::default().finish(), b"[]"[..]);
    }
}
