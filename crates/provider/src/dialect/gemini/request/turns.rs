//! Writes the conversation as `contents`: turns that alternate, results of tools by the name of their function, and thoughts
//! with their signatures.
//! Sources: <https://ai.google.dev/gemini-api/docs/thought-signatures>,
//! <https://ai.google.dev/gemini-api/docs/function-calling> (2026-11-26).

use serde_json::{Map, Value};
use tollgate_interaction::Dialect;

use super::{FOREIGN_CALL, media};
use crate::chat::{Content, Message, Part, Role, Signature, ToolCall, ToolResult};
use crate::dialect::gemini::{arguments_object, object};
use crate::translate::called::Called;
use crate::translate::{Losses, Unsupported};

pub(super) fn write(messages: Vec<Message>, third_generation: bool, losses: &mut Losses) -> Result<Value, Unsupported> {
    let mut writer = Writer { third_generation, losses, turns: Vec::new(), called: Called::default() };
    for message in messages {
        writer.message(message)?;
    }
    let content = |turn: Turn| object([("role", turn.role.into()), ("parts", Value::Array(turn.parts))]);
    let turns = writer.turns.into_iter().filter(|turn| !turn.parts.is_empty());
    Ok(Value::Array(turns.map(content).collect()))
}

/// What one side says before the other does.
struct Turn {
    role: &'static str,
    parts: Vec<Value>,
    has_call: bool,
}

struct Writer<'a> {
    third_generation: bool,
    losses: &'a mut Losses,
    turns: Vec<Turn>,
    /// Every call so far.
    called: Called,
}

