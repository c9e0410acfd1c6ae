//! Where a call can go: the configured providers, the targets that a model's name stands for, and the order in which they
//! are tried. A name that stands for nothing is refused with the nearest one that does. Nothing here talks to a provider.

mod aliases;
mod book;
mod candidates;
mod error;
mod plan;
mod target;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arc_swap::{ArcSwap, ArcSwapOption};
use http::HeaderValue;
use parking_lot::RwLock;
use tollgate_interaction::{Dialect, Operation, Share};
use tollgate_policy::Bundle;
use tollgate_policy::route::{Conduct, Offer as _};
use tollgate_provider::preset::Presets;
use tollgate_provider::translate::OnUnsupported;
use tollgate_provider::{Catalog, ModelEntry};

pub use book::RouteBook;
pub(crate) use candidates::{Asking, Ordered, why_not};
pub use error::RouteError;
pub(crate) use plan::Course;
pub(crate) use target::Target;

use crate::error::CallError;
use crate::health::{Breaker, Health};
use crate::provider::Provider;
use crate::settings::{AckMode, GatewaySettings, OnDisconnect};
use crate::upstream::Connector;

/// Targets of providers that serve any name, remembered after their first use.
const MAX_REMEMBERED: usize = 4_096;
/// Longest name of a model.
const MAX_MODEL_BYTES: usize = 256;

/// The price catalogue in force, which an update replaces.
pub(crate) type Prices = Arc<ArcSwap<Catalog>>;

/// What a model's name stands for.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The alias, if it is one.
    pub(crate) alias: Option<String>,
    /// The route of the bundle, if it is one.
    pub(crate) rule: Option<String>,
    pub(crate) targets: Vec<Arc<Target>>,
    /// Of the targets, for the strategy that goes by them.
    pub(crate) weights: Vec<u32>,
    /// Targets of a bundle's route that nobody here serves.
    pub(crate) unknown: Vec<String>,
    /// How its calls are conducted.
    pub(crate) conduct: Conduct,
    /// Where a share of its calls is copied to.
    pub(crate) shadow: Option<(Arc<Target>, Share)>,
    /// When a call's record counts as safe, if the alias has its own way.
    pub(crate) ack: Option<AckMode>,
    /// What becomes of fields that the provider's format cannot express.
    pub(crate) on_unsupported: OnUnsupported,
    /// What becomes of the upstream call when the caller hangs up, if the alias has its own way.
    pub(crate) on_disconnect: Option<OnDisconnect>,
    pub(crate) turn: AtomicUsize,
}

/// Everything a name can stand for.
#[derive(Debug)]
pub(crate) struct RouteTable {
    providers: HashMap<String, Arc<Provider>>,
    known: HashMap<String, Arc<Resolved>>,
    /// What a call without a model goes to, by provider.
    whole_providers: BTreeMap<String, Arc<Resolved>>,
    /// Targets of providers that list no models.
    remembered: RwLock<HashMap<String, Arc<Resolved>>>,
    listed: Vec<ModelEntry>,
    prices: Prices,
    breaker: Breaker,
    /// What the routes of the active bundle come to.
    of_bundle: ArcSwapOption<plan::BundleRoutes>,
}

impl RouteTable {
    /// # Errors
    /// [`RouteError`] names the setting that makes no sense.
    pub(crate) fn new(settings: &GatewaySettings, prices: Prices) -> Result<Self, RouteError> {
        let connector = Connector::new(None)?;
        let mut table = RouteTable {
            providers: HashMap::new(),
            known: HashMap::new(),
            whole_providers: BTreeMap::new(),
            remembered: RwLock::default(),
            listed: Vec::new(),
            prices,
            breaker: settings.breaker,
            of_bundle: ArcSwapOption::empty(),
        };
        for provider in &settings.providers {
            let built = Arc::new(Provider::new(provider, settings, &connector)?);
            let whole = Arc::new(Resolved::single(Arc::new(table.target(&built, ""))));
            table.whole_providers.insert(provider.name.clone(), whole);
            if table.providers.insert(provider.name.clone(), built).is_some() {
                return Err(RouteError::DuplicateProvider { name: provider.name.clone() });
            }
        }
        table.prepare(&table.prices.load());
        table.add_listed_models(settings);
        table.add_aliases(&settings.models)?;
        Ok(table)
    }

