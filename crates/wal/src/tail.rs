//! The cursor: reads the log from its oldest segment to what is being appended now, in one way for both. It finds
//! every number exactly once, as an event or within a gap. Never reads past what has been written whole, so a write
//! under way never looks like damage; keeps no more than a chunk of one file in memory.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tollgate_interaction::{Event, EventId};

use crate::again::EventPlace;
use crate::frame::{self, Content, FrameHeader};
use crate::gap::{GapReason, LogGap};
use crate::quarantine;
use crate::replay::{self, SegmentReader, Step};
use crate::segment::Segment;
use crate::shared::Shared;

/// What a cursor finds.
#[derive(Clone, Debug, PartialEq)]
pub enum TailItem {
    /// An event.
    Event {
        /// Its place in the log.
        id: EventId,
        /// What happened.
        event: Event,
    },
    /// All earlier epochs have been read; what follows has been appended since the log was opened. Comes once.
    EndOfHistory,
    /// Events that cannot be handed out.
    Gap(LogGap),
}

/// Why a cursor cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// The log was closed and everything in it has been read.
    #[error("the log is closed and has been read to its end; open it again to append more")]
    Closed,
    /// The system refused. The cursor stays where it is; call again to retry.
    #[error("cannot read `{path}`; check the disk")]
    Read {
        /// Segment file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A place in the log that moves forward.
pub struct Tail {
    shared: Arc<Shared>,
    open: Option<(Arc<Segment>, SegmentReader)>,
    next_ordinal: u64,
    /// Epoch, and the number due next in it.
    due: Option<(u64, u64)>,
    /// Damage met since the last good frame; names the reason of the gap that the next good frame reveals.
    damage: Option<Option<PathBuf>>,
    /// What is missing now was released before this cursor came to it.
    overtaken: bool,
    ready: VecDeque<TailItem>,
    /// Of the event that was read last.
    place: Option<EventPlace>,
    in_history: bool,
    linger: Duration,
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail").field("writer", &self.shared.writer).field("due", &self.due).finish_non_exhaustive()
    }
}

