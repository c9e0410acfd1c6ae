//! Reads the events of a stream. It goes by the deltas and takes from the closing events only what no delta said, since
//! compatible servers leave out some of either.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};
use tollgate_interaction::Dialect;

use super::super::answer::{Ending, read_content, read_item, read_usage};
use super::super::content::{BETWEEN_THOUGHTS, read_citation, read_logprobs, take_items, take_text};
use crate::chat::{Content, Delta, Event, Part, Signature, Tier, ToolCall};
use crate::observe::{StreamError, bounded};
use crate::translate::ReadStream;

/// Reads a stream.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    begun: bool,
    ended: bool,
    next_part: usize,
    items: HashMap<u64, Item>,
    ending: Ending,
    /// Whether any item has been seen apart from the last event.
    saw_items: bool,
}

/// An item that has begun.
#[derive(Debug, Default)]
struct Item {
    /// Parts that have begun, by their index within the item: contents of a message; the only one of a call or a thought.
    parts: BTreeMap<u64, Open>,
    /// Which summary or content of a thought goes on, `true` for a summary.
    passage: Option<(bool, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    part: usize,
    /// Whether any of it came in deltas.
    wrote: bool,
    ended: bool,
}

impl ReadStream for Reader {
    fn read(&mut self, name: &[u8], data: &[u8], out: &mut Vec<Event>) {
        if self.ended {
            return;
        }
        let Ok(Value::Object(mut event)) = serde_json::from_slice(data) else { return };
        let mut kind = take_text(&mut event, "type");
        if kind.is_empty() {
            kind = String::from_utf8_lossy(name).into_owned();
        }
        match kind.as_str() {
            "response.created" | "response.in_progress" | "response.queued" => self.begin(&mut event, out),
            "response.completed" | "response.incomplete" | "response.failed" => self.finish(&kind, event, out),
            "error" => {
                event.insert("type".to_owned(), Value::String(kind));
                self.fail(read_error(event), out);
            }
            _ => self.piece(&kind, event, out),
        }
    }

    /// A whole stream has said so itself.
    fn end(&mut self, _out: &mut Vec<Event>) {}
}

impl Reader {
    fn begin(&mut self, event: &mut Map<String, Value>, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let (mut id, mut model) = (String::new(), String::new());
        if let Some(Value::Object(response)) = event.get_mut("response") {
            id = take_text(response, "id");
            model = take_text(response, "model");
        }
        out.push(Event::Begin { id: Some(id).filter(|id| !id.is_empty()), model, usage: None });
    }

    fn fail(&mut self, error: StreamError, out: &mut Vec<Event>) {
        self.ended = true;
        out.push(Event::Error(error));
    }

