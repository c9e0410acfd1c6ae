//! One interaction travels all the way round.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{ObjectStore, Python, Tollgate, chat_request, eventually};

#[test]
fn a_call_is_seen_in_sql_within_a_second_and_found_by_a_word_and_reported() {
    let mut tollgate = Tollgate::with_config("log: {flush_seconds: 3600}\n");
    let answer = tollgate.gateway().chat("sandbox/small", "does a quokka pay tolls?");
    let answered = Instant::now();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = answer.interaction_id();
    let console = tollgate.console();
    let row = eventually("the row is visible in SQL", Duration::from_secs(1), || {
        console.rows(&format!("select * from interactions where interaction_id = '{id}'")).pop()
    });
    println!("visible in SQL after {:?}, before any flush", answered.elapsed());
    assert_eq!(row["outcome"], "success");
    assert_eq!(row["model_requested"], "sandbox/small");
    assert_eq!(row["team"], "default");
    assert!(row["input_tokens"].as_i64().unwrap() > 0 && row["output_tokens"].as_i64().unwrap() > 0, "{row}");
    assert!(row["cost_usd"].is_string(), "money is exact text, not a float: {}", row["cost_usd"]);

    let hit = eventually("the call is found by a word of its prompt", Duration::from_secs(2), || {
        let found = console.get("/api/v1/search?q=quokka").json();
        found["hits"].as_array().unwrap().first().cloned()
    });
    assert_eq!(hit["interaction_id"], Value::String(id.clone()));
    assert!(hit["snippet_html"].as_str().unwrap().contains("<mark>quokka</mark>"), "{hit}");
    assert!(tollgate.run(&["search", "quokka"]).contains(&id));

    assert!(tollgate.run(&["sql", "select count(*) as calls from interactions"]).contains("| 1 "));
    // Stopping in order flushes and commits: what was only hot is in the lake afterwards.
    tollgate.stop();
    assert!(tollgate.run(&["sql", "select interaction_id from interactions"]).contains(&id));
    let pack = tollgate.folder().join("pack");
    tollgate.run(&[
        "report",
        "record-keeping",
        "--from",
        "2020-01-01",
        "--to",
        "2100-01-01",
        "--out",
        pack.to_str().unwrap(),
    ]);
    check_pack(&pack, &id);
}

fn check_pack(pack: &std::path::Path, id: &str) {
    let manifest: Value = serde_json::from_slice(&std::fs::read(pack.join("manifest.json")).unwrap()).unwrap();
    let files = manifest["files"].as_array().unwrap();
    let named = |ending: &str| files.iter().any(|file| file["path"].as_str().unwrap().ends_with(ending));
    assert!(named(".html") && named(".csv") && named(".parquet"), "{manifest}");
    for file in files {
        let path = pack.join(file["path"].as_str().unwrap());
        let hash = std::process::Command::new("sha256sum").arg(&path).output().unwrap();
        let hash = String::from_utf8(hash.stdout).unwrap();
        assert!(hash.starts_with(file["sha256"].as_str().unwrap()), "{}: {hash}", path.display());
        if path.extension().is_some_and(|extension| extension == "csv")
            && path.to_string_lossy().contains("/data/interactions")
        {
            assert!(std::fs::read_to_string(&path).unwrap().contains(id));
        }
    }
}

#[test]
fn sql_reads_and_does_nothing_else() {
    let tollgate = Tollgate::start();
    let console = tollgate.console();
    for statement in [
        "COPY (select 1) TO '/tmp/tollgate-must-not-exist.csv'",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE TABLE x AS select 1",
        "SET datafusion.execution.batch_size = 1",
        "INSERT INTO interactions select * from interactions",
        "DELETE FROM interactions",
        "DROP TABLE interactions",
    ] {
        let answer = console.post("/api/v1/sql", &serde_json::json!({"query": statement}));
        assert_eq!(answer.status, 400, "{statement}: {}", answer.text());
        let word = statement.split(' ').next().unwrap();
        assert!(answer.json()["error"]["message"].as_str().unwrap().contains(word), "{}", answer.text());
    }
    assert!(!std::path::Path::new("/tmp/tollgate-must-not-exist.csv").exists());
    let answer = console.post("/api/v1/sql", &serde_json::json!({"query": "select * from '/etc/passwd'"}));
    assert_eq!(answer.status, 400, "{}", answer.text());
}

