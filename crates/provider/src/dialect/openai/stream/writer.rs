//! Writes the chunks that a caller of Chat Completions reads: the role in the first, one chunk with the reason of each
//! answer's end, the usage in a chunk without choices if the caller asked for it, then `[DONE]`. An error is the last
//! thing written.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tollgate_interaction::Usage;

use crate::chat::{Citation, Content, Delta, Event, Signature, Source, Stop, ToolCall};
use crate::dialect::openai::answer::{annotation, finish_reason, service_tier, write_image, write_logprobs};
use crate::dialect::openai::request::signed;
use crate::dialect::openai::wire::{object, set};
use crate::dialect::openai::{thoughts, tokens};
use crate::observe::StreamError;
use crate::translate::{Asked, WriteStream};

/// Writes one stream.
#[derive(Debug)]
pub(crate) struct Writer {
    asked: Asked,
    id: String,
    model: String,
    usage: Option<Usage>,
    tier: Option<&'static str>,
    choices: BTreeMap<usize, Choice>,
}

/// One answer.
#[derive(Debug, Default)]
struct Choice {
    parts: BTreeMap<usize, Open>,
    calls: usize,
    details: usize,
    images: usize,
    /// Characters of text so far.
    chars: u64,
    says_refusal: bool,
    /// Sources of all its text, told at once before it stops: client libraries cannot add to a list whose items have no
    /// index.
    annotations: Vec<Value>,
}

/// A part that has begun.
#[derive(Debug)]
enum Open {
    /// From which character on, and what it cites.
    Text {
        from: u64,
        citations: Vec<Citation>,
    },
    Refusal,
    /// Its words, until its signature has come: a detail has both.
    Thinking(String),
    /// Its place among the calls, and whether it has arguments.
    Call {
        index: usize,
        has_arguments: bool,
    },
    /// Its place among the calls.
    Custom {
        index: usize,
    },
    /// One that was written whole, or that cannot be said.
    Whole,
}

impl Writer {
    /// For a caller that asked so.
    pub(crate) fn new(asked: Asked) -> Self {
        let (id, model) = (format!("chatcmpl-{}", asked.id), asked.model.clone());
        Writer { asked, id, model, usage: None, tier: None, choices: BTreeMap::new() }
    }

    fn chunk(&self, choices: Vec<Value>, usage: Option<Value>, out: &mut Vec<u8>) {
        let mut map = Map::new();
        map.insert("id".to_owned(), self.id.as_str().into());
        map.insert("object".to_owned(), "chat.completion.chunk".into());
        map.insert("created".to_owned(), self.asked.created_at_s.into());
        map.insert("model".to_owned(), self.model.as_str().into());
        set(&mut map, "service_tier", self.tier.map(Value::from));
        map.insert("choices".to_owned(), Value::Array(choices));
        if self.asked.include_usage {
            map.insert("usage".to_owned(), usage.unwrap_or_default());
        }
        write_data(&Value::Object(map), out);
    }

    /// A chunk of one answer.
    fn answer(
        &self,
        choice: usize,
        delta: Value,
        logprobs: Value,
        stop: Option<(&str, Option<String>)>,
        out: &mut Vec<u8>,
    ) {
        let mut map = Map::new();
        map.insert("index".to_owned(), choice.into());
        map.insert("delta".to_owned(), delta);
        map.insert("logprobs".to_owned(), logprobs);
        let (reason, text) = stop.unzip();
        map.insert("finish_reason".to_owned(), reason.map_or(Value::Null, Value::from));
        set(&mut map, "stop_reason", text.flatten().map(Value::String));
        self.chunk(vec![Value::Object(map)], None, out);
    }

    fn delta<const N: usize>(&self, choice: usize, fields: [(&str, Value); N], out: &mut Vec<u8>) {
        self.answer(choice, object(fields), Value::Null, None, out);
    }

    /// The first chunk of an answer says whose it is. It waits for what the answer says first, so that the tier that served
    /// it stands in every chunk, this one too.
    fn open(&mut self, choice: usize, out: &mut Vec<u8>) {
        if self.choices.contains_key(&choice) {
            return;
        }
        self.choices.insert(choice, Choice::default());
        let fields = [("role", "assistant".into()), ("content", "".into()), ("refusal", Value::Null)];
        self.delta(choice, fields, out);
    }

