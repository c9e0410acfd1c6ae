//! Section `limits`, and what it has in common with `budgets`: how much of what, in which window, for whom.

use std::sync::Arc;

use chrono_tz::Tz;
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};
use tollgate_interaction::Usd;

use super::budgets::{self, BudgetSource, ScopeSource, Uncertain, pattern};
use super::compile::{Compiler, seconds};
use super::decimal::Dollars;
use super::{BundleError, Naming};
use crate::allowance::{Allowance, Kind};
use crate::ledger::{Tally, Unit};
use crate::scope::ScopePattern;
use crate::suggestion;
use crate::window::{Period, Window};

/// How old a reading may be if nothing is said.
const DEFAULT_MAX_SNAPSHOT_AGE_S: u64 = 60;
/// Longest rolling window, in seconds: a leap year.
const LONGEST_ROLLING_S: u64 = 366 * 86_400;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitRuleSource {
    pub(super) id: Spanned<String>,
    pub(super) scope: Spanned<ScopeSource>,
    pub(super) limit: Spanned<LimitSource>,
    #[serde(default)]
    pub(super) max_snapshot_age: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) on_stale: Option<Uncertain>,
    #[serde(default)]
    pub(super) on_missing: Option<Uncertain>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
}

/// `{usd: "100.00", per: month, timezone: Europe/Berlin}`, `{tokens: 1000000, rolling: 24h}`, `{concurrency: 8}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitSource {
    #[serde(default)]
    pub(super) usd: Option<Spanned<Dollars>>,
    #[serde(default)]
    pub(super) tokens: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) calls: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) concurrency: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) per: Option<Period>,
    #[serde(default)]
    pub(super) timezone: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) rolling: Option<Spanned<String>>,
}

/// How much of what, and in which window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) unit: Unit,
    pub(super) amount: i128,
    pub(super) window: Window,
}

impl LimitSource {
    pub(super) fn meaning(&self, at: Location) -> Result<Limit, BundleError> {
        let (unit, amount) = self.amount(at)?;
        Ok(Limit { unit, amount, window: self.window(unit, at)? })
    }

    fn amount(&self, at: Location) -> Result<(Unit, i128), BundleError> {
        let count = |unit, count: &Option<Spanned<u64>>| {
            count.as_ref().map(|count| (unit, i128::from(count.value), count.referenced))
        };
        let usd = self.usd.as_ref().map(|usd| (Unit::Usd, usd.value.0.get(), usd.referenced));
        let mut said = [
            usd,
            count(Unit::Tokens, &self.tokens),
            count(Unit::Calls, &self.calls),
            count(Unit::Concurrency, &self.concurrency),
        ]
        .into_iter()
        .flatten();
        let Some((unit, amount, place)) = said.next() else {
            let message =
                "the limit says no amount; write one of `usd`, `tokens`, `calls`, and `concurrency` in `limits`";
            return Err(BundleError::new(at, message));
        };
        if let Some((_, _, second)) = said.next() {
            return Err(BundleError::new(second, "a limit has one amount; make it two rules"));
        }
        let largest = match unit {
            Unit::Usd => Usd::from_dollars(1_000_000_000).get(),
            _ => i128::from(u64::MAX >> 1),
        };
        if !(0..=largest).contains(&amount) {
            let message = match unit {
                Unit::Usd => format!("a limit of {} USD is not between zero and a billion", Usd::new(amount)),
                _ => format!("a limit of {amount} is too large to mean anything"),
            };
            return Err(BundleError::new(place, message));
        }
        Ok((unit, amount))
    }

    fn window(&self, unit: Unit, at: Location) -> Result<Window, BundleError> {
        match (unit, self.per, &self.rolling) {
            (Unit::Concurrency, None, None) => match &self.timezone {
                None => Ok(Window::InFlight),
                Some(zone) => Err(BundleError::new(zone.referenced, "calls at once have no window; remove `timezone`")),
            },
            (Unit::Concurrency, ..) => {
                Err(BundleError::new(at, "calls at once have no window; remove `per` and `rolling`"))
            }
            (_, Some(per), None) => {
                let zone = self.timezone.as_ref().map_or(Ok(Tz::UTC), time_zone)?;
                Ok(Window::Calendar { per, zone })
            }
            (_, None, Some(text)) => {
                if let Some(zone) = &self.timezone {
                    let message = "a rolling window is the same in every time zone; remove `timezone`";
                    return Err(BundleError::new(zone.referenced, message));
                }
                let length_s = seconds(text)?;
                if !(1..=LONGEST_ROLLING_S).contains(&length_s) {
                    let message =
                        format!("a rolling window of `{}` is not between one second and 366 days", text.value);
                    return Err(BundleError::new(text.referenced, message));
                }
                Ok(Window::Rolling { length_s })
            }
            (_, Some(_), Some(text)) => {
                Err(BundleError::new(text.referenced, "a limit has either `per` or `rolling`; remove one of them"))
            }
            (_, None, None) => Err(BundleError::new(
                at,
                "the limit says no window; write `per: month` (or `minute`, `hour`, `day`, `week`, `quarter`, `year`), \
                 or `rolling: 24h`",
            )),
        }
    }
}

