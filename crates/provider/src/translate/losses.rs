//! What the provider's dialect cannot express: refused with the field's path or, where the operator allows it, dropped and
//! listed. Hints are listed alone.

use tollgate_interaction::Dialect;

/// What becomes of a field that the provider's dialect cannot express.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnsupported {
    /// The call is refused with the field's path.
    #[default]
    Refuse,
    /// The field is left out, and the row of the call lists it.
    Drop,
}

/// A field that the provider's dialect cannot express.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{field}` ({what}) cannot be expressed in the dialect `{target}` of the provider; leave it out, choose a model of \
     another provider, or let the route drop it (`on_unsupported: drop`)"
)]
pub struct Unsupported {
    /// Path in the caller's body.
    pub field: String,
    /// What it is or what is wrong with it: `audio`, `a temperature above 1`.
    pub what: String,
    /// The provider's dialect.
    pub target: Dialect,
}

/// Gathers what a writer leaves out.
#[derive(Clone, Debug)]
pub struct Losses {
    target: Dialect,
    on_unsupported: OnUnsupported,
    dropped: Vec<String>,
}

impl Losses {
    /// For a request to a provider of dialect `target`.
    #[must_use]
    pub fn new(target: Dialect, on_unsupported: OnUnsupported) -> Self {
        Losses { target, on_unsupported, dropped: Vec::new() }
    }

    /// The field at `at`, which changes the answer, cannot be expressed.
    ///
    /// # Errors
    /// [`Unsupported`] unless the operator allows to drop it.
    pub fn lose(&mut self, at: &str, what: impl Into<String>) -> Result<(), Unsupported> {
        match self.on_unsupported {
            OnUnsupported::Refuse => {
                let what = kept_by_the_provider(at).map_or_else(|| what.into(), str::to_owned);
                Err(Unsupported { field: at.to_owned(), what, target: self.target })
            }
            OnUnsupported::Drop => {
                self.note(at);
                Ok(())
            }
        }
    }

    /// The field at `at` is a hint, which changes nothing about the answer or which nobody promises to grant (ADR 0007), and
    /// is not passed on, or not as it was. It is listed, and never a reason to refuse.
    pub fn note(&mut self, at: &str) {
        if !self.dropped.iter().any(|dropped| dropped == at) {
            self.dropped.push(at.to_owned());
        }
    }

    /// Of the field at `at` itself nothing is lost, only the marker on it that says what to keep in the prompt cache.
    pub fn note_marker(&mut self, at: &str) {
        self.note(&format!("{at} (cache marker)"));
    }

    /// The call at `at` is passed on whole, without another provider's signature on it.
    pub fn note_signature(&mut self, at: &str) {
        self.note(&format!("{at} (signature)"));
    }

    /// Paths of what was left out, in order, each once.
    #[must_use]
    pub fn into_dropped(self) -> Vec<String> {
        self.dropped
    }
}

/// What a field of the Responses API is that refers to what OpenAI keeps: no writer can say it, and all would have to say
/// why.
fn kept_by_the_provider(at: &str) -> Option<&'static str> {
    Some(match at {
        "previous_response_id" => "an answer that only the provider that gave it keeps: send its items in `input`",
        "conversation" => "a conversation that only its own provider keeps: send its items in `input`",
        "prompt" => "a prompt that only its own provider keeps: send its text as `instructions`",
        "background" => "an answer to be fetched later: only a provider that keeps it can give it",
        _ => return None,
    })
}
