//! The items of an answer and the response object around them, as whole answers and the ends of streams have them. Every
//! field that the client libraries require is there, if only to say that there is nothing to say.

use serde_json::{Value, json};
use tollgate_interaction::{Dialect, Usage};

use super::content::{object, write_citation, write_logprobs};
use crate::chat::{Citation, Signature, Stop, Tier, TokenLogprob};
use crate::failure;

/// What a response object says.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    pub(super) id: &'a str,
    pub(super) created_at_s: i64,
    pub(super) model: &'a str,
    pub(super) status: Status,
    pub(super) error: Value,
    pub(super) output: Vec<Value>,
    pub(super) usage: Option<Usage>,
    pub(super) service_tier: Option<Tier>,
}

impl Envelope<'_> {
    pub(super) fn into_value(self) -> Value {
        let incomplete = match self.status {
            Status::Incomplete(reason) => json!({ "reason": reason }),
            Status::InProgress | Status::Completed | Status::Failed => Value::Null,
        };
        let mut response = json!({
            "id": self.id,
            "object": "response",
            "created_at": self.created_at_s,
            "status": self.status.word(),
            "background": false,
            "error": self.error,
            "incomplete_details": incomplete,
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
        if let Some(tier) = self.service_tier.and_then(tier_word) {
            response["service_tier"] = Value::from(tier);
        }
        response
    }
}

/// OpenAI's word for a tier of service: its client library knows no other.
fn tier_word(tier: Tier) -> Option<&'static str> {
    match tier {
        Tier::Standard => Some("default"),
        Tier::Priority => Some("priority"),
        Tier::Flex => Some("flex"),
        Tier::Reserved => Some("scale"),
        Tier::Batch => None,
    }
}

/// How a response stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// It is being written.
    InProgress,
    /// All has been said.
    Completed,
    /// For this reason not all has been said. The client libraries know two of ours: `max_output_tokens` and
    /// `content_filter`.
    Incomplete(&'static str),
    /// What came is no answer.
    Failed,
}

impl Status {
    /// The status of a response that ended with `stop`. `refusal` says whether it holds a refusal apart from its text: then
    /// the refusal is the answer, and nothing is missing. An answer that may not be whole was cut at some length.
    pub(super) fn of(stop: Option<&Stop>, refusal: bool) -> Status {
        match stop {
            None | Some(Stop::End | Stop::StopText(_) | Stop::ToolUse) => Status::Completed,
            Some(Stop::Refused) if refusal => Status::Completed,
            Some(Stop::Length | Stop::ContextFull | Stop::Paused | Stop::Other(_)) => {
                Status::Incomplete("max_output_tokens")
            }
            Some(Stop::Filtered | Stop::Refused) => Status::Incomplete("content_filter"),
            Some(Stop::MalformedCall | Stop::MalformedAnswer) => Status::Failed,
        }
    }

    /// Its word, of a response.
    pub(super) fn word(self) -> &'static str {
        match self {
            Status::InProgress => "in_progress",
            Status::Completed => "completed",
            Status::Incomplete(_) => "incomplete",
            Status::Failed => "failed",
        }
    }

    /// Its word, of an item: one cannot fail.
    pub(super) fn item_word(self) -> &'static str {
        match self {
            Status::Failed => "incomplete",
            Status::InProgress | Status::Completed | Status::Incomplete(_) => self.word(),
        }
    }
}

/// The error of a response whose answer is none.
pub(super) fn malformed() -> Value {
    error("server_error", "the model called a tool, or answered, in a form that its provider could not read; try again")
}

/// The error of a failed response.
pub(super) fn error(code: &str, message: &str) -> Value {
    json!({ "code": code, "message": message })
}

/// The code of an error as a failed response has it: the client libraries know no others than those of the reference, of
/// which these can be an answer's. `class` is ours of what the provider reported as `code`.
pub(super) fn error_code<'a>(code: Option<&'a str>, class: &str) -> &'a str {
    const OWN: [&str; 21] = [
        "server_error",
        "rate_limit_exceeded",
        "invalid_prompt",
        "data_residency_mismatch",
        "bio_policy",
        "misalignment_policy_violation",
        "vector_store_timeout",
        "invalid_image",
        "invalid_image_format",
        "invalid_base64_image",
        "invalid_image_url",
        "image_too_large",
        "image_too_small",
        "image_parse_error",
        "image_content_policy_violation",
        "invalid_image_mode",
        "image_file_too_large",
        "unsupported_image_media_type",
        "empty_image_file",
        "failed_to_download_image",
        "image_file_not_found",
    ];
    match (code.filter(|code| OWN.contains(code)), class) {
        (Some(code), _) => code,
        (None, failure::RATE_LIMITED | failure::QUOTA_EXHAUSTED) => "rate_limit_exceeded",
        (None, failure::INVALID_REQUEST | failure::CONTEXT_LENGTH | failure::CONTENT_FILTERED | failure::TOO_LARGE) => {
            "invalid_prompt"
        }
        (None, _) => "server_error",
    }
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
    let annotations = citations.into_iter().filter_map(|citation| write_citation(citation, length)).collect();
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

/// A call of a tool that takes free text.
pub(super) fn custom_call(id: &str, status: &str, call_id: &str, name: &str, input: &str) -> Value {
    json!({
        "id": id,
        "type": "custom_tool_call",
        "status": status,
        "call_id": call_id,
        "name": name,
        "input": input,
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
