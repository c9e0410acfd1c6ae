//! A write-ahead log on one machine: it makes events durable in groups, and hands them out again, in order, from the
//! files it wrote. `docs/wal.md` specifies the bytes, `docs/adr/0002-own-wal.md` says why the log is our own.
//!
//! Refuses to: skip anything silently (what cannot be read is a [`TailItem::Gap`]), repeat an fsync that failed,
//! acknowledge what has not reached the stated place, keep events in memory for readers, or know what an event means.

mod again;
mod appender;
mod directory;
mod disk;
mod frame;
mod gap;
mod log;
mod quarantine;
mod queue;
mod replay;
#[cfg(test)]
mod samples;
mod segment;
mod segment_writer;
mod settings;
mod shared;
mod sync;
mod tail;
#[cfg(test)]
mod tests;

pub use again::EventPlace;
pub use appender::{AppendError, Appender, DropCause};
pub use gap::{GapReason, LogGap};
pub use log::{Wal, WalError, WalStatus};
pub use queue::NoRoom;
pub use settings::{OnFull, WalSettings};
pub use tail::{Tail, TailError, TailItem};
