//! What callers get wrong. Each refusal is checked for its status, its code, its shape, its interaction id and its row.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_gateway::Readiness;
use tollgate_interaction::{Decision, Outcome};

use crate::harness::{Answer, Bench, CHAT, MESSAGES, Row, chat, settings};

/// A gateway whose provider must not be called.
async fn bench() -> Bench {
    Bench::start(settings(([127, 0, 0, 1], 1).into())).await
}

/// Checks a refusal in OpenAI's shape and returns its row.
fn refused(bench: &Bench, answer: &Answer, status: u16, code: &str, outcome: Outcome) -> Row {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
    let error = &answer.json()["error"];
    assert_eq!(error["code"], code, "{}", answer.body);
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
    assert!(!answer.id().is_empty() && answer.body.contains(answer.id()), "the id stands in the body: {}", answer.body);
    let row = bench.row(answer);
    assert_eq!((row.record.outcome, row.record.http_status), (outcome, Some(status)));
    assert_eq!(row.record.error_type.as_deref(), Some(code));
    assert!(!row.was_opened && row.settled.request.is_some());
    assert_eq!(row.settled.response.body, answer.body);
    assert_eq!((row.record.cost_usd, row.record.attempts.len()), (None, 0));
    row
}

#[tokio::test]
async fn a_missing_or_unknown_key_is_denied() {
    let bench = bench().await;
    let mut request = bench.request(CHAT, chat("sandbox/small"));
    request.headers_mut().remove("authorization");
    let row = refused(&bench, &bench.send(request).await, 401, "key_missing", Outcome::Denied);
    assert_eq!((row.record.decision, row.record.team.as_str()), (Decision::Deny, ""));
    let mut request = bench.request(CHAT, chat("sandbox/small"));
    request.headers_mut().insert("authorization", HeaderValue::from_static("Bearer tg-secret-guess"));
    let row = refused(&bench, &bench.send(request).await, 401, "key_unknown", Outcome::Denied);
    assert!(!format!("{row:?}").contains("tg-secret-guess"), "a key never reaches the log");
}

#[tokio::test]
async fn anthropics_callers_get_anthropics_shape() {
    let bench = bench().await;
    let mut request = bench.request(MESSAGES, "{}");
    request.headers_mut().remove("authorization");
    let answer = bench.send(request).await;
    let body = answer.json();
    assert_eq!((answer.status.as_u16(), body["type"].as_str()), (401, Some("error")));
    assert_eq!(body["error"]["type"], "authentication_error");
    assert_eq!((body["request_id"].as_str(), answer.header("request-id")), (Some(answer.id()), answer.id()));
    assert_eq!(bench.row(&answer).record.outcome, Outcome::Denied);
}

#[tokio::test]
async fn an_unknown_model_is_named_with_the_nearest_known_one() {
    let bench = bench().await;
    let answer = bench.post(CHAT, &chat("sandbox/smal")).await;
    let row = refused(&bench, &answer, 404, "model_not_found", Outcome::Failed);
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("`sandbox/smal`") && message.contains("did you mean `sandbox/small`?"), "{message}");
    assert!(message.contains("`assistant`") && message.contains("`up/…`"), "{message}");
    assert_eq!((row.record.model_requested.as_str(), row.record.team.as_str()), ("sandbox/smal", "kyc"));
}

#[tokio::test]
async fn a_model_name_of_a_megabyte_is_refused_at_once_and_cut_on_the_row() {
    let bench = bench().await;
    let answer = bench.post(CHAT, &chat(&"m".repeat(1_000_000))).await;
    let row = refused(&bench, &answer, 404, "model_not_found", Outcome::Failed);
    assert_eq!(row.record.model_requested.len(), 256);
    assert_eq!(row.record.tags, [("tollgate.model_requested".to_owned(), "first 256 of 1000000 bytes".to_owned())]);
    assert!(answer.body.len() < 2_000 && row.record.latency_us < 5_000_000);
}

