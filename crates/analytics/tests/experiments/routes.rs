//! Back-tests of routes: what a row tells is gone by, and what it does not tell is not made up.

use std::sync::Arc;

use tollgate_analytics::backtest::{BacktestReport, Change, Market, Trial, Unlogged};
use tollgate_interaction::{Candidate, Dialect, Operation, Reason, Share, TargetReading, Usage, Usd};
use tollgate_policy::bundle;
use tollgate_policy::residency::{Places, TargetFacts};
use tollgate_policy::route::{Conduct, Layout, Offer, Strategy, Way, WhenAllRest};

use crate::support::{TestLog, call};
use crate::{analytics, today};

/// A model of providers `a` to `d`; `d` has no operation.
#[derive(Debug)]
struct Made {
    name: String,
    places: Places,
}

impl Offer for Made {
    fn name(&self) -> &str {
        &self.name
    }
    fn facts(&self) -> TargetFacts<'_> {
        let (provider, model) = self.name.split_once('/').unwrap();
        TargetFacts { provider, model, tags: &[], places: &self.places, self_hosted: false }
    }
    fn has(&self, _: Dialect, _: Operation) -> bool {
        !self.name.starts_with('d')
    }
    fn lacks<'a>(&self, _: &'a [String]) -> Option<&'a str> {
        None
    }
    fn context_tokens(&self) -> Option<u64> {
        None
    }
    fn list_cost(&self, _: u64, _: u64) -> Option<Usd> {
        Some(Usd::from_dollars(if self.name.starts_with('c') { 1 } else { 2 }))
    }
}

fn made(name: &str) -> Arc<dyn Offer> {
    Arc::new(Made { name: name.to_owned(), places: Places::default() })
}

/// `assistant` is `a/1` and `b/2`, seventy to thirty.
struct Configured;

impl Market for Configured {
    fn cost(&self, provider: &str, _: &str, _: &Usage, _: i64) -> Option<Usd> {
        (provider != "b").then(|| Usd::from_dollars(3))
    }
    fn offer(&self, provider: &str, model: &str) -> Option<Arc<dyn Offer>> {
        Some(made(&format!("{provider}/{model}")))
    }
    fn stands_for(&self, name: &str) -> Option<Way<Arc<dyn Offer>>> {
        let (targets, weights) = match name {
            "assistant" => (vec![made("a/1"), made("b/2")], vec![70, 30]),
            _ if name.contains('/') => (vec![made(name)], vec![1]),
            _ => return None,
        };
        let conduct = Conduct { strategy: Strategy::Weighted, ..Conduct::default() };
        Some(Way { layout: Layout { targets, weights, unknown: Vec::new() }, conduct })
    }
    fn when_all_rest(&self) -> WhenAllRest {
        WhenAllRest::Try
    }
}

const HEAD: &str = "apiVersion: tollgate/v1\nbundle: {name: tried}\naccess: [{id: all, when: 'true', allow: {}}]\n";

/// Forty calls to `assistant`, which `a/1` took: the configuration's, by a number that was drawn.
async fn calls_of(log: &TestLog, said: &str) {
    let target = |provider: &str, model: &str, weight, p50_ms| TargetReading {
        provider: provider.into(),
        model: model.into(),
        health: "ready".into(),
        weight,
        stands_by: false,
        load_us: None,
        p50_ms: Some(p50_ms),
        estimate_usd: None,
        quality_lower: None,
    };
    let candidate = |provider: &str, model: &str| Candidate {
        provider: provider.into(),
        model: model.into(),
        rejected_because: None,
    };
    let rows = (1..=40_u64).map(|seq| {
        let mut row = call(seq);
        let record = &mut row.interaction;
        record.model_requested = "assistant".into();
        record.policy_bundle_hash = Some("cd".repeat(32));
        record.provider = Some("a".into());
        record.decision_reasons = vec![
            Reason { rule: "all".into(), effect: "allow".into(), detail: "access rule `all` allows the call".into() },
            Reason { rule: "assistant".into(), effect: "route".into(), detail: said.into() },
        ];
        record.candidates = vec![candidate("a", "1"), candidate("b", "2")];
        record.target_readings = vec![target("a", "1", 70, 40), target("b", "2", 30, 20)];
        record.route_draw = Some(Share::new(400_000));
        record.estimated_input_tokens = Some(10);
        record.estimated_output_tokens = Some(10);
        row
    });
    log.settle(rows.collect());
}

async fn tried(log: &TestLog, routes: &str) -> BacktestReport {
    let trial = Trial {
        bundle: Arc::new(bundle::load(&format!("{HEAD}{routes}")).unwrap()),
        range: today(),
        decided_by: None,
        sample: 3,
        guard_sample: 0,
        keys: Arc::default(),
        market: Arc::new(Configured),
    };
    analytics(log).reading().backtest(trial).await.unwrap()
}

fn moved(report: &BacktestReport) -> Vec<(&str, u64)> {
    report.routes.iter().map(|route| (route.to.as_str(), route.calls)).collect()
}

