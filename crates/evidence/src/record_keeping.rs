//! The record-keeping report: what Articles 12, 19 and 26 of Regulation (EU) 2024/1689 ask a log to show, for a period.

use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tollgate_analytics::output::{self, ParquetRows};
use tollgate_analytics::report::{AsOf, TimeRange};
use tollgate_analytics::{Analytics, Reading};
use tollgate_interaction::schema;

use crate::completeness::Completeness;
use crate::error::EvidenceError;
use crate::figures::{self, Figures, STATEMENTS};
use crate::html;
use crate::pack::{ControlTotals, Folder, HashedFile, PackFile, PackSummary};

/// Version of the pack's form.
const FORMAT: u32 = 1;
/// Beyond this many rows a day is read hour by hour, so that sorting it stays within the engine's memory.
const ROWS_SORTED_AT_ONCE: u64 = 50_000;
const US_PER_HOUR: i64 = 3_600_000_000;

const PARQUET: &str = "data/interactions.parquet";
const CSV: &str = "data/interactions.csv";

/// What the report is about. Texts that are empty are printed as "not stated".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordKeepingRequest {
    /// First microsecond of the period (since 1970, UTC).
    pub from_us: i64,
    /// First microsecond after it.
    pub to_us: i64,
    /// When the report is made.
    pub generated_at_us: i64,
    /// Who operates the system.
    #[serde(default)]
    pub organisation: String,
    /// The AI system the log belongs to.
    #[serde(default)]
    pub system: String,
    /// Who asked for the report.
    #[serde(default)]
    pub requested_by: String,
    /// On what ground, such as a file number.
    #[serde(default)]
    pub reference: String,
}

/// Makes the report from the log as it is now and writes it as a pack into `out_dir`, which must not exist or be empty.
/// The folder appears under its name only when the pack is whole.
///
/// # Errors
/// [`EvidenceError`].
pub fn record_keeping(
    analytics: &Analytics,
    request: RecordKeepingRequest,
    out_dir: &Path,
) -> BoxFuture<'static, Result<PackSummary, EvidenceError>> {
    let (reading, out_dir) = (analytics.reading(), out_dir.to_owned());
    async move {
        let runtime = tokio::runtime::Handle::current();
        // Files are hashed and compressed as they are written: that holds a thread.
        let work = tokio::task::spawn_blocking(move || runtime.block_on(write(reading, request, out_dir)));
        work.await.map_err(|_| EvidenceError::Stopping)?
    }
    .boxed()
}

/// What `manifest.json` holds.
#[derive(Serialize)]
struct Manifest<'a> {
    report: &'static str,
    format: u32,
    generator: String,
    generated_at: String,
    from: String,
    to: String,
    organisation: &'a str,
    system: &'a str,
    requested_by: &'a str,
    reference: &'a str,
    filter: String,
    as_of: AsOf,
    schema_version: u16,
    control_totals: &'a ControlTotals,
    completeness: &'a Completeness,
    findings: &'a [String],
    redactions: &'static str,
    files: &'a [PackFile],
}

async fn write(
    reading: Reading,
    request: RecordKeepingRequest,
    out_dir: PathBuf,
) -> Result<PackSummary, EvidenceError> {
    let range = TimeRange::new(request.from_us, request.to_us);
    if range.length_us() == 0 {
        return Err(EvidenceError::EmptyPeriod);
    }
    let mut folder = Folder::begin(&out_dir)?;
    let figures = Figures::of(&reading, range).await?;
    let completeness = Completeness::of(&reading, range).await?;
    let written = write_rows(&reading, range, &figures, &mut folder).await?;
    let mut findings = completeness.findings();
    if written != figures.totals.rows {
        findings.push(format!("the totals count {} records and the data files hold {written}", figures.totals.rows));
    }
    write_dictionary(&mut folder)?;
    write_statements(range, &mut folder)?;
    let page = html::page(&request, &reading, &figures, &completeness, &findings, folder.files())?;
    folder.write("report.html", "the report", None, page.as_bytes())?;
    folder.write(
        "VERIFY.md",
        "how to check this pack without our software",
        None,
        html::verify(&request, &figures).as_bytes(),
    )?;
    let manifest = Manifest {
        report: "record-keeping",
        format: FORMAT,
        generator: generator(),
        generated_at: figures::time(request.generated_at_us),
        from: figures::time(range.from_us),
        to: figures::time(range.to_us),
        organisation: &request.organisation,
        system: &request.system,
        requested_by: &request.requested_by,
        reference: &request.reference,
        filter: figures::condition(range),
        as_of: reading.as_of(),
        schema_version: schema::SCHEMA_VERSION,
        control_totals: &figures.totals,
        completeness: &completeness,
        findings: &findings,
        redactions: "none; requests and responses are not part of the pack, end users appear as keyed hashes",
        files: folder.files(),
    };
    let manifest = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    folder.write("manifest.json", "what the pack holds, with hashes and control totals", None, &manifest)?;
    let as_of = reading.as_of();
    let (dir, files) = folder.finish()?;
    Ok(PackSummary {
        dir,
        files,
        totals: figures.totals,
        lake_version: as_of.lake_version,
        hot_rows: as_of.hot_rows,
        findings,
    })
}

