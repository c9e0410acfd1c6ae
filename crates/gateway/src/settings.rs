//! What the operator decides about the gateway, as plain values. Reading them from a file, from the environment or from
//! the command line is the binary's work; checking that they make sense together is [`crate::route`]'s.

use std::fmt;
use std::time::Duration;

use tollgate_policy::key::Network;
use tollgate_policy::residency::{Place, Places};
use tollgate_policy::route::{Conduct, Retries, WhenAllRest};
use tollgate_provider::preset::{Api, Quirks};
use tollgate_provider::served;
use tollgate_provider::translate::OnUnsupported;

pub use crate::cache::CacheSettings;
pub use crate::health::Breaker;
use crate::jwt::JwtIssuer;
pub use tollgate_policy::route::Strategy;

/// A text that must not be printed: the key of a provider.
#[derive(Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes the text in.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the one header it belongs in.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Whose API a provider has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// OpenAI's API, or a server compatible with it.
    Openai,
    /// OpenAI's models at Microsoft Azure.
    Azure,
    /// Anthropic's Messages API, or a server compatible with it.
    Anthropic,
    /// Google's Gemini API.
    Gemini,
    /// Google's and Anthropic's models, and others, at Google Vertex AI.
    Vertex,
    /// Amazon Bedrock.
    Bedrock,
    /// The built-in pretend provider, which speaks every dialect and calls nobody.
    Sandbox,
}

impl ProviderKind {
    /// The name the price catalogue knows it by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ProviderKind::Openai => "openai",
            ProviderKind::Azure => "azure",
            ProviderKind::Anthropic => "anthropic",
            ProviderKind::Gemini => "google",
            ProviderKind::Vertex => "vertex",
            ProviderKind::Bedrock => "aws",
            ProviderKind::Sandbox => "sandbox",
        }
    }
}

/// Where calls can be sent.
#[derive(Clone, Debug)]
pub struct ProviderSettings {
    /// Its name in the configuration, the part of a model before the slash.
    pub name: String,
    /// Whose API it has.
    pub kind: ProviderKind,
    /// Such as `https://api.openai.com/v1`; a URL without a path gets the API's usual one. Not used by the sandbox.
    pub base_url: String,
    /// Certificates of authorities that are believed about this provider beside the usual ones, as PEM.
    pub authorities_pem: Option<String>,
    /// How the gateway shows who it is.
    pub credentials: Credentials,
    /// Whether it also has the Responses API. Where it does not, callers of that are translated.
    pub has_responses: bool,
    /// Azure's `api-version`; without one, its API without versions is used.
    pub api_version: Option<String>,
    /// Where it runs, for the record; also the region that requests to Amazon are signed for, and the one that Vertex AI
    /// is asked to serve them in.
    pub region: Option<String>,
    /// Project that calls to Vertex AI are made in.
    pub project: Option<String>,
    /// What it has besides what its kind says; `None` for all that the kind has.
    pub has: Option<Vec<Api>>,
    /// What sets it apart from others that speak OpenAI's format.
    pub quirks: Quirks,
    /// Where it is, for the policy.
    pub places: Places,
    /// Whether it runs on machines of whoever runs this gateway.
    pub self_hosted: bool,
    /// Labels a policy can prefer.
    pub tags: Vec<String>,
    /// The models it serves; `None` for any name.
    pub models: Option<Vec<String>>,
    /// Name the price catalogue knows it by, if that is not its kind's.
    pub price_as: Option<String>,
}

/// The places that calls to `model` of a provider touch, of which `places` are configured. A cross-region profile of
/// Amazon's is served wherever in its geography there is room, whatever was configured.
#[must_use]
pub fn places_of(kind: ProviderKind, places: &Places, model: &str) -> Places {
    let mut places = places.clone();
    if let Some(geography) = (kind == ProviderKind::Bedrock).then(|| served::bedrock_geography(model)).flatten() {
        // Amazon's `sa` is South America, and not Saudi Arabia.
        places.inference = Place::parse(geography).ok().filter(|_| geography != "sa");
    }
    places
}

/// How the gateway shows a provider who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Not at all.
    #[default]
    None,
    /// By a key, in the header in which the provider wants it.
    Key(Secret),
    /// By signing each request (AWS Signature Version 4).
    Aws {
        /// Public half of the key.
        access_key_id: String,
        /// Secret half.
        secret_access_key: Secret,
        /// Of temporary credentials.
        session_token: Option<Secret>,
    },
    /// By an access token that is fetched, and fetched anew before it expires.
    Token(TokenSource),
}

