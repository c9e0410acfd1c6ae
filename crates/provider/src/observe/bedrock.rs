//! Reads the events and bodies of Bedrock. Those of Converse never name the model, unless a prompt router chose it; those of
//! InvokeModel are the model's own, of which Claude's are known, and those of others only by what Amazon adds to a stream.

use super::{Reading, StreamError, anthropic, bounded};
use crate::dialect::bedrock::{TokenUsage, error_name, invoke};
use crate::eventstream;
use crate::scan::{Cursor, Kind, ScanError, Text};
use crate::usage::UsageReading;
use tollgate_interaction::Usage;

const INVOCATION_METRICS: &str = "amazon-bedrock-invocationMetrics";

/// Reads one event, whose frame names it.
#[inline]
pub(super) fn read_event(reading: &mut Reading, name: &[u8], data: &[u8]) {
    if eventstream::is_failure(name) {
        let mut error = Failure::default();
        // What it is stands in its name, whatever its data say.
        let _ = read_object(data, |key, cursor| error.field(key, cursor));
        reading.error = Some(error.named(&String::from_utf8_lossy(name)));
        return;
    }
    if name == b"chunk" {
        return read_chunk(reading, data);
    }
    let read = match name {
        b"contentBlockDelta" => read_object(data, |key, cursor| match key.is("delta") {
            true => read_block(reading, cursor),
            false => cursor.skip().map(drop),
        }),
        b"contentBlockStart" => read_object(data, |key, cursor| match key.is("start") {
            true => read_block(reading, cursor),
            false => cursor.skip().map(drop),
        }),
        b"messageStop" => read_object(data, |key, cursor| read_answer_field(reading, key, cursor)),
        b"metadata" => read_object(data, |key, cursor| read_answer_field(reading, key, cursor)),
        _ => return,
    };
    match name {
        b"messageStop" if read.is_ok() => reading.terminated = true,
        b"metadata" if read.is_ok() => reading.usage_is_final = true,
        _ => {}
    }
}

/// Reads a whole body: an answer, or an error.
pub(super) fn read_whole(reading: &mut Reading, body: &[u8]) {
    let mut error = Failure::default();
    let mut answered = false;
    let read = read_object(body, |key, cursor| {
        if key.is("output") {
            answered = true;
            return read_output(reading, cursor);
        }
        if key.is("__type") || key.is("message") || key.is("Message") {
            return error.field(key, cursor);
        }
        read_answer_field(reading, key, cursor)
    });
    reading.terminated = read.is_ok();
    reading.usage_is_final = read.is_ok();
    if !answered && !error.is_empty() {
        reading.error = Some(error.named(""));
    } else if !answered && read.is_ok() {
        anthropic::read_whole(reading, body);
    }
}

/// Reads a piece of what `invoke-with-response-stream` answers: an event of the model's own.
fn read_chunk(reading: &mut Reading, data: &[u8]) {
    let Some(event) = invoke::unwrapped(data) else { return };
    anthropic::read_event(reading, &event);
    let mut counted = None;
    // Cheap refusal of all but the last event.
    if memchr::memmem::find(&event, INVOCATION_METRICS.as_bytes()).is_some() {
        let _ = read_object(&event, |key, cursor| match key.is(INVOCATION_METRICS) {
            true => read_metrics(cursor).map(|metrics| counted = Some(metrics)),
            false => cursor.skip().map(drop),
        });
    }
    let Some(counted) = counted else { return };
    if reading.usage.normalise().is_empty() {
        reading.usage = UsageReading::Normal(counted);
    }
    (reading.terminated, reading.usage_is_final) = (true, true);
}

/// Reads Amazon's own count, which it puts into the last event of every model.
fn read_metrics(cursor: &mut Cursor<'_>) -> Result<Usage, ScanError> {
    let mut usage = Usage::default();
    fields(cursor, |key, cursor| {
        if key.is("inputTokenCount") {
            usage.input_tokens = cursor.count_or_skip()?;
        } else if key.is("outputTokenCount") {
            usage.output_tokens = cursor.count_or_skip()?;
        } else {
            cursor.skip()?;
        }
        Ok(())
    })?;
    Ok(usage)
}

fn read_object<'a>(
    data: &'a [u8],
    each: impl FnMut(Text<'a>, &mut Cursor<'a>) -> Result<(), ScanError>,
) -> Result<(), ScanError> {
    let mut cursor = Cursor::new(data);
    cursor.fields(each)?;
    cursor.end()
}

/// Calls `each` for the fields of the object that comes next, or steps over whatever else stands there.
fn fields<'a>(
    cursor: &mut Cursor<'a>,
    each: impl FnMut(Text<'a>, &mut Cursor<'a>) -> Result<(), ScanError>,
) -> Result<(), ScanError> {
    if cursor.kind()? == Kind::Object { cursor.fields(each) } else { cursor.skip().map(drop) }
}

fn items<'a>(
    cursor: &mut Cursor<'a>,
    each: impl FnMut(&mut Cursor<'a>) -> Result<(), ScanError>,
) -> Result<(), ScanError> {
    if cursor.kind()? == Kind::Array { cursor.items(each) } else { cursor.skip().map(drop) }
}

