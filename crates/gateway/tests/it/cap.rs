//! Hundreds of callers at once against a real gateway: no cap is exceeded by more than `docs/budgets.md` says, and nothing
//! stays held back once all have ended, whichever way they ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tollgate_gateway::GatewaySettings;
use tollgate_interaction::{Outcome, Usd};
use tollgate_policy::ledger::{Amounts, Tally, Unit};
use tollgate_policy::scope::Dimension;
use tollgate_policy::window::{Period, Window};

use crate::harness::{Bench, CHAT, settings};
use crate::provider::{self, Provider, Step, json};

const CLIENTS: usize = 500;

fn bundle(rest: &str) -> String {
    format!(
        "apiVersion: tollgate/v1\nbundle: {{name: caps}}\naccess:\n  - {{id: all, when: 'true', allow: {{}}}}\n{rest}"
    )
}

/// A call whose estimate is known: a small input and ten tokens of output.
const CALL: &str = r#"{"model":"up/small","max_tokens":10,"messages":[{"role":"user","content":"hi"}]}"#;

/// A call that is as long as the provider says: a thousand tokens in and a hundred out, so that its estimate holds.
fn honest() -> String {
    CALL.replace("hi", &"four ".repeat(820)).replace("10", "100")
}

/// Five hundred callers on a busy machine: nobody is given up on.
fn patient(up: std::net::SocketAddr) -> GatewaySettings {
    let mut settings = settings(up);
    settings.timeouts.first_byte = Duration::from_secs(20);
    settings.timeouts.idle_stream = Duration::from_secs(20);
    settings.timeouts.connect = Duration::from_secs(20);
    settings
}

async fn all_at_once(bench: &Bench, clients: usize) -> Vec<u16> {
    let calls = (0..clients).map(|_| bench.post(CHAT, CALL));
    futures::future::join_all(calls).await.into_iter().map(|answer| answer.status.as_u16()).collect()
}

fn tally(dimension: Dimension, per: Period) -> Tally {
    Tally::new(vec![dimension], Window::Calendar { per, zone: chrono_tz::Tz::UTC })
}

/// What one call costs, and how much of its estimate.
async fn cost_of_one(bench: &Bench) -> Usd {
    let answer = bench.post(CHAT, CALL).await;
    bench.row(&answer).record.cost_usd.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_callers_at_once_stay_under_a_limit_of_calls_exactly() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let limit = bundle("limits:\n  - {id: cap, scope: {team: '*'}, limit: {calls: 40, per: year}}\n");
    let bench = Bench::start_with(patient(up.address), &limit).await;
    let statuses = all_at_once(&bench, CLIENTS).await;
    let served = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!((served, statuses.iter().filter(|status| **status == 429).count()), (40, CLIENTS - 40));
    assert_eq!(up.received().len(), 40, "the provider was called for nobody else");
    let reading = bench.gateway.reading(&tally(Dimension::Team, Period::Year), "kyc");
    assert_eq!((reading.settled.calls, reading.reserved), (40, Amounts::ZERO));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_callers_at_once_exceed_a_budget_by_less_than_one_call() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let probe = Bench::start(patient(up.address)).await;
    let cost = cost_of_one(&probe).await;
    // Room for twenty calls and a half.
    let cap = Usd::new(cost.get() * 41 / 2);
    let budget = bundle(&format!(
        "budgets:\n  - {{id: cap, scope: {{tenant: '*'}}, limit: {{usd: '{cap}', per: year}}, steps: [{{at: 1, deny: enough}}]}}\n"
    ));
    let bench = Bench::start_with(patient(up.address), &budget).await;
    let honest = honest();
    let calls = (0..CLIENTS).map(|_| bench.post(CHAT, &honest));
    let statuses = futures::future::join_all(calls).await.into_iter().map(|answer| answer.status.as_u16());
    // Estimates are above what is spent: callers who were turned away while others were in flight may come back.
    let mut served = statuses.filter(|status| *status == 200).count();
    assert!(served >= 10, "{served} were served at once");
    while bench.post(CHAT, &honest).await.status == 200 {
        served += 1;
    }
    let spent: Usd = bench.rows().iter().filter_map(|row| row.record.cost_usd).sum();
    assert_eq!(spent, Usd::new(cost.get() * served as i128));
    assert!(spent >= cap && spent < cap + cost, "spent {spent} of {cap}, a call costs {cost}");
    let reading = bench.gateway.reading(&tally(Dimension::Tenant, Period::Year), "acme");
    assert_eq!((Usd::new(reading.used(Unit::Usd)), reading.reserved), (spent, Amounts::ZERO));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_at_once_are_never_more_than_the_limit_and_each_may_come_back() {
    const LASTS: Duration = Duration::from_millis(30);
    let begun: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let noted = Arc::clone(&begun);
    let up = Provider::start(move |_| {
        noted.lock().push(Instant::now());
        vec![vec![Step::Wait(LASTS)], json(200, provider::CHAT)].concat()
    })
    .await;
    let limit = bundle("limits:\n  - {id: at-once, scope: {key: '*'}, limit: {concurrency: 5}}\n");
    let bench = Bench::start_with(patient(up.address), &limit).await;
    let statuses = all_at_once(&bench, CLIENTS).await;
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
    let begun = begun.lock().clone();
    // The sixth cannot have begun before the first had ended.
    let overlaps = begun.windows(6).filter(|six| six[5] - six[0] < LASTS).count();
    assert!(begun.len() >= 5 && overlaps == 0, "{overlaps} times six calls were with the provider at once");
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!(refused > 0, "nobody had to wait");
    assert_eq!(bench.post(CHAT, CALL).await.status, 200, "everything was given back");
}

#[tokio::test]
async fn a_rate_limit_says_when_to_come_back_in_the_callers_dialect() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let limit = bundle("limits:\n  - {id: rph, scope: {key: '*'}, limit: {calls: 1, per: year}}\n");
    let bench = Bench::start_with(patient(up.address), &limit).await;
    assert_eq!(bench.post(CHAT, CALL).await.status, 200);
    let openai = bench.post(CHAT, CALL).await;
    assert_eq!((openai.status.as_u16(), &openai.json()["error"]["code"]), (429, &"rate_limited".into()));
    assert!(openai.header("retry-after").parse::<u64>().unwrap() > 0);
    assert!(!openai.headers.contains_key("x-should-retry"), "a client may try again");
    let anthropic = r#"{"model":"claude/small","max_tokens":10,"messages":[{"role":"user","content":"hi"}]}"#;
    let anthropic = bench.post("/v1/messages", anthropic).await;
    assert_eq!((anthropic.status.as_u16(), &anthropic.json()["error"]["type"]), (429, &"rate_limit_error".into()));
    let row = bench.row(&anthropic).record;
    assert_eq!((row.outcome, row.error_type.as_deref()), (Outcome::Denied, Some("rate_limited")));
    let reading = &row.limit_readings[0];
    assert_eq!((reading.limit.as_str(), reading.scope.as_str(), reading.used), ("rph", "key=key-1", 1));
}

