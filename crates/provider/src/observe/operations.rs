//! Reads what OpenAI's operations beside Chat Completions and Embeddings answer, and those of Cohere's and others that are
//! called the same way: pictures, speech, transcripts, judgements, rankings, and what is kept (files and batches). Usage is
//! told in tokens by modality, in seconds of audio, or in searches; what is told in none of these stays unknown.
//! Sources: the types of the official client `openai` 3 (`images_response`, `audio/transcription`, `audio/
//! speech_audio_done_event`), <https://docs.cohere.com/reference/rerank>, <https://jina.ai/reranker> (2026-11-26).

use tollgate_interaction::{Operation, Usage};

use super::Reading;
use super::openai::{read_error, read_model};
use crate::scan::{Cursor, Kind, ScanError, Text};
use crate::usage::UsageReading;

/// Longest number of seconds that is kept, in characters.
const MAX_NUMBER_CHARS: usize = 32;

/// Reads one event's data. What breaks off leaves what was read of it.
pub(super) fn read_event(operation: Operation, reading: &mut Reading, data: &[u8]) {
    if data == b"[DONE]" {
        reading.terminated = true;
        return;
    }
    let _ = read_object(operation, reading, data);
}

/// Reads a whole body.
pub(super) fn read_whole(operation: Operation, reading: &mut Reading, body: &[u8]) {
    let read = read_object(operation, reading, body);
    reading.terminated = read.is_ok();
    reading.usage_is_final = read.is_ok();
}

fn read_object(operation: Operation, reading: &mut Reading, data: &[u8]) -> Result<(), ScanError> {
    let mut cursor = Cursor::new(data);
    if cursor.kind()? != Kind::Object {
        cursor.skip()?;
        return cursor.end();
    }
    // What is kept has a model and a usage, too: those of calls that were or will be made, and not of this one.
    let is_kept = matches!(operation, Operation::Files | Operation::Batches);
    let mut counted: Option<Counted> = None;
    let mut event = Event::None;
    cursor.fields(|key, cursor| {
        if key.is("error") {
            reading.error = read_error(cursor)?.or(reading.error.take());
        } else if is_kept {
            cursor.skip()?;
        } else if key.is("type") {
            event = cursor.text_or_skip()?.map_or(Event::None, Event::of);
        } else if key.is("model") {
            read_model(reading, cursor)?;
        } else if key.is("service_tier") {
            reading.tier(cursor)?;
        } else if key.is("usage") {
            counted.get_or_insert_default().read(cursor)?;
        } else if key.is("meta") {
            read_meta(counted.get_or_insert_default(), cursor)?;
        } else if key.is("data") && operation == Operation::Images && cursor.kind()? == Kind::Array {
            let mut images = 0;
            cursor.items(|cursor| {
                images += 1;
                cursor.skip().map(drop)
            })?;
            reading.images = Some(images);
        } else if key.is("duration") {
            // Of a transcript in full, where older servers tell it only here.
            let seconds = number(cursor)?;
            let counted = counted.get_or_insert_default();
            counted.seconds = counted.seconds.take().or(seconds);
        } else {
            cursor.skip()?;
        }
        Ok::<(), ScanError>(())
    })?;
    cursor.end()?;
    if let Some(counted) = counted {
        reading.audio_seconds = counted.seconds.clone().or(reading.audio_seconds.take());
        reading.usage = UsageReading::Normal(counted.normalise(operation));
    }
    reading.content |= event != Event::None;
    if event == Event::Last {
        if operation == Operation::Images {
            *reading.images.get_or_insert(0) += 1;
        }
        (reading.terminated, reading.usage_is_final) = (true, true);
    }
    Ok(())
}

/// What an event of a stream is, by its type: `speech.audio.delta`, `image_generation.completed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    None,
    Piece,
    Last,
}

impl Event {
    fn of(name: Text<'_>) -> Event {
        let name = name.decode();
        if [".done", ".completed"].iter().any(|end| name.ends_with(end)) && !name.ends_with(".segment.done") {
            return Event::Last;
        }
        if [".delta", ".partial_image", ".segment"].iter().any(|end| name.ends_with(end)) {
            return Event::Piece;
        }
        Event::None
    }
}

/// Usage as it was reported.
#[derive(Debug, Default)]
struct Counted {
    input: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    usage: Usage,
    seconds: Option<String>,
}

