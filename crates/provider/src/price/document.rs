//! The catalogue as people write it: YAML with one provider per document, amounts as quoted decimals. Refuses what it
//! does not know: a misspelt class is an error and not a free class.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use tollgate_interaction::Usd;

use super::calendar::{Hours, days_since_1970, in_the_calendar};
use super::rates::{Class, Rates};
use super::wording;

/// A document that is no catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// It is not YAML of the expected shape.
    #[error("the price catalogue `{name}`, line {line}, column {column}: {what}; correct it there")]
    Syntax {
        /// Name of the document.
        name: String,
        /// From 1.
        line: u64,
        /// From 1, in characters.
        column: u64,
        /// What the parser said.
        what: String,
    },
    /// A price is negative or beyond nine million dollars, its date is neither a date nor `release`, or its hours are
    /// no span of a day.
    #[error(
        "the price of `{model}` at `{provider}` from `{from}` is not valid; write `from` as YYYY-MM-DD or `release`, `hours_utc` as HH:MM-HH:MM, and amounts of zero or more"
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
    /// Name of the file, for findings.
    #[serde(skip)]
    pub file: String,
    /// As in a provider's `kind` or `price_as`.
    pub provider: String,
    /// Other names of the same provider.
    #[serde(default)]
    pub also_called: Vec<String>,
    /// Where the prices come from: an address, or `made up`. A row may name another.
    pub source: String,
    /// When somebody last looked. YYYY-MM-DD.
    pub checked: String,
    /// Short names of sources, for rows.
    #[serde(default)]
    pub(super) sources: BTreeMap<String, String>,
    /// Service tiers that cost what a call without a tier costs.
    #[serde(default)]
    pub(super) standard_tiers: Vec<String>,
    /// Regions that cost what a call without a region costs.
    #[serde(default)]
    pub(super) standard_regions: Vec<String>,
    /// Name of the rows for every stated region that has no rows of its own and is not in `standard_regions`.
    #[serde(default)]
    pub(super) other_regions: Option<String>,
    /// Prefixes of model ids, each followed by a dot, that name the region of the price (Bedrock's inference profiles).
    #[serde(default)]
    pub(super) profiles: BTreeMap<String, Profile>,
    /// The models.
    pub(super) models: Vec<ModelRow>,
}

/// What a prefix means where the model has no row for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Profile {
    /// It costs what the model costs without it.
    Standard,
    /// Its price is not known.
    Own,
}

impl CatalogDocument {
    /// Reads a document; `name` appears in errors.
    ///
    /// # Errors
    /// [`CatalogError::Syntax`] with line and column.
    pub fn from_yaml(name: &str, text: &str) -> Result<CatalogDocument, CatalogError> {
        let syntax = |error: serde_saphyr::Error| syntax(name, &error);
        let document: CatalogDocument = serde_saphyr::from_str(text).map_err(syntax)?;
        Ok(CatalogDocument { file: name.to_owned(), ..document })
    }

    /// Number of its models.
    #[must_use]
    pub fn models(&self) -> usize {
        self.models.len()
    }

    /// Number of its price rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.models.iter().map(|model| model.prices.len()).sum()
    }
}

