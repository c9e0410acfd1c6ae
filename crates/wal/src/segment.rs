//! A segment: one file of frames, its name, its header, and what the running log knows about it. The header links
//! the segment to what came before it, so that a missing end or a missing file is noticed.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tollgate_interaction::WriterId;

/// Bytes before the first frame: two copies of the header, each in a disk sector of its own.
pub(crate) const FRAMES_START: u64 = 2 * COPY_BYTES as u64;

const COPY_BYTES: usize = 512;
const MAGIC: &[u8; 8] = b"TOLLWAL1";
const MAX_WRITER_BYTES: usize = 64;
/// Magic, five times eight bytes, flags, writer's length, writer, and the checksum behind them.
const CHECKED_BYTES: usize = 8 + 8 * 4 + 4 + 1 + 1 + MAX_WRITER_BYTES;
const TAIL_DAMAGED: u8 = 1;

/// The last event before a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Previous {
    /// Its epoch; 0 if there was none.
    pub(crate) epoch: u64,
    /// Its sequence number: the last one known.
    pub(crate) seq: u64,
    /// Whether that epoch ended in bytes that could not be read, so that there may have been more events.
    pub(crate) tail_damaged: bool,
}

/// What stands at the beginning of a segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) epoch: u64,
    /// Number of the first frame.
    pub(crate) first_seq: u64,
    pub(crate) previous: Previous,
    /// Goes into the checksum of every frame header; drawn once per epoch.
    pub(crate) salt: u32,
    pub(crate) writer: WriterId,
}

impl SegmentHeader {
    /// Both copies.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(FRAMES_START as usize);
        copy.extend_from_slice(MAGIC);
        for number in [self.epoch, self.first_seq, self.previous.epoch, self.previous.seq] {
            copy.extend_from_slice(&number.to_le_bytes());
        }
        copy.extend_from_slice(&self.salt.to_le_bytes());
        copy.push(if self.previous.tail_damaged { TAIL_DAMAGED } else { 0 });
        let writer = self.writer.as_str().as_bytes();
        // A writer's name has at most 64 bytes.
        copy.push(u8::try_from(writer.len()).unwrap_or(u8::MAX));
        copy.extend_from_slice(writer);
        copy.resize(CHECKED_BYTES, 0);
        copy.extend_from_slice(&crc32c::crc32c(&copy).to_le_bytes());
        copy.resize(COPY_BYTES, 0);
        copy.extend_from_within(..);
        copy
    }

    /// Reads whichever copy is intact.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.chunks_exact(COPY_BYTES).take(2).find_map(Self::from_copy)
    }

    fn from_copy(copy: &[u8]) -> Option<Self> {
        let (checked, rest) = copy.split_at_checked(CHECKED_BYTES)?;
        if checked.get(..8)? != MAGIC || u32::from_le_bytes(*rest.first_chunk()?) != crc32c::crc32c(checked) {
            return None;
        }
        let number = |at: usize| Some(u64::from_le_bytes(*checked.get(at..)?.first_chunk()?));
        let writer = checked.get(46..)?.get(..usize::from(checked[45]))?;
        Some(SegmentHeader {
            epoch: number(8)?,
            first_seq: number(16)?,
            previous: Previous { epoch: number(24)?, seq: number(32)?, tail_damaged: checked[44] & TAIL_DAMAGED != 0 },
            salt: u32::from_le_bytes(*checked.get(40..)?.first_chunk()?),
            writer: std::str::from_utf8(writer).ok()?.parse().ok()?,
        })
    }
}

/// Name of the file of a segment.
pub(crate) fn file_name(epoch: u64, first_seq: u64) -> String {
    format!("{epoch:010}-{first_seq:016}.wal")
}

/// Epoch and first sequence number, from the name of a segment's file.
pub(crate) fn parse_file_name(name: &str) -> Option<(u64, u64)> {
    let (epoch, first_seq) = name.strip_suffix(".wal")?.split_once('-')?;
    let numbers = (epoch.parse().ok()?, first_seq.parse().ok()?);
    (file_name(numbers.0, numbers.1) == name).then_some(numbers)
}

/// A segment as the running log knows it. Readers look at it to learn how far they may read.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) epoch: u64,
    pub(crate) first_seq: u64,
    /// Place among all segments of this run, in the order they are read.
    pub(crate) ordinal: u64,
    pub(crate) path: PathBuf,
    /// `None` if both copies are damaged: nothing in the file can be trusted then.
    pub(crate) header: Option<SegmentHeader>,
    readable_end: AtomicU64,
    closed: AtomicBool,
}

impl Segment {
    /// A segment with whole frames up to `readable_end`.
    pub(crate) fn new(
        path: PathBuf,
        (epoch, first_seq): (u64, u64),
        ordinal: u64,
        header: Option<SegmentHeader>,
        readable_end: u64,
    ) -> Self {
        let closed = AtomicBool::new(false);
        Segment { epoch, first_seq, ordinal, path, header, readable_end: AtomicU64::new(readable_end), closed }
    }

    /// Up to where whole frames stand in the file.
    pub(crate) fn readable_end(&self) -> u64 {
        self.readable_end.load(Ordering::Acquire)
    }

    /// Says that whole frames now stand up to `end`.
    pub(crate) fn set_readable_end(&self, end: u64) {
        self.readable_end.store(end, Ordering::Release);
    }

