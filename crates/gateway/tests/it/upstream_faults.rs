//! What providers get wrong.

use std::time::Duration;

use tollgate_interaction::{CostSource, Outcome, UsageSource, Usd};

use crate::harness::{Answer, Bench, CHAT, MESSAGES, Row, chat, chat_stream, settings};
use crate::provider::{self, CHUNKS, Provider, Received, Step, chunk, end, json, respond, stream_head};

async fn call(steps: Vec<Step>, model: &str) -> (Answer, Row, Provider) {
    let up = Provider::answering(steps).await;
    let bench = Bench::start(settings(up.address)).await;
    let answer = bench.post(CHAT, &chat(model)).await;
    let row = bench.row(&answer);
    (answer, row, up)
}

/// Checks an error in the gateway's words.
async fn fails(steps: Vec<Step>, status: u16, code: &str) -> Row {
    let (answer, row, _up) = call(steps, "up/small").await;
    assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
    assert_eq!(answer.json()["error"]["code"], code, "{}", answer.body);
    assert!(answer.body.contains("`up`") && answer.body.contains(answer.id()), "{}", answer.body);
    assert_eq!((row.record.outcome, row.record.http_status), (Outcome::Failed, Some(status)));
    assert_eq!(row.record.error_type.as_deref(), Some(code));
    assert_eq!(row.record.attempts[0].error_class.as_deref(), Some(code));
    assert!(row.was_opened);
    row
}

#[tokio::test]
async fn a_provider_that_hangs_is_given_up_in_time() {
    let row = fails(vec![Step::Hang], 504, "upstream_timeout").await;
    assert!((400_000..2_000_000).contains(&row.record.latency_us), "{}", row.record.latency_us);
}

#[tokio::test]
async fn a_provider_that_breaks_the_connection_is_reported() {
    fails(vec![Step::Reset], 502, "upstream_reset").await;
    fails(vec![Step::Close], 502, "upstream_reset").await;
    fails(vec![Step::Send("SSH-2.0-OpenSSH\r\n\r\n".into()), Step::Close], 502, "upstream_reset").await;
}