#[test]
fn the_count_never_goes_back_and_never_doubles_while_rows_move_to_the_lake() {
    let tollgate = Tollgate::start();
    let gateway = tollgate.gateway();
    let console = tollgate.console();
    const CALLS: i64 = 400;
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let gateway = gateway.clone();
                scope.spawn(move || {
                    for number in 0..CALLS / 4 {
                        assert_eq!(gateway.chat("sandbox/small", &format!("call {caller}-{number}")).status, 200);
                        std::thread::sleep(Duration::from_millis(25));
                    }
                })
            })
            .collect();
        let mut last = 0;
        while callers.iter().any(|caller| !caller.is_finished()) {
            let row =
                console.rows("select count(*) as n, count(distinct interaction_id) as d from interactions").remove(0);
            let (count, distinct) = (row["n"].as_i64().unwrap(), row["d"].as_i64().unwrap());
            assert_eq!(count, distinct, "a row was counted twice");
            assert!(count >= last, "the count went back from {last} to {count}");
            last = count;
        }
    });
    tollgate.await_count("select count(*) from interactions", CALLS);
    let lake_rows = eventually("everything is in the lake", Duration::from_secs(20), || {
        let printed = Python::new().run("count_delta.py", &[("TABLE", lake(&tollgate, "interactions").as_str())]);
        let count: i64 = printed.trim().parse().unwrap();
        (count == CALLS).then_some(count)
    });
    assert_eq!(lake_rows, CALLS);
}

#[test]
fn python_reads_the_same_table_and_agrees_row_for_row() {
    let mut tollgate = Tollgate::start();
    let gateway = tollgate.gateway();
    for number in 0..20 {
        gateway.chat("sandbox/small", &format!("row {number}"));
        gateway.post("/v1/embeddings", &serde_json::json!({"model": "sandbox/embed", "input": "a b c"}));
        gateway.chat("no-such/model", "this one is refused");
    }
    tollgate.await_count("select count(*) from interactions", 60);
    tollgate.stop();
    agrees(&tollgate, &lake(&tollgate, "interactions"), &[]);
    println!("{}", Python::new().run("every_version.py", &[("TABLE", lake(&tollgate, "payloads").as_str())]));
}

#[test]
fn the_lake_on_s3_is_the_same_lake() {
    let store = ObjectStore::start();
    let mut tollgate = Tollgate::with_config(&store.log_section("loop"));
    let gateway = tollgate.gateway();
    for number in 0..10 {
        assert_eq!(gateway.chat("sandbox/small", &format!("row {number}")).status, 200);
        let streamed = gateway.post("/v1/chat/completions", &{
            let mut request = chat_request("sandbox/large", "stream this");
            request["stream"] = true.into();
            request
        });
        assert!(streamed.text().contains("data: [DONE]"), "{}", streamed.text());
    }
    tollgate.await_count("select count(*) from interactions", 20);
    tollgate.stop();
    let environment = store.environment();
    let environment: Vec<_> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    agrees(&tollgate, &format!("{}/interactions", store.url("loop")), &environment);
}

fn lake(tollgate: &Tollgate, table: &str) -> String {
    tollgate.data().join("lake").join(table).to_str().unwrap().to_owned()
}

/// Reads the table with the Python package `deltalake` and our SQL and compares every cell; then reads every older version.
fn agrees(tollgate: &Tollgate, table: &str, environment: &[(&str, &str)]) {
    let ours = tollgate.folder().join("ours.arrow");
    let output = tollgate
        .command()
        .args(["sql", "--format", "arrow", "select * from interactions order by writer, epoch, seq"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(&ours, &output.stdout).unwrap();
    let mut environment = environment.to_vec();
    environment.extend([("TABLE", table), ("OURS", ours.to_str().unwrap())]);
    println!("{}", Python::new().run("compare_delta.py", &environment));
    println!("{}", Python::new().run("every_version.py", &environment));
}
