//! The list of calls, newest first, page by page. A page is found by where the one before it ended, so that calls that
//! arrive meanwhile neither shift nor repeat rows.

use std::collections::HashMap;

use datafusion::common::ScalarValue;
use tollgate_interaction::schema::Table;
use tollgate_interaction::{InteractionId, Usd};

use super::rows::{Answer, IN_RANGE, OF_MODEL, OF_MODEL_OR_ASKED, UNPRICED, moment, range_parameters};
use super::shape::{Cursor, InteractionFilter, InteractionPage, InteractionRow, Page, TimeRange, US_PER_DAY};
use crate::error::ReportError;
use crate::session::Profile;
use crate::view::Reading;

const REPORT: &str = "interactions";
/// Rows a page may have.
const MAX_ROWS: usize = 1_000;

/// The columns of [`InteractionRow`].
pub(super) const COLUMNS: &str = "interaction_id, started_at, tenant, team, project, api_key_id, operation, dialect, upstream_dialect, stream, \
     model_requested, model_served, provider, decision, outcome, http_status, error_type, latency_us, ttft_us, \
     input_tokens, output_tokens, cost_usd";

pub(super) async fn interactions(
    reading: &Reading,
    filter: &InteractionFilter,
    page: Page,
) -> Result<InteractionPage, ReportError> {
    let limit = page.limit.clamp(1, MAX_ROWS);
    let (conditions, parameters) = conditions(filter, page.after);
    // The newest calls of the table are found without reading the others; in the view, corrections would be looked up for
    // every call first.
    let table = if filter.unpriced { "costs" } else { "interactions" };
    let sql = format!(
        "SELECT {COLUMNS} FROM {table} WHERE {} ORDER BY started_at DESC, interaction_id DESC LIMIT {}",
        conditions.join(" AND "),
        limit + 1
    );
    let mut rows = rows(&Answer::new(REPORT, reading.ask(REPORT, Profile::Needle, sql, parameters).await?))?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    if !filter.unpriced {
        correct(reading, &mut rows).await?;
    }
    let last = rows.last().map(|row| Cursor { started_at_us: row.started_at_us, interaction_id: row.interaction_id });
    let next = last.filter(|_| more).map(|cursor| cursor.to_string());
    Ok(InteractionPage { rows, next, as_of: reading.as_of() })
}

/// Puts the cost of the last correction on the rows that have one.
async fn correct(reading: &Reading, rows: &mut [InteractionRow]) -> Result<(), ReportError> {
    if rows.is_empty() || reading.tables.of(Table::PriceCorrections).is_none_or(|corrections| corrections.is_empty()) {
        return Ok(());
    }
    let ids: Vec<String> = rows.iter().map(|row| format!("'{}'", row.interaction_id)).collect();
    let sql = format!(
        "SELECT interaction_id, last_value(new_cost_usd ORDER BY at, epoch, seq) AS cost_usd FROM price_corrections \
         WHERE interaction_id IN ({}) GROUP BY 1",
        ids.join(", ")
    );
    let answer = Answer::new(REPORT, reading.ask(REPORT, Profile::Needle, sql, Vec::new()).await?);
    let costs = answer.texts_or_empty("interaction_id")?.into_iter().zip(answer.dollars("cost_usd")?);
    let costs: HashMap<String, Option<Usd>> = costs.collect();
    for row in rows {
        // A correction that states no cost leaves what was recorded, as in the view `costs`.
        if let Some(Some(cost)) = costs.get(&row.interaction_id.to_string()) {
            row.cost_usd = Some(*cost);
        }
    }
    Ok(())
}

