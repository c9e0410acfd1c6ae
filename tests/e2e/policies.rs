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
    // Keys that were not known yet leave rows too, which no bundle decided.
    tollgate.await_count("select count(*) from interactions where policy_bundle_hash is not null", calls);
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
    assert_eq!(report["own_routed"], report["own_routes_agreed"], "{report:#}");
    assert!(report["own_routed"].as_i64().unwrap() > 20, "{report:#}");
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

/// One alias for each way of choosing.
const ROUTED: &str = "log: {flush_seconds: 1}
models:
  assistant: {targets: [sandbox/large, sandbox/small]}
  spread: {strategy: weighted, targets: [{target: sandbox/large, weight: 70}, {target: sandbox/small, weight: 30}]}
  turns: {strategy: round_robin, targets: [sandbox/large, sandbox/small, sandbox/medium]}
  quick: {strategy: latency, targets: [sandbox/large, sandbox/small, sandbox/medium]}
  fast: {strategy: fastest, targets: [sandbox/large, sandbox/small]}
  chatty: {targets: [sandbox/medium, sandbox/small]}
policies: bundle.yaml
";

const ROUTES: &str = r#"
apiVersion: tollgate/v1
bundle: {name: routed, version: "1"}
access:
  - {id: known-keys, when: "true", allow: {}}
routes:
  - id: gold
    alias: assistant
    when: 'request.segment == "gold"'
    strategy: weighted
    targets: [{target: sandbox/small, weight: 50}, {target: sandbox/medium, weight: 50}]
  - {id: bargain, alias: bargain, strategy: cost, targets: [sandbox/large, sandbox/small]}
experiments:
  - id: tone
    alias: chatty
    unit: metadata.customer
    salt: "1"
    arms:
      - {name: control, weight: 50, target: sandbox/medium}
      - {name: new, weight: 50, target: sandbox/large}
"#;

