//! Ids for calls of tools to which their provider gave none, as Gemini and some copies of Chat Completions do. They are made
//! of the id of the answer, so that no two calls of a conversation share one, and of the call's place in it, so that a
//! stream and a whole answer say the same.

use std::collections::BTreeMap;

use crate::chat::{Answer, Content, Event};

/// Letters of the answer's id that are kept: the ends of two ids differ, and OpenAI takes no more than 40 letters in all
/// (`string too long … maximum length 40`, 2026-11-26).
const SEED_LETTERS: usize = 20;

/// Names the calls of one answer that have no name.
#[derive(Debug)]
pub(super) struct CallIds {
    seed: String,
    /// Calls so far, by answer.
    calls: BTreeMap<usize, usize>,
}

impl CallIds {
    /// For the answer of this id.
    pub(super) fn of(answer_id: &str) -> CallIds {
        let letters: Vec<char> = answer_id.chars().filter(char::is_ascii_alphanumeric).collect();
        let seed = letters[letters.len().saturating_sub(SEED_LETTERS)..].iter().collect();
        CallIds { seed, calls: BTreeMap::new() }
    }

    /// Names the calls of a whole answer.
    pub(super) fn name_all(&mut self, answer: &mut Answer) {
        for (index, choice) in answer.choices.iter_mut().enumerate() {
            choice.parts.iter_mut().for_each(|part| self.name(index, &mut part.content));
        }
    }

    /// Names the call that begins with `event`, if one does.
    pub(super) fn name_next(&mut self, event: &mut Event) {
        if let Event::BeginPart { choice, content, .. } = event {
            self.name(*choice, content);
        }
    }

    fn name(&mut self, choice: usize, content: &mut Content) {
        let (Content::ToolCall(call) | Content::CustomCall(call)) = content else { return };
        let count = self.calls.entry(choice).or_default();
        if call.id.is_empty() {
            call.id = match choice {
                0 => format!("call_{}_{count}", self.seed),
                _ => format!("call_{}_{choice}_{count}", self.seed),
            };
        }
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Choice, Part, ToolCall};

    fn call(id: &str) -> Content {
        let (id, name, arguments) = (id.to_owned(), "f".to_owned(), "{}".to_owned());
        Content::ToolCall(ToolCall { id, name, arguments, signature: None })
    }

    fn ids(seed: &str, given: &[&str]) -> Vec<String> {
        let parts = given.iter().map(|id| Part::new(call(id), "")).collect();
        let mut answer = Answer { choices: vec![Choice { parts, ..Choice::default() }], ..Answer::default() };
        CallIds::of(seed).name_all(&mut answer);
        let id = |part: Part| if let Content::ToolCall(call) = part.content { call.id } else { String::new() };
        answer.choices.remove(0).parts.into_iter().map(id).collect()
    }

    #[test]
    fn calls_of_two_answers_differ_and_those_with_an_id_keep_it() {
        let first = ids("01938c2e-7b1a-7c3d-9e4f-0123456789ab", &["", "toolu_1", ""]);
        assert_eq!(first, ["call_7c3d9e4f0123456789ab_0", "toolu_1", "call_7c3d9e4f0123456789ab_2"]);
        assert!(first.iter().all(|id| id.len() <= 40));
        assert_ne!(first[0], ids("01938c2e-7b1a-7c3d-9e4f-0123456789ac", &[""])[0]);
    }

    #[test]
    fn a_stream_names_its_calls_as_a_whole_answer_does() {
        let mut names = CallIds::of("abc");
        let mut named = |choice, content| {
            let mut event = Event::BeginPart { choice, part: 0, content };
            names.name_next(&mut event);
            let Event::BeginPart { content: Content::ToolCall(call), .. } = event else { panic!("no call") };
            call.id
        };
        assert_eq!(named(0, call("")), "call_abc_0");
        assert_eq!(named(1, call("")), "call_abc_1_0");
        assert_eq!(named(0, call("")), "call_abc_1");
        assert_eq!(ids("abc", &["", ""]), ["call_abc_0", "call_abc_1"]);
    }
}
