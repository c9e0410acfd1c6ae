//! What the budgets and limits of the active bundle have used up, by scope and window, from the same rows as the other
//! signals and through the same function that enters a call as it ends ([`Tally::entry`]). Each file is read once, for the
//! columns that the bundle's scopes need; another bundle with other scopes or windows has its windows read anew.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, MapArray, PrimitiveArray, RecordBatch, StringArray};
use arrow::datatypes::{Decimal128Type, Int64Type, TimestampMicrosecondType};
use tollgate_interaction::Usd;
use tollgate_interaction::interaction::day_of;
use tollgate_interaction::schema::Table;
use tollgate_policy::ledger::{Amounts, Posting, Sums, Tally, is_admitted};
use tollgate_policy::scope::{Attributes, Dimension};
use tollgate_policy::window::Window;

use super::{ChunkKey, by_day, scan};
use crate::error::ReportError;
use crate::view::{Reading, complete_files};

/// Columns that every budget needs.
const AMOUNT_COLUMNS: &[&str] =
    &["started_at", "cost_usd", "input_tokens", "output_tokens", "policy_bundle_hash", "outcome", "shadow_of"];
/// Columns needed of corrections of prices. They tell of a call its organisation and its team: budgets by anything else
/// count what the call cost when it was made.
const CORRECTION_COLUMNS: &[&str] = &["tenant", "team", "call_started_at", "old_cost_usd", "new_cost_usd"];

/// What was learnt from files and chunks already read.
#[derive(Default)]
pub(super) struct BudgetsCache {
    tallies: Arc<[Tally]>,
    days: BTreeMap<i32, Day>,
    corrections: BTreeMap<i32, Day>,
    chunks: HashMap<ChunkKey, Arc<Sums>>,
    /// Of `days` and `corrections` together; `None` once one of them has lost something.
    total: Option<Sums>,
}

/// The files of one day that have been read.
#[derive(Default)]
struct Day {
    files: HashSet<String>,
    sums: Sums,
}

impl BudgetsCache {
    /// What `tallies` have used up according to `reading`.
    pub(super) async fn take(
        &mut self,
        reading: &Reading,
        tallies: &Arc<[Tally]>,
        now_us: i64,
    ) -> Result<Sums, ReportError> {
        if *self.tallies != **tallies {
            *self = BudgetsCache { tallies: Arc::clone(tallies), ..BudgetsCache::default() };
        }
        let counted: Vec<&Tally> = tallies.iter().filter(|tally| tally.window != Window::InFlight).collect();
        let Some(from_us) = counted.iter().map(|tally| tally.window.at(now_us).from_us).min() else {
            return Ok(Sums::of(tallies));
        };
        self.read_days(reading, day_of(from_us), now_us).await?;
        self.read_chunks(reading, now_us);
        let mut sums = match self.total.take() {
            Some(total) => total,
            None => {
                let mut total = Sums::of(tallies);
                self.days.values().chain(self.corrections.values()).for_each(|day| total.add(&day.sums));
                total
            }
        };
        sums.forget(tallies, now_us);
        self.total = Some(sums.clone());
        self.chunks.values().for_each(|chunk| sums.add(chunk));
        sums.forget(tallies, now_us);
        Ok(sums)
    }

    async fn read_days(&mut self, reading: &Reading, first_day: i32, now_us: i64) -> Result<(), ReportError> {
        let tables = [
            (Table::Interactions, reading.lake.interactions.files.clone()),
            (Table::PriceCorrections, complete_files(&reading.lake, Table::PriceCorrections)),
        ];
        for (table, files) in tables {
            let by_day = by_day(files, first_day);
            let days = if table == Table::Interactions { &mut self.days } else { &mut self.corrections };
            let known = days.len();
            days.retain(|day, _| by_day.contains_key(day));
            if days.len() < known {
                self.total = None;
            }
            for (day, files) in by_day {
                let known = days.entry(day).or_default();
                let live: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
                if !known.files.iter().all(|path| live.contains(path.as_str())) {
                    *known = Day::default();
                    self.total = None;
                }
                let new: Vec<_> = files.iter().filter(|file| !known.files.contains(&file.path)).cloned().collect();
                if new.is_empty() {
                    continue;
                }
                let paths: Vec<String> = new.iter().map(|file| file.path.clone()).collect();
                let (columns, enter) = columns_of(table, &self.tallies);
                let tallies = Arc::clone(&self.tallies);
                let mut found: Sums =
                    scan(reading, table, new, columns, move |sums, batch| enter(sums, &tallies, batch, now_us)).await?;
                found.forget(&self.tallies, now_us);
                known.sums.forget(&self.tallies, now_us);
                known.sums.add(&found);
                known.files.extend(paths);
                if let Some(total) = &mut self.total {
                    total.add(&found);
                }
            }
        }
        Ok(())
    }

    fn read_chunks(&mut self, reading: &Reading, now_us: i64) {
        let mut chunks = HashMap::with_capacity(reading.hot.chunks.len());
        for chunk in &reading.hot.chunks {
            let key = (chunk.writer.clone(), chunk.epoch, chunk.first_seq, chunk.last_seq);
            let read = self.chunks.remove(&key).unwrap_or_else(|| {
                let mut sums = Sums::default();
                enter_rows(&mut sums, &self.tallies, &chunk.batches.interactions, now_us);
                enter_corrections(&mut sums, &self.tallies, &chunk.batches.price_corrections, now_us);
                Arc::new(sums)
            });
            chunks.insert(key, read);
        }
        self.chunks = chunks;
    }
}

type Enter = fn(&mut Sums, &[Tally], &RecordBatch, i64);

