//! Server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>), cut out of a byte stream that
//! arrives in pieces of any size. An event that lies within one piece is handed out where it stands; only one that is
//! split is copied. It does not interpret the data, and it does not grow without bound: an event over the limit is
//! dropped and counted.

use memchr::{memchr, memchr2};

/// Bytes of one event that are kept while it arrives. Larger than any text delta; an image in a delta can reach it.
const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;
/// May stand before the first event.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Value of its `event:` line; empty if it has none.
    pub name: &'a [u8],
    /// Its `data:` lines, joined with line feeds.
    pub data: &'a [u8],
}

/// Finds where events end, over any number of pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Boundary {
    /// Whether the line being read is still empty.
    line_is_empty: bool,
    /// Whether the last byte was a carriage return, whose line feed belongs to it.
    after_return: bool,
}

impl Default for Boundary {
    fn default() -> Self {
        Boundary { line_is_empty: true, after_return: false }
    }
}

impl Boundary {
    /// Offset just behind the blank line that ends the event being read, or `None` if `bytes` does not reach it.
    #[inline]
    pub(crate) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if self.after_return {
                self.after_return = false;
                if bytes[at] == b'\n' {
                    at += 1;
                    continue;
                }
            }
            let Some(length) = memchr2(b'\n', b'\r', &bytes[at..]) else {
                self.line_is_empty = false;
                return None;
            };
            let blank = self.line_is_empty && length == 0;
            self.after_return = bytes[at + length] == b'\r';
            self.line_is_empty = true;
            at += length + 1;
            if blank {
                return Some(at);
            }
        }
        None
    }
}

/// Decodes a stream of events.
#[derive(Clone, Debug)]
pub struct Decoder {
    boundary: Boundary,
    pending: Vec<u8>,
    joined: Vec<u8>,
    max_event_bytes: usize,
    overlong: bool,
    dropped: u64,
    halts: bool,
    began: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder::new(MAX_EVENT_BYTES)
    }
}

impl Decoder {
    /// A decoder that keeps at most `max_event_bytes` of an event that has not ended.
    #[must_use]
    pub fn new(max_event_bytes: usize) -> Self {
        Decoder {
            boundary: Boundary::default(),
            pending: Vec::new(),
            joined: Vec::new(),
            max_event_bytes,
            overlong: false,
            dropped: 0,
            halts: false,
            began: false,
        }
    }

    /// Hands out nothing after an event that was dropped: for a reader to whom the rest makes no sense without it.
    #[must_use]
    pub fn halting(mut self) -> Self {
        self.halts = true;
        self
    }

    /// Reads the next bytes and hands out every event that ends in them.
    pub fn push(&mut self, chunk: &[u8], mut each: impl FnMut(Event<'_>)) {
        let mut rest = chunk;
        while let Some(length) = self.boundary.find(rest) {
            let (end, after) = rest.split_at(length);
            rest = after;
            if self.pending.is_empty() && !self.overlong {
                self.dispatch(end, &mut each);
            } else {
                self.keep(end);
                self.dispatch_pending(&mut each);
            }
        }
        self.keep(rest);
    }

    /// Hands out what arrived after the last blank line. The standard would discard it; a provider that ends its last
    /// event without the blank line is forgiven, and half an event is left for the reader to refuse.
    pub fn finish(&mut self, mut each: impl FnMut(Event<'_>)) {
        self.dispatch_pending(&mut each);
    }

    /// Events that were dropped for their size.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.overlong || self.pending.len() + bytes.len() > self.max_event_bytes {
            self.overlong = !bytes.is_empty() || self.overlong;
            self.pending = Vec::new();
            return;
        }
        self.pending.extend_from_slice(bytes);
    }

