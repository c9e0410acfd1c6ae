//! `/budgets`: what each scope has used up of its budgets and limits, how it will end, and what was said about it.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Html;
use tollgate_interaction::Usd;
use tollgate_policy::AllowanceKind;
use tollgate_policy::forecast::Method;
use tollgate_policy::ledger::Unit;

use crate::access::Reader;
use crate::budgets::{AlertLine, BudgetBooks, BudgetLine, State as Standing, lines};
use crate::chart::{Tone, bar};
use crate::error::ConsoleError;
use crate::format::{self, UNKNOWN};
use crate::shell::Shell;
use crate::state::ConsoleState;

/// Answers `GET /budgets`.
///
/// # Errors
/// A defect of ours.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
) -> Result<Html<String>, ConsoleError> {
    let shell = reader.shell(&state, "Budgets", "/budgets");
    Ok(Html(BudgetsPage::new(shell, reader.budgets(&state), state.now_us()).render()?))
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "pages/budgets.html")]
pub struct BudgetsPage {
    shell: Shell,
    bundle: String,
    age: String,
    sections: Vec<Section>,
    hidden: u64,
    alerts: Vec<Alert>,
}

/// Rows under one heading.
#[derive(Debug)]
struct Section {
    title: &'static str,
    rows: Vec<Row>,
    empty: &'static str,
    with_forecast: bool,
}

/// A line in words.
#[derive(Debug)]
struct Row {
    id: String,
    scope: String,
    window: String,
    spent: String,
    exact: String,
    reserved: String,
    limit: String,
    share: String,
    bar: String,
    state: &'static str,
    standing: String,
    resets: String,
    forecast: String,
    forecast_note: String,
    is_over: bool,
}

#[derive(Debug)]
struct Alert {
    at: String,
    line: AlertLine,
    delivery: &'static str,
}

impl BudgetsPage {
    /// Words what the process knows.
    #[must_use]
    pub fn new(shell: Shell, books: Option<BudgetBooks>, now_us: i64) -> Self {
        let mut page = BudgetsPage {
            shell,
            bundle: String::new(),
            age: UNKNOWN.to_owned(),
            sections: Vec::new(),
            hidden: 0,
            alerts: Vec::new(),
        };
        let Some(books) = books else { return page };
        let (lines, all) = lines(&books, now_us);
        page.hidden = all.saturating_sub(lines.len()) as u64;
        if let Some(age_s) = lines.iter().filter_map(|line| line.age_s).max() {
            page.age = format::age(i64::try_from(age_s).unwrap_or(i64::MAX).saturating_mul(1_000_000));
        }
        let of = |kind: AllowanceKind| -> Vec<Row> { lines.iter().filter(|line| line.kind == kind).map(row).collect() };
        let (no_budget, no_limit) = match books.organisation {
            None => ("The bundle in force has no budget.", "The bundle in force has no limit."),
            Some(_) => (
                "The bundle in force has no budget that is told apart by organisation.",
                "The bundle in force has no limit that is told apart by organisation.",
            ),
        };
        page.sections = vec![
            Section { title: "Budgets", rows: of(AllowanceKind::Budget), empty: no_budget, with_forecast: true },
            Section { title: "Limits", rows: of(AllowanceKind::Limit), empty: no_limit, with_forecast: false },
        ];
        page.bundle.clone_from(&books.bundle.name);
        page.alerts = books.alerts.into_iter().map(alert).collect();
        page
    }
}

fn row(line: &BudgetLine) -> Row {
    let (state, standing) = match line.state {
        _ if line.is_idle => ("flat", "no call yet".to_owned()),
        Standing::Open => ("good", "open".to_owned()),
        Standing::Reached => ("warn", line.step.clone()),
        Standing::Shut => ("bad", line.step.clone()),
        Standing::Unknown => ("warn", "spend not known".to_owned()),
    };
    let (forecast, forecast_note, is_over) = forecast(line);
    let tone = match state {
        "bad" => Tone::Bad,
        "warn" => Tone::Denied,
        _ => Tone::Good,
    };
    let used = line.used_basis_points.map_or(1.0, |points| points as f64 / 10_000.0);
    Row {
        id: line.id.clone(),
        scope: line.scope.clone(),
        window: line.window.clone(),
        spent: shown(line.unit, &line.spent),
        exact: line.spent.clone(),
        reserved: shown(line.unit, &line.reserved),
        limit: shown(line.unit, &line.limit),
        share: line.used_basis_points.map_or_else(|| UNKNOWN.to_owned(), |points| format!("{} %", points / 100)),
        bar: bar(used.clamp(0.0, 1.0), tone),
        state,
        standing,
        resets: line.resets_at_us.map(format::minute).unwrap_or_default(),
        forecast,
        forecast_note,
        is_over,
    }
}

/// The forecast, how it was made, and whether it is over the limit.
fn forecast(line: &BudgetLine) -> (String, String, bool) {
    let (Some(forecast), Some(limit)) = (line.forecast, line.limit_usd) else {
        return (String::new(), String::new(), false);
    };
    let note = match (forecast.method, forecast.interval_usd) {
        (Method::Weekdays, Some((low, high))) => {
            format!("{} to {}", format::usd(low), format::usd(high))
        }
        _ => "at the rate so far".to_owned(),
    };
    // A rolling window does not end.
    let note = match line.resets_at_us {
        None => format!("{note}, at its fullest on {}", format::day(forecast.ends_at_us - 1)),
        Some(_) => note,
    };
    (format::usd(forecast.expected_usd), note, forecast.expected_usd > limit)
}

fn shown(unit: Unit, amount: &str) -> String {
    let count = |noun: &str| match amount.parse::<u64>() {
        Ok(number) => format!("{} {noun}", format::count(number)),
        Err(_) => format!("{amount} {noun}"),
    };
    match unit {
        Unit::Usd => amount.parse::<Usd>().map_or_else(|_| amount.to_owned(), format::usd),
        Unit::Tokens => count("tokens"),
        Unit::Calls | Unit::Concurrency => count("calls"),
    }
}

fn alert(line: AlertLine) -> Alert {
    let delivery = match line.delivery {
        "delivered" => "sent",
        "waiting" => "being sent",
        "failed" => "could not be sent",
        _ => "shown here only",
    };
    Alert { at: format::minute(line.at_us), line, delivery }
}
