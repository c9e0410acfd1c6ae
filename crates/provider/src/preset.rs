//! Providers known by name because they speak OpenAI's formats: a table (`presets.yaml`), not code. What sets one of them
//! apart on the wire is a [`Quirks`]; who they are otherwise, and how their errors and usages are read, is known without
//! the table, since servers copy each other's ways. No key is looked up here.

use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::Value;
use tollgate_interaction::Operation;

/// The table as it comes with the program.
const BUILTIN: &str = include_str!("../presets.yaml");

/// A provider's entry in the table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// What a configuration writes.
    pub name: String,
    /// Other names of the same.
    #[serde(default)]
    pub also_called: Vec<String>,
    /// The provider's name, for people.
    pub title: String,
    /// Where it answers, up to and without `/chat/completions`.
    pub base_url: String,
    /// Environment variable that usually holds its key; `None` where no key is needed.
    #[serde(default)]
    pub key: Option<String>,
    /// What it has under its address.
    pub has: Vec<Api>,
    /// Its name in the price catalogue.
    #[serde(default)]
    pub price_as: Option<String>,
    #[serde(default)]
    limit: Option<LimitName>,
    #[serde(default)]
    stream_usage: StreamUsage,
    /// Where its API is described.
    pub docs: String,
    /// What else sets it apart, for people.
    #[serde(default)]
    pub notes: Option<String>,
}

/// Something a provider may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// `/chat/completions`.
    Chat,
    /// `/responses`.
    Responses,
    /// `/completions`.
    Completions,
    /// `/embeddings`.
    Embeddings,
    /// `/rerank`.
    Rerank,
    /// `/moderations`.
    Moderations,
    /// `/images/…`.
    Images,
    /// `/audio/speech`.
    Speech,
    /// `/audio/transcriptions`.
    Transcription,
    /// `/audio/translations`.
    Translation,
    /// `/files`.
    Files,
    /// `/batches`.
    Batches,
    /// `/realtime`, over a WebSocket.
    Realtime,
}

impl Api {
    /// All of them.
    pub const ALL: [Api; 13] = [
        Api::Chat,
        Api::Responses,
        Api::Completions,
        Api::Embeddings,
        Api::Rerank,
        Api::Moderations,
        Api::Images,
        Api::Speech,
        Api::Transcription,
        Api::Translation,
        Api::Files,
        Api::Batches,
        Api::Realtime,
    ];

    /// As the table writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Api::Chat => "chat",
            Api::Responses => "responses",
            Api::Completions => "completions",
            Api::Embeddings => "embeddings",
            Api::Rerank => "rerank",
            Api::Moderations => "moderations",
            Api::Images => "images",
            Api::Speech => "speech",
            Api::Transcription => "transcription",
            Api::Translation => "translation",
            Api::Files => "files",
            Api::Batches => "batches",
            Api::Realtime => "realtime",
        }
    }

    /// The one by which an operation beside chat is served, of those that callers of OpenAI's formats have.
    #[must_use]
    pub const fn of(operation: Operation) -> Option<Api> {
        Some(match operation {
            Operation::Completions => Api::Completions,
            Operation::Embeddings => Api::Embeddings,
            Operation::Rerank => Api::Rerank,
            Operation::Moderations => Api::Moderations,
            Operation::Images => Api::Images,
            Operation::Speech => Api::Speech,
            Operation::Transcription => Api::Transcription,
            Operation::Translation => Api::Translation,
            Operation::Files => Api::Files,
            Operation::Batches => Api::Batches,
            Operation::Realtime => Api::Realtime,
            _ => return None,
        })
    }
}

/// The field that limits how long an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitName {
    /// The older name, which most copies know.
    MaxTokens,
    /// The newer one.
    MaxCompletionTokens,
}

/// How the stream of a provider comes to end with its usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamUsage {
    /// By `stream_options.include_usage`.
    #[default]
    Asked,
    /// Always; and `stream_options` is refused.
    Always,
}

/// What sets a provider apart on the wire. The default is OpenAI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Name of the limit of an answer; `None` where the model's name decides.
    pub limit: Option<LimitName>,
    /// How a stream comes to end with its usage.
    pub stream_usage: StreamUsage,
}

impl Quirks {
    /// Whether a stream must be asked for its usage.
    #[must_use]
    pub fn asks_for_usage(&self) -> bool {
        self.stream_usage == StreamUsage::Asked
    }

    /// Makes a request in OpenAI's words one that the provider takes. For requests the gateway has written itself: what a
    /// caller wrote is the caller's to say.
    pub(crate) fn adapt(&self, body: &mut Value) {
        let Value::Object(body) = body else { return };
        if !self.asks_for_usage() {
            body.remove("stream_options");
        }
        let Some(limit) = self.limit else { return };
        let (wanted, other) = match limit {
            LimitName::MaxTokens => ("max_tokens", "max_completion_tokens"),
            LimitName::MaxCompletionTokens => ("max_completion_tokens", "max_tokens"),
        };
        if let Some(limit) = body.remove(other) {
            body.insert(wanted.to_owned(), limit);
        }
    }
}

impl Preset {
    /// What sets it apart on the wire.
    #[must_use]
    pub fn quirks(&self) -> Quirks {
        Quirks { limit: self.limit, stream_usage: self.stream_usage }
    }

