//! What is kept beside the log, as far as it exists for a reader: keys, budgets and organisations. The log itself is bounded
//! by [`Reader::ledger`].

use tollgate_metastore::{KeyListing, MetastoreError};
use tollgate_policy::scope::{Dimension, value_in};

use crate::access::Reader;
use crate::budgets::BudgetBooks;
use crate::error::ConsoleError;
use crate::state::ConsoleState;

impl Reader {
    /// The organisation that something is to belong to: the one asked for, or else the reader's own. `what` is that something, as
    /// in "a key".
    ///
    /// # Errors
    /// `reach_insufficient` if that is not the reader's to decide about.
    pub fn organisation(
        &self,
        state: &ConsoleState,
        asked: Option<String>,
        what: &'static str,
    ) -> Result<String, ConsoleError> {
        let own = || self.reach.organisation().unwrap_or(&state.settings.tenant).to_owned();
        let organisation = asked.unwrap_or_else(own);
        if self.reach.covers(&organisation) {
            return Ok(organisation);
        }
        let why = format!("{what} of `{organisation}` would lie beyond it");
        Err(ConsoleError::OutOfReach { reach: self.reach.clone(), why })
    }

    /// The keys that exist for the reader, oldest first.
    ///
    /// # Errors
    /// `metastore_unavailable` if the control plane does not answer.
    pub async fn keys(&self, state: &ConsoleState) -> Result<Vec<KeyListing>, ConsoleError> {
        let mut keys = state.metastore.list_keys().await?;
        keys.retain(|key| self.reach.covers(&key.tenant));
        Ok(keys)
    }

    /// Refuses a key of another organisation than the reader's as if there were none.
    ///
    /// # Errors
    /// `key_not_found`, or `metastore_unavailable` if the control plane does not answer.
    pub async fn must_know_key(&self, state: &ConsoleState, id: &str) -> Result<(), ConsoleError> {
        if self.reach.organisation().is_none() || self.keys(state).await?.iter().any(|key| key.id == id) {
            return Ok(());
        }
        Err(MetastoreError::UnknownKey { id: id.to_owned() }.into())
    }

    /// What the process knows of budgets, as far as it exists for the reader. Of an account that several organisations may
    /// draw on, nothing does.
    #[must_use]
    pub fn budgets(&self, state: &ConsoleState) -> Option<BudgetBooks> {
        let books = state.instruments.budgets()?;
        Some(match self.reach.organisation() {
            Some(organisation) => of_organisation(books, organisation),
            None => books,
        })
    }
}

fn of_organisation(mut books: BudgetBooks, organisation: &str) -> BudgetBooks {
    let bundle = std::sync::Arc::clone(&books.bundle);
    books.readings.retain(|(account, _)| {
        let tally = bundle.tallies().get(account.tally);
        let own = tally.and_then(|tally| value_in(&tally.dimensions, &account.scope, &Dimension::Tenant));
        own == Some(organisation)
    });
    let mark = format!("{}={organisation}", Dimension::Tenant);
    books.organisation = Some(organisation.to_owned());
    books.alerts.retain(|alert| alert.scope.split(", ").any(|part| part == mark));
    books
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budgets::lines;
    use crate::sample;

    #[test]
    fn of_budgets_that_are_not_told_apart_by_organisation_nothing_is_told() {
        let (all, _) = lines(&sample::budgets(), sample::NOW_US);
        assert!(all.iter().any(|line| line.scope == "team=kyc"));
        let own = of_organisation(sample::budgets(), "acme");
        let (lines, count) = lines(&own, sample::NOW_US);
        assert!(count > 0 && lines.iter().all(|line| line.scope == "tenant=acme"), "{lines:?}");
        assert!(own.alerts.is_empty());
        assert!(of_organisation(sample::budgets(), "globex").readings.is_empty());
    }
}
