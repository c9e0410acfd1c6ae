//! Why the settings make no gateway.

use crate::token::GrantError;
use crate::trust::TrustError;

/// Why the settings make no gateway.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The shared ledger cannot be set up.
    #[error("the shared ledger (`ledger`) cannot be used")]
    Ledger {
        /// What is wrong with it.
        #[source]
        source: crate::shared::ServerError,
    },
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
    /// Aliases that lead back to where they come from.
    #[error("model `{alias}` leads back to itself: {path}; name a `provider/model` in one of them")]
    Circle {
        /// The alias.
        alias: String,
        /// The way round, as `a → b → a`.
        path: String,
    },
    /// A shadow that no provider serves.
    #[error("model `{alias}` copies calls to `{target}`, which no configured provider serves; {hint}")]
    UnknownShadow {
        /// The alias.
        alias: String,
        /// As configured.
        target: String,
        /// What may have been meant.
        hint: String,
    },
    /// TLS could not be set up.
    #[error("the way to the providers cannot be set up")]
    Tls(#[from] TrustError),
    /// The operator's own authorities are none.
    #[error("the authorities that `ca_file` of provider `{provider}` names cannot be used")]
    Authorities {
        /// The provider.
        provider: String,
        /// What is wrong.
        source: TrustError,
    },
}
