//! `tollgate lake`: how the lake stands, compaction, vacuum, retention and legal holds by hand.

use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use tollgate_config::Config;
use tollgate_lake::retain::HoldScope;
use tollgate_lake::{Lake, LakeStatus, Mode};
use tollgate_metastore::LOCAL_AUTHOR;

use crate::cli::Common;
use crate::data_dir::DataDir;
use crate::terminal;
use crate::wire::{self, open_metastore, open_store};

/// What about the lake.
#[derive(Debug, Subcommand)]
pub(crate) enum LakeCommand {
    /// Shows tables, files by level, and what waits or was rejected.
    Status,
    /// Merges small files into large ones, for every window that is over. A running server does so by itself.
    Compact,
    /// Deletes files that have been out of every table for a while. A running server does so by itself.
    Vacuum {
        /// Hours that a file must have been out of the tables; at least 1.
        #[arg(long, value_name = "HOURS")]
        older_than_hours: Option<u64>,
        /// Lists the files and deletes none.
        #[arg(long)]
        dry_run: bool,
    },
    /// Lists what retention lets go today, and what legal holds keep. A running server lets it go by itself.
    Expire {
        /// Required: what expires is taken away by the server, which announces it in the log first.
        #[arg(long, required = true)]
        dry_run: bool,
    },
    /// Legal holds: what they cover does not expire.
    #[command(subcommand)]
    Hold(HoldCommand),
}

/// What about legal holds.
#[derive(Debug, Subcommand)]
pub(crate) enum HoldCommand {
    /// Places a hold.
    Place {
        /// The matter it is for; its name.
        matter: String,
        /// Only calls of this team.
        #[arg(long)]
        team: Option<String>,
        /// Only calls of this day or later, `2026-11-23`.
        #[arg(long, value_name = "DAY")]
        from: Option<chrono::NaiveDate>,
        /// Only calls before this day.
        #[arg(long, value_name = "DAY")]
        to: Option<chrono::NaiveDate>,
    },
    /// Releases a hold.
    Release {
        /// The matter.
        matter: String,
    },
    /// Lists the holds that last.
    List,
}

/// Runs it.
///
/// # Errors
/// If the lake or the metastore cannot be reached.
pub(crate) async fn run(common: Common, command: LakeCommand) -> anyhow::Result<()> {
    let config = Config::load(common.config.as_deref())?;
    let data = DataDir::of_command(&common.data)?;
    match command {
        LakeCommand::Status => {
            let status = open(&config, &data, Mode::ReadOnly).await?.status().await?;
            show(common.json, &status, status_lines)
        }
        LakeCommand::Compact => {
            let lake = open(&config, &data, Mode::Committer).await?;
            let report = lake.compact(chrono::Utc::now().timestamp_micros(), usize::MAX).await?;
            show(common.json, &report, |report| {
                vec![format!(
                    "{} files ({} bytes) became {} ({} bytes) in {} commits",
                    report.files_before, report.bytes_before, report.files_after, report.bytes_after, report.commits
                )]
            })
        }
        LakeCommand::Vacuum { older_than_hours, dry_run } => {
            let hours = older_than_hours.unwrap_or(config.log.keep_removed_hours);
            let lake = open(&config, &data, Mode::Committer).await?;
            let report = lake.vacuum(Duration::from_secs(hours * 3_600), dry_run).await?;
            let verb = if dry_run { "would be deleted" } else { "deleted" };
            show(common.json, &report, |report| {
                let mut lines = report.files.clone();
                lines.push(format!(
                    "{} files ({} bytes) {verb}; {} are too young",
                    report.files.len(),
                    report.bytes,
                    report.waiting
                ));
                lines
            })
        }
        LakeCommand::Expire { dry_run: _ } => {
            let metastore = open_metastore(&config, &data).await?;
            let policy = wire::retention_policy(wire::retention_classes(&config), metastore.as_ref()).await?;
            let lake = open(&config, &data, Mode::ReadOnly).await?;
            let expiries = lake.expired(&policy, chrono::Utc::now().timestamp_micros()).await?;
            show(common.json, &expiries, |expiries| {
                let line = |expiry: &tollgate_lake::retain::Expiry| {
                    format!(
                        "{} {} team {} (class {}): {} rows go, {} are held",
                        expiry.day, expiry.table, expiry.team, expiry.class, expiry.rows, expiry.held
                    )
                };
                if expiries.is_empty() {
                    vec!["nothing expires".to_owned()]
                } else {
                    expiries.iter().map(line).collect()
                }
            })
        }
        LakeCommand::Hold(command) => hold(&config, &data, common.json, command).await,
    }
}

async fn hold(config: &Config, data: &DataDir, json: bool, command: HoldCommand) -> anyhow::Result<()> {
    let metastore = open_metastore(config, data).await?;
    match command {
        HoldCommand::Place { matter, team, from, to } => {
            if let (Some(from), Some(to)) = (from, to) {
                anyhow::ensure!(
                    from < to,
                    "a hold from {from} to {to} covers no day: `--to` is the first day after it"
                );
            }
            let us = |day: chrono::NaiveDate| day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros();
            let scope = HoldScope { team, from_us: from.map(us), to_us: to.map(us) };
            metastore.place_hold(&matter, &serde_json::to_string(&scope)?, LOCAL_AUTHOR).await?;
            terminal::note(&format!("what the hold `{matter}` covers does not expire until it is released"));
            Ok(())
        }
        HoldCommand::Release { matter } => Ok(metastore.release_hold(&matter, LOCAL_AUTHOR).await?),
        HoldCommand::List => {
            let holds = metastore.list_holds().await?;
            show(json, &holds, |holds| {
                let line = |hold: &tollgate_metastore::LegalHold| {
                    format!("{}  {}  placed by {}", hold.matter, hold.scope, hold.author)
                };
                holds.iter().map(line).collect()
            })
        }
    }
}

async fn open(config: &Config, data: &DataDir, mode: Mode) -> anyhow::Result<std::sync::Arc<Lake>> {
    Lake::open(open_store(config, data)?, mode).await.context("opening the lake; is this the right --data or --config?")
}

fn show<T: serde::Serialize>(json: bool, value: &T, lines: impl FnOnce(&T) -> Vec<String>) -> anyhow::Result<()> {
    if json {
        terminal::line(&serde_json::to_string_pretty(value)?);
    } else {
        lines(value).iter().for_each(|line| terminal::line(line));
    }
    Ok(())
}

fn status_lines(status: &LakeStatus) -> Vec<String> {
    let width = status.tables.iter().map(|table| table.table.len()).max().unwrap_or(0).max("table".len());
    let mut lines = vec![
        status.url.clone(),
        format!(
            "{:width$} {:>9} {:>12} {:>15}  files of flushes / 15 min / hours / days",
            "table", "version", "rows", "bytes"
        ),
    ];
    for table in &status.tables {
        let [fresh, quarters, hours, days] = table.files_by_level;
        lines.push(format!(
            "{:width$} {:>9} {:>12} {:>15}  {fresh} / {quarters} / {hours} / {days}",
            table.table, table.version, table.rows, table.bytes
        ));
    }
    lines.push(format!(
        "{} manifests wait in the inbox; {} batches are in the log of the proof",
        status.inbox, status.log_size
    ));
    lines.extend(status.rejected.iter().map(|path| format!("rejected: {path}")));
    lines
}
