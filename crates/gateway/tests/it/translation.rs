//! Callers and providers that speak different formats. What each says is held to its documentation by the provider crate;
//! here it is checked that the right one meets the right one.

use serde_json::Value;
use tollgate_gateway::{Credentials, ProviderKind, Secret};
use tollgate_interaction::{Dialect, Outcome, UsageSource};

use crate::golden::{self, Caller, PROVIDERS};
use crate::harness::{Answer, Bench, CHAT, settings};
use crate::provider::{self, Provider, Received, Step, bytes, chunk, end, json, stream_head};

/// The answer of a provider of `dialect` that says `Paris`.
fn answer_of(dialect: Dialect, stream: bool) -> Vec<Step> {
    if stream {
        bytes(golden::stream_type(dialect), &golden::events(dialect, "text").concat())
    } else {
        json(200, &golden::answer(dialect, "text"))
    }
}

/// Path and body of the request of a caller of `dialect` for the capital of France.
fn request_of(dialect: Dialect, model: &str, stream: bool) -> (String, String) {
    let (path, body) = golden::request(Caller { dialect, events: true }, "text", model, stream);
    (path, body.to_string())
}

fn expected_path(provider: Dialect, stream: bool) -> &'static str {
    match (provider, stream) {
        (Dialect::Openai, _) => "POST /v1/chat/completions ",
        (Dialect::Anthropic, _) => "POST /v1/messages ",
        (Dialect::Gemini, false) => "POST /v1beta/models/small:generateContent ",
        (Dialect::Gemini, true) => "POST /v1beta/models/small:streamGenerateContent?alt=sse ",
        (Dialect::Bedrock, false) => "POST /model/small/converse ",
        (Dialect::Bedrock, true) => "POST /model/small/converse-stream ",
        (Dialect::Responses, _) => "POST /v1/responses ",
    }
}

#[tokio::test]
async fn every_caller_is_served_by_every_provider() {
    for (name, spoken) in PROVIDERS {
        let script = move |request: &Received| {
            let asks = request.head.contains("streamgeneratecontent") || request.head.contains("converse-stream");
            answer_of(spoken, asks || request.body.contains("\"stream\":true"))
        };
        let up = Provider::start(script).await;
        let bench = Bench::start(settings(up.address)).await;
        for &caller in Dialect::ALL {
            for stream in [false, true] {
                let (path, body) = request_of(caller, &format!("{name}/small"), stream);
                let answer = bench.post(&path, &body).await;
                let what = format!("{caller} at `{name}`, stream {stream}: {}", answer.body);
                assert_eq!(answer.status, 200, "{what}");
                // A stream says it in two pieces.
                assert!(answer.body.contains("s\""), "{what}");
                let received = up.received().pop().unwrap();
                assert!(
                    received.head.starts_with(&expected_path(spoken, stream).to_lowercase()),
                    "{what}\n{}",
                    received.head
                );
                assert!(received.body.contains("What is the capital of France?"), "{}", received.body);
                let record = bench.row(&answer).record;
                assert_eq!((record.dialect, record.upstream_dialect), (caller, Some(spoken)), "{what}");
                assert_eq!((record.outcome, record.usage_source), (Outcome::Success, UsageSource::Provider), "{what}");
                assert_eq!(record.usage.input_tokens, Some(21), "{what}");
                assert_eq!((record.stream, record.finish_reasons.len()), (stream, 1), "{what}");
                assert!(record.model_served.is_some(), "{what}");
                assert!(!answer.body.contains(&format!("{name}/small")), "the model is the one that served: {what}");
            }
        }
    }
}

fn code(answer: &Answer) -> Value {
    answer.json()["error"]["code"].clone()
}

