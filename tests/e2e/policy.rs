//! Bundles change while calls are under way: none is broken off, each row names the bundle that decided, and a bad bundle
//! changes nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Api, Browser, Python, Tollgate, chat_request, eventually, program};

/// A bundle whose only rule is called as the bundle is, so that a row shows which one decided.
fn bundle(name: &str) -> String {
    format!(
        "apiVersion: tollgate/v1\nbundle: {{name: {name}}}\naccess:\n  - {{id: rule-{name}, when: \"true\", allow: {{}}}}\n"
    )
}

#[test]
fn bundles_change_under_load_and_every_row_carries_the_hash_of_the_one_that_decided() {
    let files = [
        ("tollgate.yaml", "log: {flush_seconds: 1}\n"),
        ("one.yaml", &bundle("one")),
        ("two.yaml", &bundle("two")),
        ("bad.yaml", &bundle("bad").replace("when", "whne")),
    ];
    let tollgate = Tollgate::with_files(&files, &[]);
    let file = |name: &str| tollgate.folder().join(name).to_str().unwrap().to_owned();
    let activate = |name: &str, reason: &str| {
        tollgate
            .command()
            .args(["policy", "activate", &file(name), "--author", "ada", "--reason", reason])
            .output()
            .unwrap()
    };
    let stop = AtomicBool::new(false);
    let calls = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|place| {
                scope.spawn({
                    let (gateway, stop) = (tollgate.gateway(), &stop);
                    move || call_until(&gateway, stop, place % 2 == 0)
                })
            })
            .collect();
        for turn in 0..6 {
            let name = if turn % 2 == 0 { "one.yaml" } else { "two.yaml" };
            let done = activate(name, &format!("turn {turn}"));
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            let refused = activate("bad.yaml", "a mistake");
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(!refused.status.success() && said.contains("`whne`; did you mean `when`?"), "{said}");
            std::thread::sleep(Duration::from_millis(700));
        }
        stop.store(true, Ordering::Relaxed);
        callers.into_iter().map(|caller| caller.join().unwrap()).sum::<i64>()
    });
    assert!(calls > 100, "only {calls} calls");
    let rows = "select count(*) from interactions where operation = 'chat'";
    tollgate.await_count(rows, calls);
    tollgate.await_count(&format!("{rows} and outcome = 'success'"), calls);

    let console = tollgate.console();
    let sql = "select policy_bundle_hash as hash, decision_reasons from interactions where operation = 'chat'";
    let mut seen: BTreeMap<String, (String, u32)> = BTreeMap::new();
    for row in console.rows(sql) {
        let rule = row["decision_reasons"][0]["rule"].as_str().unwrap().to_owned();
        let known = seen.entry(row["hash"].as_str().unwrap().to_owned()).or_insert((rule.clone(), 0));
        assert_eq!(known.0, rule, "one hash, one bundle");
        known.1 += 1;
    }
    println!("calls by bundle: {seen:?}");
    let listed: Value = serde_json::from_str(&tollgate.run(&["--json", "policy", "list"])).unwrap();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 6, "a bundle that is refused is no revision");
    assert_eq!((&listed[0]["author"], &listed[0]["reason"]), (&"ada".into(), &"turn 5".into()));
    for name in ["one", "two"] {
        let hash = listed.iter().find(|put| put["name"] == name).unwrap()["hash"].as_str().unwrap();
        assert_eq!(seen[hash].0, format!("rule-{name}"));
    }
    tollgate.await_count("select count(*) from control_events where action = 'bundle.activated' and actor = 'ada'", 6);
}

/// Calls until it is told to stop; every call must be answered whole.
fn call_until(gateway: &Api, stop: &AtomicBool, streamed: bool) -> i64 {
    let mut request = chat_request("sandbox/small", "Count to three.");
    request["stream"] = streamed.into();
    let mut calls = 0;
    while !stop.load(Ordering::Relaxed) {
        let answer = gateway.post("/v1/chat/completions", &request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!streamed || answer.text().contains("data: [DONE]"), "{}", answer.text());
        calls += 1;
    }
    calls
}

