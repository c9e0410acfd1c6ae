//! Walks the numbers of a text: tokens of letters and digits that hold a digit, which is where every card, account, phone and
//! identity number begins. One pass over the bytes serves all of them; texts without digits cost a look at each byte.

use std::ops::Range;

use super::{LEFT_CONTEXT, floor_char};

/// Bytes a detector of numbers may look at from where its finding starts, the words behind it included. The longest number
/// is a bech32 address with 62 characters.
pub(super) const WINDOW: usize = 128;

/// Calls `each` with every token of ASCII letters and digits that holds a digit and ends behind `from`.
pub(super) fn tokens(text: &str, from: usize, mut each: impl FnMut(Range<usize>)) {
    let bytes = text.as_bytes();
    // A token that began before is known to have: it is longer than any number.
    let mut at = from.saturating_sub(LEFT_CONTEXT);
    while let Some(found) = bytes[at..].iter().position(u8::is_ascii_digit) {
        let digit = at + found;
        let start = bytes[at..digit].iter().rposition(|byte| !byte.is_ascii_alphanumeric()).map_or(at, |n| at + n + 1);
        // The letter of an escaped line break is no part of it.
        let start = if start < digit && super::escape_before(bytes, start + 1) { start + 1 } else { start };
        let end =
            bytes[digit..].iter().position(|byte| !byte.is_ascii_alphanumeric()).map_or(bytes.len(), |n| digit + n);
        if end > from {
            each(start..end);
        }
        at = end;
    }
}

/// Where a text becomes undecided for whoever reads numbers: a digit near the end may begin one, and a short word or a sign
/// there may belong to one that has not come.
pub(super) fn undecided_from(text: &str) -> usize {
    let bytes = text.as_bytes();
    let tail = bytes.len().saturating_sub(WINDOW);
    if bytes[tail..].iter().any(u8::is_ascii_digit) {
        return floor_char(text, tail);
    }
    // Two words: `DE 12…`, and what may grow into a token with a digit.
    let mut at = bytes.len();
    let mut words = 0;
    while at > tail && words < 2 {
        at -= 1;
        let is_edge = bytes[at].is_ascii_whitespace();
        if is_edge && bytes.get(at + 1).is_some_and(|next| !next.is_ascii_whitespace()) {
            words += 1;
        }
    }
    floor_char(text, at)
}

/// Whether a number at `at` stands for itself, rather than being a part of a longer one or of a word.
pub(super) fn is_isolated(text: &str, at: &Range<usize>) -> bool {
    if super::word_before(text, at.start) || super::word_at(text, at.end) {
        return false;
    }
    let bytes = text.as_bytes();
    let joins = |byte: u8| matches!(byte, b'-' | b'/' | b'.' | b'_' | b':');
    let glued_before = at.start >= 2 && joins(bytes[at.start - 1]) && bytes[at.start - 2].is_ascii_digit();
    let glued_after =
        bytes.get(at.end).is_some_and(|byte| joins(*byte)) && bytes.get(at.end + 1).is_some_and(u8::is_ascii_digit);
    !glued_before && !glued_after
}

/// A number as it was read: its letters and digits without what separates them.
#[derive(Debug)]
pub(super) struct Compact {
    bytes: [u8; 64],
    length: usize,
    /// Where it ends in the text.
    pub(super) end: usize,
    /// How many separators stand in it.
    pub(super) separators: usize,
}

impl Compact {
    /// Its letters and digits.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn push(&mut self, byte: u8) -> bool {
        let fits = self.length < self.bytes.len();
        if fits {
            self.bytes[self.length] = byte;
            self.length += 1;
        }
        fits
    }
}

/// Reads what stands at `start` in the form of `shape`: `9` is a digit, `A` a capital letter, `X` either, `-` may be one
/// separator (space, hyphen, full stop, slash), `_` must be one, `!` is a sign of a Finnish century; any other character is
/// itself. All separators of a number are alike.
pub(super) fn shaped(text: &[u8], start: usize, shape: &[u8]) -> Option<Compact> {
    let mut compact = Compact { bytes: [0; 64], length: 0, end: start, separators: 0 };
    let mut separator = None;
    for part in shape {
        let next = text.get(compact.end).copied();
        let fits = match part {
            b'9' => next.is_some_and(|byte| byte.is_ascii_digit()),
            b'A' => next.is_some_and(|byte| byte.is_ascii_uppercase()),
            b'X' => next.is_some_and(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()),
            b'!' => next.is_some_and(|byte| matches!(byte, b'-' | b'+' | b'A'..=b'F' | b'U'..=b'Y')),
            b'-' | b'_' => {
                let is_separator = next.is_some_and(|byte| matches!(byte, b' ' | b'-' | b'.' | b'/'));
                if is_separator && (separator.is_none() || separator == next) {
                    (separator, compact.end, compact.separators) = (next, compact.end + 1, compact.separators + 1);
                } else if *part == b'_' {
                    return None;
                }
                continue;
            }
            literal => next == Some(*literal),
        };
        if !fits || !compact.push(next?) {
            return None;
        }
        compact.end += 1;
    }
    Some(compact)
}

/// Reads digits from `start` in groups of any length, at most `most` of them, with single spaces or hyphens between the
/// groups.
pub(super) fn grouped(text: &[u8], start: usize, most: usize) -> Compact {
    let mut compact = Compact { bytes: [0; 64], length: 0, end: start, separators: 0 };
    let mut at = start;
    loop {
        match text.get(at) {
            Some(digit) if digit.is_ascii_digit() => {
                if compact.length == most || !compact.push(*digit) {
                    return compact;
                }
                at += 1;
                compact.end = at;
            }
            Some(b' ' | b'-') if at > start && text.get(at + 1).is_some_and(u8::is_ascii_digit) => {
                compact.separators += 1;
                at += 1;
            }
            _ => return compact,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_with_digits_are_found_with_their_true_beginnings() {
        let text = "no digits AB12cd, x9 7 end";
        let mut found = Vec::new();
        tokens(text, 0, |at| found.push(&text[at]));
        assert_eq!(found, ["AB12cd", "x9", "7"]);
        let mut found = Vec::new();
        tokens(text, 13, |at| found.push(&text[at]));
        assert_eq!(found, ["AB12cd", "x9", "7"], "a token is seen whole from within it");
    }

    #[test]
    fn a_shape_reads_separators_of_one_kind_only() {
        let read = |text: &str| shaped(text.as_bytes(), 0, b"99-99-99").map(|compact| compact.end);
        assert_eq!([read("123456"), read("12-34-56"), read("12 34 56")], [Some(6), Some(8), Some(8)]);
        assert_eq!([read("12-34 56"), read("1234"), read("12--34-56")], [None; 3]);
    }

    #[test]
    fn what_hangs_together_is_one_number() {
        assert!(is_isolated("call 12, now", &(5..7)));
        assert!(!is_isolated("1.2.3", &(0..3)));
        assert!(!is_isolated("x12", &(1..3)) && !is_isolated("é12", &(2..4)));
    }

    #[test]
    fn prose_is_decided_but_for_its_last_two_words() {
        let text = "The quick brown fox jumps over the lazy dog";
        assert_eq!(&text[undecided_from(text)..], " lazy dog");
        assert_eq!(undecided_from("a number 12 and a few words"), 0);
    }
}
