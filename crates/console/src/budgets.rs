//! Budgets and limits as a reader sees them: what each scope has used up, how far that has brought it, how it will end, and
//! what was said about it. The page and the API show the same lines.

use std::sync::Arc;

use serde::Serialize;
use tollgate_interaction::Usd;
use tollgate_policy::forecast::Forecast;
use tollgate_policy::ledger::{Account, Reading, Unit};
use tollgate_policy::scope::Dimension;
use tollgate_policy::{AllowanceKind, AllowanceView, Bundle};

/// Lines shown at most; those nearest to their limit come first.
pub const MAX_LINES: usize = 1_000;

/// What the process knows of its budgets.
#[derive(Clone)]
pub struct BudgetBooks {
    /// The active bundle.
    pub bundle: Arc<Bundle>,
    /// The accounts in use, with what the books say.
    pub readings: Vec<(Account, Reading)>,
    /// How accounts will end, as of the last look: by the id of the tally and the name of the account.
    pub forecasts: Arc<std::collections::HashMap<(String, String), Forecast>>,
    /// What was said, the latest first.
    pub alerts: Vec<AlertLine>,
    /// The organisation that the reader ends at: of budgets that are not told apart by it, nothing is shown.
    pub organisation: Option<String>,
}

/// One thing that was said about a budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlertLine {
    /// When. Microseconds since 1970, UTC.
    pub at_us: i64,
    /// Id of the budget.
    pub budget: String,
    /// `team=kyc`.
    pub scope: String,
    /// A sentence.
    pub text: String,
    /// What became of the webhook: `delivered`, `waiting`, `failed`, or `none` if there is none.
    pub delivery: &'static str,
}

/// How a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No step is reached.
    Open,
    /// A step that changes routes is reached.
    Reached,
    /// Calls are turned away.
    Shut,
    /// The log has not been counted for it.
    Unknown,
}

/// One budget or limit of one scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BudgetLine {
    /// As the bundle calls it.
    pub id: String,
    /// Whether it goes in steps.
    pub kind: AllowanceKind,
    /// `team=kyc`.
    pub scope: String,
    /// What it counts.
    pub unit: Unit,
    /// `this month (Europe/Berlin)`.
    pub window: String,
    /// Used up by calls that have ended, in the unit: dollars, tokens or calls.
    pub spent: String,
    /// Held back for calls in flight.
    pub reserved: String,
    /// The limit.
    pub limit: String,
    /// Used up and held back together, in parts per ten thousand of the limit; `None` of a limit of nothing.
    pub used_basis_points: Option<i64>,
    /// How it stands.
    pub state: State,
    /// Whether no call has drawn on the budget or limit in its present window, by whomever. Then the line stands for all that it
    /// is for: `team=*`.
    pub is_idle: bool,
    /// What the highest step that is reached does; empty if none is.
    pub step: String,
    /// When the window ends, of a calendar window. Microseconds since 1970, UTC.
    pub resets_at_us: Option<i64>,
    /// Age of the log's figures, in seconds.
    pub age_s: Option<u64>,
    /// How it will end.
    pub forecast: Option<Forecast>,
    /// The limit in dollars, to hold the forecast against.
    pub limit_usd: Option<Usd>,
}

/// The lines of the books, those nearest to their limit first, and how many there are in all.
#[must_use]
pub fn lines(books: &BudgetBooks, now_us: i64) -> (Vec<BudgetLine>, usize) {
    let views = books.bundle.allowances();
    let mut lines = Vec::new();
    let mut idle: std::collections::BTreeSet<usize> = (0..views.len()).collect();
    for (account, reading) in &books.readings {
        for place in books.bundle.about(account.tally, &account.scope) {
            if let Some(view) = views.get(place) {
                idle.remove(&place);
                lines.extend(line(books, view, account, reading, now_us));
            }
        }
    }
    let idle = idle.into_iter().filter_map(|place| views.get(place));
    lines.extend(idle.filter_map(|view| idle_line(books, view, now_us)));
    lines.sort_by(|one: &BudgetLine, other| {
        let by_use = other.used_basis_points.unwrap_or(i64::MAX).cmp(&one.used_basis_points.unwrap_or(i64::MAX));
        by_use
            .then_with(|| one.is_idle.cmp(&other.is_idle))
            .then_with(|| (&one.id, &one.scope).cmp(&(&other.id, &other.scope)))
    });
    let all = lines.len();
    lines.truncate(MAX_LINES);
    (lines, all)
}

