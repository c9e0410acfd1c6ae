//! Writes the events of a stream, in the order in which OpenAI's servers send them. It keeps what it has written, since
//! every closing event repeats it and the last one repeats all of it.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use tollgate_interaction::{Dialect, Usage};

use super::super::content::{write_citation, write_logprobs};
use super::super::output::{self, Envelope};
use super::super::write_event;
use crate::chat::{Content, Delta, Event, Signature, Source, Stop, TokenLogprob, ToolCall};
use crate::observe::StreamError;
use crate::translate::{Asked, WriteStream};

/// Writes a stream.
#[derive(Debug)]
pub(crate) struct Writer {
    asked: Asked,
    id: String,
    model: String,
    sequence: u64,
    begun: bool,
    /// Items of the output, by their index in it.
    items: Vec<Item>,
    /// Where each part of each answer is.
    places: HashMap<(usize, usize), Place>,
    /// Calls that have not been announced.
    waiting: HashMap<(usize, usize), ToolCall>,
    /// The message that further text joins: whose answer's, and its index.
    message: Option<(usize, usize)>,
    /// The part of each answer that was written to last, for log probabilities.
    last_text: HashMap<usize, (usize, usize)>,
    stop: Option<Stop>,
    refusal: bool,
    usage: Option<Usage>,
    service_tier: Option<String>,
}

/// An item of the output.
#[derive(Debug)]
enum Item {
    Message { id: String, contents: Vec<Piece> },
    Call { id: String, call: ToolCall },
    Thought { id: String, text: String, shown: bool, signature: Option<Signature> },
    Whole(Value),
}

/// A text or a refusal in a message.
#[derive(Debug)]
struct Piece {
    text: String,
    length: u64,
    refusal: bool,
    annotations: Vec<Value>,
    logprobs: Vec<TokenLogprob>,
}

/// Where a part is in the output.
#[derive(Clone, Copy, Debug)]
enum Place {
    Text {
        item: usize,
        content: usize,
    },
    Call {
        item: usize,
    },
    /// A call that has not been announced: its signature may come before its arguments, and goes before it.
    Waiting,
    Thought {
        item: usize,
    },
    Nowhere,
}

impl Writer {
    /// For an answer to what was `asked`.
    pub(crate) fn new(asked: Asked) -> Self {
        Writer {
            id: format!("resp_{}", asked.id),
            model: asked.model.clone(),
            asked,
            sequence: 0,
            begun: false,
            items: Vec::new(),
            places: HashMap::new(),
            waiting: HashMap::new(),
            message: None,
            last_text: HashMap::new(),
            stop: None,
            refusal: false,
            usage: None,
            service_tier: None,
        }
    }
}

impl WriteStream for Writer {
    fn write(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Begin { id, model, usage } => self.begin(id, model, usage, out),
            Event::BeginPart { choice, part, content } => self.begin_part((choice, part), content, out),
            Event::Continue { choice, part, delta } => self.go_on((choice, part), delta, out),
            Event::EndPart { choice, part } => self.end_part((choice, part), out),
            Event::Logprobs { choice, logprobs } => self.logprobs(choice, logprobs, out),
            Event::Stop { choice, stop } => {
                let status = output::status(Some(stop.clone()), self.refusal).0;
                self.end_choice(choice, status, out);
                self.stop = Some(stop);
            }
            Event::Usage(usage) => self.usage = Some(usage),
            Event::ServiceTier(tier) => self.service_tier = Some(tier),
            Event::End => self.finish(out),
            Event::Error(error) => self.fail(error, out),
        }
    }
}

