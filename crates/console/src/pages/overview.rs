//! `/`: what happened in a range against the range before it, over time, and by model, team and provider.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Html;
use tollgate_analytics::report::{AsOf, Group, InteractionFilter, InteractionRow, Overview, Page, SeriesPoint, Totals};
use tollgate_interaction::Usd;

use super::Tile;
use crate::access::Reader;
use crate::chart::{self, Series, Shape, TimeChart, Tone, Unit};
use crate::error::ConsoleError;
use crate::format::{self, Rise, delta};
use crate::params::Params;
use crate::range::{Choice, Range, choices, parameter};
use crate::shell::Shell;
use crate::state::ConsoleState;

/// Answers `GET /`.
///
/// # Errors
/// `parameter_invalid` for an unknown range; a report error if the log could not be read.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    params: Params,
) -> Result<Html<String>, ConsoleError> {
    const RECENT: usize = 12;
    let (range, now_us) = (params.range(Range::Day)?, state.now_us());
    let (steps, bucket) = range.in_steps(now_us);
    let filter = InteractionFilter { range: Some(steps), ..InteractionFilter::default() };
    let ledger = reader.ledger(&state);
    let recent = ledger.interactions(&filter, Page { limit: RECENT, after: None });
    let (report, recent) = futures::try_join!(ledger.overview(steps, bucket), recent)?;
    let models = state.instruments.models();
    let first_steps = FirstSteps {
        gateway_url: state.settings.gateway_url.clone(),
        example_model: models.into_iter().next().unwrap_or_default(),
    };
    let shell = reader.shell(&state, "Overview", "/");
    let page = OverviewPage::new(shell, range, &report, recent.rows, first_steps, now_us);
    Ok(Html(page.render()?))
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "pages/overview.html")]
pub struct OverviewPage {
    shell: Shell,
    ranges: Vec<Choice>,
    range_label: &'static str,
    range_before: &'static str,
    first_run: bool,
    gateway_url: String,
    example_model: String,
    tiles: Vec<Tile>,
    charts: Vec<String>,
    splits: Vec<Split>,
    recent: Vec<InteractionRow>,
    as_of: AsOf,
    now_us: i64,
}

/// Calls by one column.
#[derive(Debug)]
struct Split {
    title: &'static str,
    column: &'static str,
    rows: Vec<SplitRow>,
    more: usize,
    all_href: String,
}

#[derive(Debug)]
struct SplitRow {
    name: String,
    href: Option<String>,
    calls: u64,
    /// `None` if nothing is known of it: every call that may have cost something is without a cost.
    cost_usd: Option<Usd>,
    latency_p95_us: Option<u64>,
    error_rate: Option<f64>,
    bar: String,
}

impl SplitRow {
    /// Above five percent someone should look.
    fn is_bad(&self) -> bool {
        self.error_rate.is_some_and(|rate| rate >= 0.05)
    }
}

/// What a newcomer is told to try.
#[derive(Clone, Debug)]
pub struct FirstSteps {
    /// Address of the gateway.
    pub gateway_url: String,
    /// A model that answers without any configuration.
    pub example_model: String,
}

impl OverviewPage {
    /// Words `report` for people.
    #[must_use]
    pub fn new(
        shell: Shell,
        range: Range,
        report: &Overview,
        recent: Vec<InteractionRow>,
        first_steps: FirstSteps,
        now_us: i64,
    ) -> Self {
        let first_run = report.totals.calls == 0 && report.previous.calls == 0 && recent.is_empty();
        OverviewPage {
            shell,
            ranges: choices(Range::RECENT, range, "/", ""),
            range_label: range.label(),
            range_before: range.length(),
            first_run,
            gateway_url: first_steps.gateway_url,
            example_model: first_steps.example_model,
            tiles: tiles(report),
            charts: charts(report),
            splits: vec![
                split("By model", "Model", "model", range, &report.by_model),
                split("By team", "Team", "team", range, &report.by_team),
                split("By provider", "Provider", "provider", range, &report.by_provider),
            ],
            recent,
            as_of: report.as_of,
            now_us,
        }
    }
}

