//! The hot tail: calls that have settled but are not yet in a published snapshot of the lake, as Arrow batches.
//!
//! Rows are kept as they come from the log and turned into batches when somebody first looks at them or when they are
//! flushed, once. Whoever reads hot and cold together takes the hot snapshot *first*, then the lake snapshot V, then
//! [`HotSnapshot::after`] with V's watermarks: a row leaves this buffer only after a snapshot that holds it has been
//! published, so nothing is missed, and what both hold is filtered out here, so nothing is seen twice.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use parking_lot::Mutex;
use tokio::sync::watch;
use tollgate_interaction::batch::{self, PayloadRow, Seal};
use tollgate_interaction::commitment::{self, Salt};
use tollgate_interaction::schema::Table;
use tollgate_interaction::{EventId, Governance, Interaction, Payload, WriterId};

use crate::{Watermarks, committed_seq, is_committed};

/// A chunk is closed at this many rows: small enough to convert in a few milliseconds.
const CHUNK_ROWS: usize = 2_048;
/// A chunk is closed at this many bytes, so that one snapshot never copies more than this at once.
const CHUNK_BYTES: usize = 8 * 1024 * 1024;
/// Two neighbouring converted chunks are merged while together they have at most this many bytes.
const MERGE_BYTES: usize = 2 * 1024 * 1024;
/// What a row's facts take in memory beside its bodies, estimated.
const ROW_BYTES: usize = 1_500;

/// One settled call on its way to the lake.
#[derive(Clone, Debug)]
pub struct HotRow {
    /// Place of its `Settled` event in the log.
    pub id: EventId,
    /// Oldest place in the log that is needed to build this row again: that of its `Opened`, if it had one.
    pub needs_log_from: (u64, u64),
    /// The facts.
    pub interaction: Interaction,
    /// What the caller sent.
    pub request: Payload,
    /// What the caller was sent.
    pub response: Payload,
    /// Drawn for this call; see [`tollgate_interaction::Settled::salt`].
    pub salt: Salt,
}

/// A record on its way to the lake.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every item is a call, and a box for each costs an allocation")]
pub enum HotItem {
    /// A settled call.
    Call(HotRow),
    /// Something beside the calls.
    Event {
        /// Its place in the log.
        id: EventId,
        /// What it says.
        event: Box<Governance>,
    },
}

impl From<HotRow> for HotItem {
    fn from(row: HotRow) -> HotItem {
        HotItem::Call(row)
    }
}

impl HotItem {
    /// Its place in the log.
    #[must_use]
    pub fn id(&self) -> &EventId {
        match self {
            HotItem::Call(row) => &row.id,
            HotItem::Event { id, .. } => id,
        }
    }

    fn needs_log_from(&self) -> (u64, u64) {
        match self {
            HotItem::Call(row) => row.needs_log_from,
            HotItem::Event { id, .. } => (id.epoch, id.seq),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            HotItem::Call(row) => ROW_BYTES + row.request.body.len() + row.response.body.len(),
            HotItem::Event { .. } => ROW_BYTES,
        }
    }
}

/// The hot tail of one writer. Shared by the flusher, which fills it, and by everyone who reads.
#[derive(Default)]
pub struct HotBuffer {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// Closed chunks, oldest first.
    closed: VecDeque<Arc<Chunk>>,
    /// Rows of the chunk being filled; all of one epoch.
    open: Vec<HotItem>,
    open_bytes: usize,
    /// Bytes of `closed` and `open` together, estimated.
    bytes: usize,
    last: Option<EventId>,
}

/// Consecutive rows of one epoch.
pub(crate) struct Chunk {
    pub(crate) writer: WriterId,
    pub(crate) epoch: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    /// The oldest place in the log that is needed to build these rows again.
    pub(crate) needs_log_from: (u64, u64),
    /// Taken by the conversion.
    source: Mutex<Vec<HotItem>>,
    batches: OnceLock<Batches>,
}

