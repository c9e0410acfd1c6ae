//! Keeps from a caller the usage chunk it did not ask for. It works on whole events, so that a caller never sees half
//! of one that is then withdrawn; bytes of an event that has begun wait for its end, and nothing else waits.

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

use crate::scan::{Cursor, Kind, ScanError};
use crate::sse::{Boundary, data_line};

/// An event that grows beyond this passes unread: a usage chunk is a few hundred bytes.
const MAX_HELD_BYTES: usize = 1024 * 1024;

/// Filters one OpenAI stream. Feed it every chunk in order, and what it returns to the caller.
#[derive(Debug)]
pub struct UsageFilter {
    boundary: Boundary,
    held: BytesMut,
    passing: bool,
    /// Prepared once: a stream has thousands of events.
    usage_field: Finder<'static>,
}

impl Default for UsageFilter {
    fn default() -> Self {
        UsageFilter {
            boundary: Boundary::default(),
            held: BytesMut::new(),
            passing: false,
            usage_field: Finder::new(b"\"usage\""),
        }
    }
}

impl UsageFilter {
    /// A filter for one stream.
    #[must_use]
    pub fn new() -> Self {
        UsageFilter::default()
    }

    /// What the caller may see now; possibly empty. A chunk of whole events without usage is returned as it is,
    /// without a copy.
    #[must_use]
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        let mut shown = Vec::new();
        // `chunk[run..at]` has been judged and will be shown; `chunk[at..]` has not been looked at.
        let (mut run, mut at) = (0, 0);
        while let Some(length) = self.boundary.find(&chunk[at..]) {
            let event = at..at + length;
            at = event.end;
            if std::mem::take(&mut self.passing) {
                continue;
            }
            if !self.held.is_empty() {
                self.held.extend_from_slice(&chunk[event]);
                let held = std::mem::take(&mut self.held).freeze();
                if !is_usage_chunk(&self.usage_field, &held) {
                    shown.push(held);
                }
                run = at;
            } else if is_usage_chunk(&self.usage_field, &chunk[event.clone()]) {
                shown.push(chunk.slice(run..event.start));
                run = at;
            }
        }
        if self.passing {
            shown.push(chunk.slice(run..));
        } else {
            shown.push(chunk.slice(run..at));
            self.hold(&chunk[at..], &mut shown);
        }
        joined(shown)
    }

    /// What is left when the stream has ended: an event without its end, which the caller sees as the provider sent it.
    #[must_use]
    pub fn finish(&mut self) -> Bytes {
        let left = std::mem::take(&mut self.held).freeze();
        if is_usage_chunk(&self.usage_field, &left) { Bytes::new() } else { left }
    }

    fn hold(&mut self, begun: &[u8], shown: &mut Vec<Bytes>) {
        self.held.extend_from_slice(begun);
        if self.held.len() > MAX_HELD_BYTES {
            self.passing = true;
            shown.push(std::mem::take(&mut self.held).freeze());
        }
    }
}

/// The parts as one; copied only if more than one of them holds anything.
fn joined(mut parts: Vec<Bytes>) -> Bytes {
    parts.retain(|part| !part.is_empty());
    match parts.len() {
        0 => Bytes::new(),
        1 => parts.swap_remove(0),
        _ => parts.concat().into(),
    }
}

/// Whether `event` is the chunk that `include_usage` adds: usage, and choices that are an empty array, null or absent.
fn is_usage_chunk(usage_field: &Finder<'_>, event: &[u8]) -> bool {
    // Cheap refusal of nearly every chunk: `"usage"` is absent, or null.
    let mentions_object = usage_field.find_iter(event).any(|at| {
        let value = event[at + usage_field.needle().len()..].iter();
        let mut value = value.filter(|byte| !byte.is_ascii_whitespace());
        value.next() == Some(&b':') && value.next() == Some(&b'{')
    });
    mentions_object && data_line(event).is_some_and(|data| reads_as_usage(data).unwrap_or(false))
}

fn reads_as_usage(data: &[u8]) -> Result<bool, ScanError> {
    let mut cursor = Cursor::new(data);
    let (mut usage, mut choices) = (false, false);
    cursor.fields(|key, cursor| {
        if key.is("usage") {
            usage = cursor.kind()? == Kind::Object;
        } else if key.is("choices") && cursor.kind()? == Kind::Array {
            return cursor.items(|cursor| {
                choices = true;
                cursor.skip().map(drop)
            });
        }
        cursor.skip().map(drop)
    })?;
    Ok(usage && !choices)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\":{\"}}],\"usage\":null}\n\n\
        : keep-alive\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1}}\n\n";
    const USAGE: &str = "data: {\"choices\":[],\"usage\": {\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n";
    const AFTER: &str = "data: [DONE]\n\n";

    fn filtered(stream: &str, piece_bytes: usize) -> String {
        let mut filter = UsageFilter::new();
        let mut seen = Vec::new();
        for piece in stream.as_bytes().chunks(piece_bytes) {
            seen.extend_from_slice(&filter.push(Bytes::copy_from_slice(piece)));
        }
        seen.extend_from_slice(&filter.finish());
        String::from_utf8(seen).unwrap()
    }

    #[test]
    fn only_the_usage_chunk_disappears_however_the_stream_is_cut() {
        for line_end in ["\n", "\r\n"] {
            let adapt = |text: &str| text.replace('\n', line_end);
            let stream = adapt(&[BEFORE, USAGE, AFTER].concat());
            for piece_bytes in 1..=stream.len() {
                let seen = filtered(&stream, piece_bytes);
                // With `\r\n` the line feed of the hidden event's last blank line may stay behind: an empty line.
                assert_eq!(seen.replace("\n\n\n", "\n\n"), adapt(&[BEFORE, AFTER].concat()), "pieces of {piece_bytes}");
            }
        }
    }

    #[test]
    fn a_stream_without_it_passes_byte_for_byte_even_when_cut_off() {
        let stream = [BEFORE, "data: {\"choices\":[{\"del"].concat();
        for piece_bytes in [1, 7, stream.len()] {
            assert_eq!(filtered(&stream, piece_bytes), stream);
        }
    }

    #[test]
    fn an_endless_event_passes_rather_than_being_held() {
        let long = format!("data: {}", "x".repeat(2 * MAX_HELD_BYTES));
        assert_eq!(filtered(&format!("{long}\n\n{USAGE}{AFTER}"), 65_536), format!("{long}\n\n{AFTER}"));
    }

    #[test]
    fn a_chunk_of_one_whole_event_is_not_copied() {
        let chunk = Bytes::from_static(AFTER.as_bytes());
        assert_eq!(UsageFilter::new().push(chunk.clone()).as_ptr(), chunk.as_ptr());
    }
}