    /// The provider of the price catalogue whose prices apply. One that the catalogue does not have stands by its own
    /// name, so that nobody else's prices apply.
    #[must_use]
    pub fn priced_as(&self) -> &str {
        self.price_as.as_deref().unwrap_or(&self.name)
    }

    /// Whether it has this.
    #[must_use]
    pub fn has(&self, api: Api) -> bool {
        self.has.contains(&api)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.also_called.iter().map(String::as_str))
    }
}

/// Why a table is none.
#[derive(Debug, thiserror::Error)]
pub enum PresetError {
    /// It is not YAML of the expected shape.
    #[error("the table of presets cannot be read; the cause names the line")]
    Syntax(#[source] Box<serde_saphyr::Error>),
    /// A name is given twice.
    #[error("the preset `{name}` appears twice; keep one")]
    Twice {
        /// The name.
        name: String,
    },
}

/// The table.
#[derive(Clone, Debug, Default)]
pub struct Presets(Vec<Preset>);

impl Presets {
    /// The table that comes with the program, read once.
    #[must_use]
    pub fn builtin() -> &'static Presets {
        static TABLE: OnceLock<Presets> = OnceLock::new();
        // A test reads it, so that this never falls back.
        TABLE.get_or_init(|| Presets::from_yaml(BUILTIN).unwrap_or_default())
    }

    /// The text of the table that comes with the program.
    #[must_use]
    pub const fn builtin_yaml() -> &'static str {
        BUILTIN
    }

    /// Reads a table.
    ///
    /// # Errors
    /// [`PresetError`] with line and column, or with the name that is there twice.
    pub fn from_yaml(text: &str) -> Result<Presets, PresetError> {
        let presets: Vec<Preset> =
            serde_saphyr::from_str(text).map_err(|source| PresetError::Syntax(Box::new(source)))?;
        let mut known = std::collections::HashSet::new();
        for name in presets.iter().flat_map(Preset::names) {
            if !known.insert(name) {
                return Err(PresetError::Twice { name: name.to_owned() });
            }
        }
        Ok(Presets(presets))
    }

    /// The preset of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Preset> {
        self.0.iter().find(|preset| preset.names().any(|known| known == name))
    }

    /// All of them, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = &Preset> {
        self.0.iter()
    }

    /// Every name a configuration may write.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(Preset::names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::Catalog;
    use serde_json::json;

    #[test]
    fn the_table_is_read_and_its_prices_are_those_of_the_catalogue() {
        let table = Presets::from_yaml(BUILTIN).unwrap();
        let catalog = Catalog::builtin().unwrap();
        assert!(table.iter().count() >= 30);
        for preset in table.iter() {
            let name = &preset.name;
            if let Some(price_as) = &preset.price_as {
                assert!(
                    catalog.prepare(price_as),
                    "`{name}` is priced as `{price_as}`, which the catalogue does not have"
                );
            }
            assert!(!preset.has.is_empty() && !preset.base_url.ends_with('/'), "{name}");
            let is_local = preset.base_url.starts_with("http://127.0.0.1:");
            assert_eq!(
                is_local,
                preset.key.is_none(),
                "`{name}`: no key is sent in the clear, and none is needed here"
            );
            assert!(is_local || preset.base_url.starts_with("https://"), "{name}");
            assert!(preset.docs.starts_with("https://"), "{name}");
        }
        for wanted in [
            "groq",
            "together",
            "fireworks",
            "deepseek",
            "xai",
            "perplexity",
            "openrouter",
            "nvidia",
            "sambanova",
            "cerebras",
            "mistral",
            "cohere",
            "huggingface",
            "ollama",
            "vllm",
            "llama.cpp",
            "tgi",
            "lmstudio",
        ] {
            assert!(table.find(wanted).is_some(), "{wanted}");
        }
        assert_eq!(table.find("kimi").unwrap().name, "moonshot");
    }

    #[test]
    fn a_name_that_is_there_twice_is_refused() {
        let entry = "- {name: a, title: A, base_url: 'https://a.example/v1', has: [chat], docs: 'https://a.example'}\n";
        let again = entry.replace("name: a", "name: b, also_called: [a]");
        assert!(Presets::from_yaml(entry).is_ok());
        assert!(
            matches!(Presets::from_yaml(&[entry, &again].concat()), Err(PresetError::Twice { name }) if name == "a")
        );
        assert!(matches!(Presets::from_yaml(&entry.replace("docs", "dox")), Err(PresetError::Syntax(_))));
    }

    #[test]
    fn a_request_is_put_into_the_words_the_provider_takes() {
        let request = || json!({"model": "m", "stream": true, "stream_options": {"include_usage": true}, "max_completion_tokens": 9});
        let mistral = Presets::builtin().find("mistral").unwrap().quirks();
        let mut body = request();
        mistral.adapt(&mut body);
        assert_eq!(body, json!({"model": "m", "stream": true, "max_tokens": 9}));
        let mut body = json!({"max_tokens": 9});
        Presets::builtin().find("cerebras").unwrap().quirks().adapt(&mut body);
        assert_eq!(body, json!({"max_completion_tokens": 9}));
        let mut body = request();
        Quirks::default().adapt(&mut body);
        assert_eq!(body, request());
    }
}
