//! One model at one provider: what a call may cost there, what the catalogue knows of it, and how it is doing.

use std::sync::Arc;

use http::HeaderValue;
use tollgate_interaction::{Candidate, Dialect, Operation, Usd};
use tollgate_policy::residency::{Layer, Places, TargetFacts};
use tollgate_policy::route::Offer;
use tollgate_provider::price::Limits;

use super::Prices;
use crate::health::Health;
use crate::provider::Provider;

/// A model at a provider.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) provider: Arc<Provider>,
    pub(crate) model: String,
    /// `provider/model`.
    pub(crate) name: String,
    /// Where it is served, for the record.
    pub(crate) region: Option<String>,
    /// Where it is, for the policy.
    pub(crate) places: Places,
    pub(crate) health: Health,
    pub(crate) shown_as: HeaderValue,
    /// For orders and reservations: the price of a million tokens.
    pub(super) prices: Prices,
}

impl Target {
    /// How well its places are known; `None` if none of them is.
    pub(crate) fn evidence(&self) -> Option<String> {
        let is_known = Layer::ALL.iter().any(|layer| self.places.at(*layer).is_some());
        is_known.then(|| self.places.evidence.as_str().to_owned())
    }

    pub(crate) fn candidate(&self, rejected_because: Option<String>) -> Candidate {
        Candidate { provider: self.provider.name.clone(), model: self.model.clone(), rejected_because }
    }

    /// What a call may cost at most, or is likely to; zero if the price is not known.
    pub(crate) fn estimate(&self, input_tokens: u64, output_tokens: u64) -> Usd {
        const MILLION: i128 = 1_000_000;
        let (catalog, list) = (self.prices.load(), &self.provider.price_name);
        let part = |tokens: u64, price: Option<Usd>| i128::from(tokens) * price.unwrap_or(Usd::ZERO).get() / MILLION;
        let input = part(input_tokens, catalog.input_price(list, &self.model));
        Usd::new(input + part(output_tokens, catalog.output_price(list, &self.model)))
    }

    /// What the catalogue knows of its sizes.
    pub(crate) fn limits(&self) -> Limits {
        self.prices.load().limits(&self.provider.price_name, &self.model).unwrap_or_default()
    }

    /// Dollars per million tokens, input and output, as far as they are known.
    pub(crate) fn list_prices(&self) -> (Option<Usd>, Option<Usd>) {
        let (catalog, list) = (self.prices.load(), &self.provider.price_name);
        (catalog.input_price(list, &self.model), catalog.output_price(list, &self.model))
    }
}

impl Offer for Target {
    fn name(&self) -> &str {
        &self.name
    }

    fn facts(&self) -> TargetFacts<'_> {
        TargetFacts {
            provider: &self.provider.name,
            model: &self.model,
            tags: &self.provider.tags,
            places: &self.places,
            self_hosted: self.provider.self_hosted,
        }
    }

    fn has(&self, dialect: Dialect, operation: Operation) -> bool {
        self.provider.spoken(dialect, operation, &self.model).is_some()
    }

    /// The first that the catalogue knows the model not to have.
    fn lacks<'a>(&self, capabilities: &'a [String]) -> Option<&'a str> {
        let catalog = self.prices.load();
        let lacks = |capability: &&String| {
            catalog.has_capability(&self.provider.price_name, &self.model, capability) == Some(false)
        };
        capabilities.iter().find(lacks).map(String::as_str)
    }

    fn context_tokens(&self) -> Option<u64> {
        self.limits().context_tokens.map(u64::from)
    }

    /// As [`Target::estimate`]; `None` if a price that it rests on is not known.
    fn list_cost(&self, input_tokens: u64, output_tokens: u64) -> Option<Usd> {
        let (catalog, list) = (self.prices.load(), &self.provider.price_name);
        catalog.input_price(list, &self.model)?;
        Some(self.estimate(input_tokens, output_tokens))
    }
}
