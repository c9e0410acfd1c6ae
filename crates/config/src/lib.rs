//! One YAML file configures everything; without it the defaults work. It is read, expanded from the environment and
//! checked as a whole before any port is bound, and a mistake is reported with its line and column.
//!
//! Both binaries read the same file; a sidecar ignores what only the all-in-one has. The types here are the file as
//! written; [`Config::gateway_settings`] and [`Config::store_options`] make of them what the parts take.

mod auth;
mod cache;
mod classifier;
mod confidential;
mod control;
mod gateway;
mod known;
mod ledger;
mod log;
mod model;
mod places;
mod priced;
mod prices;
mod provider;
mod remarks;
mod routing;
mod server;
mod shown;
mod targets;
mod witness;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};
use tollgate_policy::bundle::BundleError as SourceError;
use tollgate_provider::preset::Presets;

pub use auth::{Auth, Claims, Jwt, Oidc, OidcReach, OneOrMore, ROLES};
pub use cache::Cache;
pub use classifier::{Classifier, ScoresWritten};
pub use confidential::Confidential;
pub use control::Control;
pub use ledger::{Alerts, LedgerDown, Webhook};
pub use log::{Acknowledge, Azure, Gcs, Log, OnFull, Retention, S3};
pub use model::{Model, WeightedTarget};
pub use places::PlacesWritten;
pub use prices::{PRICES_FILE, PriceBook, PriceSettings, PricesError, keep_prices, kept_prices, read_prices};
pub use provider::{AwsCredentials, EntraCredentials, GoogleCredentials, Provider, ProviderDialect};
pub use routing::{BreakerWritten, Routing};
pub use server::Server;
pub use targets::ConfiguredTarget;
pub use witness::Witness;

/// The configuration file.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the servers listen and what they accept.
    pub server: Server,
    /// The log: where it is kept and how safe a call must be before it is answered.
    pub log: Log,
    /// SQL database of keys, users and policies: `sqlite:PATH` or `postgres://…`. Default: `meta.db` in the data
    /// directory.
    #[schemars(with = "Option<String>")]
    pub metastore: Option<Spanned<String>>,
    /// Model providers by name. Default: those whose usual environment variables are set, and `sandbox`.
    #[serde(deserialize_with = "provider::read")]
    #[schemars(with = "BTreeMap<String, Provider>")]
    pub providers: BTreeMap<String, Provider>,
    /// Model aliases by name.
    pub models: BTreeMap<String, Model>,
    /// Routing, as far as it is the same for every alias.
    pub routing: Routing,
    /// Where answers are kept for aliases and routes that want them given again.
    pub cache: Cache,
    /// Policy bundle, a path relative to this file. Default: the built-in bundle.
    #[schemars(with = "Option<String>")]
    pub policies: Option<Spanned<String>>,
    /// Prices beside those that come with the program.
    pub catalog: PriceSettings,
    /// Who may come in beside those with a key, a link or a token of ours.
    pub auth: Auth,
    /// Where a sidecar gets its keys, policy and signals from.
    pub control: Control,
    /// How several gateways keep their budgets and limits together: on a Redis or Valkey server, `redis://HOST:PORT/DB` or, with
    /// TLS, `rediss://HOST:PORT/DB`; or, for a sidecar, `leases`, by slices that its control plane lends it. Default: each
    /// gateway keeps them for itself. `${NAME}` takes it from the environment.
    #[schemars(with = "Option<String>")]
    pub ledger: Option<Confidential>,
    /// PEM file with the certificates of authorities that are believed about a `rediss://` server beside the usual ones; a path
    /// relative to this file.
    #[schemars(with = "Option<String>")]
    pub ledger_ca_file: Option<Spanned<String>>,
    /// What becomes of calls that budgets or limits are about while that server, or what lends, does not answer.
    pub on_ledger_down: LedgerDown,
    /// Who is told when a budget is reached.
    pub alerts: Alerts,
    /// The model behind `injection.onnx` in a bundle. Default: none.
    pub classifier: Option<Classifier>,
    /// What `tollgate witness` listens on and cosigns.
    pub witness: Witness,
    /// Issuers of tokens as the gateway takes them, their files of keys read.
    #[serde(skip)]
    #[schemars(skip)]
    pub issuers: Vec<tollgate_gateway::JwtIssuer>,
    /// The text of `ledger_ca_file`.
    #[serde(skip)]
    #[schemars(skip)]
    pub ledger_authorities: Option<String>,
    /// Where the file stands; relative paths in it start there.
    #[serde(skip)]
    #[schemars(skip)]
    pub folder: PathBuf,
    /// The file, for messages; `None` if there is none.
    #[serde(skip)]
    #[schemars(skip)]
    pub file: Option<PathBuf>,
}

/// Why the configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file `{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file holds a mistake.
    #[error("{}:{source}", path.display())]
    Mistake {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: SourceError,
    },
    /// There is no file, and the environment holds a mistake.
    #[error("the environment's variables make no configuration: {0}")]
    Environment(SourceError),
}

