//! The `classifier` section: what fills the slot `injection.onnx` of bundles.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;
use tollgate_classifier::{Scores, Settings, SetupError};
use tollgate_policy::bundle::BundleError as SourceError;
use tollgate_policy::guard::injection;

use super::{Config, ConfigError, mistake};

/// A model that says how likely a text is an attack. Its threshold and what becomes of a call that it cannot be asked about
/// stand in the bundle: `on_hit.score_at_least` and `on_error` of the guardrail that runs `injection.onnx`.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Classifier {
    /// ONNX Runtime 1.17 or newer, `libonnxruntime.so`; a path relative to this file.
    #[schemars(with = "String")]
    pub library: Spanned<String>,
    /// The model, `model.onnx`: `input_ids` (and `attention_mask`, `token_type_ids`) to one row of scores.
    #[schemars(with = "String")]
    pub model: Spanned<String>,
    /// Its tokenizer, `tokenizer.json`.
    #[schemars(with = "String")]
    pub tokenizer: Spanned<String>,
    /// Which score is that of an attack, counted from 0.
    #[serde(default = "label")]
    pub label: usize,
    /// What the scores are.
    #[serde(default)]
    pub scores: ScoresWritten,
    /// Tokens that the model takes at once; longer texts are read in windows.
    #[serde(default = "max_tokens")]
    #[schemars(with = "usize")]
    pub max_tokens: Spanned<usize>,
    /// Threads that one text is classified with.
    #[serde(default = "threads")]
    pub threads: usize,
    /// How long all the texts of a call may take together, 1 to 30000 milliseconds.
    #[serde(default = "timeout_ms")]
    #[schemars(with = "u64")]
    pub timeout_ms: Spanned<u64>,
}

/// What a model's scores are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScoresWritten {
    /// Any numbers.
    #[default]
    Logits,
    /// Probabilities already.
    Probabilities,
}

fn label() -> usize {
    1
}

fn max_tokens() -> Spanned<usize> {
    unplaced(512)
}

fn threads() -> usize {
    1
}

fn timeout_ms() -> Spanned<u64> {
    unplaced(1_000)
}

fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(value, serde_saphyr::Location::UNKNOWN, serde_saphyr::Location::UNKNOWN)
}

impl Classifier {
    pub(super) fn check(&self) -> Result<(), SourceError> {
        for (name, path) in [("library", &self.library), ("model", &self.model), ("tokenizer", &self.tokenizer)] {
            if path.value.trim().is_empty() {
                return Err(mistake(path.referenced, format!("`classifier.{name}` is empty; write a path")));
            }
        }
        if !(1..=30_000).contains(&self.timeout_ms.value) {
            let message = format!("`timeout_ms: {}` is not a time to wait; write 1 to 30000", self.timeout_ms.value);
            return Err(mistake(self.timeout_ms.referenced, message));
        }
        if !(16..=65_536).contains(&self.max_tokens.value) {
            let message = format!("`max_tokens: {}` cannot be; write 16 to 65536", self.max_tokens.value);
            return Err(mistake(self.max_tokens.referenced, message));
        }
        Ok(())
    }
}

impl Config {
    /// Loads the classifier, if one is configured, and gives it to the bundles that are loaded from now on.
    ///
    /// # Errors
    /// [`ConfigError::Mistake`] at the line of the file that cannot be used, or of the section if this build has no ONNX.
    pub fn install_classifier(&self) -> Result<(), ConfigError> {
        let Some(written) = &self.classifier else { return Ok(()) };
        let path = |written: &Spanned<String>| -> PathBuf { self.folder.join(&written.value) };
        let settings = Settings {
            library: path(&written.library),
            model: path(&written.model),
            tokenizer: path(&written.tokenizer),
            label: written.label,
            scores: match written.scores {
                ScoresWritten::Logits => Scores::Logits,
                ScoresWritten::Probabilities => Scores::Probabilities,
            },
            max_tokens: written.max_tokens.value,
            threads: written.threads,
            patience: Duration::from_millis(written.timeout_ms.value),
        };
        let classifier = tollgate_classifier::load(&settings).map_err(|error| {
            let place = match &error {
                SetupError::Missing { path, .. } if *path == settings.model => &written.model,
                SetupError::Missing { path, .. } if *path == settings.tokenizer => &written.tokenizer,
                SetupError::Model { .. } => &written.model,
                SetupError::Tokenizer { .. } => &written.tokenizer,
                _ => &written.library,
            };
            self.mistake_at(place.referenced, error.to_string())
        })?;
        // Whoever asks twice in a process has it already.
        injection::install(classifier);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, SourceError> {
        Config::parse(text, PathBuf::from("/etc/tollgate"), |_| None)
    }

    const SECTION: &str = "classifier:\n  library: lib.so\n  model: model.onnx\n  tokenizer: tokenizer.json\n";

    #[test]
    fn a_classifier_has_defaults_and_bounds() {
        let written = parse(SECTION).unwrap().classifier.unwrap();
        assert_eq!((written.label, written.max_tokens.value, written.timeout_ms.value), (1, 512, 1_000));
        for (line, named) in [
            ("timeout_ms: 0", "timeout_ms: 0"),
            ("max_tokens: 4", "max_tokens: 4"),
            ("scores: guesses", "guesses"),
            ("treshold: 0.9", "treshold"),
        ] {
            let error = parse(&format!("{SECTION}  {line}\n")).unwrap_err();
            assert!(error.line == 5 && error.message.contains(named), "{line}: {error}");
        }
        let empty = parse(&SECTION.replace("model.onnx", "''")).unwrap_err();
        assert!(empty.line == 3 && empty.message.contains("classifier.model"), "{empty}");
    }

    #[test]
    fn what_cannot_be_loaded_is_named_with_its_line() {
        let config = parse(SECTION).unwrap();
        let ConfigError::Mistake { source, .. } = config.install_classifier().unwrap_err() else {
            panic!("no mistake")
        };
        assert_eq!(source.line, 2, "{source}");
        let told = if cfg!(feature = "onnx") { "`/etc/tollgate/lib.so` is not there" } else { "--features onnx" };
        assert!(source.message.contains(told), "{source}");
        assert!(parse("").unwrap().install_classifier().is_ok());
    }
}
