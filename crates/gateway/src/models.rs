//! How routing stands, to be looked at: every route with its targets, what they cost, how they are doing and what the log
//! says of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tollgate_policy::route::{CircuitState, ModelsSnapshot, PlacesLook, RouteLook, TargetLook};
use tollgate_policy::signals::SignalsSnapshot;

use crate::Gateway;
use crate::route::{Resolved, Target};

/// Looks at everything.
pub(crate) fn look(gateway: &Gateway, now_us: i64) -> ModelsSnapshot {
    let signals = gateway.ledger.latest();
    let bundle = Arc::clone(&gateway.control.load().bundle);
    let of_bundle = gateway.routes.of_bundle(&bundle);
    let mut routes: Vec<RouteLook> =
        of_bundle.routes().iter().map(|resolved| route(resolved, None, &signals, now_us)).collect();
    // Both are in the order in which the bundle writes them.
    for (look, written) in routes.iter_mut().zip(bundle.routes()) {
        look.when = written.when();
    }
    // Bare names of models stand for one that is listed in full.
    let configured: BTreeMap<&String, &Arc<Resolved>> = gateway.routes.configured().collect();
    let (aliases, models): (Vec<_>, Vec<_>) = configured.into_iter().partition(|(_, known)| known.alias.is_some());
    let models = models.into_iter().filter(|(name, _)| name.contains('/'));
    for (name, resolved) in aliases.into_iter().chain(models) {
        routes.push(route(resolved, Some(name), &signals, now_us));
    }
    for (name, resolved) in gateway.routes.named_by_callers() {
        let look = route(&resolved, Some(&name), &signals, now_us);
        // A name that was asked for and never called, as where a policy refused it, says nothing.
        if look.targets.iter().any(was_called) {
            routes.push(look);
        }
    }
    let has_signals = !signals.id.is_empty();
    let age_ms = u64::try_from(now_us.saturating_sub(signals.taken_at_us) / 1_000).unwrap_or(0);
    ModelsSnapshot {
        at_us: now_us,
        signals_age_ms: has_signals.then_some(age_ms),
        signals_id: has_signals.then(|| signals.id.clone()),
        bundle_hash: bundle.hash.clone(),
        routes,
        experiments: bundle.experiments().iter().map(|experiment| experiment.look(bundle.routes())).collect(),
    }
}

fn was_called(target: &TargetLook) -> bool {
    let health = &target.health;
    let is_known_here = health.in_flight > 0 || health.window_calls > 0 || health.latency_us.is_some();
    target.calls > 0 || is_known_here || health.circuit != CircuitState::Closed || health.resting_because.is_some()
}

fn route(resolved: &Resolved, name: Option<&String>, signals: &SignalsSnapshot, now_us: i64) -> RouteLook {
    let alias = resolved.alias.as_ref().or(name);
    let targets = resolved.targets.iter().enumerate();
    RouteLook {
        alias: alias.cloned().unwrap_or_default(),
        rule: resolved.rule.clone(),
        when: None,
        strategy: resolved.conduct.strategy,
        shadow: resolved.shadow.as_ref().map(|(target, share)| (target.name.clone(), share.get())),
        hedge_after: resolved.conduct.hedge.map(|hedge| hedge.after.to_string()),
        unknown: resolved.unknown.clone(),
        targets: targets
            .map(|(at, target)| {
                let weight = resolved.weights.get(at).copied().unwrap_or(1);
                target_of(target, weight, signals, now_us)
            })
            .collect(),
    }
}

fn target_of(target: &Target, weight: u32, signals: &SignalsSnapshot, now_us: i64) -> TargetLook {
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
        p50_us: timed.and_then(|seen| seen.p50_us),
        p95_us: timed.and_then(|seen| seen.p95_us),
        input_price,
        output_price,
        quality_mean: seen.and_then(|seen| seen.quality_mean),
        quality_lower: seen.and_then(|seen| seen.quality_lower),
        quality_n: seen.map_or(0, |seen| seen.quality_n),
        region: target.region.clone(),
        places: PlacesLook::from(&target.places),
        context_tokens: target.limits().context_tokens,
    }
}
