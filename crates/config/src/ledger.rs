//! Where several gateways keep their budgets together, and who is told when one is reached.

use serde::Deserialize;
use serde_saphyr::Spanned;
use tollgate_gateway::{LedgerSettings, OnLedgerDown, Secret};
use tollgate_policy::bundle::BundleError as SourceError;

use super::{Confidential, Config, expand, mistake};

/// The `alerts` section.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// Who is told when a budget reaches a step or is forecast to end over its limit; the console tells it in any case.
    pub webhook: Option<Webhook>,
}

/// A receiver of alerts, in the form of <https://www.standardwebhooks.com>.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Its http or https URL; `${NAME}` takes it from the environment.
    #[schemars(with = "String")]
    pub url: Confidential,
    /// What alerts are signed with: `whsec_` and 24 to 64 bytes in Base64; `${NAME}` takes it from the environment.
    #[schemars(with = "String")]
    pub secret: Confidential,
}

/// What calls that budgets or limits are about do while the shared ledger does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LedgerDown {
    /// They are denied.
    #[default]
    Deny,
    /// They go by what the log and this process know.
    Local,
}

impl Config {
    pub(super) fn expand_ledger(&mut self, environment: &impl Fn(&str) -> Option<String>) -> Result<(), SourceError> {
        let webhook = self.alerts.webhook.as_mut();
        let (url, secret) = webhook.map_or((None, None), |webhook| (Some(&mut webhook.url), Some(&mut webhook.secret)));
        let written: [Option<&mut Spanned<String>>; 3] =
            [self.ledger.as_deref_mut(), url.map(|url| &mut **url), secret.map(|secret| &mut **secret)];
        written.into_iter().flatten().try_for_each(|value| expand(value, environment))
    }

    pub(super) fn check_ledger(&self) -> Result<(), SourceError> {
        let scheme = |value: &Spanned<String>| url::Url::parse(&value.value).map(|url| url.scheme().to_owned()).ok();
        if let Some(ledger) = &self.ledger
            && scheme(ledger).as_deref() != Some("redis")
        {
            let message = "`ledger` is the URL of a Redis or Valkey server, such as `redis://127.0.0.1:6379/0`; \
                           TLS (`rediss`) is not spoken: put a tunnel in between";
            return Err(mistake(ledger.referenced, message));
        }
        let Some(webhook) = &self.alerts.webhook else { return Ok(()) };
        if !matches!(scheme(&webhook.url).as_deref(), Some("http" | "https")) {
            return Err(mistake(webhook.url.referenced, "`alerts.webhook.url` is not an http or https URL"));
        }
        if !webhook.secret.value.starts_with("whsec_") {
            let message = "`alerts.webhook.secret` is `whsec_` and 24 to 64 random bytes in Base64, such as \
                           `echo whsec_$(openssl rand -base64 32)` prints";
            return Err(mistake(webhook.secret.referenced, message));
        }
        Ok(())
    }

    pub(super) fn ledger_settings(&self) -> Option<LedgerSettings> {
        let url = Secret::new(self.ledger.as_ref()?.value.clone());
        let on_down = match self.on_ledger_down {
            LedgerDown::Deny => OnLedgerDown::Deny,
            LedgerDown::Local => OnLedgerDown::Local,
        };
        Some(LedgerSettings { url, on_down, prefix: "tollgate".to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn parsed(yaml: &str) -> Result<Config, SourceError> {
        Config::parse(yaml, PathBuf::from("."), |name| (name == "LEDGER").then(|| "redis://cache:6379/1".to_owned()))
    }

    #[test]
    fn a_shared_ledger_is_a_url_and_a_mode_for_when_it_is_away() {
        let config = parsed("ledger: ${LEDGER}\non_ledger_down: local\n").unwrap();
        let settings = config.ledger_settings().unwrap();
        assert_eq!((settings.url.reveal(), settings.on_down), ("redis://cache:6379/1", OnLedgerDown::Local));
        assert!(parsed("").unwrap().ledger_settings().is_none());
        let error = parsed("ledger: memcached://x\n").unwrap_err();
        assert!(error.to_string().starts_with("line 1, column 9: `ledger` is the URL"), "{error}");
    }

    #[test]
    fn a_webhook_has_a_url_and_a_secret_of_its_form() {
        let hook =
            |url: &str, secret: &str| parsed(&format!("alerts: {{webhook: {{url: '{url}', secret: '{secret}'}}}}\n"));
        assert!(hook("https://hooks.example/x", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_ok());
        assert!(hook("ftp://x", "whsec_MfKQ").unwrap_err().to_string().contains("not an http or https URL"));
        assert!(hook("https://x.example", "hush").unwrap_err().to_string().contains("`whsec_`"));
    }
}
