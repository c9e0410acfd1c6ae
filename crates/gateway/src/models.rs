//! How routing stands, to be looked at: every route with its targets, what they cost, how they are doing and what the log
//! says of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use tollgate_interaction::{Share, Usd};
use tollgate_policy::signals::SignalsSnapshot;

use crate::Gateway;
use crate::health::TargetHealth;
use crate::route::{Resolved, Target};

/// Routing, as of a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelsSnapshot {
    /// When it was looked at. Microseconds since 1970, UTC.
    pub at_us: i64,
    /// Age of the signals in milliseconds; `None` if there never were any.
    pub signals_age_ms: Option<u64>,
    /// Id of the signals snapshot.
    pub signals_id: Option<String>,
    /// Hash of the bundle in force.
    pub bundle_hash: String,
    /// Routes of the bundle first, in its order; then the aliases of the configuration and the models that providers list.
    pub routes: Vec<RouteLook>,
}

/// One way a call can take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteLook {
    /// What callers write as the model.
    pub alias: String,
    /// Route of the bundle, if it is one.
    pub rule: Option<String>,
    /// How its targets are ordered.
    pub strategy: &'static str,
    /// Where a share of its calls is copied to, and the share in millionths.
    pub shadow: Option<(String, u32)>,
    /// When a second attempt is made: `p95` or a time.
    pub hedge_after: Option<String>,
    /// Targets that the bundle names and nobody here serves.
    pub unknown: Vec<String>,
    /// Its targets, in the order they are written.
    pub targets: Vec<TargetLook>,
}

/// One target of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TargetLook {
    /// Provider, as configured.
    pub provider: String,
    /// Its model.
    pub model: String,
    /// Part of the calls that starts here, for a weighted route.
    pub weight: u32,
    /// How it is doing in this process.
    pub health: TargetHealth,
    /// Attempts in the log in the last quarter of an hour.
    pub calls: u64,
    /// Of those, attempts that failed at the target.
    pub errors: u64,
    /// Median latency of them.
    pub p50_ms: Option<u64>,
    /// 95th percentile of it.
    pub p95_ms: Option<u64>,
    /// Dollars per million input tokens.
    pub input_price: Option<Usd>,
    /// Dollars per million output tokens.
    pub output_price: Option<Usd>,
    /// Mean of what its answers were judged, as a share: a score of −1 is nothing and one of 1 is all.
    pub quality_mean: Option<Share>,
    /// Its lower confidence bound, which routing goes by.
    pub quality_lower: Option<Share>,
    /// Feedback it rests on.
    pub quality_n: u64,
    /// Region it is served in.
    pub region: Option<String>,
    /// Tokens it reads at most.
    pub context_tokens: Option<u32>,
}

/// Looks at everything.
pub(crate) fn look(gateway: &Gateway, now_us: i64) -> ModelsSnapshot {
    let signals = gateway.ledger.latest();
    let bundle = Arc::clone(&gateway.control.load().bundle);
    let of_bundle = gateway.routes.of_bundle(&bundle);
    let mut routes: Vec<RouteLook> =
        of_bundle.routes().iter().map(|resolved| RouteLook::of(resolved, None, &signals, now_us)).collect();
    // Bare names of models stand for one that is listed in full.
    let configured: BTreeMap<&String, &Arc<Resolved>> = gateway.routes.configured().collect();
    let (aliases, models): (Vec<_>, Vec<_>) = configured.into_iter().partition(|(_, known)| known.alias.is_some());
    let models = models.into_iter().filter(|(name, _)| name.contains('/'));
    for (name, resolved) in aliases.into_iter().chain(models) {
        routes.push(RouteLook::of(resolved, Some(name), &signals, now_us));
    }
    let has_signals = !signals.id.is_empty();
    let age_ms = u64::try_from(now_us.saturating_sub(signals.taken_at_us) / 1_000).unwrap_or(0);
    ModelsSnapshot {
        at_us: now_us,
        signals_age_ms: has_signals.then_some(age_ms),
        signals_id: has_signals.then(|| signals.id.clone()),
        bundle_hash: bundle.hash.clone(),
        routes,
    }
}

impl RouteLook {
    fn of(resolved: &Resolved, name: Option<&String>, signals: &SignalsSnapshot, now_us: i64) -> RouteLook {
        let alias = resolved.alias.as_ref().or(name);
        let targets = resolved.targets.iter().enumerate();
        RouteLook {
            alias: alias.cloned().unwrap_or_default(),
            rule: resolved.rule.clone(),
            strategy: resolved.conduct.strategy.as_str(),
            shadow: resolved.shadow.as_ref().map(|(target, share)| (target.name.clone(), share.get())),
            hedge_after: resolved.conduct.hedge.map(|hedge| hedge.after.to_string()),
            unknown: resolved.unknown.clone(),
            targets: targets
                .map(|(at, target)| {
                    let weight = resolved.weights.get(at).copied().unwrap_or(1);
                    TargetLook::of(target, weight, signals, now_us)
                })
                .collect(),
        }
    }
}

impl TargetLook {
    fn of(target: &Target, weight: u32, signals: &SignalsSnapshot, now_us: i64) -> TargetLook {
        let seen = signals.targets.get(&target.name);
        let timed = seen.filter(|seen| seen.calls > 0);
        let (input_price, output_price) = target.list_prices();
        TargetLook {
            provider: target.provider.name.clone(),
            model: target.model.clone(),
            weight,
            health: target.health.look(now_us),
            calls: seen.map_or(0, |seen| seen.calls),
            errors: seen.map_or(0, |seen| seen.errors),
            p50_ms: timed.map(|seen| seen.p50_ms),
            p95_ms: timed.map(|seen| seen.p95_ms),
            input_price,
            output_price,
            quality_mean: seen.and_then(|seen| seen.quality_mean),
            quality_lower: seen.and_then(|seen| seen.quality_lower),
            quality_n: seen.map_or(0, |seen| seen.quality_n),
            region: target.region.clone(),
            context_tokens: target.limits().context_tokens,
        }
    }
}
