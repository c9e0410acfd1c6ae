//! The proxy-only binary: gateway, write-ahead log and flush, for the machine an application runs on. It links no query
//! engine and no database, needs nothing from the bucket but the right to put new objects, and goes on serving and
//! spooling while bucket and control plane are away.

mod door;
mod leases;
mod prices;
mod run;
mod snapshot;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use tollgate_config::{Config, ConfigError, PricesError};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `EX_USAGE` of sysexits: the configuration, not the program, must change.
const EXIT_BAD_CONFIGURATION: u8 = 64;

/// The gateway alone, beside an application.
#[derive(Debug, Parser)]
#[command(name = "tollgate-sidecar", version, about)]
struct Arguments {
    /// Configuration file, the same format as the all-in-one's; `control` says where keys and policy come from.
    #[arg(long, value_name = "FILE", env = "TOLLGATE_CONFIG")]
    config: PathBuf,
    /// Directory of the log and of the last keys and policy.
    #[arg(long, value_name = "DIR", default_value = "tollgate-sidecar-data", env = "TOLLGATE_DATA")]
    data: PathBuf,
    /// Address of the gateway, instead of the configured one.
    #[arg(long, value_name = "HOST:PORT")]
    gateway: Option<String>,
    /// The first line on standard output says, as JSON, where it listens.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match start(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            let usage = error.is::<ConfigError>() || error.is::<PricesError>();
            ExitCode::from(if usage { EXIT_BAD_CONFIGURATION } else { 1 })
        }
    }
}

fn start(arguments: &Arguments) -> anyhow::Result<()> {
    // Without this rustls panics at first use when more than one provider happens to be linked.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("another TLS provider was installed before this one");
    }
    let filter = EnvFilter::try_from_env("TOLLGATE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
    let config = Config::load(Some(&arguments.config))?;
    for doubt in config.doubts() {
        tracing::warn!("{}:{doubt}", arguments.config.display());
    }
    config.install_classifier()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(run::until_stopped(config, arguments))
}

#[expect(clippy::print_stderr, reason = "the program's last words are for its terminal")]
fn report(error: &anyhow::Error) {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
}
