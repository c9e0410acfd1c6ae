//! What single functions cost, measured by Criterion, each beside its budget: `cargo xtask bench translate`. The results are
//! kept as JSON in `target/bench`, as those of the load generator are.
#![expect(clippy::print_stdout, reason = "a benchmark's output is its result")]

mod accuracy;
mod budgets;
mod canonical;
mod guardrails;
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
    /// Labelled texts as JSON lines, for `accuracy`.
    #[arg(long)]
    texts: Option<std::path::PathBuf>,
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
    /// Looking for personal data and secrets.
    Guardrails,
    /// What guardrails find of what they should; needs `--texts`.
    Accuracy,
    /// Checking a call against its budgets and reserving for it.
    Budgets,
    /// Deciding what a call may do, and where it may go.
    Policy,
    /// What tells one request from another, for the cache.
    Canonical,
}

fn main() -> anyhow::Result<ExitCode> {
    let settings = Settings::parse();
    let folder = kept::target()?.join("bench");
    fs::create_dir_all(&folder)?;
    let mut budgets_met = true;
    let all = [
        Bench::Translate,
        Bench::Sse,
        Bench::Pricing,
        Bench::Budgets,
        Bench::Policy,
        Bench::Canonical,
        Bench::Guardrails,
        Bench::Accuracy,
    ];
    for bench in all {
        let is_asked = settings.benches.is_empty() || settings.benches.contains(&bench);
        // It is about texts that have to be fetched first.
        if !is_asked || (bench == Bench::Accuracy && settings.texts.is_none()) {
            continue;
        }
        let report = match bench {
            Bench::Translate => translate::run()?,
            Bench::Sse => sse::run()?,
            Bench::Pricing => pricing::run()?,
            Bench::Guardrails => guardrails::run()?,
            Bench::Accuracy => accuracy::run(settings.texts.as_deref().unwrap_or(std::path::Path::new("")))?,
            Bench::Budgets => budgets::run()?,
            Bench::Policy => policy::run()?,
            Bench::Canonical => canonical::run()?,
        };
        println!("\n{report}");
        println!("kept in {}", report.save(&folder)?.display());
        budgets_met &= report.budgets_met();
    }
    Ok(if budgets_met || settings.report_only { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
