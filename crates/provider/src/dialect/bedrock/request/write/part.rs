//! Writes the parts of a request's messages as blocks.

use serde_json::{Map, Value, json};
use tollgate_interaction::Dialect;

use super::super::super::additional::Family;
use super::super::super::block::{self, SIGNER};
use super::super::super::media::{Medium, Names};
use crate::chat::{Content, Part, Role, Signature, Source, ToolCall, ToolResult};
use crate::translate::{Losses, Unsupported};

/// Writes what comes before the conversation: text, and what of Converse's own may stand there.
pub(super) fn write_system(parts: Vec<Part>, losses: &mut Losses) -> Result<Vec<Value>, Unsupported> {
    let mut blocks = Vec::with_capacity(parts.len());
    for part in parts {
        let Part { content, at, cache } = part;
        let block = match content {
            Content::Text { text, citations: _ } | Content::Refusal(text) => spoken(text),
            Content::Native { dialect: Dialect::Bedrock, kind, value } => Some(json!({ kind: value })),
            content @ (Content::Image { .. }
            | Content::Audio(_)
            | Content::Video(_)
            | Content::Document { .. }
            | Content::ToolCall(_)
            | Content::ToolResult(_)
            | Content::Thinking { .. }
            | Content::Redacted(_)
            | Content::CustomCall(_)
            | Content::Native { .. }) => {
                losses.lose(&at, format!("{} in a system instruction", content.described()))?;
                None
            }
        };
        push(&mut blocks, block, cache.map(block::cache_point), &at, losses);
    }
    Ok(blocks)
}

/// A block and the cache point behind it.
fn push(blocks: &mut Vec<Value>, block: Option<Value>, cache: Option<Value>, at: &str, losses: &mut Losses) {
    match (block, cache) {
        (Some(block), cache) => {
            blocks.push(block);
            blocks.extend(cache);
        }
        // What is cached up to here can be so up to the block before.
        (None, Some(cache)) if !blocks.is_empty() => blocks.push(cache),
        (None, Some(_)) => losses.note_marker(at),
        (None, None) => {}
    }
}

/// Text as a block. Converse refuses one that is blank, which says nothing.
fn spoken(text: String) -> Option<Value> {
    if text.trim().is_empty() { None } else { Some(json!({ "text": text })) }
}

/// Writes a part of a message by `role`.
///
/// # Errors
/// [`Unsupported`] if there is no block for it.
pub(super) fn write(
    part: Part,
    role: Role,
    family: Family,
    names: &mut Names,
    blocks: &mut Vec<Value>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    if role == Role::System {
        blocks.append(&mut write_system(vec![part], losses)?);
        return Ok(());
    }
    let Part { content, at, cache } = part;
    let block = match content {
        Content::Text { text, citations } => {
            // Only citations of documents in this very conversation mean something to the model.
            let (citations, foreign): (Vec<_>, Vec<_>) =
                citations.into_iter().partition(|citation| citation.url.is_none() && citation.document.is_some());
            if !foreign.is_empty() {
                losses.note(&at);
            }
            if citations.is_empty() { spoken(text) } else { Some(block::cited(text, citations)) }
        }
        Content::Refusal(text) => spoken(text),
        Content::ToolCall(call) => Some(write_call(call, &at, losses)?),
        Content::ToolResult(result) => Some(write_result(result, names, losses)?),
        Content::Thinking { text, signature } => write_thinking(text, signature, family, &at, losses),
        Content::Redacted(signature) => {
            let is_own = belongs(&signature, family);
            if !is_own {
                // Nobody else can read them.
                losses.note(&at);
            }
            is_own.then(|| block::redacted(&signature))
        }
        Content::Image { .. }
        | Content::Audio(_)
        | Content::Video(_)
        | Content::Document { .. }
        | Content::CustomCall(_)
        | Content::Native { .. } => write_medium(content, &at, names, losses)?,
    };
    push(blocks, block, cache.map(block::cache_point), &at, losses);
    Ok(())
}

/// Whether the model that is asked can read what `signature` signs.
fn belongs(signature: &Signature, family: Family) -> bool {
    if family.is_claude() { signature.of == SIGNER } else { signature.of == Dialect::Bedrock }
}

fn write_thinking(
    text: String,
    signature: Option<Signature>,
    family: Family,
    at: &str,
    losses: &mut Losses,
) -> Option<Value> {
    match signature {
        Some(signature) if belongs(&signature, family) => Some(block::thinking(text, Some(&signature))),
        // Others than Claude do not sign.
        None if !family.is_claude() => Some(block::thinking(text, None)),
        // Another provider's, or without what would prove that they are Claude's.
        Some(_) | None => {
            losses.note(at);
            None
        }
    }
}

