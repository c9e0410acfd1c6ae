//! A provider as the gateway reaches it: in which format it is spoken to, at which path, with which headers. What the
//! formats say is [`tollgate_provider`]'s; whether a call goes here at all is [`crate::route`]'s.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use tollgate_interaction::{Dialect, Operation};
use tollgate_provider::aws;
use tollgate_provider::preset::{Api, Quirks};
use tollgate_provider::served::{self, Publisher};

use crate::error::CallError;
use crate::route::RouteError;
use crate::settings::{Credentials, GatewaySettings, ProviderKind, ProviderSettings, Secret};
use crate::token::Tokens;
use crate::upstream::{Connector, Pool};

/// Anthropic's API version where the caller states none.
const ANTHROPIC_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// A provider, ready to be called.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) name: String,
    pub(crate) kind: ProviderKind,
    pub(crate) region: Option<String>,
    pub(crate) price_name: String,
    /// `None` for the sandbox.
    pub(crate) pool: Option<Arc<Pool>>,
    /// Whether it is on this machine, so that headers that steer a scripted provider may reach it.
    pub(crate) is_local: bool,
    pub(crate) tags: Vec<String>,
    pub(crate) models: Option<Vec<String>>,
    pub(crate) quirks: Quirks,
    has: Option<Vec<Api>>,
    has_responses: bool,
    api_version: Option<String>,
    /// Path under which the API lies, without a slash at its end.
    root: String,
    fixed: FixedPaths,
    /// Headers of every request, the key among them.
    headers: HeaderMap,
    /// Signs each request, where that is how the provider wants it.
    credentials: Credentials,
    /// Where it wants an access token.
    tokens: Option<Tokens>,
    host: String,
    shown_as: HeaderValue,
}

/// Paths that do not depend on the model, parsed once.
#[derive(Debug)]
struct FixedPaths {
    chat: Uri,
    embeddings: Uri,
    messages: Uri,
    responses: Uri,
}

impl Provider {
    /// # Errors
    /// [`RouteError`] names the setting that makes no sense.
    pub(crate) fn new(
        settings: &ProviderSettings,
        all: &GatewaySettings,
        connector: &Connector,
    ) -> Result<Self, RouteError> {
        let name = settings.name.clone();
        let shown_as = HeaderValue::from_str(&name).ok().filter(|_| !name.is_empty() && !name.contains('/'));
        let Some(shown_as) = shown_as else { return Err(RouteError::ProviderName { name }) };
        let is_signed = matches!(settings.credentials, Credentials::Aws { .. });
        let is_placed = settings.region.is_some() || (!settings.base_url.is_empty() && !is_signed);
        if settings.kind == ProviderKind::Bedrock && !is_placed {
            return Err(RouteError::Region { provider: name });
        }
        let bad_url = || RouteError::BaseUrl { provider: name.clone(), url: settings.base_url.clone() };
        let base =
            if settings.kind == ProviderKind::Sandbox { "http://sandbox.invalid" } else { settings.base_url.as_str() };
        let base: Uri = base.trim_end_matches('/').parse().map_err(|_| bad_url())?;
        let (Some(scheme), Some(authority)) = (base.scheme_str(), base.authority()) else { return Err(bad_url()) };
        if !matches!(scheme, "http" | "https") || base.query().is_some() || authority.as_str().contains('@') {
            return Err(bad_url());
        }
        let origin = Uri::builder().scheme(scheme).authority(authority.clone()).path_and_query("/").build();
        let origin = origin.map_err(|_| bad_url())?;
        let root = match settings.kind {
            ProviderKind::Vertex => vertex_root(settings, base.path())?,
            _ if base.path() == "/" => usual_root(settings).to_owned(),
            _ => base.path().to_owned(),
        };
        let path = |end: &str| format!("{root}{end}").parse::<Uri>().map_err(|_| bad_url());
        let pool =
            || Pool::new(connector.clone(), origin.clone(), all.limits.idle_connections, all.timeouts.idle_connection);
        let tokens = match &settings.credentials {
            Credentials::Token(source) => Some(Tokens::new(&name, source, connector).map_err(|source| {
                let provider = name.clone();
                RouteError::Token { provider, source }
            })?),
            Credentials::None | Credentials::Key(_) | Credentials::Aws { .. } => None,
        };
        Ok(Provider {
            kind: settings.kind,
            region: settings.region.clone(),
            price_name: settings.price_as.clone().unwrap_or_else(|| settings.kind.as_str().to_owned()),
            pool: (settings.kind != ProviderKind::Sandbox).then(|| Arc::new(pool())),
            is_local: is_loopback(authority.host()),
            tags: settings.tags.clone(),
            models: settings.models.clone(),
            quirks: settings.quirks,
            has: settings.has.clone(),
            has_responses: settings.has_responses,
            api_version: settings.api_version.clone(),
            fixed: FixedPaths {
                chat: path("/chat/completions")?,
                embeddings: path("/embeddings")?,
                messages: path("/messages")?,
                responses: path("/responses")?,
            },
            headers: headers(settings, authority.as_str())?,
            credentials: settings.credentials.clone(),
            tokens,
            host: authority.as_str().to_owned(),
            shown_as,
            root,
            name,
        })
    }

