//! Budget: of a hundred streams at once, each piece takes at most 100 µs longer through ours than through nginx, at the
//! median. What one more process on the way costs on this machine is nobody's fault: both are compared with going directly
//! (`docs/adr/0017-what-forwarding-is-measured-against.md`).
//!
//! Each stream brings a piece every 20 ms, as a quick model does; a piece says when it was sent, and the reader, in the
//! same process, how long it took. A stream that has ended is followed by the next on the same connection.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::microseconds;
use crate::beat::{self, BEATS, INTERVAL};
use crate::call::Target;
use crate::histogram::Histogram;
use crate::peer::{Peer, Running};
use crate::report::{Budget, Report, short};
use crate::stage::Stage;
use crate::{Settings, say};

const STREAMS: u32 = 100;
const ADDED_P50_BUDGET_US: f64 = 100.0;
const PEERS: [Peer; 4] = [Peer::Direct, Peer::Nginx, Peer::Tollgate, Peer::Sidecar];
const READ_BYTES: usize = 16 * 1024;
/// A stream of two seconds that takes longer hangs.
const STREAM_TIMEOUT: Duration = Duration::from_secs(30);

/// Measures the pieces of streams, directly and through each.
///
/// # Errors
/// If one does not start, or a stream breaks off.
pub(crate) async fn run(settings: &Settings, stage: &Stage) -> anyhow::Result<Report> {
    let duration = settings.load();
    let title = format!("{STREAMS} streams at once, a piece every {INTERVAL:?}, for {duration:?}");
    let header = vec!["peer", "streams", "pieces", "p50 µs", "p99 µs", "added p50 µs", "CPU µs/piece"];
    let mut report = Report::start("relay", title, header);
    let mut direct: Option<Histogram> = None;
    let mut nginx_us: Option<f64> = None;
    for peer in PEERS.into_iter().filter(|&peer| peer == Peer::Direct || settings.measures(peer)) {
        say(&format!("relay: {}", peer.name()));
        let Measured { streams, latencies, cpu } = measure(settings, stage, peer, duration).await?;
        let direct = direct.get_or_insert_with(|| latencies.clone());
        let latency_us = |histogram: &Histogram, per_mille| microseconds(histogram.quantile(per_mille));
        let (p50, p99) = (latency_us(&latencies, 500), latency_us(&latencies, 990));
        let added = p50 - latency_us(direct, 500);
        let each = cpu.map(|cpu| microseconds(cpu) / latencies.count().max(1) as f64);
        let mut cells = vec![peer.name().to_owned(), streams.to_string(), latencies.count().to_string()];
        cells.extend([p50, p99, added].map(short));
        cells.push(each.map(short).unwrap_or_default());
        let kept = json!({"peer": peer.name(), "streams": streams, "pieces": latencies.count(), "p50_us": p50,
            "p99_us": p99, "added_p50_us": added, "cpu_us_per_piece": each});
        report.row(cells, kept);
        if peer == Peer::Nginx {
            nginx_us = Some(p50);
        }
        if let Some(nginx_us) = nginx_us.filter(|_| Peer::OURS.contains(&peer)) {
            let claim = format!("added to each piece by {} beside nginx, p50 in µs", peer.name());
            report.budget(Budget::at_most(claim, p50 - nginx_us, ADDED_P50_BUDGET_US));
        }
    }
    Ok(report)
}

struct Measured {
    streams: u64,
    latencies: Histogram,
    cpu: Option<Duration>,
}

async fn measure(settings: &Settings, stage: &Stage, peer: Peer, duration: Duration) -> anyhow::Result<Measured> {
    let mut running = peer.start(stage).await?;
    let target = running.target.carrying(&beat::request_body());
    let (warm_up, _) = load(&target, settings.warm_up()).await?;
    let before = running.server.as_mut().map(|server| server.cpu()).transpose()?;
    let (streams, latencies) = load(&target, duration).await?;
    let after = running.server.as_mut().map(|server| server.cpu()).transpose()?;
    let Running { answered, ledger, server, .. } = running;
    if let (Some(ledger), Some(server)) = (ledger, server) {
        let answered = answered + warm_up + streams;
        let rows = ledger.close(server, answered).await?;
        if rows != answered {
            bail!("`{}` has {rows} rows of {answered} answered calls", peer.name());
        }
    }
    let cpu = before.zip(after).map(|(before, after)| after.saturating_sub(before));
    Ok(Measured { streams, latencies, cpu })
}

/// Streams on every connection for `duration`; those that have begun are read to their end.
async fn load(target: &Target, duration: Duration) -> anyhow::Result<(u64, Histogram)> {
    let started = Instant::now();
    let mut loops = JoinSet::new();
    for number in 0..STREAMS {
        let target = target.clone();
        loops.spawn(async move {
            // Not all beat at once.
            tokio::time::sleep(INTERVAL * number / STREAMS).await;
            let (mut streams, mut latencies) = (0, Histogram::default());
            let mut connection = TcpStream::connect(target.address()).await?;
            connection.set_nodelay(true)?;
            while streams == 0 || started.elapsed() < duration {
                let stream = read_stream(&mut connection, target.request(), &mut latencies);
                tokio::time::timeout(STREAM_TIMEOUT, stream).await.context("a stream hangs")??;
                streams += 1;
            }
            anyhow::Ok((streams, latencies))
        });
    }
    let (mut streams, mut latencies) = (0, Histogram::default());
    while let Some(one) = loops.join_next().await {
        let (count, seen) = one??;
        streams += count;
        latencies.merge(&seen);
    }
    Ok((streams, latencies))
}

async fn read_stream(connection: &mut TcpStream, request: &[u8], latencies: &mut Histogram) -> anyhow::Result<()> {
    connection.write_all(request).await?;
    let (mut reader, mut buffer, mut beats) = (beat::Reader::default(), vec![0; READ_BYTES], 0);
    loop {
        let count = connection.read(&mut buffer).await?;
        if count == 0 {
            bail!("the connection was closed inside a stream");
        }
        let has_ended = reader.push(&buffer[..count], |took| {
            latencies.record(took);
            beats += 1;
        });
        if has_ended {
            break;
        }
    }
    if beats != BEATS {
        bail!("a stream had {beats} pieces of {BEATS}");
    }
    Ok(())
}
