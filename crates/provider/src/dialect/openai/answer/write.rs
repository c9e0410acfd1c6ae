//! Writes an answer for a caller that speaks Chat Completions, so that the official client libraries read it: every field
//! they demand is there, and none has a value outside their lists. What OpenAI has no field for stands where its copies
//! have it.

use serde_json::{Map, Value};

use super::super::request::{custom_call, signed};
use super::super::thoughts;
use super::super::tokens;
use super::super::wire::{object, set};
use crate::chat::{Answer, Choice, Citation, Content, Source, Stop, Tier, TokenLogprob, ToolCall};
use crate::translate::Asked;

/// Writes an answer.
pub(crate) fn write(answer: Answer, asked: &Asked) -> Value {
    let Answer { id, created_at_s, model, choices, usage, service_tier } = answer;
    let created = created_at_s.unwrap_or(asked.created_at_s);
    let choices = choices.into_iter().enumerate().map(|(index, choice)| write_choice(index, choice, created, asked));
    let mut map = Map::new();
    map.insert("id".to_owned(), id.unwrap_or_else(|| format!("chatcmpl-{}", asked.id)).into());
    map.insert("object".to_owned(), "chat.completion".into());
    map.insert("created".to_owned(), created.into());
    let model = if model.is_empty() { asked.model.clone() } else { model };
    map.insert("model".to_owned(), model.into());
    map.insert("choices".to_owned(), Value::Array(choices.collect()));
    set(&mut map, "usage", usage.as_ref().map(tokens::write));
    set(&mut map, "service_tier", service_tier.and_then(self::service_tier).map(Value::from));
    Value::Object(map)
}

/// What a choice's parts come to.
#[derive(Default)]
struct Message {
    text: String,
    /// Characters of `text`.
    chars: u64,
    refusal: Option<String>,
    thoughts: String,
    details: Vec<Value>,
    annotations: Vec<Value>,
    calls: Vec<Value>,
    images: Vec<Value>,
    audio: Option<String>,
}

fn write_choice(index: usize, choice: Choice, created: i64, asked: &Asked) -> Value {
    let Choice { parts, stop, logprobs } = choice;
    let mut message = Message::default();
    for part in parts {
        message.add(part.content);
    }
    let stop = stop.unwrap_or(Stop::End);
    let reason = finish_reason(&stop, message.refusal.is_some());
    let mut map = Map::new();
    map.insert("index".to_owned(), index.into());
    map.insert("message".to_owned(), message.into_value(index, created, asked));
    map.insert("logprobs".to_owned(), write_logprobs(&logprobs));
    map.insert("finish_reason".to_owned(), reason.into());
    if let Stop::StopText(Some(text)) = stop {
        map.insert("stop_reason".to_owned(), text.into());
    }
    Value::Object(map)
}

impl Message {
    fn add(&mut self, content: Content) {
        match content {
            Content::Text { text, citations } => {
                let chars = text.chars().count() as u64;
                let span = (self.chars, self.chars + chars);
                self.annotations.extend(citations.into_iter().filter_map(|citation| annotation(citation, span)));
                self.chars += chars;
                if self.text.is_empty() { self.text = text } else { self.text.push_str(&text) }
            }
            Content::Refusal(text) => self.refusal.get_or_insert_default().push_str(&text),
            Content::Thinking { text, signature } => {
                self.thoughts.push_str(&text);
                self.details.extend(signature.map(|signature| thoughts::write_detail(text, &signature)));
            }
            Content::Redacted(signature) => self.details.push(thoughts::write_encrypted(&signature)),
            Content::ToolCall(call) => self.calls.push(write_call(call)),
            Content::Image { source, detail: _ } => self.images.extend(write_image(source)),
            Content::Audio(Source::Base64 { media_type: _, base64 }) => self.audio = Some(base64),
            Content::CustomCall(ToolCall { id, name, arguments, signature: _ }) => {
                self.calls.push(custom_call(id, name, arguments));
            }
            // No model answers with these, or only its own dialect can say them.
            Content::Audio(_)
            | Content::Video(_)
            | Content::Document { .. }
            | Content::ToolResult(_)
            | Content::Native { .. } => {}
        }
    }

