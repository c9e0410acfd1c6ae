//! Where a call can go: the configured providers, the targets that a model's name stands for, and the order in which they
//! are tried. A name that stands for nothing is refused with the nearest one that does. Nothing here talks to a provider.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use http::HeaderValue;
use parking_lot::RwLock;
use tollgate_interaction::{Candidate, Dialect, Operation, Usd};
use tollgate_policy::Prefer;
use tollgate_policy::residency::{Places, TargetFacts};
use tollgate_policy::signals::SignalsSnapshot;
use tollgate_provider::preset::Presets;
use tollgate_provider::translate::OnUnsupported;
use tollgate_provider::{Catalog, ModelEntry};

use crate::admission::Admitted;
use crate::error::{CallError, OPERATION_NOT_SUPPORTED};
use crate::health::Health;
use crate::jwt::JwtError;
use crate::provider::Provider;
use crate::residency::Exclusion;
use crate::settings::{AckMode, GatewaySettings, ModelRoute, OnDisconnect, Strategy};
use crate::token::GrantError;
use crate::upstream::{Connector, TlsError};

/// Targets of providers that serve any name, remembered after their first use.
const MAX_REMEMBERED: usize = 4_096;
/// Longest name of a model.
const MAX_MODEL_BYTES: usize = 256;

/// The price catalogue in force, which an update replaces.
pub(crate) type Prices = Arc<ArcSwap<Catalog>>;

/// Why the settings make no gateway.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// Two providers have one name.
    #[error("provider `{name}` is configured twice; give each its own name")]
    DuplicateProvider {
        /// The name.
        name: String,
    },
    /// A name with a slash could not be told from a model.
    #[error("provider name `{name}` is empty or holds a `/`; choose another")]
    ProviderName {
        /// The name.
        name: String,
    },
    /// A URL that leads nowhere.
    #[error(
        "`{url}`, the `base_url` of provider `{provider}`, is not an http or https URL; write such as `https://api.openai.com/v1`"
    )]
    BaseUrl {
        /// The provider.
        provider: String,
        /// As configured.
        url: String,
    },
    /// Amazon is called in a region, and nobody guesses which.
    #[error(
        "provider `{provider}` is Amazon Bedrock and has no `region`; name the one to call, such as `eu-central-1`"
    )]
    Region {
        /// The provider.
        provider: String,
    },
    /// Vertex AI is called in a project and a region.
    #[error(
        "provider `{provider}` is Google Vertex AI and has no `project` or no `region`; name both, such as `region: europe-west4` or `global`"
    )]
    Project {
        /// The provider.
        provider: String,
    },
    /// A source of access tokens that is none.
    #[error("provider `{provider}` cannot get access tokens; the cause says why")]
    Token {
        /// The provider.
        provider: String,
        /// What is wrong.
        source: GrantError,
    },
    /// A key that cannot stand in a header.
    #[error(
        "the `api_key` of provider `{provider}` holds characters that no header may hold; check it for line breaks"
    )]
    ApiKey {
        /// The provider.
        provider: String,
    },
    /// An alias without targets.
    #[error("model `{alias}` has no targets; name at least one as `provider/model`")]
    NoTargets {
        /// The alias.
        alias: String,
    },
    /// A target that no provider serves.
    #[error("model `{alias}` names target `{target}`, which no configured provider serves; {hint}")]
    UnknownTarget {
        /// The alias.
        alias: String,
        /// As configured.
        target: String,
        /// What may have been meant.
        hint: String,
    },
    /// TLS could not be set up.
    #[error("the way to the providers cannot be set up")]
    Tls(#[from] TlsError),
    /// An issuer of tokens makes no sense.
    #[error(transparent)]
    Jwt(#[from] JwtError),
}

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
    prices: Prices,
}

/// What a model's name stands for.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The alias, if it is one.
    pub(crate) alias: Option<String>,
    pub(crate) targets: Vec<Arc<Target>>,
    strategy: Strategy,
    /// When a call's record counts as safe, if the alias has its own way.
    pub(crate) ack: Option<AckMode>,
    /// What becomes of fields that the provider's format cannot express.
    pub(crate) on_unsupported: OnUnsupported,
    /// What becomes of the upstream call when the caller hangs up, if the alias has its own way.
    pub(crate) on_disconnect: Option<OnDisconnect>,
    turn: AtomicUsize,
}

/// Targets in the order to try them.
pub(crate) struct Ordered {
    pub(crate) targets: Vec<Arc<Target>>,
    /// All of them for the record, those left out with why-not.
    pub(crate) candidates: Vec<Candidate>,
    /// Provider of the first target, if all were left out because none has the operation.
    pub(crate) unable: Option<String>,
    /// The targets that policy leaves out, by name, if no other is there.
    pub(crate) barred: Vec<(String, Exclusion)>,
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
}

