//! Which target a call goes to, in which order, and what becomes of those that fail, are slow, or are only asked to compare.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate_gateway::{Breaker, GatewaySettings, ModelRoute};
use tollgate_interaction::{Outcome, Share};
use tollgate_policy::ledger::Sums;
use tollgate_policy::route::{
    CircuitState, Conduct, Floor, Hedge, HedgeAfter, OnUnknown, RestReason, Retries, Shadow, Span, Strategy,
    TargetHealth, TimeLimits, WhenAllRest,
};
use tollgate_policy::signals::{SignalsSnapshot, TargetSignals};
use tollgate_provider::Catalog;
use tollgate_provider::price::CatalogDocument;

use crate::harness::{Answer, Bench, CHAT, chat, chat_stream, now_us, settings};
use crate::provider::{self, CHUNKS, Provider, Received, Step, chunk, json, respond, stream_head};

const BUSY: &str = r#"{"error":{"message":"busy","type":"server_error"}}"#;

/// `assistant` is `up/large`, then `up/small`, conducted like this.
fn conducted(up: &Provider, conduct: Conduct) -> GatewaySettings {
    let mut settings = settings(up.address);
    settings.models[0].conduct = conduct;
    settings
}

fn by(strategy: Strategy) -> Conduct {
    Conduct { strategy, ..Conduct::default() }
}

/// Answers calls of `large` by these steps and all others at once.
async fn large_does(steps: Vec<Step>) -> Provider {
    Provider::start(move |request| if is_large(request) { steps.clone() } else { json(200, provider::CHAT) }).await
}

fn is_large(request: &Received) -> bool {
    request.body.contains("large")
}

fn candidates(bench: &Bench, answer: &Answer) -> Vec<(String, Option<String>)> {
    let record = bench.row(answer).record;
    record.candidates.into_iter().map(|candidate| (candidate.model, candidate.rejected_because)).collect()
}

fn models_tried(bench: &Bench, answer: &Answer) -> Vec<String> {
    bench.row(answer).record.attempts.into_iter().map(|attempt| attempt.model).collect()
}

fn signals(bench: &Bench, targets: &[(&str, TargetSignals)]) {
    let now_us = now_us();
    bench.signals.store(Arc::new(SignalsSnapshot {
        id: "sig-routing".into(),
        taken_at_us: now_us,
        targets: targets.iter().map(|(name, seen)| ((*name).to_owned(), seen.clone())).collect(),
        budgets: Sums::of(bench.control.load().bundle.tallies()),
        ..SignalsSnapshot::default()
    }));
}

fn target_health(bench: &Bench, model: &str) -> TargetHealth {
    let look = bench.gateway.models();
    let assistant = look.routes.iter().find(|route| route.alias == "assistant").unwrap();
    assistant.targets.iter().find(|target| target.model == model).unwrap().health.clone()
}

fn quick_breaker() -> Breaker {
    Breaker { failures: 3, cooldown: Duration::from_millis(300), ..Breaker::default() }
}

#[tokio::test]
async fn a_target_that_keeps_failing_rests_and_comes_back_once_a_call_has_tried_it() {
    let is_well = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&is_well);
    let up = Provider::start(move |request| {
        let fails = is_large(request) && !seen.load(std::sync::atomic::Ordering::Relaxed);
        if fails { json(500, BUSY) } else { json(200, provider::CHAT) }
    })
    .await;
    let bench = Bench::start(GatewaySettings { breaker: quick_breaker(), ..settings(up.address) }).await;
    for _ in 0..3 {
        let answer = bench.post(CHAT, &chat("assistant")).await;
        assert_eq!(models_tried(&bench, &answer), ["large", "small"]);
    }
    let health = target_health(&bench, "large");
    assert_eq!((health.circuit, health.resting_because), (CircuitState::Open, Some(RestReason::Failures)));
    assert_eq!((health.window_calls, health.window_errors), (3, 3));
    let answer = bench.post(CHAT, &chat("assistant")).await;
    assert_eq!(models_tried(&bench, &answer), ["small"]);
    let why = Some("resting_after_failures".to_owned());
    assert_eq!(candidates(&bench, &answer), [("small".into(), None), ("large".into(), why)]);

    is_well.store(true, std::sync::atomic::Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(310)).await;
    assert_eq!(target_health(&bench, "large").circuit, CircuitState::HalfOpen);
    let answer = bench.post(CHAT, &chat("assistant")).await;
    assert_eq!(models_tried(&bench, &answer), ["large"]);
    assert_eq!(target_health(&bench, "large").circuit, CircuitState::Closed);
}