fn tiles(report: &Overview) -> Vec<Tile> {
    let (now, before) = (&report.totals, &report.previous);
    let values = |value: fn(&SeriesPoint) -> Option<f64>| report.series.iter().map(value).collect::<Vec<_>>();
    let had_calls = before.calls > 0;
    let compared = |value: fn(&Totals) -> f64| (had_calls.then(|| value(before)), Some(value(now)));
    let (calls_before, calls_now) = compared(|totals| totals.calls as f64);
    let (cost_before, cost_now) = compared(|totals| totals.cost_usd.to_f64_lossy());
    let (tokens_before, tokens_now) = compared(|totals| (totals.input_tokens + totals.output_tokens) as f64);
    vec![
        Tile {
            label: "Calls",
            value: short_count(now.calls),
            exact: format::count(now.calls),
            delta: delta(calls_before, calls_now, Rise::Neutral),
            note: denied_note(now),
            spark: chart::spark(&values(|point| Some(point.calls as f64)), Tone::Good),
            ..Tile::default()
        },
        Tile {
            label: "Cost",
            value: format::usd(now.cost_usd),
            exact: format::exact(now.cost_usd),
            delta: delta(cost_before, cost_now, Rise::Unwelcome),
            note: unpriced_note(now),
            spark: chart::spark(&values(|point| Some(point.cost_usd.to_f64_lossy())), Tone::Rank(1)),
            ..Tile::default()
        },
        Tile {
            label: "Tokens",
            value: format::compact((now.input_tokens + now.output_tokens) as f64),
            exact: format!("{} in, {} out", format::count(now.input_tokens), format::count(now.output_tokens)),
            delta: delta(tokens_before, tokens_now, Rise::Neutral),
            note: cached_note(now),
            spark: chart::spark(
                &values(|point| Some((point.input_tokens + point.output_tokens) as f64)),
                Tone::Rank(5),
            ),
            ..Tile::default()
        },
        Tile {
            label: "Latency p50 / p95",
            // A number and its unit stay together on a narrow screen.
            value: format::duration_us_or_unknown(now.latency_p50_us).replace(' ', "\u{a0}"),
            second: format!(" / {}", format::duration_us_or_unknown(now.latency_p95_us)),
            delta: delta(micros(before.latency_p95_us), micros(now.latency_p95_us), Rise::Unwelcome),
            note: overhead_note(now),
            spark: chart::spark(&values(|point| micros(point.latency_p95_us)), Tone::Rank(2)),
            ..Tile::default()
        },
        Tile {
            label: "Error rate",
            value: format::percent_or_unknown(now.error_rate()),
            exact: format!("{} of {} admitted calls", now.errors(), now.calls.saturating_sub(now.denied)),
            delta: delta(before.error_rate(), now.error_rate(), Rise::Unwelcome),
            note: format!("{} failed or cut off", format::count(now.errors())),
            spark: chart::spark(&values(error_rate), Tone::Bad),
            ..Tile::default()
        },
    ]
}

fn short_count(number: u64) -> String {
    if number < 1_000_000 { format::count(number) } else { format::compact(number as f64) }
}

fn micros(us: Option<u64>) -> Option<f64> {
    us.map(|us| us as f64)
}

fn denied_note(totals: &Totals) -> String {
    match totals.denied {
        0 => "none denied".to_owned(),
        denied => format!("{} denied", format::count(denied)),
    }
}

fn unpriced_note(totals: &Totals) -> String {
    match totals.unpriced {
        0 => "every call priced".to_owned(),
        unpriced => format!("{} of unknown price", format::count(unpriced)),
    }
}

/// The sum of the known costs; `None` where there is none and a cost is missing.
fn known_cost(totals: &Totals) -> Option<Usd> {
    (totals.unpriced == 0 || totals.cost_usd != Usd::ZERO).then_some(totals.cost_usd)
}

