//! The section `budgets`: its shapes in YAML, and their meaning.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::{Location, Spanned};
use tollgate_interaction::Usd;

use super::compile::{Compiler, preference};
use super::limits::{LimitSource, Section};
use super::source::{PreferSource, WhenSource};
use super::{BundleError, Step, Uncertain, Wall};
use crate::allowance::{Allowance, Kind};
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
    pub(super) on_stale: UncertainSource,
    /// `None` for the same as `on_stale`.
    #[serde(default)]
    pub(super) on_missing: Option<UncertainSource>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
}

/// `{team: "*"}`: a dimension and whom in it.
pub(super) type ScopeSource = BTreeMap<String, Spanned<String>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepSource {
    pub(super) at: Spanned<Usd>,
    #[serde(default)]
    pub(super) prefer: Option<Spanned<PreferSource>>,
    #[serde(default)]
    pub(super) min_quality: Option<Spanned<Usd>>,
    #[serde(default)]
    pub(super) deny: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) deny_unless: Option<Spanned<WhenSource>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum UncertainSource {
    Allow,
    #[default]
    Conservative,
    Deny,
}

impl From<UncertainSource> for Uncertain {
    fn from(source: UncertainSource) -> Self {
        match source {
            UncertainSource::Allow => Uncertain::Allow,
            UncertainSource::Conservative => Uncertain::Conservative,
            UncertainSource::Deny => Uncertain::Deny,
        }
    }
}

impl Compiler<'_> {
    pub(super) fn budget(&self, source: &BudgetSource, section: &mut Section) -> Result<Allowance, BundleError> {
        let steps = self.steps(&source.id.value, &source.steps)?;
        let limit = source.limit.value.meaning(source.limit.referenced)?;
        if limit.unit == Unit::Concurrency {
            let message = "calls at once are not spent; write the limit in the section `limits`";
            return Err(BundleError::new(source.limit.referenced, message));
        }
        section.allowance(
            &source.id.value,
            &source.scope,
            limit,
            super::limits::Care {
                max_snapshot_age: source.max_snapshot_age.as_ref(),
                on_stale: source.on_stale,
                on_missing: source.on_missing,
            },
            Kind::Budget(steps),
        )
    }

    fn steps(&self, id: &str, source: &Spanned<Vec<Spanned<StepSource>>>) -> Result<Vec<Step>, BundleError> {
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
            steps.push(self.step(&step.value)?);
        }
        Ok(steps)
    }

    fn step(&self, source: &StepSource) -> Result<Step, BundleError> {
        let StepSource { at, prefer, min_quality, deny, deny_unless } = source;
        let wall = match (deny, deny_unless) {
            (Some(message), None) => Some(Wall::Always { message: message.value.clone() }),
            (None, Some(when)) => Some(Wall::Unless(self.conditions(when, Phase::Budget)?)),
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
            let message = "a step changes routes (`prefer`, `min_quality`) or denies (`deny`, `deny_unless`), one of the \
                           two; write `deny_unless: \"false\"` to deny always";
            return Err(BundleError::new(at.referenced, message));
        }
        let min_quality = min_quality.as_ref().map(quality).transpose()?;
        Ok(Step { at: at.value, prefer, min_quality, wall })
    }
}

/// A share from 0 to 1, in millionths.
fn quality(floor: &Spanned<Usd>) -> Result<u32, BundleError> {
    const UNITS_PER_MILLIONTH: i128 = 1_000_000;
    let units = floor.value.get();
    let in_range = (0..=Usd::from_dollars(1).get()).contains(&units) && units % UNITS_PER_MILLIONTH == 0;
    let millionths = u32::try_from(units / UNITS_PER_MILLIONTH).ok().filter(|_| in_range);
    millionths.ok_or_else(|| {
        let message = format!("`{}` is not a quality; write a share from 0 to 1 such as 0.92", floor.value);
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
    let advice = suggestion::phrase(name, known);
    let message = format!(
        "unknown field `{name}`{advice}; a scope is by `tenant`, `project`, `team`, `user`, `key`, `model` or `tag.NAME`"
    );
    BundleError::new(location, message)
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
