//! Reads the events and bodies of Anthropic's Messages API.

use super::openai::read_error;
use super::{Reading, StreamError};
use crate::scan::{Cursor, Kind, ScanError, Text};
use crate::usage::{AnthropicUsage, UsageReading};

/// The events that say something. Content is counted from the deltas; pings and whatever may be added are passed over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Event {
    MessageDelta,
    MessageStop,
    Error,
    Other,
}

impl Event {
    fn from_type(name: Text<'_>) -> Event {
        if name.is("message_delta") {
            Event::MessageDelta
        } else if name.is("message_stop") {
            Event::MessageStop
        } else if name.is("error") {
            Event::Error
        } else {
            Event::Other
        }
    }
}

/// Reads one event's data. The `type` inside it names the event as well as the `event:` line does.
#[inline]
pub(super) fn read_event(reading: &mut Reading, data: &[u8]) {
    let Ok(event) = read_object(reading, data) else { return };
    match event {
        Event::MessageStop => reading.terminated = true,
        Event::MessageDelta => reading.usage_is_final = true,
        Event::Error | Event::Other => {}
    }
}

/// Reads a whole body: a message, or an error.
pub(super) fn read_whole(reading: &mut Reading, body: &[u8]) {
    let read = read_object(reading, body);
    reading.terminated = read.is_ok();
    reading.usage_is_final = read.is_ok();
}

/// Reads an event or a message: what they share (`usage`, `model`, `stop_reason`) stands at the same names.
fn read_object(reading: &mut Reading, data: &[u8]) -> Result<Event, ScanError> {
    let mut cursor = Cursor::new(data);
    if cursor.kind()? != Kind::Object {
        cursor.skip()?;
        cursor.end()?;
        return Ok(Event::Other);
    }
    let mut event = Event::Other;
    let mut error = None;
    cursor.fields(|key, cursor| {
        if key.is("type") {
            event = cursor.text_or_skip()?.map_or(Event::Other, Event::from_type);
        } else if key.is("delta") || key.is("content_block") {
            read_block(reading, cursor)?;
        } else if key.is("error") {
            error = read_error(cursor)?;
        } else if key.is("message") && cursor.kind()? == Kind::Object {
            cursor.fields(|key, cursor| read_message_field(reading, key, cursor))?;
        } else {
            read_message_field(reading, key, cursor)?;
        }
        Ok::<(), ScanError>(())
    })?;
    cursor.end()?;
    if event == Event::Error || error.is_some() {
        reading.error =
            Some(error.unwrap_or_else(|| StreamError { kind: "error".to_owned(), ..StreamError::default() }));
    }
    Ok(event)
}

/// Reads a field of a message, whether it stands in `message_start`, in `message_delta` or alone.
fn read_message_field(reading: &mut Reading, key: Text<'_>, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    if key.is("usage") {
        return read_usage(reading, cursor);
    }
    if key.is("model") {
        let model = cursor.text_or_skip()?.filter(|model| !model.is_empty());
        reading.model = model.map(|model| model.decode().into_owned()).or(reading.model.take());
        return Ok(());
    }
    if key.is("stop_reason") {
        return read_stop_reason(reading, cursor);
    }
    if key.is("content") && cursor.kind()? == Kind::Array {
        return cursor.items(|cursor| read_block(reading, cursor));
    }
    cursor.skip().map(drop)
}

fn read_stop_reason(reading: &mut Reading, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    if let Some(reason) = cursor.text_or_skip()?.filter(|reason| !reason.is_empty()) {
        reading.finish_reason(0, reason.decode().into_owned());
    }
    Ok(())
}

fn read_usage(reading: &mut Reading, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    let mut usage = match reading.usage {
        UsageReading::Anthropic(usage) => usage,
        UsageReading::Openai(_) | UsageReading::Normal(_) => AnthropicUsage::default(),
    };
    usage.read_over(cursor, &mut reading.service_tier)?;
    reading.usage = UsageReading::Anthropic(usage);
    Ok(())
}

/// Reads a content block or a delta: text, tool input (as text in a stream, as JSON in a message) or thinking. The
/// delta of `message_delta` holds the stop reason instead.
fn read_block(reading: &mut Reading, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(drop);
    }
    cursor.fields(|key, cursor| {
        if key.is("text") || key.is("partial_json") || key.is("thinking") || key.is("name") {
            let written = cursor.text_or_skip()?.map_or(0, |text| text.count_chars());
            reading.wrote(written);
            return Ok(());
        }
        if key.is("stop_reason") {
            return read_stop_reason(reading, cursor);
        }
        if key.is("input") {
            // In a stream `content_block_start` announces `{}`, which nobody wrote.
            let input = cursor.skip()?.len() as u64;
            reading.wrote(if input > 2 { input } else { 0 });
            return Ok(());
        }
        cursor.skip().map(drop)
    })
}
