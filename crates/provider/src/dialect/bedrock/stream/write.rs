//! Writes the events of a ConverseStream as frames. Clients put blocks together one after the other, some without looking at
//! their numbers: what belongs to a part that begins while another is open waits for that one's end. `metadata` comes
//! last, and not at all where the provider counted nothing.

use serde_json::{Map, Value, json};
use tollgate_interaction::{Dialect, Usage};

use super::super::answer;
use super::super::block::{self, SIGNER};
use super::super::citation;
use super::super::media::Medium;
use super::super::usage;
use crate::chat::{Content, Delta, Event, Signature, Source, Tier, ToolCall};
use crate::observe::StreamError;
use crate::translate::WriteStream;
use crate::{eventstream, failure};

/// Writes one stream.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    has_begun: bool,
    /// The part whose block is being written.
    open: Option<Open>,
    /// Events of the parts behind it.
    waiting: Vec<Event>,
    /// Number of the next block.
    next_block: usize,
    usage: Option<Usage>,
    service_tier: Option<Tier>,
}

/// The part that is open.
#[derive(Debug)]
struct Open {
    part: usize,
    /// Whether it is a call of a tool.
    is_call: bool,
    /// Number of its block, once anything of it has been written.
    block: Option<usize>,
    /// Signature of a call, which came when its block had begun.
    signature: Option<Signature>,
}

impl Writer {
    fn begin(&mut self, out: &mut Vec<u8>) {
        if !self.has_begun {
            self.has_begun = true;
            send(out, "messageStart", &json!({ "role": "assistant" }));
        }
    }

    /// Writes an event of a part, or lets it wait.
    fn write_part(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::BeginPart { part, content, .. } if self.open.is_none() => {
                let is_call = matches!(content, Content::ToolCall(_));
                self.open = Some(Open { part, is_call, block: None, signature: None });
                self.begin_block(content, out);
            }
            Event::Continue { part, delta, .. } if self.is_open(part) => match (&mut self.open, delta) {
                (Some(open), Delta::Signature(signature)) if open.is_call => open.signature = Some(signature),
                (_, delta) => self.add(delta, out),
            },
            Event::EndPart { part, .. } if self.is_open(part) => {
                self.end_block(out);
                for event in std::mem::take(&mut self.waiting) {
                    self.write_part(event, out);
                }
            }
            // Nobody has opened it, or it will be opened.
            event => self.waiting.push(event),
        }
    }

    fn is_open(&self, part: usize) -> bool {
        self.open.as_ref().is_some_and(|open| open.part == part)
    }

    /// Number of the block that is open, which it gets when its first event is written.
    fn block(&mut self) -> usize {
        let next = self.next_block;
        let Some(open) = &mut self.open else { return next };
        *open.block.get_or_insert_with(|| {
            self.next_block += 1;
            next
        })
    }

    fn begin_block(&mut self, content: Content, out: &mut Vec<u8>) {
        match content {
            Content::Text { text, citations } => {
                self.add(Delta::Text(text), out);
                citations.into_iter().for_each(|citation| self.go_on(Delta::Citation(citation), out));
            }
            Content::Refusal(text) => self.add(Delta::Text(text), out),
            Content::Thinking { text, signature } => {
                self.add(Delta::Thinking(text), out);
                signature.into_iter().for_each(|signature| self.go_on(Delta::Signature(signature), out));
            }
            Content::ToolCall(ToolCall { id, name, arguments, signature }) => {
                signature.iter().for_each(|signature| self.lone_block(signature, out));
                let id = block::tool_id(id);
                self.start(json!({ "toolUse": { "toolUseId": id, "name": name } }), out);
                self.add(Delta::Arguments(arguments), out);
            }
            Content::Redacted(signature) => self.delta(block::redacted(&signature), out),
            Content::Image { source: Source::Base64 { media_type, base64 }, detail: _ } => {
                let Some(format) = Medium::Image.format(&media_type) else { return };
                self.start(json!({ "image": { "format": format } }), out);
                self.delta(json!({ "image": { "source": { "bytes": base64 } } }), out);
            }
            Content::Native { dialect: Dialect::Bedrock, kind, value } => self.native(&kind, value, out),
            // Converse has no events for them.
            Content::Image { .. }
            | Content::Audio(_)
            | Content::Video(_)
            | Content::Document { .. }
            | Content::ToolResult(_)
            | Content::CustomCall(_)
            | Content::Native { .. } => {}
        }
    }

    /// What only Converse can say and was read whole.
    fn native(&mut self, kind: &str, value: Value, out: &mut Vec<u8>) {
        let Value::Object(mut fields) = value else { return };
        let rest = match kind {
            "toolUse" => fields.shift_remove("input").map(|input| json!({ "toolUse": { "input": input.to_string() } })),
            "toolResult" => fields.shift_remove("content").map(|content| json!({ "toolResult": content })),
            _ => return,
        };
        self.start(json!({ kind: fields }), out);
        if let Some(rest) = rest {
            self.delta(rest, out);
        }
    }

    /// Goes on with a part; what is empty says nothing.
    fn add(&mut self, delta: Delta, out: &mut Vec<u8>) {
        let is_empty =
            matches!(&delta, Delta::Text(text) | Delta::Thinking(text) | Delta::Arguments(text) if text.is_empty());
        if !is_empty {
            self.go_on(delta, out);
        }
    }

    fn go_on(&mut self, delta: Delta, out: &mut Vec<u8>) {
        let delta = match delta {
            Delta::Text(text) => json!({ "text": text }),
            Delta::Arguments(input) => json!({ "toolUse": { "input": input } }),
            Delta::Thinking(text) => json!({ "reasoningContent": { "text": text } }),
            Delta::Signature(signature) => {
                json!({ "reasoningContent": { "signature": signature.wrapped(SIGNER) } })
            }
            Delta::Citation(citation) => json!({ "citation": citation::write(citation) }),
        };
        self.delta(delta, out);
    }

    fn start(&mut self, start: Value, out: &mut Vec<u8>) {
        let block = self.block();
        send(out, "contentBlockStart", &json!({ "start": start, "contentBlockIndex": block }));
    }

    fn delta(&mut self, delta: Value, out: &mut Vec<u8>) {
        let block = self.block();
        send(out, "contentBlockDelta", &json!({ "delta": delta, "contentBlockIndex": block }));
    }

    fn end_block(&mut self, out: &mut Vec<u8>) {
        let Some(Open { block, signature, .. }) = self.open.take() else { return };
        if let Some(block) = block {
            send(out, "contentBlockStop", &json!({ "contentBlockIndex": block }));
        }
        signature.iter().for_each(|signature| self.lone_block(signature, out));
    }

    /// A block for the signature of a call, which has no place at the call itself.
    fn lone_block(&mut self, signature: &Signature, out: &mut Vec<u8>) {
        let block = self.next_block;
        self.next_block += 1;
        let delta = block::redacted(signature);
        send(out, "contentBlockDelta", &json!({ "delta": delta, "contentBlockIndex": block }));
        send(out, "contentBlockStop", &json!({ "contentBlockIndex": block }));
    }

    fn metadata(&mut self, out: &mut Vec<u8>) {
        let Some(usage) = self.usage.take() else { return };
        let mut metadata = Map::new();
        metadata.insert("usage".to_owned(), usage::write(&usage));
        metadata.insert("metrics".to_owned(), json!({ "latencyMs": 0 }));
        if let Some(tier) = self.service_tier.and_then(answer::tier) {
            metadata.insert("serviceTier".to_owned(), tier);
        }
        send(out, "metadata", &Value::Object(metadata));
    }
}