impl Writer {
    fn emit<'f>(&mut self, name: &str, fields: impl IntoIterator<Item = (&'f str, Value)>, out: &mut Vec<u8>) {
        let mut data = Map::new();
        data.insert("type".to_owned(), Value::from(name));
        data.insert("sequence_number".to_owned(), Value::from(self.sequence));
        data.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
        self.sequence += 1;
        write_event(name, &Value::Object(data), out);
    }

    fn response(&self, status: &'static str, incomplete: Option<String>, error: Value, output: Vec<Value>) -> Value {
        let done = status != "in_progress";
        let envelope = Envelope {
            id: &self.id,
            created_at_s: self.asked.created_at_s,
            model: &self.model,
            status,
            incomplete,
            error,
            output,
            usage: self.usage.filter(|_| done),
            service_tier: self.service_tier.as_deref(),
        };
        envelope.into_value()
    }

    fn begin(&mut self, id: Option<String>, model: String, usage: Option<Usage>, out: &mut Vec<u8>) {
        if let Some(id) = id {
            self.id = id;
        }
        if !model.is_empty() {
            self.model = model;
        }
        self.usage = usage;
        self.begun = true;
        for name in ["response.created", "response.in_progress"] {
            let response = self.response("in_progress", None, Value::Null, Vec::new());
            self.emit(name, [("response", response)], out);
        }
    }

    fn begin_part(&mut self, at: (usize, usize), content: Content, out: &mut Vec<u8>) {
        let place = match content {
            Content::Text { text, citations } => {
                let place = self.begin_text(at.0, false, out);
                self.places.insert(at, place);
                self.go_on(at, Delta::Text(text), out);
                citations.into_iter().for_each(|citation| self.go_on(at, Delta::Citation(citation), out));
                return;
            }
            Content::Refusal(text) => {
                let place = self.begin_text(at.0, true, out);
                self.places.insert(at, place);
                return self.go_on(at, Delta::Text(text), out);
            }
            Content::ToolCall(call) => {
                self.waiting.insert(at, call);
                Place::Waiting
            }
            Content::Thinking { text, signature } => {
                self.end_message(at.0, "completed", out);
                let id = self.item_id("rs");
                self.add_item(output::reasoning(&id, None, None), "in_progress", out);
                self.items.push(Item::Thought { id, text: String::new(), shown: false, signature });
                self.places.insert(at, Place::Thought { item: self.items.len() - 1 });
                return self.go_on(at, Delta::Thinking(text), out);
            }
            whole => {
                self.end_message(at.0, "completed", out);
                self.whole(whole, out);
                Place::Nowhere
            }
        };
        self.places.insert(at, place);
    }

    /// Writes what comes whole, as an item of its own.
    fn whole(&mut self, content: Content, out: &mut Vec<u8>) {
        let item = match content {
            Content::Redacted(signature) => output::reasoning(&self.item_id("rs"), None, Some(&signature)),
            Content::Image { source: Source::Base64 { media_type, base64 }, .. } => {
                output::image(&self.item_id("ig"), &media_type, base64)
            }
            Content::Native { dialect: Dialect::Responses, value, .. } => value,
            // As in a whole answer: none of these comes unless it was asked for.
            Content::Text { .. }
            | Content::Refusal(_)
            | Content::ToolCall(_)
            | Content::Thinking { .. }
            | Content::Image { .. }
            | Content::Audio(_)
            | Content::Video(_)
            | Content::Document { .. }
            | Content::ToolResult(_)
            | Content::Native { .. } => return,
        };
        self.add_item(item.clone(), "in_progress", out);
        self.items.push(Item::Whole(item));
        self.end_item(self.items.len() - 1, "completed", out);
    }

    /// Opens a text in the answer's message, which is opened if there is none.
    fn begin_text(&mut self, choice: usize, refusal: bool, out: &mut Vec<u8>) -> Place {
        self.refusal |= refusal;
        let item = match self.message {
            Some((whose, item)) if whose == choice => item,
            other => {
                if let Some((whose, _)) = other {
                    self.end_message(whose, "completed", out);
                }
                let id = self.item_id("msg");
                self.add_item(output::message(&id, "in_progress", Vec::new()), "in_progress", out);
                self.items.push(Item::Message { id, contents: Vec::new() });
                self.message = Some((choice, self.items.len() - 1));
                self.items.len() - 1
            }
        };
        let Some(Item::Message { contents, id }) = self.items.get_mut(item) else { return Place::Nowhere };
        let content = contents.len();
        let piece = Piece { text: String::new(), length: 0, refusal, annotations: Vec::new(), logprobs: Vec::new() };
        let part = piece.value();
        contents.push(piece);
        let fields = place_fields(id, item, content);
        self.emit("response.content_part.added", with(fields, ("part", part)), out);
        Place::Text { item, content }
    }

    fn go_on(&mut self, at: (usize, usize), delta: Delta, out: &mut Vec<u8>) {
        match self.places.get(&at).copied() {
            Some(Place::Text { item, content }) => self.go_on_with_text(at.0, item, content, delta, out),
            Some(Place::Waiting) => match delta {
                Delta::Arguments(_) => {
                    self.announce_call(at, out);
                    self.go_on(at, delta, out);
                }
                Delta::Signature(signature) => {
                    if let Some(call) = self.waiting.get_mut(&at) {
                        call.signature = Some(signature);
                    }
                }
                Delta::Text(_) | Delta::Thinking(_) | Delta::Citation(_) => {}
            },
            Some(Place::Call { item }) => self.go_on_with_call(item, delta, out),
            Some(Place::Thought { item }) => match delta {
                Delta::Thinking(text) => self.write_thought(item, text, out),
                Delta::Signature(given) => {
                    if let Some(Item::Thought { signature, .. }) = self.items.get_mut(item) {
                        *signature = Some(given);
                    }
                }
                Delta::Text(_) | Delta::Arguments(_) | Delta::Citation(_) => {}
            },
            Some(Place::Nowhere) | None => {}
        }
    }

    fn go_on_with_text(&mut self, choice: usize, item: usize, content: usize, delta: Delta, out: &mut Vec<u8>) {
        match delta {
            Delta::Text(text) => {
                self.last_text.insert(choice, (item, content));
                self.write_text(item, content, text, out);
            }
            Delta::Citation(citation) => {
                let Some((piece, fields)) = piece(&mut self.items, item, content) else { return };
                let annotation = write_citation(citation, piece.length);
                let index = ("annotation_index", Value::from(piece.annotations.len()));
                piece.annotations.push(annotation.clone());
                let fields = with(with(fields, index), ("annotation", annotation));
                self.emit("response.output_text.annotation.added", fields, out);
            }
            Delta::Arguments(_) | Delta::Thinking(_) | Delta::Signature(_) => {}
        }
    }

    fn go_on_with_call(&mut self, item: usize, delta: Delta, out: &mut Vec<u8>) {
        let Some(Item::Call { id, call }) = self.items.get_mut(item) else { return };
        match delta {
            Delta::Arguments(delta) if !delta.is_empty() => {
                call.arguments.push_str(&delta);
                let fields = with(item_fields(id, item), ("delta", Value::String(delta)));
                self.emit("response.function_call_arguments.delta", fields, out);
            }
            Delta::Signature(signature) => call.signature = Some(signature),
            Delta::Arguments(_) | Delta::Text(_) | Delta::Thinking(_) | Delta::Citation(_) => {}
        }
    }

    fn write_text(&mut self, item: usize, content: usize, text: String, out: &mut Vec<u8>) {
        let Some((piece, fields)) = piece(&mut self.items, item, content) else { return };
        if text.is_empty() {
            return;
        }
        piece.text.push_str(&text);
        piece.length += text.chars().count() as u64;
        let refusal = piece.refusal;
        let fields = with(fields, ("delta", Value::String(text)));
        match refusal {
            true => self.emit("response.refusal.delta", fields, out),
            false => self.emit("response.output_text.delta", with(fields, ("logprobs", json!([]))), out),
        }
    }

    fn logprobs(&mut self, choice: usize, logprobs: Vec<TokenLogprob>, out: &mut Vec<u8>) {
        // They come after their text, which has been passed on: an empty delta carries them.
        let Some((item, content)) = self.last_text.get(&choice).copied() else { return };
        let Some((piece, fields)) = piece(&mut self.items, item, content) else { return };
        let value = write_logprobs(&logprobs);
        piece.logprobs.extend(logprobs);
        let fields = with(with(fields, ("delta", Value::from(""))), ("logprobs", value));
        self.emit("response.output_text.delta", fields, out);
    }

    fn write_thought(&mut self, item: usize, delta: String, out: &mut Vec<u8>) {
        if delta.is_empty() {
            return;
        }
        self.show_thought(item, out);
        let Some(Item::Thought { id, text, .. }) = self.items.get_mut(item) else { return };
        text.push_str(&delta);
        let fields = with(summary_fields(id, item), ("delta", Value::String(delta)));
        self.emit("response.reasoning_summary_text.delta", fields, out);
    }

    /// Opens the summary of a thought.
    fn show_thought(&mut self, item: usize, out: &mut Vec<u8>) {
        let Some(Item::Thought { id, shown, .. }) = self.items.get_mut(item) else { return };
        if std::mem::replace(shown, true) {
            return;
        }
        let fields = with(summary_fields(id, item), ("part", output::summary_text(String::new())));
        self.emit("response.reasoning_summary_part.added", fields, out);
    }

    /// Announces a call, behind the thought whose signature it has.
    fn announce_call(&mut self, at: (usize, usize), out: &mut Vec<u8>) {
        let Some(mut call) = self.waiting.remove(&at) else { return };
        self.end_message(at.0, "completed", out);
        if let Some(signature) = call.signature.take() {
            self.sign_call(&call.id, &signature, out);
        }
        let arguments = std::mem::take(&mut call.arguments);
        let id = self.item_id("fc");
        self.add_item(output::call(&id, "in_progress", &call.id, &call.name, ""), "in_progress", out);
        self.items.push(Item::Call { id, call });
        self.places.insert(at, Place::Call { item: self.items.len() - 1 });
        self.go_on(at, Delta::Arguments(arguments), out);
    }

    fn sign_call(&mut self, call_id: &str, signature: &Signature, out: &mut Vec<u8>) {
        let item = output::reasoning(&output::thought_of_call(call_id), None, Some(signature));
        self.add_item(item.clone(), "in_progress", out);
        self.items.push(Item::Whole(item));
        self.end_item(self.items.len() - 1, "completed", out);
    }

    fn end_part(&mut self, at: (usize, usize), out: &mut Vec<u8>) {
        self.announce_call(at, out);
        match self.places.remove(&at) {
            Some(Place::Text { item, content }) => self.end_text(item, content, out),
            Some(Place::Call { item }) => self.end_call(item, out),
            Some(Place::Thought { item }) => {
                self.show_thought(item, out);
                let Some(Item::Thought { id, text, .. }) = self.items.get(item) else { return };
                let (fields, whole) = (summary_fields(id, item), text.clone());
                let done = with(fields.clone(), ("text", Value::String(whole.clone())));
                self.emit("response.reasoning_summary_text.done", done, out);
                let done = with(fields, ("part", output::summary_text(whole)));
                self.emit("response.reasoning_summary_part.done", done, out);
                self.end_item(item, "completed", out);
            }
            Some(Place::Waiting | Place::Nowhere) | None => {}
        }
    }

    fn end_text(&mut self, item: usize, content: usize, out: &mut Vec<u8>) {
        let Some((piece, fields)) = piece(&mut self.items, item, content) else { return };
        let (text, part) = (Value::String(piece.text.clone()), piece.value());
        match piece.refusal {
            true => self.emit("response.refusal.done", with(fields.clone(), ("refusal", text)), out),
            false => {
                let logprobs = ("logprobs", write_logprobs(&piece.logprobs));
                let done = with(with(fields.clone(), ("text", text)), logprobs);
                self.emit("response.output_text.done", done, out);
            }
        }
        self.emit("response.content_part.done", with(fields, ("part", part)), out);
        // A message that nothing can join any more ends with its last text.
        let is_open = |place: &Place| matches!(place, Place::Text { item: other, .. } if *other == item);
        let joinable = self.message.is_some_and(|(_, message)| message == item);
        if !joinable && !self.places.values().any(is_open) {
            self.end_item(item, "completed", out);
        }
    }

    fn end_call(&mut self, item: usize, out: &mut Vec<u8>) {
        let Some(Item::Call { id, call }) = self.items.get_mut(item) else { return };
        let (call_id, late) = (call.id.clone(), call.signature.take());
        let arguments = ("arguments", Value::from(call.arguments.as_str()));
        let fields = with(with(item_fields(id, item), arguments), ("name", Value::from(call.name.as_str())));
        self.emit("response.function_call_arguments.done", fields, out);
        self.end_item(item, "completed", out);
        if let Some(signature) = late {
            self.sign_call(&call_id, &signature, out);
        }
    }

    /// Lets nothing more join the answer's message, and closes it if all of its texts have ended.
    fn end_message(&mut self, choice: usize, status: &str, out: &mut Vec<u8>) {
        let Some((_, item)) = self.message.take_if(|(whose, _)| *whose == choice) else { return };
        let is_open = |place: &Place| matches!(place, Place::Text { item: other, .. } if *other == item);
        if !self.places.values().any(is_open) {
            self.end_item(item, status, out);
        }
    }

    /// Ends what is still open of an answer.
    fn end_choice(&mut self, choice: usize, status: &str, out: &mut Vec<u8>) {
        let mut open: Vec<_> = self.places.keys().filter(|(whose, _)| *whose == choice).copied().collect();
        open.sort_unstable();
        open.into_iter().for_each(|at| self.end_part(at, out));
        self.end_message(choice, status, out);
    }

    fn item_id(&self, prefix: &str) -> String {
        format!("{prefix}_{}_{}", self.asked.id, self.items.len())
    }

    /// Announces the item that is pushed next.
    fn add_item(&mut self, mut item: Value, status: &str, out: &mut Vec<u8>) {
        if item.get("type").is_some_and(|kind| kind != "message" && kind != "function_call") {
            item["status"] = Value::from(status);
        }
        let index = Value::from(self.items.len());
        self.emit("response.output_item.added", [("output_index", index), ("item", item)], out);
    }

    fn end_item(&mut self, item: usize, status: &str, out: &mut Vec<u8>) {
        let Some(open) = self.items.get_mut(item) else { return };
        let value = open.value(status);
        *open = Item::Whole(value.clone());
        self.emit("response.output_item.done", [("output_index", Value::from(item)), ("item", value)], out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        let mut choices: Vec<usize> = self.places.keys().map(|(choice, _)| *choice).collect();
        choices.extend(self.message.map(|(choice, _)| choice));
        choices.sort_unstable();
        choices.into_iter().for_each(|choice| self.end_choice(choice, "completed", out));
        let (status, reason) = output::status(self.stop.take(), self.refusal);
        let items = self.output();
        let response = self.response(status, reason, Value::Null, items);
        let name = if status == "completed" { "response.completed" } else { "response.incomplete" };
        self.emit(name, [("response", response)], out);
    }

    /// Everything written so far.
    fn output(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.items).iter_mut().map(|item| item.value("incomplete")).collect()
    }

    /// An `error`, by which client libraries raise an exception, and a response that has failed, for which others wait.
    fn fail(&mut self, error: StreamError, out: &mut Vec<u8>) {
        let StreamError { kind, code, message } = error;
        let code = code.or_else(|| Some(kind.clone()).filter(|kind| !kind.is_empty()));
        let code = code.unwrap_or_else(|| "server_error".to_owned());
        let kind = if kind.is_empty() { "server_error".to_owned() } else { kind };
        let detail = json!({"type": kind, "code": code, "message": message, "param": null});
        let fields = [
            ("code", Value::from(code.as_str())),
            ("message", Value::from(message.as_str())),
            ("param", Value::Null),
            ("error", detail),
        ];
        self.emit("error", fields, out);
        if self.begun {
            let items = self.output();
            let response = self.response("failed", None, json!({"code": code, "message": message}), items);
            self.emit("response.failed", [("response", response)], out);
        }
    }
}

