//! The scanner of JSON against serde_json: both take the same texts and read the same values from them.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde::de::IgnoredAny;
use serde_json::Value;
use tollgate_fuzz::{Form, mutate};
use tollgate_provider::fuzzing;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate(Form::Json, data, size, max_size, seed)
});

fuzz_target!(|input: &[u8]| {
    let Some((_, text)) = input.split_first() else { return };
    // It evaluates nothing: lone surrogates, numbers too large for a double, deep nesting and wrong bytes inside strings
    // are JSON to it as they are to the scanner, whose callers check the encoding.
    let is_json = serde_json::from_slice::<IgnoredAny>(text).is_ok();
    match fuzzing::scan(text) {
        Ok(()) => assert!(is_json, "only the scanner reads it"),
        Err(reason) => assert!(!is_json || reason.contains("nest deeper"), "only serde_json reads it: {reason}"),
    }
    if let Ok(value) = serde_json::from_slice::<Value>(text) {
        assert_eq!(fuzzing::tree(text), Some(value));
    }
});
