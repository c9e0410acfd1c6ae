//! One line of a list of calls, worded for people. Used by the overview, the list and the live tail.

use askama::Template;

use tollgate_analytics::report::InteractionRow;
use tollgate_interaction::Outcome;

use crate::format::{self, UNKNOWN};

/// A line on its own, as the live tail sends it.
#[derive(Debug, Template)]
#[template(path = "parts/call_row.html")]
pub struct CallRow<'a> {
    /// The call.
    pub row: &'a InteractionRow,
}

/// The model that answered, or the one asked for.
#[must_use]
pub fn model(row: &InteractionRow) -> &str {
    match row.model_served.as_deref() {
        Some(served) if !served.is_empty() => served,
        _ if row.model_requested.is_empty() => "no model",
        _ => &row.model_requested,
    }
}

/// The name the caller used, where it differs from the model that answered.
#[must_use]
pub fn asked_as(row: &InteractionRow) -> Option<&str> {
    let asked = row.model_requested.as_str();
    let served = model(row);
    let same = asked == served || asked.rsplit('/').next() == Some(served);
    (!asked.is_empty() && !same).then_some(asked)
}

/// The team, or who is missing.
#[must_use]
pub fn team(row: &InteractionRow) -> &str {
    if row.team.is_empty() { "unknown caller" } else { &row.team }
}

/// Whether the gateway died in the call: nobody saw how and when it ended.
#[must_use]
pub fn was_interrupted(row: &InteractionRow) -> bool {
    row.outcome == Outcome::Interrupted.as_str()
}

/// How long the call took.
#[must_use]
pub fn latency(row: &InteractionRow) -> String {
    if was_interrupted(row) { UNKNOWN.to_owned() } else { format::duration_us(row.latency_us) }
}

/// How the call was translated, where its provider speaks another format than its caller.
#[must_use]
pub fn translated(row: &InteractionRow) -> Option<String> {
    let spoken = row.upstream_dialect.as_deref().filter(|spoken| *spoken != row.dialect)?;
    Some(format!("{} → {spoken}", row.dialect))
}

/// What was asked for, and the name the caller used where that is not the model's own.
#[must_use]
pub fn operation(row: &InteractionRow) -> String {
    match asked_as(row) {
        Some(asked) => format!("{} as {asked}", row.operation),
        None => row.operation.clone(),
    }
}

/// The provider, or a dash.
#[must_use]
pub fn provider(row: &InteractionRow) -> &str {
    row.provider.as_deref().unwrap_or(UNKNOWN)
}