impl Item {
    /// The item as it stands in the output; what is open of it is moved out.
    fn value(&mut self, status: &str) -> Value {
        match self {
            Item::Message { id, contents } => {
                output::message(id, status, contents.drain(..).map(|piece| piece.value()).collect())
            }
            Item::Call { id, call } => output::call(id, status, &call.id, &call.name, &call.arguments),
            Item::Thought { id, text, shown, signature } => {
                let text = shown.then(|| std::mem::take(text));
                output::reasoning(id, text, signature.as_ref())
            }
            Item::Whole(value) => value.take(),
        }
    }
}

impl Piece {
    fn value(&self) -> Value {
        match self.refusal {
            true => output::refusal(self.text.clone()),
            false => output::annotated_text(self.text.clone(), self.annotations.clone(), &self.logprobs),
        }
    }
}

/// Fields of an event.
type Fields = Vec<(&'static str, Value)>;

/// A text in a message, and the fields that say where it is.
fn piece(items: &mut [Item], item: usize, content: usize) -> Option<(&mut Piece, Fields)> {
    let Some(Item::Message { id, contents }) = items.get_mut(item) else { return None };
    let fields = place_fields(id, item, content);
    Some((contents.get_mut(content)?, fields))
}

fn item_fields(id: &str, item: usize) -> Fields {
    vec![("item_id", Value::from(id)), ("output_index", Value::from(item))]
}

fn place_fields(id: &str, item: usize, content: usize) -> Fields {
    with(item_fields(id, item), ("content_index", Value::from(content)))
}

fn summary_fields(id: &str, item: usize) -> Fields {
    with(item_fields(id, item), ("summary_index", Value::from(0)))
}

fn with(mut fields: Fields, field: (&'static str, Value)) -> Fields {
    fields.push(field);
    fields
}
