//! `usageMetadata`, brought to the record's meaning and back. Thoughts and the prompts of Google's own tools are counted
//! beside the answer and the prompt, cached tokens within the prompt. Protobuf leaves out what is zero.
//! Source: <https://ai.google.dev/api/generate-content#UsageMetadata> (2026-11-26).

use serde_json::{Map, Value, json};
use tollgate_interaction::Usage;

use super::proto::{take_count, take_items, take_text};

/// Counts as Google tells them; of the modalities those that have a price of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GeminiUsage {
    pub(crate) prompt: Option<u64>,
    pub(crate) candidates: Option<u64>,
    pub(crate) thoughts: Option<u64>,
    pub(crate) tool_use_prompt: Option<u64>,
    pub(crate) cached: Option<u64>,
    pub(crate) total: Option<u64>,
    pub(crate) audio_in: Option<u64>,
    pub(crate) image_in: Option<u64>,
    pub(crate) audio_out: Option<u64>,
    pub(crate) image_out: Option<u64>,
}

impl GeminiUsage {
    /// Counts of a modality in the input; the prompt's and those of the tools' prompts add up.
    pub(crate) fn add_input(&mut self, is_audio: bool, tokens: u64) {
        let count = if is_audio { &mut self.audio_in } else { &mut self.image_in };
        *count = Some(count.unwrap_or(0).saturating_add(tokens));
    }

    pub(crate) fn normalise(&self) -> Usage {
        let input = self.prompt.map(|prompt| prompt.saturating_add(self.tool_use_prompt.unwrap_or(0)));
        let written = match (self.candidates, self.thoughts) {
            (None, None) => None,
            (candidates, thoughts) => Some(candidates.unwrap_or(0).saturating_add(thoughts.unwrap_or(0))),
        };
        Usage {
            input_tokens: input,
            // Where nothing was written only the total says so.
            output_tokens: written.or_else(|| self.total?.checked_sub(input?)),
            cache_read_input_tokens: self.cached,
            reasoning_output_tokens: self.thoughts,
            audio_input_tokens: self.audio_in,
            audio_output_tokens: self.audio_out,
            image_input_tokens: self.image_in,
            image_output_tokens: self.image_out,
            ..Usage::default()
        }
    }
}

/// Reads `usageMetadata`.
pub(super) fn read(mut metadata: Value) -> Usage {
    let metadata = &mut metadata;
    let mut usage = GeminiUsage {
        prompt: take_count(metadata, "promptTokenCount"),
        candidates: take_count(metadata, "candidatesTokenCount"),
        thoughts: take_count(metadata, "thoughtsTokenCount"),
        tool_use_prompt: take_count(metadata, "toolUsePromptTokenCount"),
        cached: take_count(metadata, "cachedContentTokenCount"),
        total: take_count(metadata, "totalTokenCount"),
        ..GeminiUsage::default()
    };
    for list in ["promptTokensDetails", "toolUsePromptTokensDetails"] {
        for mut detail in take_items(metadata, list) {
            let tokens = take_count(&mut detail, "tokenCount").unwrap_or(0);
            match take_text(&mut detail, "modality").as_deref() {
                Some("AUDIO") => usage.add_input(true, tokens),
                Some("IMAGE") => usage.add_input(false, tokens),
                _ => {}
            }
        }
    }
    for mut detail in take_items(metadata, "candidatesTokensDetails") {
        let tokens = take_count(&mut detail, "tokenCount");
        match take_text(&mut detail, "modality").as_deref() {
            Some("AUDIO") => usage.audio_out = tokens,
            Some("IMAGE") => usage.image_out = tokens,
            _ => {}
        }
    }
    usage.normalise()
}

/// Writes `usageMetadata`. Google counts no writes to a cache, so those stay within the prompt.
pub(super) fn write(usage: &Usage) -> Value {
    let mut metadata = Map::new();
    let mut put = |name: &str, count: Option<u64>| {
        if let Some(count) = count {
            metadata.insert(name.to_owned(), count.into());
        }
    };
    let visible = usage.output_tokens.map(|output| output.saturating_sub(usage.reasoning_output_tokens.unwrap_or(0)));
    put("promptTokenCount", usage.input_tokens);
    put("candidatesTokenCount", visible);
    put("thoughtsTokenCount", usage.reasoning_output_tokens);
    put("cachedContentTokenCount", usage.cache_read_input_tokens);
    let total = usage.input_tokens.unwrap_or(0).saturating_add(usage.output_tokens.unwrap_or(0));
    put("totalTokenCount", Some(total));
    let inputs = details(usage.input_tokens, usage.audio_input_tokens, usage.image_input_tokens);
    let outputs = details(visible, usage.audio_output_tokens, usage.image_output_tokens);
    for (name, details) in [("promptTokensDetails", inputs), ("candidatesTokensDetails", outputs)] {
        if let Some(details) = details {
            metadata.insert(name.to_owned(), details);
        }
    }
    Value::Object(metadata)
}

/// The tokens of each modality, if one beside text is known.
fn details(all: Option<u64>, audio: Option<u64>, image: Option<u64>) -> Option<Value> {
    audio.or(image)?;
    let text = all.unwrap_or(0).saturating_sub(audio.unwrap_or(0)).saturating_sub(image.unwrap_or(0));
    let counts = [("TEXT", Some(text)), ("AUDIO", audio), ("IMAGE", image)];
    let told = counts.into_iter().filter_map(|(modality, count)| Some((modality, count.filter(|count| *count > 0)?)));
    Some(told.map(|(modality, count)| json!({"modality": modality, "tokenCount": count})).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_and_tool_prompts_are_added_and_the_cache_is_within() {
        let usage = read(json!({
            "promptTokenCount": 100, "candidatesTokenCount": 20, "thoughtsTokenCount": 300, "toolUsePromptTokenCount": 50,
            "cachedContentTokenCount": 64, "totalTokenCount": 470,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 70}, {"modality": "AUDIO", "tokenCount": 30}],
            "toolUsePromptTokensDetails": [{"modality": "IMAGE", "tokenCount": 50}]
        }));
        assert_eq!((usage.input_tokens, usage.output_tokens), (Some(150), Some(320)));
        assert_eq!((usage.cache_read_input_tokens, usage.reasoning_output_tokens), (Some(64), Some(300)));
        assert_eq!((usage.audio_input_tokens, usage.image_input_tokens), (Some(30), Some(50)));
    }

    #[test]
    fn an_empty_answer_is_counted_by_the_total_alone() {
        assert_eq!(read(json!({"promptTokenCount": 9, "totalTokenCount": 9})).output_tokens, Some(0));
        assert_eq!(read(json!({"promptTokenCount": 9})).output_tokens, None);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let usage = Usage {
            input_tokens: Some(10),
            output_tokens: Some(7),
            reasoning_output_tokens: Some(5),
            cache_read_input_tokens: Some(3),
            audio_input_tokens: Some(4),
            ..Usage::default()
        };
        assert_eq!(read(write(&usage)), usage);
    }
}
