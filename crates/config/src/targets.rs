//! Every target that calls can reach, as far as the file names them: what policy is checked against before there are calls.

use std::collections::BTreeSet;

use tollgate_gateway::ProviderSettings;
use tollgate_gateway::settings::places_of;
use tollgate_policy::Bundle;
use tollgate_policy::bundle::BundleError as SourceError;
use tollgate_policy::residency::{Places, TargetFacts};

use crate::Config;

/// A target of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredTarget {
    /// `provider/model`; `provider/*` for a provider that serves any model and of which none is named.
    pub name: String,
    /// Name the price catalogue knows the provider by.
    pub priced_as: String,
    /// As the provider calls it; empty for any.
    pub model: String,
    provider: String,
    tags: Vec<String>,
    places: Places,
    self_hosted: bool,
}

impl ConfiguredTarget {
    /// As policy sees it.
    #[must_use]
    pub fn facts(&self) -> TargetFacts<'_> {
        TargetFacts {
            provider: &self.provider,
            model: &self.model,
            tags: &self.tags,
            places: &self.places,
            self_hosted: self.self_hosted,
        }
    }

    fn new(settings: &ProviderSettings, model: &str) -> ConfiguredTarget {
        ConfiguredTarget {
            name: format!("{}/{}", settings.name, if model.is_empty() { "*" } else { model }),
            priced_as: settings.price_as.clone().unwrap_or_else(|| settings.kind.as_str().to_owned()),
            model: model.to_owned(),
            provider: settings.name.clone(),
            tags: settings.tags.clone(),
            places: places_of(settings.kind, &settings.places, model),
            self_hosted: settings.self_hosted,
        }
    }
}

impl Config {
    /// The target of a provider and a model, whether or not the file names that model; `None` if the provider is not there.
    #[must_use]
    pub fn target(&self, provider: &str, model: &str) -> Option<ConfiguredTarget> {
        let settings = self.gateway_settings([0; 32], String::new());
        let provider = settings.providers.iter().find(|known| known.name == provider)?;
        Some(ConfiguredTarget::new(provider, model))
    }

    /// The targets of all aliases, every model that a provider lists, and `provider/*` for each provider of which neither
    /// names any.
    #[must_use]
    pub fn targets(&self) -> Vec<ConfiguredTarget> {
        let settings = self.gateway_settings([0; 32], String::new());
        let copied = settings.models.iter().filter_map(|route| route.conduct.shadow.as_ref()).map(|shadow| &shadow.to);
        let aliased = settings.models.iter().flat_map(|route| &route.targets).chain(copied);
        let aliased: Vec<&str> = aliased.map(String::as_str).collect();
        let mut targets = Vec::new();
        for provider in &settings.providers {
            let of_alias = aliased.iter().filter_map(|target| target.strip_prefix(&provider.name)?.strip_prefix('/'));
            let listed = provider.models.iter().flatten().map(String::as_str);
            let models: BTreeSet<&str> = of_alias.chain(listed).collect();
            if models.is_empty() {
                targets.push(ConfiguredTarget::new(provider, ""));
            }
            targets.extend(models.into_iter().map(|model| ConfiguredTarget::new(provider, model)));
        }
        targets
    }

    /// The same, and those that only the bundle names.
    #[must_use]
    pub fn targets_with(&self, bundle: &Bundle) -> Vec<ConfiguredTarget> {
        let mut targets = self.targets();
        for named in bundle.named_targets() {
            let is_known = targets.iter().any(|target| target.name == named.name);
            let split = named.name.split_once('/').filter(|_| !is_known);
            targets.extend(split.and_then(|(provider, model)| self.target(provider, model)));
        }
        targets
    }

