//! The variables of conditions: one closed table with their types and the phases that have them. A condition that names
//! anything else is refused when the bundle loads.

use cel::common::value::CowVal;
use cel::context::VariableResolver;
use chrono::{DateTime, Datelike, Timelike};
use tollgate_interaction::{Dialect, Operation, Usd};

use crate::condition::Type;
use crate::facts::Facts;
use crate::residency::{Evidence, TargetFacts};

mod value;

use value::Plain;

/// Where a condition stands, which says what it can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// `data_classes`: the very first.
    DataClass,
    /// `access`: before anything is looked up or looked at.
    Access,
    /// `guardrails`, before a target is called: on input and on the results of tools.
    Guardrail,
    /// `residency`: for one target after the other, once the input has been looked at.
    Residency,
    /// `limits`.
    Limit,
    /// `budgets`: once the spend has been looked up.
    Budget,
    /// `routes`.
    Route,
    /// `experiments`.
    Experiment,
}

impl Phase {
    /// The section of the bundle.
    pub(crate) const fn section(self) -> &'static str {
        match self {
            Phase::DataClass => "data_classes",
            Phase::Access => "access",
            Phase::Guardrail => "guardrails",
            Phase::Residency => "residency",
            Phase::Limit => "limits",
            Phase::Budget => "budgets",
            Phase::Route => "routes",
            Phase::Experiment => "experiments",
        }
    }
}

/// The type of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Int,
    String,
    /// A list of texts.
    Strings,
    /// From text to text.
    Map,
}

impl Kind {
    pub(crate) fn as_type(self) -> Type {
        match self {
            Kind::Bool => Type::Bool,
            Kind::Int => Type::Int,
            Kind::String => Type::String,
            Kind::Strings => Type::List(Box::new(Type::String)),
            Kind::Map => Type::Map,
        }
    }
}

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Whether it may be `null`.
    pub(crate) optional: bool,
    /// The phases that have it; empty for all.
    pub(crate) phases: &'static [Phase],
    /// All values it can have, where they are few and known.
    pub(crate) values: fn() -> Vec<&'static str>,
}

impl Variable {
    pub(crate) fn is_in(&self, phase: Phase) -> bool {
        self.phases.is_empty() || self.phases.contains(&phase)
    }
}

/// Any value.
fn any() -> Vec<&'static str> {
    Vec::new()
}

const fn always(name: &'static str, kind: Kind) -> Variable {
    Variable { name, kind, optional: false, phases: &[], values: any }
}

const fn perhaps(name: &'static str, kind: Kind) -> Variable {
    Variable { name, kind, optional: true, phases: &[], values: any }
}

impl Variable {
    const fn only_in(self, phases: &'static [Phase]) -> Variable {
        Variable { phases, ..self }
    }

    const fn one_of(self, values: fn() -> Vec<&'static str>) -> Variable {
        Variable { values, ..self }
    }
}

use Phase::{Access, Budget, Experiment, Guardrail, Limit, Residency, Route};

/// After the class of the data is known.
const CLASSIFIED: &[Phase] = &[Access, Guardrail, Residency, Limit, Budget, Route, Experiment];
/// One target at a time.
const AT_TARGET: &[Phase] = &[Guardrail, Residency];
/// After the guardrails have looked at the input.
const LOOKED_AT: &[Phase] = &[Residency, Limit, Budget];
const AT_BUDGET: &[Phase] = &[Budget];

