//! `tollgate prices`: the price catalogue. Checks it, puts an update in place of the one in use, says why a call costs what
//! it costs, and prices again what was recorded.

mod check;
mod explain;
mod place;
mod reprice;
mod update;

use std::path::PathBuf;

use clap::Subcommand;
use tollgate_config::Config;
use tollgate_provider::price::{CatalogDocument, CatalogFiles, Finding, Severity, check};

use crate::cli::Common;
use crate::terminal;

/// A file of the catalogue's form; docs/prices.md says what else it can hold.
const EXAMPLE: &str = "A file of prices; dollars per million tokens, as numbers or, to be exact, as text:

  provider: mine              # the name of an entry of `providers`, or a list that `price_as` names
  source: contract 4711       # where the prices are from
  checked: 2026-11-26         # when somebody last looked
  models:
    - id: my-model
      prices:
        - {from: 2026-11-01, input: \"0.4\", output: \"1.6\", cache_read: \"0.1\",
           above: [{input_tokens: 200000, input: \"0.8\", output: \"2.4\"}]}

Name it in the configuration (`catalog: {prices: FILE}`): a running server takes up each change of it within seconds. Calls that
were recorded before keep their cost until `tollgate prices reprice`.";

#[derive(Debug, Subcommand)]
pub(crate) enum PricesCommand {
    /// Looks for mistakes in a catalogue, or says what the one in use holds.
    #[command(after_help = EXAMPLE)]
    Check {
        /// A YAML file of the catalogue's form, or a folder of them; without it, the catalogue in use.
        path: Option<PathBuf>,
    },
    /// Shows what other catalogue files would change, and puts them in place. A running server takes them up within
    /// seconds, and its sidecars after it.
    Update(update::UpdateArgs),
    /// Says which price applies to a call, where it is from, and what it makes of the tokens.
    Explain(Box<explain::ExplainArgs>),
    /// Prices recorded calls by today's catalogue and appends a correction for each whose cost is another.
    Reprice(reprice::RepriceArgs),
}

pub(crate) async fn run(common: Common, command: PricesCommand) -> anyhow::Result<()> {
    let config = Config::load(common.config.as_deref())?;
    match command {
        PricesCommand::Check { path } => check::run(&common, &config, path.as_deref()),
        PricesCommand::Update(args) => update::run(&common, &config, args).await,
        PricesCommand::Explain(args) => explain::run(&common, &config, &args),
        PricesCommand::Reprice(args) => reprice::run(&common, &config, args).await,
    }
}

/// What is in the files, and what is wrong with it.
struct Checked {
    documents: Vec<CatalogDocument>,
    findings: Vec<Finding>,
}

impl Checked {
    /// A file that cannot be read is a finding like any other, so that all of them are told at once.
    fn of(files: &CatalogFiles) -> Checked {
        let mut checked = Checked { documents: Vec::new(), findings: Vec::new() };
        for file in files.files() {
            match CatalogDocument::from_yaml(&file.name, &file.text) {
                Ok(document) => checked.documents.push(document),
                Err(error) => checked.findings.push(Finding {
                    severity: Severity::Wrong,
                    file: file.name.clone(),
                    provider: String::new(),
                    model: None,
                    what: with_causes(&error),
                }),
            }
        }
        checked.findings.extend(check(&checked.documents));
        checked
    }

    fn wrong(&self) -> usize {
        self.findings.iter().filter(|finding| finding.severity == Severity::Wrong).count()
    }

    fn rows(&self) -> usize {
        self.documents.iter().map(CatalogDocument::rows).sum()
    }

    fn models(&self) -> usize {
        self.documents.iter().map(CatalogDocument::models).sum()
    }

    fn print(&self) {
        for finding in &self.findings {
            terminal::line(&finding.to_string());
        }
    }

    fn summary(&self) -> String {
        format!(
            "{}, {}, {}: {} wrong, {} suspicious",
            counted(self.documents.len(), "provider"),
            counted(self.models(), "model"),
            counted(self.rows(), "price row"),
            self.wrong(),
            self.findings.len() - self.wrong()
        )
    }

    fn as_json(&self) -> serde_json::Value {
        serde_json::json!({
            "providers": self.documents.len(),
            "models": self.models(),
            "rows": self.rows(),
            "wrong": self.wrong(),
            "suspicious": self.findings.len() - self.wrong(),
            "findings": self.findings,
        })
    }
}

/// `1 model`, `2 models`.
fn counted(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// The line and column are in the cause.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
