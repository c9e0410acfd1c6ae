//! Who comes in and what they see: through a real identity provider, with roles, with keys that are limited; and what
//! happens when the provider or the database of the control plane goes away.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Api, Browser, Forwarder, OidcProvider, Page, Tollgate, eventually, free_port};

const SECRET: &str = "a secret of the tests & nobody else's";

fn with_provider(provider: &OidcProvider, console_port: u16) -> Tollgate {
    let yaml = format!(
        "log: {{flush_seconds: 1}}\nauth:\n  oidc:\n    issuer: \"{}\"\n    \
         client_id: tollgate\n    client_secret: \"${{CLIENT_SECRET}}\"\n    name: Acme\n    organisation: acme\n    \
         roles: {{eng: developer, books: finance, ops: admin}}\n    teams: {{eng: red}}\n",
        provider.issuer
    );
    let mut tollgate = Tollgate::at_rest(&[("tollgate.yaml", &yaml)], &[("CLIENT_SECRET", SECRET)]);
    tollgate.console_address = format!("127.0.0.1:{console_port}");
    tollgate.resume();
    tollgate
}

fn provider(console_port: u16) -> OidcProvider {
    let people = json!({
        "ann": {"groups": ["eng"], "name": "Ann", "preferred_username": "ann", "email": "ann@acme.test"},
        "bob": {"groups": ["kitchen"], "preferred_username": "bob"},
        "cat": {"groups": ["books", "eng"], "preferred_username": "cat"},
    });
    let back = format!("http://127.0.0.1:{console_port}/login/oidc/callback");
    OidcProvider::start(SECRET, &back, &people.to_string())
}

/// Signs `name` in and returns the page they come to, and where the provider had sent them.
fn sign_in(tollgate: &Tollgate, browser: &mut Browser, name: &str) -> (Page, String) {
    let begun = browser.get(&format!("{}/login/oidc?next=/costs", tollgate.console_url));
    assert_eq!(begun.status, 303, "{}", begun.text);
    let back = browser.sign_in_at_provider(&begun.location, name);
    (browser.get(&back), back)
}

#[test]
fn people_come_in_through_a_provider_with_the_role_of_their_groups() {
    let console_port = free_port();
    let mut provider = provider(console_port);
    let tollgate = with_provider(&provider, console_port);
    let console = &tollgate.console_url;
    let login = Browser::new().get(&format!("{console}/login"));
    assert!(login.text.contains("Sign in with Acme") && !login.text.contains("does not answer"), "{}", login.text);

    let mut ann = Browser::new();
    let (page, back) = sign_in(&tollgate, &mut ann, "ann");
    assert_eq!((page.status, page.location.as_str()), (303, format!("{console}/costs").as_str()), "{}", page.text);
    assert_eq!(ann.get(&format!("{console}/costs")).status, 200);
    assert_eq!(ann.get(&format!("{console}/sql")).status, 403, "a developer asks nothing in SQL");
    // The code again, from the same browser and from another.
    let again = ann.get(&back);
    assert!(again.text.contains("was not begun in this browser"), "{}", again.text);
    let stranger = Browser::new().get(&back);
    assert!(stranger.location.is_empty() && stranger.text.contains("was not begun in this browser"));
    let mut forger = Browser::new();
    forger.get(&format!("{console}/login/oidc"));
    let forged = forger.get(&back);
    assert!(forger.cookie("tollgate_session").is_none() && forged.text.contains("was not begun"), "another's state");

    let mut bob = Browser::new();
    let (page, _) = sign_in(&tollgate, &mut bob, "bob");
    assert!(page.text.contains("none of your groups has a role here"), "{}", page.text);
    assert!(bob.cookie("tollgate_session").is_none());

    let mut cat = Browser::new();
    sign_in(&tollgate, &mut cat, "cat");
    let page = cat.get(&format!("{console}/costs"));
    assert!(page.status == 200 && page.text.contains("Signed in as finance"), "{}", page.text);

    let actions = || -> Vec<String> {
        let rows =
            tollgate.console().rows("select action from control_events where actor not like 'local%' order by at");
        rows.iter().map(|row| row["action"].as_str().unwrap().to_owned()).collect()
    };
    eventually("every sign-in is in the log", Duration::from_secs(10), || {
        let actions = actions();
        let count = |action: &str| actions.iter().filter(|one| *one == action).count();
        (count("user.signed_in") == 2 && count("login.refused") == 1 && count("user.created") == 2).then_some(())
    });
    let events = tollgate.console().rows("select actor, subject, detail from control_events");
    let text = format!("{events:?}");
    assert!(!text.contains("ann@acme.test") && !text.contains(SECRET), "{text}");

    provider.stop();
    assert_eq!(ann.get(&format!("{console}/costs")).status, 200, "who is in stays in");
    let tried = eventually("its absence is noticed", Duration::from_secs(20), || {
        // What the provider said of itself is kept for a while: the code is what it must answer to.
        let mut browser = Browser::new();
        let begun = browser.get(&format!("{console}/login/oidc"));
        if begun.status == 200 {
            return Some(begun);
        }
        let state = begun.location.split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
        let ended = browser.get(&format!("{console}/login/oidc/callback?code=x&state={state}"));
        ended.text.contains("does not answer").then_some(ended)
    });
    assert!(tried.text.contains("does not answer") && tried.location.is_empty(), "{}", tried.text);
    let login = Browser::new().get(&format!("{console}/login"));
    assert!(login.status == 200 && login.text.contains("does not answer"), "the page says so: {}", login.text);
    assert_eq!(tollgate.console().get("/api/v1/keys").status, 200, "a token goes on working");
    assert!(!tollgate.log().contains("panicked") && !tollgate.log().contains(SECRET));
}

