//! Requests, answers and streams of every format: the golden files of the provider crate, in which each format is held to
//! its documentation.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tollgate_interaction::{Dialect, Usage};
use tollgate_provider::eventstream;

use crate::harness::{CHAT, MESSAGES};

/// The formats a caller can speak, those of Gemini's streams apart.
pub(crate) const CALLERS: [Caller; 6] = [
    Caller { dialect: Dialect::Openai, events: true },
    Caller { dialect: Dialect::Responses, events: true },
    Caller { dialect: Dialect::Anthropic, events: true },
    Caller { dialect: Dialect::Gemini, events: true },
    Caller { dialect: Dialect::Gemini, events: false },
    Caller { dialect: Dialect::Bedrock, events: true },
];

/// The providers of the harness, and what is spoken with them.
pub(crate) const PROVIDERS: [(&str, Dialect); 4] = [
    ("up", Dialect::Openai),
    ("claude", Dialect::Anthropic),
    ("google", Dialect::Gemini),
    ("amazon", Dialect::Bedrock),
];

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) dialect: Dialect,
    /// Whether its streams are events rather than one JSON array.
    pub(crate) events: bool,
}

fn golden(dialect: Dialect, scenario: &str, file: &str) -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap())
        .join("../provider/golden")
        .join(dialect.as_str())
        .join(scenario)
        .join(file)
}

pub(crate) fn read(dialect: Dialect, scenario: &str, file: &str) -> String {
    let path = golden(dialect, scenario, file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The whole answer of a provider.
pub(crate) fn answer(dialect: Dialect, scenario: &str) -> String {
    read(dialect, scenario, "response.json")
}

/// The stream of a provider, event by event, as its bytes are on the wire.
pub(crate) fn events(dialect: Dialect, scenario: &str) -> Vec<Vec<u8>> {
    if dialect == Dialect::Bedrock {
        let events: Vec<Value> = serde_json::from_str(&read(dialect, scenario, "response.events.json")).unwrap();
        return events.iter().map(frame).collect();
    }
    let stream = read(dialect, scenario, "response.sse");
    let (mut events, mut rest) = (Vec::new(), stream.as_str());
    while !rest.is_empty() {
        let end = ["\r\n\r\n", "\n\n"].iter().filter_map(|blank| Some(rest.find(blank)? + blank.len())).min();
        let (event, after) = rest.split_at(end.unwrap_or(rest.len()));
        events.push(event.as_bytes().to_vec());
        rest = after;
    }
    events
}

fn frame(event: &Value) -> Vec<u8> {
    let (name, data) = (event["name"].as_str().unwrap(), event["data"].to_string());
    let mut frame = Vec::new();
    if name.ends_with("Exception") {
        eventstream::write_exception(&mut frame, name, data.as_bytes());
    } else {
        eventstream::write_event(&mut frame, name, data.as_bytes());
    }
    frame
}

/// Media type of a provider's stream.
pub(crate) fn stream_type(dialect: Dialect) -> &'static str {
    if dialect == Dialect::Bedrock { "application/vnd.amazon.eventstream" } else { "text/event-stream" }
}

/// What a scenario's answer counts.
pub(crate) fn usage(dialect: Dialect, scenario: &str) -> Usage {
    let turn: Value = serde_json::from_str(&read(dialect, scenario, "turn.json")).unwrap();
    serde_json::from_value(turn["usage"].clone()).unwrap()
}

/// Path and body of a caller's request.
pub(crate) fn request(caller: Caller, scenario: &str, model: &str, stream: bool) -> (String, Value) {
    let mut body: Value = serde_json::from_str(&read(caller.dialect, scenario, "request.json")).unwrap();
    let path = match caller.dialect {
        Dialect::Gemini if stream => {
            let how = if caller.events { "?alt=sse" } else { "" };
            return (format!("/v1beta/models/{model}:streamGenerateContent{how}"), body);
        }
        Dialect::Gemini => return (format!("/v1beta/models/{model}:generateContent"), body),
        Dialect::Bedrock => {
            let method = if stream { "converse-stream" } else { "converse" };
            return (format!("/model/{}/{method}", model.replace('/', "%2F")), body);
        }
        Dialect::Openai => CHAT,
        Dialect::Anthropic => MESSAGES,
        Dialect::Responses => "/v1/responses",
    };
    body["model"] = model.into();
    body["stream"] = stream.into();
    (path.to_owned(), body)
}

/// Code and message of an error in the shape of `dialect`, where the official client libraries look for them. A stream's
/// error events have the same shape as a whole error, but for Responses.
pub(crate) fn told(dialect: Dialect, body: &Value) -> Option<(String, String)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let error = &body["error"];
    match dialect {
        Dialect::Openai | Dialect::Responses => {
            error["type"].as_str()?;
            // Of a provider's own error that may be null.
            Some((text(&error["code"]).unwrap_or_default(), text(&error["message"])?))
        }
        Dialect::Anthropic => {
            (body["type"] == "error" && error["type"].is_string()).then_some(())?;
            Some((text(&error["code"]).unwrap_or_default(), text(&error["message"])?))
        }
        Dialect::Gemini => {
            (error["code"].is_u64() && error["status"].is_string()).then_some(())?;
            let reason = text(&error["details"][0]["reason"]).unwrap_or_default().to_lowercase();
            Some((reason, text(&error["message"])?))
        }
        Dialect::Bedrock => Some((text(&body["errorCode"]).unwrap_or_default(), text(&body["message"])?)),
    }
}

/// The error that ends a stream in the shape of `caller`, with code and message.
pub(crate) fn told_in_stream(caller: Caller, stream: &[u8]) -> Option<(String, String)> {
    if caller.dialect == Dialect::Bedrock {
        let mut last = None;
        eventstream::Decoder::default().push(stream, |event| last = Some((event.name.to_vec(), event.data.to_vec())));
        let (name, data) = last?;
        name.ends_with(b"Exception").then_some(())?;
        return told(caller.dialect, &serde_json::from_slice(&data).ok()?);
    }
    if !caller.events {
        let items: Vec<Value> = serde_json::from_slice(stream).ok()?;
        return told(caller.dialect, items.last()?);
    }
    let mut last = None;
    let mut decoder = tollgate_provider::sse::Decoder::default();
    decoder.push(stream, |event| last = Some((event.name.to_vec(), event.data.to_vec())));
    let (name, data) = last?;
    let data: Value = serde_json::from_slice(&data).ok()?;
    match caller.dialect {
        Dialect::Anthropic if name != b"error" => None,
        Dialect::Responses if name == b"response.failed" => {
            let error = &data["response"]["error"];
            Some((error["code"].as_str()?.to_owned(), error["message"].as_str()?.to_owned()))
        }
        Dialect::Responses if name != b"error" => None,
        dialect => told(dialect, &data),
    }
}
