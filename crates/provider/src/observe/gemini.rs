//! Reads the events and bodies of Google's Gemini API. A stream has no terminator: it was whole if it said why it finished,
//! and its tokens grow from event to event.

use tollgate_interaction::Usage;

use super::Reading;
use super::openai::read_error;
use crate::dialect::gemini::{GeminiUsage, billed_searches};
use crate::scan::{Cursor, Kind, ScanError, Text};
use crate::usage::UsageReading;

/// Reads one event's data. What breaks off leaves what was read of it.
#[inline]
pub(super) fn read_chunk(reading: &mut Reading, data: &[u8]) {
    if read_body(reading, data).is_ok() && !reading.finish_reasons.is_empty() {
        reading.terminated = true;
    }
}

/// Reads a whole body: an answer, an error, or a stream's pieces in an array.
pub(super) fn read_whole(reading: &mut Reading, body: &[u8]) {
    let read = read_body(reading, body);
    reading.terminated = read.is_ok();
    reading.usage_is_final = read.is_ok();
}

fn read_body(reading: &mut Reading, data: &[u8]) -> Result<(), ScanError> {
    let mut cursor = Cursor::new(data);
    match cursor.kind()? {
        Kind::Object => read_object(reading, &mut cursor)?,
        Kind::Array => cursor.items(|cursor| read_object(reading, cursor))?,
        _ => {
            cursor.skip()?;
        }
    }
    cursor.end()
}

/// Google writes camel case; relays that go through Protobuf may not.
fn named(key: Text<'_>, camel: &str, snake: &str) -> bool {
    key.is(camel) || key.is(snake)
}

fn read_object(reading: &mut Reading, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(drop);
    }
    let mut usage = None;
    let mut queries = None;
    cursor.fields(|key, cursor| {
        if key.is("candidates") && cursor.kind()? == Kind::Array {
            let mut place = 0;
            return cursor.items(|cursor| {
                let searched = read_candidate(reading, place, cursor)?;
                if searched > 0 {
                    queries = Some(queries.unwrap_or(0) + searched);
                }
                place += 1;
                Ok(())
            });
        }
        if named(key, "usageMetadata", "usage_metadata") {
            usage = read_usage(cursor)?;
            return Ok(());
        }
        if named(key, "modelVersion", "model_version") {
            let model = cursor.text_or_skip()?.filter(|model| !model.is_empty());
            reading.model = reading.model.take().or_else(|| model.map(|model| model.decode().into_owned()));
            return Ok(());
        }
        if named(key, "promptFeedback", "prompt_feedback") {
            return read_feedback(reading, cursor);
        }
        if key.is("predictions") && cursor.kind()? == Kind::Array {
            return read_predictions(reading, cursor);
        }
        if key.is("error") {
            reading.error = read_error(cursor)?.or(reading.error.take());
            return Ok(());
        }
        cursor.skip().map(drop)
    })?;
    settle(reading, usage, queries);
    Ok(())
}

/// Vertex AI's vectors, each with its own count.
fn read_predictions(reading: &mut Reading, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    let mut input = None;
    cursor.items(|cursor| {
        within(cursor, "embeddings", |cursor| {
            within(cursor, "statistics", |cursor| {
                within(cursor, "token_count", |cursor| {
                    let text =
                        if cursor.kind()? == Kind::Number { cursor.raw()? } else { cursor.skip().map(|_| None)? };
                    // Some of its servers write `4.0`.
                    let count = text.and_then(|text| text.split('.').next()?.parse::<u64>().ok());
                    input = count.map(|count| input.unwrap_or(0) + count).or(input);
                    Ok(())
                })
            })
        })
    })?;
    if input.is_some() {
        reading.usage = UsageReading::Normal(Usage { input_tokens: input, ..Usage::default() });
    }
    Ok(())
}

/// Reads the member `name` of an object, and passes over all else.
fn within(
    cursor: &mut Cursor<'_>,
    name: &str,
    mut read: impl FnMut(&mut Cursor<'_>) -> Result<(), ScanError>,
) -> Result<(), ScanError> {
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(drop);
    }
    cursor.fields(|key, cursor| if key.is(name) { read(cursor) } else { cursor.skip().map(drop) })
}