fn write_call(call: ToolCall, at: &str, losses: &mut Losses) -> Result<Value, Unsupported> {
    let ToolCall { id, name, arguments, signature } = call;
    if signature.is_some() {
        // The call is whole without it.
        losses.note_signature(at);
    }
    let input = match serde_json::from_str(&arguments) {
        Ok(Value::Object(input)) => input,
        _ if arguments.trim().is_empty() => Map::new(),
        _ => {
            losses.lose(at, "arguments that are no JSON object")?;
            Map::new()
        }
    };
    Ok(json!({ "toolUse": { "toolUseId": block::tool_id(id), "name": name, "input": input } }))
}

fn write_result(result: ToolResult, names: &mut Names, losses: &mut Losses) -> Result<Value, Unsupported> {
    let ToolResult { id, name: _, parts, is_error } = result;
    let mut content = Vec::with_capacity(parts.len());
    for Part { content: part, at, cache } in parts {
        if cache.is_some() {
            losses.note_marker(&at);
        }
        let block = match part {
            // A result may be blank: that is what the tool said.
            Content::Text { text, citations: _ } | Content::Refusal(text) => Some(json!({ "text": text })),
            Content::Image { .. }
            | Content::Video(_)
            | Content::Document { .. }
            | Content::CustomCall(_)
            | Content::Native { .. } => write_medium(part, &at, names, losses)?,
            part @ (Content::Audio(_)
            | Content::ToolCall(_)
            | Content::ToolResult(_)
            | Content::Thinking { .. }
            | Content::Redacted(_)) => {
                losses.lose(&at, format!("{} in a tool's result", part.described()))?;
                None
            }
        };
        content.extend(block);
    }
    let mut written = Map::new();
    written.insert("toolUseId".to_owned(), block::tool_id(id).into());
    written.insert("content".to_owned(), content.into());
    if let Some(is_error) = is_error {
        written.insert("status".to_owned(), if is_error { "error" } else { "success" }.into());
    }
    Ok(json!({ "toolResult": written }))
}

/// Writes what is not words: pictures, sound, films, documents, and what only Converse can say.
fn write_medium(
    content: Content,
    at: &str,
    names: &mut Names,
    losses: &mut Losses,
) -> Result<Option<Value>, Unsupported> {
    let what = content.described();
    let (kind, medium, source) = match content {
        Content::Image { source, detail } => {
            // How closely to look is a matter of cost, as for Anthropic's writer.
            if detail.is_some_and(|detail| detail != "auto") {
                losses.note(&format!("{at}.detail"));
            }
            ("image", Medium::Image, source)
        }
        Content::Audio(source) => ("audio", Medium::Audio, source),
        Content::Video(source) => ("video", Medium::Video, source),
        Content::Document { source, name, context, citations } => {
            let Some((format, source)) = write_source(source, Medium::Document, &what, at, losses)? else {
                return Ok(None);
            };
            let mut document = Map::new();
            document.insert("format".to_owned(), format.into());
            document.insert("name".to_owned(), names.name(name.as_deref(), format).into());
            document.insert("source".to_owned(), source);
            if let Some(context) = context {
                document.insert("context".to_owned(), context.into());
            }
            if citations {
                document.insert("citations".to_owned(), json!({ "enabled": true }));
            }
            return Ok(Some(json!({ "document": document })));
        }
        Content::Native { dialect: Dialect::Bedrock, kind, value } => return Ok(Some(json!({ kind: value }))),
        Content::CustomCall(_)
        | Content::Native { .. }
        | Content::Text { .. }
        | Content::Refusal(_)
        | Content::ToolCall(_)
        | Content::ToolResult(_)
        | Content::Thinking { .. }
        | Content::Redacted(_) => return losses.lose(at, what).map(|()| None),
    };
    let written = write_source(source, medium, &what, at, losses)?;
    Ok(written.map(|(format, source)| json!({ kind: { "format": format, "source": source } })))
}

/// The format of a source and the source itself.
fn write_source(
    source: Source,
    medium: Medium,
    what: &str,
    at: &str,
    losses: &mut Losses,
) -> Result<Option<(&'static str, Value)>, Unsupported> {
    let lost = match source {
        Source::Base64 { media_type, base64 } => match medium.format(&media_type) {
            Some(format) => return Ok(Some((format, json!({ "bytes": base64 })))),
            None => format!("{what} of the type `{media_type}`"),
        },
        Source::Text(text) if medium == Medium::Document => return Ok(Some(("txt", json!({ "text": text })))),
        Source::Text(_) => format!("{what} as text"),
        Source::Url { url, media_type } if url.starts_with("s3://") => {
            let format = media_type.as_deref().and_then(|media_type| medium.format(media_type));
            match format.or_else(|| medium.format_of_name(&url)) {
                Some(format) => return Ok(Some((format, json!({ "s3Location": { "uri": url } })))),
                None => format!("{what} of unknown type"),
            }
        }
        Source::Url { .. } => format!("{what} given by its address: send its bytes"),
        Source::File { .. } => format!("{what} that was uploaded to another provider"),
    };
    losses.lose(at, lost).map(|()| None)
}
