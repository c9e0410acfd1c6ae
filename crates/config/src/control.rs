//! Where a sidecar gets its keys, policy and signals from.

use serde::Deserialize;
use serde_saphyr::Spanned;
use tollgate_policy::bundle::BundleError as SourceError;

use super::{Confidential, expand, mistake};

/// The `control` section; only a sidecar reads it.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    /// URL of an all-in-one's console.
    #[schemars(with = "Option<String>")]
    pub url: Option<Spanned<String>>,
    /// API token of role `sidecar`; `${NAME}` takes it from the environment.
    #[schemars(with = "Option<String>")]
    pub token: Option<Confidential>,
}

impl Control {
    pub(super) fn expand(&mut self, environment: &impl Fn(&str) -> Option<String>) -> Result<(), SourceError> {
        let written = [self.url.as_mut(), self.token.as_deref_mut()];
        written.into_iter().flatten().try_for_each(|value| expand(value, environment))
    }

    pub(super) fn check(&self) -> Result<(), SourceError> {
        let Some(url) = &self.url else { return Ok(()) };
        match url::Url::parse(&url.value) {
            Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => Ok(()),
            _ => Err(mistake(url.referenced, format!("`{}` is not the http or https URL of a console", url.value))),
        }
    }
}
