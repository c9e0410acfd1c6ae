//! What happened in a range of time: sums, a series, the largest groups, and the range before for comparison.

use std::collections::HashMap;

use super::rows::{Answer, IN_RANGE, MODEL, range_parameters, totals_columns};
use super::shape::{Bucket, Group, Overview, SeriesPoint, TimeRange, Totals};
use crate::error::ReportError;
use crate::session::Profile;
use crate::view::Reading;

const REPORT: &str = "overview";
/// Groups shown; the rest is in the totals.
const MAX_GROUPS: usize = 20;
/// Steps a series may have: a range and a width that give more are cut at the front, which the range in the answer says.
const MAX_STEPS: i64 = 2_000;

pub(super) async fn overview(reading: &Reading, range: TimeRange, bucket: Bucket) -> Result<Overview, ReportError> {
    let (totals, previous, series) =
        tokio::try_join!(totals(reading, range), totals(reading, range.previous()), series(reading, range, bucket))?;
    let (by_model, by_team, by_provider) = tokio::try_join!(
        groups(reading, range, MODEL),
        groups(reading, range, "team"),
        groups(reading, range, "coalesce(provider, '')"),
    )?;
    Ok(Overview { range, bucket, totals, previous, series, by_model, by_team, by_provider, as_of: reading.as_of() })
}

async fn totals(reading: &Reading, range: TimeRange) -> Result<Totals, ReportError> {
    let sql = format!("SELECT {} FROM costs WHERE {IN_RANGE}", totals_columns());
    let batches = reading.ask(REPORT, Profile::Aggregate, sql, range_parameters(range)).await?;
    Ok(Answer::new(REPORT, batches).totals()?.pop().unwrap_or_default())
}

async fn groups(reading: &Reading, range: TimeRange, key: &'static str) -> Result<Vec<Group>, ReportError> {
    let sql = format!(
        "SELECT {key} AS key, {} FROM costs WHERE {IN_RANGE} GROUP BY 1 ORDER BY calls DESC, key LIMIT {MAX_GROUPS}",
        totals_columns()
    );
    let answer = Answer::new(REPORT, reading.ask(REPORT, Profile::Aggregate, sql, range_parameters(range)).await?);
    let groups = answer.texts_or_empty("key")?.into_iter().zip(answer.totals()?);
    Ok(groups.map(|(key, totals)| Group { key, totals }).collect())
}

async fn series(reading: &Reading, range: TimeRange, bucket: Bucket) -> Result<Vec<SeriesPoint>, ReportError> {
    let seconds = bucket.width_us() / 1_000_000;
    let sql = format!(
        "SELECT date_bin(INTERVAL '{seconds} seconds', started_at) AS at, {} \
         FROM costs WHERE {IN_RANGE} GROUP BY 1 ORDER BY 1",
        totals_columns()
    );
    let answer = Answer::new(REPORT, reading.ask(REPORT, Profile::Aggregate, sql, range_parameters(range)).await?);
    let points = answer.times_us("at")?.into_iter().zip(answer.totals()?);
    let mut known: HashMap<i64, SeriesPoint> = points.map(|(at_us, totals)| (at_us, point(at_us, &totals))).collect();
    let step = |at_us| known.remove(&at_us).unwrap_or(SeriesPoint { at_us, ..SeriesPoint::default() });
    Ok(steps(range, bucket).map(step).collect())
}

/// The starts of all steps that overlap `range`.
fn steps(range: TimeRange, bucket: Bucket) -> impl Iterator<Item = i64> {
    let width_us = bucket.width_us();
    let first = range.from_us.div_euclid(width_us);
    let last = range.to_us.saturating_sub(1).div_euclid(width_us);
    (first.max(last - MAX_STEPS + 1)..=last).map(move |step| step * width_us)
}

fn point(at_us: i64, totals: &Totals) -> SeriesPoint {
    SeriesPoint {
        at_us,
        calls: totals.calls,
        errors: totals.errors(),
        denied: totals.denied,
        cost_usd: totals.cost_usd,
        input_tokens: totals.input_tokens,
        output_tokens: totals.output_tokens,
        latency_p50_us: totals.latency_p50_us,
        latency_p95_us: totals.latency_p95_us,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_has_a_step_for_every_part_of_the_range() {
        const MINUTE_US: i64 = 60_000_000;
        let range = TimeRange::new(MINUTE_US / 2, 3 * MINUTE_US);
        let starts: Vec<i64> = steps(range, Bucket::Minute).collect();
        assert_eq!(starts, [0, MINUTE_US, 2 * MINUTE_US]);
        assert_eq!(steps(TimeRange::new(0, 0), Bucket::Minute).count(), 0);
    }
}
