//! `GET /api/v1/costs`, as JSON or CSV.

use std::fmt::Write;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use tollgate_analytics::report::{CostRow, Costs};

use super::{accepts, csv_field, download};
use crate::access::Reader;
use crate::error::ConsoleError;
use crate::format;
use crate::pages::costs::group;
use crate::params::Params;
use crate::range::Range;
use crate::state::ConsoleState;

/// What a range cost, split.
///
/// # Errors
/// `parameter_invalid` for an unknown range or group; a report error if the log could not be read.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ConsoleError> {
    let span = params.span(Range::Month, state.now_us())?;
    let mut report = reader.ledger(&state).costs(span, group(&params)?).await?;
    state.explainer().enter_reasons(&mut report);
    if params.get("format") == Some("csv") || accepts(&headers, "text/csv") {
        let (from, to) = (format::date(span.from_us), format::date(span.to_us - 1));
        let file_name = format!("costs-by-{}-{from}-to-{to}.csv", report.group_by.as_str());
        return Ok(download("text/csv; charset=utf-8", &file_name, csv(&report)));
    }
    Ok(Json(report).into_response())
}

/// One line per group and a last one with the total; amounts with all their places.
fn csv(report: &Costs) -> String {
    let mut text = format!(
        "{},calls,input_tokens,cache_read_input_tokens,output_tokens,cost_usd,unpriced_calls,previous_cost_usd,priced_calls\r\n",
        report.group_by.as_str()
    );
    let mut line = |key: &str, row: &CostRow| {
        let (key, cost, previous) = (csv_field(key), row.cost_usd, row.previous_cost_usd);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{key},{},{},{},{},{cost},{},{previous},{}\r\n",
            row.calls, row.input_tokens, row.cache_read_input_tokens, row.output_tokens, row.unpriced, row.priced
        );
    };
    for row in &report.rows {
        line(&row.key, row);
    }
    line("TOTAL", &report.total);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use tollgate_analytics::report::CostGroup;

    #[test]
    fn the_csv_ends_with_the_total_and_cannot_run_a_formula() {
        let mut report = sample::costs(Range::Month.at(sample::NOW_US), CostGroup::Team);
        report.rows[0].key = "=cmd()".to_owned();
        let text = csv(&report);
        assert!(text.contains("\r\n'=cmd(),81000,"), "{text}");
        assert!(text.lines().last().unwrap().starts_with("TOTAL,"));
    }
}
