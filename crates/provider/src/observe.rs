//! What a response says about itself, read from its bytes as they pass: the model that served it, its usage, why it
//! stopped, and any error, even one that arrives late inside a stream that began with 200. It never changes, delays or
//! keeps a byte of a stream; it builds no tree.

mod anthropic;
mod bedrock;
mod gemini;
mod openai;
mod operations;
mod responses;

pub(crate) use openai::{read_base_resp, read_error};
use tollgate_interaction::{Dialect, Operation, Usage, UsageSource, Usd};

use crate::framing::Decoder;
use crate::scan::{Cursor, ScanError};
use crate::sse::Event;
use crate::tokens::{self, Estimate};
use crate::usage::UsageReading;

/// Choices whose finish reasons are kept apart; OpenAI's own limit for `n`.
const MAX_CHOICES: usize = 128;
/// Characters of a provider's error message that are kept.
const MAX_MESSAGE_CHARS: usize = 500;

/// An error the provider reported in its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamError {
    /// The provider's type of error, such as `overloaded_error`; empty if it gave none.
    pub kind: String,
    /// The provider's code, if it gave one.
    pub code: Option<String>,
    /// The provider's message, cut at 500 characters.
    pub message: String,
}

/// What a response said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Model, as the provider named it.
    pub model_served: Option<String>,
    /// Tokens, normalised (input includes cached tokens).
    pub usage: Usage,
    /// Whether that is the provider's final count.
    pub usage_source: UsageSource,
    /// Why each choice ended, by index, in the provider's words.
    pub finish_reasons: Vec<String>,
    /// The error the response reported.
    pub error: Option<StreamError>,
    /// Whether the response said that it was whole (`[DONE]`, `message_stop`, or complete JSON).
    pub terminated: bool,
    /// Characters the model wrote, tool arguments and visible reasoning included.
    pub output_chars: u64,
    /// Tier of service that answered, in the provider's words.
    pub service_tier: Option<String>,
    /// What the provider itself says the call costs.
    pub cost: Option<Usd>,
    /// Seconds of audio the provider counted instead of tokens, as it wrote the number.
    pub audio_seconds: Option<String>,
    /// Pictures in the answer.
    pub images: Option<u64>,
}

impl Observation {
    /// Of an answer that is not for reading, such as sound, or a file: it has come, and tells nothing about itself.
    #[must_use]
    pub fn opaque() -> Observation {
        sum_up(Reading { terminated: true, ..Reading::default() }, true)
    }

    /// Whether the provider left uncounted what was read or written, so that the call must be estimated. A final count
    /// by the provider stands, and a call that wrote nothing and reported nothing stays uncounted.
    #[must_use]
    pub fn needs_estimate(&self) -> bool {
        let written = tokens::of_chars(self.output_chars);
        let is_short = self.usage.input_tokens.is_none() || self.usage.output_tokens.unwrap_or(0) < written;
        self.usage_source != UsageSource::Provider && is_short && !(self.usage.is_empty() && written == 0)
    }

    /// Fills in what the provider did not count, if [`needs_estimate`](Self::needs_estimate), so that a call which was
    /// cut off is charged for what was written. What the provider did count is kept unless less than what was written; a
    /// call whose input it counted stays partial.
    #[must_use]
    pub fn with_estimate(mut self, estimate: Estimate) -> Self {
        if !self.needs_estimate() {
            return self;
        }
        if self.usage.input_tokens.is_none() {
            self.usage.input_tokens = Some(estimate.input_tokens);
            self.usage_source = UsageSource::Estimated;
        }
        self.usage.output_tokens = Some(self.usage.output_tokens.unwrap_or(0).max(estimate.output_tokens));
        self
    }
}

/// Facts gathered so far; shared by both dialects.
#[derive(Clone, Debug, Default)]
struct Reading {
    model: Option<String>,
    usage: UsageReading,
    usage_is_final: bool,
    finish_reasons: Vec<Option<String>>,
    error: Option<StreamError>,
    terminated: bool,
    output_chars: u64,
    content: bool,
    service_tier: Option<String>,
    cost: Option<Usd>,
    audio_seconds: Option<String>,
    images: Option<u64>,
}

impl Reading {
    fn tier(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
        let tier = cursor.text_or_skip()?.filter(|tier| !tier.is_empty());
        self.service_tier = tier.map(|tier| bounded(&tier.decode())).or(self.service_tier.take());
        Ok(())
    }

    fn finish_reason(&mut self, index: usize, reason: String) {
        if index >= MAX_CHOICES {
            return;
        }
        if self.finish_reasons.len() <= index {
            self.finish_reasons.resize(index + 1, None);
        }
        self.finish_reasons[index] = Some(reason);
    }

    fn wrote(&mut self, chars: u64) {
        self.output_chars += chars;
        self.content |= chars > 0;
    }
}

/// Reads one response. Feed it every byte in order, in pieces of any size.
#[derive(Debug)]
pub struct Observer {
    dialect: Dialect,
    operation: Operation,
    form: Form,
    reading: Reading,
}

#[derive(Debug)]
enum Form {
    /// Nothing has come yet. A stream may turn out to be a plain JSON error.
    Unknown {
        stream: bool,
    },
    Stream(Decoder),
    Whole(Vec<u8>),
}

