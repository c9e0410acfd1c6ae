//! A bundle is tried on the past before it is trusted: replayed over its own period it decides every call as it did, and
//! another one is held against limits.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Api, Tollgate, chat_request, eventually};

/// The first target of `resilient` does not answer, so that its calls go on to the second.
const CONFIG: &str = "log: {flush_seconds: 1}
providers:
  gone: {dialect: openai, base_url: http://127.0.0.1:9/v1, api_key: none}
models:
  assistant: {targets: [sandbox/large, sandbox/small]}
  resilient: {targets: [gone/large, sandbox/small]}
policies: bundle.yaml
";

const BUNDLE: &str = r#"
apiVersion: tollgate/v1
bundle: {name: mixed, version: "1"}
access:
  - id: interns-small-only
    when: ['principal.team == "interns"', 'request.model != "sandbox/small"']
    deny: "interns use sandbox/small"
  - id: no-batch-by-day
    when: '"job" in request.metadata && request.metadata["job"] == "forbidden"'
    deny: "this job may not run"
  - {id: known-keys, when: "true", allow: {}}
budgets:
  - id: month-per-team
    scope: {team: "*"}
    limit: {usd: "LIMIT", per: month}
    steps:
      - {at: 0.50, prefer: cheapest}
      - {at: 1.00, deny_unless: 'request.priority == "critical"'}
    max_snapshot_age: 5m
    on_stale: conservative
"#;

#[test]
fn a_bundle_replayed_over_its_own_period_decides_as_it_did_and_another_is_held_against_limits() {
    let cost: f64 = {
        let probe = Tollgate::start();
        let answer = ask(&probe.gateway(), "sandbox/large", "");
        answer.header("x-tollgate-cost-usd").parse().unwrap()
    };
    let bundle = BUNDLE.replace("LIMIT", &format!("{:.12}", cost * 10.0));
    let stricter = bundle.replace(r#""interns""#, r#""kyc""#).replace(r#"version: "1""#, r#"version: "2""#);
    let files = [("tollgate.yaml", CONFIG), ("bundle.yaml", &bundle), ("stricter.yaml", &stricter)];
    let mut tollgate = Tollgate::with_files(&files, &[]);
    let calls = traffic(&tollgate);
    tollgate.await_count("select count(*) from interactions", calls);
    let console = tollgate.console();
    let denied = console.number("select count(*) from interactions where decision = 'deny'");
    assert!(denied > 8, "{denied}");
    let moved = console.number(
        "select count(*) from interactions where route_id = 'assistant' and outcome = 'success' and model_served = 'small'",
    );
    assert!(moved > 0, "some calls went to the cheaper target");

    let own = simulate(&tollgate, "bundle.yaml", &["--max-denials", "0%", "--max-cost", "0%", "--max-rerouted", "0%"]);
    assert_eq!(own["is_accepted"], true, "{own}");
    let report = &own["report"];
    assert_eq!(report["is_exact"], true, "{report}");
    assert_eq!(report["replayed"].as_i64(), Some(calls), "{report}");
    assert_eq!((&report["own"], &report["own_agreed"]), (&report["replayed"], &report["replayed"]), "{report:#}");
    assert_eq!(report["cost"]["logged_usd"], report["cost"]["would_usd"]);
    assert_eq!(report["sample"], Value::Array(Vec::new()), "nothing becomes of any call");

    // Once more from the lake alone, without the server and with the same figures.
    eventually("all are in the lake", Duration::from_secs(20), || {
        (console.get("/api/v1/integrity").json()["hot_rows"] == 0).then_some(())
    });
    let other = simulate(&tollgate, "stricter.yaml", &[]);
    let denials = |report: &Value| report["decisions"][1]["calls"].as_i64().unwrap();
    assert!(denials(&other["report"]) > 0, "{other}");
    assert_eq!(other["report"]["own"], 0);
    assert_eq!(other["report"]["sample"][0]["rule_after"], "interns-small-only", "{other}");
    let page = console.get("/api/v1/policies").json();
    assert_eq!(page["revisions"][0]["name"], "mixed", "{page}");
    tollgate.stop();
    let from_lake = simulate(&tollgate, "bundle.yaml", &[]);
    assert_eq!(from_lake["report"]["own_agreed"].as_i64(), Some(calls), "{from_lake:#}");
    let again = simulate(&tollgate, "stricter.yaml", &[]);
    assert_eq!(again["report"]["decisions"], other["report"]["decisions"]);
    assert_eq!(again["report"]["sample"], other["report"]["sample"], "the same calls to look at");
    let mut refused = tollgate.command();
    refused.args([
        "policy",
        "simulate",
        &path(&tollgate, "stricter.yaml"),
        "--from",
        "2026-01-01",
        "--max-denials",
        "1%",
    ]);
    let refused = refused.output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("the bundle goes beyond max-denials"), "{said}");
}

fn path(tollgate: &Tollgate, file: &str) -> String {
    tollgate.folder().join(file).display().to_string()
}

fn simulate(tollgate: &Tollgate, file: &str, limits: &[&str]) -> Value {
    let path = path(tollgate, file);
    let mut arguments = vec!["--json", "policy", "simulate", &path, "--from", "2026-01-01"];
    arguments.extend(limits);
    serde_json::from_str(&tollgate.run(&arguments)).unwrap()
}

/// Makes calls that are allowed, denied by rule and by budget, let through by priority, moved and failed over.
fn traffic(tollgate: &Tollgate) -> i64 {
    let (kyc, interns) = (tollgate.gateway_of_team("kyc"), tollgate.gateway_of_team("interns"));
    let mut calls = 0;
    let mut call = |api: &Api, model: &str, labels: &str| {
        ask(api, model, labels);
        calls += 1;
    };
    for _ in 0..14 {
        call(&kyc, "assistant", "");
    }
    for _ in 0..4 {
        call(&kyc, "assistant", r#"{"priority": "critical"}"#);
        call(&kyc, "sandbox/small", r#"{"job": "forbidden"}"#);
        call(&interns, "sandbox/small", "");
        call(&interns, "sandbox/large", "");
        call(&interns, "resilient", "");
        call(&kyc, "sandbox/large", "");
    }
    for _ in 0..6 {
        call(&kyc, "sandbox/large", r#"{"priority": "critical"}"#);
        call(&kyc, "assistant", "");
    }
    for _ in 0..3 {
        call(&tollgate.gateway_of_team("retail"), "resilient", "");
    }
    calls
}

fn ask(api: &Api, model: &str, labels: &str) -> crate::support::Answer {
    let mut request = chat_request(model, "Summarise the onboarding file of this customer in three sentences.");
    request["max_tokens"] = 10.into();
    let headers = [("x-tollgate-metadata", labels)];
    let headers = if labels.is_empty() { &headers[..0] } else { &headers[..] };
    api.try_post("/v1/chat/completions", &request, headers).unwrap()
}