    /// The format in which the provider is spoken to about `model` for a caller of `dialect`; `None` if it has no such
    /// operation. Where it is another than the caller's, the call is translated.
    pub(crate) fn spoken(&self, dialect: Dialect, operation: Operation, model: &str) -> Option<Dialect> {
        if operation != Operation::Chat {
            let is_offered = operation != Operation::Embeddings || self.offers(Api::Embeddings);
            let has_it = matches!(self.kind, ProviderKind::Openai | ProviderKind::Azure | ProviderKind::Sandbox);
            return (has_it && is_offered).then_some(dialect);
        }
        Some(match self.kind {
            ProviderKind::Sandbox => dialect,
            ProviderKind::Openai | ProviderKind::Azure if dialect == Dialect::Responses && self.has_responses => {
                dialect
            }
            ProviderKind::Openai | ProviderKind::Azure if self.offers(Api::Chat) => Dialect::Openai,
            ProviderKind::Openai | ProviderKind::Azure => {
                return self.has_responses.then_some(Dialect::Responses);
            }
            ProviderKind::Anthropic => Dialect::Anthropic,
            ProviderKind::Gemini => Dialect::Gemini,
            ProviderKind::Vertex => match Publisher::of(model).0 {
                Publisher::Google => Dialect::Gemini,
                Publisher::Anthropic => Dialect::Anthropic,
                Publisher::Other => Dialect::Openai,
            },
            ProviderKind::Bedrock => Dialect::Bedrock,
        })
    }

    /// Whether it has this, as far as that is known of it.
    fn offers(&self, api: Api) -> bool {
        self.has.as_ref().is_none_or(|has| has.contains(&api))
    }

    /// Where calls to `model` are served: the region that is called or, for a cross-region profile of Amazon's, the
    /// geography it spans.
    pub(crate) fn region_of(&self, model: &str) -> Option<String> {
        let geography = (self.kind == ProviderKind::Bedrock).then(|| served::bedrock_geography(model)).flatten();
        geography.map(str::to_owned).or_else(|| self.region.clone())
    }

    /// Where a request for `model` goes, in origin form.
    ///
    /// # Errors
    /// [`CallError::Internal`] if the model's name makes no path, which percent-encoding rules out.
    pub(crate) fn path(
        &self,
        spoken: Dialect,
        operation: Operation,
        model: &str,
        stream: bool,
    ) -> Result<Uri, CallError> {
        if self.kind == ProviderKind::Vertex {
            let path = format!("{}{}", self.root, served::vertex_path(model, stream));
            return path.parse().map_err(|_| CallError::Internal);
        }
        let model = || aws::encoded_segment(model);
        let end = match (spoken, &self.api_version) {
            (Dialect::Responses, Some(version)) => format!("/responses?api-version={version}"),
            (Dialect::Openai, Some(version)) => {
                let operation = if operation == Operation::Embeddings { "embeddings" } else { "chat/completions" };
                format!("/deployments/{}/{operation}?api-version={version}", model())
            }
            (Dialect::Gemini, _) => {
                let method = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
                format!("/models/{}:{method}", model())
            }
            (Dialect::Bedrock, _) => {
                format!("/model/{}/{}", model(), if stream { "converse-stream" } else { "converse" })
            }
            (Dialect::Anthropic, _) => return Ok(self.fixed.messages.clone()),
            (Dialect::Responses, None) => return Ok(self.fixed.responses.clone()),
            (Dialect::Openai, None) if operation == Operation::Embeddings => return Ok(self.fixed.embeddings.clone()),
            (Dialect::Openai, None) => return Ok(self.fixed.chat.clone()),
        };
        format!("{}{end}", self.root).parse().map_err(|_| CallError::Internal)
    }

    /// The headers of a request, to which the caller's own may be added.
    pub(crate) fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    /// Whether calls need an access token.
    pub(crate) fn wants_token(&self) -> bool {
        self.tokens.is_some()
    }