    fn begin_part(&mut self, choice: usize, part: usize, content: Content, out: &mut Vec<u8>) {
        self.open(choice, out);
        let Some(state) = self.choices.get_mut(&choice) else { return };
        let open = match &content {
            Content::Text { .. } => Open::Text { from: state.chars, citations: Vec::new() },
            Content::Refusal(_) => Open::Refusal,
            Content::Thinking { .. } => Open::Thinking(String::new()),
            Content::ToolCall(_) => {
                state.calls += 1;
                Open::Call { index: state.calls - 1, has_arguments: false }
            }
            Content::CustomCall(_) => {
                state.calls += 1;
                Open::Custom { index: state.calls - 1 }
            }
            Content::Image { .. }
            | Content::Audio(_)
            | Content::Video(_)
            | Content::Document { .. }
            | Content::ToolResult(_)
            | Content::Redacted(_)
            | Content::Native { .. } => Open::Whole,
        };
        let call = state.calls.saturating_sub(1);
        state.parts.insert(part, open);
        match content {
            Content::Text { text, citations } => {
                self.text(choice, part, text, out);
                citations.into_iter().for_each(|citation| self.cite(choice, part, citation));
            }
            Content::Refusal(text) => self.text(choice, part, text, out),
            Content::Thinking { text, signature } => {
                self.think(choice, part, text, out);
                signature.into_iter().for_each(|signature| self.sign(choice, part, &signature, out));
            }
            Content::ToolCall(begun) => self.begin_call((choice, part), call, begun, out),
            Content::Redacted(signature) => self.detail(choice, thoughts::write_encrypted(&signature), out),
            Content::Image { source, detail: _ } => {
                if let (Some(image), Some(state)) = (write_image(source), self.choices.get_mut(&choice)) {
                    let image = thoughts::numbered(image, state.images);
                    state.images += 1;
                    self.delta(choice, [("images", Value::Array(vec![image]))], out);
                }
            }
            Content::Audio(Source::Base64 { media_type: _, base64 }) => {
                let id = format!("audio_{}_{choice}", self.asked.id);
                let audio =
                    [("id", id.into()), ("data", base64.into()), ("expires_at", self.asked.created_at_s.into())];
                self.delta(choice, [("audio", object(audio))], out);
            }
            Content::CustomCall(ToolCall { id, name, arguments, signature: _ }) => {
                let custom = object([("name", name.into()), ("input", "".into())]);
                let fields = [("index", call.into()), ("id", id.into()), ("type", "custom".into()), ("custom", custom)];
                self.delta(choice, [("tool_calls", Value::Array(vec![object(fields)]))], out);
                self.argue(choice, part, arguments, out);
            }
            // No model answers with these, or only its own dialect can say them.
            Content::Audio(_)
            | Content::Video(_)
            | Content::Document { .. }
            | Content::ToolResult(_)
            | Content::Native { .. } => {}
        }
    }

    fn begin_call(&mut self, (choice, part): (usize, usize), index: usize, call: ToolCall, out: &mut Vec<u8>) {
        let ToolCall { id, name, arguments, signature } = call;
        let function = object([("name", name.into()), ("arguments", "".into())]);
        let fields = [("index", index.into()), ("id", id.into()), ("type", "function".into()), ("function", function)];
        self.delta(choice, [("tool_calls", Value::Array(vec![object(fields)]))], out);
        self.argue(choice, part, arguments, out);
        signature.into_iter().for_each(|signature| self.sign(choice, part, &signature, out));
    }

    fn text(&mut self, choice: usize, part: usize, text: String, out: &mut Vec<u8>) {
        let Some(state) = self.choices.get_mut(&choice).filter(|_| !text.is_empty()) else { return };
        let field = match state.parts.get(&part) {
            Some(Open::Text { .. }) => {
                state.chars += text.chars().count() as u64;
                "content"
            }
            Some(Open::Refusal) => {
                state.says_refusal = true;
                "refusal"
            }
            Some(Open::Thinking(_) | Open::Call { .. } | Open::Custom { .. } | Open::Whole) | None => return,
        };
        self.delta(choice, [(field, text.into())], out);
    }

    fn think(&mut self, choice: usize, part: usize, text: String, out: &mut Vec<u8>) {
        let Some(Open::Thinking(words)) = self.part(choice, part).filter(|_| !text.is_empty()) else { return };
        words.push_str(&text);
        self.delta(choice, [("reasoning_content", text.into())], out);
    }

    fn argue(&mut self, choice: usize, part: usize, text: String, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let call = match self.part(choice, part) {
            Some(Open::Call { index, has_arguments }) => {
                *has_arguments = true;
                object([("index", (*index).into()), ("function", object([("arguments", text.into())]))])
            }
            Some(Open::Custom { index }) => {
                object([("index", (*index).into()), ("custom", object([("input", text.into())]))])
            }
            Some(Open::Text { .. } | Open::Refusal | Open::Thinking(_) | Open::Whole) | None => return,
        };
        self.delta(choice, [("tool_calls", Value::Array(vec![call]))], out);
    }

