//! Writes the events of a stream: as server-sent events, or as one JSON array whose items come as they are ready. Calls of
//! tools are written whole, since Google's clients expect their arguments as an object; why the answer ended, what it cites
//! and what it cost stand in the last piece.

use serde_json::{Map, Value};
use tollgate_interaction::{Dialect, Usage};

use crate::chat::{Citation, Content, Delta, Event, Signature, Stop, Tier, TokenLogprob, ToolCall};
use crate::dialect::gemini::answer::{
    WrittenCitations, base, candidate_end, signed_part, usage_metadata, write_call, write_source,
};
use crate::dialect::gemini::{array, object};
use crate::failure;
use crate::observe::StreamError;
use crate::translate::{Asked, WriteStream};

/// Writes one stream.
#[derive(Debug)]
pub(crate) struct Writer {
    asked: Asked,
    id: Option<String>,
    model: String,
    usage: Option<Usage>,
    service_tier: Option<Tier>,
    choices: Vec<Choice>,
    has_written: bool,
}

/// One answer.
#[derive(Debug, Default)]
struct Choice {
    /// Open parts by number.
    open: Vec<(usize, Open)>,
    /// All text so far, and its characters: citations count from its beginning.
    text: String,
    chars: u64,
    cited: Vec<Citation>,
    logprobs: Vec<TokenLogprob>,
    stop: Option<Stop>,
}

#[derive(Debug)]
enum Open {
    /// Began at this character.
    Text(u64),
    Call(ToolCall),
}

impl Writer {
    /// For the call that asked so.
    pub(crate) fn new(asked: Asked) -> Self {
        Writer {
            asked,
            id: None,
            model: String::new(),
            usage: None,
            service_tier: None,
            choices: Vec::new(),
            has_written: false,
        }
    }

    fn choice(&mut self, index: usize) -> &mut Choice {
        if self.choices.len() <= index {
            self.choices.resize_with(index + 1, Choice::default);
        }
        &mut self.choices[index]
    }

    fn frame(&mut self, piece: &Value, out: &mut Vec<u8>) {
        let opening: &[u8] = if self.asked.events { b"data: " } else { array::opening(!self.has_written) };
        self.has_written = true;
        out.extend_from_slice(opening);
        out.extend_from_slice(piece.to_string().as_bytes());
        if self.asked.events {
            out.extend_from_slice(b"\r\n\r\n");
        }
    }

    fn close(&self, out: &mut Vec<u8>) {
        if !self.asked.events {
            out.extend_from_slice(array::CLOSING);
        }
    }

    /// Writes a piece that holds one part of one answer.
    fn part(&mut self, choice: usize, part: Value, out: &mut Vec<u8>) {
        self.choice(choice);
        let content = object([("parts", Value::Array(vec![part])), ("role", "model".into())]);
        let candidate = object([("content", content), ("index", choice.into())]);
        let mut piece = base(&self.model, self.id.as_deref(), &self.asked);
        if let Value::Object(fields) = &mut piece {
            fields.insert("candidates".to_owned(), Value::Array(vec![candidate]));
            // Counted so far, as Google does in every piece.
            fields.extend(
                self.usage.map(|usage| ("usageMetadata".to_owned(), usage_metadata(&usage, self.service_tier))),
            );
        }
        self.frame(&piece, out);
    }

    fn begin_part(&mut self, choice: usize, part: usize, content: Content, out: &mut Vec<u8>) {
        match content {
            Content::Text { text, citations } => {
                let state = self.choice(choice);
                state.open.push((part, Open::Text(state.chars)));
                self.text(choice, text, out);
                citations.into_iter().for_each(|citation| self.choice(choice).cite(part, citation));
            }
            Content::Refusal(text) => {
                let state = self.choice(choice);
                state.open.push((part, Open::Text(state.chars)));
                self.text(choice, text, out);
            }
            Content::ToolCall(call) => self.choice(choice).open.push((part, Open::Call(call))),
            Content::Thinking { text, signature } => {
                self.thought(choice, text, out);
                signature.into_iter().for_each(|signature| self.thought_signature(choice, &signature, out));
            }
            Content::Redacted(signature) => {
                self.part(choice, signed_part(object([("text", "".into())]), Some(&signature)), out);
            }
            Content::Image { source, .. }
            | Content::Audio(source)
            | Content::Video(source)
            | Content::Document { source, .. } => self.part(choice, write_source(source), out),
            Content::Native { dialect: Dialect::Gemini, value, .. } => self.part(choice, value, out),
            // A model does not give results of tools, and no one else's own words are understood here.
            Content::ToolResult(_) | Content::CustomCall(_) | Content::Native { .. } => {}
        }
    }

    fn text(&mut self, choice: usize, text: String, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let state = self.choice(choice);
        state.text.push_str(&text);
        state.chars += text.chars().count() as u64;
        self.part(choice, object([("text", text.into())]), out);
    }

    fn thought(&mut self, choice: usize, text: String, out: &mut Vec<u8>) {
        if !text.is_empty() {
            self.part(choice, object([("text", text.into()), ("thought", true.into())]), out);
        }
    }

