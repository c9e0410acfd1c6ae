//! Conversations over a WebSocket: admitted like any call, passed both ways as they are, one row each.

use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tollgate_gateway::{AckMode, Credentials, GatewaySettings, OnDisconnect, ProviderKind, Secret};
use tollgate_interaction::{Dialect, Event, Operation, Outcome, UsageSource, Usd};
use tollgate_provider::websocket::{Sender, close_frame, text_frame};

use crate::harness::{Bench, KEY, Row, settings};
use crate::talker::{Act, Caller, Heard, Talker, agreed, asking};

const SESSION: &str =
    r#"{"type":"session.created","event_id":"e1","session":{"type":"realtime","model":"gpt-realtime"}}"#;
const CREATED: &str = r#"{"type":"response.created","event_id":"e2","response":{"id":"r1","status":"in_progress"}}"#;
const DELTA: &str =
    r#"{"type":"response.output_audio_transcript.delta","event_id":"e3","delta":"Hello there, how are you?"}"#;
const DONE: &str = r#"{"type":"response.done","event_id":"e4","response":{"id":"r1","object":"realtime.response","status":"completed","status_details":null,"output":[],"usage":{"total_tokens":1100,"input_tokens":1000,"output_tokens":100,"input_token_details":{"text_tokens":1000,"audio_tokens":0,"cached_tokens":0},"output_token_details":{"text_tokens":100,"audio_tokens":0}}}}"#;
const ASK: &str = r#"{"type":"response.create","response":{"instructions":"Say hello."}}"#;

fn say(texts: &[&str]) -> Vec<Act> {
    texts.iter().map(|text| Act::Say((*text).to_owned())).collect()
}

/// Greets, answers whole, and begins an answer that it does not end when asked to "wait".
fn usual(text: &str) -> Vec<Act> {
    match text {
        "" => say(&[SESSION]),
        text if text.contains("wait") => say(&[CREATED, DELTA]),
        text if text.contains("go on") => say(&[DONE]),
        text if text.contains("response.create") => say(&[CREATED, DELTA, DONE]),
        _ => Vec::new(),
    }
}

async fn bench(talker: &Talker) -> Bench {
    bench_with(talker, |_| {}).await
}

async fn bench_with(talker: &Talker, change: impl Fn(&mut GatewaySettings)) -> Bench {
    let mut settings = settings(talker.address);
    change(&mut settings);
    Bench::start(settings).await
}

/// A gateway, a provider that talks as usual, and a caller who has been greeted.
async fn greeted(change: impl Fn(&mut GatewaySettings)) -> (Bench, Talker, Caller) {
    let talker = Talker::start(agreed(""), usual).await;
    let bench = bench_with(&talker, change).await;
    let (head, mut caller) = Caller::call(&bench, "up/small").await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert_eq!(caller.hear().await, Heard::Text(SESSION.to_owned()));
    (bench, talker, caller)
}

