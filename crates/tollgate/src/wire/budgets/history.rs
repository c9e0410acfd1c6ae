//! What the log says of the past of budgets: spend by day, for forecasts, and what was told.

use std::collections::{HashMap, HashSet};

use anyhow::Context as _;
use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Decimal128Type};
use tollgate_analytics::{Analytics, QueryLimits};
use tollgate_interaction::Usd;
use tollgate_policy::forecast::HISTORY_DAYS;
use tollgate_policy::ledger::Tally;
use tollgate_policy::scope::Dimension;
use tollgate_policy::window::Window;

const DAY_US: i64 = 86_400_000_000;
/// A rolling window that is longer is forecast by this much of its past.
const LONGEST_DAYS: i64 = 400;

/// Spend of each account by UTC day (days since 1970), by the account's name: the last four weeks, or as far as a rolling window
/// reaches back.
pub(super) async fn daily_spend(
    analytics: &Analytics,
    tally: &Tally,
    now_us: i64,
) -> anyhow::Result<HashMap<String, Vec<(i32, Usd)>>> {
    let columns: Vec<String> = tally.dimensions.iter().map(column).collect();
    let reaches_back = match tally.window {
        Window::Rolling { length_s } => i64::try_from(length_s / 86_400 + 2)?.min(LONGEST_DAYS),
        _ => 0,
    };
    let first = now_us.div_euclid(DAY_US) - HISTORY_DAYS.max(reaches_back);
    let first = chrono::DateTime::from_timestamp(first * 86_400, 0).context("the time is out of range")?;
    let names: String = columns.iter().map(|column| format!(", {column}")).collect();
    let sql = format!(
        "SELECT day, sum(cost_usd) AS spent{names} FROM costs WHERE started_at >= TIMESTAMP '{}' AND cost_usd IS NOT NULL \
         GROUP BY day{names}",
        first.format("%Y-%m-%d %H:%M:%S")
    );
    let limits = QueryLimits { max_rows: usize::MAX, ..QueryLimits::default() };
    let found = analytics.sql(&sql, limits).await.context("reading the spend of past days")?;
    let mut days: HashMap<String, Vec<(i32, Usd)>> = HashMap::new();
    for batch in &found.batches {
        let day = cast(batch.column(0), &DataType::Date32)?;
        let spent = cast(batch.column(1), &DataType::Decimal128(38, 12))?;
        let (day, spent) = (day.as_primitive::<Date32Type>(), spent.as_primitive::<Decimal128Type>());
        let texts = (0..columns.len()).map(|place| cast(batch.column(place + 2), &DataType::Utf8));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let value = |text: &arrow::array::ArrayRef| {
                let text = text.as_string_opt::<i32>().filter(|text| text.is_valid(row))?;
                Some(text.value(row).to_owned())
            };
            let values: Option<Vec<String>> = texts.iter().map(value).collect();
            let Some(values) = values else { continue };
            days.entry(values.join("\u{1f}")).or_default().push((day.value(row), Usd::new(spent.value(row))));
        }
    }
    Ok(days)
}

fn column(dimension: &Dimension) -> String {
    match dimension {
        Dimension::Tenant => "tenant".to_owned(),
        Dimension::Project => "project".to_owned(),
        Dimension::Team => "team".to_owned(),
        Dimension::User => "user_ref".to_owned(),
        Dimension::Key => "api_key_id".to_owned(),
        Dimension::Model => "model_requested".to_owned(),
        Dimension::Tag(name) => format!("tags['{}']", name.replace('\'', "''")),
    }
}

/// Ids of the alerts in the log.
pub(super) async fn already_told(analytics: &Analytics) -> anyhow::Result<HashSet<String>> {
    let limits = QueryLimits { max_rows: usize::MAX, ..QueryLimits::default() };
    let sql = "SELECT event_id FROM control_events WHERE action IN ('budget.step_reached', 'budget.forecast_over')";
    let found = analytics.sql(sql, limits).await?;
    let mut told = HashSet::new();
    for batch in &found.batches {
        let ids = cast(batch.column(0), &DataType::Utf8)?;
        told.extend(ids.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok(told)
}
