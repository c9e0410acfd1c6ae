//! Budget: in minutes of 1,000 calls a second, with flushes, commits, compaction and queries going on, no call fails,
//! `count(*)` never falls, holds every call within a second of its answer and none that was not made, and resident
//! memory that no file backs is at most 1.1 times in the end what it was in the middle. What is mapped from files, as the
//! search index is, grows with them, belongs to the page cache and goes when somebody needs it.
//!
//! Every second `tollgate sql` asks the running server how many calls there are, and now and then for costs by model. A
//! count is held against two numbers of the load generator: the calls answered a second before it was asked for, and
//! those begun when it came back. The server compacts what its windows close: a quarter of an hour and two minutes. So
//! that compaction goes on from the first minute, a second process of the lake, this one, compacts with a clock that is
//! a day ahead, as any number of compactors may beside a committer; what that costs is not the server's memory, but it
//! is the same machine's time, and the server has to follow commits that are not its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::json;
use tokio::sync::watch;
use tollgate_flush::store::{self, StoreOptions};
use tollgate_lake::{CompactReport, Lake, Mode};

use crate::drive::{self, Progress, Tally};
use crate::peer::{Peer, Reader, Running};
use crate::report::{Budget, Report, short};
use crate::server::{Memory, Server};
use crate::stage::Stage;
use crate::{Settings, say};

const CALLS_PER_S: u32 = 1_000;
/// Within which an answered call must be counted.
const VISIBLE_WITHIN: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Of how many looks one also asks for costs.
const COSTS_EVERY: u64 = 10;
const COMPACT_EVERY: Duration = Duration::from_secs(20);
const COMPACT_AHEAD_US: i64 = 26 * 3_600_000_000;
const GROWTH_BUDGET: f64 = 1.1;
/// Of the run, at its start, in its middle and at its end, over which resident memory is averaged.
const SLICE: f64 = 0.1;
const MEBIBYTE: f64 = 1_048_576.0;

/// What the looks at the server came to.
#[derive(Default)]
struct Looks {
    counts: u64,
    fell: u64,
    late: u64,
    too_many: u64,
    /// The longest that a count took.
    slowest: Duration,
    /// Seconds since the start, and memory.
    memory: Vec<(f64, Memory)>,
    first_fault: Option<String>,
}

/// Runs the load and watches.
///
/// # Errors
/// If the server does not start, or a query or a compaction fails.
pub(crate) async fn run(settings: &Settings, stage: &Stage) -> anyhow::Result<Report> {
    let rate = settings.rate.unwrap_or(CALLS_PER_S);
    let duration = Duration::from_secs(60 * settings.minutes);
    let title = format!("{rate} calls/s for {} min over {} connections", settings.minutes, settings.connections);
    let mut report = Report::start("soak", title, vec!["part of the run", "anonymous MiB", "resident MiB", "peak MiB"]);
    say(&format!("soak: {} minutes", settings.minutes));
    let mut running = Peer::Tollgate.start(stage).await?;
    let ledger = running.ledger.take().context("the all-in-one has no ledger")?;
    let reader = ledger.reader();
    let mut server = running.server.take().context("the all-in-one has no process")?;
    let progress = Arc::new(Progress::default());
    let (stop, stopped) = watch::channel(false);
    let compactor = std::thread::Builder::new().name("compactor".to_owned()).spawn({
        let lake = reader.lake();
        move || compact_until(&lake, stopped)
    })?;
    let load = drive::fixed_rate(&running.target, settings.connections, rate, duration, Arc::clone(&progress));
    let watched = watch_server(&mut server, &reader, &progress, running.answered, duration);
    let (tally, looks) = tokio::try_join!(load, watched)?;
    stop.send_replace(true);
    // On a thread of its own: joining it here would stop this runtime's only thread.
    let compacted = tokio::task::spawn_blocking(move || compactor.join()).await?;
    let compacted = compacted.ok().context("the compactor has panicked")??;
    let Running { answered, .. } = running;
    let rows = ledger.close(server, answered + tally.answered).await?;
    show(&mut report, &looks);
    judge(&mut report, &tally, &looks, rows.abs_diff(answered + tally.answered));
    report.note(format!(
        "{} calls answered, p50 {:.1} ms, p99 {:.1} ms; {} counts, the slowest took {:.0} ms",
        tally.answered,
        tally.latencies.quantile(500).as_secs_f64() * 1e3,
        tally.latencies.quantile(990).as_secs_f64() * 1e3,
        looks.counts,
        looks.slowest.as_secs_f64() * 1e3,
    ));
    report.note(format!(
        "beside the server's own, {} compactions made {} files of {}",
        compacted.commits, compacted.files_after, compacted.files_before
    ));
    if let Some(fault) = looks.first_fault.or(tally.first_failure) {
        report.note(format!("the first fault: {fault}"));
    }
    Ok(report)
}