pub(crate) fn generator() -> String {
    format!("tollgate {}", env!("CARGO_PKG_VERSION"))
}

/// The same rows in two formats, oldest first. Returns how many.
async fn write_rows(
    reading: &Reading,
    range: TimeRange,
    figures: &Figures,
    folder: &mut Folder,
) -> Result<u64, EvidenceError> {
    let columns = schema::interactions();
    let parquet_failed = |source| EvidenceError::Rows { path: PathBuf::from(PARQUET), source };
    let mut parquet = ParquetRows::new(folder.file(PARQUET)?, &columns).map_err(parquet_failed)?;
    let mut csv = folder.file(CSV)?;
    write_text(folder, &mut csv, &output::csv_header(&columns))?;
    let mut rows = 0;
    for part in parts(range, figures) {
        let sql = format!(
            "SELECT * FROM interactions WHERE {} ORDER BY started_at, interaction_id",
            figures::condition(part)
        );
        let mut batches = reading.stream("record_keeping", &sql);
        while let Some(batch) = batches.try_next().await? {
            parquet.write(&batch).map_err(parquet_failed)?;
            let mut text = String::new();
            output::csv_rows(&batch, &mut text);
            write_text(folder, &mut csv, &text)?;
            rows += rows_of(&batch);
        }
    }
    let parquet = parquet.finish().map_err(parquet_failed)?;
    folder.close(PARQUET, "the records of the period, every column", Some(rows), parquet)?;
    folder.close(CSV, "the same records as text", Some(rows), csv)?;
    Ok(rows)
}

fn write_text(folder: &Folder, file: &mut HashedFile, text: &str) -> Result<(), EvidenceError> {
    use std::io::Write;
    file.write_all(text.as_bytes()).map_err(|source| folder.failed(CSV, source))
}

/// Rows of a batch that have an id: all of them, counted from the data rather than taken from its header.
fn rows_of(batch: &RecordBatch) -> u64 {
    let ids = batch.column_by_name("interaction_id").and_then(|ids| ids.as_string_opt::<i32>());
    ids.map_or(0, |ids| (ids.len() - ids.null_count()) as u64)
}

/// The days of the period that have rows, long ones cut into hours.
fn parts(range: TimeRange, figures: &Figures) -> Vec<TimeRange> {
    let mut parts = Vec::new();
    for day in &figures.by_day {
        let Some(number) = tollgate_lake::day_from_text(&day.text("day")) else { continue };
        let start_us = i64::from(number) * 24 * US_PER_HOUR;
        let step_us = if day.count("rows") > ROWS_SORTED_AT_ONCE { US_PER_HOUR } else { 24 * US_PER_HOUR };
        for step in 0..24 * US_PER_HOUR / step_us {
            let from_us = (start_us + step * step_us).max(range.from_us);
            let to_us = (start_us + (step + 1) * step_us).min(range.to_us);
            if from_us < to_us {
                parts.push(TimeRange::new(from_us, to_us));
            }
        }
    }
    parts
}

/// What every column means.
fn write_dictionary(folder: &mut Folder) -> Result<(), EvidenceError> {
    let mut text = "column,type,may_be_null,meaning\r\n".to_owned();
    for column in html::dictionary() {
        let quoted = |value: &str| format!("\"{}\"", value.replace('"', "\"\""));
        let line = [quoted(column.name), quoted(&column.kind), column.nullable.to_string(), quoted(column.meaning)];
        text.push_str(&line.join(","));
        text.push_str("\r\n");
    }
    let rows = html::dictionary().len() as u64;
    folder.write("dictionary/interactions.csv", "the meaning of every column", Some(rows), text.as_bytes())
}

/// The statements that the figures come from, runnable over the data file.
fn write_statements(range: TimeRange, folder: &mut Folder) -> Result<(), EvidenceError> {
    for statement in STATEMENTS {
        let text = format!(
            "-- Shows {}.\n-- In DuckDB, first: CREATE VIEW interactions AS SELECT * FROM 'data/interactions.parquet';\n{};\n",
            statement.shows,
            statement.sql(range)
        );
        folder.write(&format!("queries/{}.sql", statement.name), statement.shows, None, text.as_bytes())?;
    }
    Ok(())
}
