//! Reading one segment file, frame by frame. Knows bytes and checksums; what a bad frame means for the log is for the
//! cursor ([`crate::Tail`]) and for opening ([`crate::directory`]) to say. Never reads past the end it is given.

use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::frame::{FrameHeader, HEADER_BYTES};
use crate::segment::FRAMES_START;

/// Read at once; a larger frame is read whole.
const CHUNK_BYTES: usize = 256 << 10;

/// What stands at the reader's offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// An intact frame.
    Frame(FrameHeader),
    /// A frame whose header is intact and whose body is not.
    BadBody(FrameHeader),
    /// Bytes that are no frame header.
    BadHeader,
    /// The beginning of a frame that goes on past the end.
    Incomplete,
    /// Nothing: this is the end.
    End,
}

/// A place in a segment file.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    file: File,
    salt: u32,
    offset: u64,
    buffer: Vec<u8>,
    buffer_start: u64,
}

impl SegmentReader {
    /// Stands before the first frame of the segment at `path`.
    pub(crate) fn open(path: &Path, salt: u32) -> io::Result<Self> {
        let file = File::open(path)?;
        Ok(SegmentReader { file, salt, offset: FRAMES_START, buffer: Vec::new(), buffer_start: 0 })
    }

    /// Where the reader stands.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes to `offset`.
    pub(crate) fn seek(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// Looks at what stands here, `end` being the end of what may be read.
    pub(crate) fn step(&mut self, end: u64) -> io::Result<Step> {
        if self.offset >= end {
            return Ok(Step::End);
        }
        if !self.fill(HEADER_BYTES, end)? {
            return Ok(Step::Incomplete);
        }
        let header = self.here().first_chunk().and_then(|bytes| FrameHeader::read(bytes, self.salt));
        let Some(header) = header else { return Ok(Step::BadHeader) };
        if !self.fill(HEADER_BYTES + header.length as usize, end)? {
            return Ok(Step::Incomplete);
        }
        let intact = crc32c::crc32c(self.body(&header)) == header.body_crc;
        Ok(if intact { Step::Frame(header) } else { Step::BadBody(header) })
    }

    /// The body of the frame that [`SegmentReader::step`] has just found here.
    pub(crate) fn body(&self, header: &FrameHeader) -> &[u8] {
        self.here().get(HEADER_BYTES..HEADER_BYTES + header.length as usize).unwrap_or_default()
    }

    /// Looks behind this place for a frame header with a number in `seqs`; returns its offset and that number.
    pub(crate) fn find_header(&self, end: u64, seqs: &RangeInclusive<u64>) -> io::Result<Option<(u64, u64)>> {
        let mut start = self.offset + 1;
        while start + HEADER_BYTES as u64 <= end {
            let window = self.bytes(start, end.min(start + CHUNK_BYTES as u64))?;
            let found = window.windows(HEADER_BYTES).zip(start..).find_map(|(bytes, offset)| {
                let header = bytes.first_chunk().and_then(|bytes| FrameHeader::read(bytes, self.salt))?;
                seqs.contains(&header.first_seq).then_some((offset, header.first_seq))
            });
            if found.is_some() {
                return Ok(found);
            }
            if window.len() < HEADER_BYTES {
                return Ok(None);
            }
            start += (window.len() - HEADER_BYTES + 1) as u64;
        }
        Ok(None)
    }

    /// Whether every byte from here to `end` is zero, as where a file grew and its content did not arrive.
    pub(crate) fn is_zero_until(&self, end: u64) -> io::Result<bool> {
        let mut start = self.offset;
        while start < end {
            let bytes = self.bytes(start, end.min(start + CHUNK_BYTES as u64))?;
            if bytes.is_empty() {
                return Ok(true);
            }
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            start += bytes.len() as u64;
        }
        Ok(true)
    }

    /// The bytes of the file from `start` to `end`, or to where it ends.
    pub(crate) fn bytes(&self, start: u64, end: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(usize::MAX)];
        let read = read_at(&self.file, &mut bytes, start)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    fn here(&self) -> &[u8] {
        let skip = usize::try_from(self.offset - self.buffer_start).unwrap_or(usize::MAX);
        self.buffer.get(skip..).unwrap_or_default()
    }

    /// Has `length` bytes from here in the buffer; false if there are fewer before `end`.
    fn fill(&mut self, length: usize, end: u64) -> io::Result<bool> {
        if self.offset + length as u64 > end {
            return Ok(false);
        }
        let buffered = self.buffer_start..self.buffer_start + self.buffer.len() as u64;
        if self.offset >= buffered.start && self.offset + length as u64 <= buffered.end {
            return Ok(true);
        }
        let available = usize::try_from(end - self.offset).unwrap_or(usize::MAX);
        let wanted = available.min(length.max(CHUNK_BYTES));
        if self.buffer.capacity() > 4 * CHUNK_BYTES.max(wanted) {
            self.buffer = Vec::new();
        }
        self.buffer.resize(wanted, 0);
        let read = read_at(&self.file, &mut self.buffer, self.offset)?;
        self.buffer.truncate(read);
        self.buffer_start = self.offset;
        Ok(read >= length)
    }
}

/// The numbers that frames within the next `bytes` bytes can have, if the next one due is `seq`.
pub(crate) fn plausible(seq: u64, bytes: u64) -> RangeInclusive<u64> {
    seq..=seq.saturating_add(bytes / HEADER_BYTES as u64)
}

/// Reads until `bytes` is full or the file ends.
fn read_at(file: &File, bytes: &mut [u8], start: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], start + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
