//! What a call costs: token classes times the price of the model that served them, on the day it did. The catalogue is
//! data with sources and dates (`catalog/*.yaml`). A model is found by its exact id, by a stated alias, or by its id
//! plus a snapshot date where the row says so; never by what its name contains. An unknown price is an error, not zero.

mod document;

use std::collections::HashMap;

use tollgate_interaction::{Usage, Usd};

pub use document::{CatalogDocument, CatalogError};
use document::{ModelRow, PriceRow, Rates};

/// Catalogue files that come with the program.
const BUILTIN: [(&str, &str); 8] = [
    ("openai", include_str!("../catalog/openai.yaml")),
    ("anthropic", include_str!("../catalog/anthropic.yaml")),
    ("google", include_str!("../catalog/google.yaml")),
    ("mistral", include_str!("../catalog/mistral.yaml")),
    ("meta", include_str!("../catalog/meta.yaml")),
    ("groq", include_str!("../catalog/groq.yaml")),
    ("together", include_str!("../catalog/together.yaml")),
    ("sandbox", include_str!("../catalog/sandbox.yaml")),
];

/// A cost and the row it was computed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Priced {
    /// Of all token classes together.
    pub cost: Usd,
    /// Row of the catalogue: `provider/model@date`, with `+override` if the operator's own.
    pub price_id: String,
}

/// Why a cost could not be computed. The cost is then NULL, and counted as such.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// The catalogue has no row for the served model.
    #[error("no price for model `{model}` at `{provider}`; add a row to the price catalogue (`catalog.prices`)")]
    UnknownModel {
        /// Provider, as the catalogue names it.
        provider: String,
        /// As the provider sent it.
        model: String,
    },
    /// The call is older than the first row.
    #[error(
        "no price for model `{model}` at `{provider}` on the day of the call; add an earlier row to `catalog.prices`"
    )]
    NotYetPriced {
        /// Provider, as the catalogue names it.
        provider: String,
        /// As the provider sent it.
        model: String,
    },
    /// The provider did not say how many tokens there were.
    #[error("the {class} tokens are unknown, so there is no cost; see `usage_source`")]
    UnknownUsage {
        /// `input` or `output`.
        class: &'static str,
    },
    /// A class of tokens occurred that the row does not price and that is not billed as ordinary input or output.
    #[error("`{price_id}` has no price for {class} tokens; add `{class}` to the row")]
    UnpricedClass {
        /// The row.
        price_id: String,
        /// Field of the row that is missing.
        class: &'static str,
    },
    /// The parts of the input or of the output exceed the whole.
    #[error("the provider counted more {class} tokens in parts than in total; report the interaction id")]
    Inconsistent {
        /// `input` or `output`.
        class: &'static str,
    },
}

/// All prices in force.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    providers: HashMap<String, Provider>,
}

#[derive(Clone, Debug, Default)]
struct Provider {
    models: Vec<Model>,
    by_name: HashMap<String, usize>,
}

#[derive(Clone, Debug)]
struct Model {
    id: String,
    dated_snapshots: bool,
    /// In the order of their dates.
    prices: Vec<Price>,
}

#[derive(Clone, Debug)]
struct Price {
    /// First moment it is in force. Microseconds since 1970, UTC.
    from_us: i64,
    rates: Rates,
    /// Rates for calls with more input tokens than this, in ascending order.
    above: Vec<(u64, Rates)>,
    price_id: String,
}

impl Catalog {
    /// The catalogue that comes with the program.
    ///
    /// # Errors
    /// [`CatalogError`] if a file in it is broken, which a test rules out.
    pub fn builtin() -> Result<Catalog, CatalogError> {
        let mut catalog = Catalog::default();
        for (name, text) in BUILTIN {
            catalog.add(CatalogDocument::from_yaml(name, text)?, false)?;
        }
        Ok(catalog)
    }