/// The same records as batches of each table, in the order of their sequence numbers.
#[derive(Clone, Debug)]
pub struct Batches {
    /// Facts, with all columns of their table, as have the others.
    pub interactions: RecordBatch,
    /// Payloads of the same rows in the same order.
    pub payloads: RecordBatch,
    /// Who changed what.
    pub control_events: RecordBatch,
    /// Who read what.
    pub access_events: RecordBatch,
    /// What the log lost.
    pub log_gaps: RecordBatch,
    /// What calls cost by a later catalogue.
    pub price_corrections: RecordBatch,
    /// What somebody thought of answers.
    pub feedback: RecordBatch,
}

impl Batches {
    /// The batch of one table.
    #[must_use]
    pub fn of(&self, table: Table) -> &RecordBatch {
        match table {
            Table::Interactions => &self.interactions,
            Table::Payloads => &self.payloads,
            Table::ControlEvents => &self.control_events,
            Table::AccessEvents => &self.access_events,
            Table::LogGaps => &self.log_gaps,
            Table::PriceCorrections => &self.price_corrections,
            Table::Feedback => &self.feedback,
        }
    }

    /// Every table's batch made from this one's.
    fn map<E>(&self, make: impl Fn(Table, &RecordBatch) -> Result<RecordBatch, E>) -> Result<Batches, E> {
        let made = |table| make(table, self.of(table));
        Ok(Batches {
            interactions: made(Table::Interactions)?,
            payloads: made(Table::Payloads)?,
            control_events: made(Table::ControlEvents)?,
            access_events: made(Table::AccessEvents)?,
            log_gaps: made(Table::LogGaps)?,
            price_corrections: made(Table::PriceCorrections)?,
            feedback: made(Table::Feedback)?,
        })
    }

    /// Rows that are records of their own.
    pub(crate) fn records(&self) -> usize {
        Table::RECORDS.into_iter().map(|table| self.of(table).num_rows()).sum()
    }
}

/// Consecutive records of one epoch.
#[derive(Clone, Debug)]
pub struct HotChunk {
    /// The log the rows are from.
    pub writer: WriterId,
    /// Its boot counter.
    pub epoch: u64,
    /// Sequence number of the first row.
    pub first_seq: u64,
    /// Sequence number of the last row.
    pub last_seq: u64,
    /// The records.
    pub batches: Batches,
}

/// The hot tail at one moment. Cheap to take and to clone: the batches are shared.
#[derive(Clone, Debug, Default)]
pub struct HotSnapshot {
    /// Oldest first.
    pub chunks: Vec<HotChunk>,
    /// The newest row, whether or not it is still in `chunks`.
    pub last: Option<EventId>,
}

impl HotBuffer {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Everything in the buffer now. Rows that nobody has looked at yet are converted to Arrow by this call, at most a
    /// few milliseconds per 2 048 of them; nothing is locked meanwhile.
    #[must_use]
    pub fn snapshot(&self) -> HotSnapshot {
        let (chunks, last) = {
            let mut state = self.state.lock();
            state.close_open();
            (state.closed.iter().cloned().collect::<Vec<_>>(), state.last.clone())
        };
        let mut converted = Vec::with_capacity(chunks.len());
        for chunk in &chunks {
            let Chunk { epoch, first_seq, last_seq, .. } = **chunk;
            let batches = chunk.batches();
            converted.push(HotChunk { writer: chunk.writer.clone(), epoch, first_seq, last_seq, batches });
        }
        self.merge_small(&chunks);
        HotSnapshot { chunks: converted, last }
    }

    /// Changes whenever rows were added; the number itself means nothing.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Forgets rows that a *published* snapshot with these watermarks holds.
    pub fn drop_committed(&self, watermarks: &Watermarks) {
        let mut state = self.state.lock();
        state.closed.retain(|chunk| chunk.last_seq > committed_seq(watermarks, &chunk.writer, chunk.epoch));
        if state.open.last().is_some_and(|last| is_committed(watermarks, last.id())) {
            state.open.clear();
            state.open_bytes = 0;
        }
        state.bytes = state.open_bytes + state.closed.iter().map(|chunk| chunk.bytes).sum::<usize>();
    }

    /// The newest row there has been.
    pub(crate) fn last(&self) -> Option<EventId> {
        self.state.lock().last.clone()
    }

    /// Memory held, estimated.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Rows held.
    #[must_use]
    pub fn rows(&self) -> usize {
        let state = self.state.lock();
        state.open.len() + state.closed.iter().map(|chunk| chunk.rows).sum::<usize>()
    }

