//! Reads the events of a stream. Blocks follow each other on this wire, each with its index; the provider's own blocks are
//! handed on whole when they end. Pings, and whatever may be added, are passed over. A stream that ends without
//! `message_stop` was cut, and nothing is made up for it.

use serde_json::{Map, Value};
use tollgate_interaction::Dialect;

use super::super::answer::read_block;
use super::super::{citation, stop, usage};
use crate::chat::{Content, Delta, Event, Signature, Tier, ToolCall};
use crate::observe::StreamError;
use crate::translate::ReadStream;
use crate::usage::{AnthropicUsage, UsageReading};

#[derive(Debug, Default)]
pub(crate) struct Reader {
    begun: bool,
    stopped: bool,
    ended: bool,
    usage: AnthropicUsage,
    next_part: usize,
    /// Blocks that have not ended, by their index on the wire.
    open: Vec<(u64, Block)>,
}

/// A block that has begun.
#[derive(Debug)]
enum Block {
    /// Handed on piece by piece as this part; its signature, where it has one, comes whole at its end.
    Part { part: usize, signature: String },
    /// Handed on when it is whole.
    Whole { content: Content, input: String },
}

impl ReadStream for Reader {
    fn read(&mut self, _name: &[u8], data: &[u8], out: &mut Vec<Event>) {
        if self.ended {
            return;
        }
        // The `type` inside names the event as well as the line before it does.
        let Ok(Value::Object(mut event)) = serde_json::from_slice(data) else { return };
        let Some(Value::String(kind)) = event.remove("type") else { return };
        match kind.as_str() {
            "message_start" => self.begin(object(&mut event, "message"), out),
            "content_block_start" => self.begin_block(&mut event, out),
            "content_block_delta" => self.read_delta(&mut event, out),
            "content_block_stop" => self.end_block(index(&event), out),
            "message_delta" => self.read_message_delta(&mut event, out),
            "message_stop" => {
                self.close(out);
                self.ended = true;
                out.push(Event::End);
            }
            "error" => {
                self.ended = true;
                out.push(Event::Error(read_error(object(&mut event, "error"))));
            }
            _ => {}
        }
    }

    fn end(&mut self, _out: &mut Vec<Event>) {}
}

impl Reader {
    fn begin(&mut self, mut message: Map<String, Value>, out: &mut Vec<Event>) {
        if self.begun {
            return;
        }
        self.begun = true;
        let counted = message.remove("usage").unwrap_or_default();
        usage::read_over(&mut self.usage, &counted);
        let usage = UsageReading::Anthropic(self.usage).normalise();
        let id = Some(text(&mut message, "id")).filter(|id| !id.is_empty());
        let model = text(&mut message, "model");
        out.push(Event::Begin { id, model, usage: (!usage.is_empty()).then_some(usage) });
        let tier = counted.get("service_tier").and_then(Value::as_str).and_then(Tier::from_word);
        out.extend(tier.map(Event::ServiceTier));
    }

    fn begin_block(&mut self, event: &mut Map<String, Value>, out: &mut Vec<Event>) {
        let Some(content) = event.remove("content_block").and_then(read_block) else { return };
        self.begin(Map::new(), out);
        let index = index(event);
        self.end_block(index, out);
        match content {
            Content::Text { text, citations } => {
                let part = self.begin_part(index, Content::text(""), out);
                self.go_on(part, text, Delta::Text, out);
                out.extend(citations.into_iter().map(|cited| added(part, Delta::Citation(cited))));
            }
            Content::Thinking { text, signature } => {
                let part = self.begin_part(index, Content::Thinking { text: String::new(), signature: None }, out);
                self.go_on(part, text, Delta::Thinking, out);
                if let (Some(signature), Some((_, Block::Part { signature: known, .. }))) =
                    (signature, self.open.last_mut())
                {
                    *known = signature.text;
                }
            }
            Content::ToolCall(call) => {
                let arguments = call.arguments;
                let call = ToolCall { arguments: String::new(), ..call };
                let part = self.begin_part(index, Content::ToolCall(call), out);
                // The `{}` that announces the pieces is not the input; some servers send the whole of it here.
                self.go_on(part, if arguments == "{}" { String::new() } else { arguments }, Delta::Arguments, out);
            }
            content => self.open.push((index, Block::Whole { content, input: String::new() })),
        }
    }