/// An error in Amazon's shape.
#[derive(Default)]
struct Failure {
    kind: String,
    message: String,
}

impl Failure {
    fn field(&mut self, key: Text<'_>, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
        if key.is("__type") {
            let kind = cursor.text_or_skip()?.map(|kind| kind.decode().into_owned()).unwrap_or_default();
            error_name(&kind).clone_into(&mut self.kind);
        } else if key.is("message") || key.is("Message") {
            self.message = cursor.text_or_skip()?.map(|text| bounded(&text.decode())).unwrap_or_default();
        } else {
            cursor.skip()?;
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.kind.is_empty() && self.message.is_empty()
    }

    fn named(self, name: &str) -> StreamError {
        let kind = if name.is_empty() { self.kind } else { name.to_owned() };
        StreamError { kind, code: None, message: self.message }
    }
}

/// Reads a field of an answer, of `messageStop` or of `metadata`: what they say has the same names.
fn read_answer_field(reading: &mut Reading, key: Text<'_>, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    if key.is("usage") {
        return read_usage(reading, cursor);
    }
    if key.is("stopReason") {
        if let Some(reason) = cursor.text_or_skip()?.filter(|reason| !reason.is_empty()) {
            reading.finish_reason(0, reason.decode().into_owned());
        }
        return Ok(());
    }
    if key.is("trace") {
        return fields(cursor, |key, cursor| match key.is("promptRouter") {
            true => fields(cursor, |key, cursor| read_model(reading, key, cursor)),
            false => cursor.skip().map(drop),
        });
    }
    cursor.skip().map(drop)
}

fn read_model(reading: &mut Reading, key: Text<'_>, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    if !key.is("invokedModelId") {
        return cursor.skip().map(drop);
    }
    let model = cursor.text_or_skip()?.filter(|model| !model.is_empty());
    reading.model = model.map(|model| model.decode().into_owned()).or(reading.model.take());
    Ok(())
}

fn read_usage(reading: &mut Reading, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    let mut usage = TokenUsage::default();
    fields(cursor, |key, cursor| {
        if key.is("inputTokens") {
            usage.input = cursor.count_or_skip()?;
        } else if key.is("outputTokens") {
            usage.output = cursor.count_or_skip()?;
        } else if key.is("cacheReadInputTokens") {
            usage.cache_read = cursor.count_or_skip()?;
        } else if key.is("cacheWriteInputTokens") {
            usage.cache_write = cursor.count_or_skip()?;
        } else if key.is("cacheDetails") {
            items(cursor, |cursor| read_detail(&mut usage, cursor))?;
        } else {
            cursor.skip()?;
        }
        Ok(())
    })?;
    reading.usage = UsageReading::Normal(usage.normalise());
    Ok(())
}

fn read_detail(usage: &mut TokenUsage, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    let (mut is_hour, mut tokens) = (false, None);
    fields(cursor, |key, cursor| {
        if key.is("ttl") {
            is_hour = cursor.text_or_skip()?.is_some_and(|ttl| ttl.is("1h"));
        } else if key.is("inputTokens") {
            tokens = cursor.count_or_skip()?;
        } else {
            cursor.skip()?;
        }
        Ok(())
    })?;
    usage.detail(is_hour, tokens.unwrap_or(0));
    Ok(())
}

fn read_output(reading: &mut Reading, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    fields(cursor, |key, cursor| match key.is("message") {
        true => fields(cursor, |key, cursor| match key.is("content") {
            true => items(cursor, |cursor| read_block(reading, cursor)),
            false => cursor.skip().map(drop),
        }),
        false => cursor.skip().map(drop),
    })
}

/// Reads a block of content, or what begins or goes on with one: text, a call or thoughts.
fn read_block(reading: &mut Reading, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    fields(cursor, |key, cursor| {
        if key.is("text") {
            return wrote_text(reading, cursor);
        }
        if key.is("toolUse") {
            return fields(cursor, |key, cursor| {
                if key.is("name") || (key.is("input") && cursor.kind()? == Kind::Text) {
                    return wrote_text(reading, cursor);
                }
                let written = cursor.skip()?.len() as u64;
                // `{}` is what a call without arguments holds.
                reading.wrote(if key.is("input") && written > 2 { written } else { 0 });
                Ok(())
            });
        }
        if key.is("reasoningContent") {
            return fields(cursor, |key, cursor| {
                if key.is("text") {
                    return wrote_text(reading, cursor);
                }
                if key.is("reasoningText") {
                    return read_texts(reading, cursor);
                }
                cursor.skip().map(drop)
            });
        }
        if key.is("citationsContent") {
            return fields(cursor, |key, cursor| match key.is("content") {
                true => items(cursor, |cursor| read_texts(reading, cursor)),
                false => cursor.skip().map(drop),
            });
        }
        cursor.skip().map(drop)
    })
}

fn read_texts(reading: &mut Reading, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    fields(cursor, |key, cursor| match key.is("text") {
        true => wrote_text(reading, cursor),
        false => cursor.skip().map(drop),
    })
}

