//! Judgements of answers: on disk before they are acknowledged, refused in a sentence that says what to send.

use http::StatusCode;
use tollgate_gateway::Standing;
use tollgate_interaction::{Event, Feedback, Governance, InteractionId};

use crate::harness::{Bench, CHAT, chat, now_us, settings};

const PATH: &str = "/v1/feedback";

async fn bench() -> Bench {
    Bench::start(settings(std::net::SocketAddr::from(([127, 0, 0, 1], 1)))).await
}

fn judgements(bench: &Bench) -> Vec<Feedback> {
    let judged = |event| match event {
        Event::Governance(event) => match *event {
            Governance::Feedback(feedback) => Some(feedback),
            _ => None,
        },
        _ => None,
    };
    bench.events().into_iter().filter_map(judged).collect()
}

#[tokio::test]
async fn a_judgement_is_on_disk_when_it_is_acknowledged() {
    let bench = bench().await;
    let call = bench.post(CHAT, &chat("sandbox/small")).await;
    let body = format!(r#"{{"interaction_id":"{}","name":"helpful","score":-0.5,"comment":"too long"}}"#, call.id());
    let answer = bench.post(PATH, &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let (appended, durable) = bench.log_position();
    assert_eq!(appended, durable);
    let kept = judgements(&bench);
    assert_eq!(kept.len(), 1);
    assert_eq!(answer.json()["feedback_id"], kept[0].feedback_id.as_str());
    assert_eq!(kept[0].interaction_id.to_string(), call.id());
    assert_eq!((kept[0].name.as_str(), kept[0].score.get()), ("helpful", -500_000));
    assert_eq!(kept[0].comment.as_deref(), Some("too long"));
    assert_eq!(
        (kept[0].tenant.as_str(), kept[0].source.as_str(), kept[0].given_by.as_str()),
        ("acme", "gateway", "key-1")
    );
    assert_eq!(bench.rows().len(), 1, "a judgement is no call");
}

#[tokio::test]
async fn a_call_that_the_gateway_does_not_remember_can_be_judged() {
    let bench = bench().await;
    let long_ago = InteractionId::new(1_600_000_000_000, &[1; 10]);
    let answer = bench.post(PATH, &format!(r#"{{"interaction_id":"{long_ago}","name":"ok","score":1}}"#)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "nobody here reads the log: {}", answer.body);
    let note = answer.json()["note"].as_str().unwrap().to_owned();
    assert!(note.contains(&long_ago.to_string()) && note.contains("for nothing if it never is"), "{note}");
    assert_eq!(judgements(&bench)[0].comment, None);
    assert_eq!((bench.gateway.stats().feedback_known, bench.gateway.stats().feedback_unsure), (0, 1));
}

#[tokio::test]
async fn a_call_that_the_log_knows_nothing_of_cannot_be_judged() {
    let bench = bench().await;
    let real = InteractionId::new(1_600_000_000_000, &[1; 10]);
    bench.gateway.ask_calls(move |tenant, id| {
        let standing = if (tenant, id) == ("acme", real) { Standing::Known } else { Standing::Unknown };
        Box::pin(async move { standing })
    });
    let judge = |id: InteractionId| format!(r#"{{"interaction_id":"{id}","name":"ok","score":1}}"#);
    assert_eq!(bench.post(PATH, &judge(real)).await.status, StatusCode::OK);
    let made_up = InteractionId::new(1_600_000_000_000, &[2; 10]);
    let answer = bench.post(PATH, &judge(made_up)).await;
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].as_str()),
        (StatusCode::NOT_FOUND, Some("interaction_not_found"))
    );
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains(&made_up.to_string()), "{}", answer.body);
    assert_eq!(judgements(&bench).len(), 1);
    // One that was just taken here is known although the log does not have it yet.
    let call = bench.post(CHAT, &chat("sandbox/small")).await;
    let body = format!(r#"{{"interaction_id":"{}","name":"ok","score":1}}"#, call.id());
    assert_eq!(bench.post(PATH, &body).await.status, StatusCode::OK);
    let stats = bench.gateway.stats();
    assert_eq!((stats.feedback_known, stats.feedback_unsure, stats.feedback_refused), (2, 0, 1));
}

#[tokio::test]
async fn what_is_no_judgement_is_refused_with_what_to_send() {
    let bench = bench().await;
    let id = InteractionId::new(1_600_000_000_000, &[1; 10]);
    let hour_ahead = InteractionId::new(u64::try_from(now_us() / 1_000).unwrap() + 3_600_000, &[1; 10]);
    let long = "x".repeat(4_001);
    for (body, expected) in [
        ("{".to_owned(), "interaction_id"),
        (format!(r#"{{"interaction_id":"{id}","score":1}}"#), "missing field `name`"),
        (format!(r#"{{"interaction_id":"{id}","name":"a","score":1,"scor":1}}"#), "unknown field `scor`"),
        (r#"{"interaction_id":"call-1","name":"a","score":1}"#.to_owned(), "x-tollgate-interaction-id"),
        (
            r#"{"interaction_id":"a3bb189e-8bf9-4888-9912-ace4e6543002","name":"a","score":1}"#.to_owned(),
            "is not the id of a call",
        ),
        (format!(r#"{{"interaction_id":"{hour_ahead}","name":"a","score":1}}"#), "is not the id of a call"),
        (format!(r#"{{"interaction_id":"{id}","name":"","score":1}}"#), "`name` says what was judged"),
        (format!(r#"{{"interaction_id":"{id}","name":"a b","score":1}}"#), "`name` says what was judged"),
        (format!(r#"{{"interaction_id":"{id}","name":"a","score":1.01}}"#), "from -1 (bad) to 1 (good)"),
        (format!(r#"{{"interaction_id":"{id}","name":"a","score":"1"}}"#), "invalid type: string"),
        (format!(r#"{{"interaction_id":"{id}","name":"a","score":1,"comment":"{long}"}}"#), "at most 4000"),
        (format!(r#"{{"interaction_id":"{id}","name":"a","score":1,"comment":"{}"}}"#, "x".repeat(20_000)), "16384"),
    ] {
        let answer = bench.post(PATH, &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}: {}", answer.body);
        assert_eq!(answer.json()["error"]["code"], "invalid_feedback", "{}", answer.body);
        assert!(answer.json()["error"]["message"].as_str().unwrap().contains(expected), "{body}: {}", answer.body);
    }
    assert_eq!(judgements(&bench), []);
}

#[tokio::test]
async fn nobody_judges_without_a_key() {
    let bench = bench().await;
    let mut request = bench.request(PATH, "{}");
    request.headers_mut().remove("authorization");
    assert_eq!(bench.send(request).await.status, StatusCode::UNAUTHORIZED);
    let answer = bench.get(PATH).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{}", answer.body);
}
