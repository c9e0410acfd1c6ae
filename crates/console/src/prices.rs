//! Prices as the console passes them on: what sidecars download, and corrections of what was recorded. Which price a call
//! has is decided elsewhere.

use bytes::Bytes;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tollgate_analytics::report::RecordedCall;
use tollgate_interaction::Usd;

/// The prices of this process.
pub trait Prices: Send + Sync {
    /// Names the catalogue files in force, as sidecars compare them: `builtin`, or the hash of an update.
    fn update_id(&self) -> String;
    /// The update in force, as it is kept on disk; `None` while the prices that come with the program are.
    ///
    /// # Errors
    /// Says why it cannot be read.
    fn update(&self) -> Result<Option<Bytes>, String>;
    /// Why `call` has no cost by the catalogue in force; `None` if it has one by now.
    fn gap(&self, call: &RecordedCall) -> Option<PriceGap>;
    /// Prices recorded calls by the catalogue in force and appends a correction for each whose cost is another.
    ///
    /// # Errors
    /// Says why it could not be done; corrections that were appended before stay.
    fn reprice(&self, order: RepriceOrder) -> BoxFuture<'static, Result<Repricing, String>>;
}

/// [`Prices::update_id`] of the prices that come with the program.
pub const BUILTIN: &str = "builtin";

/// What is missing for a cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// How much was used.
    Usage,
    /// A row of the catalogue for the model, its region or its tier.
    Price,
    /// A row for the moment of the call: there is one for another.
    PriceThen,
    /// A price in the row for something that was used.
    PriceOfClass,
}

/// Why a call has no cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceGap {
    /// What is missing.
    pub missing: Missing,
    /// The model it is missing for: the one that answered, or the one asked for.
    pub model: String,
    /// One sentence, in the catalogue's own words; names between backticks.
    pub sentence: String,
}

/// What is to be priced again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepriceOrder {
    /// First start of the calls concerned. Microseconds since 1970, UTC.
    pub from_us: i64,
    /// First start of no concern any more. Microseconds since 1970, UTC.
    pub to_us: i64,
    /// What is done with the result.
    pub mode: RepriceMode,
    /// Why, for the record.
    pub reason: String,
    /// Who, for the record.
    pub actor: String,
}

/// What is done with other costs than the recorded ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepriceMode {
    /// They are counted.
    DryRun,
    /// They are appended as corrections.
    Append,
}

/// What pricing calls again came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repricing {
    /// What was done.
    pub mode: RepriceMode,
    /// The catalogue, by the hash of its text.
    pub catalog_id: String,
    /// Calls of the range that used something.
    pub calls: u64,
    /// Those whose cost stays.
    pub unchanged: u64,
    /// Those whose cost becomes another.
    pub changed: u64,
    /// Those without a cost that get one.
    pub newly_priced: u64,
    /// Those without a cost that still have none.
    pub still_unpriced: u64,
    /// Those with a cost for which this catalogue has no price: they keep what they have.
    pub no_longer_priced: u64,
    /// What the changed ones and the newly priced ones cost before, as far as it was known.
    pub old_usd: Usd,
    /// What they cost now.
    pub new_usd: Usd,
    /// Corrections appended to the log.
    pub appended: u64,
    /// The same by provider and model, the largest difference first; only where something changes or has no price.
    pub by_model: Vec<ModelRepricing>,
}

/// What pricing the calls of one model again came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRepricing {
    /// The provider, as configured.
    pub provider: String,
    /// The model: served, or else asked for.
    pub model: String,
    /// Calls whose cost becomes another.
    pub changed: u64,
    /// Calls that get a cost.
    pub newly_priced: u64,
    /// Calls that still have none.
    pub still_unpriced: u64,
    /// Calls that have a cost and no price by this catalogue.
    pub no_longer_priced: u64,
    /// Before, of those that change.
    pub old_usd: Usd,
    /// Now, of those that change.
    pub new_usd: Usd,
    /// Why there is no price, of one of those without one.
    pub problem: Option<String>,
}