#[test]
fn a_bundle_can_be_taken_back_and_compared() {
    let (one, two) = (bundle("one"), bundle("two"));
    let tollgate = Tollgate::with_files(&[("tollgate.yaml", ""), ("one.yaml", &one), ("two.yaml", &two)], &[]);
    let file = |name: &str| tollgate.folder().join(name).to_str().unwrap().to_owned();
    tollgate.run(&["policy", "activate", &file("one.yaml"), "--reason", "first"]);
    let changes = tollgate.run(&["policy", "diff", &file("two.yaml")]);
    assert_eq!(
        changes,
        "bundle\n  ~\n      name: one → two\naccess\n  - rule-one\n      allow: {}\n      when: true\n  + rule-two\n      \
         allow: {}\n      when: true\n"
    );
    tollgate.run(&["policy", "activate", &file("two.yaml"), "--reason", "second"]);
    assert_eq!(tollgate.run(&["policy", "show"]).trim(), two.trim());
    tollgate.run(&["policy", "rollback", "--reason", "too strict"]);
    assert_eq!(tollgate.run(&["policy", "show"]).trim(), one.trim());
    assert_eq!(tollgate.run(&["policy", "diff", &file("one.yaml")]), "");
    let listed: Value = serde_json::from_str(&tollgate.run(&["--json", "policy", "list"])).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 3);
    let reason = listed[0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("rolled back from ") && reason.ends_with(": too strict"), "{reason}");
    let to = listed[1]["revision"].to_string();
    tollgate.run(&["policy", "rollback", "--to", &to, "--reason", "after all"]);
    assert_eq!(tollgate.run(&["policy", "show"]).trim(), two.trim());
}

#[test]
fn a_second_rollback_goes_one_further_back_and_each_revision_shows_its_version() {
    let versioned =
        |name: &str, version: &str| bundle(name).replace("name: ", &format!("version: '{version}', name: "));
    let (one, two) = (versioned("one", "2026.1"), versioned("two", "2026.2"));
    let three = bundle("three");
    let files = [("tollgate.yaml", ""), ("one.yaml", &one), ("two.yaml", &two), ("three.yaml", &three)];
    let tollgate = Tollgate::with_files(&files, &[]);
    for file in ["one.yaml", "two.yaml", "three.yaml"] {
        let path = tollgate.folder().join(file).to_str().unwrap().to_owned();
        tollgate.run(&["policy", "activate", &path, "--reason", "why"]);
    }
    let roll_back = || tollgate.command().args(["policy", "rollback", "--reason", "too strict"]).output().unwrap();
    let in_force = || tollgate.run(&["policy", "show"]).trim().to_owned();
    for expected in [two.trim(), one.trim(), tollgate_policy_default().trim()] {
        assert!(roll_back().status.success());
        assert_eq!(in_force(), expected);
    }
    let refused = roll_back();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("`tollgate policy rollback --to REVISION`"), "{said}");
    assert_eq!(in_force(), tollgate_policy_default().trim(), "a refusal changes nothing");

    let listed = tollgate.run(&["policy", "list"]);
    assert!(listed.contains("one 2026.1: rolled back from ") && listed.contains("  three: why"), "{listed}");
    let page = tollgate.console().get("/api/v1/policies").json();
    let of = |at: usize| (&page["revisions"][at]["version"], &page["revisions"][at]["restores"]);
    assert_eq!((of(0), of(3)), ((&Value::Null, &0.into()), (&Value::Null, &Value::Null)), "{page}");
    assert_eq!((of(1).0, of(1).1), (&"2026.1".into(), &page["revisions"][5]["revision"]), "{page}");
    let mut browser = Browser::new();
    assert_eq!(browser.get(&tollgate.login_url).status, 303);
    let html = browser.get(&format!("{}/policies", tollgate.console_url)).text;
    assert!(html.contains("version 2026.2, revision ") && html.contains(", the built-in one again"), "{html}");
}

