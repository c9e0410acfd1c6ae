//! What a conversation over OpenAI's Realtime API says about itself: whose words passed, what they cost, how they are kept.
//! It reads the events of both sides as they pass and changes none. Tokens are counted by the provider at the end of each of
//! its responses (`response.done`) and added up over the conversation; a response that nobody saw the end of is estimated.
//! The transcription of what the caller said is done, and billed, by another model, and is not counted here.
//! Sources: the events of the GA and of the beta API, as the official Python client 3.57.0 has them (`openai.types.realtime`,
//! `openai.types.beta.realtime`, 2026-11-26).

mod record;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tollgate_interaction::{Usage, UsageSource};

use crate::observe::{Observation, StreamError, bounded};
pub use record::Record;

/// Characters of text counted as one token.
const CHARS_PER_TOKEN: u64 = 4;
/// Letters of base64 for a token of what the model says: 50 ms of 24 kHz PCM with two bytes a sample. Other formats are
/// shorter and so cost less than is guessed here. <https://platform.openai.com/docs/guides/realtime-costs> (2026-11-26).
const LETTERS_PER_TOKEN_SAID: u64 = 3_200;
/// The same for a token of what the model hears: 100 ms.
const LETTERS_PER_TOKEN_HEARD: u64 = 6_400;
/// Responses whose ends are listed.
const MAX_FINISHES: usize = 128;

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The caller.
    Caller,
    /// The provider.
    Provider,
}

impl Side {
    /// Its word in a [`Record`].
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Caller => "caller",
            Side::Provider => "provider",
        }
    }
}

/// Listens to one conversation.
#[derive(Debug, Default)]
pub struct Listener {
    model: Option<String>,
    usage: Usage,
    finish_reasons: Vec<String>,
    /// Responses begun whose end has not been seen.
    open_responses: u64,
    has_counted: bool,
    heard: Amount,
    /// Of the open responses.
    said: Amount,
    output_chars: u64,
    error: Option<StreamError>,
}

/// An amount of words and sound.
#[derive(Clone, Copy, Debug, Default)]
struct Amount {
    chars: u64,
    letters: u64,
}

/// What of an event is read first: the rest may be long.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    audio: Option<&'a RawValue>,
}

/// Letters of a text as it stands in JSON, if it is one.
fn letters(text: Option<&RawValue>) -> u64 {
    text.map_or(0, |text| text.get().trim_matches('"').len() as u64)
}

/// Characters of a text, if it is one.
fn chars(text: Option<&RawValue>) -> u64 {
    text.and_then(|text| serde_json::from_str::<String>(text.get()).ok()).map_or(0, |text| text.chars().count() as u64)
}

impl Listener {
    /// Hears one event, as text.
    pub fn hear(&mut self, side: Side, event: &[u8]) {
        let Ok(head) = serde_json::from_slice::<Head<'_>>(event) else { return };
        let Some(kind) = head.r#type.as_deref() else { return };
        match side {
            Side::Caller => self.hear_caller(kind, letters(head.audio), event),
            Side::Provider => self.hear_provider(kind, head.delta, event),
        }
    }

    /// Whether the model is in the middle of something.
    #[must_use]
    pub fn is_answering(&self) -> bool {
        self.open_responses > 0
    }

    fn hear_caller(&mut self, kind: &str, audio_letters: u64, event: &[u8]) {
        match kind {
            "input_audio_buffer.append" => self.heard.letters += audio_letters,
            "conversation.item.create" | "session.update" | "response.create" => self.heard.chars += event.len() as u64,
            _ => {}
        }
    }

    fn hear_provider(&mut self, kind: &str, delta: Option<&RawValue>, event: &[u8]) {
        match kind {
            "session.created" | "session.updated" => {
                let session = serde_json::from_slice::<Value>(event).unwrap_or_default();
                let model = session["session"]["model"].as_str().filter(|model| !model.is_empty());
                self.model = model.map(bounded).or(self.model.take());
            }
            "response.created" => self.open_responses += 1,
            "response.done" => self.finish(&serde_json::from_slice(event).unwrap_or_default()),
            "error" => {
                let event = serde_json::from_slice::<Value>(event).unwrap_or_default();
                self.error = Some(read_error(&event["error"]));
            }
            // The beta's name and the present one.
            "response.audio.delta" | "response.output_audio.delta" => self.said.letters += letters(delta),
            _ if kind.starts_with("response.") && kind.ends_with(".delta") => {
                let chars = chars(delta);
                self.said.chars += chars;
                self.output_chars += chars;
            }
            _ => {}
        }
    }

