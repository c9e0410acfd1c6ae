//! Translates a stream while it passes: bytes of the provider's in, bytes of the caller's out, however they are cut.

use bytes::Bytes;
use tollgate_interaction::Dialect;

use super::{Asked, CallIds, read_stream, write_stream};
use crate::chat::{Content, Event, Stop};
use crate::framing::Decoder;

/// Reads the events of one dialect's stream.
pub(crate) trait ReadStream: std::fmt::Debug + Send {
    /// Reads one event of the wire. `name` is its name, where it has one beside its data. Data that cannot be read is
    /// passed over: it is the observer's to notice.
    fn read(&mut self, name: &[u8], data: &[u8], out: &mut Vec<Event>);

    /// The body has ended as HTTP wants it to: says what the dialect leaves unsaid, if the stream was whole.
    fn end(&mut self, out: &mut Vec<Event>);
}

/// Writes the events of one dialect's stream.
pub(crate) trait WriteStream: std::fmt::Debug + Send {
    /// Writes what `event` comes to, framing included; nothing if it has to wait for a later one.
    fn write(&mut self, event: Event, out: &mut Vec<u8>);
}

/// Changes what a stream says while it is being translated, such as a guardrail does.
pub trait EditEvents: std::fmt::Debug + Send {
    /// Hands on `event`, or what shall stand in its place, or nothing for now.
    fn edit(&mut self, event: Event, out: &mut Vec<Event>);
}

/// Translates one stream. Feed it every chunk in order, and send what it returns to the caller.
#[derive(Debug)]
pub struct StreamTranslator {
    decoder: Decoder,
    reader: Box<dyn ReadStream>,
    writer: Box<dyn WriteStream>,
    editor: Option<Box<dyn EditEvents>>,
    call_ids: CallIds,
    events: Vec<Event>,
    unfinished: Unfinished,
    has_ended: bool,
    is_unbegun: bool,
}

impl StreamTranslator {
    /// From a provider of dialect `from` to a caller of dialect `to`.
    #[must_use]
    pub fn new(from: Dialect, to: Dialect, asked: Asked) -> Self {
        StreamTranslator {
            decoder: Decoder::halting(from),
            reader: read_stream(from),
            call_ids: CallIds::of(&asked.id),
            writer: write_stream(to, asked),
            editor: None,
            events: Vec::new(),
            unfinished: Unfinished::default(),
            has_ended: false,
            is_unbegun: false,
        }
    }

    /// The same, with all that is said going through `editor`.
    #[must_use]
    pub fn edited_by(mut self, editor: Box<dyn EditEvents>) -> Self {
        self.editor = Some(editor);
        self
    }

    /// What the caller may see now; possibly empty.
    #[must_use]
    pub fn push(&mut self, chunk: &[u8]) -> Bytes {
        let StreamTranslator { decoder, reader, events, .. } = self;
        decoder.push(chunk, |event| reader.read(event.name, event.data, events));
        self.written()
    }

    /// What is left when the body has ended as HTTP wants it to. Nothing more is written after an end or an error.
    #[must_use]
    pub fn finish(&mut self) -> Bytes {
        let StreamTranslator { decoder, reader, events, .. } = self;
        decoder.finish(|event| reader.read(event.name, event.data, events));
        reader.end(events);
        self.written()
    }

    /// Whether an event was too long to be read. What was written before it stands, nothing more will be, and the caller has
    /// to be told.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.decoder.dropped() > 0
    }

    /// Whether what was pushed so far ends within a frame of known length, so that a body which ends here is cut.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        self.decoder.is_midway()
    }

    /// Whether the provider has said that its answer is over without having begun one. Nothing has been written then, and the
    /// caller has to be told.
    #[must_use]
    pub fn is_unbegun(&self) -> bool {
        self.is_unbegun && !self.has_ended
    }

    /// Whether the caller has been told that all has been said, or that it broke off.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn written(&mut self) -> Bytes {
        let mut out = Vec::new();
        if let Some(editor) = &mut self.editor {
            let mut edited = Vec::with_capacity(self.events.len());
            self.events.drain(..).for_each(|event| editor.edit(event, &mut edited));
            self.events = edited;
        }
        for mut event in self.events.drain(..) {
            if self.has_ended {
                break;
            }
            if event == Event::End && !self.unfinished.has_begun {
                // There is no answer whose end it could be, and to say so is not every dialect's gift.
                self.is_unbegun = true;
                continue;
            }
            self.has_ended = matches!(event, Event::End | Event::Error(_));
            self.call_ids.name_next(&mut event);
            self.unfinished.note(&event);
            if event == Event::End {
                self.unfinished.finish().for_each(|event| self.writer.write(event, &mut out));
            }
            self.writer.write(event, &mut out);
        }
        out.into()
    }
}

