//! Two sidecars and one all-in-one on a real S3 server that goes away and comes back: nothing is lost, nothing doubled.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Api, Browser, ObjectStore, Sidecar, Tollgate, eventually};

fn sidecar_config(store: &ObjectStore, tollgate: &Tollgate, writer: &str) -> String {
    let log = store.put_only_log_section("sidecars");
    format!("{log}  writer: {writer}\ncontrol: {{url: \"{}\", token: \"${{TOKEN}}\"}}\n", tollgate.console_url)
}

/// Calls `count` times and returns the ids of the answers.
fn call(gateway: &Api, count: usize, prompt: &str) -> Vec<String> {
    (0..count)
        .map(|_| {
            let answer = gateway.chat("sandbox/small", prompt);
            assert_eq!(answer.status, 200, "{}", answer.text());
            answer.interaction_id()
        })
        .collect()
}

#[test]
fn sidecars_serve_and_spool_through_an_outage_and_every_call_is_committed_once() {
    let mut store = ObjectStore::start();
    let mut tollgate = Tollgate::with_config(&store.log_section("sidecars"));
    let token: Value =
        serde_json::from_str(&tollgate.run(&["--json", "token", "create", "--role", "sidecar"])).unwrap();
    let environment = [("TOKEN", token["token"].as_str().unwrap())];
    let mut first = Sidecar::start(&sidecar_config(&store, &tollgate, "sidecar-1"), &environment);
    let second = Sidecar::start(&sidecar_config(&store, &tollgate, "sidecar-2"), &environment);
    let key = tollgate.key().to_owned();

    let mut ids = Vec::new();
    ids.extend(call(&first.gateway(&key), 20, "before the outage"));
    ids.extend(call(&second.gateway(&key), 20, "before the outage"));
    let count = "select count(*) from interactions";
    tollgate.await_count(count, 40);

    store.stop();
    ids.extend(call(&first.gateway(&key), 20, "during the outage"));
    ids.extend(call(&second.gateway(&key), 20, "during the outage"));
    // One of them is killed with its spool full, and the control plane is away when it starts again.
    first.kill();
    tollgate.kill();
    first.resume();
    ids.extend(call(&first.gateway(&key), 20, "alone in the world"));

    store.resume();
    tollgate.resume();
    tollgate.await_count(count, 100);
    let console = tollgate.console();
    let rows = console.rows("select interaction_id, writer from interactions");
    let found: BTreeSet<String> = rows.iter().map(|row| row["interaction_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(rows.len(), ids.len());
    assert_eq!(found, ids.into_iter().collect());
    let writers: BTreeSet<&str> = rows.iter().map(|row| row["writer"].as_str().unwrap()).collect();
    assert_eq!(writers, ["sidecar-1", "sidecar-2"].into());
    eventually("a sidecar's call is found by a word", Duration::from_secs(10), || {
        let found = console.get("/api/v1/search?q=outage").json();
        (found["total"].as_u64() == Some(80)).then_some(())
    });
    first.stop();
    assert!(!first.log().contains("panicked"), "{}", first.log());
    assert!(!second.log().contains("panicked"), "{}", second.log());
}

#[test]
fn a_key_revoked_at_the_console_is_refused_by_the_sidecar() {
    let store = ObjectStore::start();
    let tollgate = Tollgate::with_config(&store.log_section("sidecars"));
    let token: Value =
        serde_json::from_str(&tollgate.run(&["--json", "token", "create", "--role", "sidecar"])).unwrap();
    let environment = [("TOKEN", token["token"].as_str().unwrap())];
    let sidecar = Sidecar::start(&sidecar_config(&store, &tollgate, "sidecar-1"), &environment);
    let created: Value = serde_json::from_str(&tollgate.run(&["--json", "key", "create", "temporary"])).unwrap();
    let gateway = sidecar.gateway(created["key"].as_str().unwrap());
    eventually("the sidecar knows the new key", Duration::from_secs(20), || {
        (gateway.get("/v1/models").status == 200).then_some(())
    });
    tollgate.run(&["key", "revoke", created["id"].as_str().unwrap()]);
    eventually("the sidecar refuses the revoked key", Duration::from_secs(20), || {
        (gateway.get("/v1/models").status == 401).then_some(())
    });
}

#[test]
fn a_sidecar_prices_calls_as_its_control_plane_does() {
    let store = ObjectStore::start();
    let tollgate = Tollgate::with_config(&store.log_section("sidecars"));
    let token: Value =
        serde_json::from_str(&tollgate.run(&["--json", "token", "create", "--role", "sidecar"])).unwrap();
    let environment = [("TOKEN", token["token"].as_str().unwrap())];
    let mut sidecar = Sidecar::start(&sidecar_config(&store, &tollgate, "sidecar-1"), &environment);
    let cost = |sidecar: &Sidecar| {
        let answer = sidecar.gateway(tollgate.key()).chat("sandbox/unpriced", "hello");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.header("x-tollgate-cost-usd")
    };
    assert_eq!(cost(&sidecar), "");
    let update = tollgate.folder().join("sandbox.yaml");
    std::fs::write(&update, crate::prices::sandbox_prices().1).unwrap();
    tollgate.run(&["prices", "update", update.to_str().unwrap()]);
    eventually("the sidecar has the new price", Duration::from_secs(30), || (!cost(&sidecar).is_empty()).then_some(()));
    // Its copy outlives a restart.
    sidecar.stop();
    sidecar.resume();
    assert_ne!(cost(&sidecar), "");
    tollgate.run(&["prices", "update", "--builtin", "--accept-large"]);
    eventually("the sidecar has the old prices", Duration::from_secs(30), || cost(&sidecar).is_empty().then_some(()));
}

#[test]
fn a_bundle_that_names_what_a_sidecar_does_not_have_leaves_it_with_the_one_before_and_everybody_is_told() {
    const GOOD: &str = "apiVersion: tollgate/v1
bundle: {name: good}
access:
  - {id: all, when: 'true', allow: {}}
";
    let bad = format!(
        "{}routes:\n  - {{id: elsewhere, alias: assistant, targets: [extra/large]}}\n",
        GOOD.replace("good", "bad")
    );
    let store = ObjectStore::start();
    let config = format!(
        "{}providers:\n  extra: {{dialect: openai, base_url: \"http://127.0.0.1:9/v1\", api_key: none}}\n",
        store.log_section("sidecars")
    );
    let files = [("tollgate.yaml", config.as_str()), ("good.yaml", GOOD), ("bad.yaml", &bad)];
    let mut tollgate = Tollgate::at_rest(&files, &[]);
    tollgate.console_address = format!("127.0.0.1:{}", crate::support::free_port());
    tollgate.resume();
    let activate = |tollgate: &Tollgate, name: &str| {
        let path = tollgate.folder().join(name);
        tollgate.run(&["policy", "activate", path.to_str().unwrap(), "--reason", "a test"]);
    };
    activate(&tollgate, "good.yaml");
    let token: Value =
        serde_json::from_str(&tollgate.run(&["--json", "token", "create", "--role", "sidecar"])).unwrap();
    let environment = [("TOKEN", token["token"].as_str().unwrap())];
    let mut sidecar = Sidecar::start(&sidecar_config(&store, &tollgate, "sidecar-1"), &environment);
    let ready = |sidecar: &Sidecar| Api::new(&sidecar.gateway_url, "").get("/health/ready").text();
    assert!(!ready(&sidecar).contains("extra/large"), "{}", ready(&sidecar));

    activate(&tollgate, "bad.yaml");
    let console = tollgate.console();
    let mut browser = Browser::new();
    assert_eq!(browser.get(&tollgate.login_url).status, 303);
    let home = format!("{}/", tollgate.console_url);
    let page = eventually("every page says so", Duration::from_secs(30), || {
        let page = browser.get(&home);
        page.text.contains("sidecar sidecar-1 ").then_some(page.text)
    });
    assert!(page.contains("extra/large") && page.contains("keeps deciding by bundle"), "{page}");
    assert!(
        ready(&sidecar).contains("the one before it stays") && ready(&sidecar).contains("line 6"),
        "{}",
        ready(&sidecar)
    );
    assert!(console.get("/metrics").text().contains("tollgate_sidecars_on_another_bundle 1\n"));
    let told = "select count(*) from control_events where action = 'sidecar.bundle_refused'";
    eventually("the log says so", Duration::from_secs(20), || (console.number(told) == 1).then_some(()));
    // It goes on, by the bundle before, with the keys of the day.
    let created: Value = serde_json::from_str(&tollgate.run(&["--json", "key", "create", "late"])).unwrap();
    let secret = created["key"].as_str().unwrap().to_owned();
    eventually("a key made later is known", Duration::from_secs(20), || {
        (sidecar.gateway(&secret).chat("sandbox/small", "hello").status == 200).then_some(())
    });
    tollgate.run(&["key", "revoke", created["id"].as_str().unwrap()]);
    eventually("and refused once it is revoked", Duration::from_secs(20), || {
        (sidecar.gateway(&secret).chat("sandbox/small", "hello").status == 401).then_some(())
    });
    // And again after a restart, from what it kept.
    sidecar.stop();
    sidecar.resume();
    assert_eq!(sidecar.gateway(tollgate.key()).chat("sandbox/small", "hello").status, 200);
    assert!(ready(&sidecar).contains("the one before it stays"), "{}", ready(&sidecar));
    // One that it has everything for is taken up.
    std::fs::write(tollgate.folder().join("good.yaml"), GOOD.replace("good", "better")).unwrap();
    activate(&tollgate, "good.yaml");
    eventually("nobody complains any more", Duration::from_secs(30), || {
        let taken = "select count(*) from control_events where action = 'sidecar.bundle_taken'";
        let is_quiet = !browser.get(&home).text.contains("sidecar sidecar-1 ");
        (is_quiet && console.number(taken) == 1 && !ready(&sidecar).contains("stays")).then_some(())
    });
    assert!(!sidecar.log().contains("panicked"), "{}", sidecar.log());
}
