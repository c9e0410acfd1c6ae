//! Bad input gets an error in the caller's dialect with a stable code and the interaction id, and the log has the row.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Mock, Tollgate, chat_request, eventually};

/// A gateway before a provider that misbehaves as a request header tells it to.
struct Place {
    tollgate: Tollgate,
    _mock: Mock,
}

impl Place {
    fn new() -> Place {
        let mock = Mock::start(&[]);
        let config = format!(
            "log: {{flush_seconds: 1}}\nserver: {{first_byte_seconds: 2, idle_stream_seconds: 2}}\nproviders:\n  openai: {{dialect: openai, base_url: \"{0}/v1\", api_key: none}}\n  anthropic: {{dialect: anthropic, base_url: \"{0}/v1\", api_key: none}}\n  gone: {{dialect: openai, base_url: \"http://127.0.0.1:9/v1\", api_key: none}}\n",
            mock.url
        );
        Place { tollgate: Tollgate::with_config(&config), _mock: mock }
    }

    fn row(&self, id: &str) -> Value {
        let sql = format!("select * from interactions where interaction_id = '{id}'");
        let console = self.tollgate.console();
        eventually("the row is there", Duration::from_secs(10), || console.rows(&sql).pop())
    }

    /// A call in both dialects with these headers.
    fn misbehave(&self, headers: &[(&str, &str)], stream: bool) -> [(&'static str, Answer); 2] {
        let gateway = self.tollgate.gateway();
        let mut openai = chat_request("openai/gpt-5-mini", "hello");
        openai["stream"] = stream.into();
        let mut anthropic = chat_request("anthropic/claude-sonnet-4-5", "hello");
        anthropic["stream"] = stream.into();
        anthropic["max_tokens"] = 50.into();
        [
            ("openai", gateway.try_post("/v1/chat/completions", &openai, headers).unwrap()),
            ("anthropic", gateway.try_post("/v1/messages", &anthropic, headers).unwrap()),
        ]
    }
}

/// The stable code of an error answer, checked to be in the dialect's own shape.
fn code(dialect: &str, answer: &Answer) -> String {
    let body = answer.json();
    if dialect == "anthropic" {
        assert_eq!(body["type"], "error", "{body}");
        assert!(body["error"]["type"].is_string() && body["error"]["message"].is_string(), "{body}");
    } else {
        assert!(body["error"]["message"].is_string() && body["error"]["type"].is_string(), "{body}");
    }
    assert!(body.to_string().contains(&answer.interaction_id()), "the id is not in {body}");
    body["error"]["code"].as_str().unwrap_or_else(|| panic!("no code in {body}")).to_owned()
}

#[test]
fn what_cannot_be_admitted_is_refused_in_the_callers_dialect_and_recorded() {
    let place = Place::new();
    let gateway = place.tollgate.gateway();
    let stranger = crate::support::Api::new(&place.tollgate.gateway_url, "tg-nobody");
    let nobody = crate::support::Api::new(&place.tollgate.gateway_url, "");
    let chat = chat_request("sandbox/small", "hello");
    for (dialect, path) in [("openai", "/v1/chat/completions"), ("anthropic", "/v1/messages")] {
        let cases: [(Answer, u16, &str); 5] = [
            (stranger.post(path, &chat), 401, "key_unknown"),
            (nobody.try_post(path, &chat, &[]).unwrap(), 401, "key_missing"),
            (gateway.post(path, &chat_request("openai/no-such-modle", "x")), 200, ""),
            (gateway.post(path, &chat_request("nowhere/model", "x")), 404, "model_not_found"),
            (gateway.try_post_bytes(path, b"{\"model\": \"sandbox/small\", ", &[]).unwrap(), 400, "invalid_json"),
        ];
        for (answer, status, expected) in cases {
            if status == 200 {
                // Whether a provider has a model is for the provider to say, unless its models are listed.
                continue;
            }
            assert_eq!(answer.status, status, "{}", answer.text());
            assert_eq!(code(dialect, &answer), expected);
            let row = place.row(&answer.interaction_id());
            assert!(["denied", "failed"].contains(&row["outcome"].as_str().unwrap()), "{row}");
            assert_eq!(row["error_type"], expected);
            assert_eq!(row["dialect"], dialect);
        }
    }
}

#[test]
fn a_body_of_fifty_megabytes_is_refused_and_recorded() {
    let place = Place::new();
    let body = format!("{{\"model\": \"sandbox/small\", \"messages\": [], \"x\": \"{}\"}}", "a".repeat(50 << 20));
    let answer = place.tollgate.gateway().try_post_bytes("/v1/chat/completions", body.as_bytes(), &[]).unwrap();
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert_eq!(code("openai", &answer), "body_too_large");
    assert_eq!(place.row(&answer.interaction_id())["error_type"], "body_too_large");
}

#[test]
fn a_header_bomb_is_refused_and_the_gateway_lives() {
    let place = Place::new();
    let address = place.tollgate.gateway_url.trim_start_matches("http://").to_owned();
    for bomb in [format!("x-bomb: {}\r\n", "a".repeat(1 << 20)), "x-bomb: a\r\n".repeat(20_000)] {
        let mut socket = TcpStream::connect(&address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // The server may answer and close before all of it was sent.
        let _ = socket.write_all(format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{bomb}\r\n").as_bytes());
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_eq!(place.tollgate.gateway().chat("sandbox/small", "still there?").status, 200);
}

#[test]
fn a_provider_that_hangs_resets_or_answers_garbage_is_an_error_with_a_row() {
    let place = Place::new();
    for (header, status, expected) in [
        (("x-mock-hang", "true"), 504, "upstream_timeout"),
        (("x-mock-hang-up-after-bytes", "0"), 502, "upstream_reset"),
        (("x-mock-garbage", "true"), 502, "upstream_invalid_response"),
    ] {
        for (dialect, answer) in place.misbehave(&[header], false) {
            assert_eq!(answer.status, status, "{header:?}: {}", answer.text());
            assert_eq!(code(dialect, &answer), expected, "{header:?}");
            let row = place.row(&answer.interaction_id());
            assert_eq!(row["outcome"], "failed", "{row}");
            assert_eq!(row["error_type"], expected, "{row}");
        }
    }
    let answer = place.tollgate.gateway().chat("gone/model", "anybody there?");
    assert_eq!((answer.status, code("openai", &answer).as_str()), (502, "upstream_unreachable"), "{}", answer.text());
    assert_eq!(place.row(&answer.interaction_id())["outcome"], "failed");
}

#[test]
fn half_a_stream_ends_with_an_error_event_and_a_row_with_what_was_used() {
    let place = Place::new();
    for (dialect, answer) in
        place.misbehave(&[("x-mock-hang-up-after-bytes", "2500"), ("x-mock-output-tokens", "200")], true)
    {
        assert_eq!(answer.status, 200);
        let text = answer.text();
        let end = &text[text.len().saturating_sub(600)..];
        assert!(text.contains("upstream_incomplete"), "{dialect}: …{end}");
        assert!(!text.contains("[DONE]") && !text.contains("message_stop"), "{dialect}: {text}");
        let row = place.row(&answer.interaction_id());
        assert_eq!(row["outcome"], "failed", "{row}");
        assert_eq!(row["error_type"], "upstream_incomplete", "{row}");
        assert!(row["output_tokens"].as_i64().unwrap() > 0, "{row}");
        assert!(["partial", "estimated"].contains(&row["usage_source"].as_str().unwrap()), "{row}");
        assert!(row["cost_usd"].is_string(), "not free by accident: {row}");
    }
}

#[test]
fn a_client_that_hangs_up_leaves_a_row() {
    let place = Place::new();
    let address = place.tollgate.gateway_url.trim_start_matches("http://").to_owned();
    let body = json!({"model": "openai/gpt-5-mini", "stream": true, "messages": [{"role": "user", "content": "bye"}]});
    let body = body.to_string();
    let mut socket = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\nx-mock-chunk-delay-ms: 100\r\nx-mock-output-tokens: 100\r\ncontent-length: {}\r\n\r\n{body}",
        place.tollgate.key(),
        body.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut start = [0; 64];
    socket.read_exact(&mut start).unwrap();
    drop(socket);
    let console = place.tollgate.console();
    let row = eventually("the cancelled call has a row", Duration::from_secs(60), || {
        console.rows("select * from interactions where outcome = 'cancelled'").pop()
    });
    assert!(row["usage_source"] != "none" && row["cost_usd"].is_string(), "{row}");
}
