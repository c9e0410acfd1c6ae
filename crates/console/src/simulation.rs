//! Trying a policy bundle on calls of the past, for the page, the API and the command line alike.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tollgate_analytics::backtest::{BacktestReport, Finding, Limits, Trial};
use tollgate_analytics::report::TimeRange;
use tollgate_policy::bundle::{self, Change};
use tollgate_policy::control::{ControlDocument, ControlError, Principal};

use crate::access::Reader;
use crate::error::ConsoleError;
use crate::state::ConsoleState;

/// Rows to look at of each kind of change.
pub const SAMPLE_ROWS: usize = 20;

/// Calls on whose texts guardrails are tried again, where they change.
pub const GUARD_SAMPLE: usize = 200;

/// What is to be tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimulationRequest {
    /// The bundle, as YAML.
    pub bundle: String,
    /// First start of the calls: a day, an RFC 3339 time, or microseconds since 1970.
    pub from: String,
    /// First start of no concern any more.
    pub to: String,
    /// Only calls that this bundle decided, by its hash.
    #[serde(default)]
    pub decided_by: Option<String>,
    /// What may change at most.
    #[serde(default)]
    pub limits: Limits,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Simulation {
    /// Whether every limit that was set is kept.
    pub is_accepted: bool,
    /// Each limit that was set.
    pub findings: Vec<Finding>,
    /// What the bundle says otherwise than the active one.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// The figures.
    pub report: BacktestReport,
}

impl Simulation {
    /// Holds `report` against `limits`.
    #[must_use]
    pub fn of(report: BacktestReport, limits: &Limits, changes: Vec<Change>) -> Simulation {
        let findings = limits.check(&report);
        Simulation { is_accepted: findings.iter().all(|finding| finding.is_kept), findings, changes, report }
    }
}

/// On the texts of how many calls guardrails are to be tried again: none, unless they change.
#[must_use]
pub fn guard_sample(changes: &[Change]) -> usize {
    if changes.iter().any(|change| change.section == "guardrails") { GUARD_SAMPLE } else { 0 }
}

/// Keys by their id.
///
/// # Errors
/// [`ControlError`] names the key that is malformed.
pub fn keys_of(document: &ControlDocument) -> Result<Arc<HashMap<String, Principal>>, ControlError> {
    let keys = document.principals()?.into_values();
    Ok(Arc::new(keys.map(|key| (key.key_id.clone(), Principal::clone(&key))).collect()))
}

/// Tries a bundle on the calls of `range`. Where its guardrails differ from those in force, texts are looked at, which leaves a
/// record of who did, and why.
///
/// # Errors
/// [`ConsoleError::Invalid`] with line and column if the bundle does not load; a report error if the log could not be read.
pub async fn simulate(
    state: &ConsoleState,
    (reader, purpose): (&Reader, String),
    yaml: &str,
    range: TimeRange,
    decided_by: Option<String>,
    limits: &Limits,
) -> Result<Simulation, ConsoleError> {
    let bundle = bundle::load(yaml).map_err(|error| ConsoleError::Invalid {
        message: format!("the bundle does not load: {error}"),
        hint: "Correct it; `tollgate policy check FILE` says the same.",
    })?;
    let document = state.metastore.control_document().await?;
    let changes = bundle::diff(&document.bundle_yaml, yaml).map_err(|error| ConsoleError::Invalid {
        message: format!("the bundle cannot be compared with the active one: {error}"),
        hint: "`tollgate policy check FILE` says what is wrong with it.",
    })?;
    let guard_sample = guard_sample(&changes);
    if guard_sample > 0 {
        // What they find says something of what was said.
        let subject = format!("the texts of at most {guard_sample} calls, by guardrails of a proposed bundle");
        let purpose = if purpose.is_empty() { format!("trying the bundle `{}`", bundle.name) } else { purpose };
        state.record_access(reader, "simulate", subject, purpose, Some(guard_sample as u64)).await?;
    }
    let trial = Trial {
        bundle: Arc::new(bundle),
        range,
        decided_by,
        sample: SAMPLE_ROWS,
        guard_sample,
        keys: keys_of(&document)
            .map_err(|error| ConsoleError::Internal { what: "the list of keys", source: Box::new(error) })?,
        market: Arc::clone(&state.market),
    };
    Ok(Simulation::of(state.ledger.backtest(trial).await?, limits, changes))
}
