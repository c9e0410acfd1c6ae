//! Server-sent events: however a stream is cut, it holds the same events.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_fuzz::cuts;
use tollgate_provider::sse::Decoder;

fn events(pieces: &[&[u8]]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut decoder, mut events) = (Decoder::default(), Vec::new());
    for piece in pieces {
        decoder.push(piece, |event| events.push((event.name.to_vec(), event.data.to_vec())));
    }
    decoder.finish(|event| events.push((event.name.to_vec(), event.data.to_vec())));
    events
}

fuzz_target!(|stream: &[u8]| {
    let whole = events(&[stream]);
    for pieces in cuts(stream) {
        assert_eq!(events(&pieces), whole);
        // A small limit loses events, and says how many.
        let (mut decoder, mut kept) = (Decoder::new(16), 0);
        for piece in pieces {
            decoder.push(piece, |event| {
                kept += 1;
                assert!(whole.iter().any(|(name, data)| name == event.name && data == event.data));
            });
        }
        decoder.finish(|_| kept += 1);
        assert!(kept <= whole.len() && kept + usize::try_from(decoder.dropped()).unwrap() >= whole.len());
    }
});
