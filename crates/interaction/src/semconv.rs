//! The OpenTelemetry GenAI names of our columns. Ours are stable; theirs are still in development (registry of
//! `open-telemetry/semantic-conventions-genai`, commit 002c8a6, August 2026) and are written down here alone.

/// Our column and the attribute it corresponds to. Durations differ in unit: theirs are seconds, ours microseconds.
pub const ATTRIBUTES: &[(&str, &str)] = &[
    ("operation", "gen_ai.operation.name"),
    ("provider", "gen_ai.provider.name"),
    ("model_requested", "gen_ai.request.model"),
    ("model_served", "gen_ai.response.model"),
    ("conversation_id", "gen_ai.conversation.id"),
    ("finish_reasons", "gen_ai.response.finish_reasons"),
    ("input_tokens", "gen_ai.usage.input_tokens"),
    ("output_tokens", "gen_ai.usage.output_tokens"),
    ("cache_read_input_tokens", "gen_ai.usage.cache_read.input_tokens"),
    ("reasoning_output_tokens", "gen_ai.usage.reasoning.output_tokens"),
    ("error_type", "error.type"),
];

/// The OpenTelemetry attribute for a column of ours, where there is one.
#[must_use]
pub fn attribute_for(column: &str) -> Option<&'static str> {
    ATTRIBUTES.iter().find(|(ours, _)| *ours == column).map(|(_, theirs)| *theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mapped_column_exists() {
        for (column, _) in ATTRIBUTES {
            assert!(crate::schema::interactions().field_with_name(column).is_ok(), "{column}");
        }
    }
}
