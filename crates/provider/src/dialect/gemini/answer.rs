//! Whole answers of Gemini, and what a stream's pieces have in common with them: each piece is an answer that holds only
//! what is new.
//! Sources: <https://ai.google.dev/api/generate-content#generatecontentresponse>,
//! <https://ai.google.dev/gemini-api/docs/thought-signatures> (2026-11-26).

mod grounding;
mod logprobs;
mod parts;
mod written;

use serde_json::Value;

pub(super) use grounding::{Grounding, WrittenCitations};
pub(super) use parts::{PartKind, ReadPart, read_part};
pub(crate) use written::write;
pub(super) use written::{base, candidate_end, signed_part, usage_metadata, write_call, write_source};

use super::proto::{take, take_count, take_items, take_text};
use super::usage;
use crate::chat::{Answer, Choice, Content, Part, Stop, Tier, TokenLogprob};
use crate::observe::StreamError;
use crate::translate::AnswerError;

/// Reads a whole answer.
///
/// # Errors
/// [`AnswerError`] if it is no answer of Google's.
pub(crate) fn read(body: Value) -> Result<Answer, AnswerError> {
    let mut body = unwrapped(body);
    if !body.is_object() {
        return Err(AnswerError { at: "body".to_owned(), expected: "an object" });
    }
    if body.get("candidates").is_none() && body.get("promptFeedback").is_none() && body.get("usageMetadata").is_none() {
        return Err(AnswerError { at: "candidates".to_owned(), expected: "there" });
    }
    let head = Head::take(&mut body);
    let mut answer = Answer {
        id: head.id,
        created_at_s: None,
        model: head.model,
        choices: Vec::new(),
        usage: None,
        service_tier: head.service_tier,
    };
    let mut queries = 0;
    for (place, candidate) in take_items(&mut body, "candidates").into_iter().enumerate() {
        let candidate = Candidate::take(candidate, place);
        queries += candidate.grounding.queries();
        let index = candidate.index.min(place);
        let choice = read_choice(candidate);
        answer.choices.insert(index, choice);
    }
    if let Some(refused) = refusal(&mut body)
        && answer.choices.is_empty()
    {
        answer.choices.push(refused);
    }
    answer.usage = head.usage.map(|usage| usage.with_searches(&answer.model, queries));
    Ok(answer)
}

/// The one answer in a list of one, as some relays send it.
fn unwrapped(body: Value) -> Value {
    match body {
        Value::Array(mut items) if items.len() == 1 => items.pop().unwrap_or_default(),
        body => body,
    }
}

/// What every piece says of the answer as a whole.
pub(super) struct Head {
    pub(super) id: Option<String>,
    pub(super) model: String,
    pub(super) usage: Option<Counted>,
    pub(super) service_tier: Option<Tier>,
}

impl Head {
    pub(super) fn take(body: &mut Value) -> Head {
        let metadata = take(body, "usageMetadata");
        // Vertex AI says by what kind of traffic it was served.
        let traffic = metadata.as_ref().and_then(|metadata| metadata.get("trafficType")).and_then(Value::as_str);
        let service_tier = traffic.and_then(Tier::from_word);
        Head {
            id: take_text(body, "responseId"),
            model: take_text(body, "modelVersion").unwrap_or_default(),
            usage: metadata.filter(Value::is_object).map(|metadata| Counted(usage::read(metadata))),
            service_tier,
        }
    }
}

/// Tokens as Google counts them; searches are counted elsewhere in the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted(pub(super) tollgate_interaction::Usage);

impl Counted {
    /// Adds the searches that are billed.
    pub(super) fn with_searches(mut self, model: &str, queries: u64) -> tollgate_interaction::Usage {
        self.0.web_search_calls = billed_searches(model, queries);
        self.0
    }
}