    /// Whether nothing more will be written. Ask before [`Segment::readable_end`], or frames may be missed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Says that nothing more will be written. The next segment must be in the list by then.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

/// The segments that exist, in the order they are read.
#[derive(Debug, Default)]
pub(crate) struct SegmentList {
    segments: VecDeque<Arc<Segment>>,
    next_ordinal: u64,
    released_before: u64,
}

impl SegmentList {
    /// The ordinal the next segment gets.
    pub(crate) fn next_ordinal(&self) -> u64 {
        self.next_ordinal
    }

    /// Adds the newest segment.
    pub(crate) fn push(&mut self, segment: Arc<Segment>) {
        self.next_ordinal = segment.ordinal + 1;
        self.segments.push_back(segment);
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.segments.iter()
    }

    /// The newest segment.
    pub(crate) fn newest(&self) -> Option<Arc<Segment>> {
        self.segments.back().cloned()
    }

    /// Takes out the newest segment.
    pub(crate) fn pop_newest(&mut self) {
        self.segments.pop_back();
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }

    /// The first with this ordinal or a later one.
    pub(crate) fn at_or_after(&self, ordinal: u64) -> Option<Arc<Segment>> {
        let start = self.segments.partition_point(|segment| segment.ordinal < ordinal);
        self.segments.get(start).cloned()
    }

    /// Whether a segment with this ordinal was released.
    pub(crate) fn was_released(&self, ordinal: u64) -> bool {
        ordinal < self.released_before
    }

    /// The segment of `epoch` whose first frame has the number `first_seq`.
    pub(crate) fn starting_at(&self, epoch: u64, first_seq: u64) -> Option<Arc<Segment>> {
        self.segments.iter().find(|segment| segment.epoch == epoch && segment.first_seq == first_seq).cloned()
    }

    /// Takes out the oldest segment if all of its events stand before `(epoch, seq)`. Never the last one: it is
    /// being written.
    pub(crate) fn release_oldest(&mut self, epoch: u64, seq: u64) -> Option<Arc<Segment>> {
        let (oldest, next) = (self.segments.front()?, self.segments.get(1)?);
        let all_before = match oldest.epoch.cmp(&epoch) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Greater => false,
            std::cmp::Ordering::Equal => last_seq(oldest, next).is_some_and(|last| last < seq),
        };
        if !all_before {
            return None;
        }
        self.released_before = oldest.ordinal + 1;
        self.segments.pop_front()
    }

    /// Puts back what was just taken out: its file could not be deleted.
    pub(crate) fn put_back_oldest(&mut self, oldest: Arc<Segment>) {
        self.released_before = oldest.ordinal;
        self.segments.push_front(oldest);
    }

    /// Takes out the segments of `epoch` that hold nothing before `first_seq`: a rewritten segment replaces them.
    pub(crate) fn take_superseded(&mut self, epoch: u64, first_seq: u64) -> Vec<Arc<Segment>> {
        let superseded = |segment: &Segment| segment.epoch == epoch && segment.first_seq >= first_seq;
        let taken = self.segments.iter().filter(|segment| superseded(segment)).cloned().collect();
        self.segments.retain(|segment| !superseded(segment));
        taken
    }

    /// Number of the first frame of the segment after `segment`, if that is of the same epoch.
    pub(crate) fn first_seq_after(&self, segment: &Segment) -> Option<u64> {
        let next = self.at_or_after(segment.ordinal + 1)?;
        (next.epoch == segment.epoch).then_some(next.first_seq)
    }
}

/// Last sequence number in `segment`, told by the one that follows it; `None` if that one does not say.
fn last_seq(segment: &Segment, next: &Segment) -> Option<u64> {
    let previous = next.header.as_ref()?.previous;
    if next.epoch == segment.epoch {
        return Some(next.first_seq.saturating_sub(1));
    }
    match previous.epoch.cmp(&segment.epoch) {
        std::cmp::Ordering::Equal if previous.tail_damaged => None,
        std::cmp::Ordering::Equal => Some(previous.seq),
        std::cmp::Ordering::Less => Some(segment.first_seq.saturating_sub(1)),
        std::cmp::Ordering::Greater => None,
    }
}

/// Name of the temporary file that becomes `path` by a rename.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    path.with_extension("wal.tmp")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            epoch: 3,
            first_seq: 41,
            previous: Previous { epoch: 2, seq: 17, tail_damaged: true },
            salt: 0xfeed_beef,
            writer: "w-0123456789abcdef".parse().unwrap(),
        }
    }

    #[test]
    fn a_header_survives_damage_to_either_copy_but_not_to_both() {
        let bytes = header().to_bytes();
        assert_eq!(bytes.len() as u64, FRAMES_START);
        assert_eq!(SegmentHeader::from_bytes(&bytes), Some(header()));
        for damaged in [[20, 20], [512 + 20, 512 + 20], [20, 512 + 20]] {
            let mut bytes = bytes.clone();
            damaged.into_iter().for_each(|at| bytes[at] = 0xff);
            let read = SegmentHeader::from_bytes(&bytes);
            assert_eq!(read, (damaged[0] == damaged[1]).then(header));
        }
    }

    #[test]
    fn only_names_the_log_itself_gives_are_segments() {
        assert_eq!(parse_file_name(&file_name(3, 41)), Some((3, 41)));
        for name in ["3-41.wal", "0000000003-0000000000000041.wal.tmp", "epoch", "0000000003-+000000000000041.wal"] {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
    }
}