impl RouteTable {
    /// # Errors
    /// [`RouteError`] names the setting that makes no sense.
    pub(crate) fn new(settings: &GatewaySettings, prices: Prices) -> Result<Self, RouteError> {
        let connector = Connector::new()?;
        let mut table = RouteTable {
            providers: HashMap::new(),
            known: HashMap::new(),
            whole_providers: BTreeMap::new(),
            remembered: RwLock::default(),
            listed: Vec::new(),
            prices,
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
        for route in &settings.models {
            table.add_alias(route)?;
        }
        Ok(table)
    }

    /// What callers may write as the model, as far as it can be listed.
    pub(crate) fn listed(&self) -> &[ModelEntry] {
        &self.listed
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
    fn resolve_unlisted(&self, model: &str) -> Option<Arc<Resolved>> {
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

    fn add_alias(&mut self, route: &ModelRoute) -> Result<(), RouteError> {
        let mut targets = Vec::with_capacity(route.targets.len());
        for target in &route.targets {
            let found = self.known.get(target).cloned().or_else(|| self.resolve_unlisted(target)).ok_or_else(|| {
                let (alias, target) = (route.alias.clone(), target.clone());
                RouteError::UnknownTarget { hint: self.hint(&target), alias, target }
            })?;
            targets.extend(found.targets.iter().cloned());
        }
        if targets.is_empty() {
            return Err(RouteError::NoTargets { alias: route.alias.clone() });
        }
        let resolved = Resolved {
            alias: Some(route.alias.clone()),
            targets,
            strategy: route.strategy,
            ack: route.ack,
            on_unsupported: route.on_unsupported,
            on_disconnect: route.on_disconnect,
            turn: AtomicUsize::default(),
        };
        self.known.insert(route.alias.clone(), Arc::new(resolved));
        self.listed.push(ModelEntry { id: route.alias.clone(), owned_by: "tollgate".into(), created_at_s: 0 });
        Ok(())
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

    fn target(&self, provider: &Arc<Provider>, model: &str) -> Target {
        Target {
            model: model.to_owned(),
            name: if model.is_empty() { provider.name.clone() } else { format!("{}/{model}", provider.name) },
            region: provider.region_of(model),
            places: provider.places_of(model),
            health: Health::default(),
            shown_as: HeaderValue::from_str(model).unwrap_or(HeaderValue::from_static("?")),
            prices: Arc::clone(&self.prices),
            provider: Arc::clone(provider),
        }
    }

    /// What may have been meant. `model` is short: comparing it with every name takes time in its length.
    fn hint(&self, model: &str) -> String {
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
    fn single(target: Arc<Target>) -> Self {
        Resolved {
            alias: None,
            targets: vec![target],
            strategy: Strategy::Fallback,
            ack: None,
            on_unsupported: OnUnsupported::default(),
            on_disconnect: None,
            turn: AtomicUsize::default(),
        }
    }

    /// The targets in the order to try them, and that order for the record with why-not of those left out. `excluded` says
    /// of each whether policy leaves it out.
    pub(crate) fn order(
        &self,
        dialect: Dialect,
        operation: Operation,
        admitted: &Admitted,
        excluded: impl Fn(&Target) -> Option<Exclusion>,
    ) -> Ordered {
        let Admitted { prefer, signals, now_us, .. } = admitted;
        let mut ready: Vec<Arc<Target>> = Vec::with_capacity(self.targets.len());
        let mut unable = None;
        let mut left_out = Vec::new();
        let mut barred = Vec::new();
        for target in &self.targets {
            if !target.has(dialect, operation) {
                left_out.push(target.candidate(Some(OPERATION_NOT_SUPPORTED.to_owned())));
                unable.get_or_insert_with(|| target.provider.name.clone());
            } else if let Some(exclusion) = excluded(target) {
                left_out.push(target.candidate(Some(exclusion.why_not())));
                barred.push((target.name.clone(), exclusion));
            } else {
                ready.push(Arc::clone(target));
            }
        }
        if ready.len() > 1 {
            self.sort(&mut ready, prefer.as_ref(), signals, *now_us);
        }
        let mut candidates = Vec::with_capacity(self.targets.len());
        candidates.extend(ready.iter().map(|target| target.candidate(None)));
        candidates.append(&mut left_out);
        barred.retain(|_| ready.is_empty());
        let unable = unable.filter(|_| ready.is_empty() && barred.is_empty());
        Ordered { targets: ready, candidates, unable, barred }
    }

    fn sort(&self, ready: &mut [Arc<Target>], prefer: Option<&Prefer>, signals: &SignalsSnapshot, now_us: i64) {
        match self.strategy {
            Strategy::Fallback => {}
            Strategy::RoundRobin => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed) % ready.len().max(1);
                ready.rotate_left(turn);
            }
            Strategy::Cheapest => ready.sort_by_cached_key(|target| target.price_order()),
            Strategy::Fastest => ready.sort_by_key(|target| {
                signals.targets.get(&target.name).filter(|seen| seen.calls > 0).map_or(u64::MAX, |seen| seen.p50_ms)
            }),
        }
        match prefer {
            Some(Prefer::Cheapest) => ready.sort_by_cached_key(|target| target.price_order()),
            Some(Prefer::Tag(tag)) => ready.sort_by_key(|target| !target.provider.tags.contains(tag)),
            None => {}
        }
        ready.sort_by_key(|target| target.health.is_resting(now_us));
    }
}

impl Target {
    /// As policy sees it.
    pub(crate) fn facts(&self) -> TargetFacts<'_> {
        TargetFacts {
            provider: &self.provider.name,
            model: &self.model,
            tags: &self.provider.tags,
            places: &self.places,
            self_hosted: self.provider.self_hosted,
        }
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

    /// Whether its provider can serve callers of `dialect` with an operation.
    fn has(&self, dialect: Dialect, operation: Operation) -> bool {
        self.provider.spoken(dialect, operation, &self.model).is_some()
    }

    fn price_order(&self) -> (bool, Usd) {
        let input_price = self.prices.load().input_price(&self.provider.price_name, &self.model);
        (input_price.is_none(), input_price.unwrap_or(Usd::ZERO))
    }
}
