//! Experiments: what each arm got and how it did, against the arm it is compared with. The figures are sums the engine made;
//! what they mean is [`crate::statistics`]'s.

use std::collections::BTreeMap;

use serde::Serialize;

use super::judgements::{Judgements, judgements};
use super::rows::{Answer, IN_RANGE, range_parameters};
use super::shape::{AsOf, TimeRange};
use crate::error::ReportError;
use crate::session::Profile;
use crate::statistics::{self, Confidence, Interval, MIN_UNITS, Moments, SampleRatio};
use crate::view::Reading;

const REPORT: &str = "experiments";
/// Name of the arm that others are compared with, if an experiment has one of that name.
const CONTROL: &str = "control";

/// Every experiment that calls of a range took part in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Experiments {
    /// Starts of the calls.
    pub range: TimeRange,
    /// In the order of their names.
    pub experiments: Vec<Experiment>,
    /// What came in of judgements; `None` for a reader of some teams, whose teams judgements do not name.
    pub judgements: Option<Judgements>,
    /// Probability that the intervals of a metric leave out what they estimate at any look at all.
    pub alpha: f64,
    /// Units that an arm must have before an interval is given.
    pub min_units: u64,
    /// What it was read from.
    pub as_of: AsOf,
}

/// One experiment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Experiment {
    /// Its name in the policy bundle.
    pub name: String,
    /// First call of the range. Microseconds since 1970, UTC.
    pub first_at_us: i64,
    /// Last call of the range. Microseconds since 1970, UTC.
    pub last_at_us: i64,
    /// Calls of all arms.
    pub calls: u64,
    /// The arm that the others are compared with: `control`, or else the one that was to get most.
    pub control: String,
    /// Whether the arms got the shares of units they were to get; `None` if that cannot be said.
    pub sample_ratio: Option<SampleRatio>,
    /// Why it cannot.
    pub ratio_unknown: Option<&'static str>,
    /// Users or conversations that met more than one arm: they make the arms alike, and differences too small.
    pub crossed_units: u64,
    /// The one that others are compared with first, then in the order of their names.
    pub arms: Vec<Arm>,
}

/// One arm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Arm {
    /// Its name.
    pub name: String,
    /// Its calls.
    pub calls: u64,
    /// Users, or else conversations, or else calls: what was put into the arm as one.
    pub units: u64,
    /// Share of all units it was to get; `None` if that changed within the range.
    pub expected_share: Option<f64>,
    /// Share of all units it got.
    pub share: f64,
    /// In the order of [`MetricKind::ALL`].
    pub metrics: Vec<Metric>,
}

/// How an arm did in one respect.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metric {
    /// In which.
    pub kind: MetricKind,
    /// Observations.
    pub observations: u64,
    /// Their mean; `None` without any.
    pub mean: Option<f64>,
    /// The mean between its bounds; `None` for too few units.
    pub interval: Option<Interval>,
    /// What it is above the arm it is compared with; `None` for that arm and for too few units.
    pub difference: Option<Interval>,
    /// What follows.
    pub verdict: Verdict,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// US dollars per call of known cost.
    CostUsd,
    /// Milliseconds per call that succeeded.
    LatencyMs,
    /// Share of calls that failed.
    ErrorRate,
    /// Share of calls that a model or a guard refused to answer.
    RefusalRate,
    /// Mean score of the calls that were judged.
    Feedback,
}

impl MetricKind {
    /// All of them.
    pub const ALL: [MetricKind; 5] = [
        MetricKind::CostUsd,
        MetricKind::LatencyMs,
        MetricKind::ErrorRate,
        MetricKind::RefusalRate,
        MetricKind::Feedback,
    ];

    /// Whether more of it is better.
    #[must_use]
    pub const fn more_is_better(self) -> bool {
        matches!(self, MetricKind::Feedback)
    }

    /// Its column, of a call.
    const fn column(self) -> &'static str {
        match self {
            MetricKind::CostUsd => "cost",
            MetricKind::LatencyMs => "latency",
            MetricKind::ErrorRate => "error",
            MetricKind::RefusalRate => "refusal",
            MetricKind::Feedback => "score",
        }
    }
}

/// What a difference comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// This is the arm that others are compared with.
    Control,
    /// Too few units to say.
    TooFew,
    /// There may be none.
    NoDifference,
    /// The arm does better.
    Better,
    /// The arm does worse.
    Worse,
}