    fn into_value(self, index: usize, created: i64, asked: &Asked) -> Value {
        let Message { text, refusal, thoughts, details, annotations, calls, images, audio, chars: _ } = self;
        let is_silent = refusal.is_some() || !calls.is_empty() || audio.is_some();
        let mut map = Map::new();
        map.insert("role".to_owned(), "assistant".into());
        let (content, transcript) = match (audio.is_some(), text.is_empty() && is_silent) {
            (true, _) => (Value::Null, text),
            (false, true) => (Value::Null, String::new()),
            (false, false) => (text.into(), String::new()),
        };
        map.insert("content".to_owned(), content);
        map.insert("refusal".to_owned(), refusal.map_or(Value::Null, Value::String));
        set(&mut map, "reasoning_content", (!thoughts.is_empty()).then(|| thoughts.into()));
        let details = details.into_iter().enumerate().map(|(index, detail)| thoughts::numbered(detail, index));
        let details: Vec<Value> = details.collect();
        set(&mut map, "reasoning_details", (!details.is_empty()).then(|| details.into()));
        set(&mut map, "annotations", (!annotations.is_empty()).then(|| annotations.into()));
        set(&mut map, "tool_calls", (!calls.is_empty()).then(|| calls.into()));
        set(&mut map, "images", (!images.is_empty()).then(|| images.into()));
        let audio = audio.map(|data| {
            let id = format!("audio_{}_{index}", asked.id);
            // Nothing is kept for a later turn, so it expires when it is made.
            let fields = [
                ("id", id.into()),
                ("data", data.into()),
                ("expires_at", created.into()),
                ("transcript", transcript.into()),
            ];
            object(fields)
        });
        set(&mut map, "audio", audio);
        Value::Object(map)
    }
}

/// The tier that served, in OpenAI's words: strict clients know no other.
pub(in crate::dialect::openai) fn service_tier(tier: Tier) -> Option<&'static str> {
    match tier {
        Tier::Standard => Some("default"),
        Tier::Priority => Some("priority"),
        Tier::Flex => Some("flex"),
        Tier::Reserved => Some("scale"),
        Tier::Batch => None,
    }
}

fn write_call(call: ToolCall) -> Value {
    let ToolCall { id, name, arguments, signature } = call;
    let arguments = if arguments.is_empty() { "{}".to_owned() } else { arguments };
    let function = object([("name", name.into()), ("arguments", arguments.into())]);
    let mut map = Map::new();
    map.insert("id".to_owned(), id.into());
    map.insert("type".to_owned(), "function".into());
    map.insert("function".to_owned(), function);
    set(&mut map, "extra_content", signature.as_ref().map(signed));
    Value::Object(map)
}

/// A picture, as OpenRouter sends it.
pub(in crate::dialect::openai) fn write_image(source: Source) -> Option<Value> {
    let url = match source {
        Source::Base64 { media_type, base64 } => format!("data:{media_type};base64,{base64}"),
        Source::Url { url, media_type: _ } => url,
        Source::Text(_) | Source::File { .. } => return None,
    };
    Some(object([("type", "image_url".into()), ("image_url", object([("url", url.into())]))]))
}

/// A citation of the text from `span.0` to `span.1`, unless it says itself where it belongs. There is one kind of
/// annotation, that of an address, and clients refuse any other: what was found in a document has none, and is not told.
pub(in crate::dialect::openai) fn annotation(citation: Citation, span: (u64, u64)) -> Option<Value> {
    let Citation { url, title, quote, span: own, document: _ } = citation;
    let url = url.filter(|url| !url.is_empty())?;
    let (from, to) = own.unwrap_or(span);
    let mut cited = Map::new();
    cited.insert("url".to_owned(), url.into());
    cited.insert("title".to_owned(), title.unwrap_or_default().into());
    cited.insert("start_index".to_owned(), from.into());
    cited.insert("end_index".to_owned(), to.into());
    // OpenRouter's field for the words of the source.
    set(&mut cited, "content", quote.map(Value::String));
    Some(object([("type", "url_citation".into()), ("url_citation", Value::Object(cited))]))
}

/// Why a choice ended, in one of the five words that clients know. An answer that may not be whole was cut at some length;
/// of a call that was none, Google's own endpoint of this dialect says that a filter took it.
pub(in crate::dialect::openai) fn finish_reason(stop: &Stop, says_refusal: bool) -> &'static str {
    match stop {
        Stop::End | Stop::StopText(_) => "stop",
        Stop::Length | Stop::ContextFull | Stop::Paused | Stop::Other(_) => "length",
        Stop::ToolUse => "tool_calls",
        Stop::Refused if says_refusal => "stop",
        Stop::Filtered | Stop::Refused | Stop::MalformedCall | Stop::MalformedAnswer => "content_filter",
    }
}

/// Log probabilities of a choice or of a delta; `null` if there are none.
pub(in crate::dialect::openai) fn write_logprobs(logprobs: &[TokenLogprob]) -> Value {
    if logprobs.is_empty() {
        return Value::Null;
    }
    let tokens = logprobs.iter().map(|token| {
        let top = token.top.iter().map(|(text, logprob, bytes)| write_token(text, *logprob, bytes.as_deref()));
        let mut map = write_token(&token.token, token.logprob, token.bytes.as_deref());
        if let Value::Object(map) = &mut map {
            map.insert("top_logprobs".to_owned(), top.collect());
        }
        map
    });
    object([("content", tokens.collect()), ("refusal", Value::Null)])
}

fn write_token(text: &str, logprob: f64, bytes: Option<&[u8]>) -> Value {
    object([("token", text.into()), ("logprob", logprob.into()), ("bytes", bytes.map_or(Value::Null, Value::from))])
}
