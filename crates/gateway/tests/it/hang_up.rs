//! Callers who leave at every moment of every answer: before it, after its head, after each of its events, and after half of
//! a whole one; each kind of caller at each kind of provider, drained and cancelled. Whatever the moment, there is exactly
//! one row, and nothing was free by accident.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollgate_gateway::OnDisconnect;
use tollgate_interaction::{Dialect, Outcome, Usage, UsageSource, Usd};

use crate::golden::{self, CALLERS, Caller};
use crate::harness::{Bench, Row, settings};
use crate::provider::{self, Provider, Step, chunk, end, json, stream_head_of};

const SCENARIOS: [&str; 2] = ["text", "tool_call"];

/// A gateway and a provider that does what it is told next, with what has been done so far.
struct Stage {
    bench: Bench,
    up: Provider,
    next: Arc<Mutex<Vec<Step>>>,
    on_disconnect: OnDisconnect,
    calls: usize,
}

/// The moment at which a caller leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    BeforeTheHead,
    /// After so many events, of a stream.
    After(usize),
    /// After half of a whole answer.
    Halfway,
}

impl Stage {
    async fn set(on_disconnect: OnDisconnect, has_responses: bool) -> Stage {
        let next = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&next);
        let up = Provider::start(move |_| told.lock().clone()).await;
        let mut settings = settings(up.address);
        settings.on_disconnect = on_disconnect;
        settings.timeouts.first_byte = Duration::from_secs(10);
        settings.timeouts.idle_stream = Duration::from_secs(10);
        settings.timeouts.drain = Duration::from_secs(10);
        settings.providers[0].has_responses = has_responses;
        Stage { bench: Bench::start(settings).await, up, next, on_disconnect, calls: 0 }
    }

    /// Calls, leaves when the provider pauses, and returns the row.
    async fn leave(&mut self, (path, body): &(String, String), steps: Vec<Step>) -> Row {
        *self.next.lock() = steps;
        self.calls += 1;
        let calls = self.calls;
        let mut caller = self.bench.raw().await;
        caller.write_all(Bench::raw_request(path, body).as_bytes()).await.unwrap();
        self.up.until(|up| up.pauses == calls).await;
        read_what_there_is(&mut caller).await;
        drop(caller);
        match self.on_disconnect {
            OnDisconnect::Cancel => self.up.until(|up| up.broken_off == calls).await,
            OnDisconnect::Drain => {
                // Else the answer may be whole before anybody has noticed.
                while self.bench.gateway.stats().connections > 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                self.up.go_on();
                self.up.until(|up| up.finished == calls).await;
            }
        }
        self.bench.last_of(calls).await
    }

    fn check_connections(&self) {
        let connections = self.up.connections();
        match self.on_disconnect {
            OnDisconnect::Cancel => assert_eq!(connections, self.calls, "each was broken off"),
            OnDisconnect::Drain => assert_eq!(connections, 1, "one was read to the end each time, and used again"),
        }
    }
}

/// Reads until nothing comes any more.
async fn read_what_there_is(caller: &mut TcpStream) {
    let mut piece = [0; 65_536];
    while let Ok(read) = tokio::time::timeout(Duration::from_millis(6), caller.read(&mut piece)).await {
        assert!(read.unwrap() > 0, "the gateway hung up first");
    }
}

fn streamed(spoken: Dialect, scenario: &str, moment: Moment) -> Vec<Step> {
    let events = golden::events(spoken, scenario);
    let head = stream_head_of(golden::stream_type(spoken));
    let Moment::After(count) = moment else {
        let events = events.iter().map(chunk);
        return [Step::Pause, head].into_iter().chain(events).chain([end()]).collect();
    };
    let (before, after) = events.split_at(count);
    let mut steps = vec![head];
    steps.extend(before.iter().map(chunk));
    steps.push(Step::Pause);
    steps.extend(after.iter().map(chunk));
    steps.push(end());
    steps
}

fn whole(spoken: Dialect, scenario: &str, moment: Moment) -> Vec<Step> {
    let answer = golden::answer(spoken, scenario);
    let steps = json(200, &answer);
    let [Step::Send(bytes)] = steps.as_slice() else { panic!("{steps:?}") };
    match moment {
        Moment::BeforeTheHead => [vec![Step::Pause], steps].concat(),
        Moment::After(_) | Moment::Halfway => {
            let body_at = bytes.len() - answer.len();
            let cut = if moment == Moment::Halfway { body_at + answer.len() / 2 } else { body_at };
            vec![Step::Send(bytes.slice(..cut)), Step::Pause, Step::Send(bytes.slice(cut..))]
        }
    }
}

