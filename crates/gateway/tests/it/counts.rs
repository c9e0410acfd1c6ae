//! Counts of tokens and vectors between callers and providers of different formats, and Google's streams as arrays.

use serde_json::{Value, json};
use tollgate_interaction::{Dialect, Operation, Outcome, UsageSource};

use crate::harness::{Bench, settings};
use crate::provider::{self, Provider, Step, chunk, end, stream_head};

fn counter(provider: &str, dialect: Dialect) -> (String, Value) {
    let messages = json!([{ "role": "user", "content": "How long is this?" }]);
    let contents = json!([{ "role": "user", "parts": [{ "text": "How long is this?" }] }]);
    let converse = json!({ "messages": [{ "role": "user", "content": [{ "text": "How long is this?" }] }] });
    let model = format!("{provider}/small");
    match dialect {
        Dialect::Anthropic => ("/v1/messages/count_tokens".to_owned(), json!({ "model": model, "messages": messages })),
        Dialect::Gemini => (format!("/v1beta/models/{model}:countTokens"), json!({ "contents": contents })),
        Dialect::Bedrock => {
            (format!("/model/{provider}%2Fsmall/count-tokens"), json!({ "input": { "converse": converse } }))
        }
        _ => ("/v1/responses/input_tokens".to_owned(), json!({ "model": model, "input": "How long is this?" })),
    }
}

