//! Alerts by webhook, signed as <https://www.standardwebhooks.com> has it: HMAC-SHA-256 over id, time and body. Sent again
//! with growing pauses, a bounded number of times; after that the alert stands in the log and on the console alone.

use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sha2::Sha256;
use tollgate_config::Config;

/// How often an alert is tried to be delivered: pauses of 1, 2, 4 … 64 s lie between, two minutes in all.
pub(super) const ATTEMPTS: u32 = 8;
const TIMEOUT: Duration = Duration::from_secs(10);
/// What is read of an answer, which nobody looks at.
const ANSWER_BYTES: usize = 64 * 1024;

/// A receiver of alerts.
pub(super) struct Webhook {
    url: String,
    secret: Vec<u8>,
    client: Client<hyper_rustls::HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Webhook {
    /// The configured receiver; `None` if there is none.
    ///
    /// # Errors
    /// If its secret is not Base64.
    pub(super) fn of(config: &Config) -> anyhow::Result<Option<Webhook>> {
        let Some(written) = &config.alerts.webhook else { return Ok(None) };
        let connector =
            hyper_rustls::HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Some(Webhook { url: written.url.value.clone(), secret: key(&written.secret.value)?, client }))
    }

    /// Sends one message; see [`ATTEMPTS`] for how often that is worth while.
    ///
    /// # Errors
    /// If it was not taken.
    pub(super) async fn send(&self, id: &str, body: &str) -> anyhow::Result<()> {
        let timestamp = chrono::Utc::now().timestamp();
        let request = hyper::Request::post(&self.url)
            .header(hyper::header::CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature(&self.secret, id, timestamp, body)?)
            .body(Full::new(Bytes::from(body.to_owned())))?;
        let exchange = async {
            let response = self.client.request(request).await.context("sending the alert")?;
            let status = response.status();
            // The connection can be used again once the answer has been read; what it says does not matter.
            let _ = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
            if !status.is_success() {
                bail!("the receiver of alerts answered {status}");
            }
            Ok(())
        };
        tokio::time::timeout(TIMEOUT, exchange).await.context("the receiver of alerts took too long")?
    }

    /// How long to wait after `attempt` attempts.
    pub(super) fn pause(attempt: u32) -> Duration {
        Duration::from_secs(1 << attempt.saturating_sub(1).min(6))
    }
}

fn key(secret: &str) -> anyhow::Result<Vec<u8>> {
    let text = secret.strip_prefix("whsec_").unwrap_or(secret);
    STANDARD.decode(text).context("`alerts.webhook.secret` is not Base64 after `whsec_`")
}

fn signature(secret: &[u8], id: &str, timestamp: i64, body: &str) -> anyhow::Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).context("the secret of the webhook cannot be a key")?;
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the libraries of <https://github.com/standard-webhooks/standard-webhooks>.
    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        let secret = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", r#"{"test": 2432232314}"#);
        let signed = signature(&secret, id, 1_614_265_330, body).unwrap();
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn pauses_double_and_are_bounded() {
        let pauses: Vec<u64> = (1..ATTEMPTS).map(|attempt| Webhook::pause(attempt).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64]);
    }
}
