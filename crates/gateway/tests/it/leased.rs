//! Three gateways with logs of their own that are lent slices by a fourth, over HTTP: together they keep one cap under five hundred
//! callers, and what a gateway holds that is gone comes back.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tollgate_gateway::{Gateway, GatewaySettings, LeaseError, LeaseOffice, LeaseSettings, OnLedgerDown};
use tollgate_interaction::Usd;
use tollgate_policy::ledger::lease::{LeaseAnswer, LeaseRequest};

use crate::harness::{Answer, Bench, CHAT, settings};
use crate::provider::{self, Provider, Step, json};

const CALL: &str = r#"{"model":"up/small","max_tokens":10,"messages":[{"role":"user","content":"hi"}]}"#;
const GATEWAYS: usize = 3;
const CALLERS: usize = 500;

/// Lends over HTTP, as the console does.
async fn counter(lender: Arc<Gateway>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let lender = Arc::clone(&lender);
            let service = service_fn(move |request: Request<Incoming>| {
                let lender = Arc::clone(&lender);
                async move {
                    let asked = request.into_body().collect().await.unwrap().to_bytes();
                    let asked: LeaseRequest = serde_json::from_slice(&asked).unwrap();
                    let answer = lender.lend(&asked).map_err(|error| error.to_string());
                    let answer = serde_json::to_vec(&answer).unwrap();
                    Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(answer))))
                }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move {
                let _ = connection.await;
            });
        }
    });
    address
}

/// The way there, which can be cut.
#[derive(Debug)]
struct Way {
    to: SocketAddr,
    is_cut: AtomicBool,
}

impl LeaseOffice for Way {
    fn exchange(&self, request: LeaseRequest) -> Pin<Box<dyn Future<Output = Result<LeaseAnswer, LeaseError>> + Send>> {
        let (to, is_cut) = (self.to, self.is_cut.load(Ordering::Relaxed));
        Box::pin(async move {
            if is_cut {
                return Err(LeaseError::Failed("the line is cut".to_owned()));
            }
            let client = Client::builder(TokioExecutor::new()).build_http();
            let body = Full::new(Bytes::from(serde_json::to_vec(&request).unwrap()));
            let request = Request::post(format!("http://{to}/")).body(body).unwrap();
            let answer = client.request(request).await.map_err(|error| LeaseError::Failed(error.to_string()))?;
            let answer = answer.into_body().collect().await.unwrap().to_bytes();
            let answer: Result<LeaseAnswer, String> = serde_json::from_slice(&answer).unwrap();
            answer.map_err(|error| match error == LeaseError::UnknownSession.to_string() {
                true => LeaseError::UnknownSession,
                false => LeaseError::Failed(error),
            })
        })
    }
}

struct World {
    lender: Bench,
    gateways: Vec<Bench>,
    ways: Vec<Arc<Way>>,
}

/// Five hundred callers on a busy machine: nobody is given up on.
fn patient(up: SocketAddr) -> GatewaySettings {
    let mut settings = settings(up);
    settings.timeouts.first_byte = Duration::from_secs(20);
    settings.timeouts.idle_stream = Duration::from_secs(20);
    settings.timeouts.connect = Duration::from_secs(20);
    settings
}

async fn bench(name: &str, settings: GatewaySettings, policy: &str) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let mut log = tollgate_wal::WalSettings::new(dir.path());
    log.writer = Some(name.parse().unwrap());
    let bench = Bench::start_on(settings, dir, log).await;
    bench.put_policy(policy);
    bench.know_nothing_spent();
    bench
}

impl World {
    async fn start(up: &Provider, rest: &str, on_down: OnLedgerDown) -> World {
        let policy = format!(
            "apiVersion: tollgate/v1\nbundle: {{name: caps}}\naccess:\n  - {{id: all, when: 'true', allow: {{}}}}\n{rest}"
        );
        let lender = bench("lender", patient(up.address), &policy).await;
        let to = counter(Arc::clone(&lender.gateway)).await;
        let (mut gateways, mut ways) = (Vec::new(), Vec::new());
        for at in 0..GATEWAYS {
            let way = Arc::new(Way { to, is_cut: AtomicBool::new(false) });
            let leases = LeaseSettings { office: Arc::clone(&way) as _, on_down };
            let settings = GatewaySettings { leases: Some(leases), ..patient(up.address) };
            gateways.push(bench(&format!("gateway-{at}"), settings, &policy).await);
            ways.push(way);
        }
        World { lender, gateways, ways }
    }

