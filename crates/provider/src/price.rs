//! What a call costs: token classes times the price of the model that served them, in its region and service tier, at
//! its moment. The catalogue is data with sources and dates (`catalog/*.yaml`, rules in `catalog/README.md`). A model is
//! found by its exact id, by a stated alias, or by its id plus a snapshot date where the row says so; never by what its
//! name contains. An unknown price is an error, not zero.

mod beside;
mod builtin;
mod calendar;
mod capability;
mod check;
mod diff;
mod document;
mod explain;
mod files;
mod provider;
mod rates;
mod wording;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use tollgate_interaction::{Usage, Usd};

pub use beside::{Beside, characters_to_speak};
pub(crate) use calendar::{civil_date, days_since_1970};
pub use check::{Finding, Severity, check};
pub use diff::{Change, Diff, Verdict, diff};
pub use document::{CatalogDocument, CatalogError};
pub use explain::{Explanation, Rate, Tier};
pub use files::{CatalogFile, CatalogFiles, CatalogFilesError, builtin_id};
pub use provider::FoundBy;
use provider::{Found, Miss, Model, Price, Provider};
pub use rates::Line;
use rates::{Class, Gap};

use crate::served;

/// What is priced.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Provider of the catalogue: a provider's `kind` or `price_as`, or another name its file states.
    pub provider: &'a str,
    /// As the provider sent it.
    pub model: &'a str,
    /// Where it was served, as the provider's prices name regions. `None` if it is not known.
    pub region: Option<&'a str>,
    /// As the provider sent it, or as it was asked for; `batch` for a call of a batch. `None` takes the standard price.
    pub service_tier: Option<&'a str>,
    /// What was used.
    pub usage: &'a Usage,
    /// Moment of the call. Microseconds since 1970, UTC.
    pub at_us: i64,
}

/// A cost and the row it was computed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Priced {
    /// Of all token classes together.
    pub cost: Usd,
    /// Row of the catalogue: `provider/model@date`, then its conditions if it has any
    /// (`?tier=batch&region=eu&hours=16:30-00:30`), then `+override` if it is the operator's own.
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
    /// The call is older than the first row, or at an hour that none holds for.
    #[error(
        "no price for model `{model}` at `{provider}` at the moment of the call; add an earlier row to `catalog.prices`"
    )]
    NotYetPriced {
        /// Provider, as the catalogue names it.
        provider: String,
        /// As the provider sent it.
        model: String,
    },
    /// The model has no row for the service tier, and the provider's file does not say that the tier costs the same.
    #[error(
        "no price for service tier `{tier}` of model `{model}` at `{provider}`; add a row with `service_tier` to `catalog.prices`"
    )]
    UnknownTier {
        /// Provider, as the catalogue names it.
        provider: String,
        /// As the provider sent it.
        model: String,
        /// As the provider sent it; `standard` if it sent none.
        tier: String,
    },
    /// The model has prices in other regions only.
    #[error(
        "no price for region `{region}` of model `{model}` at `{provider}`; add a row with `region` to `catalog.prices`"
    )]
    UnknownRegion {
        /// Provider, as the catalogue names it.
        provider: String,
        /// As the provider sent it.
        model: String,
        /// Of the call or of the model's name; empty if neither states one.
        region: String,
    },
    /// The provider did not say how many there were.
    #[error("the {} unknown, so there is no cost; see `usage_source`", are(class))]
    UnknownUsage {
        /// As the catalogue calls it: `input`, `output`, `audio_second`.
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

/// What of a class is counted, for a sentence.
fn are(class: &str) -> String {
    match class {
        "audio_second" => "seconds of sound are".to_owned(),
        "image" => "number of pictures is".to_owned(),
        "characters" => "characters are".to_owned(),
        class => format!("{class} tokens are"),
    }
}

/// What a model takes and gives at most, where the sources know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Tokens it reads at most, of prompt and answer together.
    pub context_tokens: Option<u32>,
    /// Tokens it writes at most.
    pub max_output_tokens: Option<u32>,
}

/// All prices in force. The files that come with the program are read when a provider is first asked for: seventy of them
/// take a tenth of a second and megabytes, and a gateway talks to a few.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    builtin: Option<Arc<[OnceLock<Provider>]>>,
    /// Files in place of those that come with the program.
    replaced: HashMap<String, Provider>,
    /// The operator's own rows; they come first.
    overrides: HashMap<String, Provider>,
}

impl Catalog {
    /// The catalogue that comes with the program.
    ///
    /// # Errors
    /// None today: a provider's file is read when it is first asked for, and a test reads them all.
    pub fn builtin() -> Result<Catalog, CatalogError> {
        let files = builtin::FILES.iter().map(|_| OnceLock::new()).collect();
        Ok(Catalog { builtin: Some(files), ..Catalog::default() })
    }

