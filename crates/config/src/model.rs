//! Model aliases: one name for several targets, and how calls by it are conducted.

use std::collections::BTreeMap;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;
use tollgate_gateway::OnDisconnect;
use tollgate_interaction::Share;
use tollgate_policy::bundle::BundleError as SourceError;
use tollgate_policy::cache::CacheRule;
use tollgate_policy::route::{
    Conduct, Floor, Hedge, NamedTarget, OnUnknown, Retries, Shadow, Strategy, TimeLimits, WhenAllRest,
};
use tollgate_policy::suggestion;
use tollgate_provider::translate::OnUnsupported;

use super::{Acknowledge, Provider, mistake, shown, unwritten};

/// One entry of the `models` section.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Targets as `PROVIDER/MODEL`, in order of preference; another alias stands for its targets. For `strategy: weighted`
    /// each as `{target: PROVIDER/MODEL, weight: 80}`.
    #[schemars(with = "Vec<shown::Target>", length(min = 1))]
    #[serde(deserialize_with = "some_targets")]
    pub targets: Vec<Spanned<WeightedTarget>>,
    /// How one is chosen.
    #[serde(default)]
    #[schemars(with = "shown::Strategy")]
    pub strategy: Strategy,
    /// Least quality for `strategy: quality`, from 0 to 1: the lower bound of what feedback says.
    #[serde(default)]
    #[schemars(with = "Option<f64>")]
    pub floor: Option<Spanned<Share>>,
    /// What becomes of targets whose quality is not known. Default: `last`.
    #[serde(default)]
    #[schemars(with = "shown::OnUnknown")]
    pub on_unknown: OnUnknown,
    /// A second attempt at another target when nothing has come from the first.
    #[serde(default)]
    #[schemars(with = "Option<shown::Hedge>")]
    pub hedge: Option<Spanned<Hedge>>,
    /// A share of calls that is also sent to another target, once the caller has been answered.
    #[serde(default)]
    #[schemars(with = "Option<shown::Shadow>")]
    pub shadow: Option<Spanned<Shadow>>,
    /// Further rounds of attempts after a pause. Default: `routing.retries`.
    #[serde(default)]
    #[schemars(with = "Option<shown::Retries>")]
    pub retries: Option<Spanned<Retries>>,
    /// How long is waited for an answer. Default: as `server` says.
    #[serde(default)]
    #[schemars(with = "shown::TimeLimits")]
    pub timeouts: TimeLimits,
    /// What is done when every target rests. Default: `routing.when_all_rest`.
    #[serde(default)]
    #[schemars(with = "Option<shown::WhenAllRest>")]
    pub when_all_rest: Option<WhenAllRest>,
    /// Answers are kept and given again to whoever asks the same. Default: none is.
    #[serde(default)]
    #[schemars(with = "Option<shown::Cache>")]
    pub cache: Option<CacheRule>,
    /// What must be durable before what, for calls by this alias. Default: `log.ack`.
    #[serde(default)]
    pub ack: Option<Acknowledge>,
    /// What becomes of a field of the request that the format of the target's provider cannot express: `refuse` (default)
    /// or `drop`, which lists it in the column `dropped`.
    #[schemars(with = "shown::Unsupported")]
    #[serde(default)]
    pub on_unsupported: OnUnsupported,
    /// What becomes of the upstream call when the caller hangs up: `drain` (default) reads it to its end, so that the
    /// provider's own count is recorded; `cancel` breaks it off and estimates.
    #[schemars(with = "Option<shown::Disconnect>")]
    #[serde(default)]
    pub on_disconnect: Option<OnDisconnect>,
}

/// A target and its weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedTarget {
    /// `PROVIDER/MODEL`, or another alias.
    pub target: String,
    /// As written.
    pub weight: Option<u32>,
}

impl Model {
    /// How its calls are conducted.
    #[must_use]
    pub fn conduct(&self) -> Conduct {
        Conduct {
            strategy: self.strategy,
            floor: self.floor.as_ref().map(|floor| Floor { at: floor.value, on_unknown: self.on_unknown }),
            hedge: self.hedge.as_ref().map(|hedge| hedge.value),
            shadow: self.shadow.as_ref().map(|shadow| shadow.value.clone()),
            retries: self.retries.as_ref().map(|retries| retries.value),
            timeouts: self.timeouts,
            when_all_rest: self.when_all_rest,
            cache: self.cache.clone(),
        }
    }

