//! What a key is for, at the door: each limit lets through what it names and refuses the rest with a code, a sentence and a
//! row, before any provider is called.

use http::{HeaderValue, Method};
use serde_json::Value;
use tollgate_gateway::GatewaySettings;
use tollgate_interaction::{Decision, Outcome};
use tollgate_policy::control::{KeyRecord, PreviousSecret, hash_key, hash_text};
use tollgate_policy::key::{KeyLimits, Network};

use crate::harness::{Answer, Bench, chat, key, now_us, settings};

const CHAT: &str = "/v1/chat/completions";

fn offline() -> GatewaySettings {
    settings(([127, 0, 0, 1], 1).into())
}

async fn bench_with(key: KeyRecord) -> Bench {
    let bench = Bench::start(offline()).await;
    bench.use_keys(vec![key]);
    bench
}

fn limited(limits: KeyLimits) -> KeyRecord {
    KeyRecord { limits, ..key() }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Checks a refusal and its row, and returns its sentence.
fn refused(bench: &Bench, answer: &Answer, status: u16, code: &str) -> String {
    assert_eq!((answer.status.as_u16(), answer.json()["error"]["code"].as_str()), (status, Some(code)), "{answer:?}");
    let row = bench.row(answer);
    assert_eq!((row.record.outcome, row.record.decision), (Outcome::Denied, Decision::Deny));
    assert_eq!(row.record.error_type.as_deref(), Some(code));
    assert_eq!((row.record.team.as_str(), row.record.api_key_id.as_deref()), ("kyc", Some("key-1")));
    assert!(row.record.attempts.is_empty() && row.record.policy_bundle_hash.is_none() || code == "key_expired");
    assert_eq!(row.record.decision_reasons.last().unwrap().effect, "deny");
    answer.json()["error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_for_some_operations_and_surfaces_is_refused_for_others() {
    let bench = bench_with(limited(KeyLimits { scopes: texts(&["chat", "openai"]), ..KeyLimits::default() })).await;
    assert_eq!(bench.post(CHAT, &chat("sandbox/small")).await.status, 200);
    assert_eq!(bench.get("/v1/models").await.status, 200);
    let answer = bench.post("/v1/embeddings", r#"{"model":"sandbox/embed","input":"a"}"#).await;
    let message = refused(&bench, &answer, 403, "key_scope_insufficient");
    assert!(message.contains("`key-1` is not for the operation `embeddings`"), "{message}");
    let answer = bench.post("/v1/messages", r#"{"model":"sandbox/small","max_tokens":1,"messages":[]}"#).await;
    assert_eq!(answer.status, 403);
    let row = bench.row(&answer);
    assert_eq!(row.record.decision_reasons[0].rule, "builtin/key-scopes");
    assert!(row.record.decision_reasons[0].detail.contains("`anthropic`"), "{:?}", row.record.decision_reasons);
}

#[tokio::test]
async fn a_key_for_some_models_sees_and_calls_no_others() {
    let bench =
        bench_with(limited(KeyLimits { models: texts(&["sandbox/small", "assist*"]), ..KeyLimits::default() })).await;
    assert_eq!(bench.post(CHAT, &chat("sandbox/small")).await.status, 200);
    let answer = bench.post(CHAT, &chat("sandbox/large")).await;
    let message = refused(&bench, &answer, 403, "key_model_not_allowed");
    assert!(message.contains("`sandbox/large`") && message.contains("ask for one"), "{message}");
    let answer = bench.ask(Method::GET, "/v1/files", &[("x-tollgate-provider", "up")]).await;
    refused(&bench, &answer, 403, "key_model_not_allowed");
    let listed = bench.get("/v1/models").await.json();
    let names: Vec<&str> =
        listed["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["sandbox/small", "assistant"]);
    assert_eq!(bench.get("/v1/models/sandbox/large").await.status, 404);
}

#[tokio::test]
async fn a_key_is_refused_from_elsewhere_and_a_proxy_is_believed_only_if_it_is_trusted() {
    let inside = limited(KeyLimits { sources: texts(&["203.0.113.0/24"]), ..KeyLimits::default() });
    let bench = bench_with(inside.clone()).await;
    let forwarded = [("x-forwarded-for", "203.0.113.9")];
    let post = async |bench: &Bench, forwarded: Option<&'static str>| {
        let mut request = bench.request(CHAT, chat("sandbox/small"));
        if let Some(forwarded) = forwarded {
            request.headers_mut().insert("x-forwarded-for", HeaderValue::from_static(forwarded));
        }
        bench.send(request).await
    };
    let message = refused(&bench, &post(&bench, Some(forwarded[0].1)).await, 403, "key_source_not_allowed");
    assert!(message.contains("`127.0.0.1`"), "{message}");

    let trusting = GatewaySettings { trusted_proxies: vec![Network::parse("127.0.0.1").unwrap()], ..offline() };
    let bench = Bench::start(trusting).await;
    bench.use_keys(vec![inside]);
    assert_eq!(post(&bench, Some("203.0.113.9")).await.status, 200);
    refused(&bench, &post(&bench, Some("203.0.113.9, 192.0.2.1")).await, 403, "key_source_not_allowed");
    let message = refused(&bench, &post(&bench, Some("nobody")).await, 403, "key_source_not_allowed");
    assert!(message.contains("not known"), "{message}");
}

#[tokio::test]
async fn the_secret_before_works_in_its_grace_and_then_says_that_it_was_replaced() {
    let previous = |until_us| Some(PreviousSecret { hash: hash_text(&hash_key("tg-old")), until_us });
    let with_old = |bench: &Bench| {
        let mut request = bench.request(CHAT, chat("sandbox/small"));
        request.headers_mut().insert("authorization", HeaderValue::from_static("Bearer tg-old"));
        request
    };
    let bench = bench_with(KeyRecord { previous: previous(now_us() + 60_000_000), ..key() }).await;
    assert_eq!(bench.send(with_old(&bench)).await.status, 200);
    assert_eq!(bench.post(CHAT, &chat("sandbox/small")).await.status, 200);
    bench.use_keys(vec![KeyRecord { previous: previous(now_us() - 1), ..key() }]);
    let message = refused(&bench, &bench.send(with_old(&bench)).await, 401, "key_expired");
    assert!(message.contains("was replaced") && message.contains("use the new one"), "{message}");
    assert_eq!(bench.post(CHAT, &chat("sandbox/small")).await.status, 200, "the new one goes on working");
}

#[tokio::test]
async fn labels_and_user_of_a_key_stand_on_every_row() {
    let tags = [("cost_centre".to_owned(), "42".to_owned())].into();
    let bench = bench_with(KeyRecord { tags, user: Some("ann".into()), ..key() }).await;
    let mut request = bench.request(CHAT, chat("sandbox/small"));
    let labels = HeaderValue::from_static(r#"{"cost_centre":"7","app":"bot"}"#);
    request.headers_mut().insert("x-tollgate-metadata", labels);
    request.headers_mut().insert("x-tollgate-user", HeaderValue::from_static("mallory"));
    let claimed = bench.row(&bench.send(request).await).record;
    let tags: Vec<(&str, &str)> = claimed.tags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(tags, [("app", "bot"), ("cost_centre", "42")]);
    let plain = bench.row(&bench.post(CHAT, &chat("sandbox/small")).await).record;
    assert!(plain.user_ref.is_some() && plain.user_ref == claimed.user_ref, "a key that is one person's stays theirs");
    assert_eq!(Value::from(plain.tags.len()), Value::from(1));
}
