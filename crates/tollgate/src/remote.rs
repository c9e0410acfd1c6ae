//! Commands as clients of a running server's JSON API.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::data_dir::DataDir;

/// A server and the right to ask it.
pub(crate) struct Remote {
    url: String,
    token: String,
    client: Client<hyper_rustls::HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Remote {
    /// The server at `url`, or the one that runs on this data directory; `None` if there is neither.
    ///
    /// # Errors
    /// If a server is named or runs but no token for it is at hand.
    pub(crate) fn find(url: Option<&str>, data: &DataDir) -> anyhow::Result<Option<Remote>> {
        let running = data.running_server().map(|server| server.console);
        let Some(url) = url.map(str::to_owned).or(running) else { return Ok(None) };
        let token = std::env::var("TOLLGATE_TOKEN").ok().or_else(|| data.local_token());
        let token = token.with_context(|| {
            format!("no token for `{url}`; set TOLLGATE_TOKEN to one made by `tollgate token create`")
        })?;
        let connector =
            hyper_rustls::HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Some(Remote { url: url.trim_end_matches('/').to_owned(), token: token.trim().to_owned(), client }))
    }

    /// Asks and returns the body of the answer.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses; its own words are passed on.
    pub(crate) async fn post(&self, path: &str, body: &Value, accept: &str) -> anyhow::Result<Bytes> {
        let body = Full::new(Bytes::from(serde_json::to_vec(body)?));
        self.ask(Method::POST, path, body, accept).await
    }

    /// Asks and returns the body of the answer.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses; its own words are passed on.
    pub(crate) async fn get(&self, path: &str, accept: &str) -> anyhow::Result<Bytes> {
        self.ask(Method::GET, path, Full::default(), accept).await
    }

    async fn ask(&self, method: Method, path: &str, body: Full<Bytes>, accept: &str) -> anyhow::Result<Bytes> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, accept)
            .body(body)?;
        let response = self.client.request(request).await.with_context(|| format!("asking `{}`", self.url))?;
        let status = response.status();
        let body = response.into_body().collect().await.context("reading the answer")?.to_bytes();
        if !status.is_success() {
            bail!("{}", refusal(&body).unwrap_or_else(|| format!("`{}{path}` answered {status}", self.url)));
        }
        Ok(body)
    }
}

/// Message and hint of the API's error object.
fn refusal(body: &[u8]) -> Option<String> {
    let error: Value = serde_json::from_slice(body).ok()?;
    let message = error["error"]["message"].as_str()?;
    Some(match error["error"]["hint"].as_str() {
        Some(hint) if !hint.is_empty() => format!("{message}; {hint}"),
        _ => message.to_owned(),
    })
}

/// Percent-encodes one value of a query string.
pub(crate) fn query_value(value: &str) -> String {
    url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
}
