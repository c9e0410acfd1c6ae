//! Section `budgets`: what may be spent, in steps.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::{Location, Spanned};
use tollgate_interaction::{Share, Usd};

use super::BundleError;
use super::compile::{Compiler, preference};
use super::decimal::Part;
use super::limits::{Care, LimitSource, Section};
use super::source::{PreferSource, WhenSource};
use crate::allowance::{Allowance, Kind};
use crate::condition::Conditions;
use crate::decide::Prefer;
use crate::ledger::Unit;
use crate::scope::{Dimension, ScopePattern, Which};
use crate::suggestion;
use crate::variable::Phase;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BudgetSource {
    pub(super) id: Spanned<String>,
    pub(super) scope: Spanned<ScopeSource>,
    pub(super) limit: Spanned<LimitSource>,
    pub(super) steps: Spanned<Vec<Spanned<StepSource>>>,
    #[serde(default)]
    pub(super) max_snapshot_age: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) on_stale: Uncertain,
    /// `None` for the same as `on_stale`.
    #[serde(default)]
    pub(super) on_missing: Option<Uncertain>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
}

/// `{team: "*"}`: a dimension and whom in it.
pub(super) type ScopeSource = BTreeMap<String, Spanned<String>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepSource {
    pub(super) at: Spanned<Part>,
    #[serde(default)]
    pub(super) prefer: Option<Spanned<PreferSource>>,
    #[serde(default)]
    pub(super) min_quality: Option<Spanned<Part>>,
    #[serde(default)]
    pub(super) deny: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) deny_unless: Option<Spanned<WhenSource>>,
}

/// What happens from a share of a budget's limit on: it changes routes, or it is a wall.
#[derive(Debug)]
pub(crate) struct Step {
    /// Share of the limit; a `Usd` for its exact twelve places: `0.80` is 0.8 × 10¹².
    pub(crate) at: Usd,
    pub(crate) prefer: Option<Prefer>,
    /// Quality that targets must reach.
    pub(crate) min_quality: Option<Share>,
    pub(crate) wall: Option<Wall>,
}

/// See [`Step`].
#[derive(Debug)]
pub(crate) enum Wall {
    /// With what the caller is told besides the figures.
    Always { message: String },
    /// Calls for which this holds go on.
    Unless(Conditions),
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
    source: &BudgetSource,
    section: &mut Section,
) -> Result<Allowance, BundleError> {
    let id = compiler.unique(&source.id)?;
    let steps = steps(compiler, &id, &source.steps)?;
    let limit = source.limit.value.meaning(source.limit.referenced)?;
    if limit.unit == Unit::Concurrency {
        let message = "calls at once are not spent; write the limit in the section `limits`";
        return Err(BundleError::new(source.limit.referenced, message));
    }
    let care = Care {
        max_snapshot_age: source.max_snapshot_age.as_ref(),
        on_stale: source.on_stale,
        on_missing: source.on_missing,
    };
    section.allowance(id, &source.scope, limit, care, Kind::Budget(steps))
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
        let Part(at) = step.value.at.value;
        // Beyond ten times the limit somebody wrote per cent.
        if at <= Usd::ZERO || at > Usd::from_dollars(10) {
            let message = format!("`at: {at}` is not a share of the limit; write 0.80 for 80 %");
            return Err(BundleError::new(step.value.at.referenced, message));
        }
        if steps.last().is_some_and(|previous| previous.at > at) {
            return Err(BundleError::new(step.value.at.referenced, "steps go from the lowest `at` to the highest"));
        }
        steps.push(compile_step(compiler, &step.value)?);
    }
    Ok(steps)
}

fn compile_step(compiler: &Compiler<'_>, source: &StepSource) -> Result<Step, BundleError> {
    let StepSource { at, prefer, min_quality, deny, deny_unless } = source;
    let wall = match (deny, deny_unless) {
        (Some(message), None) => Some(Wall::Always { message: message.value.clone() }),
        (None, Some(when)) => Some(Wall::Unless(compiler.conditions(when, Phase::Budget)?)),
        (Some(_), Some(when)) => {
            let message = "a step has either `deny` or `deny_unless`; remove one of them";
            return Err(BundleError::new(when.referenced, message));
        }
        (None, None) => None,
    };
    let prefer = match prefer {
        Some(written) => match preference(written)? {
            Some(prefer) => Some(prefer),
            None => {
                let message = "a step that prefers nothing does nothing; remove it";
                return Err(BundleError::new(written.referenced, message));
            }
        },
        None => None,
    };
    let is_soft = prefer.is_some() || min_quality.is_some();
    if wall.is_some() == is_soft {
        let message = "a step has either `prefer` (and `min_quality`) or `deny` or `deny_unless`; write `deny_unless: \
                       \"false\"` to deny always";
        return Err(BundleError::new(at.referenced, message));
    }
    let min_quality = min_quality.as_ref().map(quality).transpose()?;
    Ok(Step { at: at.value.0, prefer, min_quality, wall })
}

/// A share from 0 to 1.
fn quality(floor: &Spanned<Part>) -> Result<Share, BundleError> {
    const UNITS_PER_MILLIONTH: i128 = 1_000_000;
    let Part(written) = floor.value;
    let units = written.get();
    let in_range = (0..=Usd::from_dollars(1).get()).contains(&units) && units % UNITS_PER_MILLIONTH == 0;
    let millionths = u32::try_from(units / UNITS_PER_MILLIONTH).ok().filter(|_| in_range);
    millionths.map(Share::new).ok_or_else(|| {
        let message = format!("`{}` is not a quality; write a share from 0 to 1 such as 0.92", written);
        BundleError::new(floor.referenced, message)
    })
}

/// The pattern that a scope stands for.
pub(super) fn pattern(source: &Spanned<ScopeSource>) -> Result<ScopePattern, BundleError> {
    let mut parts: Vec<(Dimension, Which)> = Vec::with_capacity(source.value.len());
    for (name, value) in &source.value {
        let Some(dimension) = Dimension::parse(name) else {
            return Err(no_dimension(name, value.referenced));
        };
        if parts.iter().any(|(known, _)| *known == dimension) {
            return Err(BundleError::new(value.referenced, format!("the scope names `{dimension}` twice")));
        }
        parts.push((dimension.clone(), whom(&dimension, value)?));
    }
    parts.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(ScopePattern { parts })
}

fn no_dimension(name: &str, location: Location) -> BundleError {
    let known = ["tenant", "organisation", "project", "team", "user", "key", "model"];
    let advice = "a scope is by `tenant`, `project`, `team`, `user`, `key`, `model` or `tag.NAME`";
    BundleError::new(location, format!("unknown field `{name}`{}", suggestion::phrase_or(name, known, advice)))
}

fn whom(dimension: &Dimension, value: &Spanned<String>) -> Result<Which, BundleError> {
    if value.value == "*" {
        return Ok(Which::Each);
    }
    if value.value.is_empty() || value.value.contains(['*', '\u{1f}']) {
        let message =
            format!("`{}` is not a scope; name one {dimension}, or write `\"*\"` for all others", value.value);
        return Err(BundleError::new(value.referenced, message));
    }
    let is_reference = value.value.len() == 32 && value.value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if *dimension == Dimension::User && !is_reference {
        let message = format!(
            "`{}` is not a user's reference; write the 32 digits that stand in the log as `user_ref`, or `\"*\"` for all",
            value.value
        );
        return Err(BundleError::new(value.referenced, message));
    }
    Ok(Which::Only(value.value.clone()))
}
