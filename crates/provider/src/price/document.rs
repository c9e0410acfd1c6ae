//! The catalogue as people write it: YAML with one provider per document, amounts as quoted decimals.

use serde::Deserialize;
use tollgate_interaction::Usd;

use super::{civil_date, days_since_1970};

/// A document that is no catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// It is not YAML of the expected shape.
    #[error("the price catalogue `{name}` cannot be read; the cause names the line")]
    Syntax {
        /// Name of the document.
        name: String,
        /// What the parser said, with line and column.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// A price is negative or its date is neither a date nor `release`.
    #[error(
        "the price of `{model}` at `{provider}` from `{from}` is not valid; write `from` as YYYY-MM-DD or `release`, and amounts of zero or more"
    )]
    Invalid {
        /// Provider of the row.
        provider: String,
        /// Model of the row.
        model: String,
        /// Its date, as written.
        from: String,
    },
    /// A model has no row at all.
    #[error("the model `{model}` at `{provider}` has no `prices`; add a row or remove the model")]
    NoPrices {
        /// Provider of the model.
        provider: String,
        /// The model.
        model: String,
    },
    /// A name is given to two models.
    #[error("the model or alias `{model}` at `{provider}` appears twice; keep one")]
    Twice {
        /// Provider of the model.
        provider: String,
        /// The name.
        model: String,
    },
}

/// Prices of one provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogDocument {
    /// As in a provider's `kind` or `price_as`.
    pub provider: String,
    /// Where the prices come from: an address, or `made up`.
    pub source: String,
    /// When somebody last looked. YYYY-MM-DD.
    pub checked: String,
    /// The models.
    pub(super) models: Vec<ModelRow>,
}

impl CatalogDocument {
    /// Reads a document; `name` appears in errors.
    ///
    /// # Errors
    /// [`CatalogError::Syntax`] with line and column.
    pub fn from_yaml(name: &str, text: &str) -> Result<CatalogDocument, CatalogError> {
        serde_saphyr::from_str(text)
            .map_err(|source| CatalogError::Syntax { name: name.to_owned(), source: Box::new(source) })
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelRow {
    pub(super) id: String,
    #[serde(default)]
    pub(super) aliases: Vec<String>,
    /// Whether `id-YYYYMMDD` and `id-YYYY-MM-DD` are this model at this price.
    #[serde(default)]
    pub(super) dated_snapshots: bool,
    pub(super) prices: Vec<PriceRow>,
}

/// A price from one day on. Dollars per million tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PriceRow {
    pub(super) from: String,
    #[serde(flatten)]
    pub(super) rates: Rates,
    #[serde(default)]
    pub(super) above: Vec<TierRow>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TierRow {
    pub(super) input_tokens: u64,
    #[serde(flatten)]
    pub(super) rates: Rates,
}

/// Dollars per million tokens of each class.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Rates {
    pub(super) input: Usd,
    #[serde(default)]
    pub(super) output: Option<Usd>,
    #[serde(default)]
    pub(super) cache_read: Option<Usd>,
    #[serde(default)]
    pub(super) cache_write_5m: Option<Usd>,
    #[serde(default)]
    pub(super) cache_write_1h: Option<Usd>,
    #[serde(default)]
    pub(super) audio_input: Option<Usd>,
    #[serde(default)]
    pub(super) audio_output: Option<Usd>,
}

impl Rates {
    pub(super) fn is_negative(&self) -> bool {
        let Rates { input, output, cache_read, cache_write_5m, cache_write_1h, audio_input, audio_output } = *self;
        let others = [output, cache_read, cache_write_5m, cache_write_1h, audio_input, audio_output];
        input < Usd::ZERO || others.into_iter().flatten().any(|rate| rate < Usd::ZERO)
    }
}

impl PriceRow {
    /// First moment the price is in force, in microseconds since 1970; `None` if `from` is no date.
    pub(super) fn in_force_from_us(&self) -> Option<i64> {
        const US_PER_DAY: i64 = 86_400_000_000;
        if self.from == "release" {
            return Some(i64::MIN);
        }
        let mut parts = self.from.splitn(3, '-').map(|part| part.parse::<i64>().ok());
        let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
        let days = days_since_1970(year, month, day);
        (civil_date(days) == (year, month, day)).then_some(days * US_PER_DAY)
    }
}
