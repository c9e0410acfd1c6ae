//! The model: its inputs from tokens, a probability from its scores.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ort::environment::Environment;
use ort::session::{Session, SessionInputValue};
use ort::value::{Tensor, TensorElementType, ValueType};
use tollgate_policy::guard::Score;
use tollgate_policy::guard::injection::{Classifier, ClassifierError};

use crate::tokens::Tokens;
use crate::{Scores, Settings, SetupError};

/// A classifier from an ONNX file.
pub(crate) struct OnnxClassifier {
    /// A session classifies one window at a time, with as many threads as it was given.
    session: Mutex<Session>,
    inputs: Vec<(String, Input)>,
    tokens: Tokens,
    label: usize,
    scores: Scores,
    patience: Duration,
}

/// What a model wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Ids,
    /// One for each token: none is filler.
    Mask,
    /// Zero for each token: there is one sequence.
    Types,
}

impl OnnxClassifier {
    pub(crate) fn load(settings: &Settings) -> Result<Self, SetupError> {
        let Settings { library, model, tokenizer, .. } = settings;
        must_be_there(
            "library",
            library,
            "take `libonnxruntime.so` from the Python package `onnxruntime`, and say where it is",
        )?;
        must_be_there("model", model, "export one, for example with `optimum-cli export onnx`, and say where it is")?;
        must_be_there("tokenizer", tokenizer, "it stands beside the model it belongs to, as `tokenizer.json`")?;
        let unreadable =
            |error: std::io::Error| SetupError::Tokenizer { path: tokenizer.clone(), why: error.to_string() };
        let file = std::fs::read(tokenizer).map_err(unreadable)?;
        let tokens = Tokens::read(&file, settings.max_tokens)
            .map_err(|why| SetupError::Tokenizer { path: tokenizer.clone(), why })?;
        let session = open(settings)?;
        let unusable = |why: String| SetupError::Model { path: model.clone(), why };
        let inputs = inputs(&session).map_err(unusable)?;
        let classifier = OnnxClassifier {
            session: Mutex::new(session),
            inputs,
            tokens,
            label: settings.label,
            scores: settings.scores,
            patience: settings.patience,
        };
        classifier.score("Is anybody there?", &|| false).map_err(|error| unusable(error.0))?;
        Ok(classifier)
    }

    /// The probability that a window is an attack.
    fn classify(&self, ids: Vec<i64>) -> Result<f32, ClassifierError> {
        let failed = |error: ort::Error| ClassifierError(error.to_string());
        let shape = [1, ids.len()];
        let mut given: Vec<(&str, SessionInputValue<'_>)> = Vec::with_capacity(self.inputs.len());
        for (name, input) in &self.inputs {
            let values = match input {
                Input::Ids => ids.clone(),
                Input::Mask => vec![1; ids.len()],
                Input::Types => vec![0; ids.len()],
            };
            given.push((name, Tensor::from_array((shape, values)).map_err(failed)?.into()));
        }
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(given).map_err(failed)?;
        let first = outputs.values().next().ok_or_else(|| ClassifierError("the model has no output".to_owned()))?;
        let (shape, scores) = first.try_extract_tensor::<f32>().map_err(failed)?;
        if shape.first() != Some(&1) || shape.len() > 2 || scores.is_empty() {
            return Err(ClassifierError(format!("the model's output has the shape {shape:?}, not one row of scores")));
        }
        probability(scores, self.label, self.scores)
    }
}

impl std::fmt::Debug for OnnxClassifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { inputs, label, scores, patience, .. } = self;
        let names: Vec<&str> = inputs.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("OnnxClassifier")
            .field("inputs", &names)
            .field("label", label)
            .field("scores", scores)
            .field("patience", patience)
            .finish_non_exhaustive()
    }
}

fn must_be_there(what: &'static str, path: &Path, advice: &'static str) -> Result<(), SetupError> {
    if path.is_file() {
        return Ok(());
    }
    Err(SetupError::Missing { what, path: path.to_path_buf(), advice })
}

/// The runtime, of which a process has one: the library that was named first.
static RUNTIME: Mutex<Option<Environment>> = Mutex::new(None);

