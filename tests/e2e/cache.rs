//! Answers given again, with the real binary and an official client: whole, streamed and in other words; across `kill -9`; what
//! the table, the pages and the command line say of them; and forgetting them.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Api, ObjectStore, Python, Sidecar, Tollgate, eventually, program};

const CONFIG: &str = "\
log: {flush_seconds: 1}
cache: {max_bytes: 8388608}
models:
  faq: {targets: [sandbox/small], cache: {ttl: 1h}}
  near:
    targets: [sandbox/small]
    cache: {ttl: 1h, semantic: {model: sandbox/embed, threshold: 0.9}}
";

fn run(tollgate: &Tollgate, pass: &str) {
    let token = std::fs::read_to_string(tollgate.data().join("api-token")).unwrap().trim().to_owned();
    let environment = [
        ("GATEWAY", tollgate.gateway_url.as_str()),
        ("CONSOLE", &tollgate.console_url),
        ("KEY", tollgate.key()),
        ("TOKEN", &token),
        ("PASS", pass),
    ];
    println!("{}", Python::new().run("cached.py", &environment));
}

#[test]
fn answers_are_given_again_and_everything_says_what_that_saved() {
    let mut tollgate = Tollgate::with_config(CONFIG);
    run(&tollgate, "first");
    let sql = "SELECT cache_kind, count(*) AS calls, sum(cost_usd) AS spent, sum(cost_saved_usd) AS saved, count(cached_from) AS \
               named FROM interactions WHERE outcome = 'cached' GROUP BY 1 ORDER BY 1";
    let found = tollgate.run(&["sql", sql]);
    println!("{found}");
    assert!(found.contains("exact") && found.contains("semantic"), "{found}");
    let status: Value = serde_json::from_str(&tollgate.run(&["--json", "cache", "status"])).unwrap();
    assert_eq!((status["exact_hits"].as_u64(), status["semantic_hits"].as_u64()), (Some(2), Some(1)), "{status}");
    let api = tollgate.console();
    let metrics = api.get("/metrics").text();
    assert!(metrics.contains("tollgate_cache_calls_total{result=\"hit\"} 2"), "{metrics}");
    let costs = api.get("/costs?range=30d").text();
    assert!(costs.contains("answered from the gateway"), "{costs}");
    let id: Value = serde_json::from_str(&tollgate.run(&[
        "--json",
        "sql",
        "SELECT interaction_id, cached_from FROM interactions WHERE cache_kind = 'semantic'",
    ]))
    .unwrap();
    let row = &id["rows"][0];
    let page = api.get(&format!("/interactions/{}", row["interaction_id"].as_str().unwrap())).text();
    let link = format!("href=\"/interactions/{}\"", row["cached_from"].as_str().unwrap());
    assert!(page.contains(&link) && page.contains("the cache: the question was 0.9"), "{page}");

    eventually("the answers are on the disk", Duration::from_secs(10), || {
        let status: Value = serde_json::from_str(&tollgate.run(&["--json", "cache", "status"])).unwrap();
        (status["stored"].as_u64() == status["entries"].as_u64()).then_some(())
    });
    tollgate.kill();
    tollgate.resume();
    run(&tollgate, "again");

    let nobody = "01938c2e-7b1a-7c3d-9e4f-0123456789ab";
    let said = tollgate.run(&["cache", "purge", "--interaction", nobody, "--team", "nobody"]);
    assert!(said.starts_with(&format!("0 answers are forgotten: team `nobody`, interaction `{nobody}`")), "{said}");
    assert!(tollgate.run(&["cache", "purge", "--model", "near"]).starts_with("2 answers are forgotten: model `near`"));
    let told = eventually("the log tells of it", Duration::from_secs(10), || {
        let told = tollgate.run(&["sql", "SELECT action, detail FROM control_events WHERE action = 'cache.purged'"]);
        told.contains("cache.purged").then_some(told)
    });
    assert!(told.contains("2 answers: model `near`"), "{told}");
    tollgate.stop();
    // With nobody to ask, on the file itself.
    assert!(tollgate.run(&["cache", "status"]).starts_with("2 answers take"));
    assert!(tollgate.run(&["cache", "purge", "--all"]).starts_with("2 answers are forgotten: all of them"));
    tollgate.resume();
    let status: Value = serde_json::from_str(&tollgate.run(&["--json", "cache", "status"])).unwrap();
    assert_eq!(status["entries"], 0, "{status}");
}

