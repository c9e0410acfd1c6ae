//! What can go wrong with the index. A broken query is the caller's; everything else is repaired by a rebuild.

use std::path::PathBuf;

use crate::query::QueryError;

/// Why the index could not be opened, fed or asked.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The query cannot be understood.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Another process feeds this index.
    #[error("the search index in `{dir}` is in use by another process; stop it or name another folder")]
    InUse {
        /// The index's folder.
        dir: PathBuf,
    },
    /// The folder cannot be used.
    #[error("the folder `{dir}` of the search index cannot be used")]
    Folder {
        /// The index's folder.
        dir: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The index cannot be read or written; deleting its folder makes it be rebuilt.
    #[error("the search index is damaged or its disk is full; it can be deleted and is then rebuilt from the lake")]
    Index(#[from] tantivy::TantivyError),
    /// A file of the lake cannot be read.
    #[error("the search index cannot read the lake")]
    Lake(#[from] tollgate_lake::LakeError),
    /// A file of the lake lacks a column.
    #[error("`{path}` has no column `{column}` and cannot be indexed")]
    Column {
        /// Path in the store, or `memory`.
        path: String,
        /// The column.
        column: &'static str,
    },
    /// The work was given up because the server is stopping.
    #[error("the search index is closed because the server is stopping")]
    Closed,
}

impl SearchError {
    /// Stable name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            SearchError::Query(_) => "search_query_invalid",
            SearchError::InUse { .. } => "search_index_in_use",
            SearchError::Folder { .. } | SearchError::Index(_) => "search_index_unusable",
            SearchError::Lake(_) | SearchError::Column { .. } => "log_unreadable",
            SearchError::Closed => "shutting_down",
        }
    }

    /// Whether the one who asked can do something about it (else it is ours to repair).
    #[must_use]
    pub fn is_callers(&self) -> bool {
        matches!(self, SearchError::Query(_))
    }
}
