//! Writes the events of a stream. On this wire one block follows another, each of one kind from its start to its stop, so
//! what belongs to a later part waits until the earlier ones have ended. A block begins with its first piece: a part that
//! never says anything is no block, since the provider would refuse an empty text in the next turn.
//!
//! `message_start` is written when the first part begins, so that it carries the usage that is known by then: clients such as
//! Claude Code count with it. Where nothing is known it says zero. `message_delta` at the end says everything.

use std::collections::VecDeque;

use serde_json::{Value, json};
use tollgate_interaction::Usage;

use super::super::answer::{holds, message_id, redacted, wrap, write_block};
use super::super::stop::Held;
use super::super::{citation, object, stop, usage};
use crate::chat::{Content, Delta, Event, Signature, Stop, Tier, ToolCall};
use crate::failure;
use crate::observe::StreamError;
use crate::translate::{Asked, WriteStream};

#[derive(Debug)]
pub(crate) struct Writer {
    asked: Asked,
    /// `message_start`, as long as it is not written.
    start: Start,
    usage: Usage,
    service_tier: Option<Tier>,
    /// Parts in the order they began; the first is on the wire.
    parts: VecDeque<Part>,
    next_index: u64,
    held: Held,
    stop: Option<Stop>,
}

#[derive(Debug)]
enum Start {
    Waiting { id: Option<String>, model: String },
    Written,
}

/// A part that has not been written to its end.
#[derive(Debug)]
struct Part {
    part: usize,
    content: Content,
    /// What came while an earlier part was on the wire.
    deltas: VecDeque<Delta>,
    /// Index of its block, once that has begun.
    index: Option<u64>,
    signature: Option<Signature>,
    ended: bool,
}

impl Writer {
    pub(crate) fn new(asked: Asked) -> Self {
        Writer {
            asked,
            start: Start::Waiting { id: None, model: String::new() },
            usage: Usage::default(),
            service_tier: None,
            parts: VecDeque::new(),
            next_index: 0,
            held: Held::default(),
            stop: None,
        }
    }
}

impl WriteStream for Writer {
    fn write(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Begin { id, model, usage } => {
                self.start = Start::Waiting { id, model };
                self.usage = usage.unwrap_or_default();
            }
            Event::BeginPart { choice: 0, part, content } => {
                self.write_start(out);
                holds(&content, &mut self.held);
                self.parts.push_back(Part::new(part, content));
            }
            Event::Continue { choice: 0, part, delta } => {
                if let Some(open) = self.parts.iter_mut().find(|open| open.part == part && !open.ended) {
                    open.deltas.push_back(delta);
                }
                self.flush(out);
            }
            Event::EndPart { choice: 0, part } => {
                self.parts.iter_mut().filter(|open| open.part == part).for_each(|open| open.ended = true);
                self.flush(out);
            }
            Event::Stop { choice: 0, stop } => self.stop = Some(stop),
            // A caller of this dialect asked for one answer, and for no log probabilities.
            Event::BeginPart { .. }
            | Event::Continue { .. }
            | Event::EndPart { .. }
            | Event::Stop { .. }
            | Event::Logprobs { .. } => {}
            Event::Usage(usage) => self.usage = usage,
            Event::ServiceTier(tier) => self.service_tier = Some(tier),
            Event::End => self.write_end(out),
            Event::Error(error) => write_event(out, "error", [("error", error_value(error))]),
        }
    }
}

impl Writer {
    fn write_start(&mut self, out: &mut Vec<u8>) {
        let Start::Waiting { id, model } = std::mem::replace(&mut self.start, Start::Written) else { return };
        let message = object([
            ("id", id.unwrap_or_else(|| message_id(&self.asked)).into()),
            ("type", "message".into()),
            ("role", "assistant".into()),
            ("model", if model.is_empty() { self.asked.model.clone() } else { model }.into()),
            ("content", Value::Array(Vec::new())),
            ("stop_reason", Value::Null),
            ("stop_sequence", Value::Null),
            ("usage", usage::whole(&self.usage, self.service_tier)),
        ]);
        write_event(out, "message_start", [("message", message)]);
    }

