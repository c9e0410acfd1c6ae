//! Writes answers, whole and in pieces.

use serde_json::{Map, Value, json};
use tollgate_interaction::Usage;

use super::{WrittenCitations, logprobs};
use crate::chat::{Answer, Choice, Content, Part, Signature, Source, Stop, Tier, TokenLogprob, ToolCall};
use crate::dialect::gemini::{arguments_object, bytes, object, usage, write_signature};
use crate::translate::Asked;

/// Writes a whole answer.
pub(crate) fn write(answer: Answer, asked: &Asked) -> Value {
    let Answer { id, created_at_s: _, model, choices, usage, service_tier } = answer;
    let candidates = choices.into_iter().enumerate().map(|(index, choice)| write_choice(index, choice)).collect();
    let mut body = base(&model, id.as_deref(), asked);
    if let Value::Object(fields) = &mut body {
        fields.insert("candidates".to_owned(), candidates);
        fields.extend(usage.map(|usage| ("usageMetadata".to_owned(), usage_metadata(&usage, service_tier))));
    }
    body
}

/// What every piece says of the answer as a whole.
pub(in crate::dialect::gemini) fn base(model: &str, id: Option<&str>, asked: &Asked) -> Value {
    let model = if model.is_empty() { &asked.model } else { model };
    object([("modelVersion", model.into()), ("responseId", id.unwrap_or(&asked.id).into())])
}

/// `usageMetadata`, with Vertex AI's word for the tier where there is one.
pub(in crate::dialect::gemini) fn usage_metadata(usage: &Usage, service_tier: Option<Tier>) -> Value {
    let mut metadata = usage::write(usage);
    let traffic = match service_tier {
        Some(Tier::Standard) => Some("ON_DEMAND"),
        Some(Tier::Flex) => Some("ON_DEMAND_FLEX"),
        Some(Tier::Priority) => Some("ON_DEMAND_PRIORITY"),
        Some(Tier::Reserved) => Some("PROVISIONED_THROUGHPUT"),
        Some(Tier::Batch) | None => None,
    };
    if let (Some(traffic), Value::Object(fields)) = (traffic, &mut metadata) {
        fields.insert("trafficType".to_owned(), traffic.into());
    }
    metadata
}

fn write_choice(index: usize, choice: Choice) -> Value {
    let Choice { parts, stop, logprobs } = choice;
    let mut written = Vec::with_capacity(parts.len());
    let mut cited = WrittenCitations::default();
    for Part { content, .. } in parts {
        if let Some(part) = write_content(content, written.len(), &mut cited) {
            written.push(part);
        }
    }
    if written.is_empty() {
        // The official clients leave an answer without parts out of the conversation.
        written.push(object([("text", "".into())]));
    }
    let mut candidate = Map::from_iter([("content".to_owned(), model_content(written))]);
    candidate_end(&mut candidate, stop.as_ref(), cited, logprobs);
    candidate.insert("index".to_owned(), index.into());
    Value::Object(candidate)
}

fn model_content(parts: Vec<Value>) -> Value {
    object([("parts", Value::Array(parts)), ("role", "model".into())])
}

/// The part that says `content`; `None` for what Google has no word for.
fn write_content(content: Content, place: usize, cited: &mut WrittenCitations) -> Option<Value> {
    Some(match content {
        Content::Text { text, citations } => {
            cited.add(place, &text, citations);
            object([("text", text.into())])
        }
        Content::Refusal(text) => object([("text", text.into())]),
        Content::Thinking { text, signature } => {
            signed_part(object([("text", text.into()), ("thought", true.into())]), signature.as_ref())
        }
        Content::Redacted(signature) => signed_part(object([("text", "".into())]), Some(&signature)),
        Content::ToolCall(call) => write_call(call),
        Content::Image { source, .. }
        | Content::Audio(source)
        | Content::Video(source)
        | Content::Document { source, .. } => write_source(source),
        Content::Native { dialect: tollgate_interaction::Dialect::Gemini, value, .. } => value,
        // A model does not give results of tools, and no one else's own words are understood here.
        Content::ToolResult(_) | Content::CustomCall(_) | Content::Native { .. } => return None,
    })
}

pub(in crate::dialect::gemini) fn write_call(call: ToolCall) -> Value {
    let ToolCall { id, name, arguments, signature } = call;
    let arguments = match arguments_object(&arguments) {
        Some(arguments) => Value::Object(arguments),
        // Models err: what they wrote is not lost.
        None => object([("arguments", arguments.into())]),
    };
    let call = object([("id", id.into()), ("name", name.into()), ("args", arguments)]);
    signed_part(object([("functionCall", call)]), signature.as_ref())
}

pub(in crate::dialect::gemini) fn write_source(source: Source) -> Value {
    match source {
        Source::Base64 { media_type, base64 } => {
            object([("inlineData", object([("mimeType", media_type.into()), ("data", base64.into())]))])
        }
        Source::Text(text) => {
            let base64 = bytes::encoded(text.as_bytes());
            object([("inlineData", object([("mimeType", "text/plain".into()), ("data", base64.into())]))])
        }
        Source::Url { url, media_type } => {
            let mut file = Map::from_iter([("fileUri".to_owned(), url.into())]);
            file.extend(media_type.map(|media_type| ("mimeType".to_owned(), media_type.into())));
            object([("fileData", Value::Object(file))])
        }
        Source::File { id, .. } => object([("fileData", object([("fileUri", id.into())]))]),
    }
}

/// `part` with its signature.
pub(in crate::dialect::gemini) fn signed_part(mut part: Value, signature: Option<&Signature>) -> Value {
    if let (Some(signature), Value::Object(fields)) = (signature, &mut part) {
        fields.insert("thoughtSignature".to_owned(), write_signature(signature).into());
    }
    part
}

/// Adds what is told at the end of a candidate.
pub(in crate::dialect::gemini) fn candidate_end(
    candidate: &mut Map<String, Value>,
    stop: Option<&Stop>,
    cited: WrittenCitations,
    logprobs: Vec<TokenLogprob>,
) {
    if let Some(stop) = stop {
        let (reason, message) = finish_reason(stop);
        candidate.insert("finishReason".to_owned(), reason.into());
        candidate.extend(message.map(|message| ("finishMessage".to_owned(), message.into())));
    }
    candidate.extend(cited.into_metadata().map(|metadata| ("groundingMetadata".to_owned(), metadata)));
    if let Some((result, average)) = logprobs::write(logprobs) {
        candidate.insert("avgLogprobs".to_owned(), json!(average));
        candidate.insert("logprobsResult".to_owned(), result);
    }
}

/// Google's word, and the provider's own where it says more.
fn finish_reason(stop: &Stop) -> (&'static str, Option<&str>) {
    match stop {
        Stop::End | Stop::StopText(_) | Stop::ToolUse => ("STOP", None),
        Stop::Length => ("MAX_TOKENS", None),
        Stop::ContextFull => ("MAX_TOKENS", Some("the context window is full")),
        Stop::Filtered => ("SAFETY", None),
        Stop::Refused => ("SAFETY", Some("the model refused")),
        Stop::Paused => ("OTHER", Some("paused: send the answer back to go on")),
        Stop::MalformedCall => ("MALFORMED_FUNCTION_CALL", None),
        Stop::MalformedAnswer => ("MALFORMED_RESPONSE", None),
        Stop::Other(word) => ("OTHER", Some(word)),
    }
}
