//! Budget: processor time of each call at most 1/10 of Portkey's gateway, 1/80 of LiteLLM's and 4× of nginx as a plain
//! reverse proxy, calls per second in the same proportions, and every answered call a row in the lake. A durable record
//! before each call (`ack: intent`) costs at most 15 % of the calls per second that there are without (`ack: async`).
//!
//! Closed loop, the same small chat completion for everyone, one peer after the other, and that several times over: of
//! each peer the round with the middle processor time counts, because a machine is faster in one minute than in the
//! next. The processor time is that of all processes of the peer, from before the load until its last flush is through,
//! divided by the calls. Rows are counted over all rounds.

use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};

use super::microseconds;
use crate::drive::{self, Tally};
use crate::peer::{Peer, Running};
use crate::report::{Budget, Report, short};
use crate::server::{Memory, Server};
use crate::stage::Stage;
use crate::{Settings, say};

/// At most this much of a peer's processor time, and at least its calls per second divided by the same.
const CPU_BUDGETS: [(Peer, f64); 3] = [(Peer::Portkey, 1.0 / 10.0), (Peer::Litellm, 1.0 / 80.0), (Peer::Nginx, 4.0)];

/// A durable record before each call costs at most 15 % of the throughput.
const INTENT_BUDGET: f64 = 0.85;

/// What one peer showed.
struct Measured {
    peer: Peer,
    version: String,
    tally: Tally,
    /// None for calls that nobody stands in the way of.
    cpu: Option<Duration>,
    /// Of the all-in-one that commits and indexes what a sidecar hands over.
    committer_cpu: Option<Duration>,
    memory: Memory,
    ledger: Option<Books>,
}

/// The calls that must be rows, and the rows.
struct Books {
    answered: u64,
    rows: u64,
}

/// Measures everyone and compares.
///
/// # Errors
/// If a peer is missing, does not start, or fails calls.
pub(crate) async fn run(settings: &Settings, stage: &Stage) -> anyhow::Result<Report> {
    let title = format!(
        "closed loop, {} connections, {} s after {} s of warm-up, the middle of {} rounds, small chat completion, our logging fully on",
        settings.connections, settings.seconds, settings.warm_up_seconds, settings.rounds
    );
    let header = vec![
        "peer",
        "version",
        "calls/s",
        "CPU µs/call",
        "cores",
        "p50 ms",
        "p99 ms",
        "peak MiB",
        "CPU of ours",
        "rows",
    ];
    let mut report = Report::start("throughput", title, header);
    let peers: Vec<Peer> = Peer::ALL.into_iter().filter(|&peer| settings.measures(peer)).collect();
    let mut rounds: Vec<Vec<Measured>> = peers.iter().map(|_| Vec::new()).collect();
    for round in 1..=settings.rounds {
        for (peer, rounds) in peers.iter().zip(&mut rounds) {
            say(&format!("throughput, round {round} of {}: {}", settings.rounds, peer.name()));
            rounds.push(measure(settings, stage, *peer).await?);
        }
    }
    let measured: Vec<Measured> = rounds.into_iter().filter_map(middle).collect();
    for result in &measured {
        let ours = Peer::OURS.map(|peer| find(&measured, peer)).into_iter().flatten().next();
        report.row(cells(result, ours), kept(result));
    }
    compare(&mut report, &measured);
    Ok(report)
}

/// The round with the middle processor time, or rate if there is none, with the rows of all rounds.
fn middle(mut rounds: Vec<Measured>) -> Option<Measured> {
    let books = |of: fn(&Books) -> u64| rounds.iter().filter_map(|round| round.ledger.as_ref()).map(of).sum::<u64>();
    let all = Books { answered: books(|books| books.answered), rows: books(|books| books.rows) };
    let cost = |round: &Measured| round.cpu_us().unwrap_or_else(|| 1.0 / round.tally.calls_per_s());
    rounds.sort_by(|one, other| cost(one).total_cmp(&cost(other)));
    let place = rounds.len() / 2;
    let mut middle = rounds.into_iter().nth(place)?;
    middle.ledger = middle.ledger.map(|_| all);
    Some(middle)
}

async fn measure(settings: &Settings, stage: &Stage, peer: Peer) -> anyhow::Result<Measured> {
    let mut running = peer.start(stage).await?;
    let warm_up = drive::closed_loop(&running.target, settings.connections, settings.warm_up()).await?;
    tokio::time::sleep(running.settle).await;

    let before = cpu(running.server.as_mut())?;
    let committer_before = cpu(committer(&mut running))?;
    let tally = drive::closed_loop(&running.target, settings.connections, settings.load()).await?;
    tokio::time::sleep(running.settle).await;
    let spent = |before: Option<Duration>, after: Option<Duration>| Some(after?.saturating_sub(before?));
    let cpu_spent = spent(before, cpu(running.server.as_mut())?);
    let committer_cpu = spent(committer_before, cpu(committer(&mut running))?);
    let memory = running.server.as_mut().map(Server::memory).transpose()?.unwrap_or_default();

    if let Some(failure) = warm_up.first_failure.as_ref().or(tally.first_failure.as_ref()) {
        let failed = warm_up.failed + tally.failed;
        bail!("{failed} calls through `{}` failed, the first with: {failure}", peer.name());
    }
    running.answered += warm_up.answered + tally.answered;
    let Running { version, server, answered, ledger, .. } = running;
    let ledger = match (ledger, server) {
        (Some(ledger), Some(server)) => Some(Books { answered, rows: ledger.close(server, answered).await? }),
        _ => None,
    };
    Ok(Measured { peer, version, tally, cpu: cpu_spent, committer_cpu, memory, ledger })
}