    /// Writes as much of the parts as the order of blocks allows.
    fn flush(&mut self, out: &mut Vec<u8>) {
        while let Some(first) = self.parts.front_mut() {
            while let Some(delta) = first.deltas.pop_front() {
                first.go_on(delta, &mut self.next_index, out);
            }
            if !first.ended {
                return;
            }
            first.finish(&mut self.next_index, out);
            self.parts.pop_front();
        }
    }

    fn write_end(&mut self, out: &mut Vec<u8>) {
        self.write_start(out);
        self.parts.iter_mut().for_each(|part| part.ended = true);
        self.flush(out);
        let (reason, sequence) = stop::write(self.stop.take(), self.held);
        let delta = json!({ "stop_reason": reason, "stop_sequence": sequence });
        write_event(out, "message_delta", [("delta", delta), ("usage", usage::last(&self.usage))]);
        write_event(out, "message_stop", []);
    }
}

impl Part {
    fn new(part: usize, mut content: Content) -> Part {
        let mut deltas = VecDeque::new();
        let mut signature = None;
        // What comes with the beginning is its first piece.
        match &mut content {
            Content::Text { text, citations } => {
                deltas.push_back(Delta::Text(std::mem::take(text)));
                deltas.extend(std::mem::take(citations).into_iter().map(Delta::Citation));
            }
            Content::Refusal(text) => deltas.push_back(Delta::Text(std::mem::take(text))),
            Content::Thinking { text, signature: given } => {
                deltas.push_back(Delta::Thinking(std::mem::take(text)));
                signature = given.take();
            }
            Content::ToolCall(call) => {
                deltas.push_back(Delta::Arguments(std::mem::take(&mut call.arguments)));
                signature = call.signature.take();
            }
            Content::Image { .. }
            | Content::Audio(_)
            | Content::Video(_)
            | Content::Document { .. }
            | Content::ToolResult(_)
            | Content::Redacted(_)
            | Content::CustomCall(_)
            | Content::Native { .. } => {}
        }
        Part { part, content, deltas, index: None, signature, ended: false }
    }

    /// Writes a piece, in a block of its own kind or not at all.
    fn go_on(&mut self, delta: Delta, next_index: &mut u64, out: &mut Vec<u8>) {
        let piece = match (&self.content, delta) {
            (_, Delta::Text(text) | Delta::Thinking(text) | Delta::Arguments(text)) if text.is_empty() => return,
            (Content::Text { .. } | Content::Refusal(_), Delta::Text(text)) => ("text_delta", "text", text.into()),
            (Content::Text { .. }, Delta::Citation(cited)) => match citation::write(cited) {
                Some(cited) => ("citations_delta", "citation", cited),
                None => return,
            },
            (Content::Thinking { .. }, Delta::Thinking(text)) => ("thinking_delta", "thinking", text.into()),
            (Content::ToolCall(_), Delta::Arguments(text)) => ("input_json_delta", "partial_json", text.into()),
            (Content::Thinking { .. } | Content::ToolCall(_), Delta::Signature(signature)) => {
                self.signature = Some(signature);
                return;
            }
            _ => return,
        };
        let index = self.begin(next_index, out);
        let (kind, name, value) = piece;
        let delta = object([("type", kind.into()), (name, value)]);
        write_event(out, "content_block_delta", [("index", index.into()), ("delta", delta)]);
    }

    /// The index of its block, which begins if it has not.
    fn begin(&mut self, next_index: &mut u64, out: &mut Vec<u8>) -> u64 {
        if let Some(index) = self.index {
            return index;
        }
        let block = match &mut self.content {
            Content::Thinking { .. } => json!({ "type": "thinking", "thinking": "", "signature": "" }),
            Content::ToolCall(ToolCall { id, name, .. }) => {
                if let Some(signature) = self.signature.take() {
                    write_whole(redacted(&signature), next_index, out);
                }
                json!({ "type": "tool_use", "id": std::mem::take(id), "name": std::mem::take(name), "input": {} })
            }
            _ => json!({ "type": "text", "text": "" }),
        };
        let index = begin_block(block, next_index, out);
        self.index = Some(index);
        index
    }

