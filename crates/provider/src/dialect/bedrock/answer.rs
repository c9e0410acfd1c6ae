//! Whole answers of Converse. They name neither themselves nor their model, unless a prompt router chose it. An answer that
//! comes from elsewhere has no latency of Bedrock's: `metrics`, which clients take for granted, says zero.

use serde_json::{Map, Value, json};
use tollgate_interaction::Dialect;

use super::block::{self, Block};
use super::media::Medium;
use super::usage;
use crate::chat::{Answer, Choice, Content, Part, Source, Stop, Tier, ToolCall};
use crate::dialect::RequestError;
use crate::translate::AnswerError;

/// Reads a whole answer.
///
/// # Errors
/// [`AnswerError`] names the field that is not what Converse promises.
pub(crate) fn read(mut body: Value) -> Result<Answer, AnswerError> {
    let missing = |at: &str, expected| AnswerError { at: at.to_owned(), expected };
    let Some(message) = body.get_mut("output").and_then(|output| output.get_mut("message")) else {
        return Err(missing("output.message", "a message"));
    };
    let Some(Value::Array(blocks)) = message.get_mut("content").map(Value::take) else {
        return Err(missing("output.message.content", "an array of blocks"));
    };
    let mut parts = Vec::with_capacity(blocks.len());
    for (index, value) in blocks.into_iter().enumerate() {
        let at = format!("output.message.content[{index}]");
        // What an answer says beyond what we know is for Converse's own clients.
        let block = block::read(value, at.clone(), &mut Vec::new()).map_err(|error| match error {
            RequestError::Malformed { field, .. } => missing(&field, "what Converse promises"),
            _ => missing(&at, "a block of content"),
        })?;
        if let Block::Part(part) = block {
            parts.push(Part { at: String::new(), ..part });
        }
    }
    // An empty text is how an empty answer looks.
    parts.retain(|part| part.content != Content::text(""));
    let reason = body.get("stopReason").and_then(Value::as_str);
    let stop = reason.map(|reason| read_stop(reason, body.get("additionalModelResponseFields")));
    Ok(Answer {
        id: None,
        created_at_s: None,
        model: invoked_model(&body).unwrap_or_default(),
        choices: vec![Choice { parts, stop, logprobs: Vec::new() }],
        usage: body.get("usage").and_then(usage::read),
        service_tier: read_tier(&body),
    })
}

/// The model that a prompt router chose. It stands in `trace`, of an answer as of a stream's `metadata`.
pub(super) fn invoked_model(body: &Value) -> Option<String> {
    let model = body.get("trace")?.get("promptRouter")?.get("invokedModelId")?.as_str()?;
    Some(model.to_owned())
}

/// The tier that served it.
pub(super) fn read_tier(body: &Value) -> Option<Tier> {
    Tier::from_word(body.get("serviceTier")?.get("type")?.as_str()?)
}

/// Why an answer ended, and at which stop text, if the caller asked for that field.
pub(super) fn read_stop(reason: &str, fields: Option<&Value>) -> Stop {
    match reason {
        "end_turn" => Stop::End,
        "tool_use" => Stop::ToolUse,
        "max_tokens" => Stop::Length,
        "stop_sequence" => {
            let text = fields.and_then(|fields| fields.get("stop_sequence")).and_then(Value::as_str);
            Stop::StopText(text.map(str::to_owned))
        }
        "guardrail_intervened" | "content_filtered" => Stop::Filtered,
        "model_context_window_exceeded" => Stop::ContextFull,
        "malformed_tool_use" => Stop::MalformedCall,
        "malformed_model_output" => Stop::MalformedAnswer,
        other => Stop::Other(other.to_owned()),
    }
}

/// The word for a reason, of the nine that clients know.
pub(super) fn stop_word(stop: &Stop) -> &'static str {
    match stop {
        Stop::End => "end_turn",
        // What may not be whole was cut at some length.
        Stop::Length | Stop::Paused | Stop::Other(_) => "max_tokens",
        Stop::StopText(_) => "stop_sequence",
        Stop::ToolUse => "tool_use",
        Stop::Filtered | Stop::Refused => "content_filtered",
        Stop::ContextFull => "model_context_window_exceeded",
        Stop::MalformedCall => "malformed_tool_use",
        Stop::MalformedAnswer => "malformed_model_output",
    }
}

/// The field that names the stop text.
pub(super) fn stop_fields(stop: &Stop) -> Option<Value> {
    match stop {
        Stop::StopText(Some(text)) => Some(json!({ "stop_sequence": text })),
        _ => None,
    }
}

/// The tier, if it is one of Bedrock's.
pub(super) fn tier(tier: Tier) -> Option<Value> {
    let word = match tier {
        Tier::Standard => "default",
        Tier::Priority => "priority",
        Tier::Flex => "flex",
        Tier::Reserved => "reserved",
        Tier::Batch => return None,
    };
    Some(json!({ "type": word }))
}

