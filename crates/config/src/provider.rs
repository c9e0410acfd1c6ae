//! Model providers, as written. What a field leaves open is filled in by [`crate::known`] when the file has been read.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_saphyr::{Location, Spanned};
use tollgate_policy::bundle::BundleError as SourceError;
use tollgate_provider::preset::{Api, Presets};

use super::confidential::Confidential;
use super::known::Known;
use super::places::PlacesWritten;
use super::{expand, unwritten};

/// One entry of the `providers` section.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Provider {
    /// The wire format it speaks. Default: that of its `preset`, or the one that is called as the provider is.
    pub dialect: Option<ProviderDialect>,
    /// The provider that it is, of those that are known by name: their address, the name of their key's variable, their
    /// prices and their peculiarities. Default: the one that is called as this provider is, unless `dialect` is written.
    #[schemars(schema_with = "preset_names")]
    pub preset: Option<Spanned<String>>,
    /// Where it answers, version path included; default: the provider's own address.
    #[schemars(with = "Option<String>")]
    pub base_url: Option<Spanned<String>>,
    /// PEM file with the certificates of authorities that are believed about this provider beside the usual ones, such as
    /// that of a proxy which inspects TLS; relative to this file.
    #[schemars(with = "Option<String>")]
    pub ca_file: Option<Spanned<String>>,
    /// Its key; `${NAME}` takes it from the environment. Default: the provider's usual variable, where `base_url` is the
    /// provider's own.
    #[schemars(with = "Option<String>")]
    pub api_key: Option<Confidential>,
    /// Access key for Amazon Bedrock, where there is no `api_key`. Default: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and
    /// `AWS_SESSION_TOKEN`.
    pub aws: Option<AwsCredentials>,
    /// The application that Microsoft Entra gives access tokens for Azure, where there is no `api_key`. Default:
    /// `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_CLIENT_SECRET`.
    pub azure: Option<EntraCredentials>,
    /// The account that Google gives access tokens for Vertex AI. Default: the file that `GOOGLE_APPLICATION_CREDENTIALS`
    /// names.
    pub google: Option<GoogleCredentials>,
    /// Whether a server compatible with OpenAI also has the Responses API (`/responses`). Where it does not, callers of
    /// that are translated.
    pub responses: Option<bool>,
    /// What a server that speaks OpenAI's dialect has, instead of what its preset says; what is not named is refused there.
    /// Default: the preset's, or everything.
    #[schemars(schema_with = "api_names")]
    pub has: Option<Vec<Api>>,
    /// Azure's `api-version`, such as `2024-10-21`; without it the API without versions (`/openai/v1`) is used.
    pub api_version: Option<String>,
    /// Region it answers from, as you know it; for Amazon Bedrock and Vertex AI also the one that is called (Vertex AI:
    /// `europe-west4`, `eu`, `us` or `global`).
    pub region: Option<String>,
    /// Google's project that calls to Vertex AI are made in. Default: that of the credentials, or `GOOGLE_CLOUD_PROJECT`.
    pub project: Option<String>,
    /// Where it is, for the policy's section `residency`. Default: all that is known is its `region`; of the sandbox, that
    /// it is here.
    pub places: Option<PlacesWritten>,
    /// Whether it runs on your own machines. Default: the sandbox does, everything else does not.
    pub self_hosted: Option<bool>,
    /// Labels that policies can prefer, such as `open-weights`.
    pub tags: Vec<String>,
    /// Models it offers, for `/v1/models` and for calls that name no provider.
    pub models: Vec<String>,
    /// Provider of the price catalogue whose prices apply. Default: the preset's; or the dialect's own where `base_url` is the
    /// vendor's; or else those that `catalog.prices` has under the name of this entry, and without them none.
    #[schemars(with = "Option<String>")]
    pub price_as: Option<Spanned<String>>,
    /// Where the entry stands.
    #[serde(skip)]
    #[schemars(skip)]
    pub(crate) at: Option<Location>,
    /// What the entry comes to.
    #[serde(skip)]
    #[schemars(skip)]
    pub(crate) known: Known,
}

/// Whose API a provider has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProviderDialect {
    /// OpenAI's, and every server compatible with it.
    #[default]
    Openai,
    /// Azure OpenAI: `base_url` is the resource's, a model is the name of a deployment.
    Azure,
    /// Anthropic's.
    Anthropic,
    /// Google's Gemini API.
    Gemini,
    /// Google Vertex AI, in `project` and `region`: Gemini's models, Anthropic's (`claude-…`) and others
    /// (`meta/llama-…`).
    Vertex,
    /// Amazon Bedrock, in `region`.
    Bedrock,
    /// The built-in fake that costs nothing and answers every format.
    Sandbox,
}