/// Every variable there is.
pub(crate) static VARIABLES: [Variable; 38] = [
    always("principal.key_id", Kind::String),
    always("principal.tenant", Kind::String),
    perhaps("principal.project", Kind::String),
    always("principal.team", Kind::String),
    perhaps("principal.user", Kind::String),
    perhaps("principal.role", Kind::String).one_of(role_names),
    always("principal.scopes", Kind::Strings),
    always("principal.tags", Kind::Map),
    always("request.operation", Kind::String).one_of(operation_names),
    always("request.dialect", Kind::String).one_of(dialect_names),
    always("request.model", Kind::String),
    always("request.stream", Kind::Bool),
    perhaps("request.priority", Kind::String),
    always("request.metadata", Kind::Map),
    // What the caller says it is about: labels of these names.
    perhaps("request.region", Kind::String),
    perhaps("request.segment", Kind::String),
    // Hash of the end user that the caller named.
    perhaps("request.user", Kind::String),
    perhaps("request.data_class", Kind::String).only_in(CLASSIFIED),
    // `null` where the request says too little to tell.
    perhaps("request.estimated_input_tokens", Kind::Int),
    // What it needs: `tools`, `vision`, `json_schema` and so on.
    always("request.capabilities", Kind::Strings),
    // The time of the call in UTC: 0 to 23; 1 for Monday to 7 for Sunday; 1 to 31.
    always("request.hour", Kind::Int),
    always("request.weekday", Kind::Int),
    always("request.day", Kind::Int),
    always("target.provider", Kind::String).only_in(AT_TARGET),
    always("target.model", Kind::String).only_in(AT_TARGET),
    always("target.tags", Kind::Strings).only_in(AT_TARGET),
    // As configured: `eu-central-1`, `de`, `eu`.
    perhaps("target.inference_region", Kind::String).only_in(AT_TARGET),
    perhaps("target.storage_region", Kind::String).only_in(AT_TARGET),
    perhaps("target.control_plane_region", Kind::String).only_in(AT_TARGET),
    perhaps("target.operator_jurisdiction", Kind::String).only_in(AT_TARGET),
    always("target.self_hosted", Kind::Bool).only_in(AT_TARGET),
    always("target.evidence", Kind::String).only_in(AT_TARGET).one_of(evidence_names),
    // How many pieces of personal data were found in the input, and of which kinds; `null` if nothing looked for any.
    perhaps("guard.pii_count", Kind::Int).only_in(LOOKED_AT),
    perhaps("guard.pii_entities", Kind::Strings).only_in(LOOKED_AT),
    // Rounded down; `null` with a limit of zero.
    perhaps("budget.used_percent", Kind::Int).only_in(AT_BUDGET),
    // Cents, rounded down: whole numbers, so that no money is ever a float. Of tokens and calls, hundredths.
    always("budget.spent_cents", Kind::Int).only_in(AT_BUDGET),
    always("budget.limit_cents", Kind::Int).only_in(AT_BUDGET),
    // False if the spend is unknown or older than the budget accepts.
    always("budget.certain", Kind::Bool).only_in(AT_BUDGET),
];

/// Roles that a person can have.
fn role_names() -> Vec<&'static str> {
    vec!["owner", "admin", "auditor", "finance", "developer", "viewer"]
}

fn operation_names() -> Vec<&'static str> {
    Operation::ALL.iter().map(|operation| operation.as_str()).collect()
}

fn dialect_names() -> Vec<&'static str> {
    Dialect::ALL.iter().map(|dialect| dialect.as_str()).collect()
}

fn evidence_names() -> Vec<&'static str> {
    Evidence::ALL.iter().map(|evidence| evidence.as_str()).collect()
}

/// The variable with this name.
pub(crate) fn find(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

/// Names before the dot: `request` and the like.
pub(crate) fn is_group(name: &str) -> bool {
    VARIABLES.iter().any(|variable| variable.name.split('.').next() == Some(name))
}

/// What a condition reads: a variable, or one key of it if it is a map and the condition asks for no more.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) variable: &'static Variable,
    pub(crate) key: Option<String>,
}

/// What a budget adds to the facts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BudgetFacts {
    pub(crate) spent: Usd,
    pub(crate) limit: Usd,
    pub(crate) certain: bool,
}

/// Hands variables to the interpreter under their full dotted names, borrowed from the facts, when it asks for them.
#[derive(Clone, Copy)]
pub(crate) struct Resolver<'a> {
    pub(crate) facts: &'a Facts<'a>,
    pub(crate) target: Option<&'a TargetFacts<'a>>,
    pub(crate) budget: Option<BudgetFacts>,
}

impl VariableResolver for Resolver<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        match variable.split_once('.') {
            Some((group, name)) => self.plain(group, name).map(Plain::into_value),
            // Only `has(request.priority)` and its like look a group up: a map that only says which names are there.
            None => is_group(variable)
                .then(|| Plain::Pairs(self.present_in(variable).map(|name| (name, "")).collect()).into_value()),
        }
    }
}

