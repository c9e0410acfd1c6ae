//! Routing as far as it is the same for every alias: when a target rests, how often a call is tried, how many copies of calls
//! are made at once.

use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;
use tollgate_gateway::Breaker;
use tollgate_interaction::Share;
use tollgate_policy::bundle::BundleError as SourceError;
use tollgate_policy::route::{Retries, Span, WhenAllRest};

use super::{mistake, shown};

/// Rounds of attempts after the first.
pub(super) const MAX_RETRIES: u32 = 10;

/// The `routing` section.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Routing {
    /// Further rounds of attempts after a pause, where an alias says nothing else. Default: none, since the callers' own
    /// libraries try again.
    #[schemars(with = "Option<shown::Retries>")]
    pub retries: Option<Spanned<Retries>>,
    /// When a target rests.
    pub breaker: BreakerWritten,
    /// What is done when every target of an alias rests, where it says nothing else. Default: `try`.
    #[schemars(with = "shown::WhenAllRest")]
    pub when_all_rest: WhenAllRest,
    /// Copies of calls (`shadow`) under way at once; beyond that none is made. Default: 64.
    pub shadow_calls: Option<usize>,
}

/// The circuit breaker of every target.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerWritten {
    /// Failures in a row that open it. Default: 5.
    pub failures: Option<u32>,
    /// Part of the last calls that must fail to open it, from 0 to 1. Default: 0.5.
    #[schemars(with = "Option<f64>")]
    pub error_rate: Option<Share>,
    /// Fewest calls to go by. Default: 20.
    pub min_calls: Option<u32>,
    /// How far back the last calls go, as `30s`. Default: `30s`.
    #[schemars(with = "Option<String>")]
    pub window: Option<Span>,
    /// How long calls go elsewhere before one may try, as `10s`; twice as long each time it fails. Default: `10s`.
    #[schemars(with = "Option<String>")]
    pub cooldown: Option<Span>,
}

impl Routing {
    pub(super) fn check(&self) -> Result<(), SourceError> {
        match &self.retries {
            Some(retries) if retries.value.max > MAX_RETRIES => {
                Err(mistake(retries.referenced, format!("`max` of retries is at most {MAX_RETRIES}")))
            }
            _ => Ok(()),
        }
    }
}

impl BreakerWritten {
    /// With what is not written as usual.
    pub(super) fn settings(&self) -> Breaker {
        let usual = Breaker::default();
        let or = |span: Option<Span>, usual: Duration| span.map_or(usual, Span::duration);
        Breaker {
            failures: self.failures.unwrap_or(usual.failures).max(1),
            error_rate: self.error_rate.unwrap_or(usual.error_rate),
            min_calls: self.min_calls.unwrap_or(usual.min_calls).max(1),
            window: or(self.window, usual.window),
            cooldown: or(self.cooldown, usual.cooldown),
        }
    }
}
