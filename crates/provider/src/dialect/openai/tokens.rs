//! Token counts in answers and chunks. They are read by the same code as the observer's, so that the books and the caller
//! see one number.

use serde_json::{Map, Value};
use tollgate_interaction::Usage;

use super::wire::{object, set, take_object};
use crate::scan::Cursor;
use crate::usage::{OpenaiUsage, UsageReading};

/// Takes the counts out of an answer, a chunk, or a choice of a chunk, which is Moonshot's place for them: `usage`, or
/// where Groq puts it while streaming.
pub(super) fn take(map: &mut Map<String, Value>) -> Option<Usage> {
    let usage = map.remove("usage").filter(Value::is_object);
    let usage = usage.or_else(|| take_object(map, "x_groq")?.remove("usage"))?;
    let text = usage.to_string();
    let counts = OpenaiUsage::read(&mut Cursor::new(text.as_bytes())).ok().flatten()?;
    Some(UsageReading::Openai(counts).normalise()).filter(|usage| !usage.is_empty())
}

/// Writes the counts. The three sums are always there, because the official client libraries demand them.
pub(super) fn write(usage: &Usage) -> Value {
    let (input, output) = (usage.input_tokens.unwrap_or(0), usage.output_tokens.unwrap_or(0));
    let mut map = Map::new();
    let total = input.saturating_add(output);
    for (name, count) in [("prompt_tokens", input), ("completion_tokens", output), ("total_tokens", total)] {
        map.insert(name.to_owned(), count.into());
    }
    let written = match (usage.cache_write_5m_input_tokens, usage.cache_write_1h_input_tokens) {
        (None, None) => None,
        (short, long) => Some(short.unwrap_or(0).saturating_add(long.unwrap_or(0))),
    };
    let input = [
        ("cached_tokens", usage.cache_read_input_tokens),
        ("cache_write_tokens", written),
        ("audio_tokens", usage.audio_input_tokens),
        ("image_tokens", usage.image_input_tokens),
    ];
    let output = [
        ("reasoning_tokens", usage.reasoning_output_tokens),
        ("audio_tokens", usage.audio_output_tokens),
        ("image_tokens", usage.image_output_tokens),
    ];
    set(&mut map, "prompt_tokens_details", details(&input));
    set(&mut map, "completion_tokens_details", details(&output));
    // As OpenRouter counts them; OpenAI does not say how often it searched.
    let searches = usage.web_search_calls.filter(|calls| *calls > 0);
    set(&mut map, "server_tool_use", searches.map(|calls| object([("web_search_requests", calls.into())])));
    Value::Object(map)
}

fn details(counts: &[(&str, Option<u64>)]) -> Option<Value> {
    let known = counts.iter().filter_map(|(name, count)| Some(((*name).to_owned(), (*count)?.into())));
    let map: Map<String, Value> = known.collect();
    (!map.is_empty()).then_some(Value::Object(map))
}