/// Puts this event's counts over those of the one before; searches may be told in another event than the last.
fn settle(reading: &mut Reading, usage: Option<GeminiUsage>, queries: Option<u64>) {
    let before = match reading.usage {
        UsageReading::Normal(usage) => usage,
        UsageReading::Openai(_) | UsageReading::Anthropic(_) => Usage::default(),
    };
    let model = reading.model.as_deref().unwrap_or_default();
    let searches = queries.and_then(|queries| billed_searches(model, queries)).max(before.web_search_calls);
    if usage.is_some() {
        reading.usage_is_final = !reading.finish_reasons.is_empty();
    }
    let counted = usage.map_or(before, |usage| usage.normalise());
    reading.usage = UsageReading::Normal(Usage { web_search_calls: searches, ..counted });
}

/// Reads a candidate and says how often it searched.
fn read_candidate(reading: &mut Reading, place: usize, cursor: &mut Cursor<'_>) -> Result<u64, ScanError> {
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(|_| 0);
    }
    let mut index = place;
    let mut reason = None;
    let mut queries = 0;
    cursor.fields(|key, cursor| {
        if key.is("content") && cursor.kind()? == Kind::Object {
            return cursor.fields(|key, cursor| {
                if key.is("parts") && cursor.kind()? == Kind::Array {
                    return cursor.items(|cursor| read_part(reading, cursor));
                }
                cursor.skip().map(drop)
            });
        }
        if named(key, "finishReason", "finish_reason") {
            reason = cursor.text_or_skip()?;
        } else if key.is("index") {
            index = cursor.count_or_skip()?.and_then(|index| usize::try_from(index).ok()).unwrap_or(place);
        } else if named(key, "groundingMetadata", "grounding_metadata") {
            queries = read_queries(cursor)?;
        } else {
            cursor.skip()?;
        }
        Ok(())
    })?;
    if let Some(reason) = reason.filter(|reason| !reason.is_empty() && !reason.is("FINISH_REASON_UNSPECIFIED")) {
        reading.finish_reason(index, reason.decode().into_owned());
    }
    Ok(queries)
}

/// Counts what was written: text, thoughts, calls of functions and code.
fn read_part(reading: &mut Reading, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(drop);
    }
    cursor.fields(|key, cursor| {
        let is_call = named(key, "functionCall", "function_call") || named(key, "executableCode", "executable_code");
        if is_call && cursor.kind()? == Kind::Object {
            return cursor.fields(|key, cursor| {
                if key.is("name") || key.is("code") {
                    return read_written(reading, cursor);
                }
                let value = cursor.skip()?.len() as u64;
                if key.is("args") {
                    reading.wrote(value);
                }
                Ok(())
            });
        }
        if key.is("text") {
            return read_written(reading, cursor);
        }
        cursor.skip().map(drop)
    })
}

fn read_written(reading: &mut Reading, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    let written = cursor.text_or_skip()?.map_or(0, |text| text.count_chars());
    reading.wrote(written);
    Ok(())
}

fn read_queries(cursor: &mut Cursor<'_>) -> Result<u64, ScanError> {
    let mut queries = 0;
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(|_| 0);
    }
    cursor.fields(|key, cursor| {
        if named(key, "webSearchQueries", "web_search_queries") && cursor.kind()? == Kind::Array {
            return cursor.items(|cursor| {
                // An empty query is not billed.
                queries += u64::from(cursor.text_or_skip()?.is_some_and(|query| !query.is_empty()));
                Ok::<(), ScanError>(())
            });
        }
        cursor.skip().map(drop)
    })?;
    Ok(queries)
}

/// A prompt that was refused has no candidates: why stands for the reason it finished.
fn read_feedback(reading: &mut Reading, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(drop);
    }
    cursor.fields(|key, cursor| {
        if named(key, "blockReason", "block_reason") {
            if let Some(reason) = cursor.text_or_skip()?.filter(|reason| !reason.is_empty()) {
                reading.finish_reason(0, reason.decode().into_owned());
            }
            return Ok(());
        }
        cursor.skip().map(drop)
    })
}

