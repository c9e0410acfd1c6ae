//! Amazon's binary event stream (`application/vnd.amazon.eventstream`): frames of a length, headers, a payload and two
//! checksums. It reads frames cut at any byte and writes them; it does not interpret payloads. A stream whose checksum is
//! wrong has lost its framing, so it is reported once, as an exception of our own, and nothing after it is read.
//! Source: <https://smithy.io/2.0/aws/amazon-eventstream.html> (2026-11-26).

use bytes::{Bytes, BytesMut};

use crate::sse::Event;

/// Total length, length of the headers, and the checksum of both.
const PRELUDE_BYTES: usize = 12;
/// A prelude and the checksum of the message.
const MIN_FRAME_BYTES: usize = 16;
/// Amazon's own clients accept no more: 24 MiB of payload and 128 KiB of headers.
const MAX_FRAME_BYTES: usize = 24 * 1024 * 1024;
const MAX_HEADERS_BYTES: usize = 128 * 1024;
/// Name under which a stream is reported whose bytes make no sense.
pub(crate) const CORRUPTED: &str = "corruptedStreamException";

/// Appends an event whose payload is JSON.
pub fn write_event(out: &mut Vec<u8>, name: &str, payload: &[u8]) {
    let headers = [(":event-type", name), (":content-type", "application/json"), (":message-type", "event")];
    write_frame(out, &headers, payload);
}

/// Appends an exception whose payload is JSON.
pub fn write_exception(out: &mut Vec<u8>, name: &str, payload: &[u8]) {
    let headers = [(":exception-type", name), (":content-type", "application/json"), (":message-type", "exception")];
    write_frame(out, &headers, payload);
}

/// Appends a frame. A header's name longer than 255 bytes, or a value longer than 65,535, is cut: a length cannot say
/// more, and ours are never that long.
fn write_frame(out: &mut Vec<u8>, headers: &[(&str, &str)], payload: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[0; PRELUDE_BYTES]);
    for (name, value) in headers {
        let name = cut(name, usize::from(u8::MAX));
        let value = cut(value, usize::from(u16::MAX));
        out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(name);
        out.push(STRING);
        out.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(value);
    }
    let headers_bytes = length(out.len() - start - PRELUDE_BYTES);
    out.extend_from_slice(payload);
    let total_bytes = length(out.len() - start + 4);
    let Some(prelude) = out.get_mut(start..start + PRELUDE_BYTES) else { return };
    prelude[..4].copy_from_slice(&total_bytes);
    prelude[4..8].copy_from_slice(&headers_bytes);
    let checksum = crc32fast::hash(&prelude[..8]).to_be_bytes();
    prelude[8..].copy_from_slice(&checksum);
    let checksum = crc32fast::hash(out.get(start..).unwrap_or_default()).to_be_bytes();
    out.extend_from_slice(&checksum);
}

fn cut(text: &str, most: usize) -> &[u8] {
    text.as_bytes().get(..most).unwrap_or(text.as_bytes())
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

/// Whether an event of this name says that the stream has failed. Names of exceptions end so; those of events do not.
pub(crate) fn is_failure(name: &[u8]) -> bool {
    name.ends_with(b"Exception") || name.ends_with(b"Error")
}

/// Decodes a stream of frames. An event's name is the frame's `:event-type` or `:exception-type`, its data the payload.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    /// Bytes of the frame that has not ended.
    pending: Vec<u8>,
    /// Whether a frame made no sense: where the next one begins is unknown from there on.
    failed: bool,
}

impl Decoder {
    /// Reads the next bytes and hands out every event that ends in them.
    pub fn push(&mut self, chunk: &[u8], mut each: impl FnMut(Event<'_>)) {
        if self.failed {
            return;
        }
        if let Err(corrupted) = self.read(chunk, &mut each) {
            self.failed = true;
            self.pending = Vec::new();
            let data = serde_json::json!({ "message": corrupted.0 }).to_string();
            each(Event { name: CORRUPTED.as_bytes(), data: data.as_bytes() });
        }
    }

    /// Whether a frame has begun and not ended.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        !self.pending.is_empty()
    }