    /// The same catalogue with the operator's rows in place of those for the same provider and model.
    ///
    /// # Errors
    /// [`CatalogError`] names the row that cannot be right.
    pub fn with_overrides(mut self, document: CatalogDocument) -> Result<Catalog, CatalogError> {
        self.add(document, true)?;
        Ok(self)
    }

    /// Providers it knows, with the number of their models.
    pub fn providers(&self) -> impl Iterator<Item = (&str, usize)> {
        self.providers.iter().map(|(name, provider)| (name.as_str(), provider.models.len()))
    }

    /// Ids of the models of `provider_kind`, in the order of the catalogue.
    pub fn models(&self, provider_kind: &str) -> impl Iterator<Item = &str> {
        let models = self.providers.get(provider_kind).map(|provider| provider.models.as_slice());
        models.unwrap_or_default().iter().map(|model| model.id.as_str())
    }

    /// What `usage` costs on the moment `at_us` (microseconds since 1970, UTC), rounded once, half to even.
    ///
    /// # Errors
    /// [`PriceError`] says what is not known; the cost is then NULL.
    pub fn cost(&self, provider_kind: &str, model: &str, usage: &Usage, at_us: i64) -> Result<Priced, PriceError> {
        let named = || (provider_kind.to_owned(), model.to_owned());
        let Some(found) = self.find(provider_kind, model) else {
            let (provider, model) = named();
            return Err(PriceError::UnknownModel { provider, model });
        };
        let Some(price) = found.prices.iter().rev().find(|price| price.from_us <= at_us) else {
            let (provider, model) = named();
            return Err(PriceError::NotYetPriced { provider, model });
        };
        price.cost(usage)
    }

    /// Dollars per million ordinary input tokens by the newest row, for comparing models before a call.
    #[must_use]
    pub fn input_price(&self, provider_kind: &str, model: &str) -> Option<Usd> {
        self.find(provider_kind, model)?.prices.last().map(|price| price.rates.input)
    }

    /// Dollars per million output tokens by the newest row; `None` for a model that writes none.
    #[must_use]
    pub fn output_price(&self, provider_kind: &str, model: &str) -> Option<Usd> {
        self.find(provider_kind, model)?.prices.last()?.rates.output
    }

    fn find(&self, provider_kind: &str, model: &str) -> Option<&Model> {
        let provider = self.providers.get(provider_kind)?;
        if let Some(index) = provider.by_name.get(model) {
            return provider.models.get(*index);
        }
        let index = provider.by_name.get(without_date(model)?)?;
        provider.models.get(*index).filter(|model| model.dated_snapshots)
    }

    fn add(&mut self, document: CatalogDocument, overriding: bool) -> Result<(), CatalogError> {
        let CatalogDocument { provider, models, .. } = document;
        let known = self.providers.entry(provider.clone()).or_default();
        for row in models {
            known.add(&provider, row, overriding)?;
        }
        Ok(())
    }
}

impl Provider {
    fn add(&mut self, provider: &str, row: ModelRow, overriding: bool) -> Result<(), CatalogError> {
        let ModelRow { id, aliases, dated_snapshots, prices } = row;
        let rows = prices.into_iter().map(|price| Price::new(provider, &id, price, overriding));
        let mut prices = rows.collect::<Result<Vec<_>, _>>()?;
        if prices.is_empty() {
            return Err(CatalogError::NoPrices { provider: provider.to_owned(), model: id });
        }
        prices.sort_by_key(|price| price.from_us);
        let index = self.models.len();
        for name in std::iter::once(&id).chain(&aliases) {
            if self.by_name.insert(name.clone(), index).is_some() && !overriding {
                return Err(CatalogError::Twice { provider: provider.to_owned(), model: name.clone() });
            }
        }
        self.models.push(Model { id, dated_snapshots, prices });
        Ok(())
    }
}

