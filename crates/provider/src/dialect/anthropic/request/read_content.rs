//! Reads the content of a message: a text, or blocks. A block that only this dialect has stays as it stood.

use std::collections::HashMap;

use serde_json::Value;
use tollgate_interaction::Dialect;

use super::super::citation;
use crate::chat::{CacheFor, Citation, Content, Part, Said, Signature, Source, ToolCall, ToolResult, WebSearch};
use crate::dialect::RequestError;
use crate::translate::Fields;

/// What reading one request gathers on its way.
pub(super) struct Seen {
    /// Fields with meaning that nothing of the conversation can hold.
    pub(super) others: Vec<Said<Value>>,
    /// Names of the functions called so far, by the call's id.
    pub(super) names: HashMap<String, String>,
    /// The search of the web, which stands among the tools.
    pub(super) search: Option<Said<WebSearch>>,
    /// Path of that tool, if a prefix up to it is to be cached.
    pub(super) marked_search: Option<String>,
}

/// Reads a text or an array of blocks.
pub(super) fn read_content(content: Said<Value>, seen: &mut Seen) -> Result<Vec<Part>, RequestError> {
    let Said { value, at } = content;
    match value {
        Value::String(text) if text.is_empty() => Ok(Vec::new()),
        Value::String(text) => Ok(vec![Part::new(Content::text(text), at)]),
        Value::Array(blocks) => {
            let mut parts = Vec::with_capacity(blocks.len());
            for (index, block) in blocks.into_iter().enumerate() {
                parts.push(read_block(block, format!("{at}[{index}]"), seen)?);
            }
            Ok(parts)
        }
        _ => Err(RequestError::Malformed { field: at, expected: "send a string or an array of content blocks" }),
    }
}

fn read_block(block: Value, at: String, seen: &mut Seen) -> Result<Part, RequestError> {
    let Some(kind) = block.get("type").and_then(Value::as_str).map(str::to_owned) else {
        let expected = "send a content block: an object with a `type`";
        return Err(RequestError::Malformed { field: at, expected });
    };
    let source = block.get("source").and_then(|source| source.get("type")).and_then(Value::as_str).unwrap_or_default();
    let is_known = match kind.as_str() {
        "text" | "thinking" | "redacted_thinking" | "tool_use" | "tool_result" => true,
        "image" => matches!(source, "base64" | "url" | "file"),
        "document" => matches!(source, "base64" | "text" | "url" | "file"),
        _ => false,
    };
    if !is_known {
        return Ok(Part::new(Content::Native { dialect: Dialect::Anthropic, kind, value: block }, at));
    }
    let mut fields = Fields::of(block, at)?;
    fields.take("type");
    let cache = read_cache(&mut fields)?;
    let content = match kind.as_str() {
        "image" => Content::Image { source: read_source(&mut fields, seen)?, detail: None },
        "document" => read_document(&mut fields, seen)?,
        "thinking" => Content::Thinking {
            signature: read_signature(&mut fields, "signature")?,
            text: fields.required_text("thinking")?,
        },
        "redacted_thinking" => {
            Content::Redacted(Signature::unwrapped(fields.required_text("data")?, Dialect::Anthropic))
        }
        "tool_use" => read_call(&mut fields, seen)?,
        "tool_result" => read_result(&mut fields, seen)?,
        _ => Content::Text { text: fields.required_text("text")?, citations: read_citations(&mut fields)? },
    };
    let at = fields.at().to_owned();
    seen.others.extend(fields.rest());
    Ok(Part { content, at, cache })
}

/// Reads `cache_control`.
pub(super) fn read_cache(fields: &mut Fields) -> Result<Option<CacheFor>, RequestError> {
    let Some(mut control) = fields.object("cache_control")? else { return Ok(None) };
    match control.text("ttl")?.as_ref().map(|ttl| ttl.value.as_str()) {
        None | Some("5m") => Ok(Some(CacheFor::FiveMinutes)),
        Some("1h") => Ok(Some(CacheFor::OneHour)),
        Some(_) => Err(RequestError::Malformed { field: control.path("ttl"), expected: "send `5m` or `1h`" }),
    }
}

/// Takes an object whose fields nobody here knows.
pub(super) fn read_object(fields: &mut Fields, name: &str) -> Result<Option<Value>, RequestError> {
    let Some(Said { value, at }) = fields.said(name) else { return Ok(None) };
    if !value.is_object() {
        return Err(RequestError::Malformed { field: at, expected: "send an object" });
    }
    Ok(Some(value))
}

fn read_source(fields: &mut Fields, seen: &mut Seen) -> Result<Source, RequestError> {
    let Some(mut source) = fields.object("source")? else {
        return Err(RequestError::Malformed { field: fields.path("source"), expected: "it is missing: send a source" });
    };
    let read = match source.required_text("type")?.as_str() {
        "base64" => {
            Source::Base64 { media_type: source.required_text("media_type")?, base64: source.required_text("data")? }
        }
        "text" => {
            // `text/plain` is the only one there is.
            source.take("media_type");
            Source::Text(source.required_text("data")?)
        }
        "file" => Source::File { dialect: Dialect::Anthropic, id: source.required_text("file_id")? },
        _ => Source::Url { url: source.required_text("url")?, media_type: None },
    };
    seen.others.extend(source.rest());
    Ok(read)
}

fn read_document(fields: &mut Fields, seen: &mut Seen) -> Result<Content, RequestError> {
    let citations = match fields.object("citations")? {
        Some(mut citations) => citations.flag("enabled")?.is_some_and(|enabled| enabled.value),
        None => false,
    };
    Ok(Content::Document {
        source: read_source(fields, seen)?,
        name: fields.text("title")?.map(|title| title.value),
        context: fields.text("context")?.map(|context| context.value),
        citations,
    })
}

/// A signature; an empty one, as translated answers have it, is none.
fn read_signature(fields: &mut Fields, name: &str) -> Result<Option<Signature>, RequestError> {
    let text = fields.text(name)?.map(|text| text.value).filter(|text| !text.is_empty());
    Ok(text.map(|text| Signature::unwrapped(text, Dialect::Anthropic)))
}

fn read_citations(fields: &mut Fields) -> Result<Vec<Citation>, RequestError> {
    let citations = fields.array("citations")?.map(|citations| citations.value).unwrap_or_default();
    Ok(citations.into_iter().filter_map(citation::read).collect())
}

fn read_call(fields: &mut Fields, seen: &mut Seen) -> Result<Content, RequestError> {
    let id = fields.required_text("id")?;
    let name = fields.required_text("name")?;
    let arguments = match read_object(fields, "input")? {
        Some(input) => input.to_string(),
        None => "{}".to_owned(),
    };
    let direct = |caller: &Said<Value>| caller.value.get("type").is_some_and(|kind| kind == "direct");
    seen.others.extend(fields.said("caller").filter(|caller| !direct(caller)));
    seen.names.insert(id.clone(), name.clone());
    Ok(Content::ToolCall(ToolCall { id, name, arguments, signature: None }))
}

fn read_result(fields: &mut Fields, seen: &mut Seen) -> Result<Content, RequestError> {
    let id = fields.required_text("tool_use_id")?;
    let parts = match fields.said("content") {
        Some(Said { value: Value::String(text), at }) => vec![Part::new(Content::text(text), at)],
        Some(content) => read_content(content, seen)?,
        None => Vec::new(),
    };
    let is_error = fields.flag("is_error")?.map(|is_error| is_error.value);
    Ok(Content::ToolResult(ToolResult { name: seen.names.get(&id).cloned(), id, parts, is_error }))
}
