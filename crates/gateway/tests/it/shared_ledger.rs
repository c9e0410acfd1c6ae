//! Two gateways, two logs, one Redis server: together they keep the caps that each alone would. The server is a real one,
//! started here from Debian's `redis-server` (`cargo xtask test` installs it).

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tollgate_gateway::{GatewaySettings, LedgerSettings, OnLedgerDown, Secret};
use tollgate_interaction::Usd;

use crate::harness::{Bench, CHAT, settings};
use crate::provider::{self, Provider, json};

const CALL: &str = r#"{"model":"up/small","max_tokens":10,"messages":[{"role":"user","content":"hi"}]}"#;

const AUTHORITY: &str = include_str!("tls/authority.pem");

/// A server that ends with this value.
struct Redis {
    port: u16,
    dir: tempfile::TempDir,
    child: Child,
    is_encrypted: bool,
}

impl Redis {
    fn start() -> Redis {
        Redis::start_on(false)
    }

    /// One that speaks TLS alone, with the certificate of the tests.
    fn encrypted() -> Redis {
        Redis::start_on(true)
    }

    fn start_on(is_encrypted: bool) -> Redis {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        let child = Redis::spawn(port, &dir, is_encrypted);
        Redis { port, dir, child, is_encrypted }
    }

    fn spawn(port: u16, dir: &tempfile::TempDir, is_encrypted: bool) -> Child {
        let number = port.to_string();
        let ports =
            if is_encrypted { ["--port", "0", "--tls-port", &number].to_vec() } else { vec!["--port", &number] };
        let mut command = Command::new("redis-server");
        if is_encrypted {
            for (option, name, text) in [
                ("--tls-cert-file", "server.pem", include_str!("tls/server.pem")),
                ("--tls-key-file", "server.key", include_str!("tls/server.key")),
                ("--tls-ca-cert-file", "authority.pem", AUTHORITY),
            ] {
                std::fs::write(dir.path().join(name), text).unwrap();
                command.arg(option).arg(dir.path().join(name));
            }
            command.args(["--tls-auth-clients", "no"]);
        }
        let child = command
            .args(ports)
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("`redis-server` is there; install the Debian package of that name");
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(10), "redis-server does not come up");
            std::thread::sleep(Duration::from_millis(10));
        }
        child
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts again with nothing in it.
    fn resume(&mut self) {
        self.child = Redis::spawn(self.port, &self.dir, self.is_encrypted);
    }

    fn settings(&self, up: std::net::SocketAddr, on_down: OnLedgerDown) -> GatewaySettings {
        let scheme = if self.is_encrypted { "rediss" } else { "redis" };
        let url = Secret::new(format!("{scheme}://127.0.0.1:{}/0", self.port));
        let authorities_pem = self.is_encrypted.then(|| AUTHORITY.to_owned());
        let ledger = LedgerSettings { url, authorities_pem, on_down, prefix: "test".to_owned() };
        GatewaySettings { ledger: Some(ledger), ..settings(up) }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bundle(rest: &str) -> String {
    format!(
        "apiVersion: tollgate/v1\nbundle: {{name: caps}}\naccess:\n  - {{id: all, when: 'true', allow: {{}}}}\n{rest}"
    )
}

/// Two gateways with logs of their own.
async fn pair(redis: &Redis, up: &Provider, policy: &str, on_down: OnLedgerDown) -> [Bench; 2] {
    let start = |name: &'static str| async move {
        let dir = tempfile::tempdir().unwrap();
        let mut log = tollgate_wal::WalSettings::new(dir.path());
        log.writer = Some(name.parse().unwrap());
        let bench = Bench::start_on(redis.settings(up.address, on_down), dir, log).await;
        bench.put_policy(policy);
        bench.know_nothing_spent();
        bench
    };
    [start("one").await, start("two").await]
}

async fn statuses(benches: &[Bench; 2], calls: usize) -> Vec<u16> {
    let calls = (0..calls).map(|call| benches[call % 2].post(CHAT, CALL));
    futures::future::join_all(calls).await.into_iter().map(|answer| answer.status.as_u16()).collect()
}

