//! What the fuzz targets share: how an input says whose format it is in, how a stream is cut into pieces, and how an input
//! is changed so that it stays worth reading.

mod edit;
mod events;
mod mutate;
mod random;

use std::borrow::Cow;

use tollgate_interaction::Dialect;
use tollgate_provider::translate::{Address, Asked};

pub use events::{framed, repair};
pub use mutate::{Form, cross, mutate};
use random::Random;

/// Stands before the events of an Amazon stream that are written as JSON, so that seeds can be read and edited.
const EVENTS_AS_JSON: u8 = b'e';

/// The first byte of an input says whose format the rest is in: the first letter of the dialect's name, or any.
#[must_use]
pub fn chosen(input: &[u8]) -> Option<(Dialect, &[u8])> {
    let (first, rest) = input.split_first()?;
    Some((dialect_of(*first), rest))
}

fn dialect_of(letter: u8) -> Dialect {
    let named = Dialect::ALL.iter().find(|dialect| dialect.as_str().as_bytes().first() == Some(&letter));
    match (named, letter) {
        (_, EVENTS_AS_JSON) => Dialect::Bedrock,
        (Some(dialect), _) => *dialect,
        (None, letter) => Dialect::ALL[usize::from(letter) % Dialect::ALL.len()],
    }
}

/// As [`chosen`], for a stream.
#[must_use]
pub fn chosen_stream(input: &[u8]) -> Option<(Dialect, Cow<'_, [u8]>)> {
    let (dialect, rest) = chosen(input)?;
    match (input.first(), framed(rest)) {
        (Some(&EVENTS_AS_JSON), Some(stream)) => Some((dialect, Cow::Owned(stream))),
        _ => Some((dialect, Cow::Borrowed(rest))),
    }
}

/// Ways to cut `bytes`: one byte at a time, and in pieces of sizes that the bytes themselves decide.
#[must_use]
pub fn cuts(bytes: &[u8]) -> [Vec<&[u8]>; 2] {
    let mut random = Random::new(crc32fast::hash(bytes));
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let most = [3, 40, 600][random.below(3)];
        let (piece, after) = rest.split_at(random.below(most).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    [bytes.chunks(1).collect(), pieces]
}

/// What the path of a request says.
#[must_use]
pub fn address() -> Address<'static> {
    Address { model: "m", stream: false }
}

/// What a writer of answers knows of the request.
#[must_use]
pub fn asked(events: bool) -> Asked {
    Asked {
        events,
        id: "fuzz".to_owned(),
        created_at_s: 1_795_651_200,
        model: "m".to_owned(),
        include_usage: true,
        ..Asked::default()
    }
}
