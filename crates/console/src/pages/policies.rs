//! `/policies`: the active bundle and those before it, who put them in force and why; and what another bundle would have
//! done with the calls of the past.

use askama::Template;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Response};
use tollgate_analytics::backtest::{BacktestReport, Change, Limits, Percent, SampleRow};
use tollgate_metastore::{BundleRevision, Permission};
use tollgate_policy::bundle::{self, ChangeKind, Detail};

use super::Tile;
use crate::access::Reader;
use crate::error::ConsoleError;
use crate::format::{self, Rise, UNKNOWN, delta};
use crate::params::Params;
use crate::range::Range;
use crate::shell::Shell;
use crate::simulation::{Simulation, simulate};
use crate::state::ConsoleState;

/// Answers `GET /policies`.
///
/// # Errors
/// A metastore error.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
) -> Result<Html<String>, ConsoleError> {
    render(&state, &reader, None, None).await
}

/// Answers `POST /policies/simulate`: tries the bundle of the form.
///
/// # Errors
/// A metastore or report error. A bundle that does not load is shown with what is wrong.
pub async fn try_out(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    body: Bytes,
) -> Result<Response, ConsoleError> {
    let params = Params::parse(&body);
    let form = Form {
        yaml: params.raw("bundle").unwrap_or_default().replace("\r\n", "\n"),
        range: params.range(Range::Week)?,
        max_denials: params.text("max_denials"),
        max_cost: params.text("max_cost"),
    };
    match form.try_out(&state, &reader).await {
        Ok(found) => Ok(render(&state, &reader, Some(form), Some(Ok(found))).await?.into_response()),
        // The bundle that somebody wrote stays in the form, whatever came of it.
        Err(error) => {
            let page = render(&state, &reader, Some(form), Some(Err(&error))).await?;
            Ok(error.shown_on(page))
        }
    }
}

async fn render(
    state: &ConsoleState,
    reader: &Reader,
    form: Option<Form>,
    found: Option<Result<Simulation, &ConsoleError>>,
) -> Result<Html<String>, ConsoleError> {
    let document = state.metastore.control_document().await?;
    let revisions = state.metastore.list_bundles().await?;
    let (problem, found) = match found {
        Some(Err(error)) => (Some(error.to_string()), None),
        Some(Ok(found)) => (None, Some(found)),
        None => (None, None),
    };
    let form = form.unwrap_or_else(|| Form { yaml: document.bundle_yaml.clone(), ..Form::default() });
    let shell = reader.shell(state, "Policies", "/policies");
    let may_simulate = reader.may(Permission::Query);
    Ok(Html(PoliciesPage::new(shell, document.bundle_yaml, revisions, form, problem, found, may_simulate).render()?))
}

/// What the form holds.
#[derive(Clone, Debug)]
pub struct Form {
    yaml: String,
    range: Range,
    max_denials: String,
    max_cost: String,
}

impl Default for Form {
    fn default() -> Self {
        Form { yaml: String::new(), range: Range::Week, max_denials: String::new(), max_cost: String::new() }
    }
}

impl Form {
    /// A form with this bundle in it.
    #[must_use]
    pub fn with(yaml: &str) -> Form {
        Form { yaml: yaml.to_owned(), ..Form::default() }
    }

    async fn try_out(&self, state: &ConsoleState, reader: &Reader) -> Result<Simulation, ConsoleError> {
        let limits = Limits {
            max_denials: percent(&self.max_denials)?,
            max_cost: percent(&self.max_cost)?,
            ..Limits::default()
        };
        simulate(state, (reader, String::new()), &self.yaml, self.range.at(state.now_us()), None, &limits).await
    }
}

fn percent(text: &str) -> Result<Option<Percent>, ConsoleError> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.parse().map_err(|error: tollgate_analytics::backtest::ParseLimitError| {
        ConsoleError::Invalid { message: error.to_string(), hint: "Leave the field empty for no limit." }
    })?;
    Ok(Some(parsed))
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "pages/policies.html")]
pub struct PoliciesPage {
    shell: Shell,
    active: String,
    active_lines: u64,
    revisions: Vec<RevisionLine>,
    ranges: Vec<(&'static str, &'static str, bool)>,
    form: Form,
    problem: Option<String>,
    may_simulate: bool,
    found: Option<Found>,
}

#[derive(Debug)]
struct RevisionLine {
    revision: u64,
    name: String,
    /// As its authors number it.
    version: Option<String>,
    /// What it brought back, if it did.
    again: String,
    hash: String,
    author: String,
    reason: String,
    at: String,
    is_active: bool,
}

/// A back-test, worded.
#[derive(Debug)]
struct Found {
    simulation: Simulation,
    period: String,
    agreement: Option<String>,
    tiles: Vec<Tile>,
    sample: Vec<SampleLine>,
    routing: Vec<String>,
    changes: Vec<ChangeLine>,
}

/// One rule that says something else than in the active bundle.
#[derive(Debug)]
struct ChangeLine {
    section: String,
    rule: String,
    tone: &'static str,
    word: &'static str,
    /// It says what it said, in another place.
    is_move: bool,
    details: Vec<Detail>,
}

#[derive(Debug)]
struct SampleLine {
    id: String,
    at: String,
    team: String,
    model: String,
    tone: &'static str,
    word: &'static str,
    what: String,
}

