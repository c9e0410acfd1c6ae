//! Blocks of content as they are read, in requests as in answers, and what writing them has in common. A block is an object
//! with one field, which says what it is; one that only Converse has is kept as it stands.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use tollgate_interaction::Dialect;

use super::citation;
use super::media::Medium;
use crate::chat::{CacheFor, Content, Part, Said, Signature, Source, ToolCall, ToolResult};
use crate::dialect::RequestError;
use crate::translate::Fields;

/// Who signs thoughts on Bedrock: of the models there only Claude does.
pub(super) const SIGNER: Dialect = Dialect::Anthropic;

/// A block as it was read.
pub(super) enum Block {
    Part(Part),
    /// Everything before it is to be cached.
    CachePoint(CacheFor),
    /// It says nothing.
    Empty,
}

/// Reads the block at `at`. What it says beyond what we know goes to `others`.
///
/// # Errors
/// [`RequestError::Malformed`] names the field that is not what Converse wants.
pub(super) fn read(value: Value, at: String, others: &mut Vec<Said<Value>>) -> Result<Block, RequestError> {
    let mut fields = Fields::of(value, at.clone())?;
    let block = match read_known(&mut fields, others)? {
        Some(block) => block,
        None => match fields.rest().next() {
            Some(Said { value, at: path }) => {
                let kind = path.rsplit('.').next().unwrap_or_default().to_owned();
                return Ok(Block::Part(Part::new(native(kind, value), at)));
            }
            None => return Ok(Block::Empty),
        },
    };
    others.extend(fields.rest());
    Ok(block)
}

fn native(kind: impl Into<String>, value: Value) -> Content {
    Content::Native { dialect: Dialect::Bedrock, kind: kind.into(), value }
}

fn read_known(fields: &mut Fields, others: &mut Vec<Said<Value>>) -> Result<Option<Block>, RequestError> {
    let at = fields.at().to_owned();
    let content = if let Some(text) = fields.text("text")? {
        Content::text(text.value)
    } else if let Some(image) = fields.object("image")? {
        Content::Image { source: read_source(image, Medium::Image, others)?, detail: None }
    } else if let Some(audio) = fields.object("audio")? {
        Content::Audio(read_source(audio, Medium::Audio, others)?)
    } else if let Some(video) = fields.object("video")? {
        Content::Video(read_source(video, Medium::Video, others)?)
    } else if let Some(document) = fields.said("document") {
        read_document(document, others)?
    } else if let Some(call) = fields.said("toolUse") {
        read_call(call, others)?
    } else if let Some(result) = fields.said("toolResult") {
        read_result(result, others)?
    } else if let Some(thoughts) = fields.object("reasoningContent")? {
        read_thoughts(thoughts, others)?
    } else if let Some(cited) = fields.object("citationsContent")? {
        read_cited(cited, others)?
    } else if let Some(point) = fields.object("cachePoint")? {
        return read_cache_point(point, others).map(|cache| Some(Block::CachePoint(cache)));
    } else {
        return Ok(None);
    };
    Ok(Some(Block::Part(Part::new(content, at))))
}

/// Reads how long a cache point is to live.
///
/// # Errors
/// [`RequestError::Malformed`] if it says another time than there is.
pub(super) fn read_cache_point(mut point: Fields, others: &mut Vec<Said<Value>>) -> Result<CacheFor, RequestError> {
    point.take("type");
    let cache = match point.text("ttl")? {
        None => CacheFor::FiveMinutes,
        Some(ttl) => match ttl.value.as_str() {
            "5m" => CacheFor::FiveMinutes,
            "1h" => CacheFor::OneHour,
            _ => return Err(RequestError::Malformed { field: ttl.at, expected: "send `5m` or `1h`" }),
        },
    };
    others.extend(point.rest());
    Ok(cache)
}

/// The cache point that stands for a marker.
pub(super) fn cache_point(cache: CacheFor) -> Value {
    match cache {
        CacheFor::FiveMinutes => json!({ "cachePoint": { "type": "default" } }),
        CacheFor::OneHour => json!({ "cachePoint": { "type": "default", "ttl": "1h" } }),
    }
}

/// Reads the bytes of a picture, sound or film, or where they are.
fn read_source(mut medium: Fields, kind: Medium, others: &mut Vec<Said<Value>>) -> Result<Source, RequestError> {
    let format = medium.text("format")?.map(|format| format.value);
    let at = medium.path("source");
    // What went wrong with it, in an answer.
    medium.take("error");
    let Some(source) = medium.object("source")? else {
        return Err(RequestError::Malformed { field: at, expected: "send `bytes` or `s3Location`" });
    };
    others.extend(medium.rest());
    read_place(source, kind, format, others)
}

