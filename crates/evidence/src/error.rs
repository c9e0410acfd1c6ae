//! Why a pack could not be made. What was written of it so far stays in a folder whose name ends in `.part`.

use std::path::PathBuf;

use tollgate_analytics::ReportError;
use tollgate_analytics::output::OutputError;

/// Why a pack could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The period ends before it starts.
    #[error("the period of the report ends before it starts; give a `from` that is earlier than `to`")]
    EmptyPeriod,
    /// There is something where the pack should go.
    #[error("`{dir}` exists and is not empty; a pack overwrites nothing, name another folder")]
    Exists {
        /// The folder.
        dir: PathBuf,
    },
    /// The log could not be read.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The log could not be read as asked.
    #[error("the log could not be read for the report: {message}")]
    Log {
        /// What the engine said.
        message: String,
    },
    /// A file could not be written.
    #[error("`{path}` could not be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The rows could not be written in one of the formats.
    #[error("the rows could not be written to `{path}`")]
    Rows {
        /// The file.
        path: PathBuf,
        /// What the writer said.
        #[source]
        source: OutputError,
    },
    /// The page could not be filled in.
    #[error("the report page could not be written")]
    Page(#[from] askama::Error),
    /// The work was given up because the server is stopping.
    #[error("the report was given up because the server is stopping")]
    Stopping,
}

impl EvidenceError {
    /// Stable name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            EvidenceError::EmptyPeriod => "report_period_empty",
            EvidenceError::Exists { .. } => "report_exists",
            EvidenceError::Report(error) => error.code(),
            EvidenceError::Log { .. } => "log_unreadable",
            EvidenceError::Write { .. } | EvidenceError::Rows { .. } => "report_unwritable",
            EvidenceError::Page(_) => "internal_error",
            EvidenceError::Stopping => "shutting_down",
        }
    }
}
