//! Reads the events and bodies of OpenAI's Responses API. Deltas are counted as they pass; model, usage and ending stand
//! in the response object that the last event holds, which is read like a whole body.

use tollgate_interaction::{Usage, Usd};

use super::openai::read_error;
use super::{Reading, StreamError, bounded};
use crate::scan::{Cursor, Kind, ScanError, Text};
use crate::usage::{Cost, UsageReading};

/// The events that say something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// The response is whole: completed, or incomplete for a reason it gives.
    Whole,
    /// The response has failed.
    Failed,
    /// An error besides a response.
    Error,
    /// An item begins, with the name of the function it calls.
    Begins,
    /// Something in a format that is no text, such as sound.
    Bytes,
    Other,
}

impl Event {
    fn from_type(name: Text<'_>) -> Event {
        let known = [
            ("response.completed", Event::Whole),
            ("response.incomplete", Event::Whole),
            ("response.failed", Event::Failed),
            ("error", Event::Error),
            ("response.output_item.added", Event::Begins),
            ("response.audio.delta", Event::Bytes),
        ];
        known.iter().find(|(known, _)| name.is(known)).map_or(Event::Other, |(_, event)| *event)
    }
}

/// What an event or a response says, besides what goes into the reading at once.
#[derive(Debug, Default)]
struct Found {
    event: Option<Event>,
    delta_chars: u64,
    name_chars: u64,
    error: Option<StreamError>,
    code: Option<String>,
    message: Option<String>,
}

/// Reads one event's data. The `type` inside it names the event as well as the `event:` line does.
#[inline]
pub(super) fn read_event(reading: &mut Reading, data: &[u8]) {
    let mut found = Found::default();
    let mut cursor = Cursor::new(data);
    let read = cursor.kind().and_then(|kind| match kind {
        Kind::Object => cursor.fields(|key, cursor| read_event_field(reading, &mut found, key, cursor)),
        _ => cursor.skip().map(drop),
    });
    if found.event != Some(Event::Bytes) {
        reading.wrote(found.delta_chars);
    }
    // An event that breaks off leaves what was read of it: its text has been sent.
    if read.and_then(|()| cursor.end()).is_err() {
        return;
    }
    match found.event {
        Some(Event::Whole) => {
            reading.terminated = true;
            reading.usage_is_final = true;
        }
        Some(Event::Failed) => {
            reading.usage_is_final = true;
            reading.error.get_or_insert_with(|| StreamError { kind: "server_error".to_owned(), ..Default::default() });
        }
        Some(Event::Error) => {
            reading.error = Some(found.error.unwrap_or_else(|| StreamError {
                kind: "error".to_owned(),
                code: found.code,
                message: found.message.unwrap_or_default(),
            }));
        }
        Some(Event::Begins) => reading.wrote(found.name_chars),
        Some(Event::Bytes | Event::Other) | None => {}
    }
}

#[inline]
fn read_event_field(
    reading: &mut Reading,
    found: &mut Found,
    key: Text<'_>,
    cursor: &mut Cursor<'_>,
) -> Result<(), ScanError> {
    if key.is("type") {
        found.event = cursor.text_or_skip()?.map(Event::from_type);
    } else if key.is("delta") {
        found.delta_chars = cursor.text_or_skip()?.map_or(0, |text| text.count_chars());
    } else if key.is("response") {
        read_response(reading, cursor, false)?;
    } else if key.is("item") && cursor.kind()? == Kind::Object {
        cursor.fields(|key, cursor| {
            if key.is("name") {
                found.name_chars = cursor.text_or_skip()?.map_or(0, |text| text.count_chars());
                return Ok(());
            }
            cursor.skip().map(drop)
        })?;
    } else if key.is("error") {
        found.error = read_error(cursor)?;
    } else if key.is("code") {
        found.code = cursor.text_or_skip()?.map(|text| bounded(&text.decode()));
    } else if key.is("message") {
        found.message = cursor.text_or_skip()?.map(|text| bounded(&text.decode()));
    } else {
        cursor.skip()?;
    }
    Ok(())
}

/// Reads a whole body: a response, or an error.
pub(super) fn read_whole(reading: &mut Reading, body: &[u8]) {
    let mut cursor = Cursor::new(body);
    let read = read_response(reading, &mut cursor, true).and_then(|()| cursor.end());
    reading.terminated = read.is_ok();
    reading.usage_is_final = read.is_ok();
}

/// Counts of a response, from the several places where they stand.
#[derive(Debug, Default)]
struct Counts {
    usage: Option<Usage>,
    searches: Option<u64>,
    search_items: u64,
    other_items: u64,
    status: Option<String>,
    reason: Option<String>,
}

/// Reads a response object. `counts` says whether what was written in it is counted: at the end of a stream it has been.
fn read_response(reading: &mut Reading, cursor: &mut Cursor<'_>, counts: bool) -> Result<(), ScanError> {
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(drop);
    }
    let mut found = Counts::default();
    cursor.fields(|key, cursor| {
        if key.is("service_tier") {
            reading.tier(cursor)?;
        } else if key.is("model") {
            let model = cursor.text_or_skip()?.filter(|model| !model.is_empty());
            reading.model = model.map(|model| model.decode().into_owned()).or(reading.model.take());
        } else if key.is("usage") {
            found.usage = read_usage(cursor, &mut reading.cost)?;
        } else if key.is("tool_usage") {
            read_nested(cursor, "web_search", |cursor| {
                read_nested(cursor, "num_requests", |cursor| {
                    found.searches = cursor.count_or_skip()?;
                    Ok(())
                })
            })?;
        } else if key.is("status") {
            found.status = cursor.text_or_skip()?.map(|status| status.decode().into_owned());
        } else if key.is("incomplete_details") {
            read_nested(cursor, "reason", |cursor| {
                found.reason = cursor.text_or_skip()?.map(|reason| reason.decode().into_owned());
                Ok(())
            })?;
        } else if key.is("error") {
            let error = read_error(cursor)?;
            reading.error = reading.error.take().or(error);
        } else if key.is("output") && cursor.kind()? == Kind::Array {
            cursor.items(|cursor| read_item(reading, &mut found, cursor, counts))?;
        } else {
            cursor.skip()?;
        }
        Ok::<(), ScanError>(())
    })?;
    conclude(reading, found);
    Ok(())
}

