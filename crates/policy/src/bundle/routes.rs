//! The sections `routes` and `experiments` of a bundle: their shapes, and what they come to. That targets exist at the
//! gateway cannot be told from a bundle alone: [`Bundle::check_targets`](super::Bundle::check_targets) does it where the configuration is known.

mod check;

use std::collections::BTreeMap;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Location, Spanned};
use tollgate_interaction::Share;

use super::compile::Compiler;
use super::source::WhenSource;
use super::{BundleError, Fraction, Naming};
use crate::cache::CacheRule;
use crate::route::{
    Arm, ArmTarget, Conduct, Experiment, Floor, Hedge, NamedTarget, OnUnknown, Retries, Route, Shadow, Strategy,
    TimeLimits, Unit, WhenAllRest,
};
use crate::suggestion;
use crate::variable::Phase;

/// Most targets of a route and arms of an experiment.
const MAX_TARGETS: usize = 64;
/// Largest weight: enough for millionths.
const MAX_WEIGHT: u32 = 1_000_000;
/// Rounds of attempts after the first.
const MAX_RETRIES: u32 = 10;

/// One entry of `routes`.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteSource {
    #[schemars(with = "String")]
    id: Spanned<String>,
    #[schemars(with = "String")]
    alias: Spanned<String>,
    #[serde(default)]
    #[schemars(with = "Option<WhenSource>")]
    when: Option<Spanned<WhenSource>>,
    #[serde(default)]
    strategy: Strategy,
    #[schemars(with = "Vec<TargetSource>")]
    targets: Spanned<Vec<Spanned<TargetSource>>>,
    #[serde(default)]
    #[schemars(with = "Option<Fraction>")]
    floor: Option<Spanned<Share>>,
    #[serde(default)]
    #[schemars(with = "Option<OnUnknown>")]
    on_unknown: Option<Spanned<OnUnknown>>,
    #[serde(default)]
    #[schemars(with = "Option<Hedge>")]
    hedge: Option<Spanned<Hedge>>,
    #[serde(default)]
    #[schemars(with = "Option<Shadow>")]
    shadow: Option<Spanned<Shadow>>,
    #[serde(default)]
    #[schemars(with = "Option<Retries>")]
    retries: Option<Spanned<Retries>>,
    #[serde(default)]
    timeouts: TimeLimits,
    #[serde(default)]
    when_all_rest: Option<WhenAllRest>,
    #[serde(default)]
    cache: Option<CacheRule>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
}

/// One entry of `experiments`.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExperimentSource {
    #[schemars(with = "String")]
    id: Spanned<String>,
    #[schemars(with = "String")]
    alias: Spanned<String>,
    #[serde(default)]
    #[schemars(with = "Option<WhenSource>")]
    when: Option<Spanned<WhenSource>>,
    #[schemars(with = "String")]
    unit: Spanned<String>,
    /// The id, if there is none.
    #[serde(default)]
    salt: Option<String>,
    #[schemars(with = "Vec<ArmSource>")]
    arms: Spanned<Vec<Spanned<ArmSource>>>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ArmSource {
    #[schemars(with = "String")]
    name: Spanned<String>,
    #[schemars(with = "u32")]
    weight: Spanned<u32>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    target: Option<Spanned<String>>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    route: Option<Spanned<String>>,
}

/// `provider/model`, or `{target: provider/model, weight: 80}`.
#[derive(Debug)]
pub(super) struct TargetSource {
    target: String,
    weight: Option<u32>,
}

/// What the two sections come to.
pub(super) fn compile(
    compiler: &mut Compiler<'_>,
    routes: &[Spanned<RouteSource>],
    experiments: &[Spanned<ExperimentSource>],
) -> Result<(Vec<Route>, Vec<Experiment>), BundleError> {
    let mut compiled: Vec<Route> = Vec::with_capacity(routes.len());
    let mut unconditional: BTreeMap<&str, &str> = BTreeMap::new();
    for route in routes {
        let RouteSource { id, alias, when, .. } = &route.value;
        compiler.unique(id)?;
        if let Some(before) = unconditional.get(alias.value.as_str()) {
            let message = format!(
                "route `{}` can never match: route `{before}` before it takes every call to `{}`; give that one a `when`, or \
                 put it last",
                id.value, alias.value
            );
            return Err(BundleError::new(id.referenced, message));
        }
        if when.is_none() {
            unconditional.insert(&alias.value, &id.value);
        }
        let shadow_at = route.value.shadow.as_ref().map(|shadow| shadow.referenced);
        let route = route.value.compile(compiler)?;
        compiler.mention(Naming::Routed, &route.id, alias);
        compiler.mention_route(&route, shadow_at);
        compiled.push(route);
    }
    check::refuse_cycles(&compiled)?;
    let mut arms = Vec::with_capacity(experiments.len());
    for experiment in experiments {
        compiler.unique(&experiment.value.id)?;
        let divided = experiment.value.compile(compiler, &compiled)?;
        compiler.mention(Naming::Divided, &divided.id, &experiment.value.alias);
        compiler.mention_arms(&divided);
        arms.push(divided);
    }
    Ok((compiled, arms))
}

