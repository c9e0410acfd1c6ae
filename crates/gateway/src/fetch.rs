//! Small documents from other servers over HTTP: one connection, one request, one answer within bounds. Redirects are not
//! followed: whoever may answer for a document is named in the configuration.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Uri, Version, header};
use http_body_util::Full;

use crate::upstream::{Connector, ExchangeError, Pool};

/// For the whole exchange.
const WAIT: Duration = Duration::from_secs(5);
/// Longest document.
const MAX_BYTES: usize = 256 * 1024;

/// Why there is no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("it cannot be reached")]
    Unreachable,
    #[error("it did not answer within {} seconds", WAIT.as_secs())]
    Late,
    #[error("it answered with status {status}")]
    Status { status: u16 },
    #[error("its answer is longer than {MAX_BYTES} bytes")]
    TooLong,
}

/// Where a document is.
#[derive(Debug)]
pub(crate) struct Place {
    url: Uri,
    pool: Arc<Pool>,
}

impl Place {
    /// `None` if `url` is not an http or https URL.
    pub(crate) fn new(url: &str, connector: &Connector) -> Option<Place> {
        let url: Uri = url.parse().ok()?;
        if !matches!(url.scheme_str(), Some("http" | "https")) {
            return None;
        }
        let (scheme, authority) = (url.scheme()?.clone(), url.authority()?.clone());
        let origin = Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build().ok()?;
        Some(Place { url, pool: Arc::new(Pool::new(connector.clone(), origin, 0, Duration::ZERO)) })
    }

    /// The document.
    ///
    /// # Errors
    /// [`FetchError`] if it is not to be had in time.
    pub(crate) async fn fetch(&self) -> Result<Bytes, FetchError> {
        tokio::time::timeout(WAIT, self.exchange()).await.unwrap_or(Err(FetchError::Late))
    }

    async fn exchange(&self) -> Result<Bytes, FetchError> {
        let lease = self.pool.connect().await.map_err(unreachable)?;
        let mut exchange = lease.send(self.request());
        let head = poll_fn(|cx| exchange.poll_head(cx)).await.map_err(unreachable)?;
        if !head.status.is_success() {
            return Err(FetchError::Status { status: head.status.as_u16() });
        }
        let mut body = Vec::new();
        while let Some(piece) = poll_fn(|cx| exchange.poll_chunk(cx)).await {
            body.extend_from_slice(&piece.map_err(unreachable)?);
            if body.len() > MAX_BYTES {
                return Err(FetchError::TooLong);
            }
        }
        Ok(body.into())
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let path = self.url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = path.parse().unwrap_or_default();
        *request.version_mut() = Version::HTTP_11;
        if let Some(host) = self.url.authority().and_then(|host| HeaderValue::try_from(host.as_str()).ok()) {
            request.headers_mut().insert(header::HOST, host);
        }
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        request
    }
}

fn unreachable(error: ExchangeError) -> FetchError {
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    tracing::debug!(%error, cause, "a document could not be fetched");
    FetchError::Unreachable
}
