//! Whole answers of the Responses API.

use serde_json::{Map, Value};
use tollgate_interaction::{Dialect, Usage};

use super::content::{read_citation, read_logprobs, read_thoughts, take_items, take_text};
use super::output::{self, Envelope, Status};
use crate::chat::{Answer, Choice, Content, Part, Source, Stop, Tier, TokenLogprob, ToolCall};
use crate::translate::{AnswerError, Asked};

/// Items by which the model waits for the caller, besides calls of functions.
const WAITING: [&str; 6] =
    ["custom_tool_call", "computer_call", "local_shell_call", "shell_call", "apply_patch_call", "mcp_approval_request"];
/// Items that are calls of the provider's own tools, billed by the call.
const BILLED: [&str; 2] = ["file_search_call", "code_interpreter_call"];

/// Reads a response object.
///
/// # Errors
/// [`AnswerError`] if it is none, or one that is not an answer yet or never became one.
pub(crate) fn read(body: Value) -> Result<Answer, AnswerError> {
    let wrong = |at: &str, expected| AnswerError { at: at.to_owned(), expected };
    let Value::Object(mut body) = body else { return Err(wrong("body", "a response object")) };
    let status = take_text(&mut body, "status");
    if matches!(status.as_str(), "failed" | "cancelled" | "queued" | "in_progress") {
        return Err(wrong("status", "`completed` or `incomplete`"));
    }
    if !body.get("output").is_some_and(Value::is_array) {
        return Err(wrong("output", "an array of items"));
    }
    let usage = read_usage(&body);
    let mut choice = Choice::default();
    let mut ending = Ending::default();
    for item in take_items(&mut body, "output") {
        ending.note(&item);
        let (parts, logprobs) = read_item(item);
        choice.parts.extend(parts);
        choice.logprobs.extend(logprobs);
    }
    choice.stop = Some(ending.stop(&body));
    Ok(Answer {
        id: Some(take_text(&mut body, "id")).filter(|id| !id.is_empty()),
        created_at_s: body.get("created_at").and_then(read_time),
        model: take_text(&mut body, "model"),
        choices: vec![choice],
        usage,
        service_tier: Tier::from_word(&take_text(&mut body, "service_tier")),
    })
}

/// Seconds, which the API's schema calls a number and its servers write as whole ones.
fn read_time(value: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "a float beyond the range of times is cut to it")]
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
}

/// What the items of an answer say about why it ended; the API's status does not tell a call from a last word.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ending {
    waits: bool,
    refused: bool,
}

impl Ending {
    /// Notes what `item` says.
    pub(super) fn note(&mut self, item: &Value) {
        let kind = item.get("type").and_then(Value::as_str).unwrap_or_default();
        self.waits |= kind == "function_call" || WAITING.contains(&kind);
        let parts = item.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let is_refusal = |part: &Value| part.get("type").and_then(Value::as_str) == Some("refusal");
        self.refused |= kind == "message" && parts.iter().any(is_refusal);
    }

    /// Why `response` ended.
    pub(super) fn stop(self, response: &Map<String, Value>) -> Stop {
        let reason = response.get("incomplete_details").and_then(|details| details.get("reason"));
        match reason.and_then(Value::as_str) {
            Some("max_output_tokens") => Stop::Length,
            Some("content_filter") => Stop::Filtered,
            Some(other) => Stop::Other(other.to_owned()),
            None if self.waits => Stop::ToolUse,
            None if self.refused => Stop::Refused,
            None => Stop::End,
        }
    }
}

