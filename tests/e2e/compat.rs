//! What earlier versions wrote is read by this one: in one table with what is written now, and by the same questions.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Tollgate, eventually};

#[test]
fn a_lake_and_a_log_of_version_1_are_taken_over() {
    taken_over(1, 9);
}

#[test]
fn a_lake_and_a_log_of_version_2_are_taken_over_with_their_proof() {
    taken_over(2, 0);
}

#[test]
fn a_lake_and_a_log_of_version_3_are_taken_over_with_their_proof() {
    taken_over(3, 0);
}

/// Starts on what a killed process of `version` left, nine calls in the lake of which `unproven` have no proof.
fn taken_over(version: i64, unproven: i64) {
    let left = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join(format!("compat/v{version}"));
    let config = format!("log: {{flush_seconds: 1, writer: gw-v{version}}}\n");
    let mut tollgate = Tollgate::on_data_of(&left, &config);
    let console = tollgate.console();
    // Nine were in the lake, two in the log of a process that was killed.
    tollgate.await_count("select count(*) from interactions", 11);
    let id = tollgate.gateway().chat("sandbox/small", "a call of today").interaction_id();
    tollgate.await_count("select count(*) from interactions", 12);
    let in_lake = |sql: &str| tollgate.console().number(sql);
    eventually("all are in the lake", Duration::from_secs(20), || {
        (console.get("/api/v1/integrity").json()["hot_rows"] == 0).then_some(())
    });
    let of_version =
        |version: i64| in_lake(&format!("select count(*) from interactions where schema_version = {version}"));
    assert_eq!(
        (of_version(version), of_version(4)),
        (9, 3),
        "what is written today has today's columns, whenever it was recorded"
    );
    // The same questions as of a lake of one version.
    assert_eq!(in_lake("select count(*) from interactions where outcome = 'success' and cost_usd > 0"), 11);
    assert_eq!(in_lake("select count(*) from interactions where stream"), 2);
    assert_eq!(in_lake("select count(*) from interactions where outcome = 'failed' or outcome = 'denied'"), 1);
    assert_eq!(in_lake("select count(*) from interactions where tags['zone'] = 'eu'"), 11);
    assert_eq!(
        in_lake("select count(*) from payloads p join interactions i using (interaction_id) where i.team = p.team"),
        12
    );
    assert_eq!(
        in_lake("select count(*) from interactions where payload_commitment is null"),
        unproven,
        "those have none"
    );
    let without_dialect = in_lake("select count(*) from interactions where upstream_dialect is null");
    assert_eq!(without_dialect, if version < 3 { 11 } else { 1 }, "all before version 3, and what reached no provider");
    let without_estimate = "select count(*) from interactions where estimated_input_tokens is null and guards is null";
    assert_eq!(in_lake(without_estimate), 11, "all but today's");
    assert_eq!(in_lake("select count(*) from feedback"), 0, "a table that no earlier version had");
    assert_eq!(
        in_lake("select count(distinct day) from interactions where day >= date '2026-11-26'"),
        in_lake("select count(distinct day) from interactions")
    );
    let found = eventually("old and new are found by their words", Duration::from_secs(5), || {
        let found = console.get("/api/v1/search?q=version").json();
        (found["total"].as_u64() >= Some(9)).then_some(found)
    });
    assert!(found["hits"].as_array().unwrap().len() >= 9, "{found}");
    let detail = console.get(&format!("/api/v1/interactions/{id}")).json();
    assert_eq!(detail["row"]["interaction_id"], Value::String(id));
    let overview = console.get("/api/v1/overview?from=2026-11-01&to=2100-01-01").json();
    assert_eq!(overview["totals"]["calls"], 12, "{overview}");
    tollgate.stop();
    let verified: Value = serde_json::from_str(&tollgate.run(&["--json", "audit", "verify"])).unwrap();
    assert_eq!(
        (&verified["ok"], &verified["unproven_records"]),
        (&Value::Bool(true), &Value::from(unproven)),
        "{verified}"
    );
}