impl Counted {
    /// Reads `usage`: OpenAI's newer words, its older ones, or seconds.
    fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
        if cursor.kind()? != Kind::Object {
            return cursor.skip().map(drop);
        }
        cursor.fields(|key, cursor| {
            if key.is("input_tokens") || key.is("prompt_tokens") {
                self.input = cursor.count_or_skip()?;
            } else if key.is("output_tokens") || key.is("completion_tokens") {
                self.output = cursor.count_or_skip()?;
            } else if key.is("total_tokens") {
                self.total = cursor.count_or_skip()?;
            } else if key.is("input_tokens_details") || key.is("input_token_details") {
                let Usage { audio_input_tokens, image_input_tokens, cache_read_input_tokens, .. } = &mut self.usage;
                read_details(cursor, [audio_input_tokens, image_input_tokens, cache_read_input_tokens])?;
            } else if key.is("output_tokens_details") || key.is("output_token_details") {
                let Usage { audio_output_tokens, image_output_tokens, .. } = &mut self.usage;
                read_details(cursor, [audio_output_tokens, image_output_tokens, &mut None])?;
            } else if key.is("seconds") {
                self.seconds = number(cursor)?;
            } else {
                cursor.skip()?;
            }
            Ok(())
        })
    }

    fn normalise(self, operation: Operation) -> Usage {
        let Counted { input, output, total, usage, .. } = self;
        // Who ranks writes nothing: all there is has been read.
        let input_tokens = input.or(total.filter(|_| operation == Operation::Rerank));
        // Pictures are all that comes back, unless the provider tells them from what it thought.
        let drawn = output.filter(|_| operation == Operation::Images);
        Usage { input_tokens, output_tokens: output, image_output_tokens: usage.image_output_tokens.or(drawn), ..usage }
    }
}

/// Reads a breakdown of tokens: those of audio, of images, and those from a cache.
fn read_details(cursor: &mut Cursor<'_>, [audio, images, cached]: [&mut Option<u64>; 3]) -> Result<(), ScanError> {
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(drop);
    }
    cursor.fields(|key, cursor| {
        let slot = if key.is("audio_tokens") {
            &mut *audio
        } else if key.is("image_tokens") {
            &mut *images
        } else if key.is("cached_tokens") {
            &mut *cached
        } else {
            return cursor.skip().map(drop);
        };
        *slot = cursor.count_or_skip()?;
        Ok(())
    })
}

/// Reads Cohere's `meta`, whose `billed_units` are what a call is paid for.
fn read_meta(counted: &mut Counted, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    if cursor.kind()? != Kind::Object {
        return cursor.skip().map(drop);
    }
    cursor.fields(|key, cursor| {
        if !key.is("billed_units") || cursor.kind()? != Kind::Object {
            return cursor.skip().map(drop);
        }
        cursor.fields(|key, cursor| {
            if key.is("search_units") {
                counted.usage.other_tool_calls = whole(&number(cursor)?);
            } else if key.is("input_tokens") {
                counted.input = whole(&number(cursor)?);
            } else if key.is("output_tokens") {
                counted.output = whole(&number(cursor)?);
            } else {
                cursor.skip()?;
            }
            Ok(())
        })
    })
}

/// A number as it is written, if that is short enough to be one.
fn number(cursor: &mut Cursor<'_>) -> Result<Option<String>, ScanError> {
    if cursor.kind()? != Kind::Number {
        return cursor.skip().map(|_| None);
    }
    let written = cursor.raw()?;
    Ok(written.filter(|number| number.len() <= MAX_NUMBER_CHARS && !number.starts_with('-')).map(str::to_owned))
}

