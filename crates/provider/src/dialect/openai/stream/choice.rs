//! One of the answers in a provider's stream: cuts its deltas into parts. A delta does not say that a part has ended: it
//! has when another kind begins or the answer stops.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

use crate::chat::{Citation, Content, Delta, Event, Source, ToolCall};
use crate::dialect::openai::answer::{
    read_annotation, read_arguments, read_image, read_stop, sound_type, take_logprobs, take_signature,
};
use crate::dialect::openai::thoughts::{self, Form, Mark};
use crate::dialect::openai::wire::{take_array, take_count, take_object, take_text};

/// Calls of one answer that are kept apart.
const MAX_CALLS: usize = 1_024;

/// One answer.
#[derive(Debug)]
pub(super) struct Choice {
    index: usize,
    /// Index of the next part.
    next: usize,
    open: Option<Open>,
    calls: Vec<Call>,
    refused: bool,
    cited: bool,
    /// What is cited by a text that has not begun.
    uncited: Vec<Citation>,
    /// Sound so far.
    sound: Vec<u8>,
    /// Whether it has ended.
    pub(super) stopped: bool,
}

/// The part that is being written, other than calls.
#[derive(Debug)]
struct Open {
    part: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Text,
    Refusal,
    /// With what stands beside it, and its words as far as they came in a field of their own.
    Thinking(Mark, String),
}

#[derive(Debug)]
struct Call {
    /// As the server counts it.
    index: Option<u64>,
    id: Option<String>,
    part: usize,
    /// Whether it is given a text.
    is_custom: bool,
    arguments: Balance,
    is_open: bool,
}

impl Choice {
    /// The answer of this index.
    pub(super) fn new(index: usize) -> Self {
        Choice {
            index,
            next: 0,
            open: None,
            calls: Vec::new(),
            refused: false,
            cited: false,
            uncited: Vec::new(),
            sound: Vec::new(),
            stopped: false,
        }
    }

    /// Reads what a chunk says of it. `sources` are those that stand beside the choices.
    pub(super) fn read(&mut self, mut given: Map<String, Value>, sources: &[Citation], out: &mut Vec<Event>) {
        if self.stopped {
            return;
        }
        // A server that answers a stream with one chunk of a whole message is understood too.
        let delta = take_object(&mut given, "delta").or_else(|| take_object(&mut given, "message"));
        self.delta(delta.unwrap_or_default(), out);
        let logprobs = take_logprobs(&mut given);
        if !logprobs.is_empty() {
            out.push(Event::Logprobs { choice: self.index, logprobs });
        }
        if let Some(reason) = take_text(&mut given, "finish_reason") {
            self.stop(Some(reason), take_text(&mut given, "stop_reason"), sources, out);
        }
    }

    fn delta(&mut self, mut delta: Map<String, Value>, out: &mut Vec<Event>) {
        self.thoughts(&mut delta, out);
        match delta.remove("content") {
            Some(Value::String(text)) => self.say(Kind::Text, text, out),
            Some(Value::Array(pieces)) => pieces.into_iter().for_each(|piece| self.piece(piece, out)),
            _ => {}
        }
        if let Some(text) = take_text(&mut delta, "refusal") {
            self.refused = true;
            self.say(Kind::Refusal, text, out);
        }
        if let Some(mut audio) = take_object(&mut delta, "audio") {
            self.say(Kind::Text, take_text(&mut audio, "transcript").unwrap_or_default(), out);
            // Each piece is a base64 text of its own.
            let piece = take_text(&mut audio, "data").and_then(|piece| BASE64.decode(piece).ok());
            self.sound.extend(piece.unwrap_or_default());
        }
        for annotation in take_array(&mut delta, "annotations") {
            if let Some(citation) = read_annotation(annotation) {
                self.cite(citation, out);
            }
        }
        for image in take_array(&mut delta, "images") {
            if let Some(image) = read_image(image) {
                self.whole(image, out);
            }
        }
        for call in take_array(&mut delta, "tool_calls") {
            let Value::Object(call) = call else { continue };
            self.call(call, out);
        }
        if let Some(function) = take_object(&mut delta, "function_call") {
            let call = [("index".to_owned(), 0.into()), ("function".to_owned(), Value::Object(function))];
            self.call(call.into_iter().collect(), out);
        }
    }

