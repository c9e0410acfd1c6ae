//! Reads the events of a ConverseStream.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tollgate_interaction::Dialect;

use super::super::answer;
use super::super::block::{self, SIGNER};
use super::super::citation;
use super::super::media::Medium;
use super::super::usage;
use crate::chat::{Content, Delta, Event, Signature, Source, Stop, ToolCall};
use crate::eventstream;
use crate::observe::StreamError;
use crate::translate::ReadStream;

/// Reads one stream.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    has_begun: bool,
    has_stopped: bool,
    has_ended: bool,
    /// Blocks that are open, by Converse's number of them.
    open: BTreeMap<u64, Open>,
    /// Number of the next part.
    next_part: usize,
}

/// A block that has begun.
#[derive(Debug)]
enum Open {
    /// Its part has begun.
    Part(usize),
    /// The part of a call, of whose input nothing has come.
    Call(usize),
    /// It is handed out when it is whole.
    Gathered(Gathered),
}

/// What comes in pieces and can only be told whole.
#[derive(Debug)]
enum Gathered {
    /// Encrypted thoughts. Each piece is base64 of its own.
    Redacted(Vec<u8>),
    /// A call of a tool of the provider's own, whose input comes as text.
    Call(Value, String),
    /// The result of such a tool.
    Result(Value, Vec<Value>),
    /// A picture.
    Image(String, Vec<u8>),
}

impl ReadStream for Reader {
    fn read(&mut self, name: &[u8], data: &[u8], out: &mut Vec<Event>) {
        if self.has_ended {
            return;
        }
        if eventstream::is_failure(name) {
            self.has_ended = true;
            return out.push(Event::Error(error(name, data)));
        }
        let Ok(mut data) = serde_json::from_slice::<Value>(data) else { return };
        self.begin(out);
        match name {
            b"contentBlockStart" => self.block_start(&mut data, out),
            b"contentBlockDelta" => self.block_delta(&mut data, out),
            b"contentBlockStop" => self.block_stop(number(&data), out),
            b"messageStop" => self.message_stop(&data, out),
            b"metadata" => self.metadata(&data, out),
            _ => {}
        }
    }

    fn end(&mut self, out: &mut Vec<Event>) {
        // `metadata` may be missing; without `messageStop` the stream was cut off.
        if self.has_stopped && !self.has_ended {
            self.has_ended = true;
            out.push(Event::End);
        }
    }
}

/// What a frame that is an exception says.
fn error(name: &[u8], data: &[u8]) -> StreamError {
    let data = serde_json::from_slice::<Value>(data).unwrap_or_default();
    let text = |name: &str| data.get(name).and_then(Value::as_str);
    let message = text("message").or(text("Message")).or(text("originalMessage")).unwrap_or_default();
    StreamError { kind: String::from_utf8_lossy(name).into_owned(), code: None, message: message.to_owned() }
}

fn number(data: &Value) -> u64 {
    data.get("contentBlockIndex").and_then(Value::as_u64).unwrap_or(0)
}

