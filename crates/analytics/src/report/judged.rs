//! What the answers of each target were judged.

use std::collections::BTreeMap;

use super::rows::{Answer, moment};
use crate::error::ReportError;
use crate::session::Profile;
use crate::signals::Judged;
use crate::view::Reading;

const REPORT: &str = "feedback by target";

/// Judged calls since a time (microseconds since 1970, UTC), by the target that answered them (`provider/model`, as the route
/// names it). A call counts once, however often it was judged; one that somebody else's organisation judged does not count.
pub(crate) async fn judged_targets(reading: &Reading, since_us: i64) -> Result<BTreeMap<String, Judged>, ReportError> {
    let sql = "SELECT provider || '/' || coalesce(get_field(array_element(attempts, -1), 'model'), model_served) AS target, \
               count(*) AS calls, avg(score) AS mean FROM (SELECT interaction_id AS judged_id, tenant AS judged_tenant, \
               avg(CAST(score AS DOUBLE)) AS score FROM feedback WHERE at >= $since GROUP BY 1, 2) \
               JOIN interactions ON interaction_id = judged_id AND tenant = judged_tenant \
               WHERE started_at >= $since AND provider IS NOT NULL GROUP BY 1"
        .to_owned();
    let since = vec![("since", moment(since_us))];
    let answer = Answer::new(REPORT, reading.ask(REPORT, Profile::Aggregate, sql, since).await?);
    let (targets, calls, means) = (answer.texts_or_empty("target")?, answer.sums("calls")?, answer.floats("mean")?);
    let judged = targets.into_iter().zip(calls).zip(means);
    Ok(judged.filter_map(|((target, calls), mean)| Some((target, Judged { calls, mean: mean? }))).collect())
}