#[test]
fn a_back_test_routes_every_call_as_it_was_routed_and_shows_what_another_bundle_would_move() {
    let dear = ROUTES.replace("strategy: cost, targets: [sandbox/large, sandbox/small]", "targets: [sandbox/large]");
    let heavier = ROUTES.replace("sandbox/small, weight: 50", "sandbox/small, weight: 0");
    let salted = ROUTES.replace(r#"salt: "1""#, r#"salt: "2""#);
    let measured = ROUTES.replace("strategy: cost", "strategy: latency");
    let divided = format!(
        "{ROUTES}  - {{id: size, alias: spread, unit: key, arms: [{{name: small, weight: 1, target: sandbox/small}}, \
         {{name: none, weight: 0, target: sandbox/large}}]}}\n"
    );
    let guarded = format!(
        "{ROUTES}guardrails:\n  - {{id: no-files, phase: input, when: 'request.model == \"bargain\"', run: [{{keywords: [onboarding \
         file]}}], on_hit: {{action: block}}}}\n  - {{id: no-whales, phase: input, run: [{{keywords: [blue whale]}}], on_hit: \
         {{action: block}}}}\n"
    );
    let files = [
        ("tollgate.yaml", ROUTED),
        ("bundle.yaml", ROUTES),
        ("guarded.yaml", &guarded),
        ("dear.yaml", &dear),
        ("heavier.yaml", &heavier),
        ("salted.yaml", &salted),
        ("measured.yaml", &measured),
        ("divided.yaml", &divided),
    ];
    let tollgate = Tollgate::with_files(&files, &[]);
    let gateway = tollgate.gateway();
    let mut calls = 0;
    for number in 0..16 {
        let customer = format!(r#"{{"customer": "c-{number}"}}"#);
        for (model, labels) in [
            ("assistant", ""),
            ("assistant", r#"{"segment": "gold"}"#),
            ("bargain", ""),
            ("spread", ""),
            ("turns", ""),
            ("quick", ""),
            ("fast", ""),
            ("chatty", &customer),
            ("sandbox/small", ""),
        ] {
            assert_eq!(ask(&gateway, model, labels).status, 200, "{model}");
            calls += 1;
        }
    }
    tollgate.await_count("select count(*) from interactions where policy_bundle_hash is not null", calls);
    let console = tollgate.console();
    let went = |condition: &str| console.number(&format!("select count(*) from interactions where {condition}"));

    let own = simulate(&tollgate, "bundle.yaml", &["--max-rerouted", "0%"]);
    let report = &own["report"];
    assert_eq!((report["replayed"].as_i64(), report["own_agreed"].as_i64()), (Some(calls), Some(calls)), "{report:#}");
    assert_eq!((report["own_routed"].as_i64(), report["own_routes_agreed"].as_i64()), (Some(calls), Some(calls)));
    let routing = &report["routing"];
    for count in ["drawn_anew", "assumed_ready", "priced_now", "has_drifted"] {
        assert_eq!(routing[count], 0, "{routing}");
    }
    assert_eq!((&routing["kept"], &routing["unknown"]), (&Value::Array(vec![]), &Value::Array(vec![])));
    // Gold calls, bargains and chats: each by the bundle.
    assert_eq!(routing["planned"], 48, "{routing}");
    for arm in report["arms"].as_array().unwrap() {
        assert_eq!(arm["before"], arm["after"], "{arm}");
    }
    assert_eq!(own["changes"], Value::Array(vec![]));

    // A target is dropped: bargains become dear, by the price list.
    let found = simulate(&tollgate, "dear.yaml", &[]);
    assert_eq!(moved(&found), [route("sandbox/small", "sandbox/large", 16)], "{found:#}");
    assert_eq!(found["report"]["cost"]["estimated"], 16);
    let usd = |name: &str| found["report"]["cost"][name].as_str().unwrap().parse::<f64>().unwrap();
    assert!(usd("would_usd") > 1.1 * usd("logged_usd"), "{found:#}");
    assert!(found["report"]["latency"]["would_mean_us"].is_u64(), "{found:#}");
    assert_eq!(found["changes"][0]["rule"], "bargain", "{found:#}");
    assert_eq!(found["report"]["sample"][0]["why"], "`sandbox/large` first of 1 by `fallback` of the bundle");

    // A weight changes: by the very numbers that were drawn, those that fell on it go elsewhere.
    let small = went("tags['segment'] = 'gold' and model_served = 'small'");
    assert!((1..16).contains(&small), "{small} of 16");
    let found = simulate(&tollgate, "heavier.yaml", &[]);
    assert_eq!(moved(&found), [route("sandbox/small", "sandbox/medium", small)]);
    assert_eq!(found["report"]["routing"]["drawn_anew"], 0);

    // Another salt divides the same customers otherwise.
    let found = simulate(&tollgate, "salted.yaml", &[]);
    let arms = found["report"]["arms"].as_array().unwrap();
    let count = |side: &str| arms.iter().map(|arm| arm[side].as_i64().unwrap()).sum::<i64>();
    assert_eq!((count("before"), count("after")), (16, 16), "{arms:?}");
    assert!(!moved(&found).is_empty(), "{found:#}");

    // A new experiment puts its arm first whatever was drawn.
    let large = went("route_id = 'spread' and model_served = 'large'");
    let found = simulate(&tollgate, "divided.yaml", &[]);
    assert_eq!(moved(&found), [route("sandbox/large", "sandbox/small", large)], "{found:#}");
    let arms = found["report"]["arms"].as_array().unwrap();
    let arm = arms.iter().find(|arm| arm["experiment"] == "size").unwrap();
    assert_eq!((&arm["before"], &arm["after"]), (&0.into(), &16.into()));

    // Guardrails are tried again on what was said.
    let found = simulate(&tollgate, "guarded.yaml", &[]);
    let guards = &found["report"]["guardrails"];
    assert_eq!((guards["chosen"].as_i64(), guards["looked_at"].as_i64()), (Some(calls), Some(calls)), "{guards}");
    assert_eq!((&guards["blocked_before"], &guards["blocked_after"]), (&0.into(), &16.into()), "{guards}");
    assert_eq!(guards["rules"].as_array().unwrap().len(), 1, "{guards}");
    assert!(moved(&found).is_empty(), "decisions stay as they were");
    let readings = "select count(*) from access_events where action = 'simulate' and \"rows\" = 200";
    tollgate.await_count(readings, 1);

    // What was live then and stands on no row is not made up.
    let found = simulate(&tollgate, "measured.yaml", &[]);
    assert!(moved(&found).is_empty(), "{found:#}");
    assert_eq!(found["report"]["routing"]["kept"], serde_json::json!([["live_health", 16]]));
    let shown = tollgate.run(&["policy", "simulate", &path(&tollgate, "measured.yaml"), "--from", "2026-01-01"]);
    assert!(shown.contains("16 calls: route kept as it was: chosen by live health"), "{shown}");
}

fn route(from: &str, to: &str, calls: i64) -> (String, String, i64) {
    (from.to_owned(), to.to_owned(), calls)
}

/// Who would go where instead: from, to, calls.
fn moved(simulation: &Value) -> Vec<(String, String, i64)> {
    let routes = simulation["report"]["routes"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let read = |found: &Value| (text(&found["from"]), text(&found["to"]), found["calls"].as_i64().unwrap());
    let mut moved: Vec<_> = routes.iter().map(read).collect();
    moved.sort_unstable();
    moved
}

const REDACTING: &str = r#"
apiVersion: tollgate/v1
bundle: {name: redacting}
access:
  - {id: known-keys, when: "true", allow: {}}
guardrails:
  - {id: no-addresses, phase: input, run: [pii.email], on_hit: {action: redact}}
  - {id: no-whales, phase: input, run: [{keywords: [blue whale]}], on_hit: {action: flag}}
"#;

#[test]
fn what_a_guardrail_took_out_of_a_text_is_not_said_to_be_found_no_more() {
    let proposed = REDACTING.replace("action: flag", "action: block").replace("pii.email", "pii.email, pii.phone");
    let files = [
        ("tollgate.yaml", "log: {flush_seconds: 1}\npolicies: bundle.yaml\n"),
        ("bundle.yaml", REDACTING),
        ("proposed.yaml", &proposed),
    ];
    let tollgate = Tollgate::with_files(&files, &[]);
    let gateway = tollgate.gateway();
    let texts =
        ["Write to ada@acme.example", "Ask bob@acme.example about the blue whale", "The blue whale sings", "Hello"];
    for text in texts.into_iter().chain(["use AKIAIOSFODNN7EXAMPLE to see it"]) {
        assert_eq!(gateway.chat("sandbox/small", text).status, 200, "{text}");
    }
    tollgate.await_count("select count(*) from interactions where policy_bundle_hash is not null", 5);
    let found = simulate(&tollgate, "proposed.yaml", &[]);
    let guards = &found["report"]["guardrails"];
    // Of two an address was taken out, of one a key before it was written down.
    assert_eq!(
        (&guards["chosen"], &guards["looked_at"], &guards["altered"]),
        (&5.into(), &2.into(), &3.into()),
        "{guards}"
    );
    let whales = serde_json::json!([
        {"rule": "no-whales", "action": "flag → block", "before": 1, "after": 1, "asks_service": false}
    ]);
    assert_eq!((&guards["rules"], &guards["blocked_after"]), (&whales, &1.into()), "{guards}");
    let shown = tollgate.run(&["policy", "simulate", &path(&tollgate, "proposed.yaml"), "--from", "2026-01-01"]);
    let sentence = "on the texts of 2 of the 5 calls chosen (3 had something taken out of their texts, which cannot be found again)";
    assert!(shown.contains(sentence), "{shown}");
    let row = "guardrail `no-whales` (flag → block): of these 2 calls it did find something in 1 and would in 1";
    assert!(shown.contains(row), "{shown}");
}