#[tokio::test]
async fn one_call_alone_tries_a_target_that_rested() {
    let is_well = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&is_well);
    let up =
        Provider::start(move |request| match (is_large(request), seen.load(std::sync::atomic::Ordering::Relaxed)) {
            (true, false) => json(500, BUSY),
            (true, true) => [vec![Step::Pause], json(200, provider::CHAT)].concat(),
            (false, _) => json(200, provider::CHAT),
        })
        .await;
    let bench = Arc::new(Bench::start(GatewaySettings { breaker: quick_breaker(), ..settings(up.address) }).await);
    for _ in 0..3 {
        bench.post(CHAT, &chat("assistant")).await;
    }
    is_well.store(true, std::sync::atomic::Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(310)).await;
    let prober = Arc::clone(&bench);
    let probe = tokio::spawn(async move { prober.post(CHAT, &chat("assistant")).await });
    up.until(|progress| progress.pauses == 1).await;
    assert_eq!(target_health(&bench, "large").in_flight, 1);
    for _ in 0..2 {
        let answer = bench.post(CHAT, &chat("assistant")).await;
        assert_eq!(models_tried(&bench, &answer), ["small"]);
    }
    up.go_on();
    let answer = probe.await.unwrap();
    assert_eq!(models_tried(&bench, &answer), ["large"]);
    assert_eq!(
        (target_health(&bench, "large").circuit, target_health(&bench, "large").in_flight),
        (CircuitState::Closed, 0)
    );
}

#[tokio::test]
async fn refused_credentials_open_the_circuit_at_once_and_say_so() {
    let up = large_does(json(401, r#"{"error":{"message":"bad key"}}"#)).await;
    let bench = Bench::start(settings(up.address)).await;
    bench.post(CHAT, &chat("assistant")).await;
    assert_eq!(target_health(&bench, "large").resting_because, Some(RestReason::Credentials));
    let answer = bench.post(CHAT, &chat("assistant")).await;
    let why = Some("resting_after_refused_credentials".to_owned());
    assert_eq!(candidates(&bench, &answer)[1], ("large".into(), why));
}

#[tokio::test]
async fn a_stated_wait_is_kept_by_every_later_call() {
    let headers = "content-type: application/json\r\nretry-after: 1\r\n";
    let slow_down = r#"{"error":{"message":"slow","type":"rate_limit_error"}}"#;
    let up = large_does(respond(429, headers, slow_down)).await;
    let bench = Bench::start(settings(up.address)).await;
    bench.post(CHAT, &chat("assistant")).await;
    let answer = bench.post(CHAT, &chat("assistant")).await;
    let why = Some("resting_until_retry_after".to_owned());
    assert_eq!(candidates(&bench, &answer), [("small".into(), None), ("large".into(), why)]);
    // Alone, it is not called either, and the caller is told when to come back.
    let calls = up.received().len();
    let answer = bench.post(CHAT, &chat("up/large")).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "1"), "{}", answer.body);
    assert_eq!(answer.json()["error"]["code"], "targets_resting");
    assert_eq!(up.received().len(), calls);
    let row = bench.row(&answer);
    assert_eq!((row.record.outcome, row.record.attempts.len()), (Outcome::Failed, 0));
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    bench.post(CHAT, &chat("assistant")).await;
    assert!(up.received().len() > calls + 1, "it is called again");
}

#[tokio::test]
async fn a_lone_target_that_fails_is_tried_all_the_same_unless_the_route_says_otherwise() {
    let up = Provider::answering(json(500, BUSY)).await;
    for (when_all_rest, code) in [(WhenAllRest::Try, "upstream_error"), (WhenAllRest::Refuse, "targets_resting")] {
        let breaker = Breaker { failures: 1, ..Breaker::default() };
        let bench = Bench::start(GatewaySettings { breaker, when_all_rest, ..settings(up.address) }).await;
        bench.post(CHAT, &chat("up/small")).await;
        let answer = bench.post(CHAT, &chat("up/small")).await;
        let error = bench.row(&answer).record.error_type.unwrap();
        let is_theirs = error != "targets_resting";
        assert_eq!(is_theirs, code == "upstream_error", "{error}");
        assert_eq!(answer.status.as_u16(), if is_theirs { 500 } else { 503 });
    }
}

/// Fails the first `failures` calls with `steps`.
async fn failing_first(failures: usize, steps: Vec<Step>) -> Provider {
    let calls = std::sync::atomic::AtomicUsize::new(0);
    Provider::start(move |_| {
        let number = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if number < failures { steps.clone() } else { json(200, provider::CHAT) }
    })
    .await
}

