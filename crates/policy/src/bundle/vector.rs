//! The tests inside a bundle: facts and the verdict its authors expect. They run the very function the gateway calls.

use chrono::DateTime;
use serde_saphyr::Spanned;
use tollgate_interaction::{Decision, Dialect, Operation, Usd};

use super::source::{GivenSource, TestSource};
use super::{Bundle, BundleError, compile};
use crate::control::Principal;
use crate::decide::{Prefer, Verdict, decide};
use crate::facts::{Facts, Spend};

/// The time of a call unless a test says otherwise: 2026-01-15T12:00:00Z, a Thursday.
const DEFAULT_NOW_US: i64 = 1_768_478_400_000_000;

/// One test, ready to run.
#[derive(Debug)]
pub(crate) struct TestVector {
    name: String,
    line: u64,
    principal: Principal,
    given: GivenSource,
    metadata: Vec<(String, String)>,
    spend: Option<Spend>,
    now_us: i64,
    decision: Decision,
    rule: Option<String>,
    code: Option<String>,
    /// `Some(None)` expects that nothing is preferred.
    prefer: Option<Option<Prefer>>,
}

/// How one test ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TestResult {
    /// As the bundle calls it, or `test on line N`.
    pub name: String,
    /// Where it stands in the bundle, from 1.
    pub line: u64,
    /// What was different; `None` if it passed.
    pub failure: Option<String>,
}

/// Runs the tests of a bundle, in the order they are written.
#[must_use]
pub fn run_tests(bundle: &Bundle) -> Vec<TestResult> {
    let outcome = |test: &TestVector| TestResult {
        name: test.name.clone(),
        line: test.line,
        failure: test.difference(&decide(bundle, &test.facts())),
    };
    bundle.tests.iter().map(outcome).collect()
}

impl TestVector {
    pub(super) fn compile(source: Spanned<TestSource>) -> Result<Self, BundleError> {
        let line = source.referenced.line();
        let TestSource { name, given, expect } = source.value;
        let or = |text: &Option<String>, default: &str| text.clone().unwrap_or_else(|| default.to_owned());
        let age_s = given.spend_age.as_ref().map(compile::seconds).transpose()?.unwrap_or(0);
        let month_to_date = given.month_to_date.unwrap_or(Usd::ZERO);
        Ok(TestVector {
            name: name.unwrap_or_else(|| format!("test on line {line}")),
            line,
            principal: Principal {
                key_id: or(&given.key_id, "key-test"),
                tenant: or(&given.tenant, "default"),
                project: given.project.clone(),
                team: or(&given.team, "default"),
                ..Principal::default()
            },
            metadata: given.metadata.clone().into_iter().collect(),
            spend: given.spend_known.unwrap_or(true).then_some(Spend { month_to_date, age_s }),
            now_us: given.now.as_ref().map_or(Ok(DEFAULT_NOW_US), time)?,
            given,
            decision: expect.decision,
            rule: expect.rule.map(|rule| rule.value),
            code: expect.code,
            prefer: expect.prefer.as_ref().map(compile::preference).transpose()?,
        })
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            principal: &self.principal,
            operation: self.given.operation.unwrap_or(Operation::Chat),
            dialect: self.given.dialect.unwrap_or(Dialect::Openai),
            model: self.given.model.as_deref().unwrap_or("default"),
            stream: self.given.stream,
            priority: self.given.priority.as_deref(),
            metadata: &self.metadata,
            spend: self.spend,
            signals_id: "sig-test",
            now_us: self.now_us,
        }
    }

    fn difference(&self, verdict: &Verdict) -> Option<String> {
        let reasons = || verdict.reasons.iter().map(|reason| reason.detail.as_str()).collect::<Vec<_>>().join("; ");
        if verdict.decision != self.decision {
            return Some(format!("expected `{}`, got `{}`: {}", self.decision, verdict.decision, reasons()));
        }
        if let Some(rule) = self.rule.as_ref().filter(|rule| !verdict.reasons.iter().any(|had| had.rule == **rule)) {
            return Some(format!("rule `{rule}` had no part in it: {}", reasons()));
        }
        if let Some(code) = self.code.as_ref().filter(|code| *code != verdict.code) {
            return Some(format!("expected the code `{code}`, got `{}`", verdict.code));
        }
        match &self.prefer {
            Some(expected) if *expected != verdict.prefer => {
                Some(format!("expected the preference {}, got {}", phrase(expected), phrase(&verdict.prefer)))
            }
            _ => None,
        }
    }
}

fn phrase(prefer: &Option<Prefer>) -> String {
    match prefer {
        None => "`none`".to_owned(),
        Some(Prefer::Cheapest) => "`cheapest`".to_owned(),
        Some(Prefer::Tag(tag)) => format!("`{{tag: {tag}}}`"),
    }
}

fn time(text: &Spanned<String>) -> Result<i64, BundleError> {
    let parsed = DateTime::parse_from_rfc3339(&text.value).map(|time| time.timestamp_micros());
    parsed.map_err(|_| {
        let message = format!("`{}` is not a time; write it as `2026-11-30T23:59:59Z`", text.value);
        BundleError::new(text.referenced, message)
    })
}
