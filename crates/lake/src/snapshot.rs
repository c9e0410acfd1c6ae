//! What the lake holds at one moment: immutable, shared, and small enough to keep in memory for years of files.

use std::sync::Arc;

use tollgate_flush::Watermarks;
use tollgate_flush::inbox::FileRange;
use tollgate_interaction::schema::Table;

/// All tables and how far each writer has come. The watermarks are those of the facts, which are committed after the
/// other tables: every row they cover is in all of them.
#[derive(Clone, Debug, Default)]
pub struct LakeSnapshot {
    /// Facts, one row per call.
    pub interactions: TableFiles,
    /// What was said.
    pub payloads: TableFiles,
    /// Who changed what.
    pub control_events: TableFiles,
    /// Who read what.
    pub access_events: TableFiles,
    /// What the log lost.
    pub log_gaps: TableFiles,
    /// What calls cost by a later catalogue.
    pub price_corrections: TableFiles,
    /// What somebody thought of answers.
    pub feedback: TableFiles,
    /// For each (writer, epoch) the last sequence number that is in the lake.
    pub watermarks: Watermarks,
    /// Entries of the proof's log that the facts' commits carry.
    pub log_size: u64,
}

impl LakeSnapshot {
    /// The files of one table.
    #[must_use]
    pub fn files(&self, table: Table) -> &TableFiles {
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

    pub(crate) fn files_mut(&mut self, table: Table) -> &mut TableFiles {
        match table {
            Table::Interactions => &mut self.interactions,
            Table::Payloads => &mut self.payloads,
            Table::ControlEvents => &mut self.control_events,
            Table::AccessEvents => &mut self.access_events,
            Table::LogGaps => &mut self.log_gaps,
            Table::PriceCorrections => &mut self.price_corrections,
            Table::Feedback => &mut self.feedback,
        }
    }
}

/// The files of one table at one version.
#[derive(Clone, Debug, Default)]
pub struct TableFiles {
    /// Delta version.
    pub version: u64,
    /// Every live file, oldest commit first.
    pub files: Vec<Arc<DataFile>>,
}

/// One Parquet file.
#[derive(Clone, Debug, PartialEq)]
pub struct DataFile {
    /// Path relative to the root of the store, with the table's folder: `interactions/day=2026-11-23/….parquet`.
    pub path: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// UTC day of all its rows, in days since 1970: the value of the `day` column, which the file does not store.
    pub day: i32,
    /// Whose rows it holds; `None` for files that a compaction wrote.
    pub range: Option<FileRange>,
    /// Earliest `started_at` (µs since 1970, UTC), if the statistics say.
    pub min_started_at_us: Option<i64>,
    /// Latest `started_at` (µs since 1970, UTC), if the statistics say.
    pub max_started_at_us: Option<i64>,
    /// Delta's statistics as JSON: `numRecords`, `minValues`, `maxValues`, `nullCount`.
    pub stats: Option<String>,
}

impl TableFiles {
    /// Rows in all files.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// Bytes of all files.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }
}
