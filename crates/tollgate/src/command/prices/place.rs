//! Whose price list a model is looked up in, for somebody who may have named the provider, or not. A name that several
//! providers have is never guessed at.

use anyhow::{Context as _, bail};
use tollgate_config::{Config, PriceBook};
use tollgate_gateway::ProviderSettings;
use tollgate_policy::suggestion;
use tollgate_provider::price::Catalog;

/// Whose price list, and which model in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The provider, as it was named or is configured.
    name: String,
    /// The provider, as the catalogue names it.
    pub(super) list: String,
    /// The model, as that provider names it.
    pub(super) model: String,
    /// Region of the configured provider.
    pub(super) region: Option<String>,
}

/// Finds the place of `model`: at `provider`, or at the one before its first slash, or at the only configured provider that
/// has exactly this model, or at the only one of the catalogue.
///
/// # Errors
/// If there is no such provider, no such model, or several providers have it; the error lists them.
pub(super) fn place(config: &Config, book: &PriceBook, model: &str, provider: Option<&str>) -> anyhow::Result<Place> {
    let configured = config.gateway_settings([0; 32], String::new()).providers;
    let search = Search { catalog: &book.catalog, configured: &configured };
    if let Some(provider) = provider {
        return search.at(provider, model).with_context(|| search.no_provider(provider));
    }
    let named = model.split_once('/').and_then(|(provider, model)| search.at(provider, model));
    if let Some(place) = named.clone().filter(|place| search.has(&place.list, &place.model)) {
        return Ok(place);
    }
    if let Some(alias) = config.models.get(model) {
        let targets: Vec<&str> = alias.targets.iter().map(|target| target.value.target.as_str()).collect();
        bail!("`{model}` is an alias; ask for what it stands for: {}", targets.join(", "));
    }
    let places = search.everywhere(model);
    match (places.as_slice(), named) {
        ([place], _) => Ok(place.clone()),
        // A known provider without the model: what is said of it is the catalogue's word.
        ([], Some(place)) => Ok(place),
        ([], None) => bail!("no provider of the catalogue has a model `{model}`{}", search.nearest(model)),
        (places, _) => {
            let names: Vec<&str> = places.iter().map(|place| place.name.as_str()).collect();
            bail!(
                "`{model}` has prices at {}; say which, as `{}/{model}` or with --provider",
                names.join(", "),
                names.first().copied().unwrap_or_default()
            )
        }
    }
}

struct Search<'a> {
    catalog: &'a Catalog,
    configured: &'a [ProviderSettings],
}

impl Search<'_> {
    /// `model` at the provider of this name; `None` if neither the configuration nor the catalogue has such a provider.
    fn at(&self, provider: &str, model: &str) -> Option<Place> {
        if let Some(found) = self.configured.iter().find(|known| known.name == provider) {
            return Some(Place { model: model.to_owned(), ..of(found) });
        }
        let list = Catalog::provider_name(provider).to_owned();
        let is_known = self.catalog.models(&list).next().is_some();
        is_known.then(|| Place { name: provider.to_owned(), list, model: model.to_owned(), region: None })
    }

    /// Whether the list has the model, by its id or another of its names.
    fn has(&self, list: &str, model: &str) -> bool {
        self.catalog.limits(list, model).is_some()
    }

    /// Where a model of this name is: at the configured providers that list it, or else at any configured one, or else at
    /// any of the catalogue. Of those, where it is an id, or else where it is another name of one.
    fn everywhere(&self, model: &str) -> Vec<Place> {
        let lists = |provider: &&ProviderSettings| {
            let models = provider.models.as_ref();
            models.is_some_and(|models| models.iter().any(|listed| listed == model))
        };
        let listing: Vec<Place> = self
            .configured
            .iter()
            .filter(lists)
            .map(|provider| Place { model: model.to_owned(), ..of(provider) })
            .collect();
        if !listing.is_empty() {
            return listing;
        }
        let own = self.configured.iter().map(|provider| Place { model: model.to_owned(), ..of(provider) });
        let all = self.catalog.providers().map(|(list, _)| Place {
            name: list.to_owned(),
            list: list.to_owned(),
            model: model.to_owned(),
            region: None,
        });
        let (own, all): (Vec<Place>, Vec<Place>) = (own.collect(), all.collect());
        let is_id = |place: &Place| self.catalog.models(&place.list).any(|id| id == place.model);
        let is_name = |place: &Place| self.has(&place.list, &place.model);
        let those = |places: &[Place], holds: &dyn Fn(&Place) -> bool| -> Vec<Place> {
            places.iter().filter(|place| holds(place)).cloned().collect()
        };
        let attempts = [those(&own, &is_id), those(&own, &is_name), those(&all, &is_id), those(&all, &is_name)];
        attempts.into_iter().find(|found| !found.is_empty()).unwrap_or_default()
    }

    fn nearest(&self, model: &str) -> String {
        suggestion::phrase(model, self.catalog.providers().flat_map(|(list, _)| self.catalog.models(list)))
    }

    fn no_provider(&self, provider: &str) -> String {
        let names: Vec<&str> = self.catalog.providers().map(|(name, _)| name).collect();
        let known = names.iter().copied().chain(self.configured.iter().map(|known| known.name.as_str()));
        format!(
            "neither the configuration nor the catalogue has a provider `{provider}`{}",
            suggestion::phrase(provider, known)
        )
    }
}