fn cached_note(totals: &Totals) -> String {
    match totals.input_tokens {
        0 => String::new(),
        input => {
            format!("{} of input from cache", format::percent(totals.cache_read_input_tokens as f64 / input as f64))
        }
    }
}

fn overhead_note(totals: &Totals) -> String {
    match totals.overhead_p50_us {
        Some(us) => format!("gateway adds {}", format::duration_us(us)),
        None => String::new(),
    }
}

fn error_rate(point: &SeriesPoint) -> Option<f64> {
    let admitted = point.calls.saturating_sub(point.denied);
    (admitted > 0).then(|| point.errors as f64 / admitted as f64)
}

fn charts(report: &Overview) -> Vec<String> {
    let points = &report.series;
    let chart = |id, title: &str, headline: String, unit, shape, series| TimeChart {
        id,
        title: title.to_owned(),
        headline,
        unit,
        shape,
        from_us: points.first().map_or(report.range.from_us, |point| point.at_us),
        step_us: report.bucket.width_us(),
        series,
    };
    let known = |label, tone, value: fn(&SeriesPoint) -> f64| Series::known(label, tone, points.iter().map(value));
    let some = |label: &str, tone, value: fn(&SeriesPoint) -> Option<f64>| Series {
        label: label.to_owned(),
        tone,
        values: points.iter().map(value).collect(),
    };
    let totals = &report.totals;
    let calls = vec![
        known("answered", Tone::Good, |point| point.calls.saturating_sub(point.errors + point.denied) as f64),
        known("denied", Tone::Denied, |point| point.denied as f64),
        known("errors", Tone::Bad, |point| point.errors as f64),
    ];
    let cost = vec![known("cost", Tone::Rank(1), |point| point.cost_usd.to_f64_lossy())];
    let latency = vec![
        some("p50", Tone::Rank(0), |point| point.latency_p50_us.map(|us| us as f64 / 1e3)),
        some("p95", Tone::Rank(2), |point| point.latency_p95_us.map(|us| us as f64 / 1e3)),
    ];
    let errors = vec![some("error rate", Tone::Bad, error_rate)];
    [
        chart("calls", "Calls", short_count(totals.calls), Unit::Count, Shape::Bars, calls),
        chart("cost", "Cost", format::usd(totals.cost_usd), Unit::Usd, Shape::Bars, cost),
        chart("latency", "Latency", latency_headline(totals), Unit::Millis, Shape::Lines, latency),
        chart(
            "errors",
            "Error rate",
            format::percent_or_unknown(totals.error_rate()),
            Unit::Share,
            Shape::Area,
            errors,
        ),
    ]
    .iter()
    .map(TimeChart::figure)
    .collect()
}

fn latency_headline(totals: &Totals) -> String {
    let figure = format::duration_us_or_unknown::<Option<u64>>;
    format!("{} / {}", figure(totals.latency_p50_us), figure(totals.latency_p95_us))
}

fn split(title: &'static str, column: &'static str, by: &str, range: Range, groups: &[Group]) -> Split {
    const SHOWN: usize = 6;
    let nobody = match by {
        "team" => "unknown caller",
        "provider" => "no provider was called",
        _ => "no model",
    };
    let largest = groups.iter().map(|group| group.totals.calls).max().unwrap_or(1).max(1);
    let row = |group: &Group| SplitRow {
        name: if group.key.is_empty() { nobody.to_owned() } else { group.key.clone() },
        href: (!group.key.is_empty())
            .then(|| format!("/interactions?range={}{}", range.as_str(), parameter(by, &group.key))),
        calls: group.totals.calls,
        cost_usd: known_cost(&group.totals),
        latency_p95_us: group.totals.latency_p95_us,
        error_rate: group.totals.error_rate(),
        bar: chart::bar(group.totals.calls as f64 / largest as f64, Tone::Good),
    };
    Split {
        title,
        column,
        rows: groups.iter().take(SHOWN).map(row).collect(),
        more: groups.len().saturating_sub(SHOWN),
        all_href: format!("/costs?group={by}&range={}", range.as_str()),
    }
}