    /// The value of `authorization` for a call, where the provider wants an access token. `now_us` is now.
    ///
    /// # Errors
    /// [`CallError::UpstreamToken`] if there is none to be had.
    pub(crate) async fn bearer(&self, now_us: i64) -> Result<Option<HeaderValue>, CallError> {
        let Some(tokens) = &self.tokens else { return Ok(None) };
        match tokens.bearer(now_us).await {
            Ok(value) => Ok(Some(value)),
            Err(source) => {
                let (provider, authority) = (self.name.clone(), tokens.authority());
                Err(CallError::UpstreamToken { provider, authority, source })
            }
        }
    }

    /// Notes that the provider has refused who the gateway says it is.
    pub(crate) fn was_not_recognised(&self) {
        if let Some(tokens) = &self.tokens {
            tokens.forget();
        }
    }

    /// Signs a request, if that is how the provider wants to be shown who calls. `at_us` is now.
    pub(crate) fn sign(&self, path: &Uri, headers: &mut HeaderMap, body: &[u8], at_us: i64) {
        let Credentials::Aws { access_key_id, secret_access_key, session_token } = &self.credentials else { return };
        let credentials = aws::Credentials {
            access_key_id,
            secret_access_key: secret_access_key.reveal(),
            session_token: session_token.as_ref().map(Secret::reveal),
        };
        // A provider whose requests are signed has one: `Provider::new` saw to it.
        let Some(region) = self.region.as_deref() else { return };
        let scope = aws::Scope { region, service: aws::BEDROCK, at_s: at_us / 1_000_000 };
        let unsigned = aws::Unsigned {
            method: "POST",
            path: path.path(),
            query: path.query().unwrap_or_default(),
            headers: &[("content-type", "application/json"), ("host", &self.host)],
            body_sha256: &aws::body_sha256(body),
        };
        let signed = aws::sign(credentials, scope, unsigned);
        let signed = [
            (header::AUTHORIZATION, Some(signed.authorization)),
            (HeaderName::from_static("x-amz-date"), Some(signed.x_amz_date)),
            (HeaderName::from_static("x-amz-security-token"), signed.x_amz_security_token),
        ];
        for (name, text) in signed {
            let Some(Ok(mut value)) = text.map(HeaderValue::try_from) else { continue };
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }

    pub(crate) fn shown_as(&self) -> HeaderValue {
        self.shown_as.clone()
    }
}

/// Where the API lies if the base URL names no path.
fn usual_root(settings: &ProviderSettings) -> &'static str {
    match settings.kind {
        ProviderKind::Openai | ProviderKind::Anthropic | ProviderKind::Sandbox => "/v1",
        ProviderKind::Azure if settings.api_version.is_some() => "/openai",
        ProviderKind::Azure => "/openai/v1",
        ProviderKind::Gemini => "/v1beta",
        ProviderKind::Bedrock | ProviderKind::Vertex => "",
    }
}

/// Everything at Vertex AI lies below a project and a location.
fn vertex_root(settings: &ProviderSettings, path: &str) -> Result<String, RouteError> {
    let (Some(project), Some(region)) = (&settings.project, &settings.region) else {
        return Err(RouteError::Project { provider: settings.name.clone() });
    };
    let version = if path == "/" { "/v1" } else { path };
    Ok(format!("{version}/projects/{}/locations/{}", aws::encoded_segment(project), aws::encoded_segment(region)))
}

/// Headers every request to a provider carries. Compressed answers are not asked for: they could not be read in passing.
fn headers(settings: &ProviderSettings, host: &str) -> Result<HeaderMap, RouteError> {
    const AGENT: HeaderValue = HeaderValue::from_static(concat!("tollgate/", env!("CARGO_PKG_VERSION")));
    let bad_key = |_| RouteError::ApiKey { provider: settings.name.clone() };
    let mut headers = HeaderMap::with_capacity(16);
    if let Ok(host) = HeaderValue::from_str(host) {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(header::USER_AGENT, AGENT);
    if settings.kind == ProviderKind::Anthropic {
        headers.insert(HeaderName::from_static("anthropic-version"), ANTHROPIC_VERSION);
    }
    if let Credentials::Key(key) = &settings.credentials {
        let key = key.reveal();
        let (name, text) = match settings.kind {
            ProviderKind::Anthropic => (X_API_KEY, key.to_owned()),
            ProviderKind::Gemini | ProviderKind::Vertex => (X_GOOG_API_KEY, key.to_owned()),
            ProviderKind::Azure => (API_KEY, key.to_owned()),
            ProviderKind::Openai | ProviderKind::Bedrock | ProviderKind::Sandbox => {
                (header::AUTHORIZATION, format!("Bearer {key}"))
            }
        };
        let mut value = HeaderValue::try_from(text).map_err(bad_key)?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