impl WriteStream for Writer {
    fn write(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Begin { id: _, model: _, usage } => {
                self.usage = usage;
                self.begin(out);
            }
            // Converse gives one answer.
            Event::BeginPart { choice: 1.., .. }
            | Event::Continue { choice: 1.., .. }
            | Event::EndPart { choice: 1.., .. }
            | Event::Stop { choice: 1.., .. }
            | Event::Logprobs { .. } => {}
            event @ (Event::BeginPart { .. } | Event::Continue { .. } | Event::EndPart { .. }) => {
                self.begin(out);
                self.write_part(event, out);
            }
            Event::Stop { choice: _, stop } => {
                self.begin(out);
                self.end_block(out);
                let mut body = Map::new();
                body.insert("stopReason".to_owned(), answer::stop_word(&stop).into());
                if let Some(fields) = answer::stop_fields(&stop) {
                    body.insert("additionalModelResponseFields".to_owned(), fields);
                }
                send(out, "messageStop", &Value::Object(body));
            }
            Event::Usage(usage) => self.usage = Some(usage),
            Event::ServiceTier(tier) => self.service_tier = Some(tier),
            Event::End => self.metadata(out),
            Event::Error(error) => write_error(&error, out),
        }
    }
}

fn send(out: &mut Vec<u8>, name: &str, data: &Value) {
    eventstream::write_event(out, name, data.to_string().as_bytes());
}