fn read_place(
    mut source: Fields,
    kind: Medium,
    format: Option<String>,
    others: &mut Vec<Said<Value>>,
) -> Result<Source, RequestError> {
    let media_type = format.map(|format| kind.media_type(&format));
    let place = if let Some(bytes) = source.text("bytes")? {
        let media_type = media_type.unwrap_or_else(|| "application/octet-stream".to_owned());
        Source::Base64 { media_type, base64: bytes.value }
    } else if let Some(text) = source.text("text")? {
        Source::Text(text.value)
    } else if let Some(mut object) = source.object("s3Location")? {
        let url = object.required_text("uri")?;
        others.extend(object.rest());
        Source::Url { url, media_type }
    } else {
        let field = source.at().to_owned();
        return Err(RequestError::Malformed { field, expected: "send `bytes`, `text` or `s3Location`" });
    };
    others.extend(source.rest());
    Ok(place)
}

fn read_document(document: Said<Value>, others: &mut Vec<Said<Value>>) -> Result<Content, RequestError> {
    // Blocks within a document are numbered by its citations: they are one text to nobody else.
    if document.value.get("source").and_then(|source| source.get("content")).is_some() {
        return Ok(native("document", document.value));
    }
    let mut fields = Fields::of(document.value, document.at)?;
    let format = fields.text("format")?.map(|format| format.value);
    let name = fields.text("name")?.map(|name| name.value);
    let context = fields.text("context")?.map(|context| context.value);
    let mut citations = false;
    if let Some(mut config) = fields.object("citations")? {
        citations = config.flag("enabled")?.is_some_and(|enabled| enabled.value);
        others.extend(config.rest());
    }
    let at = fields.path("source");
    let Some(source) = fields.object("source")? else {
        return Err(RequestError::Malformed { field: at, expected: "send `bytes`, `text` or `s3Location`" });
    };
    others.extend(fields.rest());
    let source = read_place(source, Medium::Document, format, others)?;
    Ok(Content::Document { source, name, context, citations })
}

fn read_call(call: Said<Value>, others: &mut Vec<Said<Value>>) -> Result<Content, RequestError> {
    // A tool of the provider's own, which it has run itself.
    if call.value.get("type").is_some_and(|kind| !kind.is_null()) {
        return Ok(native("toolUse", call.value));
    }
    let mut fields = Fields::of(call.value, call.at)?;
    let id = fields.required_text("toolUseId")?;
    let name = fields.required_text("name")?;
    let arguments = arguments(fields.take("input"));
    others.extend(fields.rest());
    Ok(Content::ToolCall(ToolCall { id, name, arguments, signature: None }))
}

/// Arguments as JSON text. A text is what a model wrote that was no JSON.
fn arguments(input: Option<Value>) -> String {
    match input {
        None => "{}".to_owned(),
        Some(Value::String(text)) => text,
        Some(input) => input.to_string(),
    }
}

fn read_result(result: Said<Value>, others: &mut Vec<Said<Value>>) -> Result<Content, RequestError> {
    if result.value.get("type").is_some_and(|kind| !kind.is_null()) {
        return Ok(native("toolResult", result.value));
    }
    let mut fields = Fields::of(result.value, result.at)?;
    let id = fields.required_text("toolUseId")?;
    let is_error = match fields.text("status")? {
        None => None,
        Some(status) => match status.value.as_str() {
            "success" => Some(false),
            "error" => Some(true),
            _ => return Err(RequestError::Malformed { field: status.at, expected: "send `success` or `error`" }),
        },
    };
    let mut parts = Vec::new();
    if let Some(Said { value: blocks, at }) = fields.array("content")? {
        for (index, block) in blocks.into_iter().enumerate() {
            parts.extend(read_result_part(block, format!("{at}[{index}]"), others)?);
        }
    }
    others.extend(fields.rest());
    Ok(Content::ToolResult(ToolResult { id, name: None, parts, is_error }))
}

fn read_result_part(mut block: Value, at: String, others: &mut Vec<Said<Value>>) -> Result<Option<Part>, RequestError> {
    // JSON is text to everybody else.
    if let Some(json) = block.get_mut("json").map(Value::take).filter(|json| !json.is_null()) {
        return Ok(Some(Part::new(Content::text(json.to_string()), at)));
    }
    Ok(match read(block, at, others)? {
        Block::Part(part) => Some(part),
        Block::CachePoint(_) | Block::Empty => None,
    })
}

