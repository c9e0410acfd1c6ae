//! `tollgate policy`: checks a bundle before anything depends on it.

mod simulate;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use fs_err as fs;
use tollgate_config::Config;
use tollgate_policy::bundle::{self, Bundle};

use crate::cli::Common;
use crate::data_dir::DataDir;
use crate::{terminal, wire};

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Reads a bundle and reports the first mistake.
    Check {
        /// The bundle.
        file: PathBuf,
    },
    /// Runs the test vectors inside a bundle.
    Test {
        /// The bundle.
        file: PathBuf,
    },
    /// Shows what a bundle would have decided about the calls of the past; fails if that goes beyond a stated limit.
    Simulate(simulate::SimulateArgs),
    /// Makes a bundle the active one, if its test vectors pass. A running server takes it up within a second.
    Put {
        /// The bundle.
        file: PathBuf,
        /// Why, for the record.
        #[arg(long)]
        reason: String,
    },
}

pub(crate) async fn run(common: Common, command: PolicyCommand) -> anyhow::Result<()> {
    let command = match command {
        PolicyCommand::Simulate(args) => return simulate::run(&common, args).await,
        other => other,
    };
    let (PolicyCommand::Check { file } | PolicyCommand::Test { file } | PolicyCommand::Put { file, .. }) = &command
    else {
        return Ok(());
    };
    let yaml = fs::read_to_string(file)?;
    let bundle = bundle::load(&yaml).with_context(|| format!("`{}` is not a valid bundle", file.display()))?;
    match &command {
        PolicyCommand::Check { .. } => {
            terminal::line(&format!("{}: no mistake found; bundle {}", file.display(), bundle.hash));
        }
        PolicyCommand::Test { .. } => test(&bundle, common.json)?,
        PolicyCommand::Put { reason, .. } => {
            test(&bundle, false)?;
            put(&common, &yaml, reason).await?;
        }
        PolicyCommand::Simulate(_) => {}
    }
    Ok(())
}

fn test(bundle: &Bundle, json: bool) -> anyhow::Result<()> {
    let results = bundle::run_tests(bundle);
    let failed = results.iter().filter(|result| result.failure.is_some()).count();
    for result in &results {
        let verdict = result.failure.as_deref().map_or_else(|| "ok".to_owned(), |failure| format!("FAILED: {failure}"));
        terminal::note(&format!("{}  {verdict}", result.name));
    }
    if json {
        terminal::line(&serde_json::json!({"passed": results.len() - failed, "failed": failed}).to_string());
    }
    if failed > 0 {
        bail!("{failed} of {} test vectors failed", results.len());
    }
    terminal::note(&format!("{} test vectors passed", results.len()));
    Ok(())
}

async fn put(common: &Common, yaml: &str, reason: &str) -> anyhow::Result<()> {
    let data = DataDir::of_command(&common.data)?;
    let config = Config::load(common.config.as_deref())?;
    let own = config.policies.as_ref().map(|configured| configured.value.clone());
    if let Some(file) = own.or_else(|| data.running_server().and_then(|server| server.policies)) {
        bail!(
            "the server's configuration names `{file}`, which is put in place at every start; edit that file instead"
        );
    }
    let metastore = wire::open_metastore(&config, &data).await?;
    let author = std::env::var("USER").unwrap_or_else(|_| "local".to_owned());
    let revision = metastore.put_bundle(yaml, &author, reason).await?;
    terminal::line(&format!("bundle {} is active", revision.hash));
    Ok(())
}