    fn dispatch_pending(&mut self, each: &mut impl FnMut(Event<'_>)) {
        if std::mem::take(&mut self.overlong) {
            self.dropped += 1;
            return;
        }
        let mut pending = std::mem::take(&mut self.pending);
        self.dispatch(&pending, each);
        pending.clear();
        self.pending = pending;
    }

    #[inline]
    fn dispatch(&mut self, block: &[u8], each: &mut impl FnMut(Event<'_>)) {
        if self.halts && self.dropped > 0 {
            return;
        }
        let block = if self.began { block } else { block.strip_prefix(BYTE_ORDER_MARK).unwrap_or(block) };
        self.began = true;
        let (mut name, mut data): (&[u8], Option<&[u8]>) = (b"", None);
        let mut several = false;
        for line in Lines(block) {
            if let Some(value) = field(line, b"data") {
                several |= data.is_some();
                if several {
                    self.join(data.unwrap_or_default(), value);
                }
                data = Some(value);
            } else if let Some(value) = field(line, b"event") {
                name = value;
            }
        }
        let Some(data) = data else { return };
        each(Event { name, data: if several { &self.joined } else { data } });
        self.joined.clear();
    }

    /// Adds one more data line to those joined so far; `first` is the only one if there are none yet.
    fn join(&mut self, first: &[u8], next: &[u8]) {
        if self.joined.is_empty() {
            self.joined.extend_from_slice(first);
        }
        self.joined.push(b'\n');
        self.joined.extend_from_slice(next);
    }
}

/// The data of the first event that starts in `block`, if it stands on a single line.
pub(crate) fn data_line(block: &[u8]) -> Option<&[u8]> {
    Lines(block).find_map(|line| field(line, b"data"))
}

/// The value of `line` if its field is `name`; one space after the colon is not part of it.
#[inline]
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(name)?;
    if rest.is_empty() {
        return Some(rest);
    }
    let value = rest.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

/// The lines of a block, ended by a line feed, a carriage return, or both.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = memchr(b'\n', self.0).unwrap_or(self.0.len());
        // A lone carriage return ends a line too, but hardly anybody sends one.
        let end = memchr(b'\r', &self.0[..end]).unwrap_or(end);
        let (line, rest) = self.0.split_at(end);
        let skipped = if rest.starts_with(b"\r\n") { 2 } else { 1 };
        self.0 = rest.get(skipped..).unwrap_or_default();
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut decoder = Decoder::default();
        let mut each = |event: Event<'_>| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            found.push((text(event.name), text(event.data)));
        };
        for piece in pieces {
            decoder.push(piece, &mut each);
        }
        decoder.finish(&mut each);
        found
    }

    #[test]
    fn every_way_of_cutting_a_stream_gives_the_same_events() {
        let streams: [&[u8]; 3] = [
            b"event: a\ndata: 1\n\n: comment\n\ndata:2\ndata: 3\nid: 7\n\n\n\nevent: b\ndata\n\ndata: [DONE]\n\n",
            b"event: a\r\ndata: 1\r\n\r\n: comment\r\n\r\ndata:2\r\ndata: 3\r\n\r\nevent: b\r\ndata\r\n\r\ndata: [DONE]\r\n\r\n",
            b"\xEF\xBB\xBFevent: a\rdata: 1\r\r: comment\r\rdata:2\rdata: 3\r\revent: b\rdata\r\rdata: [DONE]\r\r",
        ];
        let expected: Vec<_> = [("a", "1"), ("", "2\n3"), ("b", ""), ("", "[DONE]")]
            .map(|(name, data)| (name.to_owned(), data.to_owned()))
            .into();
        for stream in streams {
            assert_eq!(events(&[stream]), expected);
            assert_eq!(events(&stream.chunks(1).collect::<Vec<_>>()), expected);
            for cut in 0..stream.len() {
                let (before, after) = stream.split_at(cut);
                assert_eq!(events(&[before, after]), expected, "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_last_event_without_its_blank_line_is_not_lost() {
        assert_eq!(events(&[b"data: 1\n\ndata: [DO", b"NE]\n"]).last().unwrap().1, "[DONE]");
    }

    #[test]
    fn an_event_over_the_limit_is_dropped_and_counted_and_the_next_is_read() {
        let mut decoder = Decoder::new(20);
        let mut data = Vec::new();
        for piece in [&b"data: 0123456789"[..], b"0123456789", b"0123456789\n", b"\ndata: ", b"ok\n\n"] {
            decoder.push(piece, |event| data.push(event.data.to_vec()));
        }
        assert_eq!(data, [b"ok"]);
        assert_eq!(decoder.dropped(), 1);
        let mut decoder = Decoder::new(20).halting();
        let mut data = Vec::new();
        decoder.push(b"data: a\n\ndata: 01234567890123456789", |event| data.push(event.data.to_vec()));
        decoder.push(b"\n\ndata: b\n\n", |event| data.push(event.data.to_vec()));
        assert_eq!((data, decoder.dropped()), (vec![b"a".to_vec()], 1));
    }
}
