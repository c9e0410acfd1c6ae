//! The figures of a record-keeping report, each from a statement that stands in the pack too, so that a reader can run it
//! again over the data files.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

use tollgate_analytics::report::TimeRange;
use tollgate_analytics::{QueryLimits, Reading, output};
use tollgate_interaction::Usd;

use crate::error::EvidenceError;
use crate::pack::ControlTotals;

/// A statement of the report: its name, what it shows, and its text with `{condition}` for the period.
pub(crate) struct Statement {
    pub(crate) name: &'static str,
    pub(crate) shows: &'static str,
    text: &'static str,
}

/// Every statement, in the order of the report.
pub(crate) const STATEMENTS: &[Statement] =
    &[TOTALS, BY_OUTCOME, BY_DECISION, BY_DAY, MODELS, TEAMS, ERRORS, BUNDLES, SOURCES];

const TOTALS: Statement = Statement {
    name: "control-totals",
    shows: "the control totals of the manifest",
    text: "SELECT count(*) AS rows, sum(cost_usd) AS cost_usd, count(*) - count(cost_usd) AS rows_without_cost,\n       \
           sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,\n       \
           count(DISTINCT interaction_id) AS calls, count(DISTINCT nullif(team, '')) AS teams,\n       \
           count(DISTINCT user_ref) AS users,\n       \
           min(started_at) AS first_started_at, max(started_at) AS last_started_at\nFROM interactions\nWHERE {condition}",
};
const BY_OUTCOME: Statement = Statement {
    name: "rows-by-outcome",
    shows: "how the calls ended",
    text: "SELECT outcome AS key, count(*) AS rows\nFROM interactions\nWHERE {condition}\nGROUP BY outcome\nORDER BY rows DESC, key",
};
const BY_DECISION: Statement = Statement {
    name: "rows-by-decision",
    shows: "what policy decided",
    text: "SELECT decision AS key, count(*) AS rows\nFROM interactions\nWHERE {condition}\nGROUP BY decision\nORDER BY rows DESC, key",
};
const BY_DAY: Statement = Statement {
    name: "rows-by-day",
    shows: "volume and risk events by UTC day",
    text: "SELECT day, count(*) AS rows, count(DISTINCT nullif(team, '')) AS teams,\n       \
           sum(CASE WHEN outcome = 'denied' THEN 1 ELSE 0 END) AS denied,\n       \
           sum(CASE WHEN outcome IN ('failed', 'interrupted') THEN 1 ELSE 0 END) AS failed,\n       \
           sum(cost_usd) AS cost_usd\nFROM interactions\nWHERE {condition}\nGROUP BY day\nORDER BY day",
};
const MODELS: Statement = Statement {
    name: "models-served",
    shows: "models and versions in use, with their first and last call",
    text: "SELECT coalesce(provider, '') AS provider, coalesce(model_served, '') AS model, coalesce(region, '') AS region,\n       \
           count(*) AS rows, min(started_at) AS first_started_at, max(started_at) AS last_started_at\n\
           FROM interactions\nWHERE {condition}\nGROUP BY 1, 2, 3\nORDER BY rows DESC, 1, 2, 3",
};
const TEAMS: Statement = Statement {
    name: "use-by-team",
    shows: "who used the system",
    text: "SELECT tenant, team, count(*) AS rows, count(DISTINCT user_ref) AS users,\n       \
           sum(CASE WHEN outcome = 'denied' THEN 1 ELSE 0 END) AS denied, sum(cost_usd) AS cost_usd\n\
           FROM interactions\nWHERE {condition}\nGROUP BY 1, 2\nORDER BY rows DESC, 1, 2",
};
const ERRORS: Statement = Statement {
    name: "risk-events",
    shows: "denials, failures and interruptions by cause",
    text: "SELECT outcome, coalesce(error_type, '') AS cause, count(*) AS rows,\n       \
           min(started_at) AS first_started_at, max(started_at) AS last_started_at\nFROM interactions\n\
           WHERE {condition} AND outcome NOT IN ('success', 'cached')\nGROUP BY 1, 2\nORDER BY rows DESC, 1, 2",
};
const BUNDLES: Statement = Statement {
    name: "policies-in-force",
    shows: "policy bundles that decided, with their first and last call",
    text: "SELECT coalesce(policy_bundle_hash, '') AS policy_bundle_hash, count(*) AS rows,\n       \
           min(started_at) AS first_started_at, max(started_at) AS last_started_at\n\
           FROM interactions\nWHERE {condition}\nGROUP BY 1\nORDER BY 3, 1",
};
const SOURCES: Statement = Statement {
    name: "sources",
    shows: "which doors the records came in by, and who counted their tokens",
    text: "SELECT source, usage_source, cost_source, count(*) AS rows\nFROM interactions\nWHERE {condition}\n\
           GROUP BY 1, 2, 3\nORDER BY rows DESC, 1, 2, 3",
};

