//! Prices and places of the configured providers, for back-tests.

use std::collections::HashMap;
use std::sync::Arc;

use tollgate_analytics::backtest::{Market, Whereabouts};
use tollgate_config::Config;
use tollgate_gateway::ProviderKind;
use tollgate_gateway::settings::places_of;
use tollgate_interaction::{Usage, Usd};
use tollgate_provider::Catalog;
use tollgate_provider::price::Call;

/// What calls cost, and where they go, by the configuration and a price catalogue.
pub(crate) struct ConfiguredMarket {
    catalog: Box<dyn Fn() -> Arc<Catalog> + Send + Sync>,
    providers: HashMap<String, Configured>,
}

struct Configured {
    price_list: String,
    kind: ProviderKind,
    region: Option<String>,
    whereabouts: Arc<Whereabouts>,
}

impl ConfiguredMarket {
    /// Asks `catalog` for the prices of each moment.
    pub(crate) fn new(
        config: &Config,
        catalog: impl Fn() -> Arc<Catalog> + Send + Sync + 'static,
    ) -> Arc<ConfiguredMarket> {
        let providers = config.gateway_settings([0; 32], String::new()).providers.into_iter();
        let configured = providers.map(|provider| {
            let whereabouts =
                Whereabouts { tags: provider.tags, places: provider.places, self_hosted: provider.self_hosted };
            let price_list = provider.price_as.unwrap_or_else(|| provider.kind.as_str().to_owned());
            let whereabouts = Arc::new(whereabouts);
            (provider.name, Configured { price_list, kind: provider.kind, region: provider.region, whereabouts })
        });
        Arc::new(ConfiguredMarket { catalog: Box::new(catalog), providers: configured.collect() })
    }
}

impl Market for ConfiguredMarket {
    fn cost(&self, provider: &str, model: &str, usage: &Usage, at_us: i64) -> Option<Usd> {
        let Configured { price_list, region, .. } = self.providers.get(provider)?;
        let call = Call { provider: price_list, model, region: region.as_deref(), service_tier: None, usage, at_us };
        (self.catalog)().cost(&call).ok().map(|priced| priced.cost)
    }

    fn whereabouts(&self, provider: &str, model: &str) -> Option<Arc<Whereabouts>> {
        let Configured { kind, whereabouts, .. } = self.providers.get(provider)?;
        // Of the others, no model is served elsewhere than the rest.
        if *kind != ProviderKind::Bedrock {
            return Some(Arc::clone(whereabouts));
        }
        let places = places_of(*kind, &whereabouts.places, model);
        Some(Arc::new(Whereabouts { places, ..Whereabouts::clone(whereabouts) }))
    }
}