fn take_text(value: &mut Value, name: &str) -> Option<String> {
    match value.get_mut(name).map(Value::take) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

impl Reader {
    fn begin(&mut self, out: &mut Vec<Event>) {
        if !self.has_begun {
            self.has_begun = true;
            out.push(Event::Begin { id: None, model: String::new(), usage: None });
        }
    }

    fn begin_part(&mut self, content: Content, out: &mut Vec<Event>) -> usize {
        let part = self.next_part;
        self.next_part += 1;
        out.push(Event::BeginPart { choice: 0, part, content });
        part
    }

    fn block_start(&mut self, data: &mut Value, out: &mut Vec<Event>) {
        let number = number(data);
        let Some(start) = data.get_mut("start") else { return };
        let open = if let Some(mut call) = start.get_mut("toolUse").map(Value::take) {
            if call.get("type").is_some_and(|kind| !kind.is_null()) {
                Open::Gathered(Gathered::Call(call, String::new()))
            } else {
                let id = take_text(&mut call, "toolUseId").unwrap_or_default();
                let name = take_text(&mut call, "name").unwrap_or_default();
                let call = ToolCall { id, name, arguments: String::new(), signature: None };
                Open::Call(self.begin_part(Content::ToolCall(call), out))
            }
        } else if let Some(result) = start.get_mut("toolResult").map(Value::take) {
            Open::Gathered(Gathered::Result(result, Vec::new()))
        } else if let Some(image) = start.get_mut("image") {
            Open::Gathered(Gathered::Image(take_text(image, "format").unwrap_or_default(), Vec::new()))
        } else {
            return;
        };
        self.open.insert(number, open);
    }

    fn block_delta(&mut self, data: &mut Value, out: &mut Vec<Event>) {
        let number = number(data);
        let Some(delta) = data.get_mut("delta") else { return };
        if let Some(text) = take_text(delta, "text") {
            return self.add(number, Content::text(""), Delta::Text(text), out);
        }
        if let Some(citation) = delta.get("citation") {
            return self.add(number, Content::text(""), Delta::Citation(citation::read(citation)), out);
        }
        if let Some(input) = delta.get_mut("toolUse").and_then(|call| take_text(call, "input")) {
            return self.add_input(number, input, out);
        }
        if let Some(thoughts) = delta.get_mut("reasoningContent") {
            return self.add_thoughts(number, thoughts, out);
        }
        match (self.open.get_mut(&number), delta) {
            (Some(Open::Gathered(Gathered::Image(_, bytes))), delta) => {
                let base64 = delta.get("image").and_then(|image| image.get("source")?.get("bytes")?.as_str());
                bytes.extend(base64.and_then(|base64| STANDARD.decode(base64).ok()).unwrap_or_default());
            }
            (Some(Open::Gathered(Gathered::Result(_, pieces))), delta) => {
                if let Some(Value::Array(more)) = delta.get_mut("toolResult").map(Value::take) {
                    pieces.extend(more);
                }
            }
            _ => {}
        }
    }

    /// Adds to a part, which begins here if it has not.
    fn add(&mut self, number: u64, content: Content, delta: Delta, out: &mut Vec<Event>) {
        let part = match self.open.get(&number) {
            Some(Open::Part(part)) => *part,
            Some(Open::Call(_) | Open::Gathered(_)) => return,
            None => {
                let part = self.begin_part(content, out);
                self.open.insert(number, Open::Part(part));
                part
            }
        };
        let is_empty =
            matches!(&delta, Delta::Text(text) | Delta::Thinking(text) | Delta::Arguments(text) if text.is_empty());
        if !is_empty {
            out.push(Event::Continue { choice: 0, part, delta });
        }
    }

    fn add_input(&mut self, number: u64, input: String, out: &mut Vec<Event>) {
        if input.is_empty() {
            return;
        }
        let part = match self.open.get_mut(&number) {
            Some(Open::Gathered(Gathered::Call(_, text))) => return text.push_str(&input),
            Some(Open::Part(part) | Open::Call(part)) => *part,
            // A call that was never announced has no name.
            Some(Open::Gathered(_)) | None => return,
        };
        self.open.insert(number, Open::Part(part));
        out.push(Event::Continue { choice: 0, part, delta: Delta::Arguments(input) });
    }

    fn add_thoughts(&mut self, number: u64, thoughts: &mut Value, out: &mut Vec<Event>) {
        if let Some(redacted) = take_text(thoughts, "redactedContent") {
            let open = self.open.entry(number).or_insert(Open::Gathered(Gathered::Redacted(Vec::new())));
            if let Open::Gathered(Gathered::Redacted(bytes)) = open {
                bytes.extend(STANDARD.decode(redacted).unwrap_or_default());
            }
            return;
        }
        let empty = Content::Thinking { text: String::new(), signature: None };
        if let Some(text) = take_text(thoughts, "text") {
            self.add(number, empty, Delta::Thinking(text), out);
        } else if let Some(text) = take_text(thoughts, "signature").filter(|text| !text.is_empty()) {
            self.add(number, empty, Delta::Signature(Signature::unwrapped(text, SIGNER)), out);
        }
    }

    fn block_stop(&mut self, number: u64, out: &mut Vec<Event>) {
        let part = match self.open.remove(&number) {
            Some(Open::Part(part)) => part,
            // Elsewhere arguments are JSON text, and no text is no JSON.
            Some(Open::Call(part)) => {
                out.push(Event::Continue { choice: 0, part, delta: Delta::Arguments("{}".to_owned()) });
                part
            }
            Some(Open::Gathered(gathered)) => self.begin_part(gathered.into_content(), out),
            // A block without a delta said nothing.
            None => return,
        };
        out.push(Event::EndPart { choice: 0, part });
    }

    fn message_stop(&mut self, data: &Value, out: &mut Vec<Event>) {
        if self.has_stopped {
            return;
        }
        while let Some(number) = self.open.keys().next().copied() {
            self.block_stop(number, out);
        }
        self.has_stopped = true;
        let reason = data.get("stopReason").and_then(Value::as_str).unwrap_or("end_turn");
        let stop: Stop = answer::read_stop(reason, data.get("additionalModelResponseFields"));
        out.push(Event::Stop { choice: 0, stop });
    }

    fn metadata(&mut self, data: &Value, out: &mut Vec<Event>) {
        out.extend(data.get("usage").and_then(usage::read).map(Event::Usage));
        out.extend(answer::read_tier(data).map(Event::ServiceTier));
        if self.has_stopped {
            self.has_ended = true;
            out.push(Event::End);
        }
    }
}

impl Gathered {
    fn into_content(self) -> Content {
        let native = |kind: &str, value| Content::Native { dialect: Dialect::Bedrock, kind: kind.to_owned(), value };
        match self {
            Gathered::Redacted(bytes) => Content::Redacted(block::unwrapped_blob(STANDARD.encode(bytes))),
            Gathered::Call(mut call, input) => {
                let input = serde_json::from_str(&input).unwrap_or(Value::String(input));
                if let Value::Object(call) = &mut call {
                    call.insert("input".to_owned(), input);
                }
                native("toolUse", call)
            }
            Gathered::Result(mut result, pieces) => {
                if let Value::Object(result) = &mut result {
                    result.insert("content".to_owned(), pieces.into());
                }
                native("toolResult", result)
            }
            Gathered::Image(format, bytes) => {
                let media_type = Medium::Image.media_type(&format);
                Content::Image { source: Source::Base64 { media_type, base64: STANDARD.encode(bytes) }, detail: None }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(events: &[(&str, Value)]) -> Vec<Event> {
        let mut reader = Reader::default();
        let mut out = Vec::new();
        for (name, data) in events {
            reader.read(name.as_bytes(), data.to_string().as_bytes(), &mut out);
        }
        reader.end(&mut out);
        out
    }

    #[test]
    fn a_stream_that_was_cut_is_not_ended_for_it() {
        let text = ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": "Hel"}}));
        let cut = read(&[("messageStart", json!({"role": "assistant"})), text.clone()]);
        assert!(!cut.iter().any(|event| matches!(event, Event::Stop { .. } | Event::End)));
        let whole = read(&[text, ("messageStop", json!({"stopReason": "max_tokens"}))]);
        let end = [Event::EndPart { choice: 0, part: 0 }, Event::Stop { choice: 0, stop: Stop::Length }, Event::End];
        assert!(whole.ends_with(&end), "{whole:?}");
    }

    #[test]
    fn an_exception_ends_the_stream() {
        let events = read(&[
            ("messageStart", json!({"role": "assistant"})),
            ("modelStreamErrorException", json!({"message": "boom", "originalStatusCode": 500})),
            ("messageStop", json!({"stopReason": "end_turn"})),
        ]);
        let Some(Event::Error(error)) = events.last() else { panic!("no error in {events:?}") };
        assert_eq!((error.kind.as_str(), error.message.as_str()), ("modelStreamErrorException", "boom"));
    }

    #[test]
    fn pieces_of_encrypted_thoughts_are_joined_as_bytes() {
        let piece = |base64: &str| {
            let delta = json!({"reasoningContent": {"redactedContent": base64}});
            ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": delta}))
        };
        let events = read(&[piece("EmwK"), piece("Ag=="), ("contentBlockStop", json!({"contentBlockIndex": 0}))]);
        let redacted = Content::Redacted(Signature { of: SIGNER, text: "EmwKAg==".to_owned() });
        assert!(events.contains(&Event::BeginPart { choice: 0, part: 0, content: redacted }), "{events:?}");
    }
}
