//! Answers given again: to whom, when not, and what the rows say.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use tollgate_gateway::cache::Purge;
use tollgate_gateway::{CacheSettings, GatewaySettings};
use tollgate_interaction::{CacheKind, CostSource, Outcome, Share, UsageSource, Usd};
use tollgate_policy::cache::{CacheRule, Lifetime, Per, Semantic};
use tollgate_policy::control::{KeyRecord, hash_key, hash_text};
use tollgate_policy::route::{NamedTarget, Span};

use crate::harness::{Answer, Bench, CHAT, MESSAGES, chat, chat_stream, key, settings};
use crate::provider::{self, Provider, Received, Step, chunk, end, json, respond, stream_head};

pub(crate) fn hours(per: Per) -> CacheRule {
    CacheRule { ttl: Lifetime::parse("1h").unwrap(), per, semantic: None, coalesce: false }
}

/// Settings whose aliases keep answers in `folder`.
pub(crate) fn caching(up: &Provider, folder: &Path, rule: &CacheRule) -> GatewaySettings {
    let mut settings = settings(up.address);
    settings.models.iter_mut().for_each(|route| route.conduct.cache = Some(rule.clone()));
    settings.cache = Some(CacheSettings {
        folder: folder.join("cache"),
        max_bytes: 8 << 20,
        max_entry_bytes: 256 * 1024,
        // Nobody waits that long unless the machine is busy with other things.
        patience: Duration::from_secs(30),
    });
    settings
}

/// Answers each call another way, so that one that is given again is told from a new one.
pub(crate) async fn counting() -> Provider {
    let count = AtomicUsize::new(0);
    Provider::start(move |request| {
        let said = format!("hello {}", count.fetch_add(1, Ordering::Relaxed));
        if request.body.contains("\"stream\":true") {
            let chunks = provider::CHUNKS.map(|piece| chunk(piece.replace("hello", &said)));
            return [vec![stream_head()], chunks.to_vec(), vec![end()]].concat();
        }
        let body = if request.head.contains("/messages") { provider::MESSAGE } else { provider::CHAT };
        json(200, &body.replace("hello", &said))
    })
    .await
}

struct Scene {
    up: Provider,
    bench: Bench,
    dir: tempfile::TempDir,
}

impl Scene {
    async fn of(up: Provider, rule: CacheRule) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let bench = Bench::start(caching(&up, dir.path(), &rule)).await;
        Scene { up, bench, dir }
    }

    async fn new(per: Per) -> Scene {
        Scene::of(counting().await, hours(per)).await
    }

    async fn with(&self, body: &str, headers: &[(&'static str, &'static str)]) -> Answer {
        self.bench.send(request(&self.bench, body, headers)).await
    }

    fn asked(&self) -> usize {
        self.up.received().len()
    }

    /// Ends the gateway in order, and starts another one on the same cache.
    async fn restart(self, rule: CacheRule) -> Scene {
        let Scene { up, bench, dir } = self;
        bench.shutdown.cancel();
        bench.serving.await.unwrap();
        drop(bench.gateway);
        let bench = Bench::start(caching(&up, dir.path(), &rule)).await;
        Scene { up, bench, dir }
    }
}

fn request(bench: &Bench, body: &str, headers: &[(&'static str, &'static str)]) -> Request<Full<Bytes>> {
    let mut request = bench.request(CHAT, body.to_owned());
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_static(value));
    }
    request
}

