//! One frame: how an event stands in a segment, and how it is read back. The layout is specified in `docs/wal.md`.
//! Pure: no files here, and no order among frames beyond the number a frame is given.

use std::cell::RefCell;

use bytes::Bytes;
use minicbor::{Decode, Encode};
use tollgate_interaction::event::DecodeEventError;
use tollgate_interaction::{Event, EventKind};
use zstd::bulk::Compressor;

/// Size of a frame's header.
pub(crate) const HEADER_BYTES: usize = 25;

/// Largest body a reader accepts and a writer produces, compressed or not.
pub(crate) const MAX_BODY_BYTES: usize = 256 << 20;

/// Bodies above this are compressed: below, it costs more CPU than the bytes it saves.
const COMPRESS_ABOVE_BYTES: usize = 4096;

/// Set in the kind byte of a frame whose body is a Zstandard frame.
const ZSTD: u8 = 0x40;
/// Set in the kind byte of a frame whose body is an LZ4 block: read, no longer written.
const LZ4: u8 = 0x80;

/// A segment lives for seconds, so speed counts: see `docs/adr/0010-wal-bodies-in-fast-zstandard.md`.
const ZSTD_LEVEL: i32 = -10;

/// Kind of the note that counts dropped events. Events use the numbers of [`EventKind`].
const DROPS_KIND: u8 = 3;

/// The header as it stands before the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Bytes of the body.
    pub(crate) length: u32,
    /// CRC32C of the body.
    pub(crate) body_crc: u32,
    /// What the body is.
    pub(crate) kind: u8,
    /// Sequence number of the event.
    pub(crate) first_seq: u64,
    /// Events in the body; always 1 in this version.
    pub(crate) count: u32,
}

impl FrameHeader {
    /// Reads a header, unless its checksum under `salt` says that these bytes are none.
    pub(crate) fn read(bytes: &[u8; HEADER_BYTES], salt: u32) -> Option<Self> {
        let (fields, [crc0, crc1, crc2, crc3]) =
            bytes.split_first_chunk::<21>().and_then(|(fields, rest)| Some((fields, *rest.first_chunk::<4>()?)))?;
        if header_crc(fields, salt) != u32::from_le_bytes([crc0, crc1, crc2, crc3]) {
            return None;
        }
        Some(Self::read_unchecked(fields)).filter(|header| header.length as usize <= MAX_BODY_BYTES)
    }

    fn read_unchecked(fields: &[u8; 21]) -> Self {
        let [l0, l1, l2, l3, b0, b1, b2, b3, kind, s0, s1, s2, s3, s4, s5, s6, s7, c0, c1, c2, c3] = *fields;
        FrameHeader {
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            body_crc: u32::from_le_bytes([b0, b1, b2, b3]),
            kind,
            first_seq: u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            count: u32::from_le_bytes([c0, c1, c2, c3]),
        }
    }

    fn write(&self, salt: u32, bytes: &mut [u8]) {
        bytes[..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.body_crc.to_le_bytes());
        bytes[8] = self.kind;
        bytes[9..17].copy_from_slice(&self.first_seq.to_le_bytes());
        bytes[17..21].copy_from_slice(&self.count.to_le_bytes());
        let crc = header_crc(&bytes[..21], salt);
        bytes[21..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    }

    /// Bytes of header and body.
    pub(crate) fn frame_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.length)
    }
}

/// The salt makes bytes that a caller sent, and that look like a frame, no frame: nobody outside knows it.
fn header_crc(fields: &[u8], salt: u32) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), fields)
}

/// How many events had no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct DropCount {
    /// `opened` events.
    #[n(0)]
    pub(crate) opened: u64,
    /// `settled` events.
    #[n(1)]
    pub(crate) settled: u64,
    /// Events beside the calls.
    #[n(2)]
    #[cbor(default)]
    pub(crate) governance: u64,
}

impl DropCount {
    /// Counts one more.
    pub(crate) fn add(&mut self, kind: EventKind) {
        match kind {
            EventKind::Opened => self.opened += 1,
            EventKind::Settled => self.settled += 1,
            EventKind::Control | EventKind::Access | EventKind::Gap | EventKind::Price | EventKind::Feedback => {
                self.governance += 1
            }
        }
    }

    /// Counts those of `other` too.
    pub(crate) fn add_all(&mut self, other: DropCount) {
        self.opened += other.opened;
        self.settled += other.settled;
        self.governance += other.governance;
    }