fn wrote_text(reading: &mut Reading, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
    let written = cursor.text_or_skip()?.map_or(0, |text| text.count_chars());
    reading.wrote(written);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Observer, whole};
    use crate::dialect::bedrock::invoke;
    use crate::eventstream::{write_event, write_exception};
    use tollgate_interaction::{Dialect, Operation, UsageSource};

    fn stream(frames: &[u8]) -> super::super::Observation {
        let mut observer = Observer::new(Dialect::Bedrock, Operation::Chat, true);
        frames.chunks(5).for_each(|piece| observer.push(piece));
        observer.finish(true)
    }

    #[test]
    fn a_stream_says_all_that_a_body_does() {
        let mut frames = Vec::new();
        write_event(&mut frames, "messageStart", br#"{"role":"assistant"}"#);
        write_event(&mut frames, "contentBlockDelta", br#"{"contentBlockIndex":0,"delta":{"text":"Paris"}}"#);
        write_event(
            &mut frames,
            "contentBlockStart",
            br#"{"contentBlockIndex":1,"start":{"toolUse":{"toolUseId":"1","name":"look"}}}"#,
        );
        write_event(
            &mut frames,
            "contentBlockDelta",
            br#"{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{\"a\":1}"}}}"#,
        );
        write_event(&mut frames, "messageStop", br#"{"stopReason":"tool_use"}"#);
        let end = br#"{"usage":{"inputTokens":21,"outputTokens":2,"totalTokens":33,"cacheReadInputTokens":10},"metrics":{"latencyMs":7},
            "trace":{"promptRouter":{"invokedModelId":"arn:x"}}}"#;
        write_event(&mut frames, "metadata", end);
        let seen = stream(&frames);
        assert_eq!((seen.usage.input_tokens, seen.usage.output_tokens), (Some(31), Some(2)));
        assert_eq!((seen.usage_source, seen.terminated, seen.output_chars), (UsageSource::Provider, true, 16));
        assert_eq!((seen.finish_reasons, seen.model_served.as_deref()), (vec!["tool_use".to_owned()], Some("arn:x")));
    }

    #[test]
    fn a_late_exception_is_the_streams_error() {
        let mut frames = Vec::new();
        write_event(&mut frames, "contentBlockDelta", br#"{"contentBlockIndex":0,"delta":{"text":"Hel"}}"#);
        write_exception(&mut frames, "serviceUnavailableException", br#"{"message":"busy"}"#);
        let seen = stream(&frames);
        let error = seen.error.unwrap();
        assert_eq!((error.kind.as_str(), error.message.as_str()), ("serviceUnavailableException", "busy"));
        assert!(!seen.terminated);
    }

    #[test]
    fn a_damaged_stream_is_an_error_too() {
        let mut frames = Vec::new();
        write_event(&mut frames, "messageStart", br#"{"role":"assistant"}"#);
        let last = frames.len() - 1;
        frames[last] ^= 1;
        assert_eq!(stream(&frames).error.unwrap().kind, "corruptedStreamException");
    }

    #[test]
    fn an_error_body_is_read_with_and_without_its_type() {
        let seen = whole(Dialect::Bedrock, Operation::Chat, br#"{"message":"Input is too long for requested model."}"#);
        assert_eq!(seen.error.unwrap().message, "Input is too long for requested model.");
        let seen = whole(Dialect::Bedrock, Operation::Chat, br#"{"__type":"a#ThrottlingException","Message":"slow"}"#);
        assert_eq!(seen.error.unwrap().kind, "ThrottlingException");
    }

    #[test]
    fn what_a_model_itself_answers_is_read_in_its_own_words() {
        let message = br#"{"id":"m","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[{"type":"text","text":"Hi"}],
            "stop_reason":"end_turn","usage":{"input_tokens":9,"output_tokens":2}}"#;
        let seen = whole(Dialect::Bedrock, Operation::Chat, message);
        assert_eq!((seen.usage.input_tokens, seen.usage.output_tokens, seen.output_chars), (Some(9), Some(2), 2));
        assert_eq!(seen.model_served.as_deref(), Some("claude-sonnet-4-5"));
        let events = [
            r#"{"type":"message_start","message":{"model":"claude-sonnet-4-5","usage":{"input_tokens":9,"output_tokens":1}}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}"#,
            r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":9,"outputTokenCount":2}}"#,
        ];
        let mut wrapper = invoke::Wrapper::default();
        let sse: String = events.iter().map(|event| format!("event: x\ndata: {event}\n\n")).collect();
        let seen = stream(&wrapper.push(sse.as_bytes()));
        assert_eq!((seen.usage.input_tokens, seen.usage.output_tokens, seen.terminated), (Some(9), Some(2), true));
        let other = r#"data: {"outputText":"Hi","amazon-bedrock-invocationMetrics":{"inputTokenCount":4,"outputTokenCount":1}}"#;
        let seen = stream(&invoke::Wrapper::default().push(format!("{other}\n\n").as_bytes()));
        assert_eq!((seen.usage.input_tokens, seen.usage_source), (Some(4), UsageSource::Provider));
        assert!(seen.terminated);
    }
}
