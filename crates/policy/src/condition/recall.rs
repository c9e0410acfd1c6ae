//! What conditions came to before. Over a month of calls a condition sees the same few values again and again, and the
//! interpreter costs ten times what it takes to know them again.

use std::collections::HashMap;

use super::{EvaluationError, Scope};
use crate::variable::Read;

/// Values that are kept of one condition; one that sees more is evaluated each time for those beyond.
const MOST: usize = 4_096;
/// Look-ups after which a condition that is seldom known again is given up on.
const TRIAL: u32 = 1_000;

/// Results of a bundle's conditions by the values of what they read. For whoever decides many calls by one bundle; of the
/// same bundle only, since conditions are told apart by their text.
#[derive(Debug, Default)]
pub struct Recall {
    conditions: HashMap<String, Known>,
    key: Vec<u8>,
}

#[derive(Debug, Default)]
struct Known {
    results: HashMap<Vec<u8>, bool>,
    asked: u32,
    found: u32,
}

impl Known {
    /// Whether keys cost more than they save.
    fn is_given_up(&self) -> bool {
        self.asked >= TRIAL && self.found < self.asked / 2
    }
}

impl Recall {
    /// Results kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.conditions.values().map(|known| known.results.len()).sum()
    }

    /// The result of a condition: the one from before, or `evaluate`'s. Failures are not kept.
    pub(super) fn holds(
        &mut self,
        text: &str,
        reads: &[Read],
        scope: &Scope<'_>,
        evaluate: impl FnOnce() -> Result<bool, EvaluationError>,
    ) -> Result<bool, EvaluationError> {
        if !self.conditions.contains_key(text) {
            self.conditions.insert(text.to_owned(), Known::default());
        }
        let Some(known) = self.conditions.get_mut(text).filter(|known| !known.is_given_up()) else {
            return evaluate();
        };
        self.key.clear();
        if !reads.iter().all(|read| scope.resolver.write(read, &mut self.key)) {
            return evaluate();
        }
        known.asked = known.asked.saturating_add(1);
        if let Some(result) = known.results.get(&self.key) {
            known.found = known.found.saturating_add(1);
            return Ok(*result);
        }
        let result = evaluate()?;
        if known.results.len() < MOST {
            known.results.insert(self.key.clone(), result);
        }
        Ok(result)
    }
}