impl Tail {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Tail {
            shared,
            open: None,
            next_ordinal: 0,
            due: None,
            damage: None,
            overtaken: false,
            ready: VecDeque::new(),
            place: None,
            in_history: true,
            linger: Duration::ZERO,
        }
    }

    /// Lets [`Tail::next`] sleep for `linger` after the log has moved on, so that one wake-up serves all events of that
    /// time. Without it every append wakes the cursor: prompt, and costly under load.
    #[must_use]
    pub fn with_linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// The next item; waits for one to be appended. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`TailError::Closed`] after the last item of a closed log; [`TailError::Read`] if the disk refuses.
    pub async fn next(&mut self) -> Result<TailItem, TailError> {
        tokio::task::coop::consume_budget().await;
        if let Some(item) = self.try_next()? {
            return Ok(item);
        }
        let shared = self.shared.clone();
        loop {
            let readable = shared.readable.notified();
            let mut readable = std::pin::pin!(readable);
            readable.as_mut().enable();
            let has_ended = shared.has_ended();
            if let Some(item) = self.try_next()? {
                return Ok(item);
            }
            if has_ended {
                return Err(TailError::Closed);
            }
            readable.await;
            if !self.linger.is_zero() && !shared.has_ended() {
                tokio::time::sleep(self.linger).await;
            }
        }
    }

    /// The next item, if there is one now.
    ///
    /// # Errors
    /// [`TailError::Read`] if the disk refuses.
    pub fn try_next(&mut self) -> Result<Option<TailItem>, TailError> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            let moved = match self.open.take() {
                Some((segment, reader)) => self.read(segment, reader)?,
                None => self.enter_next()?,
            };
            if !moved && self.ready.is_empty() {
                return Ok(None);
            }
        }
    }

    /// Where the event stands that was handed out last: it can be read again with [`crate::Wal::event_at`].
    #[must_use]
    pub fn place(&self) -> Option<&EventPlace> {
        self.place.as_ref()
    }

    /// Opens the next segment; false if there is none yet.
    fn enter_next(&mut self) -> Result<bool, TailError> {
        let Some((segment, overtaken)) = self.find_next() else { return Ok(false) };
        self.overtaken |= overtaken && self.due.is_some();
        let Some(header) = &segment.header else {
            self.settle_links(&segment);
            let kept = std::fs::read(&segment.path).ok();
            self.damage = Some(kept.and_then(|bytes| quarantine::keep(&self.shared.dir, &segment, 0, &bytes)));
            self.next_ordinal = segment.ordinal + 1;
            return Ok(true);
        };
        match SegmentReader::open(&segment.path, header.salt) {
            Ok(reader) => {
                self.settle_links(&segment);
                self.next_ordinal = segment.ordinal + 1;
                self.open = Some((segment, reader));
            }
            // Released just now, or deleted by somebody: the next segment's link tells what is missing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.settle_links(&segment);
                self.next_ordinal = segment.ordinal + 1;
                self.overtaken = self.shared.segments.lock().was_released(segment.ordinal);
            }
            Err(source) => return Err(TailError::Read { path: segment.path.clone(), source }),
        }
        Ok(true)
    }

    /// The next segment there is, and whether others before it were released unread.
    fn find_next(&self) -> Option<(Arc<Segment>, bool)> {
        let segments = self.shared.segments.lock();
        Some((segments.at_or_after(self.next_ordinal)?, segments.was_released(self.next_ordinal)))
    }

    /// Compares what is due with what `segment` says came before it.
    fn settle_links(&mut self, segment: &Segment) {
        let due = match self.due {
            None => (segment.epoch, segment.first_seq),
            Some((epoch, seq)) if epoch == segment.epoch => {
                self.miss_until(segment.first_seq);
                (epoch, seq.max(segment.first_seq))
            }
            Some((epoch, seq)) => {
                self.end_epoch((epoch, seq), segment);
                (segment.epoch, 1)
            }
        };
        self.due = Some(due);
        if due.0 == segment.epoch {
            self.miss_until(segment.first_seq);
        }
        self.overtaken = false;
        if self.in_history && segment.epoch == self.shared.epoch {
            self.in_history = false;
            self.ready.push_back(TailItem::EndOfHistory);
        }
    }

    /// `segment` begins a later epoch than the one that was due: what does it know of the end of that one?
    fn end_epoch(&mut self, (epoch, due_seq): (u64, u64), segment: &Segment) {
        match segment.header.as_ref().map(|header| header.previous) {
            // The first segments of this epoch are gone; what is missing in it is seen next.
            Some(previous) if previous.epoch == segment.epoch => self.lose_ends((epoch, due_seq), segment.epoch),
            Some(previous) if previous.epoch > epoch => {
                // It had events, and not one of its segments is left.
                self.lose_ends((epoch, due_seq), previous.epoch);
                self.push_gap(previous.epoch, 1, previous.seq.max(1), previous.tail_damaged);
            }
            Some(previous) if previous.epoch == epoch && (previous.seq >= due_seq || previous.tail_damaged) => {
                self.push_gap(epoch, due_seq, previous.seq.max(due_seq), previous.tail_damaged);
            }
            Some(_) => {}
            None => self.lose_ends((epoch, due_seq), segment.epoch),
        }
        self.damage = None;
    }

    /// The link is gone that would say how far `epoch` went, and whether others before `until` had events.
    fn lose_ends(&mut self, (epoch, due_seq): (u64, u64), until: u64) {
        self.push_gap(epoch, due_seq, due_seq, true);
        for between in epoch + 1..until {
            self.push_gap(between, 1, 1, true);
        }
    }

    /// The next number there is in this epoch is `seq`: names those that were due before it.
    fn miss_until(&mut self, seq: u64) {
        let Some((epoch, due_seq)) = self.due else { return };
        if seq > due_seq {
            self.push_gap(epoch, due_seq, seq - 1, false);
            self.due = Some((epoch, seq));
            self.damage = None;
        }
    }

    fn push_gap(&mut self, epoch: u64, first_seq: u64, last_seq: u64, more_may_be_missing: bool) {
        let (reason, quarantine) = match self.damage.take() {
            Some(kept) => (GapReason::Damaged, kept),
            None if self.overtaken => (GapReason::Released, None),
            None => (GapReason::Missing, None),
        };
        self.push_gap_because(epoch, (first_seq, last_seq), more_may_be_missing, reason, quarantine);
    }

    fn push_gap_because(
        &mut self,
        epoch: u64,
        (first_seq, last_seq): (u64, u64),
        more_may_be_missing: bool,
        reason: GapReason,
        quarantine: Option<PathBuf>,
    ) {
        let writer = self.shared.writer.clone();
        let gap = LogGap { writer, epoch, first_seq, last_seq, more_may_be_missing, reason, quarantine };
        self.ready.push_back(TailItem::Gap(gap));
    }

    /// Reads on in `segment`; false if there is nothing more for now.
    fn read(&mut self, segment: Arc<Segment>, mut reader: SegmentReader) -> Result<bool, TailError> {
        // In this order: once a segment is closed its end does not move any more.
        let is_closed = segment.is_closed();
        let end = segment.readable_end();
        let path = segment.path.clone();
        let read = self.read_frame(&segment, &mut reader, end);
        let stays = !matches!(read, Ok(After::End)) || !is_closed;
        if stays {
            self.open = Some((segment, reader));
        }
        match read {
            Ok(After::Moved) => Ok(true),
            Ok(After::End) => Ok(is_closed),
            Err(source) => Err(TailError::Read { path, source }),
        }
    }

    fn read_frame(&mut self, segment: &Arc<Segment>, reader: &mut SegmentReader, end: u64) -> io::Result<After> {
        let due_seq = self.due.map_or(segment.first_seq, |(_, seq)| seq);
        match reader.step(end)? {
            Step::End => return Ok(After::End),
            // Also if what is due stands here: it was acknowledged from there, and a release goes by where segments begin.
            _ if self.is_superseded(segment, due_seq) => reader.seek(end),
            Step::Frame(header) if header.first_seq == due_seq => {
                self.take(segment, reader, &header);
                reader.seek(reader.offset() + header.frame_bytes());
            }
            // Read before, in a segment whose last frames were written a second time.
            Step::Frame(header) if header.first_seq < due_seq => reader.seek(reader.offset() + header.frame_bytes()),
            Step::Frame(header) => self.miss_until(header.first_seq),
            Step::BadBody(header) => self.keep_damage(segment, reader, reader.offset() + header.frame_bytes())?,
            Step::BadHeader | Step::Incomplete => {
                let seqs = self.plausible(segment, due_seq, end - reader.offset());
                let next = reader.find_header(end, &seqs)?.map_or(end, |(offset, _)| offset);
                self.keep_damage(segment, reader, next)?;
            }
        }
        Ok(After::Moved)
    }

    /// Whether what is due stands in the next segment, because an fsync of this one had failed.
    fn is_superseded(&self, segment: &Segment, due_seq: u64) -> bool {
        self.shared.segments.lock().first_seq_after(segment).is_some_and(|first_seq| first_seq <= due_seq)
    }

    /// Numbers that a frame behind damage can have.
    fn plausible(&self, segment: &Segment, due_seq: u64, bytes: u64) -> std::ops::RangeInclusive<u64> {
        let seqs = replay::plausible(due_seq, bytes);
        let next = self.shared.segments.lock().first_seq_after(segment).unwrap_or(u64::MAX);
        *seqs.start()..=(*seqs.end()).min(next.saturating_sub(1))
    }

    fn keep_damage(&mut self, segment: &Segment, reader: &mut SegmentReader, next: u64) -> io::Result<()> {
        let bytes = reader.bytes(reader.offset(), next)?;
        let kept = quarantine::keep(&self.shared.dir, segment, reader.offset(), &bytes);
        // The first damage since the last good frame names the gap.
        self.damage.get_or_insert(kept);
        reader.seek(next);
        Ok(())
    }

    /// Hands out the intact frame that was due.
    fn take(&mut self, segment: &Arc<Segment>, reader: &SegmentReader, header: &FrameHeader) {
        let (epoch, seq) = (segment.epoch, header.first_seq);
        self.due = Some((epoch, seq + 1));
        self.damage = None;
        match frame::decode(header, reader.body(header)) {
            Ok(Content::Event(event)) => {
                let id = EventId { writer: self.shared.writer.clone(), epoch, seq };
                self.place = Some(EventPlace { segment: Arc::clone(segment), offset: reader.offset(), seq });
                self.ready.push_back(TailItem::Event { id, event });
            }
            Ok(Content::Drops(drops)) => {
                let reason = GapReason::Dropped { opened: drops.opened, settled: drops.settled };
                self.push_gap_because(epoch, (seq, seq), false, reason, None);
            }
            Err(error) => {
                tracing::error!(%error, "event `{seq}` of epoch `{epoch}` is intact but cannot be read");
                let bytes = reader.body(header);
                let kept = quarantine::keep(&self.shared.dir, segment, reader.offset(), bytes);
                self.push_gap_because(epoch, (seq, seq), false, GapReason::Unreadable, kept);
            }
        }
    }
}

enum After {
    Moved,
    End,
}