fn served(statuses: &[u16]) -> usize {
    statuses.iter().filter(|status| **status == 200).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_keep_one_limit_exactly_under_three_hundred_callers() {
    let redis = Redis::start();
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let limit = bundle("limits:\n  - {id: cap, scope: {team: '*'}, limit: {calls: 30, per: year}}\n");
    let benches = pair(&redis, &up, &limit, OnLedgerDown::Deny).await;
    let answers = statuses(&benches, 300).await;
    // On a busy machine the server may be given up on for a while: then some are denied, and none let through.
    let given_up = answers.iter().filter(|status| **status == 503).count();
    assert!(served(&answers) == 30 || (given_up > 0 && served(&answers) < 30), "{answers:?}");
    assert!(answers.iter().all(|status| matches!(status, 200 | 429 | 503)), "{answers:?}");
    let each: Vec<usize> =
        benches.iter().map(|bench| bench.rows().iter().filter(|row| row.was_opened).count()).collect();
    assert_eq!(each.iter().sum::<usize>(), served(&answers));
    assert!(each.iter().all(|calls| *calls > 0), "both served: {each:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_gateway_spends_the_other_knows_at_once() {
    let redis = Redis::start();
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let probe = Bench::start(settings(up.address)).await;
    let answer = probe.post(CHAT, CALL).await;
    let cost = probe.row(&answer).record.cost_usd.unwrap();
    let cap = Usd::new(cost.get() * 7 / 2);
    let budget = bundle(&format!(
        "budgets:\n  - {{id: cap, scope: {{tenant: '*'}}, limit: {{usd: '{cap}', per: year}}, steps: [{{at: 1, deny: enough}}]}}\n"
    ));
    let benches = pair(&redis, &up, &budget, OnLedgerDown::Deny).await;
    for _ in 0..2 {
        assert_eq!(benches[0].post(CHAT, CALL).await.status, 200);
    }
    let third = settles(|| benches[1].post(CHAT, CALL), 200).await;
    let reading = &benches[1].row(&third).record.budget_readings[0];
    assert_eq!((reading.scope.as_str(), reading.age_s), ("tenant=acme", Some(0)));
    assert!(reading.spent_usd >= Usd::new(cost.get() * 2), "{reading:?}");
    assert_eq!(settles(|| benches[1].post(CHAT, CALL), 200).await.status, 200);
    let denied = settles(|| benches[0].post(CHAT, CALL), 429).await;
    assert_eq!(denied.json()["error"]["code"], "budget_exceeded");
}

/// Asks until the answer has this status: the end of a call is carried to the server in the background.
async fn settles<Asked: Future<Output = crate::harness::Answer>>(
    ask: impl Fn() -> Asked,
    status: u16,
) -> crate::harness::Answer {
    let started = Instant::now();
    loop {
        let answer = ask().await;
        if answer.status == status || started.elapsed() > Duration::from_secs(3) {
            assert_eq!(answer.status, status, "{}", answer.body);
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_server_calls_are_denied_or_go_by_local_books_as_the_operator_chose_and_the_row_says_so() {
    let mut redis = Redis::start();
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let limit = bundle("limits:\n  - {id: cap, scope: {team: '*'}, limit: {calls: 5, per: year}}\n");
    let [strict, _] = pair(&redis, &up, &limit, OnLedgerDown::Deny).await;
    let [lenient, _] = pair(&redis, &up, &limit, OnLedgerDown::Local).await;
    assert_eq!(strict.post(CHAT, CALL).await.status, 200);
    assert_eq!(lenient.post(CHAT, CALL).await.status, 200);
    redis.kill();
    let denied = strict.post(CHAT, CALL).await;
    assert_eq!((denied.status.as_u16(), &denied.json()["error"]["code"]), (503, &"ledger_unavailable".into()));
    let row = strict.row(&denied).record;
    assert!(
        row.decision_reasons.iter().any(|reason| reason.rule == "builtin/shared-ledger" && reason.effect == "deny")
    );
    assert!(strict.gateway.ledger_trouble().is_some());
    let allowed = lenient.post(CHAT, CALL).await;
    assert_eq!(allowed.status, 200);
    let row = lenient.row(&allowed).record;
    assert!(
        row.decision_reasons.iter().any(|reason| reason.rule == "builtin/shared-ledger" && reason.effect == "allow")
    );
    // Its own books keep the limit: of five it has made two.
    let more: Vec<u16> = futures::future::join_all((0..5).map(|_| lenient.post(CHAT, CALL)))
        .await
        .iter()
        .map(|a| a.status.as_u16())
        .collect();
    assert_eq!(served(&more), 3, "{more:?}");

    // The server comes back empty: the next calls bring it up to what the log says.
    redis.resume();
    for bench in [&strict, &lenient] {
        bench.know_calls("team/year/UTC", "kyc", 6);
    }
    let full = settles(|| lenient.post(CHAT, CALL), 429).await;
    assert_eq!(full.json()["error"]["code"], "rate_limited");
    settles_trouble(&strict).await;
    let also_full = settles(|| strict.post(CHAT, CALL), 429).await;
    assert_eq!(also_full.json()["error"]["code"], "rate_limited", "what the other made is known here too");
}

async fn settles_trouble(bench: &Bench) {
    let started = Instant::now();
    while bench.gateway.ledger_trouble().is_some() {
        assert!(started.elapsed() < Duration::from_secs(10), "the ledger stays in trouble");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_caller_who_leaves_had_reserved_is_free_again() {
    let redis = Redis::start();
    let up = Provider::start(|request| match request.body.as_str() {
        body if body.contains("hang") => vec![crate::provider::Step::Hang],
        _ => json(200, provider::CHAT),
    })
    .await;
    let limit = bundle("limits:\n  - {id: one, scope: {team: '*'}, limit: {concurrency: 1}}\n");
    let benches = pair(&redis, &up, &limit, OnLedgerDown::Deny).await;
    {
        use tokio::io::AsyncWriteExt as _;
        let mut stream = benches[0].raw().await;
        stream.write_all(Bench::raw_request(CHAT, &CALL.replace("hi", "hang")).as_bytes()).await.unwrap();
        up.until(|progress| progress.connections >= 1).await;
        assert_eq!(benches[1].post(CHAT, CALL).await.status, 429, "the other gateway's call is in flight");
    }
    settles(|| benches[1].post(CHAT, CALL), 200).await;
    assert_eq!(benches[1].gateway.readings().iter().map(|(_, reading)| reading.reserved.calls).sum::<u64>(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_ledger_is_kept_as_a_plain_one_is_and_answers_again_after_an_interruption() {
    let mut redis = Redis::encrypted();
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let limit = bundle("limits:\n  - {id: cap, scope: {team: '*'}, limit: {calls: 12, per: year}}\n");
    let benches = pair(&redis, &up, &limit, OnLedgerDown::Deny).await;
    let answers = statuses(&benches, 60).await;
    assert_eq!(served(&answers), 12, "{answers:?}");
    assert!(answers.iter().all(|status| matches!(status, 200 | 429)), "{answers:?}");
    redis.kill();
    let denied = settles(|| benches[0].post(CHAT, CALL), 503).await;
    assert_eq!(denied.json()["error"]["code"], "ledger_unavailable");
    redis.resume();
    settles(|| benches[0].post(CHAT, CALL), 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_whose_authority_nobody_named_is_not_believed_and_nothing_is_let_through() {
    let redis = Redis::encrypted();
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let mut settings = redis.settings(up.address, OnLedgerDown::Deny);
    settings.ledger.as_mut().unwrap().authorities_pem = None;
    let limit = bundle("limits:\n  - {id: cap, scope: {team: '*'}, limit: {calls: 12, per: year}}\n");
    let bench = Bench::start_with(settings, &limit).await;
    let denied = bench.post(CHAT, CALL).await;
    assert_eq!((denied.status.as_u16(), &denied.json()["error"]["code"]), (503, &"ledger_unavailable".into()));
    let reasons = &bench.row(&denied).record.decision_reasons;
    assert!(reasons.iter().any(|reason| reason.detail.contains("certificate")), "{reasons:?}");
}