    /// Whether nothing was dropped.
    pub(crate) fn is_empty(self) -> bool {
        self == DropCount::default()
    }
}

/// What a frame is about, kept beside its bytes while it can still be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// One event.
    Event(EventKind),
    /// A note of dropped events.
    Drops(DropCount),
}

/// A frame that is ready but for its number: everything that costs time has been done, outside any lock.
pub(crate) struct Frame {
    /// Header and body.
    pub(crate) bytes: Vec<u8>,
    /// What it is about.
    pub(crate) subject: Subject,
    header: FrameHeader,
}

impl Frame {
    /// Encodes `event`. `Err` is the size of a body that is too large.
    pub(crate) fn of_event(event: &Event) -> Result<Frame, usize> {
        const FACTS_BYTES: usize = 1024;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + FACTS_BYTES + payload_bytes(event));
        bytes.resize(HEADER_BYTES, 0);
        event.encode_into(&mut bytes);
        let body_bytes = bytes.len() - HEADER_BYTES;
        if body_bytes > MAX_BODY_BYTES {
            return Err(body_bytes);
        }
        let mut kind = event.kind() as u8;
        if body_bytes > COMPRESS_ABOVE_BYTES
            && let Some(compressed) = compress(&bytes[HEADER_BYTES..])
        {
            bytes = compressed;
            kind |= ZSTD;
        }
        Ok(Frame::new(bytes, kind, Subject::Event(event.kind())))
    }

    /// Encodes the note that `drops` events had no room.
    pub(crate) fn of_drops(drops: DropCount) -> Frame {
        let mut bytes = vec![0; HEADER_BYTES];
        // Writing two integers to a Vec cannot fail.
        let written = minicbor::encode(drops, &mut bytes);
        debug_assert!(written.is_ok());
        Frame::new(bytes, DROPS_KIND, Subject::Drops(drops))
    }

    fn new(bytes: Vec<u8>, kind: u8, subject: Subject) -> Frame {
        let body = &bytes[HEADER_BYTES..];
        // A body is at most MAX_BODY_BYTES long.
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let header = FrameHeader { length, body_crc: crc32c::crc32c(body), kind, first_seq: 0, count: 1 };
        Frame { bytes, subject, header }
    }

    /// Gives the frame its place in the log.
    pub(crate) fn number(&mut self, seq: u64, salt: u32) {
        self.header.first_seq = seq;
        self.header.write(salt, &mut self.bytes);
    }
}

fn payload_bytes(event: &Event) -> usize {
    match event {
        Event::Opened(opened) => opened.request.body.len(),
        Event::Settled(settled) => {
            settled.response.body.len() + settled.request.as_ref().map_or(0, |request| request.body.len())
        }
        Event::Governance(_) => 0,
    }
}

/// Length of the body before compression, which stands before the compressed block.
const LENGTH_BYTES: usize = 4;

thread_local! {
    // A context is half a megabyte of tables that need not be allocated for each frame.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

/// Room for a header, the length of `body`, and its Zstandard frame; `None` if that is no smaller.
fn compress(body: &[u8]) -> Option<Vec<u8>> {
    let start = HEADER_BYTES + LENGTH_BYTES;
    let mut bytes = vec![0; start + zstd::zstd_safe::compress_bound(body.len())];
    let compressed = COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => kept.insert(Compressor::new(ZSTD_LEVEL).ok()?),
        };
        compressor.compress_to_buffer(body, &mut bytes[start..]).ok()
    })?;
    if LENGTH_BYTES + compressed >= body.len() {
        return None;
    }
    bytes[HEADER_BYTES..start].copy_from_slice(&u32::try_from(body.len()).ok()?.to_le_bytes());
    bytes.truncate(start + compressed);
    bytes.shrink_to_fit();
    Some(bytes)
}

/// The body of a frame with the `codec` of its kind byte.
fn decompress(codec: u8, body: &[u8]) -> Option<Vec<u8>> {
    let (length, block) = body.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok().filter(|length| *length <= MAX_BODY_BYTES)?;
    let plain = match codec {
        ZSTD => zstd::bulk::decompress(block, length).ok()?,
        LZ4 => lz4_flex::block::decompress(block, length).ok()?,
        _ => return None,
    };
    Some(plain).filter(|plain| plain.len() == length)
}

/// What a body holds.
#[derive(Debug, PartialEq)]
pub(crate) enum Content {
    /// An event.
    Event(Event),
    /// A note of dropped events.
    Drops(DropCount),
}

