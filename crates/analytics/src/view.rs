//! One moment of the log: a lake snapshot and the rows in memory that it does not hold, taken together.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Date32Type;
use tollgate_flush::Watermarks;
use tollgate_flush::committed_seq;
use tollgate_flush::hot::HotSnapshot;
use tollgate_interaction::schema::{self, Table};
use tollgate_lake::{DataFile, LakeSnapshot};

use crate::report::AsOf;
use crate::session::{Engine, Tables};
use crate::table::LogTable;
use crate::visibility::Visibility;

/// The log at one moment. Everything asked of it is answered from the same rows, however long it is kept.
#[derive(Clone)]
pub struct Reading {
    pub(crate) engine: Arc<Engine>,
    pub(crate) lake: Arc<LakeSnapshot>,
    pub(crate) hot: HotSnapshot,
    pub(crate) tables: Tables,
    /// Rows beyond these are left out of the signals, by `writer/epoch`. SQL and reports do not look at it.
    pub(crate) up_to: Option<Arc<BTreeMap<String, u64>>>,
}

impl Reading {
    pub(crate) fn new(engine: Arc<Engine>, lake: Arc<LakeSnapshot>, hot: HotSnapshot) -> Self {
        let place = &engine.place;
        let table = |table: Table| {
            let files = complete_files(&lake, table);
            let hot = hot.chunks.iter().map(|chunk| chunk.batches.of(table).clone()).collect();
            (table, Arc::new(LogTable::new(table, files, hot, place)))
        };
        let tables = Tables { all: Table::ALL.map(table).into(), visibility: Visibility::everything() };
        Reading { engine, lake, hot, tables, up_to: None }
    }

    /// The same moment for a reader for whom only some rows exist. Reports are of these alone; so is SQL for a reader of one
    /// organisation, and for one of some teams it is refused.
    #[must_use]
    pub fn seen_by(mut self, visibility: Visibility) -> Self {
        self.tables.visibility = visibility;
        self
    }

    /// What it was taken from.
    #[must_use]
    pub fn as_of(&self) -> AsOf {
        AsOf { lake_version: self.lake.interactions.version, hot_rows: self.hot.rows() as u64 }
    }

    /// The lake's part.
    #[must_use]
    pub fn lake(&self) -> &Arc<LakeSnapshot> {
        &self.lake
    }

    /// Rows in memory by UTC day (days since 1970).
    #[must_use]
    pub fn hot_rows_by_day(&self) -> BTreeMap<i32, u64> {
        let mut days = BTreeMap::new();
        for chunk in &self.hot.chunks {
            let column = chunk.batches.interactions.column_by_name(schema::DAY);
            let column = column.and_then(|column| column.as_primitive_opt::<Date32Type>());
            for day in column.into_iter().flat_map(|column| column.values()) {
                *days.entry(*day).or_default() += 1;
            }
        }
        days
    }

    /// For each (writer, epoch) the last sequence number it holds, memory included.
    #[must_use]
    pub fn watermarks(&self) -> Watermarks {
        let mut watermarks = self.lake.watermarks.clone();
        for chunk in &self.hot.chunks {
            let last = watermarks.entry((chunk.writer.clone(), chunk.epoch)).or_default();
            *last = chunk.last_seq.max(*last);
        }
        watermarks
    }
}

/// The files whose rows also have their facts in the snapshot. The other tables are committed first: between the two
/// commits a file of theirs may hold rows that are still in memory too.
pub(crate) fn complete_files(lake: &LakeSnapshot, table: Table) -> Vec<Arc<DataFile>> {
    let complete = |file: &&Arc<DataFile>| {
        file.range
            .as_ref()
            .is_none_or(|range| range.last_seq <= committed_seq(&lake.watermarks, &range.writer, range.epoch))
    };
    lake.files(table).files.iter().filter(complete).cloned().collect()
}
