//! The books of budgets and limits: what has been spent in each window by each scope, and what is held back for calls in
//! flight. Pure: the caller brings the time and the log's figures.
//!
//! There is one way to enter a call, [`Tally::entry`]. Reading the log again goes through it ([`Sums::apply`]), and so does
//! a call that has just ended ([`Books::settle`]); a test shows that both end at the same figures in whatever order calls
//! end. Live figures are those of the last reading of the log plus what ended after it, told apart by sequence numbers.

use std::collections::HashMap;
use std::fmt;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};
use tollgate_interaction::{Interaction, Outcome, Usd};

use crate::scope::{Attributes, Dimension, scope_of, scope_text};
use crate::window::Window;

mod books;
pub mod lease;
mod slices;

pub use books::{Books, Refused, Reservation};
pub use slices::Slices;

/// What a budget or a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Known cost, in trillionths of a US dollar.
    Usd,
    /// Input and output tokens together.
    Tokens,
    /// Calls that policy let through.
    Calls,
    /// Calls in flight.
    Concurrency,
}

impl Unit {
    /// As it stands in bundles and in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Unit::Usd => "usd",
            Unit::Tokens => "tokens",
            Unit::Calls => "calls",
            Unit::Concurrency => "concurrency",
        }
    }
}

/// What one call uses up, or many together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amounts {
    /// Known cost.
    pub usd: Usd,
    /// Input and output tokens.
    pub tokens: u64,
    /// Calls.
    pub calls: u64,
}

impl Amounts {
    /// Nothing.
    pub const ZERO: Amounts = Amounts { usd: Usd::ZERO, tokens: 0, calls: 0 };

    /// What a row of the log counts for. Money and tokens count whoever let the call through; `is_admitted` says whether
    /// policy did, see [`is_admitted`].
    #[must_use]
    pub fn of_row(
        is_admitted: bool,
        cost_usd: Option<Usd>,
        input_tokens: Option<u64>,
        output_tokens: Option<u64>,
    ) -> Amounts {
        Amounts {
            usd: cost_usd.unwrap_or(Usd::ZERO),
            tokens: input_tokens.unwrap_or(0).saturating_add(output_tokens.unwrap_or(0)),
            calls: u64::from(is_admitted),
        }
    }

    /// The amount in one unit.
    #[must_use]
    pub fn get(&self, unit: Unit) -> i128 {
        match unit {
            Unit::Usd => self.usd.get(),
            Unit::Tokens => self.tokens.into(),
            Unit::Calls | Unit::Concurrency => self.calls.into(),
        }
    }

    /// What is left without `other`.
    #[must_use]
    pub fn without(&self, other: &Amounts) -> Amounts {
        Amounts {
            usd: self.usd - other.usd,
            tokens: self.tokens.saturating_sub(other.tokens),
            calls: self.calls.saturating_sub(other.calls),
        }
    }
}

impl AddAssign for Amounts {
    fn add_assign(&mut self, other: Amounts) {
        self.usd += other.usd;
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.calls = self.calls.saturating_add(other.calls);
    }
}

/// One entry of the log as budgets see it: a call, or the correction of what one costs.
#[derive(Clone, Copy)]
pub struct Posting<'a> {
    /// When the call started, which says what windows it is in. Microseconds since 1970, UTC.
    pub at_us: i64,
    /// Whose it is.
    pub attributes: &'a dyn Attributes,
    /// What it used up.
    pub amounts: Amounts,
}

/// Whether a row is of a call that policy let through: it was decided by a bundle and not denied, and it is no copy of
/// another (shadow traffic), which costs money and tokens but is nobody's call.
#[must_use]
pub fn is_admitted(policy_bundle_hash: Option<&str>, outcome: &str, is_copy: bool) -> bool {
    policy_bundle_hash.is_some() && outcome != Outcome::Denied.as_str() && !is_copy
}