    /// A response is over, well or not.
    fn finish(&mut self, event: &Value) {
        let response = &event["response"];
        self.open_responses = self.open_responses.saturating_sub(1);
        if self.open_responses == 0 {
            self.said = Amount::default();
        }
        if let Some(counted) = read_usage(&response["usage"]) {
            add(&mut self.usage, &counted);
            self.has_counted = true;
        }
        let details = &response["status_details"];
        let reason = details["reason"].as_str().or(response["status"].as_str()).unwrap_or_default();
        if !reason.is_empty() && self.finish_reasons.len() < MAX_FINISHES {
            self.finish_reasons.push(bounded(reason));
        }
        self.error = details.get("error").filter(|error| error.is_object()).map(read_error);
    }

    /// The last error the provider reported, unless a response came to its end since: most errors end nothing.
    #[must_use]
    pub fn error(&self) -> Option<&StreamError> {
        self.error.as_ref()
    }

    /// Sums up.
    #[must_use]
    pub fn finish_conversation(mut self) -> Observation {
        let usage_source = match (self.open_responses > 0, self.has_counted) {
            (false, true) => UsageSource::Provider,
            (false, false) => UsageSource::None,
            (true, true) => UsageSource::Partial,
            (true, false) => UsageSource::Estimated,
        };
        if self.open_responses > 0 {
            let estimate = self.estimate();
            add(&mut self.usage, &estimate);
        }
        Observation {
            model_served: self.model,
            usage: self.usage,
            usage_source,
            finish_reasons: self.finish_reasons,
            error: self.error,
            terminated: self.open_responses == 0,
            output_chars: self.output_chars,
            service_tier: None,
            cost: None,
            audio_seconds: None,
            images: None,
        }
    }

    /// What the open responses come to. All that was heard so far is read again for each response.
    fn estimate(&self) -> Usage {
        let heard = self.heard.letters.div_ceil(LETTERS_PER_TOKEN_HEARD);
        let said = self.said.letters.div_ceil(LETTERS_PER_TOKEN_SAID);
        Usage {
            input_tokens: Some(self.heard.chars.div_ceil(CHARS_PER_TOKEN) + heard),
            audio_input_tokens: Some(heard),
            output_tokens: Some(self.said.chars.div_ceil(CHARS_PER_TOKEN) + said),
            audio_output_tokens: Some(said),
            ..Usage::default()
        }
    }
}

/// The counts of one response. Sound and pictures that were read from the cache are left out of their classes: they cost
/// what cached tokens cost, and the provider says which they are.
fn read_usage(usage: &Value) -> Option<Usage> {
    let (input, output) = (&usage["input_token_details"], &usage["output_token_details"]);
    let cached = &input["cached_tokens_details"];
    let fresh = |class: &str| {
        let all = input[class].as_u64()?;
        Some(all.saturating_sub(cached[class].as_u64().unwrap_or(0)))
    };
    let counted = Usage {
        input_tokens: usage["input_tokens"].as_u64(),
        output_tokens: usage["output_tokens"].as_u64(),
        cache_read_input_tokens: input["cached_tokens"].as_u64(),
        audio_input_tokens: fresh("audio_tokens"),
        image_input_tokens: fresh("image_tokens"),
        audio_output_tokens: output["audio_tokens"].as_u64(),
        reasoning_output_tokens: output["reasoning_tokens"].as_u64(),
        ..Usage::default()
    };
    (!counted.is_empty()).then_some(counted)
}

/// Adds the classes that `more` tells to those of `sum`.
fn add(sum: &mut Usage, more: &Usage) {
    let plus = |sum: &mut Option<u64>, more: Option<u64>| {
        if let Some(more) = more {
            *sum = Some(sum.unwrap_or(0).saturating_add(more));
        }
    };
    plus(&mut sum.input_tokens, more.input_tokens);
    plus(&mut sum.output_tokens, more.output_tokens);
    plus(&mut sum.cache_read_input_tokens, more.cache_read_input_tokens);
    plus(&mut sum.audio_input_tokens, more.audio_input_tokens);
    plus(&mut sum.image_input_tokens, more.image_input_tokens);
    plus(&mut sum.audio_output_tokens, more.audio_output_tokens);
    plus(&mut sum.reasoning_output_tokens, more.reasoning_output_tokens);
}

