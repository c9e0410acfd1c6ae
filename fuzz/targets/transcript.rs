//! The conversation told from the bytes of a call, which may be anything.
#![no_main]

use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target};
use tollgate_fuzz::{Form, chosen_stream, cross, mutate};
use tollgate_provider::transcript::messages;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let form = if data.get(1) == Some(&b'{') { Form::Json } else { Form::Stream };
    mutate(form, data, size, max_size, seed)
});
fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| {
    let form = if one.get(1) == Some(&b'{') { Form::Json } else { Form::Stream };
    cross(form, one, other, out, seed)
});

fuzz_target!(|input: &[u8]| {
    let Some((_, body)) = chosen_stream(input) else { return };
    for message in messages(&body, b"").into_iter().chain(messages(b"", &body)) {
        assert!(!message.content.is_empty());
    }
});
