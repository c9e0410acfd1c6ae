//! How a conversation is kept: one JSON object per line for each event of either side, with who said it and when. Sound is
//! most of it by far, so it may take up half of the room; beyond that, and where the room ends, a line says how long the
//! event was that does not stand there.

use serde::Deserialize;

use super::Side;

/// Longest line that stands for an event which is not kept.
const MAX_MARK_BYTES: usize = 256;

/// A conversation being written down.
#[derive(Debug)]
pub struct Record {
    lines: Vec<u8>,
    limit: usize,
    /// Bytes of everything, kept or not.
    whole_bytes: u64,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow)]
    r#type: Option<std::borrow::Cow<'a, str>>,
}

impl Record {
    /// A record of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Record { lines: Vec::new(), limit, whole_bytes: 0 }
    }

    /// Writes down a text of `side`, `at_ms` milliseconds after the beginning.
    pub fn text(&mut self, side: Side, at_ms: u64, text: &[u8]) {
        let kind = serde_json::from_slice::<Kind<'_>>(text).ok().map(|kind| kind.r#type.unwrap_or_default());
        let is_sound = kind.as_deref().is_some_and(is_sound);
        let (side, kind) = (side.as_str(), kind.map(|kind| kind.chars().take(64).collect::<String>()));
        let mark = || match &kind {
            Some(kind) => serde_json::json!({"from": side, "at_ms": at_ms, "type": kind, "cut_bytes": text.len()}),
            None => serde_json::json!({"from": side, "at_ms": at_ms, "cut_bytes": text.len()}),
        };
        let head = format!(r#"{{"from":"{side}","at_ms":{at_ms},"#);
        let line_bytes = head.len() + text.len() + 16;
        self.whole_bytes += line_bytes as u64;
        let room = if is_sound { self.limit / 2 } else { self.limit.saturating_sub(MAX_MARK_BYTES) };
        if self.lines.len() + line_bytes > room {
            return self.mark(&mark());
        }
        self.lines.extend_from_slice(head.as_bytes());
        if kind.is_some() {
            self.lines.extend_from_slice(b"\"event\":");
            // Between the tokens of JSON a line break is worth a space, and within them there is none.
            self.lines.extend(text.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
        } else {
            self.lines.extend_from_slice(b"\"text\":");
            let text = serde_json::Value::from(String::from_utf8_lossy(text));
            self.lines.extend_from_slice(text.to_string().as_bytes());
        }
        self.lines.extend_from_slice(b"}\n");
    }

    /// Writes down that `side` sent `bytes` bytes that are no text.
    pub fn binary(&mut self, side: Side, at_ms: u64, bytes: usize) {
        self.whole_bytes += bytes as u64;
        self.mark(&serde_json::json!({"from": side.as_str(), "at_ms": at_ms, "cut_bytes": bytes}));
    }

    /// Writes down that `side` took its leave.
    pub fn close(&mut self, side: Side, at_ms: u64, code: Option<u16>, why: &[u8]) {
        let why = String::from_utf8_lossy(why);
        self.mark(&serde_json::json!({"from": side.as_str(), "at_ms": at_ms, "close": code, "reason": why}));
    }

    fn mark(&mut self, mark: &serde_json::Value) {
        let line = format!("{mark}\n");
        if self.lines.len() + line.len() <= self.limit {
            self.lines.extend_from_slice(line.as_bytes());
        }
        self.whole_bytes += line.len() as u64;
    }

    /// The lines, and how many bytes they would have if all were kept.
    #[must_use]
    pub fn finish(self) -> (Vec<u8>, u64) {
        let whole = self.whole_bytes.max(self.lines.len() as u64);
        (self.lines, whole)
    }
}

/// Whether an event of this kind carries sound and nothing else.
fn is_sound(kind: &str) -> bool {
    matches!(kind, "input_audio_buffer.append" | "response.audio.delta" | "response.output_audio.delta")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn lines(record: Record) -> (Vec<Value>, u64) {
        let (lines, whole) = record.finish();
        let lines = String::from_utf8(lines).unwrap();
        (lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), whole)
    }

    #[test]
    fn each_event_is_a_line_with_who_and_when() {
        let mut record = Record::new(10_000);
        record.text(Side::Caller, 5, b"{\"type\":\r\n\"session.update\"}");
        record.text(Side::Provider, 9, "plain\nwörds".as_bytes());
        record.binary(Side::Provider, 10, 7);
        record.close(Side::Caller, 11, Some(1000), b"bye");
        assert_eq!(
            lines(record).0,
            [
                json!({"from": "caller", "at_ms": 5, "event": {"type": "session.update"}}),
                json!({"from": "provider", "at_ms": 9, "text": "plain\nwörds"}),
                json!({"from": "provider", "at_ms": 10, "cut_bytes": 7}),
                json!({"from": "caller", "at_ms": 11, "close": 1000, "reason": "bye"}),
            ]
        );
    }

    #[test]
    fn sound_takes_up_half_of_the_room_and_says_where_it_is_left_out() {
        let mut record = Record::new(4_000);
        let sound = format!(r#"{{"type":"response.output_audio.delta","delta":"{}"}}"#, "A".repeat(900));
        let words = r#"{"type":"response.output_audio_transcript.delta","delta":"Hello"}"#;
        (0..6).for_each(|at_ms| record.text(Side::Provider, at_ms, sound.as_bytes()));
        record.text(Side::Provider, 6, words.as_bytes());
        let (lines, whole) = lines(record);
        assert_eq!(lines.len(), 7);
        assert!(lines[1]["event"]["delta"].is_string());
        assert_eq!(
            lines[2],
            json!({"from": "provider", "at_ms": 2, "type": "response.output_audio.delta", "cut_bytes": sound.len()})
        );
        assert_eq!(lines[6]["event"]["delta"], "Hello");
        assert!(whole > 5_000);
    }

    #[test]
    fn a_full_record_stays_within_its_limit_and_knows_what_is_missing() {
        let mut record = Record::new(1_000);
        (0..100).for_each(|at_ms| record.text(Side::Caller, at_ms, br#"{"type":"response.create"}"#));
        let (kept, whole) = record.finish();
        assert!(kept.len() <= 1_000 && whole > 5_000 && kept.ends_with(b"}\n"));
    }
}