    async fn all_at_once(&self, body: &str) -> Vec<u16> {
        let calls = (0..CALLERS).map(|call| self.gateways[call % GATEWAYS].post(CHAT, body));
        futures::future::join_all(calls).await.into_iter().map(|answer| answer.status.as_u16()).collect()
    }

    fn served(&self) -> Vec<usize> {
        self.gateways.iter().map(|bench| bench.rows().iter().filter(|row| row.was_opened).count()).collect()
    }
}

fn count(statuses: &[u16], status: u16) -> usize {
    statuses.iter().filter(|found| **found == status).count()
}

async fn asks_until(bench: &Bench, status: u16, patience: Duration) -> Answer {
    let started = Instant::now();
    loop {
        let answer = bench.post(CHAT, CALL).await;
        if answer.status == status {
            return answer;
        }
        assert!(started.elapsed() < patience, "{} in place of {status}: {}", answer.status, answer.body);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_gateways_keep_one_limit_under_five_hundred_callers_and_use_all_of_it() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let limit = "limits:\n  - {id: cap, scope: {team: '*'}, limit: {calls: 60, per: year}}\n";
    let world = World::start(&up, limit, OnLedgerDown::Deny).await;
    let statuses = world.all_at_once(CALL).await;
    let served = count(&statuses, 200);
    assert!(served <= 60, "{served}");
    assert_eq!(served + count(&statuses, 429) + count(&statuses, 503), CALLERS);
    // What one gateway holds and does not need is given back within two rounds: in the end all sixty were used.
    let mut served = served;
    let started = Instant::now();
    while served < 60 && started.elapsed() < Duration::from_secs(15) {
        for bench in &world.gateways {
            served += usize::from(bench.post(CHAT, CALL).await.status == 200);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(served, 60);
    let each = world.served();
    assert_eq!(each.iter().sum::<usize>(), 60, "{each:?}");
    assert_eq!(up.received().len(), 60, "the provider was called for nobody else");
    for bench in &world.gateways {
        assert_eq!(bench.post(CHAT, CALL).await.status, 429);
    }
    assert_eq!(world.lender.post(CHAT, CALL).await.status, 429, "the lender counts what it lent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_gateways_exceed_a_budget_by_less_than_one_call() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let probe = Bench::start(patient(up.address)).await;
    let answer = probe.post(CHAT, CALL).await;
    let cost = probe.row(&answer).record.cost_usd.unwrap();
    // Room for forty calls and a half.
    let cap = Usd::new(cost.get() * 81 / 2);
    let budget = format!(
        "budgets:\n  - {{id: cap, scope: {{tenant: '*'}}, limit: {{usd: '{cap}', per: year}}, steps: [{{at: 1, deny: enough}}]}}\n"
    );
    let world = World::start(&up, &budget, OnLedgerDown::Deny).await;
    // Calls that are as long as the provider says, so that their estimates hold.
    let honest = CALL.replace("hi", &"four ".repeat(820)).replace("10", "100");
    let statuses = world.all_at_once(&honest).await;
    assert!(count(&statuses, 200) >= 10, "{} were served at once", count(&statuses, 200));
    let spent = |world: &World| -> Usd {
        world.gateways.iter().flat_map(Bench::rows).filter_map(|row| row.record.cost_usd).sum()
    };
    // Those who were turned away while others were in flight, or held more than they needed, may come back.
    let started = Instant::now();
    while spent(&world) < cap && started.elapsed() < Duration::from_secs(15) {
        for bench in &world.gateways {
            while bench.post(CHAT, &honest).await.status == 200 {}
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let spent = spent(&world);
    assert!(spent >= cap && spent < cap + cost, "spent {spent} of {cap}, a call costs {cost}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cap_of_two_calls_at_once_is_kept_by_three_gateways() {
    const LASTS: Duration = Duration::from_millis(30);
    let begun: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let noted = Arc::clone(&begun);
    let up = Provider::start(move |_| {
        noted.lock().push(Instant::now());
        [vec![Step::Wait(LASTS)], json(200, provider::CHAT)].concat()
    })
    .await;
    let limit = "limits:\n  - {id: at-once, scope: {team: '*'}, limit: {concurrency: 2}}\n";
    let world = World::start(&up, limit, OnLedgerDown::Deny).await;
    let statuses = world.all_at_once(CALL).await;
    let begun = begun.lock().clone();
    let overlaps = begun.windows(3).filter(|three| three[2] - three[0] < LASTS).count();
    assert!(begun.len() >= 2 && overlaps == 0, "{overlaps} times three calls were with the provider at once");
    assert!(count(&statuses, 429) > 0, "nobody had to wait");
    // And it can be used again.
    asks_until(&world.gateways[0], 200, Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_cut_off_spends_what_is_left_and_says_so_and_then_turns_calls_away() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let limit = "limits:\n  - {id: cap, scope: {team: '*'}, limit: {calls: 80, per: year}}\n";
    let world = World::start(&up, limit, OnLedgerDown::Deny).await;
    let first = &world.gateways[0];
    // Everybody is known, so that a slice is an eighth.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut own = 0;
    for _ in 0..5 {
        assert_eq!(first.post(CHAT, CALL).await.status, 200);
        own += 1;
    }
    world.ways[0].is_cut.store(true, Ordering::Relaxed);
    let denied = loop {
        let answer = first.post(CHAT, CALL).await;
        if answer.status != 200 {
            break answer;
        }
        own += 1;
        assert!(own <= 10, "more than its slice");
        tokio::time::sleep(Duration::from_millis(400)).await;
    };
    assert_eq!((denied.status.as_u16(), &denied.json()["error"]["code"]), (503, &"ledger_unavailable".into()));
    assert!(first.gateway.ledger_trouble().unwrap().0.contains("the line is cut"));
    let said = |row: &crate::harness::Row| {
        let mut reasons = row.record.decision_reasons.iter();
        reasons
            .any(|reason| reason.effect == "allow" && reason.detail.contains("what is left of this gateway's slices"))
    };
    assert!(first.rows().iter().any(said), "calls that went on without the lender say so");
    // What it holds comes back to the others after the term; what it spent unheard, at most its slice, is the overshoot.
    let mut others = 0;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(15) {
        while world.gateways[1].post(CHAT, CALL).await.status == 200 {
            others += 1;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(others + own <= 80 + 10 && others + own >= 80, "{others} and {own}");
    // It is heard again: everything it spent is known, and nobody is let through any more.
    world.ways[0].is_cut.store(false, Ordering::Relaxed);
    asks_until(first, 429, Duration::from_secs(10)).await;
    assert_eq!(first.gateway.ledger_trouble(), None);
    assert_eq!(world.gateways[2].post(CHAT, CALL).await.status, 429);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_on_its_own_goes_by_its_own_books_if_the_operator_wants_that() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let limit = "limits:\n  - {id: cap, scope: {team: '*'}, limit: {calls: 5, per: year}}\n";
    let world = World::start(&up, limit, OnLedgerDown::Local).await;
    world.ways[0].is_cut.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let answer = world.gateways[0].post(CHAT, CALL).await;
    assert_eq!(answer.status, 200);
    let reasons = &world.gateways[0].row(&answer).record.decision_reasons;
    assert!(reasons.iter().any(|reason| reason.detail.contains("`on_ledger_down: local`")), "{reasons:?}");
    // What it let through on its own is told as soon as it is heard.
    world.ways[0].is_cut.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let calls = (0..6).map(|_| world.gateways[1].post(CHAT, CALL));
    let answers = futures::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lender_that_does_not_know_what_is_lent_decides_nothing_by_budgets() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let limit = "limits:\n  - {id: cap, scope: {team: '*'}, limit: {calls: 5, per: year}}\n";
    let world = World::start(&up, limit, OnLedgerDown::Deny).await;
    world.lender.gateway.await_lease_holders(vec!["somebody/7".to_owned()]);
    let denied = world.lender.post(CHAT, CALL).await;
    assert_eq!((denied.status.as_u16(), &denied.json()["error"]["code"]), (503, &"ledger_unavailable".into()));
    assert!(world.lender.gateway.ledger_trouble().unwrap().0.contains("somebody/7"));
    let denied = asks_until(&world.gateways[0], 503, Duration::from_secs(5)).await;
    assert!(denied.body.contains("cannot be reached"), "{}", denied.body);
    // After the term nobody waits any longer.
    asks_until(&world.gateways[0], 200, Duration::from_secs(16)).await;
    assert_eq!(world.lender.post(CHAT, CALL).await.status, 200);
}
