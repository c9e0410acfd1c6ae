//! Pieces of content that requests, answers and streams share: citations, log probabilities, thoughts, data URLs.

use serde_json::{Map, Value, json};
use tollgate_interaction::Dialect;

use crate::chat::{Citation, Content, Signature, Source, TokenLogprob};

/// Between the parts of a summary of thoughts once they are one text.
pub(super) const BETWEEN_THOUGHTS: &str = "\n\n";

/// An object of these fields. `json!` would copy what is put into it, and texts can be long.
pub(super) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Takes the text of a field; empty if there is none.
pub(super) fn take_text(object: &mut Map<String, Value>, name: &str) -> String {
    match object.get_mut(name).map(Value::take) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    }
}

/// Takes the items of an array; none if there is none.
pub(super) fn take_items(object: &mut Map<String, Value>, name: &str) -> Vec<Value> {
    match object.get_mut(name).map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

/// Reads an annotation of a text; `None` if it names no source.
pub(super) fn read_citation(annotation: &Value) -> Option<Citation> {
    let text = |name: &str| annotation.get(name).and_then(Value::as_str).map(str::to_owned);
    let count = |name: &str| annotation.get(name).and_then(Value::as_u64);
    let citation = Citation {
        url: text("url"),
        title: text("title").or_else(|| text("filename")).or_else(|| text("file_id")),
        quote: None,
        span: count("start_index").zip(count("end_index")),
        document: None,
    };
    (citation.url.is_some() || citation.title.is_some()).then_some(citation)
}

/// Writes a citation of a text of `length` characters. A source on the web is cited for a part of the text, a document at
/// a place in it; the API has no field for the quoted words. `None` for one that names neither.
pub(super) fn write_citation(citation: Citation, length: u64) -> Option<Value> {
    let (start, end) = citation.span.unwrap_or((0, length));
    let title = citation.title.unwrap_or_default();
    match (citation.url.filter(|url| !url.is_empty()), citation.document) {
        (Some(url), _) => {
            Some(json!({"type": "url_citation", "start_index": start, "end_index": end, "url": url, "title": title}))
        }
        (None, Some(document)) => {
            // Which of the documents of the request it was: they have no other id here.
            let file_id = format!("document_{}", document.index);
            Some(json!({"type": "file_citation", "file_id": file_id, "filename": title, "index": end}))
        }
        (None, None) => None,
    }
}

/// Reads the log probabilities of tokens; what is none is left out.
pub(super) fn read_logprobs(tokens: Option<&Value>) -> Vec<TokenLogprob> {
    let tokens = tokens.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    tokens.iter().filter_map(read_logprob).collect()
}

fn read_logprob(token: &Value) -> Option<TokenLogprob> {
    let (text, logprob, bytes) = read_alternative(token)?;
    let top = token.get("top_logprobs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Some(TokenLogprob { token: text, logprob, bytes, top: top.iter().filter_map(read_alternative).collect() })
}

fn read_alternative(token: &Value) -> Option<(String, f64, Option<Vec<u8>>)> {
    let text = token.get("token")?.as_str()?.to_owned();
    let bytes = token.get("bytes").and_then(Value::as_array);
    let bytes = bytes.map(|bytes| bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect());
    Some((text, token.get("logprob")?.as_f64()?, bytes))
}

/// Writes log probabilities as a text of an answer has them.
pub(super) fn write_logprobs(tokens: &[TokenLogprob]) -> Value {
    let alternative = |token: &str, logprob: f64, bytes: Option<&[u8]>| json!({"token": token, "bytes": bytes.unwrap_or(token.as_bytes()), "logprob": logprob});
    let token = |token: &TokenLogprob| {
        let mut value = alternative(&token.token, token.logprob, token.bytes.as_deref());
        let top = token.top.iter().map(|(text, logprob, bytes)| alternative(text, *logprob, bytes.as_deref()));
        value["top_logprobs"] = top.collect();
        value
    };
    tokens.iter().map(token).collect()
}

/// Reads a reasoning item: what is shown of the thoughts, and what lets the provider recognise them. `None` if it has
/// neither, as one that the provider keeps has.
pub(super) fn read_thoughts(item: &mut Map<String, Value>) -> Option<Content> {
    let mut texts = Vec::new();
    for field in ["summary", "content"] {
        for part in take_items(item, field) {
            if let Value::Object(mut part) = part {
                texts.push(take_text(&mut part, "text"));
            }
        }
    }
    let encrypted = Some(take_text(item, "encrypted_content")).filter(|text| !text.is_empty());
    let signature = encrypted.map(|text| Signature::unwrapped(text, Dialect::Responses));
    match (texts.is_empty(), signature) {
        (false, signature) => Some(Content::Thinking { text: joined(texts), signature }),
        (true, Some(signature)) => Some(Content::Redacted(signature)),
        (true, None) => None,
    }
}

fn joined(mut texts: Vec<String>) -> String {
    match texts.as_mut_slice() {
        [only] => std::mem::take(only),
        _ => texts.join(BETWEEN_THOUGHTS),
    }
}

/// The media type and the base64 of a `data:` URL, without a copy; the URL itself if it is none.
pub(super) fn read_data_url(mut url: String) -> Result<Source, String> {
    const MARK: &str = ";base64,";
    let parts = url.strip_prefix("data:").and_then(|rest| rest.split_once(MARK));
    let Some((head, base64)) = parts else { return Err(url) };
    let media_type = head.split(';').next().unwrap_or_default().to_owned();
    let start = url.len() - base64.len();
    url.drain(..start);
    Ok(Source::Base64 { media_type, base64: url })
}

/// A `data:` URL.
pub(super) fn write_data_url(media_type: &str, base64: &str) -> String {
    ["data:", media_type, ";base64,", base64].concat()
}
