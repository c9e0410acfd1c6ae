//! The way to the control plane: its JSON API, with the sidecar's token.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Method;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Half a million keys fit; more is not a control document.
const DOCUMENT_LIMIT_BYTES: usize = 256 << 20;

/// Why the control plane gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoorError {
    /// It could not be asked.
    #[error("`{url}` cannot be asked: {why}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What happened.
        why: String,
    },
    /// It answered, and not with what was asked for.
    #[error("`{url}` answered {status} (`{code}`): {message}; is the token one of role `sidecar`?")]
    Refused {
        /// What was asked.
        url: String,
        /// Its status, as it came.
        status: String,
        /// Its stable code; empty if it gave none.
        code: String,
        /// Its message; empty if it gave none.
        message: String,
    },
}

/// The control plane's API.
pub(crate) struct Door {
    base: String,
    token: String,
    client: Client<hyper_rustls::HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("base", &self.base).finish_non_exhaustive()
    }
}

/// What a console answers with if it refuses.
#[derive(Default, serde::Deserialize)]
struct Refusal {
    #[serde(default)]
    error: Note,
}

#[derive(Default, serde::Deserialize)]
struct Note {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Door {
    /// To the console at `base`.
    pub(crate) fn new(base: &str, token: &str) -> Door {
        let connector =
            hyper_rustls::HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Door { base: base.trim_end_matches('/').to_owned(), token: token.to_owned(), client }
    }

    /// What is at `path`.
    ///
    /// # Errors
    /// [`DoorError`] if it is not to be had in time.
    pub(crate) async fn get(&self, path: &str) -> Result<Bytes, DoorError> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Sends JSON to `path`.
    ///
    /// # Errors
    /// [`DoorError`] if it is not taken in time.
    pub(crate) async fn post(&self, path: &str, body: Vec<u8>) -> Result<Bytes, DoorError> {
        self.ask(Method::POST, path, body.into()).await
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, DoorError> {
        let url = format!("{}{path}", self.base);
        let unreachable = |why: String| DoorError::Unreachable { url: url.clone(), why };
        let request = hyper::Request::builder()
            .method(method)
            .uri(&url)
            .header(hyper::header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(hyper::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| unreachable(error.to_string()))?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| unreachable(error.to_string()))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), DOCUMENT_LIMIT_BYTES).collect().await;
            let body = body.map_err(|error| unreachable(error.to_string()))?.to_bytes();
            if status.is_success() {
                return Ok(body);
            }
            // Whatever stands between may answer with anything.
            let Note { code, message } =
                serde_json::from_slice::<Refusal>(&body).map(|refusal| refusal.error).unwrap_or_default();
            Err(DoorError::Refused { url: url.clone(), status: status.to_string(), code, message })
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(unreachable(format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()))),
        }
    }
}
