//! Model aliases: one name for several targets.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;
use tollgate_gateway::OnDisconnect;
use tollgate_policy::bundle::BundleError as SourceError;
use tollgate_policy::suggestion;
use tollgate_provider::translate::OnUnsupported;

use super::{Acknowledge, Provider, mistake};

/// One entry of the `models` section.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Targets as `PROVIDER/MODEL`, in order of preference.
    #[schemars(with = "Vec<String>")]
    pub targets: Vec<Spanned<String>>,
    /// How one is chosen.
    #[serde(default)]
    pub strategy: Strategy,
    /// What must be durable before what, for calls by this alias. Default: `log.ack`.
    #[serde(default)]
    pub ack: Option<Acknowledge>,
    /// What becomes of a field of the request that the format of the target's provider cannot express: `refuse` (default)
    /// or `drop`, which lists it in the column `dropped`.
    #[schemars(with = "Unsupported")]
    #[serde(default)]
    pub on_unsupported: OnUnsupported,
    /// What becomes of the upstream call when the caller hangs up: `drain` (default) reads it to its end, so that the
    /// provider's own count is recorded; `cancel` breaks it off and estimates.
    #[schemars(with = "Option<Disconnect>")]
    #[serde(default)]
    pub on_disconnect: Option<OnDisconnect>,
}

/// Names for the schema.
#[derive(schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "stands in the published schema for a type of another crate")]
enum Unsupported {
    Refuse,
    Drop,
}

/// Names for the schema.
#[derive(schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "stands in the published schema for a type of another crate")]
enum Disconnect {
    Drain,
    Cancel,
}

/// How a target is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The first that answers, in the order written.
    #[default]
    Fallback,
    /// The cheapest first, by the price catalogue.
    Cheapest,
}

impl Model {
    pub(super) fn check(&self, alias: &str, providers: &BTreeMap<String, Provider>) -> Result<(), SourceError> {
        for target in &self.targets {
            let Some((provider, model)) = target.value.split_once('/') else {
                let message = format!("target `{}` of model `{alias}` is not `PROVIDER/MODEL`", target.value);
                return Err(mistake(target.referenced, message));
            };
            if !providers.contains_key(provider) {
                let meant = suggestion::phrase(provider, providers.keys().map(String::as_str));
                let message =
                    format!("model `{alias}` names the provider `{provider}`, which is not configured{meant}");
                return Err(mistake(target.referenced, message));
            }
            if model.is_empty() {
                let message = format!("target `{}` of model `{alias}` names no model", target.value);
                return Err(mistake(target.referenced, message));
            }
        }
        Ok(())
    }
}
