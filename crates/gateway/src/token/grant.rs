//! How each authority is asked for a token. Requests are built here and sent by [`super::Tokens`].
//! Sources: <https://developers.google.com/identity/protocols/oauth2/service-account>,
//! <https://docs.cloud.google.com/compute/docs/metadata/querying-metadata>,
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow> (2026-11-26).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header};
use http_body_util::Full;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::json;
use tollgate_provider::aws::encoded_segment;

use super::{TokenError, google};
use crate::settings::TokenSource;

/// What Vertex AI wants a token to be good for.
const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// Longest life of an assertion that Google takes. Seconds.
const ASSERTION_LIFE_S: i64 = 3_600;
const METADATA_PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
const METADATA_FLAVOR: HeaderName = HeaderName::from_static("metadata-flavor");

/// Why a source of tokens makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// The private key is none.
    #[error(transparent)]
    Key(#[from] google::KeyFileError),
    /// The authority's address leads nowhere.
    #[error("`{url}`, which should give access tokens, is not an http or https URL")]
    Url {
        /// As configured.
        url: String,
    },
}

/// A source of tokens, ready to be asked.
pub(super) struct Grant {
    url: Uri,
    ask: Ask,
}

enum Ask {
    /// A form that is always the same.
    Form(String),
    /// An assertion that is signed anew each time.
    Assertion { client_email: String, key_id: String, key: Box<RsaKeyPair>, token_url: String },
    /// A question of the machine one runs on.
    Metadata,
}

impl Grant {
    /// # Errors
    /// [`GrantError`] names the part that makes no sense.
    pub(super) fn new(source: &TokenSource) -> Result<Grant, GrantError> {
        let (url, ask) = match source {
            TokenSource::ServiceAccount { client_email, private_key_id, private_key, token_url } => {
                let ask = Ask::Assertion {
                    client_email: client_email.clone(),
                    key_id: private_key_id.clone(),
                    key: Box::new(google::signing_key(private_key)?),
                    token_url: token_url.clone(),
                };
                (token_url.clone(), ask)
            }
            TokenSource::AuthorizedUser { client_id, client_secret, refresh_token, token_url } => {
                let form = form(&[
                    ("grant_type", "refresh_token"),
                    ("client_id", client_id),
                    ("client_secret", client_secret.reveal()),
                    ("refresh_token", refresh_token.reveal()),
                ]);
                (token_url.clone(), Ask::Form(form))
            }
            TokenSource::MetadataServer { url } => {
                (format!("{}{METADATA_PATH}", url.trim_end_matches('/')), Ask::Metadata)
            }
            TokenSource::Entra { authority, tenant_id, client_id, client_secret, scope } => {
                let (authority, tenant_id) = (authority.trim_end_matches('/'), encoded_segment(tenant_id));
                let form = form(&[
                    ("grant_type", "client_credentials"),
                    ("client_id", client_id),
                    ("client_secret", client_secret.reveal()),
                    ("scope", scope),
                ]);
                (format!("{authority}/{tenant_id}/oauth2/v2.0/token"), Ask::Form(form))
            }
        };
        let parsed: Option<Uri> = url.parse().ok();
        let is_http = |url: &Uri| matches!(url.scheme_str(), Some("http" | "https")) && url.authority().is_some();
        match parsed.filter(is_http) {
            Some(url) => Ok(Grant { url, ask }),
            None => Err(GrantError::Url { url }),
        }
    }

    /// The server to connect to.
    ///
    /// # Errors
    /// [`GrantError::Url`] if there is none.
    pub(super) fn origin(&self) -> Result<Uri, GrantError> {
        let wrong = || GrantError::Url { url: self.url.to_string() };
        let (Some(scheme), Some(authority)) = (self.url.scheme(), self.url.authority()) else { return Err(wrong()) };
        let origin = Uri::builder().scheme(scheme.clone()).authority(authority.clone()).path_and_query("/").build();
        origin.map_err(|_| wrong())
    }

