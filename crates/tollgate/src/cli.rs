//! The command line: what can be asked for, and nothing about how it is done.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use tollgate_console::unpriced::word;

use crate::command;

/// The AI gateway that keeps the books. Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, about, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Of `serve`, which is what the program does without a command.
    #[command(flatten)]
    pub(crate) serve: command::serve::ServeArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

impl Cli {
    /// The command, `serve` without one.
    ///
    /// # Errors
    /// If options of `serve` stand before another command.
    pub(crate) fn chosen(self) -> Result<Command, clap::Error> {
        match self.command {
            None => Ok(Command::Serve(self.serve)),
            Some(Command::Serve(args)) => Ok(Command::Serve(args.or(self.serve))),
            Some(Command::Demo(args)) => Ok(Command::Demo(args.at(self.serve))),
            Some(command) if self.serve.is_empty() => Ok(command),
            Some(_) => Err(Cli::command().error(
                clap::error::ErrorKind::ArgumentConflict,
                "`--gateway` and `--console` are addresses that `serve` and `demo` listen on; this command listens nowhere",
            )),
        }
    }
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// Configuration file; without it, the defaults.
    #[arg(long, global = true, value_name = "FILE", env = "TOLLGATE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Directory of everything that is kept on this machine.
    #[arg(long, global = true, value_name = "DIR", default_value = DEFAULT_DATA, env = "TOLLGATE_DATA")]
    pub(crate) data: PathBuf,
    /// Prints JSON for machines.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// The data directory, unless another is named.
const DEFAULT_DATA: &str = "tollgate-data";

impl Common {
    /// How a command begins that is about the same configuration and data: `tollgate --config tollgate.yaml`.
    pub(crate) fn program(&self) -> String {
        let mut program = "tollgate".to_owned();
        if let Some(config) = &self.config {
            program.push_str(&format!(" --config {}", word(&config.to_string_lossy())));
        }
        if self.data != Path::new(DEFAULT_DATA) {
            program.push_str(&format!(" --data {}", word(&self.data.to_string_lossy())));
        }
        program
    }
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
    /// People: list them, give them roles and teams.
    #[command(subcommand)]
    User(command::people::UserCommand),
    /// Teams.
    #[command(subcommand)]
    Team(command::people::TeamCommand),
    /// The database of keys, people and policies: move it to another one.
    #[command(subcommand)]
    Metastore(command::metastore::MetastoreCommand),
    /// Policy bundles.
    #[command(subcommand)]
    Policy(command::policy::PolicyCommand),
    /// Answers that are kept to be given again: how they stand, and forgetting them.
    #[command(subcommand)]
    Cache(command::cache::CacheCommand),
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
    use super::*;

    fn parsed(line: &str) -> Command {
        Cli::try_parse_from(line.split(' ')).unwrap().chosen().unwrap()
    }

    #[test]
    fn an_address_may_stand_before_serve_or_without_it() {
        for line in ["tollgate --gateway h:1", "tollgate serve --gateway h:1", "tollgate --gateway h:1 serve"] {
            let Command::Serve(args) = parsed(line) else { panic!("`{line}` does not serve") };
            assert_eq!(args.gateway.as_deref(), Some("h:1"), "{line}");
        }
        assert!(
            matches!(parsed("tollgate --console h:1 demo"), Command::Demo(args) if args.console.as_deref() == Some("h:1"))
        );
    }

    #[test]
    fn an_address_before_a_command_that_listens_nowhere_is_refused_by_name() {
        let cli = Cli::try_parse_from(["tollgate", "--gateway", "h:1", "key", "list"]).unwrap();
        let error = cli.chosen().unwrap_err().to_string();
        assert!(error.contains("`serve` and `demo` listen on"), "{error}");
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
