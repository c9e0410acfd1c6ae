//! What callers get wrong, as a table: each mistake in each format. The caller is told what and where in its format's shape,
//! no provider is called, and there is a row.

use serde_json::{Value, json};
use tollgate_interaction::{Dialect, Outcome};

use crate::golden::{self, CALLERS, Caller};
use crate::harness::{Bench, settings};
use crate::provider::{self, Provider};

/// A gateway whose providers must not be called.
async fn bench() -> Bench {
    Bench::start(settings(([127, 0, 0, 1], 1).into())).await
}

/// A provider that speaks another format than the caller.
fn elsewhere(caller: Caller) -> &'static str {
    if caller.dialect == Dialect::Anthropic { "amazon/small" } else { "claude/small" }
}

/// Sends `body` and returns the message of the refusal.
async fn refused(bench: &Bench, caller: Caller, path: &str, body: &str, status: u16, code: &str) -> String {
    let answer = bench.post(path, body).await;
    let what = format!("{caller:?}: {} for {body:.300}", answer.body);
    assert_eq!(answer.status.as_u16(), status, "{what}");
    let (told, message) = golden::told(caller.dialect, &answer.json()).unwrap_or_else(|| panic!("{what}"));
    assert_eq!(told, code, "{what}");
    assert!(answer.body.contains(answer.id()), "{what}");
    let row = bench.row(&answer);
    assert_eq!((row.record.outcome, row.record.http_status), (Outcome::Failed, Some(status)), "{what}");
    assert_eq!(row.record.error_type.as_deref(), Some(code), "{what}");
    assert!(row.record.attempts.is_empty() && row.record.cost_usd.is_none(), "{what}");
    message
}

#[tokio::test]
async fn json_that_is_none_is_refused_with_the_place_where_it_ends_to_be() {
    let bench = bench().await;
    for caller in CALLERS {
        for model in ["sandbox/small", elsewhere(caller)] {
            let (path, body) = golden::request(caller, "text", model, true);
            let body = body.to_string();
            let at = body.find("What is").unwrap();
            let cases = [
                (format!("{}\n{}", &body[..at], &body[at..]), at),
                (format!("{}\\x{}", &body[..at], &body[at..]), at + 1),
                (format!("{body}]"), body.len()),
                (body[..body.len() - 1].to_owned(), body.len() - 1),
                ("<html>".to_owned(), 0),
                (String::new(), 0),
            ];
            for (body, at) in cases {
                let message = refused(&bench, caller, &path, &body, 400, "invalid_json").await;
                assert!(message.contains(&format!("at byte {at}")), "{caller:?}: {message} ({at}) for {body}");
            }
        }
    }
}