fn committer(running: &mut Running) -> Option<&mut Server> {
    running.ledger.as_mut()?.committer()
}

fn cpu(server: Option<&mut Server>) -> anyhow::Result<Option<Duration>> {
    server.map(Server::cpu).transpose()
}

impl Measured {
    fn per_call_us(&self, spent: Option<Duration>) -> Option<f64> {
        Some(microseconds(spent?) / self.tally.answered.max(1) as f64)
    }

    fn cpu_us(&self) -> Option<f64> {
        self.per_call_us(self.cpu)
    }
}

fn find(measured: &[Measured], peer: Peer) -> Option<&Measured> {
    measured.iter().find(|result| result.peer == peer)
}

fn cells(result: &Measured, ours: Option<&Measured>) -> Vec<String> {
    let ratio =
        result.cpu_us().zip(ours.and_then(Measured::cpu_us)).map(|(cpu, ours)| format!("× {}", short(cpu / ours)));
    let tally = &result.tally;
    let milliseconds = |per_mille| short(tally.latencies.quantile(per_mille).as_secs_f64() * 1e3);
    let cores = result.cpu.map(|cpu| format!("{:.2}", cpu.as_secs_f64() / tally.elapsed.as_secs_f64()));
    vec![
        result.peer.name().to_owned(),
        result.version.clone(),
        format!("{:.0}", tally.calls_per_s()),
        result.cpu_us().map(short).unwrap_or_default(),
        cores.unwrap_or_default(),
        milliseconds(500),
        milliseconds(990),
        if result.cpu.is_some() { (result.memory.peak_bytes >> 20).to_string() } else { String::new() },
        ratio.unwrap_or_default(),
        result.ledger.as_ref().map(|books| format!("{} of {}", books.rows, books.answered)).unwrap_or_default(),
    ]
}

fn kept(result: &Measured) -> Value {
    let latency_us = |per_mille| microseconds(result.tally.latencies.quantile(per_mille));
    json!({
        "peer": result.peer.name(),
        "version": result.version,
        "calls": result.tally.answered,
        "elapsed_s": result.tally.elapsed.as_secs_f64(),
        "calls_per_s": result.tally.calls_per_s(),
        "cpu_us_per_call": result.cpu_us(),
        "committer_cpu_us_per_call": result.per_call_us(result.committer_cpu),
        "latency_us": {"p50": latency_us(500), "p90": latency_us(900), "p99": latency_us(990), "p999": latency_us(999)},
        "resident_bytes": result.memory.resident_bytes,
        "peak_resident_bytes": result.memory.peak_bytes,
        "answered_since_start": result.ledger.as_ref().map(|books| books.answered),
        "rows": result.ledger.as_ref().map(|books| books.rows),
    })
}

/// Each of ours against each peer that was measured.
fn compare(report: &mut Report, measured: &[Measured]) {
    for ours in Peer::OURS.map(|peer| find(measured, peer)).into_iter().flatten() {
        let name = ours.peer.name();
        for (peer, limit) in CPU_BUDGETS {
            let Some(theirs) = find(measured, peer) else { continue };
            let Some((our_cpu, their_cpu)) = ours.cpu_us().zip(theirs.cpu_us()) else { continue };
            let claim = format!("CPU per call, {name} / {}", peer.name());
            report.budget(Budget::at_most(claim, our_cpu / their_cpu, limit));
            let claim = format!("calls per second, {name} / {}", peer.name());
            report.budget(Budget::at_least(claim, ours.tally.calls_per_s() / theirs.tally.calls_per_s(), 1.0 / limit));
        }
        if let Some(books) = &ours.ledger {
            let claim = format!("answered calls of {name} that are not exactly one row");
            report.budget(Budget::at_most(claim, books.answered.abs_diff(books.rows) as f64, 0.0));
        }
        if let Some(cpu_us) = ours.per_call_us(ours.committer_cpu) {
            let cpu_us = short(cpu_us);
            report.note(format!("the all-in-one spent {cpu_us} µs per call on committing and indexing behind {name}"));
        }
    }
    if let Some((intent, without)) = find(measured, Peer::Tollgate).zip(find(measured, Peer::Async)) {
        let claim = "calls per second, `ack: intent` / `ack: async`".to_owned();
        report.budget(Budget::at_least(claim, intent.tally.calls_per_s() / without.tally.calls_per_s(), INTENT_BUDGET));
    }
    if let Some(direct) = find(measured, Peer::Direct) {
        let ceiling = direct.tally.calls_per_s();
        report.note(format!("load generator and provider alone reach {ceiling:.0} calls/s on the same processors"));
    }
}
