//! What Criterion measured, beside a budget: its own estimates are read back, so that the figure that is judged is the
//! one that it shows.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use criterion::Criterion;
use fs_err as fs;

/// Criterion with results below `target/criterion`, settled in a few seconds.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .without_plots()
        .warm_up_time(std::time::Duration::from_millis(500))
        .measurement_time(std::time::Duration::from_secs(3))
        .sample_size(30)
        .output_directory(&target().join("criterion"))
}

/// Median nanoseconds of one iteration of `name` in `group`.
///
/// # Errors
/// If it has not been measured.
pub(crate) fn median_ns(group: &str, name: &str) -> anyhow::Result<f64> {
    let file = target().join("criterion").join(group).join(name).join("new/estimates.json");
    let estimates: serde_json::Value = serde_json::from_slice(&fs::read(&file)?)?;
    let median = estimates["median"]["point_estimate"].as_f64();
    median.with_context(|| format!("`{}` holds no median", file.display()))
}

/// Where build products go: this program is `target/release/NAME`.
pub(crate) fn target() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.ancestors().nth(2).unwrap_or(Path::new("target")).to_path_buf()
}