impl RouteSource {
    fn compile(&self, compiler: &Compiler<'_>) -> Result<Route, BundleError> {
        let RouteSource { id, alias, targets, .. } = self;
        is_alias(alias)?;
        let (route, many) = (&id.value, self.strategy == Strategy::Weighted);
        if targets.value.is_empty() || targets.value.len() > MAX_TARGETS {
            let message = format!("route `{route}` has {} targets; name 1 to {MAX_TARGETS}", targets.value.len());
            return Err(BundleError::new(targets.referenced, message));
        }
        if self.strategy == Strategy::Single && targets.value.len() > 1 {
            let message = format!(
                "route `{route}` is `single` and has {} targets; name one, or write `strategy: fallback`",
                targets.value.len()
            );
            return Err(BundleError::new(targets.referenced, message));
        }
        let mut named: Vec<NamedTarget> = Vec::with_capacity(targets.value.len());
        for source in &targets.value {
            let target = named_target(&source.value.target, source.referenced, source.value.weight.unwrap_or(1))?;
            if source.value.weight.is_some() && !many {
                let message = format!("route `{route}` has weights and is not `strategy: weighted`");
                return Err(BundleError::new(source.referenced, message));
            }
            if named.iter().any(|known| known.name == target.name) {
                let message = format!("route `{route}` names the target `{}` twice", target.name);
                return Err(BundleError::new(source.referenced, message));
            }
            named.push(target);
        }
        if many && named.iter().all(|target| target.weight == 0) {
            let message = format!("all weights of route `{route}` are zero, so it leads nowhere");
            return Err(BundleError::new(targets.referenced, message));
        }
        let when = self.when.as_ref().map(|when| compiler.conditions(when, Phase::Route)).transpose()?;
        Ok(Route { id: route.clone(), alias: alias.value.clone(), targets: named, conduct: self.conduct()?, when })
    }

    fn conduct(&self) -> Result<Conduct, BundleError> {
        if let Some(hedge) = self.hedge.as_ref().filter(|hedge| !(1..=3).contains(&hedge.value.max)) {
            let message = format!("`max: {}` is not a number of second attempts; write 1 to 3", hedge.value.max);
            return Err(BundleError::new(hedge.referenced, message));
        }
        if let Some(retries) = self.retries.as_ref().filter(|retries| retries.value.max > MAX_RETRIES) {
            let message = format!("`max: {}` is too many retries; write at most {MAX_RETRIES}", retries.value.max);
            return Err(BundleError::new(retries.referenced, message));
        }
        if let Some(shadow) = &self.shadow {
            is_target(&shadow.value.to, shadow.referenced)?;
        }
        Ok(Conduct {
            strategy: self.strategy,
            floor: self.floor()?,
            hedge: self.hedge.as_ref().map(|hedge| hedge.value),
            shadow: self.shadow.as_ref().map(|shadow| shadow.value.clone()),
            retries: self.retries.as_ref().map(|retries| retries.value),
            timeouts: self.timeouts,
            when_all_rest: self.when_all_rest,
            cache: self.cache.clone(),
        })
    }

    fn floor(&self) -> Result<Option<Floor>, BundleError> {
        let is_quality = self.strategy == Strategy::Quality;
        match (is_quality, &self.floor, &self.on_unknown) {
            (true, Some(floor), on_unknown) => {
                let on_unknown = on_unknown.as_ref().map(|unknown| unknown.value).unwrap_or_default();
                Ok(Some(Floor { at: floor.value, on_unknown }))
            }
            (true, None, _) => {
                let message = format!(
                    "route `{}` goes by quality and has no `floor`; write the least, such as 0.5",
                    self.id.value
                );
                Err(BundleError::new(self.id.referenced, message))
            }
            (false, Some(floor), _) => {
                Err(BundleError::new(floor.referenced, "`floor` is for `strategy: quality` alone; remove it"))
            }
            (false, None, Some(unknown)) => {
                Err(BundleError::new(unknown.referenced, "`on_unknown` is for `strategy: quality` alone; remove it"))
            }
            (false, None, None) => Ok(None),
        }
    }
}

