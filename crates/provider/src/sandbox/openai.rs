//! The sandbox's answers as OpenAI's API would write them.
//! Sources: <https://platform.openai.com/docs/api-reference/chat/object>,
//! <https://platform.openai.com/docs/api-reference/chat-streaming/streaming> (2026-11-23).

use serde_json::{Value, json};

use super::tool::Call;
use super::{Answer, Scene};
use crate::dialect::asks_for_usage;

pub(super) fn body(scene: &Scene<'_>, choices: &[Answer]) -> Vec<u8> {
    let choice = |(index, answer): (usize, &Answer)| {
        json!({
            "index": index,
            "message": message(scene, answer),
            "logprobs": null,
            "finish_reason": finish_reason(answer),
        })
    };
    let choices_json: Vec<Value> = choices.iter().enumerate().map(choice).collect();
    let body = json!({
        "id": id(scene),
        "object": "chat.completion",
        "created": scene.script.created_at_s,
        "model": scene.ask.head.model,
        "choices": choices_json,
        "usage": usage(scene, choices),
        "service_tier": "default",
        "system_fingerprint": "fp_sandbox",
    });
    body.to_string().into_bytes()
}

/// The events of a stream: per choice a role, the content, and a finish; then the usage if it was asked for; `[DONE]`.
pub(super) fn events(scene: &Scene<'_>, choices: &[Answer]) -> Vec<Vec<u8>> {
    let asked = asks_for_usage(&scene.ask.head);
    let chunk = Chunk::new(scene, asked);
    let mut events = Vec::new();
    for (index, answer) in choices.iter().enumerate() {
        match &answer.call {
            Some(call) => {
                let deltas = tool_deltas(scene, index, call).into_iter();
                events.extend(deltas.map(|delta| chunk.delta(index, &delta.to_string(), "null")));
            }
            None => {
                events.push(chunk.delta(index, r#"{"role":"assistant","content":"","refusal":null}"#, "null"));
                for tokens in answer.tokens.chunks(chunk_tokens(scene)) {
                    let content = Value::from(tokens.concat());
                    events.push(chunk.delta(index, &format!(r#"{{"content":{content}}}"#), "null"));
                }
            }
        }
        events.push(chunk.delta(index, "{}", &format!(r#""{}""#, finish_reason(answer))));
    }
    if asked {
        events.push(chunk.event("[]", &format!(r#","usage":{}"#, usage(scene, choices))));
    }
    events.push(b"data: [DONE]\n\n".to_vec());
    events
}

/// What all chunks of a stream have in common, written once.
struct Chunk {
    before_choices: String,
    after_choices: &'static str,
}

impl Chunk {
    fn new(scene: &Scene<'_>, usage_asked: bool) -> Self {
        let common = json!({
            "id": id(scene),
            "object": "chat.completion.chunk",
            "created": scene.script.created_at_s,
            "model": scene.ask.head.model,
            "service_tier": "default",
            "system_fingerprint": "fp_sandbox",
        });
        let common = common.to_string();
        let open = common.strip_suffix('}').unwrap_or(&common);
        Chunk {
            before_choices: format!(r#"data: {open},"choices":"#),
            after_choices: if usage_asked { r#","usage":null"# } else { "" },
        }
    }

    fn delta(&self, index: usize, delta: &str, finish: &str) -> Vec<u8> {
        let choices = format!(r#"[{{"index":{index},"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]"#);
        self.event(&choices, self.after_choices)
    }

    fn event(&self, choices: &str, after_choices: &str) -> Vec<u8> {
        [&self.before_choices, choices, after_choices, "}\n\n"].concat().into_bytes()
    }
}

fn chunk_tokens(scene: &Scene<'_>) -> usize {
    usize::try_from(scene.script.chunk_tokens).unwrap_or(usize::MAX).max(1)
}

/// The first delta names the tool, the others carry its arguments in pieces.
fn tool_deltas(scene: &Scene<'_>, choice: usize, call: &Call) -> Vec<Value> {
    const ARGUMENT_CHARS: usize = 8;
    let Call { name, arguments, .. } = call;
    let (kind, given) = words(call);
    let head = json!({ "index": 0, "id": call_id(scene, choice), "type": kind, kind: { "name": name, given: "" } });
    let mut deltas = vec![json!({ "role": "assistant", "content": null, "tool_calls": [head] })];
    let characters: Vec<char> = arguments.chars().collect();
    for piece in characters.chunks(ARGUMENT_CHARS * chunk_tokens(scene).min(1_000)) {
        let piece = json!({ given: piece.iter().collect::<String>() });
        deltas.push(json!({ "tool_calls": [{ "index": 0, kind: piece }] }));
    }
    deltas
}

/// The type of a call, and the name of what it is given.
fn words(call: &Call) -> (&'static str, &'static str) {
    if call.takes_text { ("custom", "input") } else { ("function", "arguments") }
}

fn message(scene: &Scene<'_>, answer: &Answer) -> Value {
    let Some(call @ Call { name, arguments, .. }) = &answer.call else {
        return json!({ "role": "assistant", "content": answer.text(), "refusal": null, "annotations": [] });
    };
    let (kind, given) = words(call);
    let call = json!({ "id": call_id(scene, 0), "type": kind, kind: { "name": name, given: arguments } });
    json!({ "role": "assistant", "content": null, "tool_calls": [call], "refusal": null, "annotations": [] })
}

pub(super) fn finish_reason(answer: &Answer) -> &'static str {
    match (&answer.call, answer.cut) {
        (Some(_), _) => "tool_calls",
        (None, true) => "length",
        (None, false) => "stop",
    }
}

pub(super) fn usage(scene: &Scene<'_>, choices: &[Answer]) -> Value {
    let written: u64 = choices.iter().map(Answer::count).sum();
    let reasoning: u64 = choices.iter().map(|answer| answer.reasoning_tokens).sum();
    json!({
        "prompt_tokens": scene.input_tokens,
        "completion_tokens": written,
        "total_tokens": scene.input_tokens + written,
        "prompt_tokens_details": { "cached_tokens": scene.cached_tokens, "audio_tokens": 0 },
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    })
}

fn id(scene: &Scene<'_>) -> String {
    format!("chatcmpl-sandbox{:016x}", scene.key)
}

fn call_id(scene: &Scene<'_>, choice: usize) -> String {
    format!("call_sandbox{:014x}{choice:02x}", scene.key & 0x00FF_FFFF_FFFF_FFFF)
}
