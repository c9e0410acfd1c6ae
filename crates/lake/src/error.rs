//! Why the lake could not be read or committed to.

use tollgate_flush::store::StoreError;

/// Why the lake could not be read or committed to.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The store itself cannot be used.
    #[error("the lake at `{url}` cannot be used")]
    Store {
        /// Of the lake.
        url: String,
        /// Why.
        #[source]
        source: Box<StoreError>,
    },
    /// A read or a write of the store failed; it may work later.
    #[error("the store failed at `{path}`; it will be tried again")]
    Io {
        /// Object in the store.
        path: String,
        /// What the store said.
        #[source]
        source: object_store::Error,
    },
    /// The Delta log cannot be understood or extended.
    #[error("the Delta log of table `{table}` cannot be used: {doing}")]
    Delta {
        /// `interactions` or `payloads`.
        table: &'static str,
        /// What was being done.
        doing: &'static str,
        /// What the library said.
        #[source]
        source: Box<deltalake_core::DeltaTableError>,
    },
    /// A reader found no table.
    #[error("there is no table `{table}` at `{url}` yet; the committer creates it when it first runs")]
    NoTable {
        /// `interactions` or `payloads`.
        table: &'static str,
        /// Of the lake.
        url: String,
    },
    /// Somebody deleted the newest commit.
    #[error(
        "`{table}/_delta_log/{version:020}.json`, the newest version of table `{table}`, is gone from the store; put it back, from the \
         bucket's versions or a backup (nothing is committed meanwhile, and the write-ahead logs keep all rows)"
    )]
    VersionMissing {
        /// Name of the table.
        table: &'static str,
        /// The version that was the newest.
        version: u64,
    },
    /// Somebody changed the table in a way this version does not know.
    #[error("the table `{table}` {problem}; this version cannot commit to it")]
    Unsupported {
        /// `interactions` or `payloads`.
        table: &'static str,
        /// What is in the way.
        problem: String,
    },
    /// A Parquet file cannot be read.
    #[error("the file `{path}` cannot be read as Parquet")]
    Parquet {
        /// Relative to the root of the store.
        path: String,
        /// What the reader said.
        #[source]
        source: parquet::errors::ParquetError,
    },
    /// Other processes kept committing.
    #[error(
        "gave up committing to table `{table}` after {attempts} attempts because other processes kept committing; run one committer \
         per lake"
    )]
    Contended {
        /// `interactions` or `payloads`.
        table: &'static str,
        /// How often it was tried.
        attempts: u32,
    },
    /// Rows could not be put in order.
    #[error("rows of the lake could not be put in order")]
    Merge {
        /// What Arrow said.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// A compaction would have changed the number of rows.
    #[error(
        "a compaction of table `{table}` read {before} rows and would have written {after}; nothing was changed. A file may have been \
         altered: run `tollgate audit verify`"
    )]
    RowsDiffer {
        /// Name of the table.
        table: &'static str,
        /// As the table says.
        before: u64,
        /// As the files have.
        after: u64,
    },
    /// Work was stopped before its end.
    #[error("the work was stopped before its end")]
    Stopped(#[source] tokio::task::JoinError),
    /// The proof's key cannot be used.
    #[error("the lake's proof cannot be signed")]
    Key(#[from] tollgate_flush::keys::KeyError),
    /// [`crate::Mode::ReadOnly`] was asked to commit.
    #[error("this process opened the lake at `{url}` for reading; only the committer commits")]
    ReadOnly {
        /// Of the lake.
        url: String,
    },
}
