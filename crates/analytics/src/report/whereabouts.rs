//! Whether there is a call of an id: in the log, nowhere, or perhaps with a gateway that has not handed it over yet.
//!
//! A log is handed over in the order in which its calls ended. So a gateway of which a later call is here has nothing of
//! before to hand over, and whoever knows all gateways that ever handed something over knows what is still to come.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::ScalarValue;
use tollgate_interaction::InteractionId;

use super::list::range_of_id;
use super::rows::{Answer, IN_RANGE, range_parameters};
use super::shape::TimeRange;
use crate::error::ReportError;
use crate::session::Profile;
use crate::view::Reading;

const REPORT: &str = "whereabouts of a call";
const US_PER_DAY: i64 = 86_400_000_000;
/// No call is under way for longer, clocks that disagree included.
const LONGEST_CALL_US: i64 = 2 * 3_600_000_000;

/// Where a call is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// In the log, and of the organisation that was asked for.
    Here,
    /// Not in the log, or of another organisation; no gateway can have it.
    Nowhere,
    /// Not in the log. The logs of these gateways may have it and have not been handed over that far.
    Outstanding(BTreeSet<String>),
}

/// See the module. `own` is the log of this process, whose calls are here as soon as they have ended.
pub(super) async fn whereabouts(
    reading: &Reading,
    id: InteractionId,
    tenant: &str,
    own: &str,
    now_us: i64,
) -> Result<Whereabouts, ReportError> {
    let sql = format!("SELECT tenant FROM interactions WHERE interaction_id = $id AND {IN_RANGE}");
    let mut parameters = range_parameters(range_of_id(id));
    parameters.push(("id", ScalarValue::from(id.to_string())));
    let answer = Answer::new(REPORT, reading.ask(REPORT, Profile::Needle, sql, parameters).await?);
    let tenants = answer.texts_or_empty("tenant")?;
    if !tenants.is_empty() {
        let is_theirs = tenants.iter().any(|found| found == tenant);
        return Ok(if is_theirs { Whereabouts::Here } else { Whereabouts::Nowhere });
    }
    let writers = reading.watermarks().into_keys().map(|(writer, _)| writer.as_str().to_owned());
    let mut others: BTreeSet<String> = writers.filter(|writer| writer != own).collect();
    if others.is_empty() {
        return Ok(Whereabouts::Nowhere);
    }
    let started_us = i64::try_from(id.unix_ms()).unwrap_or(i64::MAX / 1_000).saturating_mul(1_000);
    let ended_us = started_us.saturating_add(LONGEST_CALL_US);
    let handed_over = last_ended(reading, started_us.max(now_us - US_PER_DAY), now_us).await?;
    others.retain(|writer| handed_over.get(writer).is_none_or(|last_us| *last_us <= ended_us));
    Ok(if others.is_empty() { Whereabouts::Nowhere } else { Whereabouts::Outstanding(others) })
}

/// When the last call of each log ended that is here, among those that began since a time.
async fn last_ended(reading: &Reading, since_us: i64, now_us: i64) -> Result<BTreeMap<String, i64>, ReportError> {
    let sql = format!("SELECT writer, max(ended_at) AS last_at FROM interactions WHERE {IN_RANGE} GROUP BY 1");
    // Clocks that are ahead are not left out.
    let range = TimeRange::new(since_us, now_us.saturating_add(US_PER_DAY));
    let answer = Answer::new(REPORT, reading.ask(REPORT, Profile::Aggregate, sql, range_parameters(range)).await?);
    Ok(answer.texts_or_empty("writer")?.into_iter().zip(answer.times_us("last_at")?).collect())
}
