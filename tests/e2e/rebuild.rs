//! Everything that is derived from the log can be thrown away: what a rebuild from the lake alone gives equals, to the byte,
//! what the running server has come to by living through it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Api, Mock, Tollgate, chat_request};

#[test]
fn what_the_server_lived_through_equals_what_the_lake_gives() {
    let mock = Mock::start(&["--latency-ms", "20", "--chunk-delay-ms", "5"]);
    let config = format!(
        "log: {{flush_seconds: 1}}\nserver: {{first_byte_seconds: 2, idle_stream_seconds: 2}}\nproviders:\n  mock: {{dialect: openai, base_url: \"{0}/v1\", api_key: none, price_as: openai}}\n  claude: {{dialect: anthropic, base_url: \"{0}/v1\", api_key: none, price_as: anthropic}}\n",
        mock.url
    );
    let mut tollgate = Tollgate::with_history(&config, 3);
    every_kind_of_call(&tollgate);
    let before = compare(&tollgate);
    assert!(lines(&before, "search") >= 3, "calls of several days: {before}");
    assert!(lines(&before, "signals") >= 3, "{before}");
    println!("as it ran: {before}");

    // While calls go on, the state is compared at the place the server had come to.
    while_calls_go_on(&tollgate, || println!("under load: {}", compare(&tollgate)));

    // Calls in flight become `interrupted`, and what was only in memory comes back from the log.
    kill_in_mid_call(&mut tollgate);
    tollgate.resume();
    let interrupted = "select count(*) from interactions where outcome = 'interrupted'";
    let console = tollgate.console();
    crate::support::eventually("calls in flight are settled", Duration::from_secs(20), || {
        (console.number(interrupted) > 0).then_some(())
    });
    println!("after kill -9: {}", compare(&tollgate));

    tollgate.stop();
    tollgate.resume();
    every_kind_of_call(&tollgate);
    println!("after a restart: {}", compare(&tollgate));

    tollgate.stop();
    std::fs::remove_dir_all(tollgate.data().join("search")).unwrap();
    tollgate.resume();
    println!("after the index was deleted: {}", compare(&tollgate));
}

#[test]
fn an_index_is_rebuilt_from_the_lake_and_one_that_differs_is_found_out() {
    let mut tollgate = Tollgate::with_history("log: {flush_seconds: 1}\n", 2);
    let refused = tollgate.command().args(["rebuild", "all"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("stop it first") && said.contains("--check"), "{said}");
    compare(&tollgate);
    tollgate.stop();
    let index = tollgate.data().join("search");
    let old = tollgate.folder().join("old-search");
    copy_folder(&index, &old);
    assert_eq!(compare(&tollgate)["equal"], true, "without a server, the index on the disk is compared");

    tollgate.resume();
    assert_eq!(tollgate.gateway().chat("sandbox/small", "a word the old index does not know").status, 200);
    compare(&tollgate);
    tollgate.stop();
    let found = compare(&tollgate);

    // An index of yesterday, as a restored backup would be, and none at all.
    std::fs::remove_dir_all(&index).unwrap();
    copy_folder(&old, &index);
    let differs = tollgate.command().args(["--json", "rebuild", "search", "--check"]).output().unwrap();
    assert_eq!(differs.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&differs.stdout).unwrap();
    assert_eq!((&report["equal"], &report["search"]["equal"]), (&json!(false), &json!(false)), "{report}");
    assert!(report["search"]["difference"]["rebuilt"].as_str().unwrap().starts_with("[\"call\","), "{report}");
    std::fs::remove_dir_all(&index).unwrap();
    let none = tollgate.command().args(["rebuild", "search", "--check"]).output().unwrap();
    assert_eq!(none.status.code(), Some(1));
    assert!(!index.exists(), "a comparison makes nothing");

    let rebuilt: Value = serde_json::from_str(&tollgate.run(&["--json", "rebuild", "all"])).unwrap();
    assert!(!rebuilt["signals"]["lines"].as_array().unwrap().is_empty(), "{rebuilt}");
    let again = compare(&tollgate);
    assert_eq!(again["search"]["sha256"], found["search"]["sha256"]);
    tollgate.resume();
    compare(&tollgate);
    let hits = tollgate.console().get("/api/v1/search?q=%22old+index%22").json();
    assert_eq!(hits["total"], 1, "{hits}");
}

/// `rebuild all --check`: everything is equal.
fn compare(tollgate: &Tollgate) -> Value {
    let output = tollgate.command().args(["--json", "rebuild", "all", "--check"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stdout));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["equal"], true, "{report}");
    report
}

fn lines(report: &Value, part: &str) -> u64 {
    report[part]["lines"].as_u64().unwrap()
}

/// Answered, streamed, embedded, refused, failed at the provider, cut off in mid-answer.
fn every_kind_of_call(tollgate: &Tollgate) {
    let gateway = tollgate.gateway();
    let other_team = tollgate.gateway_of_team("research");
    let nobody = Api::new(&tollgate.gateway_url, "tg-nobody");
    for number in 0..5 {
        assert_eq!(gateway.chat("sandbox/small", &format!("call {number}")).status, 200);
        assert_eq!(other_team.chat("sandbox/large", &format!("call {number}")).status, 200);
        let mut streamed = chat_request("mock/gpt-5-mini", "stream this");
        streamed["stream"] = true.into();
        assert_eq!(gateway.post("/v1/chat/completions", &streamed).status, 200);
        let embedded = gateway.post("/v1/embeddings", &json!({"model": "sandbox/embed", "input": "a b c"}));
        assert_eq!(embedded.status, 200, "{}", embedded.text());
        assert_eq!(nobody.chat("sandbox/small", "let me in").status, 401);
        assert_eq!(gateway.chat("nowhere/model", "refused").status, 404);
        let failed = [("x-mock-garbage", "true")];
        let request = chat_request("mock/gpt-5-mini", "fail");
        assert_eq!(gateway.try_post("/v1/chat/completions", &request, &failed).unwrap().status, 502);
        let cut = [("x-mock-hang-up-after-bytes", "2500"), ("x-mock-output-tokens", "200")];
        assert_eq!(gateway.try_post("/v1/chat/completions", &streamed, &cut).unwrap().status, 200);
        let mut message = chat_request("claude/claude-sonnet-4-5", "hello");
        message["max_tokens"] = 50.into();
        assert_eq!(other_team.post("/v1/messages", &message).status, 200);
    }
}

fn while_calls_go_on(tollgate: &Tollgate, then: impl FnOnce()) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for caller in 0..2 {
            let (gateway, done) = (tollgate.gateway(), &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    gateway.chat("sandbox/small", &format!("caller {caller} goes on"));
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        then();
        done.store(true, Ordering::Relaxed);
    });
}

fn kill_in_mid_call(tollgate: &mut Tollgate) {
    let gateway = tollgate.gateway();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let gateway = gateway.clone();
            scope.spawn(move || {
                let mut request = chat_request("mock/gpt-5-mini", "this will be cut off");
                request["stream"] = true.into();
                // The server dies while it answers.
                let slow = [("x-mock-chunk-delay-ms", "200"), ("x-mock-output-tokens", "100")];
                let _ = gateway.try_post("/v1/chat/completions", &request, &slow);
            });
        }
        std::thread::sleep(Duration::from_millis(700));
        tollgate.kill();
    });
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