    fn begin_part(&mut self, index: u64, content: Content, out: &mut Vec<Event>) -> usize {
        let part = self.next_part;
        self.next_part += 1;
        self.open.push((index, Block::Part { part, signature: String::new() }));
        out.push(Event::BeginPart { choice: 0, part, content });
        part
    }

    fn go_on(&self, part: usize, text: String, delta: fn(String) -> Delta, out: &mut Vec<Event>) {
        if !text.is_empty() {
            out.push(added(part, delta(text)));
        }
    }

    fn read_delta(&mut self, event: &mut Map<String, Value>, out: &mut Vec<Event>) {
        let mut delta = object(event, "delta");
        let index = index(event);
        let Some((_, block)) = self.open.iter_mut().find(|(open, _)| *open == index) else { return };
        let kind = text(&mut delta, "type");
        match block {
            Block::Part { part, signature } => {
                let part = *part;
                match kind.as_str() {
                    "text_delta" => self.go_on(part, text(&mut delta, "text"), Delta::Text, out),
                    "thinking_delta" => self.go_on(part, text(&mut delta, "thinking"), Delta::Thinking, out),
                    "input_json_delta" => self.go_on(part, text(&mut delta, "partial_json"), Delta::Arguments, out),
                    "signature_delta" => signature.push_str(&text(&mut delta, "signature")),
                    "citations_delta" => {
                        let cited = delta.remove("citation").and_then(citation::read);
                        out.extend(cited.map(|cited| added(part, Delta::Citation(cited))));
                    }
                    _ => {}
                }
            }
            Block::Whole { input, .. } if kind == "input_json_delta" => {
                input.push_str(&text(&mut delta, "partial_json"));
            }
            // Such as `compaction_delta`: its fields complete the block's.
            Block::Whole { content: Content::Native { value: Value::Object(block), .. }, .. } => block.extend(delta),
            Block::Whole { .. } => {}
        }
    }

    fn end_block(&mut self, index: u64, out: &mut Vec<Event>) {
        let Some(at) = self.open.iter().position(|(open, _)| *open == index) else { return };
        match self.open.remove(at).1 {
            Block::Part { part, signature } => {
                if !signature.is_empty() {
                    let signature = Signature { of: Dialect::Anthropic, text: signature };
                    out.push(added(part, Delta::Signature(signature)));
                }
                out.push(Event::EndPart { choice: 0, part });
            }
            Block::Whole { mut content, input } => {
                if let (Content::Native { value: Value::Object(block), .. }, Ok(input)) =
                    (&mut content, serde_json::from_str(&input))
                {
                    block.insert("input".to_owned(), input);
                }
                let part = self.next_part;
                self.next_part += 1;
                out.push(Event::BeginPart { choice: 0, part, content });
                out.push(Event::EndPart { choice: 0, part });
            }
        }
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        while let Some((index, _)) = self.open.first() {
            self.end_block(*index, out);
        }
    }

    fn read_message_delta(&mut self, event: &mut Map<String, Value>, out: &mut Vec<Event>) {
        self.begin(Map::new(), out);
        let mut delta = object(event, "delta");
        if let Some(stop) = stop::read(delta.remove("stop_reason"), delta.remove("stop_sequence"))
            && !self.stopped
        {
            self.stopped = true;
            self.close(out);
            out.push(Event::Stop { choice: 0, stop });
        }
        if let Some(counted) = event.remove("usage") {
            usage::read_over(&mut self.usage, &counted);
            out.push(Event::Usage(UsageReading::Anthropic(self.usage).normalise()));
        }
    }
}

fn added(part: usize, delta: Delta) -> Event {
    Event::Continue { choice: 0, part, delta }
}

fn index(event: &Map<String, Value>) -> u64 {
    event.get("index").and_then(Value::as_u64).unwrap_or(0)
}

fn object(fields: &mut Map<String, Value>, name: &str) -> Map<String, Value> {
    match fields.remove(name) {
        Some(Value::Object(object)) => object,
        _ => Map::new(),
    }
}

fn text(fields: &mut Map<String, Value>, name: &str) -> String {
    match fields.remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    }
}

fn read_error(mut error: Map<String, Value>) -> StreamError {
    let code = Some(text(&mut error, "code")).filter(|code| !code.is_empty());
    StreamError { kind: text(&mut error, "type"), code, message: text(&mut error, "message") }
}
