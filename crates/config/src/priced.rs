//! By whose prices the calls of an entry are priced. An address of one's own is no vendor's, whatever dialect it speaks: its
//! calls have no price until the file says which.

use tollgate_policy::suggestion;
use tollgate_provider::price::Catalog;

use crate::provider::{Provider, ProviderDialect};
use crate::{Config, PricesError};

/// Domains of the vendors that a dialect is called after.
fn vendors(dialect: ProviderDialect) -> &'static [&'static str] {
    match dialect {
        ProviderDialect::Openai => &["openai.com"],
        ProviderDialect::Anthropic => &["anthropic.com"],
        ProviderDialect::Gemini | ProviderDialect::Vertex => &["googleapis.com"],
        ProviderDialect::Bedrock => &["amazonaws.com", "amazonaws.com.cn", "api.aws"],
        ProviderDialect::Azure => &["azure.com", "azure.us", "azure.cn"],
        ProviderDialect::Sandbox => &[],
    }
}

/// The list of the catalogue for the entry `name`; `None` for that of its dialect.
pub(crate) fn list(name: &str, provider: &Provider) -> Option<String> {
    if let Some(written) = &provider.price_as {
        return Some(written.value.clone());
    }
    // A preset says which provider it is, wherever that is reached.
    if let Some(preset) = &provider.known.preset {
        return Some(preset.priced_as().to_owned());
    }
    let Some(base_url) = &provider.base_url else { return None };
    let host = url::Url::parse(&base_url.value).ok().and_then(|url| url.host_str().map(str::to_owned))?;
    let is_of = |domain: &&str| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if vendors(provider.known.dialect).iter().any(is_of) { None } else { Some(name.to_owned()) }
}

impl Config {
    /// Refuses a `price_as` that no list of the catalogue is called.
    pub(crate) fn check_price_lists(&self, catalog: &Catalog) -> Result<(), PricesError> {
        for (name, provider) in &self.providers {
            let Some(written) = &provider.price_as else { continue };
            if catalog.models(&written.value).next().is_some() {
                continue;
            }
            // Some vendors' lists are called otherwise than their dialects, and answer to both names.
            let dialects = ProviderDialect::ALL.iter().map(|(dialect, _)| *dialect);
            let meant = suggestion::phrase(&written.value, dialects.chain(catalog.providers().map(|(list, _)| list)));
            let message = format!(
                "there are no prices of `{}`, by which provider `{name}` is to be priced{meant}; correct \
                 it, or add a file with `provider: {}` to `catalog.prices`",
                written.value, written.value
            );
            return Err(self.mistake_at(written.referenced, message).into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn parse(text: &str, folder: &Path) -> Config {
        Config::parse(text, folder.to_owned(), |_| None).unwrap_or_else(|error| panic!("{error}"))
    }

    fn lists(entry: &str) -> Option<String> {
        let config = parse(&format!("providers:\n  {entry}\n"), &PathBuf::from("/etc/tollgate"));
        let mut providers = config.gateway_settings([0; 32], String::new()).providers.into_iter();
        providers.find(|provider| provider.name != "sandbox").unwrap().price_as
    }

    #[test]
    fn an_address_of_ones_own_has_no_vendors_prices_unless_the_file_says_so() {
        let mine = |rest: &str| lists(&format!("mine: {{dialect: openai, api_key: k, {rest}}}"));
        assert_eq!(mine("base_url: 'http://127.0.0.1:9/v1'").as_deref(), Some("mine"));
        assert_eq!(mine("base_url: 'https://openai.com.example/v1'").as_deref(), Some("mine"));
        assert_eq!(mine("base_url: 'https://notopenai.com/v1'").as_deref(), Some("mine"));
        assert_eq!(mine("base_url: 'http://127.0.0.1:9/v1', price_as: openai").as_deref(), Some("openai"));
        assert_eq!(mine("base_url: 'https://eu.api.openai.com/v1'"), None, "OpenAI's own prices");
        assert_eq!(mine("region: eu"), None);
        let claude = "claude: {dialect: anthropic, api_key: k, base_url: 'https://proxy.acme.example'}";
        assert_eq!(lists(claude).as_deref(), Some("claude"));
        let azure = "azure: {api_key: k, base_url: 'https://acme.openai.azure.com'}";
        assert_eq!(lists(azure), None);
        // Called as the vendor or as a preset is, it says who it is.
        assert_eq!(lists("openai: {api_key: k, base_url: 'https://proxy.acme.example'}").as_deref(), Some("openai"));
        assert_eq!(
            lists("fast: {preset: groq, api_key: k, base_url: 'https://p.acme.example'}").as_deref(),
            Some("groq")
        );
    }

    #[test]
    fn rows_under_its_own_name_price_an_entry() {
        let folder = tempfile::tempdir().unwrap();
        let rows = "provider: mine\nsource: s\nchecked: 2026-11-01\nmodels:\n  - {id: m, prices: [{from: release, input: 3}]}\n";
        std::fs::write(folder.path().join("own.yaml"), rows).unwrap();
        let text =
            "catalog: {prices: own.yaml}\nproviders: {mine: {dialect: openai, base_url: 'http://127.0.0.1:9/v1'}}\n";
        let config = parse(text, folder.path());
        let catalog = config.price_book(folder.path()).unwrap().catalog;
        let list = list("mine", &config.providers["mine"]).unwrap();
        assert_eq!(catalog.input_price(&list, "m").map(|price| price.to_string()).as_deref(), Some("3.00"));
        assert!(catalog.input_price(&list, "gpt-5").is_none());
    }

    #[test]
    fn prices_of_nobody_are_refused_with_their_place_and_the_nearest_told() {
        let folder = tempfile::tempdir().unwrap();
        let text = "providers:\n  mine: {dialect: openai, base_url: 'http://127.0.0.1:9/v1', price_as: gemmi}\n";
        let error = parse(text, folder.path()).price_book(folder.path()).unwrap_err().to_string();
        assert!(error.contains("line 2, column ") && error.contains("did you mean `gemini`?"), "{error}");
        let config = parse(&text.replace("gemmi", "gemini"), folder.path());
        assert!(config.price_book(folder.path()).is_ok());
    }
}
