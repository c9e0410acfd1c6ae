//! `tollgate metastore`: the database of keys, people and policies as a whole.

use anyhow::{Context as _, bail};
use clap::Subcommand;
use tollgate_metastore::LOCAL_AUTHOR;

use crate::cli::Common;
use crate::data_dir::DataDir;
use crate::terminal;

#[derive(Debug, Subcommand)]
pub(crate) enum MetastoreCommand {
    /// Copies everything into another, empty database, and compares both before it is kept. Stop the server first, and let
    /// its configuration name the new database afterwards.
    Move {
        /// Where everything is: `sqlite:PATH` or `postgres://…`.
        #[arg(long, value_name = "URL")]
        from: String,
        /// Where it is to be: `sqlite:PATH` or `postgres://…`.
        #[arg(long, value_name = "URL")]
        to: String,
    },
}

pub(crate) async fn run(common: Common, command: MetastoreCommand) -> anyhow::Result<()> {
    let MetastoreCommand::Move { from, to } = command;
    if DataDir::of_command(&common.data).is_ok_and(|data| data.running_server().is_some()) {
        bail!(
            "a server runs on `{}`; stop it first, or what it changes meanwhile would be left behind",
            common.data.display()
        );
    }
    if let Some(path) = from.strip_prefix("sqlite:")
        && !std::path::Path::new(path).exists()
    {
        // Opening it would make a new one.
        bail!("there is no file `{path}`; name the database that is to be moved");
    }
    if from == to {
        bail!("`--from` and `--to` name the same database");
    }
    let source = tollgate_metastore::open(&from).await.context("opening the database to move from")?;
    let target = tollgate_metastore::open(&to).await.context("opening the database to move to")?;
    let dump = source.dump().await?;
    let copied = target.fill(&dump).await?;
    // Whoever changed something while it was read has changed the old one only.
    if !source.dump().await?.holds_the_same(&dump) {
        bail!(
            "the old database was changed while it was copied; stop whatever uses it, empty the new one and start again"
        );
    }
    let rows: u64 = copied.iter().map(|table| table.rows).sum();
    let detail = format!("{rows} rows of {} tables", copied.len());
    target.record_change("metastore.moved", "metastore", &detail, LOCAL_AUTHOR).await?;
    if common.json {
        terminal::line(&serde_json::json!({"tables": copied, "rows": rows}).to_string());
        return Ok(());
    }
    for table in &copied {
        terminal::line(&format!("{:<18} {:>8} rows  {}", table.table, table.rows, &table.hash[..16]));
    }
    terminal::note(&format!(
        "{detail} are the same on both sides; let `metastore:` in the configuration name the new one"
    ));
    Ok(())
}