    /// Writes its end, and all of it if it comes whole.
    fn finish(&mut self, next_index: &mut u64, out: &mut Vec<u8>) {
        match &self.content {
            // It began with its first piece, or it has none.
            Content::Text { .. } | Content::Refusal(_) => {}
            Content::Thinking { .. } => self.finish_thinking(next_index, out),
            Content::ToolCall(_) => drop(self.begin(next_index, out)),
            Content::Image { .. }
            | Content::Audio(_)
            | Content::Video(_)
            | Content::Document { .. }
            | Content::ToolResult(_)
            | Content::Redacted(_)
            | Content::CustomCall(_)
            | Content::Native { .. } => {
                let mut blocks = Vec::new();
                write_block(std::mem::replace(&mut self.content, Content::text("")), &mut blocks);
                blocks.into_iter().for_each(|block| write_whole(block, next_index, out));
            }
        }
        if let Some(index) = self.index {
            write_event(out, "content_block_stop", [("index", index.into())]);
        }
        // The signature of a call came when its block had begun.
        if let (Content::ToolCall(_), Some(signature)) = (&self.content, self.signature.take()) {
            write_whole(redacted(&signature), next_index, out);
        }
    }

    fn finish_thinking(&mut self, next_index: &mut u64, out: &mut Vec<u8>) {
        let Some(signature) = self.signature.take() else { return };
        let index = self.begin(next_index, out);
        let delta = object([("type", "signature_delta".into()), ("signature", wrap(&signature).into())]);
        write_event(out, "content_block_delta", [("index", index.into()), ("delta", delta)]);
    }
}

/// Writes a block that comes whole. Words come in a piece of their own, as clients expect them.
fn write_whole(mut block: Value, next_index: &mut u64, out: &mut Vec<u8>) {
    let words = match block.get("type").and_then(Value::as_str) {
        Some("text") => block.get_mut("text").map(|text| std::mem::replace(text, "".into())),
        _ => None,
    };
    let index = begin_block(block, next_index, out);
    if let Some(words) = words {
        let delta = object([("type", "text_delta".into()), ("text", words)]);
        write_event(out, "content_block_delta", [("index", index.into()), ("delta", delta)]);
    }
    write_event(out, "content_block_stop", [("index", index.into())]);
}

fn begin_block(block: Value, next_index: &mut u64, out: &mut Vec<u8>) -> u64 {
    let index = *next_index;
    *next_index += 1;
    write_event(out, "content_block_start", [("index", index.into()), ("content_block", block)]);
    index
}

fn write_event<const N: usize>(out: &mut Vec<u8>, name: &str, fields: [(&str, Value); N]) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: {\"type\":\"");
    out.extend_from_slice(name.as_bytes());
    out.push(b'"');
    for (field, value) in fields {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(field.as_bytes());
        out.extend_from_slice(b"\":");
        // Writing JSON into memory does not fail.
        let _ = serde_json::to_writer(&mut *out, &value);
    }
    out.extend_from_slice(b"}\n\n");
}

/// The error of another provider in this dialect's words, by which clients tell whether to try again.
fn error_value(error: StreamError) -> Value {
    let kind = match failure::classify_error(200, &error) {
        failure::INVALID_REQUEST | failure::CONTEXT_LENGTH | failure::CONTENT_FILTERED => "invalid_request_error",
        failure::UNAUTHORIZED => "authentication_error",
        failure::FORBIDDEN => "permission_error",
        failure::NOT_FOUND => "not_found_error",
        failure::TOO_LARGE => "request_too_large",
        failure::RATE_LIMITED => "rate_limit_error",
        failure::QUOTA_EXHAUSTED => "billing_error",
        failure::OVERLOADED => "overloaded_error",
        failure::TIMEOUT => "timeout_error",
        _ => "api_error",
    };
    object([("type", kind.into()), ("message", error.message.into())])
}