#[tokio::test]
async fn json_that_is_nested_too_deeply_to_be_translated_is_refused_with_its_place() {
    let bench = bench().await;
    for caller in CALLERS {
        let (path, mut body) = golden::request(caller, "text", elsewhere(caller), true);
        body["zz"] = json!(0);
        let deep = format!("\n{}{}", "[".repeat(400), "]".repeat(400));
        let body = body.to_string().replace("\"zz\":0", &format!("\"zz\":{deep}"));
        let message = refused(&bench, caller, &path, &body, 400, "invalid_json").await;
        let place: usize = message.split("at byte ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
        assert_eq!(body.as_bytes()[place], b'[', "{message}");
    }
}

#[tokio::test]
async fn an_unknown_model_is_refused_with_the_nearest_known_one() {
    let bench = bench().await;
    for caller in CALLERS {
        let (path, body) = golden::request(caller, "text", "sandbox/smal", true);
        let message = refused(&bench, caller, &path, &body.to_string(), 404, "model_not_found").await;
        assert!(message.contains("`sandbox/smal`") && message.contains("did you mean `sandbox/small`?"), "{message}");
        assert!(message.contains("`assistant`") && message.contains("`up/…`"), "{message}");
    }
}

#[tokio::test]
async fn an_image_that_is_none_is_refused_with_its_place_where_it_has_to_be_translated() {
    const IMAGE: &str =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
    let cases = [
        ("no base64 at all!", "base64"),
        ("aGVsbG8sIHdvcmxkLCBJIGFtIG5vIGltYWdl", "no PNG image"),
        // A JPEG.
        ("/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgc=", "no PNG image"),
        ("iVBORw0=", "no PNG image"),
        ("", "base64"),
    ];
    let bench = bench().await;
    for caller in CALLERS {
        for (data, says) in cases {
            let (path, body) = golden::request(caller, "image", elsewhere(caller), true);
            let body = body.to_string();
            assert!(body.contains(IMAGE), "{body}");
            let message = refused(&bench, caller, &path, &body.replace(IMAGE, data), 400, "invalid_field").await;
            assert!(message.contains(says), "{caller:?}, {data}: {message}");
            let place = match caller.dialect {
                Dialect::Openai | Dialect::Anthropic | Dialect::Bedrock => "`messages[0].content[0]",
                Dialect::Responses => "`input[0].content[0]",
                Dialect::Gemini => "`contents[0].parts[0]",
            };
            assert!(message.contains(place), "{caller:?}: {message}");
        }
    }
}

/// The schema of the only tool of `body`.
fn schema_of(dialect: Dialect, body: &mut Value) -> &mut Value {
    match dialect {
        Dialect::Openai => &mut body["tools"][0]["function"]["parameters"],
        Dialect::Responses => &mut body["tools"][0]["parameters"],
        Dialect::Anthropic => &mut body["tools"][0]["input_schema"],
        Dialect::Gemini => &mut body["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"],
        Dialect::Bedrock => &mut body["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]["json"],
    }
}

#[tokio::test]
async fn a_tool_s_schema_that_is_no_object_is_refused_with_its_place_where_it_has_to_be_translated() {
    let bench = bench().await;
    for caller in CALLERS {
        for schema in [json!("object"), json!([1]), json!(7), json!(true), json!({"type": "string"})] {
            let (path, mut body) = golden::request(caller, "tool_call", elsewhere(caller), true);
            *schema_of(caller.dialect, &mut body) = schema;
            let message = refused(&bench, caller, &path, &body.to_string(), 400, "invalid_field").await;
            assert!(message.contains("ools[0]"), "{caller:?}: {message}");
        }
    }
}

#[tokio::test]
async fn a_field_of_the_wrong_type_is_refused_with_its_place() {
    let bench = bench().await;
    for caller in CALLERS {
        let (path, mut body) = golden::request(caller, "text", elsewhere(caller), true);
        let (list, place) = match caller.dialect {
            Dialect::Gemini => ("contents", "`contents"),
            Dialect::Responses => ("input", "`input"),
            Dialect::Openai | Dialect::Anthropic | Dialect::Bedrock => ("messages", "`messages"),
        };
        body[list] = json!([7]);
        let message = refused(&bench, caller, &path, &body.to_string(), 400, "invalid_field").await;
        assert!(message.contains(place), "{caller:?}: {message}");
    }
}

#[tokio::test]
async fn the_model_is_on_the_row_of_a_body_that_is_wrong_elsewhere() {
    let bench = bench().await;
    for body in [
        r#"{"model":"up/small"}"#,
        r#"{"model":"up/small","max_tokens":"many","messages":[]}"#,
        r#"{"max_tokens":"many","model":"up/small","messages":[]}"#,
        r#"{"model":"up/small","messages":["#,
    ] {
        let answer = bench.post("/v1/chat/completions", body).await;
        assert_eq!(answer.status.as_u16(), 400, "{body}: {}", answer.body);
        assert_eq!(bench.row(&answer).record.model_requested, "up/small", "{body}");
    }
}

#[tokio::test]
async fn google_s_way_to_send_a_key_is_taken_and_leaves_no_trace() {
    let up = Provider::answering(provider::json(200, &golden::answer(Dialect::Gemini, "text"))).await;
    let bench = Bench::start(settings(up.address)).await;
    let ask = |path: &str| {
        let body = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}).to_string();
        let mut request = bench.request(path, body);
        request.headers_mut().remove(http::header::AUTHORIZATION);
        request
    };
    let (path, key) = ("/v1beta/models/google%2Fsmall:generateContent", crate::harness::KEY);
    let answer = bench.send(ask(&format!("{path}?alt=json&key={key}"))).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    let received = up.received().pop().unwrap();
    assert!(!received.head.contains(key) && !received.body.contains(key), "{}", received.head);
    assert!(!format!("{:?}{:?}", bench.row(&answer), bench.events()).contains(key));
    // Other formats have no such place, and a wrong key there is wrong.
    for (path, expected) in [
        (format!("{path}?key=tg-other"), "key_unknown"),
        (path.to_owned(), "key_missing"),
        (format!("/v1/chat/completions?key={key}"), "key_missing"),
    ] {
        let answer = bench.send(ask(&path)).await;
        assert_eq!(answer.status.as_u16(), 401, "{path}: {}", answer.body);
        assert!(answer.body.to_lowercase().contains(expected), "{path}: {}", answer.body);
    }
    let missing = bench.send(ask(path)).await;
    assert!(missing.body.contains("`x-goog-api-key`"), "{}", missing.body);
}
