//! Budget: from the log to committed Parquet files, at most 1.5 times the processor time that pyarrow takes to write the
//! same rows from memory, with 4 KiB of payload each way; and 20,000 calls a second on two quiet processors.
//!
//! A log is filled first. Then flusher and committer start, with the settings a server has, and everything they and
//! their process do until the last call is a row counts: reading and decoding the log, transcripts, commitments, Arrow,
//! Parquet, hashing files, `fsync`, Delta commits, the proof's log. pyarrow gets the tables in memory and writes two
//! files, with our compression levels, row groups, dictionaries and statistics. The rounds take turns.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tollgate_interaction::schema::Table;
use tollgate_lake::LakeSnapshot;

use super::{median, microseconds};
use crate::dataset::{Call, DAY_BEGINS_US, Ordinary, Prose, Random};
use crate::report::{Budget, Report, short};
use crate::server::{own_cpu, own_memory};
use crate::stage::{self, Stage};
use crate::writer::{Folders, Writer, events, on_all_processors};
use crate::{Settings, say};

const CPU_BUDGET: f64 = 1.5;
const CALLS_PER_S_BUDGET: f64 = 20_000.0;
const CALLS: u64 = 200_000;
const PAYLOAD_BYTES: usize = 4_096;
/// Different bodies; the log holds each many times over, but not so close together that a compressor would find it.
const BODIES: usize = 4_096;
/// The last rows are not many enough to be due by their number.
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);
const WRITE_PARQUET: &str = include_str!("../python/write_parquet.py");

/// What one round of ours showed.
struct Round {
    cpu: Duration,
    elapsed: Duration,
    peak_bytes: u64,
}

/// Measures both and compares.
///
/// # Errors
/// If calls are lost, or pyarrow is missing.
pub(crate) fn run(settings: &Settings, stage: &Stage) -> anyhow::Result<Report> {
    let calls = settings.calls.unwrap_or(CALLS);
    let title = format!("{calls} calls with {PAYLOAD_BYTES} bytes each way, the middle of {} rounds", settings.rounds);
    let header = vec!["writer", "CPU µs/call", "calls/s", "cores", "peak MiB"];
    let mut report = Report::start("ingest", title, header);
    let bodies = Bodies::new();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut version = String::new();
    for round in 1..=settings.rounds {
        say(&format!("ingest, round {round} of {}", settings.rounds));
        let folder = stage.folder("ingest")?;
        let folders = Folders::in_folder(folder.clone());
        let (measured, snapshot) = on_all_processors(ingest(&folders, &bodies, calls))?;
        ours.push(measured);
        let answer = pyarrow(stage, &folders, &snapshot)?;
        version = answer["version"].as_str().context("pyarrow has not said its version")?.to_owned();
        for round in answer["rounds"].as_array().into_iter().flatten() {
            let figure = |name: &str| round[name].as_f64().with_context(|| format!("pyarrow's answer has no `{name}`"));
            theirs.push((figure("cpu_s")?, figure("elapsed_s")?));
        }
        fs_err::remove_dir_all(folder)?;
    }
    let calls = calls as f64;
    let our_cpu_us = median(ours.iter().map(|round| microseconds(round.cpu) / calls).collect());
    let our_rate = median(ours.iter().map(|round| calls / round.elapsed.as_secs_f64()).collect());
    let their_cpu_us = median(theirs.iter().map(|(cpu_s, _)| cpu_s * 1e6 / calls).collect());
    let their_rate = median(theirs.iter().map(|(_, elapsed_s)| calls / elapsed_s).collect());
    let peak_bytes = ours.iter().map(|round| round.peak_bytes).max();
    let mut row = |name: &str, cpu_us: f64, calls_per_s: f64, peak: Option<u64>| {
        let peak_mib = peak.map(|bytes| (bytes >> 20).to_string()).unwrap_or_default();
        let cores = short(cpu_us * calls_per_s / 1e6);
        report.row(
            vec![name.to_owned(), short(cpu_us), short(calls_per_s), cores, peak_mib],
            json!({"writer": name, "cpu_us_per_call": cpu_us, "calls_per_s": calls_per_s, "peak_resident_bytes": peak}),
        );
    };
    row("tollgate, log to lake", our_cpu_us, our_rate, peak_bytes);
    row(&format!("pyarrow {version}, memory to file"), their_cpu_us, their_rate, None);
    report.budget(Budget::at_most("CPU per call, ours / pyarrow".to_owned(), our_cpu_us / their_cpu_us, CPU_BUDGET));
    report.budget(Budget::at_least("calls a second from the log to the lake".to_owned(), our_rate, CALLS_PER_S_BUDGET));
    report.note(format!(
        "processor time is {:.2} of what 20,000 calls a second on two processors allow",
        our_cpu_us / 100.0
    ));
    Ok(report)
}