/// What must hold whoever left when.
fn check(row: &Row, spoken: Dialect, on_disconnect: OnDisconnect, moment: Moment, counted: &Usage, what: &str) {
    let record = &row.record;
    assert_eq!(record.outcome, Outcome::Cancelled, "{what}: {record:?}");
    assert_eq!(record.error_type.as_deref(), Some("client_disconnected"), "{what}");
    assert_eq!(record.upstream_dialect, Some(spoken), "{what}");
    assert!(row.was_opened, "{what}");
    let left = record.tags.iter().find(|(name, _)| name == "tollgate.caller_left_after_ms");
    assert_eq!(left.is_some(), on_disconnect == OnDisconnect::Drain, "{what}: whoever left before the end is noted");
    if let Some((_, after_ms)) = left {
        assert!(after_ms.parse::<u64>().unwrap() <= record.latency_us / 1_000, "{what}: {after_ms} ms");
    }
    assert!(record.cost_usd.is_some_and(|cost| cost > Usd::ZERO), "{what}: {:?} {:?}", record.cost_usd, record.usage);
    assert!(record.attempts.len() == 1 && record.attempts[0].cost_usd == record.cost_usd, "{what}");
    let counts = |usage: &Usage| (usage.input_tokens, usage.output_tokens);
    match (on_disconnect, record.usage_source) {
        (OnDisconnect::Drain, source) => {
            assert_eq!((source, counts(&record.usage)), (UsageSource::Provider, counts(counted)), "{what}");
        }
        (OnDisconnect::Cancel, UsageSource::Provider) => assert_eq!(counts(&record.usage), counts(counted), "{what}"),
        (OnDisconnect::Cancel, UsageSource::Partial) => {
            assert_eq!(record.usage.input_tokens, counted.input_tokens, "{what}");
        }
        (OnDisconnect::Cancel, UsageSource::Estimated) => {
            assert!(record.usage.input_tokens > Some(0) && record.usage.output_tokens.is_some(), "{what}");
            // Claude counts the prompt in its first event.
            let has_counted = spoken == Dialect::Anthropic && matches!(moment, Moment::After(1..));
            assert!(!has_counted, "{what}: what was counted is lost");
        }
        (OnDisconnect::Cancel, UsageSource::None) => panic!("{what}: nobody counted"),
    }
}

async fn leave_everywhere(name: &str, spoken: Dialect, callers: &[Caller], on_disconnect: OnDisconnect) {
    let mut stage = Stage::set(on_disconnect, spoken == Dialect::Responses).await;
    for scenario in SCENARIOS {
        let counted = golden::usage(spoken, scenario);
        let events = golden::events(spoken, scenario).len();
        for &caller in callers {
            let ask = |stream| {
                let (path, body) = golden::request(caller, scenario, &format!("{name}/small"), stream);
                (path, body.to_string())
            };
            let request = ask(true);
            for moment in std::iter::once(Moment::BeforeTheHead).chain((0..=events).map(Moment::After)) {
                let row = stage.leave(&request, streamed(spoken, scenario, moment)).await;
                let what =
                    format!("{caller:?} leaves `{name}` {moment:?} of {events}, `{scenario}`, {on_disconnect:?}");
                check(&row, spoken, on_disconnect, moment, &counted, &what);
                assert!(row.record.stream, "{what}");
            }
            if !caller.events {
                continue;
            }
            let request = ask(false);
            for moment in [Moment::BeforeTheHead, Moment::After(0), Moment::Halfway] {
                let row = stage.leave(&request, whole(spoken, scenario, moment)).await;
                let what = format!("{caller:?} leaves `{name}` {moment:?}, `{scenario}` whole, {on_disconnect:?}");
                check(&row, spoken, on_disconnect, moment, &counted, &what);
            }
        }
    }
    stage.check_connections();
}

#[tokio::test]
async fn a_caller_of_openai_may_leave_at_any_event() {
    for on_disconnect in [OnDisconnect::Cancel, OnDisconnect::Drain] {
        leave_everywhere("up", Dialect::Openai, &CALLERS, on_disconnect).await;
    }
}

#[tokio::test]
async fn a_caller_of_anthropic_may_leave_at_any_event() {
    for on_disconnect in [OnDisconnect::Cancel, OnDisconnect::Drain] {
        leave_everywhere("claude", Dialect::Anthropic, &CALLERS, on_disconnect).await;
    }
}

