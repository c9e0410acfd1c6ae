//! Guardrails within a stream: what each part of each answer says goes through the rules piece by piece, and what was
//! replaced in the request comes back. Arguments of tools wait until they are whole, since half of a JSON text cannot be
//! looked into.

use std::sync::Arc;

use parking_lot::Mutex;
use tollgate_policy::guard::redact::Restorer;
use tollgate_policy::guard::stream::Channel;
use tollgate_provider::chat::{Content, Delta, Event};
use tollgate_provider::translate::EditEvents;

use super::State;
use super::service::Said;

/// Edits one stream.
#[derive(Debug)]
pub(super) struct Editor {
    state: Arc<Mutex<State>>,
    parts: Vec<Part>,
    /// Whether values come back: to the caller they do, to the log they do not.
    restores: bool,
    /// Whether services want to know what was said.
    keeps_texts: bool,
}

#[derive(Debug)]
struct Part {
    choice: usize,
    part: usize,
    kind: PartKind,
    channel: Channel,
    restorer: Restorer,
    /// Arguments so far, or what was said if a service asks.
    whole: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartKind {
    Text,
    Thinking,
    Arguments,
    /// What a tool is given that takes free text.
    Input,
}

impl PartKind {
    /// What is added to such a part.
    fn delta(self, text: String) -> Delta {
        match self {
            PartKind::Text => Delta::Text(text),
            PartKind::Thinking => Delta::Thinking(text),
            PartKind::Arguments | PartKind::Input => Delta::Arguments(text),
        }
    }
}

impl Editor {
    pub(super) fn new(state: Arc<Mutex<State>>, restores: bool) -> Editor {
        let keeps_texts = {
            let state = state.lock();
            state.answer.as_ref().is_some_and(|session| session.rules().iter().any(|rule| !rule.services.is_empty()))
        };
        Editor { state, parts: Vec::new(), restores, keeps_texts }
    }

    fn begin(&mut self, state: &State, (choice, part): (usize, usize), content: &Content) {
        let kind = match content {
            Content::ToolCall(_) => PartKind::Arguments,
            Content::CustomCall(_) => PartKind::Input,
            Content::Thinking { .. } => PartKind::Thinking,
            Content::Text { .. } | Content::Refusal(_) => PartKind::Text,
            _ => return,
        };
        let channel = match &state.answer {
            Some(session) if kind == PartKind::Text => Channel::new(session),
            Some(session) => Channel::of_places(session),
            None => Channel::default(),
        };
        self.parts.push(Part { choice, part, kind, channel, restorer: Restorer::default(), whole: String::new() });
    }

    /// Writes what is left of the parts of `choice`, or of one of them, or of all.
    fn flush(&mut self, state: &mut State, choice: Option<usize>, part: Option<usize>, out: &mut Vec<Event>) {
        let ends = |known: &Part| {
            choice.is_none_or(|choice| choice == known.choice) && part.is_none_or(|part| part == known.part)
        };
        let (ending, open): (Vec<Part>, Vec<Part>) = std::mem::take(&mut self.parts).into_iter().partition(ends);
        self.parts = open;
        for mut part in ending {
            let rest = part.finish(state, self.restores);
            if self.keeps_texts && part.kind == PartKind::Text {
                let text = std::mem::take(&mut part.whole);
                state.said.push(Said { role: "assistant", text, is_tool_result: false });
            }
            if !rest.is_empty() && !state.is_blocked() {
                out.push(Event::Continue { choice: part.choice, part: part.part, delta: part.kind.delta(rest) });
            }
        }
    }
}

impl State {
    fn is_blocked(&self) -> bool {
        self.answer.as_ref().is_some_and(|session| session.blocked_by().is_some())
    }
}

impl Part {
    fn push(&mut self, state: &mut State, text: &str, restores: bool, keeps: bool) -> String {
        if self.kind == PartKind::Arguments {
            self.whole.push_str(text);
            return String::new();
        }
        let State { vault, answer, .. } = state;
        let said = match answer {
            Some(session) => self.channel.push(session, vault, text),
            None => text.to_owned(),
        };
        if keeps {
            self.whole.push_str(&said);
        }
        if restores { self.restorer.push(vault, &said) } else { said }
    }

    fn finish(&mut self, state: &mut State, restores: bool) -> String {
        let State { vault, answer, .. } = state;
        if self.kind == PartKind::Arguments {
            let arguments = std::mem::take(&mut self.whole);
            let changed = answer.as_mut().and_then(|session| session.inspect_json(&arguments, vault));
            let arguments = changed.unwrap_or(arguments);
            return if restores { vault.restore_json(&arguments) } else { arguments };
        }
        let said = answer.as_mut().map(|session| self.channel.finish(session, vault)).unwrap_or_default();
        self.whole.push_str(&said);
        if !restores {
            return said;
        }
        let mut out = self.restorer.push(vault, &said);
        out.push_str(&self.restorer.finish(vault));
        out
    }
}

impl EditEvents for Editor {
    fn edit(&mut self, event: Event, out: &mut Vec<Event>) {
        let state = Arc::clone(&self.state);
        let mut state = state.lock();
        if state.is_blocked() {
            return;
        }
        match event {
            Event::BeginPart { choice, part, content } => {
                self.begin(&state, (choice, part), &content);
                out.push(Event::BeginPart { choice, part, content });
            }
            Event::Continue {
                choice,
                part,
                delta: delta @ (Delta::Text(_) | Delta::Thinking(_) | Delta::Arguments(_)),
            } => {
                let (restores, keeps) = (self.restores, self.keeps_texts);
                let Some(known) = self.parts.iter_mut().find(|known| (known.choice, known.part) == (choice, part))
                else {
                    return;
                };
                let (Delta::Text(text) | Delta::Thinking(text) | Delta::Arguments(text)) = &delta else { return };
                let text = known.push(&mut state, text, restores, keeps);
                if text.is_empty() {
                    return;
                }
                out.push(Event::Continue { choice, part, delta: known.kind.delta(text) });
            }
            // They hold the text once more, token by token.
            Event::Logprobs { .. } if state.answer.is_some() => {}
            Event::EndPart { choice, part } => {
                self.flush(&mut state, Some(choice), Some(part), out);
                if !state.is_blocked() {
                    out.push(Event::EndPart { choice, part });
                }
            }
            Event::Stop { choice, stop } => {
                self.flush(&mut state, Some(choice), None, out);
                if !state.is_blocked() {
                    out.push(Event::Stop { choice, stop });
                }
            }
            Event::End => {
                self.flush(&mut state, None, None, out);
                if !state.is_blocked() {
                    out.push(Event::End);
                }
            }
            event => out.push(event),
        }
    }
}
