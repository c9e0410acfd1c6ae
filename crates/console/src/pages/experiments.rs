//! `/experiments`: what the arms of each experiment got and how they did against the arm they are compared with, in intervals
//! that hold however often one looks.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Html;
use tollgate_analytics::report::{Arm, Experiment, Experiments, Judgements, Metric, MetricKind, Verdict};
use tollgate_analytics::statistics::Interval;

use crate::access::Reader;
use crate::error::ConsoleError;
use crate::format::{self, UNKNOWN};
use crate::params::Params;
use crate::range::{Choice, Range, choices};
use crate::shell::Shell;
use crate::state::ConsoleState;

/// Answers `GET /experiments`.
///
/// # Errors
/// `parameter_invalid` for an unknown range; a report error if the log could not be read.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    params: Params,
) -> Result<Html<String>, ConsoleError> {
    let range = params.range(Range::Month)?;
    let report = reader.ledger(&state).experiments(range.at(state.now_us())).await?;
    let page = ExperimentsPage::new(reader.shell(&state, "Experiments", "/experiments"), range, report);
    Ok(Html(page.render()?))
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "pages/experiments.html")]
pub struct ExperimentsPage {
    shell: Shell,
    ranges: Vec<Choice>,
    sure: String,
    experiments: Vec<Sheet>,
    /// What came in of judgements, where the reader may know.
    judged: Option<Judged>,
    report: Experiments,
}

/// What came in of judgements, in sentences.
#[derive(Debug, PartialEq, Eq)]
struct Judged {
    came_in: String,
    /// Those that count for nothing, if there are any.
    lost: Option<String>,
}

/// One experiment, worded.
#[derive(Debug)]
struct Sheet {
    name: String,
    period: String,
    calls: u64,
    control: String,
    ratio: Ratio,
    crossed: Option<String>,
    arms: Vec<ArmLine>,
    comparisons: Vec<Comparison>,
}

/// The check of the arms' shares.
#[derive(Debug)]
struct Ratio {
    tone: &'static str,
    word: &'static str,
    note: String,
}

#[derive(Debug)]
struct ArmLine {
    name: String,
    is_control: bool,
    calls: u64,
    units: u64,
    share: String,
    expected: String,
}

/// One arm against the control.
#[derive(Debug)]
struct Comparison {
    arm: String,
    lines: Vec<MetricLine>,
}

#[derive(Debug)]
struct MetricLine {
    label: &'static str,
    control: String,
    arm: String,
    difference: String,
    /// Both ends of it.
    bounds: Option<(String, String)>,
    tone: &'static str,
    word: &'static str,
}

impl ExperimentsPage {
    /// Words `report` for people.
    #[must_use]
    pub fn new(shell: Shell, range: Range, report: Experiments) -> Self {
        ExperimentsPage {
            shell,
            ranges: choices(Range::RECENT, range, "/experiments", ""),
            sure: format::percent(1.0 - report.alpha),
            experiments: report.experiments.iter().map(sheet).collect(),
            judged: report.judgements.as_ref().map(judged),
            report,
        }
    }
}

fn judged(judgements: &Judgements) -> Judged {
    let Judgements { count, of_no_call, not_looked_up, calls_since_us } = judgements;
    let mut came_in = match count {
        0 => "No judgement came in at POST /v1/feedback during this range.".to_owned(),
        _ => format!("{} came in at POST /v1/feedback during this range.", format::counted(*count, "judgement")),
    };
    if *not_looked_up > 0 {
        let (which, since) = (format::count(*not_looked_up), format::date(*calls_since_us));
        came_in.push_str(&format!(" Of calls from before {since} are {which}; those were not looked for."));
    }
    let lost = match of_no_call {
        0 => None,
        1 => Some("One judgement of this range is of a call that is not in the log".to_owned()),
        many => {
            Some(format!("{} of this range are of calls that are not in the log", format::counted(*many, "judgement")))
        }
    };
    let why = "The id may be wrong or of another organisation, or its gateway has not handed the call over yet.";
    Judged { came_in, lost: lost.map(|what| format!("{what}: so far it counts for nothing. {why}")) }
}

fn sheet(experiment: &Experiment) -> Sheet {
    let control = experiment.arms.iter().find(|arm| arm.name == experiment.control);
    let compared = |arm: &Arm| Comparison { arm: arm.name.clone(), lines: lines(control, arm) };
    let (first, last) = (format::minute(experiment.first_at_us), format::minute(experiment.last_at_us));
    Sheet {
        name: experiment.name.clone(),
        period: format!("{first} to {last}, UTC"),
        calls: experiment.calls,
        control: experiment.control.clone(),
        ratio: ratio(experiment),
        crossed: (experiment.crossed_units > 0).then(|| {
            let units = match experiment.crossed_units {
                1 => "One user or conversation".to_owned(),
                units => format!("{} users or conversations", format::count(units)),
            };
            format!("{units} met more than one arm: differences look smaller than they are.")
        }),
        arms: experiment.arms.iter().map(|arm| arm_line(arm, &experiment.control)).collect(),
        comparisons: experiment.arms.iter().filter(|arm| arm.name != experiment.control).map(compared).collect(),
    }
}

