//! What Tollgate costs, beside what others cost, on one machine in one run: `cargo xtask bench`. Every figure is
//! printed beside the budget it must meet and kept as JSON in `target/bench`; a missed budget fails the run. Absolute
//! figures are this machine's: the budgets are ratios wherever a ratio can be had. `benches/README.md` says how to
//! read them.
#![expect(clippy::print_stdout, reason = "a benchmark's output is its result")]

mod call;
mod drive;
mod histogram;
mod message;
mod peer;
mod report;
mod server;
mod stage;
mod suite;
mod upstream;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::{Parser, ValueEnum};

use crate::peer::Peer;
use crate::report::Report;
use crate::stage::{Stage, Upstream};

/// Measures Tollgate beside other gateways.
#[derive(Clone, Debug, Parser)]
#[command(name = "tollgate-benches")]
struct Settings {
    /// What to measure; everything if nothing is named.
    suites: Vec<Suite>,
    /// Measures only these peers.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Peer>,
    /// Seconds of load on each peer.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seconds of load before that, which do not count.
    #[arg(long, default_value_t = 2)]
    warm_up_seconds: u64,
    /// How often throughput is measured, everyone in turn; the middle round of each counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Connections that call at the same time.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Calls in each second where the rate is fixed.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// What plays the provider.
    #[arg(long, value_enum, default_value_t = Upstream::Static)]
    upstream: Upstream,
    /// Folder of our binaries; default: where this one is.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Succeeds even if a budget is missed.
    #[arg(long)]
    report_only: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// Processor time of each call and calls per second, of everyone.
    Throughput,
    /// What a gateway adds to the latency of a call, at a fixed rate.
    Latency,
    /// Sizes of our binaries and the memory they take when idle.
    Footprint,
    /// Appends to the write-ahead log, beside what its disk can do. Needs no binary.
    Wal,
}

impl Settings {
    fn load(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    fn warm_up(&self) -> Duration {
        Duration::from_secs(self.warm_up_seconds)
    }

    fn measures(&self, peer: Peer) -> bool {
        self.only.is_empty() || self.only.contains(&peer)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let settings = Settings::parse();
    // Children are not in the terminal's process group: only dropping what holds them ends them.
    let result = tokio::select! {
        result = measure(&settings) => result,
        () = interrupted() => Err(anyhow::anyhow!("interrupted")),
    };
    match result {
        Ok(budgets_met) if budgets_met || settings.report_only => ExitCode::SUCCESS,
        Ok(_) => {
            println!("\nbudgets were missed");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the suites; says whether all budgets were met.
async fn measure(settings: &Settings) -> anyhow::Result<bool> {
    if settings.connections == 0 || settings.seconds == 0 {
        bail!("without connections and seconds there is nothing to measure");
    }
    let stage = Stage::set(settings.upstream, settings.programs.clone()).await?;
    let mut budgets_met = true;
    for suite in [Suite::Throughput, Suite::Latency, Suite::Footprint, Suite::Wal] {
        if !settings.suites.is_empty() && !settings.suites.contains(&suite) {
            continue;
        }
        let report: Report = match suite {
            Suite::Throughput => suite::throughput::run(settings, &stage).await?,
            Suite::Latency => suite::latency::run(settings, &stage).await?,
            Suite::Footprint => suite::footprint::run(settings, &stage).await?,
            Suite::Wal => suite::wal::run(settings, &stage).await?,
        };
        println!("\n{report}");
        println!("kept in {}", report.save(&stage.results)?.display());
        budgets_met &= report.budgets_met();
    }
    Ok(budgets_met)
}

/// What is being done, for whoever watches.
fn say(line: &str) {
    println!("{line} …");
}

/// Resolves when this program is asked to end.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
