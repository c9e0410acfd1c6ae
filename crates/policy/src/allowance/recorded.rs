//! What a decision went by, as it stands on the row, and back: so that the decision can be made again.
//!
//! What is counted in dollars is a budget reading, of limits too, because those are exact; the rest is a limit reading.

use tollgate_interaction::{BudgetReading, LimitReading, Usd};

use crate::bundle::Bundle;
use crate::ledger::{Account, Amounts, Reading, Unit};

/// What the row of a call says of its budgets and limits.
pub type Recorded = (Vec<BudgetReading>, Vec<LimitReading>);

impl Bundle {
    /// What to write on the row of a call that was decided by these readings.
    #[must_use]
    pub fn record_readings(&self, accounts: &[Account], readings: &[Reading]) -> Recorded {
        let (mut budgets, mut limits) = (Vec::new(), Vec::new());
        for (account, reading) in accounts.iter().zip(readings) {
            let Some(tally) = self.tallies.get(account.tally) else { continue };
            for place in self.about(account.tally, &account.scope) {
                let Some(allowance) = self.allowances.get(place) else { continue };
                let (name, scope) = (allowance.id.clone(), tally.scope_text(&account.scope));
                match allowance.unit {
                    Unit::Usd => budgets.push(BudgetReading {
                        budget: name,
                        scope,
                        spent_usd: reading.settled.usd,
                        reserved_usd: reading.reserved.usd,
                        age_s: reading.age_s,
                    }),
                    unit => {
                        let used = u64::try_from(reading.used(unit)).unwrap_or(u64::MAX);
                        let (unit, age_s) = (unit.as_str().to_owned(), reading.age_s);
                        limits.push(LimitReading { limit: name, scope, unit, used, age_s });
                    }
                }
            }
        }
        (budgets, limits)
    }

    /// What a row says of the accounts of its call, for the decision to be made again. What it does not speak of, because
    /// another bundle decided then, is not known.
    #[must_use]
    pub fn recorded_readings(
        &self,
        accounts: &[Account],
        budgets: &[BudgetReading],
        limits: &[LimitReading],
    ) -> Vec<Reading> {
        let reading = |account: &Account| {
            let mut reading = Reading::default();
            let scope = self.tallies.get(account.tally).map(|tally| tally.scope_text(&account.scope));
            for place in self.about(account.tally, &account.scope) {
                let (Some(allowance), Some(scope)) = (self.allowances.get(place), &scope) else { continue };
                let budget = budgets.iter().find(|known| known.budget == allowance.id && known.scope == *scope);
                if let Some(budget) = budget {
                    reading.settled.usd = budget.spent_usd;
                    reading.reserved.usd = budget.reserved_usd;
                    reading.age_s = budget.age_s;
                }
                let limit = limits.iter().find(|known| known.limit == allowance.id && known.scope == *scope);
                if let Some(limit) = limit {
                    set(&mut reading, allowance.unit, limit.used);
                    reading.age_s = limit.age_s;
                }
            }
            reading
        };
        accounts.iter().map(reading).collect()
    }
}

/// Spent and held back are one number in the log.
fn set(reading: &mut Reading, unit: Unit, used: u64) {
    let Amounts { usd, tokens, calls } = &mut reading.settled;
    match unit {
        Unit::Usd => *usd = Usd::new(used.into()),
        Unit::Tokens => *tokens = used,
        Unit::Calls => *calls = used,
        Unit::Concurrency => reading.reserved.calls = used,
    }
}
