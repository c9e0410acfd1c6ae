//! `/costs`: what a range cost, day by day and split by team, model, provider, key or project, against the range before;
//! and what no price is known for.

mod beside;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Html;
use tollgate_analytics::report::{CostGroup, CostRow, Costs};
use tollgate_interaction::Usd;

use super::Tile;
use crate::access::Reader;
use crate::chart::{Series, Shape, TimeChart, Tone, Unit, bar};
use crate::error::ConsoleError;
use crate::format::{self, Delta, Rise, UNKNOWN, delta};
use crate::params::Params;
use crate::range::{Choice, Range, choices, parameter};
use crate::shell::Shell;
use crate::state::ConsoleState;
use crate::unpriced::Explainer;

/// Answers `GET /costs`.
///
/// # Errors
/// `parameter_invalid` for an unknown range or group; a report error if the log could not be read.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    params: Params,
) -> Result<Html<String>, ConsoleError> {
    let range = params.range(Range::Month)?;
    let report = reader.ledger(&state).costs(range.at(state.now_us()), group(&params)?).await?;
    let page = CostsPage::new(reader.shell(&state, "Costs", "/costs"), range, report, state.explainer());
    Ok(Html(page.render()?))
}

/// How costs are to be split: by team unless the parameters say otherwise.
///
/// # Errors
/// `parameter_invalid` for an unknown group.
pub fn group(params: &Params) -> Result<CostGroup, ConsoleError> {
    let Some(text) = params.get("group") else { return Ok(CostGroup::Team) };
    CostGroup::from_text(text).ok_or_else(|| ConsoleError::Invalid {
        message: format!("`{text}` is not a usable `group`"),
        hint: "It is one of `team`, `model`, `provider`, `day`, `key`, `project`.",
    })
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "pages/costs.html")]
pub struct CostsPage {
    shell: Shell,
    ranges: Vec<Choice>,
    groups: Vec<Choice>,
    period: String,
    column: &'static str,
    csv_href: String,
    tiles: Vec<Tile>,
    chart: String,
    rows: Vec<Line>,
    total_delta: Option<Delta>,
    unpriced: Vec<beside::Unpriced>,
    unpriced_href: String,
    reconciled: Vec<beside::Reconciled>,
    corrected: Option<String>,
    report: Costs,
}

#[derive(Debug)]
struct Line {
    name: String,
    href: Option<String>,
    share: String,
    bar: String,
    delta: Option<Delta>,
    cost: CostRow,
}

impl CostsPage {
    /// Words `report` for people.
    #[must_use]
    pub fn new(shell: Shell, range: Range, report: Costs, explainer: Explainer<'_>) -> Self {
        let group = report.group_by;
        let by = parameter("group", group.as_str());
        CostsPage {
            shell,
            ranges: choices(Range::ACCOUNTING, range, "/costs", &by),
            groups: CostGroup::ALL.iter().map(|choice| group_choice(*choice, group, range)).collect(),
            period: period(&report),
            column: title(group),
            csv_href: format!("/api/v1/costs?range={}{by}&format=csv", range.as_str()),
            tiles: tiles(&report),
            chart: chart(&report),
            rows: lines(&report, range),
            total_delta: change(&report.total),
            unpriced: beside::unpriced(&report, range, explainer),
            unpriced_href: beside::all_unpriced(range),
            reconciled: beside::reconciled(&report),
            corrected: beside::corrected(&report.corrections),
            report,
        }
    }
}

fn title(group: CostGroup) -> &'static str {
    match group {
        CostGroup::Team => "Team",
        CostGroup::Model => "Model",
        CostGroup::Provider => "Provider",
        CostGroup::Day => "Day",
        CostGroup::Key => "Key",
        CostGroup::Project => "Project",
    }
}

fn group_choice(choice: CostGroup, current: CostGroup, range: Range) -> Choice {
    Choice {
        label: title(choice).to_owned(),
        href: format!("/costs?range={}{}", range.as_str(), parameter("group", choice.as_str())),
        current: choice == current,
    }
}

fn period(report: &Costs) -> String {
    let (from, to) = (format::date(report.range.from_us), format::date(report.range.to_us - 1));
    if from == to { format!("{from}, UTC") } else { format!("{from} to {to}, UTC") }
}

fn change(row: &CostRow) -> Option<Delta> {
    delta(Some(row.previous_cost_usd.to_f64_lossy()), Some(row.cost_usd.to_f64_lossy()), Rise::Unwelcome)
}

