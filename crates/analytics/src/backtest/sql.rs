//! What a back-test reads of the log.

use tollgate_policy::route::Unit;

use super::Trial;

const COLUMNS: &str = "interaction_id, arrow_cast(started_at, 'Int64') AS started_at, \
    arrow_cast(decided_at, 'Int64') AS decided_at, tenant, project, team, user_ref, api_key_id, operation, dialect, stream, \
    model_requested, policy_bundle_hash, signals_id, decision_reasons, candidates, provider, outcome, error_type, latency_us, \
    cost_usd, input_tokens, output_tokens, cache_read_input_tokens, cache_write_5m_input_tokens, \
    cache_write_1h_input_tokens, tags, pii_counts, capabilities, estimated_input_tokens, estimated_output_tokens, \
    estimated_cost_usd, target_readings, experiment, arm, route_draw";
/// Columns that only bundles with budgets or limits need.
const READINGS: &str = ", budget_readings, limit_readings";
/// The column that only bundles need which divide calls by it.
const CONVERSATION: &str = ", conversation_id";
/// The column that only bundles need whose conditions ask what guardrails found.
const GUARDS: &str = ", guards";

fn moment(time_us: i64) -> String {
    format!("arrow_cast({time_us}, 'Timestamp(Microsecond, Some(\"UTC\"))')")
}

fn condition(trial: &Trial, from_us: i64) -> String {
    let decided = trial.decided_by.as_ref().map_or_else(String::new, |hash| {
        // A hash is hexadecimal digits; whatever else is no hash.
        let hash: String = hash.chars().filter(char::is_ascii_hexdigit).collect();
        format!(" AND policy_bundle_hash = '{hash}'")
    });
    let (from, to) = (moment(from_us), moment(trial.range.to_us));
    format!("started_at >= {from} AND started_at < {to} AND shadow_of IS NULL{decided}")
}

/// The calls of a trial from `from_us` on, in the order they were decided if `in_order`.
pub(super) fn query(trial: &Trial, from_us: i64, in_order: bool) -> String {
    let mut columns = COLUMNS.to_owned();
    if !trial.bundle.tallies().is_empty() {
        columns.push_str(READINGS);
    }
    if trial.bundle.experiments().iter().any(|experiment| experiment.unit == Unit::Conversation) {
        columns.push_str(CONVERSATION);
    }
    if trial.bundle.asks_guards() {
        columns.push_str(GUARDS);
    }
    let order = if in_order { " ORDER BY coalesce(decided_at, started_at), interaction_id" } else { "" };
    format!("SELECT {columns} FROM interactions WHERE {}{order}", condition(trial, from_us))
}

/// The calls of these ids.
pub(super) fn of_calls(trial: &Trial, ids: &[String]) -> String {
    let guards = if trial.bundle.asks_guards() { "" } else { GUARDS };
    let query = query(trial, trial.range.from_us, false);
    let query = query.replacen(" FROM interactions", &format!("{guards} FROM interactions"), 1);
    format!("{query} AND interaction_id IN ({})", listed(ids))
}

/// Ids as SQL lists them. An id is hexadecimal digits and hyphens; whatever else is no id.
pub(super) fn listed(ids: &[String]) -> String {
    let quoted = ids.iter().map(|id| {
        let id: String = id.chars().filter(|digit| digit.is_ascii_hexdigit() || *digit == '-').collect();
        format!("'{id}'")
    });
    quoted.collect::<Vec<_>>().join(", ")
}

/// The bundles that decided them.
pub(super) fn deciders(trial: &Trial) -> String {
    format!("SELECT DISTINCT policy_bundle_hash FROM interactions WHERE {}", condition(trial, trial.range.from_us))
}
