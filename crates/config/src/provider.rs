//! Model providers.

use serde::Deserialize;
use serde_saphyr::Spanned;
use tollgate_policy::bundle::BundleError as SourceError;

use super::{expand, mistake, unwritten};

/// One entry of the `providers` section.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// The wire format it speaks.
    pub dialect: ProviderDialect,
    /// Where it answers, version path included; default: the provider's own address.
    #[schemars(with = "Option<String>")]
    #[serde(default)]
    pub base_url: Option<Spanned<String>>,
    /// Its key; `${NAME}` takes it from the environment.
    #[schemars(with = "Option<String>")]
    #[serde(default)]
    pub api_key: Option<Spanned<String>>,
    /// Region it answers from, as you know it.
    #[serde(default)]
    pub region: Option<String>,
    /// Labels that policies can prefer, such as `open-weights`.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Models it offers, for `/v1/models` and for calls that name no provider.
    #[serde(default)]
    pub models: Vec<String>,
    /// Provider of the price catalogue whose prices apply; default: the dialect's own.
    #[serde(default)]
    pub price_as: Option<String>,
}

/// The wire format a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProviderDialect {
    /// OpenAI's, and every server compatible with it.
    Openai,
    /// Anthropic's.
    Anthropic,
    /// The built-in fake that costs nothing and answers both.
    Sandbox,
}

impl Provider {
    /// The built-in fake as it is without a configuration.
    pub(super) fn sandbox() -> Provider {
        Provider {
            dialect: ProviderDialect::Sandbox,
            base_url: None,
            api_key: None,
            region: None,
            tags: Vec::new(),
            models: Vec::new(),
            price_as: None,
        }
    }

    pub(super) fn with_key(dialect: ProviderDialect, key: String) -> Provider {
        Provider { dialect, api_key: Some(unwritten(key)), ..Provider::sandbox() }
    }

    pub(super) fn expand(&mut self, environment: &impl Fn(&str) -> Option<String>) -> Result<(), SourceError> {
        [&mut self.base_url, &mut self.api_key].into_iter().flatten().try_for_each(|value| expand(value, environment))
    }

    pub(super) fn check(&self, name: &str) -> Result<(), SourceError> {
        let Some(base_url) = &self.base_url else { return Ok(()) };
        let refuse = |message: String| Err(mistake(base_url.referenced, message));
        if self.dialect == ProviderDialect::Sandbox {
            return refuse(format!("provider `{name}` is the built-in sandbox, which has no address; drop `base_url`"));
        }
        match url::Url::parse(&base_url.value) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(()),
            _ => refuse(format!("`{}` is not an http or https URL, which provider `{name}` needs", base_url.value)),
        }
    }
}