impl Resolver<'_> {
    /// Appends the value of a variable, or of one key of a map, so that different values append different bytes. `false`
    /// if there is no such variable here.
    pub(crate) fn write(&self, read: &Read, into: &mut Vec<u8>) -> bool {
        let label;
        let plain = match &read.key {
            // Without the map around it, of which a condition seldom reads more.
            Some(key) if read.variable.name == "request.metadata" => {
                label = self.facts.label(key);
                Some(Plain::optional(label))
            }
            _ => read.variable.name.split_once('.').and_then(|(group, name)| self.plain(group, name)),
        };
        let is_known = plain.is_some();
        plain.unwrap_or(Plain::Null).write(into);
        is_known
    }

    fn plain(&self, group: &str, name: &str) -> Option<Plain<'_>> {
        match group {
            "principal" => self.of_principal(name),
            "request" => self.of_request(name),
            "target" => self.of_target(name),
            "guard" => self.of_guard(name),
            "budget" => self.of_budget(name),
            _ => None,
        }
    }

    fn of_principal(&self, name: &str) -> Option<Plain<'_>> {
        let principal = self.facts.principal;
        Some(match name {
            "key_id" => Plain::Text(&principal.key_id),
            "tenant" => Plain::Text(&principal.tenant),
            "project" => Plain::optional(principal.project.as_deref()),
            "team" => Plain::Text(&principal.team),
            "user" => Plain::optional(principal.user.as_deref()),
            "role" => Plain::optional(principal.role.as_deref()),
            "scopes" => Plain::Texts(principal.scopes.iter().map(String::as_str).collect()),
            "tags" => {
                Plain::Pairs(principal.tags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect())
            }
            _ => return None,
        })
    }

    fn of_request(&self, name: &str) -> Option<Plain<'_>> {
        let facts = self.facts;
        Some(match name {
            "operation" => Plain::Text(facts.operation.as_str()),
            "dialect" => Plain::Text(facts.dialect.as_str()),
            "model" => Plain::Text(facts.model),
            "stream" => Plain::Bool(facts.stream),
            "priority" => Plain::optional(facts.priority),
            "metadata" => {
                Plain::Pairs(facts.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect())
            }
            "region" => Plain::optional(facts.label("region")),
            "segment" => Plain::optional(facts.label("segment")),
            "user" => Plain::optional(facts.user_ref),
            "data_class" => Plain::optional(facts.data_class),
            "estimated_input_tokens" => facts.estimated_input_tokens.map_or(Plain::Null, whole),
            "capabilities" => Plain::Texts(facts.capabilities.iter().map(String::as_str).collect()),
            "hour" => Plain::Int(i64::from(self.time().hour())),
            "weekday" => Plain::Int(i64::from(self.time().weekday().number_from_monday())),
            "day" => Plain::Int(i64::from(self.time().day())),
            _ => return None,
        })
    }

    fn of_target(&self, name: &str) -> Option<Plain<'_>> {
        let target = self.target?;
        let places = target.places;
        Some(match name {
            "provider" => Plain::Text(target.provider),
            "model" => Plain::Text(target.model),
            "tags" => Plain::Texts(target.tags.iter().map(String::as_str).collect()),
            "inference_region" => Plain::optional(places.inference.as_ref().map(|place| place.as_str())),
            "storage_region" => Plain::optional(places.storage.as_ref().map(|place| place.as_str())),
            "control_plane_region" => Plain::optional(places.control_plane.as_ref().map(|place| place.as_str())),
            "operator_jurisdiction" => Plain::optional(places.operator.as_ref().map(|place| place.as_str())),
            "self_hosted" => Plain::Bool(target.self_hosted),
            "evidence" => Plain::Text(places.evidence.as_str()),
            _ => return None,
        })
    }

    fn of_guard(&self, name: &str) -> Option<Plain<'_>> {
        let Some(found) = self.facts.pii_counts else { return Some(Plain::Null) };
        Some(match name {
            "pii_count" => whole(found.iter().map(|(_, count)| u64::from(*count)).sum()),
            "pii_entities" => {
                Plain::Texts(found.iter().filter(|(_, count)| *count > 0).map(|(entity, _)| entity.as_str()).collect())
            }
            _ => return None,
        })
    }

    fn of_budget(&self, name: &str) -> Option<Plain<'_>> {
        let budget = self.budget?;
        Some(match name {
            "used_percent" => match budget.limit.basis_points_used(budget.spent) {
                Some(basis_points) => Plain::Int(basis_points / 100),
                None => Plain::Null,
            },
            "spent_cents" => Plain::Int(cents(budget.spent)),
            "limit_cents" => Plain::Int(cents(budget.limit)),
            "certain" => Plain::Bool(budget.certain),
            _ => return None,
        })
    }

    /// Names of the optional variables of a group that have a value.
    fn present_in(&self, group: &str) -> impl Iterator<Item = &'static str> {
        let optional = VARIABLES.iter().filter(|variable| variable.optional);
        let in_group = optional.filter_map(move |variable| {
            let (of, name) = variable.name.split_once('.')?;
            (of == group).then_some((of, name))
        });
        in_group.filter_map(|(of, name)| {
            let is_there = self.plain(of, name).is_some_and(|value| value != Plain::Null);
            is_there.then_some(name)
        })
    }

    fn time(&self) -> DateTime<chrono::Utc> {
        DateTime::from_timestamp_micros(self.facts.now_us).unwrap_or_default()
    }
}

fn whole<'b>(number: u64) -> Plain<'b> {
    Plain::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn cents(amount: Usd) -> i64 {
    i64::try_from(amount.get().div_euclid(10_000_000_000)).unwrap_or(i64::MAX)
}
