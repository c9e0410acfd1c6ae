//! Token counts as the Messages API writes them: its input is what no cache held, the caches' tokens stand beside it, and
//! thinking is a part of the output. <https://platform.claude.com/docs/en/api/messages> (2026-11-26).

use serde_json::{Map, Value, json};
use tollgate_interaction::Usage;

use crate::chat::Tier;
use crate::scan::Cursor;
use crate::usage::AnthropicUsage;

/// Reads a `usage` object over what `known` says already.
pub(super) fn read_over(known: &mut AnthropicUsage, usage: &Value) {
    // One place knows these names, and it reads text; a `usage` is short and comes twice in a stream.
    let text = usage.to_string();
    // What stands there is JSON by its making.
    let _ = known.read_over(&mut Cursor::new(text.as_bytes()), &mut None);
}

/// `usage` of a message. Both totals must be there, known or not.
pub(super) fn whole(usage: &Usage, service_tier: Option<Tier>) -> Value {
    let mut written = Map::new();
    written.insert("input_tokens".to_owned(), uncached(usage).unwrap_or(0).into());
    write_caches(usage, &mut written);
    if let (Some(short), Some(long)) = (usage.cache_write_5m_input_tokens, usage.cache_write_1h_input_tokens) {
        let creation = json!({ "ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long });
        written.insert("cache_creation".to_owned(), creation);
    }
    write_output(usage, &mut written);
    if let Some(tier) = service_tier.and_then(tier_word) {
        written.insert("service_tier".to_owned(), tier.into());
    }
    written.into()
}

/// `usage` of `message_delta`: everything that is known by now.
pub(super) fn last(usage: &Usage) -> Value {
    let mut written = Map::new();
    if let Some(input) = uncached(usage) {
        written.insert("input_tokens".to_owned(), input.into());
    }
    write_caches(usage, &mut written);
    write_output(usage, &mut written);
    written.into()
}

fn write_caches(usage: &Usage, written: &mut Map<String, Value>) {
    if let Some(created) = created(usage) {
        written.insert("cache_creation_input_tokens".to_owned(), created.into());
    }
    if let Some(read) = usage.cache_read_input_tokens {
        written.insert("cache_read_input_tokens".to_owned(), read.into());
    }
}

fn write_output(usage: &Usage, written: &mut Map<String, Value>) {
    written.insert("output_tokens".to_owned(), usage.output_tokens.unwrap_or(0).into());
    if let Some(thinking) = usage.reasoning_output_tokens {
        written.insert("output_tokens_details".to_owned(), json!({ "thinking_tokens": thinking }));
    }
    if let Some(searches) = usage.web_search_calls {
        let calls = json!({ "web_search_requests": searches, "web_fetch_requests": 0 });
        written.insert("server_tool_use".to_owned(), calls);
    }
}

fn created(usage: &Usage) -> Option<u64> {
    match (usage.cache_write_5m_input_tokens, usage.cache_write_1h_input_tokens) {
        (None, None) => None,
        (short, long) => Some(short.unwrap_or(0).saturating_add(long.unwrap_or(0))),
    }
}

fn uncached(usage: &Usage) -> Option<u64> {
    let cached = usage.cache_read_input_tokens.unwrap_or(0).saturating_add(created(usage).unwrap_or(0));
    Some(usage.input_tokens?.saturating_sub(cached))
}

/// The tier in this dialect's words, if it has one for it.
fn tier_word(tier: Tier) -> Option<&'static str> {
    match tier {
        Tier::Standard => Some("standard"),
        Tier::Priority => Some("priority"),
        Tier::Batch => Some("batch"),
        Tier::Flex | Tier::Reserved => None,
    }
}