/// Requests and answers of about [`PAYLOAD_BYTES`], made once: making them takes longer than logging them.
struct Bodies {
    requests: Vec<bytes::Bytes>,
    responses: Vec<bytes::Bytes>,
}

impl Bodies {
    fn new() -> Bodies {
        let (prose, mut random) = (Prose::new(1), Random::new(5));
        let (mut requests, mut responses) = (Vec::with_capacity(BODIES), Vec::with_capacity(BODIES));
        for _ in 0..BODIES {
            let question = prose.text(&mut random, PAYLOAD_BYTES - 130);
            let message = json!({"role": "user", "content": question});
            requests.push(
                json!({"model": "openai/gpt-4o-mini", "messages": [message], "temperature": 0.2}).to_string().into(),
            );
            let answer = prose.text(&mut random, PAYLOAD_BYTES - 300);
            let choice =
                json!({"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"});
            let usage = json!({"prompt_tokens": 1_000, "completion_tokens": 950, "total_tokens": 1_950});
            let id = format!("chatcmpl-{}", random.base62(29));
            responses.push(
                json!({"id": id, "object": "chat.completion", "created": DAY_BEGINS_US / 1_000_000,
                "model": "gpt-4o-mini", "choices": [choice], "usage": usage})
                .to_string()
                .into(),
            );
        }
        Bodies { requests, responses }
    }

    /// A call's facts with bodies from here.
    fn put_into(&self, number: usize, mut call: Call) -> Call {
        // Two numbers without a common divisor: a pair comes again after the product of both.
        call.request.body = self.requests[number % BODIES].clone();
        call.response.body = self.responses[number % (BODIES - 1)].clone();
        call
    }
}

async fn ingest(folders: &Folders, bodies: &Bodies, calls: u64) -> anyhow::Result<(Round, LakeSnapshot)> {
    let wal = folders.open_log()?;
    let appender = wal.appender();
    for (number, call) in Ordinary::new(11, calls).enumerate() {
        let (opened, settled) = events(bodies.put_into(number, call));
        appender.append_written(&opened)?;
        appender.append_written(&settled)?;
    }
    let (cpu_before, started) = (own_cpu()?, Instant::now());
    let settings = tollgate_flush::flusher::FlushSettings { interval: FLUSH_INTERVAL, ..folders.flush_settings() };
    let writer = Writer::start(folders, wal, settings).await?;
    writer.committed(calls).await?;
    let (elapsed, cpu) = (started.elapsed(), own_cpu()?.saturating_sub(cpu_before));
    let snapshot = writer.lake.snapshot().as_ref().clone();
    writer.stop().await?;
    Ok((Round { cpu, elapsed, peak_bytes: own_memory()?.peak_bytes }, snapshot))
}

/// Lets pyarrow write the rows of these files.
fn pyarrow(stage: &Stage, folders: &Folders, snapshot: &LakeSnapshot) -> anyhow::Result<Value> {
    let files = |table: Table| -> Vec<_> {
        snapshot.files(table).files.iter().map(|file| folders.lake().join(&file.path)).collect()
    };
    let order = json!({
        "rounds": 1,
        "folder": stage.folder("pyarrow")?,
        "tables": [
            {
                "name": "interactions",
                "files": files(Table::Interactions),
                "zstd_level": 3,
                "row_group_rows": 131_072,
                "dictionary_columns": dictionary_columns(Table::Interactions),
                "statistics_columns": statistics_columns(Table::Interactions),
            },
            {
                "name": "payloads",
                "files": files(Table::Payloads),
                "zstd_level": 1,
                "row_group_rows": 16_384,
                "dictionary_columns": dictionary_columns(Table::Payloads),
                "statistics_columns": statistics_columns(Table::Payloads),
            },
        ],
    });
    let mut command = stage::command(stage.python("bin/python")?);
    let mut child = command.args(["-c", WRITE_PARQUET]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("pyarrow has no standard input")?.write_all(order.to_string().as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("pyarrow ended with {}", output.status);
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The text columns of which our files have a dictionary.
fn dictionary_columns(table: Table) -> Vec<String> {
    let schema = table.schema();
    let texts = schema.fields().iter().filter(|field| *field.data_type() == arrow::datatypes::DataType::Utf8);
    let repeat = texts.map(|field| field.name().clone()).filter(|name| name != "interaction_id" && name != "trace_id");
    repeat.collect()
}

fn statistics_columns(table: Table) -> Vec<String> {
    tollgate_flush::statistics::columns(&table.schema()).into_iter().map(str::to_owned).collect()
}
