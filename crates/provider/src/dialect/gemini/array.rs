//! A stream as one JSON array whose items come as they are ready: what Google answers to who does not ask for server-sent
//! events (`alt=sse`).

use bytes::Bytes;

use crate::sse;

/// Opens an array, or goes on with one.
#[must_use]
pub(crate) fn opening(is_first: bool) -> &'static [u8] {
    if is_first { b"[" } else { b",\r\n" }
}

/// Ends an array.
pub(crate) const CLOSING: &[u8] = b"]";

/// Puts the data of server-sent events into an array.
#[derive(Debug)]
pub(crate) struct ArrayFrames {
    decoder: sse::Decoder,
    has_written: bool,
    has_ended: bool,
}

impl Default for ArrayFrames {
    fn default() -> Self {
        ArrayFrames { decoder: sse::Decoder::default().halting(), has_written: false, has_ended: false }
    }
}

impl ArrayFrames {
    /// The items that end in `chunk`.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Bytes {
        let ArrayFrames { decoder, has_written, .. } = self;
        let mut out = Vec::new();
        decoder.push(chunk, |event| item(event.data, has_written, &mut out));
        out.into()
    }

    /// The last item, if nothing ended it, and the end of the array.
    pub(crate) fn finish(&mut self) -> Bytes {
        let ArrayFrames { decoder, has_written, has_ended } = self;
        let mut out = Vec::new();
        decoder.finish(|event| item(event.data, has_written, &mut out));
        if !*has_written {
            out.extend_from_slice(opening(true));
        }
        *has_ended = true;
        out.extend_from_slice(CLOSING);
        out.into()
    }

    /// Whether an event was too long to be read. Nothing more is written from there.
    pub(crate) fn is_broken(&self) -> bool {
        self.decoder.dropped() > 0
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }
}

fn item(data: &[u8], has_written: &mut bool, out: &mut Vec<u8>) {
    if data.is_empty() {
        return;
    }
    out.extend_from_slice(opening(!*has_written));
    out.extend_from_slice(data);
    *has_written = true;
}