fn read_usage(cursor: &mut Cursor<'_>) -> Result<Option<GeminiUsage>, ScanError> {
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(|_| None);
    }
    let mut usage = GeminiUsage::default();
    cursor.fields(|key, cursor| {
        let count = if named(key, "promptTokenCount", "prompt_token_count") {
            &mut usage.prompt
        } else if named(key, "candidatesTokenCount", "candidates_token_count") {
            &mut usage.candidates
        } else if named(key, "thoughtsTokenCount", "thoughts_token_count") {
            &mut usage.thoughts
        } else if named(key, "toolUsePromptTokenCount", "tool_use_prompt_token_count") {
            &mut usage.tool_use_prompt
        } else if named(key, "cachedContentTokenCount", "cached_content_token_count") {
            &mut usage.cached
        } else if named(key, "totalTokenCount", "total_token_count") {
            &mut usage.total
        } else {
            return read_details(&mut usage, key, cursor);
        };
        *count = cursor.count_or_skip()?;
        Ok(())
    })?;
    Ok(Some(usage))
}

/// The modalities that have a price of their own.
fn read_details(usage: &mut GeminiUsage, list: Text<'_>, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    let is_input = named(list, "promptTokensDetails", "prompt_tokens_details")
        || named(list, "toolUsePromptTokensDetails", "tool_use_prompt_tokens_details");
    let is_output = named(list, "candidatesTokensDetails", "candidates_tokens_details");
    if !(is_input || is_output) || cursor.kind()? != Kind::Array {
        return cursor.skip().map(drop);
    }
    cursor.items(|cursor| {
        let Some((is_audio, tokens)) = read_modality(cursor)? else { return Ok(()) };
        match (is_input, is_audio) {
            (true, _) => usage.add_input(is_audio, tokens),
            (false, true) => usage.audio_out = Some(tokens),
            (false, false) => usage.image_out = Some(tokens),
        }
        Ok(())
    })
}

/// Whether the modality is sound rather than pictures, and its tokens; `None` for any other.
fn read_modality(cursor: &mut Cursor<'_>) -> Result<Option<(bool, u64)>, ScanError> {
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(|_| None);
    }
    let mut is_audio = None;
    let mut tokens = None;
    cursor.fields(|key, cursor| {
        if key.is("modality") {
            let modality = cursor.text_or_skip()?;
            is_audio = modality.and_then(|modality| match () {
                () if modality.is("AUDIO") => Some(true),
                () if modality.is("IMAGE") => Some(false),
                () => None,
            });
        } else if named(key, "tokenCount", "token_count") {
            tokens = cursor.count_or_skip()?;
        } else {
            cursor.skip()?;
        }
        Ok::<(), ScanError>(())
    })?;
    Ok(is_audio.zip(tokens))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::StreamError;

    fn read(events: &[&str]) -> Reading {
        let mut reading = Reading::default();
        events.iter().for_each(|event| read_chunk(&mut reading, event.as_bytes()));
        reading
    }

    #[test]
    fn the_last_of_growing_counts_stands_and_a_finish_ends_the_stream() {
        let first = r#"{"candidates":[{"content":{"parts":[{"text":"Pa"}]}}],"usageMetadata":{"promptTokenCount":5,"totalTokenCount":5}}"#;
        let last = r#"{"candidates":[{"content":{"parts":[{"text":"ris"}]},"finishReason":"STOP"}],
            "usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":2,"thoughtsTokenCount":40,"totalTokenCount":47}}"#;
        let reading = read(&[first]);
        assert!(!reading.terminated && !reading.usage_is_final);
        let reading = read(&[first, last]);
        assert!(reading.terminated && reading.usage_is_final);
        let usage = reading.usage.normalise();
        assert_eq!((usage.input_tokens, usage.output_tokens), (Some(5), Some(42)));
        assert_eq!(reading.output_chars, 5);
    }

    #[test]
    fn an_error_in_a_list_and_one_within_a_stream_are_found() {
        let error = r#"{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}"#;
        for body in [error.to_owned(), format!("[{error}]")] {
            let StreamError { kind, code, message } = read(&[&body]).error.unwrap();
            assert_eq!((kind.as_str(), code.as_deref(), message.as_str()), ("UNAVAILABLE", Some("503"), "overloaded"));
        }
    }
}
