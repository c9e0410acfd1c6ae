//! The command line: what can be asked for, and nothing about how it is done.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::command;

/// The AI gateway that keeps the books. Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, about, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// Configuration file; without it, the defaults.
    #[arg(long, global = true, value_name = "FILE", env = "TOLLGATE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Directory of everything that is kept on this machine.
    #[arg(long, global = true, value_name = "DIR", default_value = "tollgate-data", env = "TOLLGATE_DATA")]
    pub(crate) data: PathBuf,
    /// Prints JSON for machines.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the gateway, the log, the console and everything else.
    Serve(command::serve::ServeArgs),
    /// Serves with thirty days of made-up history and a trickle of made-up calls.
    Demo(command::demo::DemoArgs),
    /// Answers a SQL query over the log.
    Sql(command::sql::SqlArgs),
    /// Finds calls by words of their prompts and answers.
    Search(command::search::SearchArgs),
    /// Makes what is derived from the log anew, from the lake alone, or checks that it is what the lake says.
    Rebuild(command::rebuild::RebuildArgs),
    /// Writes an evidence pack.
    #[command(subcommand)]
    Report(command::report::ReportCommand),
    /// The proof that nothing was altered: verify it, prove one call, rotate the keys.
    #[command(subcommand)]
    Audit(command::audit::AuditCommand),
    /// The lake: how it stands, compaction, vacuum, retention, legal holds.
    #[command(subcommand)]
    Lake(command::lake::LakeCommand),
    /// Cosigns the checkpoints of other people's logs, as their second party.
    Witness(command::witness::WitnessArgs),
    /// Virtual keys of the gateway.
    #[command(subcommand)]
    Key(command::key::KeyCommand),
    /// Tokens for the console's API and the command line.
    #[command(subcommand)]
    Token(command::token::TokenCommand),
    /// The database of keys, people and policies: move it to another one.
    #[command(subcommand)]
    Metastore(command::metastore::MetastoreCommand),
    /// Policy bundles.
    #[command(subcommand)]
    Policy(command::policy::PolicyCommand),
    /// The price catalogue: check it, update it, explain a price, price again what was recorded.
    #[command(subcommand)]
    Prices(command::prices::PricesCommand),
    /// The configuration file.
    #[command(subcommand)]
    Config(command::config::ConfigCommand),
    /// A provider that answers with made-up text over HTTP, for tests and benchmarks.
    MockProvider(command::mock_provider::MockProviderArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
