//! What is measured: one module for each suite, each stating its budget first.

pub(crate) mod backtest;
pub(crate) mod files;
pub(crate) mod footprint;
pub(crate) mod forward;
pub(crate) mod ingest;
pub(crate) mod latency;
pub(crate) mod memory;
pub(crate) mod relay;
pub(crate) mod soak;
pub(crate) mod throughput;
pub(crate) mod verify;
pub(crate) mod wal;

use std::time::Duration;

/// Microseconds, for tables and results.
fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// The one in the middle; the last but one of two.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
