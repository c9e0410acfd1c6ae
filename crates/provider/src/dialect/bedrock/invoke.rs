//! Claude on Bedrock without translation: a Messages body goes through InvokeModel with a few bytes changed, and its stream
//! comes back as the Messages events it holds. A whole answer is a Messages answer already.
//!
//! The body is spliced and not read: `model` and `stream`, which the path says, are taken out, `anthropic_version` is put
//! in, and the betas of the header `anthropic-beta` go into `anthropic_beta`. Which betas Bedrock knows is Bedrock's to say.
//! The events keep what Bedrock adds to them, `amazon-bedrock-invocationMetrics` of `message_stop`: clients of Messages
//! pass over fields they do not know, and nothing is parsed for their sake.
//! Sources: <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html>,
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html> (2026-11-26).

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::dialect::RequestError;
use crate::scan::{Cursor, Kind, ScanError};
use crate::{eventstream, failure, observe};

const VERSION: &str = "bedrock-2023-05-31";

/// The body of an InvokeModel call for a Messages body. `betas` is the value of the header `anthropic-beta`: names with
/// commas between them.
///
/// # Errors
/// [`RequestError`] if the body is no JSON object.
pub fn body(messages: &[u8], betas: Option<&str>) -> Result<Bytes, RequestError> {
    let mut cursor = Cursor::new(messages);
    if cursor.kind()? != Kind::Object {
        let expected = "send a JSON object";
        return Err(RequestError::Invalid { field: "body", offset: cursor.offset(), expected });
    }
    let opens_at = cursor.offset() + 1;
    let mut names: Vec<String> = Vec::new();
    let mut kept: Vec<Range<usize>> = Vec::new();
    let mut field_at = opens_at;
    cursor.fields(|key, cursor| {
        let betas_at = key.is("anthropic_beta");
        let is_replaced = betas_at || ["model", "stream", "anthropic_version"].into_iter().any(|name| key.is(name));
        if betas_at {
            read_names(cursor, &mut names)?;
        } else {
            cursor.skip()?;
        }
        if !is_replaced {
            kept.push(field_at..cursor.offset());
        }
        field_at = cursor.offset();
        Ok::<(), ScanError>(())
    })?;
    let closes_at = cursor.offset().saturating_sub(1);
    cursor.end()?;
    for name in betas.into_iter().flat_map(|betas| betas.split(',')).map(str::trim) {
        if !name.is_empty() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    Ok(spliced(messages, &kept, closes_at, &names))
}

fn read_names(cursor: &mut Cursor<'_>, names: &mut Vec<String>) -> Result<(), ScanError> {
    if cursor.kind()? != Kind::Array {
        return cursor.skip().map(drop);
    }
    cursor.items(|cursor| {
        names.extend(cursor.text_or_skip()?.map(|name| name.decode().into_owned()));
        Ok(())
    })
}

/// Ours first, then the fields that stay, each as it stood after the comma before it, if there was one.
fn spliced(messages: &[u8], kept: &[Range<usize>], closes_at: usize, betas: &[String]) -> Bytes {
    let mut body = format!(r#"{{"anthropic_version":"{VERSION}""#).into_bytes();
    if !betas.is_empty() {
        body.extend_from_slice(br#","anthropic_beta":"#);
        body.extend_from_slice(json!(betas).to_string().as_bytes());
    }
    body.reserve(messages.len());
    for field in kept {
        let field = messages.get(field.clone()).unwrap_or_default().trim_ascii_start();
        body.push(b',');
        body.extend_from_slice(field.strip_prefix(b",").unwrap_or(field));
    }
    body.extend_from_slice(messages.get(closes_at..).unwrap_or_default());
    body.into()
}

/// Unwraps the stream of `invoke-with-response-stream`: frames go in, cut anywhere, and the Messages events in them come
/// out as server-sent events. An exception comes out as Messages' `error` event, and nothing after it.
#[derive(Debug, Default)]
pub struct Unwrapper {
    decoder: eventstream::Decoder,
    has_failed: bool,
}

impl Unwrapper {
    /// What the caller may see now; possibly empty.
    #[must_use]
    pub fn push(&mut self, chunk: &[u8]) -> Bytes {
        let Unwrapper { decoder, has_failed } = self;
        let mut out = Vec::new();
        decoder.push(chunk, |frame| {
            if *has_failed {
                return;
            }
            if eventstream::is_failure(frame.name) {
                *has_failed = true;
                write_event(&mut out, b"error", error(frame.name, frame.data).to_string().as_bytes());
            } else if frame.name == b"chunk" {
                write_chunk(&mut out, frame.data);
            }
        });
        out.into()
    }
}

fn write_event(out: &mut Vec<u8>, name: &[u8], data: &[u8]) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name);
    out.extend_from_slice(b"\n");
    // A line each, should the JSON ever have several.
    for line in data.split(|byte| *byte == b'\n') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line.trim_ascii_end());
        out.extend_from_slice(b"\n");
    }
    out.extend_from_slice(b"\n");
}

