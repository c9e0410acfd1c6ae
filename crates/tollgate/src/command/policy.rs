//! `tollgate policy`: checks and tries a bundle before anything depends on it, shows what another would change, puts one in
//! force and takes it back.

mod check;
mod history;
mod revisions;
mod simulate;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use fs_err as fs;
use tollgate_config::Config;
use tollgate_policy::bundle::{self, Bundle, Change, ChangeKind};

use crate::cli::Common;
use crate::terminal;

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Reads a bundle and reports the first mistake; with --config also names of models that nothing there has, and whether each
    /// class of data can go to each target.
    Check {
        /// The bundle.
        file: PathBuf,
    },
    /// Runs the test vectors inside a bundle.
    Test {
        /// The bundle.
        file: PathBuf,
    },
    /// Shows what a bundle says otherwise than another: rules added, removed and changed.
    Diff {
        /// The bundle.
        file: PathBuf,
        /// The other: a file, or the hash or revision of a bundle that was in force. Default: the active one.
        #[arg(long, value_name = "FILE|HASH|REVISION")]
        against: Option<String>,
    },
    /// Shows what a bundle would have decided about the calls of the past; fails if that goes beyond a stated limit.
    Simulate(simulate::SimulateArgs),
    /// Makes a bundle the active one, if its test vectors pass. A running server takes it up within a second, without
    /// breaking off a call.
    #[command(visible_alias = "put")]
    Activate {
        /// The bundle.
        file: PathBuf,
        #[command(flatten)]
        signed: Signed,
    },
    /// Makes a bundle active again that was before. Once more goes one further back.
    Rollback {
        /// Its hash, or the number of its revision (`tollgate policy list`). Default: the one before the active one.
        #[arg(long, value_name = "HASH|REVISION")]
        to: Option<String>,
        #[command(flatten)]
        signed: Signed,
    },
    /// Lists the bundles that were put in force, the active one first.
    List,
    /// Prints a bundle that was in force, as it was written.
    Show {
        /// Its hash, or the number of its revision. Default: the active one.
        of: Option<String>,
    },
    /// Prints the JSON Schema of bundles, for editors.
    Schema,
}

/// Who changes policy, and why: both go into the log.
#[derive(Debug, Args)]
pub(crate) struct Signed {
    /// Why, for the record.
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) reason: String,
    /// Who, for the record. Default: the user of this machine.
    #[arg(long)]
    pub(crate) author: Option<String>,
}

impl Signed {
    fn author(&self) -> String {
        let user = || std::env::var("USER").unwrap_or_else(|_| tollgate_metastore::LOCAL_AUTHOR.to_owned());
        self.author.clone().unwrap_or_else(user)
    }
}

pub(crate) async fn run(common: Common, command: PolicyCommand) -> anyhow::Result<()> {
    if common.config.is_some() {
        // A bundle may want the classifier that the configuration names.
        Config::load(common.config.as_deref())?.install_classifier()?;
    }
    match command {
        PolicyCommand::Check { file } => check::run(&common, &file),
        PolicyCommand::Test { file } => test(&load(&file)?.1, common.json),
        PolicyCommand::Diff { file, against } => diff(&common, &file, against.as_deref()).await,
        PolicyCommand::Activate { file, signed } => {
            let (yaml, bundle) = load(&file)?;
            test(&bundle, false)?;
            check::against_configuration(&common, &file, &bundle)?;
            revisions::put(&common, &yaml, &signed).await
        }
        PolicyCommand::Simulate(args) => simulate::run(&common, args).await,
        PolicyCommand::Rollback { to, signed } => revisions::roll_back(&common, to.as_deref(), &signed).await,
        PolicyCommand::List => revisions::list(&common).await,
        PolicyCommand::Show { of } => {
            terminal::line(revisions::yaml_of(&common, of.as_deref()).await?.trim_end());
            Ok(())
        }
        PolicyCommand::Schema => {
            terminal::line(&serde_json::to_string_pretty(&bundle::json_schema())?);
            Ok(())
        }
    }
}

/// Reads a bundle, as its text and as what it means.
fn load(file: &Path) -> anyhow::Result<(String, Bundle)> {
    let yaml = fs::read_to_string(file)?;
    let bundle = bundle::load(&yaml).with_context(|| format!("`{}` is not a valid bundle", file.display()))?;
    Ok((yaml, bundle))
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

async fn diff(common: &Common, file: &Path, against: Option<&str>) -> anyhow::Result<()> {
    let (new, _) = load(file)?;
    let old = match against.map(Path::new).filter(|path| path.is_file()) {
        Some(path) => load(path)?.0,
        None => revisions::yaml_of(common, against).await?,
    };
    let changes = bundle::diff(&old, &new)?;
    if common.json {
        terminal::line(&serde_json::to_string(&changes)?);
        return Ok(());
    }
    if changes.is_empty() {
        terminal::note("the two bundles mean the same");
    }
    let mut section = "";
    for change in &changes {
        if change.section != section {
            section = &change.section;
            terminal::line(section);
        }
        show(change);
    }
    Ok(())
}

fn show(change: &Change) {
    let sign = match change.kind {
        ChangeKind::Added => '+',
        ChangeKind::Removed => '-',
        ChangeKind::Changed => '~',
        ChangeKind::Moved => '↕',
    };
    terminal::line(format!("  {sign} {}", change.rule).trim_end());
    for line in change.lines() {
        terminal::line(&format!("      {line}"));
    }
}