fn columns_of(table: Table, tallies: &[Tally]) -> (Vec<&'static str>, Enter) {
    if table == Table::PriceCorrections {
        return (CORRECTION_COLUMNS.to_vec(), enter_corrections);
    }
    let mut columns = AMOUNT_COLUMNS.to_vec();
    for dimension in tallies.iter().flat_map(|tally| &tally.dimensions) {
        let column = column_of(dimension);
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    (columns, enter_rows)
}

fn column_of(dimension: &Dimension) -> &'static str {
    match dimension {
        Dimension::Tenant => "tenant",
        Dimension::Project => "project",
        Dimension::Team => "team",
        Dimension::User => "user_ref",
        Dimension::Key => "api_key_id",
        Dimension::Model => "model_requested",
        Dimension::Tag(_) => "tags",
    }
}

/// The columns of a batch that say whose a row is; `None` for those that were not read.
struct Owners<'a> {
    texts: [(Dimension, Option<&'a StringArray>); 6],
    tags: Option<&'a MapArray>,
}

/// Whose one row is.
struct Owner<'a> {
    owners: &'a Owners<'a>,
    row: usize,
}

impl<'a> Owners<'a> {
    fn of(batch: &'a RecordBatch) -> Self {
        let texts =
            [Dimension::Tenant, Dimension::Project, Dimension::Team, Dimension::User, Dimension::Key, Dimension::Model];
        let text = |dimension: Dimension| {
            let column = batch.column_by_name(column_of(&dimension)).and_then(|column| column.as_string_opt::<i32>());
            (dimension, column)
        };
        let tags = batch.column_by_name("tags").and_then(|column| column.as_map_opt());
        Owners { texts: texts.map(text), tags }
    }
}

impl Attributes for Owner<'_> {
    fn value(&self, dimension: &Dimension) -> Option<&str> {
        if let Dimension::Tag(name) = dimension {
            return tag(self.owners.tags?, self.row, name);
        }
        let (_, column) = self.owners.texts.iter().find(|(known, _)| known == dimension)?;
        column.filter(|column| column.is_valid(self.row)).map(|column| column.value(self.row))
    }
}

fn tag<'a>(tags: &'a MapArray, row: usize, name: &str) -> Option<&'a str> {
    if tags.is_null(row) {
        return None;
    }
    let offsets = tags.value_offsets();
    let (from, to) = (usize::try_from(offsets[row]).ok()?, usize::try_from(offsets[row + 1]).ok()?);
    let (names, values) = (tags.keys().as_string_opt::<i32>()?, tags.values().as_string_opt::<i32>()?);
    let place = (from..to).find(|place| names.value(*place) == name)?;
    values.is_valid(place).then(|| values.value(place))
}

fn numbers<'a, T: arrow::datatypes::ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
) -> Option<&'a PrimitiveArray<T>> {
    batch.column_by_name(name).and_then(|column| column.as_primitive_opt())
}

/// Enters the rows of a batch that still count at `now_us`.
fn enter_rows(sums: &mut Sums, tallies: &[Tally], batch: &RecordBatch, now_us: i64) {
    let (Some(started), Some(costs), Some(input), Some(output)) = (
        numbers::<TimestampMicrosecondType>(batch, "started_at"),
        numbers::<Decimal128Type>(batch, "cost_usd"),
        numbers::<Int64Type>(batch, "input_tokens"),
        numbers::<Int64Type>(batch, "output_tokens"),
    ) else {
        return;
    };
    let text = |name| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    let (Some(hashes), Some(outcomes)) = (text("policy_bundle_hash"), text("outcome")) else { return };
    let copies = batch.column_by_name("shadow_of");
    let owners = Owners::of(batch);
    let from_us = earliest_us(tallies, now_us);
    for row in (0..batch.num_rows()).filter(|row| started.value(*row) >= from_us) {
        let count = |column: &PrimitiveArray<Int64Type>| {
            column.is_valid(row).then(|| u64::try_from(column.value(row)).unwrap_or(0))
        };
        let hash = hashes.is_valid(row).then(|| hashes.value(row));
        let amounts = Amounts::of_row(
            is_admitted(hash, outcomes.value(row), copies.is_some_and(|copies| copies.is_valid(row))),
            costs.is_valid(row).then(|| Usd::new(costs.value(row))),
            count(input),
            count(output),
        );
        let owner = Owner { owners: &owners, row };
        sums.apply(tallies, &Posting { at_us: started.value(row), attributes: &owner, amounts });
    }
}

/// Enters what calls cost more or less by later catalogues than what counted before, at the time of the call.
fn enter_corrections(sums: &mut Sums, tallies: &[Tally], batch: &RecordBatch, now_us: i64) {
    let (Some(started), Some(old), Some(new)) = (
        numbers::<TimestampMicrosecondType>(batch, "call_started_at"),
        numbers::<Decimal128Type>(batch, "old_cost_usd"),
        numbers::<Decimal128Type>(batch, "new_cost_usd"),
    ) else {
        return;
    };
    let owners = Owners::of(batch);
    let from_us = earliest_us(tallies, now_us);
    for row in (0..batch.num_rows()).filter(|row| started.value(*row) >= from_us) {
        let before = if old.is_valid(row) { Usd::new(old.value(row)) } else { Usd::ZERO };
        let amounts = Amounts { usd: Usd::new(new.value(row)) - before, ..Amounts::ZERO };
        let owner = Owner { owners: &owners, row };
        sums.apply(tallies, &Posting { at_us: started.value(row), attributes: &owner, amounts });
    }
}

/// Where the longest window begins: what is older counts nowhere.
fn earliest_us(tallies: &[Tally], now_us: i64) -> i64 {
    tallies
        .iter()
        .map(|tally| tally.window.at(now_us).from_us)
        .filter(|from_us| *from_us != i64::MIN)
        .min()
        .unwrap_or(0)
}