#[test]
fn a_cache_that_makes_no_sense_is_refused_with_its_place() {
    let check = |from: &str, to: &str| {
        let tollgate = Tollgate::at_rest(&[("tollgate.yaml", &CONFIG.replace(from, to))], &[]);
        tollgate.refused()
    };
    let said = check("{ttl: 1h}}", "{ttl: 0s}}");
    assert!(said.contains("tollgate.yaml:line 4") && said.contains("`0s` is not how long"), "{said}");
    let said = check("sandbox/embed", "sandbx/embed");
    assert!(said.contains("line 7") && said.contains("did you mean `sandbox`?"), "{said}");
    let said = check("threshold: 0.9", "threshold: 1.9");
    assert!(said.contains("line 7") && said.contains("`1.9` is not a share"), "{said}");
}

/// Asks for vectors of forty texts, a fifth of a megabyte, and says what became of it at the cache.
fn vectors(gateway: &Api, number: usize) -> String {
    let texts: Vec<String> = (0..40).map(|text| format!("text {text} of call {number}")).collect();
    let answer = gateway.post("/v1/embeddings", &json!({"model": "vectors", "input": texts}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("x-tollgate-cache")
}

#[test]
fn a_sidecar_keeps_answers_within_its_bounds_across_kill_and_forgets_them_when_it_is_stopped() {
    const MAX_BYTES: u64 = 4 * 1024 * 1024;
    const CALLS: usize = 200;
    let store = ObjectStore::start();
    let tollgate = Tollgate::with_config(&store.log_section("caches"));
    let token: Value =
        serde_json::from_str(&tollgate.run(&["--json", "token", "create", "--role", "sidecar"])).unwrap();
    let environment = [("TOKEN", token["token"].as_str().unwrap())];
    let config = format!(
        "{}  writer: sidecar-1\ncontrol: {{url: \"{}\", token: \"${{TOKEN}}\"}}\ncache: {{max_bytes: {MAX_BYTES}}}\n\
         models:\n  vectors: {{targets: [sandbox/embed], cache: {{ttl: 1h}}}}\n",
        store.put_only_log_section("caches"),
        tollgate.console_url
    );
    let mut sidecar = Sidecar::start(&config, &environment);
    let key = tollgate.key().to_owned();
    let gateway = sidecar.gateway(&key);
    assert_eq!((vectors(&gateway, 0), vectors(&gateway, 0)), ("miss".to_owned(), "hit".to_owned()));
    let before = sidecar.memory_bytes();
    for number in 0..CALLS {
        vectors(&gateway, number);
    }
    let grown = sidecar.memory_bytes().saturating_sub(before);
    let file = sidecar.folder().join("data/cache/answers.redb");
    let length = std::fs::metadata(&file).unwrap().len();
    println!("{} bytes of answers: memory grew by {grown}, the file has {length}", CALLS * 215_000);
    // The library's file doubles where it grows.
    assert!(length <= MAX_BYTES * 5 / 2, "{length}");
    // Pages of the library (16 MiB), answers on their way to the disk, and what every call takes.
    assert!(grown < 96 * 1024 * 1024, "{grown}");
    assert_eq!(vectors(&gateway, CALLS - 1), "hit");
    assert_eq!(vectors(&gateway, 1), "miss", "it made room");

    // What was on the disk survives; of what was not yet, the provider is asked again.
    eventually("an answer is there after kill -9", Duration::from_secs(30), || {
        sidecar.kill();
        sidecar.resume();
        (vectors(&sidecar.gateway(&key), CALLS - 1) == "hit").then_some(())
    });

    sidecar.stop();
    let purge = |which: &[&str]| {
        let folder = sidecar.folder();
        let mut purge = Command::new(program("tollgate"));
        purge.arg("--config").arg(folder.join("tollgate.yaml")).arg("--data").arg(folder.join("data"));
        let said = purge.args(["cache", "purge"]).args(which).env("TOKEN", "none").output().unwrap();
        assert!(said.status.success(), "{said:?}");
        String::from_utf8(said.stdout).unwrap()
    };
    assert!(purge(&["--team", "nobody"]).starts_with("0 answers are forgotten: team `nobody`"));
    assert!(!purge(&["--all"]).starts_with("0 answers"));
    sidecar.resume();
    assert_eq!(vectors(&sidecar.gateway(&key), CALLS - 1), "miss");
    let cached =
        "select cast(count(*) >= 4 as bigint) from interactions where outcome = 'cached' and writer = 'sidecar-1'";
    tollgate.await_count(cached, 1);
    assert!(!sidecar.log().contains("panicked"), "{}", sidecar.log());
}