/// The text of the built-in bundle.
fn tollgate_policy_default() -> &'static str {
    include_str!("../../policies/default.yaml")
}

#[test]
fn the_configured_file_is_taken_up_when_it_changes_and_kept_out_when_it_is_bad() {
    let files =
        [("tollgate.yaml", "log: {flush_seconds: 1}\npolicies: bundle.yaml\n"), ("bundle.yaml", &bundle("one"))];
    let tollgate = Tollgate::with_files(&files, &[]);
    let (gateway, path) = (tollgate.gateway(), tollgate.folder().join("bundle.yaml"));
    let status = || gateway.chat("sandbox/small", "hello").status;
    assert_eq!(status(), 200);

    std::fs::write(&path, bundle("one").replace("access:", "acess:")).unwrap();
    let refused = "select count(*) from control_events where action = 'bundle.refused'";
    tollgate.await_count(refused, 1);
    assert_eq!(status(), 200, "the bundle that was in force still is");
    let said = tollgate.console().rows("select detail from control_events where action = 'bundle.refused'").remove(0);
    assert!(said["detail"].as_str().unwrap().contains("line 3, column 1: unknown field `acess`"), "{said}");
    let mut browser = Browser::new();
    let home = format!("{}/", tollgate.console_url);
    assert_eq!(browser.get(&tollgate.login_url).status, 303);
    let page = browser.get(&home).text;
    assert!(page.contains("role=\"alert\"") && page.contains("is not in force"), "every page says so: {page}");

    std::fs::write(&path, bundle("two").replace("\"true\"", "\"principal.team == 'nobody'\"")).unwrap();
    eventually("the new bundle denies", Duration::from_secs(10), || (status() == 403).then_some(()));
    std::fs::write(&path, bundle("one")).unwrap();
    eventually("and the old one allows again", Duration::from_secs(10), || (status() == 200).then_some(()));

    let refused = tollgate.command().args(["policy", "rollback", "--reason", "x"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("edit that file instead"), "{said}");
}

#[test]
fn an_activated_bundle_that_leads_where_nobody_serves_leaves_the_last_one_in_force_and_every_page_says_so() {
    let lost = bundle("lost") + "routes:\n  - {id: r, alias: small, targets: [nowhere/small]}\n";
    let files = [("tollgate.yaml", "log: {flush_seconds: 1}\n"), ("one.yaml", &bundle("one")), ("lost.yaml", &lost)];
    let tollgate = Tollgate::with_files(&files, &[]);
    let file = |name: &str| tollgate.folder().join(name).to_str().unwrap().to_owned();
    let decided_by = |name: &str| {
        let sql = format!("select count(*) from interactions where decision_reasons[1]['rule'] = 'rule-{name}'");
        assert_eq!(tollgate.gateway().chat("sandbox/small", "hello").status, 200);
        tollgate.console().number(&sql)
    };
    let mut browser = Browser::new();
    let home = format!("{}/", tollgate.console_url);
    assert_eq!(browser.get(&tollgate.login_url).status, 303);
    tollgate.run(&["policy", "activate", &file("one.yaml"), "--reason", "a test"]);
    eventually("it is in force", Duration::from_secs(10), || (decided_by("one") > 0).then_some(()));
    // With the configuration at hand it is refused at once; without, only the server can tell.
    let refused =
        tollgate.command().args(["policy", "activate", &file("lost.yaml"), "--reason", "a slip"]).output().unwrap();
    assert!(!refused.status.success());
    let mut activate = std::process::Command::new(program("tollgate"));
    activate.arg("--data").arg(tollgate.data()).args(["policy", "activate", &file("lost.yaml"), "--reason", "a slip"]);
    let activated = activate.env_remove("TOLLGATE_CONFIG").output().unwrap();
    assert!(activated.status.success(), "{}", String::from_utf8_lossy(&activated.stderr));
    eventually("every page says so", Duration::from_secs(10), || {
        browser.get(&home).text.contains("is not in force here").then_some(())
    });
    let told =
        "select count(*) from control_events where action = 'bundle.refused' and detail like '%line 6, column %'";
    tollgate.await_count(told, 1);
    let before = decided_by("one");
    eventually("the last one decides", Duration::from_secs(10), || (decided_by("one") > before).then_some(()));
    assert_eq!(decided_by("lost"), 0);
    tollgate.run(&["policy", "rollback", "--reason", "a slip"]);
    eventually("it is well", Duration::from_secs(10), || {
        (!browser.get(&home).text.contains("is not in force here")).then_some(())
    });
    let empty = tollgate.command().args(["policy", "rollback", "--reason", ""]).output().unwrap();
    assert!(!empty.status.success());
}

const PLACED: &str = r#"
log: {flush_seconds: 1}
providers:
  frankfurt: {dialect: sandbox, places: {inference: eu-central-1, storage: eu, evidence: contract}}
  virginia: {dialect: sandbox, places: {inference: us-east-1, storage: us, evidence: contract}}
models:
  assistant: {targets: [virginia/small, frankfurt/small]}
  abroad: {targets: [virginia/small]}
policies: bundle.yaml
"#;

const EUROPE: &str = r#"
apiVersion: tollgate/v1
bundle: {name: europe}
data_classes:
  - {class: personal}
  - {class: public, when: "true"}
access: [{id: all, when: "true", allow: {}}]
residency:
  - id: personal-in-europe
    when: 'request.data_class == "personal"'
    require: {inference: eu, storage: eu}
    evidence_at_least: contract
"#;

#[test]
fn personal_data_stays_in_the_union_and_the_report_proves_it() {
    let tollgate = Tollgate::with_files(&[("tollgate.yaml", PLACED), ("bundle.yaml", EUROPE)], &[]);
    let gateway = tollgate.gateway();
    let ask = |model: &str, class: &str| {
        let label = format!(r#"{{"data_class":"{class}"}}"#);
        let headers = [("x-tollgate-metadata", label.as_str())];
        gateway.try_post("/v1/chat/completions", &chat_request(model, "hello"), &headers).unwrap()
    };
    for _ in 0..3 {
        let answer = ask("assistant", "personal");
        assert_eq!((answer.status, answer.header("x-tollgate-provider").as_str()), (200, "frankfurt"));
    }
    assert_eq!(ask("assistant", "public").header("x-tollgate-provider"), "virginia");
    let denied = ask("abroad", "personal");
    assert_eq!((denied.status, &denied.json()["error"]["code"]), (403, &"no_eligible_target".into()));
    tollgate.await_count("select count(*) from interactions where data_class is not null", 5);

    let day = ["--from", "2020-01-01", "--to", "2100-01-01"];
    let report = || -> Value {
        let output = tollgate.command().args(["--json", "report", "residency"]).args(day).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    };
    let found = eventually("the lake holds the calls", Duration::from_secs(20), || {
        Some(report()).filter(|found| found["governed"] == 5)
    });
    assert_eq!(
        (&found["attempts_judged"], &found["leaked"], &found["denied"]),
        (&4.into(), &0.into(), &1.into()),
        "{found}"
    );
    let kept = &found["blocked"][0];
    assert_eq!(
        (&kept["class"], &kept["target"], &kept["calls"]),
        (&"personal".into(), &"virginia/small".into(), &4.into())
    );

    // The same calls with a provider that turns out to be elsewhere: the report must see it.
    let moved = PLACED.replace("inference: eu-central-1, storage: eu", "inference: us-east-1, storage: eu");
    std::fs::write(tollgate.folder().join("tollgate.yaml"), moved).unwrap();
    let found = report();
    assert_eq!(found["leaked"], 3, "{found}");
    assert_eq!(found["leaks"][0]["target"], "frankfurt/small");
}

#[test]
fn every_pair_of_class_and_target_is_shown_before_there_are_calls() {
    let tollgate = Tollgate::with_files(&[("tollgate.yaml", PLACED), ("bundle.yaml", EUROPE)], &[]);
    let bundle = tollgate.folder().join("bundle.yaml").to_str().unwrap().to_owned();
    let shown = tollgate.run(&["policy", "check", &bundle]);
    println!("{shown}");
    let row =
        "personal  virginia/small      no       personal-in-europe: the place of inference is `us-east-1`, not `eu`";
    assert!(shown.contains(row), "{shown}");
    let sentence =
        |class: &str| shown.lines().find(|line| line.starts_with(&format!("calls of class `{class}`: "))).unwrap();
    assert!(sentence("personal").contains("; stays in the European Union; inference in eu-central-1"), "{shown}");
    let abroad = sentence("public");
    assert!(abroad.contains("can leave the European Union: `virginia/embed`, `virginia/large`"), "{abroad}");
    assert!(abroad.contains("on premises, and where that is the configuration does not tell"), "{abroad}");
    assert!(shown.contains("no mistake found"), "{shown}");
    // Whatever is required, nothing here is in Japan.
    std::fs::write(&bundle, EUROPE.replace("inference: eu, storage: eu", "inference: jp")).unwrap();
    let refused = tollgate.command().args(["policy", "check", &bundle]).output().unwrap();
    let (said, shown) = (String::from_utf8_lossy(&refused.stderr), String::from_utf8_lossy(&refused.stdout));
    let place = "because: line 9, column 9: calls of class `personal` can go to no target of the configuration";
    assert!(!refused.status.success() && said.contains(place), "{said}");
    assert!(!shown.contains("no mistake found"), "{shown}");
    let refused = tollgate.command().args(["--json", "policy", "check", &bundle]).output().unwrap();
    let found: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!((&found["valid"], &found["mistakes"][0]["line"]), (&false.into(), &9.into()), "{found}");
    assert!(!refused.status.success());
}

#[test]
fn names_that_the_configuration_does_not_have_are_remarked_upon_with_their_place() {
    let bundle = format!(
        "{}limits:\n  - {{id: l, scope: {{model: asistant}}, limit: {{calls: 1, per: day}}}}\n",
        EUROPE.replace("allow: {}", "allow: {models: [assistant, abraod, sandbox/smal]}")
    );
    let tollgate =
        Tollgate::with_files(&[("tollgate.yaml", PLACED), ("bundle.yaml", EUROPE), ("new.yaml", &bundle)], &[]);
    let file = tollgate.folder().join("new.yaml").to_str().unwrap().to_owned();
    let checked = tollgate.command().args(["policy", "check", &file]).output().unwrap();
    let (said, shown) = (String::from_utf8_lossy(&checked.stderr), String::from_utf8_lossy(&checked.stdout));
    assert!(checked.status.success(), "{said}");
    for (place, meant) in
        [("line 7, column 62", "abroad"), ("line 7, column 70", "sandbox/small"), ("line 14, column 28", "assistant")]
    {
        let remark = said.lines().find(|line| line.contains(place)).unwrap_or_else(|| panic!("{place}: {said}"));
        assert!(remark.contains(&format!("did you mean `{meant}`?")), "{remark}");
    }
    assert!(shown.contains("new.yaml: no mistake found, 3 remarks; bundle "), "{shown}");
    std::fs::write(&file, format!("{bundle}tests:\n  - expect: {{decision: deny, code: budget_exceded}}\n")).unwrap();
    let refused = tollgate.command().args(["policy", "check", &file]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains("line 16, column 36: there is no code `budget_exceded`"),
        "{said}"
    );
    assert!(refused.stdout.is_empty(), "{}", String::from_utf8_lossy(&refused.stdout));
}

#[test]
fn every_bundle_that_is_shipped_fits_the_published_schema() {
    let tollgate = std::process::Command::new(program("tollgate")).args(["policy", "schema"]).output().unwrap();
    let schema = String::from_utf8(tollgate.stdout).unwrap();
    let folder = std::path::Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../policies");
    let environment = [("SCHEMA", schema.as_str()), ("POLICIES", folder.to_str().unwrap())];
    println!("{}", Python::new().run("check_bundles.py", &environment));
}
