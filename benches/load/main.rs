//! What Tollgate costs, beside what others cost, on one machine in one run: `cargo xtask bench`. Every figure is
//! printed beside the budget it must meet and kept as JSON in `target/bench`; a missed budget fails the run. Absolute
//! figures are this machine's: the budgets are ratios wherever a ratio can be had. `benches/README.md` says how to
//! read them.
#![expect(clippy::print_stdout, reason = "a benchmark's output is its result")]

mod beat;
mod call;
mod dataset;
mod drive;
mod histogram;
mod message;
mod peer;
mod report;
mod server;
mod stage;
mod suite;
mod upstream;
mod writer;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::{Parser, ValueEnum};

use crate::peer::Peer;
use crate::report::Report;
use crate::stage::{Stage, Upstream};

// The allocator of the binaries whose parts are measured in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// Calls in each second where the rate is fixed; default: 500 in `latency`, 1,000 in `soak`.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Calls in the lakes that are made to be measured; default: as many as the suite's budget is about.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    calls: Option<u64>,
    /// Minutes of `soak`.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// What plays the provider.
    #[arg(long, value_enum, default_value_t = Upstream::Static)]
    upstream: Upstream,
    /// Folder of our binaries; default: where this one is.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Succeeds even if a budget is missed.
    #[arg(long)]
    report_only: bool,
    /// Does what `memory` measures, in this folder: a process that has done nothing else.
    #[arg(long, value_name = "DIR", hide = true)]
    memory_of: Option<PathBuf>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// Processor time of each call and calls per second, of everyone.
    Throughput,
    /// What a gateway adds to the latency of a call, at a fixed rate.
    Latency,
    /// Processor time of forwarding a request of 100,000 tokens, beside nginx.
    Forward,
    /// What a gateway adds to the time that each piece of a stream takes.
    Relay,
    /// Sizes of our binaries and the memory they take when idle.
    Footprint,
    /// Appends to the write-ahead log, beside what its disk can do. Needs no binary.
    Wal,
    /// Bytes of the lake, beside one gzipped line of JSON for each call. Needs no binary.
    Files,
    /// Processor time from the log to the lake, beside pyarrow writing the same rows. Needs no binary.
    Ingest,
    /// Time to verify a lake, beside DuckDB reading all of it. Needs no binary.
    Verify,
    /// Time of a back-test, beside the engine reading the columns it needs. Needs no binary.
    Backtest,
    /// Memory of writer, compaction and verification with large payloads in flight. Needs no binary.
    Memory,
    /// Minutes of load with everything going on. Only if named.
    Soak,
}

impl Suite {
    const ALL: [Suite; 12] = [
        Suite::Throughput,
        Suite::Latency,
        Suite::Forward,
        Suite::Relay,
        Suite::Footprint,
        Suite::Wal,
        Suite::Files,
        Suite::Ingest,
        Suite::Verify,
        Suite::Backtest,
        Suite::Memory,
        Suite::Soak,
    ];
}

impl Settings {
    /// The suites that were named; without any, all but the one that takes longer than all others together.
    fn measures_suite(&self, suite: Suite) -> bool {
        if self.suites.is_empty() { suite != Suite::Soak } else { self.suites.contains(&suite) }
    }

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
    if let Some(folder) = &settings.memory_of {
        suite::memory::perform(folder)?;
        return Ok(true);
    }
    let stage = Stage::set(settings.upstream, settings.programs.clone()).await?;
    let mut budgets_met = true;
    for suite in Suite::ALL.into_iter().filter(|suite| settings.measures_suite(*suite)) {
        let report: Report = match suite {
            Suite::Throughput => suite::throughput::run(settings, &stage).await?,
            Suite::Latency => suite::latency::run(settings, &stage).await?,
            Suite::Forward => suite::forward::run(settings, &stage).await?,
            Suite::Relay => suite::relay::run(settings, &stage).await?,
            Suite::Footprint => suite::footprint::run(settings, &stage).await?,
            Suite::Wal => suite::wal::run(settings, &stage).await?,
            Suite::Files => suite::files::run(settings, &stage)?,
            Suite::Ingest => suite::ingest::run(settings, &stage)?,
            Suite::Verify => suite::verify::run(settings, &stage)?,
            Suite::Backtest => suite::backtest::run(settings, &stage)?,
            Suite::Memory => suite::memory::run(&stage)?,
            Suite::Soak => suite::soak::run(settings, &stage).await?,
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
