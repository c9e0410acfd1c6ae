//! What somebody whose role ends at one organisation is told by a real server: calls of their organisation, through every door,
//! hot or in the lake, and nothing of another.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Api, Tollgate, eventually};

/// The gateway for a new key of an organisation.
fn gateway_of(tollgate: &Tollgate, organisation: &str, team: &str) -> Api {
    let created = tollgate.run(&["--json", "key", "create", organisation, "--team", team, "--tenant", organisation]);
    let created: Value = serde_json::from_str(&created).unwrap();
    let api = Api::new(&tollgate.gateway_url, created["key"].as_str().unwrap());
    eventually("the key works", Duration::from_secs(10), || (api.get("/v1/models").status == 200).then_some(()));
    api
}

fn token_of(tollgate: &Tollgate, arguments: &[&str]) -> Api {
    let token = tollgate.run(&[&["--json", "token", "create"], arguments].concat());
    let token: Value = serde_json::from_str(&token).unwrap();
    Api::new(&tollgate.console_url, token["token"].as_str().unwrap())
}

#[test]
fn an_organisation_s_auditor_and_admin_see_and_change_nothing_of_another() {
    let tollgate = Tollgate::with_config("log: {flush_seconds: 1}\n");
    let (acme, globex) = (gateway_of(&tollgate, "acme", "kyc"), gateway_of(&tollgate, "globex", "merger"));
    for _ in 0..2 {
        assert_eq!(acme.chat("sandbox/small", "crimson tide").status, 200);
    }
    let theirs = globex.chat("sandbox/small", "crimson merger").interaction_id();
    let whole = tollgate.console();
    eventually("the calls are in the log", Duration::from_secs(20), || {
        (whole.number("select count(*) from interactions where operation = 'chat'") == 3).then_some(())
    });
    let auditor = token_of(&tollgate, &["--role", "auditor", "--organisation", "acme"]);

    // Every table that SQL can be asked about, and what a query could try.
    assert_eq!(auditor.number("select count(*) from interactions where operation = 'chat'"), 2);
    for table in ["interactions", "costs", "payloads"] {
        let rows = auditor.rows(&format!("select distinct tenant from {table}"));
        assert_eq!(rows, [json!({"tenant": "acme"})], "{table}");
    }
    for table in ["control_events", "log_gaps"] {
        assert_eq!(auditor.number(&format!("select count(*) from {table}")), 0, "{table}");
        assert!(table == "log_gaps" || whole.number(&format!("select count(*) from {table}")) > 0);
    }
    assert_eq!(auditor.number(&format!("select count(*) from payloads where interaction_id = '{theirs}'")), 0);
    let said = "select count(*) from payloads where messages[1]['content'] like '%merger%'";
    assert_eq!((auditor.number(said), whole.number(said)), (0, 1));
    let fails = json!({"query": "select count(*) from interactions where cast(replace(team, 'kyc', '1') as int) > 0"});
    assert_eq!(whole.post("/api/v1/sql", &fails).status, 400);
    let answer = auditor.post("/api/v1/sql", &fails);
    assert!(answer.status == 200 && !answer.text().contains("merger"), "{}", answer.text());
    let explained = auditor.post("/api/v1/sql", &json!({"query": "explain analyze select * from interactions"}));
    assert!(explained.status == 400 && explained.text().contains("sql_bounded"), "{}", explained.text());
    let csv = auditor.post("/api/v1/sql?format=csv", &json!({"query": "select tenant from interactions"})).text();
    assert!(csv.contains("acme") && !csv.contains("globex"), "{csv}");

    // Pages and the API.
    let console = &tollgate.console_url;
    for path in ["/", "/interactions", "/costs", "/experiments", "/budgets", "/keys", "/people", "/setup", "/sql"] {
        let page = Api::new(console, auditor.secret()).get(path);
        assert!(page.status == 200 && !page.text().contains("globex"), "{path}: {}", page.status);
    }
    let found = eventually("the index has caught up", Duration::from_secs(20), || {
        let all = whole.get("/api/v1/search?q=crimson").json();
        (all["total"] == 3).then(|| auditor.get("/api/v1/search?q=crimson").json())
    });
    assert_eq!(found["total"], 2, "{found}");
    assert_eq!(auditor.get(&format!("/api/v1/interactions/{theirs}/request")).status, 404);
    for path in [
        "/api/v1/models",
        "/api/v1/policies",
        "/api/v1/integrity",
        "/api/v1/derived",
        "/api/v1/reports/record-keeping",
        "/models",
        "/policies",
        "/reports",
    ] {
        let refused = auditor.get(path);
        assert!(refused.status == 403 && refused.text().contains("reach_insufficient"), "{path}: {}", refused.text());
    }

    // An admin of the organisation makes people and keys of it, and of no other.
    let admin = token_of(&tollgate, &["--role", "admin", "--organisation", "acme"]);
    let ann = admin.post("/api/v1/people", &json!({"user_name": "ann", "role": "auditor"})).json();
    assert_eq!(ann["reach"], json!({"organisation": "acme"}), "{ann}");
    let refused = admin.post("/api/v1/keys", &json!({"name": "x", "team": "y", "tenant": "globex"}));
    assert_eq!(refused.status, 403, "{}", refused.text());
    let link = format!("/api/v1/people/{}/sign-in-link", ann["id"].as_str().unwrap());
    let link = admin.post(&link, &Value::Null).json();
    let mut browser = crate::support::Browser::new();
    let came = browser.get(&format!("{console}{}", link["path"].as_str().unwrap()));
    assert_eq!(came.status, 303, "{}", came.text);
    let list = browser.get(&format!("{console}/interactions?range=24h"));
    assert!(list.status == 200 && list.text.contains("kyc") && !list.text.contains("merger"), "{}", list.status);
    let asked = browser.get(&format!("{console}/policies"));
    assert!(asked.status == 403 && asked.text.contains("reach_insufficient"), "{}", asked.text);
    let read = "select count(*) from access_events where tenant = 'acme'";
    assert!(whole.number(read) > 0, "what they read is recorded as read in their organisation");
}

#[test]
fn a_classifier_that_this_build_cannot_load_is_refused_before_anything_listens() {
    let section = "classifier:\n  library: lib.so\n  model: model.onnx\n  tokenizer: tokenizer.json\n";
    let tollgate = Tollgate::at_rest(&[("tollgate.yaml", section)], &[]);
    let said = tollgate.refused();
    assert!(
        said.contains("tollgate.yaml:line 2, column 12: ")
            && (said.contains("--features onnx") || said.contains("lib.so")),
        "{said}"
    );
}
