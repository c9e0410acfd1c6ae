//! What Criterion measured, beside a budget: its own estimates are read back, so that the figure that is judged is the
//! one that it shows.

use std::path::PathBuf;

use anyhow::Context as _;
use criterion::Criterion;
use fs_err as fs;

/// Criterion with results below `target/criterion`, settled in a few seconds.
///
/// # Errors
/// If this program does not know where it is.
pub(crate) fn criterion() -> anyhow::Result<Criterion> {
    Ok(Criterion::default()
        .without_plots()
        .warm_up_time(std::time::Duration::from_millis(500))
        .measurement_time(std::time::Duration::from_secs(3))
        .sample_size(30)
        .output_directory(&target()?.join("criterion")))
}

/// Median nanoseconds of one iteration of `name` in `group`.
///
/// # Errors
/// If it has not been measured.
pub(crate) fn median_ns(group: &str, name: &str) -> anyhow::Result<f64> {
    let file = target()?.join("criterion").join(group).join(name).join("new/estimates.json");
    let estimates: serde_json::Value = serde_json::from_slice(&fs::read(&file)?)?;
    let median = estimates["median"]["point_estimate"].as_f64();
    median.with_context(|| format!("`{}` holds no median", file.display()))
}

/// Where build products go: this program is `target/release/NAME`.
///
/// # Errors
/// If this program does not know where it is.
pub(crate) fn target() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("finding this program")?;
    let target = own.ancestors().nth(2).context("this program is in no target directory")?;
    Ok(target.to_path_buf())
}