    fn read(&mut self, chunk: &[u8], each: &mut impl FnMut(Event<'_>)) -> Result<(), Corrupted> {
        let mut rest = chunk;
        // The rest of the frame that began in an earlier piece: only that one is copied.
        while !self.pending.is_empty() {
            let wanted = frame_bytes(&self.pending)?.unwrap_or(PRELUDE_BYTES);
            let (more, after) = rest.split_at(rest.len().min(wanted.saturating_sub(self.pending.len())));
            self.pending.extend_from_slice(more);
            rest = after;
            match frame_bytes(&self.pending)? {
                Some(wanted) if self.pending.len() == wanted => {
                    read_frame(&self.pending, each)?;
                    self.pending.clear();
                }
                _ if rest.is_empty() => return Ok(()),
                _ => {}
            }
        }
        while let Some(wanted) = frame_bytes(rest)? {
            let Some((frame, after)) = rest.split_at_checked(wanted) else { break };
            read_frame(frame, each)?;
            rest = after;
        }
        self.pending.extend_from_slice(rest);
        Ok(())
    }
}

/// Passes a stream on in whole frames, byte for byte: if it breaks off within one, or one is damaged, there is still room
/// for a frame that says so. Feed it every chunk in order.
#[derive(Debug, Default)]
pub struct WholeFrames {
    /// The beginning of a frame that has not ended.
    pending: BytesMut,
    failed: bool,
}

impl WholeFrames {
    /// What may be passed on now; possibly empty.
    #[must_use]
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        if self.failed {
            return Bytes::new();
        }
        if self.pending.is_empty() {
            let whole = self.whole_bytes(&chunk);
            self.pending.extend_from_slice(&chunk[whole..]);
            return chunk.slice(..whole);
        }
        self.pending.extend_from_slice(&chunk);
        let pending = std::mem::take(&mut self.pending);
        let whole = self.whole_bytes(&pending);
        self.pending = pending;
        self.pending.split_to(whole).freeze()
    }

    /// Whether a frame has begun and not ended.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether a frame made no sense. Nothing is passed on from it on.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.failed
    }

    /// Bytes of the whole and sound frames at the beginning of `bytes`.
    fn whole_bytes(&mut self, bytes: &[u8]) -> usize {
        let mut whole = 0;
        loop {
            let rest = bytes.get(whole..).unwrap_or_default();
            match frame_bytes(rest) {
                Ok(Some(length)) if rest.len() >= length && is_sound(&rest[..length]) => whole += length,
                Ok(Some(length)) if rest.len() >= length => break self.failed = true,
                Ok(_) => break,
                Err(Corrupted(_)) => break self.failed = true,
            }
        }
        whole
    }
}

/// Whether the checksum of a whole frame is right.
fn is_sound(frame: &[u8]) -> bool {
    let (message, checksum) = frame.split_at(frame.len().saturating_sub(4));
    number(checksum, 0) == Some(crc32fast::hash(message))
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Corrupted(&'static str);

/// Length of the frame that begins `bytes`, once its prelude is whole.
fn frame_bytes(bytes: &[u8]) -> Result<Option<usize>, Corrupted> {
    let Some(prelude) = bytes.get(..PRELUDE_BYTES) else { return Ok(None) };
    let checksum = number(prelude, 8);
    if checksum != Some(crc32fast::hash(&prelude[..8])) {
        return Err(Corrupted("the checksum of a frame's prelude is wrong; the provider's stream was damaged"));
    }
    let total = number(prelude, 0).and_then(|total| usize::try_from(total).ok()).unwrap_or(usize::MAX);
    let headers = number(prelude, 4).and_then(|headers| usize::try_from(headers).ok()).unwrap_or(usize::MAX);
    if !(MIN_FRAME_BYTES..=MAX_FRAME_BYTES).contains(&total)
        || headers > (total - MIN_FRAME_BYTES).min(MAX_HEADERS_BYTES)
    {
        return Err(Corrupted("a frame is longer than the format allows; the provider's stream was damaged"));
    }
    Ok(Some(total))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Hands out the event in a whole frame, whose prelude has been checked.
fn read_frame(frame: &[u8], each: &mut impl FnMut(Event<'_>)) -> Result<(), Corrupted> {
    if !is_sound(frame) {
        return Err(Corrupted("the checksum of a frame is wrong; the provider's stream was damaged"));
    }
    let message = frame.get(..frame.len().saturating_sub(4)).unwrap_or_default();
    let headers_bytes = number(message, 4).and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or_default();
    let body = message.get(PRELUDE_BYTES..).unwrap_or_default();
    let (headers, data) = body.split_at(headers_bytes.min(body.len()));
    let headers = read_headers(headers).ok_or(Corrupted("the headers of a frame make no sense"))?;
    match headers.message_type {
        b"exception" => each(Event { name: headers.exception_type, data }),
        b"error" => {
            // Such a frame has no payload: code and message are headers.
            let message = String::from_utf8_lossy(headers.error_message);
            let data = serde_json::json!({ "message": message }).to_string();
            let code = if is_failure(headers.error_code) { headers.error_code } else { b"unknownError" };
            each(Event { name: code, data: data.as_bytes() });
        }
        _ => each(Event { name: headers.event_type, data }),
    }
    Ok(())
}

/// The headers that say what a frame is.
#[derive(Default)]
struct Headers<'a> {
    message_type: &'a [u8],
    event_type: &'a [u8],
    exception_type: &'a [u8],
    error_code: &'a [u8],
    error_message: &'a [u8],
}

const BYTE_ARRAY: u8 = 6;
const STRING: u8 = 7;

fn read_headers(mut bytes: &[u8]) -> Option<Headers<'_>> {
    let mut headers = Headers::default();
    while let Some((name_bytes, rest)) = bytes.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(*name_bytes))?;
        let (kind, rest) = rest.split_first()?;
        let (value, rest) = match *kind {
            BYTE_ARRAY | STRING => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?
            }
            kind => rest.split_at_checked(fixed_bytes(kind)?)?,
        };
        match name {
            b":message-type" => headers.message_type = value,
            b":event-type" => headers.event_type = value,
            b":exception-type" => headers.exception_type = value,
            b":error-code" => headers.error_code = value,
            b":error-message" => headers.error_message = value,
            _ => {}
        }
        bytes = rest;
    }
    Some(headers)
}