impl Price {
    fn new(provider: &str, model: &str, row: PriceRow, overriding: bool) -> Result<Price, CatalogError> {
        let mut above: Vec<_> = row.above.iter().map(|tier| (tier.input_tokens, tier.rates)).collect();
        above.sort_by_key(|(input_tokens, _)| *input_tokens);
        let invalid = std::iter::once(&row.rates).chain(above.iter().map(|(_, rates)| rates)).any(Rates::is_negative);
        let Some(from_us) = row.in_force_from_us().filter(|_| !invalid) else {
            return Err(CatalogError::Invalid {
                provider: provider.to_owned(),
                model: model.to_owned(),
                from: row.from,
            });
        };
        let suffix = if overriding { "+override" } else { "" };
        let price_id = format!("{provider}/{model}@{}{suffix}", row.from);
        Ok(Price { from_us, rates: row.rates, above, price_id })
    }

    fn cost(&self, usage: &Usage) -> Result<Priced, PriceError> {
        let input = usage.input_tokens.ok_or(PriceError::UnknownUsage { class: "input" })?;
        let reached = self.above.iter().rev().find(|(limit, _)| input > *limit);
        let rates = reached.map_or(&self.rates, |(_, rates)| rates);
        let units = self.input_units(rates, input, usage)? + self.output_units(rates, usage)?;
        const TOKENS_PER_MTOK: i128 = 1_000_000;
        let cost = Usd::new(round_half_even(units, TOKENS_PER_MTOK));
        Ok(Priced { cost, price_id: self.price_id.clone() })
    }

    /// Tokens times dollars per million of all input classes, not yet divided.
    fn input_units(&self, rates: &Rates, input: u64, usage: &Usage) -> Result<i128, PriceError> {
        let read = usage.cache_read_input_tokens.unwrap_or(0);
        let written_5m = usage.cache_write_5m_input_tokens.unwrap_or(0);
        let written_1h = usage.cache_write_1h_input_tokens.unwrap_or(0);
        let audio = usage.audio_input_tokens.unwrap_or(0);
        let mut units = 0;
        let mut ordinary = input;
        for (tokens, rate) in
            [(read, rates.cache_read), (written_5m, rates.cache_write_5m), (written_1h, rates.cache_write_1h)]
        {
            ordinary = ordinary.checked_sub(tokens).ok_or(PriceError::Inconsistent { class: "input" })?;
            units += times(tokens, rate.unwrap_or(rates.input));
        }
        if audio > 0 {
            // Audio may be cached as well; the provider does not say which part, so at most the ordinary rest is audio.
            let audio = audio.min(ordinary);
            ordinary -= audio;
            units += times(audio, self.class(rates.audio_input, "audio_input")?);
        }
        Ok(units + times(ordinary, rates.input))
    }

    fn output_units(&self, rates: &Rates, usage: &Usage) -> Result<i128, PriceError> {
        let Some(rate) = rates.output else {
            return match usage.output_tokens.unwrap_or(0) {
                0 => Ok(0),
                _ => self.class(None, "output").map(|_| 0),
            };
        };
        let output = usage.output_tokens.ok_or(PriceError::UnknownUsage { class: "output" })?;
        let audio = usage.audio_output_tokens.unwrap_or(0);
        let text = output.checked_sub(audio).ok_or(PriceError::Inconsistent { class: "output" })?;
        if audio == 0 {
            return Ok(times(text, rate));
        }
        Ok(times(text, rate) + times(audio, self.class(rates.audio_output, "audio_output")?))
    }

    fn class(&self, rate: Option<Usd>, class: &'static str) -> Result<Usd, PriceError> {
        rate.ok_or_else(|| PriceError::UnpricedClass { price_id: self.price_id.clone(), class })
    }
}

fn times(tokens: u64, usd_per_mtok: Usd) -> i128 {
    i128::from(tokens) * usd_per_mtok.get()
}

/// `dividend / divisor`, rounded to the nearest whole number and, when two are equally near, to the even one.
fn round_half_even(dividend: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (dividend.div_euclid(divisor), dividend.rem_euclid(divisor));
    match (rest * 2).cmp(&divisor) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient + 1,
        std::cmp::Ordering::Equal => quotient + quotient.rem_euclid(2),
    }
}

