//! `/budgets`: figures that a crash does not change, limits with a way back, and alerts that are told once.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Api, Browser, Tollgate, chat_request, eventually};

const BUNDLE: &str = r#"
apiVersion: tollgate/v1
bundle: {name: end-to-end}
access:
  - {id: known-keys, when: "true", allow: {}}
budgets:
  - id: organisation
    scope: {organisation: "*"}
    limit: {usd: "0.000000001", per: month, timezone: Europe/Berlin}
    steps: [{at: 0.50, prefer: cheapest}]
  - id: key-day
    scope: {key: "*", tag.env: "*"}
    limit: {tokens: 100000, rolling: 24h}
    steps: [{at: 1.00, deny: "come back tomorrow"}]
limits:
  - {id: team-year, scope: {team: "*"}, limit: {calls: 6, per: year}}
"#;

fn ask(api: &Api) -> u16 {
    let labels = [("x-tollgate-metadata", r#"{"env": "prod"}"#)];
    let request = chat_request("sandbox/small", "Count to three.");
    api.try_post("/v1/chat/completions", &request, &labels).unwrap().status
}

/// The lines of the page without what time alone changes.
fn lines(tollgate: &Tollgate) -> Vec<Value> {
    let answer = tollgate.console().get("/api/v1/budgets").json();
    let mut lines = answer["budgets"].as_array().unwrap().clone();
    for line in &mut lines {
        let line = line.as_object_mut().unwrap();
        line.remove("age_s");
        line.remove("forecast");
    }
    lines
}

#[test]
fn figures_are_the_same_after_a_crash_and_a_step_is_told_once() {
    let (address, received) = receiver();
    let config = format!(
        "log: {{flush_seconds: 1}}\npolicies: bundle.yaml\nalerts: {{webhook: {{url: 'http://{address}/hook', secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}}}}\n"
    );
    let mut tollgate = Tollgate::with_files(&[("tollgate.yaml", &config), ("bundle.yaml", BUNDLE)], &[]);
    let team = tollgate.gateway_of_team("kyc");
    for _ in 0..4 {
        assert_eq!(ask(&team), 200);
    }
    let before = eventually("the calls are counted", Duration::from_secs(10), || {
        let lines = lines(&tollgate);
        let calls = lines.iter().find(|line| line["id"] == "team-year" && line["scope"] == "team=kyc")?;
        (calls["spent"] == "4" && calls["reserved"] == "0").then_some(lines)
    });
    let ids: Vec<_> = before.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"organisation") && ids.contains(&"key-day"), "{ids:?}");
    let page = tollgate.console().get("/budgets").text();
    assert!(page.contains("team=kyc") && page.contains("this month (Europe/Berlin)"), "{page}");

    // The first is refused and sent again; what is told of the forecast may come before that.
    let body = loop {
        let (head, body) = received.recv_timeout(Duration::from_secs(20)).expect("an alert is sent");
        assert!(head.contains("webhook-signature: v1,"), "{head}");
        if head.contains("webhook-id: organisation|tenant=default|step-50|") {
            break body;
        }
    };
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["type"], "budget.step_reached");
    assert_eq!(body["data"]["scope"], "tenant=default");

    tollgate.kill();
    tollgate.resume();
    let after = eventually("the figures are read again", Duration::from_secs(10), || Some(lines(&tollgate)));
    assert_eq!(after, before);
    // Two calls are left of six, and the refusal says when there are more.
    let team = Api::new(&tollgate.gateway_url, team.secret());
    assert_eq!([ask(&team), ask(&team), ask(&team)], [200, 200, 429]);
    let again = received.recv_timeout(Duration::from_secs(4)).map(|(head, _)| head);
    let is_repeated = again.as_ref().is_ok_and(|head| head.contains("organisation|tenant=default|step-50|"));
    assert!(!is_repeated, "{again:?}");
    let console = tollgate.console();
    let told = "select count(*) as n from control_events where action = 'budget.step_reached'";
    assert_eq!(console.rows(told)[0]["n"], json!(1));
    let row = "select limit_readings, budget_readings from interactions where outcome = 'denied' and team = 'kyc'";
    let row = eventually("the denied call is there", Duration::from_secs(5), || console.rows(row).pop());
    assert!(row["limit_readings"].to_string().contains("team-year"), "{row}");
    assert!(row["budget_readings"].to_string().contains("tenant=default"), "{row}");
}