#[tokio::test]
async fn what_a_provider_cannot_express_is_refused_by_path_or_dropped_by_name() {
    let up = Provider::answering(json(200, provider::MESSAGE)).await;
    let bench = Bench::start(settings(up.address)).await;
    let body = |model: &str| {
        format!(
            r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}],"logprobs":true,"seed":7,"presence_penalty":0.5}}"#
        )
    };
    let answer = bench.post(CHAT, &body("claude/large")).await;
    assert_eq!((answer.status.as_u16(), code(&answer)), (400, "unsupported_field".into()), "{}", answer.body);
    let told = answer.json();
    let message = told["error"]["message"].as_str().unwrap();
    assert!(message.contains("`presence_penalty`") && message.contains("`logprobs`"), "every field is named: {told}");
    assert!(message.contains("give the model an alias under `models` with `on_unsupported: drop`"), "{message}");
    assert_eq!(answer.header("x-tollgate-dropped"), "");
    let param = told["error"]["param"].as_str().unwrap();
    assert!(message.find(&format!("`{param}`")) < message.find(','), "the first is the parameter: {told}");
    let record = bench.row(&answer).record;
    assert_eq!(record.candidates[0].rejected_because.as_deref(), Some("unsupported_field"));
    assert!(record.attempts.is_empty() && up.received().is_empty(), "nobody was called");
    let answer = bench.post(CHAT, &body("lenient")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let mut dropped = bench.row(&answer).record.dropped;
    assert_eq!(answer.header("x-tollgate-dropped"), dropped.join(", "));
    dropped.sort();
    assert_eq!(dropped, ["logprobs", "presence_penalty", "seed"]);
    // A target that can say it is called in place of one that cannot.
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let bench = Bench::start(settings(up.address)).await;
    let answer = bench.post(CHAT, &body("mixed")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-provider")), (200, "up"));
    let why: Vec<_> = bench.row(&answer).record.candidates.into_iter().map(|tried| tried.rejected_because).collect();
    assert_eq!(why, [Some("unsupported_field".to_owned()), None]);
}

#[tokio::test]
async fn a_provider_s_error_reaches_the_caller_in_its_own_shape() {
    let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded, come back"}}"#;
    let up = Provider::answering(json(529, overloaded)).await;
    let bench = Bench::start(settings(up.address)).await;
    for &caller in Dialect::ALL {
        let (path, body) = request_of(caller, "claude/small", false);
        let answer = bench.post(&path, &body).await;
        assert_eq!(answer.status.as_u16(), 529, "{}", answer.body);
        let told = answer.json();
        let message = told["error"]["message"].as_str().or(told["message"].as_str());
        assert_eq!(message, Some("Overloaded, come back"), "{caller}: {told}");
        let record = bench.row(&answer).record;
        assert_eq!((record.outcome, record.error_type.as_deref()), (Outcome::Failed, Some("overloaded")));
    }
}

#[tokio::test]
async fn a_refusal_names_the_field_where_each_caller_s_client_looks() {
    let bench = Bench::start(settings(([127, 0, 0, 1], 1).into())).await;
    let google = r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}],"generationConfig":{"presencePenalty":0.5,"responseLogprobs":true}}"#;
    let told = bench.post("/v1beta/models/claude%2Fx:generateContent", google).await.json();
    let details = told["error"]["details"].as_array().unwrap();
    let field = details.iter().find_map(|detail| detail["fieldViolations"][0]["field"].as_str());
    let message = told["error"]["message"].as_str().unwrap();
    assert!(field.is_some_and(|field| message.contains(&format!("`{field}` ("))), "{told}");
    assert!(message.contains("presencePenalty") && message.contains("responseLogprobs"), "{told}");
    let claude = r#"{"model":"up/x","max_tokens":9,"top_k":3,"messages":[{"role":"user","content":"hi"}]}"#;
    let told = bench.post("/v1/messages", claude).await.json();
    assert_eq!((&told["error"]["type"], &told["error"]["param"]), (&"invalid_request_error".into(), &"top_k".into()));
    let responses = r#"{"model":"claude/x","input":"hi","previous_response_id":"r","conversation":"c"}"#;
    let told = bench.post("/v1/responses", responses).await.json();
    let message = told["error"]["message"].as_str().unwrap();
    assert!(message.contains("`previous_response_id`") && message.contains("`conversation`"), "{told}");
    assert!(told["error"]["param"].is_string(), "{told}");
}

