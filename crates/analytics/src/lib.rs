//! Questions to the log: SQL, reports and signals over the lake and the rows that are not in it yet, as one table each.
//!
//! This is the only crate that links a query engine. It reads and never writes: no statement that changes anything is
//! planned, no file outside the lake can be named, and what a query may use is bounded in rows, bytes and time.

pub mod backtest;
mod barrier;
mod conversation;
mod costs;
pub mod error;
pub mod output;
mod prune;
mod query;
pub mod report;
mod session;
mod signals;
mod statement;
pub mod statistics;
mod table;
mod view;
mod visibility;

pub use error::{AnalyticsError, ReportError, SqlError};
pub use query::{QueryLimits, QueryResult};
pub use session::{Analytics, AnalyticsSettings};
pub use signals::SignalsState;
pub use view::Reading;
pub use visibility::Visibility;
