//! Writes the events of a stream, in the order in which OpenAI's servers send them. It keeps what it has written, since
//! every closing event repeats it and the last one repeats all of it. Items stand in the order in which their parts began,
//! as in a whole answer; what a text cites is told when the text has ended, because only then it is known how far it goes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tollgate_interaction::{Dialect, Usage};

use super::super::content::{write_citation, write_logprobs};
use super::super::output::{self, Envelope, Status};
use super::super::write_event;
use crate::chat::{Citation, Content, Delta, Event, Signature, Source, Stop, Tier, TokenLogprob, ToolCall};
use crate::failure;
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
    /// Where each part is.
    places: BTreeMap<usize, Place>,
    /// The call that has not been announced, and its part.
    waiting: Option<(usize, ToolCall)>,
    /// Index of the message that further text joins.
    message: Option<usize>,
    /// The text that was written to last, for log probabilities.
    last_text: Option<(usize, usize)>,
    stop: Option<Stop>,
    refusal: bool,
    usage: Option<Usage>,
    service_tier: Option<Tier>,
}

/// An item of the output.
#[derive(Debug)]
enum Item {
    Message { id: String, contents: Vec<Piece> },
    Call { id: String, call: ToolCall },
    Custom { id: String, call: ToolCall },
    Thought { id: String, text: String, shown: bool, signature: Option<Signature> },
    Whole(Value),
}

