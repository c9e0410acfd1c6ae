//! The proof, from outside: our verifier and one that shares no code with it agree, about a sound lake and about one that
//! somebody changed; a proof of one call stands alone; who changed and read what is in the log.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Python, Tollgate, chat_request, eventually};

/// What a verifier found: whether all is well, records, batches, kinds of problems.
fn found(output: &std::process::Output) -> (bool, u64, u64, Vec<String>) {
    let text = String::from_utf8_lossy(&output.stdout);
    let found: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    let number = |name: &str| found[name].as_u64().unwrap();
    let problems = found["problems"].as_array().unwrap().iter();
    let mut kinds: Vec<String> = problems.map(|problem| problem["kind"].as_str().unwrap().to_owned()).collect();
    kinds.sort();
    kinds.dedup();
    (found["ok"].as_bool().unwrap(), number("records"), number("batches"), kinds)
}

fn ours(tollgate: &Tollgate) -> std::process::Output {
    tollgate.command().args(["--json", "audit", "verify"]).output().unwrap()
}

/// `tests/verify/verify.py`, written from `docs/proof.md` alone.
fn theirs(tollgate: &Tollgate, arguments: &[&str]) -> std::process::Output {
    let script = std::path::Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("verify/verify.py");
    let mut command = Command::new(Python::new().program("python3"));
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg(script).arg("--json").args(arguments);
    command.arg(tollgate.run(&["audit", "key"]).trim()).output().unwrap()
}

#[test]
fn two_verifiers_that_share_no_code_agree_and_a_call_is_proven_alone() {
    let mut tollgate = Tollgate::start();
    let gateway = tollgate.gateway();
    let mut id = String::new();
    for number in 0..12 {
        let mut request = chat_request("sandbox/small", &format!("is bridge {number} open?"));
        request["stream"] = (number % 2 == 0).into();
        request["user"] = format!("user-{number}").into();
        let headers = [("x-tollgate-metadata", r#"{"zone":"ü","a":"1"}"#), ("x-tollgate-conversation", "c-1")];
        id = gateway.try_post("/v1/chat/completions", &request, &headers).unwrap().interaction_id();
        gateway.chat("no-such/model", "this one is refused");
    }
    let console = tollgate.console();
    tollgate.await_count("select count(*) from interactions", 24);
    console.get(&format!("/api/v1/interactions/{id}?purpose=complaint+17"));
    tollgate.await_count("select count(*) from access_events where action = 'view'", 1);
    let readings = console.rows("select actor, action, subject, purpose from access_events where action = 'view'");
    assert_eq!(readings.len(), 1, "{readings:?}");
    assert_eq!(
        (readings[0]["subject"].as_str(), readings[0]["purpose"].as_str()),
        (Some(id.as_str()), Some("complaint 17"))
    );
    let changes = console.rows("select action from control_events order by at");
    assert!(changes.contains(&json!({"action": "key.created"})), "{changes:?}");
    let integrity = console.get("/api/v1/integrity").json();
    assert_eq!(integrity["healthy"], true, "{integrity}");
    tollgate.stop();

    let (ok, records, batches, problems) = found(&ours(&tollgate));
    assert!(ok && problems.is_empty(), "{problems:?}");
    assert!(records >= 24 + 4, "calls and what is beside them: {records}");
    let lake = tollgate.data().join("lake");
    let lake = lake.to_str().unwrap();
    assert_eq!(found(&theirs(&tollgate, &[lake])), (true, records, batches, vec![]));

    let proof = tollgate.folder().join("call.tlog-proof");
    let proof = proof.to_str().unwrap();
    tollgate.run(&["audit", "prove", &id, "--out", proof, "--personal", "--content"]);
    assert!(tollgate.run(&["audit", "check", proof]).starts_with("ok: record"));
    let checked = theirs(&tollgate, &["prove", proof]);
    let told = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && told.contains(&id) && told.contains("is bridge 11 open?"), "{told}");

    // Somebody with all rights changes one byte of one file.
    let file = eventually("a file of facts", Duration::from_secs(1), || {
        let days = std::fs::read_dir(tollgate.data().join("lake/interactions")).unwrap();
        let mut files = days.flat_map(|day| std::fs::read_dir(day.unwrap().path()).into_iter().flatten());
        files.find(|file| file.as_ref().unwrap().path().extension().is_some_and(|kind| kind == "parquet"))
    });
    let path = file.unwrap().path();
    let mut content = std::fs::read(&path).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 0x10;
    std::fs::write(&path, content).unwrap();
    let (we, they) = (found(&ours(&tollgate)), found(&theirs(&tollgate, &[lake])));
    assert!(!we.0 && !they.0, "both notice: {we:?} {they:?}");
}

#[test]
fn rotated_keys_are_followed_and_the_old_public_key_still_verifies() {
    let mut tollgate = Tollgate::start();
    tollgate.gateway().chat("sandbox/small", "before");
    tollgate.await_count("select count(*) from interactions", 1);
    tollgate.stop();
    let old = tollgate.run(&["audit", "key"]);
    tollgate.run(&["audit", "rotate"]);
    let again = tollgate.command().args(["audit", "rotate"]).output().unwrap();
    assert!(String::from_utf8_lossy(&again.stderr).contains("has not been taken over yet"), "{again:?}");
    tollgate.resume();
    tollgate.gateway().chat("sandbox/small", "after");
    tollgate.await_count("select count(*) from interactions", 2);
    tollgate.stop();
    let new = tollgate.run(&["audit", "key"]);
    assert_ne!(old, new);
    for key in [&old, &new] {
        assert!(tollgate.run(&["audit", "verify", "--key", key.trim()]).contains("agree with what was committed to"));
    }
    let script = std::path::Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("verify/verify.py");
    for key in [&old, &new] {
        let lake = tollgate.data().join("lake");
        let mut command = Command::new(Python::new().program("python3"));
        let output = command.arg(&script).arg(lake).arg(key.trim()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn the_lake_is_compacted_and_cleaned_by_hand_and_still_verifies() {
    let mut tollgate = Tollgate::start();
    for number in 0..6 {
        tollgate.gateway().chat("sandbox/small", &format!("call {number}"));
        tollgate.await_count("select count(*) from interactions", number + 1);
        std::thread::sleep(Duration::from_millis(1_100));
    }
    tollgate.stop();
    let status: Value = serde_json::from_str(&tollgate.run(&["--json", "lake", "status"])).unwrap();
    let facts = status["tables"].as_array().unwrap().iter().find(|table| table["table"] == "interactions").unwrap();
    assert_eq!((facts["rows"].as_u64(), status["inbox"].as_u64()), (Some(6), Some(0)), "{status}");
    // Nothing is over yet, so nothing is merged; nothing is old enough, so nothing is deleted.
    assert!(tollgate.run(&["lake", "compact"]).contains("0 files"));
    assert!(tollgate.run(&["lake", "vacuum", "--dry-run"]).contains("0 files"));
    assert_eq!(tollgate.run(&["lake", "expire", "--dry-run"]).trim(), "nothing expires");
    tollgate.run(&["lake", "hold", "place", "matter 7", "--team", "default", "--from", "2026-01-01"]);
    assert!(tollgate.run(&["lake", "hold", "list"]).contains("matter 7"));
    tollgate.run(&["lake", "hold", "release", "matter 7"]);
    tollgate.resume();
    tollgate.await_count("select count(*) from control_events where action in ('hold.placed', 'hold.released')", 2);
    tollgate.stop();
    assert!(found(&ours(&tollgate)).0);
}
