//! Operations beside chat, in OpenAI's words: each reaches its path, is answered as the provider answers, and becomes a row
//! with what it used.

use serde_json::{Value, json};
use tollgate_interaction::{CostSource, Operation, Outcome, UsageSource};
use tollgate_provider::preset::Api;

use crate::harness::{Bench, settings};
use crate::provider::{self, Provider, Received, Step, chunk, end, respond, stream_head};

const COMPLETION: &str = r#"{"id":"c","object":"text_completion","model":"small","choices":[{"index":0,"text":" upon","finish_reason":"stop"}],"usage":{"prompt_tokens":4,"completion_tokens":1,"total_tokens":5}}"#;
const MODERATION: &str = r#"{"id":"modr-1","model":"omni-moderation-latest","results":[{"flagged":false}]}"#;
const IMAGES: &str = r#"{"created":1,"data":[{"b64_json":"aa"}],"usage":{"input_tokens":50,"output_tokens":1056,"total_tokens":1106,"input_tokens_details":{"text_tokens":10,"image_tokens":40}}}"#;
const RANKED: &str = r#"{"id":"r","results":[{"index":0,"relevance_score":0.9}],"meta":{"api_version":{"version":"2"},"billed_units":{"search_units":1}}}"#;

/// Path and body for each operation whose request is JSON, the answer, and what the row says.
fn calls() -> [(&'static str, Value, &'static str, Operation); 6] {
    [
        ("/v1/completions", json!({ "model": "up/small", "prompt": "Once" }), COMPLETION, Operation::Completions),
        ("/v1/moderations", json!({ "model": "up/omni", "input": "hi" }), MODERATION, Operation::Moderations),
        (
            "/v1/images/generations",
            json!({ "model": "up/small", "prompt": "a cat", "n": 2 }),
            IMAGES,
            Operation::Images,
        ),
        (
            "/v1/images/edits",
            json!({ "model": "up/small", "prompt": "a hat", "images": [] }),
            IMAGES,
            Operation::Images,
        ),
        ("/v1/rerank", json!({ "model": "up/rank", "query": "q", "documents": ["a"] }), RANKED, Operation::Rerank),
        ("/v2/rerank", json!({ "model": "up/rank", "query": "q", "documents": ["a"] }), RANKED, Operation::Rerank),
    ]
}

#[tokio::test]
async fn each_operation_reaches_its_path_and_becomes_a_row() {
    for (path, body, answered, operation) in calls() {
        let up = Provider::answering(provider::json(200, answered)).await;
        let bench = Bench::start(settings(up.address)).await;
        let answer = bench.post(path, &body.to_string()).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, answered), "{path}");
        let received = &up.received()[0];
        assert!(received.head.starts_with(&format!("post {path} http/1.1")), "{}", received.head);
        let sent: Value = serde_json::from_str(&received.body).unwrap();
        assert_eq!(sent["model"], body["model"].as_str().unwrap().trim_start_matches("up/"), "{path}");
        let row = bench.row(&answer);
        let record = row.record;
        assert_eq!((record.operation, record.outcome, record.stream), (operation, Outcome::Success, false), "{path}");
        assert_eq!(
            (record.model_requested.as_str(), record.provider.as_deref()),
            (body["model"].as_str().unwrap(), Some("up"))
        );
        assert_eq!(row.settled.response.body, answered);
        assert!(row.was_opened);
        let usage = record.usage;
        match operation {
            Operation::Completions => assert_eq!((usage.input_tokens, usage.output_tokens), (Some(4), Some(1))),
            Operation::Images => {
                assert_eq!((usage.input_tokens, usage.image_input_tokens), (Some(50), Some(40)));
                assert_eq!((usage.output_tokens, usage.image_output_tokens), (Some(1056), Some(1056)));
                assert!(record.cost_usd.is_some());
            }
            Operation::Rerank => {
                assert_eq!((usage.other_tool_calls, usage.input_tokens), (Some(1), None));
                assert_eq!(
                    (record.cost_usd, record.cost_source),
                    (None, CostSource::None),
                    "nobody has a price for it"
                );
            }
            _ => {
                assert_eq!((record.usage_source, record.cost_usd), (UsageSource::None, None));
                assert_eq!(record.model_served.as_deref(), Some("omni-moderation-latest"));
            }
        }
    }
}

