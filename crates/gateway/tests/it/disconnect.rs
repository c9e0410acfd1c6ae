//! Callers who leave. They are charged for what they caused.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_gateway::{AckMode, OnDisconnect};
use tollgate_interaction::{Outcome, UsageSource};

use crate::harness::{Bench, CHAT, chat, chat_stream, settings};
use crate::provider::{self, CHUNKS, Provider, Step, chunk, end, json, stream_head};

/// Sends `body`, waits until `until` has been received, and hangs up.
async fn call_and_leave(bench: &Bench, body: &str, until: Option<&str>) {
    let mut caller = bench.raw().await;
    caller.write_all(Bench::raw_request(CHAT, body).as_bytes()).await.unwrap();
    let mut received = String::new();
    let mut piece = [0; 4_096];
    while until.is_some_and(|until| !received.contains(until)) {
        let read = caller.read(&mut piece).await.unwrap();
        received.push_str(std::str::from_utf8(&piece[..read]).unwrap());
    }
    if until.is_none() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn stream_with_a_pause() -> Vec<Step> {
    vec![
        stream_head(),
        chunk(CHUNKS[0]),
        Step::Wait(Duration::from_millis(300)),
        chunk(CHUNKS[1]),
        chunk(CHUNKS[2]),
        chunk(CHUNKS[3]),
        end(),
    ]
}

#[tokio::test]
async fn a_stream_whose_caller_left_is_read_to_its_end_and_charged_as_the_provider_counts() {
    let up = Provider::answering(stream_with_a_pause()).await;
    let bench = Bench::start(settings(up.address)).await;
    call_and_leave(&bench, &chat_stream("up/small"), Some("hello")).await;
    let row = bench.only_row().await;
    assert_eq!((row.record.outcome, row.record.http_status), (Outcome::Cancelled, Some(200)));
    assert_eq!(row.record.error_type.as_deref(), Some("client_disconnected"));
    assert_eq!((row.record.usage_source, row.record.usage.output_tokens), (UsageSource::Provider, Some(100)));
    assert!(row.record.cost_usd.is_some());
    assert_eq!(row.settled.response.body, CHUNKS.concat());
    assert_eq!(row.record.response_bytes, CHUNKS[0].len() as u64);
}

#[tokio::test]
async fn a_stream_whose_caller_left_can_be_broken_off_and_is_estimated() {
    let up = Provider::answering(stream_with_a_pause()).await;
    let mut cancelling = settings(up.address);
    cancelling.on_disconnect = OnDisconnect::Cancel;
    let bench = Bench::start(cancelling).await;
    call_and_leave(&bench, &chat_stream("up/small"), Some("hello")).await;
    let row = bench.only_row().await;
    assert_eq!((row.record.outcome, row.record.usage_source), (Outcome::Cancelled, UsageSource::Estimated));
    assert_eq!(row.record.usage.output_tokens, Some(2));
    assert!(row.record.usage.input_tokens.is_some_and(|tokens| tokens > 0) && row.record.cost_usd.is_some());
}

/// With threads to hand its work to, as in the binaries.
#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_is_in_the_model_s_own_tokens_where_they_are_known() {
    let up = Provider::answering(stream_with_a_pause()).await;
    let mut cancelling = settings(up.address);
    cancelling.on_disconnect = OnDisconnect::Cancel;
    let bench = Bench::start(cancelling).await;
    call_and_leave(&bench, &chat_stream("up/gpt-4o"), Some("hello")).await;
    let record = bench.only_row().await.record;
    assert_eq!((record.outcome, record.usage_source), (Outcome::Cancelled, UsageSource::Estimated));
    // `hi` and `hello` are a token each; three stand around the message and three before the answer.
    assert_eq!((record.usage.input_tokens, record.usage.output_tokens), (Some(1 + 3 + 3), Some(1)));
}

#[tokio::test]
async fn a_caller_who_leaves_before_the_answer_begins_is_charged_too() {
    for on_disconnect in [OnDisconnect::Drain, OnDisconnect::Cancel] {
        let up =
            Provider::answering([vec![Step::Wait(Duration::from_millis(250))], json(200, provider::CHAT)].concat())
                .await;
        let mut set = settings(up.address);
        set.on_disconnect = on_disconnect;
        let bench = Bench::start(set).await;
        call_and_leave(&bench, &chat("up/small"), None).await;
        let record = bench.only_row().await.record;
        assert_eq!((record.outcome, record.http_status), (Outcome::Cancelled, None));
        let source = if on_disconnect == OnDisconnect::Drain { UsageSource::Provider } else { UsageSource::Estimated };
        assert_eq!(record.usage_source, source);
        assert!(record.cost_usd.is_some());
    }
}

#[tokio::test]
async fn a_caller_who_leaves_before_its_body_is_complete_leaves_a_row() {
    let bench = Bench::start(settings(([127, 0, 0, 1], 1).into())).await;
    let mut caller = bench.raw().await;
    let request = Bench::raw_request(CHAT, &chat("sandbox/small"));
    caller.write_all(&request.as_bytes()[..request.len() - 5]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(caller);
    let row = bench.only_row().await;
    assert_eq!((row.record.outcome, row.record.team.as_str()), (Outcome::Cancelled, "kyc"));
    assert!(!row.was_opened && row.settled.request.is_some());
}

#[tokio::test]
async fn a_drain_is_bounded_in_time() {
    let up = Provider::answering(vec![stream_head(), chunk(CHUNKS[0]), Step::Hang]).await;
    let mut set = settings(up.address);
    set.timeouts.drain = Duration::from_millis(200);
    set.timeouts.idle_stream = Duration::from_secs(60);
    let bench = Bench::start(set).await;
    call_and_leave(&bench, &chat_stream("up/small"), Some("hello")).await;
    let row = tokio::time::timeout(Duration::from_secs(2), bench.only_row()).await.unwrap();
    assert_eq!((row.record.outcome, row.record.usage_source), (Outcome::Cancelled, UsageSource::Estimated));
}

#[tokio::test]
async fn every_ack_mode_ends_in_one_row() {
    for ack in [AckMode::Async, AckMode::Intent, AckMode::Sync] {
        let up = Provider::start(|request| {
            if request.body.contains("stream") { stream_with_a_pause() } else { json(200, provider::CHAT) }
        })
        .await;
        let mut set = settings(up.address);
        set.ack = ack;
        let bench = Bench::start(set).await;
        assert_eq!(bench.post(CHAT, &chat("up/small")).await.status, 200);
        let streamed = bench.post(CHAT, &chat_stream("up/small")).await;
        assert!(streamed.body.contains("data: [DONE]\n\n: tollgate cost_usd="), "{}", streamed.body);
        assert_eq!(bench.row(&streamed).record.outcome, Outcome::Success);
        assert!(bench.rows().iter().all(|row| row.was_opened));
        assert_eq!(bench.rows().len(), 2);
    }
}

#[tokio::test]
async fn an_alias_may_ask_for_more_than_the_log_does() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let mut set = settings(up.address);
    set.ack = AckMode::Async;
    set.models[0].ack = Some(AckMode::Sync);
    let bench = Bench::start(set).await;
    for _ in 0..20 {
        assert_eq!(bench.post(CHAT, &chat("assistant")).await.status, 200);
        let (appended, durable) = bench.log_position();
        assert_eq!(appended, durable, "what was answered is on the disk");
    }
}
