//! Budget: forwarding a chat request of 100,000 tokens, and keeping it, takes a sidecar at most 1.3 times the processor time
//! that nginx takes to forward it and this process to hash, compress and write it once; and every answered call is a row
//! (`docs/adr/0017-what-forwarding-is-measured-against.md`).
//!
//! Closed loop over few connections, a request of 400 KB in the provider's own dialect, everyone in turn, the middle of
//! several rounds. Ours records the request: its log, its compression and the file in the lake are in the figure, and
//! what a copy without a record costs (`processor time before the flush`) is printed beside it.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use fs_err as fs;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{median, microseconds};
use crate::call::MODEL;
use crate::dataset::{Prose, Random};
use crate::drive;
use crate::peer::{Peer, Running};
use crate::report::{Budget, Report, short};
use crate::server::{Server, own_cpu};
use crate::stage::Stage;
use crate::{Settings, say};

const BUDGET: f64 = 1.3;
/// Four bytes to a token, as the gateway estimates.
const REQUEST_BYTES: usize = 400_000;
const MESSAGE_BYTES: usize = 4_000;
/// Enough to keep two processors busy; more would hold more bodies in memory.
const CONNECTIONS: usize = 8;
/// As the flush compresses payloads.
const ZSTD_LEVEL: i32 = 1;
/// How often the record is made to tell what it takes.
const RECORDS: u32 = 400;
const PEERS: [Peer; 3] = [Peer::Nginx, Peer::Tollgate, Peer::Sidecar];

struct Round {
    calls: u64,
    calls_per_s: f64,
    /// Until the last answer.
    relayed_us: f64,
    /// Until everything is in the lake.
    recorded_us: f64,
}

/// Measures everyone and compares with nginx.
///
/// # Errors
/// If a peer is missing, does not start, or fails calls.
pub(crate) async fn run(settings: &Settings, stage: &Stage) -> anyhow::Result<Report> {
    let body = request_body();
    let title = format!(
        "closed loop, {CONNECTIONS} connections, {} s after {} s of warm-up, the middle of {} rounds, a request of {} KB",
        settings.seconds,
        settings.warm_up_seconds,
        settings.rounds,
        body.len() / 1000
    );
    let header = vec!["peer", "calls", "calls/s", "CPU µs/call", "before the flush", "beside nginx"];
    let mut report = Report::start("forward", title, header);
    let peers: Vec<Peer> = PEERS.into_iter().filter(|&peer| settings.measures(peer)).collect();
    let mut rounds: Vec<Vec<Round>> = peers.iter().map(|_| Vec::new()).collect();
    for number in 1..=settings.rounds {
        for (peer, rounds) in peers.iter().zip(&mut rounds) {
            say(&format!("forward, round {number} of {}: {}", settings.rounds, peer.name()));
            rounds.push(measure(settings, stage, *peer, &body).await?);
        }
    }
    let record_us = least_record_us(stage, &body)?;
    report.note(format!("one SHA-256, one Zstandard and one write of the request take {} µs", short(record_us)));
    let mut nginx_us = None;
    for (peer, rounds) in peers.iter().zip(&rounds) {
        let middle = |of: fn(&Round) -> f64| median(rounds.iter().map(of).collect());
        let (recorded_us, relayed_us) = (middle(|round| round.recorded_us), middle(|round| round.relayed_us));
        let calls_per_s = middle(|round| round.calls_per_s);
        let calls: u64 = rounds.iter().map(|round| round.calls).sum();
        let nginx_us = *nginx_us.get_or_insert(recorded_us);
        let ratio = recorded_us / nginx_us;
        let figures = [calls_per_s, recorded_us, relayed_us, ratio].map(short);
        let cells = [peer.name().to_owned(), calls.to_string()].into_iter().chain(figures);
        let kept = json!({"peer": peer.name(), "calls": calls, "calls_per_s": calls_per_s, "cpu_us_per_call": recorded_us,
            "cpu_us_per_call_before_flush": relayed_us});
        report.row(cells.collect(), kept);
        if *peer == Peer::Sidecar && peers.contains(&Peer::Nginx) {
            let claim = "CPU per call, sidecar / (nginx + one hash, one compression, one write)".to_owned();
            report.budget(Budget::at_most(claim, recorded_us / (nginx_us + record_us), BUDGET));
        }
    }
    Ok(report)
}

/// Processor time of the least that keeping a body takes: SHA-256, Zstandard, and a file of the result on the disk.
fn least_record_us(stage: &Stage, body: &str) -> anyhow::Result<f64> {
    let path = stage.folder("forward")?.join("record");
    let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
    let before = own_cpu()?;
    for _ in 0..RECORDS {
        let digest = Sha256::digest(body.as_bytes());
        let mut file = fs::File::create(&path)?;
        file.write_all(&digest)?;
        file.write_all(&compressor.compress(body.as_bytes())?)?;
        file.sync_data()?;
    }
    let taken = own_cpu()?.saturating_sub(before);
    fs::remove_file(path)?;
    Ok(microseconds(taken) / f64::from(RECORDS))
}

/// A conversation in prose. Every call carries the same, as an agent's calls carry their history again and again.
fn request_body() -> String {
    let (prose, mut random) = (Prose::new(1), Random::new(7));
    let roles = ["user", "assistant"].into_iter().cycle();
    let messages: Vec<Value> = roles
        .take(REQUEST_BYTES / MESSAGE_BYTES)
        .map(|role| json!({"role": role, "content": prose.text(&mut random, MESSAGE_BYTES)}))
        .collect();
    json!({"model": MODEL, "messages": messages, "max_tokens": 64}).to_string()
}

async fn measure(settings: &Settings, stage: &Stage, peer: Peer, body: &str) -> anyhow::Result<Round> {
    let mut running = peer.start(stage).await?;
    let target = running.target.carrying(body);
    let warm_up = drive::closed_loop(&target, CONNECTIONS, settings.warm_up()).await?;
    tokio::time::sleep(running.settle).await;
    let before = cpu(&mut running)?;
    let tally = drive::closed_loop(&target, CONNECTIONS, settings.load()).await?;
    let relayed = cpu(&mut running)?.saturating_sub(before);
    tokio::time::sleep(running.settle).await;
    let recorded = cpu(&mut running)?.saturating_sub(before);
    if let Some(failure) = warm_up.first_failure.as_ref().or(tally.first_failure.as_ref()) {
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
    let each = |spent: Duration| microseconds(spent) / tally.answered.max(1) as f64;
    Ok(Round {
        calls: tally.answered,
        calls_per_s: tally.calls_per_s(),
        relayed_us: each(relayed),
        recorded_us: each(recorded),
    })
}

fn cpu(running: &mut Running) -> anyhow::Result<Duration> {
    let server: &mut Server = running.server.as_mut().context("nobody to measure")?;
    server.cpu()
}