#[test]
fn a_provider_that_is_not_there_closes_its_own_door_only() {
    let yaml = format!(
        "auth: {{oidc: {{issuer: \"http://127.0.0.1:{}\", client_id: tollgate, client_secret: x, default_role: admin}}}}\n",
        free_port()
    );
    let tollgate = Tollgate::with_config(&yaml);
    let mut browser = Browser::new();
    let page = browser.get(&format!("{}/login/oidc", tollgate.console_url));
    assert!(page.status == 200 && page.text.contains("does not answer"), "{}", page.text);
    assert!(browser.cookie("tollgate_session").is_none());
    let link = tollgate.login_url.clone();
    assert_eq!(browser.get(&link).status, 303);
    let home = browser.get(&format!("{}/", tollgate.console_url));
    assert!(home.status == 200 && home.text.contains("nobody can sign in through it"), "{}", home.text);
    eventually("the log says that it is away", Duration::from_secs(30), || {
        let sql = "select count(*) from control_events where action = 'oidc.unreachable'";
        (tollgate.console().number(sql) == 1).then_some(())
    });
}

#[test]
fn a_developer_s_figures_are_those_of_their_team() {
    let tollgate = Tollgate::start();
    let (red, blue) = (tollgate.gateway_of_team("red"), tollgate.gateway_of_team("blue"));
    for _ in 0..2 {
        assert_eq!(red.chat("sandbox/small", "crimson tide").status, 200);
    }
    let of_blue = blue.chat("sandbox/small", "crimson and azure").interaction_id();
    let token = tollgate.run(&["--json", "token", "create", "--role", "developer", "--team", "red"]);
    let token: Value = serde_json::from_str(&token).unwrap();
    let developer = Api::new(&tollgate.console_url, token["token"].as_str().unwrap());
    // Listing the models when a key is awaited is a call, too.
    let calls_of = |api: &Api, path: &str| api.get(path).json();
    eventually("the calls are in the log", Duration::from_secs(10), || {
        let all = tollgate.console().number("select count(*) from interactions where operation = 'chat'");
        (all == 3).then_some(())
    });
    let listed = calls_of(&developer, "/api/v1/interactions?range=24h");
    let teams: Vec<&str> = listed["rows"].as_array().unwrap().iter().map(|row| row["team"].as_str().unwrap()).collect();
    assert!(teams.len() >= 2 && teams.iter().all(|team| *team == "red"), "{listed}");
    let overview = calls_of(&developer, "/api/v1/overview?range=24h");
    assert_eq!(overview["totals"]["calls"].as_u64().unwrap() as usize, teams.len(), "{overview}");
    let everything = calls_of(&tollgate.console(), "/api/v1/overview?range=24h");
    assert!(everything["totals"]["calls"].as_u64() > overview["totals"]["calls"].as_u64());
    let costs = calls_of(&developer, "/api/v1/costs?range=24h");
    assert!(costs["rows"].as_array().unwrap().iter().all(|row| row["key"] == "red"), "{costs}");
    assert_eq!(developer.get(&format!("/api/v1/interactions/{of_blue}")).status, 404);
    assert_eq!(developer.get(&format!("/api/v1/interactions/{of_blue}/request")).status, 404);
    let found = eventually("the index has caught up", Duration::from_secs(20), || {
        let found = tollgate.console().get("/api/v1/search?q=crimson").json();
        (found["total"] == 3).then(|| developer.get("/api/v1/search?q=crimson").json())
    });
    assert_eq!(found["total"], 2, "{found}");
    let widened = developer.get("/api/v1/search?q=team:blue").json();
    assert_eq!(widened["total"], 0, "a filter does not widen what exists: {widened}");
    for path in ["/api/v1/keys", "/api/v1/integrity", "/api/v1/control", "/api/v1/reports/record-keeping"] {
        assert_eq!(developer.get(path).status, 403, "{path}");
    }
    assert_eq!(developer.post("/api/v1/sql", &json!({"query": "select 1"})).status, 403);
    let said = tollgate.command().args(["token", "create", "--role", "developer"]).output().unwrap();
    assert!(!said.status.success() && String::from_utf8_lossy(&said.stderr).contains("--team"));
}

