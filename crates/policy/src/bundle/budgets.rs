//! Section `budgets`: what may be spent, in steps.

use serde::Deserialize;
use serde_saphyr::Spanned;
use tollgate_interaction::Usd;

use super::BundleError;
use super::compile::{Compiler, preference, seconds};
use super::source::{PreferSource, WhenSource};
use crate::condition::Conditions;
use crate::decide::Prefer;
use crate::variable::Phase;

/// How old the spend may be if a budget does not say.
const DEFAULT_MAX_SNAPSHOT_AGE_S: u64 = 60;

/// One budget, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BudgetSource {
    id: Spanned<String>,
    scope: ScopeSource,
    limit: LimitSource,
    steps: Spanned<Vec<Spanned<StepSource>>>,
    #[serde(default)]
    max_snapshot_age: Option<Spanned<String>>,
    #[serde(default)]
    on_stale: Uncertain,
    /// `None` for the same as `on_stale`.
    #[serde(default)]
    on_missing: Option<Uncertain>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeSource {
    team: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitSource {
    usd: Spanned<Usd>,
    #[serde(rename = "per")]
    _per: Period,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Period {
    Month,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepSource {
    at: Spanned<Usd>,
    #[serde(default)]
    prefer: Option<Spanned<PreferSource>>,
    #[serde(default)]
    deny_unless: Option<Spanned<WhenSource>>,
}

/// A limit on what one team spends in a calendar month (UTC).
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) id: String,
    /// `None` for every team that no other budget names.
    pub(crate) team: Option<String>,
    pub(crate) limit: Usd,
    /// In ascending order of `at`.
    pub(crate) steps: Vec<Step>,
    pub(crate) max_snapshot_age_s: u64,
    pub(crate) on_stale: Uncertain,
    pub(crate) on_missing: Uncertain,
}

/// What happens from a share of the limit on.
#[derive(Debug)]
pub(crate) struct Step {
    /// Share of the limit; a `Usd` for its exact twelve places: `0.80` is 0.8 × 10¹².
    pub(crate) at: Usd,
    pub(crate) action: StepAction,
}

/// See [`Step`].
#[derive(Debug)]
pub(crate) enum StepAction {
    Prefer(Prefer),
    DenyUnless(Conditions),
}

/// What a budget does when it cannot tell what has been spent by now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Uncertain {
    /// Goes by the last known figure, or stands aside if there is none.
    Allow,
    /// Prefers as if every step were reached; denies by the last known figure.
    #[default]
    Conservative,
    /// Acts as if every step were reached.
    Deny,
}

pub(super) fn compile(
    compiler: &mut Compiler<'_>,
    source: &[Spanned<BudgetSource>],
) -> Result<Vec<Budget>, BundleError> {
    let mut budgets: Vec<Budget> = Vec::with_capacity(source.len());
    for budget in source {
        let compiled = compile_budget(compiler, &budget.value)?;
        if budgets.iter().any(|known| known.team == compiled.team) {
            let team = &budget.value.scope.team;
            let message = format!("team `{}` already has a budget; a team has one per month", team.value);
            return Err(BundleError::new(team.referenced, message));
        }
        budgets.push(compiled);
    }
    Ok(budgets)
}

fn compile_budget(compiler: &mut Compiler<'_>, source: &BudgetSource) -> Result<Budget, BundleError> {
    let id = compiler.unique(&source.id)?;
    let team = &source.scope.team;
    if team.value.is_empty() || (team.value.contains('*') && team.value != "*") {
        let message = format!("`{}` is not a scope; name one team, or write `\"*\"` for all others", team.value);
        return Err(BundleError::new(team.referenced, message));
    }
    let limit = source.limit.usd.value;
    if limit < Usd::ZERO || limit > Usd::from_dollars(1_000_000_000) {
        let message = format!("a limit of {limit} USD is not between zero and a billion");
        return Err(BundleError::new(source.limit.usd.referenced, message));
    }
    let max_snapshot_age_s = match &source.max_snapshot_age {
        Some(age) => seconds(age)?,
        None => DEFAULT_MAX_SNAPSHOT_AGE_S,
    };
    Ok(Budget {
        team: Some(team.value.clone()).filter(|team| team != "*"),
        limit,
        steps: steps(compiler, &id, &source.steps)?,
        max_snapshot_age_s,
        on_stale: source.on_stale,
        on_missing: source.on_missing.unwrap_or(source.on_stale),
        id,
    })
}

fn steps(
    compiler: &Compiler<'_>,
    id: &str,
    source: &Spanned<Vec<Spanned<StepSource>>>,
) -> Result<Vec<Step>, BundleError> {
    if source.value.is_empty() {
        return Err(BundleError::new(source.referenced, format!("budget `{id}` has no steps, so it does nothing")));
    }
    let mut steps: Vec<Step> = Vec::with_capacity(source.value.len());
    for step in &source.value {
        let at = step.value.at.value;
        if at <= Usd::ZERO || at > Usd::from_dollars(100) {
            let message = format!("`at: {at}` is not a share of the limit; write 0.80 for 80 %");
            return Err(BundleError::new(step.value.at.referenced, message));
        }
        if steps.last().is_some_and(|previous| previous.at > at) {
            return Err(BundleError::new(step.value.at.referenced, "steps go from the lowest `at` to the highest"));
        }
        steps.push(Step { at, action: step_action(compiler, &step.value)? });
    }
    Ok(steps)
}

fn step_action(compiler: &Compiler<'_>, step: &StepSource) -> Result<StepAction, BundleError> {
    match (&step.prefer, &step.deny_unless) {
        (Some(prefer), None) => match preference(prefer)? {
            Some(prefer) => Ok(StepAction::Prefer(prefer)),
            None => Err(BundleError::new(prefer.referenced, "a step that prefers nothing does nothing; remove it")),
        },
        (None, Some(when)) => Ok(StepAction::DenyUnless(compiler.conditions(when, Phase::Budget)?)),
        _ => {
            let message = "a step has either `prefer` or `deny_unless`; write `deny_unless: \"false\"` to deny always";
            Err(BundleError::new(step.at.referenced, message))
        }
    }
}