    /// The documents that come with the program, to check them or to compare an update with.
    ///
    /// # Errors
    /// [`CatalogError`] if a file is broken, which a test rules out.
    pub fn builtin_documents() -> Result<Vec<CatalogDocument>, CatalogError> {
        builtin::FILES.iter().map(|(name, text)| CatalogDocument::from_yaml(name, text)).collect()
    }

    /// The same catalogue with `documents` in place of the files of the same providers, as an update brings them.
    ///
    /// # Errors
    /// [`CatalogError`] names the row that cannot be right.
    pub fn with_documents(mut self, documents: Vec<CatalogDocument>) -> Result<Catalog, CatalogError> {
        for document in documents {
            let name = canonical(&document.provider).to_owned();
            self.replaced.insert(name, Provider::new(document, false)?);
        }
        Ok(self)
    }

    /// The name the catalogue itself uses for a provider, of whose names `provider` is one.
    #[must_use]
    pub fn provider_name(provider: &str) -> &str {
        canonical(provider)
    }

    /// The same catalogue with the operator's rows in place of those for the same provider and model.
    ///
    /// # Errors
    /// [`CatalogError`] names the row that cannot be right.
    pub fn with_overrides(mut self, document: CatalogDocument) -> Result<Catalog, CatalogError> {
        let name = canonical(&document.provider).to_owned();
        let mut added = Provider::new(document, true)?;
        if !added.rules.is_stated()
            && let Some(base) = self.base(&name)
        {
            added.rules = base.rules.clone();
        }
        match self.overrides.entry(name) {
            std::collections::hash_map::Entry::Occupied(mut known) => known.get_mut().extend(added),
            std::collections::hash_map::Entry::Vacant(place) => _ = place.insert(added),
        }
        Ok(self)
    }