fn read_thoughts(mut thoughts: Fields, others: &mut Vec<Said<Value>>) -> Result<Content, RequestError> {
    let content = if let Some(mut reasoning) = thoughts.object("reasoningText")? {
        let text = reasoning.text("text")?.map(|text| text.value).unwrap_or_default();
        let signature = reasoning.text("signature")?.filter(|signature| !signature.value.is_empty());
        others.extend(reasoning.rest());
        Content::Thinking { text, signature: signature.map(|signature| Signature::unwrapped(signature.value, SIGNER)) }
    } else if let Some(redacted) = thoughts.text("redactedContent")? {
        Content::Redacted(unwrapped_blob(redacted.value))
    } else {
        let field = thoughts.at().to_owned();
        return Err(RequestError::Malformed { field, expected: "send `reasoningText` or `redactedContent`" });
    };
    others.extend(thoughts.rest());
    Ok(content)
}

/// The encrypted thoughts in a blob, which is base64. Claude's are base64 already, and stand in a Messages call as they
/// stand here; another provider's are wrapped in a text.
pub(super) fn unwrapped_blob(base64: String) -> Signature {
    let text = STANDARD.decode(&base64).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match text.map(|text| Signature::unwrapped(text, SIGNER)) {
        Some(signature) if signature.of != SIGNER => signature,
        _ => Signature { of: SIGNER, text: base64 },
    }
}

/// The blob that holds encrypted thoughts.
pub(super) fn wrapped_blob(signature: &Signature) -> String {
    let text = signature.wrapped(SIGNER);
    if signature.of == SIGNER && STANDARD.decode(&text).is_ok() { text } else { STANDARD.encode(text) }
}

fn read_cited(mut cited: Fields, others: &mut Vec<Said<Value>>) -> Result<Content, RequestError> {
    let mut text = String::new();
    for piece in cited.array("content")?.into_iter().flat_map(|pieces| pieces.value) {
        text.push_str(piece.get("text").and_then(Value::as_str).unwrap_or_default());
    }
    let citations = cited.array("citations")?.map(|citations| citations.value).unwrap_or_default();
    others.extend(cited.rest());
    Ok(Content::Text { text, citations: citations.iter().map(citation::read).collect() })
}

/// A block of thoughts.
pub(super) fn thinking(text: String, signature: Option<&Signature>) -> Value {
    let mut reasoning = Map::new();
    reasoning.insert("text".to_owned(), text.into());
    if let Some(signature) = signature {
        reasoning.insert("signature".to_owned(), signature.wrapped(SIGNER).into());
    }
    json!({ "reasoningContent": { "reasoningText": reasoning } })
}

/// A block of encrypted thoughts; also the place for the signature of another provider's call, which has none of its own.
pub(super) fn redacted(signature: &Signature) -> Value {
    json!({ "reasoningContent": { "redactedContent": wrapped_blob(signature) } })
}

/// A block of text and what it cites.
pub(super) fn cited(text: String, citations: Vec<crate::chat::Citation>) -> Value {
    if citations.is_empty() {
        return json!({ "text": text });
    }
    let citations: Vec<Value> = citations.into_iter().map(citation::write).collect();
    json!({ "citationsContent": { "content": [{ "text": text }], "citations": citations } })
}

/// A tool's id in the letters Converse allows, so that a call and its result still find each other.
pub(super) fn tool_id(id: String) -> String {
    const MAX_CHARS: usize = 64;
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | ':' | '-');
    if !id.is_empty() && id.len() <= MAX_CHARS && id.chars().all(is_plain) {
        return id;
    }
    let plain: String = id.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
    // The end of an id tells it from others more often than its beginning.
    let end = plain.get(plain.len().saturating_sub(MAX_CHARS)..).unwrap_or_default();
    if end.is_empty() { "_".to_owned() } else { end.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encrypted_thoughts_travel_in_a_blob() {
        let own = Signature { of: SIGNER, text: "EmwKAhgB".to_owned() };
        assert_eq!(wrapped_blob(&own), "EmwKAhgB");
        assert_eq!(unwrapped_blob("EmwKAhgB".to_owned()), own);
        let foreign = Signature { of: Dialect::Responses, text: "gAAAA-_".to_owned() };
        let blob = wrapped_blob(&foreign);
        assert!(STANDARD.decode(&blob).is_ok());
        assert_eq!(unwrapped_blob(blob), foreign);
    }

    #[test]
    fn ids_keep_to_the_letters_allowed() {
        assert_eq!(tool_id("call_1|fc_2".to_owned()), "call_1_fc_2");
        assert_eq!(tool_id("toolu_01.:-".to_owned()), "toolu_01.:-");
        assert_eq!(tool_id("x".repeat(100)).len(), 64);
        assert_eq!(tool_id(String::new()), "_");
    }
}
