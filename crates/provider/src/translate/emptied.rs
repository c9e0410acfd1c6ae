//! What may not be dropped although the operator lets fields be dropped: all that a message says. A call without the last
//! question, or without any, would be made and paid for and answer nothing that was asked.

use std::collections::HashSet;

use serde_json::Value;
use tollgate_interaction::Dialect;

use super::custom::RESULT;
use super::{Losses, Unsupported};
use crate::chat::{Content, Message, Part, Role};
use crate::dialect::RequestError;

/// Paths of the parts that say something, by message.
pub(super) struct Sayings(Vec<Vec<String>>);

impl Sayings {
    pub(super) fn of(messages: &[Message]) -> Sayings {
        let last = messages.len().saturating_sub(1);
        let sayings = messages.iter().enumerate().map(|(index, message)| of_message(message, index == last));
        Sayings(sayings.filter(|paths| !paths.is_empty()).collect())
    }

    /// Whether every message still says something.
    ///
    /// # Errors
    /// [`Unsupported`] names the parts of messages of which nothing is left.
    pub(super) fn check(&self, losses: &Losses) -> Result<(), Unsupported> {
        let lost: HashSet<&str> = losses.lost().collect();
        if lost.is_empty() {
            return Ok(());
        }
        let emptied = self.0.iter().filter(|paths| paths.iter().all(|path| lost.contains(path.as_str())));
        let paths: Vec<&String> = emptied.flatten().collect();
        if paths.is_empty() { Ok(()) } else { Err(losses.emptied(&paths)) }
    }
}

/// Calls of tools and their results stay whatever they lose; thoughts, and what a model did with its provider's own tools,
/// are nothing a conversation stands on, nor are the results of calls that are dropped with them, unless they come last.
fn of_message(message: &Message, is_last: bool) -> Vec<String> {
    let stays =
        |part: &Part| matches!(part.content, Content::ToolCall(_) | Content::CustomCall(_) | Content::ToolResult(_));
    if message.parts.iter().any(stays) {
        return Vec::new();
    }
    let says = |part: &&Part| match &part.content {
        Content::Text { text, .. } | Content::Refusal(text) => !text.trim().is_empty(),
        Content::Thinking { .. } | Content::Redacted(_) => false,
        Content::Native { kind, .. } if kind == RESULT => is_last,
        Content::Native { .. } => message.role != Role::Assistant,
        _ => true,
    };
    message.parts.iter().filter(says).map(|part| part.at.clone()).collect()
}

/// Refuses a request of which no message is left for a provider that would refuse it.
///
/// # Errors
/// [`RequestError::Malformed`] with the member of the caller's body that holds the messages.
pub(super) fn check_written(from: Dialect, to: Dialect, written: &Value) -> Result<(), RequestError> {
    let member = match to {
        Dialect::Anthropic | Dialect::Bedrock => "messages",
        Dialect::Gemini => "contents",
        // A conversation of nothing but an instruction is one there.
        Dialect::Openai | Dialect::Responses => return Ok(()),
    };
    if written.get(member).and_then(Value::as_array).is_none_or(|messages| !messages.is_empty()) {
        return Ok(());
    }
    let field = match from {
        Dialect::Openai | Dialect::Anthropic | Dialect::Bedrock => "messages",
        Dialect::Responses => "input",
        Dialect::Gemini => "contents",
    };
    let expected = "the provider of this model answers a message: send one with content beside the instruction";
    Err(RequestError::Malformed { field: field.to_owned(), expected })
}

#[cfg(test)]
mod tests {
    use crate::translate::{Address, OnUnsupported, TranslateError, request};
    use tollgate_interaction::Dialect;

    fn sent(from: Dialect, to: Dialect, body: &str, on: OnUnsupported) -> Result<Vec<String>, TranslateError> {
        let address = Address { model: "m", stream: false };
        request(from, to, body.as_bytes(), address, "m", on).map(|translated| translated.dropped)
    }

    const SOUND: &str = r#"{"type":"input_audio","input_audio":{"data":"UklGRg==","format":"wav"}}"#;

    fn asking(parts: &str) -> String {
        format!(r#"{{"model":"m","messages":[{{"role":"user","content":"a"}},{{"role":"user","content":[{parts}]}}]}}"#)
    }

    #[test]
    fn a_message_that_would_lose_all_it_says_is_refused_even_where_the_route_drops() {
        for parts in [SOUND.to_owned(), format!(r#"{SOUND},{{"type":"text","text":" "}}"#)] {
            let refused = sent(Dialect::Openai, Dialect::Anthropic, &asking(&parts), OnUnsupported::Drop).unwrap_err();
            let TranslateError::Unsupported(refused) = refused else { panic!("{refused}") };
            assert_eq!(refused.fields[0].field, "messages[1].content[0]");
            let said = refused.to_string();
            assert!(said.contains("nothing else of its message is left") && !said.contains("on_unsupported"), "{said}");
        }
        let beside = asking(&format!(r#"{SOUND},{{"type":"text","text":"What is said?"}}"#));
        let dropped = sent(Dialect::Openai, Dialect::Anthropic, &beside, OnUnsupported::Drop).unwrap();
        assert_eq!(dropped, ["messages[1].content[0]"]);
    }

    #[test]
    fn a_document_that_only_loses_what_is_said_about_it_is_left() {
        let body = r#"{"max_tokens":9,"messages":[{"role":"user","content":[{"type":"document","citations":{"enabled":true},
            "source":{"type":"base64","media_type":"application/pdf","data":"JVBERg=="}}]}]}"#;
        for to in [Dialect::Openai, Dialect::Responses, Dialect::Gemini] {
            let dropped = sent(Dialect::Anthropic, to, body, OnUnsupported::Drop).unwrap();
            assert_eq!(dropped, ["messages[0].content[0]"], "{to}");
        }
    }

    #[test]
    fn a_request_without_a_message_is_refused_where_its_provider_wants_one() {
        let bodies = [
            (Dialect::Openai, r#"{"model":"m","messages":[]}"#, "messages"),
            (Dialect::Openai, r#"{"model":"m","messages":[{"role":"system","content":"Be brief"}]}"#, "messages"),
            (Dialect::Openai, r#"{"model":"m","messages":[{"role":"user","content":""}]}"#, "messages"),
            (Dialect::Responses, r#"{"model":"m","input":[],"instructions":"Be brief"}"#, "input"),
            (Dialect::Gemini, r#"{"contents":[]}"#, "contents"),
        ];
        for (from, body, expected) in bodies {
            for to in [Dialect::Anthropic, Dialect::Bedrock, Dialect::Gemini].into_iter().filter(|to| *to != from) {
                let refused = sent(from, to, body, OnUnsupported::Drop).unwrap_err();
                assert!(refused.to_string().starts_with(&format!("`{expected}` ")), "{from} to {to}: {refused}");
            }
        }
        let system = r#"{"model":"m","messages":[{"role":"system","content":"Be brief"}]}"#;
        assert!(sent(Dialect::Openai, Dialect::Responses, system, OnUnsupported::Refuse).is_ok());
    }
}