#[test]
fn a_key_is_rotated_without_a_call_being_lost() {
    let tollgate = Tollgate::start();
    let made = tollgate.run(&[
        "--json",
        "key",
        "create",
        "bot",
        "--scope",
        "chat",
        "--model",
        "sandbox/*",
        "--source",
        "127.0.0.0/8",
        "--tag",
        "cost_centre=42",
    ]);
    let made: Value = serde_json::from_str(&made).unwrap();
    let old = Api::new(&tollgate.gateway_url, made["key"].as_str().unwrap());
    eventually("the key is known", Duration::from_secs(10), || {
        (old.chat("sandbox/small", "a").status == 200).then_some(())
    });
    let rotated: Value =
        serde_json::from_str(&tollgate.run(&["--json", "key", "rotate", "bot", "--grace", "3s"])).unwrap();
    let new = Api::new(&tollgate.gateway_url, rotated["key"].as_str().unwrap());
    assert_eq!(rotated["id"], made["id"]);
    eventually("the new one is known", Duration::from_secs(10), || {
        (new.chat("sandbox/small", "b").status == 200).then_some(())
    });
    let refused = eventually("the grace ends", Duration::from_secs(20), || {
        let answer = old.chat("sandbox/small", "c");
        (answer.status == 401).then_some(answer)
    });
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains("was replaced"), "{}", refused.text());
    let other = new.post("/v1/embeddings", &json!({"model": "sandbox/embed", "input": "a"}));
    assert_eq!((other.status, &other.json()["error"]["code"]), (403, &json!("key_scope_insufficient")));
    let rows = eventually("the refusals are rows", Duration::from_secs(10), || {
        let sql = "select error_type, count(*) as n from interactions where outcome = 'denied' \
                   and error_type in ('key_expired', 'key_scope_insufficient') group by 1 order by 1";
        Some(tollgate.console().rows(sql)).filter(|rows| rows.len() == 2)
    });
    assert_eq!(rows[1]["error_type"], "key_scope_insufficient");
    let wrong = tollgate.command().args(["key", "create", "x", "--source", "10.0.0.1/8"]).output().unwrap();
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("`10.0.0.1/8`"));
}