    fn thought_signature(&mut self, choice: usize, signature: &Signature, out: &mut Vec<u8>) {
        let part = object([("text", "".into()), ("thought", true.into())]);
        self.part(choice, signed_part(part, Some(signature)), out);
    }

    fn go_on(&mut self, choice: usize, part: usize, delta: Delta, out: &mut Vec<u8>) {
        match delta {
            Delta::Text(text) => self.text(choice, text, out),
            Delta::Thinking(text) => self.thought(choice, text, out),
            Delta::Arguments(more) => {
                if let Some(Open::Call(call)) = self.choice(choice).opened(part) {
                    call.arguments.push_str(&more);
                }
            }
            Delta::Signature(signature) => match self.choice(choice).opened(part) {
                Some(Open::Call(call)) => call.signature = Some(signature),
                Some(Open::Text(_)) | None => self.thought_signature(choice, &signature, out),
            },
            Delta::Citation(citation) => self.choice(choice).cite(part, citation),
        }
    }

    fn end_part(&mut self, choice: usize, part: usize, out: &mut Vec<u8>) {
        let state = self.choice(choice);
        let Some(at) = state.open.iter().position(|(open, _)| *open == part) else { return };
        match state.open.remove(at).1 {
            Open::Text(start) => {
                // A citation without a span means the text of its part.
                let end = state.chars;
                let whole = state.cited.iter_mut().filter(|citation| citation.span.is_none());
                whole.for_each(|citation| citation.span = Some((start, end)));
            }
            Open::Call(call) => self.part(choice, write_call(call), out),
        }
    }

    /// The last piece: one candidate for each answer, and what all of it cost.
    fn end(&mut self, out: &mut Vec<u8>) {
        let candidates = std::mem::take(&mut self.choices).into_iter().enumerate().map(|(index, choice)| {
            let Choice { text, cited, logprobs, stop, .. } = choice;
            let mut written = WrittenCitations::default();
            written.add(0, &text, cited);
            let parts = Value::Array(vec![object([("text", "".into())])]);
            let content = object([("parts", parts), ("role", "model".into())]);
            let mut candidate = Map::from_iter([("content".to_owned(), content)]);
            candidate_end(&mut candidate, stop.as_ref(), written, logprobs);
            candidate.insert("index".to_owned(), index.into());
            Value::Object(candidate)
        });
        let candidates = Value::Array(candidates.collect());
        let mut piece = base(&self.model, self.id.as_deref(), &self.asked);
        if let Value::Object(fields) = &mut piece {
            fields.insert("candidates".to_owned(), candidates);
            let tier = self.service_tier;
            fields.extend(self.usage.map(|usage| ("usageMetadata".to_owned(), usage_metadata(&usage, tier))));
        }
        self.frame(&piece, out);
        self.close(out);
    }
}

impl Choice {
    fn opened(&mut self, part: usize) -> Option<&mut Open> {
        self.open.iter_mut().find(|(open, _)| *open == part).map(|(_, open)| open)
    }

    fn cite(&mut self, part: usize, mut citation: Citation) {
        if let Some(Open::Text(start)) = self.opened(part) {
            let start = *start;
            citation.span = citation.span.map(|(from, to)| (start.saturating_add(from), start.saturating_add(to)));
        }
        self.cited.push(citation);
    }
}

impl WriteStream for Writer {
    fn write(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Begin { id, model, usage } => {
                self.id = id;
                self.model = model;
                self.usage = usage.or(self.usage);
            }
            Event::BeginPart { choice, part, content } => self.begin_part(choice, part, content, out),
            Event::Continue { choice, part, delta } => self.go_on(choice, part, delta, out),
            Event::EndPart { choice, part } => self.end_part(choice, part, out),
            Event::Logprobs { choice, logprobs } => self.choice(choice).logprobs.extend(logprobs),
            Event::Stop { choice, stop } => self.choice(choice).stop = Some(stop),
            Event::Usage(usage) => self.usage = Some(usage),
            Event::ServiceTier(tier) => self.service_tier = Some(tier),
            Event::End => self.end(out),
            Event::Error(error) => {
                let error = write_error(&error);
                self.frame(&error, out);
                self.close(out);
            }
        }
    }
}

/// A provider's error in Google's words, by what it means.
fn write_error(error: &StreamError) -> Value {
    let (code, status) = match failure::classify_error(200, error) {
        failure::INVALID_REQUEST | failure::CONTEXT_LENGTH | failure::CONTENT_FILTERED | failure::TOO_LARGE => {
            (400, "INVALID_ARGUMENT")
        }
        failure::UNAUTHORIZED => (401, "UNAUTHENTICATED"),
        failure::FORBIDDEN => (403, "PERMISSION_DENIED"),
        failure::NOT_FOUND => (404, "NOT_FOUND"),
        failure::RATE_LIMITED | failure::QUOTA_EXHAUSTED => (429, "RESOURCE_EXHAUSTED"),
        failure::OVERLOADED => (503, "UNAVAILABLE"),
        failure::TIMEOUT => (504, "DEADLINE_EXCEEDED"),
        _ => (500, "INTERNAL"),
    };
    let message = error.message.as_str().into();
    object([("error", object([("code", code.into()), ("message", message), ("status", status.into())]))])
}
