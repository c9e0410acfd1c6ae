//! Routes and prices of the configuration, for back-tests.

use std::sync::Arc;

use tollgate_analytics::backtest::Market;
use tollgate_gateway::RouteBook;
use tollgate_interaction::{Usage, Usd};
use tollgate_policy::route::{Offer, Way, WhenAllRest};

/// The very table that live calls go by.
pub(crate) struct ConfiguredMarket(pub(crate) RouteBook);

impl Market for ConfiguredMarket {
    fn cost(&self, provider: &str, model: &str, usage: &Usage, at_us: i64) -> Option<Usd> {
        self.0.cost(provider, model, usage, at_us)
    }

    fn offer(&self, provider: &str, model: &str) -> Option<Arc<dyn Offer>> {
        self.0.offer(provider, model)
    }

    fn stands_for(&self, name: &str) -> Option<Way<Arc<dyn Offer>>> {
        self.0.stands_for(name)
    }

    fn when_all_rest(&self) -> WhenAllRest {
        self.0.when_all_rest()
    }
}
