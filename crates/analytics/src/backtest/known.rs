//! What the configuration says, as far as the calls of one batch ask for it: each target and each name is looked up once.

use std::collections::HashMap;
use std::sync::Arc;

use tollgate_interaction::{Dialect, Operation, Usd};
use tollgate_policy::residency::{Places, TargetFacts};
use tollgate_policy::route::{Offer, Way};

use super::Market;

/// A model at a provider.
pub(super) type Target = Arc<dyn Offer>;

/// Answers of the configuration.
pub(super) struct Known {
    market: Arc<dyn Market>,
    targets: HashMap<String, HashMap<String, Target>>,
    names: HashMap<String, Option<Arc<Way<Target>>>>,
}

/// A target of the log whose provider is not configured any more: its places are not known, and what it could do is what
/// the row says.
#[derive(Debug)]
struct Gone {
    name: String,
    provider: String,
    model: String,
    places: Places,
}

impl Known {
    pub(super) fn new(market: &Arc<dyn Market>) -> Known {
        Known { market: Arc::clone(market), targets: HashMap::new(), names: HashMap::new() }
    }

    /// A target that a row names.
    pub(super) fn target(&mut self, provider: &str, model: &str) -> Target {
        if let Some(known) = self.targets.get(provider).and_then(|models| models.get(model)) {
            return Arc::clone(known);
        }
        let gone = || -> Target {
            let (provider, model) = (provider.to_owned(), model.to_owned());
            Arc::new(Gone { name: format!("{provider}/{model}"), provider, model, places: Places::default() })
        };
        let target = self.market.offer(provider, model).unwrap_or_else(gone);
        self.targets.entry(provider.to_owned()).or_default().insert(model.to_owned(), Arc::clone(&target));
        target
    }

    /// What callers reach who write `name` as the model, if no bundle says otherwise.
    pub(super) fn way(&mut self, name: &str) -> Option<Arc<Way<Target>>> {
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        let way = self.market.stands_for(name).map(Arc::new);
        self.names.insert(name.to_owned(), way.clone());
        way
    }
}

impl Offer for Gone {
    fn name(&self) -> &str {
        &self.name
    }
    fn facts(&self) -> TargetFacts<'_> {
        let Gone { provider, model, places, .. } = self;
        TargetFacts { provider, model, tags: &[], places, self_hosted: false }
    }
    fn has(&self, _: Dialect, _: Operation) -> bool {
        true
    }
    fn lacks<'a>(&self, _: &'a [String]) -> Option<&'a str> {
        None
    }
    fn context_tokens(&self) -> Option<u64> {
        None
    }
    fn list_cost(&self, _: u64, _: u64) -> Option<Usd> {
        None
    }
}
