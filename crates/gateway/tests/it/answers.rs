//! Calls that go well.

use std::time::Duration;

use http_body_util::BodyExt;
use tollgate_interaction::{CostSource, Decision, Event, Operation, Outcome, UsageSource};

use crate::harness::{Bench, CHAT, MESSAGES, chat, chat_stream, settings};
use crate::provider::{self, CHUNKS, Provider, Step, chunk, end, json, stream_head};

#[tokio::test]
async fn a_chat_call_reaches_the_provider_unchanged_but_for_its_model_and_becomes_a_row() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let bench = Bench::start(settings(up.address)).await;
    let body = r#"{ "model" : "up/small", "messages":[{"role":"user","content":"hi"}], "x_unknown": 1.50 }"#;
    let mut request = bench.request(CHAT, body);
    let headers = request.headers_mut();
    headers.insert("x-tollgate-metadata", r#"{"case":"42","a":"b"}"#.parse().unwrap());
    headers.insert("x-tollgate-user", "ann".parse().unwrap());
    headers.insert("x-tollgate-conversation", "c-1".parse().unwrap());
    headers.insert("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap());
    let answer = bench.send(request).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, provider::CHAT));
    assert_eq!(answer.header("x-tollgate-provider"), "up");
    assert_eq!(answer.header("x-tollgate-model"), "small");
    assert_eq!(answer.header("x-tollgate-attempts"), "1");

    let received = &up.received()[0];
    assert_eq!(received.body, body.replace("up/small", "small"));
    assert!(received.head.starts_with("post /v1/chat/completions http/1.1"), "{}", received.head);
    assert!(received.head.contains("authorization: bearer sk-operator"), "{}", received.head);
    assert!(
        received.head.contains("traceparent: 00-4bf9") && !received.head.contains("x-tollgate"),
        "{}",
        received.head
    );

    let row = bench.row(&answer);
    let record = &row.record;
    assert!(row.was_opened && row.settled.request.is_none());
    assert_eq!((record.outcome, record.http_status, record.decision), (Outcome::Success, Some(200), Decision::Allow));
    assert_eq!((record.team.as_str(), record.tenant.as_str()), ("kyc", "acme"));
    assert_eq!(record.api_key_id.as_deref(), Some("key-1"));
    assert_eq!(record.conversation_id.as_deref(), Some("c-1"));
    assert_eq!(record.trace_id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
    assert!(record.user_ref.as_deref().is_some_and(|user| user.len() == 32 && !user.contains("ann")));
    assert_eq!(record.tags, [("a".to_owned(), "b".to_owned()), ("case".to_owned(), "42".to_owned())]);
    assert_eq!((record.usage.input_tokens, record.usage.output_tokens), (Some(1000), Some(100)));
    assert_eq!((record.usage_source, record.cost_source), (UsageSource::Provider, CostSource::Catalog));
    assert_eq!(answer.header("x-tollgate-cost-usd"), record.cost_usd.unwrap().to_string());
    assert_eq!(record.attempts[0].cost_usd, record.cost_usd);
    assert_eq!((record.request_bytes, record.response_bytes), (body.len() as u64, provider::CHAT.len() as u64));
    assert_eq!(row.settled.response.body, provider::CHAT);
    assert_eq!(record.finish_reasons, ["stop"]);
    assert_eq!(record.decision_reasons[0].rule, "known-keys");
    assert!(record.policy_bundle_hash.is_some() && record.gateway_overhead_us.is_some() && record.ttft_us.is_some());
    let Event::Opened(opened) = &bench.events()[0] else { panic!("the first event opens the call") };
    assert_eq!(opened.request.body, body);
}

#[tokio::test]
async fn the_same_upstream_connection_serves_one_call_after_the_other() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let bench = Bench::start(settings(up.address)).await;
    for _ in 0..20 {
        assert_eq!(bench.post(CHAT, &chat("up/small")).await.status, 200);
    }
    assert_eq!((up.connections(), bench.rows().len()), (1, 20));
    assert_eq!((bench.gateway.stats().calls_settled, bench.gateway.stats().calls_in_flight), (20, 0));
}

