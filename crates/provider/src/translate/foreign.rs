//! What a field is that no reader took: one of the caller's own API that other providers have no counterpart of, a tool that
//! its provider runs, or a name nobody documents, which is most often a slip of the pen.

use serde_json::Value;

use crate::chat::Said;

/// Documented fields of one API or another that mean something and that no reader takes, by the last part of their path.
/// Sources (2026-11-26): <https://platform.openai.com/docs/api-reference/chat/create>, `…/responses/create`,
/// <https://platform.claude.com/docs/en/api/messages>, <https://ai.google.dev/api/generate-content>,
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>.
const DOCUMENTED: &[&str] = &[
    // Chat Completions and Responses.
    "allowed_tools",
    "audio",
    "background",
    "context_management",
    "conversation",
    "filters",
    "function_call",
    "functions",
    "grammar",
    "include",
    "logit_bias",
    "max_tool_calls",
    "modalities",
    "moderation",
    "prediction",
    "previous_response_id",
    "prompt",
    "response_format",
    "search_context_size",
    "stream_options",
    "text",
    "tool_choice",
    "top_logprobs",
    "truncation",
    "user_location",
    "web_search_options",
    // Messages.
    "allowed_callers",
    "citations",
    "container",
    "defer_loading",
    "eager_input_streaming",
    "inference_geo",
    "input_examples",
    "mcp_servers",
    // Gemini.
    "audioTimestamp",
    "cachedContent",
    "codeExecution",
    "computerUse",
    "enableEnhancedCivicAnswers",
    "enterpriseWebSearch",
    "fileSearch",
    "generationConfig",
    "googleMaps",
    "googleSearch",
    "googleSearchRetrieval",
    "imageConfig",
    "logprobs",
    "mediaResolution",
    "modelArmorConfig",
    "responseMimeType",
    "responseModalities",
    "responseSchema",
    "retrieval",
    "retrievalConfig",
    "routingConfig",
    "safetySettings",
    "speechConfig",
    "thinkingLevel",
    "urlContext",
    "videoMetadata",
    "cached_content",
    "code_execution",
    "generation_config",
    "google_search",
    "google_search_retrieval",
    "response_modalities",
    "response_schema",
    "safety_settings",
    "speech_config",
    "url_context",
    "video_metadata",
    // Converse.
    "additionalModelResponseFieldPaths",
    "guardContent",
    "guardrailConfig",
    "performanceConfig",
    "promptVariables",
    "systemTool",
];

/// What to call it in a refusal.
pub(super) fn described(other: &Said<Value>) -> String {
    let Said { value, at } = other;
    let (_, name) = at.rsplit_once('.').unwrap_or(("", at));
    let name = name.split('[').next().unwrap_or(name);
    let kind = value.get("type").and_then(Value::as_str);
    match (kind, value.as_str()) {
        (Some(kind), _) if at.starts_with("tools[") || at.starts_with("input[") => {
            let what = if at.starts_with("tools[") { "a tool" } else { "an item" };
            format!("{what} of the type `{}`, which only the caller's API has", bounded(kind))
        }
        (_, Some(kind)) if name == "type" => format!("the type `{}`, which only the caller's API has", bounded(kind)),
        _ if DOCUMENTED.contains(&name) => "a field that only the caller's API has".to_owned(),
        // Of what stands within messages and tools the table above does not know enough to call it a slip.
        _ if at.contains('[') => "a field that the provider's API has no counterpart of".to_owned(),
        _ => "a field that is not known here: look at its spelling".to_owned(),
    }
}

fn bounded(word: &str) -> String {
    const MAX_CHARS: usize = 40;
    word.chars().take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use crate::translate::{Address, OnUnsupported, request};
    use tollgate_interaction::Dialect;

    #[test]
    fn a_field_of_another_api_a_tool_and_a_slip_of_the_pen_are_told_apart() {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"a"}],"logit_bias":{"5":1},
            "tools":[{"type":"custom","custom":{"name":"x"}}],"frobnicate":1,"response_format":{"type":"toml"}}"#;
        for to in [Dialect::Anthropic, Dialect::Gemini, Dialect::Bedrock, Dialect::Responses] {
            let address = Address::default();
            let refused = request(Dialect::Openai, to, body.as_bytes(), address, "m", OnUnsupported::Refuse);
            let said = refused.unwrap_err().to_string();
            let custom = "`tools[0]` (a tool of the type `custom`, which only the caller's API has)";
            assert_eq!(said.contains(custom), to != Dialect::Responses, "{to}: {said}");
            for expected in [
                "`logit_bias` (a field that only the caller's API has)",
                "`frobnicate` (a field that is not known here: look at its spelling)",
                "`response_format.type` (the type `toml`, which only the caller's API has)",
            ] {
                assert!(said.contains(expected), "{to}: {said}");
            }
        }
    }
}