    /// Adds rows in the order of the log and wakes those who wait for a change. Public for tests and for tools that
    /// fill a buffer without a log; in a server only the flusher adds rows.
    pub fn push<Item: Into<HotItem>>(&self, rows: impl IntoIterator<Item = Item>) {
        {
            let mut state = self.state.lock();
            for row in rows {
                state.push(row.into());
            }
        }
        self.changed.send_modify(|version| *version += 1);
    }

    /// The oldest place in the log that some row in here still needs.
    pub(crate) fn needs_log_from(&self) -> Option<(u64, u64)> {
        let state = self.state.lock();
        let closed = state.closed.iter().map(|chunk| chunk.needs_log_from);
        closed.chain(state.open.iter().map(HotItem::needs_log_from)).min()
    }

    /// Chunks whose rows lie in `first_seq..=last_seq` of an epoch. A chunk is never split: bounds come from
    /// [`HotBuffer::close`] or from a plan that was made from it.
    pub(crate) fn chunks_between(&self, epoch: u64, first_seq: u64, last_seq: u64) -> Vec<Arc<Chunk>> {
        let mut state = self.state.lock();
        state.close_open();
        let within =
            |chunk: &&Arc<Chunk>| chunk.epoch == epoch && chunk.last_seq >= first_seq && chunk.first_seq <= last_seq;
        state.closed.iter().filter(within).cloned().collect()
    }

    /// Rows and bytes that come after the given sequence number of their epoch, counting whole chunks.
    pub(crate) fn waiting(&self, done_seq: impl Fn(u64) -> u64) -> (usize, usize) {
        let state = self.state.lock();
        let (mut rows, mut bytes) = (state.open.len(), state.open_bytes);
        for chunk in &state.closed {
            if chunk.last_seq > done_seq(chunk.epoch) {
                rows += chunk.rows;
                bytes += chunk.bytes;
            }
        }
        (rows, bytes)
    }

    /// Closes the chunk being filled and lists all chunks, oldest first.
    pub(crate) fn close(&self) -> Vec<Arc<Chunk>> {
        let mut state = self.state.lock();
        state.close_open();
        state.closed.iter().cloned().collect()
    }

    /// Readers that look often would leave a chunk per look: neighbours of similar size become one, so that each row is
    /// copied a logarithmic number of times.
    fn merge_small(&self, seen: &[Arc<Chunk>]) {
        let Some((newest, older)) = seen.split_last() else { return };
        let mut merged = Arc::clone(newest);
        let mut replaced = 1;
        for chunk in older.iter().rev() {
            if !chunk.may_absorb(&merged) {
                break;
            }
            let Ok(both) = Chunk::merged(chunk, &merged) else { break };
            merged = Arc::new(both);
            replaced += 1;
        }
        if replaced == 1 {
            return;
        }
        let mut state = self.state.lock();
        let Some(kept) = state.closed.len().checked_sub(replaced) else { return };
        let same = |(now, then): (&Arc<Chunk>, &Arc<Chunk>)| Arc::ptr_eq(now, then);
        if state.closed.iter().skip(kept).zip(&seen[seen.len() - replaced..]).all(same) {
            state.closed.truncate(kept);
            state.closed.push_back(merged);
        }
    }
}

impl State {
    fn push(&mut self, row: HotItem) {
        let other_epoch = self.open.last().is_some_and(|last| last.id().epoch != row.id().epoch);
        if other_epoch || self.open.len() >= CHUNK_ROWS || self.open_bytes >= CHUNK_BYTES {
            self.close_open();
        }
        self.open_bytes += row.bytes();
        self.bytes += row.bytes();
        self.last = Some(row.id().clone());
        self.open.push(row);
    }

    fn close_open(&mut self) {
        let rows = std::mem::take(&mut self.open);
        let bytes = std::mem::take(&mut self.open_bytes);
        let (Some(first), Some(last)) = (rows.first().map(HotItem::id), rows.last().map(HotItem::id)) else { return };
        let chunk = Chunk {
            writer: first.writer.clone(),
            epoch: first.epoch,
            first_seq: first.seq,
            last_seq: last.seq,
            rows: rows.len(),
            bytes,
            needs_log_from: rows.iter().map(HotItem::needs_log_from).min().unwrap_or((first.epoch, first.seq)),
            source: Mutex::new(rows),
            batches: OnceLock::new(),
        };
        self.closed.push_back(Arc::new(chunk));
    }
}

