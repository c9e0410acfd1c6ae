//! Reads OpenAI's chunks and bodies: Chat Completions, Embeddings, and what compatible servers make of them (for Groq's
//! `x_groq` see <https://console.groq.com/docs/api-reference>, 2026-11-26).

use super::{Reading, StreamError, bounded};
use crate::scan::{Cursor, Kind, ScanError};
use crate::usage::{OpenaiUsage, UsageReading};

/// Reads one event's data. What is not JSON, such as half a chunk at a cut, changes nothing but the text already read.
#[inline]
pub(super) fn read_chunk(reading: &mut Reading, data: &[u8]) {
    if data == b"[DONE]" {
        reading.terminated = true;
        return;
    }
    // A chunk that breaks off leaves what was read of it: its text has been sent.
    let _ = read_object(reading, data);
}

/// Reads a whole body.
pub(super) fn read_whole(reading: &mut Reading, body: &[u8]) {
    let read = read_object(reading, body);
    reading.terminated = read.is_ok();
    reading.usage_is_final = read.is_ok();
}

fn read_object(reading: &mut Reading, data: &[u8]) -> Result<(), ScanError> {
    let mut cursor = Cursor::new(data);
    if cursor.kind()? != Kind::Object {
        cursor.skip()?;
        return cursor.end();
    }
    let mut choices = 0;
    let mut usage = None;
    cursor.fields(|key, cursor| {
        if key.is("choices") {
            choices = read_choices(reading, &mut usage, cursor)?;
        } else if key.is("service_tier") {
            reading.tier(cursor)?;
        } else if key.is("model") {
            read_model(reading, cursor)?;
        } else if key.is("usage") {
            usage = OpenaiUsage::read(cursor)?.or(usage);
        } else if key.is("error") {
            reading.error = read_error(cursor)?.or(reading.error.take());
        } else if key.is("x_groq") {
            usage = read_groq(reading, cursor)?.or(usage);
        } else if key.is("base_resp") {
            reading.error = read_base_resp(cursor)?.or(reading.error.take());
        } else {
            cursor.skip()?;
        }
        Ok::<(), ScanError>(())
    })?;
    if let Some(usage) = usage {
        reading.cost = usage.cost.or(reading.cost);
        reading.usage = UsageReading::Openai(usage);
        // The usage chunk proper has no choices; a running count rides along with content and may still grow.
        reading.usage_is_final = choices == 0 || !reading.finish_reasons.is_empty();
    }
    cursor.end()
}

/// Groq's own corner of a chunk, which holds the usage of a stream, or its error.
fn read_groq(reading: &mut Reading, cursor: &mut Cursor<'_>) -> Result<Option<OpenaiUsage>, ScanError> {
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(|_| None);
    }
    let mut usage = None;
    cursor.fields(|key, cursor| {
        if key.is("usage") {
            usage = OpenaiUsage::read(cursor)?;
        } else if key.is("error") {
            reading.error = read_error(cursor)?.or(reading.error.take());
        } else {
            cursor.skip()?;
        }
        Ok::<(), ScanError>(())
    })?;
    Ok(usage)
}

/// MiniMax's own word on how a call went, beside a status of 200; a code of zero is success.
/// Source: <https://platform.minimax.io/docs/api-reference/errorcode> (2026-11-26).
pub(crate) fn read_base_resp(cursor: &mut Cursor<'_>) -> Result<Option<StreamError>, ScanError> {
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(|_| None);
    }
    let mut error = StreamError { kind: "base_resp".to_owned(), ..StreamError::default() };
    cursor.fields(|key, cursor| {
        if key.is("status_code") {
            error.code = cursor.count_or_skip()?.filter(|code| *code != 0).map(|code| code.to_string());
        } else if key.is("status_msg") {
            error.message = cursor.text_or_skip()?.map(|text| bounded(&text.decode())).unwrap_or_default();
        } else {
            cursor.skip()?;
        }
        Ok::<(), ScanError>(())
    })?;
    Ok(Some(error).filter(|error| error.code.is_some()))
}

pub(super) fn read_model(reading: &mut Reading, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    if reading.model.is_some() {
        return cursor.skip().map(drop);
    }
    let model = cursor.text_or_skip()?.filter(|model| !model.is_empty());
    reading.model = model.map(|model| model.decode().into_owned());
    Ok(())
}

fn read_choices(
    reading: &mut Reading,
    usage: &mut Option<OpenaiUsage>,
    cursor: &mut Cursor<'_>,
) -> Result<usize, ScanError> {
    if cursor.kind()? != Kind::Array {
        cursor.skip()?;
        return Ok(0);
    }
    let mut count = 0;
    cursor.items(|cursor| {
        read_choice(reading, count, usage, cursor)?;
        count += 1;
        Ok::<(), ScanError>(())
    })?;
    Ok(count)
}

