//! What the provider's dialect cannot express: refused with the field's path or, where the operator allows it, dropped and
//! listed. Hints are listed alone.

use serde_json::Value;
use tollgate_interaction::Dialect;

use super::foreign;
use crate::chat::Said;

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

/// Fields that the provider's dialect cannot express.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot be expressed in the dialect `{target}` of the provider{}", self.named(), self.advice())]
pub struct Unsupported {
    /// In the order in which they were found; never empty. With [`MAX_NAMED`] of them, there may be more.
    pub fields: Vec<UnsupportedField>,
    /// The provider's dialect.
    pub target: Dialect,
    /// What can be done about it.
    pub remedy: Remedy,
}

/// What can be done about a refusal, beside sending something else or choosing another model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Remedy {
    /// The route that the caller named can drop it.
    #[default]
    Route,
    /// The caller named a model by its provider: only an alias has a say in that.
    Alias,
    /// Nothing: without it a message would say nothing.
    Nothing,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedField {
    /// Path in the caller's body.
    pub field: String,
    /// What it is or what is wrong with it: `audio`, `a temperature above 1`.
    pub what: String,
}

/// How many fields a refusal names at most: whoever sends more reads no longer list.
pub const MAX_NAMED: usize = 16;

impl Unsupported {
    /// A refusal of one field.
    #[must_use]
    pub fn one(field: impl Into<String>, what: impl Into<String>, target: Dialect) -> Self {
        let fields = vec![UnsupportedField { field: field.into(), what: what.into() }];
        Unsupported { fields, target, remedy: Remedy::default() }
    }

    fn advice(&self) -> String {
        let them = if self.fields.len() == 1 { "it" } else { "them" };
        match self.remedy {
            Remedy::Route => format!(
                "; leave {them} out, choose a model of another provider, or let the route drop {them} \
                 (`on_unsupported: drop`)"
            ),
            Remedy::Alias => format!(
                "; leave {them} out, choose a model of another provider, or give the model an alias under `models` with \
                 `on_unsupported: drop`"
            ),
            Remedy::Nothing => format!(
                ", and nothing else of its message is left, so that the route may not drop {them}; say it in another form, \
                 or choose a model of another provider"
            ),
        }
    }

    fn named(&self) -> String {
        let named = self.fields.iter().map(|UnsupportedField { field, what }| format!("`{field}` ({what})"));
        let more = if self.fields.len() < MAX_NAMED { "" } else { " and possibly more" };
        named.collect::<Vec<_>>().join(", ") + more
    }
}

/// Gathers what a writer leaves out.
#[derive(Clone, Debug)]
pub struct Losses {
    target: Dialect,
    on_unsupported: OnUnsupported,
    dropped: Vec<String>,
    refused: Vec<UnsupportedField>,
    /// Of what was dropped, what is gone as a whole; with what it is.
    lost: Vec<UnsupportedField>,
}

impl Losses {
    /// For a request to a provider of dialect `target`.
    #[must_use]
    pub fn new(target: Dialect, on_unsupported: OnUnsupported) -> Self {
        Losses { target, on_unsupported, dropped: Vec::new(), refused: Vec::new(), lost: Vec::new() }
    }

    /// The field at `at`, which changes the answer, cannot be expressed. Unless the operator allows to drop it, the request
    /// is refused by [`Losses::check`] once all that is wrong with it is known.
    ///
    /// # Errors
    /// [`Unsupported`] once there are more such fields than anybody reads.
    pub fn lose(&mut self, at: &str, what: impl Into<String>) -> Result<(), Unsupported> {
        match self.on_unsupported {
            OnUnsupported::Refuse => {
                if self.refused.iter().any(|refused| refused.field == at) {
                    return Ok(());
                }
                let what = kept_by_the_provider(at).map_or_else(|| what.into(), str::to_owned);
                self.refused.push(UnsupportedField { field: at.to_owned(), what });
                if self.refused.len() < MAX_NAMED { Ok(()) } else { self.check() }
            }
            OnUnsupported::Drop => {
                self.note(at);
                self.lost.push(UnsupportedField { field: at.to_owned(), what: what.into() });
                Ok(())
            }
        }
    }

    /// As [`Losses::lose`], but the part at `at` itself goes on, without something that was said about it.
    ///
    /// # Errors
    /// As [`Losses::lose`].
    pub fn lose_beside(&mut self, at: &str, what: impl Into<String>) -> Result<(), Unsupported> {
        match self.on_unsupported {
            OnUnsupported::Refuse => self.lose(at, what),
            OnUnsupported::Drop => {
                self.note(at);
                Ok(())
            }
        }
    }

    /// As [`Losses::lose`], for a field that no reader took.
    ///
    /// # Errors
    /// As [`Losses::lose`].
    pub(crate) fn lose_other(&mut self, other: &Said<Value>) -> Result<(), Unsupported> {
        self.lose(&other.at, foreign::described(other))
    }

    /// Whether what cannot be expressed may be dropped.
    pub(super) fn may_drop(&self) -> bool {
        self.on_unsupported == OnUnsupported::Drop
    }

    /// Paths of what was dropped as a whole.
    pub(super) fn lost(&self) -> impl Iterator<Item = &str> {
        self.lost.iter().map(|lost| lost.field.as_str())
    }

    /// The refusal of what may not be dropped: the parts at `paths`, all that messages said.
    pub(super) fn emptied(&self, paths: &[&String]) -> Unsupported {
        let is_one = |lost: &&UnsupportedField| paths.iter().any(|path| **path == lost.field);
        let fields = self.lost.iter().filter(is_one).take(MAX_NAMED).cloned().collect();
        Unsupported { fields, target: self.target, remedy: Remedy::Nothing }
    }

    /// Whether nothing was lost that the operator does not allow to drop.
    ///
    /// # Errors
    /// [`Unsupported`] with every such field.
    pub fn check(&self) -> Result<(), Unsupported> {
        if self.refused.is_empty() {
            return Ok(());
        }
        Err(Unsupported { fields: self.refused.clone(), target: self.target, remedy: Remedy::default() })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_every_field_and_stops_where_nobody_reads_on() {
        let mut losses = Losses::new(Dialect::Anthropic, OnUnsupported::Refuse);
        assert_eq!(losses.check(), Ok(()));
        for (at, what) in [("seed", "a seed"), ("logprobs", "probabilities"), ("seed", "a seed")] {
            losses.lose(at, what).unwrap();
        }
        let refused = losses.check().unwrap_err();
        assert_eq!(refused.fields.len(), 2);
        let said = refused.to_string();
        assert!(said.starts_with("`seed` (a seed), `logprobs` (probabilities) cannot be expressed"), "{said}");
        let mut many = Losses::new(Dialect::Anthropic, OnUnsupported::Refuse);
        let stopped = (0..1_000).find_map(|at| many.lose(&format!("messages[{at}]"), "audio").err()).unwrap();
        assert_eq!(stopped.fields.len(), MAX_NAMED);
        assert!(stopped.to_string().contains(" and possibly more "), "{stopped}");
    }
}