impl Chunk {
    /// The rows as batches: converted on the first call, shared afterwards.
    pub(crate) fn batches(&self) -> Batches {
        self.batches.get_or_init(|| convert(std::mem::take(&mut *self.source.lock()))).clone()
    }

    /// Whether a younger neighbour is small enough to be appended to this chunk, and large enough to be worth the copy.
    fn may_absorb(&self, younger: &Chunk) -> bool {
        let similar = self.rows <= 2 * younger.rows && self.rows + younger.rows <= CHUNK_ROWS;
        self.epoch == younger.epoch && self.bytes + younger.bytes <= MERGE_BYTES && similar
    }

    fn merged(older: &Chunk, newer: &Chunk) -> Result<Chunk, ArrowError> {
        let (first, second) = (older.batches(), newer.batches());
        let batches = first.map(|table, batch| concat(batch, second.of(table)))?;
        Ok(Chunk {
            writer: older.writer.clone(),
            epoch: older.epoch,
            first_seq: older.first_seq,
            last_seq: newer.last_seq,
            rows: older.rows + newer.rows,
            bytes: older.bytes + newer.bytes,
            needs_log_from: older.needs_log_from.min(newer.needs_log_from),
            source: Mutex::default(),
            batches: OnceLock::from(batches),
        })
    }
}

fn concat(first: &RecordBatch, second: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    arrow::compute::concat_batches(&first.schema(), [first, second])
}

fn convert(items: Vec<HotItem>) -> Batches {
    let mut facts = Vec::with_capacity(items.len());
    let mut payloads = Vec::with_capacity(items.len());
    let (mut control, mut access, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
    let (mut prices, mut feedback) = (Vec::new(), Vec::new());
    for item in items {
        let row = match item {
            HotItem::Call(row) => row,
            HotItem::Event { id, event } => {
                match *event {
                    Governance::Control(event) => control.push((id, event)),
                    Governance::Access(event) => access.push((id, event)),
                    Governance::Gap(event) => gaps.push((id, event)),
                    Governance::Price(event) => prices.push((id, event)),
                    Governance::Feedback(event) => feedback.push((id, event)),
                }
                continue;
            }
        };
        let (salt, personal_salt) = commitment::split(&row.salt);
        let payload_commitment = commitment::of_payload(&salt, &row.request, &row.response);
        payloads.push(PayloadRow {
            event_id: row.id.clone(),
            interaction_id: row.interaction.interaction_id,
            started_at_us: row.interaction.started_at_us,
            tenant: row.interaction.tenant.clone(),
            team: row.interaction.team.clone(),
            model_requested: row.interaction.model_requested.clone(),
            request_content_type: row.request.content_type,
            request_body: row.request.body,
            response_content_type: row.response.content_type,
            response_body: row.response.body,
            salt,
        });
        facts.push((row.id, row.interaction, Seal { payload_commitment, personal_salt }));
    }
    Batches {
        interactions: built(batch::interactions(&facts), Table::Interactions),
        payloads: built(batch::payloads(&payloads), Table::Payloads),
        control_events: built_unless_empty(&control, batch::control_events, Table::ControlEvents),
        access_events: built_unless_empty(&access, batch::access_events, Table::AccessEvents),
        log_gaps: built_unless_empty(&gaps, batch::log_gaps, Table::LogGaps),
        price_corrections: built_unless_empty(&prices, batch::price_corrections, Table::PriceCorrections),
        feedback: built_unless_empty(&feedback, batch::feedback, Table::Feedback),
    }
}

/// Most chunks have none of these.
fn built_unless_empty<Row>(
    rows: &[Row],
    build: fn(&[Row]) -> Result<RecordBatch, ArrowError>,
    table: Table,
) -> RecordBatch {
    if rows.is_empty() { RecordBatch::new_empty(table.schema()) } else { built(build(rows), table) }
}

/// A column that does not fit its declared type is a defect of `tollgate-interaction` that its tests rule out. Should it
/// happen all the same it is reported, and the flusher refuses to hand over a batch that has lost its rows.
fn built(batch: Result<RecordBatch, ArrowError>, table: Table) -> RecordBatch {
    batch.unwrap_or_else(|error| {
        tracing::error!(%error, "rows of the hot tail do not fit the columns of table `{}`", table.folder());
        RecordBatch::new_empty(table.schema())
    })
}

impl HotSnapshot {
    /// The rows that a lake snapshot with these watermarks does not hold.
    #[must_use]
    pub fn after(&self, watermarks: &Watermarks) -> HotSnapshot {
        let mut chunks = Vec::with_capacity(self.chunks.len());
        for chunk in &self.chunks {
            let committed = committed_seq(watermarks, &chunk.writer, chunk.epoch);
            if committed >= chunk.last_seq {
                continue;
            }
            if committed < chunk.first_seq {
                chunks.push(chunk.clone());
                continue;
            }
            let Ok(batches) = chunk.batches.map(|_, batch| Ok::<_, Infallible>(rows_after(batch, committed)));
            chunks.push(HotChunk { first_seq: committed + 1, batches, ..chunk.clone() });
        }
        HotSnapshot { chunks, last: self.last.clone() }
    }

    /// Calls in all chunks together.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.batches.interactions.num_rows()).sum()
    }
}

