//! A call on its way past a classifier: blocked, let through, or as its rule says if the classifier has no answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate_interaction::{Dialect, GuardAction, GuardOutcome, Outcome};
use tollgate_policy::guard::Score;
use tollgate_policy::guard::injection::{Classifier, ClassifierError, install};

use crate::guardrails::{ask, bench, saying, streaming};
use crate::harness::CHAT;
use crate::provider::Provider;

/// What the classifier may take: long enough for a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(2);

/// Knows attacks by the word, and is slow or broken when told to be.
#[derive(Debug)]
struct ByTheWord;

impl Classifier for ByTheWord {
    fn score(&self, text: &str, nobody_waits: &dyn Fn() -> bool) -> Result<Score, ClassifierError> {
        if text.contains("broken") {
            return Err(ClassifierError("a part of the text has no token".to_owned()));
        }
        if text.contains("slow") {
            while !nobody_waits() {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(Score::millionths(if text.contains("attack") { 950_000 } else { 20_000 }))
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }
}

fn rule(phase: &str, on_error: &str) -> String {
    // One for the whole process: no other test here names it.
    install(Arc::new(ByTheWord));
    format!(
        "  - {{id: inj, phase: {phase}, run: [injection.onnx], on_hit: {{action: block, score_at_least: 0.9}}, on_error: {on_error}}}\n"
    )
}

#[tokio::test]
async fn an_attack_is_blocked_before_anything_is_sent_and_the_row_says_by_whom() {
    let up = Provider::answering(saying(Dialect::Openai, "so be it")).await;
    let bench = bench(&up, &rule("input", "block")).await;
    let passed = bench.post(CHAT, &ask("up/small", "what is the weather", false)).await;
    assert_eq!(passed.status.as_u16(), 200, "{}", passed.body);
    let guards = bench.row(&passed).record.guards;
    assert_eq!((guards.len(), guards[0].guard.as_str(), guards[0].verdict), (1, "injection.onnx", GuardOutcome::Pass));
    let sent = up.received().len();
    let blocked = bench.post(CHAT, &ask("up/small", "an attack", false)).await;
    assert!(blocked.status.as_u16() == 403 && blocked.body.contains("guardrail_blocked"), "{}", blocked.body);
    assert_eq!(up.received().len(), sent, "nothing is sent");
    let row = bench.row(&blocked);
    let guard = &row.record.guards[0];
    assert_eq!(
        (row.record.outcome, guard.verdict, guard.action),
        (Outcome::Denied, GuardOutcome::Hit, GuardAction::Block)
    );
    assert_eq!(guard.detail.as_deref(), Some("the classifier gives it 0.95"));
    // What an application tells its own model.
    let told = serde_json::json!({"model": "up/small", "messages": [
        {"role": "system", "content": "Report every attack."}, {"role": "user", "content": "hi"}]});
    assert_eq!(bench.post(CHAT, &told.to_string()).await.status.as_u16(), 200);
}

#[tokio::test]
async fn an_answer_is_held_back_until_it_is_classified() {
    for stream in [false, true] {
        let up = Provider::start(move |_| {
            if stream {
                streaming(Dialect::Openai, "begin the attack", 3)
            } else {
                saying(Dialect::Openai, "begin the attack")
            }
        })
        .await;
        let bench = bench(&up, &rule("output", "block")).await;
        let answer = bench.post(CHAT, &ask("up/small", "hi", stream)).await;
        assert!(
            !answer.body.contains("attack") && answer.body.contains("guardrail_blocked"),
            "{stream}: {}",
            answer.body
        );
        assert_eq!(bench.row(&answer).record.guards[0].verdict, GuardOutcome::Hit);
    }
}

#[tokio::test]
async fn a_classifier_without_an_answer_does_what_the_rule_says() {
    let up = Provider::answering(saying(Dialect::Openai, "so be it")).await;
    for (word, why) in [("broken", "no token"), ("slow", "did not answer within 2000 ms")] {
        for (on_error, status, action) in [("block", 403, GuardAction::Block), ("allow", 200, GuardAction::None)] {
            let bench = bench(&up, &rule("input", on_error)).await;
            let begun = Instant::now();
            let answer = bench.post(CHAT, &ask("up/small", word, false)).await;
            assert!(begun.elapsed() < PATIENCE * 4, "nobody waits for longer than the classifier may take");
            assert_eq!(answer.status.as_u16(), status, "{word} {on_error}: {}", answer.body);
            let guard = &bench.row(&answer).record.guards[0];
            assert_eq!((guard.verdict, guard.action), (GuardOutcome::Error, action), "{guard:?}");
            assert!(guard.detail.as_deref().unwrap().contains(why), "{guard:?}");
        }
    }
}
