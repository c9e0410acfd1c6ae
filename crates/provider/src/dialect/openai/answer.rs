//! Whole answers of Chat Completions.
//! Sources: <https://platform.openai.com/docs/api-reference/chat/object>, the types of the official Python client 3.57.0;
//! for the copies see [`super::thoughts`], <https://docs.perplexity.ai/api-reference/chat-completions-post> and
//! <https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html> (2026-11-26).

mod write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};
pub(crate) use write::write;
pub(super) use write::{annotation, finish_reason, service_tier, write_image, write_logprobs};

use super::wire::{take_array, take_count, take_object, take_text};
use super::{request, thoughts, tokens};
use crate::chat::{Answer, Choice, Citation, Content, Part, Signature, Source, Stop, Tier, TokenLogprob, ToolCall};
use crate::translate::AnswerError;

/// Reads a provider's answer.
pub(crate) fn read(body: Value) -> Result<Answer, AnswerError> {
    let Value::Object(mut body) = body else {
        return Err(AnswerError { at: "body".to_owned(), expected: "an object" });
    };
    if !body.get("choices").is_some_and(Value::is_array) {
        return Err(AnswerError { at: "choices".to_owned(), expected: "an array" });
    }
    let sources = take_sources(&mut body);
    let mut choices = Vec::new();
    for (place, choice) in take_array(&mut body, "choices").into_iter().enumerate() {
        let Value::Object(mut choice) = choice else {
            return Err(AnswerError { at: format!("choices[{place}]"), expected: "an object" });
        };
        let index = take_count(&mut choice, "index").unwrap_or(place as u64);
        choices.push((index, read_choice(choice, &sources)));
    }
    choices.sort_by_key(|(index, _)| *index);
    Ok(Answer {
        id: take_text(&mut body, "id"),
        created_at_s: body.get("created").and_then(Value::as_i64).filter(|created| *created > 0),
        model: take_text(&mut body, "model").unwrap_or_default(),
        choices: choices.into_iter().map(|(_, choice)| choice).collect(),
        usage: tokens::take(&mut body),
        service_tier: take_text(&mut body, "service_tier").and_then(|word| Tier::from_word(&word)),
    })
}

fn read_choice(mut choice: Map<String, Value>, sources: &[Citation]) -> Choice {
    let mut message = take_object(&mut choice, "message").unwrap_or_default();
    let mut parts = thoughts::take(&mut message);
    parts.extend(take_content(&mut message));
    parts.extend(take_text(&mut message, "refusal").map(Content::Refusal));
    parts.extend(take_audio(&mut message));
    parts.extend(take_array(&mut message, "images").into_iter().filter_map(read_image));
    for call in take_array(&mut message, "tool_calls") {
        parts.extend(read_call(call));
    }
    if let Some(function) = take_object(&mut message, "function_call") {
        parts.push(Content::ToolCall(read_function(function, None, None)));
    }
    let mut citations: Vec<Citation> =
        take_array(&mut message, "annotations").into_iter().filter_map(read_annotation).collect();
    if citations.is_empty() {
        citations = sources.to_vec();
    }
    let text = parts.iter_mut().rev().find_map(|part| match part {
        Content::Text { citations, .. } => Some(citations),
        _ => None,
    });
    if let Some(known) = text {
        *known = citations;
    }
    let stop = take_stop(&mut choice, &parts);
    let logprobs = take_logprobs(&mut choice);
    Choice { parts: parts.into_iter().map(|content| Part::new(content, "")).collect(), stop, logprobs }
}

/// A text, or the pieces Mistral sends while it thinks.
fn take_content(message: &mut Map<String, Value>) -> Vec<Content> {
    let mut parts: Vec<Content> = Vec::new();
    match message.remove("content") {
        Some(Value::String(text)) if !text.is_empty() => parts.push(Content::text(text)),
        Some(Value::Array(pieces)) => {
            for piece in pieces {
                let Some(piece) = read_piece(piece) else { continue };
                match (parts.last_mut(), piece) {
                    // Pieces of one text, around a reference.
                    (Some(Content::Text { text, .. }), Content::Text { text: more, .. }) => text.push_str(&more),
                    (_, piece) => parts.push(piece),
                }
            }
        }
        _ => {}
    }
    parts
}

