//! Report packs for those who have to check the log without trusting whoever runs it: a readable report, the rows behind
//! it in two open formats, their meaning, and a manifest of hashes and control totals.
//!
//! A pack states what it was made from and what it cannot show. It holds facts about calls and never what was said in
//! them. It writes into a folder of its own and overwrites nothing.

mod completeness;
pub mod error;
mod figures;
mod html;
mod pack;
pub mod record_keeping;

pub use error::EvidenceError;
pub use pack::{ControlTotals, PackFile, PackSummary};
pub use record_keeping::{RecordKeepingRequest, record_keeping};