impl<'a> Posting<'a> {
    /// What a row counts for, and where.
    #[must_use]
    pub fn of(row: &'a Interaction) -> Posting<'a> {
        let is_admitted = is_admitted(row.policy_bundle_hash.as_deref(), row.outcome.as_str(), row.shadow_of.is_some());
        let (input, output) = (row.usage.input_tokens, row.usage.output_tokens);
        let amounts = Amounts::of_row(is_admitted, row.cost_usd, input, output);
        Posting { at_us: row.started_at_us, attributes: row, amounts }
    }
}

/// Accounts of one kind: told apart by the same dimensions, over the same window. Budgets share tallies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tally {
    /// `team/month/UTC`.
    pub id: String,
    /// In order.
    pub dimensions: Vec<Dimension>,
    /// What its sums are over.
    pub window: Window,
}

impl Tally {
    /// A tally, named by what it is.
    #[must_use]
    pub fn new(dimensions: Vec<Dimension>, window: Window) -> Tally {
        let names: Vec<String> = dimensions.iter().map(ToString::to_string).collect();
        Tally { id: format!("{}/{window}", names.join("+")), dimensions, window }
    }

    /// Where a posting is entered: the account, and the bucket within it. `None` if it is not counted here.
    #[must_use]
    pub fn entry(&self, posting: &Posting<'_>) -> Option<(String, i64)> {
        if self.window == Window::InFlight {
            return None;
        }
        let scope = scope_of(&self.dimensions, posting.attributes)?;
        Some((scope, self.window.bucket(posting.at_us).from_us))
    }

    /// The name of an account for a person: `team=kyc`.
    #[must_use]
    pub fn scope_text(&self, scope: &str) -> String {
        scope_text(&self.dimensions, scope)
    }
}

/// A tally as JSON: `{"dimensions": ["team"], "window": "month/UTC"}`.
#[derive(Serialize, Deserialize)]
struct TallyText {
    dimensions: Vec<String>,
    window: String,
}