/// Why an intact body cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    #[error("frames of kind `{kind}` are unknown to this version; read the log with the version that wrote it")]
    UnknownKind { kind: u8 },
    #[error("a frame holds `{count}` events; this version reads one per frame")]
    Count { count: u32 },
    #[error("the body is not a compressed block of the length it states")]
    Compression,
    #[error("the body is not the note of dropped events that its kind promises")]
    Drops(#[source] minicbor::decode::Error),
    #[error(transparent)]
    Event(#[from] DecodeEventError),
}

/// Reads the body of the frame with this `header`.
pub(crate) fn decode(header: &FrameHeader, body: &[u8]) -> Result<Content, ContentError> {
    if header.count != 1 {
        return Err(ContentError::Count { count: header.count });
    }
    let codec = header.kind & (ZSTD | LZ4);
    if codec == 0 {
        return decode_plain(header.kind, &Bytes::copy_from_slice(body));
    }
    let plain = decompress(codec, body).ok_or(ContentError::Compression)?;
    decode_plain(header.kind & !codec, &plain.into())
}

fn decode_plain(kind: u8, body: &Bytes) -> Result<Content, ContentError> {
    if kind == DROPS_KIND {
        return minicbor::decode(body).map(Content::Drops).map_err(ContentError::Drops);
    }
    let kind = EventKind::from_number(kind).ok_or(ContentError::UnknownKind { kind })?;
    Ok(Content::Event(Event::decode(kind, body)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    const SALT: u32 = 0x5eed;

    fn split(frame: &Frame) -> (FrameHeader, &[u8]) {
        let (header, body) = frame.bytes.split_first_chunk().unwrap();
        (FrameHeader::read(header, SALT).unwrap(), body)
    }

    #[test]
    fn an_event_reads_back_from_its_frame_whatever_its_size() {
        for payload_bytes in [0, 100, 4096, 5000, 300_000] {
            for event in [samples::opened(1, payload_bytes), samples::settled(1, payload_bytes)] {
                let mut frame = Frame::of_event(&event).unwrap();
                frame.number(7, SALT);
                let (header, body) = split(&frame);
                assert_eq!(header.first_seq, 7);
                assert_eq!(header.frame_bytes(), frame.bytes.len() as u64);
                assert_eq!(header.body_crc, crc32c::crc32c(body));
                assert_eq!(decode(&header, body).unwrap(), Content::Event(event));
            }
        }
    }

    #[test]
    fn a_large_text_is_compressed_and_noise_is_not() {
        let text = Frame::of_event(&samples::opened(1, 100_000)).unwrap();
        assert!(text.bytes.len() < 20_000, "{}", text.bytes.len());
        let noise = Frame::of_event(&samples::opened_with(1, samples::noise(100_000))).unwrap();
        assert_eq!(noise.header.kind & (ZSTD | LZ4), 0);
    }

    #[test]
    fn a_body_that_an_earlier_version_compressed_reads_back() {
        let event = samples::opened(1, 100_000);
        let mut plain = Vec::new();
        event.encode_into(&mut plain);
        let mut body = u32::try_from(plain.len()).unwrap().to_le_bytes().to_vec();
        body.extend(lz4_flex::block::compress(&plain));
        let length = u32::try_from(body.len()).unwrap();
        let kind = event.kind() as u8 | LZ4;
        let header = FrameHeader { length, body_crc: crc32c::crc32c(&body), kind, first_seq: 7, count: 1 };
        assert_eq!(decode(&header, &body).unwrap(), Content::Event(event));
    }

    #[test]
    fn a_header_under_another_salt_is_no_header() {
        let mut frame = Frame::of_event(&samples::opened(1, 10)).unwrap();
        frame.number(7, SALT);
        assert_eq!(FrameHeader::read(frame.bytes.first_chunk().unwrap(), SALT + 1), None);
    }

    #[test]
    fn a_kind_from_a_later_version_is_refused_by_number() {
        let header = FrameHeader { length: 0, body_crc: 0, kind: 9, first_seq: 1, count: 1 };
        assert!(matches!(decode(&header, &[]), Err(ContentError::UnknownKind { kind: 9 })));
    }

    #[test]
    fn a_block_that_claims_a_wrong_length_is_refused() {
        let mut frame = Frame::of_event(&samples::opened(1, 100_000)).unwrap();
        frame.bytes[HEADER_BYTES] ^= 1;
        let header = frame.header;
        assert!(matches!(decode(&header, &frame.bytes[HEADER_BYTES..]), Err(ContentError::Compression)));
    }
}
