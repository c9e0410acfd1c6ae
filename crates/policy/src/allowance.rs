//! What budgets and limits have in common: whose spend they count, in what, over which window, and what they do when they
//! cannot tell. A budget goes in steps ([`crate::budget`]); a limit is a wall ([`crate::rate`]).

use serde::Serialize;
use tollgate_interaction::Usd;

use crate::bundle::{Bundle, Step, Uncertain};
use crate::decide::Prefer;
use crate::facts::Facts;
use crate::ledger::{Account, Cap, Reading, Tally, Unit};
use crate::scope::{Attributes, ScopePattern, scope_of, scope_phrase};
use crate::window::{Period, Window, instant_text};

mod recorded;

pub use recorded::Recorded;

/// A budget or a limit, compiled.
#[derive(Debug)]
pub(crate) struct Allowance {
    pub(crate) id: String,
    pub(crate) scope: ScopePattern,
    /// Narrower scopes with an allowance of their own, which holds in place of this one.
    pub(crate) except: Vec<ScopePattern>,
    /// Place among the tallies of the bundle.
    pub(crate) tally: usize,
    pub(crate) unit: Unit,
    /// Trillionths of a dollar, tokens or calls.
    pub(crate) limit: i128,
    pub(crate) max_snapshot_age_s: u64,
    pub(crate) on_stale: Uncertain,
    pub(crate) on_missing: Uncertain,
    pub(crate) kind: Kind,
}

/// How an allowance holds.
#[derive(Debug)]
pub(crate) enum Kind {
    /// In ascending order of their share.
    Budget(Vec<Step>),
    /// Whatever would go over it is turned away.
    Limit,
}

/// How sure a reading is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certainty {
    Certain,
    Stale { age_s: u64 },
    Missing,
}

/// An allowance and what it goes by for one call.
pub(crate) struct Standing<'a> {
    pub(crate) allowance: &'a Allowance,
    pub(crate) tally: &'a Tally,
    /// Place among the accounts of the call.
    pub(crate) place: usize,
    pub(crate) scope: &'a str,
    pub(crate) reading: Reading,
    pub(crate) certainty: Certainty,
}

impl Allowance {
    /// Whether it is about the account with this name.
    pub(crate) fn covers(&self, scope: &str) -> bool {
        self.scope.matches(scope) && !self.except.iter().any(|narrower| narrower.matches(scope))
    }
}

impl Bundle {
    /// What its budgets and limits add up, each once.
    #[must_use]
    pub fn tallies(&self) -> &std::sync::Arc<[Tally]> {
        &self.tallies
    }

    /// The accounts that a call draws on: those of the budgets and limits that are about it.
    #[must_use]
    pub fn accounts(&self, attributes: &dyn Attributes) -> Vec<Account> {
        let mut accounts = Vec::new();
        for (place, tally) in self.tallies.iter().enumerate() {
            let Some(scope) = scope_of(&tally.dimensions, attributes) else { continue };
            let mut of_tally = self.allowances.iter().filter(|allowance| allowance.tally == place);
            if of_tally.any(|allowance| allowance.covers(&scope)) {
                accounts.push(Account { tally: place, scope });
            }
        }
        accounts
    }

    /// The budgets and limits that are about a call, with what the books say.
    pub(crate) fn standings<'a>(&'a self, facts: &Facts<'a>) -> Vec<Standing<'a>> {
        let mut standings = Vec::new();
        for allowance in &self.allowances {
            let place = facts.accounts.iter().position(|account| account.tally == allowance.tally);
            let Some((place, tally)) = place.zip(self.tallies.get(allowance.tally)) else { continue };
            let scope = facts.accounts[place].scope.as_str();
            if allowance.covers(scope) {
                let reading = facts.readings.get(place).copied().unwrap_or_default();
                let certainty = allowance.certainty(&reading);
                standings.push(Standing { allowance, tally, place, scope, reading, certainty });
            }
        }
        standings
    }

    /// Every step of the budgets and every limit that are about these accounts, whether or not one stops a call.
    #[must_use]
    pub fn steps(&self, accounts: &[Account]) -> Vec<Cap> {
        let mut steps = Vec::new();
        for (place, account) in accounts.iter().enumerate() {
            let about = self.allowances.iter().filter(|allowance| allowance.is_about(account.tally, &account.scope));
            for Allowance { unit, limit, kind, .. } in about {
                let cap = |ceiling| Cap { account: place, unit: *unit, ceiling, fits: true };
                match kind {
                    Kind::Budget(of_budget) => {
                        steps.extend(of_budget.iter().map(|step| cap(threshold(step.at, *limit))))
                    }
                    Kind::Limit => steps.push(cap(*limit)),
                }
            }
        }
        steps
    }

