//! Budget: at 500 calls a second, half of all calls take at most 0.5 ms longer through ours than directly to the
//! provider, with the record of each durable before its provider is called.
//!
//! Fixed rate, stalls charged to every call they hold back. What this disk takes for one fsync is measured beside it,
//! because our figure cannot be below that.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::json;

use super::microseconds;
use crate::drive;
use crate::histogram::Histogram;
use crate::peer::{Peer, Running};
use crate::report::{Budget, Report, short};
use crate::stage::Stage;
use crate::{Settings, say};

/// Low enough that nobody is busy.
const CALLS_PER_S: u32 = 500;
const ADDED_P50_BUDGET_MS: f64 = 0.5;
const PEERS: [Peer; 4] = [Peer::Direct, Peer::Nginx, Peer::Tollgate, Peer::Sidecar];
const FSYNCS: u32 = 300;
/// About what one small call appends to the log.
const RECORD_BYTES: usize = 1024;

/// Measures the latency directly and through each.
///
/// # Errors
/// If one does not start or fails calls.
pub(crate) async fn run(settings: &Settings, stage: &Stage) -> anyhow::Result<Report> {
    // One and a half times as long as under full load: there are fewer calls.
    let duration = settings.load() * 3 / 2;
    let title = format!(
        "{} calls/s for {:?} over {} connections",
        settings.rate.unwrap_or(CALLS_PER_S),
        duration,
        settings.connections
    );
    let header = vec!["peer", "calls", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "added p50 ms", "added p99 ms"];
    let mut report = Report::start("latency", title, header);
    let fsync = fsync_latency(stage)?;
    let mut direct: Option<Histogram> = None;
    for peer in PEERS.into_iter().filter(|&peer| peer == Peer::Direct || settings.measures(peer)) {
        say(&format!("latency: {}", peer.name()));
        let (calls, latencies) = measure(settings, stage, peer, duration).await?;
        let direct = direct.get_or_insert_with(|| latencies.clone());
        let milliseconds = |histogram: &Histogram, per_mille| histogram.quantile(per_mille).as_secs_f64() * 1e3;
        let added = |per_mille| milliseconds(&latencies, per_mille) - milliseconds(direct, per_mille);
        let mut cells = vec![peer.name().to_owned(), calls.to_string()];
        cells.extend([500, 900, 990, 999].map(|per_mille| format!("{:.3}", milliseconds(&latencies, per_mille))));
        cells.extend([500, 990].map(|per_mille| format!("{:.3}", added(per_mille))));
        let latency_us = |per_mille| microseconds(latencies.quantile(per_mille));
        let kept = json!({
            "peer": peer.name(),
            "calls": calls,
            "latency_us": {"p50": latency_us(500), "p90": latency_us(900), "p99": latency_us(990), "p999": latency_us(999)},
            "added_p50_ms": added(500),
            "added_p99_ms": added(990),
        });
        report.row(cells, kept);
        if Peer::OURS.contains(&peer) {
            let claim = format!("added latency of {}, p50 in ms", peer.name());
            report.budget(Budget::at_most(claim, added(500), ADDED_P50_BUDGET_MS));
        }
    }
    let (p50, p99) = (microseconds(fsync.quantile(500)), microseconds(fsync.quantile(990)));
    report.note(format!("one fsync of 1 KiB on this disk: p50 {} µs, p99 {} µs", short(p50), short(p99)));
    Ok(report)
}

async fn measure(
    settings: &Settings,
    stage: &Stage,
    peer: Peer,
    duration: Duration,
) -> anyhow::Result<(u64, Histogram)> {
    let running = peer.start(stage).await?;
    let load = |duration| {
        drive::fixed_rate(
            &running.target,
            settings.connections,
            settings.rate.unwrap_or(CALLS_PER_S),
            duration,
            Arc::default(),
        )
    };
    let warm_up = load(settings.warm_up()).await?;
    let tally = load(duration).await?;
    if let Some(failure) = warm_up.first_failure.or(tally.first_failure) {
        bail!("calls through `{}` failed, the first with: {failure}", peer.name());
    }
    let Running { answered, ledger, server, .. } = running;
    if let (Some(ledger), Some(server)) = (ledger, server) {
        let answered = answered + warm_up.answered + tally.answered;
        let rows = ledger.close(server, answered).await?;
        if rows != answered {
            bail!("`{}` has {rows} rows of {answered} answered calls", peer.name());
        }
    }
    Ok((tally.answered, tally.latencies))
}

/// What the disk under the data directories takes to make a small append durable.
fn fsync_latency(stage: &Stage) -> anyhow::Result<Histogram> {
    let mut file = fs_err::File::create(stage.folder("fsync")?.join("probe"))?;
    let mut latencies = Histogram::default();
    for _ in 0..FSYNCS {
        let started = Instant::now();
        file.write_all(&[0x55; RECORD_BYTES])?;
        file.file().sync_data()?;
        latencies.record(started.elapsed());
    }
    Ok(latencies)
}
