//! What can go wrong when the log is asked. Each error has a stable code; none of them quotes data.

use std::time::Duration;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::parquet::errors::ParquetError;

/// Why the engine could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum AnalyticsError {
    /// The threads that queries run on could not be started.
    #[error("the threads for queries could not be started")]
    Threads(#[source] std::io::Error),
    /// The query engine refused its settings.
    #[error("the query engine refused its settings")]
    Engine(#[source] DataFusionError),
    /// The lake could not be read.
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The query took too long.
    #[error("the report took longer than {} seconds; choose a shorter time range", limit.as_secs())]
    TimedOut {
        /// How long it was allowed to take.
        limit: Duration,
    },
    /// The engine failed, most often because the store could not be read.
    #[error("the log could not be read for the report `{report}`")]
    Engine {
        /// Which report.
        report: &'static str,
        /// What the engine said.
        #[source]
        source: DataFusionError,
    },
    /// The engine answered with other columns than were asked for.
    #[error("the report `{report}` has no usable column `{column}`")]
    Column {
        /// Which report.
        report: &'static str,
        /// Which column.
        column: String,
    },
    /// The engine gave the query up: the server is stopping, or the engine has a defect (then the server's log says more).
    #[error("the report `{report}` was abandoned; try again, and if it happens again see the server's log")]
    Abandoned {
        /// Which report.
        report: &'static str,
    },
}

impl ReportError {
    /// Stable name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            ReportError::TimedOut { .. } => "query_timeout",
            ReportError::Engine { .. } => "log_unreadable",
            ReportError::Column { .. } => "internal_error",
            ReportError::Abandoned { .. } => "query_abandoned",
        }
    }
}

/// Why a statement has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// There is no statement in the text.
    #[error("the query is empty; write a `SELECT`, for example `SELECT count(*) FROM interactions`")]
    Empty,
    /// There is more than one statement in the text.
    #[error("the query has {count} statements; send them one at a time")]
    Several {
        /// How many.
        count: usize,
    },
    /// A statement that would change something.
    #[error("`{statement}` is refused: the log is read-only here; use `SELECT`, `EXPLAIN`, `SHOW` or `DESCRIBE`")]
    Refused {
        /// Its name, such as `COPY`.
        statement: String,
    },
    /// SQL by a reader for whom only some teams' calls exist.
    #[error("SQL is answered from the calls of all teams, which this reader may not see; use the reports instead")]
    Bounded,
    /// `EXPLAIN` by a reader for whom only some rows exist.
    #[error("`EXPLAIN` is refused: a plan tells of rows of other organisations, which this reader may not see")]
    Tells,
    /// The text is not SQL.
    #[error("the query is not valid SQL: {message}")]
    Syntax {
        /// What the parser said, with line and column.
        message: String,
    },
    /// The statement names something that does not exist, or mixes types.
    #[error("the query cannot be planned: {message}")]
    Plan {
        /// What the planner said, suggestions included.
        message: String,
    },
    /// The query took too long.
    #[error("the query took longer than {} ms and was stopped; add a condition on `day` or `started_at`", limit.as_millis())]
    TimedOut {
        /// How long it was allowed to take.
        limit: Duration,
    },
    /// The query needed more memory than it may have.
    #[error("the query needs more memory than it may have; select fewer columns or a shorter time range")]
    Memory {
        /// What the engine said.
        #[source]
        source: DataFusionError,
    },
    /// A value could not be computed: a division by zero, a text that is not a number.
    #[error("the query failed: {message}")]
    Value {
        /// What the engine said.
        message: String,
    },
    /// The store could not be read.
    #[error("the log could not be read")]
    Unavailable {
        /// What the engine said.
        #[source]
        source: DataFusionError,
    },
    /// The engine gave the query up: the server is stopping, or the engine has a defect (then the server's log says more).
    #[error("the query was abandoned; try again, and if it happens again see the server's log")]
    Abandoned,
}

impl SqlError {
    /// Stable name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            SqlError::Empty => "sql_empty",
            SqlError::Several { .. } => "sql_several_statements",
            SqlError::Refused { .. } => "sql_statement_refused",
            SqlError::Bounded | SqlError::Tells => "sql_bounded",
            SqlError::Syntax { .. } => "sql_syntax",
            SqlError::Plan { .. } => "sql_plan",
            SqlError::TimedOut { .. } => "query_timeout",
            SqlError::Memory { .. } => "query_memory",
            SqlError::Value { .. } => "sql_value",
            SqlError::Unavailable { .. } => "log_unreadable",
            SqlError::Abandoned => "query_abandoned",
        }
    }

    /// Whether the one who asked can do something about it (else it is ours to repair).
    #[must_use]
    pub fn is_callers(&self) -> bool {
        !matches!(self, SqlError::Unavailable { .. } | SqlError::Abandoned)
    }

    /// Sorts an error that came up while planning.
    pub(crate) fn of_planning(error: DataFusionError) -> SqlError {
        match error.find_root() {
            DataFusionError::SQL(parser, _) => SqlError::Syntax { message: parser.to_string() },
            DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => SqlError::Unavailable { source: error },
            root => SqlError::Plan { message: plain(root) },
        }
    }

    /// Sorts an error that came up while rows were read.
    pub(crate) fn of_execution(error: DataFusionError) -> SqlError {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => SqlError::Memory { source: error },
            DataFusionError::ArrowError(arrow, _) => SqlError::Value { message: arrow.to_string() },
            // A condition that is evaluated while a file is read fails in the reader's name.
            DataFusionError::ParquetError(parquet) => match of_condition(parquet) {
                Some(message) => SqlError::Value { message },
                None => SqlError::Unavailable { source: error },
            },
            DataFusionError::Plan(_) | DataFusionError::SchemaError(..) | DataFusionError::NotImplemented(_) => {
                SqlError::of_planning(error)
            }
            DataFusionError::Execution(message) => SqlError::Value { message: message.clone() },
            _ => SqlError::Unavailable { source: error },
        }
    }
}

/// What is wrong with a value, where a file could be read and the statement's own condition could not be computed for a row.
fn of_condition(error: &ParquetError) -> Option<String> {
    let ParquetError::External(cause) = error else { return None };
    match cause.downcast_ref::<ArrowError>()? {
        ArrowError::ComputeError(message) => Some(message.clone()),
        _ => None,
    }
}

/// The engine's text without its backtrace, and without the list of all columns where it has a suggestion.
fn plain(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    let text = text.strip_prefix("Error during planning: ").unwrap_or(&text);
    let text = text.strip_prefix("Schema error: ").unwrap_or(text);
    let suggestion = text.split_once("\nValid fields are").filter(|(before, _)| before.contains("Did you mean"));
    suggestion.map_or(text, |(before, _)| before).to_owned()
}
