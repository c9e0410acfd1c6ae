//! The tests inside a bundle: facts and the verdict its authors expect. They run the very function the gateway calls.

use std::collections::HashSet;

use chrono::DateTime;
use serde_saphyr::Spanned;
use tollgate_interaction::{Decision, Dialect, Operation, Usd};

use super::guardrails::TextExpectation;
use super::{Bundle, BundleError, compile};
use crate::allowance::Allowance;
use crate::control::Principal;
use crate::decide::{Prefer, Verdict, decide};
use crate::facts::Facts;
use crate::ledger::{Account, Amounts, Reading, Unit};
use crate::residency::{Eligibility, Place, Places, TargetFacts, eligible};
use crate::route::{RouteFacts, plan};
use crate::suggestion;

pub(super) mod codes;
pub(super) mod source;

pub(super) use source::TestSource;
use source::{ExpectSource, GivenSource};

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
    pii_counts: Option<Vec<(String, u32)>>,
    places: Places,
    /// Of every account that `spent` does not speak of; `None` if nothing is known.
    month_to_date: Option<Usd>,
    age_s: u64,
    now_us: i64,
    decision: Option<Decision>,
    /// Whether the call may go to the target.
    eligible: Option<bool>,
    text: Option<TextExpectation>,
    rule: Option<String>,
    code: Option<String>,
    /// Id of a route, or `none`.
    route: Option<String>,
    /// Name of an arm, or `none`.
    arm: Option<String>,
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
    let outcome =
        |test: &TestVector| TestResult { name: test.name.clone(), line: test.line, failure: test.failure(bundle) };
    bundle.tests.iter().map(outcome).collect()
}

/// Refuses a test that gives figures of a budget or limit which is not there.
pub(super) fn check_spent(test: &TestSource, allowances: &[Allowance]) -> Result<(), BundleError> {
    let known = || allowances.iter().map(|allowance| allowance.id.as_str());
    for (id, amount) in &test.given.spent {
        if !known().any(|known| known == id) {
            let advice = suggestion::phrase(id, known());
            return Err(BundleError::new(amount.referenced, format!("no budget or limit has the id `{id}`{advice}")));
        }
    }
    Ok(())
}

/// Refuses a test that expects a rule which is not there.
pub(super) fn check_rule_name(test: &TestSource, ids: &HashSet<String>) -> Result<(), BundleError> {
    let expect = &test.expect.value;
    let rule = expect.rule.as_ref().filter(|rule| !rule.value.starts_with("builtin/"));
    let route = expect.route.as_ref().filter(|route| route.value != "none");
    let Some(rule) = rule.into_iter().chain(route).find(|named| !ids.contains(&named.value)) else {
        return Ok(());
    };
    let advice = suggestion::phrase(&rule.value, ids.iter().map(String::as_str));
    Err(BundleError::new(rule.referenced, format!("no rule has the id `{}`{advice}", rule.value)))
}