#[tokio::test]
async fn the_same_request_is_answered_again_and_its_row_says_what_that_saved() {
    let scene = Scene::new(Per::Tenant).await;
    let first = scene.with(&chat("assistant"), &[]).await;
    assert_eq!(first.header("x-tollgate-cache"), "miss");
    // Other white space, another order, another end user, a field that says nothing.
    let same =
        r#"{ "messages": [{"content":"h\u0069","role":"user"}], "user":"ann", "stream": false, "model":"assistant"}"#;
    let again = scene
        .with(
            same,
            &[("x-request-id", "1"), ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")],
        )
        .await;
    assert_eq!((again.header("x-tollgate-cache"), again.header("x-tollgate-cost-usd")), ("hit", "0.00"));
    assert_eq!(
        (again.body.as_str(), again.header("content-type")),
        (first.body.as_str(), first.header("content-type"))
    );
    assert!(again.header("age").parse::<u64>().is_ok() && again.header("x-tollgate-provider").is_empty());
    assert_ne!(again.id(), first.id());
    assert_eq!(scene.asked(), 1);
    let (before, row) = (scene.bench.row(&first).record, scene.bench.row(&again));
    let record = row.record;
    assert_eq!(
        (record.outcome, record.http_status, record.cache_kind),
        (Outcome::Cached, Some(200), Some(CacheKind::Exact))
    );
    assert_eq!((record.cache_similarity, record.cached_from), (Some(Share::ONE), Some(before.interaction_id)));
    assert_eq!((record.cost_usd, record.cost_source), (Some(Usd::ZERO), CostSource::Cache));
    assert_eq!(record.cost_saved_usd, before.cost_usd);
    assert!(before.cost_usd.is_some_and(|cost| cost > Usd::ZERO) && before.cache_kind.is_none());
    assert!(record.usage.is_empty() && record.usage_source == UsageSource::None);
    assert!(record.attempts.is_empty() && record.provider.is_none() && !record.candidates.is_empty());
    assert_eq!(
        (record.model_served.as_deref(), record.finish_reasons.as_slice()),
        (Some("small"), &["stop".to_owned()][..])
    );
    assert!(record.policy_bundle_hash.is_some() && record.user_ref.is_some() && !row.was_opened);
    assert_eq!(row.settled.response.body, first.bytes);
    assert!(row.settled.request.unwrap().body.starts_with(b"{ \"messages\""), "the row has its own request");
    let stats = scene.bench.gateway.cache_stats();
    assert_eq!((stats.exact_hits, stats.misses, stats.bypassed, stats.entries), (1, 1, 0, 1));
    assert_eq!(scene.bench.gateway.stats().calls_unpriced, 0);
}

#[tokio::test]
async fn what_asks_something_else_is_asked_of_the_provider() {
    let scene = Scene::new(Per::Tenant).await;
    let bodies = [
        chat("assistant"),
        chat("resilient"),
        chat("assistant").replace("hi", "ho"),
        chat("assistant").replace("}]", "}],\"temperature\":0"),
        chat("assistant").replace("}]", "}],\"temperature\":0.0"),
        chat_stream("assistant"),
    ];
    for body in &bodies {
        assert_eq!(scene.with(body, &[]).await.header("x-tollgate-cache"), "miss", "{body}");
    }
    let beta = [("openai-beta", "assistants=v2")];
    assert_eq!(scene.with(&bodies[0], &beta).await.header("x-tollgate-cache"), "miss", "a header that goes on");
    for body in &bodies {
        assert_eq!(scene.with(body, &[]).await.header("x-tollgate-cache"), "hit", "{body}");
    }
    // Nothing is kept for a model that no alias stands for.
    for _ in 0..2 {
        assert_eq!(scene.with(&chat("up/small"), &[]).await.header("x-tollgate-cache"), "");
    }
}

#[tokio::test]
async fn a_stream_is_given_again_as_a_stream() {
    let scene = Scene::new(Per::Tenant).await;
    let first = scene.with(&chat_stream("assistant"), &[]).await;
    let again = scene.with(&chat_stream("assistant"), &[]).await;
    assert_eq!((again.header("x-tollgate-cache"), again.header("content-type")), ("hit", first.header("content-type")));
    let events = |answer: &Answer| answer.body.split(": tollgate").next().unwrap().to_owned();
    assert_eq!(events(&again), events(&first));
    assert!(
        first.body.contains("hello 0") && first.body.contains(" there") && first.body.contains("[DONE]"),
        "{}",
        first.body
    );
    assert!(again.body.ends_with(": tollgate cost_usd=0.00\n\n"), "{}", again.body);
    let row = scene.bench.row(&again);
    assert_eq!((row.record.outcome, row.record.stream), (Outcome::Cached, true));
    assert_eq!(String::from_utf8_lossy(&row.settled.response.body), events(&again));
    // The usage chunk that the caller did not ask for is not in it, and one who asks for it gets another answer.
    let with_usage = chat_stream("assistant")
        .replace("\"stream\":true", "\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    assert_eq!(scene.with(&with_usage, &[]).await.header("x-tollgate-cache"), "miss");
    assert!(scene.with(&with_usage, &[]).await.body.contains("total_tokens") && !again.body.contains("total_tokens"));
}

#[tokio::test]
async fn an_answer_is_given_again_in_the_words_of_its_caller() {
    let scene = Scene::new(Per::Tenant).await;
    let body = r#"{"model":"assistant","max_tokens":50,"messages":[{"role":"user","content":"hi"}]}"#;
    let send = || async { scene.bench.send(scene.bench.request(MESSAGES, body)).await };
    let (first, again) = (send().await, send().await);
    assert_eq!((again.header("x-tollgate-cache"), again.body.as_str()), ("hit", first.body.as_str()));
    assert_eq!(again.json()["type"], "message");
    let other = scene.bench.send(scene.bench.request(CHAT, body)).await;
    assert_eq!(other.header("x-tollgate-cache"), "miss", "the same words in another format");
}

#[tokio::test]
async fn a_caller_may_wish_for_no_old_answer_and_for_none_to_be_kept() {
    let scene = Scene::new(Per::Tenant).await;
    let body = chat("assistant");
    let ask =
        |wish: &'static str| scene.with(&body, std::slice::from_ref(Box::leak(Box::new(("cache-control", wish)))));
    assert_eq!(ask("no-store").await.header("x-tollgate-cache"), "bypass");
    assert_eq!(ask("max-age=60").await.header("x-tollgate-cache"), "miss", "nothing was kept");
    assert!(ask("max-age=60").await.body.contains("hello 1"));
    assert_eq!(ask("max-age=0").await.header("x-tollgate-cache"), "miss");
    assert!(ask("max-age=60").await.body.contains("hello 2"));
    assert_eq!(ask("no-cache").await.header("x-tollgate-cache"), "bypass");
    assert!(ask("").await.body.contains("hello 3"), "what was asked anew is kept");
    assert!(ask("no-store").await.body.contains("hello 4"));
    assert!(ask("").await.body.contains("hello 3"));
    assert_eq!(scene.bench.gateway.cache_stats().bypassed, 3);
}

fn other_key(secret: &str, change: impl Fn(&mut KeyRecord)) -> KeyRecord {
    let mut other = KeyRecord { id: format!("id-{secret}"), hash: hash_text(&hash_key(secret)), ..key() };
    change(&mut other);
    other
}

async fn from(bench: &Bench, secret: &str, user: Option<&'static str>, body: &str) -> Answer {
    let mut asked = request(bench, body, &[]);
    asked.headers_mut().insert("authorization", format!("Bearer {secret}").parse().unwrap());
    if let Some(user) = user {
        asked.headers_mut().insert("x-tollgate-user", HeaderValue::from_static(user));
    }
    bench.send(asked).await
}

#[tokio::test]
async fn answers_stay_within_what_the_route_says_and_never_cross_tenants() {
    for (per, shared_with) in [
        (Per::Tenant, &["same-team", "same-tenant", "same-key"][..]),
        (Per::Team, &["same-team", "same-key"]),
        (Per::Key, &["same-key"]),
        (Per::User, &[]),
    ] {
        let scene = Scene::new(per).await;
        scene.bench.use_keys(vec![
            key(),
            other_key("same-team", |_| {}),
            other_key("same-tenant", |key| key.team = "fraud".into()),
            other_key("elsewhere", |key| key.tenant = "globex".into()),
        ]);
        let body = chat("assistant");
        from(&scene.bench, crate::harness::KEY, Some("ann"), &body).await;
        let again = from(&scene.bench, crate::harness::KEY, Some("ann"), &body).await;
        assert_eq!(again.header("x-tollgate-cache"), "hit", "{per:?}");
        for (name, secret) in [
            ("same-key", crate::harness::KEY),
            ("same-team", "same-team"),
            ("same-tenant", "same-tenant"),
            ("elsewhere", "elsewhere"),
        ] {
            let found = from(&scene.bench, secret, Some(name), &body).await;
            let expected = if shared_with.contains(&name) { "hit" } else { "miss" };
            assert_eq!(found.header("x-tollgate-cache"), expected, "{per:?} {name}");
        }
    }
}

#[tokio::test]
async fn without_a_named_user_the_key_is_the_subject() {
    let scene = Scene::new(Per::User).await;
    scene.bench.use_keys(vec![key(), other_key("other", |_| {})]);
    let ask = |secret: &'static str| from(&scene.bench, secret, None, r#"{"model":"assistant","messages":[]}"#);
    assert_eq!(ask(crate::harness::KEY).await.header("x-tollgate-cache"), "miss");
    assert_eq!(ask(crate::harness::KEY).await.header("x-tollgate-cache"), "hit");
    assert_eq!(ask("other").await.header("x-tollgate-cache"), "miss");
}

#[tokio::test]
async fn only_whole_good_answers_are_kept() {
    let broken = |request: &Received| {
        let says = |text: &str| request.body.contains(text);
        let stream =
            |pieces: &[&str], last: Vec<Step>| [vec![stream_head()], pieces.iter().map(chunk).collect(), last].concat();
        if says("breaks off") {
            stream(&provider::CHUNKS[..1], vec![Step::Reset])
        } else if says("has no end") {
            stream(&provider::CHUNKS[..1], vec![end()])
        } else if says("reports an error") {
            stream(
                &[provider::CHUNKS[0], "data: {\"error\":{\"message\":\"no\",\"type\":\"server_error\"}}\n\n"],
                vec![end()],
            )
        } else if says("is refused") {
            json(400, r#"{"error":{"message":"no","type":"invalid_request_error"}}"#)
        } else if says("is secret") {
            respond(200, "content-type: application/json\r\ncache-control: no-store\r\n", provider::CHAT)
        } else if says("tells a key") {
            json(200, &provider::CHAT.replace("hello", "AKIAIOSFODNN7EXAMPLE"))
        } else if says("is long") {
            json(200, &provider::CHAT.replace("hello", &"x".repeat(300_000)))
        } else {
            json(200, provider::CHAT)
        }
    };
    let scene = Scene::of(Provider::start(broken).await, hours(Per::Tenant)).await;
    for (text, is_stream) in [
        ("breaks off", true),
        ("has no end", true),
        ("reports an error", true),
        ("is refused", false),
        ("is secret", false),
        ("tells a key", false),
        ("is long", false),
    ] {
        let body = if is_stream { chat_stream("assistant") } else { chat("assistant") }.replace("hi", text);
        for _ in 0..2 {
            let sent = request(&scene.bench, &body, &[]);
            let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
            let (parts, rest) = client.request(sent).await.unwrap().into_parts();
            let _ = http_body_util::BodyExt::collect(rest).await;
            let label = parts.headers.get("x-tollgate-cache").map(|label| label.to_str().unwrap().to_owned());
            assert!(matches!(label.as_deref(), Some("miss")), "{text}: {label:?}");
        }
    }
    assert_eq!(scene.bench.gateway.cache_stats().entries, 0);
    assert_eq!(scene.with(&chat("assistant"), &[]).await.header("x-tollgate-cache"), "miss");
    assert_eq!(scene.with(&chat("assistant"), &[]).await.header("x-tollgate-cache"), "hit");
}

/// A streamed answer that has begun and waits, and where it does.
async fn under_way() -> (Scene, http::Response<hyper::body::Incoming>) {
    let up = Provider::answering(
        [
            vec![stream_head(), chunk(provider::CHUNKS[0]), Step::Pause],
            provider::CHUNKS[1..].iter().map(chunk).collect(),
            vec![end()],
        ]
        .concat(),
    )
    .await;
    let scene = Scene::of(up, hours(Per::Tenant)).await;
    let answer = scene.bench.open(request(&scene.bench, &chat_stream("assistant"), &[])).await;
    scene.up.until(|progress| progress.pauses == 1).await;
    (scene, answer)
}

#[tokio::test]
async fn an_answer_whose_caller_hung_up_is_not_kept() {
    let (scene, answer) = under_way().await;
    drop(answer);
    tokio::time::sleep(Duration::from_millis(50)).await;
    scene.up.go_on();
    let row = scene.bench.only_row().await;
    assert_eq!(row.record.outcome, Outcome::Cancelled);
    assert_eq!(scene.bench.gateway.cache_stats().entries, 0);
}

#[tokio::test]
async fn requests_that_depend_on_more_than_themselves_are_left_alone() {
    let scene = Scene::new(Per::Tenant).await;
    let body = r#"{"model":"assistant","input":"hi","previous_response_id":"resp_1"}"#;
    let answer = scene.bench.send(scene.bench.request("/v1/responses", body)).await;
    assert_eq!(answer.header("x-tollgate-cache"), "bypass", "{answer:?}");
}

fn bundle(rest: &str) -> String {
    format!("apiVersion: tollgate/v1\nbundle: {{name: c}}\naccess: [{{id: all, when: \"true\", allow: {{}}}}]\n{rest}")
}

const BLOCKS_HELLO: &str =
    "guardrails:\n  - {id: no-hello, phase: output, run: [{keywords: [hello]}], on_hit: {action: block}}\n";

#[tokio::test]
async fn an_answer_that_new_guardrails_would_stop_is_not_given_again() {
    let scene = Scene::new(Per::Tenant).await;
    scene.bench.put_policy(&bundle(""));
    scene.with(&chat("assistant"), &[]).await;
    scene.bench.put_policy(&bundle("limits: []\n"));
    assert_eq!(scene.with(&chat("assistant"), &[]).await.header("x-tollgate-cache"), "hit", "no guardrail is touched");
    scene.bench.put_policy(&bundle(BLOCKS_HELLO));
    let stopped = scene.with(&chat("assistant"), &[]).await;
    assert_eq!((stopped.status.as_u16(), stopped.json()["error"]["code"].as_str()), (403, Some("guardrail_blocked")));
    assert_eq!(scene.asked(), 2, "what is blocked is not kept");
    scene.bench.put_policy(&bundle(""));
    assert_eq!(scene.with(&chat("assistant"), &[]).await.header("x-tollgate-cache"), "hit");
}

#[tokio::test]
async fn guardrails_on_answers_of_some_callers_only_keep_answers_apart() {
    let scene = Scene::new(Per::Tenant).await;
    let redacts = "guardrails:\n  - {id: r, phase: output, when: \"request.metadata.audience == 'outside'\", run: [{keywords: [hello]}], on_hit: {action: redact}}\n";
    scene.bench.put_policy(&bundle(redacts));
    let inside = [("x-tollgate-metadata", r#"{"audience":"inside"}"#)];
    let outside = [("x-tollgate-metadata", r#"{"audience":"outside"}"#)];
    for _ in 0..2 {
        assert!(scene.with(&chat("assistant"), &inside).await.body.contains("hello"));
        assert!(!scene.with(&chat("assistant"), &outside).await.body.contains("hello"));
    }
    assert_eq!(scene.bench.gateway.cache_stats().exact_hits, 2);
}

#[tokio::test]
async fn values_that_come_back_into_an_answer_are_kept_nowhere() {
    let scene = Scene::new(Per::Tenant).await;
    let rule =
        "guardrails:\n  - {id: pii, phase: input, run: [pii.email], on_hit: {action: redact, reversible: true}}\n";
    scene.bench.put_policy(&bundle(rule));
    let body = chat("assistant").replace("hi", "write to ada@example.org");
    for _ in 0..2 {
        assert_eq!(scene.with(&body, &[]).await.header("x-tollgate-cache"), "bypass");
    }
    assert_eq!(scene.bench.gateway.cache_stats().entries, 0);
}

#[tokio::test]
async fn whoever_may_not_make_the_call_gets_no_answer_either() {
    let scene = Scene::new(Per::Tenant).await;
    scene.bench.put_policy(&bundle(""));
    scene.with(&chat("assistant"), &[]).await;
    let denied = "apiVersion: tollgate/v1\nbundle: {name: c}\naccess: [{id: none, when: \"principal.team == 'nobody'\", allow: {}}]\n";
    scene.bench.put_policy(denied);
    let answer = scene.with(&chat("assistant"), &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-cache")), (403, ""));
    // A route that leads elsewhere now does not give what the target of then has said.
    scene
        .bench
        .put_policy(&bundle("routes:\n  - {id: r, alias: assistant, targets: [claude/large], cache: {ttl: 1h}}\n"));
    assert_eq!(scene.with(&chat("assistant"), &[]).await.header("x-tollgate-cache"), "miss");
    // And one that keeps nothing gives nothing.
    scene.bench.put_policy(&bundle("routes:\n  - {id: r, alias: assistant, targets: [up/large]}\n"));
    assert_eq!(scene.with(&chat("assistant"), &[]).await.header("x-tollgate-cache"), "");
}

#[tokio::test]
async fn a_hit_counts_as_a_call_and_as_no_money() {
    let scene = Scene::new(Per::Tenant).await;
    scene.bench.put_policy(&bundle("limits:\n  - {id: three, scope: {key: '*'}, limit: {calls: 3, per: day}}\n"));
    scene.bench.know_nothing_spent();
    for expected in ["miss", "hit", "hit", ""] {
        let answer = scene.with(&chat("assistant"), &[]).await;
        assert_eq!(answer.header("x-tollgate-cache"), expected, "{answer:?}");
    }
    let spent = scene.bench.gateway.readings();
    let (_, reading) = &spent[0];
    assert_eq!(reading.reserved, tollgate_policy::ledger::Amounts::ZERO, "nothing stays reserved");
    assert_eq!((reading.settled.calls, reading.settled.tokens), (3, 1_100), "one was paid for");
}

#[tokio::test]
async fn answers_outlive_a_restart_but_not_their_time() {
    let scene = Scene::new(Per::Tenant).await;
    let first = scene.with(&chat("assistant"), &[]).await;
    let scene = scene.restart(hours(Per::Tenant)).await;
    let again = scene.with(&chat("assistant"), &[]).await;
    assert_eq!((again.header("x-tollgate-cache"), again.body.as_str()), ("hit", first.body.as_str()));
    assert_eq!(scene.bench.row(&again).record.cost_saved_usd.map(|saved| saved > Usd::ZERO), Some(true));
    // Whoever shortens the time means what is there as well.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let scene = scene.restart(CacheRule { ttl: Lifetime::from_secs(1), ..hours(Per::Tenant) }).await;
    assert_eq!(scene.with(&chat("assistant"), &[]).await.header("x-tollgate-cache"), "miss");
}

#[tokio::test]
async fn a_damaged_cache_is_a_miss_and_begins_anew() {
    let scene = Scene::new(Per::Tenant).await;
    scene.with(&chat("assistant"), &[]).await;
    let Scene { up, bench, dir } = scene;
    bench.shutdown.cancel();
    bench.serving.await.unwrap();
    drop(bench.gateway);
    let file = dir.path().join("cache/answers.redb");
    let whole = std::fs::read(&file).unwrap();
    // A byte of the answer itself.
    let mut bent = whole.clone();
    let at = memchr::memmem::find(&bent, b"hello 0").unwrap();
    bent[at + 6] = b'7';
    // Not even a file of the library's; half a file; the middle gone.
    let mut torn = whole.clone();
    torn.truncate(whole.len() / 2);
    let mut holed = whole.clone();
    let length = holed.len();
    holed[512..length / 2].fill(0xa5);
    for damaged in [bent, vec![9; 10_000], torn, holed] {
        std::fs::write(&file, &damaged).unwrap();
        let bench = Bench::start(caching(&up, dir.path(), &hours(Per::Tenant))).await;
        let before = up.received().len();
        let first = bench.post(CHAT, &chat("assistant")).await;
        assert_eq!((first.status.as_u16(), first.header("x-tollgate-cache")), (200, "miss"));
        assert_eq!(up.received().len(), before + 1);
        let stats = bench.gateway.cache_stats();
        assert!(stats.damaged + stats.failures > 0, "{stats:?}");
        bench.shutdown.cancel();
        bench.serving.await.unwrap();
    }
}

#[tokio::test]
async fn a_cache_that_cannot_be_used_costs_no_call() {
    let up = counting().await;
    let dir = tempfile::tempdir().unwrap();
    // A file where the directory should be.
    std::fs::write(dir.path().join("cache"), b"in the way").unwrap();
    let bench = Bench::start(caching(&up, dir.path(), &hours(Per::Tenant))).await;
    for _ in 0..2 {
        let answer = bench.post(CHAT, &chat("assistant")).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-cache")), (200, "miss"));
    }
    let stats = bench.gateway.cache_stats();
    assert!(!stats.is_usable && stats.failures > 0 && stats.not_stored > 0, "{stats:?}");
    assert!(bench.gateway.purge_cache(Purge::default()).await.is_err(), "nobody knows what is there");
}

#[tokio::test]
async fn an_answer_that_was_under_way_when_it_was_to_be_forgotten_is_not_kept() {
    let (scene, answer) = under_way().await;
    let purge = Purge { model: Some("assistant".into()), ..Purge::default() };
    assert_eq!(scene.bench.gateway.purge_cache(purge).await.unwrap(), 0);
    scene.up.go_on();
    http_body_util::BodyExt::collect(answer.into_body()).await.unwrap();
    assert_eq!(scene.bench.only_row().await.record.outcome, Outcome::Success);
    assert_eq!(scene.bench.gateway.cache_stats().entries, 0);
}

#[tokio::test]
async fn the_store_keeps_its_bound_and_forgets_what_is_asked_least() {
    let up = Provider::start(|request| {
        let asked = request.body.len();
        json(200, &provider::CHAT.replace("hello", &format!("hello {}", "y".repeat(40_000 + asked))))
    })
    .await;
    let scene = Scene::of(up, hours(Per::Tenant)).await;
    let body = |at: usize| chat("assistant").replace("hi", &format!("question {at}"));
    for at in 0..300 {
        scene.with(&body(at), &[]).await;
        if at % 20 == 0 {
            scene.with(&body(0), &[]).await;
        }
    }
    let stats = scene.bench.gateway.cache_stats();
    assert!(stats.taken_bytes <= stats.max_bytes && stats.evicted > 100, "{stats:?}");
    assert!(stats.file_bytes <= 2 * stats.max_bytes, "{stats:?}");
    assert_eq!(scene.with(&body(299), &[]).await.header("x-tollgate-cache"), "hit");
    assert_eq!(scene.with(&body(0), &[]).await.header("x-tollgate-cache"), "hit", "it was asked again and again");
    assert_eq!(scene.with(&body(1), &[]).await.header("x-tollgate-cache"), "miss");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_callers_at_once_all_get_their_answer_and_their_row() {
    let scene = Arc::new(Scene::new(Per::Tenant).await);
    let callers: Vec<_> = (0..200)
        .map(|at: usize| {
            let scene = Arc::clone(&scene);
            tokio::spawn(async move {
                let body = chat("assistant").replace("hi", &format!("question {}", at % 10));
                let answer = scene.with(&body, &[]).await;
                assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
                answer
            })
        })
        .collect();
    for caller in callers {
        let answer = caller.await.unwrap();
        assert!(["hit", "miss"].contains(&answer.header("x-tollgate-cache")));
    }
    let rows = scene.bench.rows();
    let cached = rows.iter().filter(|row| row.record.outcome == Outcome::Cached).count();
    assert_eq!((rows.len(), rows.len() - cached), (200, scene.asked()));
    let stats = scene.bench.gateway.cache_stats();
    assert_eq!((stats.exact_hits as usize, stats.entries), (cached, 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn where_the_route_says_so_the_first_asks_for_all() {
    let count = AtomicUsize::new(0);
    let up = Provider::start(move |_| {
        let said = provider::CHAT.replace("hello", &format!("hello {}", count.fetch_add(1, Ordering::Relaxed)));
        [vec![Step::Wait(Duration::from_millis(150))], json(200, &said)].concat()
    })
    .await;
    let scene = Arc::new(Scene::of(up, CacheRule { coalesce: true, ..hours(Per::Tenant) }).await);
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let scene = Arc::clone(&scene);
            tokio::spawn(async move { scene.with(&chat("assistant"), &[]).await.body })
        })
        .collect();
    for caller in callers {
        assert!(caller.await.unwrap().contains("hello 0"));
    }
    assert_eq!(scene.asked(), 1);
}

#[tokio::test]
async fn answers_are_purged_by_tenant_team_subject_model_and_call() {
    let scene = Scene::new(Per::Tenant).await;
    scene.bench.use_keys(vec![
        key(),
        other_key("elsewhere", |key| key.tenant = "globex".into()),
        other_key("fraud", |key| key.team = "fraud".into()),
    ]);
    let ask = |secret: &'static str, user: Option<&'static str>, model: &'static str| {
        let body = chat(model).replace("hi", user.unwrap_or("nobody"));
        let bench = &scene.bench;
        async move { from(bench, secret, user, &body).await }
    };
    let all = [
        (crate::harness::KEY, Some("ann"), "assistant"),
        (crate::harness::KEY, None, "assistant"),
        (crate::harness::KEY, None, "resilient"),
        ("elsewhere", None, "assistant"),
        ("fraud", Some("bob"), "assistant"),
    ];
    let mut rows = Vec::new();
    for (secret, user, model) in all {
        rows.push(scene.bench.row(&ask(secret, user, model).await).record);
    }
    let purge = |purge: Purge| scene.bench.gateway.purge_cache(purge);
    assert_eq!(purge(Purge { subject: rows[0].user_ref.clone(), ..Purge::default() }).await.unwrap(), 1);
    let labels = || async {
        let mut labels = Vec::new();
        for (secret, user, model) in all {
            labels.push(ask(secret, user, model).await.header("x-tollgate-cache").to_owned());
        }
        labels
    };
    assert_eq!(labels().await, ["miss", "hit", "hit", "hit", "hit"]);
    assert_eq!(purge(Purge { model: Some("resilient".into()), ..Purge::default() }).await.unwrap(), 1);
    assert_eq!(purge(Purge { tenant: Some("globex".into()), ..Purge::default() }).await.unwrap(), 1);
    assert_eq!(labels().await, ["hit", "hit", "miss", "miss", "hit"]);
    assert_eq!(purge(Purge { team: Some("fraud".into()), ..Purge::default() }).await.unwrap(), 1);
    let call = Some(rows[1].interaction_id.to_string());
    assert_eq!(purge(Purge { interaction: call.clone(), ..Purge::default() }).await.unwrap(), 1);
    assert_eq!(labels().await, ["hit", "miss", "hit", "hit", "miss"]);
    assert_eq!(purge(Purge { interaction: call, ..Purge::default() }).await.unwrap(), 0, "it is another call's now");
    let key = Some(format!("id-{}", "elsewhere"));
    assert_eq!(purge(Purge { subject: key, ..Purge::default() }).await.unwrap(), 1, "a key, by its id");
    assert_eq!(purge(Purge { tenant: Some("nobody".into()), ..Purge::default() }).await.unwrap(), 0);
    let both = Purge { tenant: rows[0].tenant.clone().into(), model: Some("nobody".into()), ..Purge::default() };
    assert_eq!(purge(both).await.unwrap(), 0, "all that is said must hold");
    assert_eq!(purge(Purge::default()).await.unwrap(), 4);
    assert_eq!(scene.bench.gateway.cache_stats().entries, 0);
}

// === Questions that mean nearly the same ===

fn semantic(threshold: u32) -> CacheRule {
    let model = NamedTarget { name: "up/embed".into(), weight: 1, line: 1, column: 1 };
    let semantic = Semantic { model, threshold: Share::new(threshold), timeout: Span::from_ms(300) };
    CacheRule { semantic: Some(semantic), ..hours(Per::Tenant) }
}

/// Its embeddings point in a direction of their own for each of a few words.
async fn understanding() -> Provider {
    let count = AtomicUsize::new(0);
    Provider::start(move |request| {
        if !request.head.contains("/embeddings") {
            let said = format!("hello {}", count.fetch_add(1, Ordering::Relaxed));
            return json(200, &provider::CHAT.replace("hello", &said));
        }
        if request.body.contains("hang") {
            return vec![Step::Hang];
        }
        let vector = match () {
            () if request.body.contains("refund") => "[1.0, 0.1, 0.0]",
            () if request.body.contains("money back") => "[1.0, 0.2, 0.0]",
            () => "[0.0, 0.1, 1.0]",
        };
        json(200, &format!(r#"{{"object":"list","model":"embed","data":[{{"object":"embedding","index":0,"embedding":{vector}}}],"usage":{{"prompt_tokens":8,"total_tokens":8}}}}"#))
    })
    .await
}

fn asking(system: &str, text: &str) -> String {
    serde_json::json!({"model": "assistant", "messages": [{"role": "system", "content": system}, {"role": "user", "content": text}]})
        .to_string()
}

#[tokio::test]
async fn a_question_in_other_words_gets_the_answer_of_the_first() {
    let scene = Scene::of(understanding().await, semantic(970_000)).await;
    let first = scene.with(&asking("s", "how do I get a refund?"), &[]).await;
    assert_eq!(first.header("x-tollgate-cache"), "miss");
    let again = scene.with(&asking("s", "I want my money back"), &[]).await;
    assert_eq!((again.header("x-tollgate-cache"), again.body.as_str()), ("semantic", first.body.as_str()));
    let rows = scene.bench.rows();
    let (original, row) = (scene.bench.row(&first).record, scene.bench.row(&again).record);
    assert_eq!((row.outcome, row.cache_kind), (Outcome::Cached, Some(CacheKind::Semantic)));
    assert_eq!((row.cached_from, row.cost_saved_usd), (Some(original.interaction_id), original.cost_usd));
    let similarity = row.cache_similarity.unwrap();
    assert!(similarity > Share::new(994_000) && similarity < Share::new(996_000), "{similarity}");
    // Each question was embedded by a call of its own, whose row is the caller's.
    let asides: Vec<_> =
        rows.iter().map(|row| &row.record).filter(|record| record.model_requested == "up/embed").collect();
    assert_eq!((rows.len(), asides.len()), (4, 2));
    for (aside, made_for) in asides.iter().zip([&original, &row]) {
        let label = ("tollgate.semantic_cache_for".to_owned(), made_for.interaction_id.to_string());
        assert!(aside.tags.contains(&label), "{:?}", aside.tags);
        assert_eq!((aside.operation, aside.outcome), (tollgate_interaction::Operation::Embeddings, Outcome::Success));
        assert_eq!(
            (&aside.api_key_id, &aside.team, aside.usage.input_tokens),
            (&made_for.api_key_id, &made_for.team, Some(8))
        );
    }
    let stats = scene.bench.gateway.cache_stats();
    assert_eq!((stats.semantic_hits, stats.misses, stats.embedding_failures), (1, 1, 0));
    // The very same needs no embedding.
    assert_eq!(scene.with(&asking("s", "how do I get a refund?"), &[]).await.header("x-tollgate-cache"), "hit");
    assert_eq!(scene.bench.rows().len(), 5);
}

#[tokio::test]
async fn only_the_last_question_may_differ_and_only_within_one_subject() {
    let scene = Scene::of(understanding().await, semantic(970_000)).await;
    scene.bench.use_keys(vec![
        key(),
        other_key("other", |_| {}),
        other_key("elsewhere", |key| key.tenant = "globex".into()),
    ]);
    let ask = |secret: &'static str, user: Option<&'static str>, system: &'static str, text: &'static str| {
        let bench = &scene.bench;
        async move { from(bench, secret, user, &asking(system, text)).await.header("x-tollgate-cache").to_owned() }
    };
    let mine = crate::harness::KEY;
    assert_eq!(ask(mine, Some("ann"), "s", "refund").await, "miss");
    assert_eq!(ask(mine, Some("ann"), "s", "money back").await, "semantic");
    assert_eq!(ask(mine, Some("ann"), "other", "money back").await, "miss", "another system prompt");
    assert_eq!(ask(mine, Some("ann"), "s", "opening hours").await, "miss", "another question");
    assert_eq!(ask(mine, Some("bob"), "s", "my money back").await, "miss", "another end user");
    assert_eq!(ask(mine, None, "s", "oh my money back").await, "miss", "no end user");
    assert_eq!(ask("other", None, "s", "my dear money back").await, "miss", "another key");
    assert_eq!(ask("elsewhere", Some("ann"), "s", "that money back").await, "miss", "another tenant");
    assert_eq!(ask(mine, Some("ann"), "s", "the money back").await, "semantic");
}

#[tokio::test]
async fn below_the_threshold_or_without_the_embedding_model_calls_go_on() {
    let scene = Scene::of(understanding().await, semantic(999_000)).await;
    scene.with(&asking("s", "refund"), &[]).await;
    assert_eq!(scene.with(&asking("s", "money back"), &[]).await.header("x-tollgate-cache"), "miss");
    // It does not answer in time.
    let late = scene.with(&asking("s", "hang on"), &[]).await;
    assert_eq!((late.status.as_u16(), late.header("x-tollgate-cache")), (200, "miss"));
    assert_eq!(scene.bench.gateway.cache_stats().embedding_failures, 1);
    assert_eq!(
        scene.with(&asking("s", "hang on"), &[]).await.header("x-tollgate-cache"),
        "hit",
        "it was kept all the same"
    );
    let mut rule = semantic(900_000);
    rule.semantic.as_mut().unwrap().model.name = "gone/embed".into();
    let scene = scene.restart(rule).await;
    assert_eq!(scene.with(&asking("s", "refunds"), &[]).await.header("x-tollgate-cache"), "miss");
    assert_eq!(scene.bench.gateway.cache_stats().embedding_failures, 1);
}

#[tokio::test]
async fn questions_are_found_after_a_restart_and_not_after_a_purge() {
    let scene = Scene::of(understanding().await, semantic(970_000)).await;
    scene.with(&asking("s", "refund"), &[]).await;
    let scene = scene.restart(semantic(970_000)).await;
    assert_eq!(scene.with(&asking("s", "money back"), &[]).await.header("x-tollgate-cache"), "semantic");
    assert_eq!(scene.bench.gateway.purge_cache(Purge::default()).await.unwrap(), 1);
    assert_eq!(scene.with(&asking("s", "money back"), &[]).await.header("x-tollgate-cache"), "miss");
}