    /// The server's name, for messages.
    pub(super) fn authority(&self) -> String {
        self.url.authority().map(ToString::to_string).unwrap_or_default()
    }

    /// A request for a token. `now_us` is now.
    ///
    /// # Errors
    /// [`TokenError::Unsigned`] if the key cannot sign.
    pub(super) fn request(&self, now_us: i64) -> Result<Request<Full<Bytes>>, TokenError> {
        let mut headers = HeaderMap::with_capacity(4);
        if let Ok(host) = HeaderValue::try_from(self.authority()) {
            headers.insert(header::HOST, host);
        }
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        let (method, body) = match &self.ask {
            Ask::Metadata => {
                headers.insert(METADATA_FLAVOR, HeaderValue::from_static("Google"));
                (Method::GET, String::new())
            }
            Ask::Form(form) => (Method::POST, form.clone()),
            Ask::Assertion { client_email, key_id, key, token_url } => {
                let assertion = assertion(client_email, key_id, key, token_url, now_us / 1_000_000)?;
                (Method::POST, form(&[("grant_type", JWT_BEARER), ("assertion", &assertion)]))
            }
        };
        if method == Method::POST {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        let path = self.url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap_or_default();
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// `application/x-www-form-urlencoded`; every byte that is not plain is encoded, the space too.
fn form(fields: &[(&str, &str)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encoded_segment(value))).collect();
    fields.join("&")
}

/// A signed JSON Web Token (RFC 7519) that asks for a token of the service account. Signing takes a millisecond or two,
/// once an hour, which is why it is not handed to another thread.
fn assertion(
    client_email: &str,
    key_id: &str,
    key: &RsaKeyPair,
    token_url: &str,
    now_s: i64,
) -> Result<String, TokenError> {
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": key_id});
    let claims = json!({
        "iss": client_email,
        "scope": CLOUD_PLATFORM,
        "aud": token_url,
        "iat": now_s,
        "exp": now_s + ASSERTION_LIFE_S,
    });
    let part = |part: serde_json::Value| BASE64URL.encode(part.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| TokenError::Unsigned)?;
    Ok(format!("{signed}.{}", BASE64URL.encode(signature)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Secret;
    use http_body_util::BodyExt as _;

    async fn sent(source: &TokenSource) -> (String, String, String) {
        let grant = Grant::new(source).unwrap();
        let (parts, body) = grant.request(0).unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let target = format!("{} {} {}", parts.method, grant.authority(), parts.uri);
        (target, format!("{:?}", parts.headers), String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn entra_is_asked_by_the_applications_secret() {
        let (target, _, body) = sent(&TokenSource::Entra {
            authority: "https://login.microsoftonline.com/".into(),
            tenant_id: "contoso.example".into(),
            client_id: "app".into(),
            client_secret: Secret::new("s~3 &="),
            scope: "https://cognitiveservices.azure.com/.default".into(),
        })
        .await;
        assert_eq!(target, "POST login.microsoftonline.com /contoso.example/oauth2/v2.0/token");
        assert_eq!(
            body,
            "grant_type=client_credentials&client_id=app&client_secret=s~3%20%26%3D&scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default"
        );
    }

    #[tokio::test]
    async fn the_metadata_server_is_asked_as_it_wants_to_be() {
        let source = TokenSource::MetadataServer { url: "http://metadata.google.internal".into() };
        let (target, headers, body) = sent(&source).await;
        assert_eq!(target, "GET metadata.google.internal /computeMetadata/v1/instance/service-accounts/default/token");
        assert!(headers.contains(r#""metadata-flavor": "Google""#) && body.is_empty(), "{headers}");
    }

    #[test]
    fn an_authority_that_is_none_is_refused() {
        let source = TokenSource::MetadataServer { url: "metadata".into() };
        assert!(matches!(Grant::new(&source), Err(GrantError::Url { url }) if url.starts_with("metadata/")));
    }
}