/// A text or a refusal in a message.
#[derive(Debug)]
struct Piece {
    text: String,
    length: u64,
    refusal: bool,
    /// What it cites, until it ends.
    citations: Vec<Citation>,
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
    Custom {
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
            places: BTreeMap::new(),
            waiting: None,
            message: None,
            last_text: None,
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
            Event::BeginPart { choice: 0, part, content } => self.begin_part(part, content, out),
            Event::Continue { choice: 0, part, delta } => self.go_on(part, delta, out),
            Event::EndPart { choice: 0, part } => self.end_part(part, out),
            Event::Logprobs { choice: 0, logprobs } => self.logprobs(logprobs, out),
            Event::Stop { choice: 0, stop } => {
                self.end_all(Status::of(Some(&stop), self.refusal).item_word(), out);
                self.stop = Some(stop);
            }
            // The API has one answer, and a caller cannot have asked for more.
            Event::BeginPart { .. }
            | Event::Continue { .. }
            | Event::EndPart { .. }
            | Event::Logprobs { .. }
            | Event::Stop { .. } => {}
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

    fn response(&self, status: Status, error: Value, output: Vec<Value>) -> Value {
        let done = status != Status::InProgress;
        let envelope = Envelope {
            id: &self.id,
            created_at_s: self.asked.created_at_s,
            model: &self.model,
            status,
            error,
            output,
            usage: self.usage.filter(|_| done),
            service_tier: self.service_tier,
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
            let response = self.response(Status::InProgress, Value::Null, Vec::new());
            self.emit(name, [("response", response)], out);
        }
    }

    fn begin_part(&mut self, at: usize, content: Content, out: &mut Vec<u8>) {
        self.announce_call(out);
        let place = match content {
            Content::Text { text, citations } => {
                let place = self.begin_text(false, out);
                self.places.insert(at, place);
                self.go_on(at, Delta::Text(text), out);
                citations.into_iter().for_each(|citation| self.go_on(at, Delta::Citation(citation), out));
                return;
            }
            Content::Refusal(text) => {
                let place = self.begin_text(true, out);
                self.places.insert(at, place);
                return self.go_on(at, Delta::Text(text), out);
            }
            Content::ToolCall(call) => {
                self.waiting = Some((at, call));
                Place::Waiting
            }
            Content::CustomCall(call) => return self.begin_custom(at, call, out),
            Content::Thinking { text, signature } => {
                self.end_message("completed", out);
                let id = self.item_id("rs");
                self.add_item(output::reasoning(&id, None, None), "in_progress", out);
                self.items.push(Item::Thought { id, text: String::new(), shown: false, signature });
                self.places.insert(at, Place::Thought { item: self.items.len() - 1 });
                return self.go_on(at, Delta::Thinking(text), out);
            }
            whole => {
                self.end_message("completed", out);
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
            | Content::CustomCall(_)
            | Content::Native { .. } => return,
        };
        self.add_item(item.clone(), "in_progress", out);
        self.items.push(Item::Whole(item));
        self.end_item(self.items.len() - 1, "completed", out);
    }

    /// Opens a text in the answer's message, which is opened if there is none.
    fn begin_text(&mut self, refusal: bool, out: &mut Vec<u8>) -> Place {
        self.refusal |= refusal;
        let item = match self.message {
            Some(item) => item,
            None => {
                let id = self.item_id("msg");
                self.add_item(output::message(&id, "in_progress", Vec::new()), "in_progress", out);
                self.items.push(Item::Message { id, contents: Vec::new() });
                self.message = Some(self.items.len() - 1);
                self.items.len() - 1
            }
        };
        let Some(Item::Message { contents, id }) = self.items.get_mut(item) else { return Place::Nowhere };
        let content = contents.len();
        let piece = Piece::new(refusal);
        let part = piece.value();
        contents.push(piece);
        let fields = place_fields(id, item, content);
        self.emit("response.content_part.added", with(fields, ("part", part)), out);
        Place::Text { item, content }
    }

    fn go_on(&mut self, at: usize, delta: Delta, out: &mut Vec<u8>) {
        match self.places.get(&at).copied() {
            Some(Place::Text { item, content }) => self.go_on_with_text(item, content, delta, out),
            Some(Place::Waiting) => match delta {
                Delta::Arguments(_) => {
                    self.announce_call(out);
                    self.go_on(at, delta, out);
                }
                Delta::Signature(signature) => {
                    if let Some((_, call)) = &mut self.waiting {
                        call.signature = Some(signature);
                    }
                }
                Delta::Text(_) | Delta::Thinking(_) | Delta::Citation(_) => {}
            },
            Some(Place::Call { item }) => self.go_on_with_call(item, delta, out),
            Some(Place::Custom { item }) => self.go_on_with_custom(item, delta, out),
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

    fn go_on_with_text(&mut self, item: usize, content: usize, delta: Delta, out: &mut Vec<u8>) {
        match delta {
            Delta::Text(text) => {
                self.last_text = Some((item, content));
                self.write_text(item, content, text, out);
            }
            Delta::Citation(citation) => {
                if let Some((piece, _)) = piece(&mut self.items, item, content) {
                    piece.citations.push(citation);
                }
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

    fn begin_custom(&mut self, at: usize, mut call: ToolCall, out: &mut Vec<u8>) {
        self.end_message("completed", out);
        let input = std::mem::take(&mut call.arguments);
        let id = self.item_id("ctc");
        self.add_item(output::custom_call(&id, "in_progress", &call.id, &call.name, ""), "in_progress", out);
        self.items.push(Item::Custom { id, call });
        self.places.insert(at, Place::Custom { item: self.items.len() - 1 });
        self.go_on(at, Delta::Arguments(input), out);
    }

    fn go_on_with_custom(&mut self, item: usize, delta: Delta, out: &mut Vec<u8>) {
        let Some(Item::Custom { id, call }) = self.items.get_mut(item) else { return };
        let Delta::Arguments(delta) = delta else { return };
        if !delta.is_empty() {
            call.arguments.push_str(&delta);
            let fields = with(item_fields(id, item), ("delta", Value::String(delta)));
            self.emit("response.custom_tool_call_input.delta", fields, out);
        }
    }

    fn end_custom(&mut self, item: usize, out: &mut Vec<u8>) {
        let Some(Item::Custom { id, call }) = self.items.get(item) else { return };
        let fields = with(item_fields(id, item), ("input", Value::from(call.arguments.as_str())));
        self.emit("response.custom_tool_call_input.done", fields, out);
        self.end_item(item, "completed", out);
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

    fn logprobs(&mut self, logprobs: Vec<TokenLogprob>, out: &mut Vec<u8>) {
        // They come after their text, which has been passed on: an empty delta carries them.
        let Some((item, content)) = self.last_text else { return };
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

    /// Announces the call that waits, behind the thought whose signature it has.
    fn announce_call(&mut self, out: &mut Vec<u8>) {
        let Some((at, mut call)) = self.waiting.take() else { return };
        self.end_message("completed", out);
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

    fn end_part(&mut self, at: usize, out: &mut Vec<u8>) {
        if matches!(self.places.get(&at), Some(Place::Waiting)) {
            self.announce_call(out);
        }
        match self.places.remove(&at) {
            Some(Place::Text { item, content }) => self.end_text(item, content, out),
            Some(Place::Call { item }) => self.end_call(item, out),
            Some(Place::Custom { item }) => self.end_custom(item, out),
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

    /// Tells what a text cites, whose end is known now.
    fn cite(&mut self, item: usize, content: usize, out: &mut Vec<u8>) {
        let Some((piece, fields)) = piece(&mut self.items, item, content) else { return };
        let length = piece.length;
        let cited = std::mem::take(&mut piece.citations).into_iter();
        let cited: Vec<Value> = cited.filter_map(|citation| write_citation(citation, length)).collect();
        piece.annotations.clone_from(&cited);
        for (index, annotation) in cited.into_iter().enumerate() {
            let fields = with(fields.clone(), ("annotation_index", Value::from(index)));
            self.emit("response.output_text.annotation.added", with(fields, ("annotation", annotation)), out);
        }
    }

    fn end_text(&mut self, item: usize, content: usize, out: &mut Vec<u8>) {
        self.cite(item, content, out);
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
        let joinable = self.message == Some(item);
        if !joinable && !self.places.values().any(is_open) {
            self.end_item(item, "completed", out);
        }
    }

    fn end_call(&mut self, item: usize, out: &mut Vec<u8>) {
        // Clients parse the arguments of every call.
        if matches!(self.items.get(item), Some(Item::Call { call, .. }) if call.arguments.is_empty()) {
            self.go_on_with_call(item, Delta::Arguments("{}".to_owned()), out);
        }
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
    fn end_message(&mut self, status: &str, out: &mut Vec<u8>) {
        let Some(item) = self.message.take() else { return };
        let is_open = |place: &Place| matches!(place, Place::Text { item: other, .. } if *other == item);
        if !self.places.values().any(is_open) {
            self.end_item(item, status, out);
        }
    }

    /// Ends what is still open.
    fn end_all(&mut self, status: &str, out: &mut Vec<u8>) {
        let open: Vec<usize> = self.places.keys().copied().collect();
        open.into_iter().for_each(|at| self.end_part(at, out));
        self.end_message(status, out);
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
        self.end_all("completed", out);
        let status = Status::of(self.stop.take().as_ref(), self.refusal);
        let items = self.output();
        let (name, error) = match status {
            Status::InProgress | Status::Completed => ("response.completed", Value::Null),
            Status::Incomplete(_) => ("response.incomplete", Value::Null),
            Status::Failed => ("response.failed", output::malformed()),
        };
        let response = self.response(status, error, items);
        self.emit(name, [("response", response)], out);
    }

    /// Everything written so far.
    fn output(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.items).iter_mut().map(|item| item.value("incomplete")).collect()
    }

    /// An `error`, by which client libraries raise an exception, and a response that has failed, for which others wait. The
    /// first has the provider's own code, the second one of those that the reference lists.
    fn fail(&mut self, error: StreamError, out: &mut Vec<u8>) {
        let class = failure::classify_error(200, &error);
        let listed = output::error_code(error.code.as_deref(), class).to_owned();
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
            let response = self.response(Status::Failed, output::error(&listed, &message), items);
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
            Item::Custom { id, call } => output::custom_call(id, status, &call.id, &call.name, &call.arguments),
            Item::Thought { id, text, shown, signature } => {
                let text = shown.then(|| std::mem::take(text));
                output::reasoning(id, text, signature.as_ref())
            }
            Item::Whole(value) => value.take(),
        }
    }
}

impl Piece {
    fn new(refusal: bool) -> Piece {
        let text = String::new();
        let (citations, annotations, logprobs) = (Vec::new(), Vec::new(), Vec::new());
        Piece { text, length: 0, refusal, citations, annotations, logprobs }
    }

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