#[tokio::test]
async fn malformed_json_is_refused_by_field_and_byte_and_kept() {
    let bench = bench().await;
    let answer = bench.post(CHAT, r#"{"model":"sandbox/small","messages":[}"#).await;
    let row = refused(&bench, &answer, 400, "invalid_json", Outcome::Failed);
    assert!(answer.body.contains("`messages`"), "{}", answer.body);
    assert_eq!(row.settled.request.unwrap().body, r#"{"model":"sandbox/small","messages":[}"#);
    refused(&bench, &bench.post(CHAT, "").await, 400, "invalid_json", Outcome::Failed);
    refused(&bench, &bench.post(CHAT, r#"{"messages":[]}"#).await, 400, "missing_field", Outcome::Failed);
}

#[tokio::test]
async fn a_header_that_makes_no_sense_is_named() {
    let bench = bench().await;
    let mut request = bench.request(CHAT, chat("sandbox/small"));
    request.headers_mut().insert("x-tollgate-metadata", HeaderValue::from_static("{\"a\":1}"));
    let answer = bench.send(request).await;
    refused(&bench, &answer, 400, "invalid_header", Outcome::Failed);
    assert!(answer.body.contains("`x-tollgate-metadata`"));
}

#[tokio::test]
async fn a_body_of_50_mb_is_refused_without_being_kept_and_the_caller_can_read_why() {
    let bench = bench().await;
    let answer = bench.send(bench.request(CHAT, vec![b' '; 50_000_000])).await;
    let row = refused(&bench, &answer, 413, "body_too_large", Outcome::Failed);
    assert_eq!((row.record.request_bytes, row.settled.request.unwrap().body.len()), (50_000_000, 0));
    assert_eq!(row.record.tags, [("tollgate.request_recorded".to_owned(), "first 0 of 50000000 bytes".to_owned())]);
}

#[tokio::test]
async fn a_body_of_unstated_length_is_refused_when_it_grows_too_large() {
    let bench = bench().await;
    let mut caller = bench.raw().await;
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ntransfer-encoding: chunked\r\n\r\n",
        crate::harness::KEY
    );
    caller.write_all(head.as_bytes()).await.unwrap();
    let piece = format!("{:x}\r\n{}\r\n", 1 << 20, " ".repeat(1 << 20));
    for _ in 0..40 {
        caller.write_all(piece.as_bytes()).await.unwrap();
    }
    caller.write_all(b"0\r\n\r\n").await.unwrap();
    assert!(read_for_a_while(&mut caller).await.starts_with("HTTP/1.1 413"));
    assert_eq!(bench.only_row().await.record.error_type.as_deref(), Some("body_too_large"));
}

#[tokio::test]
async fn a_caller_who_waits_to_be_asked_for_a_large_body_is_told_before_it_sends() {
    let bench = bench().await;
    let mut caller = bench.raw().await;
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nexpect: 100-continue\r\ncontent-length: 50000000\r\n\r\n",
        crate::harness::KEY
    );
    caller.write_all(head.as_bytes()).await.unwrap();
    assert!(read_for_a_while(&mut caller).await.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn headers_beyond_the_limit_are_refused_with_a_row() {
    let bench = bench().await;
    let mut request = bench.request(CHAT, chat("sandbox/small"));
    request.headers_mut().insert("x-bomb", HeaderValue::from_str(&"a".repeat(70_000)).unwrap());
    refused(&bench, &bench.send(request).await, 431, "headers_too_large", Outcome::Failed);
}

#[tokio::test]
async fn a_header_bomb_that_cannot_even_be_parsed_is_refused_with_a_row() {
    let many = (0..5_000).map(|number| format!("x-{number}: a\r\n")).collect::<String>();
    let huge = format!("x-bomb: {}\r\n", "a".repeat(3_000_000));
    for (path, bomb) in [(CHAT, &many), (MESSAGES, &huge)] {
        let bench = bench().await;
        let mut caller = bench.raw().await;
        let request = format!("POST {path} HTTP/1.1\r\nhost: x\r\n{bomb}\r\n");
        let (mut reading, mut writing) = caller.split();
        let mut answer = String::new();
        let (_, read) = tokio::join!(writing.write_all(request.as_bytes()), reading.read_to_string(&mut answer));
        read.unwrap();
        assert!(answer.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{answer}");
        assert!(answer.contains("headers_too_large"), "{answer}");
        assert_eq!(answer.contains(r#""type":"error""#), path == MESSAGES, "{answer}");
        let row = bench.only_row().await;
        assert!(answer.contains(&format!("x-tollgate-interaction-id: {}", row.record.interaction_id)));
        assert_eq!((row.record.outcome, row.record.http_status), (Outcome::Failed, Some(431)));
    }
}

#[tokio::test]
async fn an_operation_that_a_provider_does_not_have_is_refused_by_name() {
    let bench = bench().await;
    let answer = bench.post("/v1/embeddings", r#"{"model":"claude/small","input":"hi"}"#).await;
    let row = refused(&bench, &answer, 400, "operation_not_supported", Outcome::Failed);
    assert!(answer.body.contains("`claude`") && answer.body.contains("`embeddings`"), "{}", answer.body);
    assert_eq!(row.record.candidates[0].rejected_because.as_deref(), Some("operation_not_supported"));
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_by_name_without_a_row() {
    let bench = bench().await;
    let answer = bench.post("/v1/chat", "{}").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (404, &"path_not_found".into()));
    assert!(answer.body.contains("`/v1/chat`") && answer.body.contains("/v1/chat/completions"), "{}", answer.body);
    let answer = bench.get(CHAT).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (405, &"method_not_allowed".into()));
    assert_eq!(bench.get("/health/live").await.body.as_str(), "ok\n");
    assert!(bench.rows().is_empty());
}

#[tokio::test]
async fn readiness_is_what_the_process_says_unless_the_gateway_starts_or_stops() {
    let bench = bench().await;
    let ready = bench.get("/health/ready").await;
    assert_eq!((ready.status.as_u16(), ready.json()), (200, serde_json::json!({"ready": true, "problems": []})));
    let takes_calls = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&takes_calls);
    bench.gateway.ask_readiness(move || Readiness {
        ready: asked.load(Ordering::Relaxed),
        problems: vec!["the store is away".to_owned()],
    });
    let ready = bench.get("/health/ready").await;
    assert_eq!(
        (ready.status.as_u16(), ready.json()),
        (200, serde_json::json!({"ready": true, "problems": ["the store is away"]}))
    );
    takes_calls.store(false, Ordering::Relaxed);
    assert_eq!(bench.get("/health/ready").await.status.as_u16(), 503);
    takes_calls.store(true, Ordering::Relaxed);
    bench.gateway.set_ready(false);
    let stopping = bench.get("/health/ready").await;
    assert_eq!((stopping.status.as_u16(), &stopping.json()["ready"]), (503, &serde_json::json!(false)));
    assert_eq!(stopping.json()["problems"][1], "the store is away");
}

#[tokio::test]
async fn a_body_that_never_comes_is_given_up() {
    let mut quick = settings(([127, 0, 0, 1], 1).into());
    quick.timeouts.request_body = Duration::from_millis(100);
    let bench = Bench::start(quick).await;
    let mut caller = bench.raw().await;
    let request = Bench::raw_request(CHAT, &chat("sandbox/small"));
    caller.write_all(&request.as_bytes()[..request.len() - 5]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let row = tokio::time::timeout(Duration::from_secs(15), bench.only_row()).await.unwrap();
    assert_eq!((row.record.error_type.as_deref(), row.record.outcome), (Some("body_timeout"), Outcome::Failed));
}

async fn read_for_a_while(caller: &mut tokio::net::TcpStream) -> String {
    let mut piece = vec![0; 65_536];
    let read = tokio::time::timeout(Duration::from_secs(10), caller.read(&mut piece)).await.unwrap().unwrap();
    String::from_utf8_lossy(&piece[..read]).into_owned()
}