/// Success, refusal by the provider, a broken stream, a timeout, a caller who hangs up: what was held back is given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stays_held_back_whichever_way_a_call_ends() {
    let up = Provider::start(|request| match request.body.as_str() {
        body if body.contains("refuse") => json(400, r#"{"error":{"message":"no","type":"invalid_request_error"}}"#),
        body if body.contains("break") => vec![Step::Reset],
        body if body.contains("hang") => vec![Step::Hang],
        _ => json(200, provider::CHAT),
    })
    .await;
    let budget = bundle(
        "budgets:\n  - {id: cap, scope: {team: '*'}, limit: {usd: 100, per: year}, steps: [{at: 1, deny: enough}]}\n",
    );
    let bench = Bench::start_with(settings(up.address), &budget).await;
    let call = |word: &str| CALL.replace("hi", word);
    let bodies: Vec<String> = ["fine", "refuse", "break", "hang"].iter().map(|word| call(word)).collect();
    let calls = bodies.iter().map(|body| bench.post(CHAT, body));
    let statuses: Vec<u16> =
        futures::future::join_all(calls).await.into_iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses, [200, 400, 502, 504]);
    // One hangs up before the answer.
    {
        use tokio::io::AsyncWriteExt as _;
        let mut stream = bench.raw().await;
        stream.write_all(Bench::raw_request(CHAT, &call("hang")).as_bytes()).await.unwrap();
        while up.received().iter().filter(|request| request.body.contains("hang")).count() < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    bench.last_of(5).await;
    // The row is in the log an instant before the books hear of it.
    let started = Instant::now();
    let reading = loop {
        let reading = bench.gateway.reading(&tally(Dimension::Team, Period::Year), "kyc");
        if reading.reserved == Amounts::ZERO || started.elapsed() > Duration::from_secs(5) {
            break reading;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    assert_eq!(reading.reserved, Amounts::ZERO);
    let logged: Usd = bench.rows().iter().filter_map(|row| row.record.cost_usd).sum();
    assert_eq!((reading.settled.usd, reading.settled.calls), (logged, 5), "live figures are the log's");
}
