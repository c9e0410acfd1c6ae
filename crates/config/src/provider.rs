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
    /// Access key for Amazon Bedrock, where there is no `api_key`.
    #[serde(default)]
    pub aws: Option<AwsCredentials>,
    /// Whether a server compatible with OpenAI also has the Responses API (`/responses`). Where it does not, callers of
    /// that are translated.
    #[serde(default)]
    pub responses: Option<bool>,
    /// Azure's `api-version`, such as `2024-10-21`; without it the API without versions (`/openai/v1`) is used.
    #[serde(default)]
    pub api_version: Option<String>,
    /// Region it answers from, as you know it; for Amazon Bedrock also the one that is called.
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

/// Whose API a provider has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProviderDialect {
    /// OpenAI's, and every server compatible with it.
    Openai,
    /// Azure OpenAI: `base_url` is the resource's, a model is the name of a deployment.
    Azure,
    /// Anthropic's.
    Anthropic,
    /// Google's Gemini API.
    Gemini,
    /// Amazon Bedrock, in `region`.
    Bedrock,
    /// The built-in fake that costs nothing and answers every format.
    Sandbox,
}

/// Credentials of Amazon Web Services.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsCredentials {
    /// Public half of the key.
    #[schemars(with = "String")]
    pub access_key_id: Spanned<String>,
    /// Secret half; `${NAME}` takes it from the environment.
    #[schemars(with = "String")]
    pub secret_access_key: Spanned<String>,
    /// Of temporary credentials.
    #[schemars(with = "Option<String>")]
    #[serde(default)]
    pub session_token: Option<Spanned<String>>,
}

impl Provider {
    /// The built-in fake as it is without a configuration.
    pub(super) fn sandbox() -> Provider {
        Provider {
            dialect: ProviderDialect::Sandbox,
            base_url: None,
            api_key: None,
            aws: None,
            responses: None,
            api_version: None,
            region: None,
            tags: Vec::new(),
            models: Vec::new(),
            price_as: None,
        }
    }

    /// The provider's own address, where the configuration names none.
    pub(super) fn default_url(&self) -> String {
        match self.dialect {
            ProviderDialect::Openai => "https://api.openai.com/v1".to_owned(),
            ProviderDialect::Anthropic => "https://api.anthropic.com/v1".to_owned(),
            ProviderDialect::Gemini => "https://generativelanguage.googleapis.com/v1beta".to_owned(),
            ProviderDialect::Bedrock => {
                // Without a region there is no address, which the gateway refuses by name.
                let region = self.region.as_deref();
                region.map(|region| format!("https://bedrock-runtime.{region}.amazonaws.com")).unwrap_or_default()
            }
            // A resource of Azure's has an address of its own, which must be written.
            ProviderDialect::Azure | ProviderDialect::Sandbox => String::new(),
        }
    }

    /// Whether it has the Responses API: as written, or else if it is OpenAI itself or Azure.
    pub(super) fn has_responses(&self) -> bool {
        let is_openai = self.dialect == ProviderDialect::Openai && self.base_url.is_none();
        self.responses.unwrap_or(is_openai || self.dialect == ProviderDialect::Azure)
    }

    pub(super) fn with_key(dialect: ProviderDialect, key: String) -> Provider {
        Provider { dialect, api_key: Some(unwritten(key)), ..Provider::sandbox() }
    }

    pub(super) fn expand(&mut self, environment: &impl Fn(&str) -> Option<String>) -> Result<(), SourceError> {
        let aws = self.aws.as_mut().map(|aws| {
            let AwsCredentials { access_key_id, secret_access_key, session_token } = aws;
            [Some(access_key_id), Some(secret_access_key), session_token.as_mut()]
        });
        let written = [self.base_url.as_mut(), self.api_key.as_mut()].into_iter().chain(aws.into_iter().flatten());
        written.flatten().try_for_each(|value| expand(value, environment))
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
