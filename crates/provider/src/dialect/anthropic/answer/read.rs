//! Reads a whole answer.

use serde_json::Value;

use super::super::{stop, usage};
use super::block::read_block;
use crate::chat::{Answer, Choice, Part, Tier};
use crate::translate::AnswerError;
use crate::usage::{AnthropicUsage, UsageReading};

pub(crate) fn read(body: Value) -> Result<Answer, AnswerError> {
    let wrong = |at: &str, expected| AnswerError { at: at.to_owned(), expected };
    let Value::Object(mut message) = body else { return Err(wrong("body", "an object")) };
    let Some(Value::Array(blocks)) = message.remove("content") else {
        return Err(wrong("content", "an array of content blocks"));
    };
    let text = |value: Option<Value>| match value {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let mut parts = Vec::with_capacity(blocks.len());
    for (index, block) in blocks.into_iter().enumerate() {
        let Some(content) = read_block(block) else {
            return Err(wrong(&format!("content[{index}]"), "a content block"));
        };
        parts.push(Part::new(content, ""));
    }
    let stop = stop::read(message.remove("stop_reason"), message.remove("stop_sequence"));
    let counted = message.remove("usage");
    let mut usage = AnthropicUsage::default();
    if let Some(counted) = &counted {
        usage::read_over(&mut usage, counted);
    }
    let tier = counted.as_ref().and_then(|usage| usage.get("service_tier")).and_then(Value::as_str);
    let usage = UsageReading::Anthropic(usage).normalise();
    Ok(Answer {
        id: text(message.remove("id")),
        created_at_s: None,
        model: text(message.remove("model")).unwrap_or_default(),
        choices: vec![Choice { parts, stop, logprobs: Vec::new() }],
        usage: (!usage.is_empty()).then_some(usage),
        service_tier: tier.and_then(Tier::from_word),
    })
}
