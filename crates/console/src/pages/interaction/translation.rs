//! Whether a call was put into the words of another provider, and what those could not express.

use serde_json::{Map, Value};
use tollgate_interaction::Dialect;

use super::text;

/// A call whose provider speaks another format than its caller.
#[derive(Debug)]
pub(super) struct Translation {
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    /// Paths in the request that were left out.
    pub(super) dropped: Vec<String>,
}

impl Translation {
    /// `None` if caller and provider speak the same format and nothing was left out.
    pub(super) fn of(columns: &Map<String, Value>) -> Option<Translation> {
        let (from, to) = (text(columns, "dialect")?, text(columns, "upstream_dialect")?);
        let paths = columns.get("dropped").and_then(Value::as_array).into_iter().flatten();
        let dropped: Vec<String> = paths.filter_map(Value::as_str).map(str::to_owned).collect();
        let is_translated = from != to || !dropped.is_empty();
        is_translated.then(|| Translation { from: format_name(&from), to: format_name(&to), dropped })
    }
}

/// A wire format as people call it.
pub(super) fn format_name(dialect: &str) -> &'static str {
    match Dialect::from_text(dialect) {
        Some(Dialect::Openai) => "OpenAI",
        Some(Dialect::Anthropic) => "Anthropic Messages",
        Some(Dialect::Responses) => "OpenAI Responses",
        Some(Dialect::Gemini) => "Gemini",
        Some(Dialect::Bedrock) => "Bedrock Converse",
        None => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(columns: Value) -> Option<Translation> {
        Translation::of(columns.as_object().unwrap())
    }

    #[test]
    fn a_call_in_its_callers_words_is_no_translation() {
        assert!(
            of(serde_json::json!({ "dialect": "openai", "upstream_dialect": "openai", "dropped": null })).is_none()
        );
        assert!(of(serde_json::json!({ "dialect": "openai", "upstream_dialect": null })).is_none(), "an older row");
        let told =
            serde_json::json!({ "dialect": "openai", "upstream_dialect": "gemini", "dropped": ["seed", "user"] });
        let translation = of(told).unwrap();
        assert_eq!((translation.from, translation.to), ("OpenAI", "Gemini"));
        assert_eq!(translation.dropped, ["seed", "user"]);
    }
}