    /// Whether every target that a bundle's routes and experiments name is served here.
    ///
    /// # Errors
    /// [`SourceError`] at the first that is not, or that leads in a circle, with the name that was probably meant.
    pub fn check_routes(&self, bundle: &Bundle) -> Result<(), SourceError> {
        let providers = self.gateway_settings([0; 32], String::new()).providers;
        let offers = |provider: &ProviderSettings, model: &str| {
            provider.models.as_ref().is_none_or(|listed| listed.iter().any(|known| known == model))
        };
        let serves = |name: &str| {
            self.models.contains_key(name)
                || name.split_once('/').is_some_and(|(named, model)| {
                    providers.iter().any(|provider| provider.name == named && offers(provider, model))
                })
        };
        let mut names: Vec<String> = self.models.keys().cloned().collect();
        names.extend(self.targets().into_iter().map(|target| target.name));
        let leads_to = self.models.iter().map(|(alias, model)| {
            (alias.clone(), model.targets.iter().map(|target| target.value.target.clone()).collect())
        });
        bundle.check_targets(serves, &names, &leads_to.collect())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tollgate_policy::residency::{Evidence, ON_PREM, Place};

    use super::*;

    fn config(text: &str) -> Result<Config, String> {
        let environment = |name: &str| (name == "KEY").then(|| "secret".to_owned());
        Config::parse(text, PathBuf::from("."), environment).map_err(|error| error.to_string())
    }

    const FILE: &str = r#"
providers:
  claude-eu:
    dialect: bedrock
    region: eu-central-1
    api_key: "${KEY}"
    places: {storage: EU, control_plane: us, operator: us, evidence: contract}
  own: {dialect: openai, base_url: "http://127.0.0.1:1/v1", places: {inference: on_prem}, self_hosted: true, tags: [open]}
models:
  assistant: {targets: [claude-eu/anthropic.claude, claude-eu/us.anthropic.claude, sandbox/small]}
"#;

    #[test]
    fn every_target_comes_with_its_places() {
        let targets = config(FILE).unwrap().targets();
        let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        assert_eq!(names[..3], ["claude-eu/anthropic.claude", "claude-eu/us.anthropic.claude", "own/*"]);
        assert!(names[3..].iter().all(|name| name.starts_with("sandbox/")) && names.contains(&"sandbox/small"));
        let place = |name: &str| Place::parse(name).ok();
        let frankfurt = targets[0].facts().places;
        assert_eq!((&frankfurt.inference, &frankfurt.storage), (&place("eu-central-1"), &place("eu")));
        assert_eq!((&frankfurt.operator, frankfurt.evidence), (&place("us"), Evidence::Contract));
        assert_eq!(targets[1].facts().places.inference, place("us"), "a profile for America is served there");
        let own = targets[2].facts();
        assert!(own.self_hosted && own.places.storage.is_none() && own.tags == ["open"]);
        assert_eq!(targets[3].facts().places.operator, place(ON_PREM));
    }

    #[test]
    fn a_bundles_routes_are_checked_against_what_is_served_here() {
        let config = config(FILE).unwrap();
        let check = |targets: &str| {
            let head = "apiVersion: tollgate/v1\nbundle: {name: t}\naccess: [{id: all, when: 'true', allow: {}}]\n";
            let yaml = format!("{head}routes:\n  - {{id: r, alias: fast, targets: [{targets}]}}\n");
            config.check_routes(&tollgate_policy::bundle::load(&yaml).unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(check("own/anything, assistant, sandbox/small"), Ok(()));
        let error = check("own/anything, sandbox/smal").unwrap_err();
        assert!(error.starts_with("line 5, column 50: `sandbox/smal`"), "{error}");
        assert!(error.contains("did you mean `sandbox/small`?"), "{error}");
        assert!(check("owm/anything").unwrap_err().contains("`owm/anything` is neither"));
    }

    #[test]
    fn a_place_that_is_none_is_refused_with_its_position() {
        let error = config(&FILE.replace("inference: on_prem", "inference: eu-centrl-1")).unwrap_err();
        assert!(error.starts_with("line 8, column 81: `eu-centrl-1` is no known place; did you mean"), "{error}");
        let error = config(&FILE.replace("evidence: contract", "evidence: contrakt")).unwrap_err();
        assert!(error.contains("unknown value `contrakt`; did you mean `contract`?"), "{error}");
    }
}