/// Writes a whole answer. Converse gives one: of several the first.
pub(crate) fn write(answer: Answer) -> Value {
    let Answer { id: _, created_at_s: _, model: _, choices, usage, service_tier } = answer;
    let Choice { parts, stop, logprobs: _ } = choices.into_iter().next().unwrap_or_default();
    let mut content = Vec::with_capacity(parts.len());
    for part in parts {
        if let Content::ToolCall(ToolCall { signature: Some(signature), .. }) = &part.content {
            content.push(block::redacted(signature));
        }
        content.extend(write_block(part.content));
    }
    let stop = stop.unwrap_or(Stop::End);
    let mut body = Map::new();
    body.insert("output".to_owned(), json!({ "message": { "role": "assistant", "content": content } }));
    body.insert("stopReason".to_owned(), stop_word(&stop).into());
    if let Some(usage) = usage {
        body.insert("usage".to_owned(), usage::write(&usage));
    }
    body.insert("metrics".to_owned(), json!({ "latencyMs": 0 }));
    if let Some(fields) = stop_fields(&stop) {
        body.insert("additionalModelResponseFields".to_owned(), fields);
    }
    if let Some(tier) = service_tier.and_then(tier) {
        body.insert("serviceTier".to_owned(), tier);
    }
    Value::Object(body)
}

/// A part of an answer as a block; `None` for what Converse has no block for.
fn write_block(content: Content) -> Option<Value> {
    Some(match content {
        Content::Text { text, citations } => block::cited(text, citations),
        Content::Refusal(text) => json!({ "text": text }),
        Content::ToolCall(ToolCall { id, name, arguments, signature: _ }) => {
            // What is no JSON is handed on as the model wrote it: any value may stand here.
            let input = serde_json::from_str(&arguments).unwrap_or_else(|_| match arguments.trim() {
                "" => json!({}),
                _ => Value::String(arguments),
            });
            json!({ "toolUse": { "toolUseId": block::tool_id(id), "name": name, "input": input } })
        }
        Content::Thinking { text, signature } => block::thinking(text, signature.as_ref()),
        Content::Redacted(signature) => block::redacted(&signature),
        Content::Native { dialect: Dialect::Bedrock, kind, value } => json!({ kind: value }),
        Content::Image { source, detail: _ } => json!({ "image": medium(source, Medium::Image)? }),
        Content::Audio(source) => json!({ "audio": medium(source, Medium::Audio)? }),
        Content::Video(source) => json!({ "video": medium(source, Medium::Video)? }),
        // No model answers with these, and another dialect's own tools are nothing to a client of Converse.
        Content::Document { .. } | Content::ToolResult(_) | Content::CustomCall(_) | Content::Native { .. } => {
            return None;
        }
    })
}

/// Bytes that an answer holds.
pub(super) fn medium(source: Source, medium: Medium) -> Option<Value> {
    let Source::Base64 { media_type, base64 } = source else { return None };
    let format = medium.format(&media_type)?;
    Some(json!({ "format": format, "source": { "bytes": base64 } }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Signature;
    use tollgate_interaction::Usage;

    #[test]
    fn an_answer_that_is_none_is_refused_by_path() {
        let cases = [
            (json!({"message": "no"}), "output.message"),
            (json!({"output": {"message": {"content": "x"}}}), "output.message.content"),
            (json!({"output": {"message": {"content": [{"text": 1}]}}}), "output.message.content[0].text"),
            (json!({"output": {"message": {"content": [1]}}}), "output.message.content[0]"),
        ];
        for (body, at) in cases {
            assert_eq!(read(body).unwrap_err().at, at);
        }
    }

    #[test]
    fn what_other_dialects_say_is_put_in_converses_words() {
        let signature = Some(Signature { of: Dialect::Gemini, text: "Cg".to_owned() });
        let (name, arguments) = ("look".to_owned(), "{oops".to_owned());
        let call = ToolCall { id: "call|1".to_owned(), name, arguments, signature: signature.clone() };
        let contents = [
            Content::Thinking { text: "hm".to_owned(), signature },
            Content::Refusal("No.".to_owned()),
            Content::ToolCall(call),
            Content::Native { dialect: Dialect::Openai, kind: "x".to_owned(), value: Value::Null },
        ];
        let parts = contents.into_iter().map(|content| Part::new(content, "")).collect();
        let stop = Some(Stop::StopText(Some("END".to_owned())));
        let usage = Usage { input_tokens: Some(21), output_tokens: Some(2), ..Usage::default() };
        let answer = Answer {
            choices: vec![Choice { parts, stop, logprobs: Vec::new() }],
            usage: Some(usage),
            service_tier: Some(Tier::Batch),
            ..Answer::default()
        };
        assert_eq!(
            write(answer),
            json!({
                "output": {"message": {"role": "assistant", "content": [
                    {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "tollgate:gemini:Cg"}}},
                    {"text": "No."},
                    {"reasoningContent": {"redactedContent": "dG9sbGdhdGU6Z2VtaW5pOkNn"}},
                    {"toolUse": {"toolUseId": "call_1", "name": "look", "input": "{oops"}},
                ]}},
                "stopReason": "stop_sequence",
                "usage": {"inputTokens": 21, "outputTokens": 2, "totalTokens": 23},
                "metrics": {"latencyMs": 0},
                "additionalModelResponseFields": {"stop_sequence": "END"},
            })
        );
    }
}
