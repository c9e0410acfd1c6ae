//! Amazon's frames: however a stream is cut, it holds the same events; and what is written can be read.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use tollgate_fuzz::{Form, chosen_stream, cuts, mutate};
use tollgate_provider::eventstream::{Decoder, write_event};

fn events(pieces: &[&[u8]]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut decoder, mut events) = (Decoder::default(), Vec::new());
    for piece in pieces {
        decoder.push(piece, |event| events.push((event.name.to_vec(), event.data.to_vec())));
    }
    events
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate(Form::Stream, data, size, max_size, seed)
});

fuzz_target!(|input: &[u8]| {
    let Some((_, stream)) = chosen_stream(input) else { return };
    let whole = events(&[&stream]);
    for pieces in cuts(&stream) {
        assert_eq!(events(&pieces), whole);
    }
    let mut written = Vec::new();
    for (name, data) in &whole {
        let Ok(name) = std::str::from_utf8(name) else { return };
        write_event(&mut written, name, data);
    }
    assert_eq!(events(&[&written]), whole);
});
