//! Callers of Amazon's InvokeModel: Claude's Messages inside Amazon's envelope, passed through to Bedrock and put into other
//! words for everybody else.

use serde_json::Value;
use tollgate_interaction::{Dialect, Outcome, UsageSource};
use tollgate_provider::dialect::bedrock::invoke::{Unwrapper, Wrapper};

use crate::harness::{Bench, settings};
use crate::provider::{self, Provider, bytes, json as answer_json};

const BODY: &str = r#"{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["b-1"],"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
const EVENTS: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"small\",\"content\":[],\"usage\":{\"input_tokens\":1000,\"output_tokens\":1}}}\n\n\
    event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
    event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hello\"}}\n\n\
    event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
    event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":100}}\n\n\
    event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
const FRAMES: &str = "application/vnd.amazon.eventstream";

/// The raw bytes of an answer, which the harness would take for text.
async fn raw(bench: &Bench, path: &str) -> (http::response::Parts, Vec<u8>) {
    use http_body_util::BodyExt;
    let (parts, body) = bench.open(bench.request(path, BODY)).await.into_parts();
    (parts, body.collect().await.unwrap().to_bytes().to_vec())
}

fn id(parts: &http::response::Parts) -> String {
    parts.headers["x-tollgate-interaction-id"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn bedrock_is_sent_the_caller_s_bytes_and_its_answer_is_counted() {
    let up = Provider::answering(answer_json(200, provider::MESSAGE)).await;
    let bench = Bench::start(settings(up.address)).await;
    let answer = bench.post("/model/amazon%2Fanthropic.claude-v1%3A0/invoke", BODY).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, provider::MESSAGE));
    let received = &up.received()[0];
    assert!(received.head.starts_with("post /model/anthropic.claude-v1%3a0/invoke "), "{}", received.head);
    assert_eq!(received.body, BODY);
    let record = bench.row(&answer).record;
    assert_eq!((record.dialect, record.upstream_dialect), (Dialect::Bedrock, Some(Dialect::Bedrock)));
    assert_eq!((record.usage.input_tokens, record.usage.output_tokens), (Some(1000), Some(100)));
    assert_eq!((record.outcome, record.usage_source), (Outcome::Success, UsageSource::Provider));

    let frames = Wrapper::default().push(EVENTS.as_bytes());
    let up = Provider::answering(bytes(FRAMES, &frames)).await;
    let bench = Bench::start(settings(up.address)).await;
    let (parts, body) = raw(&bench, "/model/amazon%2Fclaude/invoke-with-response-stream").await;
    assert_eq!((parts.status.as_u16(), body), (200, frames.to_vec()));
    assert!(up.received()[0].head.starts_with("post /model/claude/invoke-with-response-stream "));
    let record = bench.only_row().await.record;
    assert_eq!(record.interaction_id.to_string(), id(&parts));
    assert!(record.stream && record.ttft_us.is_some());
    assert_eq!((record.usage.input_tokens, record.usage.output_tokens), (Some(1000), Some(100)));
    assert_eq!((record.outcome, record.finish_reasons), (Outcome::Success, vec!["end_turn".to_owned()]));
}

