//! Two ways to put load on a server. A closed loop calls again as soon as it is answered and shows what a server can
//! do at most. A fixed rate calls when it is time, answered or not, and shows what callers see at that rate: a call
//! whose connection is still waiting for the one before counts from when it should have been made, so that a stall
//! is not hidden by the calls it held back (coordinated omission).
//!
//! Both run on the thread that awaits them: one thread of this generator makes more calls than any of the servers
//! takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;

use crate::call::{Connection, Target};
use crate::histogram::Histogram;

/// After a failed call, so that a server that is gone is not called in a frenzy.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(20);

/// What came back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Calls answered with status 200.
    pub(crate) answered: u64,
    /// All others.
    pub(crate) failed: u64,
    /// What was wrong with the first that failed.
    pub(crate) first_failure: Option<String>,
    /// Of those answered.
    pub(crate) latencies: Histogram,
    /// From the first call to the last answer.
    pub(crate) elapsed: Duration,
}

/// How far a load has come, for whoever watches it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Calls made, answered or not.
    pub(crate) begun: AtomicU64,
    /// Calls answered with status 200.
    pub(crate) answered: AtomicU64,
}

impl Tally {
    /// Answered calls in each second.
    pub(crate) fn calls_per_s(&self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    async fn make_watched_call(&mut self, connection: &mut Connection, counts_from: Instant, progress: &Progress) {
        progress.begun.fetch_add(1, Ordering::AcqRel);
        let answered_before = self.answered;
        self.make_call(connection, counts_from).await;
        progress.answered.fetch_add(self.answered - answered_before, Ordering::AcqRel);
    }

    async fn make_call(&mut self, connection: &mut Connection, counts_from: Instant) {
        match connection.call().await {
            Ok(()) => {
                self.answered += 1;
                self.latencies.record(counts_from.elapsed());
            }
            Err(error) => {
                self.failed += 1;
                self.first_failure.get_or_insert_with(|| format!("{error:#}"));
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
    }

    fn merge(&mut self, other: Tally) {
        self.answered += other.answered;
        self.failed += other.failed;
        self.first_failure = self.first_failure.take().or(other.first_failure);
        self.latencies.merge(&other.latencies);
    }
}

/// Each connection calls again when it is answered, for `duration`; calls in flight then are waited for and count.
///
/// # Errors
/// If nobody listens.
pub(crate) async fn closed_loop(target: &Target, connections: usize, duration: Duration) -> anyhow::Result<Tally> {
    let opened = open_all(target, connections).await?;
    let started = Instant::now();
    let mut loops = JoinSet::new();
    for mut connection in opened {
        loops.spawn(async move {
            let mut tally = Tally::default();
            while started.elapsed() < duration {
                tally.make_call(&mut connection, Instant::now()).await;
            }
            tally
        });
    }
    sum(loops, started).await
}

/// `calls_per_s` calls in each second, evenly spaced and dealt out to the connections in turn, for `duration`.
///
/// # Errors
/// If nobody listens.
pub(crate) async fn fixed_rate(
    target: &Target,
    connections: usize,
    calls_per_s: u32,
    duration: Duration,
    progress: Arc<Progress>,
) -> anyhow::Result<Tally> {
    let opened = open_all(target, connections).await?;
    let gap = Duration::from_secs(1) / calls_per_s;
    let calls = u32::try_from(duration.as_nanos() / gap.as_nanos().max(1)).context("too many calls")?;
    let started = Instant::now();
    let mut loops = JoinSet::new();
    for (first, mut connection) in (0..calls).zip(opened) {
        let progress = Arc::clone(&progress);
        loops.spawn(async move {
            let mut tally = Tally::default();
            for call in (first..calls).step_by(connections) {
                let due = started + gap * call;
                // A timer that rings late is the generator's fault: such a call counts from when it is made.
                let counts_from = if Instant::now() < due {
                    tokio::time::sleep_until(due.into()).await;
                    Instant::now()
                } else {
                    due
                };
                tally.make_watched_call(&mut connection, counts_from, &progress).await;
            }
            tally
        });
    }
    sum(loops, started).await
}

async fn open_all(target: &Target, connections: usize) -> anyhow::Result<Vec<Connection>> {
    let mut opened = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut connection = Connection::new(target);
        connection.open().await?;
        opened.push(connection);
    }
    Ok(opened)
}

async fn sum(mut loops: JoinSet<Tally>, started: Instant) -> anyhow::Result<Tally> {
    let mut total = Tally::default();
    while let Some(tally) = loops.join_next().await {
        total.merge(tally?);
    }
    total.elapsed = started.elapsed();
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::StaticUpstream;

    #[tokio::test]
    async fn a_closed_loop_is_answered_on_every_connection() {
        let upstream = StaticUpstream::start().unwrap();
        let target = Target::new(upstream.address(), &[]);
        let tally = closed_loop(&target, 4, Duration::from_millis(200)).await.unwrap();
        assert_eq!((tally.failed, tally.first_failure), (0, None));
        assert!(tally.answered >= 4, "{}", tally.answered);
    }

    #[tokio::test]
    async fn a_fixed_rate_makes_as_many_calls_as_are_due() {
        let upstream = StaticUpstream::start().unwrap();
        let target = Target::new(upstream.address(), &[]);
        let tally = fixed_rate(&target, 3, 100, Duration::from_millis(300), Arc::default()).await.unwrap();
        assert_eq!((tally.answered, tally.failed), (30, 0));
    }

    #[tokio::test]
    async fn a_stall_is_charged_to_every_call_that_it_held_back() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::new(listener.local_addr().unwrap(), &[]);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut wire = crate::message::Wire::new(stream);
            // The first answer takes 200 ms, the others nothing.
            let mut delay = Duration::from_millis(200);
            while wire.read().await.unwrap().is_some() {
                tokio::time::sleep(std::mem::take(&mut delay)).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                tokio::io::AsyncWriteExt::write_all(&mut wire.stream, answer).await.unwrap();
            }
        });
        let tally = fixed_rate(&target, 1, 100, Duration::from_millis(200), Arc::default()).await.unwrap();
        assert_eq!(tally.answered, 20);
        // Due every 10 ms behind a stall of 200 ms: the median call was held back for about 100 ms.
        let median = tally.latencies.quantile(500);
        assert!(median > Duration::from_millis(50), "{median:?}");
    }

    #[tokio::test]
    async fn refusals_are_failures_and_the_first_is_kept() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::new(listener.local_addr().unwrap(), &[]);
        let mut server = JoinSet::new();
        server.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut wire = crate::message::Wire::new(stream);
                wire.read().await.unwrap();
                let answer = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 6\r\n\r\nno key";
                tokio::io::AsyncWriteExt::write_all(&mut wire.stream, answer).await.unwrap();
            }
        });
        let tally = closed_loop(&target, 1, Duration::from_millis(50)).await.unwrap();
        assert!(tally.answered == 0 && tally.failed > 0);
        assert_eq!(tally.first_failure.unwrap(), "answered with status 401: no key");
    }
}