/// Reads an item of the output. What no other dialect has stays as it stood.
pub(super) fn read_item(item: Value) -> (Vec<Part>, Vec<TokenLogprob>) {
    let kind = item.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let Value::Object(mut object) = item else { return Default::default() };
    match kind.as_str() {
        "message" => return read_message(&mut object),
        "function_call" => {
            let call = ToolCall {
                id: take_text(&mut object, "call_id"),
                name: take_text(&mut object, "name"),
                arguments: take_text(&mut object, "arguments"),
                signature: None,
            };
            return (vec![Part::new(Content::ToolCall(call), "")], Vec::new());
        }
        "custom_tool_call" => {
            let call = ToolCall {
                id: take_text(&mut object, "call_id"),
                name: take_text(&mut object, "name"),
                arguments: take_text(&mut object, "input"),
                signature: None,
            };
            return (vec![Part::new(Content::CustomCall(call), "")], Vec::new());
        }
        // A picture that was drawn; how it was drawn is its own provider's to tell.
        "image_generation_call" if object.get("result").is_some_and(Value::is_string) => {
            let format = Some(take_text(&mut object, "output_format")).filter(|format| !format.is_empty());
            let media_type = format!("image/{}", format.as_deref().unwrap_or("png"));
            let source = Source::Base64 { media_type, base64: take_text(&mut object, "result") };
            return (vec![Part::new(Content::Image { source, detail: None }, "")], Vec::new());
        }
        // One that says nothing is kept as it stands.
        "reasoning" if says_thoughts(&object) => {
            let content = read_thoughts(&mut object);
            return (content.into_iter().map(|content| Part::new(content, "")).collect(), Vec::new());
        }
        _ => {}
    }
    let native = Content::Native { dialect: Dialect::Responses, kind, value: Value::Object(object) };
    (vec![Part::new(native, "")], Vec::new())
}

/// Whether a reasoning item has words or an encrypted form.
pub(super) fn says_thoughts(item: &Map<String, Value>) -> bool {
    let has_parts = |name: &str| item.get(name).and_then(Value::as_array).is_some_and(|parts| !parts.is_empty());
    let encrypted = item.get("encrypted_content").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    encrypted || has_parts("summary") || has_parts("content")
}

fn read_message(message: &mut Map<String, Value>) -> (Vec<Part>, Vec<TokenLogprob>) {
    let mut parts = Vec::new();
    let mut logprobs = Vec::new();
    for part in take_items(message, "content") {
        logprobs.extend(read_logprobs(part.get("logprobs")));
        parts.extend(read_content(part).map(|content| Part::new(content, "")));
    }
    (parts, logprobs)
}

/// Reads a part of a message of the model's.
pub(super) fn read_content(part: Value) -> Option<Content> {
    let Value::Object(mut part) = part else { return None };
    let kind = take_text(&mut part, "type");
    match kind.as_str() {
        "refusal" => Some(Content::Refusal(take_text(&mut part, "refusal"))),
        _ => {
            let citations = take_items(&mut part, "annotations").iter().filter_map(read_citation).collect();
            Some(Content::Text { text: take_text(&mut part, "text"), citations })
        }
    }
}

/// Reads the counts of a response object: of tokens, and of what the provider's own tools did.
pub(super) fn read_usage(response: &Map<String, Value>) -> Option<Usage> {
    let usage = response.get("usage").filter(|usage| usage.is_object())?;
    let at = |path: &str| usage.pointer(path).and_then(Value::as_u64);
    let items = response.get("output").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let count = |counts: fn(&Value) -> bool| {
        Some(items.iter().filter(|item| counts(item)).count() as u64).filter(|count| *count > 0)
    };
    let searches = response.get("tool_usage").and_then(|tools| tools.pointer("/web_search/num_requests"));
    let searches = searches.and_then(Value::as_u64).or_else(|| count(is_search));
    Some(Usage {
        input_tokens: at("/input_tokens"),
        output_tokens: at("/output_tokens"),
        // Perplexity has the second names.
        cache_read_input_tokens: at("/input_tokens_details/cached_tokens")
            .or_else(|| at("/input_tokens_details/cache_read_input_tokens")),
        cache_write_5m_input_tokens: at("/input_tokens_details/cache_write_tokens")
            .or_else(|| at("/input_tokens_details/cache_creation_input_tokens")),
        reasoning_output_tokens: at("/output_tokens_details/reasoning_tokens"),
        web_search_calls: searches,
        other_tool_calls: count(is_other_tool),
        ..Usage::default()
    })
}

