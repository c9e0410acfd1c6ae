//! What a range cost: exact sums, split one way and day by day, and how many calls no price was known for.

use std::collections::HashMap;

use chrono::DateTime;
use tollgate_interaction::Usd;

use super::rows::{Answer, IN_RANGE, MODEL, UNPRICED, range_parameters};
use super::shape::{CostDay, CostGroup, CostRow, Costs, TimeRange, US_PER_DAY};
use crate::error::ReportError;
use crate::session::Profile;
use crate::view::Reading;

const REPORT: &str = "costs";
/// Days shown: eleven years.
const MAX_DAYS: i64 = 4_000;

pub(super) async fn costs(reading: &Reading, range: TimeRange, group_by: CostGroup) -> Result<Costs, ReportError> {
    let (mut rows, previous, days) = tokio::try_join!(
        groups(reading, range, group_by),
        groups(reading, range.previous(), group_by),
        groups(reading, range, CostGroup::Day),
    )?;
    let total = total(&rows, &previous);
    let mut before: HashMap<String, Usd> = HashMap::new();
    if group_by != CostGroup::Day {
        before = previous.into_iter().map(|row| (row.key, row.cost_usd)).collect();
    }
    for row in &mut rows {
        row.previous_cost_usd = before.get(&row.key).copied().unwrap_or_default();
        row.share_basis_points = total.cost_usd.basis_points_used(row.cost_usd).unwrap_or(0);
    }
    Ok(Costs { range, group_by, total, rows, days: without_holes(range, days), as_of: reading.as_of() })
}

fn key(group_by: CostGroup) -> &'static str {
    match group_by {
        CostGroup::Team => "team",
        CostGroup::Model => MODEL,
        CostGroup::Provider => "coalesce(provider, '')",
        CostGroup::Day => "CAST(day AS VARCHAR)",
        CostGroup::Key => "coalesce(api_key_id, '')",
        CostGroup::Project => "coalesce(project, '')",
    }
}

async fn groups(reading: &Reading, range: TimeRange, group_by: CostGroup) -> Result<Vec<CostRow>, ReportError> {
    let order = if group_by == CostGroup::Day { "key" } else { "cost_usd DESC NULLS LAST, calls DESC, key" };
    let sql = format!(
        "SELECT {} AS key, count(*) AS calls, sum(cost_usd) AS cost_usd, count(*) FILTER (WHERE {UNPRICED}) AS unpriced, \
         sum(input_tokens) AS input_tokens, sum(cache_read_input_tokens) AS cache_read_input_tokens, \
         sum(output_tokens) AS output_tokens FROM interactions WHERE {IN_RANGE} GROUP BY 1 ORDER BY {order}",
        key(group_by)
    );
    let answer = Answer::new(REPORT, reading.ask(REPORT, Profile::Aggregate, sql, range_parameters(range)).await?);
    let (keys, calls, costs) = (answer.texts_or_empty("key")?, answer.sums("calls")?, answer.dollars("cost_usd")?);
    let (unpriced, inputs) = (answer.sums("unpriced")?, answer.sums("input_tokens")?);
    let (cached, outputs) = (answer.sums("cache_read_input_tokens")?, answer.sums("output_tokens")?);
    let row = |(at, key): (usize, String)| CostRow {
        key,
        calls: calls[at],
        cost_usd: costs[at].unwrap_or_default(),
        unpriced: unpriced[at],
        input_tokens: inputs[at],
        cache_read_input_tokens: cached[at],
        output_tokens: outputs[at],
        ..CostRow::default()
    };
    Ok(keys.into_iter().enumerate().map(row).collect())
}

fn total(rows: &[CostRow], previous: &[CostRow]) -> CostRow {
    let mut total = CostRow::default();
    for row in rows {
        total.calls += row.calls;
        total.cost_usd += row.cost_usd;
        total.unpriced += row.unpriced;
        total.input_tokens += row.input_tokens;
        total.cache_read_input_tokens += row.cache_read_input_tokens;
        total.output_tokens += row.output_tokens;
    }
    total.previous_cost_usd = previous.iter().map(|row| row.cost_usd).sum();
    total.share_basis_points = total.cost_usd.basis_points_used(total.cost_usd).unwrap_or(0);
    total
}

fn without_holes(range: TimeRange, days: Vec<CostRow>) -> Vec<CostDay> {
    let mut known: HashMap<String, CostRow> = days.into_iter().map(|row| (row.key.clone(), row)).collect();
    let last = range.to_us.saturating_sub(1).div_euclid(US_PER_DAY);
    let first = range.from_us.div_euclid(US_PER_DAY).max(last - MAX_DAYS + 1);
    let day = |number: i64| {
        let at_us = number * US_PER_DAY;
        let day = DateTime::from_timestamp_micros(at_us).unwrap_or_default().format("%Y-%m-%d").to_string();
        let row = known.remove(&day).unwrap_or_default();
        CostDay { day, at_us, calls: row.calls, cost_usd: row.cost_usd, unpriced: row.unpriced }
    };
    (first..=last).map(day).collect()
}