fn ratio(experiment: &Experiment) -> Ratio {
    match (experiment.sample_ratio, experiment.ratio_unknown) {
        (Some(check), _) if check.is_mismatch => Ratio {
            tone: "o-failed",
            word: "Arms did not get their shares",
            note: format!(
                "χ² = {:.1}, p = {:.1e}: something else than chance put calls aside. Find out what before reading on.",
                check.chi_square, check.p
            ),
        },
        (Some(check), _) => Ratio {
            tone: "o-success",
            word: "Arms got their shares",
            note: format!("χ² = {:.2}, p = {:.3}", check.chi_square, check.p),
        },
        (None, why) => {
            Ratio { tone: "o-cancelled", word: "Shares not checked", note: why.unwrap_or_default().to_owned() }
        }
    }
}

fn arm_line(arm: &Arm, control: &str) -> ArmLine {
    ArmLine {
        name: arm.name.clone(),
        is_control: arm.name == control,
        calls: arm.calls,
        units: arm.units,
        share: format::percent(arm.share),
        expected: format::percent_or_unknown(arm.expected_share),
    }
}

fn lines(control: Option<&Arm>, arm: &Arm) -> Vec<MetricLine> {
    let line = |(metric, against): (&Metric, &Metric)| {
        let (tone, word) = verdict(metric.verdict);
        MetricLine {
            label: label(metric.kind),
            control: value(metric.kind, against.mean),
            arm: value(metric.kind, metric.mean),
            difference: difference(metric),
            bounds: bounds(metric.kind, metric.difference),
            tone,
            word,
        }
    };
    control.into_iter().flat_map(|control| arm.metrics.iter().zip(&control.metrics)).map(line).collect()
}

const fn label(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::CostUsd => "Cost per call",
        MetricKind::LatencyMs => "Latency",
        MetricKind::ErrorRate => "Errors",
        MetricKind::RefusalRate => "Refusals",
        MetricKind::Feedback => "Feedback",
    }
}

const fn verdict(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Control => ("", ""),
        Verdict::TooFew => ("o-cancelled", "Too few"),
        Verdict::NoDifference => ("o-cancelled", "No difference yet"),
        Verdict::Better => ("o-success", "Better"),
        Verdict::Worse => ("o-failed", "Worse"),
    }
}

/// A figure of a metric, rounded for reading.
fn value(kind: MetricKind, value: Option<f64>) -> String {
    let Some(value) = value else { return UNKNOWN.to_owned() };
    match kind {
        MetricKind::CostUsd => format!("${}", significant(value)),
        MetricKind::LatencyMs => format::duration_us((value.max(0.0) * 1_000.0) as u64),
        MetricKind::ErrorRate | MetricKind::RefusalRate => format::percent(value),
        MetricKind::Feedback => format!("{value:.2}"),
    }
}

/// The difference in the metric's own unit, with its sign.
fn signed(kind: MetricKind, value: f64) -> String {
    let sign = if value < 0.0 { "−" } else { "+" };
    match kind {
        MetricKind::CostUsd => format!("{sign}${}", significant(value.abs())),
        MetricKind::LatencyMs => format!("{sign}{}", format::duration_us((value.abs() * 1_000.0) as u64)),
        MetricKind::ErrorRate | MetricKind::RefusalRate => format!("{sign}{:.2} pp", value.abs() * 100.0),
        MetricKind::Feedback => format!("{sign}{:.3}", value.abs()),
    }
}

fn significant(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let places = (2 - value.abs().log10().floor() as i32).clamp(2, 9);
    format!("{value:.*}", usize::try_from(places).unwrap_or(2))
}

fn difference(metric: &Metric) -> String {
    metric.difference.map_or_else(|| UNKNOWN.to_owned(), |interval| signed(metric.kind, interval.estimate))
}

fn bounds(kind: MetricKind, interval: Option<Interval>) -> Option<(String, String)> {
    interval.map(|interval| (signed(kind, interval.lower), signed(kind, interval.upper)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judgements_of_no_call_are_told() {
        let none = Judgements { count: 12, of_no_call: 0, not_looked_up: 0, calls_since_us: 0 };
        let told = judged(&none);
        assert_eq!(
            (told.came_in.as_str(), told.lost),
            ("12 judgements came in at POST /v1/feedback during this range.", None)
        );
        let lost = judged(&Judgements { of_no_call: 2, ..none }).lost.unwrap();
        assert!(lost.starts_with("2 judgements of this range are of calls that are not in the log"), "{lost}");
    }

    #[test]
    fn figures_keep_three_digits_and_their_sign() {
        assert_eq!(value(MetricKind::CostUsd, Some(0.000_123_456)), "$0.000123");
        assert_eq!(value(MetricKind::CostUsd, Some(12.345)), "$12.35");
        assert_eq!(signed(MetricKind::ErrorRate, -0.0123), "−1.23 pp");
        assert_eq!(value(MetricKind::Feedback, None), UNKNOWN);
    }
}
