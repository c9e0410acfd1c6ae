//! Events for the tests of this crate.

use bytes::Bytes;
use tollgate_interaction::{Event, Interaction, Opened, Payload, Settled};

pub(crate) fn interaction(number: u64) -> Interaction {
    tollgate_testkit::samples::interaction(number, 1_795_000_000_000_000)
}

fn text(length: usize) -> Bytes {
    b"the quick brown fox jumps over the lazy dog, ".iter().copied().cycle().take(length).collect()
}

/// Bytes that do not compress.
pub(crate) fn noise(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

pub(crate) fn opened_with(number: u64, body: Bytes) -> Event {
    let request = Payload { content_type: "application/json".into(), body };
    Event::Opened(Box::new(Opened { interaction: interaction(number), request }))
}

pub(crate) fn opened(number: u64, payload_bytes: usize) -> Event {
    opened_with(number, text(payload_bytes))
}

pub(crate) fn settled(number: u64, payload_bytes: usize) -> Event {
    let response = Payload { content_type: "application/json".into(), body: text(payload_bytes) };
    Event::Settled(Box::new(Settled { interaction: interaction(number), request: None, response, salt: None }))
}