#[tokio::test]
async fn a_provider_s_failure_has_the_caller_s_own_word_for_it() {
    let word = |caller: Dialect, told: &Value| match caller {
        Dialect::Openai | Dialect::Responses | Dialect::Anthropic => told["error"]["type"].clone(),
        Dialect::Gemini => told["error"]["status"].clone(),
        Dialect::Bedrock => told["__type"].clone(),
    };
    for (status, code, words) in [
        (500, "server_error", ["server_error", "api_error", "INTERNAL", "InternalServerException"]),
        (
            503,
            "server_is_overloaded",
            ["service_unavailable_error", "overloaded_error", "UNAVAILABLE", "ServiceUnavailableException"],
        ),
        (529, "x", ["service_unavailable_error", "overloaded_error", "UNAVAILABLE", "ServiceUnavailableException"]),
        (504, "x", ["server_error", "timeout_error", "DEADLINE_EXCEEDED", "ModelTimeoutException"]),
        (
            429,
            "rate_limit_exceeded",
            ["rate_limit_error", "rate_limit_error", "RESOURCE_EXHAUSTED", "ThrottlingException"],
        ),
        (
            429,
            "insufficient_quota",
            ["insufficient_quota", "billing_error", "RESOURCE_EXHAUSTED", "ServiceQuotaExceededException"],
        ),
        (413, "x", ["invalid_request_error", "request_too_large", "INVALID_ARGUMENT", "ValidationException"]),
        (404, "x", ["invalid_request_error", "not_found_error", "NOT_FOUND", "ResourceNotFoundException"]),
        (400, "x", ["invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT", "ValidationException"]),
    ] {
        let openai = format!(r#"{{"error":{{"message":"oh","type":"t","param":null,"code":"{code}"}}}}"#);
        let up = Provider::answering(json(status, &openai)).await;
        let bench = Bench::start(settings(up.address)).await;
        // A caller of the provider's own dialect reads the provider's own words.
        let callers = [Dialect::Responses, Dialect::Anthropic, Dialect::Gemini, Dialect::Bedrock];
        for (caller, expected) in callers.into_iter().zip(words) {
            let (path, body) = request_of(caller, "up/small", false);
            let answer = bench.post(&path, &body).await;
            let told = answer.json();
            assert_eq!(answer.status.as_u16(), status, "{caller}: {told}");
            assert_eq!(word(caller, &told), expected, "{caller} told of {status} {code}: {told}");
        }
    }
}

#[tokio::test]
async fn a_late_error_ends_the_stream_in_the_caller_s_words_and_is_a_failure() {
    let begun = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"small\",\"content\":[],\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n\
        event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
        event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hel\"}}\n\n";
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    for (last, told) in [(chunk(error), "Overloaded"), (chunk("event: content_block_delta\nda"), "broke off")] {
        let up = Provider::answering(vec![stream_head(), chunk(begun), last, end()]).await;
        let bench = Bench::start(settings(up.address)).await;
        let (path, body) = request_of(Dialect::Openai, "claude/small", true);
        let answer = bench.post(&path, &body).await;
        assert!(answer.body.contains("Hel") && answer.body.contains(told), "{}", answer.body);
        assert!(!answer.body.contains("[DONE]"), "{}", answer.body);
        let record = bench.row(&answer).record;
        assert_eq!(record.outcome, Outcome::Failed);
        assert_eq!(record.usage.input_tokens, Some(9));
    }
}

#[tokio::test]
async fn a_stream_that_ends_before_it_begins_is_a_failure_to_every_caller() {
    let end_alone = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let up = Provider::answering(vec![stream_head(), chunk(end_alone), end()]).await;
    let bench = Bench::start(settings(up.address)).await;
    for caller in [Dialect::Openai, Dialect::Responses, Dialect::Gemini, Dialect::Bedrock] {
        let (path, body) = request_of(caller, "claude/small", true);
        let answer = bench.post(&path, &body).await;
        assert!(
            answer.body.contains("upstream_incomplete") || answer.body.contains("UPSTREAM_INCOMPLETE"),
            "{caller}: {}",
            answer.body
        );
        assert!(!answer.body.contains("[DONE]"), "{}", answer.body);
        let record = bench.row(&answer).record;
        assert_eq!((record.outcome, record.error_type.as_deref()), (Outcome::Failed, Some("upstream_incomplete")));
    }
}

#[tokio::test]
async fn azure_is_called_at_its_deployments_and_amazon_with_a_signature() {
    let up = Provider::answering(answer_of(Dialect::Openai, false)).await;
    let mut settings = settings(up.address);
    for provider in &mut settings.providers {
        match provider.name.as_str() {
            "up" => (provider.kind, provider.api_version) = (ProviderKind::Azure, Some("2024-10-21".to_owned())),
            "amazon" => {
                provider.credentials = Credentials::Aws {
                    access_key_id: "AKID".to_owned(),
                    secret_access_key: Secret::new("secret"),
                    session_token: None,
                };
            }
            _ => {}
        }
    }
    let bench = Bench::start(settings).await;
    let (path, body) = request_of(Dialect::Openai, "up/my gpt", false);
    assert_eq!(bench.post(&path, &body).await.status, 200);
    let head = up.received().pop().unwrap().head;
    assert!(head.starts_with("post /openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21 "), "{head}");
    assert!(head.contains("api-key: sk-operator") && !head.contains("authorization"), "{head}");
    let (path, body) = request_of(Dialect::Bedrock, "amazon/eu.claude-v1:0", false);
    // The scripted provider speaks another format: only what it was sent counts here.
    bench.post(&path, &body).await;
    let head = up.received().pop().unwrap().head;
    assert!(head.starts_with("post /model/eu.claude-v1%3a0/converse "), "{head}");
    assert!(head.contains("authorization: aws4-hmac-sha256 credential=akid/"), "{head}");
    assert!(head.contains("/eu/bedrock/aws4_request") && head.contains("x-amz-date: 20"), "{head}");
}

/// Sends a conversation of one message with `content` to Chat Completions, by a route that drops.
async fn leniently(bench: &Bench, content: &str) -> Answer {
    bench.post(CHAT, &format!(r#"{{"model":"lenient","messages":[{{"role":"user","content":{content}}}]}}"#)).await
}

#[tokio::test]
async fn nothing_is_paid_for_a_message_of_which_nothing_would_be_left() {
    let up = Provider::answering(json(200, provider::MESSAGE)).await;
    let bench = Bench::start(settings(up.address)).await;
    let sound = r#"{"type":"input_audio","input_audio":{"data":"UklGRg==","format":"wav"}}"#;
    let refused = leniently(&bench, &format!("[{sound}]")).await;
    assert_eq!((refused.status.as_u16(), code(&refused)), (400, "unsupported_field".into()), "{}", refused.body);
    assert_eq!(refused.json()["error"]["param"], "messages[0].content[0]");
    let empty = leniently(&bench, r#""""#).await;
    assert_eq!((empty.status.as_u16(), empty.json()["error"]["param"].clone()), (400, "messages".into()));
    assert!(up.received().is_empty(), "nobody was called");
    let beside = leniently(&bench, &format!(r#"[{sound},{{"type":"text","text":"What is said?"}}]"#)).await;
    assert_eq!((beside.status.as_u16(), beside.header("x-tollgate-dropped")), (200, "messages[0].content[0]"));
    // The header is bounded; the row is not.
    let sounds = [sound; 12].join(",");
    let many = leniently(&bench, &format!(r#"[{sounds},{{"type":"text","text":"What is said?"}}]"#)).await;
    let listed = many.header("x-tollgate-dropped");
    assert!(listed.ends_with("messages[0].content[9], ...") && listed.matches(", ").count() == 10, "{listed}");
    assert_eq!(bench.row(&many).record.dropped.len(), 12);
}
