//! Reads the chunks of a provider's stream. A chunk's fields may come in any company: usage beside the last words
//! (Mistral), in every chunk (xAI), in a chunk of its own with or without `choices`, or under `x_groq`; a server may leave
//! out `[DONE]`, or the reason why it ended, but not both.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tollgate_interaction::Usage;

use super::choice::Choice;
use crate::chat::{Citation, Event, Tier};
use crate::dialect::openai::answer::take_sources;
use crate::dialect::openai::tokens;
use crate::dialect::openai::wire::{take_array, take_count, take_object, take_text};
use crate::observe::{self, StreamError};
use crate::scan::Cursor;
use crate::translate::ReadStream;

/// Choices that are kept apart; OpenAI's own limit for `n`.
const MAX_CHOICES: u64 = 128;

/// Reads one stream.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    id: Option<String>,
    model: Option<String>,
    choices: BTreeMap<usize, Choice>,
    usage: Option<Usage>,
    tier: Option<Tier>,
    sources: Vec<Citation>,
    begun: bool,
    ended: bool,
}

impl ReadStream for Reader {
    fn read(&mut self, name: &[u8], data: &[u8], out: &mut Vec<Event>) {
        if self.ended {
            return;
        }
        if data == b"[DONE]" {
            return self.finish(out);
        }
        let Ok(Value::Object(mut chunk)) = serde_json::from_slice(data) else { return };
        if let Some(error) = take_error(name, &mut chunk) {
            self.ended = true;
            out.push(Event::Error(error));
            return;
        }
        self.chunk(chunk, out);
    }

    fn end(&mut self, out: &mut Vec<Event>) {
        let is_whole = !self.choices.is_empty() && self.choices.values().all(|choice| choice.stopped);
        if !self.ended && is_whole {
            self.finish(out);
        }
    }
}

impl Reader {
    fn chunk(&mut self, mut chunk: Map<String, Value>, out: &mut Vec<Event>) {
        self.id = self.id.take().or_else(|| take_text(&mut chunk, "id"));
        self.model = self.model.take().or_else(|| take_text(&mut chunk, "model"));
        let tier = take_text(&mut chunk, "service_tier").and_then(|word| Tier::from_word(&word));
        let tier_is_new = tier.is_some() && tier != self.tier;
        self.tier = tier.or(self.tier);
        if tier_is_new && self.begun {
            out.extend(self.tier.map(Event::ServiceTier));
        }
        let sources = take_sources(&mut chunk);
        if !sources.is_empty() {
            self.sources = sources;
        }
        for (place, choice) in take_array(&mut chunk, "choices").into_iter().enumerate() {
            let Value::Object(mut given) = choice else { continue };
            let index = take_count(&mut given, "index").unwrap_or(place as u64);
            let Some(index) = Some(index).filter(|index| *index < MAX_CHOICES) else { continue };
            if let Some(error) = given.remove("error").filter(|error| !error.is_null()) {
                self.ended = true;
                out.push(Event::Error(read_error(&error)));
                return;
            }
            self.begin(out);
            let index = usize::try_from(index).unwrap_or(0);
            let choice = self.choices.entry(index).or_insert_with(|| Choice::new(index));
            choice.read(given, &self.sources, out);
        }
        if let Some(usage) = tokens::take(&mut chunk).filter(|usage| self.usage.as_ref() != Some(usage)) {
            self.usage = Some(usage);
            self.begin(out);
            out.push(Event::Usage(usage));
        }
    }

    /// Azure's first chunk has no choices, no id and no model: the answer begins with the first that says something.
    fn begin(&mut self, out: &mut Vec<Event>) {
        if !self.begun {
            self.begun = true;
            let model = self.model.clone().unwrap_or_default();
            out.push(Event::Begin { id: self.id.clone(), model, usage: None });
            out.extend(self.tier.map(Event::ServiceTier));
        }
    }

    fn finish(&mut self, out: &mut Vec<Event>) {
        self.begin(out);
        for choice in self.choices.values_mut() {
            choice.stop(None, None, &self.sources, out);
        }
        self.ended = true;
        out.push(Event::End);
    }
}

/// Takes the error that a chunk is, whichever way its server says it.
fn take_error(name: &[u8], chunk: &mut Map<String, Value>) -> Option<StreamError> {
    if let Some(error) = chunk.remove("error").filter(|error| !error.is_null()) {
        return Some(read_error(&error));
    }
    let groq = chunk.get_mut("x_groq").and_then(Value::as_object_mut);
    if let Some(error) = groq.and_then(|groq| groq.remove("error")).filter(|error| !error.is_null()) {
        return Some(read_error(&error));
    }
    let is_error = name == b"error" || chunk.get("object").is_some_and(|object| object == "error");
    if !is_error {
        return None;
    }
    let error = take_object(chunk, "detail").unwrap_or_else(|| std::mem::take(chunk));
    Some(read_error(&Value::Object(error)))
}

/// Reads an error with the observer's code, so that the record and the caller are told the same.
fn read_error(error: &Value) -> StreamError {
    let text = error.to_string();
    let read = observe::read_error(&mut Cursor::new(text.as_bytes()));
    read.ok().flatten().unwrap_or_default()
}