/// Looks until the load is over.
async fn watch_server(
    server: &mut Server,
    reader: &Reader,
    progress: &Progress,
    answered_before: u64,
    duration: Duration,
) -> anyhow::Result<Looks> {
    let started = Instant::now();
    let mut looks = Looks::default();
    let mut highest = 0;
    // Calls answered at times past, oldest first.
    let mut answered: VecDeque<(Instant, u64)> = VecDeque::new();
    while started.elapsed() < duration {
        answered.push_back((Instant::now(), progress.answered.load(Ordering::Acquire)));
        while answered.get(1).is_some_and(|(at, _)| at.elapsed() >= VISIBLE_WITHIN) {
            answered.pop_front();
        }
        // The calls of before were answered just before the start.
        let due = answered.front().filter(|(at, _)| at.elapsed() >= VISIBLE_WITHIN);
        let due = due.map_or(0, |(_, count)| *count + answered_before);
        let (reader, asked) = (reader.clone(), Instant::now());
        let with_costs = looks.counts % COSTS_EVERY == 0;
        let count = tokio::task::spawn_blocking(move || {
            let count = reader.rows()?;
            if with_costs {
                reader
                    .number("SELECT count(*) FROM (SELECT model_served, sum(cost_usd) FROM interactions GROUP BY 1)")?;
            }
            anyhow::Ok(count)
        });
        let count = count.await??;
        let begun = progress.begun.load(Ordering::Acquire) + answered_before;
        looks.counts += 1;
        looks.slowest = looks.slowest.max(asked.elapsed());
        looks.fell += u64::from(count < highest);
        looks.late += u64::from(count < due);
        looks.too_many += u64::from(count > begun);
        if count < highest || count < due || count > begun {
            let fault = format!(
                "{:.0} s after the start the count was {count}, after {highest}, with {} answered a second before and {begun} begun",
                started.elapsed().as_secs_f64(),
                due
            );
            looks.first_fault.get_or_insert(fault);
        }
        highest = highest.max(count);
        looks.memory.push((started.elapsed().as_secs_f64(), server.memory()?));
        tokio::time::sleep(LOOK_EVERY.saturating_sub(asked.elapsed())).await;
    }
    Ok(looks)
}

/// Compacts again and again, with a clock that has every window closed.
fn compact_until(folder: &std::path::Path, mut stopped: watch::Receiver<bool>) -> anyhow::Result<CompactReport> {
    let folder = folder.to_str().context("the lake's folder is not UTF-8")?.to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let lake = Lake::open(store::open(&folder, &StoreOptions::default())?, Mode::Committer).await?;
        let mut all = CompactReport::default();
        while tokio::time::timeout(COMPACT_EVERY, stopped.wait_for(|stop| *stop)).await.is_err() {
            lake.refresh().await?;
            let now_us = chrono::Utc::now().timestamp_micros() + COMPACT_AHEAD_US;
            let done = lake.compact(now_us, usize::MAX).await?;
            all.commits += done.commits;
            all.files_before += done.files_before;
            all.files_after += done.files_after;
        }
        if all.commits == 0 {
            bail!("nothing was compacted");
        }
        Ok(all)
    })
}

