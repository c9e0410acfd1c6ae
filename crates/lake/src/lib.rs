//! The table over the files: turns manifests in the inbox into Delta commits, each exactly once, and publishes what
//! the table holds. One process commits ([`Mode::Committer`]); any number read. The data files themselves are never
//! touched here, so the cost of a commit does not grow with payloads. No query engine is linked: readers get a list
//! of Parquet files.

pub mod audit;
mod commit;
pub mod compact;
pub mod cosignature;
pub mod error;
mod gaps;
pub mod lake;
mod lease;
mod log;
mod merge;
mod parquet_reader;
pub mod policy;
pub mod proof;
pub mod retain;
pub mod snapshot;
mod table;
mod tree;
pub mod trouble;
pub mod vacuum;
pub mod witness;
pub mod witnessing;

// The text of a partition, for those who read the lake and do not write to it.
pub use compact::CompactReport;
pub use error::LakeError;
pub use lake::{CommitReport, Lake, Mode};
pub use proof::{ProofSettings, ProofStatus, PublishedCheckpoint};
pub use snapshot::{DataFile, LakeSnapshot, TableFiles};
pub use tollgate_flush::parquet_file::{day_from_text, day_text};
pub use vacuum::{LakeStatus, VacuumReport};