/// Whether an item is a search of the web, and not the opening of a page, which is not billed.
fn is_search(item: &Value) -> bool {
    let action = item.pointer("/action/type").and_then(Value::as_str);
    item.get("type").and_then(Value::as_str) == Some("web_search_call")
        && action.is_none_or(|action| action == "search")
}

fn is_other_tool(item: &Value) -> bool {
    item.get("type").and_then(Value::as_str).is_some_and(|kind| BILLED.contains(&kind))
}

/// Writes an answer as a response object. Of several answers the first: the API has one, and a caller cannot have asked for
/// more.
pub(crate) fn write(answer: Answer, asked: &Asked) -> Value {
    let id = answer.id.unwrap_or_else(|| format!("resp_{}", asked.id));
    let mut output = Output { items: Vec::new(), content: Vec::new(), refusal: false, seed: &asked.id };
    let Choice { parts, stop, logprobs } = answer.choices.into_iter().next().unwrap_or_default();
    output.choice(parts, &logprobs);
    let status = Status::of(stop.as_ref(), output.refusal);
    output.close_message(status.item_word());
    let envelope = Envelope {
        id: &id,
        created_at_s: answer.created_at_s.unwrap_or(asked.created_at_s),
        model: if answer.model.is_empty() { &asked.model } else { &answer.model },
        status,
        error: if status == Status::Failed { output::malformed() } else { Value::Null },
        output: output.items,
        usage: answer.usage,
        service_tier: answer.service_tier,
    };
    envelope.into_value()
}

/// The items of an answer that is being written.
struct Output<'a> {
    items: Vec<Value>,
    /// Of the message that is not closed yet.
    content: Vec<Value>,
    refusal: bool,
    seed: &'a str,
}

impl Output<'_> {
    fn choice(&mut self, parts: Vec<Part>, mut logprobs: &[TokenLogprob]) {
        for part in parts {
            match part.content {
                Content::Text { text, citations } => {
                    // They are not told apart by part: the first text has them all.
                    self.content.push(output::text(text, citations, std::mem::take(&mut logprobs)));
                }
                Content::Refusal(text) => {
                    self.refusal = true;
                    self.content.push(output::refusal(text));
                }
                other => {
                    self.close_message("completed");
                    self.item(other);
                }
            }
        }
    }

    fn item(&mut self, content: Content) {
        match content {
            Content::ToolCall(call) => {
                if let Some(signature) = &call.signature {
                    let id = output::thought_of_call(&call.id);
                    self.items.push(output::reasoning(&id, None, Some(signature)));
                }
                let id = self.id("fc");
                let arguments = if call.arguments.is_empty() { "{}" } else { &call.arguments };
                self.items.push(output::call(&id, "completed", &call.id, &call.name, arguments));
            }
            Content::CustomCall(call) => {
                let id = self.id("ctc");
                self.items.push(output::custom_call(&id, "completed", &call.id, &call.name, &call.arguments));
            }
            Content::Thinking { text, signature } => {
                self.items.push(output::reasoning(&self.id("rs"), Some(text), signature.as_ref()));
            }
            Content::Redacted(signature) => {
                self.items.push(output::reasoning(&self.id("rs"), None, Some(&signature)));
            }
            Content::Image { source: Source::Base64 { media_type, base64 }, .. } => {
                self.items.push(output::image(&self.id("ig"), &media_type, base64));
            }
            Content::Native { dialect: Dialect::Responses, value, .. } => self.items.push(value),
            // A model writes none of these unless the request asked for it in a field that was refused on its way there.
            Content::Text { .. }
            | Content::Refusal(_)
            | Content::Image { .. }
            | Content::Audio(_)
            | Content::Video(_)
            | Content::Document { .. }
            | Content::ToolResult(_)
            | Content::Native { .. } => {}
        }
    }

    fn close_message(&mut self, status: &str) {
        if self.content.is_empty() {
            return;
        }
        let content = std::mem::take(&mut self.content);
        self.items.push(output::message(&self.id("msg"), status, content));
    }

    /// An id for the next item.
    fn id(&self, prefix: &str) -> String {
        format!("{prefix}_{}_{}", self.seed, self.items.len())
    }
}
