//! The content blocks of answers, whole ones and those that begin in a stream.

use serde_json::{Map, Value};
use tollgate_interaction::Dialect;

use super::super::request::{input, wrapped};
use super::super::stop::Held;
use super::super::{citation, object};
use crate::chat::{Content, Signature, ToolCall};

/// Reads a block; one that only this dialect has stays as it stood. `None` if it is no block.
pub(in super::super) fn read_block(block: Value) -> Option<Content> {
    let kind = block.get("type")?.as_str()?.to_owned();
    let Value::Object(mut fields) = block else { return None };
    Some(match kind.as_str() {
        "text" => {
            let citations = match fields.remove("citations") {
                Some(Value::Array(citations)) => citations.into_iter().filter_map(citation::read).collect(),
                _ => Vec::new(),
            };
            Content::Text { text: text(&mut fields, "text"), citations }
        }
        "thinking" => {
            let signature = text(&mut fields, "signature");
            let signature = (!signature.is_empty()).then(|| own(signature));
            Content::Thinking { text: text(&mut fields, "thinking"), signature }
        }
        "redacted_thinking" => Content::Redacted(own(text(&mut fields, "data"))),
        "tool_use" => Content::ToolCall(ToolCall {
            id: text(&mut fields, "id"),
            name: text(&mut fields, "name"),
            arguments: fields.remove("input").map(|input| input.to_string()).unwrap_or_default(),
            signature: None,
        }),
        _ => Content::Native { dialect: Dialect::Anthropic, kind, value: fields.into() },
    })
}

fn text(fields: &mut Map<String, Value>, name: &str) -> String {
    match fields.remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    }
}

fn own(text: String) -> Signature {
    Signature { of: Dialect::Anthropic, text }
}

/// Notes what `content` says about why the answer ended.
pub(in super::super) fn holds(content: &Content, held: &mut Held) {
    held.call |= matches!(content, Content::ToolCall(_));
    held.refusal |= matches!(content, Content::Refusal(_));
}

/// Writes a part as blocks; an empty text, which the provider would refuse in the next turn, as none.
pub(in super::super) fn write_block(content: Content, blocks: &mut Vec<Value>) {
    match content {
        Content::Text { text, citations } => {
            let citations: Vec<Value> = citations.into_iter().filter_map(citation::write).collect();
            if text.is_empty() && citations.is_empty() {
                return;
            }
            let mut block = object([("type", "text".into()), ("text", text.into())]);
            if !citations.is_empty() {
                block["citations"] = citations.into();
            }
            blocks.push(block);
        }
        Content::Refusal(text) if text.is_empty() => {}
        Content::Refusal(text) => blocks.push(object([("type", "text".into()), ("text", text.into())])),
        Content::ToolCall(call) => write_call(call, blocks),
        Content::Thinking { text, signature } => blocks.push(object([
            ("type", "thinking".into()),
            ("thinking", text.into()),
            ("signature", signature.map(|signature| wrap(&signature)).unwrap_or_default().into()),
        ])),
        Content::Redacted(signature) => blocks.push(redacted(&signature)),
        Content::Native { dialect: Dialect::Anthropic, value, .. } => blocks.push(value),
        // What another provider did by itself; what it found is in its text.
        Content::CustomCall(_) | Content::Native { .. } | Content::ToolResult(_) => {}
        Content::Image { .. } | Content::Audio(_) | Content::Video(_) | Content::Document { .. } => {
            // Answers here hold words alone: so words say what was there.
            let words = format!("[{}]", content.described());
            blocks.push(object([("type", "text".into()), ("text", words.into())]));
        }
    }
}

fn write_call(call: ToolCall, blocks: &mut Vec<Value>) {
    let ToolCall { id, name, arguments, signature } = call;
    blocks.extend(signature.as_ref().map(redacted));
    let input = input(arguments).unwrap_or_else(wrapped);
    blocks.push(object([("type", "tool_use".into()), ("id", id.into()), ("name", name.into()), ("input", input)]));
}

/// The text that stands for a signature in this dialect.
pub(in super::super) fn wrap(signature: &Signature) -> String {
    signature.wrapped(Dialect::Anthropic)
}

/// Encrypted thinking; also the place for the signature of a tool call, which has none of its own here.
pub(in super::super) fn redacted(signature: &Signature) -> Value {
    object([("type", "redacted_thinking".into()), ("data", wrap(signature).into())])
}
