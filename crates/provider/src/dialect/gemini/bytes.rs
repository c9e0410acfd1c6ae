//! Fields of type bytes. Protobuf's JSON writes them in standard base64 and reads either alphabet, with padding or without
//! (<https://protobuf.dev/programming-guides/json/>, 2026-11-26); the official Python client sends the one for URLs, which
//! no other provider takes.

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `base64` in the standard alphabet and with its padding.
pub(super) fn standard(base64: String) -> String {
    let needs_padding = !base64.len().is_multiple_of(4);
    if !needs_padding && memchr::memchr2(b'-', b'_', base64.as_bytes()).is_none() {
        return base64;
    }
    let mut text: String = base64.chars().map(standard_letter).collect();
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

fn standard_letter(letter: char) -> char {
    match letter {
        '-' => '+',
        '_' => '/',
        letter => letter,
    }
}

pub(super) fn encoded(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The text that `base64` stands for, if it is one.
pub(super) fn decoded_text(base64: &str) -> Option<String> {
    let bytes = if memchr::memchr2(b'-', b'_', base64.as_bytes()).is_some() {
        LENIENT.decode(base64.chars().map(standard_letter).collect::<String>())
    } else {
        LENIENT.decode(base64)
    };
    String::from_utf8(bytes.ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_alphabet_becomes_the_standard_one() {
        assert_eq!(standard("-_-_".to_owned()), "+/+/");
        assert_eq!(standard("YQ".to_owned()), "YQ==");
        assert_eq!(standard("YWI=".to_owned()), "YWI=");
        assert_eq!(decoded_text("YQ").as_deref(), Some("a"));
        assert_eq!(decoded_text("not base64!"), None);
    }
}
