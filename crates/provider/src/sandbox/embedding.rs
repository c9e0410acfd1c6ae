//! Vectors for texts: the sum of one direction per word, so that texts which share words lie close to each other.
//! Source of the format: <https://platform.openai.com/docs/api-reference/embeddings> (2026-11-23).

use base64::Engine as _;
use serde_json::{Value, json};

use super::Scene;
use super::prose::{Dice, hash};

/// Components of a vector where the caller does not say.
const DEFAULT_DIMENSIONS: usize = 256;
/// Most components the sandbox computes.
const MAX_DIMENSIONS: usize = 4_096;

pub(super) fn body(scene: &Scene<'_>) -> Vec<u8> {
    let dimensions = scene.ask.dimensions.unwrap_or(DEFAULT_DIMENSIONS).clamp(1, MAX_DIMENSIONS);
    let entry = |(index, message): (usize, &crate::transcript::Message)| {
        let vector = vector(&message.content, dimensions);
        let embedding = if scene.ask.base64 { base64(&vector) } else { Value::from(vector) };
        json!({ "object": "embedding", "index": index, "embedding": embedding })
    };
    let data: Vec<Value> = scene.ask.messages.iter().enumerate().map(entry).collect();
    let body = json!({
        "object": "list",
        "data": data,
        "model": scene.ask.head.model,
        "usage": { "prompt_tokens": scene.input_tokens, "total_tokens": scene.input_tokens },
    });
    body.to_string().into_bytes()
}

/// A vector of length one.
pub(super) fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut sum = vec![0.0_f32; dimensions];
    for word in text.split(|character: char| !character.is_alphanumeric()) {
        let mut dice = Dice::new(hash(word.to_lowercase().as_bytes()));
        for component in &mut sum {
            *component += dice.roll(2_001) as f32 / 1_000.0 - 1.0;
        }
    }
    let length = sum.iter().map(|component| component * component).sum::<f32>().sqrt();
    if length > 0.0 {
        sum.iter_mut().for_each(|component| *component /= length);
    }
    sum
}

/// Little-endian 32-bit floats, as OpenAI's clients expect.
fn base64(vector: &[f32]) -> Value {
    let bytes: Vec<u8> = vector.iter().flat_map(|component| component.to_le_bytes()).collect();
    Value::from(base64::engine::general_purpose::STANDARD.encode(bytes))
}