/// A provider's error as one of the five exceptions that a stream can end with.
fn write_error(error: &StreamError, out: &mut Vec<u8>) {
    let name = match failure::classify_error(200, error) {
        failure::RATE_LIMITED | failure::QUOTA_EXHAUSTED => "throttlingException",
        failure::OVERLOADED => "serviceUnavailableException",
        failure::INVALID_REQUEST
        | failure::CONTEXT_LENGTH
        | failure::CONTENT_FILTERED
        | failure::TOO_LARGE
        | failure::NOT_FOUND => "validationException",
        failure::TIMEOUT => "modelStreamErrorException",
        _ => "internalServerException",
    };
    let message = if error.message.is_empty() { &error.kind } else { &error.message };
    eventstream::write_exception(out, name, json!({ "message": message }).to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Stop;

    fn frames(events: Vec<Event>) -> Vec<(String, Value)> {
        let mut writer = Writer::default();
        let mut bytes = Vec::new();
        events.into_iter().for_each(|event| writer.write(event, &mut bytes));
        let mut frames = Vec::new();
        eventstream::Decoder::default().push(&bytes, |event| {
            let name = String::from_utf8_lossy(event.name).into_owned();
            frames.push((name, serde_json::from_slice(event.data).unwrap()));
        });
        frames
    }

    fn begin(part: usize, content: Content) -> Event {
        Event::BeginPart { choice: 0, part, content }
    }

    fn add(part: usize, delta: Delta) -> Event {
        Event::Continue { choice: 0, part, delta }
    }

    fn call(name: &str) -> Content {
        Content::ToolCall(ToolCall {
            name: name.to_owned(),
            id: format!("tooluse_{name}"),
            arguments: String::new(),
            signature: None,
        })
    }

    #[test]
    fn parts_that_overlap_are_written_one_after_the_other() {
        let signature = Signature { of: Dialect::Gemini, text: "s".to_owned() };
        let frames = frames(vec![
            Event::Begin { id: None, model: "m".to_owned(), usage: None },
            begin(0, Content::text("")),
            begin(1, call("a")),
            begin(2, call("b")),
            add(2, Delta::Arguments("{}".to_owned())),
            add(1, Delta::Arguments("{\"x\":".to_owned())),
            add(1, Delta::Signature(signature)),
            Event::EndPart { choice: 0, part: 0 },
            Event::EndPart { choice: 0, part: 2 },
            add(1, Delta::Arguments("1}".to_owned())),
            Event::EndPart { choice: 0, part: 1 },
            Event::Usage(Usage { input_tokens: Some(1), output_tokens: Some(2), ..Usage::default() }),
            Event::Stop { choice: 0, stop: Stop::ToolUse },
            Event::ServiceTier(Tier::Flex),
            Event::End,
        ]);
        let expected = [
            ("messageStart", json!({"role": "assistant"})),
            (
                "contentBlockStart",
                json!({"start": {"toolUse": {"toolUseId": "tooluse_a", "name": "a"}}, "contentBlockIndex": 0}),
            ),
            ("contentBlockDelta", json!({"delta": {"toolUse": {"input": "{\"x\":"}}, "contentBlockIndex": 0})),
            ("contentBlockDelta", json!({"delta": {"toolUse": {"input": "1}"}}, "contentBlockIndex": 0})),
            ("contentBlockStop", json!({"contentBlockIndex": 0})),
            (
                "contentBlockDelta",
                json!({"delta": {"reasoningContent": {"redactedContent": "dG9sbGdhdGU6Z2VtaW5pOnM="}}, "contentBlockIndex": 1}),
            ),
            ("contentBlockStop", json!({"contentBlockIndex": 1})),
            (
                "contentBlockStart",
                json!({"start": {"toolUse": {"toolUseId": "tooluse_b", "name": "b"}}, "contentBlockIndex": 2}),
            ),
            ("contentBlockDelta", json!({"delta": {"toolUse": {"input": "{}"}}, "contentBlockIndex": 2})),
            ("contentBlockStop", json!({"contentBlockIndex": 2})),
            ("messageStop", json!({"stopReason": "tool_use"})),
            (
                "metadata",
                json!({"usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}, "metrics": {"latencyMs": 0},
                    "serviceTier": {"type": "flex"}}),
            ),
        ];
        assert_eq!(frames, expected.map(|(name, data)| (name.to_owned(), data)));
    }

    #[test]
    fn an_error_is_one_of_the_five_exceptions() {
        let cases = [
            ("overloaded_error", "serviceUnavailableException"),
            ("rate_limit_error", "throttlingException"),
            ("invalid_request_error", "validationException"),
            ("modelTimeoutException", "modelStreamErrorException"),
            ("whatever", "internalServerException"),
        ];
        for (kind, name) in cases {
            let error = StreamError { kind: kind.to_owned(), message: "m".to_owned(), ..StreamError::default() };
            assert_eq!(frames(vec![Event::Error(error)]), [(name.to_owned(), json!({"message": "m"}))]);
        }
    }
}
