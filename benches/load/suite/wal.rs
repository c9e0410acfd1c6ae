//! Budget: at least 50,000 durable records a second, and of a hundred waits for one 99 at most three times as long as 99
//! of a hundred bare `fdatasync` on the same disk in the same run.
//!
//! Closed loop of many callers, each waiting for its record before it appends the next; the rounds of everyone take
//! turns, and the middle rate counts. The bare one appends 1 KiB and calls `fdatasync`, over and over, with nobody else
//! there. What `ack: intent` costs against `ack: async` is shown for callers who do nothing but append: there it is all
//! that they wait for. What it costs a call is for the suite that makes calls.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;
use tokio::task::JoinSet;
use tollgate_interaction::{Event, Opened, Payload, Settled};
use tollgate_wal::{Appender, Wal, WalSettings};

use super::microseconds;
use crate::histogram::Histogram;
use crate::report::{Budget, Report, short};
use crate::stage::Stage;
use crate::{Settings, say};

const RECORDS_PER_S_BUDGET: f64 = 50_000.0;
const WAIT_BUDGET: f64 = 3.0;
/// Callers. At 64, on two processors, a wait is mostly that for the other callers' turns: the rate is far beyond the budget
/// and p99 says how long 64 take to encode a record.
const CALLERS: usize = 32;
/// About what one small call appends to the log.
const RECORD_BYTES: usize = 1024;
/// How long bare `fdatasync` calls are made in each round.
const BARE: Duration = Duration::from_secs(1);
/// Some day in 2026.
const STARTED_AT_US: i64 = 1_795_000_000_000_000;

/// What callers do, over and over.
#[derive(Clone, Copy, Debug)]
enum Load {
    /// One durable record.
    Durable,
    /// A durable record, then a written one: a call under `ack: intent`.
    Intent,
    /// Two written records: a call under `ack: async`.
    Async,
}

impl Load {
    const ALL: [Load; 3] = [Load::Durable, Load::Intent, Load::Async];

    fn name(self) -> &'static str {
        match self {
            Load::Durable => "durable",
            Load::Intent => "durable + written",
            Load::Async => "written + written",
        }
    }
}

/// What one load showed in one round.
#[derive(Clone, Debug, Default)]
struct Tally {
    records: u64,
    elapsed: Duration,
    /// For durable records.
    waits: Histogram,
}

impl Tally {
    fn records_per_s(&self) -> f64 {
        self.records as f64 / self.elapsed.as_secs_f64()
    }
}

/// Measures the disk and the log on it.
///
/// # Errors
/// If the log does not open or refuses a record.
pub(crate) async fn run(settings: &Settings, stage: &Stage) -> anyhow::Result<Report> {
    let title = format!(
        "{} callers in a closed loop, {} s after {} s of warm-up, the middle of {} rounds",
        CALLERS, settings.seconds, settings.warm_up_seconds, settings.rounds
    );
    let header = vec!["load", "records/s", "waits", "p50 µs", "p90 µs", "p99 µs", "p99.9 µs"];
    let mut report = Report::start("wal", title, header);
    let mut bare = Histogram::default();
    let mut rounds = Load::ALL.map(|load| (load, Vec::new()));
    for round in 1..=settings.rounds {
        for (load, tallies) in &mut rounds {
            say(&format!("wal, round {round} of {}: {}", settings.rounds, load.name()));
            bare_fdatasync(&stage.folder("fdatasync")?, &mut bare)?;
            tallies.push(measure(settings, &stage.folder("wal")?, *load).await?);
        }
    }
    show(&mut report, "bare fdatasync of 1 KiB", None, &bare);
    let [durable, intent, written] = rounds.map(|(load, tallies)| {
        let middle = middle(tallies);
        show(&mut report, load.name(), Some(middle.records_per_s()), &middle.waits);
        middle
    });
    let p99 = |waits: &Histogram| microseconds(waits.quantile(990));
    let claim = "durable records a second".to_owned();
    report.budget(Budget::at_least(claim, durable.records_per_s(), RECORDS_PER_S_BUDGET));
    let claim = "p99 of the wait for a durable record / p99 of a bare fdatasync".to_owned();
    report.budget(Budget::at_most(claim, p99(&durable.waits) / p99(&bare), WAIT_BUDGET));
    let (intent, written) = (intent.records_per_s() / 2.0, written.records_per_s() / 2.0);
    report.note(format!(
        "calls that do nothing but append, a second: {} with `ack: intent`, {} with `ack: async`",
        short(intent),
        short(written)
    ));
    Ok(report)
}

