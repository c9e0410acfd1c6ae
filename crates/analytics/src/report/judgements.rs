//! How many judgements came in, and how many of them are of no call: these count for nothing, and nobody would see it.

use datafusion::common::ScalarValue;
use serde::Serialize;
use tollgate_interaction::InteractionId;

use super::rows::{Answer, moment};
use super::shape::TimeRange;
use crate::error::ReportError;
use crate::session::Profile;
use crate::view::Reading;

const REPORT: &str = "judgements";
/// How long before a range calls are looked for that were judged in it.
const LOOKED_BACK_US: i64 = 30 * 86_400_000_000;
/// What the clock of another gateway may be ahead.
const SKEW_US: i64 = 600_000_000;

/// Judgements that came in during a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Judgements {
    /// All of them.
    pub count: u64,
    /// Those of no call of the same organisation that is in the log.
    pub of_no_call: u64,
    /// Those of calls that began, by their id, too long before the range to be looked for.
    pub not_looked_up: u64,
    /// Since when calls were looked for. Microseconds since 1970, UTC.
    pub calls_since_us: i64,
}

pub(super) async fn judgements(reading: &Reading, range: TimeRange) -> Result<Judgements, ReportError> {
    let calls_since_us = range.from_us.saturating_sub(LOOKED_BACK_US);
    // Ids sort by the time at which their calls began.
    let first_id = InteractionId::new(u64::try_from(calls_since_us / 1_000).unwrap_or(0), &[0; 10]);
    let sql = "SELECT count(*) AS count, count(*) FILTER (WHERE judged_id < $first_id) AS not_looked_up, \
               count(*) FILTER (WHERE judged_id >= $first_id AND interaction_id IS NULL) AS of_no_call \
               FROM (SELECT interaction_id AS judged_id, tenant AS judged_tenant FROM feedback \
                     WHERE at >= $from AND at < $to) \
               LEFT JOIN (SELECT interaction_id, tenant FROM interactions \
                          WHERE started_at >= $since AND started_at < $until) \
               ON interaction_id = judged_id AND tenant = judged_tenant"
        .to_owned();
    let parameters = vec![
        ("from", moment(range.from_us)),
        ("to", moment(range.to_us)),
        ("since", moment(calls_since_us)),
        ("until", moment(range.to_us.saturating_add(SKEW_US))),
        ("first_id", ScalarValue::from(first_id.to_string())),
    ];
    let answer = Answer::new(REPORT, reading.ask(REPORT, Profile::Aggregate, sql, parameters).await?);
    let one = |name: &str| Ok::<u64, ReportError>(answer.sums(name)?.first().copied().unwrap_or(0));
    Ok(Judgements {
        count: one("count")?,
        of_no_call: one("of_no_call")?,
        not_looked_up: one("not_looked_up")?,
        calls_since_us,
    })
}
