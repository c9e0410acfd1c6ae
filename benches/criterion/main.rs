//! What single functions cost, measured by Criterion, each beside its budget: `cargo xtask bench translate`. The results are
//! kept as JSON in `target/bench`, as those of the load generator are.
#![expect(clippy::print_stdout, reason = "a benchmark's output is its result")]

mod kept;
mod policy;
mod pricing;
#[path = "../load/report.rs"]
mod report;
mod sse;
mod translate;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use fs_err as fs;

// The allocator of the binaries.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures single functions.
#[derive(Debug, Parser)]
#[command(name = "tollgate-criterion")]
struct Settings {
    /// What to measure; everything if nothing is named.
    benches: Vec<Bench>,
    /// Succeeds even if a budget is missed.
    #[arg(long)]
    report_only: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// Requests from every dialect to every other.
    Translate,
    /// Decoding streams of events.
    Sse,
    /// Pricing a call.
    Pricing,
    /// Deciding what a call may do, and where it may go.
    Policy,
}

fn main() -> anyhow::Result<ExitCode> {
    let settings = Settings::parse();
    let folder = kept::target()?.join("bench");
    fs::create_dir_all(&folder)?;
    let mut budgets_met = true;
    for bench in [Bench::Translate, Bench::Sse, Bench::Pricing, Bench::Policy] {
        if !settings.benches.is_empty() && !settings.benches.contains(&bench) {
            continue;
        }
        let report = match bench {
            Bench::Translate => translate::run()?,
            Bench::Sse => sse::run()?,
            Bench::Pricing => pricing::run()?,
            Bench::Policy => policy::run()?,
        };
        println!("\n{report}");
        println!("kept in {}", report.save(&folder)?.display());
        budgets_met &= report.budgets_met();
    }
    Ok(if budgets_met || settings.report_only { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