#[tokio::test]
async fn a_call_is_tried_again_after_a_pause_and_the_row_has_every_attempt() {
    let up = failing_first(2, json(503, BUSY)).await;
    let retries = Retries { max: 2, base: Span::from_ms(40), cap: Span::from_ms(80) };
    let bench = Bench::start(GatewaySettings { retries, ..settings(up.address) }).await;
    let answer = bench.post(CHAT, &chat("up/small")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-attempts")), (200, "3"));
    let statuses: Vec<_> = bench.row(&answer).record.attempts.iter().map(|attempt| attempt.http_status).collect();
    assert_eq!(statuses, [Some(503), Some(503), Some(200)]);
}

#[tokio::test]
async fn what_another_try_would_meet_again_is_not_tried_again() {
    let retries = Retries { max: 3, ..Retries::NONE };
    for status in [400, 401, 402] {
        let up = Provider::answering(json(status, r#"{"error":{"message":"no","type":"t"}}"#)).await;
        let bench = Bench::start(GatewaySettings { retries, ..settings(up.address) }).await;
        let answer = bench.post(CHAT, &chat("up/small")).await;
        assert_eq!(bench.row(&answer).record.attempts.len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_retry_waits_as_long_as_the_provider_asks_if_the_call_may_take_that_long() {
    let headers = "content-type: application/json\r\nretry-after: 1\r\n";
    let slow_down = r#"{"error":{"message":"slow","type":"rate_limit_error"}}"#;
    let retries = Retries { max: 1, ..Retries::NONE };
    let up = failing_first(1, respond(429, headers, slow_down)).await;
    let bench = Bench::start(GatewaySettings { retries, ..settings(up.address) }).await;
    let started = Instant::now();
    let answer = bench.post(CHAT, &chat("up/small")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-attempts")), (200, "2"), "{}", answer.body);
    assert!((1_000..3_000).contains(&started.elapsed().as_millis()));
    // With less time than that the caller hears at once.
    let up = failing_first(1, respond(429, headers, slow_down)).await;
    let mut settings = GatewaySettings { retries, ..settings(up.address) };
    settings.timeouts.total = Duration::from_millis(900);
    let bench = Bench::start(settings).await;
    let started = Instant::now();
    let answer = bench.post(CHAT, &chat("up/small")).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "1"));
    assert!(started.elapsed() < Duration::from_millis(600));
}

#[tokio::test]
async fn a_route_has_its_own_patience() {
    let up = large_does(vec![Step::Hang]).await;
    let timeouts = TimeLimits { per_try: Some(Span::from_ms(50)), ..TimeLimits::default() };
    let bench = Bench::start(conducted(&up, Conduct { timeouts, ..Conduct::default() })).await;
    let started = Instant::now();
    let answer = bench.post(CHAT, &chat("assistant")).await;
    assert_eq!(models_tried(&bench, &answer), ["large", "small"]);
    assert!(started.elapsed() < Duration::from_millis(300));

    let up = Provider::answering(vec![Step::Hang]).await;
    let timeouts = TimeLimits { total: Some(Span::from_ms(100)), ..TimeLimits::default() };
    let bench = Bench::start(conducted(&up, Conduct { timeouts, ..Conduct::default() })).await;
    let started = Instant::now();
    let answer = bench.post(CHAT, &chat("assistant")).await;
    assert_eq!((answer.status.as_u16(), models_tried(&bench, &answer)), (504, vec!["large".to_owned()]));
    assert!(started.elapsed() < Duration::from_millis(300), "the second target had no time left");
}

#[tokio::test]
async fn a_stream_that_has_begun_is_not_begun_again_elsewhere() {
    let up = large_does(vec![stream_head(), chunk(CHUNKS[0]), Step::Close]).await;
    let retries = Some(Retries { max: 2, ..Retries::NONE });
    let bench = Bench::start(conducted(&up, Conduct { retries, ..Conduct::default() })).await;
    let answer = bench.post(CHAT, &chat_stream("assistant")).await;
    assert_eq!(models_tried(&bench, &answer), ["large"]);
    assert!(answer.body.contains("upstream_incomplete"));
    assert_eq!(target_health(&bench, "large").window_errors, 1, "what breaks off counts against its target");
}

fn hedged(after_ms: u64) -> Conduct {
    let after = HedgeAfter::Fixed(Span::from_ms(after_ms));
    Conduct { hedge: Some(Hedge { after, max: 1 }), ..Conduct::default() }
}

#[tokio::test]
async fn a_second_attempt_that_answers_first_has_the_call_and_the_slow_one_is_broken_off() {
    let up = large_does(vec![Step::Pause]).await;
    let bench = Bench::start(conducted(&up, hedged(40))).await;
    let answer = bench.post(CHAT, &chat("assistant")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-model")), (200, "small"));
    up.until(|progress| progress.broken_off == 1).await;
    let record = bench.row(&answer).record;
    let attempts: Vec<_> =
        record.attempts.iter().map(|a| (a.model.as_str(), a.error_class.as_deref(), a.cost_usd.is_some())).collect();
    assert_eq!(attempts, [("large", Some("overtaken"), true), ("small", None, true)]);
    let costs: Vec<_> = record.attempts.iter().filter_map(|attempt| attempt.cost_usd).collect();
    assert_eq!(record.cost_usd, Some(costs[0] + costs[1]), "the slow one has read the prompt and charges for it");
    assert!(record.attempts[0].output_tokens == Some(0) && costs[0] < costs[1]);
    assert!(record.attempts[0].duration_us >= 40_000);
    assert_eq!((record.outcome, record.usage.input_tokens), (Outcome::Success, Some(1_000)));
    assert_eq!((target_health(&bench, "large").in_flight, target_health(&bench, "small").in_flight), (0, 0));
    assert_eq!(target_health(&bench, "large").window_errors, 0, "to be overtaken is no failure");
}

#[tokio::test]
async fn a_first_attempt_that_answers_after_all_keeps_the_call() {
    let up = Provider::start(|request| {
        if is_large(request) {
            return [vec![Step::Wait(Duration::from_millis(120))], json(200, provider::CHAT)].concat();
        }
        vec![Step::Pause]
    })
    .await;
    let bench = Bench::start(conducted(&up, hedged(40))).await;
    let answer = bench.post(CHAT, &chat("assistant")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-model")), (200, "large"));
    let record = bench.row(&answer).record;
    let attempts: Vec<_> = record.attempts.iter().map(|a| (a.model.as_str(), a.error_class.as_deref())).collect();
    assert_eq!(attempts, [("large", None), ("small", Some("overtaken"))]);
    assert_eq!((record.provider.as_deref(), record.attempts[0].input_tokens), (Some("up"), Some(1_000)));
}

#[tokio::test]
async fn a_quick_answer_is_not_hedged_and_a_failed_one_is_only_followed() {
    let up = large_does(json(500, BUSY)).await;
    let bench = Bench::start(conducted(&up, hedged(300))).await;
    let answer = bench.post(CHAT, &chat("assistant")).await;
    let record = bench.row(&answer).record;
    let attempts: Vec<_> = record.attempts.iter().map(|a| (a.model.as_str(), a.http_status)).collect();
    assert_eq!(attempts, [("large", Some(500)), ("small", Some(200))]);
    assert!(record.latency_us < 250_000, "nobody waited for the hedge");
    let answer = bench.post(CHAT, &chat("mixed")).await;
    assert_eq!(bench.row(&answer).record.attempts.len(), 2, "another alias has none");
}

#[tokio::test]
async fn streams_are_hedged_too_and_a_refusal_of_the_request_ends_the_race() {
    let up = Provider::start(|request| {
        if is_large(request) {
            return vec![Step::Pause];
        }
        [vec![stream_head()], CHUNKS.map(chunk).into(), vec![provider::end()]].concat()
    })
    .await;
    let bench = Bench::start(conducted(&up, hedged(30))).await;
    let answer = bench.post(CHAT, &chat_stream("assistant")).await;
    assert!(answer.body.contains("hello") && answer.body.contains("[DONE]"), "{}", answer.body);
    assert_eq!(bench.row(&answer).record.usage.output_tokens, Some(100));

    let up = Provider::start(|request| {
        if is_large(request) { vec![Step::Pause] } else { json(400, r#"{"error":{"message":"no","type":"t"}}"#) }
    })
    .await;
    let bench = Bench::start(conducted(&up, hedged(30))).await;
    let answer = bench.post(CHAT, &chat("assistant")).await;
    assert_eq!(answer.status.as_u16(), 400);
    let classes: Vec<_> = bench.row(&answer).record.attempts.into_iter().map(|a| a.error_class.unwrap()).collect();
    assert_eq!(classes, ["overtaken", "invalid_request"]);
}

#[tokio::test]
async fn a_hedge_after_the_p95_needs_to_know_it() {
    let up = large_does([vec![Step::Wait(Duration::from_millis(150))], json(200, provider::CHAT)].concat()).await;
    let hedge = Some(Hedge { after: HedgeAfter::P95, max: 1 });
    let bench = Bench::start(conducted(&up, Conduct { hedge, ..Conduct::default() })).await;
    let answer = bench.post(CHAT, &chat("assistant")).await;
    assert_eq!(models_tried(&bench, &answer), ["large"]);
    signals(&bench, &[("up/large", TargetSignals { calls: 9, p95_ms: 30, ..TargetSignals::default() })]);
    let answer = bench.post(CHAT, &chat("assistant")).await;
    assert_eq!(
        (models_tried(&bench, &answer), answer.header("x-tollgate-model")),
        (vec!["large".into(), "small".into()], "small")
    );
}

#[tokio::test]
async fn a_caller_who_leaves_during_a_race_breaks_both_off_and_leaves_a_row() {
    let up = Provider::answering(vec![Step::Pause]).await;
    let bench = Bench::start(conducted(&up, hedged(30))).await;
    let request = bench.request(CHAT, chat("assistant"));
    let open = bench.open(request);
    tokio::select! {
        _ = open => panic!("nobody answers"),
        () = up.until(|progress| progress.pauses == 2) => {}
    }
    let record = bench.only_row().await.record;
    assert_eq!((record.outcome, record.attempts.len()), (Outcome::Cancelled, 2));
    assert!(record.attempts.iter().all(|attempt| attempt.error_class.as_deref() == Some("client_disconnected")));
    assert!(record.cost_usd.is_some(), "the prompt was sent");
    up.until(|progress| progress.broken_off == 2).await;
}

fn shadowed(to: &str) -> Conduct {
    Conduct { shadow: Some(Shadow { to: to.into(), share: Share::ONE }), ..Conduct::default() }
}

#[tokio::test]
async fn a_copy_goes_to_another_target_once_the_caller_has_its_answer() {
    let up = Provider::start(|request| {
        if request.head.contains("/messages") {
            return [vec![Step::Wait(Duration::from_millis(200))], json(200, provider::MESSAGE)].concat();
        }
        json(200, provider::CHAT)
    })
    .await;
    let bench = Bench::start(conducted(&up, shadowed("claude/other"))).await;
    let mut request = bench.request(CHAT, chat("assistant"));
    request.headers_mut().insert("x-tollgate-conversation", "c-1".parse().unwrap());
    let started = Instant::now();
    let answer = bench.send(request).await;
    assert_eq!(answer.header("x-tollgate-model"), "large");
    assert!(started.elapsed() < Duration::from_millis(190), "the copy takes longer than that");
    let original = bench.row(&answer).record;
    let copy = bench.last_of(2).await;
    let record = copy.record;
    assert_eq!(record.shadow_of, Some(original.interaction_id));
    assert_eq!(
        (record.provider.as_deref(), record.http_status, record.outcome),
        (Some("claude"), None, Outcome::Success)
    );
    assert_eq!((record.team.as_str(), record.conversation_id.as_deref()), ("kyc", Some("c-1")));
    assert_eq!(record.usage.input_tokens, Some(1_000));
    assert!(copy.was_opened && record.cost_usd.is_some() && original.shadow_of.is_none());
    assert_eq!(copy.settled.response.body, provider::MESSAGE.as_bytes());
    assert!(original.started_at_us + i64::try_from(original.latency_us).unwrap() <= record.started_at_us + 5_000);
}

#[tokio::test]
async fn copies_are_bounded_and_those_left_out_are_counted() {
    let up =
        Provider::start(
            |request| {
                if request.head.contains("/messages") { vec![Step::Pause] } else { json(200, provider::CHAT) }
            },
        )
        .await;
    let mut settings = conducted(&up, shadowed("claude/other"));
    settings.limits.shadow_calls = 1;
    let bench = Bench::start(settings).await;
    bench.post(CHAT, &chat("assistant")).await;
    up.until(|progress| progress.pauses == 1).await;
    bench.post(CHAT, &chat("assistant")).await;
    assert_eq!(bench.gateway.stats().shadows_left_out, 1);
    assert_eq!(bench.rows().len(), 2);
}

#[tokio::test]
async fn a_failed_call_is_not_copied() {
    let up = Provider::answering(json(400, r#"{"error":{"message":"no","type":"t"}}"#)).await;
    let bench = Bench::start(conducted(&up, shadowed("claude/other"))).await;
    bench.post(CHAT, &chat("assistant")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(up.received().len(), 1);
}

#[tokio::test]
async fn by_weight_the_drawn_number_on_the_row_says_which_target_was_first() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let mut settings = conducted(&up, by(Strategy::Weighted));
    settings.models[0].weights = vec![70, 30];
    let bench = Bench::start(settings).await;
    let mut larges = 0;
    for _ in 0..40 {
        let answer = bench.post(CHAT, &chat("assistant")).await;
        let record = bench.row(&answer).record;
        let draw = record.route_draw.unwrap();
        let (model, share) = if draw < Share::new(700_000) { ("large", 700_000) } else { ("small", 300_000) };
        assert_eq!((answer.header("x-tollgate-model"), record.propensity), (model, Some(Share::new(share))));
        larges += usize::from(model == "large");
    }
    // Outside by chance less than once in a million runs.
    assert!((14..40).contains(&larges), "{larges} of 40");
}

#[tokio::test]
async fn round_robin_takes_turns() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let bench = Bench::start(conducted(&up, by(Strategy::RoundRobin))).await;
    let mut models = Vec::new();
    for _ in 0..4 {
        models.push(bench.post(CHAT, &chat("assistant")).await.header("x-tollgate-model").to_owned());
    }
    assert_eq!(models, ["large", "small", "large", "small"]);
}

#[tokio::test]
async fn the_cheapest_for_this_very_call_counts_its_output_too() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let bench = Bench::start(conducted(&up, by(Strategy::Cost))).await;
    // Dear to read and cheap to write, and the other way round.
    let prices = "provider: sandbox\nsource: s\nchecked: 2026-11-01\nmodels:\n  \
                  - {id: large, prices: [{from: release, input: \"10\", output: \"1\"}]}\n  \
                  - {id: small, prices: [{from: release, input: \"1\", output: \"10\"}]}\n";
    let document = CatalogDocument::from_yaml("own", prices).unwrap();
    bench.gateway.use_prices(Arc::new(Catalog::builtin().unwrap().with_overrides(document).unwrap()));
    let limited = |tokens: u64| format!(r#"{{"max_tokens":{tokens},{}"#, &chat("assistant")[1..]);
    assert_eq!(bench.post(CHAT, &limited(1_000)).await.header("x-tollgate-model"), "large");
    assert_eq!(bench.post(CHAT, &limited(1)).await.header("x-tollgate-model"), "small");
}

#[tokio::test]
async fn the_quicker_of_two_is_found_by_measuring_and_before_that_by_the_log() {
    let up = large_does([vec![Step::Wait(Duration::from_millis(60))], json(200, provider::CHAT)].concat()).await;
    let bench = Bench::start(conducted(&up, by(Strategy::Latency))).await;
    signals(
        &bench,
        &[
            ("up/large", TargetSignals { calls: 9, p50_ms: 5, ..TargetSignals::default() }),
            ("up/small", TargetSignals { calls: 9, p50_ms: 40, ..TargetSignals::default() }),
        ],
    );
    let mut models = Vec::new();
    for _ in 0..4 {
        models.push(bench.post(CHAT, &chat("assistant")).await.header("x-tollgate-model").to_owned());
    }
    assert_eq!(models, ["large", "small", "small", "small"]);
}

#[tokio::test]
async fn the_cheapest_that_is_surely_good_enough_is_taken() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let floor = Some(Floor { at: Share::new(800_000), on_unknown: OnUnknown::Exclude });
    let bench = Bench::start(conducted(&up, Conduct { floor, ..by(Strategy::Quality) })).await;
    let judged = |lower: u32| TargetSignals {
        quality_mean: Some(Share::new(lower + 50_000)),
        quality_lower: Some(Share::new(lower)),
        quality_n: 50,
        ..TargetSignals::default()
    };
    signals(&bench, &[("up/large", judged(900_000)), ("up/small", judged(790_000))]);
    assert_eq!(bench.post(CHAT, &chat("assistant")).await.header("x-tollgate-model"), "large");
    signals(&bench, &[("up/large", judged(900_000)), ("up/small", judged(810_000))]);
    assert_eq!(bench.post(CHAT, &chat("assistant")).await.header("x-tollgate-model"), "small");
    signals(&bench, &[("up/large", judged(900_000))]);
    let answer = bench.post(CHAT, &chat("assistant")).await;
    assert_eq!(candidates(&bench, &answer)[1], ("small".into(), Some("quality_unknown".into())));
}

/// The log knows nothing of the budget, which then prefers as if it were used up.
const CAREFUL: &str = "budgets:\n  - {id: careful, scope: {team: \"*\"}, limit: {usd: 100, per: month}, \
                       on_missing: conservative, steps: [{at: 0.5, min_quality: 0.92}]}\n";

#[tokio::test]
async fn a_budget_that_wants_quality_has_a_target_tried_first_that_surely_has_it() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let bench = Bench::start(settings(up.address)).await;
    let judged = |lower: u32| TargetSignals { quality_lower: Some(Share::new(lower)), ..TargetSignals::default() };
    bench.put_policy(POLICY);
    signals(&bench, &[("up/large", judged(700_000)), ("up/small", judged(950_000))]);
    assert_eq!(bench.post(CHAT, &chat("assistant")).await.header("x-tollgate-model"), "large");
    bench.put_policy(&format!("{POLICY}{CAREFUL}{TONE}"));
    let answer = as_user(&bench, "user-1").await;
    let record = bench.row(&answer).record;
    assert_eq!(answer.header("x-tollgate-model"), "small", "{:?}", record.decision_reasons);
    assert_eq!((record.experiment, record.arm), (None, None), "what a budget wants is no experiment's to divide");
    let wanted = |reason: &tollgate_interaction::Reason| reason.detail.contains("with a quality of at least 0.92");
    assert!(record.decision_reasons.iter().any(|reason| reason.effect == "route" && wanted(reason)));
    signals(&bench, &[("up/large", judged(930_000)), ("up/small", judged(950_000))]);
    bench.put_policy(&format!("{POLICY}{}", CAREFUL.replace("careful", "other")));
    assert_eq!(bench.post(CHAT, &chat("assistant")).await.header("x-tollgate-model"), "large", "both are good enough");
}

const POLICY: &str = "apiVersion: tollgate/v1\nbundle: {name: t}\naccess: [{id: all, when: 'true', allow: {}}]\n";

const TONE: &str = "experiments:\n  - id: tone\n    alias: assistant\n    unit: user\n    arms:\n      \
                    - {name: control, weight: 50, target: up/large}\n      - {name: new, weight: 50, target: up/tiny}\n";

async fn as_user(bench: &Bench, user: &str) -> Answer {
    let mut request = bench.request(CHAT, chat("assistant"));
    request.headers_mut().insert("x-tollgate-user", user.parse().unwrap());
    bench.send(request).await
}

#[tokio::test]
async fn a_user_stays_in_its_arm_over_restarts_and_the_row_says_how_it_came_there() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let mut arms: Vec<BTreeMap<String, String>> = Vec::new();
    for _ in 0..2 {
        let bench = Bench::start(settings(up.address)).await;
        bench.put_policy(&format!("{POLICY}{TONE}"));
        let mut placed = BTreeMap::new();
        for number in 0..12 {
            let user = format!("user-{}", number % 6);
            let answer = as_user(&bench, &user).await;
            let record = bench.row(&answer).record;
            let arm = record.arm.unwrap();
            let model = if arm == "control" { "large" } else { "tiny" };
            assert_eq!((answer.header("x-tollgate-model"), record.experiment.as_deref()), (model, Some("tone")));
            assert_eq!((record.propensity, record.route_draw), (Some(Share::new(500_000)), None));
            assert!(record.decision_reasons.iter().any(|reason| reason.rule == "tone" && reason.effect == "assign"));
            assert!(placed.insert(user, arm.clone()).is_none_or(|before| before == arm));
        }
        arms.push(placed);
    }
    assert_eq!(arms[0], arms[1]);
    assert_eq!(arms[0].values().collect::<std::collections::BTreeSet<_>>().len(), 2, "both arms have users: {arms:?}");
}

#[tokio::test]
async fn a_call_without_a_user_is_in_no_arm_and_the_row_says_why() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let bench = Bench::start(settings(up.address)).await;
    bench.put_policy(&format!("{POLICY}{TONE}"));
    let answer = bench.post(CHAT, &chat("assistant")).await;
    let record = bench.row(&answer).record;
    assert_eq!((record.experiment, record.arm), (None, None));
    assert!(
        record.decision_reasons.iter().any(|reason| reason.detail.contains("has no user")),
        "{:?}",
        record.decision_reasons
    );
}

#[tokio::test]
async fn an_arm_whose_target_fails_falls_back_on_the_aliass_own_and_stays_an_arm() {
    let up = Provider::start(
        |request| {
            if request.body.contains("tiny") { json(500, BUSY) } else { json(200, provider::CHAT) }
        },
    )
    .await;
    let bench = Bench::start(settings(up.address)).await;
    bench.put_policy(&format!(
        "{POLICY}{}",
        TONE.replace("weight: 50, target: up/large", "weight: 0, target: up/large")
    ));
    let answer = as_user(&bench, "user-1").await;
    let record = bench.row(&answer).record;
    assert_eq!((answer.status.as_u16(), record.arm.as_deref()), (200, Some("new")));
    let models: Vec<_> = record.attempts.iter().map(|attempt| attempt.model.as_str()).collect();
    assert_eq!(models, ["tiny", "large"]);
}

#[tokio::test]
async fn a_bundles_route_takes_the_place_of_the_configurations_where_its_condition_holds() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let bench = Bench::start(settings(up.address)).await;
    bench.put_policy(&format!(
        "{POLICY}routes:\n  - {{id: gold, alias: assistant, when: 'request.segment == \"gold\"', targets: [up/best, assistant-too]}}\n  \
         - {{id: own, alias: assistant-too, strategy: weighted, targets: [{{target: up/x, weight: 1}}, {{target: up/y, weight: 0}}]}}\n"
    ));
    let answer = bench.post(CHAT, &chat("assistant")).await;
    assert_eq!(answer.header("x-tollgate-model"), "large");
    let mut request = bench.request(CHAT, chat("assistant"));
    request.headers_mut().insert("x-tollgate-metadata", r#"{"segment":"gold"}"#.parse().unwrap());
    let answer = bench.send(request).await;
    let record = bench.row(&answer).record;
    assert_eq!((answer.header("x-tollgate-model"), record.route_id.as_deref()), ("best", Some("assistant")));
    let names: Vec<_> = record.candidates.iter().map(|candidate| candidate.model.as_str()).collect();
    assert_eq!(names, ["best", "x", "y"], "an alias that only the bundle has stands for its targets");
    assert!(record.decision_reasons.iter().any(|reason| reason.rule == "gold" && reason.effect == "route"));
    // And it can be asked for by itself.
    let answer = bench.post(CHAT, &chat("assistant-too")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-model")), (200, "x"));
    assert!(bench.get("/v1/models").await.body.contains("assistant-too"));
}

#[tokio::test]
async fn what_the_bundle_says_of_a_route_and_of_experiments_can_be_looked_at() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let bench = Bench::start(settings(up.address)).await;
    bench.put_policy(&format!(
        "{POLICY}routes:\n  - {{id: gold, alias: assistant, when: {{any: ['request.segment == \"gold\"', 'request.stream']}}, \
         targets: [up/best]}}\n  - {{id: rest, alias: assistant, targets: [up/x]}}\n{}",
        TONE.replace("target: up/tiny", "route: gold")
    ));
    let look = bench.gateway.models();
    let when = look.routes[0].when.as_ref().unwrap();
    assert_eq!((look.routes[0].rule.as_deref(), when.any), (Some("gold"), true));
    assert_eq!(when.conditions, ["request.segment == \"gold\"", "request.stream"]);
    assert!(look.routes[1..].iter().all(|route| route.when.is_none()));
    let [tone] = look.experiments.as_slice() else { panic!("{:?}", look.experiments) };
    assert_eq!((tone.id.as_str(), tone.alias.as_str(), tone.unit.as_str()), ("tone", "assistant", "user"));
    let arms = tone.arms.iter().map(|arm| (arm.name.as_str(), arm.weight, arm.target.as_deref(), arm.route.as_deref()));
    assert_eq!(arms.collect::<Vec<_>>(), [("control", 50, Some("up/large"), None), ("new", 50, None, Some("gold"))]);
}

#[tokio::test]
async fn a_route_to_nowhere_is_found_before_it_is_put_in_force_and_refused_if_it_is_all_the_same() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let bench = Bench::start(settings(up.address)).await;
    let yaml = format!("{POLICY}routes:\n  - {{id: r, alias: assistant, targets: [upp/x]}}\n");
    let bundle = tollgate_policy::bundle::load(&yaml).unwrap();
    let error = bench.gateway.check_bundle(&bundle).unwrap_err();
    assert_eq!((error.line, error.column), (5, 41));
    assert!(error.message.contains("`upp/x`"), "{error}");
    bench.put_policy(&yaml);
    let answer = bench.post(CHAT, &chat("assistant")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (403, &"no_eligible_target".into()));
    let row = bench.row(&answer);
    assert_eq!((row.record.outcome, row.record.decision.as_str()), (Outcome::Denied, "deny"));
    assert_eq!(row.record.candidates[0].rejected_because.as_deref(), Some("unknown_target"));
}

/// `large` sees and reads long texts, `small` does neither.
fn catalogue() -> Arc<Catalog> {
    let text = "provider: sandbox\nsource: s\nchecked: 2026-11-01\nmodels:\n  \
                - {id: large, capabilities: [tools, vision, stream], prices: [{from: release, input: \"1\", output: \"1\"}]}\n  \
                - {id: small, capabilities: [stream], context_tokens: 100, prices: [{from: release, input: \"1\", output: \"1\"}]}\n";
    let document = CatalogDocument::from_yaml("own", text).unwrap();
    Arc::new(Catalog::builtin().unwrap().with_overrides(document).unwrap())
}

#[tokio::test]
async fn a_target_that_lacks_what_the_request_needs_is_left_out_by_name() {
    let up = large_does(json(500, BUSY)).await;
    let bench = Bench::start(settings(up.address)).await;
    bench.gateway.use_prices(catalogue());
    let picture = |model: &str| {
        format!(
            r#"{{"model":"{model}","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:,"}}}}]}}]}}"#
        )
    };
    let answer = bench.post(CHAT, &picture("assistant")).await;
    assert_eq!(answer.status.as_u16(), 500, "nobody else could");
    assert_eq!(candidates(&bench, &answer), [("large".into(), None), ("small".into(), Some("no_vision".into()))]);
    assert_eq!(bench.row(&answer).record.capabilities, ["vision"]);
    let answer = bench.post(CHAT, &picture("up/small")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (400, &"no_capable_target".into()));
    assert!(answer.body.contains("no_vision"), "{}", answer.body);
    assert_eq!(bench.row(&answer).record.outcome, Outcome::Denied);
    let unknown = bench.post(CHAT, &picture("up/never-heard-of")).await;
    assert_eq!(unknown.status.as_u16(), 200, "what is not known is allowed");
}

#[tokio::test]
async fn a_prompt_that_is_too_long_goes_to_who_can_read_it() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let mut settings = settings(up.address);
    settings.models[0].targets.reverse();
    let bench = Bench::start(settings).await;
    bench.gateway.use_prices(catalogue());
    let long = |model: &str, letters: usize| chat(model).replace("hi", &"a".repeat(letters));
    let answer = bench.post(CHAT, &long("assistant", 20)).await;
    assert_eq!(answer.header("x-tollgate-model"), "small");
    let answer = bench.post(CHAT, &long("assistant", 500)).await;
    assert_eq!(answer.header("x-tollgate-model"), "large");
    assert_eq!(candidates(&bench, &answer)[1], ("small".into(), Some("context_too_short".into())));
    let estimated = bench.row(&answer).record.estimated_input_tokens.unwrap();
    assert!((125..160).contains(&estimated), "{estimated}");
    // The estimate is rough: alone, a target is asked unless the prompt is too long for certain.
    assert_eq!(bench.post(CHAT, &long("up/small", 500)).await.status.as_u16(), 200);
    let answer = bench.post(CHAT, &long("up/small", 2_000)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (400, &"no_capable_target".into()));
}

#[tokio::test]
async fn an_alias_of_aliases_stands_for_their_targets_and_a_circle_is_refused() {
    let up = Provider::answering(json(500, BUSY)).await;
    let mut settings = settings(up.address);
    let alias = |alias: &str, targets: &[&str]| ModelRoute {
        alias: alias.into(),
        targets: targets.iter().map(|&target| target.into()).collect(),
        ..settings.models[0].clone()
    };
    let (both, first, second) =
        (alias("both", &["one", "assistant"]), alias("one", &["up/tiny"]), alias("circle", &["round"]));
    let third = alias("round", &["up/x", "circle"]);
    settings.models.insert(0, both);
    settings.models.push(first);
    let broken =
        GatewaySettings { models: [settings.models.clone(), vec![second, third]].concat(), ..settings.clone() };
    let bench = Bench::start(settings).await;
    let answer = bench.post(CHAT, &chat("both")).await;
    assert_eq!(models_tried(&bench, &answer), ["tiny", "large", "small"]);
    let error = Bench::refused(broken);
    assert!(error.contains("`circle` leads back to itself: circle → round → circle"), "{error}");
}

#[tokio::test]
async fn how_routing_stands_can_be_looked_at() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let bench = Bench::start(conducted(&up, hedged(800))).await;
    signals(
        &bench,
        &[(
            "up/large",
            TargetSignals { calls: 8, errors: 2, p50_ms: 1, p95_ms: 9, p50_us: Some(400), ..TargetSignals::default() },
        )],
    );
    bench.post(CHAT, &chat("assistant")).await;
    let look = bench.gateway.models();
    assert!(look.signals_age_ms.is_some_and(|age_ms| age_ms < 5_000));
    assert_eq!(look.signals_id.as_deref(), Some("sig-routing"));
    let assistant = look.routes.iter().find(|route| route.alias == "assistant").unwrap();
    assert_eq!((assistant.strategy.as_str(), assistant.hedge_after.as_deref()), ("fallback", Some("800ms")));
    let large = &assistant.targets[0];
    assert_eq!((large.calls, large.errors, large.p50_ms, large.p95_ms), (8, 2, Some(1), Some(9)));
    assert_eq!((large.p50_us, large.p95_us), (Some(400), None), "as exactly as the signals say");
    assert_eq!((large.region.as_deref(), large.health.circuit), (Some("eu"), CircuitState::Closed));
    assert!(large.input_price.is_some() && large.health.latency_us.is_some());
    assert!(look.routes.iter().any(|route| route.alias == "sandbox/small"));
}