#[tokio::test]
async fn a_caller_of_gemini_may_leave_at_any_event() {
    for on_disconnect in [OnDisconnect::Cancel, OnDisconnect::Drain] {
        leave_everywhere("google", Dialect::Gemini, &CALLERS, on_disconnect).await;
    }
}

#[tokio::test]
async fn a_caller_of_bedrock_may_leave_at_any_event() {
    for on_disconnect in [OnDisconnect::Cancel, OnDisconnect::Drain] {
        leave_everywhere("amazon", Dialect::Bedrock, &CALLERS, on_disconnect).await;
    }
}

#[tokio::test]
async fn a_caller_of_the_responses_api_may_leave_at_any_event() {
    let callers = [Caller { dialect: Dialect::Responses, events: true }];
    for on_disconnect in [OnDisconnect::Cancel, OnDisconnect::Drain] {
        leave_everywhere("up", Dialect::Responses, &callers, on_disconnect).await;
    }
}

#[tokio::test]
async fn what_was_counted_before_a_caller_left_is_kept_and_the_rest_is_estimated() {
    let mut stage = Stage::set(OnDisconnect::Cancel, false).await;
    let caller = Caller { dialect: Dialect::Openai, events: true };
    let (path, body) = golden::request(caller, "text", "claude/small", true);
    // The first event counts 25 tokens read and one written; 32 characters follow, and no count of them.
    let events = golden::events(Dialect::Anthropic, "message_stream_cut");
    let head = stream_head_of(golden::stream_type(Dialect::Anthropic));
    let steps = [head].into_iter().chain(events.iter().map(chunk)).chain([Step::Pause]);
    let record = stage.leave(&(path, body.to_string()), steps.collect()).await.record;
    assert_eq!((record.usage_source, record.usage.input_tokens), (UsageSource::Partial, Some(25)));
    assert_eq!(record.usage.output_tokens, Some(8));
}

#[tokio::test]
async fn nobody_pays_for_a_refusal_that_came_after_the_caller_had_left() {
    let refusal = json(429, r#"{"error":{"message":"slow down","type":"rate_limit_error"}}"#);
    for on_disconnect in [OnDisconnect::Cancel, OnDisconnect::Drain] {
        let mut stage = Stage::set(on_disconnect, false).await;
        let caller = Caller { dialect: Dialect::Openai, events: true };
        let (path, body) = golden::request(caller, "text", "up/small", false);
        let request = (path, body.to_string());
        let record = stage.leave(&request, [vec![Step::Pause], refusal.clone()].concat()).await.record;
        assert_eq!(record.outcome, Outcome::Cancelled);
        let is_drained = on_disconnect == OnDisconnect::Drain;
        // Of one that was broken off nobody knows that it would have been refused.
        assert_eq!(record.attempts[0].http_status, is_drained.then_some(429));
        assert_eq!((record.cost_usd.is_none(), record.usage.is_empty()), (is_drained, is_drained), "{record:?}");
        // The head says it.
        let [Step::Send(bytes)] = refusal.as_slice() else { panic!() };
        let cut = bytes.len() - 4;
        let steps = vec![Step::Send(bytes.slice(..cut)), Step::Pause, Step::Send(bytes.slice(cut..))];
        let record = stage.leave(&request, steps).await.record;
        assert_eq!((record.outcome, record.attempts[0].http_status), (Outcome::Cancelled, Some(429)));
        assert_eq!((record.cost_usd, record.usage.is_empty()), (None, true), "{record:?}");
    }
}

#[tokio::test]
async fn nobody_pays_for_a_provider_that_was_not_reached() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let mut settings = settings(up.address);
    // A place that never answers a handshake: nobody accepts, and the queue is full.
    let deaf = tokio::net::TcpSocket::new_v4().unwrap();
    deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = deaf.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let connect = tokio::time::timeout(Duration::from_millis(50), TcpStream::connect(address));
        waiting.extend(connect.await);
    }
    settings.providers[0].base_url = format!("http://{address}");
    settings.timeouts.connect = Duration::from_secs(10);
    let bench = Bench::start(settings).await;
    let mut caller = bench.raw().await;
    let (path, body) = golden::request(CALLERS[0], "text", "up/small", false);
    caller.write_all(Bench::raw_request(&path, &body.to_string()).as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(caller);
    let record = bench.only_row().await.record;
    assert_eq!((record.outcome, record.cost_usd, record.usage.is_empty()), (Outcome::Cancelled, None, true));
    assert_eq!(record.attempts[0].error_class.as_deref(), Some("client_disconnected"));
}