/// Reads a piece of `content`.
pub(super) fn read_piece(piece: Value) -> Option<Content> {
    let Value::Object(mut map) = piece else { return None };
    match map.get("type").and_then(Value::as_str) {
        Some("text") => take_text(&mut map, "text").map(Content::text),
        Some("thinking") => {
            let (mark, words) = thoughts::read_piece(map);
            thoughts::content(mark, words)
        }
        Some("image_url") => read_image(Value::Object(map)),
        _ => None,
    }
}

/// Reads a picture, as OpenRouter sends those that a model drew.
pub(super) fn read_image(image: Value) -> Option<Content> {
    let Value::Object(mut map) = image else { return None };
    let url = take_text(&mut take_object(&mut map, "image_url")?, "url")?;
    Some(Content::Image { source: request::read_source(url)?, detail: None })
}

/// Takes spoken words: their transcript, and the sound.
fn take_audio(message: &mut Map<String, Value>) -> Vec<Content> {
    let Some(mut audio) = take_object(message, "audio") else { return Vec::new() };
    let transcript = take_text(&mut audio, "transcript").map(Content::text);
    let sound = take_text(&mut audio, "data").map(|base64| {
        let start = base64.get(..64).unwrap_or(&base64);
        let media_type = sound_type(&BASE64.decode(start.get(..start.len() / 4 * 4).unwrap_or("")).unwrap_or_default());
        Content::Audio(Source::Base64 { media_type: media_type.to_owned(), base64 })
    });
    transcript.into_iter().chain(sound).collect()
}

/// What kind of sound begins so. The answer does not say it, only the request did.
pub(super) fn sound_type(bytes: &[u8]) -> &'static str {
    match bytes {
        [b'R', b'I', b'F', b'F', ..] => "audio/wav",
        [b'I', b'D', b'3', ..] | [0xFF, 0xFB | 0xF3 | 0xF2 | 0xE3, ..] => "audio/mpeg",
        [b'f', b'L', b'a', b'C', ..] => "audio/flac",
        [b'O', b'g', b'g', b'S', ..] => "audio/ogg",
        [0xFF, 0xF1 | 0xF9, ..] => "audio/aac",
        _ => "audio/pcm",
    }
}

fn read_call(call: Value) -> Option<Content> {
    let Value::Object(mut call) = call else { return None };
    if call.get("type").is_some_and(|kind| kind == "custom") {
        let mut custom = take_object(&mut call, "custom")?;
        let [id, name, arguments] =
            [take_text(&mut call, "id"), take_text(&mut custom, "name"), take_text(&mut custom, "input")]
                .map(Option::unwrap_or_default);
        return Some(Content::CustomCall(ToolCall { id, name, arguments, signature: None }));
    }
    let (id, signature) = (take_text(&mut call, "id"), take_signature(&mut call));
    let function = take_object(&mut call, "function")?;
    Some(Content::ToolCall(read_function(function, id, signature)))
}

/// Takes the signature of a call.
pub(super) fn take_signature(call: &mut Map<String, Value>) -> Option<Signature> {
    let mut extra = take_object(call, "extra_content")?;
    let text = take_text(&mut take_object(&mut extra, "google")?, "thought_signature")?;
    Some(request::read_signature(text))
}

fn read_function(mut function: Map<String, Value>, id: Option<String>, signature: Option<Signature>) -> ToolCall {
    let arguments = read_arguments(function.remove("arguments"));
    ToolCall {
        id: id.unwrap_or_default(),
        name: take_text(&mut function, "name").unwrap_or_default(),
        arguments,
        signature,
    }
}

/// Arguments are a text of JSON; some servers send the object itself.
pub(super) fn read_arguments(arguments: Option<Value>) -> String {
    match arguments {
        Some(Value::String(text)) => text,
        Some(object @ Value::Object(_)) => object.to_string(),
        _ => String::new(),
    }
}

/// Reads an annotation of the text.
pub(super) fn read_annotation(annotation: Value) -> Option<Citation> {
    let Value::Object(mut annotation) = annotation else { return None };
    let mut cited = take_object(&mut annotation, "url_citation")?;
    let from = take_count(&mut cited, "start_index");
    let to = take_count(&mut cited, "end_index");
    Some(Citation {
        url: take_text(&mut cited, "url"),
        title: take_text(&mut cited, "title"),
        quote: take_text(&mut cited, "content"),
        span: from.zip(to),
        document: None,
    })
}