const COUNTERS: [(&str, Dialect, &str, &str); 4] = [
    ("claude", Dialect::Anthropic, "post /v1/messages/count_tokens ", r#"{"input_tokens":31}"#),
    ("google", Dialect::Gemini, "post /v1beta/models/small:counttokens ", r#"{"totalTokens":31}"#),
    ("amazon", Dialect::Bedrock, "post /model/small/count-tokens ", r#"{"inputTokens":31}"#),
    (
        "up",
        Dialect::Responses,
        "post /v1/responses/input_tokens ",
        r#"{"object":"response.input_tokens","input_tokens":31}"#,
    ),
];

#[tokio::test]
async fn everybody_who_counts_counts_for_everybody() {
    for (name, spoken, path, counted) in COUNTERS {
        let up = Provider::answering(provider::json(200, counted)).await;
        let mut settings = settings(up.address);
        settings.providers.iter_mut().for_each(|provider| provider.has_responses = true);
        let bench = Bench::start(settings).await;
        for (_, caller, _, expected) in COUNTERS {
            let (asked, body) = counter(name, caller);
            let answer = bench.post(&asked, &body.to_string()).await;
            assert_eq!(answer.status, 200, "{caller} at {name}: {}", answer.body);
            let expected: Value = serde_json::from_str(expected).unwrap();
            assert_eq!(answer.json(), expected, "{caller} at {name}");
            let received = up.received().pop().unwrap();
            assert!(received.head.starts_with(path), "{}", received.head);
            assert!(received.body.contains("How long is this?"), "{}", received.body);
            let record = bench.row(&answer).record;
            assert_eq!((record.operation, record.outcome), (Operation::CountTokens, Outcome::Success));
            assert_eq!((record.dialect, record.upstream_dialect), (caller, Some(spoken)));
            // What was counted was not used.
            assert_eq!((record.usage_source, record.cost_usd), (UsageSource::None, None));
        }
    }
}

#[tokio::test]
async fn a_count_that_fails_is_told_in_the_caller_s_shape() {
    let error = r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages: too few"}}"#;
    for (steps, status) in
        [(provider::json(400, error), 400), (provider::json(200, "{}"), 502), (provider::json(200, "<"), 502)]
    {
        let up = Provider::answering(steps).await;
        let bench = Bench::start(settings(up.address)).await;
        for caller in [Dialect::Gemini, Dialect::Bedrock] {
            let (path, body) = counter("claude", caller);
            let answer = bench.post(&path, &body.to_string()).await;
            assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
            let told = answer.json();
            assert!(told["error"]["message"].is_string() || told["message"].is_string(), "{told}");
            assert_eq!(bench.row(&answer).record.outcome, Outcome::Failed);
        }
    }
}

#[tokio::test]
async fn vectors_are_made_by_google_for_openai_s_callers_and_the_other_way_round() {
    let google = r#"{"embeddings":[{"values":[0.5,-1.0]}],"usageMetadata":{"promptTokenCount":3}}"#;
    let up = Provider::answering(provider::json(200, google)).await;
    let bench = Bench::start(settings(up.address)).await;
    let answer = bench.post("/v1/embeddings", r#"{"model":"google/small","input":["a"],"dimensions":2}"#).await;
    assert_eq!(answer.json()["data"][0]["embedding"], json!([0.5, -1.0]), "{}", answer.body);
    assert_eq!(answer.json()["model"], "small");
    assert_eq!(bench.row(&answer).record.model_served.as_deref(), Some("small"), "Google does not name it");
    assert_eq!(answer.json()["usage"]["prompt_tokens"], 3);
    let received = up.received().pop().unwrap();
    assert!(received.head.starts_with("post /v1beta/models/small:batchembedcontents "), "{}", received.head);
    assert!(received.body.contains("\"outputDimensionality\":2"), "{}", received.body);
    let record = bench.row(&answer).record;
    assert_eq!((record.usage.input_tokens, record.usage_source), (Some(3), UsageSource::Provider));
    let answer =
        bench.post("/v1/embeddings", r#"{"model":"google/small","input":"a","encoding_format":"base64"}"#).await;
    assert_eq!(answer.json()["data"][0]["embedding"], "AAAAPwAAgL8=");
    let same = bench.post("/v1beta/models/google/small:embedContent", r#"{"content":{"parts":[{"text":"a"}]}}"#).await;
    assert_eq!(same.body, google);
    assert!(up.received().pop().unwrap().head.starts_with("post /v1beta/models/small:embedcontent "));

    let openai = r#"{"object":"list","model":"small","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"usage":{"prompt_tokens":3,"total_tokens":3}}"#;
    let up = Provider::answering(provider::json(200, openai)).await;
    let bench = Bench::start(settings(up.address)).await;
    let answer = bench.post("/v1beta/models/up/embed:embedContent", r#"{"content":{"parts":[{"text":"a"}]}}"#).await;
    assert_eq!(answer.json(), json!({ "embedding": { "values": [0.5] }, "usageMetadata": { "promptTokenCount": 3 } }));
    assert!(bench.row(&answer).record.cost_usd.is_some());
    let batch = json!({ "requests": [{ "model": "models/x", "content": { "parts": [{ "text": "a" }] } }] });
    let answer = bench.post("/v1beta/models/up/small:batchEmbedContents", &batch.to_string()).await;
    assert_eq!(answer.json()["embeddings"], json!([{ "values": [0.5] }]));
    let task = r#"{"content":{"parts":[{"text":"a"}]},"taskType":"RETRIEVAL_QUERY"}"#;
    let refused = bench.post("/v1beta/models/up/small:embedContent", task).await;
    assert!(refused.status == 400 && refused.body.contains("`taskType`"), "{}", refused.body);
}

#[tokio::test]
async fn vectors_whose_provider_does_not_count_are_estimated() {
    let up = Provider::answering(provider::json(200, r#"{"embedding":{"values":[0.5]}}"#)).await;
    let bench = Bench::start(settings(up.address)).await;
    let answer =
        bench.post("/v1beta/models/google/small:embedContent", r#"{"content":{"parts":[{"text":"a"}]}}"#).await;
    let record = bench.row(&answer).record;
    assert_eq!((record.outcome, record.usage_source), (Outcome::Success, UsageSource::Estimated));
    assert!(record.usage.input_tokens.is_some_and(|tokens| tokens > 0) && record.cost_usd.is_some());
}

const PIECES: [&str; 2] = [
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hel\"}]}}]}\r\n\r\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"lo\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":2}}\r\n\r\n",
];
const ARRAY: &str = "/v1beta/models/google/small:streamGenerateContent";
const CONTENTS: &str = r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#;

#[tokio::test]
async fn google_s_callers_get_an_array_where_they_ask_for_no_events() {
    let up = Provider::answering(vec![stream_head(), chunk(PIECES[0]), chunk(PIECES[1]), end()]).await;
    let bench = Bench::start(settings(up.address)).await;
    let answer = bench.post(ARRAY, CONTENTS).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    let told = answer.json();
    assert_eq!(told.as_array().map(Vec::len), Some(2), "{told}");
    assert_eq!(told[1]["candidates"][0]["finishReason"], "STOP");
    assert!(up.received()[0].head.contains("?alt=sse"), "what comes is told apart as it comes");
    let record = bench.row(&answer).record;
    assert_eq!((record.outcome, record.stream, record.usage.output_tokens), (Outcome::Success, true, Some(2)));
    let events = bench.post(&format!("{ARRAY}?alt=sse"), CONTENTS).await;
    assert_eq!(events.body, PIECES.concat());
}

#[tokio::test]
async fn an_error_inside_an_array_is_one_of_its_items() {
    let opening =
        "data: {\"id\":\"c\",\"model\":\"small\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\n";
    let cases: [(&str, Vec<Step>, usize); 4] = [
        ("google", vec![stream_head(), chunk(PIECES[0]), end()], 2),
        ("google", vec![stream_head(), chunk("data: {\"cand"), end()], 1),
        ("up", vec![stream_head(), chunk(opening), end()], 2),
        ("up", vec![stream_head(), chunk(": hello\n\n"), Step::Close], 1),
    ];
    for (name, steps, items) in cases {
        let up = Provider::answering(steps).await;
        let bench = Bench::start(settings(up.address)).await;
        let answer = bench.post(&ARRAY.replace("google", name), CONTENTS).await;
        let told: Vec<Value> =
            serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body));
        assert_eq!(told.len(), items, "{name}: {}", answer.body);
        assert_eq!(told[items - 1]["error"]["status"], "UNAVAILABLE", "{name}: {}", answer.body);
        let record = bench.row(&answer).record;
        assert_eq!((record.outcome, record.error_type.as_deref()), (Outcome::Failed, Some("upstream_incomplete")));
    }
}