/// Mean bytes between two parts of the run, 0 to 1.
fn mean_bytes(looks: &Looks, of: fn(&Memory) -> u64, from: f64, to: f64) -> f64 {
    let end = looks.memory.last().map_or(0.0, |(at, _)| *at);
    let within = looks.memory.iter().filter(|(at, _)| *at >= from * end && *at <= to * end);
    let (mut sum, mut count) = (0.0, 0.0);
    for (_, memory) in within {
        sum += of(memory) as f64;
        count += 1.0;
    }
    sum / count
}

/// Bytes a second by which that memory grows in the second half: the line of least squares.
fn slope(looks: &Looks) -> f64 {
    let half = &looks.memory[looks.memory.len() / 2..];
    let count = half.len() as f64;
    let mean = |of: fn(&(f64, Memory)) -> f64| half.iter().map(of).sum::<f64>() / count;
    let (mean_at, mean_bytes) = (mean(|(at, _)| *at), mean(|(_, memory)| memory.anonymous_bytes as f64));
    let together: f64 =
        half.iter().map(|(at, memory)| (at - mean_at) * (memory.anonymous_bytes as f64 - mean_bytes)).sum();
    together / half.iter().map(|(at, _)| (at - mean_at).powi(2)).sum::<f64>()
}

fn show(report: &mut Report, looks: &Looks) {
    let parts = [("start", 0.0), ("middle", 0.5 - SLICE / 2.0), ("end", 1.0 - SLICE)];
    let end = looks.memory.last().map_or(0.0, |(at, _)| *at);
    for (name, from) in parts {
        let resident = mean_bytes(looks, |memory| memory.resident_bytes, from, from + SLICE);
        let anonymous = mean_bytes(looks, |memory| memory.anonymous_bytes, from, from + SLICE);
        let until = looks.memory.iter().take_while(|(at, _)| *at <= (from + SLICE) * end);
        let peak = until.map(|(_, memory)| memory.peak_bytes).max().unwrap_or_default();
        report.row(
            vec![
                name.to_owned(),
                short(anonymous / MEBIBYTE),
                short(resident / MEBIBYTE),
                short(peak as f64 / MEBIBYTE),
            ],
            json!({"part": name, "anonymous_bytes": anonymous, "resident_bytes": resident, "peak_resident_bytes": peak}),
        );
    }
    let per_minute = slope(looks) * 60.0 / MEBIBYTE;
    report.note(format!("in the second half anonymous memory grew by {per_minute:.2} MiB a minute"));
}

fn judge(report: &mut Report, tally: &Tally, looks: &Looks, rows_apart: u64) {
    let middle = mean_bytes(looks, |memory| memory.anonymous_bytes, 0.5 - SLICE / 2.0, 0.5 + SLICE / 2.0);
    let growth = mean_bytes(looks, |memory| memory.anonymous_bytes, 1.0 - SLICE, 1.0) / middle;
    report.budget(Budget::at_most("failed calls".to_owned(), tally.failed as f64, 0.0));
    report.budget(Budget::at_most("counts lower than one before".to_owned(), looks.fell as f64, 0.0));
    report.budget(Budget::at_most("counts without a call answered a second before".to_owned(), looks.late as f64, 0.0));
    report.budget(Budget::at_most("counts beyond the calls made".to_owned(), looks.too_many as f64, 0.0));
    report.budget(Budget::at_most(
        "answered calls that are not exactly one row in the end".to_owned(),
        rows_apart as f64,
        0.0,
    ));
    report.budget(Budget::at_most("anonymous memory, end / middle".to_owned(), growth, GROWTH_BUDGET));
}
