//! Where several gateways keep their budgets together, and who is told when one is reached.

use serde::Deserialize;
use serde_saphyr::Spanned;
use tollgate_gateway::{LedgerSettings, OnLedgerDown, Secret, check_authorities};
use tollgate_policy::bundle::BundleError as SourceError;

use super::{Confidential, Config, expand, mistake};

/// What `ledger` says in place of a URL.
const LEASES: &str = "leases";

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

impl From<LedgerDown> for OnLedgerDown {
    fn from(mode: LedgerDown) -> OnLedgerDown {
        match mode {
            LedgerDown::Deny => OnLedgerDown::Deny,
            LedgerDown::Local => OnLedgerDown::Local,
        }
    }
}

impl Config {
    pub(super) fn expand_ledger(&mut self, environment: &impl Fn(&str) -> Option<String>) -> Result<(), SourceError> {
        let webhook = self.alerts.webhook.as_mut();
        let (url, secret) = webhook.map_or((None, None), |webhook| (Some(&mut webhook.url), Some(&mut webhook.secret)));
        let written: [Option<&mut Spanned<String>>; 3] =
            [self.ledger.as_deref_mut(), url.map(|url| &mut **url), secret.map(|secret| &mut **secret)];
        written.into_iter().flatten().try_for_each(|value| expand(value, environment))
    }

    pub(super) fn check_ledger(&mut self) -> Result<(), SourceError> {
        let scheme = |value: &Spanned<String>| url::Url::parse(&value.value).map(|url| url.scheme().to_owned()).ok();
        if let Some(ledger) = &self.ledger
            && ledger.value != LEASES
            && !matches!(scheme(ledger).as_deref(), Some("redis" | "rediss"))
        {
            let message = "`ledger` is the URL of a Redis or Valkey server, such as `redis://127.0.0.1:6379/0` or \
                           `rediss://cache.example:6380/0`, or, for a sidecar, `leases`";
            return Err(mistake(ledger.referenced, message));
        }
        let is_encrypted = self.ledger.as_ref().and_then(|ledger| scheme(ledger)).as_deref() == Some("rediss");
        self.ledger_authorities = self.read_authorities(is_encrypted)?;
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
        let written = self.ledger.as_ref().filter(|written| written.value != LEASES)?;
        Some(LedgerSettings {
            url: Secret::new(written.value.clone()),
            authorities_pem: self.ledger_authorities.clone(),
            on_down: self.on_ledger_down.into(),
            prefix: "tollgate".to_owned(),
        })
    }

    /// Whether budgets are kept by slices that a control plane lends.
    #[must_use]
    pub fn keeps_by_leases(&self) -> bool {
        self.ledger.as_ref().is_some_and(|written| written.value == LEASES)
    }

    fn read_authorities(&self, is_encrypted: bool) -> Result<Option<String>, SourceError> {
        let Some(written) = &self.ledger_ca_file else { return Ok(None) };
        let refuse = |what: String| Err(mistake(written.referenced, format!("`ledger_ca_file` {what}")));
        if !is_encrypted {
            return refuse(
                "is of no use: `ledger` is not a `rediss://` URL, so no certificate is looked at".to_owned(),
            );
        }
        let pem = match fs_err::read_to_string(self.folder.join(&written.value)) {
            Ok(pem) => pem,
            Err(error) => return refuse(format!("cannot be read: {error}; a path is relative to this file")),
        };
        match check_authorities(&pem) {
            Ok(()) => Ok(Some(pem)),
            Err(error) => refuse(format!("(`{}`) cannot be used: {error}", written.value)),
        }
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
        let leased = parsed("ledger: leases\n").unwrap();
        assert!(leased.keeps_by_leases() && leased.ledger_settings().is_none());
        assert!(!config.keeps_by_leases());
    }

    #[test]
    fn authorities_of_an_encrypted_ledger_are_looked_at_before_it_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let pem = include_str!("../../gateway/tests/it/tls/authority.pem");
        std::fs::write(folder.path().join("ca.pem"), pem).unwrap();
        std::fs::write(folder.path().join("none.pem"), "hello\n").unwrap();
        let parsed = |ledger: &str, file: &str| {
            let yaml = format!("ledger: {ledger}://cache:6380/0\nledger_ca_file: {file}\n");
            Config::parse(&yaml, folder.path().to_path_buf(), |_| None)
        };
        let settings = parsed("rediss", "ca.pem").unwrap().ledger_settings().unwrap();
        assert_eq!(settings.authorities_pem.as_deref(), Some(pem));
        for (ledger, file, what) in [
            ("redis", "ca.pem", "no certificate is looked at"),
            ("rediss", "nowhere.pem", "nowhere.pem"),
            ("rediss", "none.pem", "holds no certificate"),
        ] {
            let error = parsed(ledger, file).unwrap_err();
            assert!(error.line == 2 && error.message.contains(what), "{what}: {error}");
        }
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
