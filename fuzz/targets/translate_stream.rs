//! Streams from every dialect to every other: however they are cut the caller sees the same bytes, every event of which
//! is JSON.
#![no_main]

use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target};
use tollgate_fuzz::{Form, asked, chosen_stream, cross, cuts, mutate};
use tollgate_interaction::{Dialect, Operation};
use tollgate_provider::observe::Observer;
use tollgate_provider::translate::StreamTranslator;
use tollgate_provider::{eventstream, sse};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate(Form::Stream, data, size, max_size, seed)
});
fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| { cross(Form::Stream, one, other, out, seed) });

/// What the caller sees, and whether it was told that this is all.
fn translated(from: Dialect, to: Dialect, events: bool, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
    let mut translator = StreamTranslator::new(from, to, asked(events));
    let mut seen = Vec::new();
    for piece in pieces {
        seen.extend_from_slice(&translator.push(piece));
    }
    seen.extend_from_slice(&translator.finish());
    (seen, translator.has_ended())
}

fn check(to: Dialect, seen: &[u8], has_ended: bool) {
    let check = |event: sse::Event<'_>| {
        let is_json = serde_json::from_slice::<serde_json::Value>(event.data).is_ok();
        assert!(is_json || event.data == b"[DONE]", "{}", String::from_utf8_lossy(event.data));
        assert_ne!(event.name, b"corruptedStreamException");
    };
    if to == Dialect::Bedrock {
        eventstream::Decoder::default().push(seen, check);
    } else {
        sse::Decoder::default().push(seen, check);
    }
    let mut observer = Observer::new(to, Operation::Chat, true);
    observer.push(seen);
    let observed = observer.finish(true);
    let is_told = observed.terminated || observed.error.is_some();
    assert!(!has_ended || is_told, "{}", String::from_utf8_lossy(seen));
}

fuzz_target!(|input: &[u8]| {
    let Some((from, stream)) = chosen_stream(input) else { return };
    let [_, pieces] = cuts(&stream);
    for &to in Dialect::ALL.iter().filter(|to| **to != from) {
        let (seen, has_ended) = translated(from, to, true, &[&stream]);
        check(to, &seen, has_ended);
        assert_eq!(translated(from, to, true, &pieces), (seen, has_ended));
    }
    // Gemini's other form of a stream is one JSON array.
    if from != Dialect::Gemini {
        let (seen, has_ended) = translated(from, Dialect::Gemini, false, &pieces);
        assert!(!has_ended || serde_json::from_slice::<Vec<serde_json::Value>>(&seen).is_ok());
    }
});
