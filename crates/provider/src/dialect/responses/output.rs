//! The items of an answer and the response object around them, as whole answers and the ends of streams have them. Every
//! field that the client libraries require is there, if only to say that there is nothing to say.

use serde_json::{Value, json};
use tollgate_interaction::{Dialect, Usage};

use super::content::{object, write_citation, write_logprobs};
use crate::chat::{Citation, Signature, Stop, TokenLogprob};

/// What a response object says.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    pub(super) id: &'a str,
    pub(super) created_at_s: i64,
    pub(super) model: &'a str,
    pub(super) status: &'static str,
    /// Why it is incomplete.
    pub(super) incomplete: Option<String>,
    pub(super) error: Value,
    pub(super) output: Vec<Value>,
    pub(super) usage: Option<Usage>,
    pub(super) service_tier: Option<&'a str>,
}

impl Envelope<'_> {
    pub(super) fn into_value(self) -> Value {
        let mut response = json!({
            "id": self.id,
            "object": "response",
            "created_at": self.created_at_s,
            "status": self.status,
            "background": false,
            "error": self.error,
            "incomplete_details": self.incomplete.map(|reason| json!({ "reason": reason })),
            "instructions": null,
            "max_output_tokens": null,
            "model": self.model,
            "output": [],
            "parallel_tool_calls": true,
            "previous_response_id": null,
            "reasoning": {"effort": null, "summary": null},
            // Nothing is kept for a later call to refer to.
            "store": false,
            "temperature": null,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": null,
            "truncation": "disabled",
            "usage": self.usage.as_ref().and_then(write_usage),
            "user": null,
            "metadata": {},
        });
        response["output"] = Value::Array(self.output);
        if let Some(tier) = self.service_tier.and_then(tier) {
            response["service_tier"] = Value::from(tier);
        }
        response
    }
}

/// OpenAI's word for a tier of service: its client library knows no other. Those of others that mean none of its are left out.
fn tier(name: &str) -> Option<&'static str> {
    const OWN: [&str; 5] = ["auto", "default", "flex", "scale", "priority"];
    match name {
        "standard" | "on_demand" | "ON_DEMAND" => Some("default"),
        "ON_DEMAND_PRIORITY" => Some("priority"),
        "ON_DEMAND_FLEX" => Some("flex"),
        _ => OWN.into_iter().find(|own| *own == name),
    }
}

/// The status of a response that ended with `stop`, and why it is incomplete if it is. `refusal` says whether it holds a
/// refusal apart from its text: then the refusal is the answer, and nothing is missing.
pub(super) fn status(stop: Option<Stop>, refusal: bool) -> (&'static str, Option<String>) {
    let reason = match stop {
        None | Some(Stop::End | Stop::StopText(_) | Stop::ToolUse) => return ("completed", None),
        Some(Stop::Refused) if refusal => return ("completed", None),
        Some(Stop::Length | Stop::ContextFull) => "max_output_tokens".to_owned(),
        Some(Stop::Filtered | Stop::Refused) => "content_filter".to_owned(),
        Some(Stop::Paused) => "paused".to_owned(),
        Some(Stop::Other(reason)) => reason,
    };
    ("incomplete", Some(reason))
}

/// Tokens as the API counts them; it knows no count that is not known.
fn write_usage(usage: &Usage) -> Option<Value> {
    if usage.is_empty() {
        return None;
    }
    let (input, output) = (usage.input_tokens.unwrap_or(0), usage.output_tokens.unwrap_or(0));
    let written = usage.cache_write_5m_input_tokens.unwrap_or(0);
    let written = written.saturating_add(usage.cache_write_1h_input_tokens.unwrap_or(0));
    Some(json!({
        "input_tokens": input,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_input_tokens.unwrap_or(0),
            "cache_write_tokens": written,
        },
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_output_tokens.unwrap_or(0)},
        "total_tokens": input.saturating_add(output),
    }))
}

/// A message of the model's.
pub(super) fn message(id: &str, status: &str, content: Vec<Value>) -> Value {
    object([
        ("id", Value::from(id)),
        ("type", Value::from("message")),
        ("status", Value::from(status)),
        ("role", Value::from("assistant")),
        ("content", Value::Array(content)),
    ])
}

/// Text in a message.
pub(super) fn text(text: String, citations: Vec<Citation>, logprobs: &[TokenLogprob]) -> Value {
    let length = text.chars().count() as u64;
    let annotations: Vec<Value> = citations.into_iter().map(|citation| write_citation(citation, length)).collect();
    annotated_text(text, annotations, logprobs)
}

/// Text in a message whose annotations are written already.
pub(super) fn annotated_text(text: String, annotations: Vec<Value>, logprobs: &[TokenLogprob]) -> Value {
    object([
        ("type", Value::from("output_text")),
        ("annotations", Value::Array(annotations)),
        ("logprobs", write_logprobs(logprobs)),
        ("text", Value::String(text)),
    ])
}

/// A refusal in a message.
pub(super) fn refusal(text: String) -> Value {
    object([("type", Value::from("refusal")), ("refusal", Value::String(text))])
}

/// A call of a function.
pub(super) fn call(id: &str, status: &str, call_id: &str, name: &str, arguments: &str) -> Value {
    json!({
        "id": id,
        "type": "function_call",
        "status": status,
        "arguments": arguments,
        "call_id": call_id,
        "name": name,
    })
}

/// Thoughts. Their words stand in the summary, which is what clients show; `None` for thoughts without any, which are
/// read back as such.
pub(super) fn reasoning(id: &str, text: Option<String>, signature: Option<&Signature>) -> Value {
    let summary = text.map(summary_text).into_iter().collect();
    let mut item =
        object([("id", Value::from(id)), ("type", Value::from("reasoning")), ("summary", Value::Array(summary))]);
    if let Some(signature) = signature {
        item["encrypted_content"] = Value::from(signature.wrapped(Dialect::Responses));
    }
    item
}

/// Words of thoughts.
pub(super) fn summary_text(text: String) -> Value {
    object([("type", Value::from("summary_text")), ("text", Value::String(text))])
}

/// A picture the model made.
pub(super) fn image(id: &str, media_type: &str, base64: String) -> Value {
    let format = media_type.strip_prefix("image/").unwrap_or("png");
    object([
        ("id", Value::from(id)),
        ("type", Value::from("image_generation_call")),
        ("status", Value::from("completed")),
        ("output_format", Value::from(format)),
        ("result", Value::String(base64)),
    ])
}

/// Id of the reasoning item that holds the signature of a tool call: by it the two find each other again.
pub(super) fn thought_of_call(call_id: &str) -> String {
    format!("rs_{call_id}")
}
