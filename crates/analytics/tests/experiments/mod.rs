//! Experiments, feedback and back-tests over a real lake with rows in memory beside it.

mod routes;

use std::sync::Arc;
use std::time::Duration;

use tollgate_analytics::Visibility;
use tollgate_analytics::backtest::{Change, Market, Trial};
use tollgate_analytics::report::{Judgements, MetricKind, TimeRange, Verdict, Whereabouts};
use tollgate_flush::hot::HotItem;
use tollgate_interaction::{
    BudgetReading, Candidate, EventId, Feedback, Governance, InteractionId, Reason, Score, Share, Usage, Usd,
};
use tollgate_policy::bundle;
use tollgate_policy::route::{Offer, Way, WhenAllRest};

use crate::support::{MORNING_US, TestLog, call, calls};
use crate::{DAY_US, MINUTE_US, analytics, today};

/// A judgement of call `about`.
fn judged(seq: u64, about: u64, millionths: i32, tenant: &str) -> HotItem {
    let feedback = Feedback {
        feedback_id: format!("fb-{seq}"),
        at_us: MORNING_US + MINUTE_US,
        tenant: tenant.into(),
        interaction_id: call(about).interaction.interaction_id,
        name: "helpful".into(),
        score: Score::new(millionths).unwrap(),
        comment: None,
        source: "gateway".into(),
        given_by: "key-1".into(),
    };
    let id = EventId { writer: "gw".parse().unwrap(), epoch: 1, seq };
    HotItem::Event { id, event: Box::new(Governance::Feedback(feedback)) }
}

/// A judgement of a call that began at a time and is not there.
fn judged_at(seq: u64, began_us: i64) -> HotItem {
    let HotItem::Event { id, mut event } = judged(seq, 1, 0, "acme") else { unreachable!("it is an event") };
    if let Governance::Feedback(feedback) = event.as_mut() {
        feedback.interaction_id = InteractionId::new(began_us as u64 / 1_000, &[9; 10]);
    }
    HotItem::Event { id, event }
}

