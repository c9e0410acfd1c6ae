//! What somebody thought of an answer, from outside: of a call that there is, of one that there is not, and of one that nobody
//! can know of yet.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Api, Tollgate, eventually};

/// Of October 2024, and never made.
const MADE_UP: &str = "01926c2e-7b1a-7c3d-9e4f-0123456789ab";

fn judge(gateway: &Api, id: &str) -> (u16, Value) {
    let body = json!({"interaction_id": id, "name": "helpful", "score": 1});
    let answer = gateway.post("/v1/feedback", &body);
    (answer.status, answer.json())
}

#[test]
fn a_call_that_does_not_exist_cannot_be_judged_and_one_that_does_can_wherever_its_row_is() {
    let mut tollgate = Tollgate::with_config("log: {flush_seconds: 1}\n");
    let id = tollgate.gateway().chat("sandbox/small", "hello").interaction_id();
    assert_eq!(judge(&tollgate.gateway(), &id).0, 200, "at once, before the lake has it");
    let (status, told) = judge(&tollgate.gateway(), MADE_UP);
    assert_eq!((status, &told["error"]["code"]), (404, &json!("interaction_not_found")), "{told}");
    assert!(told["error"]["message"].as_str().unwrap().contains(MADE_UP), "{told}");
    // One hexadecimal digit beside a real one, of the same moment.
    let last = if id.ends_with('0') { '1' } else { '0' };
    let beside = format!("{}{last}", &id[..id.len() - 1]);
    assert_eq!(judge(&tollgate.gateway(), &beside).0, 404);
    // A process that has started anew remembers no call and asks the log.
    tollgate.stop();
    tollgate.resume();
    assert_eq!(judge(&tollgate.gateway(), &id).0, 200, "the log has it");
    assert_eq!(judge(&tollgate.gateway(), MADE_UP).0, 404);
    // With a sidecar let in, a call of just now may be one of its.
    tollgate.run(&["token", "create", "--role", "sidecar"]);
    let newest = tollgate.gateway().chat("sandbox/small", "hello").interaction_id();
    let last = if newest.ends_with('0') { '1' } else { '0' };
    let (status, told) = judge(&tollgate.gateway(), &format!("{}{last}", &newest[..newest.len() - 1]));
    assert_eq!(status, 202, "{told}");
    assert!(told["note"].as_str().unwrap().contains("for nothing if it never is"), "{told}");
    assert_eq!(judge(&tollgate.gateway(), MADE_UP).0, 404, "but not one of long ago");
    let console = tollgate.console();
    eventually("what joins nothing is counted", Duration::from_secs(10), || {
        let judgements = console.get("/api/v1/experiments").json()["judgements"].clone();
        (judgements["count"] == 3 && judgements["of_no_call"] == 1).then_some(())
    });
    let page = console.get("/experiments").text();
    assert!(page.contains("One judgement of this range is of a call that is not in the log"), "{page}");
    let metrics = console.get("/metrics").text();
    for line in [r#"tollgate_feedback_total{call="unsure"} 1"#, r#"tollgate_feedback_total{call="refused"} 2"#] {
        assert!(metrics.contains(line), "{metrics}");
    }
}
