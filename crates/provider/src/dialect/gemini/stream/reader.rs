//! Reads the events of a stream.

use serde_json::Value;

use crate::chat::{Content, Delta, Event, Signature, Stop, Tier, ToolCall};
use crate::dialect::gemini::answer::{
    Candidate, Counted, Grounding, Head, PartKind, ReadPart, error, read_part, refusal, stop,
};
use crate::dialect::gemini::proto::take_items;
use crate::translate::ReadStream;

/// Answers that are told apart; more than Google gives.
const MAX_CHOICES: usize = 128;

/// Reads one stream.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    has_begun: bool,
    has_ended: bool,
    model: String,
    usage: Option<Counted>,
    service_tier: Option<Tier>,
    choices: Vec<Choice>,
}

/// One answer, as far as it has come.
#[derive(Debug, Default)]
struct Choice {
    began: bool,
    open: Option<Open>,
    /// Number of the next part.
    next: usize,
    /// The open text: citations count its bytes.
    text: String,
    /// Signatures of the open text, which stand behind it.
    signatures: Vec<Signature>,
    grounding: Grounding,
    queries: u64,
    has_call: bool,
    stop: Option<Stop>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Text(usize),
    Thought(usize),
}

impl ReadStream for Reader {
    fn read(&mut self, _name: &[u8], data: &[u8], out: &mut Vec<Event>) {
        let Ok(mut chunk) = serde_json::from_slice::<Value>(data) else { return };
        if self.has_ended {
            return;
        }
        if let Some(error) = error(&mut chunk) {
            self.has_ended = true;
            out.push(Event::Error(error));
            return;
        }
        if !chunk.is_object() {
            return;
        }
        self.head(&mut chunk, out);
        for (place, candidate) in take_items(&mut chunk, "candidates").into_iter().enumerate() {
            self.candidate(Candidate::take(candidate, place), out);
        }
        if let Some(refused) = refusal(&mut chunk)
            && self.choices.is_empty()
        {
            let mut choice = Choice { began: true, stop: refused.stop, ..Choice::default() };
            for part in refused.parts {
                if let Content::Refusal(text) = part.content {
                    let part = choice.begin(0, Content::Refusal(String::new()), out);
                    out.push(Event::Continue { choice: 0, part, delta: Delta::Text(text) });
                    out.push(Event::EndPart { choice: 0, part });
                }
            }
            self.choices.push(choice);
        }
    }

    fn end(&mut self, out: &mut Vec<Event>) {
        let answers = || self.choices.iter().filter(|choice| choice.began);
        let is_whole = answers().count() > 0 && answers().all(|choice| choice.stop.is_some());
        if self.has_ended || !is_whole {
            return;
        }
        self.has_ended = true;
        let mut queries = 0;
        for (index, choice) in self.choices.iter_mut().enumerate().filter(|(_, choice)| choice.began) {
            queries += choice.queries;
            choice.close(index, out);
            let ordinary = matches!(choice.stop, Some(Stop::End));
            let stop = choice.stop.take().unwrap_or(Stop::End);
            let stop = if ordinary && choice.has_call { Stop::ToolUse } else { stop };
            out.push(Event::Stop { choice: index, stop });
        }
        out.extend(self.usage.map(|usage| Event::Usage(usage.with_searches(&self.model, queries))));
        out.push(Event::End);
    }
}

impl Reader {
    /// Tokens are told in every event and grow: the last ones count.
    fn head(&mut self, chunk: &mut Value, out: &mut Vec<Event>) {
        let head = Head::take(chunk);
        self.usage = head.usage.or(self.usage);
        if !self.has_begun {
            self.has_begun = true;
            self.model = head.model;
            let usage = self.usage.map(|usage| usage.0);
            out.push(Event::Begin { id: head.id, model: self.model.clone(), usage });
        }
        if head.service_tier.is_some() && head.service_tier != self.service_tier {
            self.service_tier = head.service_tier;
            out.extend(self.service_tier.map(Event::ServiceTier));
        }
    }

