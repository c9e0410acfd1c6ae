//! A made-up state of routing with every kind of health, a long alias and a target that nobody serves.

use tollgate_interaction::{Share, Usd};
use tollgate_policy::route::{
    ArmLook, CircuitState, ExperimentLook, ModelsSnapshot, PlacesLook, RestReason, RouteLook, Strategy, TargetHealth,
    TargetLook, WhenLook,
};

use super::NOW_US;

fn target(name: &str, resting: Option<(RestReason, i64)>, seed: u64) -> TargetLook {
    let (provider, model) = name.split_once('/').unwrap_or(("", name));
    let until_us = resting.map(|(_, seconds)| NOW_US + seconds * 1_000_000);
    let circuit = match resting {
        Some((_, seconds)) if seconds <= 0 => CircuitState::HalfOpen,
        Some(_) => CircuitState::Open,
        None => CircuitState::Closed,
    };
    TargetLook {
        provider: provider.to_owned(),
        model: model.to_owned(),
        weight: 1,
        health: TargetHealth {
            circuit,
            resting_because: resting.map(|(why, _)| why),
            resting_until_us: until_us,
            in_flight: u32::try_from(seed % 23).unwrap_or(0),
            window_calls: 40,
            window_errors: 2,
            latency_us: Some(seed * 1_000),
        },
        calls: seed * 31,
        errors: if resting.is_some() { seed * 5 } else { seed / 40 },
        p50_ms: Some(seed * 7),
        p95_ms: Some(seed * 31),
        p50_us: Some(seed * seed * 11 + 432),
        p95_us: Some(seed * 31_000),
        input_price: Some(Usd::new(i128::from(seed) * 10_000_000_000)),
        output_price: Some(Usd::new(i128::from(seed) * 40_000_000_000)),
        quality_mean: Some(Share::new(910_000)),
        quality_lower: Some(Share::new(870_000)),
        quality_n: seed * 3,
        region: Some("eu-central-1".to_owned()),
        places: PlacesLook {
            inference: Some(if provider == "local" { "on_prem" } else { "eu-central-1" }.to_owned()),
            operator: (provider == "openai").then(|| "us".to_owned()),
            ..PlacesLook::default()
        },
        context_tokens: Some(200_000),
    }
}

fn route(alias: &str, strategy: Strategy, targets: Vec<TargetLook>) -> RouteLook {
    let (alias, unknown) = (alias.to_owned(), Vec::new());
    RouteLook { alias, rule: None, when: None, strategy, shadow: None, hedge_after: None, unknown, targets }
}

fn experiment(id: &str, alias: &str, targets: &[&str]) -> ExperimentLook {
    let arms = targets.iter().zip(["control", "warmer"]).zip([80, 20]).map(|((target, name), weight)| ArmLook {
        name: name.to_owned(),
        weight,
        target: Some((*target).to_owned()),
        route: None,
    });
    let (id, alias, unit) = (id.to_owned(), alias.to_owned(), "user".to_owned());
    ExperimentLook { id, alias, unit, when: None, arms: arms.collect() }
}

pub(crate) fn routing() -> ModelsSnapshot {
    let sonnet = || target("claude-eu/claude-sonnet-4-5-20250929", None, 91);
    let gpt = || target("openai/gpt-5", Some((RestReason::Throttled, 41)), 120);
    let llama = || target("local/llama-4-maverick", Some((RestReason::Failures, 0)), 37);
    let mini = || target("openai/gpt-5-mini", Some((RestReason::Credentials, 9)), 22);
    let new = TargetLook {
        calls: 0,
        p50_ms: None,
        p95_ms: None,
        p50_us: None,
        p95_us: None,
        input_price: None,
        output_price: None,
        quality_mean: None,
        quality_lower: None,
        quality_n: 0,
        region: None,
        places: PlacesLook::default(),
        context_tokens: None,
        ..target("local/qwen3-next-80b-a3b-instruct", None, 0)
    };
    let gold = RouteLook {
        rule: Some("gold-customers".to_owned()),
        when: Some(WhenLook {
            conditions: vec![
                r#"request.segment == "gold""#.to_owned(),
                "request.estimated_input_tokens < 20000".to_owned(),
            ],
            any: false,
        }),
        unknown: vec!["opnai/gpt-5".to_owned()],
        ..route("assistant", Strategy::Quality, vec![sonnet(), gpt()])
    };
    let split = RouteLook {
        hedge_after: Some("p95".to_owned()),
        shadow: Some(("local/llama-4-maverick".to_owned(), 50_000)),
        targets: vec![TargetLook { weight: 80, ..sonnet() }, TargetLook { weight: 20, ..mini() }],
        ..route("assistant", Strategy::Weighted, Vec::new())
    };
    let chain =
        route("claims-automation-summaries-long-context", Strategy::Fallback, vec![gpt(), llama(), new.clone()]);
    let own = |target: TargetLook| route(&target.name(), Strategy::Fallback, vec![target]);
    ModelsSnapshot {
        at_us: NOW_US,
        signals_age_ms: Some(840),
        signals_id: Some("sig-660c7f1a2b3c4".to_owned()),
        bundle_hash: "ab".repeat(32),
        experiments: vec![experiment("tone", "assistant", &["openai/gpt-5", "claude-eu/claude-sonnet-4-5-20250929"])],
        routes: vec![gold, split, chain, own(sonnet()), own(gpt()), own(mini()), own(llama()), own(new)],
    }
}

/// Nothing but the sandbox, a moment after the start.
pub(crate) fn routing_at_first() -> ModelsSnapshot {
    let sandbox = TargetLook {
        calls: 0,
        p50_ms: None,
        p95_ms: None,
        p50_us: None,
        p95_us: None,
        ..target("sandbox/small", None, 0)
    };
    ModelsSnapshot {
        signals_age_ms: None,
        signals_id: None,
        experiments: Vec::new(),
        routes: vec![route("sandbox/small", Strategy::Fallback, vec![sandbox])],
        ..routing()
    }
}
