//! From the write-ahead log to the bucket: events become the queryable hot tail ([`hot`]), the hot tail becomes
//! Parquet files and a manifest in `inbox/` ([`flusher`]). The sidecar and the all-in-one do the same here; a writer
//! needs no more than the right to put new objects. This crate never reads the table and never commits to it: that is
//! `tollgate-lake`, which it does not know.

use std::collections::BTreeMap;

use tollgate_interaction::{EventId, WriterId};

pub mod batch_header;
pub mod flusher;
mod flushing;
mod hand_over;
pub mod hot;
pub mod inbox;
pub mod keys;
pub mod parquet_file;
pub mod plan;
pub mod recovery;
mod seal;
pub mod statistics;
pub mod store;
#[cfg(test)]
mod testing;

/// For each (writer, epoch) the last sequence number whose settled calls are all in the lake.
pub type Watermarks = BTreeMap<(WriterId, u64), u64>;

/// Whether the row with this id is in the lake, going by `watermarks`.
#[must_use]
pub fn is_committed(watermarks: &Watermarks, id: &EventId) -> bool {
    committed_seq(watermarks, &id.writer, id.epoch) >= id.seq
}

/// The last committed sequence number of one epoch; zero if none.
#[must_use]
pub fn committed_seq(watermarks: &Watermarks, writer: &WriterId, epoch: u64) -> u64 {
    watermarks.get(&(writer.clone(), epoch)).copied().unwrap_or(0)
}

/// An error and its causes as one line, for a log: `what: why: why`.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
