//! What a bundle lists itself: words, in one automaton however many they are, and regular expressions, matched in linear time
//! by an engine without backtracking.
//!
//! Bounds: a word's own length; the longest match of an expression. An expression without a longest match, or one tied to the
//! beginning or end of the text, holds a stream back until its end.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::{Regex, RegexBuilder};
use regex_syntax::hir::Look;

use super::{Detector, Entity, Finding, Score, floor_char, word_at, word_before};

/// Size of a compiled expression.
const MAX_COMPILED_BYTES: usize = 1 << 20;
/// Longest match that a stream is held back for; an expression with a longer one holds it back altogether.
const MAX_MATCH_BYTES: usize = 4_096;

/// Words of a bundle.
#[derive(Debug)]
pub(crate) struct Keywords {
    entity: Entity,
    automaton: AhoCorasick,
    longest: usize,
    /// Whether a word counts only where it stands for itself.
    is_whole: bool,
}

/// Why a list or an expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PatternError(pub(crate) String);

impl Keywords {
    /// Capitals do not matter; letters beyond ASCII are found as written, all small, and all capital.
    pub(crate) fn new(entity: impl Into<Entity>, words: &[&str], is_whole: bool) -> Result<Self, PatternError> {
        if let Some(empty) = words.iter().position(|word| word.trim().is_empty()) {
            return Err(PatternError(format!(
                "word {} of the list is empty, and would be found everywhere",
                empty + 1
            )));
        }
        let mut forms: Vec<String> = Vec::with_capacity(words.len());
        for word in words {
            let word = word.trim();
            forms.push(word.to_owned());
            if !word.is_ascii() {
                forms.extend([word.to_lowercase(), word.to_uppercase()]);
            }
        }
        forms.sort();
        forms.dedup();
        let longest = forms.iter().map(String::len).max().unwrap_or(0);
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind((forms.len() < 2_000).then_some(AhoCorasickKind::DFA))
            .ascii_case_insensitive(true)
            .build(&forms)
            .map_err(|error| PatternError(format!("the list of words is too large: {error}")))?;
        Ok(Keywords { entity: entity.into(), automaton, longest, is_whole })
    }

    /// Places of the words, overlapping ones too.
    pub(crate) fn places<'a>(
        &'a self,
        text: &'a str,
        from: usize,
    ) -> impl Iterator<Item = std::ops::Range<usize>> + 'a {
        let found = self.automaton.find_overlapping_iter(&text[from..]);
        let found = found.map(move |found| from + found.start()..from + found.end());
        // Bytes of a character may look like a word's; a match on them is none.
        found
            .filter(|at| text.is_char_boundary(at.start) && text.is_char_boundary(at.end))
            .filter(|at| !self.is_whole || !(word_before(text, at.start) || word_at(text, at.end)))
    }
}

impl Detector for Keywords {
    fn find(&self, text: &str, from: usize, found: &mut Vec<Finding>) {
        found.extend(self.places(text, from).map(|at| Finding::new(self.entity.clone(), at, Score::CERTAIN)));
    }

    fn undecided_from(&self, text: &str) -> usize {
        // The word, and the character behind it that may make it a part of a longer one.
        floor_char(text, text.len().saturating_sub(self.longest + 4))
    }
}

/// A regular expression of a bundle.
#[derive(Debug)]
pub(crate) struct Pattern {
    entity: Entity,
    regex: Regex,
    /// Bytes of its longest match; `None` if it has none, or if it looks at the ends of the text.
    longest: Option<usize>,
}

impl Pattern {
    pub(crate) fn new(entity: impl Into<Entity>, expression: &str) -> Result<Self, PatternError> {
        let wrong = |message: String| PatternError(format!("the expression `{expression}` {message}"));
        let regex =
            RegexBuilder::new(expression).size_limit(MAX_COMPILED_BYTES).nest_limit(50).build().map_err(|error| {
                match error {
                    regex::Error::CompiledTooBig(limit) => {
                        wrong(format!("needs more than {limit} bytes; make it shorter"))
                    }
                    error => {
                        let last = error.to_string();
                        let last = last.lines().last().unwrap_or_default().trim_start_matches("error: ");
                        wrong(format!("cannot be read: {last}"))
                    }
                }
            })?;
        let parsed = regex_syntax::parse(expression).map_err(|_| wrong("cannot be read".to_owned()))?;
        let properties = parsed.properties();
        if properties.minimum_len().unwrap_or(0) == 0 {
            return Err(wrong("matches the empty text, and would be found everywhere".to_owned()));
        }
        let looks = properties.look_set();
        let is_tied = looks.contains(Look::Start) || looks.contains(Look::End);
        let longest = properties.maximum_len().filter(|longest| !is_tied && *longest <= MAX_MATCH_BYTES);
        Ok(Pattern { entity: entity.into(), regex, longest })
    }
}

impl Detector for Pattern {
    fn find(&self, text: &str, from: usize, found: &mut Vec<Finding>) {
        // Every beginning is tried, so that what is found at a place does not depend on where the search began.
        let mut at = from;
        while let Some(matched) = self.regex.find_at(text, at) {
            found.push(Finding::new(self.entity.clone(), matched.range(), Score::CERTAIN));
            let next = text[matched.start()..].chars().next().map_or(1, char::len_utf8);
            at = matched.start() + next;
            if at > text.len() {
                return;
            }
        }
    }

    fn undecided_from(&self, text: &str) -> usize {
        self.longest.map_or(0, |longest| floor_char(text, text.len().saturating_sub(longest + 4)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(detector: &dyn Detector, text: &'a str) -> Vec<&'a str> {
        let mut found = Vec::new();
        detector.find(text, 0, &mut found);
        found.into_iter().map(|finding| &text[finding.at]).collect()
    }

    #[test]
    fn words_are_found_whole_and_whatever_their_capitals() {
        let words = Keywords::new("KEYWORD", &["Projekt Blau", "ÖL", "cat"], true).unwrap();
        assert_eq!(found(&words, "PROJEKT BLAU needs öl, no concatenation. Cat!"), ["PROJEKT BLAU", "öl", "Cat"]);
        let parts = Keywords::new("KEYWORD", &["cat"], false).unwrap();
        assert_eq!(found(&parts, "concatenation"), ["cat"]);
        assert!(Keywords::new("KEYWORD", &["a", " "], true).is_err());
    }

    #[test]
    fn expressions_that_cannot_be_used_say_why() {
        for (expression, reason) in [("(", "cannot be read"), ("a*", "empty text"), (r"\w{1000}{1000}", "")] {
            let error = Pattern::new("REGEX", expression).unwrap_err();
            assert!(error.0.contains(reason), "{error}");
        }
        assert!(Pattern::new("REGEX", r"(?<=a)b").is_err(), "no backtracking");
    }

    #[test]
    fn an_expression_without_a_bound_holds_everything_back() {
        let text = "a number 12345678 and a lot of words behind it that go on";
        let undecided = |expression: &str| Pattern::new("REGEX", expression).unwrap().undecided_from(text);
        assert_eq!((undecided(r"\d+"), undecided(r"^a")), (0, 0));
        assert_eq!(undecided(r"\b\d{4,8}\b"), text.len() - 8 * 4 - 4);
    }
}