fn runtime(library: &Path) -> Result<Environment, SetupError> {
    let not_loaded = |why: String| SetupError::Library { path: library.to_path_buf(), why };
    let mut loaded = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = &*loaded {
        return Ok(runtime.clone());
    }
    // The loader would look beside the program for a relative path.
    let absolute = std::path::absolute(library).map_err(|error| not_loaded(error.to_string()))?;
    let builder = ort::init_from(&absolute).map_err(|error| not_loaded(error.to_string()))?;
    // What is classified is nobody's business, not even how often.
    let runtime = builder.with_name("tollgate").with_telemetry(false).build();
    let runtime = runtime.map_err(|error| not_loaded(error.to_string()))?;
    Ok(loaded.insert(runtime).clone())
}

fn open(settings: &Settings) -> Result<Session, SetupError> {
    let Settings { library, model, .. } = settings;
    let runtime = runtime(library)?;
    let unusable = |why: String| SetupError::Model { path: model.clone(), why };
    let session = Session::builder(&runtime).map_err(|error| unusable(error.to_string()))?;
    let mut session =
        session.with_intra_threads(settings.threads.max(1)).map_err(|error| unusable(error.to_string()))?;
    session.commit_from_file(model).map_err(|error| unusable(error.to_string()))
}

/// The inputs of the model, as far as they are known.
fn inputs(session: &Session) -> Result<Vec<(String, Input)>, String> {
    let mut known = Vec::new();
    for outlet in session.inputs() {
        let input = match outlet.name() {
            "input_ids" => Input::Ids,
            "attention_mask" => Input::Mask,
            "token_type_ids" => Input::Types,
            other => {
                return Err(format!(
                    "it wants the input `{other}`; known are `input_ids`, `attention_mask` and `token_type_ids`"
                ));
            }
        };
        if !matches!(outlet.dtype(), ValueType::Tensor { ty: TensorElementType::Int64, .. }) {
            return Err(format!("its input `{}` is not of 64-bit integers", outlet.name()));
        }
        known.push((outlet.name().to_owned(), input));
    }
    if known.iter().any(|(_, input)| *input == Input::Ids) {
        Ok(known)
    } else {
        Err("it has no input `input_ids`".to_owned())
    }
}

fn probability(scores: &[f32], label: usize, kind: Scores) -> Result<f32, ClassifierError> {
    let outside = || ClassifierError(format!("the model has {} scores and none at place {label}", scores.len()));
    let own = match scores {
        [only] => *only,
        several => *several.get(label).ok_or_else(outside)?,
    };
    let probability = match (kind, scores) {
        (Scores::Probabilities, _) => own,
        (Scores::Logits, [_]) => 1.0 / (1.0 + (-own).exp()),
        (Scores::Logits, _) => {
            let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = scores.iter().map(|score| (score - highest).exp()).sum();
            (own - highest).exp() / sum
        }
    };
    let sum: f32 = scores.iter().sum();
    let is_share = kind == Scores::Logits || scores.len() == 1 || (sum - 1.0).abs() < 0.01;
    if is_share && (0.0..=1.0).contains(&probability) {
        return Ok(probability);
    }
    Err(ClassifierError(format!("{scores:?} are no probabilities; are the model's scores logits?")))
}

impl Classifier for OnnxClassifier {
    fn score(&self, text: &str, nobody_waits: &dyn Fn() -> bool) -> Result<Score, ClassifierError> {
        let mut highest = 0.0_f32;
        for window in self.tokens.windows(text)? {
            if nobody_waits() {
                return Err(ClassifierError("nobody waits for it any more".to_owned()));
            }
            highest = highest.max(self.classify(window)?);
        }
        Ok(Score::millionths((highest * 1_000_000.0) as u32))
    }

    fn patience(&self) -> Duration {
        self.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_become_probabilities() {
        let of = |scores: &[f32], label, kind| (probability(scores, label, kind).unwrap() * 1000.0).round() as u32;
        assert_eq!(of(&[0.0, 0.0], 1, Scores::Logits), 500);
        assert_eq!(of(&[-1000.0, 1000.0], 1, Scores::Logits), 1000);
        assert_eq!(of(&[2.0, 1.0, 0.0], 1, Scores::Logits), 245);
        assert_eq!(of(&[0.0], 7, Scores::Logits), 500);
        assert_eq!(of(&[0.25, 0.75], 1, Scores::Probabilities), 750);
        assert!(probability(&[0.1, 0.9], 2, Scores::Logits).is_err());
        assert!(probability(&[0.0, 3.0], 1, Scores::Probabilities).unwrap_err().0.contains("logits"));
        assert!(probability(&[0.1, 0.2], 1, Scores::Probabilities).is_err(), "they do not add up to one");
        assert!(probability(&[f32::NAN, 0.0], 1, Scores::Logits).is_err());
    }
}