/// Bytes of a value whose type has a fixed length.
fn fixed_bytes(kind: u8) -> Option<usize> {
    Some(match kind {
        // True and false.
        0 | 1 => 0,
        2 => 1,
        3 => 2,
        4 => 4,
        // A long and a time.
        5 | 8 => 8,
        // A UUID.
        9 => 16,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(String, String)> {
        let mut decoder = Decoder::default();
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece, |event| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                events.push((text(event.name), text(event.data)));
            });
        }
        events
    }

    fn named(name: &str, data: &str) -> (String, String) {
        (name.to_owned(), data.to_owned())
    }

    fn stream() -> Vec<u8> {
        let mut bytes = Vec::new();
        write_event(&mut bytes, "messageStart", br#"{"role":"assistant"}"#);
        write_event(&mut bytes, "contentBlockDelta", "{\"delta\":{\"text\":\"挨拶\"}}".as_bytes());
        write_event(&mut bytes, "empty", b"");
        write_exception(&mut bytes, "throttlingException", br#"{"message":"slow down"}"#);
        bytes
    }

    /// Bytes that look random and are the same every time.
    fn noise(seed: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(seed), |last| Some(last.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)))
            .map(|value| value >> 16)
    }

    #[test]
    fn a_frame_is_written_as_amazon_documents_it() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &[], b"");
        // The empty message of Amazon's own test vectors.
        assert_eq!(bytes, [0, 0, 0, 0x10, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff]);
    }

    #[test]
    fn frames_are_read_however_they_are_cut() {
        let bytes = stream();
        let expected = [
            named("messageStart", r#"{"role":"assistant"}"#),
            named("contentBlockDelta", r#"{"delta":{"text":"挨拶"}}"#),
            named("empty", ""),
            named("throttlingException", r#"{"message":"slow down"}"#),
        ];
        for size in 1..=bytes.len() {
            assert_eq!(decoded(bytes.chunks(size)), expected, "in pieces of {size} bytes");
        }
        for cut in 0..=bytes.len() {
            let (before, after) = bytes.split_at(cut);
            assert_eq!(decoded([before, after]), expected, "cut at {cut}");
        }
        for seed in 0..200 {
            let mut rest = bytes.as_slice();
            let mut pieces = Vec::new();
            for size in noise(seed) {
                let (piece, after) = rest.split_at((size as usize % 60).min(rest.len()));
                pieces.push(piece);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            assert_eq!(decoded(pieces), expected, "seed {seed}");
        }
    }

    #[test]
    fn a_wrong_bit_is_an_error_wherever_it_is() {
        let bytes = stream();
        let whole = decoded([bytes.as_slice()]);
        for at in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[at / 8] ^= 1 << (at % 8);
            let read = decoded([damaged.as_slice()]);
            let (last, before) = read.split_last().unwrap();
            assert_eq!(last.0, CORRUPTED, "bit {at}");
            assert_eq!(before, &whole[..before.len()], "bit {at}");
            assert!(is_failure(last.0.as_bytes()) && last.1.contains("message"));
        }
    }

    #[test]
    fn nothing_is_read_after_a_damaged_frame() {
        let mut decoder = Decoder::default();
        let mut events = 0;
        decoder.push(&[0xff; 64], |_| events += 1);
        decoder.push(&stream(), |_| events += 1);
        assert_eq!(events, 1);
    }

    #[test]
    fn any_bytes_are_survived() {
        for seed in 0..2_000 {
            let length = 1 + seed as usize % 90;
            let bytes: Vec<u8> = noise(seed).map(|value| value.to_be_bytes()[3]).take(length).collect();
            assert!(decoded(bytes.chunks(7)).len() <= 1);
            // The same as the headers and payload of a frame whose checksums are right.
            let mut frame = vec![0; PRELUDE_BYTES];
            frame.extend_from_slice(&bytes);
            let total_bytes = super::length(frame.len() + 4);
            frame[..4].copy_from_slice(&total_bytes);
            frame[4..8].copy_from_slice(&super::length(length / 2));
            let checksum = crc32fast::hash(&frame[..8]).to_be_bytes();
            frame[8..12].copy_from_slice(&checksum);
            let checksum = crc32fast::hash(&frame).to_be_bytes();
            frame.extend_from_slice(&checksum);
            assert_eq!(decoded([frame.as_slice()]).len(), 1);
        }
    }

    #[test]
    fn frames_are_passed_on_whole_and_sound_or_not_at_all() {
        let bytes = stream();
        for size in 1..=bytes.len() {
            let mut frames = WholeFrames::default();
            let mut passed = Vec::new();
            for piece in bytes.chunks(size) {
                passed.extend_from_slice(&frames.push(Bytes::copy_from_slice(piece)));
                let events = decoded([passed.as_slice()]);
                assert!(events.iter().all(|(name, _)| name != CORRUPTED));
                assert!(bytes.starts_with(&passed));
            }
            assert_eq!((passed.as_slice(), frames.is_broken()), (bytes.as_slice(), false));
        }
        let mut last = Vec::new();
        write_event(&mut last, "messageStop", b"{}");
        for at in 0..last.len() {
            let mut damaged = last.clone();
            damaged[at] ^= 1;
            let mut frames = WholeFrames::default();
            assert_eq!(frames.push([bytes.as_slice(), &damaged].concat().into()), bytes, "byte {at}");
            assert!(frames.is_broken() && frames.push(bytes.clone().into()).is_empty(), "byte {at}");
        }
    }

    #[test]
    fn a_frame_without_bounds_is_refused_before_it_is_kept() {
        let mut prelude = u32::MAX.to_be_bytes().to_vec();
        prelude.extend_from_slice(&0_u32.to_be_bytes());
        let checksum = crc32fast::hash(&prelude).to_be_bytes();
        prelude.extend_from_slice(&checksum);
        assert_eq!(decoded([prelude.as_slice()])[0].0, CORRUPTED);
    }

    #[test]
    fn headers_of_every_type_are_stepped_over() {
        let mut headers = Vec::new();
        for (kind, bytes) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (8, 8), (9, 16)] {
            headers.extend_from_slice(&[1, b'x', kind]);
            headers.extend(std::iter::repeat_n(7, bytes));
        }
        headers.extend_from_slice(&[1, b'x', BYTE_ARRAY, 0, 2, 9, 9]);
        headers.extend_from_slice(&[11]);
        headers.extend_from_slice(b":event-type");
        headers.extend_from_slice(&[STRING, 0, 2, b'h', b'i']);
        assert_eq!(read_headers(&headers).unwrap().event_type, b"hi");
        for cut in 1..headers.len() {
            let _ = read_headers(&headers[..cut]);
        }
    }

    #[test]
    fn an_error_frame_is_told_by_its_code() {
        let mut bytes = Vec::new();
        let headers = [(":message-type", "error"), (":error-code", "InternalError"), (":error-message", "boom")];
        write_frame(&mut bytes, &headers, b"");
        let headers = [(":message-type", "error"), (":error-code", "503"), (":error-message", "busy")];
        write_frame(&mut bytes, &headers, b"");
        let expected =
            [named("InternalError", r#"{"message":"boom"}"#), named("unknownError", r#"{"message":"busy"}"#)];
        assert_eq!(decoded([bytes.as_slice()]), expected);
    }
}