    fn thoughts(&mut self, delta: &mut Map<String, Value>, out: &mut Vec<Event>) {
        let details = take_array(delta, "reasoning_details").into_iter().filter_map(thoughts::read_detail);
        let details: Vec<(Mark, String)> = details.collect();
        let plain = take_text(delta, "reasoning_content").or_else(|| take_text(delta, "reasoning"));
        // OpenRouter says the words twice.
        if details.iter().all(|(_, words)| words.is_empty()) {
            self.think(Mark::default(), plain.unwrap_or_default(), out);
        }
        for (mark, words) in details {
            match mark.form {
                Form::Encrypted => thoughts::content(mark, words).into_iter().for_each(|all| self.whole(all, out)),
                _ => self.think(mark, words, out),
            }
        }
    }

    fn piece(&mut self, piece: Value, out: &mut Vec<Event>) {
        let Value::Object(mut map) = piece else { return };
        match map.get("type").and_then(Value::as_str) {
            Some("text") => self.say(Kind::Text, take_text(&mut map, "text").unwrap_or_default(), out),
            Some("thinking") => {
                let (mark, words) = thoughts::read_piece(map);
                self.think(mark, words, out);
            }
            Some("image_url") => read_image(Value::Object(map)).into_iter().for_each(|image| self.whole(image, out)),
            _ => {}
        }
    }

    fn think(&mut self, mark: Mark, mut words: String, out: &mut Vec<Event>) {
        let says_nothing = words.is_empty() && mark == Mark::default();
        if let Some(Open { part, kind: Kind::Thinking(open, plain) }) = &mut self.open {
            // The words again, with their signature, after they came in a field of their own.
            let again = open.form == Form::Plain
                && matches!(mark.form, Form::Text | Form::Summary)
                && (words.is_empty() || words == *plain);
            if again || open.goes_on_with(&mark) {
                if again {
                    words.clear();
                }
                if open.form == Form::Plain {
                    plain.push_str(&words);
                }
                open.add(mark);
                let part = *part;
                self.go_on(part, words, Delta::Thinking, out);
                return;
            }
        }
        if says_nothing {
            return;
        }
        let plain = if mark.form == Form::Plain { words.clone() } else { String::new() };
        self.begin(Kind::Thinking(mark, plain), Content::Thinking { text: String::new(), signature: None }, out);
        self.go_on(self.next - 1, words, Delta::Thinking, out);
    }

    fn say(&mut self, kind: Kind, text: String, out: &mut Vec<Event>) {
        if text.is_empty() {
            return;
        }
        let part = match (&self.open, &kind) {
            (Some(Open { part, kind: Kind::Text }), Kind::Text)
            | (Some(Open { part, kind: Kind::Refusal }), Kind::Refusal) => *part,
            _ => {
                let content = match kind {
                    Kind::Refusal => Content::Refusal(String::new()),
                    Kind::Text | Kind::Thinking(..) => Content::text(""),
                };
                self.begin(kind, content, out);
                self.next - 1
            }
        };
        self.go_on(part, text, Delta::Text, out);
    }

    fn begin(&mut self, kind: Kind, content: Content, out: &mut Vec<Event>) {
        self.close(out);
        let part = self.next;
        self.next += 1;
        self.open = Some(Open { part, kind });
        out.push(Event::BeginPart { choice: self.index, part, content });
    }

    fn go_on(&self, part: usize, text: String, delta: impl Fn(String) -> Delta, out: &mut Vec<Event>) {
        if !text.is_empty() {
            out.push(Event::Continue { choice: self.index, part, delta: delta(text) });
        }
    }

    /// Ends the part that is being written.
    fn close(&mut self, out: &mut Vec<Event>) {
        let Some(Open { part, kind }) = self.open.take() else { return };
        let choice = self.index;
        match kind {
            Kind::Text => {
                let cited = self.uncited.drain(..).map(Delta::Citation);
                out.extend(cited.map(|delta| Event::Continue { choice, part, delta }));
            }
            Kind::Thinking(mark, _) => {
                let signature = mark.into_signature().map(Delta::Signature);
                out.extend(signature.map(|delta| Event::Continue { choice, part, delta }));
            }
            Kind::Refusal => {}
        }
        out.push(Event::EndPart { choice, part });
    }

    /// A part that comes whole.
    fn whole(&mut self, content: Content, out: &mut Vec<Event>) {
        self.close(out);
        let part = self.next;
        self.next += 1;
        out.push(Event::BeginPart { choice: self.index, part, content });
        out.push(Event::EndPart { choice: self.index, part });
    }

    fn cite(&mut self, citation: Citation, out: &mut Vec<Event>) {
        self.cited = true;
        match self.open {
            Some(Open { part, kind: Kind::Text }) => {
                out.push(Event::Continue { choice: self.index, part, delta: Delta::Citation(citation) });
            }
            _ => self.uncited.push(citation),
        }
    }