fn read_error(error: &Value) -> StreamError {
    let text = |name: &str| error[name].as_str().map(bounded);
    StreamError {
        kind: text("type").unwrap_or_default(),
        code: text("code"),
        message: text("message").unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: &str = r#"{"type":"response.done","event_id":"e","response":{"id":"r","object":"realtime.response","status":"completed",
        "status_details":null,"output":[],"usage":{"total_tokens":275,"input_tokens":127,"output_tokens":148,
        "input_token_details":{"text_tokens":100,"audio_tokens":27,"image_tokens":0,"cached_tokens":80,
        "cached_tokens_details":{"text_tokens":60,"audio_tokens":20,"image_tokens":0}},
        "output_token_details":{"text_tokens":36,"audio_tokens":112}}}}"#;

    fn heard(events: &[(Side, &str)]) -> Observation {
        let mut listener = Listener::default();
        events.iter().for_each(|(side, event)| listener.hear(*side, event.as_bytes()));
        listener.finish_conversation()
    }

    #[test]
    fn the_counts_of_all_responses_are_added_up() {
        let created = (Side::Provider, r#"{"type":"response.created","response":{"id":"r"}}"#);
        let session =
            (Side::Provider, r#"{"type":"session.created","session":{"type":"realtime","model":"gpt-realtime"}}"#);
        let seen = heard(&[session, created, (Side::Provider, DONE), created, (Side::Provider, DONE)]);
        assert_eq!(seen.model_served.as_deref(), Some("gpt-realtime"));
        assert_eq!((seen.usage_source, seen.terminated), (UsageSource::Provider, true));
        let usage = seen.usage;
        assert_eq!((usage.input_tokens, usage.output_tokens), (Some(254), Some(296)));
        assert_eq!((usage.cache_read_input_tokens, usage.audio_output_tokens), (Some(160), Some(224)));
        assert_eq!(usage.audio_input_tokens, Some(14), "without what was cached");
        assert_eq!(seen.finish_reasons, ["completed", "completed"]);
    }

    #[test]
    fn the_beta_counts_without_telling_what_of_the_cache_was_sound() {
        let beta = r#"{"type":"response.done","response":{"status":"cancelled","status_details":{"type":"cancelled","reason":"turn_detected"},
            "usage":{"total_tokens":3,"input_tokens":2,"output_tokens":1,"input_token_details":{"cached_tokens":0,"text_tokens":1,"audio_tokens":1},
            "output_token_details":{"text_tokens":1,"audio_tokens":0}}}}"#;
        let seen = heard(&[(Side::Provider, beta)]);
        assert_eq!((seen.usage.audio_input_tokens, seen.usage.audio_output_tokens), (Some(1), Some(0)));
        assert_eq!(seen.finish_reasons, ["turn_detected"]);
    }

    #[test]
    fn a_response_without_an_end_is_estimated_on_top_of_those_counted() {
        let append = format!(r#"{{"type":"input_audio_buffer.append","audio":"{}"}}"#, "A".repeat(12_800));
        let created = (Side::Provider, r#"{"type":"response.created"}"#);
        let words = (Side::Provider, r#"{"type":"response.output_audio_transcript.delta","delta":"Hello"}"#);
        let sound = format!(r#"{{"type":"response.output_audio.delta","delta":"{}"}}"#, "A".repeat(6_400));
        let open = [(Side::Caller, append.as_str()), created, words, (Side::Provider, &sound)];
        let seen = heard(&open);
        assert_eq!((seen.usage_source, seen.terminated), (UsageSource::Estimated, false));
        assert_eq!((seen.usage.input_tokens, seen.usage.output_tokens), (Some(2), Some(4)));
        assert_eq!((seen.usage.audio_input_tokens, seen.usage.audio_output_tokens), (Some(2), Some(2)));
        let seen = heard(&[&[created, (Side::Provider, DONE)], &open[..]].concat());
        assert_eq!((seen.usage_source, seen.usage.input_tokens), (UsageSource::Partial, Some(129)));
        let seen = heard(&[&open[..], &[(Side::Provider, DONE)]].concat());
        assert_eq!((seen.usage_source, seen.usage.input_tokens), (UsageSource::Provider, Some(127)));
    }

    #[test]
    fn an_error_stands_until_a_response_comes_to_its_end() {
        let error = r#"{"type":"error","event_id":"e","error":{"type":"invalid_request_error","code":"session_expired","message":"Your session hit the maximum duration of 60 minutes."}}"#;
        let seen = heard(&[(Side::Provider, error)]);
        assert_eq!(seen.error.unwrap().code.as_deref(), Some("session_expired"));
        assert_eq!((seen.usage_source, seen.usage.is_empty()), (UsageSource::None, true));
        assert_eq!(heard(&[(Side::Provider, error), (Side::Provider, DONE)]).error, None);
        let failed = r#"{"type":"response.done","response":{"status":"failed","status_details":{"type":"failed","error":{"type":"server_error","code":"x"}}}}"#;
        assert_eq!(heard(&[(Side::Provider, failed)]).error.unwrap().kind, "server_error");
    }

    #[test]
    fn what_is_no_event_is_passed_over() {
        let seen = heard(&[
            (Side::Provider, "["),
            (Side::Provider, "{}"),
            (Side::Caller, "7"),
            (Side::Provider, r#"{"type":7}"#),
        ]);
        assert!(seen.usage.is_empty() && seen.error.is_none());
    }
}