#[tokio::test]
async fn cohere_ranks_beside_its_api_for_clients_of_openai() {
    let up = Provider::answering(provider::json(200, RANKED)).await;
    let mut settings = settings(up.address);
    settings.providers.retain(|provider| provider.name == "up");
    settings.models.clear();
    settings.providers[0].base_url.push_str("/compatibility/v1");
    let bench = Bench::start(settings).await;
    for path in ["/v1/rerank", "/v2/rerank"] {
        let answer = bench.post(path, r#"{"model":"up/rank","query":"q","documents":["a"]}"#).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let head = up.received().pop().unwrap().head;
        assert!(head.starts_with(&format!("post {path} ")), "{head}");
    }
}

#[tokio::test]
async fn what_a_provider_does_instead_of_answering_is_a_failure_in_the_row() {
    let error = r#"{"error":{"message":"no such size","type":"invalid_request_error","code":"invalid_size"}}"#;
    let html = respond(200, "content-type: text/html\r\n", "<h1>welcome</h1>");
    let cases: [(Vec<Step>, u16, &str); 6] = [
        (provider::json(400, error), 400, "invalid_request"),
        (provider::json(500, r#"{"error":{"message":"oh","type":"server_error"}}"#), 500, "server_error"),
        (provider::json(200, error), 200, "invalid_request"),
        (html, 502, "upstream_invalid_response"),
        (provider::json(200, "\u{0}{\"garbage\": [,,"), 502, "upstream_invalid_response"),
        (vec![Step::Close], 502, "upstream_reset"),
    ];
    for (steps, status, code) in cases {
        for (path, body, _, operation) in calls() {
            let up = Provider::answering(steps.clone()).await;
            let bench = Bench::start(settings(up.address)).await;
            let answer = bench.post(path, &body.to_string()).await;
            assert_eq!(answer.status.as_u16(), status, "{path} {code}: {}", answer.body);
            assert!(answer.json()["error"]["message"].is_string(), "{}", answer.body);
            let record = bench.row(&answer).record;
            assert_eq!((record.outcome, record.operation), (Outcome::Failed, operation), "{path} {code}");
            assert_eq!(record.error_type.as_deref(), Some(code), "{path}");
            assert_eq!((record.attempts.len(), record.cost_usd), (1, None), "{path} {code}");
        }
    }
}

#[tokio::test]
async fn a_stream_of_completions_is_asked_for_its_usage_and_hides_it() {
    let pieces = [
        "data: {\"id\":\"c\",\"object\":\"text_completion\",\"model\":\"small\",\"choices\":[{\"index\":0,\"text\":\" upon\"}]}\n\n",
        "data: {\"id\":\"c\",\"model\":\"small\",\"choices\":[{\"index\":0,\"text\":\" a time\",\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"id\":\"c\",\"model\":\"small\",\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":3}}\n\n",
        "data: [DONE]\n\n",
    ];
    let steps: Vec<Step> = [stream_head()].into_iter().chain(pieces.map(chunk)).chain([end()]).collect();
    let up = Provider::answering(steps).await;
    let bench = Bench::start(settings(up.address)).await;
    let answer = bench.post("/v1/completions", r#"{"model":"up/small","prompt":"Once","stream":true}"#).await;
    assert!(answer.body.starts_with(&pieces[..2].concat()) && !answer.body.contains("usage"), "{}", answer.body);
    assert!(up.received()[0].body.contains("include_usage"));
    let record = bench.row(&answer).record;
    assert_eq!((record.stream, record.outcome), (true, Outcome::Success));
    assert_eq!((record.usage.input_tokens, record.usage.output_tokens), (Some(4), Some(3)));
    assert!(record.cost_usd.is_some() && record.ttft_us.is_some());
}

#[tokio::test]
async fn a_model_may_be_left_to_the_provider_where_one_is_named() {
    let up = Provider::answering(provider::json(200, MODERATION)).await;
    let bench = Bench::start(settings(up.address)).await;
    let body = r#"{"input":["a","b"]}"#;
    let mut request = bench.request("/v1/moderations", body);
    request.headers_mut().insert("x-tollgate-provider", http::HeaderValue::from_static("up"));
    let answer = bench.send(request).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-provider")), (200, "up"));
    assert_eq!(up.received()[0].body, body);
    let record = bench.row(&answer).record;
    assert_eq!((record.model_requested.as_str(), record.model_served.as_deref()), ("", Some("omni-moderation-latest")));
    assert_eq!(record.candidates[0].provider, "up");
    let unclear = bench.post("/v1/moderations", body).await;
    assert_eq!((unclear.status.as_u16(), &unclear.json()["error"]["code"]), (400, &"provider_ambiguous".into()));
    assert!(unclear.body.contains("`gone`, `up`"), "the sandbox is no choice beside them: {}", unclear.body);
    assert_eq!(bench.row(&unclear).record.outcome, Outcome::Failed);
    let mut request = bench.request("/v1/moderations", body);
    request.headers_mut().insert("x-tollgate-provider", http::HeaderValue::from_static("nobody"));
    let unknown = bench.send(request).await;
    assert_eq!((unknown.status.as_u16(), &unknown.json()["error"]["code"]), (404, &"provider_not_found".into()));
    // Where there is one beside the sandbox, it need not be named; where there is none, the sandbox answers.
    for (kept, served_by) in [(vec!["up", "sandbox", "claude"], "up"), (vec!["sandbox", "claude"], "sandbox")] {
        let mut few = settings(up.address);
        few.providers.retain(|provider| kept.contains(&provider.name.as_str()));
        few.models.clear();
        let bench = Bench::start(few).await;
        let answer = bench.post("/v1/moderations", body).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-provider")), (200, served_by), "{}", answer.body);
    }
}

#[tokio::test]
async fn who_cannot_is_named_with_those_who_can_in_the_caller_s_words() {
    let bench = Bench::start(settings(([127, 0, 0, 1], 1).into())).await;
    let model = |model: &str| json!({ "model": model, "input": "x", "prompt": "x", "query": "x", "messages": [], "max_tokens": 1 });
    let cases = [
        ("/v1/completions".to_owned(), model("claude/small"), "completions", "`gone`, `sandbox`, `up`"),
        ("/v1/images/generations".to_owned(), model("google/small"), "images", "`gone`, `sandbox`, `up`"),
        ("/v1/audio/speech".to_owned(), model("amazon/small"), "speech", "`gone`, `sandbox`, `up`"),
        ("/v1/embeddings".to_owned(), model("claude/small"), "embeddings", "`gone`, `google`, `sandbox`, `up`"),
        (
            "/v1/messages/count_tokens".to_owned(),
            model("up/small"),
            "count_tokens",
            "`amazon`, `claude`, `google`, `sandbox`",
        ),
        (
            "/v1beta/models/amazon/x:embedContent".to_owned(),
            json!({ "content": { "parts": [{ "text": "x" }] } }),
            "embeddings",
            "`gone`, `google`, `sandbox`, `up`",
        ),
        (
            "/model/up%2Fx/count-tokens".to_owned(),
            json!({ "input": { "converse": { "messages": [] } } }),
            "count_tokens",
            "`amazon`, `claude`, `google`, `sandbox`",
        ),
    ];
    for (path, body, operation, able) in cases {
        let answer = bench.post(&path, &body.to_string()).await;
        let told = answer.json();
        let message = told["error"]["message"].as_str().or(told["message"].as_str()).unwrap_or_default().to_owned();
        assert_eq!(answer.status.as_u16(), 400, "{path}: {}", answer.body);
        assert!(message.contains(&format!("`{operation}`")) && message.contains(able), "{path}: {message}");
        let record = bench.row(&answer).record;
        assert_eq!((record.outcome, record.operation.as_str()), (Outcome::Failed, operation));
        assert_eq!(record.error_type.as_deref(), Some("operation_not_supported"));
    }
}

#[tokio::test]
async fn a_provider_is_held_to_what_it_is_known_to_have() {
    let up = Provider::answering(provider::json(200, MODERATION)).await;
    let mut settings = settings(up.address);
    settings.models.clear();
    for provider in &mut settings.providers {
        // As Groq's preset has it.
        provider.has =
            (provider.name == "gone").then(|| vec![Api::Chat, Api::Responses, Api::Transcription, Api::Files]);
    }
    let bench = Bench::start(settings).await;
    for (path, operation) in [
        ("/v1/moderations", "moderations"),
        ("/v1/images/generations", "images"),
        ("/v1/audio/speech", "speech"),
        ("/v1/completions", "completions"),
    ] {
        let answer = bench.post(path, r#"{"model":"gone/x","input":"x","prompt":"x"}"#).await;
        assert_eq!(answer.status.as_u16(), 400, "{path}: {}", answer.body);
        assert_eq!(answer.json()["error"]["code"], "operation_not_supported", "{path}");
        assert!(answer.body.contains(operation) && answer.body.contains("`sandbox`, `up`"), "{}", answer.body);
    }
    let answer = bench.post("/v1/moderations", r#"{"input":"x"}"#).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-provider")), (200, "up"), "{}", answer.body);
}

#[tokio::test]
async fn azure_has_its_own_paths_for_them() {
    let script = |request: &Received| match request.head.contains("/files") {
        true => provider::json(200, r#"{"object":"list","data":[]}"#),
        false => provider::json(200, IMAGES),
    };
    let up = Provider::start(script).await;
    let mut settings = settings(up.address);
    settings.providers.retain(|provider| provider.name == "up");
    settings.models.clear();
    settings.providers[0].kind = tollgate_gateway::ProviderKind::Azure;
    settings.providers[0].api_version = Some("2025-04-01-preview".to_owned());
    let bench = Bench::start(settings).await;
    let answer = bench.post("/v1/images/generations", r#"{"model":"up/pics","prompt":"x"}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(bench.get("/v1/files?limit=1").await.status, 200);
    let heads: Vec<String> = up.received().into_iter().map(|received| received.head).collect();
    let expected = [
        "post /openai/deployments/pics/images/generations?api-version=2025-04-01-preview http/1.1",
        "get /openai/files?limit=1&api-version=2025-04-01-preview http/1.1",
    ];
    for (head, expected) in heads.iter().zip(expected) {
        assert!(head.starts_with(expected), "{head}");
    }
    let refused = bench.post("/v1/rerank", r#"{"model":"up/rank","query":"q","documents":["a"]}"#).await;
    assert!(refused.body.contains("none that is configured has it"), "{}", refused.body);
}
