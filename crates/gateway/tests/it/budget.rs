//! Spend, from the log's snapshot and from calls settled since, decides.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tollgate_interaction::{Outcome, Usd};
use tollgate_policy::ledger::{Amounts, Sums, Tally, Unit};
use tollgate_policy::scope::Dimension;
use tollgate_policy::signals::SignalsSnapshot;
use tollgate_policy::window::{Period, Window};

use crate::harness::{Bench, CHAT, chat, now_us, settings};
use crate::provider::{self, Provider, json};

/// What a budget of the default bundle counts: by team, in the calendar month.
fn team_month() -> Tally {
    let month = Window::Calendar { per: Period::Month, zone: chrono_tz::Tz::UTC };
    Tally::new(vec![Dimension::Team], month)
}

/// Lets the log say that the team has spent so much this month.
fn spent(bench: &Bench, dollars: &str, watermark: u64) {
    let (now_us, tally) = (now_us(), team_month());
    let bucket_us = tally.window.bucket(now_us).from_us;
    let amounts = Amounts { usd: dollars.parse().unwrap(), ..Amounts::ZERO };
    let accounts = HashMap::from([("kyc".to_owned(), vec![(bucket_us, amounts)])]);
    bench.signals.store(Arc::new(SignalsSnapshot {
        id: format!("sig-{watermark}"),
        taken_at_us: now_us,
        watermarks: BTreeMap::from([(bench.position.clone(), watermark)]),
        budgets: Sums { tallies: HashMap::from([(tally.id, accounts)]) },
        ..SignalsSnapshot::default()
    }));
}

fn known_spend(bench: &Bench) -> Usd {
    let reading = bench.gateway.reading(&team_month(), "kyc");
    assert!(reading.age_s.is_some());
    Usd::new(reading.used(Unit::Usd))
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
    let before = known_spend(&bench);
    let answer = bench.post(CHAT, &chat("up/small")).await;
    let cost = bench.row(&answer).record.cost_usd.unwrap();
    assert!(cost > Usd::ZERO);
    assert_eq!(known_spend(&bench), before + cost);
    // The call was two events, the second of which settled it.
    let counted = before + cost;
    spent(&bench, &counted.to_string(), 2);
    assert_eq!(known_spend(&bench), counted);
}

#[tokio::test]
async fn a_refused_call_gives_its_reservation_back() {
    let bench = Bench::start(settings(([127, 0, 0, 1], 1).into())).await;
    spent(&bench, "10.00", 0);
    assert_eq!(bench.post(CHAT, &chat("gone/small")).await.status, 502);
    let unsupported = r#"{"model":"claude/small","messages":[{"role":"user","content":"hi"}],"logprobs":true}"#;
    assert_eq!(bench.post(CHAT, unsupported).await.status, 400);
    assert_eq!(known_spend(&bench), Usd::from_dollars(10));
}
