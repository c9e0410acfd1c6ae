//! The texts in a body: where people, tools and the model say something, as places that can be read and written anew without
//! touching a byte beside them. Guardrails look at these.
//!
//! What is left out is a list of what is no text (names of models, ids, media, schemas), not a list of what is: a field that
//! nobody has heard of yet is looked at rather than overlooked.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use tollgate_interaction::{Dialect, Operation};

use crate::dialect::splice;
use crate::scan::Tree;

/// What kind of text it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What is said.
    Text,
    /// Arguments of a tool, as JSON text.
    Arguments,
    /// The model's thoughts.
    Thinking,
}

/// One text and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot<'a> {
    /// Where its JSON string stands, quotes included. In bytes.
    pub at: Range<usize>,
    /// The text.
    pub text: Cow<'a, str>,
    /// What kind of text.
    pub kind: Kind,
    /// Whether a tool said it.
    pub is_tool_result: bool,
    /// Whether it is an instruction of whoever built the application.
    pub is_system: bool,
}

/// Fields whose values are no texts, wherever they stand.
const NO_TEXTS: [&str; 46] = [
    "model",
    "role",
    "type",
    "id",
    "call_id",
    "tool_call_id",
    "tool_use_id",
    "toolUseId",
    "previous_response_id",
    "name",
    "media_type",
    "mimeType",
    "mime_type",
    "format",
    "data",
    "bytes",
    "file_data",
    "file_id",
    "fileUri",
    "file_uri",
    "url",
    "uri",
    "image_url",
    "signature",
    "thoughtSignature",
    "thought_signature",
    "encrypted_content",
    "redactedContent",
    "tools",
    "functions",
    "tool_choice",
    "toolConfig",
    "tool_config",
    "toolChoice",
    "response_format",
    "output_config",
    "responseSchema",
    "response_schema",
    "responseJsonSchema",
    "object",
    "status",
    "finish_reason",
    "stop_reason",
    "service_tier",
    "logprobs",
    "logprobsResult",
];

/// Fields whose values are JSON of the tool's own making, in which every string is a text.
const FREE: [&str; 4] = ["args", "functionResponse", "function_response", "json"];

/// The texts of a request, in order; `None` if the body is not JSON.
#[must_use]
pub fn of_request(body: &[u8]) -> Option<Vec<Slot<'_>>> {
    let tree = Tree::read(body).ok()?;
    let mut walk = Walk { body, slots: Vec::new() };
    walk.visit(&tree, "", Place::default());
    Some(walk.slots)
}

/// The texts of a whole answer, in order; `None` if the body is not JSON.
#[must_use]
pub fn of_answer(dialect: Dialect, operation: Operation, body: &[u8]) -> Option<Vec<Slot<'_>>> {
    let tree = Tree::read(body).ok()?;
    let mut walk = Walk { body, slots: Vec::new() };
    let field = match (dialect, operation) {
        (_, Operation::Transcription | Operation::Translation) => "text",
        (Dialect::Openai, _) => "choices",
        (Dialect::Anthropic, _) => "content",
        (Dialect::Responses | Dialect::Bedrock, _) => "output",
        (Dialect::Gemini, _) => "candidates",
    };
    // Claude through InvokeModel answers as Anthropic does.
    for field in [field, "content"] {
        if let Some(part) = tree.get(field) {
            walk.visit(part, field, Place::default());
            break;
        }
    }
    Some(walk.slots)
}

/// Log probabilities of an answer, which hold its text once more, token by token.
#[must_use]
pub fn logprobs(body: &[u8]) -> Vec<Range<usize>> {
    let Ok(tree) = Tree::read(body) else { return Vec::new() };
    let mut found = Vec::new();
    find_logprobs(body, &tree, &mut found);
    found
}

fn find_logprobs(body: &[u8], tree: &Tree<'_>, found: &mut Vec<Range<usize>>) {
    for item in tree.items().unwrap_or_default() {
        find_logprobs(body, item, found);
    }
    for (name, value) in tree.fields().into_iter().flatten() {
        if matches!(name.as_ref(), "logprobs" | "logprobsResult") {
            found.push(value.place(body));
        } else {
            find_logprobs(body, value, found);
        }
    }
}

