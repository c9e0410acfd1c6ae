//! Records find their batches by writer, epoch and number. A batch whose records are all there and add up to its root is
//! forgotten but for its name, so that memory is bounded by what is being read.

use std::collections::HashMap;

use tollgate_flush::batch_header::root_of;
use tollgate_flush::parquet_file::day_text;
use tollgate_interaction::commitment::Commitment;
use tollgate_interaction::interaction::day_of;

use super::explained::Explained;
use super::headers::Placed;
use super::{ProblemKind, Problems};

/// All batches of a log.
pub(super) struct Batches {
    batches: Vec<Batch>,
    /// For each (writer, epoch) its batches' last numbers and places in `batches`, ascending.
    by_epoch: HashMap<(String, u64), Vec<(u64, usize)>>,
}

struct Batch {
    placed: Placed,
    records: Vec<(u64, Commitment)>,
    complete: bool,
}

impl Batches {
    pub(super) fn new(headers: Vec<Placed>) -> Batches {
        let mut by_epoch: HashMap<(String, u64), Vec<(u64, usize)>> = HashMap::new();
        for (at, placed) in headers.iter().enumerate() {
            let header = &placed.header;
            let epoch = by_epoch.entry((header.writer.as_str().to_owned(), header.epoch)).or_default();
            epoch.push((header.last_seq, at));
        }
        by_epoch.values_mut().for_each(|epoch| epoch.sort_unstable());
        let batch = |placed| Batch { placed, records: Vec::new(), complete: false };
        Batches { batches: headers.into_iter().map(batch).collect(), by_epoch }
    }

    pub(super) fn len(&self) -> u64 {
        self.batches.len() as u64
    }

    /// Batches at or beyond this place of the log.
    pub(super) fn from(&self, place: u64) -> u64 {
        self.batches.iter().filter(|batch| batch.placed.place >= place).count() as u64
    }

    /// Puts a record into its batch; false if there is none.
    pub(super) fn take(
        &mut self,
        (writer, epoch, seq): (&str, u64, u64),
        commitment: Commitment,
        problems: &mut Problems,
    ) -> bool {
        let Some(of_epoch) = self.by_epoch.get(&(writer.to_owned(), epoch)) else { return false };
        let after = of_epoch.partition_point(|(last_seq, _)| *last_seq < seq);
        let Some(batch) = of_epoch.get(after).and_then(|(_, at)| self.batches.get_mut(*at)) else { return false };
        if seq < batch.placed.header.first_seq {
            return false;
        }
        if batch.complete {
            let detail = format!("{} is complete without it", batch.placed.subject());
            problems.add(ProblemKind::RecordDuplicate, format!("record {writer}/{epoch}/{seq}"), detail);
            return true;
        }
        batch.records.push((seq, commitment));
        if batch.records.len() as u64 == batch.placed.header.rows && batch.root() == batch.placed.header.root {
            batch.complete = true;
            batch.records = Vec::new();
        }
        true
    }

    /// Whether the record's batch was complete and right.
    pub(super) fn is_proven(&self, writer: &str, epoch: u64, seq: u64) -> bool {
        let of_epoch = self.by_epoch.get(&(writer.to_owned(), epoch));
        let found = of_epoch.and_then(|of_epoch| {
            let after = of_epoch.partition_point(|(last_seq, _)| *last_seq < seq);
            self.batches.get(of_epoch.get(after)?.1)
        });
        found.is_some_and(|batch| batch.complete && batch.placed.header.first_seq <= seq)
    }

    /// Reports the batches that are not what they should be; gives the number of those whose records went for a reason.
    pub(super) fn finish(&mut self, explained: &Explained, problems: &mut Problems) -> u64 {
        let mut expired = 0;
        for batch in self.batches.iter_mut().filter(|batch| !batch.complete) {
            let header = &batch.placed.header;
            batch.records.sort_unstable_by_key(|(seq, _)| *seq);
            for pair in batch.records.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
                let record = format!("record {}/{}/{}", header.writer, header.epoch, pair[0].0);
                problems.add(ProblemKind::RecordDuplicate, record, "it is there twice");
            }
            batch.records.dedup_by_key(|(seq, _)| *seq);
            let found = batch.records.len() as u64;
            if found < header.rows
                && days(header.min_time_us, header.max_time_us).any(|day| explained.covers_records_of(&day))
            {
                expired += 1;
            } else if found != header.rows {
                let detail = format!("it has {} records, of which {found} are there", header.rows);
                problems.add(ProblemKind::BatchRows, batch.placed.subject(), detail);
            } else if root_of_sorted(&batch.records) != header.root {
                let detail = "its records are not those that were committed to";
                problems.add(ProblemKind::BatchRoot, batch.placed.subject(), detail);
            }
        }
        expired
    }
}

impl Batch {
    fn root(&mut self) -> Commitment {
        self.records.sort_unstable_by_key(|(seq, _)| *seq);
        root_of_sorted(&self.records)
    }
}

fn root_of_sorted(records: &[(u64, Commitment)]) -> Commitment {
    let commitments: Vec<Commitment> = records.iter().map(|(_, commitment)| *commitment).collect();
    root_of(&commitments)
}

fn days(first_us: i64, last_us: i64) -> impl Iterator<Item = String> {
    (day_of(first_us)..=day_of(last_us)).map(day_text)
}