/// Reasons of a model or of a provider's guard to write no answer.
const REFUSALS: &str = "'refusal', 'content_filter', 'guardrail_intervened', 'content_filtered', 'SAFETY', \
    'PROHIBITED_CONTENT', 'BLOCKLIST', 'SPII', 'RECITATION', 'IMAGE_SAFETY'";

/// One row for each unit and arm, with the sum and the number of its observations of each metric.
fn units() -> String {
    let sums = MetricKind::ALL
        .map(MetricKind::column)
        .map(|name| format!("coalesce(sum({name}), 0.0) AS {name}_sum, CAST(count({name}) AS DOUBLE) AS {name}_count"));
    format!(
        "WITH judged AS (SELECT interaction_id AS judged_id, tenant AS judged_tenant, \
           avg(CAST(score AS DOUBLE)) AS score FROM feedback WHERE at >= $from GROUP BY 1, 2), \
         calls AS (SELECT experiment, arm, propensity, started_at, \
           coalesce(user_ref, conversation_id, interaction_id) AS unit, CAST(cost_usd AS DOUBLE) AS cost, \
           CASE WHEN outcome = 'success' THEN latency_us / 1000.0 END AS latency, \
           CASE WHEN outcome = 'failed' THEN 1.0 WHEN outcome = 'success' THEN 0.0 END AS error, \
           CASE WHEN outcome = 'denied' OR array_has_any(finish_reasons, make_array({REFUSALS})) THEN 1.0 \
                WHEN outcome = 'success' THEN 0.0 END AS refusal, score \
           FROM costs LEFT JOIN judged ON interaction_id = judged_id AND tenant = judged_tenant \
           WHERE {IN_RANGE} AND experiment IS NOT NULL AND arm IS NOT NULL AND shadow_of IS NULL), \
         units AS (SELECT experiment, arm, unit, count(*) AS calls, min(propensity) AS least, max(propensity) AS most, \
           min(started_at) AS first_at, max(started_at) AS last_at, {} FROM calls GROUP BY 1, 2, 3) ",
        sums.join(", ")
    )
}

pub(super) async fn experiments(reading: &Reading, range: TimeRange) -> Result<Experiments, ReportError> {
    let judged = async {
        match reading.tables.visibility.teams() {
            Some(_) => Ok(None),
            None => judgements(reading, range).await.map(Some),
        }
    };
    let (sums, crossed, judgements) = tokio::try_join!(arms(reading, range), crossed(reading, range), judged)?;
    let experiments = sums.into_iter().map(|(name, arms)| {
        let crossed_units = crossed.get(&name).copied().unwrap_or(0);
        experiment(name, crossed_units, arms)
    });
    Ok(Experiments {
        range,
        experiments: experiments.flatten().collect(),
        judgements,
        alpha: Confidence::default().alpha,
        min_units: MIN_UNITS,
        as_of: reading.as_of(),
    })
}

/// What the engine counted of one arm.
#[derive(Clone, Debug, Default)]
pub(crate) struct ArmSums {
    pub(crate) name: String,
    pub(crate) calls: u64,
    pub(crate) units: u64,
    pub(crate) first_at_us: i64,
    pub(crate) last_at_us: i64,
    /// Smallest and largest share of units it was to get.
    pub(crate) propensity: Option<(f64, f64)>,
    pub(crate) moments: [Moments; MetricKind::ALL.len()],
}