impl ExperimentSource {
    fn compile(&self, compiler: &Compiler<'_>, routes: &[Route]) -> Result<Experiment, BundleError> {
        is_alias(&self.alias)?;
        let id = &self.id.value;
        if self.arms.value.len() < 2 || self.arms.value.len() > MAX_TARGETS {
            let message = format!("experiment `{id}` has {} arms; name 2 to {MAX_TARGETS}", self.arms.value.len());
            return Err(BundleError::new(self.arms.referenced, message));
        }
        let mut arms: Vec<Arm> = Vec::with_capacity(self.arms.value.len());
        for arm in &self.arms.value {
            let compiled = arm.value.compile(routes, &self.alias.value)?;
            if arms.iter().any(|known| known.name == compiled.name) {
                let message = format!("experiment `{id}` has two arms `{}`", compiled.name);
                return Err(BundleError::new(arm.value.name.referenced, message));
            }
            arms.push(compiled);
        }
        if arms.iter().all(|arm| arm.weight == 0) {
            let message = format!("all weights of experiment `{id}` are zero, so nobody takes part");
            return Err(BundleError::new(self.arms.referenced, message));
        }
        Ok(Experiment {
            id: id.clone(),
            alias: self.alias.value.clone(),
            unit: unit(&self.unit)?,
            salt: self.salt.clone().unwrap_or_else(|| id.clone()),
            arms,
            when: self.when.as_ref().map(|when| compiler.conditions(when, Phase::Experiment)).transpose()?,
        })
    }
}

impl ArmSource {
    fn compile(&self, routes: &[Route], alias: &str) -> Result<Arm, BundleError> {
        let name = self.name.value.clone();
        if name.is_empty() || name.len() > 100 {
            return Err(BundleError::new(self.name.referenced, "the name of an arm has 1 to 100 bytes"));
        }
        if self.weight.value > MAX_WEIGHT {
            let message = format!("a weight of {} is too large; write at most {MAX_WEIGHT}", self.weight.value);
            return Err(BundleError::new(self.weight.referenced, message));
        }
        let to = match (&self.target, &self.route) {
            (Some(target), None) => {
                if target.value == alias {
                    let message = format!("arm `{name}` leads back to `{alias}`, whose calls are divided here");
                    return Err(BundleError::new(target.referenced, message));
                }
                ArmTarget::Target(named_target(&target.value, target.referenced, 1)?)
            }
            (None, Some(route)) => {
                let found = routes.iter().position(|known| known.id == route.value).ok_or_else(|| {
                    let meant = suggestion::phrase(&route.value, routes.iter().map(|route| route.id.as_str()));
                    BundleError::new(route.referenced, format!("no route has the id `{}`{meant}", route.value))
                })?;
                ArmTarget::Route(found)
            }
            _ => {
                let message = format!("arm `{name}` has either a `target` or a `route`");
                return Err(BundleError::new(self.name.referenced, message));
            }
        };
        Ok(Arm { name, weight: self.weight.value, to })
    }
}

fn is_alias(alias: &Spanned<String>) -> Result<(), BundleError> {
    if alias.value.is_empty() || alias.value.len() > 200 || alias.value.contains(['*', ' ']) {
        let message = format!("`{}` is not what callers write as a model; name one alias", alias.value);
        return Err(BundleError::new(alias.referenced, message));
    }
    Ok(())
}

fn is_target(target: &str, at: Location) -> Result<(), BundleError> {
    let is_one = !target.is_empty() && target.len() <= 256 && !target.contains(['*', ' ']) && !target.starts_with('/');
    if is_one && !target.ends_with('/') {
        return Ok(());
    }
    let message = format!("`{target}` is not a target; write `PROVIDER/MODEL`, or an alias of the configuration");
    Err(BundleError::new(at, message))
}

fn named_target(target: &str, at: Location, weight: u32) -> Result<NamedTarget, BundleError> {
    is_target(target, at)?;
    if weight > MAX_WEIGHT {
        let message = format!("a weight of {weight} is too large; write at most {MAX_WEIGHT}");
        return Err(BundleError::new(at, message));
    }
    Ok(NamedTarget { name: target.to_owned(), weight, line: at.line().max(1), column: at.column().max(1) })
}

fn unit(source: &Spanned<String>) -> Result<Unit, BundleError> {
    const UNITS: [&str; 4] = ["user", "conversation", "key", "metadata.NAME"];
    match source.value.as_str() {
        "user" => Ok(Unit::User),
        "conversation" => Ok(Unit::Conversation),
        "key" => Ok(Unit::Key),
        other => match other.strip_prefix("metadata.").filter(|name| !name.is_empty()) {
            Some(name) => Ok(Unit::Metadata(name.to_owned())),
            None => {
                let advice = "it is `user`, `conversation`, `key` or `metadata.NAME`";
                let meant = suggestion::phrase_or(other, UNITS, advice);
                let message = format!("`{other}` is not what an experiment can assign{meant}");
                Err(BundleError::new(source.referenced, message))
            }
        },
    }
}

impl<'de> Deserialize<'de> for TargetSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Weighted {
            target: String,
            weight: u32,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = TargetSource;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`PROVIDER/MODEL` or `{target: PROVIDER/MODEL, weight: 80}`")
            }
            fn visit_str<E>(self, target: &str) -> Result<TargetSource, E> {
                Ok(TargetSource { target: target.to_owned(), weight: None })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TargetSource, A::Error> {
                let Weighted { target, weight } = Weighted::deserialize(MapAccessDeserializer::new(map))?;
                Ok(TargetSource { target, weight: Some(weight) })
            }
        }
        deserializer.deserialize_any(Either)
    }
}
