//! Where calls can go, and for what price, for whoever asks about calls that are not made: a back-test lays out the calls of
//! the past by the very table that live calls go by.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tollgate_interaction::{Usage, Usd};
use tollgate_policy::route::{Layout, Offer, Way, WhenAllRest};
use tollgate_provider::Catalog;
use tollgate_provider::price::Call;

use super::{Prices, Resolved, RouteError, RouteTable};
use crate::settings::GatewaySettings;

/// The routes of a configuration, and the prices in force. Asking it calls nobody.
#[derive(Clone, Debug)]
pub struct RouteBook {
    routes: Arc<RouteTable>,
    prices: Prices,
    when_all_rest: WhenAllRest,
}

impl RouteBook {
    /// The routes of a configuration of which no gateway runs.
    ///
    /// # Errors
    /// [`RouteError`] if its providers and models make no sense.
    pub fn new(settings: &GatewaySettings, catalog: Arc<Catalog>) -> Result<RouteBook, RouteError> {
        let prices: Prices = Arc::new(ArcSwap::new(catalog));
        let routes = Arc::new(RouteTable::new(settings, Arc::clone(&prices))?);
        Ok(RouteBook::of(routes, prices, settings.when_all_rest))
    }

    pub(crate) fn of(routes: Arc<RouteTable>, prices: Prices, when_all_rest: WhenAllRest) -> RouteBook {
        RouteBook { routes, prices, when_all_rest }
    }

    /// What callers reach who write `name` as the model, if no bundle says otherwise; `None` if that is nothing.
    #[must_use]
    pub fn stands_for(&self, name: &str) -> Option<Way<Arc<dyn Offer>>> {
        let known: Arc<Resolved> = self.routes.resolve(name).ok()?;
        let (targets, weights) = known.parts();
        let targets = targets.iter().map(|target| Arc::clone(target) as Arc<dyn Offer>).collect();
        let layout = Layout { targets, weights: weights.to_vec(), unknown: known.unknown.clone() };
        Some(Way { layout, conduct: known.conduct.clone() })
    }

    /// A model at a provider, whether or not it is listed; `None` if the provider is not configured.
    #[must_use]
    pub fn offer(&self, provider: &str, model: &str) -> Option<Arc<dyn Offer>> {
        let provider = self.routes.providers.get(provider)?;
        Some(Arc::new(self.routes.target(provider, model)))
    }

    /// What is done when every target of a route rests that does not say.
    #[must_use]
    pub fn when_all_rest(&self) -> WhenAllRest {
        self.when_all_rest
    }

    /// What `usage` costs at a target at a time (microseconds since 1970, UTC), by the catalogue in force; `None` if the
    /// provider is not configured or a price is not known.
    #[must_use]
    pub fn cost(&self, provider: &str, model: &str, usage: &Usage, at_us: i64) -> Option<Usd> {
        let provider = self.routes.providers.get(provider)?;
        let (list, region) = (provider.price_name.as_str(), provider.region.as_deref());
        let call = Call { provider: list, model, region, service_tier: None, usage, at_us };
        self.prices.load().cost(&call).ok().map(|priced| priced.cost)
    }
}