fn read_choice(
    reading: &mut Reading,
    place: usize,
    usage: &mut Option<OpenaiUsage>,
    cursor: &mut Cursor<'_>,
) -> Result<(), ScanError> {
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(drop);
    }
    let mut index = place;
    let mut reason = None;
    cursor.fields(|key, cursor| {
        if key.is("delta") || key.is("message") {
            read_message(reading, cursor)?;
        } else if key.is("finish_reason") {
            reason = cursor.text_or_skip()?;
        } else if key.is("index") {
            let given = cursor.count_or_skip()?;
            index = given.and_then(|given| usize::try_from(given).ok()).unwrap_or(place);
        } else if key.is("error") {
            // OpenRouter's place for an error of the provider behind it.
            reading.error = read_error(cursor)?.or(reading.error.take());
        } else if key.is("text") {
            read_written(reading, cursor)?;
        } else if key.is("usage") {
            // Moonshot's place for that of a stream: <https://platform.moonshot.ai/docs/api/chat> (2026-11-26).
            *usage = OpenaiUsage::read(cursor)?.or(*usage);
        } else {
            cursor.skip()?;
        }
        Ok::<(), ScanError>(())
    })?;
    if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
        reading.finish_reason(index, reason.decode().into_owned());
    }
    Ok(())
}

fn read_message(reading: &mut Reading, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(drop);
    }
    cursor.fields(|key, cursor| {
        if key.is("content") || key.is("refusal") || key.is("reasoning_content") || key.is("reasoning") {
            return read_written(reading, cursor);
        }
        if key.is("tool_calls") && cursor.kind()? == Kind::Array {
            return cursor.items(|cursor| read_tool_call(reading, cursor));
        }
        if key.is("function_call") {
            return read_function(reading, cursor);
        }
        if key.is("audio") {
            return read_audio(reading, cursor);
        }
        cursor.skip().map(drop)
    })
}

/// Counts text the model wrote. Parts of content, as Mistral sends them while thinking, count with their wrapping.
fn read_written(reading: &mut Reading, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    match cursor.kind()? {
        Kind::Text => reading.wrote(cursor.text()?.count_chars()),
        Kind::Array => {
            let parts = cursor.skip()?;
            reading.wrote(parts.len().saturating_sub("[]".len()) as u64);
        }
        _ => {
            cursor.skip()?;
        }
    }
    Ok(())
}

fn read_tool_call(reading: &mut Reading, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(drop);
    }
    cursor.fields(|key, cursor| {
        let is_call = key.is("function") || key.is("custom");
        if is_call { read_function(reading, cursor) } else { cursor.skip().map(drop) }
    })
}

fn read_function(reading: &mut Reading, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(drop);
    }
    cursor.fields(|key, cursor| {
        let is_written = key.is("name") || key.is("arguments") || key.is("input");
        if is_written { read_written(reading, cursor) } else { cursor.skip().map(drop) }
    })
}

/// What was spoken counts by its words.
fn read_audio(reading: &mut Reading, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(drop);
    }
    cursor.fields(
        |key, cursor| {
            if key.is("transcript") { read_written(reading, cursor) } else { cursor.skip().map(drop) }
        },
    )
}

/// Reads `error`: an object with `message`, `type` (Google: `status`) and `code`, or with some servers just a text.
pub(crate) fn read_error(cursor: &mut Cursor<'_>) -> Result<Option<StreamError>, ScanError> {
    match cursor.kind()? {
        Kind::Text => {
            let message = bounded(&cursor.text()?.decode());
            return Ok(Some(StreamError { message, ..StreamError::default() }));
        }
        Kind::Object => {}
        _ => {
            cursor.skip()?;
            return Ok(None);
        }
    }
    let mut error = StreamError::default();
    cursor.fields(|key, cursor| {
        if key.is("message") {
            error.message = cursor.text_or_skip()?.map(|text| bounded(&text.decode())).unwrap_or_default();
        } else if key.is("type") {
            error.kind = cursor.text_or_skip()?.map(|text| bounded(&text.decode())).unwrap_or_default();
        } else if key.is("status") && error.kind.is_empty() {
            // Google's word for it.
            error.kind = cursor.text_or_skip()?.map(|text| bounded(&text.decode())).unwrap_or_default();
        } else if key.is("code") {
            error.code = read_code(cursor)?;
        } else if key.is("details") && cursor.kind()? == Kind::Object {
            // Anthropic's code: <https://platform.claude.com/docs/en/api/errors> (2026-11-26).
            cursor.fields(|key, cursor| {
                if key.is("error_code") {
                    error.code = read_code(cursor)?.or(error.code.take());
                    return Ok::<(), ScanError>(());
                }
                cursor.skip().map(drop)
            })?;
        } else {
            cursor.skip()?;
        }
        Ok::<(), ScanError>(())
    })?;
    Ok(Some(error))
}

/// OpenAI's code is a text; several compatible servers send the HTTP status as a number.
fn read_code(cursor: &mut Cursor<'_>) -> Result<Option<String>, ScanError> {
    match cursor.kind()? {
        Kind::Text => Ok(Some(bounded(&cursor.text()?.decode()))),
        Kind::Number => Ok(cursor.count_or_skip()?.map(|code| code.to_string())),
        _ => cursor.skip().map(|_| None),
    }
}