/// Searches that are billed: each query with the third generation, one for the whole prompt before it.
/// <https://ai.google.dev/gemini-api/docs/google-search#pricing> (2026-11-26).
pub(crate) fn billed_searches(model: &str, queries: u64) -> Option<u64> {
    match queries {
        0 => None,
        queries if super::is_third_generation(model) => Some(queries),
        _ => Some(1),
    }
}

/// One candidate, or what is new of it.
pub(super) struct Candidate {
    pub(super) index: usize,
    pub(super) parts: Vec<Value>,
    pub(super) finish_reason: Option<String>,
    pub(super) grounding: Grounding,
    pub(super) logprobs: Vec<TokenLogprob>,
}

impl Candidate {
    pub(super) fn take(mut candidate: Value, place: usize) -> Candidate {
        let candidate = &mut candidate;
        let mut content = take(candidate, "content").unwrap_or_default();
        let index = take_count(candidate, "index").and_then(|index| usize::try_from(index).ok());
        Candidate {
            index: index.unwrap_or(place),
            parts: take_items(&mut content, "parts"),
            finish_reason: take_text(candidate, "finishReason")
                .filter(|reason| !matches!(reason.as_str(), "" | "FINISH_REASON_UNSPECIFIED")),
            grounding: Grounding::take(candidate),
            logprobs: take(candidate, "logprobsResult").map(logprobs::read).unwrap_or_default(),
        }
    }
}

fn read_choice(candidate: Candidate) -> Choice {
    let Candidate { parts, finish_reason, grounding, logprobs, .. } = candidate;
    let mut read = Vec::with_capacity(parts.len());
    // Where each of Google's parts that holds text ended up: citations name Google's.
    let mut places = Vec::with_capacity(parts.len());
    let mut has_call = false;
    for part in parts {
        places.push(read.len());
        let Some(part) = read_part(part) else { continue };
        has_call |= matches!(part.kind, PartKind::Call(_));
        read.extend(part.into_contents().map(|content| Part::new(content, "")));
    }
    grounding.cite(&mut read, &places);
    Choice { parts: read, stop: finish_reason.map(|reason| stop(reason, has_call)), logprobs }
}

/// Why an answer ended. To wait for a function's result is an ordinary end to Google.
/// <https://ai.google.dev/api/generate-content#FinishReason> (2026-11-26).
pub(super) fn stop(reason: String, has_call: bool) -> Stop {
    match reason.as_str() {
        "STOP" if has_call => Stop::ToolUse,
        "STOP" => Stop::End,
        "MAX_TOKENS" => Stop::Length,
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "LANGUAGE"
        | "ESCALATION"
        | "PUP_LIMITED_DISABLED"
        | "MODEL_ARMOR" => Stop::Filtered,
        // It could be continued, but only with a token that no other dialect has a place for.
        "CONTINUATION" => Stop::Length,
        "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" => Stop::MalformedCall,
        "MALFORMED_RESPONSE" => Stop::MalformedAnswer,
        _ => Stop::Other(reason),
    }
}

/// The answer to a prompt that was refused before the model saw it.
pub(super) fn refusal(body: &mut Value) -> Option<Choice> {
    let mut feedback = take(body, "promptFeedback")?;
    take_text(&mut feedback, "blockReason")?;
    let message = take_text(&mut feedback, "blockReasonMessage").filter(|message| !message.is_empty());
    let parts = message.map(|message| Part::new(Content::Refusal(message), "")).into_iter().collect();
    Some(Choice { parts, stop: Some(Stop::Filtered), logprobs: Vec::new() })
}

/// The error a piece reports, which may stand in a list.
pub(super) fn error(body: &mut Value) -> Option<StreamError> {
    let body = match body {
        Value::Array(items) => items.first_mut()?,
        body => body,
    };
    let mut error = take(body, "error")?;
    Some(StreamError {
        kind: take_text(&mut error, "status").unwrap_or_default(),
        code: take_count(&mut error, "code").map(|code| code.to_string()),
        message: take_text(&mut error, "message").unwrap_or_default(),
    })
}