#[test]
fn everything_moves_to_postgres_and_calls_go_on_while_it_is_away() {
    let server = std::env::var("TOLLGATE_TEST_POSTGRES").expect("run the tests by `cargo xtask test`");
    let (user, rest) = server.strip_prefix("postgres://").unwrap().split_once('@').unwrap();
    let (address, _) = rest.split_once('/').unwrap();
    let database = format!("moved_{}", std::process::id());
    let made = Command::new("psql").args([&server, "-qc", &format!("CREATE DATABASE {database}")]).status().unwrap();
    assert!(made.success());
    let wire = Forwarder::to(address);
    let url = format!("postgres://{user}@127.0.0.1:{}/{database}", wire.port);

    let mut tollgate = Tollgate::with_config("log: {flush_seconds: 1}\n");
    let key = tollgate.key().to_owned();
    let file = format!("sqlite:{}", tollgate.data().join("meta.db").display());
    let early = tollgate.command().args(["metastore", "move", "--from", &file, "--to", &url]).output().unwrap();
    assert!(String::from_utf8_lossy(&early.stderr).contains("stop it first"), "{early:?}");
    tollgate.stop();
    let moved: Value =
        serde_json::from_str(&tollgate.run(&["--json", "metastore", "move", "--from", &file, "--to", &url])).unwrap();
    let keys = moved["tables"].as_array().unwrap().iter().find(|table| table["table"] == "api_keys").unwrap();
    assert_eq!(keys["rows"], 1, "{moved}");
    let twice = tollgate.command().args(["metastore", "move", "--from", &file, "--to", &url]).output().unwrap();
    let said = String::from_utf8_lossy(&twice.stderr).into_owned();
    assert!(!twice.status.success() && said.contains("is not empty"), "{said}");

    let yaml = format!("log: {{flush_seconds: 1}}\nmetastore: \"{url}\"\n");
    std::fs::write(tollgate.folder().join("tollgate.yaml"), yaml).unwrap();
    tollgate.resume();
    let gateway = Api::new(&tollgate.gateway_url, &key);
    assert_eq!(gateway.chat("sandbox/small", "on postgres").status, 200, "the key has moved along");
    let console = tollgate.console();
    let mut browser = Browser::new();
    assert_eq!(browser.get(&tollgate.login_url).status, 303);
    let home = format!("{}/", tollgate.console_url);
    let page = browser.get(&home);
    assert!(page.status == 200 && !page.text.contains("does not answer"), "{}", page.text);
    assert_eq!(console.get("/api/v1/overview").status, 200);
    let csrf = page.text.split("name=\"csrf\" content=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();

    wire.cut();
    assert_eq!(gateway.chat("sandbox/small", "while it is away").status, 200);
    let page = browser.get(&home);
    assert!(
        page.status == 200 && page.text.contains("The database of the control plane does not answer"),
        "{}",
        page.text
    );
    let form = format!("csrf={csrf}&name=late&team=red");
    let refused = browser.post(&format!("{}/keys", tollgate.console_url), &form);
    assert!(refused.status == 503 && refused.text.contains("metastore_unavailable"), "{}", refused.text);
    assert_eq!(console.get("/api/v1/overview").status, 200, "who was known is");
    let unknown = Api::new(&tollgate.console_url, "tgt-never-seen").get("/api/v1/overview");
    assert_eq!(unknown.status, 503, "and nobody else comes in: {}", unknown.text());
    let stranger = Api::new(&tollgate.gateway_url, "tg-never-seen").chat("sandbox/small", "x");
    assert_eq!(stranger.status, 401);
    eventually("the log says that it is away", Duration::from_secs(30), || {
        let sql = "select count(*) from control_events where action = 'metastore.unreachable'";
        (console.number(sql) == 1).then_some(())
    });

    wire.mend();
    eventually("it is back", Duration::from_secs(30), || {
        let sql = "select count(*) from control_events where action = 'metastore.reachable'";
        let created = browser.post(&format!("{}/keys", tollgate.console_url), &form);
        (created.status == 200 && console.number(sql) == 1).then_some(())
    });
    let page = browser.get(&home);
    assert!(!page.text.contains("does not answer"), "{}", page.text);
    tollgate.stop();
    assert!(!tollgate.log().contains("panicked"), "{}", tollgate.log());
}

#[test]
fn the_command_line_names_people_as_people_do_and_gives_no_key_to_a_stranger() {
    let tollgate = Tollgate::start();
    let fails = |arguments: &[&str]| {
        let output = tollgate.command().args(arguments).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    tollgate.run(&["key", "create", "early", "--user", "anybody"]);
    let ann = tollgate.run(&["user", "create", "ann@acme.example"]);
    tollgate.run(&["user", "create", "bob"]);
    tollgate.run(&["user", "role", "ANN@acme.example", "finance"]);
    let listed = tollgate.run(&["user", "list"]);
    assert!(listed.contains(&format!("{}  ann@acme.example  finance", ann.trim())), "{listed}");
    let told = fails(&["user", "role", "anne@acme.example", "viewer"]);
    assert!(told.contains("there is no user `anne@acme.example`; did you mean `ann@acme.example`?"), "{told}");
    // Another of the same name, in another organisation.
    tollgate.run(&["key", "create", "theirs", "--organisation", "globex"]);
    tollgate.run(&["user", "create", "ann@acme.example", "--organisation", "globex"]);
    let told = fails(&["user", "role", "ann@acme.example", "viewer"]);
    assert!(told.contains("names several people: ") && told.contains(ann.trim()) && told.contains("globex"), "{told}");
    let told = fails(&["key", "create", "hers", "--user", "an@acme.example"]);
    assert!(told.contains("in organisation `default`; did you mean `ann@acme.example`?"), "{told}");
    tollgate.run(&["key", "create", "hers", "--user", "Ann@Acme.example"]);
    let keys = tollgate.run(&["key", "list"]);
    assert!(keys.lines().any(|line| line.contains("  hers  ") && line.contains("  user Ann@Acme.example")), "{keys}");
}
