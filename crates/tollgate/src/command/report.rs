//! `tollgate report`: evidence packs, written by this process from the same rows the running server would read.

mod residency;

use std::path::PathBuf;

use anyhow::Context as _;
use chrono::{DateTime, NaiveDate, Utc};
use clap::{Args, Subcommand};

use crate::cli::Common;
use crate::data_dir::DataDir;
use crate::{terminal, wire};
use tollgate_config::Config;
use tollgate_evidence::RecordKeepingRequest;

#[derive(Debug, Subcommand)]
pub(crate) enum ReportCommand {
    /// Record-keeping under the EU AI Act (Articles 12, 19 and 26).
    RecordKeeping(RecordKeepingArgs),
    /// Data residency: which targets were kept from which calls, and every call that went where its bundle does not let it.
    Residency(residency::ResidencyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RecordKeepingArgs {
    /// First moment covered: `2026-11-01` or `2026-11-01T00:00:00Z`.
    #[arg(long, value_parser = moment)]
    from: DateTime<Utc>,
    /// First moment no longer covered.
    #[arg(long, value_parser = moment)]
    to: DateTime<Utc>,
    /// Directory to write to; must not exist or be empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Who operates the system, as printed on the report.
    #[arg(long, default_value = "")]
    organisation: String,
    /// The AI system the log belongs to.
    #[arg(long, default_value = "")]
    system: String,
    /// Who asked for the report.
    #[arg(long, default_value = "")]
    requested_by: String,
    /// On what ground, such as a file number.
    #[arg(long, default_value = "")]
    reference: String,
}

pub(crate) async fn run(common: Common, command: ReportCommand) -> anyhow::Result<()> {
    let args = match command {
        ReportCommand::RecordKeeping(args) => args,
        ReportCommand::Residency(args) => return residency::run(common, args).await,
    };
    let data = DataDir::create(&common.data)?;
    let config = Config::load(common.config.as_deref())?;
    let analytics = wire::read_only_analytics(&config, &data).await?;
    let request = RecordKeepingRequest {
        from_us: args.from.timestamp_micros(),
        to_us: args.to.timestamp_micros(),
        generated_at_us: Utc::now().timestamp_micros(),
        organisation: args.organisation,
        system: args.system,
        requested_by: args.requested_by,
        reference: args.reference,
    };
    let summary = tollgate_evidence::record_keeping(&analytics, request, &args.out)
        .await
        .with_context(|| format!("writing the pack to `{}`", args.out.display()))?;
    if common.json {
        terminal::line(&serde_json::to_string(&summary)?);
    } else {
        terminal::line(&summary.dir.display().to_string());
        terminal::note(&format!(
            "{} files of {} rows; manifest.json has the hash of each",
            summary.files.len(),
            summary.totals.rows
        ));
        for finding in &summary.findings {
            terminal::note(&format!("finding: {finding}"));
        }
    }
    if data.running_server().is_some() {
        terminal::note("rows of the last seconds may still be on their way to the lake and are not in the pack");
    }
    Ok(())
}

/// A day or a time of the command line.
pub(super) fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(day) = text.parse::<NaiveDate>() {
        return day.and_hms_opt(0, 0, 0).map(|midnight| midnight.and_utc()).ok_or_else(|| "no such day".to_owned());
    }
    text.parse().map_err(|_| format!("`{text}` is neither a day (2026-11-01) nor a time (2026-11-01T00:00:00Z)"))
}