    fn candidate(&mut self, candidate: Candidate, out: &mut Vec<Event>) {
        let Candidate { index, parts, finish_reason, grounding, logprobs } = candidate;
        if index >= MAX_CHOICES {
            return;
        }
        if self.choices.len() <= index {
            self.choices.resize_with(index + 1, Choice::default);
        }
        let Some(choice) = self.choices.get_mut(index) else { return };
        choice.began = true;
        if !grounding.is_empty() {
            // Repeated with all that was found so far.
            choice.queries = choice.queries.max(grounding.queries());
            choice.grounding = grounding;
        }
        for part in parts {
            if let Some(part) = read_part(part) {
                choice.part(index, part, out);
            }
        }
        if !logprobs.is_empty() {
            out.push(Event::Logprobs { choice: index, logprobs });
        }
        if let Some(reason) = finish_reason {
            choice.stop = Some(stop(reason, choice.has_call));
        }
    }
}

impl Choice {
    fn begin(&mut self, choice: usize, content: Content, out: &mut Vec<Event>) -> usize {
        let part = self.next;
        self.next += 1;
        out.push(Event::BeginPart { choice, part, content });
        part
    }

    fn part(&mut self, choice: usize, part: ReadPart, out: &mut Vec<Event>) {
        let ReadPart { kind, signature } = part;
        match kind {
            PartKind::Text(text) => self.text(choice, text, signature, out),
            PartKind::Thought(text) => self.thought(choice, text, signature, out),
            PartKind::Call(call) => self.call(choice, call, signature, out),
            PartKind::Whole(content) => {
                self.close(choice, out);
                let part = self.begin(choice, content, out);
                out.push(Event::EndPart { choice, part });
                signature.into_iter().for_each(|signature| self.signature(choice, signature, out));
            }
        }
    }

    fn text(&mut self, choice: usize, text: String, signature: Option<Signature>, out: &mut Vec<Event>) {
        if !text.is_empty() {
            let part = match self.open {
                Some(Open::Text(part)) => part,
                _ => {
                    self.close(choice, out);
                    let part = self.begin(choice, Content::text(""), out);
                    self.open = Some(Open::Text(part));
                    part
                }
            };
            self.text.push_str(&text);
            out.push(Event::Continue { choice, part, delta: Delta::Text(text) });
        }
        let Some(signature) = signature else { return };
        match self.open {
            Some(Open::Text(_)) => self.signatures.push(signature),
            _ => {
                self.close(choice, out);
                self.signature(choice, signature, out);
            }
        }
    }

    fn thought(&mut self, choice: usize, text: String, signature: Option<Signature>, out: &mut Vec<Event>) {
        let part = match self.open {
            Some(Open::Thought(part)) => part,
            _ => {
                self.close(choice, out);
                let part = self.begin(choice, Content::Thinking { text: String::new(), signature: None }, out);
                self.open = Some(Open::Thought(part));
                part
            }
        };
        if !text.is_empty() {
            out.push(Event::Continue { choice, part, delta: Delta::Thinking(text) });
        }
        if let Some(signature) = signature {
            out.push(Event::Continue { choice, part, delta: Delta::Signature(signature) });
            self.close(choice, out);
        }
    }

    fn call(&mut self, choice: usize, call: ToolCall, signature: Option<Signature>, out: &mut Vec<Event>) {
        self.close(choice, out);
        self.has_call = true;
        let ToolCall { id, name, arguments, .. } = call;
        // A writer that keeps signatures in parts of their own puts this one before the call, as in a whole answer.
        let begun = ToolCall { id, name, arguments: String::new(), signature };
        let part = self.begin(choice, Content::ToolCall(begun), out);
        out.push(Event::Continue { choice, part, delta: Delta::Arguments(arguments) });
        out.push(Event::EndPart { choice, part });
    }

    /// A signature that belongs to no thought that is shown.
    fn signature(&mut self, choice: usize, signature: Signature, out: &mut Vec<Event>) {
        let part = self.begin(choice, Content::Thinking { text: String::new(), signature: None }, out);
        out.push(Event::Continue { choice, part, delta: Delta::Signature(signature) });
        out.push(Event::EndPart { choice, part });
    }

    /// Ends the open part. What is cited is known only now.
    fn close(&mut self, choice: usize, out: &mut Vec<Event>) {
        match self.open.take() {
            Some(Open::Text(part)) => {
                let text = std::mem::take(&mut self.text);
                for citation in std::mem::take(&mut self.grounding).of_text(&text) {
                    out.push(Event::Continue { choice, part, delta: Delta::Citation(citation) });
                }
                out.push(Event::EndPart { choice, part });
            }
            Some(Open::Thought(part)) => out.push(Event::EndPart { choice, part }),
            None => {}
        }
        for signature in std::mem::take(&mut self.signatures) {
            self.signature(choice, signature, out);
        }
    }
}