impl Serialize for Tally {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let dimensions = self.dimensions.iter().map(ToString::to_string).collect();
        TallyText { dimensions, window: self.window.to_string() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tally {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let TallyText { dimensions, window } = TallyText::deserialize(deserializer)?;
        let dimension =
            |text: String| Dimension::parse(&text).ok_or_else(|| D::Error::custom(format!("no scope is by `{text}`")));
        let dimensions = dimensions.into_iter().map(dimension).collect::<Result<_, _>>()?;
        let window = Window::parse(&window).ok_or_else(|| D::Error::custom(format!("no window is `{window}`")))?;
        Ok(Tally::new(dimensions, window))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

/// Sums of one account by the beginning of their bucket, oldest first. Few: one for a calendar window, sixty-one for a
/// rolling one.
pub type Buckets = Vec<(i64, Amounts)>;

/// Sums of the accounts of one tally, by the account's name.
pub type TallySums = HashMap<String, Buckets>;

/// What the log says that was spent, by the id of the tally.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sums {
    /// A tally that is not in here has not been counted; one that is and has no account was not used.
    pub tallies: HashMap<String, TallySums>,
}

impl Sums {
    /// No spend yet in these tallies.
    #[must_use]
    pub fn of(tallies: &[Tally]) -> Sums {
        Sums { tallies: tallies.iter().map(|tally| (tally.id.clone(), TallySums::new())).collect() }
    }

    /// Enters a posting.
    pub fn apply(&mut self, tallies: &[Tally], posting: &Posting<'_>) {
        for tally in tallies {
            let Some((scope, bucket_us)) = tally.entry(posting) else { continue };
            self.enter(&tally.id, scope, bucket_us, posting.amounts);
        }
    }

    fn enter(&mut self, tally: &str, scope: String, bucket_us: i64, amounts: Amounts) {
        // A stranger's refused call has nobody's account, and opens none.
        if amounts == Amounts::ZERO {
            return;
        }
        let accounts = match self.tallies.get_mut(tally) {
            Some(accounts) => accounts,
            None => self.tallies.entry(tally.to_owned()).or_default(),
        };
        add(accounts.entry(scope).or_default(), bucket_us, amounts);
    }

    /// Adds other sums.
    pub fn add(&mut self, other: &Sums) {
        for (tally, accounts) in &other.tallies {
            let ours = self.tallies.entry(tally.clone()).or_default();
            for (scope, buckets) in accounts {
                let account = match ours.get_mut(scope) {
                    Some(account) => account,
                    None => ours.entry(scope.clone()).or_default(),
                };
                for (bucket_us, amounts) in buckets {
                    add(account, *bucket_us, *amounts);
                }
            }
        }
    }

    /// Drops the buckets that count no more at `now_us`.
    pub fn forget(&mut self, tallies: &[Tally], now_us: i64) {
        for tally in tallies {
            let Some(accounts) = self.tallies.get_mut(&tally.id) else { continue };
            let from_us = tally.window.at(now_us).from_us;
            accounts.retain(|_, buckets| {
                buckets.retain(|(bucket_us, _)| *bucket_us >= from_us);
                !buckets.is_empty()
            });
        }
    }

    /// What one account has used up in the window at `now_us`; `None` if its tally has not been counted.
    #[must_use]
    pub fn spent(&self, tally: &Tally, scope: &str, now_us: i64) -> Option<Amounts> {
        let buckets = self.tallies.get(&tally.id)?.get(scope);
        Some(buckets.map_or(Amounts::ZERO, |buckets| within(buckets, tally.window.at(now_us))))
    }
}

fn add(buckets: &mut Buckets, bucket_us: i64, amounts: Amounts) {
    match buckets.binary_search_by_key(&bucket_us, |(known_us, _)| *known_us) {
        Ok(place) => buckets[place].1 += amounts,
        Err(place) => buckets.insert(place, (bucket_us, amounts)),
    }
}

fn within(buckets: &Buckets, span: crate::window::Span) -> Amounts {
    let mut sum = Amounts::ZERO;
    for (_, amounts) in buckets.iter().filter(|(bucket_us, _)| span.holds(*bucket_us)) {
        sum += *amounts;
    }
    sum
}

/// One account that a call draws on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Which tally of the bundle, see [`crate::Bundle::tallies`].
    pub tally: usize,
    /// Its name within the tally.
    pub scope: String,
}

/// What the books say of one account before a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Spent in the present window by calls that have ended.
    pub settled: Amounts,
    /// Held back for calls in flight, the asking one not included.
    pub reserved: Amounts,
    /// Age of the log's figures underneath, in seconds; `None` if the log has not been counted for this account, and the
    /// figures are those of this process alone.
    pub age_s: Option<u64>,
    /// When something that counts now will count no more; `None` if nothing does.
    pub frees_at_us: Option<i64>,
    /// The part of `settled` that the log held when it was last read.
    pub logged: Amounts,
}

impl Reading {
    /// Spent and held back together.
    #[must_use]
    pub fn used(&self, unit: Unit) -> i128 {
        match unit {
            Unit::Concurrency => self.reserved.get(unit),
            _ => self.settled.get(unit).saturating_add(self.reserved.get(unit)),
        }
    }
}

/// What must still hold when a call reserves: between the decision and the reservation other calls go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cap {
    /// Place of the account among those of the call.
    pub account: usize,
    /// In what it is counted.
    pub unit: Unit,
    /// The limit.
    pub ceiling: i128,
    /// Whether the call's own amount has to fit under it as well.
    pub fits: bool,
}

impl Cap {
    /// Whether the books leave room for a call of `amounts`.
    #[must_use]
    pub fn holds(&self, reading: &Reading, amounts: &Amounts) -> bool {
        let used = reading.used(self.unit);
        if self.fits { used.saturating_add(amounts.get(self.unit)) <= self.ceiling } else { used < self.ceiling }
    }
}
