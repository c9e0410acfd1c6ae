//! How an input is changed: three times in four as what it is (a tree, a list of events), else as bytes.

use libfuzzer_sys::fuzzer_mutate;
use serde_json::Value;
use tollgate_interaction::Dialect;

use crate::edit::edit;
use crate::events::{self, Event, framed, repair};
use crate::random::Random;
use crate::{EVENTS_AS_JSON, dialect_of};

/// What an input is, behind the byte that chooses the dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One JSON value.
    Json,
    /// A stream of events.
    Stream,
}

/// Changes `data[..size]` and returns its new size.
pub fn mutate(form: Form, data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random::new(seed);
    let Some((&letter, body)) = data[..size].split_first() else { return fuzzer_mutate(data, size, max_size) };
    let changed = if random.one_in(4) { None } else { changed(form, letter, body, &mut random) };
    if let Some(changed) = changed.filter(|changed| !changed.is_empty() && changed.len() <= max_size.min(data.len())) {
        data[..changed.len()].copy_from_slice(&changed);
        return changed.len();
    }
    let size = fuzzer_mutate(data, size, max_size);
    let is_framed = form == Form::Stream && data.first().is_some_and(|first| dialect_of(*first) == Dialect::Bedrock);
    if is_framed && size > 1 && data[0] != EVENTS_AS_JSON && !random.one_in(4) {
        repair(&mut data[1..size]);
    }
    size
}

/// A tree with a piece of another.
pub fn cross(form: Form, one: &[u8], other: &[u8], out: &mut [u8], seed: u32) -> usize {
    let mut random = Random::new(seed);
    let crossed = crossed(form, one, other, &mut random).filter(|crossed| crossed.len() <= out.len());
    let crossed = crossed.as_deref().unwrap_or(&one[..one.len().min(out.len())]);
    out[..crossed.len()].copy_from_slice(crossed);
    crossed.len()
}

fn crossed(form: Form, one: &[u8], other: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let ((&letter, one), (&other_letter, other)) = (one.split_first()?, other.split_first()?);
    if form == Form::Json || letter == EVENTS_AS_JSON {
        let mut value: Value = serde_json::from_slice(one).ok()?;
        edit(&mut value, &serde_json::from_slice(other).ok()?, random);
        return Some(spelled(letter, &value));
    }
    let dialect = dialect_of(letter);
    let mut events = events::read(dialect, one);
    let donated = events::read(dialect_of(other_letter), other);
    for event in donated.into_iter().skip(random.below(8)).take(1 + random.below(3)) {
        events.insert(random.below(events.len() + 1), event);
    }
    Some([vec![letter], events::write(dialect, &events)].concat())
}

fn changed(form: Form, letter: u8, body: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    if form == Form::Stream && letter == EVENTS_AS_JSON && random.one_in(6) {
        return Some([vec![b'b'], framed(body)?].concat());
    }
    if form == Form::Json || letter == EVENTS_AS_JSON {
        let mut value: Value = serde_json::from_slice(body).ok()?;
        let pool = value.clone();
        edit(&mut value, &pool, random);
        return Some(spelled(letter, &value));
    }
    let dialect = dialect_of(letter);
    let mut events = events::read(dialect, body);
    change(&mut events, random)?;
    Some([vec![letter], events::write(dialect, &events)].concat())
}

fn change(events: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let at = random.below(events.len());
    let event = events.get(at)?.clone();
    match random.below(8) {
        0 => drop(events.remove(at)),
        1 => events.insert(at, event),
        2 => {
            let other = random.below(events.len());
            events.swap(at, other);
        }
        _ => {
            let mut value: Value = serde_json::from_slice(&event.data).ok()?;
            let pool = events.get(random.below(events.len()))?;
            let pool = serde_json::from_slice(&pool.data).unwrap_or_else(|_| value.clone());
            edit(&mut value, &pool, random);
            events.get_mut(at)?.data = value.to_string().into_bytes();
        }
    }
    Some(())
}

fn spelled(letter: u8, value: &Value) -> Vec<u8> {
    [vec![letter], value.to_string().into_bytes()].concat()
}