    /// Providers it knows, with the number of their models. Reads all files.
    pub fn providers(&self) -> impl Iterator<Item = (&str, usize)> {
        let files = if self.builtin.is_some() { builtin::FILES.as_slice() } else { &[] };
        let own = self.replaced.keys().chain(self.overrides.keys()).map(String::as_str);
        let mut names: Vec<&str> = files.iter().map(|(name, _)| *name).chain(own).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| (name, self.models(name).count()))
    }

    /// Reads the file of a provider now, so that the first call need not wait for it; whether there is one.
    pub fn prepare(&self, provider_kind: &str) -> bool {
        self.base(canonical(provider_kind)).is_some()
    }

    /// Ids of the models of `provider_kind`, in the order of the catalogue; the operator's own last.
    pub fn models(&self, provider_kind: &str) -> impl Iterator<Item = &str> {
        let name = canonical(provider_kind);
        let base = self.base(name);
        let added = self.overrides.get(name);
        let known = base.into_iter().flat_map(Provider::ids);
        let own = added.into_iter().flat_map(Provider::ids);
        known.chain(own.filter(move |id| base.is_none_or(|base| !base.has(id))))
    }

    /// What the call costs, rounded once, half to even.
    ///
    /// # Errors
    /// [`PriceError`] says what is not known; the cost is then NULL.
    pub fn cost(&self, call: &Call<'_>) -> Result<Priced, PriceError> {
        self.cost_beside(call, &Beside::default())
    }

    /// What the call costs with what it used `beside` tokens and tools.
    ///
    /// # Errors
    /// As for [`Catalog::cost`].
    pub fn cost_beside(&self, call: &Call<'_>, beside: &Beside) -> Result<Priced, PriceError> {
        let row = self.row(call)?;
        let (rates, _) = row.price.rates_for(call.usage.input_tokens);
        let cost = rates.bill(call.usage, beside, |_| ()).map_err(|gap| row.error(gap))?;
        Ok(Priced { cost, price_id: row.id() })
    }

    /// What a call costs for which `call.model` was asked and `served` answered: by the price of the model that answered, or
    /// else, if the catalogue has none for it, of the one that was asked for.
    ///
    /// # Errors
    /// [`PriceError`] says what is not known of the model that was asked for.
    pub fn cost_as_served(&self, call: &Call<'_>, served: Option<&str>, beside: &Beside) -> Result<Priced, PriceError> {
        let cost = |model| self.cost_beside(&Call { model, ..*call }, beside);
        let by_served = served.filter(|served| *served != call.model).map(cost);
        by_served.and_then(Result::ok).map_or_else(|| cost(call.model), Ok)
    }

    /// Dollars per million ordinary input tokens by the newest row, for comparing models before a call.
    #[must_use]
    pub fn input_price(&self, provider_kind: &str, model: &str) -> Option<Usd> {
        self.newest(provider_kind, model)?.rates.get(Class::Input)
    }

    /// Dollars per million output tokens by the newest row; `None` for a model that writes none.
    #[must_use]
    pub fn output_price(&self, provider_kind: &str, model: &str) -> Option<Usd> {
        self.newest(provider_kind, model)?.rates.get(Class::Output)
    }

    /// What a model takes and gives at most; `None` if the catalogue does not know the model.
    #[must_use]
    pub fn limits(&self, provider_kind: &str, model: &str) -> Option<Limits> {
        let name = canonical(provider_kind);
        let Model { context_tokens, max_output_tokens, .. } = *self.find(name, model)?.model;
        Some(Limits { context_tokens, max_output_tokens })
    }

    /// Whether the model has what a request needs, by the rows of the catalogue or else by what its provider's documentation
    /// says that it lacks; `None` if that is not known. `capability` is one of
    /// [`crate::dialect::CAPABILITIES`].
    #[must_use]
    pub fn has_capability(&self, provider_kind: &str, model: &str, capability: &str) -> Option<bool> {
        let name = canonical(provider_kind);
        let model = self.find(name, model)?.model;
        match &model.capabilities {
            Some(known) => Some(known.iter().any(|has| **has == *capability)),
            None => capability::is_lacking(name, &model.id, capability).then_some(false),
        }
    }

    fn newest<'a>(&'a self, provider_kind: &str, model: &'a str) -> Option<&'a Price> {
        let name = canonical(provider_kind);
        let found = self.find(name, model)?;
        found.model.newest()
    }

    /// The row that applies to a call.
    fn row<'a>(&'a self, call: &Call<'a>) -> Result<Row<'a>, PriceError> {
        let provider = canonical(call.provider);
        let named = || (provider.to_owned(), call.model.to_owned());
        let Some(found) = self.find(provider, call.model) else {
            let (provider, model) = named();
            return Err(PriceError::UnknownModel { provider, model });
        };
        let price = found.row(call.region, call.service_tier, call.at_us).map_err(|miss| {
            let (provider, model) = named();
            match miss {
                Miss::Region(region) => PriceError::UnknownRegion { provider, model, region: region.to_owned() },
                Miss::Tier(tier) => PriceError::UnknownTier { provider, model, tier: tier.to_owned() },
                Miss::Moment => PriceError::NotYetPriced { provider, model },
            }
        })?;
        Ok(Row { provider, found, price })
    }

    /// `provider` is canonical. A model that the operator has named as it is called comes first; Amazon's and Google's names
    /// for one may say more than which model it is.
    fn find<'a>(&'a self, provider: &str, model: &'a str) -> Option<Found<'a>> {
        let id = match provider {
            "bedrock" => served::bedrock_id(model),
            "vertex" => served::Publisher::of(model).1,
            _ => model,
        };
        let by_id = || if id == model { None } else { self.find_exactly(provider, id) };
        self.find_exactly(provider, model).or_else(by_id)
    }

    fn find_exactly<'a>(&'a self, provider: &str, model: &'a str) -> Option<Found<'a>> {
        let own = self.overrides.get(provider).and_then(|own| own.find(model));
        own.or_else(|| self.base(provider)?.find(model))
    }

    /// The provider without the operator's rows. `provider` is canonical.
    fn base(&self, provider: &str) -> Option<&Provider> {
        if let Some(replaced) = self.replaced.get(provider) {
            return Some(replaced);
        }
        let index = builtin::FILES.binary_search_by_key(&provider, |(name, _)| name).ok()?;
        let (name, text) = builtin::FILES.get(index)?;
        let read = || CatalogDocument::from_yaml(name, text).and_then(|document| Provider::new(document, false));
        Some(self.builtin.as_ref()?.get(index)?.get_or_init(|| read().unwrap_or_default()))
    }
}

/// A row and how it was come by.
struct Row<'a> {
    provider: &'a str,
    found: Found<'a>,
    price: &'a Price,
}

impl Row<'_> {
    fn id(&self) -> String {
        self.price.id(self.provider, &self.found.model.id, self.found.provider.is_override)
    }

    fn error(&self, gap: Gap) -> PriceError {
        match gap {
            Gap::Unknown(class) => PriceError::UnknownUsage { class: class.name() },
            Gap::Unpriced(class) => PriceError::UnpricedClass { price_id: self.id(), class: class.name() },
            Gap::Inconsistent(class) => PriceError::Inconsistent { class: class.name() },
        }
    }
}

/// The name of the file for a name of the provider.
fn canonical(provider: &str) -> &str {
    let known = builtin::NAMES.binary_search_by_key(&provider, |(name, _)| name).ok();
    let file = known.and_then(|at| builtin::FILES.get(builtin::NAMES[at].1));
    file.map_or(provider, |(name, _)| name)
}

#[cfg(test)]
mod tests;