#[tokio::test]
async fn others_answer_in_claude_s_words_inside_amazon_s_envelope() {
    let chat: String = provider::CHUNKS.concat();
    for (name, whole, stream, spoken) in [
        ("claude", provider::MESSAGE, EVENTS, Dialect::Anthropic),
        ("up", provider::CHAT, chat.as_str(), Dialect::Openai),
    ] {
        let up = Provider::answering(answer_json(200, whole)).await;
        let bench = Bench::start(settings(up.address)).await;
        let answer = bench.post(&format!("/model/{name}%2Fsmall/invoke"), BODY).await;
        let told = answer.json();
        assert_eq!((answer.status.as_u16(), &told["content"][0]["text"]), (200, &"hello".into()), "{name}: {told}");
        assert_eq!((&told["type"], &told["usage"]["output_tokens"]), (&"message".into(), &100.into()));
        let received = &up.received()[0];
        let sent: Value = serde_json::from_str(&received.body).unwrap();
        assert_eq!((&sent["model"], sent.get("anthropic_version")), (&"small".into(), None), "{sent}");
        assert_eq!(received.head.contains("anthropic-beta: b-1"), name == "claude", "{}", received.head);
        let record = bench.row(&answer).record;
        assert_eq!((record.dialect, record.upstream_dialect), (Dialect::Bedrock, Some(spoken)));
        assert_eq!(record.usage.output_tokens, Some(100));

        let up = Provider::answering(bytes("text/event-stream", stream.as_bytes())).await;
        let bench = Bench::start(settings(up.address)).await;
        let (parts, body) = raw(&bench, &format!("/model/{name}%2Fsmall/invoke-with-response-stream")).await;
        assert_eq!(parts.headers["content-type"], FRAMES);
        let events = String::from_utf8(Unwrapper::default().push(&body).to_vec()).unwrap();
        assert!(events.contains("hello") && events.contains("message_stop"), "{name}: {events}");
        let record = bench.only_row().await.record;
        assert_eq!((record.outcome, record.usage.output_tokens), (Outcome::Success, Some(100)), "{name}");
        assert!(up.received()[0].body.contains("\"stream\":true"));
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_in_amazon_s_exception() {
    let half = &EVENTS[..EVENTS.find("event: content_block_stop").unwrap()];
    for (name, answered) in [
        ("claude", bytes("text/event-stream", half.as_bytes())),
        ("amazon", bytes(FRAMES, &Wrapper::default().push(half.as_bytes()))),
    ] {
        let up = Provider::answering(answered).await;
        let bench = Bench::start(settings(up.address)).await;
        let (_, body) = raw(&bench, &format!("/model/{name}%2Fsmall/invoke-with-response-stream")).await;
        let mut names = Vec::new();
        tollgate_provider::eventstream::Decoder::default()
            .push(&body, |event| names.push(String::from_utf8(event.name.to_vec()).unwrap()));
        assert_eq!(names.last().map(String::as_str), Some("serviceUnavailableException"), "{name}: {names:?}");
        let record = bench.only_row().await.record;
        assert_eq!((record.outcome, record.error_type.as_deref()), (Outcome::Failed, Some("upstream_incomplete")));
        assert!(record.usage.input_tokens.is_some() && record.cost_usd.is_some(), "{name}: what was read is charged");
    }
}

#[tokio::test]
async fn a_guardrail_goes_to_amazon_and_is_not_lost_on_the_way_to_others() {
    let up = Provider::answering(answer_json(200, provider::MESSAGE)).await;
    let bench = Bench::start(settings(up.address)).await;
    let guarded = |model: &str| {
        let mut request = bench.request(&format!("/model/{model}/invoke"), BODY);
        request.headers_mut().insert("x-amzn-bedrock-guardrailidentifier", http::HeaderValue::from_static("g-1"));
        request
    };
    assert_eq!(bench.send(guarded("amazon%2Fclaude")).await.status, 200);
    assert!(up.received()[0].head.contains("x-amzn-bedrock-guardrailidentifier: g-1"));
    let refused = bench.send(guarded("claude%2Fsmall")).await;
    assert_eq!(refused.status, 400);
    assert!(refused.json()["message"].as_str().unwrap().contains("x-amzn-bedrock-guardrailidentifier"));
    let dropped = bench.send(guarded("lenient")).await;
    assert_eq!(dropped.status, 200, "{}", dropped.body);
    assert_eq!(bench.row(&dropped).record.dropped, ["x-amzn-bedrock-guardrailidentifier"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_in_amazon_s_shape() {
    let bench = Bench::start(settings(([127, 0, 0, 1], 1).into())).await;
    for (path, body, told) in [
        ("/model/claude%2Fsmall/invoke", "{", "not JSON"),
        ("/model/nobody%2Fx/invoke", BODY, "not known here"),
        ("/model/claude%2Fsmall/invoke", "[]", "JSON object"),
    ] {
        let answer = bench.post(path, body).await;
        let shape = answer.json();
        assert!(shape["__type"].is_string() && shape["message"].as_str().unwrap().contains(told), "{shape}");
        assert_eq!(bench.row(&answer).record.outcome, Outcome::Failed);
    }
}
