//! Spend, from the log's snapshot and from calls settled since, decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use tollgate_interaction::{Outcome, Usd};
use tollgate_policy::signals::{SignalsSnapshot, month_of};

use crate::harness::{Bench, CHAT, chat, now_us, settings};
use crate::provider::{self, Provider, json};

fn spent(bench: &Bench, dollars: &str, watermark: u64) {
    let now_us = now_us();
    bench.signals.store(Arc::new(SignalsSnapshot {
        id: format!("sig-{watermark}"),
        taken_at_us: now_us,
        month: month_of(now_us),
        team_spend: BTreeMap::from([("kyc".to_owned(), dollars.parse().unwrap())]),
        watermarks: BTreeMap::from([(bench.position.clone(), watermark)]),
        targets: BTreeMap::new(),
    }));
}

#[tokio::test]
async fn at_80_percent_the_cheaper_target_goes_first_and_at_100_only_critical_calls_go_at_all() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let bench = Bench::start(settings(up.address)).await;
    spent(&bench, "79.99", 0);
    let answer = bench.post(CHAT, &chat("assistant")).await;
    assert_eq!(answer.header("x-tollgate-model"), "large");

    spent(&bench, "80.00", 0);
    let answer = bench.post(CHAT, &chat("assistant")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-model")), (200, "small"));
    let record = bench.row(&answer).record;
    assert_eq!(record.signals_id.as_deref(), Some("sig-0"));
    assert!(record.decision_reasons.iter().any(|reason| reason.rule == "team-month" && reason.effect == "prefer"));

    spent(&bench, "100.00", 0);
    let answer = bench.post(CHAT, &chat("assistant")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (429, &"budget_exceeded".into()));
    assert_eq!(answer.header("x-should-retry"), "false");
    let row = bench.row(&answer);
    assert_eq!((row.record.outcome, row.record.decision.as_str(), row.was_opened), (Outcome::Denied, "deny", false));
    assert!(row.record.decision_reasons.iter().any(|reason| reason.rule == "team-month" && reason.effect == "deny"));

    let mut request = bench.request(CHAT, chat("assistant"));
    request.headers_mut().insert("x-tollgate-metadata", r#"{"priority":"critical"}"#.parse().unwrap());
    assert_eq!(bench.send(request).await.status, 200);
}

#[tokio::test]
async fn what_was_settled_since_the_snapshot_counts_until_a_snapshot_holds_it() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let bench = Bench::start(settings(up.address)).await;
    spent(&bench, "10.00", 0);
    let before = bench.gateway.spend("kyc").unwrap().month_to_date;
    let answer = bench.post(CHAT, &chat("up/small")).await;
    let cost = bench.row(&answer).record.cost_usd.unwrap();
    assert!(cost > Usd::ZERO);
    assert_eq!(bench.gateway.spend("kyc").unwrap().month_to_date, before + cost);
    // The call was two events, the second of which settled it.
    let counted = before + cost;
    spent(&bench, &counted.to_string(), 2);
    assert_eq!(bench.gateway.spend("kyc").unwrap().month_to_date, counted);
}

#[tokio::test]
async fn a_refused_call_gives_its_reservation_back() {
    let bench = Bench::start(settings(([127, 0, 0, 1], 1).into())).await;
    spent(&bench, "10.00", 0);
    assert_eq!(bench.post(CHAT, &chat("gone/small")).await.status, 502);
    let unsupported = r#"{"model":"claude/small","messages":[{"role":"user","content":"hi"}],"logprobs":true}"#;
    assert_eq!(bench.post(CHAT, unsupported).await.status, 400);
    assert_eq!(bench.gateway.spend("kyc").unwrap().month_to_date, Usd::from_dollars(10));
}
