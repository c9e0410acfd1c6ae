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

/// Fields that the provider's dialect cannot express.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} cannot be expressed in the dialect `{target}` of the provider; leave {them} out, choose a model of another \
     provider, or let the route drop {them} (`on_unsupported: drop`)",
    self.named(),
    them = if self.fields.len() == 1 { "it" } else { "them" }
)]
pub struct Unsupported {
    /// In the order in which they were found; never empty. With [`MAX_NAMED`] of them, there may be more.
    pub fields: Vec<UnsupportedField>,
    /// The provider's dialect.
    pub target: Dialect,
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
        Unsupported { fields: vec![UnsupportedField { field: field.into(), what: what.into() }], target }
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
}

impl Losses {
    /// For a request to a provider of dialect `target`.
    #[must_use]
    pub fn new(target: Dialect, on_unsupported: OnUnsupported) -> Self {
        Losses { target, on_unsupported, dropped: Vec::new(), refused: Vec::new() }
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
                Ok(())
            }
        }
    }

    /// Whether nothing was lost that the operator does not allow to drop.
    ///
    /// # Errors
    /// [`Unsupported`] with every such field.
    pub fn check(&self) -> Result<(), Unsupported> {
        if self.refused.is_empty() {
            return Ok(());
        }
        Err(Unsupported { fields: self.refused.clone(), target: self.target })
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
