//! Streams as lists of events, and frames of Amazon's whose checksums are made right again after bytes were changed.

use serde_json::Value;
use tollgate_interaction::Dialect;
use tollgate_provider::{eventstream, sse};

const PRELUDE_BYTES: usize = 12;
const MIN_FRAME_BYTES: usize = 16;

/// One event, in either framing.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) name: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

/// The events of a stream.
pub(crate) fn read(dialect: Dialect, stream: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    let each = |event: sse::Event<'_>| events.push(Event { name: event.name.to_vec(), data: event.data.to_vec() });
    if dialect == Dialect::Bedrock {
        eventstream::Decoder::default().push(stream, each);
    } else {
        sse::Decoder::default().push(stream, each);
    }
    events
}

/// The stream of events.
pub(crate) fn write(dialect: Dialect, events: &[Event]) -> Vec<u8> {
    let mut stream = Vec::new();
    for Event { name, data } in events {
        if dialect == Dialect::Bedrock {
            write_frame(&mut stream, &String::from_utf8_lossy(name), data);
            continue;
        }
        if !name.is_empty() {
            stream.extend_from_slice(&[b"event: ".as_slice(), name, b"\n"].concat());
        }
        for line in data.split(|byte| *byte == b'\n') {
            stream.extend_from_slice(&[b"data: ".as_slice(), line, b"\n"].concat());
        }
        stream.push(b'\n');
    }
    stream
}

fn write_frame(stream: &mut Vec<u8>, name: &str, data: &[u8]) {
    let write = if name.ends_with("Exception") { eventstream::write_exception } else { eventstream::write_event };
    write(stream, name, data);
}

/// Amazon's frames of the events in a JSON array of names and data; `None` if that is something else.
#[must_use]
pub fn framed(events: &[u8]) -> Option<Vec<u8>> {
    let events: Vec<Value> = serde_json::from_slice(events).ok()?;
    let mut stream = Vec::new();
    for event in &events {
        write_frame(&mut stream, event.get("name")?.as_str()?, event.get("data")?.to_string().as_bytes());
    }
    Some(stream)
}

/// Makes lengths and checksums of Amazon's frames such that a decoder reads on: nobody finds a CRC by chance.
pub fn repair(mut frames: &mut [u8]) {
    while frames.len() >= MIN_FRAME_BYTES {
        let length = |at: usize, frames: &[u8]| {
            frames[at..at + 4].iter().fold(0, |length, byte| (length << 8) | usize::from(*byte))
        };
        let total = Some(length(0, frames)).filter(|total| (MIN_FRAME_BYTES..=frames.len()).contains(total));
        let total = total.unwrap_or(frames.len());
        let headers = length(4, frames) % (total - MIN_FRAME_BYTES + 1);
        let (frame, after) = frames.split_at_mut(total);
        put(frame, 0, total);
        put(frame, 4, headers);
        let prelude = crc32fast::hash(&frame[..8]);
        frame[8..PRELUDE_BYTES].copy_from_slice(&prelude.to_be_bytes());
        let message = crc32fast::hash(&frame[..total - 4]);
        frame[total - 4..].copy_from_slice(&message.to_be_bytes());
        frames = after;
    }
}

fn put(frame: &mut [u8], at: usize, length: usize) {
    frame[at..at + 4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}
