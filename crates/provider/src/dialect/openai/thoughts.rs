//! The model's thoughts, for which Chat Completions has no field of OpenAI's and its copies have four: a plain
//! `reasoning_content` (DeepSeek, xAI, vLLM) or `reasoning` (OpenRouter, Groq); `reasoning_details`, which OpenRouter wants
//! back unchanged in the next turn; and pieces of type `thinking` within `content` (Mistral). What must come back
//! unchanged travels as the thought's signature, a small object that nobody but this module reads.
//! Sources: <https://openrouter.ai/docs/use-cases/reasoning-tokens>, <https://api-docs.deepseek.com/guides/thinking_mode>,
//! <https://docs.mistral.ai/capabilities/reasoning> (2026-11-26).

use serde_json::{Map, Value};
use tollgate_interaction::Dialect;

use super::wire::{set, take_array, take_count, take_text};
use crate::chat::{Content, Signature};

/// The word OpenRouter has for thoughts of an origin it does not know.
const UNKNOWN_FORMAT: &str = "unknown";

/// How a thought was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// In a field of its own.
    #[default]
    Plain,
    /// `reasoning.text`.
    Text,
    /// `reasoning.summary`.
    Summary,
    /// `reasoning.encrypted`.
    Encrypted,
    /// A piece of `content`.
    Piece,
}

/// What stands beside the words of a thought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) form: Form,
    /// Its place among the details; pieces of one thought share it.
    pub(super) index: Option<u64>,
    signature: Option<String>,
    format: Option<String>,
    id: Option<String>,
}

impl Mark {
    /// Whether `next` goes on with the same thought.
    pub(super) fn goes_on_with(&self, next: &Mark) -> bool {
        self.form == next.form && (self.index == next.index || next.index.is_none())
    }

    /// Adds what a later piece says.
    pub(super) fn add(&mut self, later: Mark) {
        self.form = later.form;
        self.signature = later.signature.or(self.signature.take());
        self.format = later.format.or(self.format.take());
        self.id = later.id.or(self.id.take());
    }

    /// What must come back in the next turn, if anything.
    pub(super) fn into_signature(self) -> Option<Signature> {
        let Mark { form, signature, format, id, .. } = self;
        if let Some(text) = &signature {
            let read = Signature::unwrapped(text.clone(), Dialect::Openai);
            let is_bare =
                format.is_none() && id.is_none() && matches!(form, Form::Plain | Form::Text | Form::Encrypted);
            if read.of != Dialect::Openai || is_bare {
                return Some(read);
            }
        }
        let mut map = Map::new();
        match form {
            Form::Plain | Form::Text | Form::Encrypted if signature.is_none() => return None,
            Form::Plain | Form::Text | Form::Encrypted => {}
            Form::Summary => set(&mut map, "type", Some("reasoning.summary".into())),
            Form::Piece => set(&mut map, "type", Some("thinking".into())),
        }
        let name = if form == Form::Encrypted { "data" } else { "signature" };
        set(&mut map, name, signature.map(Value::String));
        set(&mut map, "format", format.map(Value::String));
        set(&mut map, "id", id.map(Value::String));
        Some(Signature { of: Dialect::Openai, text: Value::Object(map).to_string() })
    }
}

/// Reads one of `reasoning_details`: what stands beside its words, and the words.
pub(super) fn read_detail(value: Value) -> Option<(Mark, String)> {
    let Value::Object(mut map) = value else { return None };
    let kind = take_text(&mut map, "type").unwrap_or_default();
    let (form, words, signature) = match kind.as_str() {
        "reasoning.encrypted" => (Form::Encrypted, None, Some(take_text(&mut map, "data")?)),
        "reasoning.summary" => (Form::Summary, take_text(&mut map, "summary"), None),
        "reasoning.text" | "" => (Form::Text, take_text(&mut map, "text"), take_text(&mut map, "signature")),
        _ => return None,
    };
    let format = take_text(&mut map, "format").filter(|format| format != UNKNOWN_FORMAT);
    let (id, index) = (take_text(&mut map, "id"), take_count(&mut map, "index"));
    Some((Mark { form, index, signature, format, id }, words.unwrap_or_default()))
}