#[tokio::test]
async fn judgements_of_answers_become_the_quality_of_their_target() {
    let log = TestLog::new().await;
    let analytics = analytics(&log);
    log.settle(calls(1..=40));
    log.commit(1, 40).await;
    log.forget_committed();
    let mut items: Vec<HotItem> = (1..=30).map(|about| judged(100 + about, about, 1_000_000, "acme")).collect();
    // Judged twice, which counts once, and by an organisation whose call it is not.
    items.push(judged(140, 30, 0, "acme"));
    items.push(judged(141, 31, -1_000_000, "other"));
    log.hot.push(items);
    let now_us = MORNING_US + 2 * MINUTE_US;
    let mut quality = None;
    for _ in 0..200 {
        let signals = analytics.signals(now_us).await.unwrap();
        quality = signals.targets.get("sandbox/small").filter(|target| target.quality_n > 0).cloned();
        if quality.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let quality = quality.expect("quality within ten seconds");
    assert_eq!(quality.quality_n, 30);
    // Twenty-nine scores of one and one of a half.
    assert_eq!(quality.quality_mean, Share::from_f64((29.5 / 30.0 + 1.0) / 2.0));
    assert!(quality.quality_lower.unwrap() < quality.quality_mean.unwrap());
    assert!(quality.quality_lower.unwrap() > Share::new(880_000), "{quality:?}");
}

#[tokio::test]
async fn judgements_of_no_call_are_counted() {
    let log = TestLog::new().await;
    let analytics = analytics(&log);
    log.settle(calls(1..=10));
    log.commit(1, 6).await;
    log.forget_committed();
    // Of a call in the lake, of one in memory, of one that is not there, of somebody else's, and of one of a year ago.
    let mut items = vec![
        judged(100, 1, 0, "acme"),
        judged(101, 9, 0, "acme"),
        judged(102, 77, 0, "acme"),
        judged(103, 2, 0, "other"),
    ];
    items.push(judged_at(104, MORNING_US - 365 * DAY_US));
    log.hot.push(items);
    let found = analytics.experiments(today()).await.unwrap().judgements.unwrap();
    let calls_since_us = today().from_us - 30 * DAY_US;
    assert_eq!(found, Judgements { count: 5, of_no_call: 2, not_looked_up: 1, calls_since_us });
    let theirs = analytics.reading().seen_by(Visibility::of_tenant("acme"));
    let found = theirs.experiments(today()).await.unwrap().judgements.unwrap();
    assert_eq!((found.count, found.of_no_call), (4, 1), "of one organisation, its own alone");
    let of_team = analytics.reading().seen_by(Visibility::of_teams([("acme".to_owned(), "red".to_owned())]));
    assert_eq!(of_team.experiments(today()).await.unwrap().judgements, None);
}

#[tokio::test]
async fn a_call_is_here_or_nowhere_unless_another_gateway_may_have_it_still() {
    let log = TestLog::new().await;
    let analytics = analytics(&log);
    log.settle(calls(1..=10));
    log.commit(1, 6).await;
    log.forget_committed();
    let now_us = MORNING_US + MINUTE_US;
    let ask = |seq: u64, tenant: &'static str, own: &'static str| {
        analytics.reading().whereabouts(call(seq).interaction.interaction_id, tenant, own, now_us)
    };
    assert_eq!(ask(1, "acme", "gw").await.unwrap(), Whereabouts::Here, "in the lake");
    assert_eq!(ask(9, "acme", "gw").await.unwrap(), Whereabouts::Here, "in memory");
    assert_eq!(ask(9, "other", "gw").await.unwrap(), Whereabouts::Nowhere, "of somebody else");
    assert_eq!(ask(77, "acme", "gw").await.unwrap(), Whereabouts::Nowhere);
    // For another process, `gw` is a gateway that may have more to hand over than it has by now.
    let outstanding = Whereabouts::Outstanding(["gw".to_owned()].into());
    assert_eq!(ask(77, "acme", "me").await.unwrap(), outstanding);
    // What ended long after that call would have comes after it in that gateway's log.
    let mut later = call(11);
    later.interaction.started_at_us += 3 * 3_600_000_000;
    later.interaction.ended_at_us += 3 * 3_600_000_000;
    log.settle(vec![later]);
    assert_eq!(ask(77, "acme", "me").await.unwrap(), Whereabouts::Nowhere);
}

#[tokio::test]
async fn arms_are_compared_by_users_and_not_by_calls() {
    let log = TestLog::new().await;
    let analytics = analytics(&log);
    let rows = (1..=800_u64).map(|seq| {
        let mut row = call(seq);
        let user = seq / 2;
        row.interaction.experiment = Some("cheaper".into());
        row.interaction.user_ref = Some(format!("user-{user}"));
        let is_treated = user % 2 == 0;
        row.interaction.arm = Some(if is_treated { "treatment" } else { "control" }.into());
        row.interaction.propensity = Some(Share::new(500_000));
        if is_treated {
            row.interaction.cost_usd = Some(Usd::new(700_000_000 + i128::from(seq)));
        }
        row
    });
    log.settle(rows.collect());
    let found = analytics.experiments(today()).await.unwrap();
    assert_eq!(found.experiments.len(), 1);
    let experiment = &found.experiments[0];
    assert_eq!((experiment.calls, experiment.control.as_str(), experiment.crossed_units), (800, "control", 0));
    assert!(!experiment.sample_ratio.unwrap().is_mismatch, "{:?}", experiment.sample_ratio);
    let treatment = &experiment.arms[1];
    assert_eq!(treatment.expected_share, Some(0.5));
    assert!((199..=201).contains(&treatment.units), "{}", treatment.units);
    let cost = treatment.metrics.iter().find(|metric| metric.kind == MetricKind::CostUsd).unwrap();
    assert_eq!(cost.verdict, Verdict::Better, "{cost:?}");
    let errors = treatment.metrics.iter().find(|metric| metric.kind == MetricKind::ErrorRate).unwrap();
    assert_eq!(errors.verdict, Verdict::NoDifference, "{errors:?}");
}

/// Everything costs a tenth of a cent, and nothing is anywhere.
struct Flat;

impl Market for Flat {
    fn cost(&self, _: &str, _: &str, _: &Usage, _: i64) -> Option<Usd> {
        Some(Usd::new(1_000_000_000))
    }
    fn offer(&self, _: &str, _: &str) -> Option<Arc<dyn Offer>> {
        None
    }
    fn stands_for(&self, _: &str) -> Option<Way<Arc<dyn Offer>>> {
        None
    }
    fn when_all_rest(&self) -> WhenAllRest {
        WhenAllRest::Try
    }
}

const BUNDLE: &str = r#"
apiVersion: tollgate/v1
bundle: {name: tried, version: "1"}
access:
  - {id: known-keys, when: "true", allow: {}}
budgets:
  - id: month-per-team
    scope: {team: "*"}
    limit: {usd: "0.03", per: month}
    steps:
      - {at: 1.00, deny_unless: 'request.priority == "critical"'}
"#;

fn trial(yaml: &str, range: TimeRange) -> Trial {
    Trial {
        bundle: Arc::new(bundle::load(yaml).unwrap()),
        range,
        decided_by: None,
        sample: 3,
        guard_sample: 0,
        keys: Arc::default(),
        market: Arc::new(Flat),
    }
}

#[tokio::test]
async fn a_bundle_decides_the_calls_of_the_past_by_what_was_known_then() {
    let log = TestLog::new().await;
    let analytics = analytics(&log);
    let hash = bundle::load(BUNDLE).unwrap().hash;
    let rows = (1..=40_u64).map(|seq| {
        let mut row = call(seq);
        let record = &mut row.interaction;
        // What the team of each second call had spent before it: 0.0015 USD for each.
        let spent = Usd::new(1_500_000_000 * i128::from((seq - 1) / 2));
        record.policy_bundle_hash = Some(hash.clone());
        record.decision_reasons = vec![Reason {
            rule: "known-keys".into(),
            effect: "allow".into(),
            detail: "access rule `known-keys` allows the call".into(),
        }];
        record.candidates =
            vec![Candidate { provider: "sandbox".into(), model: "small".into(), rejected_because: None }];
        record.decided_at_us = Some(record.started_at_us + 40);
        record.budget_readings = vec![BudgetReading {
            budget: "month-per-team".into(),
            scope: format!("team={}", record.team),
            spent_usd: spent,
            reserved_usd: Usd::ZERO,
            age_s: Some(1),
        }];
        row
    });
    log.settle(rows.collect());
    log.commit(1, 25).await;
    log.forget_committed();
    let reading = analytics.reading();
    let own = reading.backtest(trial(BUNDLE, today())).await.unwrap();
    assert!(own.is_exact);
    assert_eq!((own.replayed, own.own, own.own_agreed), (40, 40, 40), "{own:#?}");
    assert_eq!(own.sample, []);

    // Half the budget: what was spent up to 0.015 USD is let through, ten calls of each team.
    let tighter = BUNDLE.replace("0.03", "0.015");
    let other = reading.backtest(trial(&tighter, today())).await.unwrap();
    assert!(!other.is_exact);
    assert_eq!(other.calls(Change::Denied), 20, "{other:#?}");
    assert_eq!(other.denials.iter().map(|denial| (denial.before, denial.after)).collect::<Vec<_>>(), [(0, 20)]);
    assert_eq!(other.sample.len(), 3);
    assert_eq!(other.cost.would_usd, Usd::new(20 * 1_500_000_000), "who is denied spends nothing");
    // A budget that the log knows nothing of is counted from the log itself.
    let renamed = tighter.replace("month-per-team", "another-budget");
    let counted = reading.backtest(trial(&renamed, today())).await.unwrap();
    assert_eq!(counted.calls(Change::Denied), 20, "{counted:#?}");
    // Nothing of another day.
    let range = TimeRange::new(today().to_us, today().to_us + DAY_US);
    assert_eq!(reading.backtest(trial(BUNDLE, range)).await.unwrap().replayed, 0);
}
