//! From the log to the table and back, with real files: what is recorded is in the lake once, wherever a process dies.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test process: it may stop at what it did not expect, and it kills the tasks it spawned"
)]

mod buckets;
mod compaction;
mod contention;
mod crash;
mod fault;
mod inbox;
mod large;
mod leaks;
mod lease;
mod proof;
mod reading;
mod retention;
mod weather;
mod witnessing;
mod writer;