fn conclude(reading: &mut Reading, found: Counts) {
    let Counts { usage, searches, search_items, other_items, status, reason } = found;
    if let Some(usage) = usage {
        let counted = |count: u64| Some(count).filter(|count| *count > 0);
        reading.usage = UsageReading::Normal(Usage {
            web_search_calls: searches.or(counted(search_items)),
            other_tool_calls: counted(other_items),
            ..usage
        });
    }
    // Not of one that is queued or under way.
    if let Some("completed" | "incomplete" | "failed" | "cancelled") = status.as_deref() {
        reading.finish_reasons = vec![reason.or(status)];
    }
}

/// Reads the field `name` of an object, if there is one.
fn read_nested<'a>(
    cursor: &mut Cursor<'a>,
    name: &str,
    mut read: impl FnMut(&mut Cursor<'a>) -> Result<(), ScanError>,
) -> Result<(), ScanError> {
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(drop);
    }
    cursor.fields(|key, cursor| if key.is(name) { read(cursor) } else { cursor.skip().map(drop) })
}

/// Source: <https://developers.openai.com/api/reference/resources/responses> (2026-11-26). Input includes cached tokens,
/// output includes reasoning. Perplexity has names of its own for cached tokens
/// (<https://docs.perplexity.ai/docs/agent-api>, 2026-11-26), and says what the call costs, as xAI and OpenRouter do.
fn read_usage(cursor: &mut Cursor<'_>, cost: &mut Option<Usd>) -> Result<Option<Usage>, ScanError> {
    if cursor.kind()? != Kind::Object {
        cursor.skip()?;
        return Ok(None);
    }
    let mut usage = Usage::default();
    cursor.fields(|key, cursor| {
        if key.is("input_tokens") {
            usage.input_tokens = cursor.count_or_skip()?;
        } else if key.is("output_tokens") {
            usage.output_tokens = cursor.count_or_skip()?;
        } else if key.is("input_tokens_details") && cursor.kind()? == Kind::Object {
            cursor.fields(|key, cursor| {
                if key.is("cached_tokens") || key.is("cache_read_input_tokens") {
                    usage.cache_read_input_tokens = cursor.count_or_skip()?;
                } else if key.is("cache_write_tokens") || key.is("cache_creation_input_tokens") {
                    usage.cache_write_5m_input_tokens = cursor.count_or_skip()?;
                } else {
                    cursor.skip()?;
                }
                Ok::<(), ScanError>(())
            })?;
        } else if key.is("output_tokens_details") {
            read_nested(cursor, "reasoning_tokens", |cursor| {
                usage.reasoning_output_tokens = cursor.count_or_skip()?;
                Ok(())
            })?;
        } else if let Some(said) = Cost::named(key) {
            *cost = said.read(cursor)?.or(*cost);
        } else {
            cursor.skip()?;
        }
        Ok::<(), ScanError>(())
    })?;
    Ok(Some(usage))
}

/// Reads an item of the output: what kind it is, and how much was written in it.
fn read_item(
    reading: &mut Reading,
    found: &mut Counts,
    cursor: &mut Cursor<'_>,
    counts: bool,
) -> Result<(), ScanError> {
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(drop);
    }
    let mut chars = 0;
    let mut search = false;
    let mut is_search_itself = true;
    cursor.fields(|key, cursor| {
        if key.is("type") {
            let kind = cursor.text_or_skip()?;
            search = kind.is_some_and(|kind| kind.is("web_search_call"));
            let other = kind.is_some_and(|kind| kind.is("file_search_call") || kind.is("code_interpreter_call"));
            found.other_items += u64::from(other);
        } else if key.is("action") {
            read_nested(cursor, "type", |cursor| {
                is_search_itself = cursor.text_or_skip()?.is_none_or(|kind| kind.is("search"));
                Ok(())
            })?;
        } else if key.is("name") || key.is("arguments") || key.is("input") || key.is("code") {
            chars += cursor.text_or_skip()?.map_or(0, |text| text.count_chars());
        } else if (key.is("content") || key.is("summary")) && cursor.kind()? == Kind::Array {
            cursor.items(|cursor| read_part(&mut chars, cursor))?;
        } else {
            cursor.skip()?;
        }
        Ok::<(), ScanError>(())
    })?;
    found.search_items += u64::from(search && is_search_itself);
    if counts {
        reading.wrote(chars);
    }
    Ok(())
}

fn read_part(chars: &mut u64, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(drop);
    }
    cursor.fields(|key, cursor| {
        if key.is("text") || key.is("refusal") {
            *chars += cursor.text_or_skip()?.map_or(0, |text| text.count_chars());
            return Ok(());
        }
        cursor.skip().map(drop)
    })
}
