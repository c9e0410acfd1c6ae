//! What a call uses beside tokens and tools, where models are sold by it: sound by the second, pictures by the piece, speech
//! by the character. The record has no columns for it; it stands among the record's own labels, from which a call can be
//! priced again.

use crate::scan::{Cursor, Kind, ScanError};

/// What a call used beside tokens and tools, as far as it is known. Models that are sold by it have a rate for it, and the
/// others do not look at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Length of the sound that was listened to, in milliseconds.
    pub audio_ms: Option<u64>,
    /// Pictures that were drawn.
    pub images: Option<u64>,
    /// Characters that were spoken.
    pub characters: Option<u64>,
}

impl Beside {
    /// Names of the labels, in the order in which [`Beside::read`] takes them.
    pub const LABELS: [&str; 3] = ["audio_seconds", "images", "characters"];

    /// What the labels of a record say.
    #[must_use]
    pub fn read([audio_seconds, images, characters]: [Option<&str>; 3]) -> Beside {
        let count = |text: Option<&str>| text.and_then(|text| text.parse().ok());
        Beside { audio_ms: audio_seconds.and_then(milliseconds), images: count(images), characters: count(characters) }
    }

    /// Whether nothing is known of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Beside::default()
    }
}

/// Seconds as a provider writes them, such as `9` or `9.512`, in milliseconds; half of one counts as one.
fn milliseconds(seconds: &str) -> Option<u64> {
    const PLACES: usize = 3;
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let digit = |place: usize| fraction.as_bytes().get(place).map_or(0, |digit| u64::from(digit - b'0'));
    let thousandths = (0..PLACES).fold(0, |sum, place| sum * 10 + digit(place));
    let rounded = thousandths + u64::from(digit(PLACES) >= 5);
    whole.parse::<u64>().ok()?.checked_mul(1_000)?.checked_add(rounded)
}

/// Characters that a request for speech (`/v1/audio/speech`) wants to hear.
#[must_use]
pub fn characters_to_speak(body: &[u8]) -> Option<u64> {
    let mut cursor = Cursor::new(body);
    if cursor.kind().ok()? != Kind::Object {
        return None;
    }
    let mut characters = None;
    let read = cursor.fields(|key, cursor| {
        if key.is("input") {
            characters = cursor.text_or_skip()?.map(|text| text.count_chars());
            return Ok(());
        }
        cursor.skip().map(drop)
    });
    read.map(|_: ()| characters).unwrap_or_else(|_: ScanError| None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_as_they_were_written() {
        let read = Beside::read([Some("9.5124"), Some("2"), None]);
        assert_eq!(read, Beside { audio_ms: Some(9_512), images: Some(2), characters: None });
        for (text, expected) in [
            ("9", Some(9_000)),
            ("0.0005", Some(1)),
            ("1.9996", Some(2_000)),
            ("x", None),
            ("1.x", None),
            ("1e3", None),
        ] {
            assert_eq!(milliseconds(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_to_be_spoken_is_counted_in_characters() {
        assert_eq!(characters_to_speak(r#"{"model":"tts-1","input":"Grüß \"Gott\""}"#.as_bytes()), Some(11));
        assert_eq!(characters_to_speak(b"{}"), None);
        assert_eq!(characters_to_speak(b"RIFF"), None);
    }
}
