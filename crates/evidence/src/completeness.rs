//! Whether the log is whole: what the catalogue promises against what the files hold, day by day, and whether each
//! writer's sequence numbers follow on without a hole.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tollgate_analytics::Reading;
use tollgate_analytics::report::TimeRange;
use tollgate_interaction::interaction::day_of;
use tollgate_interaction::schema::Table;
use tollgate_lake::day_text;
use tollgate_lake::{DataFile, LakeSnapshot};

use crate::error::EvidenceError;
use crate::figures::{self, Row};

/// The checks of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Completeness {
    pub(crate) days: Vec<DayCheck>,
    pub(crate) writers: Vec<WriterCheck>,
    /// Files that several flushes were merged into: their sequence ranges do not stand in their names.
    pub(crate) merged_files: u64,
}

/// One UTC day: all its rows, also those outside the period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DayCheck {
    pub(crate) day: String,
    /// Rows that the catalogue lists.
    pub(crate) in_lake: u64,
    /// Rows in memory that the catalogue does not list yet.
    pub(crate) in_memory: u64,
    /// Rows found by reading.
    pub(crate) found: u64,
    /// Different interaction ids found.
    pub(crate) distinct: u64,
}

/// One run of one writer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WriterCheck {
    pub(crate) writer: String,
    pub(crate) epoch: u64,
    /// Sequence numbers that the files of the lake cover.
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    /// Last sequence number that the catalogue says is committed.
    pub(crate) committed_seq: u64,
    /// Rows of the period.
    pub(crate) rows: u64,
    /// Ranges that no file covers, such as `17-20`.
    pub(crate) holes: Vec<String>,
}

impl Completeness {
    /// Checks one reading.
    pub(crate) async fn of(reading: &Reading, range: TimeRange) -> Result<Completeness, EvidenceError> {
        let lake = reading.lake();
        let days = days(reading, range).await?;
        let by_writer = format!(
            "SELECT writer, epoch, count(*) AS rows FROM interactions WHERE {} GROUP BY 1, 2 ORDER BY 1, 2",
            figures::condition(range)
        );
        let covered = covered(lake);
        let merged_files = record_files(lake).filter(|file| file.range.is_none()).count() as u64;
        let rows = figures::rows(reading, &by_writer).await?;
        let mut writers: Vec<WriterCheck> = rows.iter().map(|row| writer(row, lake, &covered)).collect();
        if merged_files > 0 {
            // A compacted file does not say whose rows it holds: that no number is missing is for the batch headers of the
            // proof to show (`tollgate audit verify`).
            writers.iter_mut().for_each(|writer| writer.holes.clear());
        }
        Ok(Completeness { days, writers, merged_files })
    }

    /// One sentence for everything that is not as it should be.
    pub(crate) fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        for day in &self.days {
            let expected = day.in_lake + day.in_memory;
            if day.found != expected {
                findings.push(format!("{}: {expected} records were expected and {} were found", day.day, day.found));
            }
            if day.distinct != day.found {
                let twice = day.found.saturating_sub(day.distinct);
                findings.push(format!("{}: {twice} records repeat the id of another record", day.day));
            }
        }
        for writer in &self.writers {
            for hole in &writer.holes {
                let WriterCheck { writer, epoch, .. } = writer;
                findings.push(format!("writer `{writer}`, run {epoch}: no file covers the sequence numbers {hole}"));
            }
        }
        findings
    }
}

async fn days(reading: &Reading, range: TimeRange) -> Result<Vec<DayCheck>, EvidenceError> {
    let (first, last) = (day_of(range.from_us), day_of(range.to_us.saturating_sub(1)));
    // Counting different ids makes the engine read the rows: a plain count would be answered from the catalogue.
    let sql = format!(
        "SELECT day, count(*) AS found, count(DISTINCT interaction_id) AS distinct_ids FROM interactions \
         WHERE day >= '{}' AND day <= '{}' GROUP BY day ORDER BY day",
        day_text(first),
        day_text(last)
    );
    let mut days: BTreeMap<String, DayCheck> = BTreeMap::new();
    for row in figures::rows(reading, &sql).await? {
        let day = on(&mut days, row.text("day"));
        (day.found, day.distinct) = (row.count("found"), row.count("distinct_ids"));
    }
    for file in reading.lake().interactions.files.iter().filter(|file| (first..=last).contains(&file.day)) {
        on(&mut days, day_text(file.day)).in_lake += file.rows;
    }
    for (day, rows) in reading.hot_rows_by_day() {
        if (first..=last).contains(&day) {
            on(&mut days, day_text(day)).in_memory += rows;
        }
    }
    Ok(days.into_values().collect())
}

fn on(days: &mut BTreeMap<String, DayCheck>, day: String) -> &mut DayCheck {
    let empty = DayCheck { day: day.clone(), in_lake: 0, in_memory: 0, found: 0, distinct: 0 };
    days.entry(day).or_insert(empty)
}

type Covered = BTreeMap<(String, u64), BTreeSet<(u64, u64)>>;

/// The files of every table whose rows have numbers of their own: a flush may have had events and no calls.
fn record_files(lake: &LakeSnapshot) -> impl Iterator<Item = &DataFile> {
    Table::RECORDS.into_iter().flat_map(|table| &lake.files(table).files).map(AsRef::as_ref)
}

/// The ranges that files cover, by writer and run.
fn covered(lake: &LakeSnapshot) -> Covered {
    let mut covered = Covered::new();
    for range in record_files(lake).filter_map(|file| file.range.as_ref()) {
        let ranges = covered.entry((range.writer.to_string(), range.epoch)).or_default();
        ranges.insert((range.first_seq, range.last_seq));
    }
    covered
}

fn writer(row: &Row, lake: &LakeSnapshot, covered: &Covered) -> WriterCheck {
    let (writer, epoch) = (row.text("writer"), row.count("epoch"));
    let ranges = covered.get(&(writer.clone(), epoch));
    let bounds = ranges.and_then(|ranges| Some((ranges.first()?.0, ranges.iter().map(|range| range.1).max()?)));
    let (first_seq, last_seq) = bounds.unwrap_or_default();
    let committed = lake.watermarks.iter().find(|((name, run), _)| name.as_str() == writer && *run == epoch);
    WriterCheck {
        first_seq,
        last_seq,
        committed_seq: committed.map_or(0, |(_, seq)| *seq),
        rows: row.count("rows"),
        holes: ranges.map(holes).unwrap_or_default(),
        writer,
        epoch,
    }
}

/// What lies between ranges that are in the order of their starts.
fn holes(ranges: &BTreeSet<(u64, u64)>) -> Vec<String> {
    let mut holes = Vec::new();
    let mut next = None;
    for (first, last) in ranges {
        if let Some(expected) = next.filter(|expected| first > expected) {
            holes.push(format!("{expected}-{}", first - 1));
        }
        next = Some(next.unwrap_or(0).max(last + 1));
    }
    holes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_between_two_flushes_is_named() {
        let ranges = BTreeSet::from([(1, 10), (11, 20), (1, 10), (25, 30), (28, 29), (31, 31)]);
        assert_eq!(holes(&ranges), ["21-24"]);
        assert!(holes(&BTreeSet::from([(5, 9)])).is_empty());
    }
}
