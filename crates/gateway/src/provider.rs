//! A provider as the gateway reaches it: in which format it is spoken to, at which path, with which headers. What the
//! formats say is [`tollgate_provider`]'s; whether a call goes here at all is [`crate::route`]'s.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use tollgate_interaction::{Dialect, Operation};
use tollgate_provider::aws;

use crate::error::CallError;
use crate::route::RouteError;
use crate::settings::{Credentials, GatewaySettings, ProviderKind, ProviderSettings, Secret};
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
    has_responses: bool,
    api_version: Option<String>,
    /// Path under which the API lies, without a slash at its end.
    root: String,
    fixed: FixedPaths,
    /// Headers of every request, the key among them.
    headers: HeaderMap,
    /// Signs each request, where that is how the provider wants it.
    credentials: Credentials,
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
        let root = if base.path() == "/" { usual_root(settings) } else { base.path() };
        let path = |end: &str| format!("{root}{end}").parse::<Uri>().map_err(|_| bad_url());
        let pool =
            || Pool::new(connector.clone(), origin.clone(), all.limits.idle_connections, all.timeouts.idle_connection);
        Ok(Provider {
            kind: settings.kind,
            region: settings.region.clone(),
            price_name: settings.price_as.clone().unwrap_or_else(|| settings.kind.as_str().to_owned()),
            pool: (settings.kind != ProviderKind::Sandbox).then(|| Arc::new(pool())),
            is_local: is_loopback(authority.host()),
            tags: settings.tags.clone(),
            models: settings.models.clone(),
            has_responses: settings.has_responses,
            api_version: settings.api_version.clone(),
            root: root.to_owned(),
            fixed: FixedPaths {
                chat: path("/chat/completions")?,
                embeddings: path("/embeddings")?,
                messages: path("/messages")?,
                responses: path("/responses")?,
            },
            headers: headers(settings, authority.as_str())?,
            credentials: settings.credentials.clone(),
            host: authority.as_str().to_owned(),
            shown_as,
            name,
        })
    }

    /// The format in which the provider is spoken to for a caller of `dialect`; `None` if it has no such operation. Where
    /// it is another than the caller's, the call is translated.
    pub(crate) fn spoken(&self, dialect: Dialect, operation: Operation) -> Option<Dialect> {
        if operation == Operation::Realtime {
            return matches!(self.kind, ProviderKind::Openai | ProviderKind::Azure).then_some(dialect);
        }
        if operation != Operation::Chat {
            let has_it = matches!(self.kind, ProviderKind::Openai | ProviderKind::Azure | ProviderKind::Sandbox);
            return has_it.then_some(dialect);
        }
        Some(match self.kind {
            ProviderKind::Sandbox => dialect,
            ProviderKind::Openai | ProviderKind::Azure if dialect == Dialect::Responses && self.has_responses => {
                dialect
            }
            ProviderKind::Openai | ProviderKind::Azure => Dialect::Openai,
            ProviderKind::Anthropic => Dialect::Anthropic,
            ProviderKind::Gemini => Dialect::Gemini,
            ProviderKind::Bedrock => Dialect::Bedrock,
        })
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
        let model = || aws::encoded_segment(model);
        let end = match (spoken, &self.api_version) {
            (Dialect::Openai, Some(version)) if operation == Operation::Realtime => {
                format!("/realtime?api-version={version}&deployment={}", model())
            }
            (Dialect::Openai, None) if operation == Operation::Realtime => format!("/realtime?model={}", model()),
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
        ProviderKind::Bedrock => "",
    }
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
            ProviderKind::Gemini => (X_GOOG_API_KEY, key.to_owned()),
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
