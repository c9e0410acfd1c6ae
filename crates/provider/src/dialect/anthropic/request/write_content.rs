//! Writes the content of a message as blocks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use tollgate_interaction::Dialect;

use super::super::{citation, object};
use crate::chat::{CacheFor, Citation, Content, Part, Signature, Source, ToolCall, ToolResult};
use crate::translate::{Losses, Unsupported};

/// Media types of pictures.
const PICTURES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];
const PDF: &str = "application/pdf";

/// The one text in `blocks`, if it is nothing more: the short form of content.
pub(super) fn shortened(mut blocks: Vec<Value>) -> Value {
    if let [Value::Object(block)] = blocks.as_mut_slice()
        && block.len() == 2
        && block.get("type").is_some_and(|kind| kind == "text")
        && let Some(text) = block.remove("text")
    {
        return text;
    }
    blocks.into()
}

/// What the model is told before the conversation: words only.
pub(super) fn write_system(parts: Vec<Part>, losses: &mut Losses) -> Result<Value, Unsupported> {
    let mut words = Vec::with_capacity(parts.len());
    for part in parts {
        if matches!(part.content, Content::Text { .. }) {
            words.push(part);
        } else {
            losses.lose(&part.at, format!("{} in the system prompt", part.content.described()))?;
        }
    }
    Ok(shortened(write_parts(words, losses)?))
}

/// Writes parts of one message. Empty texts, which the provider refuses, say nothing and are left out.
pub(super) fn write_parts(parts: Vec<Part>, losses: &mut Losses) -> Result<Vec<Value>, Unsupported> {
    let mut blocks = Vec::with_capacity(parts.len());
    for Part { content, at, cache } in parts {
        if let Content::ToolCall(ToolCall { signature: Some(_), .. }) = &content {
            // Another provider's. The call is whole without it.
            losses.note_signature(&at);
        }
        let can_be_marked =
            !matches!(content, Content::Thinking { .. } | Content::Redacted(_) | Content::Native { .. });
        let Some(mut block) = write_block(content, &at, losses)? else { continue };
        match cache {
            Some(cache) if can_be_marked => block["cache_control"] = cache_control(cache),
            Some(_) => losses.note_marker(&at),
            None => {}
        }
        blocks.push(block);
    }
    Ok(blocks)
}

/// `cache_control`.
pub(super) fn cache_control(cache: CacheFor) -> Value {
    match cache {
        CacheFor::FiveMinutes => json!({ "type": "ephemeral" }),
        CacheFor::OneHour => json!({ "type": "ephemeral", "ttl": "1h" }),
    }
}

fn write_block(content: Content, at: &str, losses: &mut Losses) -> Result<Option<Value>, Unsupported> {
    let described = content.described();
    let block = match content {
        Content::Text { text, .. } if text.is_empty() => return Ok(None),
        Content::Text { text, citations } => write_text(text, citations, at, losses),
        Content::Refusal(text) => object([("type", "text".into()), ("text", text.into())]),
        Content::Image { source, detail } => {
            // How closely to look changes the price more than the answer.
            if detail.is_some_and(|detail| detail != "auto") {
                losses.note(&format!("{at}.detail"));
            }
            return write_image(source, at, losses);
        }
        Content::Document { source, name, context, citations } => {
            let Some(source) = write_document_source(source, at, losses)? else { return Ok(None) };
            write_document(source, name, context, citations)
        }
        Content::ToolCall(call) => write_call(call, at, losses)?,
        Content::ToolResult(result) => write_result(result, losses)?,
        Content::Thinking { text, signature: Some(Signature { of: Dialect::Anthropic, text: signature }) } => {
            object([("type", "thinking".into()), ("thinking", text.into()), ("signature", signature.into())])
        }
        Content::Redacted(Signature { of: Dialect::Anthropic, text }) => {
            object([("type", "redacted_thinking".into()), ("data", text.into())])
        }
        Content::Native { dialect: Dialect::Anthropic, kind: _, value } => value,
        // Another provider's, or without what would prove that they are this one's: nobody can read them.
        Content::Thinking { .. } | Content::Redacted(_) => {
            losses.note(at);
            return Ok(None);
        }
        Content::Audio(_) | Content::Video(_) | Content::CustomCall(_) | Content::Native { .. } => {
            losses.lose(at, described)?;
            return Ok(None);
        }
    };
    Ok(Some(block))
}

fn write_text(text: String, citations: Vec<Citation>, at: &str, losses: &mut Losses) -> Value {
    let mut block = object([("type", "text".into()), ("text", text.into())]);
    let count = citations.len();
    let citations: Vec<Value> = citations.into_iter().filter_map(citation::write_back).collect();
    if citations.len() < count {
        losses.note(&format!("{at}.citations"));
    }
    if !citations.is_empty() {
        block["citations"] = citations.into();
    }
    block
}