    fn piece(&mut self, kind: &str, mut event: Map<String, Value>, out: &mut Vec<Event>) {
        let count = |event: &Map<String, Value>, name: &str| event.get(name).and_then(Value::as_u64).unwrap_or(0);
        let item = count(&event, "output_index");
        let content = count(&event, "content_index");
        let summary = count(&event, "summary_index");
        match kind {
            "response.output_item.added" => {
                self.begin(&mut Map::new(), out);
                self.add_item(item, event.remove("item").unwrap_or_default(), out);
            }
            "response.output_item.done" => {
                self.begin(&mut Map::new(), out);
                self.end_item(item, event.remove("item").unwrap_or_default(), out);
            }
            "response.content_part.added" => {
                let Some(Value::Object(part)) = event.get_mut("part") else { return };
                match take_text(part, "type").as_str() {
                    "output_text" => {
                        self.open(item, content, Content::text(""), out);
                    }
                    "refusal" => {
                        self.open(item, content, Content::Refusal(String::new()), out);
                    }
                    // Passages of one thought, which ends with its item.
                    "reasoning_text" => {
                        self.open(item, 0, empty_thought(), out);
                    }
                    _ => {}
                }
            }
            "response.content_part.done" => {
                let kind = event.get("part").and_then(|part| part.get("type")).and_then(Value::as_str);
                if kind != Some("reasoning_text") {
                    self.close(item, content, out);
                }
            }
            "response.output_text.delta" => {
                self.write_text(item, content, Content::text(""), take_text(&mut event, "delta"), out);
                let logprobs = read_logprobs(event.get("logprobs"));
                if !logprobs.is_empty() {
                    out.push(Event::Logprobs { choice: 0, logprobs });
                }
            }
            "response.output_text.done" => {
                let text = take_text(&mut event, "text");
                self.write_unsaid(item, content, Content::text(""), text, out);
            }
            "response.output_text.annotation.added" => {
                if let Some(citation) = event.get("annotation").and_then(read_citation) {
                    let part = self.open(item, content, Content::text(""), out);
                    out.push(Event::Continue { choice: 0, part, delta: Delta::Citation(citation) });
                }
            }
            "response.refusal.delta" => {
                let delta = take_text(&mut event, "delta");
                self.write_text(item, content, Content::Refusal(String::new()), delta, out);
            }
            "response.refusal.done" => {
                let text = take_text(&mut event, "refusal");
                self.write_unsaid(item, content, Content::Refusal(String::new()), text, out);
            }
            "response.function_call_arguments.delta" => {
                self.write_arguments(item, take_text(&mut event, "delta"), false, out);
            }
            "response.function_call_arguments.done" => {
                self.write_arguments(item, take_text(&mut event, "arguments"), true, out);
            }
            "response.custom_tool_call_input.delta" => {
                self.write_arguments(item, take_text(&mut event, "delta"), false, out);
            }
            "response.custom_tool_call_input.done" => {
                self.write_arguments(item, take_text(&mut event, "input"), true, out);
            }
            "response.reasoning_summary_part.added" => {
                self.open(item, 0, empty_thought(), out);
            }
            "response.reasoning_summary_text.delta" => {
                self.write_thoughts(item, (true, summary), take_text(&mut event, "delta"), false, out);
            }
            "response.reasoning_summary_text.done" => {
                self.write_thoughts(item, (true, summary), take_text(&mut event, "text"), true, out);
            }
            "response.reasoning_text.delta" => {
                self.write_thoughts(item, (false, content), take_text(&mut event, "delta"), false, out);
            }
            "response.reasoning_text.done" => {
                self.write_thoughts(item, (false, content), take_text(&mut event, "text"), true, out);
            }
            // Progress of the provider's own tools: their items come whole.
            _ => {}
        }
    }

    fn add_item(&mut self, index: u64, item: Value, out: &mut Vec<Event>) {
        self.saw_items = true;
        self.items.entry(index).or_default();
        let Value::Object(mut item) = item else { return };
        let begin = match take_text(&mut item, "type").as_str() {
            "function_call" => Content::ToolCall,
            "custom_tool_call" => Content::CustomCall,
            _ => return,
        };
        let call = ToolCall {
            id: take_text(&mut item, "call_id"),
            name: take_text(&mut item, "name"),
            arguments: String::new(),
            signature: None,
        };
        self.open(index, 0, begin(call), out);
    }

    /// The number of a part, which begins with `empty` if it has not.
    fn open(&mut self, item: u64, index: u64, empty: Content, out: &mut Vec<Event>) -> usize {
        self.begin(&mut Map::new(), out);
        self.saw_items = true;
        let next_part = &mut self.next_part;
        let open = self.items.entry(item).or_default().parts.entry(index).or_insert_with(|| {
            let part = *next_part;
            *next_part += 1;
            out.push(Event::BeginPart { choice: 0, part, content: empty });
            Open { part, wrote: false, ended: false }
        });
        open.part
    }

    fn close(&mut self, item: u64, index: u64, out: &mut Vec<Event>) {
        let open = self.items.get_mut(&item).and_then(|item| item.parts.get_mut(&index));
        if let Some(open) = open.filter(|open| !open.ended) {
            open.ended = true;
            out.push(Event::EndPart { choice: 0, part: open.part });
        }
    }