impl PoliciesPage {
    /// Words what there is.
    #[must_use]
    pub fn new(
        shell: Shell,
        active: String,
        revisions: Vec<BundleRevision>,
        form: Form,
        problem: Option<String>,
        found: Option<Simulation>,
        may_simulate: bool,
    ) -> Self {
        let line = |(at, revision): (usize, BundleRevision)| RevisionLine {
            revision: revision.revision,
            name: revision.name,
            version: revision.version,
            again: match revision.restores {
                None => String::new(),
                Some(0) => ", the built-in one again".to_owned(),
                Some(earlier) => format!(", revision {earlier} again"),
            },
            hash: revision.hash,
            author: revision.author,
            reason: revision.reason,
            at: format::timestamp(revision.created_at_us),
            is_active: at == 0,
        };
        PoliciesPage {
            shell,
            active_lines: active.lines().count() as u64,
            active,
            revisions: revisions.into_iter().enumerate().map(line).collect(),
            ranges: [Range::Day, Range::Week, Range::Month, Range::ThisMonth, Range::LastMonth]
                .map(|range| (range.as_str(), range.label(), range == form.range))
                .into(),
            form,
            problem,
            may_simulate,
            found: found.map(worded),
        }
    }
}

fn worded(simulation: Simulation) -> Found {
    let report = &simulation.report;
    let (from, to) = (format::minute(report.range.from_us), format::minute(report.range.to_us));
    let agreement = (report.own > 0).then(|| {
        let (agreed, own) = (format::count(report.own_agreed), format::counted(report.own, "call"));
        let (alike, routed) = (format::count(report.own_routes_agreed), format::count(report.own_routed));
        format!(
            "Of {own} that this very bundle had decided, {agreed} are decided the same again, by the same rules; of {routed} \
             that went to a target, {alike} go to the same one first."
        )
    });
    Found {
        period: format!("{from} to {to}, UTC"),
        agreement,
        tiles: tiles(report),
        sample: report.sample.iter().map(sample_line).collect(),
        routing: report.routing.sentences(),
        changes: simulation.changes.iter().map(change_line).collect(),
        simulation,
    }
}

fn change_line(change: &bundle::Change) -> ChangeLine {
    let (tone, word) = match change.kind {
        ChangeKind::Added => ("o-success", "New"),
        ChangeKind::Removed => ("o-failed", "Gone"),
        ChangeKind::Changed => ("o-denied", "Changed"),
        ChangeKind::Moved => ("o-cancelled", "Moved"),
    };
    ChangeLine {
        section: change.section.clone(),
        rule: change.rule.clone(),
        tone,
        word,
        is_move: change.kind == ChangeKind::Moved,
        details: change.details.clone(),
    }
}

fn tiles(report: &BacktestReport) -> Vec<Tile> {
    let share = |calls: u64| match report.replayed {
        0 => UNKNOWN.to_owned(),
        all => format!("{} of the calls", format::percent(calls as f64 / all as f64)),
    };
    let tile = |label, calls: u64| Tile { label, value: format::count(calls), note: share(calls), ..Tile::default() };
    let (logged, would) = (report.cost.logged_usd, report.cost.would_usd);
    let took = report.latency.logged_mean_us.zip(report.latency.would_mean_us);
    vec![
        tile("Newly denied", report.calls(Change::Denied)),
        tile("No longer denied", report.calls(Change::Allowed)),
        tile("Elsewhere", report.calls(Change::Rerouted)),
        Tile {
            label: "Cost, estimated",
            value: format::usd(would),
            exact: format!("${would}"),
            delta: delta(Some(logged.to_f64_lossy()), Some(would.to_f64_lossy()), Rise::Unwelcome),
            note: format!("was {}", format::usd(logged)),
            ..Tile::default()
        },
        Tile {
            label: "Mean latency, estimated",
            value: took.map_or_else(|| UNKNOWN.to_owned(), |(_, would)| format::duration_us(would)),
            delta: took.and_then(|(logged, would)| delta(Some(logged as f64), Some(would as f64), Rise::Unwelcome)),
            note: took.map_or_else(String::new, |(logged, _)| format!("was {}", format::duration_us(logged))),
            ..Tile::default()
        },
        Tile {
            label: "Where it may not go",
            value: format::count(report.violations()),
            note: "calls served against its residency rules".to_owned(),
            ..Tile::default()
        },
    ]
}

fn sample_line(row: &SampleRow) -> SampleLine {
    let (tone, word) = match row.change {
        Change::Same => ("o-cancelled", "Same"),
        Change::Denied => ("o-denied", "Denied"),
        Change::Allowed => ("o-success", "Let through"),
        Change::OtherRule => ("o-denied", "Denied by another rule"),
        Change::Rerouted => ("o-cached", "Elsewhere"),
    };
    let from_to = |from: &Option<String>, to: &Option<String>| {
        format!("{} → {}", from.as_deref().unwrap_or("—"), to.as_deref().unwrap_or("—"))
    };
    let head = match row.change {
        Change::Rerouted => {
            let arm = row.arm_after.as_ref().map_or_else(String::new, |arm| format!(", arm {arm}"));
            format!("{}{arm}", from_to(&row.target_before, &row.target_after))
        }
        Change::OtherRule => from_to(&row.rule_before, &row.rule_after),
        Change::Allowed => format!("no longer by {}", row.rule_before.as_deref().unwrap_or("—")),
        _ => format!("by {}", row.rule_after.as_deref().unwrap_or("—")),
    };
    let why = if row.why.is_empty() { String::new() } else { format!(": {}", row.why) };
    SampleLine {
        id: row.interaction_id.clone(),
        at: format::timestamp(row.started_at_us),
        team: row.team.clone(),
        model: row.model.clone(),
        tone,
        word,
        what: format!("{head}{why}"),
    }
}