async fn arms(reading: &Reading, range: TimeRange) -> Result<BTreeMap<String, Vec<ArmSums>>, ReportError> {
    let moments = MetricKind::ALL.map(MetricKind::column).map(|name| {
        format!(
            "count(*) FILTER (WHERE {name}_count > 0) AS {name}_units, sum({name}_count) AS {name}_n, \
             sum({name}_sum) AS {name}_s, sum({name}_sum * {name}_sum) AS {name}_ss, \
             sum({name}_count * {name}_count) AS {name}_nn, sum({name}_sum * {name}_count) AS {name}_sn"
        )
    });
    let sql = format!(
        "{} SELECT experiment, arm, count(*) AS units, sum(calls) AS calls, min(first_at) AS first_at, \
         max(last_at) AS last_at, CAST(min(least) AS DOUBLE) AS least, CAST(max(most) AS DOUBLE) AS most, {} \
         FROM units GROUP BY 1, 2 ORDER BY 1, 2",
        units(),
        moments.join(", ")
    );
    let answer = Answer::new(REPORT, reading.ask(REPORT, Profile::Aggregate, sql, range_parameters(range)).await?);
    let (names, arms) = (answer.texts_or_empty("experiment")?, answer.texts_or_empty("arm")?);
    let (units, calls) = (answer.sums("units")?, answer.sums("calls")?);
    let (first, last) = (answer.times_us("first_at")?, answer.times_us("last_at")?);
    let (least, most) = (answer.floats("least")?, answer.floats("most")?);
    let mut found: Vec<ArmSums> = Vec::with_capacity(arms.len());
    for (at, name) in arms.into_iter().enumerate() {
        found.push(ArmSums {
            name,
            calls: calls[at],
            units: units[at],
            first_at_us: first[at],
            last_at_us: last[at],
            propensity: least[at].zip(most[at]),
            moments: [Moments::default(); MetricKind::ALL.len()],
        });
    }
    for (place, name) in MetricKind::ALL.map(MetricKind::column).into_iter().enumerate() {
        let units = answer.sums(&format!("{name}_units"))?;
        let sum = |suffix: &str| answer.floats(&format!("{name}_{suffix}"));
        let (n, s, ss, nn, sn) = (sum("n")?, sum("s")?, sum("ss")?, sum("nn")?, sum("sn")?);
        for (at, arm) in found.iter_mut().enumerate() {
            arm.moments[place] = Moments {
                units: units[at],
                observations: n[at].unwrap_or(0.0),
                sum: s[at].unwrap_or(0.0),
                sum_squared: ss[at].unwrap_or(0.0),
                observations_squared: nn[at].unwrap_or(0.0),
                product: sn[at].unwrap_or(0.0),
            };
        }
    }
    let mut by_name: BTreeMap<String, Vec<ArmSums>> = BTreeMap::new();
    for (name, arm) in names.into_iter().zip(found) {
        by_name.entry(name).or_default().push(arm);
    }
    Ok(by_name)
}

/// Units that met more than one arm, by experiment.
async fn crossed(reading: &Reading, range: TimeRange) -> Result<BTreeMap<String, u64>, ReportError> {
    let sql = format!(
        "{} SELECT experiment, count(*) AS crossed FROM (SELECT experiment, unit FROM units GROUP BY 1, 2 \
         HAVING count(*) > 1) GROUP BY 1",
        units()
    );
    let answer = Answer::new(REPORT, reading.ask(REPORT, Profile::Aggregate, sql, range_parameters(range)).await?);
    Ok(answer.texts_or_empty("experiment")?.into_iter().zip(answer.sums("crossed")?).collect())
}

/// What the sums of one experiment's arms mean; `None` of no arms.
pub(crate) fn experiment(name: String, crossed_units: u64, mut arms: Vec<ArmSums>) -> Option<Experiment> {
    let weight = |arm: &ArmSums| arm.propensity.map_or(0.0, |(_, most)| most);
    arms.sort_by(|one, other| {
        let key = |arm: &ArmSums| (arm.name != CONTROL, -weight(arm));
        key(one).partial_cmp(&key(other)).unwrap_or(std::cmp::Ordering::Equal).then_with(|| one.name.cmp(&other.name))
    });
    // Only the first place goes by weight.
    if let Some((_, others)) = arms.split_first_mut() {
        others.sort_by(|one, other| one.name.cmp(&other.name));
    }
    let units: u64 = arms.iter().map(|arm| arm.units).sum();
    let shares: Option<Vec<f64>> = arms.iter().map(expected_share).collect();
    let observed: Vec<u64> = arms.iter().map(|arm| arm.units).collect();
    let sample_ratio = shares.as_ref().and_then(|shares| statistics::sample_ratio(&observed, shares));
    let ratio_unknown = match (&sample_ratio, &shares) {
        (Some(_), _) => None,
        (None, None) => {
            Some("the shares of the arms changed within this range, or were not recorded; choose another range")
        }
        (None, Some(_)) => Some("only one arm has calls in this range"),
    };
    let control = arms.first()?;
    Some(Experiment {
        name,
        first_at_us: arms.iter().map(|arm| arm.first_at_us).min().unwrap_or(0),
        last_at_us: arms.iter().map(|arm| arm.last_at_us).max().unwrap_or(0),
        calls: arms.iter().map(|arm| arm.calls).sum(),
        control: control.name.clone(),
        sample_ratio,
        ratio_unknown,
        crossed_units,
        arms: arms
            .iter()
            .map(|arm| Arm {
                name: arm.name.clone(),
                calls: arm.calls,
                units: arm.units,
                expected_share: expected_share(arm),
                share: if units == 0 { 0.0 } else { arm.units as f64 / units as f64 },
                metrics: metrics(arm, control),
            })
            .collect(),
    })
}

