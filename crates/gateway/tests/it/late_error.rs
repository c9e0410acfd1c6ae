//! A provider that fails in the middle of a stream which began well: whoever calls whom, the caller is told in its own
//! format's words, last, and the row is a failure.

use tollgate_interaction::{Dialect, Outcome, UsageSource};

use crate::golden::{self, CALLERS, Caller, PROVIDERS};
use crate::harness::{Bench, settings};
use crate::provider::{Provider, chunk, end, stream_head_of};

async fn fail_late(name: &str, spoken: Dialect, callers: &[Caller]) {
    let events = golden::events(spoken, "late_error");
    let steps =
        [stream_head_of(golden::stream_type(spoken))].into_iter().chain(events.iter().map(chunk)).chain([end()]);
    let up = Provider::answering(steps.collect()).await;
    let mut settings = settings(up.address);
    settings.providers[0].has_responses = spoken == Dialect::Responses;
    let bench = Bench::start(settings).await;
    for &caller in callers {
        let what = format!("{caller:?} at `{name}`");
        let (path, body) = golden::request(caller, "text", &format!("{name}/small"), true);
        let answer = bench.post(&path, &body.to_string()).await;
        assert_eq!(answer.status, 200, "{what}: {}", answer.body);
        let (_, message) =
            golden::told_in_stream(caller, &answer.bytes).unwrap_or_else(|| panic!("{what}: {}", answer.body));
        assert!(message.contains("verloaded") || message.contains("unable to process"), "{what}: {message}");
        assert!(answer.body.contains("Hel"), "{what}: what came before stands: {}", answer.body);
        assert!(!answer.body.contains("[DONE]"), "{what}: {}", answer.body);
        let record = bench.row(&answer).record;
        assert_eq!((record.outcome, record.http_status), (Outcome::Failed, Some(200)), "{what}");
        assert!(record.error_type.is_some() && record.error_message.is_some(), "{what}: {record:?}");
        // Three letters were written, and will be charged for.
        assert_ne!(record.usage_source, UsageSource::None, "{what}");
        assert!(record.cost_usd.is_some(), "{what}");
    }
}

#[tokio::test]
async fn a_late_error_is_a_failure_for_every_caller_of_every_provider() {
    for (name, spoken) in PROVIDERS {
        fail_late(name, spoken, &CALLERS).await;
    }
    fail_late("up", Dialect::Responses, &[Caller { dialect: Dialect::Responses, events: true }]).await;
}