/// `model` without a trailing `-YYYYMMDD` or `-YYYY-MM-DD`, if it ends in one.
fn without_date(model: &str) -> Option<&str> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (name, last) = model.rsplit_once('-')?;
    if last.len() == 8 && digits(last) {
        return Some(name);
    }
    let (name, month) = name.rsplit_once('-')?;
    let (name, year) = name.rsplit_once('-')?;
    let shaped = last.len() == 2 && month.len() == 2 && year.len() == 4;
    (shaped && digits(last) && digits(month) && digits(year)).then_some(name)
}

/// Year, month and day (proleptic Gregorian) of a number of days since 1970.
pub(crate) fn civil_date(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    // Years that begin in March put the leap day last; 719 468 days lie between 0000-03-01 and 1970-01-01.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(DAYS_PER_ERA);
    let day_of_era = shifted.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

/// Days since 1970 of a date, the inverse of [`civil_date`].
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_US: i64 = 1_795_392_000_000_000; // 2026-11-23

    fn usd(text: &str) -> Usd {
        text.parse().unwrap()
    }

    fn tokens(input: u64, output: u64) -> Usage {
        Usage { input_tokens: Some(input), output_tokens: Some(output), ..Usage::default() }
    }

    #[test]
    fn the_builtin_catalogue_is_sound_and_covers_the_well_known_models() {
        let catalog = Catalog::builtin().unwrap();
        let count: usize = catalog.providers().map(|(_, models)| models).sum();
        assert!(count >= 80, "{count}");
        for (provider, model) in [
            ("openai", "gpt-5"),
            ("openai", "gpt-6-sol-2026-10-01"),
            ("anthropic", "claude-sonnet-4-5-20250929"),
            ("google", "gemini-2.5-pro"),
            ("mistral", "mistral-large-4"),
            ("groq", "llama-3.3-70b-versatile"),
            ("together", "meta-llama/Llama-4-Scout-17B-16E-Instruct"),
            ("sandbox", "small"),
            ("sandbox", "sandbox/large"),
        ] {
            assert!(catalog.cost(provider, model, &tokens(1, 1), NOW_US).is_ok(), "{provider} {model}");
        }
    }

    #[test]
    fn classes_are_priced_apart_and_the_sum_is_exact() {
        let catalog = Catalog::builtin().unwrap();
        let usage = Usage {
            cache_read_input_tokens: Some(1_000),
            cache_write_5m_input_tokens: Some(200),
            cache_write_1h_input_tokens: Some(100),
            reasoning_output_tokens: Some(50),
            ..tokens(1_500, 300)
        };
        let priced = catalog.cost("anthropic", "claude-opus-4-5-20251101", &usage, NOW_US).unwrap();
        // 200 × 5 + 1000 × 0.5 + 200 × 6.25 + 100 × 10 + 300 × 25, per million.
        assert_eq!(priced.cost, usd("0.01125"));
        assert_eq!(priced.price_id, "anthropic/claude-opus-4-5@release");
    }

    #[test]
    fn the_day_of_the_call_chooses_the_row() {
        let catalog = Catalog::builtin().unwrap();
        let on = |year, month, day| {
            let at_us = days_since_1970(year, month, day) * 86_400_000_000;
            catalog.cost("openai", "o3", &tokens(1_000_000, 0), at_us).unwrap()
        };
        assert_eq!(on(2025, 6, 9), Priced { cost: usd("10"), price_id: "openai/o3@release".to_owned() });
        assert_eq!(on(2025, 6, 10), Priced { cost: usd("2"), price_id: "openai/o3@2025-06-10".to_owned() });
    }

    #[test]
    fn a_long_prompt_moves_the_whole_call_to_the_higher_rate() {
        let catalog = Catalog::builtin().unwrap();
        let cost = |input| catalog.cost("google", "gemini-2.5-pro", &tokens(input, 1_000), NOW_US).unwrap().cost;
        assert_eq!(cost(200_000), usd("0.26"));
        assert_eq!(cost(200_001), usd("0.5150025"));
    }

    #[test]
    fn what_is_unknown_is_an_error_and_never_zero() {
        let catalog = Catalog::builtin().unwrap();
        let error = |provider: &str, model: &str, usage| catalog.cost(provider, model, &usage, NOW_US).unwrap_err();
        for model in ["gpt-5-turbo-x", "my-gpt-5", "gpt-5-20250807-x", "unpriced", "GPT-5"] {
            assert!(matches!(error("openai", model, tokens(1, 1)), PriceError::UnknownModel { .. }), "{model}");
        }
        let unknown = Usage { input_tokens: Some(5), ..Usage::default() };
        assert_eq!(error("openai", "gpt-5", unknown), PriceError::UnknownUsage { class: "output" });
        let inconsistent = Usage { cache_read_input_tokens: Some(9), ..tokens(5, 1) };
        assert_eq!(error("openai", "gpt-5", inconsistent), PriceError::Inconsistent { class: "input" });
        let audio = Usage { audio_input_tokens: Some(2), ..tokens(5, 1) };
        assert!(matches!(error("openai", "gpt-5", audio), PriceError::UnpricedClass { class: "audio_input", .. }));
        let embedding = Usage { input_tokens: Some(1_000_000), ..Usage::default() };
        assert_eq!(catalog.cost("sandbox", "embed", &embedding, NOW_US).unwrap().cost, usd("0.02"));
    }

    #[test]
    fn an_override_replaces_a_row_and_says_so() {
        let text = "provider: openai\nsource: contract\nchecked: 2026-11-01\nmodels:\n  - id: gpt-5\n    prices:\n      - {from: 2026-01-01, input: \"1\", output: \"2\"}\n";
        let document = CatalogDocument::from_yaml("mine", text).unwrap();
        let catalog = Catalog::builtin().unwrap().with_overrides(document).unwrap();
        let priced = catalog.cost("openai", "gpt-5", &tokens(1_000_000, 1_000_000), NOW_US).unwrap();
        assert_eq!(priced, Priced { cost: usd("3"), price_id: "openai/gpt-5@2026-01-01+override".to_owned() });
        assert!(matches!(catalog.cost("openai", "gpt-5", &tokens(1, 1), 0), Err(PriceError::NotYetPriced { .. })));
    }

    #[test]
    fn a_broken_catalogue_is_refused_with_the_row_named() {
        let parse = |price: &str| {
            let text = format!(
                "provider: p\nsource: s\nchecked: 2026-11-01\nmodels:\n  - id: m\n    prices:\n      - {price}\n"
            );
            CatalogDocument::from_yaml("mine", &text).and_then(|document| Catalog::default().with_overrides(document))
        };
        assert!(matches!(parse("{from: release, input: \"-1\"}"), Err(CatalogError::Invalid { .. })));
        assert!(matches!(parse("{from: yesterday, input: \"1\"}"), Err(CatalogError::Invalid { .. })));
        assert!(matches!(parse("{from: release, inptu: \"1\"}"), Err(CatalogError::Syntax { .. })));
        assert!(matches!(parse("{from: release, input: \"1\", ouptut: \"1\"}"), Err(CatalogError::Syntax { .. })));
        assert!(parse("{from: 2026-02-29, input: \"1\"}").is_err());
    }

    #[test]
    fn halves_are_rounded_to_even() {
        assert_eq!([5, 15, 25, 14, 16, -5, -15].map(|units| round_half_even(units, 10)), [0, 2, 2, 1, 2, 0, -2]);
    }

    #[test]
    fn dates_and_days_are_inverse() {
        for days in [-719_468, -1, 0, 59, 11_016, 20_780, 100_000] {
            let (year, month, day) = civil_date(days);
            assert_eq!(days_since_1970(year, month, day), days);
        }
        assert_eq!(civil_date(20_780), (2026, 11, 23));
    }
}