/// `body` with other texts at these places, which are in order and apart.
#[must_use]
pub fn replaced(body: &[u8], texts: &[(Range<usize>, String)]) -> Bytes {
    let quoted: Vec<_> =
        texts.iter().map(|(at, text)| (at.clone(), serde_json::Value::from(text.as_str()).to_string())).collect();
    splice::apply(body, &quoted)
}

/// `body` with `null` at these places, which are in order and apart.
#[must_use]
pub fn nulled(body: &[u8], places: &[Range<usize>]) -> Bytes {
    let nulls: Vec<_> = places.iter().map(|at| (at.clone(), "null".to_owned())).collect();
    splice::apply(body, &nulls)
}

struct Walk<'a> {
    body: &'a [u8],
    slots: Vec<Slot<'a>>,
}

/// What is known of a place from what is around it.
#[derive(Clone, Copy, Default)]
struct Place {
    is_tool_result: bool,
    /// Every string is a text.
    is_free: bool,
    is_thinking: bool,
    is_system: bool,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, tree: &Tree<'a>, name: &str, place: Place) {
        if let Some(text) = tree.text() {
            // A picture or a document in a data URL.
            let is_media = text.starts_with("data:") && text.contains(";base64,");
            if !text.is_empty() && !is_media {
                let kind = match name {
                    "arguments" if !place.is_free => Kind::Arguments,
                    "thinking" | "reasoning_content" | "reasoning" => Kind::Thinking,
                    _ if place.is_thinking => Kind::Thinking,
                    _ => Kind::Text,
                };
                self.slots.push(Slot {
                    at: tree.place(self.body),
                    text,
                    kind,
                    is_tool_result: place.is_tool_result,
                    is_system: place.is_system,
                });
            }
            return;
        }
        for item in tree.items().unwrap_or_default() {
            self.visit(item, name, place);
        }
        if let Some(fields) = tree.fields() {
            let within = Place::within(tree, place);
            for (name, value) in fields {
                let is_tools_own = FREE.contains(&name.as_ref()) || (name == "input" && is_call(tree));
                if !within.is_free && !is_tools_own && NO_TEXTS.contains(&name.as_ref()) {
                    continue;
                }
                let is_answer = matches!(name.as_ref(), "functionResponse" | "function_response" | "toolResult");
                let is_tool_result = within.is_tool_result || is_answer;
                let is_thinking = within.is_thinking || name == "reasoningContent";
                let is_free = within.is_free || is_tools_own;
                let is_system = within.is_system
                    || matches!(name.as_ref(), "system" | "instructions" | "systemInstruction" | "system_instruction");
                self.visit(value, &name, Place { is_tool_result, is_free, is_thinking, is_system });
            }
        }
    }
}

/// Whether an object is a call of a tool, whose `input` is of the tool's own making.
fn is_call(tree: &Tree<'_>) -> bool {
    tree.get("toolUseId").is_some()
        || tree.get("type").and_then(Tree::text).is_some_and(|kind| kind.ends_with("tool_use"))
}