/// Reads a piece of `content` whose type is `thinking`.
pub(super) fn read_piece(mut map: Map<String, Value>) -> (Mark, String) {
    let signature = take_text(&mut map, "signature");
    let words = match map.remove("thinking") {
        Some(Value::String(text)) => text,
        Some(Value::Array(pieces)) => pieces.iter().filter_map(|piece| piece.get("text")?.as_str()).collect(),
        _ => String::new(),
    };
    (Mark { form: Form::Piece, signature, ..Mark::default() }, words)
}

/// Takes the thoughts of a whole message, in order.
pub(super) fn take(message: &mut Map<String, Value>) -> Vec<Content> {
    let details = take_array(message, "reasoning_details").into_iter().filter_map(read_detail);
    let mut details: Vec<(Mark, String)> = details.collect();
    let plain = take_text(message, "reasoning_content");
    let plain = plain.or_else(|| take_text(message, "reasoning"));
    let plain = plain.filter(|_| details.iter().all(|(_, words)| words.is_empty()));
    if let Some(plain) = plain {
        match details.iter_mut().find(|(mark, _)| mark.form == Form::Text) {
            Some((_, words)) => *words = plain,
            None => details.insert(0, (Mark::default(), plain)),
        }
    }
    details.into_iter().filter_map(|(mark, words)| content(mark, words)).collect()
}

/// A thought as content; `None` if it says nothing.
pub(super) fn content(mark: Mark, text: String) -> Option<Content> {
    if text.is_empty() && mark.signature.is_none() {
        return None;
    }
    let form = mark.form;
    match (form, mark.into_signature()) {
        (Form::Encrypted, signature) => signature.map(Content::Redacted),
        (_, signature) => Some(Content::Thinking { text, signature }),
    }
}

/// A thought in the form in which it goes back, or to the caller.
pub(super) enum Written {
    /// For `reasoning_details`.
    Detail(Value),
    /// For `content`.
    Piece(Value),
}

/// Writes a signed thought.
pub(super) fn write(text: String, signature: &Signature) -> Written {
    let mut map = own_fields(signature, "signature");
    match map.remove("type").as_ref().and_then(Value::as_str) {
        Some("thinking") => {
            let words = super::wire::object([("type", "text".into()), ("text", text.into())]);
            Written::Piece(typed("thinking", "thinking", Value::Array(vec![words]), map))
        }
        Some("reasoning.summary") => Written::Detail(typed("reasoning.summary", "summary", text.into(), map)),
        _ => Written::Detail(typed("reasoning.text", "text", text.into(), map)),
    }
}

/// Writes a signed thought for a caller, which knows of details only.
pub(super) fn write_detail(text: String, signature: &Signature) -> Value {
    match write(text, signature) {
        Written::Detail(value) | Written::Piece(value) => value,
    }
}

/// Writes an encrypted thought.
pub(super) fn write_encrypted(signature: &Signature) -> Value {
    let mut map = own_fields(signature, "data");
    let data = map.remove("data").unwrap_or_default();
    typed("reasoning.encrypted", "data", data, map)
}

/// A detail with its place among them, by which client libraries put a stream's pieces together.
pub(super) fn numbered(mut detail: Value, index: usize) -> Value {
    if let Value::Object(map) = &mut detail {
        map.insert("index".to_owned(), index.into());
    }
    detail
}

fn typed(kind: &str, name: &str, words: Value, rest: Map<String, Value>) -> Value {
    let mut map = Map::new();
    set(&mut map, "type", Some(kind.into()));
    set(&mut map, name, Some(words));
    map.extend(rest);
    Value::Object(map)
}

/// What [`Mark::into_signature`] wrote, or the bare text of a signature under `name`.
fn own_fields(signature: &Signature, name: &str) -> Map<String, Value> {
    if signature.of == Dialect::Openai
        && let Ok(Value::Object(map)) = serde_json::from_str(&signature.text)
    {
        return map;
    }
    let mut map = Map::new();
    set(&mut map, name, Some(signature.wrapped(Dialect::Openai).into()));
    if signature.of != Dialect::Openai {
        set(&mut map, "format", Some(UNKNOWN_FORMAT.into()));
    }
    map
}