    pub(super) fn check(
        &self,
        alias: &str,
        providers: &BTreeMap<String, Provider>,
        models: &BTreeMap<String, Model>,
    ) -> Result<(), SourceError> {
        for target in &self.targets {
            let name = &target.value.target;
            check_target(name, target, alias, providers, models)?;
            if let Some(path) = path_back(name, alias, models) {
                let message = format!(
                    "model `{alias}` leads back to itself: `{alias}` → {path}; name a `PROVIDER/MODEL` in one of them"
                );
                return Err(mistake(target.referenced, message));
            }
            match (target.value.weight, self.strategy) {
                (Some(_), strategy) if strategy != Strategy::Weighted => {
                    let message = format!("model `{alias}` has weights; write `strategy: weighted`, or leave them out");
                    return Err(mistake(target.referenced, message));
                }
                (Some(weight), _) if weight > 1_000_000 => {
                    let message = format!("a weight of {weight} is too large; write at most 1000000");
                    return Err(mistake(target.referenced, message));
                }
                _ => {}
            }
        }
        self.check_conduct(alias, providers, models)
    }

    fn check_conduct(
        &self,
        alias: &str,
        providers: &BTreeMap<String, Provider>,
        models: &BTreeMap<String, Model>,
    ) -> Result<(), SourceError> {
        let first = self.targets.first().map(|target| target.referenced);
        match (self.strategy, &self.floor, first) {
            (Strategy::Single, _, Some(at)) if self.targets.len() > 1 => {
                let message = format!("model `{alias}` is `single` and has {} targets; name one", self.targets.len());
                return Err(mistake(at, message));
            }
            (Strategy::Quality, None, Some(at)) => {
                let message =
                    format!("model `{alias}` goes by quality and has no `floor`; write the least, such as 0.8");
                return Err(mistake(at, message));
            }
            (strategy, Some(floor), _) if strategy != Strategy::Quality => {
                return Err(mistake(floor.referenced, "`floor` is for `strategy: quality` alone; remove it"));
            }
            _ => {}
        }
        if self.strategy == Strategy::Weighted
            && let Some(at) = first
            && self.targets.iter().all(|target| target.value.weight == Some(0))
        {
            return Err(mistake(at, format!("all weights of model `{alias}` are zero, so it leads nowhere")));
        }
        if let Some(hedge) = self.hedge.as_ref().filter(|hedge| !(1..=3).contains(&hedge.value.max)) {
            return Err(mistake(hedge.referenced, "`max` of a hedge is 1 to 3"));
        }
        if let Some(retries) = self.retries.as_ref().filter(|retries| retries.value.max > super::routing::MAX_RETRIES) {
            let message = format!("`max` of retries is at most {}", super::routing::MAX_RETRIES);
            return Err(mistake(retries.referenced, message));
        }
        if let Some(shadow) = &self.shadow {
            check_target(&shadow.value.to, shadow, alias, providers, models)?;
        }
        let semantic = self.cache.as_ref().and_then(|cache| cache.semantic.as_ref());
        let Some(NamedTarget { name, line, column, .. }) = semantic.map(|semantic| &semantic.model) else {
            return Ok(());
        };
        check_target(name, &unwritten(name), alias, providers, models).map_err(|error| SourceError {
            line: *line,
            column: *column,
            ..error
        })
    }
}

fn check_target<T>(
    name: &str,
    written: &Spanned<T>,
    alias: &str,
    providers: &BTreeMap<String, Provider>,
    models: &BTreeMap<String, Model>,
) -> Result<(), SourceError> {
    if models.contains_key(name) {
        return Ok(());
    }
    let Some((provider, model)) = name.split_once('/') else {
        let meant = suggestion::phrase(name, models.keys().map(String::as_str));
        let message =
            format!("target `{name}` of model `{alias}` is neither `PROVIDER/MODEL` nor another alias{meant}");
        return Err(mistake(written.referenced, message));
    };
    if !providers.contains_key(provider) {
        let meant = suggestion::phrase(provider, providers.keys().map(String::as_str));
        let message = format!("model `{alias}` names the provider `{provider}`, which is not configured{meant}");
        return Err(mistake(written.referenced, message));
    }
    if model.is_empty() {
        return Err(mistake(written.referenced, format!("target `{name}` of model `{alias}` names no model")));
    }
    Ok(())
}

/// The way from `name` to `alias`, if there is one.
fn path_back(name: &str, alias: &str, models: &BTreeMap<String, Model>) -> Option<String> {
    let mut paths = vec![vec![name]];
    let mut seen = vec![name];
    while let Some(path) = paths.pop() {
        let last = *path.last()?;
        if last == alias {
            return Some(path.iter().map(|step| format!("`{step}`")).collect::<Vec<_>>().join(" → "));
        }
        for target in models.get(last).into_iter().flat_map(|model| &model.targets) {
            let next = target.value.target.as_str();
            if next == alias || !seen.contains(&next) {
                seen.push(next);
                paths.push([path.as_slice(), &[next]].concat());
            }
        }
    }
    None
}

