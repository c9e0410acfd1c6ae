//! `/budgets`: figures that a crash does not change, limits with a way back, and alerts that are told once.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Api, Tollgate, chat_request, eventually};

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

    let (head, body) = received.recv_timeout(Duration::from_secs(20)).expect("an alert is sent");
    assert!(head.contains("webhook-signature: v1,"), "{head}");
    assert!(head.contains("webhook-id: organisation|tenant=default|step-50|"), "{head}");
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
    let row = "select limit_readings, budget_readings from interactions where outcome = 'denied'";
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