    fn sign(&mut self, choice: usize, part: usize, signature: &Signature, out: &mut Vec<u8>) {
        match self.part(choice, part) {
            Some(Open::Thinking(words)) => {
                let detail = thoughts::write_detail(std::mem::take(words), signature);
                self.detail(choice, detail, out);
            }
            Some(Open::Call { index, .. }) => {
                let index = (*index).into();
                let function = object([("arguments", "".into())]);
                let call = [("index", index), ("function", function), ("extra_content", signed(signature))];
                let call = object(call);
                self.delta(choice, [("tool_calls", Value::Array(vec![call]))], out);
            }
            Some(Open::Text { .. } | Open::Refusal | Open::Custom { .. } | Open::Whole) | None => {}
        }
    }

    fn detail(&mut self, choice: usize, detail: Value, out: &mut Vec<u8>) {
        let Some(state) = self.choices.get_mut(&choice) else { return };
        let detail = thoughts::numbered(detail, state.details);
        state.details += 1;
        self.delta(choice, [("reasoning_details", Value::Array(vec![detail]))], out);
    }

    fn cite(&mut self, choice: usize, part: usize, citation: Citation) {
        if let Some(Open::Text { citations, .. }) = self.part(choice, part) {
            citations.push(citation);
        }
    }

    fn part(&mut self, choice: usize, part: usize) -> Option<&mut Open> {
        self.choices.get_mut(&choice)?.parts.get_mut(&part)
    }

    fn end_part(&mut self, choice: usize, part: usize, out: &mut Vec<u8>) {
        let Some(state) = self.choices.get_mut(&choice) else { return };
        let to = state.chars;
        match state.parts.remove(&part) {
            Some(Open::Text { from, citations }) => {
                let cited = citations.into_iter().filter_map(|citation| annotation(citation, (from, to)));
                state.annotations.extend(cited);
            }
            // Clients parse the arguments of every call.
            Some(Open::Call { index, has_arguments: false }) => {
                let call = object([("index", index.into()), ("function", object([("arguments", "{}".into())]))]);
                self.delta(choice, [("tool_calls", Value::Array(vec![call]))], out);
            }
            Some(Open::Refusal | Open::Thinking(_) | Open::Call { .. } | Open::Custom { .. } | Open::Whole) | None => {}
        }
    }

    fn stop(&mut self, choice: usize, stop: Stop, out: &mut Vec<u8>) {
        self.open(choice, out);
        let Some(state) = self.choices.get_mut(&choice) else { return };
        let (says_refusal, annotations) = (state.says_refusal, std::mem::take(&mut state.annotations));
        if !annotations.is_empty() {
            self.delta(choice, [("annotations", Value::Array(annotations))], out);
        }
        let reason = finish_reason(&stop, says_refusal);
        let text = if let Stop::StopText(text) = stop { text } else { None };
        self.answer(choice, object([]), Value::Null, Some((reason, text)), out);
    }
}

impl WriteStream for Writer {
    fn write(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Begin { id, model, usage } => {
                self.id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| std::mem::take(&mut self.id));
                self.usage = usage.or(self.usage.take());
                if !model.is_empty() {
                    self.model = model;
                }
            }
            Event::BeginPart { choice, part, content } => self.begin_part(choice, part, content, out),
            Event::Continue { choice, part, delta } => match delta {
                Delta::Text(text) => self.text(choice, part, text, out),
                Delta::Arguments(text) => self.argue(choice, part, text, out),
                Delta::Thinking(text) => self.think(choice, part, text, out),
                Delta::Signature(signature) => self.sign(choice, part, &signature, out),
                Delta::Citation(citation) => self.cite(choice, part, citation),
            },
            Event::EndPart { choice, part } => self.end_part(choice, part, out),
            Event::Logprobs { choice, logprobs } => {
                self.open(choice, out);
                let delta = object([("content", "".into())]);
                self.answer(choice, delta, write_logprobs(&logprobs), None, out);
            }
            Event::Stop { choice, stop } => self.stop(choice, stop, out),
            Event::Usage(usage) => self.usage = Some(usage),
            Event::ServiceTier(tier) => self.tier = service_tier(tier),
            Event::End => {
                if self.choices.is_empty() {
                    self.open(0, out);
                }
                if let Some(usage) = self.usage.filter(|_| self.asked.include_usage) {
                    self.chunk(Vec::new(), Some(tokens::write(&usage)), out);
                }
                out.extend_from_slice(b"data: [DONE]\n\n");
            }
            Event::Error(error) => write_data(&write_error(error), out),
        }
    }
}

fn write_error(error: StreamError) -> Value {
    let StreamError { kind, code, message } = error;
    let kind = if kind.is_empty() { "server_error".to_owned() } else { kind };
    let code = code.map_or(Value::Null, Value::String);
    let fields = [("message", message.into()), ("type", kind.into()), ("param", Value::Null), ("code", code)];
    object([("error", object(fields))])
}

fn write_data(value: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(value.to_string().as_bytes());
    out.extend_from_slice(b"\n\n");
}