/// What has begun in a stream and not ended. Some servers end a stream without saying why each answer did; the caller's
/// dialect wants a reason all the same, or its client library takes the answer for one that was cut off.
#[derive(Debug, Default)]
struct Unfinished {
    has_begun: bool,
    /// Choice and part.
    parts: Vec<(usize, usize)>,
    /// Choices that stopped, and those that did not, with the reason that what they wrote suggests.
    stopped: Vec<usize>,
    open: Vec<(usize, Stop)>,
}

impl Unfinished {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Begin { .. } => self.has_begun = true,
            Event::BeginPart { choice, part, content } => {
                self.has_begun = true;
                self.parts.push((*choice, *part));
                let is_call = matches!(content, Content::ToolCall(_) | Content::CustomCall(_));
                let stop = if is_call { Stop::ToolUse } else { Stop::End };
                match self.open.iter_mut().find(|(open, _)| open == choice) {
                    Some((_, known)) if stop == Stop::ToolUse => *known = stop,
                    Some(_) => {}
                    None => self.open.push((*choice, stop)),
                }
            }
            Event::EndPart { choice, part } => self.parts.retain(|open| open != &(*choice, *part)),
            Event::Stop { choice, .. } => {
                self.has_begun = true;
                self.stopped.push(*choice);
            }
            _ => {}
        }
    }

    /// What is left to be said before the end.
    fn finish(&mut self) -> impl Iterator<Item = Event> + use<> {
        let parts = std::mem::take(&mut self.parts).into_iter();
        let parts = parts.map(|(choice, part)| Event::EndPart { choice, part });
        let mut open = std::mem::take(&mut self.open);
        open.retain(|(choice, _)| !self.stopped.contains(choice));
        // The first choice is the only one that most dialects have: without its reason they have no end.
        let has_first = self.stopped.contains(&0) || open.iter().any(|(choice, _)| *choice == 0);
        if self.has_begun && !has_first {
            open.push((0, Stop::End));
        }
        parts.chain(open.into_iter().map(|(choice, stop)| Event::Stop { choice, stop }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_ends_before_it_begins_is_no_answer_to_anybody() {
        let stream = b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
        for caller in Dialect::ALL.iter().filter(|caller| **caller != Dialect::Anthropic) {
            let mut translator = StreamTranslator::new(Dialect::Anthropic, *caller, Asked::default());
            let seen = [translator.push(stream), translator.finish()].concat();
            assert!(seen.is_empty(), "{caller}: {}", String::from_utf8_lossy(&seen));
            assert!(translator.is_unbegun() && !translator.has_ended(), "{caller}");
        }
    }

    #[test]
    fn a_stream_of_another_candidate_alone_begins_and_ends_for_everybody() {
        // Found by the fuzzer: the second of several candidates, and nothing of the first.
        let stream = br#"data: {"candidates":[{"index":1,"content":{"role":"model","parts":[{"text":"x"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":1,"totalTokenCount":2}}

"#;
        for caller in Dialect::ALL {
            let mut translator = StreamTranslator::new(Dialect::Gemini, *caller, Asked::default());
            let seen = [translator.push(stream), translator.finish()].concat();
            assert!(translator.has_ended() && !seen.is_empty(), "{caller}: {}", String::from_utf8_lossy(&seen));
        }
    }

    #[test]
    fn a_stream_that_ends_without_a_reason_is_given_one() {
        let stream = br#"data: {"type":"message_start","message":{"id":"a","model":"m","usage":{"input_tokens":2,"output_tokens":1}}}

data: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"look","input":{}}}

data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{}"}}

data: {"type":"message_stop"}

"#;
        let reasons = [
            (Dialect::Openai, r#""finish_reason":"tool_calls""#),
            (Dialect::Gemini, r#""finishReason":"STOP""#),
            (Dialect::Responses, r#""type":"response.completed""#),
            (Dialect::Bedrock, r#""stopReason":"tool_use""#),
        ];
        for (caller, reason) in reasons {
            let mut translator = StreamTranslator::new(Dialect::Anthropic, caller, Asked::default());
            let seen = [translator.push(stream), translator.finish()].concat();
            assert!(String::from_utf8_lossy(&seen).contains(reason), "{caller}: {}", String::from_utf8_lossy(&seen));
            assert!(translator.has_ended());
        }
    }
}