    /// Whether a part has come in deltas, or has ended; notes that it does now.
    fn note_written(&mut self, item: u64, index: u64) -> bool {
        let open = self.items.get_mut(&item).and_then(|item| item.parts.get_mut(&index));
        open.is_some_and(|open| std::mem::replace(&mut open.wrote, true) || open.ended)
    }

    fn write_text(&mut self, item: u64, index: u64, empty: Content, text: String, out: &mut Vec<Event>) {
        let part = self.open(item, index, empty, out);
        if text.is_empty() {
            return;
        }
        self.note_written(item, index);
        out.push(Event::Continue { choice: 0, part, delta: Delta::Text(text) });
    }

    /// Writes a whole text of which no delta came.
    fn write_unsaid(&mut self, item: u64, index: u64, empty: Content, text: String, out: &mut Vec<Event>) {
        let part = self.open(item, index, empty, out);
        if !text.is_empty() && !self.note_written(item, index) {
            out.push(Event::Continue { choice: 0, part, delta: Delta::Text(text) });
        }
    }

    fn write_arguments(&mut self, item: u64, arguments: String, whole: bool, out: &mut Vec<Event>) {
        let Some(open) = self.items.get(&item).and_then(|item| item.parts.get(&0)).copied() else { return };
        if arguments.is_empty() || open.ended || (whole && open.wrote) {
            return;
        }
        self.note_written(item, 0);
        out.push(Event::Continue { choice: 0, part: open.part, delta: Delta::Arguments(arguments) });
    }

    fn write_thoughts(&mut self, item: u64, passage: (bool, u64), text: String, whole: bool, out: &mut Vec<Event>) {
        let part = self.open(item, 0, empty_thought(), out);
        let state = self.items.entry(item).or_default();
        let goes_on = state.passage == Some(passage);
        if (goes_on && whole) || text.is_empty() {
            return;
        }
        let text = if state.passage.is_some() && !goes_on { [BETWEEN_THOUGHTS, text.as_str()].concat() } else { text };
        state.passage = Some(passage);
        self.note_written(item, 0);
        out.push(Event::Continue { choice: 0, part, delta: Delta::Thinking(text) });
    }

    /// Closes an item, and says what of it has not been said.
    fn end_item(&mut self, index: u64, item: Value, out: &mut Vec<Event>) {
        self.saw_items = true;
        self.ending.note(&item);
        let state = self.items.remove(&index).unwrap_or_default();
        let kind = item.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        if state.parts.is_empty() {
            let (parts, logprobs) = read_item(item);
            parts.into_iter().for_each(|part| self.say(part, out));
            if !logprobs.is_empty() {
                out.push(Event::Logprobs { choice: 0, logprobs });
            }
            return;
        }
        let first = state.parts.get(&0).map_or(0, |open| open.part);
        self.items.insert(index, state);
        let Value::Object(mut item) = item else { return };
        match kind.as_str() {
            "message" => self.say_contents(index, take_items(&mut item, "content"), out),
            "function_call" => self.write_arguments(index, take_text(&mut item, "arguments"), true, out),
            "custom_tool_call" => self.write_arguments(index, take_text(&mut item, "input"), true, out),
            "reasoning" => {
                let encrypted = take_text(&mut item, "encrypted_content");
                if !encrypted.is_empty() {
                    let signature = Signature::unwrapped(encrypted, Dialect::Responses);
                    out.push(Event::Continue { choice: 0, part: first, delta: Delta::Signature(signature) });
                }
            }
            _ => {}
        }
        let state = self.items.remove(&index).unwrap_or_default();
        let open = state.parts.into_values().filter(|open| !open.ended);
        out.extend(open.map(|open| Event::EndPart { choice: 0, part: open.part }));
    }

    /// Says those contents of a message that never began.
    fn say_contents(&mut self, item: u64, contents: Vec<Value>, out: &mut Vec<Event>) {
        for (index, content) in contents.into_iter().enumerate() {
            let began = self.items.get(&item).is_some_and(|item| item.parts.contains_key(&(index as u64)));
            if !began && let Some(content) = read_content(content) {
                self.say(Part::new(content, ""), out);
            }
        }
    }

