//! Whole answers: the readers, the observer, and what is written for callers of every dialect.
#![no_main]

use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target};
use tollgate_fuzz::{Form, asked, chosen, cross, mutate};
use tollgate_interaction::{Dialect, Operation};
use tollgate_provider::tokens::Estimate;
use tollgate_provider::translate::{read_answer, write_answer};
use tollgate_provider::{failure, observe};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate(Form::Json, data, size, max_size, seed)
});
fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| { cross(Form::Json, one, other, out, seed) });

fuzz_target!(|input: &[u8]| {
    let Some((dialect, body)) = chosen(input) else { return };
    for &operation in Operation::ALL {
        let observed = observe::whole(dialect, operation, body);
        let _ = observed.with_estimate(Estimate { input_tokens: 7, output_tokens: 7 });
    }
    let _ = (failure::classify(400, body), failure::reported(500, body), failure::wait_by_body_ms(body));
    let Ok(value) = serde_json::from_slice(body) else { return };
    let Ok(answer) = read_answer(dialect, value) else { return };
    for &caller in Dialect::ALL {
        let written = write_answer(caller, answer.clone(), &asked(true));
        let text = written.to_string();
        let seen = observe::whole(caller, Operation::Chat, text.as_bytes());
        // An answer may become one that reports an error, which is no answer to its reader.
        if seen.error.is_none() {
            assert!(seen.terminated, "{dialect} to {caller}: {text}");
            read_answer(caller, written).unwrap_or_else(|error| panic!("{dialect} to {caller}: {error}"));
        }
    }
});