    /// Its budgets and limits, for a page.
    #[must_use]
    pub fn allowances(&self) -> Vec<AllowanceView> {
        self.allowances.iter().map(|allowance| allowance.view(&self.tallies)).collect()
    }
}

impl Allowance {
    fn certainty(&self, reading: &Reading) -> Certainty {
        match reading.age_s {
            None => Certainty::Missing,
            Some(age_s) if age_s > self.max_snapshot_age_s => Certainty::Stale { age_s },
            Some(_) => Certainty::Certain,
        }
    }

    fn view(&self, tallies: &[Tally]) -> AllowanceView {
        let (kind, steps) = match &self.kind {
            Kind::Budget(steps) => (AllowanceKind::Budget, steps.iter().map(Step::view).collect()),
            Kind::Limit => (AllowanceKind::Limit, Vec::new()),
        };
        AllowanceView {
            id: self.id.clone(),
            kind,
            scope: self.scope.to_string(),
            tally: self.tally,
            unit: self.unit,
            limit: self.limit,
            window: tallies.get(self.tally).map(|tally| tally.window.phrase()).unwrap_or_default(),
            steps,
        }
    }

    /// Whether `view`, which must come from the same bundle, is about an account.
    #[must_use]
    fn is_about(&self, tally: usize, scope: &str) -> bool {
        self.tally == tally && self.covers(scope)
    }
}

impl Bundle {
    /// Places, within [`Bundle::allowances`], of those that are about an account.
    #[must_use]
    pub fn about(&self, tally: usize, scope: &str) -> Vec<usize> {
        let about = self.allowances.iter().enumerate().filter(|(_, allowance)| allowance.is_about(tally, scope));
        about.map(|(place, _)| place).collect()
    }
}

/// Whether something is a budget or a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowanceKind {
    /// Goes in steps.
    Budget,
    /// Turns away what would go over it.
    Limit,
}

/// A budget or limit for a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowanceView {
    /// As the bundle calls it.
    pub id: String,
    /// Which of the two.
    pub kind: AllowanceKind,
    /// `team=*`.
    pub scope: String,
    /// Place of its tally in [`Bundle::tallies`].
    pub tally: usize,
    /// What it counts.
    pub unit: Unit,
    /// In trillionths of a dollar, tokens or calls.
    pub limit: i128,
    /// `this month`.
    pub window: String,
    /// Of a budget, in ascending order.
    pub steps: Vec<StepView>,
}

/// A step of a budget for a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepView {
    /// Share of the limit, `0.80` being 80 %.
    pub at: Usd,
    /// Amount from which on it is reached, of a budget with `limit`: see [`StepView::threshold`].
    pub denies: bool,
    /// What it does, for a person.
    pub action: String,
}

impl StepView {
    /// The amount at which it is reached, rounded up.
    #[must_use]
    pub fn threshold(&self, limit: i128) -> i128 {
        threshold(self.at, limit)
    }
}

/// After how many seconds it is worth asking again where calls under way are in the way.
const HELD_BACK_WAIT_S: u64 = 5;

/// Smallest whole amount that is at least the share `at` of `limit`. Nothing is rounded: the comparison is exact.
pub(crate) fn threshold(at: Usd, limit: i128) -> i128 {
    let whole = Usd::from_dollars(1).get();
    let product = at.get().saturating_mul(limit);
    let floor = product.div_euclid(whole);
    if product.rem_euclid(whole) == 0 { floor } else { floor + 1 }
}

/// An amount for a sentence: whole cents, rounded down, and every place of amounts so small that cents would say nothing.
pub(crate) fn readable(unit: Unit, amount: i128, limit: i128) -> String {
    const CENT: i128 = 10_000_000_000;
    match unit {
        Unit::Usd if limit < Usd::from_dollars(1).get() => Usd::new(amount).to_string(),
        Unit::Usd => Usd::new(amount.div_euclid(CENT) * CENT).to_string(),
        _ => amount.to_string(),
    }
}

/// `USD`, `tokens`, `calls`.
pub(crate) const fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Usd => "USD",
        Unit::Tokens => "tokens",
        Unit::Calls | Unit::Concurrency => "calls",
    }
}

