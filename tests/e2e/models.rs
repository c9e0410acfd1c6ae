//! Routing from outside: the state of every target on `/models` and in the API, a bundle's routes that reach the running
//! gateway, and those that lead nowhere and do not.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Tollgate, chat_request, eventually};

const CONFIG: &str = "log: {flush_seconds: 1}\npolicies: policy.yaml\nrouting: {breaker: {failures: 2, cooldown: 60s}}\nproviders:\n  \
                      gone: {dialect: openai, base_url: \"http://127.0.0.1:9/v1\", api_key: none}\nmodels:\n  \
                      assistant: {targets: [gone/big, sandbox/small]}\n  split: {strategy: weighted, targets: \
                      [{target: sandbox/small, weight: 3}, {target: assistant, weight: 1}]}\n";
const POLICY: &str = "apiVersion: tollgate/v1\nbundle: {name: t}\naccess: [{id: all, when: 'true', allow: {}}]\n";

fn target<'a>(models: &'a Value, alias: &str, model: &str) -> &'a Value {
    let route = models["routes"].as_array().unwrap().iter().find(|route| route["alias"] == alias).unwrap();
    route["targets"].as_array().unwrap().iter().find(|target| target["model"] == model).unwrap()
}

#[test]
fn the_page_and_the_api_say_why_a_target_rests_and_how_old_the_signals_are() {
    let tollgate = Tollgate::with_files(&[("tollgate.yaml", CONFIG), ("policy.yaml", POLICY)], &[]);
    let (gateway, console) = (tollgate.gateway(), tollgate.console());
    for _ in 0..3 {
        assert_eq!(gateway.chat("assistant", "hello").status, 200);
    }
    let models = eventually("the log's latency is known", Duration::from_secs(10), || {
        let models = console.get("/api/v1/models").json();
        target(&models, "assistant", "small")["p50_ms"].is_u64().then_some(models)
    });
    let gone = &target(&models, "assistant", "big")["health"];
    assert_eq!((&gone["circuit"], &gone["resting_because"]), (&json!("open"), &json!("failures")));
    assert_eq!(target(&models, "split", "big")["health"], *gone, "a target has one health, whoever leads to it");
    assert_eq!(target(&models, "assistant", "small")["health"]["circuit"], "closed");
    assert!(models["signals_age_ms"].as_u64().unwrap() <= 5_000, "{}", models["signals_age_ms"]);
    let page = console.get("/models").text();
    assert!(page.contains("failed too often; for ") && page.contains("gone/<wbr>big"), "{page}");
    assert!(page.contains("on premises") && page.contains("not told"), "{page}");
    let p50_us = target(&models, "assistant", "small")["p50_us"].as_u64().unwrap();
    assert!(p50_us > 0 && !page.contains(">0 µs<") && !page.contains(">0 ms<"), "{p50_us} µs: {page}");
    // The third call did not go there, and says so.
    let sql = "select candidates from interactions order by started_at desc limit 1";
    let candidates = console.rows(sql)[0]["candidates"].to_string();
    assert!(candidates.contains("resting_after_failures"), "{candidates}");
}

#[test]
fn a_routes_section_that_leads_nowhere_is_refused_and_the_last_one_stays() {
    let first = format!("{POLICY}routes: [{{id: r, alias: fast, targets: [sandbox/small]}}]\n");
    let tollgate = Tollgate::with_files(&[("tollgate.yaml", CONFIG), ("policy.yaml", &first)], &[]);
    let (gateway, console) = (tollgate.gateway(), tollgate.console());
    assert_eq!(gateway.chat("fast", "hello").status, 200);
    let policy = tollgate.folder().join("policy.yaml");
    std::fs::write(&policy, first.replace("sandbox/small", "sandbox/smal")).unwrap();
    eventually("the bundle is refused", Duration::from_secs(10), || {
        tollgate.log().contains("did you mean `sandbox/small`?").then_some(())
    });
    assert_eq!(gateway.chat("fast", "hello").status, 200);
    std::fs::write(&policy, first.replace("sandbox/small", "sandbox/large")).unwrap();
    eventually("the new bundle is in force", Duration::from_secs(10), || {
        (gateway.chat("fast", "hello").header("x-tollgate-model") == "large").then_some(())
    });
    // The row of that call may take a moment.
    let sql = "select route_id, policy_bundle_hash from interactions order by started_at desc limit 1";
    let shown = eventually("the page is of the bundle that decided", Duration::from_secs(10), || {
        let row = console.rows(sql).remove(0);
        assert_eq!(row["route_id"], "fast");
        let models = console.get("/api/v1/models").json();
        (models["bundle_hash"] == row["policy_bundle_hash"]).then_some(models)
    });
    assert_eq!(shown["routes"][0]["rule"], "r");
}

#[test]
fn the_page_says_which_calls_take_a_route_and_how_an_experiment_divides_them() {
    let policy = format!(
        "{POLICY}routes: [{{id: gold, alias: assistant, when: 'request.segment == \"gold\"', targets: [sandbox/large]}}]\n\
         experiments: [{{id: tone, alias: assistant, unit: user, arms: [{{name: control, weight: 3, target: sandbox/small}}, \
         {{name: new, weight: 1, route: gold}}]}}]\n"
    );
    let tollgate = Tollgate::with_files(&[("tollgate.yaml", CONFIG), ("policy.yaml", &policy)], &[]);
    let models = tollgate.console().get("/api/v1/models").json();
    assert_eq!(models["routes"][0]["when"]["conditions"], json!(["request.segment == \"gold\""]));
    assert_eq!(
        models["experiments"][0]["arms"][1],
        json!({"name": "new", "weight": 1, "target": null, "route": "gold"})
    );
    let page = tollgate.console().get("/models").text();
    assert!(page.contains("<code>request.segment == &quot;gold&quot;</code>"), "{page}");
    assert!(page.contains(r##"<a href="/experiments#tone">"##) && page.contains("<b>75 %</b> control"), "{page}");
}

#[test]
fn a_circle_of_aliases_is_refused_before_anything_is_started() {
    let circle = "models:\n  a: {targets: [b]}\n  b: {targets: [sandbox/small, a]}\n";
    let tollgate = Tollgate::at_rest(&[("tollgate.yaml", circle)], &[]);
    let said = tollgate.refused();
    assert!(said.contains("tollgate.yaml:line 2, column 17") && said.contains("`a` → `b` → `a`"), "{said}");
}

#[test]
fn a_copy_of_a_call_is_a_row_of_its_own() {
    let config =
        "log: {flush_seconds: 1}\nmodels:\n  m: {targets: [sandbox/small], shadow: {to: sandbox/large, share: 1}}\n";
    let tollgate = Tollgate::with_config(config);
    let answer = tollgate.gateway().post("/v1/chat/completions", &chat_request("m", "hello"));
    assert_eq!(answer.status, 200);
    let sql = format!(
        "select model_served, http_status, cost_usd from interactions where shadow_of = '{}'",
        answer.interaction_id()
    );
    let row = eventually("the copy is there", Duration::from_secs(10), || tollgate.console().rows(&sql).pop());
    assert_eq!((&row["model_served"], &row["http_status"]), (&json!("large"), &Value::Null));
}