impl Config {
    /// Reads and checks a file, or makes the defaults if there is none.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, the line and the column.
    pub fn load(path: Option<&Path>) -> Result<Config, ConfigError> {
        let Some(path) = path else {
            let mut config = Config { folder: PathBuf::from("."), ..Config::default() };
            let environment = |name: &str| std::env::var(name).ok();
            config.add_default_providers(Presets::builtin(), environment);
            let completed = config.complete_providers(Presets::builtin(), &environment);
            return completed.map(|()| config).map_err(ConfigError::Environment);
        };
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_path_buf(), source })?;
        let folder = path.parent().unwrap_or(Path::new(".")).to_path_buf();
        let mut config = Config::parse(&text, folder, |name| std::env::var(name).ok())
            .map_err(|source| ConfigError::Mistake { path: path.to_path_buf(), source })?;
        config.file = Some(path.to_path_buf());
        Ok(config)
    }

    /// The text of the bundle that `policies` names, and where it stands; `None` for the built-in one.
    ///
    /// # Errors
    /// [`ConfigError::Mistake`] with the place in this file where it is named.
    pub fn policies_text(&self) -> Result<Option<(PathBuf, String)>, ConfigError> {
        let Some(written) = &self.policies else { return Ok(None) };
        let path = self.folder.join(&written.value);
        match fs_err::read_to_string(&path) {
            Ok(text) => Ok(Some((path, text))),
            Err(error) => Err(self.mistake_at(
                written.referenced,
                format!(
                    "the policy bundle that `policies` names cannot be read: {error}; a path is relative to this file: \
                     correct it, put a bundle there, or leave the line out for the built-in one"
                ),
            )),
        }
    }

    /// A mistake at a place in this file.
    #[must_use]
    pub fn mistake_at(&self, location: Location, message: impl Into<String>) -> ConfigError {
        let path = self.file.clone().unwrap_or_else(|| self.folder.clone());
        ConfigError::Mistake { path, source: mistake(location, message) }
    }

    /// Parses and checks a text. `environment` looks up the variables that `${NAME}` stands for.
    ///
    /// # Errors
    /// [`SourceError`] with line, column and what was meant.
    pub fn parse(
        text: &str,
        folder: PathBuf,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Config, SourceError> {
        Config::parse_with(text, folder, Presets::builtin(), environment)
    }

    /// As [`Config::parse`], with another table of presets than the one that comes with the program.
    ///
    /// # Errors
    /// [`SourceError`] with line, column and what was meant.
    pub fn parse_with(
        text: &str,
        folder: PathBuf,
        presets: &Presets,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Config, SourceError> {
        let mut config: Config = if text.trim().is_empty() {
            Config::default()
        } else {
            serde_saphyr::from_str(text).map_err(|error| SourceError::from_yaml(&error))?
        };
        config.folder = folder;
        for provider in config.providers.values_mut() {
            provider.expand(&environment)?;
        }
        config.log.expand(&environment)?;
        config.control.expand(&environment)?;
        config.expand_ledger(&environment)?;
        config.auth.expand(&environment)?;
        config.add_default_providers(presets, &environment);
        config.complete_providers(presets, &environment)?;
        config.server.check()?;
        config.log.check()?;
        config.control.check()?;
        config.check_ledger()?;
        config.auth.check()?;
        config.issuers = config.auth.issuers(&config.folder)?;
        config.witness.check()?;
        config.classifier.as_ref().map_or(Ok(()), Classifier::check)?;
        config.routing.check()?;
        config.check_cache()?;
        for (alias, model) in &config.models {
            model.check(alias, &config.providers, &config.models)?;
        }
        Ok(config)
    }

    /// What is no mistake and may yet keep calls from being answered, each with its place in the file.
    pub fn doubts(&self) -> impl Iterator<Item = &SourceError> {
        self.providers.values().filter_map(|provider| provider.known.doubt.as_ref())
    }

    /// The sandbox is always there; OpenAI and Anthropic are if their usual variables are set and the file is silent. The
    /// presets are if their variables are set and the file names no provider at all: whoever names some means these.
    fn add_default_providers(&mut self, presets: &Presets, environment: impl Fn(&str) -> Option<String>) {
        let names_none = self.providers.is_empty();
        self.providers.entry("sandbox".to_owned()).or_insert_with(Provider::named_only);
        let mut add = |name: &str, variable: &str| {
            let Some(key) = environment(variable).filter(|key| !key.is_empty()) else { return };
            self.providers.entry(name.to_owned()).or_insert_with(|| Provider::with_key(key));
        };
        add("openai", "OPENAI_API_KEY");
        add("anthropic", "ANTHROPIC_API_KEY");
        if names_none {
            add("gemini", "GEMINI_API_KEY");
            for preset in presets.iter() {
                if let Some(variable) = &preset.key {
                    add(&preset.name, variable);
                }
            }
        }
    }

    fn complete_providers(
        &mut self,
        presets: &Presets,
        environment: &impl Fn(&str) -> Option<String>,
    ) -> Result<(), SourceError> {
        let Config { providers, folder, .. } = self;
        providers.iter_mut().try_for_each(|(name, provider)| provider.complete(name, presets, folder, environment))
    }
}

/// Replaces `${NAME}` by the environment variable of that name.
pub(crate) fn expand(
    value: &mut Spanned<String>,
    environment: &impl Fn(&str) -> Option<String>,
) -> Result<(), SourceError> {
    let mut expanded = String::with_capacity(value.value.len());
    let mut rest = value.value.as_str();
    while let Some((before, from_name)) = rest.split_once("${") {
        let Some((name, after)) = from_name.split_once('}') else {
            return Err(mistake(value.referenced, "a `${` is not closed; write `${NAME}`"));
        };
        let Some(found) = environment(name) else {
            return Err(mistake(
                value.referenced,
                format!("the environment variable `{name}` is not set; set it or write the value here"),
            ));
        };
        expanded.push_str(before);
        expanded.push_str(&found);
        rest = after;
    }
    expanded.push_str(rest);
    value.value = expanded;
    Ok(())
}

pub(crate) fn mistake(location: Location, message: impl Into<String>) -> SourceError {
    SourceError::new(location, message)
}

/// A value made here rather than read from a file.
pub(crate) fn unwritten(value: impl Into<String>) -> Spanned<String> {
    Spanned::new(value.into(), Location::UNKNOWN, Location::UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, SourceError> {
        Config::parse(text, PathBuf::from("/etc/tollgate"), |name| (name == "KEY").then(|| "secret".to_owned()))
    }

    #[test]
    fn no_file_means_a_sandbox_and_loopback_ports() {
        let config = parse("").unwrap();
        assert_eq!(config.server.gateway.value, "127.0.0.1:8080");
        assert_eq!(config.providers.keys().collect::<Vec<_>>(), ["sandbox"]);
    }

    #[test]
    fn a_mistyped_field_is_located_and_the_right_one_suggested() {
        let error = parse("server:\n  gatway: 127.0.0.1:1\n").unwrap_err();
        assert_eq!((error.line, error.column), (2, 3));
        assert!(error.message.contains("`gatway`") && error.message.contains("`gateway`"), "{error}");
    }

    #[test]
    fn a_target_whose_provider_is_missing_is_located_and_the_right_one_suggested() {
        let text = "providers:\n  openai: {dialect: openai, api_key: \"${KEY}\"}\nmodels:\n  assistant: {targets: [opnai/gpt-5]}\n";
        let error = parse(text).unwrap_err();
        assert_eq!(error.line, 4);
        assert!(error.message.contains("`opnai`") && error.message.contains("`openai`"), "{error}");
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let error = parse("providers:\n  openai: {dialect: openai, api_key: \"${MISSING}\"}\n").unwrap_err();
        assert!(error.message.contains("`MISSING`"), "{error}");
    }

    #[test]
    fn a_variable_that_is_set_is_put_in() {
        let config = parse("providers:\n  openai: {dialect: openai, api_key: \"${KEY}\"}\n").unwrap();
        assert_eq!(config.providers["openai"].api_key.as_ref().unwrap().value, "secret");
        assert!(!format!("{config:?}").contains("\"secret\""), "no key is printed");
    }

    #[test]
    fn an_address_that_is_none_is_refused_with_its_place() {
        let error = parse("server:\n  console: localhost\n").unwrap_err();
        assert_eq!(error.line, 2);
        assert!(error.message.contains("`localhost`"), "{error}");
    }

    #[test]
    fn a_witness_listens_on_loopback_unless_told_otherwise() {
        assert_eq!(parse("").unwrap().witness.listen.value, "127.0.0.1:8085");
        let config = parse("log: {witness_policy: w.policy}\nwitness: {listen: \"[::]:1\", logs: [a+b+c]}\n").unwrap();
        assert_eq!((config.witness.listen.value.as_str(), config.witness.logs.len()), ("[::]:1", 1));
        assert_eq!(config.log.witness_policy.unwrap().value, "w.policy");
        assert_eq!(parse("\nwitness: {listen: everywhere}\n").unwrap_err().line, 2);
    }

    #[test]
    fn azure_and_google_stores_are_configured_as_s3_is() {
        let text = "log:\n  store: az://logs/prod\n  azure: {account: acme, access_key: \"${KEY}\", endpoint: \"http://127.0.0.1:1\"}\n  \
                    gcs: {service_account_file: /etc/tollgate/gcs.json}\n";
        let options = parse(text).unwrap().store_options();
        assert_eq!(options.azure.account.as_deref(), Some("acme"));
        assert_eq!(options.azure.access_key.as_deref(), Some("secret"));
        assert_eq!(options.azure.endpoint.as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(options.gcs.service_account_file.as_deref(), Some("/etc/tollgate/gcs.json"));
    }

    #[test]
    fn a_store_that_is_none_is_located_and_every_form_named() {
        let error = parse("log:\n  store: ftp://somewhere\n").unwrap_err();
        assert_eq!(error.line, 2);
        for form in ["`ftp://somewhere`", "`file://", "`s3://", "`az://", "`abfss://", "`gs://"] {
            assert!(error.message.contains(form), "{form} is not in {error}");
        }
    }
}
