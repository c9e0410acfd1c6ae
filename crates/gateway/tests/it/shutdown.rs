//! Stopping, and a log that takes nothing.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tollgate_interaction::Outcome;
use tollgate_wal::{GapReason, OnFull, WalSettings};

use crate::harness::{Bench, CHAT, chat, chat_stream, settings};
use crate::provider::{self, CHUNKS, Provider, Step, chunk, json, stream_head};

#[tokio::test]
async fn calls_in_flight_may_finish_and_no_new_connection_is_taken() {
    let up =
        Provider::answering([vec![Step::Wait(Duration::from_millis(200))], json(200, provider::CHAT)].concat()).await;
    let bench = Bench::start(settings(up.address)).await;
    let body = chat("up/small");
    let call = bench.post(CHAT, &body);
    let stop = async {
        tokio::time::sleep(Duration::from_millis(80)).await;
        bench.shutdown.cancel();
        tokio::time::sleep(Duration::from_millis(40)).await;
        assert!(TcpStream::connect(bench.address).await.is_err(), "nobody listens any more");
        assert!(!bench.gateway.is_ready());
    };
    let (answer, ()) = tokio::join!(call, stop);
    assert_eq!(answer.status, 200);
    assert_eq!(bench.row(&answer).record.outcome, Outcome::Success);
    let mut bench = bench;
    tokio::time::timeout(Duration::from_millis(400), &mut bench.serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn calls_that_do_not_finish_in_time_are_settled_as_interrupted() {
    let up = Provider::start(|request| {
        if request.body.contains("stream") {
            vec![stream_head(), chunk(CHUNKS[0]), Step::Hang]
        } else {
            vec![Step::Hang]
        }
    })
    .await;
    let mut set = settings(up.address);
    (set.timeouts.first_byte, set.timeouts.idle_stream) = (Duration::from_secs(60), Duration::from_secs(60));
    let mut bench = Bench::start(set).await;
    let mut callers = Vec::new();
    for body in [chat("up/small"), chat_stream("up/small")] {
        let mut caller = bench.raw().await;
        tokio::io::AsyncWriteExt::write_all(&mut caller, Bench::raw_request(CHAT, &body).as_bytes()).await.unwrap();
        callers.push(caller);
    }
    tokio::time::sleep(Duration::from_millis(150)).await;
    let started = Instant::now();
    bench.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), &mut bench.serving).await.unwrap().unwrap();
    assert!((500..2_000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    let rows = bench.rows();
    assert_eq!(rows.iter().map(|row| row.record.outcome).collect::<Vec<_>>(), [Outcome::Interrupted; 2]);
    assert!(rows.iter().all(|row| row.record.error_type.as_deref() == Some("interrupted") && row.was_opened));
}

fn tiny_log(on_full: OnFull) -> (tempfile::TempDir, WalSettings) {
    let dir = tempfile::tempdir().unwrap();
    let mut log = WalSettings::new(dir.path());
    (log.segment_bytes, log.quota_bytes, log.on_full) = (32 << 10, 64 << 10, on_full);
    (dir, log)
}

#[tokio::test]
async fn a_full_log_refuses_calls_before_any_provider_is_called() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let (dir, log) = tiny_log(OnFull::FailClosed);
    let bench = Bench::start_on(settings(up.address), dir, log).await;
    let mut answered = 0;
    for _ in 0..400 {
        let answer = bench.post(CHAT, &chat("up/small")).await;
        if answer.status != 200 {
            assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (503, &"log_unavailable".into()));
            break;
        }
        answered += 1;
    }
    assert!((1..400).contains(&answered));
    let called = up.received().len();
    assert_eq!(bench.post(CHAT, &chat("up/small")).await.status, 503);
    assert_eq!(up.received().len(), called, "a call without a record is not made");
}

#[tokio::test]
async fn a_full_log_lets_calls_pass_if_the_operator_wants_it_so() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let (dir, log) = tiny_log(OnFull::FailOpen);
    let bench = Bench::start_on(settings(up.address), dir, log).await;
    for _ in 0..400 {
        assert_eq!(bench.post(CHAT, &chat("up/small")).await.status, 200);
    }
    let (events, gaps) = bench.log();
    assert!(events.len() < 800);
    assert!(gaps.iter().all(|gap| matches!(gap.reason, GapReason::Dropped { .. })), "{gaps:?}");
}