fn middle(mut rounds: Vec<Tally>) -> Tally {
    rounds.sort_by(|one, other| one.records_per_s().total_cmp(&other.records_per_s()));
    let place = rounds.len() / 2;
    rounds.into_iter().nth(place).unwrap_or_default()
}

fn show(report: &mut Report, name: &str, records_per_s: Option<f64>, waits: &Histogram) {
    let wait_us = |per_mille| microseconds(waits.quantile(per_mille));
    let mut cells = vec![name.to_owned(), records_per_s.map(short).unwrap_or_default(), waits.count().to_string()];
    cells.extend([500, 900, 990, 999].map(|per_mille| short(wait_us(per_mille))));
    let kept = json!({
        "load": name,
        "records_per_s": records_per_s,
        "waits": waits.count(),
        "wait_us": {"p50": wait_us(500), "p90": wait_us(900), "p99": wait_us(990), "p999": wait_us(999)},
    });
    report.row(cells, kept);
}

/// What the disk takes to make a small append durable, with nobody else there.
fn bare_fdatasync(folder: &Path, waits: &mut Histogram) -> anyhow::Result<()> {
    let mut file = fs_err::File::create(folder.join("bare"))?;
    let end = Instant::now() + BARE;
    while Instant::now() < end {
        let started = Instant::now();
        file.write_all(&[0x55; RECORD_BYTES])?;
        file.file().sync_data()?;
        waits.record(started.elapsed());
    }
    Ok(())
}

/// One round of one load. On threads of its own, as many as there are processors: the log is called by a server's.
async fn measure(settings: &Settings, folder: &Path, load: Load) -> anyhow::Result<Tally> {
    let wal = Wal::open(WalSettings::new(folder))?;
    let (warm_up, duration) = (settings.warm_up(), settings.load());
    let tally = std::thread::scope(|scope| {
        let measured = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build()?;
            runtime.block_on(async {
                closed_loop(&wal, load, warm_up).await?;
                closed_loop(&wal, load, duration).await
            })
        });
        measured.join().ok().context("a thread that appends has panicked")?
    })?;
    wal.close()?;
    fs_err::remove_dir_all(folder)?;
    Ok(tally)
}

async fn closed_loop(wal: &Wal, load: Load, duration: Duration) -> anyhow::Result<Tally> {
    let started = Instant::now();
    let mut calling = JoinSet::new();
    for caller in 0..CALLERS as u64 {
        calling.spawn(call_until(wal.appender(), load, caller, started + duration));
    }
    let mut sum = Tally::default();
    while let Some(tally) = calling.join_next().await {
        let tally = tally??;
        sum.records += tally.records;
        sum.waits.merge(&tally.waits);
    }
    sum.elapsed = started.elapsed();
    Ok(sum)
}

async fn call_until(appender: Appender, load: Load, caller: u64, end: Instant) -> anyhow::Result<Tally> {
    let (opened, settled) = events(caller);
    let mut tally = Tally::default();
    loop {
        let started = Instant::now();
        if started >= end {
            return Ok(tally);
        }
        match load {
            Load::Durable | Load::Intent => {
                appender.append_durable(&opened).await?;
                tally.waits.record(started.elapsed());
            }
            Load::Async => {
                appender.append_written(&opened)?;
            }
        }
        tally.records += 1;
        if let Load::Intent | Load::Async = load {
            appender.append_written(&settled)?;
            tally.records += 1;
            tokio::task::coop::consume_budget().await;
        }
    }
}

/// The two records of a small call.
fn events(number: u64) -> (Event, Event) {
    const PROMPT: &str = r#"{"model":"sandbox/small","messages":[{"role":"user","content":"Say in one sentence what a toll gate is, please."}]}"#;
    const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1795000000,"model":"small","choices":[{"index":0,"message":{"role":"assistant","content":"A toll gate is a barrier on a road where travellers stop and pay before they may go on."},"finish_reason":"stop"}],"usage":{"prompt_tokens":18,"completion_tokens":20,"total_tokens":38}}"#;
    let payload =
        |body: &'static str| Payload { content_type: "application/json".into(), body: body.as_bytes().into() };
    let interaction = tollgate_testkit::samples::interaction(number, STARTED_AT_US);
    let opened = Opened { interaction: interaction.clone(), request: payload(PROMPT) };
    let settled = Settled { interaction, request: None, response: payload(ANSWER), salt: Some([7; 32]) };
    (Event::Opened(Box::new(opened)), Event::Settled(Box::new(settled)))
}