#[tokio::test]
async fn an_idle_upstream_connection_that_the_provider_closed_is_not_noticed_by_the_caller() {
    let up = Provider::start(|_| [json(200, provider::CHAT), vec![Step::Close]].concat()).await;
    let bench = Bench::start(settings(up.address)).await;
    for _ in 0..5 {
        assert_eq!(bench.post(CHAT, &chat("up/small")).await.status, 200);
    }
    assert!(bench.rows().iter().all(|row| row.record.attempts.len() == 1));
}

#[tokio::test]
async fn a_stream_arrives_piece_by_piece_and_its_end_only_once_it_is_in_the_log() {
    let script = vec![
        stream_head(),
        chunk(CHUNKS[0]),
        Step::Pause,
        chunk(CHUNKS[1]),
        chunk(CHUNKS[2]),
        chunk(CHUNKS[3]),
        Step::Pause,
        end(),
    ];
    let up = Provider::answering(script).await;
    let bench = Bench::start(settings(up.address)).await;
    let response = bench.open(bench.request(CHAT, chat_stream("up/small"))).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, CHUNKS[0]);
    up.go_on();
    let second = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(second, CHUNKS[1]);
    assert!(tokio::time::timeout(Duration::from_millis(150), body.frame()).await.is_err(), "the end is held back");
    assert!(bench.rows().is_empty());
    up.go_on();
    let last = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let row = bench.only_row().await;
    let cost = row.record.cost_usd.unwrap();
    assert_eq!(last, format!("data: [DONE]\n\n: tollgate cost_usd={cost}\n\n"));
    assert!(body.frame().await.is_none());

    // The provider was asked for its usage, and the caller, who was not asking, did not see it.
    assert!(up.received()[0].body.contains(r#""stream_options":{"include_usage":true}"#));
    assert_eq!((row.record.usage.input_tokens, row.record.usage.output_tokens), (Some(1000), Some(100)));
    assert_eq!((row.record.outcome, row.record.stream, row.record.http_status), (Outcome::Success, true, Some(200)));
    assert_eq!(row.settled.response.body, CHUNKS.concat());
    assert!(row.record.ttft_us.unwrap() < row.record.latency_us);
}

#[tokio::test]
async fn a_stream_in_one_piece_is_a_stream_all_the_same() {
    let script = vec![stream_head(), chunk(CHUNKS.concat()), end()];
    let up = Provider::answering(script).await;
    let bench = Bench::start(settings(up.address)).await;
    let body = r#"{"model":"up/small","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#;
    let answer = bench.post(CHAT, body).await;
    assert!(answer.body.starts_with(&CHUNKS.concat()), "{}", answer.body);
    assert_eq!(bench.row(&answer).record.outcome, Outcome::Success);
}

#[tokio::test]
async fn anthropics_messages_go_through_with_their_own_headers() {
    let up = Provider::answering(json(200, provider::MESSAGE)).await;
    let bench = Bench::start(settings(up.address)).await;
    let mut request = bench
        .request(MESSAGES, r#"{"model":"claude/small","max_tokens":9,"messages":[],"metadata":{"user_id":"ann"}}"#);
    let key = request.headers_mut().remove("authorization").unwrap();
    request.headers_mut().insert("x-api-key", key.to_str().unwrap().trim_start_matches("Bearer ").parse().unwrap());
    request.headers_mut().insert("anthropic-beta", "tools-1".parse().unwrap());
    let answer = bench.send(request).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, provider::MESSAGE));
    let head = &up.received()[0].head;
    for line in [
        "post /v1/messages http/1.1",
        "x-api-key: sk-operator",
        "anthropic-version: 2023-06-01",
        "anthropic-beta: tools-1",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
    let record = bench.row(&answer).record;
    assert_eq!((record.usage.input_tokens, record.usage.output_tokens), (Some(1000), Some(100)));
    assert!(record.user_ref.is_some());
}

#[tokio::test]
async fn the_sandbox_answers_every_operation_without_a_provider() {
    let bench = Bench::start(settings(([127, 0, 0, 1], 1).into())).await;
    let message = r#"{"model":"sandbox/small","max_tokens":20,"messages":[{"role":"user","content":"hi"}]}"#;
    let calls = [
        (CHAT, chat("sandbox/small"), Operation::Chat),
        (CHAT, chat_stream("sandbox/small"), Operation::Chat),
        (MESSAGES, message.to_owned(), Operation::Chat),
        (MESSAGES, message.replace("\"max_tokens\"", "\"stream\":true,\"max_tokens\""), Operation::Chat),
        ("/v1/embeddings", r#"{"model":"sandbox/embed","input":"hi"}"#.to_owned(), Operation::Embeddings),
    ];
    for (path, body, operation) in calls {
        let answer = bench.post(path, &body).await;
        assert_eq!(answer.status, 200, "{path} {body} {}", answer.body);
        let record = bench.row(&answer).record;
        assert_eq!((record.outcome, record.operation), (Outcome::Success, operation));
        assert!(record.cost_usd.is_some() && record.usage_source == UsageSource::Provider, "{record:?}");
    }
}

#[tokio::test]
async fn a_bare_model_name_is_enough_where_it_means_one_thing() {
    let bench = Bench::start(settings(([127, 0, 0, 1], 1).into())).await;
    let answer = bench.post(CHAT, &chat("large")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-provider")), (200, "sandbox"));
}

#[tokio::test]
async fn models_are_listed_in_the_callers_dialect_and_the_listing_is_a_row() {
    let bench = Bench::start(settings(([127, 0, 0, 1], 1).into())).await;
    let listed = bench.get("/v1/models").await;
    let ids: Vec<String> =
        listed.json()["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().into()).collect();
    assert_eq!(ids, ["sandbox/small", "sandbox/large", "sandbox/embed", "assistant", "mixed", "lenient", "resilient"]);
    assert_eq!(bench.row(&listed).record.operation, Operation::Models);
    let one = bench.get("/v1/models/sandbox%2Fsmall").await;
    assert_eq!((one.json()["id"].as_str(), one.json()["object"].as_str()), (Some("sandbox/small"), Some("model")));
    let none = bench.get("/v1/models/sandbox/smal").await;
    assert_eq!((none.status.as_u16(), none.json()["error"]["code"].as_str()), (404, Some("model_not_found")));
}

#[tokio::test]
async fn http_2_is_spoken_too() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let bench = Bench::start(settings(up.address)).await;
    let answer = bench.over_http2(bench.request(CHAT, chat("up/small"))).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, provider::CHAT));
}

#[tokio::test]
async fn an_answer_too_large_to_hold_back_is_passed_on_and_recorded_as_far_as_the_limit() {
    let long = "x".repeat(300_000);
    let body = format!(
        r#"{{"object":"list","data":[],"model":"embed","usage":{{"prompt_tokens":7,"total_tokens":7}},"pad":"{long}"}}"#
    );
    let up = Provider::answering(json(200, &body)).await;
    let mut limited = settings(up.address);
    limited.limits.buffered_response_bytes = 10_000;
    let bench = Bench::start(limited).await;
    let answer = bench.post("/v1/embeddings", r#"{"model":"up/embed","input":"hi"}"#).await;
    assert_eq!(answer.body, body);
    assert_eq!(bench.row(&answer).record.usage.input_tokens, Some(7));

    let stream = [
        stream_head(),
        chunk(CHUNKS[0]),
        chunk(format!("data: {{\"pad\":\"{long}\"}}\n\n")),
        chunk(CHUNKS[2]),
        chunk(CHUNKS[1]),
        chunk(CHUNKS[3]),
        end(),
    ];
    let up = Provider::answering(stream.to_vec()).await;
    let mut limited = settings(up.address);
    limited.limits.recorded_response_bytes = 20_000;
    let streaming = Bench::start(limited).await;
    let answer = streaming.post(CHAT, &chat_stream("up/small")).await;
    assert!(answer.body.contains(&long));
    let row = streaming.row(&answer);
    assert_eq!((row.settled.response.body.len(), row.record.outcome), (20_000, Outcome::Success));
    let label = &row.record.tags[0];
    assert_eq!(label.0, "tollgate.response_recorded");
    assert!(label.1.starts_with("first 20000 of "), "{label:?}");
}