impl Standing<'_> {
    /// Spent and held back for others.
    pub(crate) fn used(&self) -> i128 {
        self.reading.used(self.allowance.unit)
    }

    /// ``team `kyc` ``.
    pub(crate) fn who(&self) -> String {
        scope_phrase(&self.tally.dimensions, self.scope)
    }

    /// ``team `kyc` has spent 81.20 of 100.00 USD this month (81 %), as of signals sig-…``.
    pub(crate) fn figures(&self, signals_id: &str) -> String {
        let Allowance { unit, limit, .. } = *self.allowance;
        let used = self.used();
        let share = Usd::new(limit).basis_points_used(Usd::new(used)).map(|points| format!(" ({} %)", points / 100));
        let source = match (signals_id, unit) {
            ("", _) | (_, Unit::Concurrency) => String::new(),
            (id, _) => format!(", as of signals {id}"),
        };
        let verb = verb(unit);
        let (used, of) = (readable(unit, used, limit), readable(unit, limit, limit));
        let (who, name, window) = (self.who(), unit_name(unit), self.tally.window.phrase());
        format!("{who} has {verb} {used} of {of} {name} {window}{}{source}", share.unwrap_or_default())
    }

    /// Whether the estimates of calls under way are in the way, and not what was spent, which is below `ceiling`: when these
    /// calls end, there may be room.
    pub(crate) fn is_held_back(&self, ceiling: i128) -> bool {
        let unit = self.allowance.unit;
        let is_estimate = matches!(unit, Unit::Usd | Unit::Tokens);
        is_estimate && self.reading.settled.get(unit) < ceiling && self.reading.reserved.get(unit) > 0
    }

    /// ``team `kyc` has spent 100.00 of its 100.00 USD for this month``; what is held back apart, where it is that.
    pub(crate) fn refusal(&self, ceiling: i128) -> String {
        let Allowance { unit, limit, .. } = *self.allowance;
        let amount = |amount| readable(unit, amount, limit);
        let (who, verb, name, of) = (self.who(), verb(unit), unit_name(unit), amount(limit));
        if self.is_held_back(ceiling) {
            let (spent, held) = (amount(self.reading.settled.get(unit)), amount(self.reading.reserved.get(unit)));
            let window = self.tally.window.phrase();
            return format!(
                "{who} has {verb} {spent} of its {of} {name} {window}, and {held} are held back for calls under way"
            );
        }
        let used = amount(self.used());
        match self.tally.window {
            Window::Calendar { .. } => {
                format!("{who} has {verb} {used} of its {of} {name} for {}", self.tally.window.phrase())
            }
            _ => format!("{who} has {verb} {used} of its {of} {name} {}", self.tally.window.phrase()),
        }
    }

    /// The spend, as the uncertainty about it is worded.
    pub(crate) fn what(&self) -> String {
        match self.allowance.unit {
            Unit::Usd => format!("the spend of {}", self.who()),
            unit => format!("the number of {} of {}", unit_name(unit), self.who()),
        }
    }

    /// When something that counts now will count no more, for the hint: `2026-12-01 (UTC)`.
    pub(crate) fn next_text(&self, now_us: i64) -> String {
        match self.tally.window {
            Window::Calendar { per, zone } => instant_text(self.tally.window.at(now_us).to_us, per, zone),
            Window::Rolling { .. } => {
                let frees_at_us = self.reading.frees_at_us.unwrap_or(now_us);
                instant_text(frees_at_us, Period::Minute, chrono_tz::Tz::UTC)
            }
            Window::InFlight => "a call to end".to_owned(),
        }
    }

    /// Seconds until asking again may help, at least one.
    pub(crate) fn retry_after_s(&self, now_us: i64, ceiling: i128) -> u64 {
        if self.is_held_back(ceiling) {
            return HELD_BACK_WAIT_S;
        }
        let frees_at_us = match self.tally.window {
            Window::Calendar { .. } => self.tally.window.at(now_us).to_us,
            Window::Rolling { .. } => self.reading.frees_at_us.unwrap_or(now_us),
            Window::InFlight => now_us,
        };
        let wait_us = frees_at_us.saturating_sub(now_us).max(0);
        u64::try_from(wait_us / 1_000_000 + i64::from(wait_us % 1_000_000 > 0)).unwrap_or(1).max(1)
    }
}

const fn verb(unit: Unit) -> &'static str {
    match unit {
        Unit::Usd => "spent",
        Unit::Tokens => "used",
        Unit::Calls | Unit::Concurrency => "made",
    }
}

impl Step {
    fn view(&self) -> StepView {
        let mut actions = Vec::new();
        if let Some(prefer) = &self.prefer {
            actions.push(match prefer {
                Prefer::Cheapest => "prefers the cheapest target".to_owned(),
                Prefer::Tag(tag) => format!("prefers targets tagged `{tag}`"),
            });
        }
        if let Some(floor) = self.min_quality {
            actions.push(format!("wants a quality of at least {}", floor));
        }
        if let Some(wall) = &self.wall {
            actions.push(match wall {
                crate::bundle::Wall::Always { .. } => "denies".to_owned(),
                crate::bundle::Wall::Unless(conditions) => format!("denies unless {conditions}"),
            });
        }
        StepView { at: self.at, denies: self.wall.is_some(), action: actions.join("; ") }
    }
}
