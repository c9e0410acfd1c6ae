//! Tokens as Bedrock counts them: `inputTokens` leaves out what was read from the cache and what was written to it.
//! Source: <https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html> (2026-11-26).

use serde_json::{Map, Value};
use tollgate_interaction::Usage;

/// Counts as Bedrock reports them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenUsage {
    /// Without the cache.
    pub(crate) input: Option<u64>,
    pub(crate) output: Option<u64>,
    pub(crate) cache_read: Option<u64>,
    pub(crate) cache_write: Option<u64>,
    /// Part of `cache_write` that is kept five minutes.
    pub(crate) write_5m: Option<u64>,
    /// Part of `cache_write` that is kept an hour.
    pub(crate) write_1h: Option<u64>,
}

impl TokenUsage {
    /// Takes down one entry of `cacheDetails`.
    pub(crate) fn detail(&mut self, is_hour: bool, tokens: u64) {
        let part = if is_hour { &mut self.write_1h } else { &mut self.write_5m };
        *part = Some(part.unwrap_or(0).saturating_add(tokens));
    }

    /// The counts in the record's meaning.
    pub(crate) fn normalise(&self) -> Usage {
        let hour = self.write_1h;
        let written = self.cache_write.or_else(|| Some(self.write_5m?.saturating_add(hour.unwrap_or(0)))).or(hour);
        // Where only the sum is told, it was written to the five-minute cache: the default lifetime.
        let five_minutes = written.map(|written| written.saturating_sub(hour.unwrap_or(0)));
        let cached = self.cache_read.unwrap_or(0).saturating_add(written.unwrap_or(0));
        Usage {
            input_tokens: self.input.map(|input| input.saturating_add(cached)),
            output_tokens: self.output,
            cache_read_input_tokens: self.cache_read,
            cache_write_5m_input_tokens: five_minutes,
            cache_write_1h_input_tokens: hour,
            ..Usage::default()
        }
    }
}

/// Reads a `usage` object; `None` if it counts nothing.
pub(super) fn read(usage: &Value) -> Option<Usage> {
    let count = |name: &str| usage.get(name).and_then(Value::as_u64);
    let mut tokens = TokenUsage {
        input: count("inputTokens"),
        output: count("outputTokens"),
        cache_read: count("cacheReadInputTokens"),
        cache_write: count("cacheWriteInputTokens"),
        ..TokenUsage::default()
    };
    for detail in usage.get("cacheDetails").and_then(Value::as_array).into_iter().flatten() {
        let is_hour = detail.get("ttl").and_then(Value::as_str) == Some("1h");
        tokens.detail(is_hour, detail.get("inputTokens").and_then(Value::as_u64).unwrap_or(0));
    }
    Some(tokens.normalise()).filter(|usage| !usage.is_empty())
}

/// Writes a `usage` object. Its three sums are required: one nobody told is zero.
pub(super) fn write(usage: &Usage) -> Value {
    let (five_minutes, hour) = (usage.cache_write_5m_input_tokens, usage.cache_write_1h_input_tokens);
    let written = five_minutes.unwrap_or(0).saturating_add(hour.unwrap_or(0));
    let cached = usage.cache_read_input_tokens.unwrap_or(0).saturating_add(written);
    let (input, output) = (usage.input_tokens.unwrap_or(0), usage.output_tokens.unwrap_or(0));
    let mut counts = Map::new();
    counts.insert("inputTokens".to_owned(), input.saturating_sub(cached).into());
    counts.insert("outputTokens".to_owned(), output.into());
    counts.insert("totalTokens".to_owned(), input.saturating_add(output).into());
    if let Some(read) = usage.cache_read_input_tokens {
        counts.insert("cacheReadInputTokens".to_owned(), read.into());
    }
    if five_minutes.is_some() || hour.is_some() {
        counts.insert("cacheWriteInputTokens".to_owned(), written.into());
    }
    // The longer lifetime comes first.
    let details = [("1h", hour), ("5m", five_minutes)].into_iter().filter_map(|(ttl, tokens)| {
        let tokens = tokens.filter(|tokens| *tokens > 0)?;
        Some(serde_json::json!({ "ttl": ttl, "inputTokens": tokens }))
    });
    let details: Vec<Value> = details.collect();
    if !details.is_empty() {
        counts.insert("cacheDetails".to_owned(), details.into());
    }
    Value::Object(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn input_is_brought_to_include_the_cache_and_back() {
        let wire = json!({"inputTokens": 64, "outputTokens": 5, "totalTokens": 1605, "cacheReadInputTokens": 1024,
            "cacheWriteInputTokens": 512,
            "cacheDetails": [{"ttl": "1h", "inputTokens": 500}, {"ttl": "5m", "inputTokens": 12}]});
        let usage = read(&wire).unwrap();
        assert_eq!((usage.input_tokens, usage.output_tokens), (Some(1600), Some(5)));
        assert_eq!(usage.cache_read_input_tokens, Some(1024));
        assert_eq!((usage.cache_write_5m_input_tokens, usage.cache_write_1h_input_tokens), (Some(12), Some(500)));
        assert_eq!(write(&usage), wire);
    }

    #[test]
    fn a_sum_alone_was_written_for_five_minutes() {
        let usage = read(&json!({"inputTokens": 1, "outputTokens": 1, "cacheWriteInputTokens": 512})).unwrap();
        assert_eq!((usage.input_tokens, usage.cache_write_5m_input_tokens), (Some(513), Some(512)));
        assert_eq!(usage.cache_write_1h_input_tokens, None);
        assert_eq!(read(&json!({"inputTokens": null})), None);
    }
}
