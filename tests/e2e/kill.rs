//! `kill -9` at random moments under load: every call that was answered is in the table exactly once after the restart,
//! and every call in flight is there as `interrupted`.
//!
//! `TOLLGATE_KILLS` says how often; the default is what CI has time for, the figures in the README are of 100.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Api, Mock, ObjectStore, Python, Tollgate, chat_request};

/// Ids by what became of their calls, as the callers saw it.
#[derive(Default)]
struct Seen {
    answered: BTreeSet<String>,
    /// The head of the answer had come, the rest had not.
    cut: BTreeSet<String>,
}

/// A sequence that looks random and is the same in every run.
struct Moments(u64);

impl Moments {
    fn next_ms(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        range.start + (self.0 >> 33) % (range.end - range.start)
    }
}

fn kills() -> u64 {
    std::env::var("TOLLGATE_KILLS").ok().map_or(48, |text| text.parse().expect("TOLLGATE_KILLS is a number"))
}

#[test]
fn a_killed_gateway_has_every_answered_call_once_and_every_other_as_interrupted() {
    // The provider takes its time, so that calls are in flight whenever the process dies.
    let mock = Mock::start(&["--latency-ms", "20", "--chunk-delay-ms", "3"]);
    let config = format!(
        "log: {{flush_seconds: 1}}\nproviders:\n  mock: {{dialect: openai, base_url: \"{}/v1\", api_key: none, price_as: openai}}\n",
        mock.url
    );
    let mut tollgate = Tollgate::with_config(&config);
    survive(&mut tollgate, "mock/gpt-5-mini", kills());
    tollgate.stop();
    println!("{}", tollgate.run(&["audit", "verify"]));
    // Dozens of versions by dozens of processes, and checkpoints among them.
    for table in ["interactions", "payloads"] {
        let folder = tollgate.data().join("lake").join(table);
        println!("{table}: {}", Python::new().run("every_version.py", &[("TABLE", folder.to_str().unwrap())]));
    }
}

#[test]
fn a_killed_gateway_on_s3_has_every_answered_call_once() {
    let store = ObjectStore::start();
    let mut tollgate = Tollgate::with_config(&store.log_section("kill"));
    survive(&mut tollgate, "sandbox/small", kills().div_ceil(4));
    tollgate.stop();
    println!("{}", tollgate.run(&["audit", "verify"]));
}

fn survive(tollgate: &mut Tollgate, model: &str, kills: u64) {
    let seen = Mutex::new(Seen::default());
    let mut moments = Moments(20_261_123);
    for _ in 0..kills {
        let dead = AtomicBool::new(false);
        let gateway = tollgate.gateway();
        std::thread::scope(|scope| {
            for caller in 0..6 {
                let (gateway, seen, dead) = (gateway.clone(), &seen, &dead);
                scope.spawn(move || call_until(gateway, model, caller % 2 == 0, seen, dead));
            }
            std::thread::sleep(Duration::from_millis(moments.next_ms(150..1_500)));
            tollgate.kill();
            dead.store(true, Ordering::Relaxed);
        });
        tollgate.resume();
    }
    check(tollgate, &seen.into_inner().unwrap());
}

/// Calls again and again until the server is dead.
fn call_until(gateway: Api, model: &str, stream: bool, seen: &Mutex<Seen>, dead: &AtomicBool) {
    while !dead.load(Ordering::Relaxed) {
        let mut request = chat_request(model, "tell me about ledgers");
        request["stream"] = stream.into();
        // The server dies while this runs: any error is expected then, and says nothing about the log.
        let Ok(answer) = gateway.try_post("/v1/chat/completions", &request, &[]) else { continue };
        assert_eq!(answer.status, 200, "{}", answer.text());
        let id = answer.interaction_id();
        let whole = !stream || answer.text().contains("data: [DONE]");
        let mut seen = seen.lock().unwrap();
        if whole {
            seen.answered.insert(id);
        } else {
            seen.cut.insert(id);
        }
    }
}

fn check(tollgate: &Tollgate, seen: &Seen) {
    assert!(!seen.answered.is_empty(), "no call was answered, so nothing was tested");
    let console = tollgate.console();
    // Replay settles what was in flight within moments of the start; wait until nothing changes any more.
    let mut rows = Vec::new();
    for _ in 0..100 {
        let now = console.rows("select interaction_id, outcome from interactions limit 1000000");
        if now.len() == rows.len() && !now.is_empty() {
            break;
        }
        rows = now;
        std::thread::sleep(Duration::from_millis(500));
    }
    let mut outcomes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in &rows {
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        outcomes.entry(text("interaction_id")).or_default().push(text("outcome"));
    }
    let doubled: Vec<_> = outcomes.iter().filter(|(_, outcomes)| outcomes.len() > 1).collect();
    assert!(doubled.is_empty(), "{} calls are there more than once: {doubled:?}", doubled.len());
    let lost: Vec<_> = seen.answered.iter().chain(&seen.cut).filter(|id| !outcomes.contains_key(*id)).collect();
    assert!(lost.is_empty(), "{} calls are lost: {lost:?}", lost.len());
    for id in &seen.answered {
        assert_eq!(outcomes[id], ["success"], "{id} was answered whole");
    }
    let count = |outcome: &str| outcomes.values().filter(|outcomes| outcomes[0] == outcome).count();
    println!(
        "{} calls answered, {} cut in mid-answer; {} rows: {} success, {} interrupted, {} other; 0 lost, 0 doubled",
        seen.answered.len(),
        seen.cut.len(),
        rows.len(),
        count("success"),
        count("interrupted"),
        rows.len() - count("success") - count("interrupted"),
    );
}
