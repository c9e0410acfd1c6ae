//! Requests from every dialect to every other: none panics, what may be dropped is not refused unless a message would be
//! empty without it, what is not refused is the same with and without leave to drop, and what was written is a request of
//! the target's.
#![no_main]

use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target};
use tollgate_fuzz::{Form, address, chosen, cross, mutate};
use tollgate_interaction::{Dialect, Operation};
use tollgate_provider::dialect::parse_head_at;
use tollgate_provider::translate::{self, OnUnsupported, Remedy, TranslateError, read_request};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate(Form::Json, data, size, max_size, seed)
});
fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| { cross(Form::Json, one, other, out, seed) });

fuzz_target!(|input: &[u8]| {
    let Some((from, body)) = chosen(input) else { return };
    for &to in Dialect::ALL.iter().filter(|to| **to != from) {
        let ask = |on| translate::request(from, to, body, address(), "m", on);
        let dropping = match ask(OnUnsupported::Drop) {
            Ok(dropping) => dropping,
            Err(TranslateError::Request(_)) => continue,
            Err(TranslateError::Unsupported(error)) if error.remedy == Remedy::Nothing => continue,
            Err(TranslateError::Unsupported(error)) => panic!("refused where it may be dropped: {error}"),
        };
        if let Ok(whole) = ask(OnUnsupported::Refuse) {
            assert_eq!(whole, dropping);
        }
        let written = serde_json::from_slice(&dropping.body).expect("what was written is JSON");
        let read = read_request(to, written, address()).unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
        assert_eq!(read.model, "m");
        let head = parse_head_at(to, Operation::Chat, address(), &dropping.body);
        head.unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
    }
});
