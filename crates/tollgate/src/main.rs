//! The all-in-one binary: command line, configuration, wiring, shutdown. No logic lives here.

mod cli;
mod command;
mod data_dir;
mod remote;
mod telemetry;
mod terminal;
mod wire;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use crate::cli::{Cli, Command, Common};

// The system allocator keeps freed memory per thread; under many concurrent calls that is most of the footprint.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `EX_USAGE` of sysexits: the configuration, not the program, must change.
const EXIT_BAD_CONFIGURATION: u8 = 64;

/// Has freed pages given back to the operating system at once instead of a second later. Compaction and queries need much
/// for a moment, each time on other threads, and with the delay most of it stays: after ten minutes of 1,000 calls a second
/// 354 MiB, of which 50 were in use. At once costs no processor time that could be measured.
fn give_back_memory_at_once() {
    /// `mi_option_purge_delay` of mimalloc's `mimalloc.h`, versions 2 and 3, which the crate does not name.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    #[expect(unsafe_code, reason = "a setting of the allocator, made before there is another thread")]
    // SAFETY: the function stores a number under a known option; it has no other precondition.
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, 0);
    }
}

fn main() -> ExitCode {
    give_back_memory_at_once();
    let cli = Cli::parse();
    let common = cli.common.clone();
    let command = match cli.chosen() {
        Ok(command) => command,
        Err(error) => error.exit(),
    };
    match start(common, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::error(&error);
            let usage = error.is::<tollgate_config::ConfigError>() || error.is::<tollgate_config::PricesError>();
            ExitCode::from(if usage { EXIT_BAD_CONFIGURATION } else { 1 })
        }
    }
}

fn start(common: Common, command: Command) -> anyhow::Result<()> {
    // Both ring and aws-lc are linked, so rustls cannot choose by itself and would panic at first use.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("another TLS provider was installed before this one");
    }
    telemetry::install()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(perform(common, command))
}

async fn perform(common: Common, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => command::serve::run(common, args).await,
        Command::Demo(args) => command::demo::run(common, args).await,
        Command::Sql(args) => command::sql::run(common, args).await,
        Command::Search(args) => command::search::run(common, args).await,
        Command::Rebuild(args) => command::rebuild::run(common, args).await,
        Command::Report(report) => command::report::run(common, report).await,
        Command::Audit(audit) => command::audit::run(common, audit).await,
        Command::Lake(lake) => command::lake::run(common, lake).await,
        Command::Witness(args) => command::witness::run(common, args).await,
        Command::Key(key) => command::key::run(common, key).await,
        Command::Token(token) => command::token::run(common, token).await,
        Command::User(command) => command::people::user(common, command).await,
        Command::Team(command) => command::people::teams(common, command).await,
        Command::Metastore(command) => command::metastore::run(common, command).await,
        Command::Policy(policy) => command::policy::run(common, policy).await,
        Command::Cache(cache) => command::cache::run(common, cache).await,
        Command::Prices(prices) => command::prices::run(common, prices).await,
        Command::Config(config) => command::config::run(common, config),
        Command::MockProvider(args) => command::mock_provider::run(args).await,
    }
}