/// Where access tokens come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// Google, for a service account, by an assertion signed with its key (RFC 7523).
    ServiceAccount {
        /// Whom the token is for.
        client_email: String,
        /// Name of the key.
        private_key_id: String,
        /// The key: PKCS #8 in PEM.
        private_key: Secret,
        /// URL that gives tokens.
        token_url: String,
    },
    /// Google, for a person who has allowed it, by a refresh token (RFC 6749 §6).
    AuthorizedUser {
        /// The application that was allowed to.
        client_id: String,
        /// Its secret.
        client_secret: Secret,
        /// What the person's consent left.
        refresh_token: Secret,
        /// URL that gives tokens.
        token_url: String,
    },
    /// The metadata server of the machine at Google on which this runs, for the machine's service account.
    MetadataServer {
        /// Its origin, such as `http://metadata.google.internal`.
        url: String,
    },
    /// Microsoft Entra, for an application, by its secret (RFC 6749 §4.4).
    Entra {
        /// Origin of the authority, such as `https://login.microsoftonline.com`.
        authority: String,
        /// Directory of the application: an id or a domain.
        tenant_id: String,
        /// The application.
        client_id: String,
        /// Its secret.
        client_secret: Secret,
        /// What the token is to be good for.
        scope: String,
    },
}

/// A name that stands for a list of targets.
#[derive(Clone, Debug)]
pub struct ModelRoute {
    /// What callers write as the model.
    pub alias: String,
    /// Each `provider/model`, or another alias, which stands for its targets in their order.
    pub targets: Vec<String>,
    /// Of the targets, for the strategy that goes by them; where there is none it is 1.
    pub weights: Vec<u32>,
    /// How they are ordered, and how calls are conducted.
    pub conduct: Conduct,
    /// When the record of a call by this alias counts as safe; `None` for [`GatewaySettings::ack`].
    pub ack: Option<AckMode>,
    /// What becomes of fields that the format of a target's provider cannot express.
    pub on_unsupported: OnUnsupported,
    /// What becomes of the upstream call when the caller hangs up; `None` for [`GatewaySettings::on_disconnect`].
    pub on_disconnect: Option<OnDisconnect>,
}

/// When a call's record counts as safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AckMode {
    /// `opened` has reached the operating system before the upstream call.
    Async,
    /// `opened` is on disk before the upstream call.
    #[default]
    Intent,
    /// As `Intent`, and the last byte waits until `settled` is on disk.
    Sync,
}

/// What becomes of the upstream call when the caller hangs up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDisconnect {
    /// Read it to its end, within [`Timeouts::drain`], so that the count of tokens is the provider's.
    #[default]
    Drain,
    /// Break it off, and estimate.
    Cancel,
}

/// Sizes beyond which the gateway refuses. In bytes unless named otherwise.
#[derive(Clone, Debug)]
pub struct Limits {
    /// All header names and values of a request together.
    pub header_bytes: usize,
    /// Body of a request.
    pub request_bytes: usize,
    /// Body of a refused request that is read and thrown away so that the caller can read the refusal.
    pub discard_bytes: usize,
    /// Body of an answer that is not a stream: held back until it is whole. A larger one is passed on in pieces.
    pub buffered_response_bytes: usize,
    /// Body of an answer kept for the record. What is beyond is passed on, and the record says that it is not whole.
    pub recorded_response_bytes: usize,
    /// Bytes read after the caller has hung up.
    pub drain_bytes: usize,
    /// One message on a WebSocket.
    pub message_bytes: usize,
    /// Upstream calls made for one request.
    pub attempts: usize,
    /// Idle connections kept per provider.
    pub idle_connections: usize,
    /// Connections from callers; further ones wait to be accepted.
    pub connections: usize,
    /// Copies of calls under way at once; beyond that none is made.
    pub shadow_calls: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Limits {
            header_bytes: 64 * 1024,
            request_bytes: 32 * MIB,
            discard_bytes: 96 * MIB,
            buffered_response_bytes: 8 * MIB,
            recorded_response_bytes: 32 * MIB,
            drain_bytes: 64 * MIB,
            // OpenAI takes 15 MiB of sound in one.
            message_bytes: 16 * MIB,
            attempts: 3,
            idle_connections: 256,
            connections: 10_000,
            shadow_calls: 64,
        }
    }
}

