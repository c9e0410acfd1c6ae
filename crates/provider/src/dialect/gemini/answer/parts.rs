//! The parts of an answer.

use serde_json::Value;
use tollgate_interaction::Dialect;

use crate::chat::{Content, Signature, Source, ToolCall};
use crate::dialect::gemini::proto::{take, take_text};
use crate::dialect::gemini::{bytes, native_kind, read_signature};

/// What a part holds beside a signature.
pub(in crate::dialect::gemini) enum PartKind {
    Text(String),
    Thought(String),
    Call(ToolCall),
    /// What comes whole: pictures, sound, Google's own tools at work.
    Whole(Content),
}

/// A part and its signature, which of a call and of a thought is its own.
pub(in crate::dialect::gemini) struct ReadPart {
    pub(in crate::dialect::gemini) kind: PartKind,
    pub(in crate::dialect::gemini) signature: Option<Signature>,
}

impl ReadPart {
    /// As contents: a signature of text stands behind it.
    pub(super) fn into_contents(self) -> impl Iterator<Item = Content> {
        let ReadPart { kind, signature } = self;
        let (content, behind) = match kind {
            PartKind::Thought(text) => (Some(Content::Thinking { text, signature }), None),
            PartKind::Call(call) => (Some(Content::ToolCall(ToolCall { signature, ..call })), None),
            PartKind::Text(text) => ((!text.is_empty()).then(|| Content::text(text)), signature),
            PartKind::Whole(content) => (Some(content), signature),
        };
        let behind = behind.map(|signature| Content::Thinking { text: String::new(), signature: Some(signature) });
        content.into_iter().chain(behind)
    }
}

/// Reads a part; `None` if it says nothing.
pub(in crate::dialect::gemini) fn read_part(mut part: Value) -> Option<ReadPart> {
    if let Some(kind) = native_kind(&part) {
        let content = Content::Native { dialect: Dialect::Gemini, kind: kind.to_owned(), value: part };
        return Some(ReadPart { kind: PartKind::Whole(content), signature: None });
    }
    let signature = take_text(&mut part, "thoughtSignature").map(read_signature);
    let thought = take(&mut part, "thought") == Some(Value::Bool(true));
    if let Some(call) = take(&mut part, "functionCall") {
        let call = read_call(call);
        return Some(ReadPart { kind: PartKind::Call(call), signature });
    }
    if let Some(content) = read_media(&mut part) {
        // A picture that was only thought of on the way is not the answer.
        return (!thought).then_some(ReadPart { kind: PartKind::Whole(content), signature });
    }
    let text = take_text(&mut part, "text").unwrap_or_default();
    if text.is_empty() && signature.is_none() {
        return None;
    }
    let kind = if thought { PartKind::Thought(text) } else { PartKind::Text(text) };
    Some(ReadPart { kind, signature })
}

fn read_call(mut call: Value) -> ToolCall {
    ToolCall {
        id: take_text(&mut call, "id").unwrap_or_default(),
        name: take_text(&mut call, "name").unwrap_or_default(),
        arguments: argument_text(take(&mut call, "args")),
        signature: None,
    }
}

/// Arguments as JSON text.
fn argument_text(arguments: Option<Value>) -> String {
    arguments.map_or_else(|| "{}".to_owned(), |arguments| arguments.to_string())
}

fn read_media(part: &mut Value) -> Option<Content> {
    let (source, media_type) = if let Some(mut data) = take(part, "inlineData") {
        let media_type = take_text(&mut data, "mimeType").unwrap_or_default();
        let base64 = bytes::standard(take_text(&mut data, "data").unwrap_or_default());
        (Source::Base64 { media_type: media_type.clone(), base64 }, media_type)
    } else {
        let mut file = take(part, "fileData")?;
        let media_type = take_text(&mut file, "mimeType");
        let url = take_text(&mut file, "fileUri").unwrap_or_default();
        (Source::Url { url, media_type: media_type.clone() }, media_type.unwrap_or_default())
    };
    Some(match media_type.split('/').next() {
        Some("audio") => Content::Audio(source),
        Some("video") => Content::Video(source),
        Some("image") => Content::Image { source, detail: None },
        _ => Content::Document { source, name: None, context: None, citations: false },
    })
}
