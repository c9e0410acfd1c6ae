//! Why a call costs what it costs: how the model was found, which row applied, and each class times its rate.

use tollgate_interaction::Usd;

use super::beside::Beside;
use super::provider::FoundBy;
use super::rates::{Line, Rates};
use super::{Call, Catalog, PriceError};

/// A price of a row.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Rate {
    /// As the catalogue calls it: `input`, `cache_read`, `web_search`.
    pub class: &'static str,
    /// Dollars for [`Rate::per`] of them.
    pub usd: Usd,
    /// A million for tokens and characters, a thousand for calls and milliseconds, one for pictures.
    pub per: u64,
    /// That in words.
    pub unit: &'static str,
}

/// The prices of a row for calls of a length.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Tier {
    /// Input tokens that a call must exceed; `None` for the prices of shorter calls.
    pub above_input_tokens: Option<u64>,
    /// Every class that has a price of its own.
    pub rates: Vec<Rate>,
}

/// A cost with all that led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Provider, as the catalogue names it.
    pub provider: String,
    /// Id of the model in the catalogue.
    pub model: String,
    /// How the name of the call led to it.
    pub found_by: FoundBy,
    /// The row, as [`super::Priced::price_id`] names it.
    pub price_id: String,
    /// `release`, or the date it is in force from.
    pub from: String,
    /// Service tier of the row; `None` is the standard one.
    pub service_tier: Option<String>,
    /// Region of the row; `None` is that of all regions without a row of their own.
    pub region: Option<String>,
    /// Hours of the row in UTC; `None` is the rest of the day.
    pub hours_utc: Option<String>,
    /// Input tokens that the call exceeds and that its rates are for.
    pub above_input_tokens: Option<u64>,
    /// Where the price is from.
    pub source: String,
    /// All prices of the row, those of the shortest calls first.
    pub tiers: Vec<Tier>,
    /// Each class of the usage that is billed.
    pub lines: Vec<Line>,
    /// The sum, rounded once.
    pub cost: Result<Usd, PriceError>,
}

impl FoundBy {
    /// In a word: `id`, `alias`, `snapshot`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            FoundBy::Id => "id",
            FoundBy::Alias => "alias",
            FoundBy::Snapshot => "snapshot",
        }
    }
}

impl Catalog {
    /// Which row applies to a call, why, and what it makes of each class of the usage.
    ///
    /// # Errors
    /// [`PriceError`] if no row applies. A row that cannot price the usage is explained all the same.
    pub fn explain(&self, call: &Call<'_>, beside: &Beside) -> Result<Explanation, PriceError> {
        let row = self.row(call)?;
        let (rates, above_input_tokens) = row.price.rates_for(call.usage.input_tokens);
        let mut lines = Vec::new();
        let cost = rates.bill(call.usage, beside, |line| lines.push(line)).map_err(|gap| row.error(gap));
        let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().map(str::to_owned);
        let longer = row.price.above.iter().map(|(limit, rates)| tier(Some(*limit), rates));
        Ok(Explanation {
            provider: row.provider.to_owned(),
            model: row.found.model.id.to_string(),
            found_by: row.found.by,
            price_id: row.id(),
            from: row.price.from(),
            service_tier: text(&row.price.service_tier),
            region: text(&row.price.region),
            hours_utc: row.price.hours.map(|hours| hours.to_string()),
            above_input_tokens,
            source: row.price.source.to_string(),
            tiers: std::iter::once(tier(None, &row.price.rates)).chain(longer).collect(),
            lines,
            cost,
        })
    }
}

fn tier(above_input_tokens: Option<u64>, rates: &Rates) -> Tier {
    let rate = |(class, usd): (super::rates::Class, Usd)| Rate {
        class: class.name(),
        usd,
        per: class.per(),
        unit: class.unit(),
    };
    Tier { above_input_tokens, rates: rates.iter().map(rate).collect() }
}
