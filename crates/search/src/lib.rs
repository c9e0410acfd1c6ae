//! Full-text search over what was said: a tantivy index in a local folder, fed from the rows in memory within a second
//! and from the lake for everything else.
//!
//! The index is never the truth: its folder may be deleted at any time, with the server stopped, and is rebuilt from the
//! lake. It holds one document per call. It answers with text that is safe to put into a page, and with nothing that a
//! reader of the lake could not see.

mod cells;
pub mod error;
mod fields;
mod index;
mod indexer;
mod lake_rows;
mod progress;
pub mod query;
mod state;

pub use error::SearchError;
pub use index::{Hit, Search, SearchQuery, SearchResult, SearchStatus};
pub use indexer::CaughtUp;
pub use query::QueryError;
pub use state::IndexState;
