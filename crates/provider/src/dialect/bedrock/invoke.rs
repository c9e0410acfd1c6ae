//! InvokeModel of Claude: the body of such a caller becomes a Messages body, and a stream of Messages events the stream that
//! such a caller expects. A whole answer is a Messages answer already. [`Unwrapper`] reads such a stream again.
//!
//! The body is spliced and not read: `model` and `stream`, which the path says, are put in, `anthropic_version` is taken out,
//! and `anthropic_beta` goes into the header of that name.
//! Sources: <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html>,
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html> (2026-11-26).

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::dialect::RequestError;
use crate::scan::{Cursor, Kind, ScanError};
use crate::{eventstream, failure, observe, sse};

/// Name of the frames that hold an event.
const CHUNK: &str = "chunk";

/// A Messages body for the body of an InvokeModel call, and the betas in it, which belong into the header
/// `anthropic-beta`; empty if there are none.
///
/// # Errors
/// [`RequestError`] if the body is no JSON object.
pub fn messages(body: &[u8], model: &str, stream: bool) -> Result<(Bytes, String), RequestError> {
    let Fields { kept, betas_in_it, closes_at } = fields(body)?;
    let opening = format!(r#"{{"model":{},"stream":{stream}"#, Value::from(model));
    Ok((spliced(opening, body, &kept, closes_at), betas_in_it.join(",")))
}

/// The fields of a Messages body that are the same in both.
struct Fields {
    /// Where they stand, each after the comma before it, if there was one.
    kept: Vec<Range<usize>>,
    betas_in_it: Vec<String>,
    closes_at: usize,
}

fn fields(messages: &[u8]) -> Result<Fields, RequestError> {
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
    Ok(Fields { kept, betas_in_it: names, closes_at })
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

/// Ours first, then the fields that stay, each as it stood.
fn spliced(opening: String, messages: &[u8], kept: &[Range<usize>], closes_at: usize) -> Bytes {
    let mut body = opening.into_bytes();
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
            } else if frame.name == CHUNK.as_bytes() {
                write_chunk(&mut out, frame.data);
            }
        });
        out.into()
    }
}

/// Puts a stream of Messages events into the frames of `invoke-with-response-stream`. An `error` event becomes the
/// exception that Amazon has for it, and nothing comes after it.
#[derive(Debug)]
pub struct Wrapper {
    decoder: sse::Decoder,
    has_ended: bool,
}

impl Default for Wrapper {
    fn default() -> Self {
        Wrapper { decoder: sse::Decoder::default().halting(), has_ended: false }
    }
}

impl Wrapper {
    /// What the caller may see now; possibly empty.
    #[must_use]
    pub fn push(&mut self, chunk: &[u8]) -> Bytes {
        let Wrapper { decoder, has_ended } = self;
        let mut out = Vec::new();
        decoder.push(chunk, |event| {
            if *has_ended || event.data.is_empty() {
                return;
            }
            match field(event.data, "type").ok().flatten().as_deref() {
                Some("error") => {
                    *has_ended = true;
                    write_failure(&mut out, event.data);
                }
                kind => {
                    *has_ended = kind == Some("message_stop");
                    let chunk = json!({ "bytes": STANDARD.encode(event.data) }).to_string();
                    eventstream::write_event(&mut out, CHUNK, chunk.as_bytes());
                }
            }
        });
        out.into()
    }

    /// Whether an event was too long to be read. Nothing more is written from there.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.decoder.dropped() > 0
    }

    /// Whether the caller has been told that all has been said, or that it broke off.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }
}

/// Messages' error in Amazon's words. A stream knows five exceptions only.
fn write_failure(out: &mut Vec<u8>, data: &[u8]) {
    let mut error = None;
    // An `error` event without an error still is one.
    let _ = Cursor::new(data).fields(|key, cursor| {
        if key.is("error") {
            error = observe::read_error(cursor)?;
            return Ok::<(), ScanError>(());
        }
        cursor.skip().map(drop)
    });
    let error = error.unwrap_or_default();
    let name = match failure::classify_error(200, &error) {
        failure::RATE_LIMITED | failure::QUOTA_EXHAUSTED => "throttlingException",
        failure::OVERLOADED => "serviceUnavailableException",
        failure::TIMEOUT => "modelTimeoutException",
        failure::INVALID_REQUEST | failure::CONTEXT_LENGTH | failure::TOO_LARGE => "validationException",
        _ => "modelStreamErrorException",
    };
    eventstream::write_exception(out, name, json!({ "message": error.message }).to_string().as_bytes());
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

/// The event in a chunk: `{"bytes": "<base64>", "p": "<padding>"}`.
pub(crate) fn unwrapped(chunk: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(field(chunk, "bytes").ok()??).ok()
}

/// Writes the event in a chunk. What cannot be read is passed over.
fn write_chunk(out: &mut Vec<u8>, data: &[u8]) {
    let Some(event) = unwrapped(data) else { return };
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

    fn unwrapped(body: &str) -> (String, String) {
        let (written, betas) = messages(body.as_bytes(), "m", true).unwrap();
        serde_json::from_slice::<Value>(&written).unwrap();
        (String::from_utf8(written.to_vec()).unwrap(), betas)
    }

    #[test]
    fn a_caller_s_body_is_spliced() {
        let cases = [
            (
                r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":5,"messages":[ {"role":"user"} ]}"#,
                r#"{"model":"m","stream":true,"max_tokens":5,"messages":[ {"role":"user"} ]}"#,
            ),
            ("{ \"messages\" : [] ,\n  \"model\": \"x\" }", r#"{"model":"m","stream":true,"messages" : []}"#),
            ("{}", r#"{"model":"m","stream":true}"#),
            (
                r#"{"\u006dodel":"x","a":{"model":1},"anthropic_version":"x","b":[","]}"#,
                r#"{"model":"m","stream":true,"a":{"model":1},"b":[","]}"#,
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(unwrapped(body), (expected.to_owned(), String::new()));
        }
    }

    #[test]
    fn betas_leave_the_body_for_the_header() {
        let (body, betas) = unwrapped(r#"{"anthropic_beta":["a","b"],"x":1}"#);
        assert_eq!((body.as_str(), betas.as_str()), (r#"{"model":"m","stream":true,"x":1}"#, "a,b"));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(messages(b"[1]", "m", false).is_err());
        assert!(messages(br#"{"a":1"#, "m", false).is_err());
        assert!(messages(br#"{"a":1} x"#, "m", false).is_err());
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

    #[test]
    fn a_model_s_name_is_escaped() {
        let (written, _) = messages(b"{}", "claude \"x\"", true).unwrap();
        assert_eq!(written, r#"{"model":"claude \"x\"","stream":true}"#);
    }

    #[test]
    fn events_are_wrapped_as_they_come_and_an_error_ends_them() {
        let events = "event: message_start\ndata: {\"type\":\"message_start\"}\n\n: comment\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
        let mut wrapper = Wrapper::default();
        let frames: Vec<u8> = events.as_bytes().chunks(7).flat_map(|piece| wrapper.push(piece)).collect();
        assert!(wrapper.has_ended());
        assert_eq!(Unwrapper::default().push(&frames), events.replace(": comment\n\n", ""));
        let mut wrapper = Wrapper::default();
        let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n";
        let frames = wrapper.push(error.repeat(2).as_bytes());
        let mut seen = Vec::new();
        eventstream::Decoder::default().push(&frames, |event| seen.push((event.name.to_vec(), event.data.to_vec())));
        assert_eq!(seen, [(b"serviceUnavailableException".to_vec(), br#"{"message":"busy"}"#.to_vec())]);
    }
}
