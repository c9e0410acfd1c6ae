//! The observer: however an answer is cut, it says the same about itself.
#![no_main]

use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target};
use tollgate_fuzz::{Form, chosen_stream, cross, cuts, mutate};
use tollgate_interaction::{Dialect, Operation};
use tollgate_provider::observe::{Observation, Observer};
use tollgate_provider::tokens::Estimate;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate(Form::Stream, data, size, max_size, seed)
});
fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| { cross(Form::Stream, one, other, out, seed) });

fn observed(dialect: Dialect, stream: bool, pieces: &[&[u8]]) -> Observation {
    let mut observer = Observer::new(dialect, Operation::Chat, stream);
    for piece in pieces {
        observer.push(piece);
        let _ = observer.saw_content();
    }
    observer.finish(true)
}

fuzz_target!(|input: &[u8]| {
    let Some((dialect, body)) = chosen_stream(input) else { return };
    let whole = observed(dialect, true, &[&body]);
    for pieces in cuts(&body) {
        assert_eq!(observed(dialect, true, &pieces), whole);
    }
    let _ = observed(dialect, false, &[&body]).with_estimate(Estimate { input_tokens: 7, output_tokens: 7 });
});