/// The rows of a batch, ordered by `seq`, that come after a sequence number.
fn rows_after(batch: &RecordBatch, seq: u64) -> RecordBatch {
    let Some(column) = batch.column_by_name("seq").and_then(|column| column.as_primitive_opt::<Int64Type>()) else {
        return batch.clone();
    };
    let seq = i64::try_from(seq).unwrap_or(i64::MAX);
    let kept_from = column.values().partition_point(|value| *value <= seq);
    batch.slice(kept_from, column.len() - kept_from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{event_id, interaction};

    fn rows(epoch: u64, seqs: std::ops::RangeInclusive<u64>) -> Vec<HotRow> {
        let row = |seq| HotRow {
            id: event_id(epoch, seq),
            needs_log_from: (epoch, seq),
            interaction: interaction(seq),
            request: Payload::default(),
            response: Payload::default(),
            salt: [1; 32],
        };
        seqs.map(row).collect()
    }

    fn buffer() -> Arc<HotBuffer> {
        HotBuffer::new()
    }

    fn committed(epoch: u64, seq: u64) -> Watermarks {
        Watermarks::from([(("gw".parse().unwrap(), epoch), seq)])
    }

    #[test]
    fn rows_of_the_lake_are_filtered_out_of_a_snapshot_taken_before() {
        let hot = buffer();
        hot.push(rows(1, 1..=10));
        hot.push(rows(2, 1..=5));
        let snapshot = hot.snapshot();
        assert_eq!((snapshot.rows(), snapshot.after(&committed(1, 7)).rows()), (15, 8));
        let after = snapshot.after(&committed(2, 5));
        assert_eq!((after.chunks.len(), after.rows()), (1, 10));
        assert_eq!(after.last, Some(event_id(2, 5)));
    }

    #[test]
    fn rows_are_forgotten_only_when_their_whole_chunk_is_committed() {
        let hot = buffer();
        hot.push(rows(1, 1..=10));
        hot.drop_committed(&committed(1, 9));
        assert_eq!((hot.rows(), hot.needs_log_from()), (10, Some((1, 1))));
        hot.drop_committed(&committed(1, 10));
        assert_eq!((hot.rows(), hot.bytes(), hot.needs_log_from()), (0, 0, None));
    }

    #[test]
    fn looking_after_every_row_leaves_few_chunks() {
        let hot = buffer();
        for seq in 1..=500 {
            hot.push(rows(1, seq..=seq));
            assert_eq!(hot.snapshot().rows() as u64, seq);
        }
        let chunks = hot.snapshot().chunks;
        assert!(chunks.len() < 12, "{} chunks", chunks.len());
        assert_eq!((chunks[0].first_seq, chunks.last().unwrap().last_seq), (1, 500));
    }

    #[test]
    fn whoever_waits_is_told_of_new_rows() {
        let hot = buffer();
        let changed = hot.changed();
        hot.push(rows(1, 1..=1));
        assert!(changed.has_changed().unwrap());
    }
}