/// A count that some of Cohere's servers write as `1.0`.
fn whole(number: &Option<String>) -> Option<u64> {
    let number = number.as_deref()?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    fraction.bytes().all(|digit| digit == b'0').then(|| whole.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use tollgate_interaction::{Dialect, UsageSource};

    use super::super::{Observation, Observer, whole as observe};
    use super::*;

    fn seen(operation: Operation, body: &str) -> Observation {
        observe(Dialect::Openai, operation, body.as_bytes())
    }

    #[test]
    fn pictures_are_counted_by_modality() {
        let told = seen(
            Operation::Images,
            r#"{"created":1,"data":[{"b64_json":"aa"}],"usage":{"input_tokens":400,"output_tokens":1056,"total_tokens":1456,
                "input_tokens_details":{"text_tokens":10,"image_tokens":390}}}"#,
        );
        assert_eq!((told.usage.input_tokens, told.usage.image_input_tokens), (Some(400), Some(390)));
        assert_eq!((told.usage.output_tokens, told.usage.image_output_tokens), (Some(1056), Some(1056)));
        assert_eq!(told.usage_source, UsageSource::Provider);
        let thought = seen(
            Operation::Images,
            r#"{"data":[],"usage":{"input_tokens":1,"output_tokens":50,"output_tokens_details":{"image_tokens":40,"text_tokens":10}}}"#,
        );
        assert_eq!((thought.usage.output_tokens, thought.usage.image_output_tokens), (Some(50), Some(40)));
        let free = seen(Operation::Images, r#"{"created":1,"data":[{"url":"u"}]}"#);
        assert!(free.usage.is_empty() && free.terminated);
        assert_eq!((free.images, told.images), (Some(1), Some(1)));
    }

    #[test]
    fn transcripts_are_counted_in_tokens_or_in_seconds() {
        let tokens = seen(
            Operation::Transcription,
            r#"{"text":"hi","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":2,"audio_tokens":12},
                "output_tokens":45,"total_tokens":59}}"#,
        );
        assert_eq!((tokens.usage.input_tokens, tokens.usage.audio_input_tokens), (Some(14), Some(12)));
        assert_eq!((tokens.usage.output_tokens, tokens.audio_seconds), (Some(45), None));
        for body in [r#"{"text":"hi","usage":{"type":"duration","seconds":9.5}}"#, r#"{"duration":9.5,"text":"hi"}"#] {
            let told = seen(Operation::Translation, body);
            assert!(told.usage.is_empty() && told.usage_source == UsageSource::None);
            assert_eq!(told.audio_seconds.as_deref(), Some("9.5"));
        }
    }

    #[test]
    fn rankings_are_counted_in_searches_or_in_tokens() {
        let cohere = seen(
            Operation::Rerank,
            r#"{"id":"r","results":[{"index":0,"relevance_score":0.9}],"meta":{"api_version":{"version":"2"},"billed_units":{"search_units":2.0}}}"#,
        );
        assert_eq!((cohere.usage.other_tool_calls, cohere.usage.input_tokens), (Some(2), None));
        let jina =
            seen(Operation::Rerank, r#"{"model":"jina-reranker-v3.5","usage":{"total_tokens":38},"results":[]}"#);
        assert_eq!((jina.usage.input_tokens, jina.model_served.as_deref()), (Some(38), Some("jina-reranker-v3.5")));
    }

    #[test]
    fn the_usage_of_a_batch_is_not_that_of_looking_at_it() {
        let batch =
            r#"{"id":"b","object":"batch","model":"gpt-5","errors":null,"usage":{"input_tokens":9,"output_tokens":9}}"#;
        let told = seen(Operation::Batches, batch);
        assert!(told.usage.is_empty() && told.model_served.is_none() && told.terminated && told.error.is_none());
        let failed = seen(Operation::Files, r#"{"error":{"message":"no","type":"invalid_request_error"}}"#);
        assert_eq!(failed.error.unwrap().message, "no");
    }

    #[test]
    fn the_last_event_of_a_stream_ends_it_and_carries_its_usage() {
        let cases = [
            (
                Operation::Images,
                "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"a\"}\n\n",
                "event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"a\",\"usage\":{\"input_tokens\":5,\"output_tokens\":7}}\n\n",
            ),
            (
                Operation::Speech,
                "data: {\"type\":\"speech.audio.delta\",\"audio\":\"aa\"}\n\n",
                "data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":5,\"output_tokens\":7,\"total_tokens\":12}}\n\n",
            ),
            (
                Operation::Transcription,
                "data: {\"type\":\"transcript.text.delta\",\"delta\":\"hi\"}\n\n",
                "data: {\"type\":\"transcript.text.done\",\"text\":\"hi\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":5,\"output_tokens\":7}}\n\n",
            ),
        ];
        for (operation, first, last) in cases {
            let mut observer = Observer::new(Dialect::Openai, operation, true);
            observer.push(first.as_bytes());
            assert!(observer.saw_content(), "{operation}");
            observer.push(last.as_bytes());
            let told = observer.finish(true);
            assert!(told.terminated, "{operation}");
            assert_eq!((told.usage.input_tokens, told.usage.output_tokens), (Some(5), Some(7)), "{operation}");
            assert_eq!(told.usage_source, UsageSource::Provider);
            let mut cut = Observer::new(Dialect::Openai, operation, true);
            cut.push(first.as_bytes());
            let told = cut.finish(false);
            assert!(!told.terminated && told.usage.is_empty(), "{operation}");
        }
    }
}