/// How long the gateway waits.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// For a connection to a provider, TLS included.
    pub connect: Duration,
    /// From the request to the head of the answer.
    pub first_byte: Duration,
    /// Between two pieces of an answer.
    pub idle_stream: Duration,
    /// For the whole call.
    pub total: Duration,
    /// For a caller to send the body of its request.
    pub request_body: Duration,
    /// For an upstream answer whose caller has hung up.
    pub drain: Duration,
    /// An upstream connection that has not been used for this long is not used again.
    pub idle_connection: Duration,
    /// For either side of a conversation over a WebSocket to say something, pings included.
    pub session_idle: Duration,
    /// For a whole conversation over a WebSocket.
    pub session_total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(300),
            idle_stream: Duration::from_secs(120),
            total: Duration::from_secs(900),
            request_body: Duration::from_secs(60),
            drain: Duration::from_secs(60),
            idle_connection: Duration::from_secs(50),
            session_idle: Duration::from_secs(900),
            // OpenAI ends them after an hour.
            session_total: Duration::from_secs(4_000),
        }
    }
}

/// A ledger that several processes share.
#[derive(Clone, Debug)]
pub struct LedgerSettings {
    /// URL of a Redis or Valkey server: `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS.
    pub url: Secret,
    /// Certificates of authorities that are believed about it beside the usual ones, as PEM; for `rediss://`.
    pub authorities_pem: Option<String>,
    /// What calls do while it does not answer.
    pub on_down: OnLedgerDown,
    /// Beginning of all names on the server: processes with the same one share their budgets.
    pub prefix: String,
}

/// Slices of budgets and limits that a control plane lends.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    /// Where they come from.
    pub office: std::sync::Arc<dyn crate::LeaseOffice>,
    /// What calls do once slices have ended and cannot be renewed.
    pub on_down: OnLedgerDown,
}

/// What becomes of calls that budgets or limits are about while the shared ledger does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLedgerDown {
    /// They are denied.
    #[default]
    Deny,
    /// They go by what the log and this process know: each process keeps every limit for itself.
    Local,
}

impl OnLedgerDown {
    /// As the configuration writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            OnLedgerDown::Deny => "deny",
            OnLedgerDown::Local => "local",
        }
    }
}

/// Everything the gateway is told when it starts.
#[derive(Clone, Debug, Default)]
pub struct GatewaySettings {
    /// Sizes.
    pub limits: Limits,
    /// Times.
    pub timeouts: Timeouts,
    /// Where calls can go.
    pub providers: Vec<ProviderSettings>,
    /// Names for groups of targets.
    pub models: Vec<ModelRoute>,
    /// Key of the hash that stands for an end user in the log. Whoever has it can test guesses; keep it with the data.
    pub user_hash_key: [u8; 32],
    /// When a record counts as safe.
    pub ack: AckMode,
    /// What becomes of the upstream call when the caller hangs up.
    pub on_disconnect: OnDisconnect,
    /// Issuers whose tokens are taken in place of virtual keys.
    pub jwt: Vec<JwtIssuer>,
    /// Proxies of the operator's own, which say in `x-forwarded-for` for whom they ask.
    pub trusted_proxies: Vec<Network>,
    /// When a target's circuit opens.
    pub breaker: Breaker,
    /// Further attempts, where a route says nothing else.
    pub retries: Retries,
    /// What is done when every target of a route rests, where the route says nothing else.
    pub when_all_rest: WhenAllRest,
    /// The write-ahead log's position name, `writer/epoch`, as it stands in the watermarks of a signals snapshot.
    pub log_position: String,
    /// The ledger that it shares with others; `None` if it keeps its own.
    pub ledger: Option<LedgerSettings>,
    /// The control plane that lends it slices of budgets, in place of a shared ledger.
    pub leases: Option<LeaseSettings>,
    /// What calls do in a process with books of its own while it does not know what it has lent to others.
    pub on_ledger_down: OnLedgerDown,
    /// Where answers are kept for routes that want them given again; `None` if nowhere.
    pub cache: Option<CacheSettings>,
}