/// The line of a budget or limit that nobody has drawn on; `None` if it is not the reader's to see.
fn idle_line(books: &BudgetBooks, view: &AllowanceView, now_us: i64) -> Option<BudgetLine> {
    let mut scope = view.scope.clone();
    if let Some(organisation) = &books.organisation {
        let (all, own) = (format!("{}=*", Dimension::Tenant), format!("{}={organisation}", Dimension::Tenant));
        let is_theirs = |part: &&str| *part == all || *part == own;
        scope.split(", ").find(is_theirs)?;
        scope = scope.replace(&all, &own);
    }
    let account = Account { tally: view.tally, scope: String::new() };
    // Nothing was drawn, as far as the log has been read: there is no age of a figure that there is not.
    let nothing = Reading { age_s: Some(0), ..Reading::default() };
    let line = line(books, view, &account, &nothing, now_us)?;
    Some(BudgetLine { scope, is_idle: true, age_s: None, forecast: None, ..line })
}

fn line(
    books: &BudgetBooks,
    view: &AllowanceView,
    account: &Account,
    reading: &Reading,
    now_us: i64,
) -> Option<BudgetLine> {
    let tally = books.bundle.tallies().get(account.tally)?;
    let used = reading.used(view.unit);
    let spent = if view.unit == Unit::Concurrency { 0 } else { reading.settled.get(view.unit) };
    let reached = view.steps.iter().rev().find(|step| used >= step.threshold(view.limit));
    let is_shut = match view.kind {
        AllowanceKind::Budget => view.steps.iter().any(|step| step.denies && used >= step.threshold(view.limit)),
        AllowanceKind::Limit => used >= view.limit,
    };
    let state = match (reading.age_s, is_shut, reached) {
        (None, ..) => State::Unknown,
        (_, true, _) => State::Shut,
        (_, _, Some(_)) => State::Reached,
        _ => State::Open,
    };
    let step = match (view.kind, reached) {
        (_, Some(step)) => step.action.clone(),
        (AllowanceKind::Limit, None) if is_shut => "turns calls away".to_owned(),
        _ => String::new(),
    };
    let span = tally.window.at(now_us);
    Some(BudgetLine {
        id: view.id.clone(),
        kind: view.kind,
        scope: tally.scope_text(&account.scope),
        unit: view.unit,
        window: view.window.clone(),
        spent: amount(view.unit, spent),
        reserved: amount(view.unit, reading.reserved.get(view.unit)),
        limit: amount(view.unit, view.limit),
        used_basis_points: Usd::new(view.limit).basis_points_used(Usd::new(used)),
        state,
        is_idle: false,
        step,
        resets_at_us: tally.window.is_calendar().then_some(span.to_us),
        age_s: reading.age_s,
        forecast: (view.unit == Unit::Usd)
            .then(|| books.forecasts.get(&(tally.id.clone(), account.scope.clone())).copied())
            .flatten(),
        limit_usd: (view.unit == Unit::Usd).then(|| Usd::new(view.limit)),
    })
}

fn amount(unit: Unit, amount: i128) -> String {
    if unit == Unit::Usd { Usd::new(amount).to_string() } else { amount.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_budget_that_nobody_has_drawn_on_is_listed_with_nothing_spent() {
        let mut books = sample::budgets();
        let (used, _) = lines(&books, sample::NOW_US);
        assert!(used.iter().all(|line| !line.is_idle), "{used:?}");
        books.readings.retain(|(account, _)| books.bundle.tallies()[account.tally].id != "team/month/UTC");
        let (found, _) = lines(&books, sample::NOW_US);
        let idle: Vec<&BudgetLine> = found.iter().filter(|line| line.is_idle).collect();
        assert!(!idle.is_empty() && idle.iter().all(|line| line.scope == "team=*"), "{idle:?}");
        assert!(idle.iter().all(|line| line.state == State::Open && line.used_basis_points == Some(0)), "{idle:?}");
        books.organisation = Some("acme".to_owned());
        books.readings.clear();
        let (own, _) = lines(&books, sample::NOW_US);
        assert!(!own.is_empty() && own.iter().all(|line| line.scope == "tenant=acme"), "{own:?}");
    }
}
