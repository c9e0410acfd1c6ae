//! What the lake holds at one moment: immutable, shared, and small enough to keep in memory for years of files.

use std::sync::Arc;

use tollgate_flush::Watermarks;
use tollgate_flush::inbox::FileRange;

/// Both tables and how far each writer has come. The watermarks are those of the facts, which are committed after
/// the payloads: every row they cover is in both tables.
#[derive(Clone, Debug, Default)]
pub struct LakeSnapshot {
    /// Facts, one row per call.
    pub interactions: TableFiles,
    /// What was said.
    pub payloads: TableFiles,
    /// For each (writer, epoch) the last sequence number that is in the lake.
    pub watermarks: Watermarks,
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