fn time_zone(name: &Spanned<String>) -> Result<Tz, BundleError> {
    name.value.parse().map_err(|_| {
        let zones = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
        let advice = "write its name in the IANA database, such as `Europe/Berlin`";
        let message = format!("no time zone `{}`{}", name.value, suggestion::phrase_or(&name.value, zones, advice));
        BundleError::new(name.referenced, message)
    })
}

/// What an allowance does about readings that are old or missing.
pub(super) struct Care<'a> {
    pub(super) max_snapshot_age: Option<&'a Spanned<String>>,
    pub(super) on_stale: Uncertain,
    pub(super) on_missing: Option<Uncertain>,
}

/// Both sections while they are compiled: allowances find their tallies.
#[derive(Default)]
pub(super) struct Section {
    tallies: Vec<Tally>,
}

impl Section {
    pub(super) fn allowance(
        &mut self,
        id: String,
        scope: &Spanned<ScopeSource>,
        limit: Limit,
        care: Care<'_>,
        kind: Kind,
    ) -> Result<Allowance, BundleError> {
        let scope = pattern(scope)?;
        let max_snapshot_age_s = match care.max_snapshot_age {
            Some(age) => seconds(age)?,
            None => DEFAULT_MAX_SNAPSHOT_AGE_S,
        };
        Ok(Allowance {
            id,
            tally: self.tally(&scope, limit.window),
            scope,
            except: Vec::new(),
            unit: limit.unit,
            limit: limit.amount,
            max_snapshot_age_s,
            on_stale: care.on_stale,
            on_missing: care.on_missing.unwrap_or(care.on_stale),
            kind,
        })
    }

    fn tally(&mut self, scope: &ScopePattern, window: Window) -> usize {
        let tally = Tally::new(scope.dimensions(), window);
        match self.tallies.iter().position(|known| *known == tally) {
            Some(place) => place,
            None => {
                self.tallies.push(tally);
                self.tallies.len() - 1
            }
        }
    }
}

/// Both sections.
pub(super) fn compile(
    compiler: &mut Compiler<'_>,
    budgets: &[Spanned<BudgetSource>],
    limits: &[Spanned<LimitRuleSource>],
) -> Result<(Arc<[Tally]>, Vec<Allowance>), BundleError> {
    let mut section = Section::default();
    let mut allowances = Vec::with_capacity(budgets.len() + limits.len());
    for budget in budgets {
        counted(compiler, &budget.value.id, &budget.value.scope);
        allowances.push(budgets::compile(compiler, &budget.value, &mut section)?);
    }
    for limit in limits {
        counted(compiler, &limit.value.id, &limit.value.scope);
        allowances.push(compile_limit(compiler, &limit.value, &mut section)?);
    }
    let places = budgets.iter().map(|budget| budget.value.scope.referenced);
    let places: Vec<Location> = places.chain(limits.iter().map(|limit| limit.value.scope.referenced)).collect();
    for (place, at) in places.into_iter().enumerate() {
        except(&mut allowances, place).map_err(|message| BundleError::new(at, message))?;
    }
    Ok((section.tallies.into(), allowances))
}

/// Notes the model that a scope is about.
fn counted(compiler: &mut Compiler<'_>, id: &Spanned<String>, scope: &Spanned<ScopeSource>) {
    if let Some(model) = scope.value.get("model").filter(|model| model.value != "*") {
        compiler.mention(Naming::Counted, &id.value, model);
    }
}

fn compile_limit(
    compiler: &mut Compiler<'_>,
    source: &LimitRuleSource,
    section: &mut Section,
) -> Result<Allowance, BundleError> {
    let id = compiler.unique(&source.id)?;
    let limit = source.limit.value.meaning(source.limit.referenced)?;
    let care = Care {
        max_snapshot_age: source.max_snapshot_age.as_ref(),
        on_stale: source.on_stale.unwrap_or(Uncertain::Allow),
        on_missing: source.on_missing,
    };
    section.allowance(id, &source.scope, limit, care, Kind::Limit)
}

/// Lets an allowance step back where a narrower scope has one of the same kind, unit and window: `"*"` is for all others.
///
/// # Errors
/// What is wrong if one before it has the very same scope.
fn except(allowances: &mut [Allowance], place: usize) -> Result<(), String> {
    let (before, rest) = allowances.split_at_mut(place);
    let Some((one, after)) = rest.split_first_mut() else { return Ok(()) };
    let is_limit = |allowance: &Allowance| matches!(allowance.kind, Kind::Limit);
    let is_rival =
        |other: &&Allowance| is_limit(other) == is_limit(one) && other.tally == one.tally && other.unit == one.unit;
    if let Some(twin) = before.iter().filter(is_rival).find(|other| other.scope == one.scope) {
        let what = if is_limit(one) { "limit" } else { "budget" };
        return Err(format!("`{}` already has a {what} of this kind and window, `{}`; remove one", one.scope, twin.id));
    }
    let rivals = before.iter().chain(after.iter()).filter(is_rival);
    let narrower = rivals.filter(|other| one.scope.is_wider_than(&other.scope)).map(|other| other.scope.clone());
    one.except = narrower.collect();
    Ok(())
}

#[cfg(test)]
mod tests;
