//! The witnesses of a running node's log: which there are, and how they are asked.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use fs_err as fs;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tollgate_config::{Config, ConfigError};
use tollgate_lake::policy::Policy;
use tollgate_lake::witnessing::{self, WitnessAnswer, WitnessClient, WitnessSettings};
use tollgate_policy::bundle::BundleError as SourceError;

use crate::command::witness::status;

/// Largest answer: some cosignatures.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Reads a policy of witnesses.
///
/// # Errors
/// [`ConfigError`] names the file and the line.
pub(crate) fn read_policy_file(path: &Path) -> Result<Policy, ConfigError> {
    let path = path.to_path_buf();
    // The error of `fs_err` names the file, and so does ours.
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(source) => return Err(ConfigError::Read { path, source }),
    };
    Policy::parse(&text).map_err(|error| {
        let source = SourceError { line: error.line, column: 1, message: error.message };
        ConfigError::Mistake { path, source }
    })
}

/// The configured policy of witnesses, checked before anything is started.
///
/// # Errors
/// If the file cannot be read, is no policy, or gives a URL that is none.
pub(crate) fn read_witness_policy(config: &Config) -> Result<Option<Policy>, ConfigError> {
    let Some(written) = &config.log.witness_policy else { return Ok(None) };
    let path = config.folder.join(&written.value);
    let policy = read_policy_file(&path).map_err(|error| match error {
        ConfigError::Read { path, source } => config.mistake_at(
            written.referenced,
            format!(
                "the policy of witnesses `{}`, which `log.witness_policy` names, cannot be read: {source}",
                path.display()
            ),
        ),
        other => other,
    })?;
    for url in policy.witnesses().iter().filter_map(|witness| witness.url.as_ref()) {
        if url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        let line = text.lines().position(|line| line.trim_end().ends_with(url.as_str())).unwrap_or_default() as u64 + 1;
        let message = format!("`{url}` is not the http or https URL of a witness");
        return Err(ConfigError::Mistake { path, source: SourceError { line, column: 1, message } });
    }
    Ok(Some(policy))
}

/// How the witnesses of a policy are asked.
pub(super) fn settings(policy: Policy) -> WitnessSettings {
    let connector =
        hyper_rustls::HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
    let client = Client::builder(TokioExecutor::new()).build(connector);
    WitnessSettings { policy, client: Arc::new(HttpWitnesses { client }), timeout: witnessing::TIMEOUT }
}

/// Asks witnesses over HTTP. The caller limits the time.
#[derive(Debug)]
struct HttpWitnesses {
    client: Client<hyper_rustls::HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl WitnessClient for HttpWitnesses {
    fn add_checkpoint(&self, url: &str, request: Vec<u8>) -> BoxFuture<'static, Result<WitnessAnswer, String>> {
        let url = format!("{}/add-checkpoint", url.trim_end_matches('/'));
        let client = self.client.clone();
        async move {
            let request = Request::builder().method(Method::POST).uri(&url).body(Full::new(Bytes::from(request)));
            let request = request.map_err(|error| format!("`{url}` cannot be asked: {error}"))?;
            let asked = client.request(request).await;
            let response = asked.map_err(|error| format!("`{url}` cannot be reached: {}", causes(&error)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| format!("`{url}` did not answer to the end: {error}"))?;
            Ok(status::read(status, body.to_bytes()))
        }
        .boxed()
    }
}

/// The innermost cause says what happened, such as `Connection refused`.
fn causes(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(policy: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("witnesses.policy"), policy).unwrap();
        let yaml = "log: {witness_policy: witnesses.policy}";
        let config = Config::parse(yaml, folder.path().to_path_buf(), |_| None).unwrap();
        read_witness_policy(&config).unwrap_err().to_string()
    }

    #[test]
    fn a_policy_with_a_mistake_is_refused_with_file_and_line() {
        let said = refused("# who\nquorum everybody\n");
        assert!(said.contains("witnesses.policy:line 2") && said.contains("`everybody`"), "{said}");
    }

    #[test]
    fn a_witness_at_an_address_that_is_none_is_refused_with_its_line() {
        let key = "witness.example/w1+e75f6532+BAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
        let said = refused(&format!("\nwitness w {key} witness.example:8085\nquorum w\n"));
        assert!(said.contains("line 2") && said.contains("`witness.example:8085`"), "{said}");
    }
}
