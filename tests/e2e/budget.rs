//! What the log shows changes what the router does: a team crosses 80 % and 100 % of its monthly budget.

use std::time::Duration;

use crate::support::{Answer, Api, Tollgate, chat_request, eventually};

/// One call with `sandbox/large` costs far more than one with `sandbox/small`; the budget is a handful of the former.
const CONFIG: &str = "log: {flush_seconds: 1}
models:
  assistant: {targets: [sandbox/large, sandbox/small]}
policies: bundle.yaml
";

#[test]
fn a_team_over_eighty_percent_gets_the_cheaper_model_and_over_its_budget_only_what_is_critical() {
    let probe = Tollgate::start();
    let priced = ask(&probe.gateway(), "sandbox/large");
    let cost: f64 = priced.header("x-tollgate-cost-usd").parse().unwrap();
    assert!(cost > 0.0);
    // Room for ten calls: the ninth starts at 80 %.
    let limit = format!("{:.12}", cost * 10.0);
    let bundle = BUNDLE.replace("LIMIT", &limit);
    let mut tollgate = Tollgate::with_files(&[("tollgate.yaml", CONFIG), ("bundle.yaml", &bundle)], &[]);
    let team = tollgate.gateway_of_team("kyc");

    for call in 1..=8 {
        let answer = ask(&team, "assistant");
        assert_eq!(answer.header("x-tollgate-model"), "large", "call {call} is under 80 %");
    }
    let ninth = ask(&team, "assistant");
    assert_eq!(ninth.status, 200);
    assert_eq!(ninth.header("x-tollgate-model"), "small", "from 80 % on the cheaper target is preferred");

    // Spend is the same after a crash, because it is read from the log.
    tollgate.kill();
    tollgate.resume();
    let team = Api::new(&tollgate.gateway_url, team.secret());
    assert_eq!(ask(&team, "assistant").header("x-tollgate-model"), "small");

    // The rest of the budget goes quickly with the expensive model named outright.
    for _ in 0..2 {
        assert_eq!(ask(&team, "sandbox/large").status, 200);
    }
    let denied = ask(&team, "assistant");
    assert_eq!(denied.status, 429, "{}", denied.text());
    assert_eq!(denied.json()["error"]["code"], "budget_exceeded");
    let critical = team
        .try_post(
            "/v1/chat/completions",
            &request("assistant"),
            &[("x-tollgate-metadata", r#"{"priority": "critical"}"#)],
        )
        .unwrap();
    assert_eq!(critical.status, 200, "{}", critical.text());
    // Another team is not concerned.
    assert_eq!(ask(&tollgate.gateway_of_team("retail"), "assistant").header("x-tollgate-model"), "large");

    read_back(&tollgate, &ninth.interaction_id(), &denied.interaction_id());
}

fn read_back(tollgate: &Tollgate, preferred: &str, denied: &str) {
    let console = tollgate.console();
    let row = |id: &str| {
        let sql = format!("select * from interactions where interaction_id = '{id}'");
        eventually("the row is there", Duration::from_secs(5), || console.rows(&sql).pop())
    };
    let rules = |row: &serde_json::Value| row["decision_reasons"].to_string();
    let (preferred, denied) = (row(preferred), row(denied));
    assert!(rules(&preferred).contains("month-per-team") && rules(&preferred).contains("prefer"), "{preferred}");
    assert!(preferred["signals_id"].is_string(), "{preferred}");
    assert_eq!(denied["outcome"], "denied");
    assert_eq!(denied["decision"], "deny");
    assert!(rules(&denied).contains("month-per-team") && rules(&denied).contains("deny"), "{denied}");
    assert!(denied["signals_id"].is_string(), "{denied}");
    let spent = console.rows("select sum(cost_usd) as spent from interactions where team = 'kyc'").remove(0);
    println!("team kyc spent {}", spent["spent"]);
}

/// Every answer is cut at the same length, so that every call to a model costs the same.
fn request(model: &str) -> serde_json::Value {
    let mut request = chat_request(model, PROMPT);
    request["max_tokens"] = 10.into();
    request
}

fn ask(api: &Api, model: &str) -> Answer {
    api.post("/v1/chat/completions", &request(model))
}

const PROMPT: &str = "Summarise the onboarding file of this customer in three sentences.";

const BUNDLE: &str = r#"
apiVersion: tollgate/v1
bundle: {name: end-to-end, version: "1"}
access:
  - {id: known-keys, when: "true", allow: {}}
budgets:
  - id: month-per-team
    scope: {team: "*"}
    limit: {usd: "LIMIT", per: month}
    steps:
      - {at: 0.80, prefer: cheapest}
      - {at: 1.00, deny_unless: 'request.priority == "critical"'}
    max_snapshot_age: 5m
    on_stale: conservative
"#;