/// The conversation on the row, line by line.
fn lines(row: &Row) -> Vec<Value> {
    let text = std::str::from_utf8(&row.settled.response.body).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_conversation_passes_as_it_is_and_becomes_one_row() {
    for ack in [AckMode::Async, AckMode::Intent, AckMode::Sync] {
        let (bench, talker, mut caller) = greeted(|settings| settings.ack = ack).await;
        for _ in 0..2 {
            caller.say(ASK).await;
            for event in [CREATED, DELTA, DONE] {
                assert_eq!(caller.hear().await, Heard::Text(event.to_owned()));
            }
        }
        caller.close(1000).await;
        assert_eq!(caller.hear().await, Heard::Close(Some(1000), String::new()));
        let row = bench.only_row().await;
        assert_eq!(caller.hear().await, Heard::End);
        let record = &row.record;
        assert_eq!((record.outcome, record.http_status), (Outcome::Success, Some(101)), "{record:?}");
        assert_eq!((record.operation, record.dialect, record.stream), (Operation::Realtime, Dialect::Openai, true));
        assert_eq!(
            (record.model_requested.as_str(), record.model_served.as_deref()),
            ("up/small", Some("gpt-realtime"))
        );
        assert_eq!((record.team.as_str(), record.provider.as_deref()), ("kyc", Some("up")));
        assert_eq!((record.usage_source, record.usage.input_tokens), (UsageSource::Provider, Some(2_000)));
        assert_eq!((record.usage.output_tokens, record.finish_reasons.len()), (Some(200), 2));
        assert!(record.cost_usd > Some(Usd::ZERO), "{record:?}");
        assert!(row.was_opened && record.request_bytes > 0 && record.response_bytes > 0);
        let said: Vec<(String, String)> = lines(&row)
            .iter()
            .map(|line| {
                let kind = line["event"]["type"].as_str().unwrap_or("close").to_owned();
                (line["from"].as_str().unwrap().to_owned(), kind)
            })
            .collect();
        let expected = [
            ("provider", "session.created"),
            ("caller", "response.create"),
            ("provider", "response.created"),
            ("provider", "response.output_audio_transcript.delta"),
            ("provider", "response.done"),
        ];
        assert_eq!(said[..5], expected.map(|(side, kind)| (side.to_owned(), kind.to_owned())));
        assert_eq!(
            said[9..],
            [("caller", "close"), ("provider", "close")].map(|(side, kind)| (side.to_owned(), kind.to_owned()))
        );
        assert_eq!(talker.heard()[..2], [Heard::Text(ASK.to_owned()), Heard::Text(ASK.to_owned())]);
        assert_eq!(talker.last().await, Heard::Close(Some(1000), "bye".to_owned()));
        assert_eq!((bench.gateway.stats().calls_in_flight, bench.rows().len()), (0, 1));
    }
}

#[tokio::test]
async fn a_provider_is_asked_in_the_operator_s_name_and_its_handshake_is_passed_back() {
    let protocol = "sec-websocket-protocol: realtime\r\nsec-websocket-extensions: permessage-deflate\r\n";
    let talker = Talker::start(agreed(protocol), usual).await;
    let bench = bench(&talker).await;
    // As a page in a browser has to.
    let more = format!(
        "sec-websocket-protocol: realtime, openai-insecure-api-key.{KEY}, openai-beta.realtime-v1\r\n\
         sec-websocket-extensions: permessage-deflate\r\norigin: https://app.example\r\ncookie: a=b\r\n"
    );
    let path = "/v1/realtime?model=up%2Fsmall&intent=transcription";
    let (head, mut caller) = Caller::ask(&bench, &asking(path, &more)).await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    for line in [
        "sec-websocket-protocol: realtime\r\n",
        "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n",
        "x-tollgate-provider: up\r\n",
        "x-request-id: req-1\r\n",
        "upgrade: websocket\r\n",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
    assert!(!head.contains("extensions"), "{head}");
    let asked = talker.heads().pop().unwrap();
    assert!(asked.starts_with("get /v1/realtime?model=small&intent=transcription http/1.1\r\n"), "{asked}");
    for line in [
        "authorization: bearer sk-operator\r\n",
        "sec-websocket-key: dghlihnhbxbszsbub25jzq==\r\n",
        "sec-websocket-version: 13\r\n",
        "sec-websocket-protocol: realtime, openai-beta.realtime-v1\r\n",
    ] {
        assert!(asked.contains(line), "{line} in {asked}");
    }
    for word in [KEY, "extensions", "cookie", "origin", "content-type"] {
        assert!(!asked.contains(word), "{word} in {asked}");
    }
    caller.close(1000).await;
    let row = bench.only_row().await;
    assert!(head.contains(&format!("x-tollgate-interaction-id: {}", row.record.interaction_id)));
    assert_eq!(row.record.api_key_id.as_deref(), Some("key-1"));
    assert!(!format!("{row:?}").contains(KEY));
}

#[tokio::test]
async fn azure_is_asked_at_its_deployments_or_by_model() {
    let paths = [
        (
            Some("2024-10-01-preview"),
            "get /openai/realtime?api-version=2024-10-01-preview&deployment=my%20gpt http/1.1",
        ),
        (None, "get /openai/v1/realtime?model=my%20gpt http/1.1"),
    ];
    for (version, path) in paths {
        let talker = Talker::start(agreed(""), usual).await;
        let bench = bench_with(&talker, |settings| {
            settings.providers[0].kind = ProviderKind::Azure;
            settings.providers[0].api_version = version.map(str::to_owned);
            settings.providers[0].credentials = Credentials::Key(Secret::new("sk-azure"));
        })
        .await;
        let (head, mut caller) = Caller::call(&bench, "up%2Fmy+gpt&api-version=1&deployment=other").await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        let asked = talker.heads().pop().unwrap();
        assert!(asked.starts_with(path) && asked.contains("api-key: sk-azure\r\n"), "{asked}");
        caller.close(1000).await;
        assert_eq!(bench.only_row().await.record.outcome, Outcome::Success);
    }
}

/// Asks for a conversation that is refused, and returns code, message and row.
async fn refused(bench: &Bench, request: &str, status: u16, rows: usize) -> (String, String, Row) {
    let (head, mut caller) = Caller::ask(bench, request).await;
    assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
    let body = caller.rest_of_body().await;
    let body: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let row = bench.last_of(rows).await;
    assert_eq!((row.record.outcome == Outcome::Success, row.record.http_status), (false, Some(status)));
    assert!(head.contains(&format!("x-tollgate-interaction-id: {}", row.record.interaction_id)), "{head}");
    let text = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
    (text("code"), text("message"), row)
}

#[tokio::test]
async fn a_request_that_makes_no_conversation_is_refused_in_openai_s_shape() {
    let talker = Talker::start(agreed(""), usual).await;
    let bench = bench(&talker).await;
    let key = format!("authorization: Bearer {KEY}\r\n");
    let model = "/v1/realtime?model=up/small";
    let without = |line: &str| asking(model, &key).replace(line, "");
    let cases = [
        (asking(model, ""), 401, "key_missing"),
        (asking(model, "authorization: Bearer tg-guess\r\n"), 401, "key_unknown"),
        (asking("/v1/realtime", &key), 400, "missing_field"),
        (asking("/v1/realtime?model=sandbox/smal", &key), 404, "model_not_found"),
        (asking("/v1/realtime?model=claude/large", &key), 400, "operation_not_supported"),
        (asking("/v1/realtime?model=sandbox/small", &key), 400, "operation_not_supported"),
        (asking("/v1/realtime?model=gone/small", &key), 502, "upstream_unreachable"),
        (without("upgrade: websocket\r\n"), 426, "upgrade_required"),
        (without("connection: Upgrade\r\n"), 426, "upgrade_required"),
        (without("sec-websocket-version: 13\r\n"), 400, "invalid_header"),
        (without("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400, "invalid_header"),
    ];
    for (place, (request, status, code)) in cases.into_iter().enumerate() {
        let (told, message, row) = refused(&bench, &request, status, place + 1).await;
        assert_eq!(told, code, "{message}");
        assert!(!message.is_empty() && row.record.cost_usd.is_none(), "{row:?}");
        assert_eq!(row.record.error_type.as_deref(), Some(code));
    }
    assert!(talker.heads().is_empty(), "nobody was called");
}

#[tokio::test]
async fn a_provider_that_refuses_the_upgrade_is_heard_in_openai_s_shape() {
    let answer = |status: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    let error = r#"{"error":{"message":"no such model","type":"invalid_request_error","code":"model_not_found"}}"#;
    let cases = [
        (answer("404 Not Found", error), 404, "model_not_found"),
        (
            answer("429 Too Many Requests", &error.replace("model_not_found", "rate_limit_exceeded")),
            429,
            "rate_limit_exceeded",
        ),
        (answer("401 Unauthorized", error), 502, "upstream_credentials"),
        (answer("503 Service Unavailable", "<h1>busy</h1>"), 502, "upstream_error"),
        (answer("200 OK", "{}"), 502, "upstream_invalid_response"),
        (answer("302 Found", ""), 502, "upstream_redirect"),
    ];
    let key = format!("authorization: Bearer {KEY}\r\n");
    for (handshake, status, code) in cases {
        let talker = Talker::start(handshake, usual).await;
        let bench = bench(&talker).await;
        let request = asking("/v1/realtime?model=up/small", &key);
        let (told, _, row) = refused(&bench, &request, status, 1).await;
        assert_eq!(told, code);
        assert_eq!((row.record.outcome, row.record.attempts.len()), (Outcome::Failed, 1), "{row:?}");
        assert!(row.was_opened && row.record.cost_usd.is_none());
    }
}

#[tokio::test]
async fn the_next_target_is_asked_when_the_first_one_refuses() {
    let talker = Talker::start(agreed(""), usual).await;
    let bench = bench(&talker).await;
    let (head, mut caller) = Caller::call(&bench, "resilient").await;
    assert!(head.starts_with("http/1.1 101 ") && head.contains("x-tollgate-attempts: 2\r\n"), "{head}");
    caller.close(1000).await;
    let record = bench.only_row().await.record;
    assert_eq!((record.outcome, record.route_id.as_deref()), (Outcome::Success, Some("resilient")));
}

#[tokio::test]
async fn a_conversation_is_on_record_before_the_provider_is_asked() {
    // Takes the connection and never answers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut quick = settings(listener.local_addr().unwrap());
    quick.timeouts.first_byte = Duration::from_secs(10);
    let bench = Bench::start(quick).await;
    let mut caller = bench.raw().await;
    let request = asking("/v1/realtime?model=up/small", &format!("authorization: Bearer {KEY}\r\n"));
    caller.write_all(request.as_bytes()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let events = bench.events();
    assert!(
        matches!(events.as_slice(), [Event::Opened(opened)] if opened.interaction.operation == Operation::Realtime)
    );
    drop(caller);
    let record = bench.only_row().await.record;
    assert_eq!((record.outcome, record.http_status), (Outcome::Cancelled, None));
    drop(stream);
}

#[tokio::test]
async fn a_caller_who_leaves_in_the_middle_of_an_answer_is_charged_for_it() {
    for says_farewell in [false, true] {
        let (bench, talker, mut caller) = greeted(|settings| settings.on_disconnect = OnDisconnect::Cancel).await;
        caller.say(r#"{"type":"response.create","wait":1}"#).await;
        assert_eq!(
            (caller.hear().await, caller.hear().await),
            (Heard::Text(CREATED.into()), Heard::Text(DELTA.into()))
        );
        if says_farewell {
            caller.close(1001).await;
            assert_eq!(caller.hear().await, Heard::Close(Some(1001), String::new()));
        } else {
            drop(caller);
        }
        let record = bench.only_row().await.record;
        let outcome = if says_farewell { Outcome::Success } else { Outcome::Cancelled };
        assert_eq!((record.outcome, record.usage_source), (outcome, UsageSource::Estimated), "{record:?}");
        assert!(record.usage.input_tokens > Some(0) && record.usage.output_tokens > Some(0), "{:?}", record.usage);
        assert!(record.cost_usd > Some(Usd::ZERO));
        assert!(matches!(talker.last().await, Heard::Close(Some(1001), _)));
    }
}

#[tokio::test]
async fn an_answer_can_be_heard_to_its_end_after_the_caller_has_left() {
    for says_farewell in [false, true] {
        let script = |text: &str| match text {
            "" => say(&[SESSION]),
            _ => [say(&[CREATED, DELTA]), vec![Act::Flood(3)], say(&[DONE])].concat(),
        };
        let talker = Talker::start(agreed(""), script).await;
        let bench = bench(&talker).await;
        let (_, mut caller) = Caller::call(&bench, "up/small").await;
        caller.say(ASK).await;
        while caller.hear().await != Heard::Text(DELTA.to_owned()) {}
        if says_farewell {
            caller.close(1000).await;
            while caller.hear().await != Heard::Close(Some(1000), String::new()) {}
        }
        drop(caller);
        let record = bench.only_row().await.record;
        let outcome = if says_farewell { Outcome::Success } else { Outcome::Cancelled };
        assert_eq!((record.outcome, record.usage_source), (outcome, UsageSource::Provider), "{record:?}");
        assert_eq!(record.usage.output_tokens, Some(100));
        assert!(matches!(talker.last().await, Heard::Close(..)));
    }
}

#[tokio::test]
async fn a_conversation_in_which_nothing_was_asked_costs_nothing() {
    let (bench, _talker, caller) = greeted(|_| {}).await;
    drop(caller);
    let record = bench.only_row().await.record;
    assert_eq!((record.outcome, record.cost_usd), (Outcome::Cancelled, Some(Usd::ZERO)));
    assert_eq!((record.usage.input_tokens, record.usage_source), (Some(0), UsageSource::Estimated));
}

#[tokio::test]
async fn the_end_of_a_provider_reaches_the_caller_and_the_row() {
    let error = r#"{"type":"error","event_id":"e","error":{"type":"invalid_request_error","code":"session_expired","message":"Your session hit the maximum duration."}}"#;
    let ends = [
        (vec![Act::Close(1000, "")], 1000, None, ""),
        ([say(&[error]), vec![Act::Close(1001, "")]].concat(), 1001, Some("upstream_closed"), "maximum duration"),
        (vec![Act::Close(4000, "no")], 4000, Some("upstream_closed"), "4000 (no)"),
        (vec![Act::Drop], 1011, Some("upstream_incomplete"), "broke off"),
        (vec![Act::Raw(vec![0xff; 20])], 1011, Some("upstream_invalid_response"), "frame"),
    ];
    for (acts, code, error, says) in ends {
        let script = move |text: &str| if text.is_empty() { say(&[SESSION]) } else { acts.clone() };
        let talker = Talker::start(agreed(""), script).await;
        let bench = bench(&talker).await;
        let (_, mut caller) = Caller::call(&bench, "up/small").await;
        caller.say("{}").await;
        let heard = loop {
            match caller.hear().await {
                Heard::Text(_) => {}
                Heard::Close(code, _) => break code.unwrap(),
                Heard::End => panic!("no farewell"),
            }
        };
        assert_eq!(heard, code);
        // As a client library does.
        let _ = caller.stream.write_all(&close_frame(Sender::Client, code, "")).await;
        assert_eq!(caller.hear().await, Heard::End);
        let record = bench.only_row().await.record;
        let outcome = if error.is_none() { Outcome::Success } else { Outcome::Failed };
        assert_eq!((record.outcome, record.error_type.as_deref()), (outcome, error), "{record:?}");
        let message = record.error_message.unwrap_or_default();
        assert!(message.contains(says), "{message}");
        if code == 1000 {
            assert_eq!(talker.last().await, Heard::Close(Some(1000), String::new()), "the answer to its farewell");
        }
    }
}

#[tokio::test]
async fn a_message_that_is_too_long_or_no_frame_ends_the_conversation_with_its_code() {
    let (bench, talker, mut caller) = greeted(|settings| settings.limits.message_bytes = 1_000).await;
    caller.say(&"x".repeat(1_001)).await;
    assert_eq!(caller.hear().await, Heard::Close(Some(1009), "the message is too long".to_owned()));
    let record = bench.only_row().await.record;
    assert_eq!((record.outcome, record.error_type.as_deref()), (Outcome::Failed, Some("message_too_large")));
    assert_eq!(talker.last().await, Heard::Close(Some(1001), String::new()), "nothing of it was passed on");
    let (bench, _talker, mut caller) = greeted(|_| {}).await;
    caller.stream.write_all(&text_frame(Sender::Server, "bare")).await.unwrap();
    assert!(matches!(caller.hear().await, Heard::Close(Some(1002), _)));
    assert_eq!(bench.only_row().await.record.error_type.as_deref(), Some("invalid_frame"));
}

#[tokio::test]
async fn silence_and_length_are_bounded() {
    let quick = Duration::from_millis(150);
    let (bench, talker, mut caller) = greeted(|settings| settings.timeouts.session_idle = quick).await;
    assert!(matches!(caller.hear().await, Heard::Close(Some(1001), _)));
    let record = bench.only_row().await.record;
    assert_eq!((record.outcome, record.error_type.as_deref()), (Outcome::Failed, Some("session_idle")));
    assert!(matches!(talker.last().await, Heard::Close(Some(1001), _)));
    let (bench, _talker, mut caller) = greeted(|settings| {
        settings.timeouts.session_total = Duration::from_millis(400);
        settings.timeouts.session_idle = Duration::from_millis(300);
    })
    .await;
    let heard = loop {
        caller.say("{}").await;
        if let Ok(heard) = tokio::time::timeout(Duration::from_millis(50), caller.hear()).await {
            break heard;
        }
    };
    assert!(matches!(heard, Heard::Close(Some(1001), _)), "{heard:?}");
    assert_eq!(bench.only_row().await.record.error_type.as_deref(), Some("session_too_long"));
}

#[tokio::test]
async fn a_conversation_is_ended_and_settled_when_the_gateway_stops() {
    let (bench, talker, mut caller) = greeted(|_| {}).await;
    bench.shutdown.cancel();
    assert!(matches!(caller.hear().await, Heard::Close(Some(1001), _)));
    assert_eq!(bench.only_row().await.record.outcome, Outcome::Interrupted);
    assert!(matches!(talker.last().await, Heard::Close(Some(1001), _)));
    bench.serving.await.unwrap();
}

#[tokio::test]
async fn who_does_not_read_makes_the_other_side_wait() {
    const MEGABYTES: usize = 64;
    let script = |text: &str| if text.is_empty() { say(&[SESSION]) } else { vec![Act::Flood(MEGABYTES)] };
    let talker = Talker::start(agreed(""), script).await;
    let bench = bench(&talker).await;
    let (_, mut caller) = Caller::call(&bench, "up/small").await;
    caller.say("{}").await;
    let mut sent = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = talker.sent_bytes();
        if now == sent {
            break;
        }
        sent = now;
    }
    // Sockets hold some of it; the gateway holds 16 KiB.
    assert!(sent < 32_000_000, "{sent} bytes went out though nobody read");
    let mut texts = 0;
    while texts < MEGABYTES {
        if let Heard::Text(text) = caller.hear().await {
            texts += usize::from(text.len() == 1_000_000);
        }
    }
    caller.close(1000).await;
    let row = bench.only_row().await;
    assert_eq!(row.record.outcome, Outcome::Success);
    assert!(row.settled.response.body.len() <= 32 * 1024 * 1024);
    let kept = row.record.tags.iter().find(|(name, _)| name == "tollgate.response_recorded");
    assert!(kept.is_some_and(|(_, kept)| kept.starts_with("first ")), "{:?}", row.record.tags);
}
