//! A classifier of texts from an ONNX file: what fills the slot `injection.onnx` of a bundle (ADR 0016).
//!
//! With the feature `onnx` it loads ONNX Runtime, a shared library that the operator has, when the program starts; the
//! program is built without it and downloads nothing. Without the feature there is only [`load`], which says so. The model is
//! a sequence classifier as Hugging Face exports them: `input_ids`, and `attention_mask` and `token_type_ids` if it wants
//! them, to one row of scores. Nothing of a text is cut off: what is longer than the model takes is read in windows, and the
//! most suspicious window counts.

#[cfg(feature = "onnx")]
mod frame;
#[cfg(feature = "onnx")]
mod model;
#[cfg(feature = "onnx")]
mod tokens;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tollgate_policy::guard::injection::Classifier;

/// Where the parts of a classifier are, and how it is to be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// ONNX Runtime, version 1.17 or newer: `libonnxruntime.so`.
    pub library: PathBuf,
    /// The model: `model.onnx`.
    pub model: PathBuf,
    /// Its tokenizer: `tokenizer.json`, as Hugging Face writes them.
    pub tokenizer: PathBuf,
    /// Which of the model's scores is that of an attack, counted from 0. Of a model with one score it is that.
    pub label: usize,
    /// What the scores are.
    pub scores: Scores,
    /// Tokens that the model takes at once.
    pub max_tokens: usize,
    /// Threads that one text is classified with.
    pub threads: usize,
    /// How long all the texts of a call may take together.
    pub patience: Duration,
}

/// What a model's scores are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scores {
    /// Any numbers, of which probabilities are made by softmax, or of a single one by the logistic function.
    #[default]
    Logits,
    /// Probabilities already.
    Probabilities,
}

/// Why there is no classifier.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The program was built without it.
    #[error(
        "this build of the program has no ONNX; build it with `cargo build --release --features onnx`, or leave the \
         section `classifier` out"
    )]
    NotBuilt,
    /// A file is not there.
    #[error("the {what} of the classifier `{}` is not there; {advice}", path.display())]
    Missing {
        /// Which part.
        what: &'static str,
        /// Where it was looked for.
        path: PathBuf,
        /// What to do.
        advice: &'static str,
    },
    /// The runtime cannot be loaded.
    #[error(
        "`{}` cannot be loaded as ONNX Runtime: {why}; it takes version 1.17 or newer for this machine, such as \
         `libonnxruntime.so` of the Python package `onnxruntime`", path.display()
    )]
    Library {
        /// The library.
        path: PathBuf,
        /// What the loader said.
        why: String,
    },
    /// The tokenizer cannot be used.
    #[error("the tokenizer `{}` cannot be used: {why}; it takes a `tokenizer.json` of a model with BPE, Unigram or WordPiece", path.display())]
    Tokenizer {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The model cannot be used.
    #[error("the model `{}` cannot be used: {why}", path.display())]
    Model {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Loads a classifier and tries it once, so that what does not fit together is known before any call depends on it.
///
/// # Errors
/// [`SetupError`] names the file and says what to do.
#[cfg(feature = "onnx")]
pub fn load(settings: &Settings) -> Result<Arc<dyn Classifier>, SetupError> {
    model::OnnxClassifier::load(settings).map(|classifier| Arc::new(classifier) as _)
}

/// Loads no classifier: the program was built without the feature `onnx`.
///
/// # Errors
/// [`SetupError::NotBuilt`].
#[cfg(not(feature = "onnx"))]
pub fn load(_: &Settings) -> Result<Arc<dyn Classifier>, SetupError> {
    Err(SetupError::NotBuilt)
}

#[cfg(test)]
#[cfg(not(feature = "onnx"))]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_built_without_it_says_so() {
        let settings = Settings {
            library: PathBuf::new(),
            model: PathBuf::new(),
            tokenizer: PathBuf::new(),
            label: 1,
            scores: Scores::Logits,
            max_tokens: 512,
            threads: 1,
            patience: Duration::from_secs(1),
        };
        let error = load(&settings).unwrap_err().to_string();
        assert!(error.contains("--features onnx"), "{error}");
    }
}
