//! What a range cost: exact sums, split one way and day by day, and how many calls no price was known for.

use std::collections::HashMap;

use chrono::DateTime;
use tollgate_interaction::{InteractionId, Usd};

use super::recorded::{self, RecordedCall};
use super::rows::{Answer, IN_RANGE, MODEL, MODEL_ASKED, UNPRICED, range_parameters};
use super::shape::{
    Corrections, CostDay, CostGroup, CostRow, Costs, ReconciliationRow, TimeRange, US_PER_DAY, UnpricedRow,
};
use crate::error::ReportError;
use crate::session::Profile;
use crate::view::Reading;

const REPORT: &str = "costs";
/// Lines of calls without a known cost: enough to see what is missing.
const MAX_UNPRICED: usize = 50;
/// Days shown: eleven years.
const MAX_DAYS: i64 = 4_000;

pub(super) async fn costs(reading: &Reading, range: TimeRange, group_by: CostGroup) -> Result<Costs, ReportError> {
    let (mut rows, previous, days, unpriced, reconciliation, corrections) = tokio::try_join!(
        groups(reading, range, group_by),
        groups(reading, range.previous(), group_by),
        groups(reading, range, CostGroup::Day),
        unpriced(reading, range),
        reconciliation(reading, range),
        corrections(reading, range),
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
    let (days, as_of) = (without_holes(range, days), reading.as_of());
    Ok(Costs { range, group_by, total, rows, days, unpriced, reconciliation, corrections, as_of })
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
         count(cost_usd) AS priced, sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) \
         FILTER (WHERE cost_usd IS NOT NULL) AS priced_tokens, sum(input_tokens) AS input_tokens, sum(cache_read_input_tokens) AS cache_read_input_tokens, \
         sum(output_tokens) AS output_tokens, count(cache_kind) AS cached, sum(cost_saved_usd) AS saved_usd \
         FROM costs WHERE {IN_RANGE} GROUP BY 1 ORDER BY {order}",
        key(group_by)
    );
    let answer = Answer::new(REPORT, reading.ask(REPORT, Profile::Aggregate, sql, range_parameters(range)).await?);
    let (keys, calls, costs) = (answer.texts_or_empty("key")?, answer.sums("calls")?, answer.dollars("cost_usd")?);
    let (priced, priced_tokens) = (answer.sums("priced")?, answer.sums("priced_tokens")?);
    let (unpriced, inputs) = (answer.sums("unpriced")?, answer.sums("input_tokens")?);
    let (cached, outputs) = (answer.sums("cache_read_input_tokens")?, answer.sums("output_tokens")?);
    let (answered_again, saved) = (answer.sums("cached")?, answer.dollars("saved_usd")?);
    let row = |(at, key): (usize, String)| CostRow {
        key,
        calls: calls[at],
        cost_usd: costs[at].unwrap_or_default(),
        priced: priced[at],
        priced_tokens: priced_tokens[at],
        unpriced: unpriced[at],
        input_tokens: inputs[at],
        cache_read_input_tokens: cached[at],
        output_tokens: outputs[at],
        cached: answered_again[at],
        saved_usd: saved[at].unwrap_or_default(),
        ..CostRow::default()
    };
    Ok(keys.into_iter().enumerate().map(row).collect())
}

