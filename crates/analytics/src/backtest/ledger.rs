//! What budgets and limits would have stood at. Where the row says what an allowance of the same name stood at, that counts,
//! moved by what calls before it would have spent more or less; else it is counted anew from the log, from the beginning of
//! its window on. Calls in flight count for nothing then.

use tollgate_interaction::Usd;
use tollgate_policy::Bundle;
use tollgate_policy::ledger::{Account, Amounts, Posting, Reading, Sums, Tally};
use tollgate_policy::scope::Attributes;

use super::row::Row;
use crate::report::TimeRange;

/// The books of one back-test, whose calls come in the order they were decided.
pub(super) struct Ledger {
    tallies: std::sync::Arc<[Tally]>,
    range: TimeRange,
    from_us: i64,
    /// What calls would have spent; before the range, what they did.
    would: Sums,
    /// What calls of the range would have spent, and what they did.
    moved: Sums,
    did: Sums,
}

impl Ledger {
    /// `None` if the bundle has nothing to count.
    pub(super) fn new(bundle: &Bundle, range: TimeRange) -> Option<Ledger> {
        let tallies = bundle.tallies();
        if tallies.is_empty() {
            return None;
        }
        let begins = tallies.iter().map(|tally| tally.window.at(range.from_us).from_us);
        let sums = || Sums::of(tallies);
        Some(Ledger {
            tallies: std::sync::Arc::clone(tallies),
            range,
            from_us: begins.min().unwrap_or(range.from_us).min(range.from_us),
            would: sums(),
            moved: sums(),
            did: sums(),
        })
    }

    /// From when on calls have to be counted. Microseconds since 1970, UTC.
    pub(super) fn from_us(&self) -> i64 {
        self.from_us
    }

    /// Whether a call only leads up to the period.
    pub(super) fn is_before(&self, row: &Row<'_>) -> bool {
        row.started_at_us() < self.range.from_us
    }

    /// What the accounts of a call would have stood at.
    pub(super) fn readings(&self, bundle: &Bundle, accounts: &[Account], row: &Row<'_>) -> Vec<Reading> {
        let now_us = row.decided_at_us();
        let recorded = bundle.recorded_readings(accounts, &row.budget_readings(), &row.limit_readings());
        let reading = |(account, recorded): (&Account, Reading)| {
            let Some(tally) = self.tallies.get(account.tally) else { return recorded };
            let spent = |sums: &Sums| sums.spent(tally, &account.scope, now_us).unwrap_or(Amounts::ZERO);
            if recorded.age_s.is_none() {
                return Reading { settled: spent(&self.would), age_s: Some(0), ..Reading::default() };
            }
            let mut settled = recorded.settled;
            settled += spent(&self.moved);
            let did = spent(&self.did);
            let usd = (settled.usd - did.usd).max(Usd::ZERO);
            Reading { settled: Amounts { usd, ..settled.without(&did) }, ..recorded }
        };
        accounts.iter().zip(recorded).map(reading).collect()
    }

    /// Enters a call: what it did, and what it would have spent.
    pub(super) fn enter(&mut self, row: &Row<'_>, attributes: &dyn Attributes, did: Amounts, would: Amounts) {
        let at_us = row.started_at_us();
        let posting = |amounts| Posting { at_us, attributes, amounts };
        self.would.apply(&self.tallies, &posting(would));
        if !self.is_before(row) {
            self.moved.apply(&self.tallies, &posting(would));
            self.did.apply(&self.tallies, &posting(did));
        }
    }
}