impl Observer {
    /// `stream` says whether the response should be a stream of events; a JSON body is recognised all the same.
    #[must_use]
    pub fn new(dialect: Dialect, operation: Operation, stream: bool) -> Self {
        Observer { dialect, operation, form: Form::Unknown { stream }, reading: Reading::default() }
    }

    /// Reads the next bytes.
    pub fn push(&mut self, chunk: &[u8]) {
        let mut chunk = chunk;
        if let Form::Unknown { stream } = self.form {
            // Of the white space before anything else nothing is read, whether it comes in a piece of its own or not.
            chunk = chunk.trim_ascii_start();
            let Some(first) = chunk.first() else { return };
            let is_json = matches!(first, b'{' | b'[');
            self.form =
                if stream && !is_json { Form::Stream(Decoder::of(self.dialect)) } else { Form::Whole(Vec::new()) };
        }
        match &mut self.form {
            Form::Unknown { .. } => {}
            Form::Whole(body) => body.extend_from_slice(chunk),
            Form::Stream(decoder) => {
                let (dialect, operation, reading) = (self.dialect, self.operation, &mut self.reading);
                decoder.push(chunk, |event| read_event(dialect, operation, reading, event));
            }
        }
    }

    /// Whether any of the model's own output has passed: the moment of the first token.
    #[must_use]
    pub fn saw_content(&self) -> bool {
        match &self.form {
            Form::Unknown { .. } => false,
            Form::Whole(body) => !body.is_empty(),
            Form::Stream(_) => self.reading.content,
        }
    }

    /// Sums up. `complete` says whether the response's body ended as HTTP wants it to, rather than being cut off or
    /// abandoned.
    #[must_use]
    pub fn finish(self, complete: bool) -> Observation {
        let Observer { dialect, operation, form, mut reading } = self;
        match form {
            Form::Unknown { .. } => {}
            Form::Whole(body) => read_whole(dialect, operation, &mut reading, &body),
            Form::Stream(mut decoder) => decoder.finish(|event| read_event(dialect, operation, &mut reading, event)),
        }
        sum_up(reading, complete)
    }
}

/// Reads a response that is already in one piece, without copying it.
#[must_use]
pub fn whole(dialect: Dialect, operation: Operation, body: &[u8]) -> Observation {
    let mut reading = Reading::default();
    read_whole(dialect, operation, &mut reading, body);
    sum_up(reading, true)
}

#[inline]
fn read_event(dialect: Dialect, operation: Operation, reading: &mut Reading, event: Event<'_>) {
    match dialect {
        Dialect::Openai if is_chat_like(operation) => openai::read_chunk(reading, event.data),
        Dialect::Openai => operations::read_event(operation, reading, event.data),
        Dialect::Anthropic => anthropic::read_event(reading, event.data),
        Dialect::Responses => responses::read_event(reading, event.data),
        Dialect::Gemini => gemini::read_chunk(reading, event.data),
        Dialect::Bedrock => bedrock::read_event(reading, event.name, event.data),
    }
}

/// Whether OpenAI answers an operation as it does a chat: with choices, or at least with the same usage.
fn is_chat_like(operation: Operation) -> bool {
    matches!(operation, Operation::Chat | Operation::Completions | Operation::Embeddings | Operation::Models)
}

fn read_whole(dialect: Dialect, operation: Operation, reading: &mut Reading, body: &[u8]) {
    match (dialect, operation) {
        (_, Operation::Files | Operation::Batches) => operations::read_whole(operation, reading, body),
        (_, Operation::Models) => reading.terminated = crate::scan::Cursor::new(body).skip().is_ok(),
        (Dialect::Openai, operation) if is_chat_like(operation) => openai::read_whole(reading, body),
        (Dialect::Openai, operation) => operations::read_whole(operation, reading, body),
        (Dialect::Anthropic, _) => anthropic::read_whole(reading, body),
        (Dialect::Responses, _) => responses::read_whole(reading, body),
        (Dialect::Gemini, _) => gemini::read_whole(reading, body),
        (Dialect::Bedrock, _) => bedrock::read_whole(reading, body),
    }
}

fn sum_up(reading: Reading, complete: bool) -> Observation {
    let usage = reading.usage.normalise();
    let usage_source = match (usage.is_empty(), reading.usage_is_final) {
        (true, _) => UsageSource::None,
        (false, true) => UsageSource::Provider,
        (false, false) if complete && reading.terminated => UsageSource::Provider,
        (false, false) => UsageSource::Partial,
    };
    Observation {
        model_served: reading.model,
        usage,
        usage_source,
        finish_reasons: reading.finish_reasons.into_iter().flatten().collect(),
        error: reading.error,
        terminated: reading.terminated,
        output_chars: reading.output_chars,
        service_tier: reading.service_tier,
        cost: reading.cost,
        audio_seconds: reading.audio_seconds,
        images: reading.images,
    }
}

/// `text` cut at [`MAX_MESSAGE_CHARS`] characters.
pub(crate) fn bounded(text: &str) -> String {
    text.chars().take(MAX_MESSAGE_CHARS).collect()
}