/// The share an arm was to get, if it was the same all along.
fn expected_share(arm: &ArmSums) -> Option<f64> {
    arm.propensity.filter(|(least, most)| (most - least).abs() < 1e-9 && *least > 0.0).map(|(share, _)| share)
}

fn metrics(arm: &ArmSums, control: &ArmSums) -> Vec<Metric> {
    let confidence = Confidence::default();
    let metric = |(kind, (moments, against)): (MetricKind, (&Moments, &Moments))| {
        let is_control = arm.name == control.name;
        let difference = if is_control { None } else { statistics::difference(moments, against, confidence) };
        Metric {
            kind,
            observations: moments.observations as u64,
            mean: moments.mean(),
            interval: statistics::mean(moments, confidence),
            difference,
            verdict: match difference {
                _ if is_control => Verdict::Control,
                None => Verdict::TooFew,
                Some(difference) if !difference.excludes_zero() => Verdict::NoDifference,
                Some(difference) if (difference.estimate > 0.0) == kind.more_is_better() => Verdict::Better,
                Some(_) => Verdict::Worse,
            },
        }
    };
    MetricKind::ALL.into_iter().zip(arm.moments.iter().zip(&control.moments)).map(metric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experiment(name: String, crossed_units: u64, arms: Vec<ArmSums>) -> Experiment {
        super::experiment(name, crossed_units, arms).unwrap()
    }

    fn arm(name: &str, share: f64, units: u64, error_rate: f64) -> ArmSums {
        let mut arm = ArmSums { name: name.into(), calls: units, units, ..ArmSums::default() };
        arm.propensity = Some((share, share));
        for unit in 0..units {
            let failed = (unit as f64) < units as f64 * error_rate;
            arm.moments[2].add_unit(f64::from(u8::from(failed)), 1.0);
        }
        arm
    }

    fn verdicts(found: &Experiment) -> Vec<Verdict> {
        found.arms.iter().map(|arm| arm.metrics[2].verdict).collect()
    }

    #[test]
    fn the_arm_called_control_stands_first_or_else_the_one_that_was_to_get_most() {
        let order = |arms| experiment("e".into(), 0, arms).arms.into_iter().map(|arm| arm.name).collect::<Vec<_>>();
        assert_eq!(order(vec![arm("a", 0.8, 8, 0.0), arm("control", 0.2, 2, 0.0)]), ["control", "a"]);
        assert_eq!(order(vec![arm("c", 0.1, 1, 0.0), arm("a", 0.1, 1, 0.0), arm("b", 0.8, 8, 0.0)]), ["b", "a", "c"]);
    }

    #[test]
    fn more_errors_are_worse_and_nothing_is_said_of_few() {
        let found = experiment("e".into(), 0, vec![arm("control", 0.5, 2_000, 0.02), arm("new", 0.5, 2_000, 0.2)]);
        assert_eq!(verdicts(&found), [Verdict::Control, Verdict::Worse]);
        let found = experiment("e".into(), 0, vec![arm("control", 0.5, 2_000, 0.2), arm("new", 0.5, 2_000, 0.02)]);
        assert_eq!(verdicts(&found), [Verdict::Control, Verdict::Better]);
        let found = experiment("e".into(), 0, vec![arm("control", 0.5, 2_000, 0.1), arm("new", 0.5, 2_000, 0.1)]);
        assert_eq!(verdicts(&found), [Verdict::Control, Verdict::NoDifference]);
        let found = experiment("e".into(), 0, vec![arm("control", 0.5, 99, 0.0), arm("new", 0.5, 99, 1.0)]);
        assert_eq!(verdicts(&found), [Verdict::Control, Verdict::TooFew]);
    }

    #[test]
    fn arms_that_did_not_get_their_shares_are_told_and_changed_shares_are_not_checked() {
        let found = experiment("e".into(), 0, vec![arm("control", 0.5, 2_000, 0.0), arm("new", 0.5, 1_500, 0.0)]);
        assert!(found.sample_ratio.unwrap().is_mismatch);
        let mut moved = arm("new", 0.5, 1_500, 0.0);
        moved.propensity = Some((0.1, 0.5));
        let found = experiment("e".into(), 0, vec![arm("control", 0.5, 2_000, 0.0), moved]);
        assert_eq!((found.sample_ratio, found.arms[1].expected_share), (None, None));
        assert!(found.ratio_unknown.unwrap().contains("changed"));
    }
}
