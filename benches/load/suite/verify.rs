//! Budget: verifying a lake takes at most 4 times as long as DuckDB takes to read every column of the same rows.
//!
//! Verifying is reading every value, encoding it canonically, hashing it, and comparing each hash with three others. The
//! rounds of both take turns over the same files, flushed and then compacted, with as many threads as processors; the
//! time of each is that of its own clock, without its start.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tollgate_interaction::schema::Table;
use tollgate_lake::LakeSnapshot;
use tollgate_lake::audit::{VerifySettings, verify};

use super::median;
use crate::dataset::{DAY_BEGINS_US, Ordinary};
use crate::report::{Budget, Report, short};
use crate::server::own_cpu;
use crate::stage::{self, Stage};
use crate::writer::{Folders, make_lake, on_all_processors};
use crate::{Settings, say};

const BUDGET: f64 = 4.0;
const CALLS: u64 = 200_000;
const LONG_AFTER_US: i64 = DAY_BEGINS_US + 3 * 86_400_000_000;
const READ_ALL: &str = include_str!("../python/read_all.py");

/// Makes a lake, then lets both read it.
///
/// # Errors
/// If the lake does not verify, or DuckDB is missing.
pub(crate) fn run(settings: &Settings, stage: &Stage) -> anyhow::Result<Report> {
    let calls = settings.calls.unwrap_or(CALLS);
    let title = format!("a lake of {calls} ordinary calls, the middle of {} rounds", settings.rounds);
    let header = vec!["reader", "files", "s", "calls/s", "CPU µs/call", "× DuckDB"];
    let mut report = Report::start("verify", title, header);
    let folders = Folders::in_folder(stage.folder("verify")?);
    say("verify: making a lake");
    on_all_processors(make_lake(&folders, Ordinary::new(13, calls), 10_000.min(calls / 4).max(1)))?;
    compare(settings, stage, &folders, "flushed", calls, &mut report)?;
    let compacted = on_all_processors(async {
        let lake = folders.open_lake().await?;
        while lake.compact(LONG_AFTER_US, usize::MAX).await?.commits > 0 {}
        lake.publish_checkpoint().await;
        anyhow::Ok(())
    });
    compacted?;
    compare(settings, stage, &folders, "compacted", calls, &mut report)?;
    Ok(report)
}

fn compare(
    settings: &Settings,
    stage: &Stage,
    folders: &Folders,
    state: &str,
    calls: u64,
    report: &mut Report,
) -> anyhow::Result<()> {
    let snapshot = on_all_processors(async { Ok(folders.read_lake().await?.snapshot()) })?;
    let mut duckdb = DuckDb::start(stage, folders, &snapshot)?;
    let (mut ours, mut our_cpu, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=settings.rounds {
        say(&format!("verify, {state}, round {round} of {}", settings.rounds));
        theirs.push(duckdb.read_all()?);
        let (elapsed_s, cpu_s) = on_all_processors(verify_once(folders, calls))?;
        ours.push(elapsed_s);
        our_cpu.push(cpu_s);
    }
    let files = snapshot.interactions.files.len() + snapshot.payloads.files.len();
    let (our_s, their_s, cpu_s) = (median(ours), median(theirs), median(our_cpu));
    let mut row = |name: String, seconds: f64, cpu_us: Option<f64>| {
        let cells = vec![
            name.clone(),
            files.to_string(),
            short(seconds),
            short(calls as f64 / seconds),
            cpu_us.map(short).unwrap_or_default(),
            short(seconds / their_s),
        ];
        report.row(cells, json!({"reader": name, "files": files, "elapsed_s": seconds, "cpu_us_per_call": cpu_us}));
    };
    row(format!("tollgate, {state}"), our_s, Some(cpu_s * 1e6 / calls as f64));
    row(format!("DuckDB {}, {state}", duckdb.version), their_s, None);
    report.budget(Budget::at_most(
        format!("time to verify / time of DuckDB to read, {state}"),
        our_s / their_s,
        BUDGET,
    ));
    Ok(())
}

async fn verify_once(folders: &Folders, calls: u64) -> anyhow::Result<(f64, f64)> {
    let keys = vec![folders.public_key()?];
    let (cpu_before, started) = (own_cpu()?, Instant::now());
    let lake = folders.read_lake().await?;
    let found = verify(lake, VerifySettings { keys, ..VerifySettings::default() }).await?;
    let (elapsed_s, cpu) = (started.elapsed().as_secs_f64(), own_cpu()?.saturating_sub(cpu_before));
    if !found.ok || found.records != calls || found.payloads != calls {
        bail!("the lake does not verify: {found:?}");
    }
    Ok((elapsed_s, cpu.as_secs_f64()))
}

/// A process of Python with DuckDB that reads when it is told to.
struct DuckDb {
    version: String,
    child: Child,
    /// Its end ends the process.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl DuckDb {
    fn start(stage: &Stage, folders: &Folders, snapshot: &LakeSnapshot) -> anyhow::Result<DuckDb> {
        let files = |table: Table| -> Vec<_> {
            snapshot.files(table).files.iter().map(|file| folders.lake().join(&file.path)).collect()
        };
        let tables: Vec<_> = Table::ALL.into_iter().map(files).filter(|files| !files.is_empty()).collect();
        let threads = std::thread::available_parallelism()?;
        let mut command = stage::command(stage.python("bin/python")?);
        let mut child = command.args(["-c", READ_ALL]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("DuckDB has no standard output")?);
        let mut duckdb = DuckDb { version: String::new(), child, input, output };
        let answer = duckdb.ask(&json!({"threads": threads, "tables": tables}))?;
        duckdb.version = answer["version"].as_str().context("DuckDB has not said its version")?.to_owned();
        Ok(duckdb)
    }

    /// Seconds that it took to read everything.
    fn read_all(&mut self) -> anyhow::Result<f64> {
        self.ask(&Value::Null)?["elapsed_s"].as_f64().context("DuckDB has not said how long it took")
    }

    fn ask(&mut self, question: &Value) -> anyhow::Result<Value> {
        let input = self.input.as_mut().context("DuckDB has no standard input")?;
        input.write_all(format!("{question}\n").as_bytes())?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("DuckDB said `{line}`"))
    }
}

impl Drop for DuckDb {
    fn drop(&mut self) {
        drop(self.input.take());
        drop(self.child.wait());
    }
}