/// The list of a configured provider.
fn of(provider: &ProviderSettings) -> Place {
    let list = provider.price_as.clone().unwrap_or_else(|| provider.kind.as_str().to_owned());
    let list = Catalog::provider_name(&list).to_owned();
    Place { name: provider.name.clone(), list, model: String::new(), region: provider.region.clone() }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn find(config: &str, model: &str) -> Result<(String, String), String> {
        let config = Config::parse(config, PathBuf::from("."), |_| None).unwrap();
        let book = config.price_book(Path::new("/nonexistent")).unwrap();
        let found = place(&config, &book, model, None);
        found.map(|place| (place.list, place.model)).map_err(|error| error.to_string())
    }

    fn at(list: &str, model: &str) -> Result<(String, String), String> {
        Ok((list.to_owned(), model.to_owned()))
    }

    #[test]
    fn a_model_is_found_where_only_one_place_has_it() {
        assert_eq!(find("{}", "openai/gpt-5"), at("openai", "gpt-5"));
        let error = find("{}", "gpt-5-nowhere").unwrap_err();
        assert!(error.starts_with("no provider of the catalogue has a model `gpt-5-nowhere`"), "{error}");
        let own = "providers: {mine: {dialect: openai, api_key: k}}";
        assert_eq!(find(own, "gpt-5"), at("openai", "gpt-5"), "the only configured provider that has it");
        assert_eq!(find(own, "mine/gpt-5"), at("openai", "gpt-5"));
    }

    #[test]
    fn a_model_that_several_have_is_not_guessed_at() {
        let error = find("{}", "gpt-5").unwrap_err();
        assert!(error.starts_with("`gpt-5` has prices at ") && error.contains("openai"), "{error}");
        assert!(error.contains("with --provider"), "{error}");
        let two = "providers: {a: {dialect: openai, api_key: k}, b: {dialect: azure, base_url: \"https://a.openai.azure.com\", \
                   api_key: k}}";
        let listed = two.replace("openai, api", "openai, models: [gpt-5], api");
        assert_eq!(find(&listed, "gpt-5"), at("openai", "gpt-5"), "the other has it, but only one says so");
        let error = find(two, "gpt-5").unwrap_err();
        assert_eq!(error, "`gpt-5` has prices at a, b; say which, as `a/gpt-5` or with --provider");
    }

    #[test]
    fn an_alias_is_told_apart_from_what_it_stands_for() {
        let config = "providers: {openai: {api_key: k}}\nmodels: {assistant: {targets: [openai/gpt-5]}}";
        assert_eq!(
            find(config, "assistant").unwrap_err(),
            "`assistant` is an alias; ask for what it stands for: openai/gpt-5"
        );
    }

    #[test]
    fn a_model_that_a_named_provider_lacks_is_looked_for_nowhere_else() {
        assert_eq!(find("{}", "openai/gpt-5-nonsense"), at("openai", "gpt-5-nonsense"));
    }
}
