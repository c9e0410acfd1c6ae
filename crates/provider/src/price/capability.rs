//! What well-known models are known not to have, as their providers' documentation says. A gateway leaves a model out only for
//! what stands here, or in the operator's own rows; what does not stand here is not known, and allowed. Only what is certain is
//! written down: models of before October 2025, whose documentation was read then. A newer one comes in with its page.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Models that lack the same.
struct Group {
    provider: &'static str,
    /// Where it says so.
    #[cfg_attr(not(test), expect(dead_code, reason = "the page is for whoever checks the table"))]
    source: &'static str,
    /// Ids of the catalogue.
    models: &'static [&'static str],
    /// Of [`crate::dialect::CAPABILITIES`].
    lacks: &'static [&'static str],
}

const OPENAI: &str = "https://platform.openai.com/docs/models";
const ANTHROPIC: &str = "https://docs.anthropic.com/en/docs/about-claude/models/overview";
const GOOGLE: &str = "https://ai.google.dev/gemini-api/docs/models";
const MISTRAL: &str = "https://docs.mistral.ai/getting-started/models/models_overview/";
const GROQ: &str = "https://console.groq.com/docs/models";
const DEEPSEEK: &str = "https://api-docs.deepseek.com/quick_start/pricing";

static GROUPS: [Group; 13] = [
    Group {
        provider: "openai",
        source: OPENAI,
        models: &["gpt-3.5-turbo", "gpt-3.5-turbo-1106", "gpt-4"],
        lacks: &["vision", "audio", "documents", "json_schema", "reasoning"],
    },
    Group {
        provider: "openai",
        source: OPENAI,
        models: &["gpt-4-turbo", "gpt-4o-2024-05-13"],
        lacks: &["audio", "json_schema", "reasoning"],
    },
    Group {
        provider: "openai",
        source: OPENAI,
        models: &["gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano"],
        lacks: &["audio", "reasoning"],
    },
    Group {
        provider: "openai",
        source: OPENAI,
        models: &["gpt-4o-audio-preview", "gpt-4o-mini-audio-preview"],
        lacks: &["vision", "reasoning"],
    },
    Group {
        provider: "openai",
        source: OPENAI,
        models: &["o1-mini"],
        lacks: &["tools", "vision", "audio", "documents", "json_schema"],
    },
    Group { provider: "openai", source: OPENAI, models: &["o3-mini"], lacks: &["vision", "audio"] },
    Group {
        provider: "openai",
        source: OPENAI,
        models: &["o1", "o3", "o4-mini", "gpt-5", "gpt-5-mini", "gpt-5-nano"],
        lacks: &["audio"],
    },
    Group {
        provider: "anthropic",
        source: ANTHROPIC,
        models: &[
            "claude-3-haiku",
            "claude-3-sonnet",
            "claude-3-opus-latest",
            "claude-3-5-haiku-latest",
            "claude-3-5-sonnet",
        ],
        lacks: &["audio", "reasoning"],
    },
    Group {
        provider: "anthropic",
        source: ANTHROPIC,
        models: &[
            "claude-3-7-sonnet-latest",
            "claude-sonnet-4-0",
            "claude-opus-4-0",
            "claude-opus-4-1",
            "claude-sonnet-4-5",
        ],
        lacks: &["audio"],
    },
    Group {
        provider: "google",
        source: GOOGLE,
        models: &["gemini-1.5-flash", "gemini-1.5-pro", "gemini-2.0-flash"],
        lacks: &["reasoning"],
    },
    Group {
        provider: "mistral",
        source: MISTRAL,
        models: &["mistral-7b", "mistral-nemo", "mixtral-8x7b", "mixtral-8x22b-instruct"],
        lacks: &["vision", "audio", "documents", "reasoning"],
    },
    Group {
        provider: "groq",
        source: GROQ,
        models: &["llama-3.1-8b-instant", "llama-3.3-70b-versatile", "gemma2-9b-it"],
        lacks: &["vision", "audio", "documents", "reasoning"],
    },
    Group {
        provider: "deepseek",
        source: DEEPSEEK,
        models: &["deepseek-v3", "deepseek-v3.2", "deepseek-coder"],
        lacks: &["vision", "audio", "documents"],
    },
];

/// The same by provider and model.
static LACKS: LazyLock<HashMap<(&str, &str), &[&str]>> = LazyLock::new(|| {
    let named = |group: &'static Group| group.models.iter().map(|model| ((group.provider, *model), group.lacks));
    GROUPS.iter().flat_map(named).collect()
});

/// Whether a model is known not to have a capability. `provider` and `model` are the catalogue's own names.
pub(super) fn is_lacking(provider: &str, model: &str, capability: &str) -> bool {
    LACKS.get(&(provider, model)).is_some_and(|lacks| lacks.contains(&capability))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::dialect::CAPABILITIES;
    use crate::price::Catalog;

    #[test]
    fn every_fact_is_about_a_model_of_the_catalogue_and_has_its_page() {
        let catalog = Catalog::builtin().unwrap();
        let mut seen = HashSet::new();
        for Group { provider, source, models, lacks } in &GROUPS {
            let known: HashSet<&str> = catalog.models(provider).collect();
            for model in *models {
                assert!(known.contains(model), "`{provider}` has no model `{model}`");
                assert!(seen.insert((provider, model)), "`{model}` stands here twice");
            }
            assert!(lacks.iter().all(|capability| CAPABILITIES.contains(capability)), "{lacks:?}");
            assert!(source.starts_with("https://"), "{source}");
        }
    }

    #[test]
    fn a_dated_snapshot_lacks_what_its_model_does_and_what_is_unknown_stays_unknown() {
        let catalog = Catalog::builtin().unwrap();
        let has = |provider, model, capability| catalog.has_capability(provider, model, capability);
        assert_eq!(has("openai", "gpt-3.5-turbo-0125", "vision"), Some(false));
        assert_eq!(has("anthropic", "claude-3-haiku-20240307", "reasoning"), Some(false));
        assert_eq!(has("openai", "gpt-4o", "vision"), None, "allowed, for nobody says otherwise");
        assert_eq!(has("openai", "no-such-model", "vision"), None);
    }
}