/// Takes webhooks: refuses the first, so that it has to be sent again.
fn receiver() -> (std::net::SocketAddr, mpsc::Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, received) = mpsc::channel();
    std::thread::spawn(move || {
        for (count, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { return };
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
            let length = head
                .to_lowercase()
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.lines().next().and_then(|length| length.trim().parse().ok()));
            let mut body = vec![0; length.unwrap_or(0)];
            if reader.read_exact(&mut body).is_err() {
                continue;
            }
            let status = if count == 0 { "500 No" } else { "204 Taken" };
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            if count > 0 && sender.send((head, String::from_utf8(body).unwrap())).is_err() {
                return;
            }
        }
    });
    (address, received)
}

/// A Redis server of Debian's, on a port of its own.
fn redis(port: u16, folder: &std::path::Path) -> std::process::Child {
    let child = std::process::Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
        .arg(folder)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("`redis-server` is there; install the Debian package of that name");
    eventually("redis-server is up", Duration::from_secs(10), || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()
    });
    child
}

#[test]
fn while_the_shared_ledger_is_away_calls_go_by_the_mode_and_banner_row_and_event_say_so() {
    let (port, folder) = (crate::support::free_port(), tempfile::TempDir::new().unwrap());
    let mut server = redis(port, folder.path());
    let config = |mode: &str| {
        format!(
            "log: {{flush_seconds: 1}}\npolicies: bundle.yaml\nledger: redis://127.0.0.1:{port}/0\non_ledger_down: {mode}\n"
        )
    };
    let bundle = "apiVersion: tollgate/v1
bundle: {name: end-to-end}
access:
  - {id: known-keys, when: 'true', allow: {}}
limits:
  - {id: team-year, scope: {team: '*'}, limit: {calls: 1000, per: year}}
";
    let mut tollgate = Tollgate::with_files(&[("tollgate.yaml", &config("deny")), ("bundle.yaml", bundle)], &[]);
    let mut browser = Browser::new();
    for (mode, status, effect, meanwhile) in [
        ("deny", 503, "deny", "calls that budgets or limits are about are denied"),
        ("local", 200, "allow", "each gateway keeps every budget and limit for itself"),
    ] {
        let api = tollgate.gateway();
        assert_eq!(ask(&api), 200);
        assert_eq!(browser.get(&tollgate.login_url).status, 303);
        let home = format!("{}/", tollgate.console_url);
        assert!(!browser.get(&home).text.contains("role=\"alert\""), "no banner yet");
        // Calls are under way when it dies.
        let calls: Vec<u16> = std::thread::scope(|scope| {
            let callers: Vec<_> =
                (0..8).map(|_| scope.spawn(|| (0..30).map(|_| ask(&api)).collect::<Vec<u16>>())).collect();
            server.kill().unwrap();
            server.wait().unwrap();
            callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
        });
        assert!(calls.iter().all(|found| [200, status].contains(found)), "{mode}: {calls:?}");
        assert_eq!(ask(&api), status, "{mode}");
        let page = browser.get(&home);
        assert!(page.text.contains(meanwhile) && page.text.contains("role=\"alert\""), "{mode}: {}", page.text);
        let console = tollgate.console();
        assert!(console.get("/metrics").text().contains("tollgate_ledger_unavailable 1\n"));
        let rows = format!(
            "select count(*) from (select unnest(decision_reasons) as reason from interactions) where \
             reason['rule'] = 'builtin/shared-ledger' and reason['effect'] = '{effect}' and \
             reason['detail'] like '%on_ledger_down: {mode}%'"
        );
        let events = |action: &str| {
            format!(
                "select count(*) from control_events where action = '{action}' and detail like '%on_ledger_down: {mode}%'"
            )
        };
        eventually("rows and an event say so", Duration::from_secs(20), || {
            (console.number(&rows) > 0 && console.number(&events("ledger.unreachable")) == 1).then_some(())
        });
        server = redis(port, folder.path());
        eventually("it is back", Duration::from_secs(20), || {
            let back = "select count(*) from control_events where action = 'ledger.reachable'";
            (ask(&api) == 200 && console.number(back) > 0 && !browser.get(&home).text.contains(meanwhile)).then_some(())
        });
        tollgate.stop();
        std::fs::write(tollgate.folder().join("tollgate.yaml"), config("local")).unwrap();
        tollgate.resume();
    }
    assert!(!tollgate.log().contains("panicked"), "{}", tollgate.log());
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn budgets_by_label_and_rolling_ones_are_forecast_from_what_their_days_cost() {
    let bundle = "apiVersion: tollgate/v1
bundle: {name: forecasts}
access:
  - {id: known-keys, when: 'true', allow: {}}
budgets:
  - {id: label, scope: {tag.channel: '*'}, limit: {usd: '1.00', per: month}, steps: [{at: 1, prefer: cheapest}]}
  - {id: week, scope: {team: '*'}, limit: {usd: '1000000.00', rolling: 7d}, steps: [{at: 1, prefer: cheapest}]}
  - {id: hour, scope: {team: '*'}, limit: {usd: '1000000.00', rolling: 1h}, steps: [{at: 1, prefer: cheapest}]}
";
    let tollgate = Tollgate::with_history("log: {flush_seconds: 1}\n", 9);
    std::fs::write(tollgate.folder().join("bundle.yaml"), bundle).unwrap();
    let path = tollgate.folder().join("bundle.yaml");
    tollgate.run(&["policy", "activate", path.to_str().unwrap(), "--reason", "a test"]);
    let amount = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{value}")).parse::<f64>().unwrap();
    let lines = eventually("forecasts are made", Duration::from_secs(90), || {
        let answer = tollgate.console().get("/api/v1/budgets").json();
        let lines: Vec<Value> = answer["budgets"].as_array().unwrap().clone();
        let has = |id: &str| lines.iter().any(|line| line["id"] == id && line["forecast"].is_object());
        (has("label") && has("week")).then_some(lines)
    });
    let week = lines.iter().find(|line| line["id"] == "week" && line["scope"] == "team=engineering").unwrap();
    let (spent, forecast) = (amount(&week["spent"]), &week["forecast"]);
    assert_eq!(forecast["method"], "weekdays", "{week}");
    let expected = amount(&forecast["expected_usd"]);
    assert!(expected > spent / 3.0 && expected < spent * 3.0, "a week is much like another: {week}");
    assert!(amount(&forecast["interval_usd"][0]) <= expected && amount(&forecast["interval_usd"][1]) >= expected);
    let label = lines.iter().find(|line| line["id"] == "label" && line["forecast"].is_object()).unwrap();
    assert!(amount(&label["forecast"]["expected_usd"]) >= amount(&label["spent"]), "{label}");
    assert!(lines.iter().filter(|line| line["id"] == "hour").all(|line| line["forecast"].is_null()));
    // A label that is expected to end over its limit is told.
    let over = "select count(*) from control_events where action = 'budget.forecast_over' and subject like 'label %'";
    eventually("the alert is in the log", Duration::from_secs(30), || {
        (tollgate.console().number(over) > 0).then_some(())
    });
    let mut browser = Browser::new();
    assert_eq!(browser.get(&tollgate.login_url).status, 303);
    let page = browser.get(&format!("{}/budgets", tollgate.console_url)).text;
    assert!(page.contains("at its fullest on"), "{page}");
}