type Parameters = Vec<(&'static str, ScalarValue)>;

fn conditions(filter: &InteractionFilter, after: Option<Cursor>) -> (Vec<&'static str>, Parameters) {
    let mut conditions = vec!["true"];
    let mut parameters = Vec::new();
    if let Some(range) = filter.range {
        conditions.push(IN_RANGE);
        parameters.extend(range_parameters(range));
    }
    if filter.unpriced {
        conditions.push(UNPRICED);
    }
    let mut equal = |condition, name, value: &Option<String>| {
        if let Some(value) = value {
            conditions.push(condition);
            parameters.push((name, ScalarValue::from(value.as_str())));
        }
    };
    equal("team = $team", "team", &filter.team);
    // Calls without a cost are listed by what a price is looked up by. It takes a column more, so only there.
    let of_model = if filter.unpriced { OF_MODEL_OR_ASKED } else { OF_MODEL };
    equal(of_model, "model", &filter.model);
    equal("provider = $provider", "provider", &filter.provider);
    equal("outcome = $outcome", "outcome", &filter.outcome);
    equal("dialect = $dialect", "dialect", &filter.dialect);
    equal("operation = $operation", "operation", &filter.operation);
    equal("api_key_id = $api_key_id", "api_key_id", &filter.api_key_id);
    equal("conversation_id = $conversation_id", "conversation_id", &filter.conversation_id);
    let id = filter.id.as_ref().map(|id| id.trim().to_ascii_lowercase());
    equal("starts_with(interaction_id, $id)", "id", &id);
    if let Some(range) = id.and_then(|id| range_of_prefix(&id)) {
        conditions.push("started_at >= $id_from AND started_at < $id_to");
        parameters.extend([("id_from", moment(range.from_us)), ("id_to", moment(range.to_us))]);
    }
    if let Some(cursor) = after {
        // The first part is implied by the second; files are passed over by it.
        conditions.push("started_at <= $after_at AND (started_at < $after_at OR interaction_id < $after_id)");
        parameters.push(("after_at", moment(cursor.started_at_us)));
        parameters.push(("after_id", ScalarValue::from(cursor.interaction_id.to_string())));
    }
    (conditions, parameters)
}

/// When a call with this id can have started. The id holds the clock of the machine that issued it; a day is left on
/// both sides for clocks that were set.
pub(super) fn range_of_id(id: InteractionId) -> TimeRange {
    let at_us = i64::try_from(id.unix_ms()).unwrap_or(i64::MAX / 1_000).saturating_mul(1_000);
    TimeRange::new(at_us.saturating_sub(US_PER_DAY), at_us.saturating_add(US_PER_DAY))
}

/// The same for the first digits of an id; `None` for fewer than eight, which do not narrow it to a minute.
fn range_of_prefix(prefix: &str) -> Option<TimeRange> {
    const TIME_DIGITS: usize = 12;
    let digits: String = prefix.chars().filter(|digit| *digit != '-').take(TIME_DIGITS).collect();
    if digits.len() < 8 {
        return None;
    }
    let padded = |fill: &str| {
        let missing = TIME_DIGITS - digits.len();
        i64::from_str_radix(&format!("{digits}{}", fill.repeat(missing)), 16).ok()
    };
    let (first_ms, last_ms) = (padded("0")?, padded("f")?);
    Some(TimeRange::new(
        first_ms.saturating_mul(1_000).saturating_sub(US_PER_DAY),
        last_ms.saturating_mul(1_000).saturating_add(US_PER_DAY),
    ))
}

/// The rows of an answer with [`COLUMNS`].
pub(super) fn rows(answer: &Answer) -> Result<Vec<InteractionRow>, ReportError> {
    let ids = answer.texts_or_empty("interaction_id")?;
    let started = answer.times_us("started_at")?;
    let tenants = answer.texts_or_empty("tenant")?;
    let teams = answer.texts_or_empty("team")?;
    let projects = answer.texts("project")?;
    let keys = answer.texts("api_key_id")?;
    let operations = answer.texts_or_empty("operation")?;
    let dialects = answer.texts_or_empty("dialect")?;
    let upstream_dialects = answer.texts("upstream_dialect")?;
    let streams = answer.flags("stream")?;
    let requested = answer.texts_or_empty("model_requested")?;
    let served = answer.texts("model_served")?;
    let providers = answer.texts("provider")?;
    let decisions = answer.texts_or_empty("decision")?;
    let outcomes = answer.texts_or_empty("outcome")?;
    let statuses = answer.counts("http_status")?;
    let errors = answer.texts("error_type")?;
    let latencies = answer.sums("latency_us")?;
    let first_contents = answer.counts("ttft_us")?;
    let inputs = answer.counts("input_tokens")?;
    let outputs = answer.counts("output_tokens")?;
    let costs = answer.dollars("cost_usd")?;
    let mut rows = Vec::with_capacity(ids.len());
    for at in 0..ids.len() {
        let unusable = |_| ReportError::Column { report: REPORT, column: "interaction_id".to_owned() };
        rows.push(InteractionRow {
            interaction_id: ids[at].parse().map_err(unusable)?,
            started_at_us: started[at],
            tenant: tenants[at].clone(),
            team: teams[at].clone(),
            project: projects[at].clone(),
            api_key_id: keys[at].clone(),
            operation: operations[at].clone(),
            dialect: dialects[at].clone(),
            upstream_dialect: upstream_dialects[at].clone(),
            stream: streams[at],
            model_requested: requested[at].clone(),
            model_served: served[at].clone(),
            provider: providers[at].clone(),
            decision: decisions[at].clone(),
            outcome: outcomes[at].clone(),
            http_status: statuses[at].and_then(|status| u16::try_from(status).ok()),
            error_type: errors[at].clone(),
            latency_us: latencies[at],
            ttft_us: first_contents[at],
            input_tokens: inputs[at],
            output_tokens: outputs[at],
            cost_usd: costs[at],
        });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_an_id_tells_when_its_call_was() {
        let id = InteractionId::new(1_795_000_000_123, &[7; 10]);
        let at_us = 1_795_000_000_123_000;
        for length in [8, 9, 13, 36] {
            let range = range_of_prefix(&id.to_string()[..length]).unwrap();
            assert!(range.from_us < at_us && at_us < range.to_us, "{length} digits gave {range:?}");
            assert!(range.length_us() < 3 * US_PER_DAY);
        }
        assert_eq!(range_of_prefix("0193"), None);
        assert_eq!(range_of_prefix("not-an-id-at-all"), None);
    }
}