    fn call(&mut self, mut given: Map<String, Value>, out: &mut Vec<Event>) {
        let (index, id) = (take_count(&mut given, "index"), take_text(&mut given, "id"));
        let is_custom = given.contains_key("custom") || given.get("type").is_some_and(|kind| kind == "custom");
        let signature = take_signature(&mut given);
        let inner = take_object(&mut given, if is_custom { "custom" } else { "function" });
        let mut inner = inner.unwrap_or_default();
        let name = take_text(&mut inner, "name");
        let pieces = read_arguments(inner.remove(if is_custom { "input" } else { "arguments" }));
        let known = self.known_call(index, id.as_deref(), name.as_deref());
        let place = match known {
            Some(place) => place,
            None if self.calls.len() < MAX_CALLS => {
                self.begin_call(Call { index, id, part: self.next, is_custom, ..Call::new() }, name, out)
            }
            None => return,
        };
        let Some(call) = self.calls.get_mut(place).filter(|call| call.is_open) else { return };
        // Free text has no form by which its end could be told.
        if !call.is_custom {
            call.arguments.read(&pieces);
        }
        let (choice, part) = (self.index, call.part);
        // Where both come at once the signature is told first: some writers can put it before the call only.
        if let Some(signature) = signature {
            out.push(Event::Continue { choice, part, delta: Delta::Signature(signature) });
        }
        if !pieces.is_empty() {
            out.push(Event::Continue { choice, part, delta: Delta::Arguments(pieces) });
        }
    }

    /// The call that a piece belongs to. Some servers number no calls, or all of them zero, but send each with an id and
    /// a name of its own.
    fn known_call(&self, index: Option<u64>, id: Option<&str>, name: Option<&str>) -> Option<usize> {
        let last = self.calls.iter().rposition(|call| index.is_none() || call.index == index)?;
        let known = self.calls.get(last)?;
        let is_new = match (id, &known.id) {
            (Some(id), Some(known)) => id != known,
            // A name comes once; a server without ids begins the next call with the next name.
            _ => name.is_some() && known.arguments.is_whole(),
        };
        (!is_new).then_some(last)
    }

    fn begin_call(&mut self, call: Call, name: Option<String>, out: &mut Vec<Event>) -> usize {
        self.close(out);
        // A call whose arguments are whole will not go on, so that readers with one part at a time can have the next.
        for call in self.calls.iter_mut().filter(|call| call.is_open && call.arguments.is_whole()) {
            call.is_open = false;
            out.push(Event::EndPart { choice: self.index, part: call.part });
        }
        let id = call.id.clone().unwrap_or_default();
        let content = ToolCall { id, name: name.unwrap_or_default(), arguments: String::new(), signature: None };
        let content = if call.is_custom { Content::CustomCall(content) } else { Content::ToolCall(content) };
        out.push(Event::BeginPart { choice: self.index, part: call.part, content });
        self.next += 1;
        self.calls.push(call);
        self.calls.len() - 1
    }

    /// Ends the answer, unless it has ended already.
    pub(super) fn stop(
        &mut self,
        reason: Option<String>,
        stop_text: Option<String>,
        sources: &[Citation],
        out: &mut Vec<Event>,
    ) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        if !self.cited {
            sources.iter().for_each(|source| self.cite(source.clone(), out));
        }
        self.close(out);
        let choice = self.index;
        for call in self.calls.iter().filter(|call| call.is_open) {
            out.push(Event::EndPart { choice, part: call.part });
        }
        if !self.sound.is_empty() {
            let media_type = sound_type(&self.sound).to_owned();
            let base64 = BASE64.encode(std::mem::take(&mut self.sound));
            self.whole(Content::Audio(Source::Base64 { media_type, base64 }), out);
        }
        let word = reason.unwrap_or_else(|| "stop".to_owned());
        let stop = read_stop(word, stop_text, !self.calls.is_empty(), self.refused);
        out.push(Event::Stop { choice, stop });
    }
}

impl Call {
    fn new() -> Self {
        Call { index: None, id: None, part: 0, is_custom: false, arguments: Balance::default(), is_open: true }
    }
}

/// Tells when arguments that come in pieces are a whole JSON object.
#[derive(Debug, Default)]
struct Balance {
    depth: u32,
    in_text: bool,
    escaped: bool,
    begun: bool,
}

impl Balance {
    fn read(&mut self, piece: &str) {
        for byte in piece.bytes() {
            match (self.in_text, byte) {
                (true, _) if self.escaped => self.escaped = false,
                (true, b'\\') => self.escaped = true,
                (_, b'"') => self.in_text = !self.in_text,
                (false, b'{' | b'[') => {
                    self.begun = true;
                    self.depth += 1;
                }
                (false, b'}' | b']') => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.begun && self.depth == 0 && !self.in_text
    }
}
