//! Texts that continue a text, and judgements of texts, as OpenAI's API would write them.
//! Sources: <https://platform.openai.com/docs/api-reference/completions>,
//! <https://platform.openai.com/docs/api-reference/moderations> (2026-11-26).

use serde_json::{Value, json};
use tollgate_interaction::Operation;

use super::ask::Ask;
use super::perform::{Stage, written};
use super::prose::Dice;
use super::{Answer, SandboxReply, Scene, openai};
use crate::dialect::asks_for_usage;

/// What is judged, and the words that are taken for it.
const CATEGORIES: [(&str, &[&str]); 4] = [
    ("violence", &["kill", "attack", "bomb"]),
    ("harassment", &["idiot", "stupid"]),
    ("self-harm", &["suicide"]),
    ("illicit", &["steal", "forge"]),
];
/// What a score is above for a text to be flagged. Of a thousand.
const FLAGGED_ABOVE: usize = 500;

pub(super) fn completion(stage: &Stage<'_>) -> SandboxReply {
    let prompt = stage.texts("prompt").join("\n");
    let chat = json!({ "messages": [{ "role": "user", "content": prompt }] }).to_string();
    let ask = Ask::read(Operation::Completions, stage.head.clone(), chat.as_bytes());
    let input_tokens = ask.prompt_tokens();
    let cached_tokens = stage.script.cached_input_tokens.min(input_tokens);
    let scene = Scene { ask: &ask, script: stage.script, key: stage.key, input_tokens, cached_tokens };
    let choices = written(&scene);
    if !stage.head.stream {
        let choice =
            |(index, answer): (usize, &Answer)| piece(index, &answer.text(), Some(openai::finish_reason(answer)));
        let all: Vec<Value> = choices.iter().enumerate().map(choice).collect();
        return stage.whole(&object(stage, &all.into(), Some(openai::usage(&scene, &choices))));
    }
    let mut events = Vec::new();
    let size = usize::try_from(stage.script.chunk_tokens).unwrap_or(usize::MAX).max(1);
    for (index, answer) in choices.iter().enumerate() {
        let pieces = answer.tokens.chunks(size).map(|tokens| piece(index, &tokens.concat(), None));
        let last = piece(index, "", Some(openai::finish_reason(answer)));
        events.extend(pieces.chain([last]).map(|piece| object(stage, &json!([piece]), None)));
    }
    if asks_for_usage(&stage.head) {
        events.push(object(stage, &json!([]), Some(openai::usage(&scene, &choices))));
    }
    let mut reply = stage.events(&events);
    reply.frames.push((0, "data: [DONE]\n\n".into()));
    reply
}

fn piece(index: usize, text: &str, finish_reason: Option<&str>) -> Value {
    json!({ "text": text, "index": index, "logprobs": null, "finish_reason": finish_reason })
}

fn object(stage: &Stage<'_>, choices: &Value, usage: Option<Value>) -> Value {
    let mut object = json!({
        "id": format!("cmpl-sandbox{:016x}", stage.key),
        "object": "text_completion",
        "created": stage.script.created_at_s,
        "model": stage.head.model,
        "choices": choices,
    });
    if let (Some(usage), Some(fields)) = (usage, object.as_object_mut()) {
        fields.insert("usage".to_owned(), usage);
    }
    object
}

pub(super) fn moderation(stage: &Stage<'_>) -> SandboxReply {
    let judge = |text: &str| {
        let words: Vec<String> = text.split(|letter: char| !letter.is_alphanumeric()).map(str::to_lowercase).collect();
        let mut dice = Dice::new(stage.key);
        let scores = CATEGORIES.map(|(category, signs)| {
            let is_there = signs.iter().any(|sign| words.iter().any(|word| word == sign));
            (category, dice.roll(FLAGGED_ABOVE / 5) + if is_there { FLAGGED_ABOVE + 1 } else { 0 })
        });
        let flags: serde_json::Map<String, Value> =
            scores.iter().map(|(name, score)| ((*name).to_owned(), (*score > FLAGGED_ABOVE).into())).collect();
        let figures: serde_json::Map<String, Value> =
            scores.iter().map(|(name, score)| ((*name).to_owned(), json!(*score as f64 / 1_000.0))).collect();
        let is_flagged = scores.iter().any(|(_, score)| *score > FLAGGED_ABOVE);
        json!({ "flagged": is_flagged, "categories": flags, "category_scores": figures })
    };
    let results: Vec<Value> = stage.texts("input").into_iter().map(judge).collect();
    let model = if stage.head.model.is_empty() { "sandbox-moderation" } else { &stage.head.model };
    stage.whole(&json!({ "id": format!("modr-sandbox{:016x}", stage.key), "model": model, "results": results }))
}
