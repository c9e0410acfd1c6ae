//! What can be told from the name of a model behind Chat Completions or the Responses API: whether it is one of OpenAI's
//! own, which refuse what their API does not know, or one behind a copy of it. A vendor's prefix such as `openai/`, as
//! aggregators write it, does not count; a deployment at Azure has to bear the name of its model.

use serde_json::{Value, json};

use crate::chat::CacheFor;

/// Field of the marker.
pub(in crate::dialect) const BREAKPOINT: &str = "prompt_cache_breakpoint";
/// Models of Mistral's, whose API refuses a message with a field that it does not know (`extra_forbidden`):
/// <https://github.com/BerriAI/litellm/issues/30835> (2026-11-26).
const MISTRALS: [&str; 8] =
    ["mistral", "ministral", "magistral", "mixtral", "codestral", "devstral", "pixtral", "voxtral"];

/// Name of the field that limits the answer. OpenAI's reasoning models (`o1` and later, `gpt-5` and later) know
/// `max_completion_tokens` only. Everything else that speaks this dialect, OpenAI's older models included, knows
/// `max_tokens`, and many know nothing else: DeepSeek and Mistral, Ollama, which overlooks the other name, and strict
/// servers, which refuse it.
pub(super) fn limit_name(model: &str) -> &'static str {
    if reasons(bare(model)) { "max_completion_tokens" } else { "max_tokens" }
}

/// Name of the field in which the model's own thoughts go back to it, if they do. DeepSeek refuses the next turn without
/// them, and others go on better with them; OpenAI's open models have another word for it. OpenAI itself and Mistral have
/// none, and refuse it.
/// Sources: <https://api-docs.deepseek.com/guides/thinking_mode>,
/// <https://developers.openai.com/cookbook/articles/gpt-oss/handle-raw-cot> (2026-11-26).
pub(super) fn thoughts_name(model: &str) -> Option<&'static str> {
    let name = bare(model);
    if name.starts_with("gpt-oss") {
        return Some("reasoning");
    }
    let is_mistrals = MISTRALS.iter().any(|maker| name.strip_prefix("open-").unwrap_or(name).starts_with(maker));
    (!is_openais(model) && !is_mistrals).then_some("reasoning_content")
}

/// Whether it is one of the models that OpenAI serves itself.
pub(in crate::dialect) fn is_openais(model: &str) -> bool {
    let name = bare(model);
    let has_its_name = ["gpt-", "chatgpt-", "codex-", "computer-use-"].iter().any(|prefix| name.starts_with(prefix));
    (has_its_name && !name.starts_with("gpt-oss")) || reasons(name)
}

/// Whether it is one of OpenAI's that does not think, and refuses to be told how hard to.
pub(in crate::dialect) fn never_thinks(model: &str) -> bool {
    let name = bare(model);
    ["gpt-3", "gpt-4", "chatgpt-4o"].iter().any(|prefix| name.starts_with(prefix))
}

/// Whether it can be told how wordy to be: OpenAI's do from GPT-5 on.
pub(in crate::dialect) fn takes_verbosity(model: &str) -> bool {
    is_openais(model) && bare(model).starts_with("gpt-") && reasons(bare(model))
}

/// Whether it searches the web when it is told to in Chat Completions: OpenAI's search models and Perplexity's.
/// Sources: <https://developers.openai.com/api/docs/guides/tools-web-search>, <https://docs.perplexity.ai> (2026-11-26).
pub(super) fn searches(model: &str) -> bool {
    let name = bare(model);
    (is_openais(model) && name.contains("-search")) || name.starts_with("sonar")
}

/// Whether it takes explicit breakpoints of the cache: OpenAI's do from GPT-5.6 on, and earlier ones refuse the field.
/// Source: <https://developers.openai.com/api/docs/guides/prompt-caching> (2026-11-26).
pub(in crate::dialect) fn takes_breakpoints(model: &str) -> bool {
    let Some(version) = bare(model).strip_prefix("gpt-") else { return false };
    let version = version.split('-').next().unwrap_or_default();
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    match (major.parse::<u32>(), minor.parse::<u32>()) {
        (Ok(major), Ok(minor)) => (major, minor) >= (5, 6),
        _ => false,
    }
}

/// The marker of a prefix that is to be cached. The API keeps it for half an hour or for twelve hours at least.
pub(in crate::dialect) fn breakpoint(cache: CacheFor) -> Value {
    match cache {
        CacheFor::FiveMinutes => json!({"mode": "explicit"}),
        CacheFor::OneHour => json!({"mode": "explicit", "ttl": "12h"}),
    }
}

fn bare(model: &str) -> &str {
    model.rsplit('/').next().unwrap_or(model)
}

fn reasons(name: &str) -> bool {
    let generation = |prefix: &str| {
        let rest = name.strip_prefix(prefix)?;
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse::<u32>().ok()
    };
    generation("o").is_some() || generation("gpt-").is_some_and(|generation| generation >= 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_decides_how_its_limit_is_called() {
        for model in ["o1", "o3-mini", "o4-mini-2025-04-16", "gpt-5", "gpt-5.1-codex", "openai/gpt-6-mini", "gpt-10"] {
            assert_eq!(limit_name(model), "max_completion_tokens", "{model}");
        }
        for model in ["gpt-4.1", "gpt-4o", "gpt-oss-120b", "deepseek-chat", "openchat", "o", "olmo-2", "claude-5", ""] {
            assert_eq!(limit_name(model), "max_tokens", "{model}");
        }
    }

    #[test]
    fn thoughts_go_back_to_those_who_take_them() {
        for model in ["deepseek-reasoner", "deepseek/deepseek-v4", "kimi-k3", "glm-5", "openchat", "claude-5", ""] {
            assert_eq!(thoughts_name(model), Some("reasoning_content"), "{model}");
        }
        assert_eq!(thoughts_name("openai/gpt-oss-120b"), Some("reasoning"));
        for model in ["gpt-4o", "gpt-5.6", "o4-mini", "chatgpt-4o-latest", "magistral-medium", "open-mistral-nemo"] {
            assert_eq!(thoughts_name(model), None, "{model}");
        }
    }

    #[test]
    fn only_older_models_never_think() {
        assert!(["gpt-4o", "openai/gpt-4.1-mini", "gpt-3.5-turbo"].into_iter().all(never_thinks));
        assert!(!["gpt-5.6", "gpt-oss-20b", "o3", "codex-mini-latest", "m"].into_iter().any(never_thinks));
    }

    #[test]
    fn breakpoints_are_new() {
        for model in ["gpt-5.6", "gpt-5.10-mini", "openai/gpt-6", "gpt-10"] {
            assert!(takes_breakpoints(model), "{model}");
        }
        for model in ["gpt-5", "gpt-5.5", "gpt-4.1", "gpt-oss-120b", "o4-mini", "m"] {
            assert!(!takes_breakpoints(model), "{model}");
        }
    }
}