impl Writer<'_> {
    fn message(&mut self, message: Message) -> Result<(), Unsupported> {
        let Message { role, parts, name } = message;
        let role = match role {
            Role::User => "user",
            Role::Assistant => "model",
            Role::System => {
                // What is lost is its rank: there is but one instruction, before the conversation.
                parts.iter().for_each(|part| self.losses.note(&part.at));
                "user"
            }
        };
        if let Some(name) = name {
            self.losses.lose(&name.at, "a speaker's name")?;
        }
        if self.turns.last().is_none_or(|turn| turn.role != role) {
            self.turns.push(Turn { role, parts: Vec::with_capacity(parts.len()), has_call: false });
        }
        for part in parts {
            self.part(part)?;
        }
        Ok(())
    }

    fn add(&mut self, part: Value) {
        if let Some(turn) = self.turns.last_mut() {
            turn.parts.push(part);
        }
    }

    fn part(&mut self, part: Part) -> Result<(), Unsupported> {
        let Part { content, at, cache } = part;
        if cache.is_some() {
            self.losses.note_marker(&at);
        }
        match content {
            Content::Text { text, citations } => {
                if !citations.is_empty() {
                    self.losses.note(&at);
                }
                // Google refuses a part of nothing.
                if !text.is_empty() {
                    self.add(object([("text", text.into())]));
                }
            }
            Content::Refusal(text) => self.add(object([("text", text.into())])),
            Content::Image { .. } | Content::Audio(_) | Content::Video(_) | Content::Document { .. } => {
                let part = Part { content, at, cache: None };
                if let Some(written) = media::write_part(part, self.third_generation, self.losses)? {
                    self.add(written);
                }
            }
            Content::ToolCall(call) => self.call(call, &at)?,
            Content::ToolResult(result) => self.result(result, &at)?,
            Content::Thinking { text, signature } => self.thinking(text, signature, &at),
            Content::Redacted(signature) => self.thinking(String::new(), Some(signature), &at),
            Content::Native { dialect: Dialect::Gemini, value, .. } => self.add(value),
            Content::CustomCall(_) | Content::Native { .. } => self.losses.lose(&at, content.described())?,
        }
        Ok(())
    }

    /// Thoughts may come back without a signature; another provider's mean nothing here.
    fn thinking(&mut self, text: String, signature: Option<Signature>, at: &str) {
        if let Some(signature) = signature {
            if signature.of != Dialect::Gemini {
                return self.losses.note(at);
            }
            if text.is_empty()
                && let Some(unsigned) = self.unsigned_media()
            {
                unsigned.insert("thoughtSignature".to_owned(), signature.text.into());
                return;
            }
            let mut part = Map::from_iter([("thoughtSignature".to_owned(), signature.text.into())]);
            if !text.is_empty() {
                part.insert("thought".to_owned(), true.into());
            }
            part.insert("text".to_owned(), text.into());
            self.add(Value::Object(part));
        } else if !text.is_empty() {
            self.add(object([("text", text.into()), ("thought", true.into())]));
        }
    }

    /// The model's picture that was said last, if it is not signed yet: Gemini 3 edits no picture of its own without.
    fn unsigned_media(&mut self) -> Option<&mut Map<String, Value>> {
        let turn = self.turns.last_mut().filter(|turn| turn.role == "model")?;
        let part = turn.parts.last_mut()?.as_object_mut()?;
        let is_media = part.contains_key("inlineData") || part.contains_key("fileData");
        (is_media && !part.contains_key("thoughtSignature")).then_some(part)
    }

    fn call(&mut self, call: ToolCall, at: &str) -> Result<(), Unsupported> {
        let ToolCall { id, name, arguments, signature } = call;
        let arguments = match arguments_object(&arguments) {
            Some(object) => Value::Object(object),
            None => {
                self.losses.lose(at, "arguments that are no JSON object")?;
                object([("arguments", arguments.into())])
            }
        };
        self.called.note(&id, &name);
        let signature = match signature {
            Some(signature) if signature.of == Dialect::Gemini => Some(signature.text),
            Some(_) => {
                // The call is whole without it.
                self.losses.note_signature(at);
                None
            }
            None => None,
        };
        let is_first = self.turns.last_mut().is_some_and(|turn| !std::mem::replace(&mut turn.has_call, true));
        // Of calls made at once only the first is signed.
        let placeholder = (is_first && self.third_generation).then(|| FOREIGN_CALL.to_owned());
        let call = object([("id", id.into()), ("name", name.into()), ("args", arguments)]);
        let part = match signature.or(placeholder) {
            Some(signature) => object([("functionCall", call), ("thoughtSignature", signature.into())]),
            None => object([("functionCall", call)]),
        };
        self.add(part);
        Ok(())
    }

    fn result(&mut self, result: ToolResult, at: &str) -> Result<(), Unsupported> {
        let ToolResult { id, name, parts, is_error } = result;
        let called = self.called.name_of(&id);
        // Google wants a name; a call that is not there has none.
        let name = name.or_else(|| called.map(str::to_owned)).unwrap_or_else(|| id.clone());
        let mut text = None;
        let mut media = Vec::new();
        for part in parts {
            if part.cache.is_some() {
                self.losses.note_marker(&part.at);
            }
            match part.content {
                Content::Text { text: more, .. } | Content::Refusal(more) => append(&mut text, more),
                Content::Image { .. } | Content::Audio(_) | Content::Video(_) | Content::Document { .. } => {
                    media.extend(media::write_part(part, self.third_generation, self.losses)?);
                }
                Content::ToolCall(_)
                | Content::ToolResult(_)
                | Content::Thinking { .. }
                | Content::Redacted(_)
                | Content::CustomCall(_)
                | Content::Native { .. } => {
                    let at = if part.at.is_empty() { at } else { &part.at };
                    self.losses.lose(at, format!("{} in a tool's result", part.content.described()))?;
                }
            }
        }
        let response = answer_object(text, is_error == Some(true));
        let mut fields = Map::from_iter([
            ("id".to_owned(), id.into()),
            ("name".to_owned(), name.into()),
            ("response".to_owned(), response),
        ]);
        let mut beside = Vec::new();
        if self.third_generation && !media.is_empty() {
            fields.insert("parts".to_owned(), Value::Array(media));
        } else {
            // Older models look at pictures only beside the result.
            beside = media;
        }
        self.add(object([("functionResponse", Value::Object(fields))]));
        beside.into_iter().for_each(|part| self.add(part));
        Ok(())
    }
}

fn append(text: &mut Option<String>, more: String) {
    match text {
        Some(text) => {
            text.push('\n');
            text.push_str(&more);
        }
        None => *text = Some(more),
    }
}

/// A tool's answer as the object that Google wants: one that is an object already as it is, anything else under Google's
/// word for it.
fn answer_object(text: Option<String>, failed: bool) -> Value {
    let text = text.unwrap_or_default();
    if failed {
        return object([("error", text.into())]);
    }
    if text.trim_start().starts_with('{')
        && let Ok(Value::Object(answer)) = serde_json::from_str(&text)
    {
        return Value::Object(answer);
    }
    object([("output", text.into())])
}
