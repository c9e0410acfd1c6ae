//! The values that occur in a range, for the choices of a filter.

use super::rows::{Answer, IN_RANGE, range_parameters};
use super::shape::{FilterValues, TimeRange};
use crate::error::ReportError;
use crate::session::Profile;
use crate::view::Reading;

const REPORT: &str = "filter_values";
/// Choices offered per column.
const MAX_VALUES: usize = 200;

pub(super) async fn filter_values(reading: &Reading, range: TimeRange) -> Result<FilterValues, ReportError> {
    let (teams, requested, served, providers, outcomes) = tokio::try_join!(
        values(reading, range, "team"),
        values(reading, range, "model_requested"),
        values(reading, range, "model_served"),
        values(reading, range, "provider"),
        values(reading, range, "outcome"),
    )?;
    let mut models = requested;
    models.extend(served);
    models.sort();
    models.dedup();
    models.truncate(MAX_VALUES);
    Ok(FilterValues { teams, models, providers, outcomes })
}

async fn values(reading: &Reading, range: TimeRange, column: &'static str) -> Result<Vec<String>, ReportError> {
    let sql = format!(
        "SELECT DISTINCT {column} AS value FROM interactions WHERE {IN_RANGE} AND {column} <> '' ORDER BY 1 LIMIT {MAX_VALUES}"
    );
    let batches = reading.ask(REPORT, Profile::Aggregate, sql, range_parameters(range)).await?;
    Answer::new(REPORT, batches).texts_or_empty("value")
}