#[tokio::test]
async fn an_answer_that_is_not_json_does_not_reach_the_caller() {
    let row =
        fails(respond(200, "content-type: text/html\r\n", "<title>Sign in</title>"), 502, "upstream_invalid_response")
            .await;
    assert_eq!(row.record.attempts[0].http_status, Some(200));
    // The row holds what came, and the message says in short what that is.
    assert_eq!(row.settled.response.content_type, "text/html");
    assert_eq!(row.settled.response.body, "<title>Sign in</title>");
    let message = row.record.error_message.unwrap();
    assert!(message.contains("not JSON, but came as `text/html`, a page with the title `Sign in`"), "{message}");
    fails(json(200, r#"{"id":"c","choi"#), 502, "upstream_invalid_response").await;
    let zipped = respond(200, "content-type: application/json\r\ncontent-encoding: gzip\r\n", "xx");
    fails(zipped, 502, "upstream_invalid_response").await;
}

#[tokio::test]
async fn half_an_answer_is_none() {
    let half =
        Step::Send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"id\":".into());
    fails(vec![half.clone(), Step::Close], 502, "upstream_incomplete").await;
    fails(vec![half.clone(), Step::Reset], 502, "upstream_incomplete").await;
    fails(vec![half, Step::Hang], 504, "upstream_timeout").await;
}

#[tokio::test]
async fn half_a_stream_ends_with_an_error_event_and_is_charged_as_far_as_it_came() {
    let endings = [
        (vec![Step::Close], "upstream_incomplete"),
        (vec![Step::Reset], "upstream_incomplete"),
        (vec![end()], "upstream_incomplete"),
        (vec![Step::Hang], "upstream_timeout"),
    ];
    for (ending, code) in endings {
        // The first wait makes sure that what was sent before a reset is not lost with it.
        let up = Provider::answering(
            [vec![stream_head(), chunk(CHUNKS[0]), Step::Wait(Duration::from_millis(50))], ending].concat(),
        )
        .await;
        let bench = Bench::start(settings(up.address)).await;
        let answer = bench.post(CHAT, &chat_stream("up/small")).await;
        assert_eq!(answer.status, 200);
        let event = answer.body.strip_prefix(CHUNKS[0]).unwrap_or_else(|| panic!("{}", answer.body));
        let event = event.strip_prefix("data: ").and_then(|event| event.split("\n\n").next()).unwrap();
        let error: serde_json::Value = serde_json::from_str(event).unwrap();
        assert_eq!(error["error"]["code"], code, "{event}");
        assert!(event.contains(answer.id()));
        assert!(!answer.body.contains("[DONE]"));
        let record = bench.row(&answer).record;
        assert_eq!((record.outcome, record.error_type.as_deref()), (Outcome::Failed, Some(code)));
        assert_eq!((record.usage_source, record.usage.output_tokens), (UsageSource::Estimated, Some(2)));
        assert!(record.cost_usd.is_some());
    }
}

#[tokio::test]
async fn half_an_event_is_closed_before_the_error_event() {
    let half = &CHUNKS[1][..30];
    let up = Provider::answering(vec![stream_head(), chunk(CHUNKS[0]), chunk(half), Step::Close]).await;
    let bench = Bench::start(settings(up.address)).await;
    let body = r#"{"model":"up/small","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#;
    let answer = bench.post(CHAT, body).await;
    assert!(answer.body.contains(&format!("{half}\n\ndata: {{\"error\"")), "{}", answer.body);
}

#[tokio::test]
async fn a_broken_message_stream_ends_in_anthropics_error_event() {
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"small\",\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n";
    let up = Provider::answering(vec![stream_head(), chunk(start), Step::Close]).await;
    let bench = Bench::start(settings(up.address)).await;
    let answer = bench.post(MESSAGES, &chat_stream("claude/small")).await;
    assert!(answer.body.contains("\n\nevent: error\ndata: {\"type\":\"error\""), "{}", answer.body);
    let record = bench.row(&answer).record;
    assert_eq!((record.outcome, record.usage.input_tokens), (Outcome::Failed, Some(9)));
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_reported() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let bench = Bench::start(settings(up.address)).await;
    let answer = bench.post(CHAT, &chat("gone/small")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (502, &"upstream_unreachable".into()));
    assert_eq!(bench.row(&answer).record.attempts[0].error_class.as_deref(), Some("upstream_unreachable"));
    let answer = bench.post(CHAT, &chat("resilient")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-attempts")), (200, "2"));
}

#[tokio::test]
async fn the_next_target_is_called_when_the_first_one_fails_and_the_row_has_both() {
    let failing: [Vec<Step>; 4] = [
        json(500, r#"{"error":{"message":"oops","type":"server_error"}}"#),
        json(429, r#"{"error":{"message":"slow","type":"rate_limit_error"}}"#),
        vec![Step::Reset],
        json(401, r#"{"error":{"message":"Incorrect API key provided: sk-operator"}}"#),
    ];
    for steps in failing {
        let up =
            Provider::start(
                move |request: &Received| {
                    if request.body.contains("large") { steps.clone() } else { json(200, provider::CHAT) }
                },
            )
            .await;
        let bench = Bench::start(settings(up.address)).await;
        let answer = bench.post(CHAT, &chat("assistant")).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-attempts")), (200, "2"));
        let record = bench.row(&answer).record;
        let models: Vec<_> =
            record.attempts.iter().map(|attempt| (attempt.model.as_str(), attempt.error_class.is_some())).collect();
        assert_eq!(models, [("large", true), ("small", false)]);
        assert_eq!((record.outcome, record.model_served.as_deref()), (Outcome::Success, Some("small")));
    }
}

#[tokio::test]
async fn what_a_provider_says_about_the_request_is_final_and_reaches_the_caller_as_it_is() {
    let error = r#"{"error":{"message":"max_tokens is too large","type":"invalid_request_error","param":"max_tokens","code":null}}"#;
    let (answer, row, up) =
        call(respond(400, "content-type: application/json\r\nx-request-id: req-1\r\n", error), "assistant").await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str(), answer.header("x-request-id")), (400, error, "req-1"));
    assert_eq!((row.record.outcome, row.record.error_type.as_deref()), (Outcome::Failed, Some("invalid_request")));
    assert_eq!((up.received().len(), row.record.cost_usd), (1, None));
}

#[tokio::test]
async fn a_throttling_provider_is_passed_on_with_its_wish_when_there_is_no_other() {
    let limited = respond(
        429,
        "content-type: application/json\r\nretry-after: 7\r\nx-ratelimit-remaining-requests: 0\r\n",
        r#"{"error":{"message":"slow down","type":"rate_limit_error"}}"#,
    );
    let (answer, row, _up) = call(limited, "up/small").await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "7"));
    assert_eq!(answer.header("x-ratelimit-remaining-requests"), "0");
    assert_eq!(row.record.error_type.as_deref(), Some("rate_limited"));
}

#[tokio::test]
async fn the_operators_key_problem_is_not_shown_as_the_callers() {
    let (answer, row, _up) =
        call(json(401, r#"{"error":{"message":"Incorrect API key provided: sk-operator"}}"#), "up/small").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (502, &"upstream_credentials".into()));
    assert!(!answer.body.contains("sk-operator") && !format!("{row:?}").contains("sk-operator"));
}

#[tokio::test]
async fn an_unreadable_error_is_put_into_words() {
    let (answer, row, _up) = call(respond(503, "content-type: text/html\r\n", "<h1>busy</h1>"), "up/small").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (502, &"upstream_error".into()));
    assert_eq!(row.record.attempts[0].http_status, Some(503));
    assert!(answer.body.contains("no readable reason; retry"), "{}", answer.body);
    let (answer, _row, _up) = call(respond(404, "content-type: text/html\r\n", "<h1>none</h1>"), "up/small").await;
    assert!(answer.body.contains("check the provider's `base_url` and the name of the model"), "{}", answer.body);
}

#[tokio::test]
async fn an_error_inside_a_stream_makes_a_failed_call_of_it() {
    let error = "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\",\"code\":null}}\n\n";
    let up = Provider::answering(vec![stream_head(), chunk(CHUNKS[0]), chunk(error), end()]).await;
    let bench = Bench::start(settings(up.address)).await;
    let answer = bench.post(CHAT, &chat_stream("up/small")).await;
    assert!(answer.body.contains(error) && answer.body.matches("\"error\"").count() == 1, "{}", answer.body);
    assert_eq!(bench.row(&answer).record.outcome, Outcome::Failed);
}

/// Targets that cannot say what is asked are passed over, which is no attempt.
#[tokio::test]
async fn targets_that_cannot_say_it_use_up_no_attempts() {
    let up = Provider::start(|request: &Received| match request.body.contains("large") {
        true => json(500, r#"{"error":{"message":"oops","type":"server_error"}}"#),
        false => json(200, provider::CHAT),
    })
    .await;
    let mut set = settings(up.address);
    set.limits.attempts = 2;
    let claude = |number: usize| format!("claude/model-{number}");
    let targets =
        (0..4).map(claude).chain(["up/large".to_owned()]).chain((4..6).map(claude)).chain(["up/small".to_owned()]);
    set.models[1].targets = targets.collect();
    let bench = Bench::start(set).await;
    let body = r#"{"model":"mixed","messages":[{"role":"user","content":"hi"}],"logit_bias":{"1":1}}"#;
    let answer = bench.post(CHAT, body).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-attempts")), (200, "2"), "{}", answer.body);
    let record = bench.row(&answer).record;
    let refused = record.candidates.iter().filter(|tried| tried.rejected_because.is_some()).count();
    assert_eq!((refused, record.attempts.len(), record.outcome), (6, 2, Outcome::Success));
    // The last target is not reached: what the provider said about the one before it is what the caller hears.
    let mut set = settings(up.address);
    set.limits.attempts = 1;
    set.models[1].targets = vec!["up/large".to_owned(), claude(0), "up/small".to_owned()];
    let bench = Bench::start(set).await;
    let answer = bench.post(CHAT, body).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["message"]), (500, &"oops".into()));
}

/// What an attempt used that did not answer is not free.
#[tokio::test]
async fn the_cost_of_a_call_is_that_of_all_its_attempts() {
    let counted = r#"{"error":{"message":"oops","type":"server_error"},"usage":{"prompt_tokens":1000,"completion_tokens":500,"total_tokens":1500}}"#;
    let script = |first: Vec<Step>| {
        move |request: &Received| if request.body.contains("large") { first.clone() } else { json(200, provider::CHAT) }
    };
    let alone = {
        let up = Provider::answering(json(200, provider::CHAT)).await;
        let bench = Bench::start(settings(up.address)).await;
        bench.row(&bench.post(CHAT, &chat("up/small")).await).record.cost_usd.unwrap()
    };
    // One that counts in its error, one that nobody waited for, and one that costs nothing.
    let silent = json(500, r#"{"error":{"message":"oops","type":"server_error"}}"#);
    for (first, is_charged) in [(json(500, counted), true), (vec![Step::Hang], true), (silent, false)] {
        let up = Provider::start(script(first.clone())).await;
        let bench = Bench::start(settings(up.address)).await;
        let answer = bench.post(CHAT, &chat("assistant")).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-attempts")), (200, "2"), "{}", answer.body);
        let record = bench.row(&answer).record;
        let [failed, answered] = record.attempts.as_slice() else { panic!("{:?}", record.attempts) };
        assert_eq!(answered.cost_usd, Some(alone));
        assert_eq!(failed.cost_usd.is_some_and(|cost| cost > Usd::ZERO), is_charged, "{first:?}");
        assert_eq!(failed.input_tokens.is_some(), is_charged);
        let total = failed.cost_usd.unwrap_or(Usd::ZERO) + alone;
        assert_eq!(record.cost_usd, Some(total), "{first:?}");
        assert_eq!(answer.header("x-tollgate-cost-usd"), total.to_string());
        assert_eq!(record.usage.input_tokens, answered.input_tokens, "the row's usage is that of the answer");
    }
    // Nobody answers at all: what was used is charged all the same.
    let up = Provider::start(script(vec![Step::Hang])).await;
    let mut set = settings(up.address);
    set.models[3].targets = vec!["up/large".to_owned(), "gone/large".to_owned()];
    let bench = Bench::start(set).await;
    let answer = bench.post(CHAT, &chat("resilient")).await;
    assert_eq!(answer.json()["error"]["code"], "upstream_unreachable", "{}", answer.body);
    let record = bench.row(&answer).record;
    assert_eq!((record.outcome, record.attempts.len()), (Outcome::Failed, 2));
    assert!(record.cost_usd.is_some() && record.cost_usd == record.attempts[0].cost_usd, "{record:?}");
    assert_eq!(record.cost_source, CostSource::Catalog);
}