impl Place {
    /// What an object says about what is in it.
    fn within(tree: &Tree<'_>, outside: Place) -> Place {
        let word = |field: &str| tree.get(field).and_then(Tree::text).unwrap_or_default();
        let (role, kind) = (word("role"), word("type"));
        let is_result = matches!(role.as_ref(), "tool" | "function")
            || kind.ends_with("tool_result")
            || (kind.ends_with("_output") && kind != "computer_call_output");
        let is_thought = tree.get("thought").is_some_and(|thought| thought.raw() == "true") || kind == "reasoning";
        Place {
            is_tool_result: outside.is_tool_result || is_result,
            is_thinking: outside.is_thinking || is_thought,
            is_system: outside.is_system || matches!(role.as_ref(), "system" | "developer"),
            ..outside
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &str) -> Vec<(String, Kind, bool)> {
        let slots = of_request(body.as_bytes()).unwrap();
        slots.into_iter().map(|slot| (slot.text.into_owned(), slot.kind, slot.is_tool_result)).collect()
    }

    fn said(body: &str) -> Vec<String> {
        texts(body).into_iter().map(|(text, _, _)| text).collect()
    }

    #[test]
    fn each_dialect_s_texts_are_found_and_told_apart() {
        let openai = r#"{"model":"m","messages":[{"role":"system","content":"a"},{"role":"user","content":[{"type":"text","text":"b"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]},{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},{"role":"tool","tool_call_id":"c","content":"d"}],"user":"ada","tools":[{"type":"function","function":{"name":"f","description":"not this"}}]}"#;
        assert_eq!(
            texts(openai),
            [
                ("a".to_owned(), Kind::Text, false),
                ("b".to_owned(), Kind::Text, false),
                ("{\"x\":1}".to_owned(), Kind::Arguments, false),
                ("d".to_owned(), Kind::Text, true),
                ("ada".to_owned(), Kind::Text, false),
            ]
        );
        let anthropic = r#"{"model":"m","system":"a","messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"no"},{"type":"tool_use","id":"i","name":"f","input":{"name":"Ada"}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"i","content":[{"type":"text","text":"r"}]}]}]}"#;
        assert_eq!(said(anthropic), ["a", "t", "Ada", "r"]);
        assert!(texts(anthropic)[3].2 && texts(anthropic)[1].1 == Kind::Thinking);
        let responses = r#"{"model":"m","instructions":"a","input":[{"role":"user","content":[{"type":"input_text","text":"b"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"r"}]}"#;
        assert_eq!(said(responses), ["a", "b", "{}", "r"]);
        assert!(texts(responses)[3].2);
        let gemini = r#"{"systemInstruction":{"parts":[{"text":"a"}]},"contents":[{"role":"user","parts":[{"text":"b"},{"inlineData":{"mimeType":"x","data":"AAAA"}}]},{"role":"model","parts":[{"functionCall":{"name":"f","args":{"name":"Ada"}}}]},{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"output":"r"}}}]}]}"#;
        assert_eq!(said(gemini), ["a", "b", "Ada", "f", "r"]);
        assert!(texts(gemini)[4].2);
        let bedrock = r#"{"system":[{"text":"a"}],"messages":[{"role":"user","content":[{"text":"b"},{"toolResult":{"toolUseId":"i","content":[{"json":{"name":"Ada"}}]}}]}]}"#;
        assert_eq!(said(bedrock), ["a", "b", "Ada"]);
        assert_eq!(of_request(b"--edge"), None);
    }

    #[test]
    fn an_answer_s_own_words_are_found() {
        let body = br#"{"id":"i","object":"o","choices":[{"index":0,"message":{"role":"assistant","content":"hi","reasoning_content":"t"},"logprobs":{"content":[{"token":"hi"}]},"finish_reason":"stop"}]}"#;
        let slots = of_answer(Dialect::Openai, Operation::Chat, body).unwrap();
        let said: Vec<_> = slots.iter().map(|slot| (slot.text.as_ref(), slot.kind)).collect();
        assert_eq!(said, [("hi", Kind::Text), ("t", Kind::Thinking)]);
        let rest = nulled(body, &logprobs(body));
        assert!(!String::from_utf8_lossy(&rest).contains("token"), "{rest:?}");
    }

    #[test]
    fn only_the_text_itself_is_written_anew() {
        let body = br#"{ "messages":[ {"role":"user","content":"to \u0041da"}], "x":1e2}"#;
        let slots = of_request(body).unwrap();
        assert_eq!(slots[0].text, "to Ada");
        let changed = replaced(body, &[(slots[0].at.clone(), "to \"<NAME>\"".to_owned())]);
        assert_eq!(changed, &br#"{ "messages":[ {"role":"user","content":"to \"<NAME>\""}], "x":1e2}"#[..]);
    }
}
