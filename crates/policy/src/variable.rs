//! The variables of conditions: one closed table with their types and the sections that have them. A condition that
//! names anything else is refused when the bundle loads.

use std::collections::HashMap;

use cel::common::types::{CelBool, CelInt, CelMap, CelMapKey, CelNull, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use chrono::{DateTime, Datelike, Timelike};
use tollgate_interaction::Usd;

use crate::condition::Type;
use crate::facts::Facts;

/// Where a condition stands, which says what it can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// `access`: before anything else.
    Access,
    /// `budgets`: once the spend of the team has been looked up.
    Budget,
}

impl Phase {
    /// The section of the bundle.
    pub(crate) const fn section(self) -> &'static str {
        match self {
            Phase::Access => "access",
            Phase::Budget => "budgets",
        }
    }
}

/// One row of the table.
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) kind: Type,
    /// Whether it may be `null`.
    pub(crate) optional: bool,
    /// Only known in this phase; `None` for every phase.
    pub(crate) only_in: Option<Phase>,
}

const fn always(name: &'static str, kind: Type) -> Variable {
    Variable { name, kind, optional: false, only_in: None }
}

const fn perhaps(name: &'static str, kind: Type) -> Variable {
    Variable { name, kind, optional: true, only_in: None }
}

const fn of_budget(name: &'static str, kind: Type, optional: bool) -> Variable {
    Variable { name, kind, optional, only_in: Some(Phase::Budget) }
}

/// Every variable there is.
pub(crate) static VARIABLES: [Variable; 17] = [
    always("principal.key_id", Type::String),
    always("principal.tenant", Type::String),
    perhaps("principal.project", Type::String),
    always("principal.team", Type::String),
    always("request.operation", Type::String),
    always("request.dialect", Type::String),
    always("request.model", Type::String),
    always("request.stream", Type::Bool),
    perhaps("request.priority", Type::String),
    always("request.metadata", Type::Map),
    // The time of the call in UTC: 0 to 23; 1 for Monday to 7 for Sunday; 1 to 31.
    always("request.hour", Type::Int),
    always("request.weekday", Type::Int),
    always("request.day", Type::Int),
    // Rounded down; `null` with a limit of zero.
    of_budget("budget.used_percent", Type::Int, true),
    // Cents, rounded down: whole numbers, so that no money is ever a float. Of tokens and calls, hundredths.
    of_budget("budget.spent_cents", Type::Int, false),
    of_budget("budget.limit_cents", Type::Int, false),
    // False if the spend is unknown or older than the budget accepts.
    of_budget("budget.certain", Type::Bool, false),
];

/// The variable with this name.
pub(crate) fn find(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

/// Names before the dot: `request` and the like.
pub(crate) fn is_group(name: &str) -> bool {
    VARIABLES.iter().any(|variable| variable.name.split('.').next() == Some(name))
}

/// What a budget adds to the facts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BudgetFacts {
    pub(crate) spent: Usd,
    pub(crate) limit: Usd,
    pub(crate) certain: bool,
}

/// Hands variables to the interpreter under their full dotted names, borrowed from the facts, when it asks for them.
pub(crate) struct Resolver<'a> {
    pub(crate) facts: &'a Facts<'a>,
    pub(crate) budget: Option<BudgetFacts>,
}

impl VariableResolver for Resolver<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let facts = self.facts;
        Some(match variable {
            "principal.key_id" => string(&facts.principal.key_id),
            "principal.tenant" => string(&facts.principal.tenant),
            "principal.project" => optional(facts.principal.project.as_deref()),
            "principal.team" => string(&facts.principal.team),
            "request.operation" => string(facts.operation.as_str()),
            "request.dialect" => string(facts.dialect.as_str()),
            "request.model" => string(facts.model),
            "request.stream" => CowVal::owned(CelBool::from(facts.stream)),
            "request.priority" => optional(facts.priority),
            "request.metadata" => map(facts.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
            "request.hour" => int(i64::from(self.time().hour())),
            "request.weekday" => int(i64::from(self.time().weekday().number_from_monday())),
            "request.day" => int(i64::from(self.time().day())),
            // Only `has(principal.project)` and `has(request.priority)` look these up.
            "principal" => map(facts.principal.project.as_deref().map(|value| ("project", value)).into_iter()),
            "request" => map(facts.priority.map(|value| ("priority", value)).into_iter()),
            _ => return self.resolve_budget(variable),
        })
    }
}

impl Resolver<'_> {
    fn resolve_budget<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let budget = self.budget?;
        Some(match variable {
            "budget.used_percent" => match budget.limit.basis_points_used(budget.spent) {
                Some(basis_points) => int(basis_points / 100),
                None => CowVal::owned(CelNull),
            },
            "budget.spent_cents" => int(cents(budget.spent)),
            "budget.limit_cents" => int(cents(budget.limit)),
            "budget.certain" => CowVal::owned(CelBool::from(budget.certain)),
            _ => return None,
        })
    }

    fn time(&self) -> DateTime<chrono::Utc> {
        DateTime::from_timestamp_micros(self.facts.now_us).unwrap_or_default()
    }
}

fn cents(amount: Usd) -> i64 {
    i64::try_from(amount.get().div_euclid(10_000_000_000)).unwrap_or(i64::MAX)
}

fn string(text: &str) -> CowVal<'_, '_> {
    CowVal::owned(CelString::from(text))
}

fn optional(text: Option<&str>) -> CowVal<'_, '_> {
    text.map_or_else(|| CowVal::owned(CelNull), string)
}

// Every whole number is an `int`: `uint` and `int` do not add up in CEL.
fn int<'b>(number: i64) -> CowVal<'b, 'b> {
    CowVal::owned(CelInt::from(number))
}

fn map<'b>(entries: impl Iterator<Item = (&'b str, &'b str)>) -> CowVal<'b, 'b> {
    let entry = |(name, value): (&'b str, &'b str)| {
        let value: Box<dyn Val + 'b> = Box::new(CelString::from(value));
        (CelMapKey::from(name), value)
    };
    CowVal::owned(CelMap::from(entries.map(entry).collect::<HashMap<_, _>>()))
}