    /// Says a part that came whole.
    fn say(&mut self, part: Part, out: &mut Vec<Event>) {
        let number = self.next_part;
        self.next_part += 1;
        let (content, deltas) = in_pieces(part.content);
        out.push(Event::BeginPart { choice: 0, part: number, content });
        out.extend(deltas.into_iter().map(|delta| Event::Continue { choice: 0, part: number, delta }));
        out.push(Event::EndPart { choice: 0, part: number });
    }

    fn finish(&mut self, kind: &str, mut event: Map<String, Value>, out: &mut Vec<Event>) {
        self.begin(&mut event, out);
        let Some(Value::Object(mut response)) = event.remove("response") else { return };
        if kind == "response.failed" {
            let error = match response.remove("error") {
                Some(Value::Object(error)) => read_error(error),
                _ => StreamError { kind: "server_error".to_owned(), ..StreamError::default() },
            };
            return self.fail(error, out);
        }
        self.ended = true;
        let usage = read_usage(&response);
        if !self.saw_items {
            take_items(&mut response, "output").into_iter().for_each(|item| self.end_item(u64::MAX, item, out));
        }
        let open = self.items.drain().flat_map(|(_, item)| item.parts.into_values()).filter(|open| !open.ended);
        let mut open: Vec<usize> = open.map(|open| open.part).collect();
        open.sort_unstable();
        out.extend(open.into_iter().map(|part| Event::EndPart { choice: 0, part }));
        out.push(Event::Stop { choice: 0, stop: self.ending.stop(&response) });
        out.extend(usage.map(Event::Usage));
        out.extend(Tier::from_word(&take_text(&mut response, "service_tier")).map(Event::ServiceTier));
        out.push(Event::End);
    }
}

fn empty_thought() -> Content {
    Content::Thinking { text: String::new(), signature: None }
}

/// Content as it begins in a stream, and what is added to it.
fn in_pieces(content: Content) -> (Content, Vec<Delta>) {
    match content {
        Content::Text { text, citations } => {
            let citations = citations.into_iter().map(Delta::Citation);
            (Content::text(""), written(text, Delta::Text).into_iter().chain(citations).collect())
        }
        Content::Refusal(text) => (Content::Refusal(String::new()), written(text, Delta::Text).into_iter().collect()),
        Content::Thinking { text, signature } => {
            let signature = signature.map(Delta::Signature);
            (empty_thought(), written(text, Delta::Thinking).into_iter().chain(signature).collect())
        }
        Content::ToolCall(mut call) => {
            let arguments = std::mem::take(&mut call.arguments);
            (Content::ToolCall(call), written(arguments, Delta::Arguments).into_iter().collect())
        }
        Content::CustomCall(mut call) => {
            let input = std::mem::take(&mut call.arguments);
            (Content::CustomCall(call), written(input, Delta::Arguments).into_iter().collect())
        }
        whole @ (Content::Image { .. }
        | Content::Audio(_)
        | Content::Video(_)
        | Content::Document { .. }
        | Content::ToolResult(_)
        | Content::Redacted(_)
        | Content::Native { .. }) => (whole, Vec::new()),
    }
}

fn written(text: String, delta: fn(String) -> Delta) -> Option<Delta> {
    Some(text).filter(|text| !text.is_empty()).map(delta)
}

/// Reads an error: of an `error` event, whose reference has its fields beside the type and whose servers put them into
/// an `error`, or of a failed response.
fn read_error(mut event: Map<String, Value>) -> StreamError {
    if let Some(Value::Object(error)) = event.remove("error") {
        return read_error(error);
    }
    let code = match event.remove("code") {
        Some(Value::String(code)) => Some(code),
        Some(Value::Number(code)) => Some(code.to_string()),
        _ => None,
    };
    let kind = take_text(&mut event, "type");
    StreamError {
        kind: bounded(&kind),
        code: code.map(|code| bounded(&code)),
        message: bounded(&take_text(&mut event, "message")),
    }
}
