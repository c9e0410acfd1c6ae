//! What a proposed bundle may change at most, and whether it does.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::report::{BacktestReport, Change};

/// A share in parts per million, written as `1%` or `+5 %`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Percent(i64);

/// A text that is no percentage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a percentage; write such as `1%`, `+5%` or `0.5%`")]
pub struct ParseLimitError {
    /// What was given.
    pub text: String,
}

impl FromStr for Percent {
    type Err = ParseLimitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseLimitError { text: text.to_owned() };
        let number = text.trim().strip_suffix('%').ok_or_else(refuse)?.trim();
        let percent: f64 = number.strip_prefix('+').unwrap_or(number).parse().map_err(|_| refuse())?;
        if !percent.is_finite() || percent.abs() > 1_000_000.0 {
            return Err(refuse());
        }
        Ok(Percent((percent * 10_000.0).round() as i64))
    }
}

impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} %", self.0 as f64 / 10_000.0)
    }
}

/// What may change at most; what is not said may change at will.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Share of the calls that would newly be denied.
    pub max_denials: Option<Percent>,
    /// Growth of the cost; below zero, the least saving.
    pub max_cost: Option<Percent>,
    /// Growth of the mean latency.
    pub max_latency: Option<Percent>,
    /// Share of the calls that would go elsewhere.
    pub max_rerouted: Option<Percent>,
    /// Calls that were served where the bundle would not have let them go.
    pub max_violations: Option<u64>,
}

/// One limit and what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Name of the limit, as the command line has it.
    pub limit: String,
    /// What was found.
    pub found: String,
    /// What may be at most.
    pub at_most: String,
    /// Whether it is kept.
    pub is_kept: bool,
}

impl Limits {
    /// Compares a result with each limit that was set. A figure that cannot be known keeps no limit.
    #[must_use]
    pub fn check(&self, report: &BacktestReport) -> Vec<Finding> {
        let share = |calls: u64| ratio(i128::from(calls), i128::from(report.replayed));
        let cost = match report.cost.logged_usd.get() {
            0 if report.cost.would_usd.get() == 0 => Some(0),
            logged => ratio(report.cost.would_usd.get() - logged, logged),
        };
        let latency = report
            .latency
            .logged_mean_us
            .zip(report.latency.would_mean_us)
            .and_then(|(logged, would)| ratio(i128::from(would) - i128::from(logged), i128::from(logged)));
        // Nothing was replayed: nothing would change.
        let share = |calls: u64| if report.replayed == 0 { Some(0) } else { share(calls) };
        let mut findings = Vec::new();
        for (name, bound, found) in [
            ("max-denials", self.max_denials, share(report.calls(Change::Denied))),
            ("max-cost", self.max_cost, cost),
            ("max-latency", self.max_latency, latency.or((report.latency.calls == 0).then_some(0))),
            ("max-rerouted", self.max_rerouted, share(report.calls(Change::Rerouted))),
        ] {
            let Some(bound) = bound else { continue };
            findings.push(Finding {
                limit: name.to_owned(),
                found: found.map_or_else(|| "not known".to_owned(), |found| Percent(found).to_string()),
                at_most: bound.to_string(),
                is_kept: found.is_some_and(|found| found <= bound.0),
            });
        }
        if let Some(bound) = self.max_violations {
            findings.push(Finding {
                limit: "max-violations".to_owned(),
                found: report.violations().to_string(),
                at_most: bound.to_string(),
                is_kept: report.violations() <= bound,
            });
        }
        findings
    }
}

/// In parts per million; `None` of nothing.
fn ratio(part: i128, whole: i128) -> Option<i64> {
    i64::try_from(part.saturating_mul(1_000_000).checked_div(whole)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_has_its_sign_and_its_mark() {
        let read = |text: &str| text.parse::<Percent>().map(|percent| percent.to_string());
        assert_eq!(read("1%").unwrap(), "1 %");
        assert_eq!(read("+5 %").unwrap(), "5 %");
        assert_eq!(read("-0.25%").unwrap(), "-0.25 %");
        for wrong in ["1", "%", "a%", "1e9%", ""] {
            assert_eq!(read(wrong).unwrap_err().text, wrong);
        }
    }
}