impl ProviderDialect {
    /// All of them, by the name that the file has for each.
    pub(crate) const ALL: [(&'static str, ProviderDialect); 7] = [
        ("openai", ProviderDialect::Openai),
        ("azure", ProviderDialect::Azure),
        ("anthropic", ProviderDialect::Anthropic),
        ("gemini", ProviderDialect::Gemini),
        ("vertex", ProviderDialect::Vertex),
        ("bedrock", ProviderDialect::Bedrock),
        ("sandbox", ProviderDialect::Sandbox),
    ];

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<ProviderDialect> {
        ProviderDialect::ALL.iter().find(|(known, _)| *known == name).map(|(_, dialect)| *dialect)
    }
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
    pub secret_access_key: Confidential,
    /// Of temporary credentials.
    #[schemars(with = "Option<String>")]
    #[serde(default)]
    pub session_token: Option<Confidential>,
}

/// An application of Microsoft Entra.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntraCredentials {
    /// Its directory: an id or a domain.
    #[schemars(with = "String")]
    pub tenant_id: Spanned<String>,
    /// Its id.
    #[schemars(with = "String")]
    pub client_id: Spanned<String>,
    /// Its secret; `${NAME}` takes it from the environment.
    #[schemars(with = "String")]
    pub client_secret: Confidential,
    /// Who gives the tokens. Default: `https://login.microsoftonline.com`; the clouds of governments have others.
    #[schemars(with = "Option<String>")]
    #[serde(default)]
    pub authority: Option<Spanned<String>>,
    /// What the tokens are good for. Default: `https://cognitiveservices.azure.com/.default`.
    #[serde(default)]
    pub scope: Option<String>,
}

/// An account at Google; one of the three.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GoogleCredentials {
    /// Path of a service account's key file, or of what `gcloud auth application-default login` left; relative to this
    /// file.
    #[schemars(with = "Option<String>")]
    pub service_account_file: Option<Spanned<String>>,
    /// The text of such a file; `${NAME}` takes it from the environment.
    #[schemars(with = "Option<String>")]
    pub service_account_json: Option<Confidential>,
    /// Origin of the metadata server of a machine at Google: `http://metadata.google.internal`.
    #[schemars(with = "Option<String>")]
    pub metadata_server: Option<Spanned<String>>,
}

impl Provider {
    /// One that is as its name says.
    pub(super) fn named_only() -> Provider {
        Provider::default()
    }

    pub(super) fn with_key(key: String) -> Provider {
        Provider { api_key: Some(unwritten(key).into()), ..Provider::default() }
    }

    pub(super) fn expand(&mut self, environment: &impl Fn(&str) -> Option<String>) -> Result<(), SourceError> {
        let Provider { base_url, ca_file, api_key, aws, azure, google, .. } = self;
        let mut written: Vec<&mut Spanned<String>> = Vec::new();
        written.extend(base_url.as_mut());
        written.extend(ca_file.as_mut());
        written.extend(api_key.as_deref_mut());
        if let Some(AwsCredentials { access_key_id, secret_access_key, session_token }) = aws {
            written.extend([access_key_id, &mut **secret_access_key]);
            written.extend(session_token.as_deref_mut());
        }
        if let Some(EntraCredentials { tenant_id, client_id, client_secret, authority, .. }) = azure {
            written.extend([tenant_id, client_id, &mut **client_secret]);
            written.extend(authority.as_mut());
        }
        if let Some(GoogleCredentials { service_account_file, service_account_json, metadata_server }) = google {
            written.extend(service_account_file.as_mut());
            written.extend(service_account_json.as_deref_mut());
            written.extend(metadata_server.as_mut());
        }
        written.into_iter().try_for_each(|value| expand(value, environment))
    }

    /// Works out what the entry comes to. `folder` is the file's.
    pub(super) fn complete(
        &mut self,
        name: &str,
        presets: &Presets,
        folder: &Path,
        environment: &impl Fn(&str) -> Option<String>,
    ) -> Result<(), SourceError> {
        self.places.as_ref().map_or(Ok(()), PlacesWritten::check)?;
        self.known = Known::of(self, name, presets, folder, environment)?;
        Ok(())
    }
}

/// Reads the section, and keeps where each entry stands.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Provider>, D::Error> {
    let written: BTreeMap<String, Spanned<Provider>> = BTreeMap::deserialize(deserializer)?;
    let placed = |(name, spanned): (String, Spanned<Provider>)| {
        (name, Provider { at: Some(spanned.referenced), ..spanned.value })
    };
    Ok(written.into_iter().map(placed).collect())
}

/// The names of what a provider may have, for editors.
fn api_names(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let names = Api::ALL.map(Api::as_str);
    schemars::json_schema!({"type": ["array", "null"], "items": {"enum": names}})
}

/// The names of all presets, for editors.
fn preset_names(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let names: Vec<&str> = Presets::builtin().names().collect();
    schemars::json_schema!({"type": ["string", "null"], "enum": names})
}
