//! What is measured: one module for each suite, each stating its budget first.

pub(crate) mod footprint;
pub(crate) mod latency;
pub(crate) mod throughput;
pub(crate) mod wal;

use std::time::Duration;

/// Microseconds, for tables and results.
fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