    /// What callers may write as the model, as far as it can be listed, with the aliases that only the bundle has.
    pub(crate) fn listed(&self, bundle: &Bundle) -> Cow<'_, [ModelEntry]> {
        let mut listed = Cow::Borrowed(self.listed.as_slice());
        for route in bundle.routes() {
            if !listed.iter().any(|known| known.id == route.alias) {
                let (id, owned_by) = (route.alias.clone(), "tollgate".to_owned());
                listed.to_mut().push(ModelEntry { id, owned_by, created_at_s: 0 });
            }
        }
        listed
    }

    /// Every name that is known without being asked for, and what it stands for.
    pub(crate) fn configured(&self) -> impl Iterator<Item = (&String, &Arc<Resolved>)> {
        self.known.iter()
    }

    /// Models that callers named as `provider/model` where the provider lists none, by name.
    pub(crate) fn named_by_callers(&self) -> BTreeMap<String, Arc<Resolved>> {
        self.remembered.read().iter().map(|(name, resolved)| (name.clone(), Arc::clone(resolved))).collect()
    }

    /// Whether there is any provider at all.
    pub(crate) fn has_providers(&self) -> bool {
        !self.providers.is_empty()
    }

    /// Finds what `model` stands for.
    ///
    /// # Errors
    /// [`CallError::ModelUnknown`] with the nearest name.
    pub(crate) fn resolve(&self, model: &str) -> Result<Arc<Resolved>, CallError> {
        if let Some(known) = self.known.get(model) {
            return Ok(known.clone());
        }
        if let Some(known) = self.remembered.read().get(model) {
            return Ok(known.clone());
        }
        self.resolve_unlisted(model).ok_or_else(|| self.unknown(model))
    }

    /// Finds the provider of a call that names no model: the one called `name`, or else the only one that has the
    /// operation. The sandbox counts only where no other has it.
    ///
    /// # Errors
    /// [`CallError`] names those there are.
    pub(crate) fn without_model(
        &self,
        name: Option<&str>,
        dialect: Dialect,
        operation: Operation,
    ) -> Result<Arc<Resolved>, CallError> {
        if let Some(name) = name {
            return self.whole_providers.get(name).cloned().ok_or_else(|| {
                let (provider, hint) = (name.to_owned(), self.hint_at_able(dialect, operation));
                CallError::ProviderUnknown { provider, hint }
            });
        }
        let able = self.able(dialect, operation);
        let is_real = |whole: &&Arc<Resolved>| whole.targets.iter().any(|target| target.provider.pool.is_some());
        let real: Vec<&Arc<Resolved>> = able.iter().copied().filter(is_real).collect();
        match if real.is_empty() { able } else { real }.as_slice() {
            [only] => Ok(Arc::clone(only)),
            [] => Err(CallError::NoProvider {
                operation: operation.as_str(),
                hint: self.hint_at_able(dialect, operation),
            }),
            several => {
                Err(CallError::ProviderAmbiguous { operation: operation.as_str(), able: names(several).join(", ") })
            }
        }
    }

    /// The refusal of an operation that the provider of a model does not have.
    pub(crate) fn unable(&self, provider: &str, dialect: Dialect, operation: Operation) -> CallError {
        let hint = self.hint_at_able(dialect, operation);
        CallError::OperationNotSupported { provider: provider.to_owned(), operation: operation.as_str(), hint }
    }

    /// Which providers have an operation for callers of `dialect`, in a sentence.
    fn hint_at_able(&self, dialect: Dialect, operation: Operation) -> String {
        match names(&self.able(dialect, operation)).as_slice() {
            [] => "none that is configured has it: add one under `providers`".to_owned(),
            [only] => format!("{only} has it"),
            several => format!("those that have it are {}", several.join(", ")),
        }
    }

    /// The providers that have an operation for callers of `dialect`.
    fn able(&self, dialect: Dialect, operation: Operation) -> Vec<&Arc<Resolved>> {
        let has_it = |whole: &&Arc<Resolved>| whole.targets.iter().any(|target| target.has(dialect, operation));
        self.whole_providers.values().filter(has_it).collect()
    }

    /// The refusal of a name that stands for nothing.
    pub(crate) fn unknown(&self, model: &str) -> CallError {
        let model: String = model.chars().take(MAX_MODEL_BYTES).collect();
        CallError::ModelUnknown { hint: self.hint(&model), model }
    }

    /// `provider/anything`, where the provider lists no models.
    pub(crate) fn resolve_unlisted(&self, model: &str) -> Option<Arc<Resolved>> {
        let (provider, name) = model.split_once('/')?;
        let provider = self.providers.get(provider).filter(|provider| provider.models.is_none())?;
        if name.is_empty() || model.len() > MAX_MODEL_BYTES || name.chars().any(char::is_control) {
            return None;
        }
        let resolved = Arc::new(Resolved::single(Arc::new(self.target(provider, name))));
        let mut remembered = self.remembered.write();
        if remembered.len() < MAX_REMEMBERED {
            return Some(remembered.entry(model.to_owned()).or_insert(resolved).clone());
        }
        Some(resolved)
    }

    fn add_listed_models(&mut self, settings: &GatewaySettings) {
        let mut served_by: HashMap<&str, Vec<Arc<Target>>> = HashMap::new();
        for provider in settings.providers.iter().filter_map(|settings| self.providers.get(&settings.name)) {
            let provider = Arc::clone(provider);
            for model in settings
                .providers
                .iter()
                .filter(|settings| settings.name == provider.name)
                .flat_map(|settings| settings.models.iter().flatten())
            {
                let target = Arc::new(self.target(&provider, model));
                self.listed.push(ModelEntry {
                    id: target.name.clone(),
                    owned_by: provider.name.clone(),
                    created_at_s: 0,
                });
                self.known.insert(target.name.clone(), Arc::new(Resolved::single(Arc::clone(&target))));
                served_by.entry(model).or_default().push(target);
            }
        }
        // A bare name is enough where it can mean one thing only.
        for (model, targets) in served_by {
            if let ([target], false) = (targets.as_slice(), self.known.contains_key(model)) {
                self.known.insert(model.to_owned(), Arc::new(Resolved::single(Arc::clone(target))));
            }
        }
    }

    /// Reads the prices of every provider, which takes milliseconds that no call should pay.
    pub(crate) fn prepare(&self, catalog: &Catalog) {
        for provider in self.providers.values() {
            catalog.prepare(&provider.price_name);
        }
    }

    /// Under which name the price catalogue knows each provider, by the provider's own name.
    pub(crate) fn price_names(&self) -> BTreeMap<String, String> {
        self.providers.iter().map(|(name, provider)| (name.clone(), provider.price_name.clone())).collect()
    }

    pub(crate) fn target(&self, provider: &Arc<Provider>, model: &str) -> Target {
        Target {
            model: model.to_owned(),
            name: if model.is_empty() { provider.name.clone() } else { format!("{}/{model}", provider.name) },
            region: provider.region_of(model),
            places: provider.places_of(model),
            health: Health::new(self.breaker),
            shown_as: HeaderValue::from_str(model).unwrap_or(HeaderValue::from_static("?")),
            prices: Arc::clone(&self.prices),
            provider: Arc::clone(provider),
        }
    }

    /// What may have been meant. `model` is short: comparing it with every name takes time in its length.
    pub(crate) fn hint(&self, model: &str) -> String {
        const MAX_NAMED: usize = 12;
        let nearest = self.known.keys().map(|name| (strsim::levenshtein(name, model), name)).min();
        let mut hint = match nearest {
            Some((steps, name)) if steps <= model.chars().count().max(3) / 3 => format!("did you mean `{name}`? "),
            _ => self.hint_at_provider(model).unwrap_or_default(),
        };
        let open = self.providers.values().filter(|provider| provider.models.is_none());
        let mut open: Vec<String> = open.map(|provider| format!("`{}/…`", provider.name)).collect();
        open.sort_unstable();
        let listed = self.listed.iter().take(MAX_NAMED).map(|model| format!("`{}`", model.id));
        let named: Vec<String> = listed.chain(open).collect();
        if named.is_empty() {
            hint.push_str("no provider is configured; add one under `providers`");
            return hint;
        }
        hint.push_str("known are ");
        hint.push_str(&named.join(", "));
        if self.listed.len() > MAX_NAMED {
            hint.push_str(&format!(" and {} more (`GET /v1/models`)", self.listed.len() - MAX_NAMED));
        }
        hint
    }

    /// What to do about a provider that is not there.
    fn hint_at_provider(&self, model: &str) -> Option<String> {
        let (provider, _) = model.split_once('/')?;
        let is_listed = self.known.keys().any(|name| name.split('/').next() == Some(provider));
        if is_listed || self.providers.contains_key(provider) {
            return None;
        }
        let preset = Presets::builtin().find(provider);
        let how = match preset.map(|preset| (&preset.name, &preset.key)) {
            Some((name, Some(key))) => format!("`{name}: {{}}` is enough with {key} in the gateway's environment"),
            Some((name, None)) => format!("`{name}: {{}}` is enough"),
            None => "`openai` and `anthropic` need no more than OPENAI_API_KEY or ANTHROPIC_API_KEY in the gateway's \
                     environment"
                .to_owned(),
        };
        Some(format!("no provider `{provider}` is configured: add it under `providers` ({how}); "))
    }
}

/// The names of whole providers, for people.
fn names(wholes: &[&Arc<Resolved>]) -> Vec<String> {
    let targets = wholes.iter().flat_map(|whole| whole.targets.first());
    targets.map(|target| format!("`{}`", target.provider.name)).collect()
}

impl Resolved {
    /// Its targets and their weights.
    pub(crate) fn parts(&self) -> (&[Arc<Target>], &[u32]) {
        (&self.targets, &self.weights)
    }

    fn single(target: Arc<Target>) -> Self {
        Resolved {
            alias: None,
            rule: None,
            targets: vec![target],
            weights: vec![1],
            unknown: Vec::new(),
            conduct: Conduct::default(),
            shadow: None,
            ack: None,
            on_unsupported: OnUnsupported::default(),
            on_disconnect: None,
            turn: AtomicUsize::default(),
        }
    }
}