fn syntax(name: &str, error: &serde_saphyr::Error) -> CatalogError {
    let error = error.without_snippet();
    let place = error.location();
    CatalogError::Syntax {
        name: name.to_owned(),
        line: place.as_ref().map_or(1, |place| place.line().max(1)),
        column: place.as_ref().map_or(1, |place| place.column().max(1)),
        what: wording::of(error),
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
    /// Whether prices of zero are meant.
    #[serde(default)]
    pub(super) free: bool,
    #[serde(default)]
    pub(super) context_tokens: Option<u32>,
    #[serde(default)]
    pub(super) max_output_tokens: Option<u32>,
    /// What it can do besides reading and writing text, of [`crate::dialect::CAPABILITIES`]; absent if it is not known.
    #[serde(default)]
    pub(super) capabilities: Option<Vec<String>>,
    pub(super) prices: Vec<PriceRow>,
}

/// A price from one day on, under its conditions.
#[derive(Clone, Debug, Default)]
pub(super) struct PriceRow {
    pub(super) from: String,
    pub(super) service_tier: Option<String>,
    pub(super) region: Option<String>,
    pub(super) hours_utc: Option<String>,
    /// A name in `sources`, or the source itself.
    pub(super) source: Option<String>,
    pub(super) rates: Rates,
    pub(super) above: Vec<TierRow>,
}

/// Rates for calls with more than a number of input tokens.
#[derive(Clone, Debug, Default)]
pub(super) struct TierRow {
    pub(super) input_tokens: u64,
    pub(super) rates: Rates,
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
        in_the_calendar(year, month, day).then(|| days_since_1970(year, month, day) * US_PER_DAY)
    }

    /// The part of the day it holds for; `Err` if what is written is no such part.
    pub(super) fn hours(&self) -> Result<Option<Hours>, ()> {
        self.hours_utc.as_deref().map(|text| Hours::parse(text).ok_or(())).transpose()
    }

    /// What sets it apart from other rows of the model, without the date: `?tier=flex&region=eu&hours=16:30-00:30`.
    pub(super) fn conditions(&self) -> String {
        let mut text = String::new();
        let parts = [("tier", &self.service_tier), ("region", &self.region), ("hours", &self.hours_utc)];
        for (name, value) in parts.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            text.push(if text.is_empty() { '?' } else { '&' });
            text.push_str(name);
            text.push('=');
            text.push_str(value);
        }
        text
    }
}

/// Reads the class `key` of a row, or says that there is none of this name.
fn read_class<'de, A: MapAccess<'de>>(rates: &mut Rates, key: &str, map: &mut A) -> Result<(), A::Error> {
    let Some(class) = Class::from_name(key) else {
        map.next_value::<IgnoredAny>()?;
        return Err(A::Error::custom(format_args!(
            "unknown field `{key}` of a price; {}",
            wording::fields_of_a_price()
        )));
    };
    let amount: Usd = map.next_value()?;
    if rates.set(class, amount) {
        Ok(())
    } else {
        Err(A::Error::custom(format_args!("`{key}` is negative or too large")))
    }
}

// By hand, for `flatten` would keep every row in memory twice while it is read.
impl<'de> Deserialize<'de> for PriceRow {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<PriceRow, D::Error> {
        struct Row;
        impl<'de> Visitor<'de> for Row {
            type Value = PriceRow;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a price: `from`, its conditions and its classes")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PriceRow, A::Error> {
                let mut row = PriceRow::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "from" => row.from = map.next_value()?,
                        "service_tier" => row.service_tier = map.next_value()?,
                        "region" => row.region = map.next_value()?,
                        "hours_utc" => row.hours_utc = map.next_value()?,
                        "source" => row.source = map.next_value()?,
                        "above" => row.above = map.next_value()?,
                        class => read_class(&mut row.rates, class, &mut map)?,
                    }
                }
                if row.from.is_empty() {
                    return Err(A::Error::missing_field("from"));
                }
                Ok(row)
            }
        }
        deserializer.deserialize_map(Row)
    }
}

impl<'de> Deserialize<'de> for TierRow {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<TierRow, D::Error> {
        struct Row;
        impl<'de> Visitor<'de> for Row {
            type Value = TierRow;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`input_tokens` and the classes of a price above it")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TierRow, A::Error> {
                let mut row = TierRow::default();
                let mut is_bounded = false;
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "input_tokens" => {
                            row.input_tokens = map.next_value()?;
                            is_bounded = true;
                        }
                        class => read_class(&mut row.rates, class, &mut map)?,
                    }
                }
                if is_bounded { Ok(row) } else { Err(A::Error::missing_field("input_tokens")) }
            }
        }
        deserializer.deserialize_map(Row)
    }
}
