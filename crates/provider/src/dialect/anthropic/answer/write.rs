//! Writes a whole answer. This dialect has one answer to a request, and no log probabilities: a caller cannot have asked for
//! more.

use serde_json::Value;

use super::super::stop::Held;
use super::super::{object, stop, usage};
use super::block::{holds, write_block};
use crate::chat::Answer;
use crate::translate::Asked;

pub(crate) fn write(answer: Answer, asked: &Asked) -> Value {
    let Answer { id, created_at_s: _, model, choices, usage, service_tier } = answer;
    let choice = choices.into_iter().next().unwrap_or_default();
    let mut held = Held::default();
    let mut blocks = Vec::with_capacity(choice.parts.len());
    for part in choice.parts {
        holds(&part.content, &mut held);
        write_block(part.content, &mut blocks);
    }
    let (reason, sequence) = stop::write(choice.stop, held);
    object([
        ("id", id.unwrap_or_else(|| message_id(asked)).into()),
        ("type", "message".into()),
        ("role", "assistant".into()),
        ("model", if model.is_empty() { asked.model.clone() } else { model }.into()),
        ("content", blocks.into()),
        ("stop_reason", reason.into()),
        ("stop_sequence", sequence),
        ("usage", usage::whole(&usage.unwrap_or_default(), service_tier)),
    ])
}

/// The id of an answer whose provider gave none.
pub(in super::super) fn message_id(asked: &Asked) -> String {
    format!("msg_{}", asked.id)
}
