//! The sandbox's answers as Anthropic's Messages API would write them.
//! Sources: <https://platform.claude.com/docs/en/api/messages>,
//! <https://platform.claude.com/docs/en/build-with-claude/streaming> (2026-11-23).

use serde_json::{Value, json};

use super::tool::Call;
use super::{Answer, Scene};

pub(super) fn body(scene: &Scene<'_>, answer: &Answer) -> Vec<u8> {
    let block = match &answer.call {
        None => json!({ "type": "text", "text": answer.text() }),
        Some(Call { name, arguments, .. }) => {
            let input: Value = serde_json::from_str(arguments).unwrap_or_default();
            json!({ "type": "tool_use", "id": call_id(scene), "name": name, "input": input })
        }
    };
    let body = json!({
        "id": id(scene),
        "type": "message",
        "role": "assistant",
        "model": scene.ask.head.model,
        "content": [block],
        "stop_reason": stop_reason(answer),
        "stop_sequence": null,
        "usage": usage(scene, answer.count()),
    });
    body.to_string().into_bytes()
}

/// The events of a stream, in the order the documentation gives, with a ping after the first block has begun.
pub(super) fn events(scene: &Scene<'_>, answer: &Answer) -> Vec<Vec<u8>> {
    let message = json!({
        "id": id(scene), "type": "message", "role": "assistant", "model": scene.ask.head.model, "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage(scene, 1),
    });
    let (block, deltas) = match &answer.call {
        None => (json!({ "type": "text", "text": "" }), text_deltas(scene, answer)),
        Some(Call { name, arguments, .. }) => {
            (json!({ "type": "tool_use", "id": call_id(scene), "name": name, "input": {} }), input_deltas(arguments))
        }
    };
    let mut events = vec![
        event("message_start", json!({ "message": message })),
        event("content_block_start", json!({ "index": 0, "content_block": block })),
        event("ping", json!({})),
    ];
    events.extend(deltas.iter().map(|delta| block_delta(delta)));
    events.push(event("content_block_stop", json!({ "index": 0 })));
    let delta = json!({ "stop_reason": stop_reason(answer), "stop_sequence": null });
    // Cumulative, as the first event's: all of it again, which some clients read here alone.
    events.push(event("message_delta", json!({ "delta": delta, "usage": final_usage(scene, answer.count()) })));
    events.push(event("message_stop", json!({})));
    events
}

/// Deltas as JSON.
fn text_deltas(scene: &Scene<'_>, answer: &Answer) -> Vec<String> {
    let size = usize::try_from(scene.script.chunk_tokens).unwrap_or(usize::MAX).max(1);
    let delta = |tokens: &[String]| format!(r#"{{"type":"text_delta","text":{}}}"#, Value::from(tokens.concat()));
    answer.tokens.chunks(size).map(delta).collect()
}

fn input_deltas(arguments: &str) -> Vec<String> {
    const ARGUMENT_CHARS: usize = 8;
    let characters: Vec<char> = arguments.chars().collect();
    let delta = |piece: &[char]| {
        let piece = Value::from(piece.iter().collect::<String>());
        format!(r#"{{"type":"input_json_delta","partial_json":{piece}}}"#)
    };
    std::iter::once(delta(&[])).chain(characters.chunks(ARGUMENT_CHARS).map(delta)).collect()
}

fn block_delta(delta: &str) -> Vec<u8> {
    let event =
        ["event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":", delta, "}\n\n"];
    event.concat().into_bytes()
}

fn event(name: &str, fields: Value) -> Vec<u8> {
    let mut data = serde_json::Map::new();
    data.insert("type".to_owned(), Value::from(name));
    if let Value::Object(fields) = fields {
        data.extend(fields);
    }
    format!("event: {name}\ndata: {}\n\n", Value::Object(data)).into_bytes()
}

fn stop_reason(answer: &Answer) -> &'static str {
    match (&answer.call, answer.cut) {
        (Some(_), _) => "tool_use",
        (None, true) => "max_tokens",
        (None, false) => "end_turn",
    }
}

/// Input here is what the cache did not hold, as Anthropic counts it.
fn usage(scene: &Scene<'_>, output_tokens: u64) -> Value {
    json!({
        "input_tokens": scene.input_tokens - scene.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": scene.cached_tokens,
        "cache_creation": { "ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0 },
        "output_tokens": output_tokens,
        "service_tier": "standard",
    })
}

/// What the last event of a stream says of it; tiers and lifetimes of caches are told by the first alone.
fn final_usage(scene: &Scene<'_>, output_tokens: u64) -> Value {
    json!({
        "input_tokens": scene.input_tokens - scene.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": scene.cached_tokens,
        "output_tokens": output_tokens,
    })
}

fn id(scene: &Scene<'_>) -> String {
    format!("msg_sandbox{:016x}", scene.key)
}

fn call_id(scene: &Scene<'_>) -> String {
    format!("toolu_sandbox{:016x}", scene.key)
}