/// What has no known cost, by what a price is looked up by, and apart what nobody counted.
async fn unpriced(reading: &Reading, range: TimeRange) -> Result<Vec<UnpricedRow>, ReportError> {
    let sql = format!(
        "SELECT provider, coalesce(model_served, {MODEL_ASKED}) AS model, region, service_tier, \
         input_tokens IS NULL AND output_tokens IS NULL AS is_uncounted, count(*) AS calls, \
         max(interaction_id) AS newest, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens \
         FROM costs WHERE {IN_RANGE} AND {UNPRICED} GROUP BY 1, 2, 3, 4, 5 \
         ORDER BY calls DESC, 1, 2, 3, 4, 5 LIMIT {MAX_UNPRICED}"
    );
    let answer = Answer::new(REPORT, reading.ask(REPORT, Profile::Aggregate, sql, range_parameters(range)).await?);
    let (providers, models) = (answer.texts_or_empty("provider")?, answer.texts_or_empty("model")?);
    let (regions, tiers) = (answer.texts("region")?, answer.texts("service_tier")?);
    let (calls, uncounted) = (answer.sums("calls")?, answer.flags("is_uncounted")?);
    let (inputs, outputs) = (answer.sums("input_tokens")?, answer.sums("output_tokens")?);
    let unusable = |_| ReportError::Column { report: REPORT, column: "newest".to_owned() };
    let newest: Result<Vec<InteractionId>, ReportError> =
        answer.texts_or_empty("newest")?.iter().map(|id| id.parse().map_err(unusable)).collect();
    let newest = newest?;
    let mut recorded: HashMap<InteractionId, RecordedCall> = recorded::with_ids(reading, range, &newest)
        .await?
        .into_iter()
        .map(|call| (call.interaction_id, call))
        .collect();
    let row = |at: usize| UnpricedRow {
        provider: providers[at].clone(),
        model: models[at].clone(),
        region: regions[at].clone(),
        service_tier: tiers[at].clone(),
        calls: calls[at],
        uncounted: if uncounted[at] { calls[at] } else { 0 },
        input_tokens: inputs[at],
        output_tokens: outputs[at],
        reason: None,
        newest: recorded.remove(&newest[at]),
    };
    Ok((0..providers.len()).map(row).collect())
}

/// The catalogue's costs against the providers' own statements.
async fn reconciliation(reading: &Reading, range: TimeRange) -> Result<Vec<ReconciliationRow>, ReportError> {
    let sql = format!(
        "SELECT provider, count(*) AS calls, count(*) FILTER (WHERE cost_usd <> provider_cost_usd) AS differing, \
         sum(cost_usd) AS catalog_usd, sum(provider_cost_usd) AS provider_usd FROM costs \
         WHERE {IN_RANGE} AND cost_source = 'catalog' AND cost_usd IS NOT NULL AND provider_cost_usd IS NOT NULL \
         GROUP BY 1 ORDER BY 1"
    );
    let answer = Answer::new(REPORT, reading.ask(REPORT, Profile::Aggregate, sql, range_parameters(range)).await?);
    let providers = answer.texts_or_empty("provider")?;
    let (calls, differing) = (answer.sums("calls")?, answer.sums("differing")?);
    let (catalog, provider) = (answer.dollars("catalog_usd")?, answer.dollars("provider_usd")?);
    let row = |(at, name): (usize, String)| ReconciliationRow {
        provider: name,
        calls: calls[at],
        differing: differing[at],
        catalog_usd: catalog[at].unwrap_or_default(),
        provider_usd: provider[at].unwrap_or_default(),
    };
    Ok(providers.into_iter().enumerate().map(row).collect())
}

/// What corrections changed.
async fn corrections(reading: &Reading, range: TimeRange) -> Result<Corrections, ReportError> {
    let sql = format!(
        "SELECT count(*) AS calls, count(*) - count(recorded_cost_usd) AS priced_since, \
         sum(recorded_cost_usd) AS recorded_usd, sum(cost_usd) AS corrected_usd FROM costs \
         WHERE {IN_RANGE} AND corrected_at IS NOT NULL"
    );
    let answer = Answer::new(REPORT, reading.ask(REPORT, Profile::Aggregate, sql, range_parameters(range)).await?);
    let first = |sums: Vec<u64>| sums.first().copied().unwrap_or(0);
    let dollars = |sums: Vec<Option<Usd>>| sums.first().copied().flatten().unwrap_or(Usd::ZERO);
    Ok(Corrections {
        calls: first(answer.sums("calls")?),
        priced_since: first(answer.sums("priced_since")?),
        recorded_usd: dollars(answer.dollars("recorded_usd")?),
        corrected_usd: dollars(answer.dollars("corrected_usd")?),
    })
}

fn total(rows: &[CostRow], previous: &[CostRow]) -> CostRow {
    let mut total = CostRow::default();
    for row in rows {
        total.calls += row.calls;
        total.cost_usd += row.cost_usd;
        total.priced += row.priced;
        total.priced_tokens += row.priced_tokens;
        total.unpriced += row.unpriced;
        total.input_tokens += row.input_tokens;
        total.cache_read_input_tokens += row.cache_read_input_tokens;
        total.output_tokens += row.output_tokens;
        total.cached += row.cached;
        total.saved_usd += row.saved_usd;
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
