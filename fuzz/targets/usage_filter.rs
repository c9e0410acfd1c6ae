//! The filter that keeps from a caller the usage it did not ask for: however a stream is cut the caller sees the same
//! events, and no other event is lost.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use tollgate_fuzz::{Form, mutate};
use tollgate_provider::UsageFilter;
use tollgate_provider::sse::Decoder;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate(Form::Stream, data, size, max_size, seed)
});

fn filtered(pieces: &[&[u8]]) -> Vec<u8> {
    let (mut filter, mut seen) = (UsageFilter::new(), Vec::new());
    for piece in pieces {
        seen.extend_from_slice(&filter.push(Bytes::copy_from_slice(piece)));
    }
    seen.extend_from_slice(&filter.finish());
    seen
}

fn events(stream: &[u8]) -> Vec<Vec<u8>> {
    let (mut decoder, mut events) = (Decoder::default(), Vec::new());
    decoder.push(stream, |event| events.push(event.data.to_vec()));
    decoder.finish(|event| events.push(event.data.to_vec()));
    events
}

fuzz_target!(|input: &[u8]| {
    let Some((_, stream)) = input.split_first() else { return };
    let shown = events(&filtered(&[stream]));
    for pieces in tollgate_fuzz::cuts(stream) {
        assert_eq!(events(&filtered(&pieces)), shown);
    }
    let mut shown = shown.into_iter().peekable();
    for event in events(stream) {
        if shown.peek() == Some(&event) {
            shown.next();
        } else {
            assert!(memchr::memmem::find(&event, b"\"usage\"").is_some(), "{}", String::from_utf8_lossy(&event));
        }
    }
    assert_eq!(shown.next(), None, "nothing is added");
});