impl TestVector {
    pub(super) fn compile(source: Spanned<TestSource>) -> Result<Self, BundleError> {
        let line = source.referenced.line();
        let TestSource { name, given, expect } = source.value;
        let (expect, expected_at): (ExpectSource, _) = (expect.value, expect.referenced);
        let text = TextExpectation::of(&given, &expect, expected_at)?;
        let expects_course = expect.route.is_some() || expect.arm.is_some();
        if expect.decision.is_none() && expect.eligible.is_none() && text.is_none() && !expects_course {
            let message = "the test expects nothing; write `decision: allow`, `decision: deny` or `eligible: false`";
            return Err(BundleError::new(expected_at, message));
        }
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
                user: given.user.clone(),
                role: given.role.clone(),
                scopes: given.scopes.clone(),
                tags: given.tags.clone().into_iter().collect(),
                ..Principal::default()
            },
            metadata: given.metadata.clone().into_iter().collect(),
            pii_counts: given.pii_counts.clone().map(|counts| counts.into_iter().collect()),
            places: places(&given)?,
            month_to_date: given.spend_known.unwrap_or(true).then_some(month_to_date),
            age_s,
            now_us: given.now.as_ref().map_or(Ok(DEFAULT_NOW_US), time)?,
            given,
            decision: expect.decision,
            eligible: expect.eligible,
            text,
            route: expect.route.map(|route| route.value),
            arm: expect.arm,
            rule: expect.rule.map(|rule| rule.value),
            code: expect.code.map(|code| code.value),
            prefer: expect.prefer.as_ref().map(compile::preference).transpose()?,
        })
    }

    fn facts<'a>(&'a self, bundle: &'a Bundle) -> Facts<'a> {
        let given = &self.given;
        let (operation, dialect) =
            (given.operation.unwrap_or(Operation::Chat), given.dialect.unwrap_or(Dialect::Openai));
        let model = given.model.as_deref().unwrap_or("default");
        let facts = Facts {
            stream: given.stream,
            priority: given.priority.as_deref(),
            metadata: &self.metadata,
            user_ref: given.request_user.as_deref(),
            estimated_input_tokens: given.estimated_input_tokens,
            capabilities: &given.capabilities,
            pii_counts: self.pii_counts.as_deref(),
            estimate: Amounts {
                usd: self.given.estimated_cost.unwrap_or_default(),
                tokens: self.given.estimated_tokens,
                calls: 1,
            },
            signals_id: "sig-test",
            ..Facts::new(&self.principal, operation, dialect, model, self.now_us)
        };
        Facts { data_class: given.data_class.as_deref().or_else(|| bundle.data_class(&facts)), ..facts }
    }

    fn decide(&self, bundle: &Bundle, facts: Facts<'_>) -> Verdict {
        let accounts = bundle.accounts(&facts);
        let readings: Vec<Reading> = accounts.iter().map(|account| self.reading(bundle, account)).collect();
        decide(bundle, &Facts { accounts: &accounts, readings: &readings, ..facts })
    }

    /// What the test says of an account: by the id of a budget or limit that draws on it, or else `spend.month_to_date`,
    /// which means the US dollars of every budget.
    fn reading(&self, bundle: &Bundle, account: &Account) -> Reading {
        let mut settled = Amounts { usd: self.month_to_date.unwrap_or_default(), ..Amounts::ZERO };
        let mut reserved = Amounts::ZERO;
        let mut is_known = self.month_to_date.is_some();
        for allowance in bundle.allowances.iter().filter(|allowance| allowance.tally == account.tally) {
            let Some(said) = self.given.spent.get(&allowance.id).map(|said| said.value) else { continue };
            let count = u64::try_from(said.get() / Usd::from_dollars(1).get()).unwrap_or(0);
            is_known = true;
            match allowance.unit {
                Unit::Usd => settled.usd = said,
                Unit::Tokens => settled.tokens = count,
                Unit::Calls => settled.calls = count,
                Unit::Concurrency => reserved.calls = count,
            }
        }
        let age_s = is_known.then_some(self.age_s);
        Reading { settled, reserved, age_s, ..Reading::default() }
    }

    fn target(&self) -> TargetFacts<'_> {
        TargetFacts {
            provider: self.given.target_provider.as_deref().unwrap_or("test"),
            model: self.given.target_model.as_deref().unwrap_or("test"),
            tags: &self.given.target_tags,
            places: &self.places,
            self_hosted: self.given.self_hosted,
        }
    }

    /// What was different from what is expected.
    fn failure(&self, bundle: &Bundle) -> Option<String> {
        let facts = self.facts(bundle);
        if let Some(difference) = self.text.as_ref().and_then(|text| text.difference(bundle, &facts, &self.target())) {
            return Some(difference);
        }
        if self.text.is_some() && self.decision.is_none() && self.eligible.is_none() {
            return None;
        }
        if let Some(expected) = self.eligible {
            return self.wrongly_eligible(expected, &eligible(bundle, &facts, &self.target()));
        }
        self.difference(&self.decide(bundle, facts)).or_else(|| self.other_course(bundle, facts))
    }

    /// What is different about the route and the arm that the call takes.
    fn other_course(&self, bundle: &Bundle, request: Facts<'_>) -> Option<String> {
        const NONE: &str = "none";
        if self.route.is_none() && self.arm.is_none() {
            return None;
        }
        let facts = RouteFacts { request, conversation: self.given.conversation.as_deref() };
        let planned = match plan(bundle, &facts) {
            Ok(planned) => planned,
            Err(error) => return Some(error.to_string()),
        };
        let route = planned.route.map_or(NONE, |(_, route)| &route.id);
        let arm = planned.arm.as_ref().map_or(NONE, |(_, arm, _)| &arm.name);
        let differs = |what: &str, expected: &Option<String>, found: &str| {
            let expected = expected.as_deref().filter(|expected| *expected != found)?;
            Some(format!("expected the {what} `{expected}`, got `{found}`"))
        };
        differs("route", &self.route, route).or_else(|| differs("arm", &self.arm, arm))
    }

    fn wrongly_eligible(&self, expected: bool, found: &Eligibility) -> Option<String> {
        match (expected, found) {
            (true, Eligibility::Eligible) => None,
            (true, Eligibility::Excluded { rule, why }) => {
                Some(format!("expected the target to be eligible, but rule `{rule}` leaves it out: {why}"))
            }
            (false, Eligibility::Eligible) => {
                Some("expected the target to be left out, but no residency rule does so".to_owned())
            }
            (false, Eligibility::Excluded { rule, why }) => {
                let other = self.rule.as_ref().filter(|expected| *expected != rule)?;
                Some(format!("rule `{other}` had no part in it; rule `{rule}` leaves the target out: {why}"))
            }
        }
    }

    fn difference(&self, verdict: &Verdict) -> Option<String> {
        let reasons = || verdict.reasons.iter().map(|reason| reason.detail.as_str()).collect::<Vec<_>>().join("; ");
        if let Some(expected) = self.decision.filter(|expected| *expected != verdict.decision) {
            return Some(format!("expected `{expected}`, got `{}`: {}", verdict.decision, reasons()));
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

/// The places of the target that a test assumes.
fn places(given: &GivenSource) -> Result<Places, BundleError> {
    let place = |written: &Option<Spanned<String>>| {
        let parsed = written.as_ref().map(|name| (Place::parse(&name.value), name.referenced));
        parsed.map(|(place, at)| place.map_err(|error| BundleError::new(at, error.to_string()))).transpose()
    };
    Ok(Places {
        inference: place(&given.inference)?,
        storage: place(&given.storage)?,
        control_plane: place(&given.control_plane)?,
        operator: place(&given.operator)?,
        evidence: given.evidence,
    })
}

fn time(text: &Spanned<String>) -> Result<i64, BundleError> {
    let parsed = DateTime::parse_from_rfc3339(&text.value).map(|time| time.timestamp_micros());
    parsed.map_err(|_| {
        let message = format!("`{}` is not a time; write it as `2026-11-30T23:59:59Z`", text.value);
        BundleError::new(text.referenced, message)
    })
}
