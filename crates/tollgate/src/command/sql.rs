//! `tollgate sql`: one query over the log. Asks the running server, which also sees the rows that are still on their
//! way to the lake; without one it reads the lake.

use std::time::Duration;

use anyhow::Context as _;
use arrow::record_batch::RecordBatch;
use clap::{Args, ValueEnum};
use tollgate_analytics::{QueryLimits, output};

use crate::cli::Common;
use crate::data_dir::DataDir;
use crate::remote::Remote;
use crate::{terminal, wire};
use tollgate_config::Config;

#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// The query, over `interactions`, `payloads`, `control_events`, `access_events`, `log_gaps`,
    /// `price_corrections`, `feedback` and the view `costs`.
    query: String,
    /// Form of the result.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Largest number of rows.
    #[arg(long, default_value_t = 100_000)]
    max_rows: usize,
    /// URL of another machine's console.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// Form of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for people.
    Table,
    /// A JSON object with columns and rows.
    Json,
    /// Comma-separated values with a header.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
}

pub(crate) async fn run(common: Common, args: SqlArgs) -> anyhow::Result<()> {
    let data = DataDir::create(&common.data)?;
    let format = args.format.unwrap_or(if common.json { Format::Json } else { Format::Table });
    match Remote::find(args.url.as_deref(), &data)? {
        Some(remote) => ask_server(&remote, &args, format).await,
        None => read_lake(&common, &data, &args, format).await,
    }
}

async fn ask_server(remote: &Remote, args: &SqlArgs, format: Format) -> anyhow::Result<()> {
    let name = match format {
        Format::Table | Format::Arrow => "arrow",
        Format::Json => "json",
        Format::Csv => "csv",
    };
    let question = serde_json::json!({"query": args.query, "max_rows": args.max_rows});
    let answer = remote.post(&format!("/api/v1/sql?format={name}"), &question, "*/*").await?;
    if format != Format::Table {
        return Ok(terminal::bytes(&answer)?);
    }
    let reader = arrow::ipc::reader::StreamReader::try_new(std::io::Cursor::new(answer), None)
        .context("the server's answer is not an Arrow stream")?;
    print_table(&reader.collect::<Result<Vec<_>, _>>()?)
}

async fn read_lake(common: &Common, data: &DataDir, args: &SqlArgs, format: Format) -> anyhow::Result<()> {
    terminal::note(
        "no server runs on this data directory: this is the lake alone, without calls that wait in a write-ahead log",
    );
    let config = Config::load(common.config.as_deref())?;
    let analytics = wire::read_only_analytics(&config, data).await?;
    let limits = QueryLimits { max_rows: args.max_rows, timeout: Duration::from_secs(600), ..QueryLimits::default() };
    let result = analytics.sql(&args.query, limits).await?;
    if result.truncated {
        terminal::note("the result was cut; raise --max-rows or narrow the query");
    }
    match format {
        Format::Table => print_table(&result.batches)?,
        Format::Json => {
            let answer = serde_json::json!({
                "rows": output::to_json(&result.batches),
                "row_count": result.rows,
                "truncated": result.truncated,
                "elapsed_ms": result.elapsed_ms,
                "as_of": result.as_of,
            });
            terminal::line(&answer.to_string());
        }
        Format::Csv => terminal::bytes(&output::to_csv(&result.schema, &result.batches))?,
        Format::Arrow => terminal::bytes(&output::to_arrow_ipc(&result.schema, &result.batches)?)?,
    }
    Ok(())
}

fn print_table(batches: &[RecordBatch]) -> anyhow::Result<()> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    terminal::line(&arrow::util::pretty::pretty_format_batches(batches)?.to_string());
    terminal::note(&format!("{rows} {}", if rows == 1 { "row" } else { "rows" }));
    Ok(())
}
