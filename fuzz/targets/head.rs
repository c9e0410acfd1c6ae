//! The head of a request against a full parser, and what is spliced into its body.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target};
use serde_json::Value;
use tollgate_fuzz::{Form, address, chosen, cross, mutate};
use tollgate_interaction::{Dialect, Operation};
use tollgate_provider::RequestError;
use tollgate_provider::dialect::{parse_head_at, with_model};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate(Form::Json, data, size, max_size, seed)
});
fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| { cross(Form::Json, one, other, out, seed) });

fuzz_target!(|input: &[u8]| {
    let Some((dialect, body)) = chosen(input) else { return };
    let parsed = serde_json::from_slice::<Value>(body);
    for &operation in Operation::ALL {
        let head = match parse_head_at(dialect, operation, address(), body) {
            Ok(head) => head,
            Err(RequestError::NotUtf8 { offset } | RequestError::NotJson { offset, .. }) => {
                assert!(offset <= body.len());
                assert!(parsed.is_err(), "serde_json reads it");
                continue;
            }
            Err(_) => continue,
        };
        let Ok(parsed) = &parsed else { continue };
        let in_body = matches!(dialect, Dialect::Openai | Dialect::Anthropic | Dialect::Responses);
        // These name their model in the path, or none.
        let is_elsewhere =
            matches!(operation, Operation::Models | Operation::Files | Operation::Batches | Operation::Realtime);
        if is_elsewhere || !in_body {
            continue;
        }
        // Policy judges what the provider will run.
        let named = parsed.get("model").and_then(Value::as_str);
        assert_eq!(named.unwrap_or_default(), head.model);
        if named.is_none_or(str::is_empty) {
            // Some operations have a model of their own.
            continue;
        }
        // What else can be streamed, and by which word, differs from one operation to the next.
        if operation == Operation::Chat {
            assert_eq!(parsed.get("stream").and_then(Value::as_bool) == Some(true), head.stream);
        }
        let body = Bytes::copy_from_slice(body);
        let after = with_model(&body, &head, "an\"other");
        let mut after: Value = serde_json::from_slice(&after).expect("the spliced body is JSON");
        assert_eq!(after["model"], "an\"other", "{dialect} {operation}");
        if head.hides_usage() {
            assert_eq!(after["stream_options"]["include_usage"], true);
        }
        let mut before = parsed.clone();
        for value in [&mut before, &mut after] {
            let fields = value.as_object_mut().expect("a body is an object");
            fields.remove("model");
            if head.hides_usage() {
                fields.remove("stream_options");
            }
        }
        assert_eq!(before, after, "nothing else changes");
    }
});