const DRAWN: &str = "`a/1` first of 2 by `weighted`, 0.4 drawn";

#[tokio::test]
async fn routes_go_by_what_rows_tell_and_say_where_they_tell_too_little() {
    let log = TestLog::new().await;
    calls_of(&log, DRAWN).await;
    // No route: as the configuration did, by the very number.
    let same = tried(&log, "").await;
    assert_eq!((moved(&same), same.calls(Change::Same)), (vec![], 40), "{same:#?}");
    assert_eq!((same.routing.planned, same.routing.has_drifted, same.routing.drawn_anew), (0, 0, 0));

    let route =
        |how: &str, targets: &str| format!("routes: [{{id: r, alias: assistant, {how}targets: [{targets}]}}]\n");
    // A target of which no row speaks: it is taken to be ready, at a price that is an estimate.
    let new = tried(&log, &route("", "c/3, a/1")).await;
    assert_eq!((moved(&new), new.routing.assumed_ready, new.cost.estimated), (vec![("c/3", 40)], 40, 40), "{new:#?}");
    assert_eq!(new.cost.would_usd, Usd::from_dollars(120));
    assert_eq!(new.latency.unknown, 40, "it answered nobody");
    let unpriced = tried(&log, &route("", "b/2")).await;
    assert_eq!((moved(&unpriced), unpriced.cost.unknown), (vec![("b/2", 40)], 40));
    // By cost, where it was not looked up then.
    let cost = tried(&log, &route("strategy: cost, ", "a/1, c/3")).await;
    assert_eq!((moved(&cost), cost.routing.priced_now), (vec![("c/3", 40)], 40));
    // By the latency of then: both known, one not, and none of those it could have stayed at.
    let fast = tried(&log, &route("strategy: fastest, ", "a/1, b/2")).await;
    assert_eq!((moved(&fast), fast.routing.kept.len()), (vec![("b/2", 40)], 0));
    let kept = tried(&log, &route("strategy: fastest, ", "a/1, c/3")).await;
    assert_eq!((moved(&kept), kept.routing.kept.as_slice()), (vec![], &[(Unlogged::Latency, 40)][..]), "{kept:#?}");
    let unknown = tried(&log, &route("strategy: latency, ", "b/2, c/3")).await;
    assert_eq!((moved(&unknown), unknown.routing.unknown.as_slice()), (vec![], &[(Unlogged::LiveHealth, 40)][..]));
    assert_eq!((unknown.cost.unknown, unknown.latency.unknown), (40, 40), "{unknown:#?}");
    // The same numbers fall on other weights.
    let weighed =
        tried(&log, &route("strategy: weighted, ", "{target: a/1, weight: 39}, {target: c/3, weight: 61}")).await;
    assert_eq!((moved(&weighed), weighed.routing.drawn_anew), (vec![("c/3", 40)], 0));
}

#[tokio::test]
async fn where_no_target_could_serve_a_call_it_would_have_been_refused() {
    let log = TestLog::new().await;
    calls_of(&log, DRAWN).await;
    let nobody = tried(&log, "routes: [{id: r, alias: assistant, targets: [d/4, nowhere]}]\n").await;
    assert_eq!(nobody.calls(Change::Denied), 40, "{nobody:#?}");
    assert_eq!(nobody.denials[0].rule, "builtin/no-target");
    assert_eq!(nobody.routing.unknown_targets, ["nowhere"]);
    assert_eq!(nobody.sample[0].why, "`d/4`: operation_not_supported, `nowhere`: unknown_target");
    let barred = "residency: [{id: stay, when: 'target.provider == \"a\"', exclude: 'not there'}]\n";
    let elsewhere = tried(&log, barred).await;
    assert_eq!((moved(&elsewhere), elsewhere.violations()), (vec![("b/2", 40)], 40), "{elsewhere:#?}");
}

#[tokio::test]
async fn a_choice_that_was_made_otherwise_is_not_made_again_and_chance_is_made_up_only_where_it_had_no_part() {
    let log = TestLog::new().await;
    // The configuration went by turns then.
    calls_of(&log, "`a/1` first of 2 by `round_robin`, 0.4 drawn").await;
    let same = tried(&log, "").await;
    assert_eq!((moved(&same), same.routing.has_drifted), (vec![], 40), "{same:#?}");
    // A turn is no number for weights.
    let weights = "{target: b/2, weight: 50}, {target: a/1, weight: 50}";
    let route = format!("routes: [{{id: r, alias: assistant, strategy: weighted, targets: [{weights}]}}]\n");
    let drawn = tried(&log, &route).await;
    let [(to, calls)] = moved(&drawn)[..] else { panic!("{drawn:#?}") };
    assert_eq!((to, drawn.routing.drawn_anew), ("b/2", 40));
    assert!((8..=32).contains(&calls), "{calls} of 40");
    assert_eq!(tried(&log, &route).await, drawn, "the same again");
}