impl Statement {
    /// Its text for a period.
    pub(crate) fn sql(&self, range: TimeRange) -> String {
        self.text.replace("{condition}", &condition(range))
    }
}

/// The rows of a period. Understood by the engine and by DuckDB alike.
pub(crate) fn condition(range: TimeRange) -> String {
    format!("started_at >= '{}' AND started_at < '{}'", time(range.from_us), time(range.to_us))
}

/// ISO 8601, UTC, to the microsecond.
pub(crate) fn time(time_us: i64) -> String {
    let time = chrono::DateTime::from_timestamp_micros(time_us).unwrap_or_default();
    time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// The rows of a statement, as JSON objects.
pub(crate) async fn rows(reading: &Reading, sql: &str) -> Result<Vec<Row>, EvidenceError> {
    let limits = QueryLimits { max_rows: 100_000, max_bytes: 256 * 1024 * 1024, timeout: Duration::from_secs(600) };
    let result = reading.sql(sql, limits).await.map_err(|error| EvidenceError::Log { message: error.to_string() })?;
    if result.truncated {
        let message = "a table of the report has more than 100 000 rows; choose a shorter period".to_owned();
        return Err(EvidenceError::Log { message });
    }
    Ok(output::to_json(&result.batches).into_iter().map(Row).collect())
}

/// One row of an answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Row(Map<String, Value>);

impl Row {
    /// A text; empty if it is unknown.
    pub(crate) fn text(&self, name: &str) -> String {
        match self.0.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        }
    }

    /// A count; zero if it is unknown.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.0.get(name).and_then(Value::as_u64).unwrap_or(0)
    }

    /// An amount; zero if it is unknown.
    pub(crate) fn dollars(&self, name: &str) -> Usd {
        self.0.get(name).and_then(Value::as_str).and_then(|text| text.parse().ok()).unwrap_or(Usd::ZERO)
    }
}

/// All figures of a report.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) totals: ControlTotals,
    pub(crate) users: u64,
    pub(crate) teams_used: u64,
    pub(crate) distinct_calls: u64,
    pub(crate) first_started_at: String,
    pub(crate) last_started_at: String,
    pub(crate) by_day: Vec<Row>,
    pub(crate) models: Vec<Row>,
    pub(crate) teams: Vec<Row>,
    pub(crate) errors: Vec<Row>,
    pub(crate) bundles: Vec<Row>,
    pub(crate) sources: Vec<Row>,
}

impl Figures {
    /// Different models that answered, each once per provider and region.
    pub(crate) fn models_served(&self) -> usize {
        self.models.iter().filter(|row| !row.text("model").is_empty()).count()
    }

    /// Runs every statement over one reading.
    pub(crate) async fn of(reading: &Reading, range: TimeRange) -> Result<Figures, EvidenceError> {
        let ask = async |statement: &Statement| rows(reading, &statement.sql(range)).await;
        let sums = ask(&TOTALS).await?.into_iter().next().unwrap_or_default();
        let totals = ControlTotals {
            rows: sums.count("rows"),
            cost_usd: sums.dollars("cost_usd"),
            rows_without_cost: sums.count("rows_without_cost"),
            input_tokens: sums.count("input_tokens"),
            output_tokens: sums.count("output_tokens"),
            rows_by_outcome: by_key(ask(&BY_OUTCOME).await?),
            rows_by_decision: by_key(ask(&BY_DECISION).await?),
        };
        Ok(Figures {
            totals,
            users: sums.count("users"),
            teams_used: sums.count("teams"),
            distinct_calls: sums.count("calls"),
            first_started_at: sums.text("first_started_at"),
            last_started_at: sums.text("last_started_at"),
            by_day: ask(&BY_DAY).await?,
            models: ask(&MODELS).await?,
            teams: ask(&TEAMS).await?,
            errors: ask(&ERRORS).await?,
            bundles: ask(&BUNDLES).await?,
            sources: ask(&SOURCES).await?,
        })
    }
}

fn by_key(rows: Vec<Row>) -> BTreeMap<String, u64> {
    rows.into_iter().map(|row| (row.text("key"), row.count("rows"))).collect()
}
