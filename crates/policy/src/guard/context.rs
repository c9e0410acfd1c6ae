//! Words around a number that say what it is. Looked at only for candidates, so a plain search will do.

use std::ops::Range;

use super::floor_char;

/// Bytes before a candidate in which its word may stand.
pub(super) const BEFORE: usize = 64;
/// Bytes behind it.
pub(super) const AFTER: usize = 24;

/// Whether one of `words` (lower case) stands near `at`, each at the beginning of a word.
pub(super) fn is_near(text: &str, at: &Range<usize>, words: &[&str]) -> bool {
    let before = &text[floor_char(text, at.start.saturating_sub(BEFORE))..at.start];
    let after = &text[at.end..floor_char(text, at.end + AFTER)];
    holds(before, words) || holds(after, words)
}

/// Whether one of `words` stands in the `reach` bytes before `at`.
pub(super) fn is_before(text: &str, at: usize, reach: usize, words: &[&str]) -> bool {
    holds(&text[floor_char(text, at.saturating_sub(reach))..at], words)
}

fn holds(window: &str, words: &[&str]) -> bool {
    let lower = window.to_ascii_lowercase();
    let bytes = lower.as_bytes();
    let begins =
        |at: usize| super::escape_before(bytes, at) || !bytes[..at].last().is_some_and(u8::is_ascii_alphanumeric);
    words.iter().any(|word| lower.match_indices(word).any(|(at, _)| begins(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_counts_where_it_begins_one_and_is_close() {
        let text = "My phone: 5551234, and later telephone";
        assert!(is_near(text, &(10..17), &["phone"]));
        assert!(!is_near("microphone 5551234", &(11..18), &["phone"]));
        let far = format!("phone {} 5551234", "x".repeat(90));
        let start = far.len() - 7;
        assert!(!is_near(&far, &(start..far.len()), &["phone"]));
    }
}
