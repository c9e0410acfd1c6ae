//! Why an answer ended, in the words of the Messages API.
//! <https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons> (2026-11-26).

use serde_json::Value;

use crate::chat::Stop;

/// Reads `stop_reason` and `stop_sequence`; `None` where there is no reason yet.
pub(super) fn read(reason: Option<Value>, sequence: Option<Value>) -> Option<Stop> {
    let Some(Value::String(reason)) = reason else { return None };
    Some(match reason.as_str() {
        "end_turn" => Stop::End,
        "max_tokens" => Stop::Length,
        "stop_sequence" => Stop::StopText(match sequence {
            Some(Value::String(sequence)) => Some(sequence),
            _ => None,
        }),
        "tool_use" => Stop::ToolUse,
        "refusal" => Stop::Refused,
        "pause_turn" => Stop::Paused,
        "model_context_window_exceeded" => Stop::ContextFull,
        _ => Stop::Other(reason),
    })
}

/// What an answer held that bears on why it ended: some providers end a call of a tool, or a refusal, with a plain stop,
/// and clients of this dialect go by `stop_reason` alone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    pub(super) call: bool,
    pub(super) refusal: bool,
}

/// `stop_reason` and `stop_sequence` of an answer.
pub(super) fn write(stop: Option<Stop>, held: Held) -> (&'static str, Value) {
    let reason = match stop {
        Some(Stop::StopText(sequence)) => return ("stop_sequence", sequence.map_or(Value::Null, Value::String)),
        // In words of another provider's that say no more than that it did not come to its end.
        Some(Stop::Length | Stop::Other(_)) => "max_tokens",
        Some(Stop::ToolUse) => "tool_use",
        // What is no answer must not look like one: there is no nearer word for a call that could not be read.
        Some(Stop::Filtered | Stop::Refused | Stop::MalformedCall | Stop::MalformedAnswer) => "refusal",
        Some(Stop::Paused) => "pause_turn",
        Some(Stop::ContextFull) => "model_context_window_exceeded",
        Some(Stop::End) | None if held.refusal => "refusal",
        Some(Stop::End) | None if held.call => "tool_use",
        Some(Stop::End) | None => "end_turn",
    };
    (reason, Value::Null)
}