fn write_image(source: Source, at: &str, losses: &mut Losses) -> Result<Option<Value>, Unsupported> {
    let source = match source {
        Source::Base64 { media_type, base64 } if PICTURES.contains(&media_type.as_str()) => {
            object([("type", "base64".into()), ("media_type", media_type.into()), ("data", base64.into())])
        }
        Source::Base64 { media_type, .. } => return lose(losses, at, format!("an image of the type `{media_type}`")),
        Source::Text(_) => return lose(losses, at, "an image made of text".to_owned()),
        Source::Url { url, .. } if is_web(&url) => object([("type", "url".into()), ("url", url.into())]),
        Source::Url { .. } => return lose(losses, at, "an image that is not on the web".to_owned()),
        Source::File { dialect: Dialect::Anthropic, id } => json!({ "type": "file", "file_id": id }),
        Source::File { .. } => return lose(losses, at, "a file of another provider".to_owned()),
    };
    Ok(Some(object([("type", "image".into()), ("source", source)])))
}

fn lose(losses: &mut Losses, at: &str, what: String) -> Result<Option<Value>, Unsupported> {
    losses.lose(at, what).map(|()| None)
}

fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

fn write_document_source(source: Source, at: &str, losses: &mut Losses) -> Result<Option<Value>, Unsupported> {
    Ok(Some(match source {
        Source::Text(text) => {
            object([("type", "text".into()), ("media_type", "text/plain".into()), ("data", text.into())])
        }
        Source::Base64 { media_type, base64 } if media_type == PDF => {
            object([("type", "base64".into()), ("media_type", media_type.into()), ("data", base64.into())])
        }
        Source::Base64 { media_type, base64 } => match as_text(&media_type, &base64) {
            Some(text) => object([("type", "text".into()), ("media_type", "text/plain".into()), ("data", text.into())]),
            None => return lose(losses, at, format!("a document of the type `{media_type}`")),
        },
        Source::Url { url, media_type } => match media_type {
            Some(media_type) if media_type != PDF => {
                return lose(losses, at, format!("a document of the type `{media_type}` that is not in the request"));
            }
            _ if is_web(&url) => object([("type", "url".into()), ("url", url.into())]),
            _ => return lose(losses, at, "a document that is not on the web".to_owned()),
        },
        Source::File { dialect: Dialect::Anthropic, id } => json!({ "type": "file", "file_id": id }),
        Source::File { .. } => return lose(losses, at, "a file of another provider".to_owned()),
    }))
}

/// The text of a document in base64 that is a text.
fn as_text(media_type: &str, base64: &str) -> Option<String> {
    let is_text = media_type.starts_with("text/") || media_type == "application/json";
    let bytes = is_text.then(|| STANDARD.decode(base64).ok()).flatten()?;
    String::from_utf8(bytes).ok()
}

fn write_document(source: Value, name: Option<String>, context: Option<String>, citations: bool) -> Value {
    let mut block = object([("type", "document".into()), ("source", source)]);
    if let Some(name) = name {
        block["title"] = name.into();
    }
    if let Some(context) = context {
        block["context"] = context.into();
    }
    if citations {
        block["citations"] = json!({ "enabled": true });
    }
    block
}

fn write_call(call: ToolCall, at: &str, losses: &mut Losses) -> Result<Value, Unsupported> {
    let ToolCall { id, name, arguments, signature: _ } = call;
    let input = match input(arguments) {
        Ok(input) => input,
        Err(arguments) => {
            losses.lose(at, "arguments of a tool call that are no JSON object")?;
            wrapped(arguments)
        }
    };
    Ok(object([("type", "tool_use".into()), ("id", as_id(id).into()), ("name", name.into()), ("input", input)]))
}

/// The arguments as an object, or as they were if they are none. No arguments are an empty object.
pub(in super::super) fn input(arguments: String) -> Result<Value, String> {
    if arguments.trim().is_empty() {
        return Ok(Map::new().into());
    }
    match serde_json::from_str(&arguments) {
        Ok(input @ Value::Object(_)) => Ok(input),
        _ => Err(arguments),
    }
}

/// An object for arguments that are none: `input` must be one.
pub(in super::super) fn wrapped(arguments: String) -> Value {
    object([("arguments", arguments.into())])
}

/// An id as this dialect allows it. Other dialects' may hold other characters; a call and its result change alike.
fn as_id(id: String) -> String {
    let allowed = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == '-';
    if id.chars().all(allowed) && !id.is_empty() {
        return id;
    }
    let id: String = id.chars().map(|character| if allowed(character) { character } else { '_' }).collect();
    if id.is_empty() { "_".to_owned() } else { id }
}

fn write_result(result: ToolResult, losses: &mut Losses) -> Result<Value, Unsupported> {
    let ToolResult { id, name: _, parts, is_error } = result;
    let mut block = json!({ "type": "tool_result", "tool_use_id": as_id(id) });
    let mut allowed = Vec::with_capacity(parts.len());
    for part in parts {
        match part.content {
            Content::ToolCall(_) | Content::ToolResult(_) | Content::Thinking { .. } | Content::Redacted(_) => {
                losses.lose(&part.at, format!("{} inside a tool's result", part.content.described()))?;
            }
            Content::Text { .. }
            | Content::Refusal(_)
            | Content::Image { .. }
            | Content::Audio(_)
            | Content::Video(_)
            | Content::Document { .. }
            | Content::CustomCall(_)
            | Content::Native { .. } => allowed.push(part),
        }
    }
    let blocks = write_parts(allowed, losses)?;
    if !blocks.is_empty() {
        block["content"] = shortened(blocks);
    }
    if is_error == Some(true) {
        block["is_error"] = true.into();
    }
    Ok(block)
}