/// Reads the targets; an alias that leads nowhere is a mistake.
fn some_targets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Spanned<WeightedTarget>>, D::Error> {
    let targets = Vec::<Spanned<WeightedTarget>>::deserialize(deserializer)?;
    if targets.is_empty() {
        return Err(D::Error::custom("an alias without targets leads nowhere; name at least one as `PROVIDER/MODEL`"));
    }
    Ok(targets)
}

impl<'de> Deserialize<'de> for WeightedTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            target: String,
            weight: u32,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = WeightedTarget;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`PROVIDER/MODEL` or `{target: PROVIDER/MODEL, weight: 80}`")
            }
            fn visit_str<E>(self, target: &str) -> Result<WeightedTarget, E> {
                Ok(WeightedTarget { target: target.to_owned(), weight: None })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WeightedTarget, A::Error> {
                let Written { target, weight } = Written::deserialize(MapAccessDeserializer::new(map))?;
                Ok(WeightedTarget { target, weight: Some(weight) })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use tollgate_policy::route::{HedgeAfter, Span};

    use super::*;
    use crate::Config;

    fn parse(models: &str) -> Result<Config, SourceError> {
        let text =
            format!("providers:\n  up: {{dialect: openai, base_url: 'http://127.0.0.1:1/v1'}}\nmodels:\n{models}");
        Config::parse(&text, PathBuf::from("/etc/tollgate"), |_| None)
    }

    #[test]
    fn everything_that_can_be_said_of_an_alias_reaches_the_gateway() {
        let text = "  fast: {targets: [up/small]}\n  main:\n    strategy: weighted\n    targets: [{target: up/a, weight: 80}, \
                    {target: fast, weight: 20}]\n    hedge: {after: p95}\n    shadow: {to: up/b, share: 0.1}\n    \
                    retries: {max: 2, base: 100ms}\n    timeouts: {total: 60s, per_try: 5s}\n    when_all_rest: refuse\n";
        let config = parse(text).unwrap_or_else(|error| panic!("{error}"));
        let settings = config.gateway_settings([0; 32], String::new());
        let main = settings.models.iter().find(|route| route.alias == "main").unwrap();
        assert_eq!(
            (main.targets.as_slice(), main.weights.as_slice()),
            (&["up/a".into(), "fast".into()][..], &[80, 20][..])
        );
        let conduct = &main.conduct;
        assert_eq!(conduct.hedge, Some(Hedge { after: HedgeAfter::P95, max: 1 }));
        assert_eq!(conduct.shadow.as_ref().unwrap().share, Share::new(100_000));
        assert_eq!(conduct.retries.unwrap().longest_pause(2), Duration::from_millis(200));
        assert_eq!(conduct.timeouts.per_try, Some(Span::from_ms(5_000)));
        assert_eq!(conduct.when_all_rest, Some(WhenAllRest::Refuse));
    }

    #[test]
    fn the_older_word_for_the_cheapest_still_counts() {
        let config = parse("  m: {targets: [up/a, up/b], strategy: cheapest}\n").unwrap();
        assert_eq!(config.models["m"].strategy, Strategy::Cost);
    }

    #[test]
    fn aliases_that_lead_in_a_circle_are_refused_with_the_way_round() {
        let error = parse("  a: {targets: [up/x, b]}\n  b: {targets: [c]}\n  c: {targets: [a]}\n").unwrap_err();
        assert_eq!((error.line, error.column), (4, 23));
        assert!(error.message.contains("`a` → `b` → `c` → `a`"), "{error}");
        assert!(parse("  a: {targets: [a]}\n").unwrap_err().message.contains("leads back to itself"));
        assert!(parse("  a: {targets: [b, c]}\n  b: {targets: [c]}\n  c: {targets: [up/x]}\n").is_ok());
    }

    #[test]
    fn what_does_not_fit_together_is_refused_with_its_place() {
        let cases = [
            ("  m: {targets: [up/a, {target: up/b, weight: 2}]}\n", "has weights"),
            ("  m: {targets: [up/a, up/b], strategy: single}\n", "has 2 targets"),
            ("  m: {targets: [up/a], strategy: quality}\n", "no `floor`"),
            ("  m: {targets: []}\n", "at least one as `PROVIDER/MODEL`"),
            ("  m: {targets: [up/a], floor: 0.5}\n", "`strategy: quality` alone"),
            ("  m: {targets: [up/a], hedge: {after: soon}}\n", "`soon` is not when to hedge"),
            ("  m: {targets: [up/a], shadow: {to: dwon/b, share: 0.1}}\n", "`dwon`, which is not configured"),
            ("  m: {targets: [smal]}\n  small: {targets: [up/a]}\n", "did you mean `small`?"),
            ("  m: {targets: [up/a], strategy: latncy}\n", "did you mean `latency`?"),
        ];
        for (text, message) in cases {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, 4, "{text}{error}");
            assert!(error.message.contains(message), "{text}{error}");
        }
    }
}