/// What `of` of so many units cost, shown and exact; `None` if there are none.
fn per(total: &CostRow, units: u64, of: u64) -> Option<Usd> {
    (units > 0).then(|| Usd::new(total.cost_usd.get() * i128::from(of) / i128::from(units)))
}

fn figure(label: &'static str, amount: Option<Usd>, note: String) -> Tile {
    Tile {
        label,
        value: amount.map_or_else(|| UNKNOWN.to_owned(), format::usd),
        exact: amount.map(format::exact).unwrap_or_default(),
        note,
        ..Tile::default()
    }
}

fn tiles(report: &Costs) -> Vec<Tile> {
    let total = &report.total;
    let cached = match total.input_tokens {
        0 => None,
        input => Some(total.cache_read_input_tokens as f64 / input as f64),
    };
    let mut tiles = vec![
        Tile {
            label: "Total",
            value: format::usd(total.cost_usd),
            exact: format::exact(total.cost_usd),
            delta: change(total),
            note: format!("before: {}", format::usd(total.previous_cost_usd)),
            ..Tile::default()
        },
        figure("Per call", per(total, total.priced, 1), over(total)),
        figure(
            "Per million tokens",
            per(total, total.priced_tokens, 1_000_000),
            format!("over the {} tokens of those calls", format::compact(total.priced_tokens as f64)),
        ),
        Tile {
            label: "Input from cache",
            value: format::percent_or_unknown(cached),
            note: format!("{} tokens", format::compact(total.cache_read_input_tokens as f64)),
            ..Tile::default()
        },
    ];
    if total.cached > 0 {
        let note = format!("{} answered from the gateway's cache", format::counted(total.cached, "call"));
        tiles.push(figure("Saved", Some(total.saved_usd), note));
    }
    tiles
}

/// What the cost per call is over. A refused call, a list of models or a count of tokens has no cost and is none of them.
fn over(total: &CostRow) -> String {
    match (total.priced, total.calls) {
        (0, _) => "no call has a cost".to_owned(),
        (priced, calls) if priced == calls => format!("over all {}", format::counted(calls, "call")),
        (1, calls) => format!("over the 1 call of {} that has a cost", format::count(calls)),
        (priced, calls) => {
            format!("over the {} of {} calls that have a cost", format::count(priced), format::count(calls))
        }
    }
}

fn chart(report: &Costs) -> String {
    TimeChart {
        id: "cost-by-day",
        title: "Cost by day".to_owned(),
        headline: format::usd(report.total.cost_usd),
        unit: Unit::Usd,
        shape: Shape::Bars,
        from_us: report.days.first().map_or(report.range.from_us, |day| day.at_us),
        step_us: 86_400_000_000,
        series: vec![Series::known("cost", Tone::Rank(1), report.days.iter().map(|day| day.cost_usd.to_f64_lossy()))],
    }
    .figure()
}

fn lines(report: &Costs, range: Range) -> Vec<Line> {
    let group = report.group_by;
    let largest = report.rows.iter().map(|row| row.cost_usd.to_f64_lossy()).fold(0.0, f64::max).max(1e-12);
    let has_list = !matches!(group, CostGroup::Day | CostGroup::Project);
    let list_range = if Range::RECENT.contains(&range) { range } else { Range::Month };
    let line = |row: &CostRow| Line {
        name: if row.key.is_empty() { "not known".to_owned() } else { row.key.clone() },
        href: (has_list && !row.key.is_empty())
            .then(|| format!("/interactions?range={}{}", list_range.as_str(), parameter(group.as_str(), &row.key))),
        share: format::percent(row.share_basis_points as f64 / 10_000.0),
        bar: bar(row.cost_usd.to_f64_lossy() / largest, Tone::Rank(1)),
        delta: if group == CostGroup::Day { None } else { change(row) },
        cost: row.clone(),
    };
    report.rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_per_call_is_over_the_calls_that_have_one() {
        let total = CostRow {
            calls: 9,
            priced: 4,
            priced_tokens: 2_000_000,
            cost_usd: Usd::from_dollars(2),
            ..CostRow::default()
        };
        assert_eq!(per(&total, total.priced, 1), Some("0.5".parse().unwrap()));
        assert_eq!(per(&total, total.priced_tokens, 1_000_000), Some(Usd::from_dollars(1)));
        assert_eq!(over(&total), "over the 4 of 9 calls that have a cost");
        assert_eq!(over(&CostRow { calls: 4, ..total }), "over all 4 calls");
        assert_eq!(per(&CostRow::default(), 0, 1), None);
    }
}