/// Writes the event in a chunk: `{"bytes": "<base64>", "p": "<padding>"}`. What cannot be read is passed over.
fn write_chunk(out: &mut Vec<u8>, data: &[u8]) {
    let Ok(Some(base64)) = field(data, "bytes") else { return };
    let Ok(event) = STANDARD.decode(base64) else { return };
    let Ok(Some(name)) = field(&event, "type") else { return };
    write_event(out, name.as_bytes(), &event);
}

/// A text in the object that `data` is.
fn field(data: &[u8], name: &str) -> Result<Option<String>, ScanError> {
    let mut cursor = Cursor::new(data);
    let mut found = None;
    cursor.fields(|key, cursor| {
        if key.is(name) {
            found = cursor.text_or_skip()?.map(|text| text.decode().into_owned());
            return Ok(());
        }
        cursor.skip().map(drop)
    })?;
    Ok::<_, ScanError>(found)
}

/// A provider's exception in Messages' words.
fn error(name: &[u8], data: &[u8]) -> Value {
    let kind = String::from_utf8_lossy(name).into_owned();
    let message = field(data, "message").ok().flatten().unwrap_or_default();
    let error = observe::StreamError { kind, code: None, message };
    let word = match failure::classify_error(200, &error) {
        failure::RATE_LIMITED => "rate_limit_error",
        failure::OVERLOADED => "overloaded_error",
        failure::TIMEOUT => "timeout_error",
        failure::INVALID_REQUEST | failure::CONTEXT_LENGTH => "invalid_request_error",
        failure::UNAUTHORIZED => "authentication_error",
        failure::FORBIDDEN => "permission_error",
        failure::NOT_FOUND => "not_found_error",
        _ => "api_error",
    };
    let message = if error.message.is_empty() { error.kind } else { error.message };
    json!({ "type": "error", "error": { "type": word, "message": message } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invoked(messages: &str, betas: Option<&str>) -> String {
        let body = String::from_utf8(body(messages.as_bytes(), betas).unwrap().to_vec()).unwrap();
        serde_json::from_str::<Value>(&body).unwrap();
        body
    }

    #[test]
    fn a_messages_body_is_spliced() {
        let cases = [
            (
                r#"{"model":"m","max_tokens":5,"stream":true,"messages":[ {"role":"user"} ]}"#,
                r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":5,"messages":[ {"role":"user"} ]}"#,
            ),
            (
                "{ \"messages\" : [] ,\n  \"model\": \"m\" }",
                r#"{"anthropic_version":"bedrock-2023-05-31","messages" : []}"#,
            ),
            (r#"{"model":"m"}"#, r#"{"anthropic_version":"bedrock-2023-05-31"}"#),
            ("{}", r#"{"anthropic_version":"bedrock-2023-05-31"}"#),
            (
                r#"{"\u006dodel":"m","a":{"model":1},"anthropic_version":"x","b":[","]}"#,
                r#"{"anthropic_version":"bedrock-2023-05-31","a":{"model":1},"b":[","]}"#,
            ),
        ];
        for (messages, expected) in cases {
            assert_eq!(invoked(messages, None), expected);
        }
    }

    #[test]
    fn betas_come_from_the_header_and_the_body() {
        let body = invoked(r#"{"anthropic_beta":["a"],"model":"m","x":1}"#, Some("b, a,c"));
        let expected = r#"{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["a","b","c"],"x":1}"#;
        assert_eq!(body, expected);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(body(b"[1]", None).is_err());
        assert!(body(br#"{"a":1"#, None).is_err());
        assert!(body(br#"{"a":1} x"#, None).is_err());
    }

    #[test]
    fn chunks_become_events_however_the_frames_are_cut() {
        let events = [
            r#"{"type":"message_start","message":{"id":"msg_bdrk_1","usage":{"input_tokens":21}}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Grüße\n👋"}}"#,
            r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":21,"outputTokenCount":2}}"#,
        ];
        let mut frames = Vec::new();
        for event in events {
            let chunk = json!({ "bytes": STANDARD.encode(event), "p": "abcdefgh" }).to_string();
            eventstream::write_event(&mut frames, "chunk", chunk.as_bytes());
        }
        let expected: String = events
            .iter()
            .map(|event| {
                let name = event.split('"').nth(3).unwrap();
                format!("event: {name}\ndata: {event}\n\n")
            })
            .collect();
        for size in [1, 2, 7, 64, frames.len()] {
            let mut unwrapper = Unwrapper::default();
            let out: Vec<u8> = frames.chunks(size).flat_map(|piece| unwrapper.push(piece)).collect();
            assert_eq!(String::from_utf8(out).unwrap(), expected, "in pieces of {size} bytes");
        }
    }

    #[test]
    fn an_exception_becomes_an_error_event_and_ends_it() {
        let mut frames = Vec::new();
        eventstream::write_exception(&mut frames, "throttlingException", br#"{"message":"slow down"}"#);
        let chunk = json!({ "bytes": STANDARD.encode(r#"{"type":"ping"}"#) }).to_string();
        eventstream::write_event(&mut frames, "chunk", chunk.as_bytes());
        let out = Unwrapper::default().push(&frames);
        let expected = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow down\"}}\n\n";
        assert_eq!(out, expected.as_bytes());
    }
}
