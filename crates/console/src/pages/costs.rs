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
    let page = CostsPage::new(reader.shell(&state, "Costs", "/costs"), range, report);
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
    pub fn new(shell: Shell, range: Range, report: Costs) -> Self {
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
            unpriced: beside::unpriced(&report, range),
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

fn per(total: &CostRow, units: u64, of: u64) -> String {
    match units {
        0 => UNKNOWN.to_owned(),
        units => format::usd(Usd::new(total.cost_usd.get() * i128::from(of) / i128::from(units))),
    }
}

fn tiles(report: &Costs) -> Vec<Tile> {
    let total = &report.total;
    let priced = total.calls.saturating_sub(total.unpriced);
    let tokens = total.input_tokens + total.output_tokens;
    let cached = match total.input_tokens {
        0 => None,
        input => Some(total.cache_read_input_tokens as f64 / input as f64),
    };
    vec![
        Tile {
            label: "Total",
            value: format::usd(total.cost_usd),
            exact: format!("${}", total.cost_usd),
            delta: change(total),
            note: format!("before: {}", format::usd(total.previous_cost_usd)),
            ..Tile::default()
        },
        Tile {
            label: "Per call",
            value: per(total, priced, 1),
            note: format!(
                "over {} of {} calls; not those whose cost is unknown, but also those that cost nothing",
                format::count(priced),
                format::count(total.calls)
            ),
            ..Tile::default()
        },
        Tile {
            label: "Per million tokens",
            value: per(total, tokens, 1_000_000),
            note: format!(
                "{} in, {} out",
                format::compact(total.input_tokens as f64),
                format::compact(total.output_tokens as f64)
            ),
            ..Tile::default()
        },
        Tile {
            label: "Input from cache",
            value: format::percent_or_unknown(cached),
            note: format!("{} tokens", format::compact(total.cache_read_input_tokens as f64)),
            ..Tile::default()
        },
    ]
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
