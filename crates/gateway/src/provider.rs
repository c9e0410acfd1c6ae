//! A provider as the gateway reaches it: in which format it is spoken to, at which path, with which headers. What the
//! formats say is [`tollgate_provider`]'s; whether a call goes here at all is [`crate::route`]'s.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use tollgate_interaction::{Dialect, Operation};
use tollgate_policy::residency::Places;
use tollgate_provider::aws;
use tollgate_provider::preset::{Api, Quirks};
use tollgate_provider::served::{self, Publisher};

use crate::error::CallError;
use crate::route::RouteError;
use crate::settings::{Credentials, GatewaySettings, ProviderKind, ProviderSettings, Secret, places_of};
use crate::token::Tokens;
use crate::upstream::{Connector, Pool};

/// Anthropic's API version where the caller states none.
const ANTHROPIC_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
/// The method of [`Operation::Realtime`]; the query names the model.
pub(crate) const REALTIME: &str = "realtime";
const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// A provider, ready to be called.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) name: String,
    pub(crate) kind: ProviderKind,
    pub(crate) region: Option<String>,
    places: Places,
    pub(crate) self_hosted: bool,
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
        // Whoever stands between here and the provider stands before those who give its tokens, too.
        let own = match &settings.authorities_pem {
            Some(pem) => Some(Connector::new(Some(pem)).map_err(|source| {
                let provider = name.clone();
                RouteError::Authorities { provider, source }
            })?),
            None => None,
        };
        let connector = own.as_ref().unwrap_or(connector);
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
            places: settings.places.clone(),
            self_hosted: settings.self_hosted,
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
            return self.spoken_beside_chat(dialect, operation, model);
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

    fn spoken_beside_chat(&self, dialect: Dialect, operation: Operation, model: &str) -> Option<Dialect> {
        use Operation as Of;
        use ProviderKind as Kind;
        match (operation, dialect, self.kind) {
            (Of::Embeddings, Dialect::Openai | Dialect::Gemini, kind) => match kind {
                Kind::Openai | Kind::Azure => self.offers(Api::Embeddings).then_some(Dialect::Openai),
                Kind::Gemini => Some(Dialect::Gemini),
                Kind::Sandbox => Some(dialect),
                Kind::Vertex => (Publisher::of(model).0 == Publisher::Google).then_some(Dialect::Gemini),
                Kind::Anthropic | Kind::Bedrock => None,
            },
            (Of::CountTokens, _, kind) => match kind {
                // Those who copy the Responses API do not count tokens before a call.
                Kind::Openai | Kind::Azure => (self.has_responses && self.has.is_none()).then_some(Dialect::Responses),
                Kind::Anthropic => Some(Dialect::Anthropic),
                Kind::Gemini => Some(Dialect::Gemini),
                Kind::Vertex => match Publisher::of(model).0 {
                    Publisher::Google => Some(Dialect::Gemini),
                    Publisher::Anthropic => Some(Dialect::Anthropic),
                    Publisher::Other => None,
                },
                Kind::Bedrock => Some(Dialect::Bedrock),
                Kind::Sandbox => Some(dialect),
            },
            // Azure has other services for these two.
            (Of::Moderations | Of::Rerank, Dialect::Openai, Kind::Openai | Kind::Sandbox)
            | (
                Of::Completions | Of::Images | Of::Speech | Of::Transcription | Of::Translation,
                Dialect::Openai,
                Kind::Openai | Kind::Azure | Kind::Sandbox,
            )
            | (Of::Files | Of::Batches | Of::Realtime, Dialect::Openai, Kind::Openai | Kind::Azure) => {
                Api::of(operation).is_none_or(|api| self.offers(api)).then_some(Dialect::Openai)
            }
            (Of::Files | Of::Batches, Dialect::Anthropic, Kind::Anthropic) => Some(Dialect::Anthropic),
            _ => None,
        }
    }

    /// Whether vectors are asked of it under other methods than those of the dialect that is spoken to it (Vertex AI).
    pub(crate) fn embeds_in_its_own_words(&self, operation: Operation) -> bool {
        self.kind == ProviderKind::Vertex && operation == Operation::Embeddings
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

    /// The places that calls to `model` touch.
    pub(crate) fn places_of(&self, model: &str) -> Places {
        places_of(self.kind, &self.places, model)
    }

    /// Where a request for `model` goes, in origin form. `method` is the part of the path that says what is to be done, in
    /// the words of the dialect `spoken`.
    ///
    /// # Errors
    /// [`CallError::Internal`] if the model's name makes no path, which percent-encoding rules out.
    pub(crate) fn path(&self, spoken: Dialect, model: &str, method: &str, stream: bool) -> Result<Uri, CallError> {
        if self.kind == ProviderKind::Vertex {
            let path = format!("{}{}", self.root, served::vertex_path(model, method, stream));
            return path.parse().map_err(|_| CallError::Internal);
        }
        let end = match (spoken, &self.api_version) {
            (Dialect::Openai, Some(version)) if method == REALTIME => {
                format!("/realtime?api-version={version}&deployment={}", aws::encoded_segment(model))
            }
            (Dialect::Openai, None) if method == REALTIME => format!("/realtime?model={}", aws::encoded_segment(model)),
            (Dialect::Openai | Dialect::Responses, Some(version)) => {
                // What is kept belongs to the resource, and everything else to a deployment.
                let is_kept = ["files", "batches", "responses"].iter().any(|kept| method.starts_with(kept));
                let before = if is_kept || model.is_empty() {
                    String::new()
                } else {
                    format!("/deployments/{}", aws::encoded_segment(model))
                };
                let separator = if method.contains('?') { '&' } else { '?' };
                format!("{before}/{method}{separator}api-version={version}")
            }
            (Dialect::Gemini, _) => {
                // Events can be told apart as they come, whatever the caller wants of them.
                let events = if method == "streamGenerateContent" { "?alt=sse" } else { "" };
                format!("/models/{}:{method}{events}", aws::encoded_segment(model))
            }
            (Dialect::Bedrock, _) => format!("/model/{}/{method}", aws::encoded_segment(model)),
            (Dialect::Openai | Dialect::Responses | Dialect::Anthropic, _) => match method {
                "chat/completions" => return Ok(self.fixed.chat.clone()),
                "messages" => return Ok(self.fixed.messages.clone()),
                "responses" => return Ok(self.fixed.responses.clone()),
                "embeddings" => return Ok(self.fixed.embeddings.clone()),
                "rerank" | "v2/rerank" => return self.rerank(method),
                method => format!("/{method}"),
            },
        };
        format!("{}{end}", self.root).parse().map_err(|_| CallError::Internal)
    }

    /// Where texts are ranked. Cohere's own API lies beside the one it has for clients of OpenAI's, not below it, and its
    /// second version beside the first.
    fn rerank(&self, method: &str) -> Result<Uri, CallError> {
        let root =
            self.root.strip_suffix("/compatibility/v1").map_or(self.root.clone(), |before| format!("{before}/v1"));
        let (before, version) = match method {
            "rerank" => (root.as_str(), ""),
            _ => (root.strip_suffix("/v1").unwrap_or(&root), "/v2"),
        };
        format!("{before}{version}/rerank").parse().map_err(|_| CallError::Internal)
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