/// Takes the sources that Perplexity lists beside the choices.
pub(super) fn take_sources(body: &mut Map<String, Value>) -> Vec<Citation> {
    let source = |url, title| Citation { url: Some(url), title, quote: None, span: None, document: None };
    let urls = take_array(body, "citations");
    let found = take_array(body, "search_results").into_iter().filter_map(|result| match result {
        Value::Object(mut result) => Some(source(take_text(&mut result, "url")?, take_text(&mut result, "title"))),
        _ => None,
    });
    let found: Vec<Citation> = found.collect();
    if !found.is_empty() {
        return found;
    }
    let urls = urls.into_iter().filter_map(|url| match url {
        Value::String(url) => Some(source(url, None)),
        _ => None,
    });
    urls.collect()
}

/// Takes why a choice ended, given what it said.
pub(super) fn take_stop(choice: &mut Map<String, Value>, parts: &[Content]) -> Option<Stop> {
    let word = take_text(choice, "finish_reason")?;
    let calls = parts.iter().any(|part| matches!(part, Content::ToolCall(_) | Content::CustomCall(_)));
    let refused = parts.iter().any(|part| matches!(part, Content::Refusal(_)));
    Some(read_stop(word, take_text(choice, "stop_reason"), calls, refused))
}

/// Why a choice ended. Several servers say `stop` where they called a tool; vLLM says beside it which text it stopped at.
pub(super) fn read_stop(word: String, stop_text: Option<String>, calls: bool, refused: bool) -> Stop {
    let lower = word.to_ascii_lowercase();
    match lower.as_str() {
        "stop" | "end_turn" | "eos" | "eos_token" | "complete" if calls => Stop::ToolUse,
        "stop" | "end_turn" | "eos" | "eos_token" | "complete" if refused => Stop::Refused,
        "stop" | "end_turn" | "eos" | "eos_token" | "complete" => {
            stop_text.map_or(Stop::End, |text| Stop::StopText(Some(text)))
        }
        "stop_sequence" => Stop::StopText(stop_text),
        "length" | "max_tokens" => Stop::Length,
        "tool_calls" | "tool_call" | "tool_use" | "function_call" => Stop::ToolUse,
        "content_filter" => Stop::Filtered,
        // Mistral's: the model's own limit.
        "model_length" => Stop::ContextFull,
        // OpenRouter's and Mistral's.
        "error" => Stop::MalformedAnswer,
        // Google's, in full `function_call_filter: MALFORMED_FUNCTION_CALL`.
        _ if lower.starts_with("function_call_filter") => Stop::MalformedCall,
        _ => Stop::Other(word),
    }
}

/// Takes the log probabilities of a choice or of a delta.
pub(super) fn take_logprobs(choice: &mut Map<String, Value>) -> Vec<TokenLogprob> {
    let Some(mut logprobs) = take_object(choice, "logprobs") else { return Vec::new() };
    let said = take_array(&mut logprobs, "content").into_iter().chain(take_array(&mut logprobs, "refusal"));
    said.filter_map(read_logprob).collect()
}

fn read_logprob(token: Value) -> Option<TokenLogprob> {
    let Value::Object(mut token) = token else { return None };
    let top = take_array(&mut token, "top_logprobs").into_iter().filter_map(|other| match other {
        Value::Object(mut other) => {
            Some((take_token(&mut other), other.get("logprob")?.as_f64()?, take_bytes(&mut other)))
        }
        _ => None,
    });
    let top = top.collect();
    let logprob = token.get("logprob")?.as_f64()?;
    Some(TokenLogprob { token: take_token(&mut token), logprob, bytes: take_bytes(&mut token), top })
}

fn take_token(map: &mut Map<String, Value>) -> String {
    take_text(map, "token").unwrap_or_default()
}

fn take_bytes(map: &mut Map<String, Value>) -> Option<Vec<u8>> {
    let Some(Value::Array(bytes)) = map.remove("bytes") else { return None };
    bytes.iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect()
}
