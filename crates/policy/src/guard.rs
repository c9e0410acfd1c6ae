//! What guardrails look for in texts, and nothing of what is done about it: a [`Detector`] turns a text into [`Finding`]s,
//! places with a name and a score. Rules ([`rule`]) give findings an action, [`stream`] does the same for a text that comes
//! in pieces, and [`redact`] replaces what was found. All of it is a function of the text: no model, no network, no clock.
//!
//! **The contract that makes streams safe.** Whether a detector reports a finding at a place depends only on
//! [`LEFT_CONTEXT`] bytes before the place and on what [`Detector::undecided_from`] says it still waits for: every finding
//! that starts before that offset is final, whatever text follows. So a stream can be let out up to there, and the
//! redacted stream is the redacted text, at any chunk size (a property test holds it).

mod checksum;
mod context;
pub mod injection;
mod judge;
mod language;
mod national;
mod network;
mod normalise;
mod number;
mod phone;
mod pii;
pub mod redact;
pub mod rule;
mod schema;
mod secret;
pub mod stream;
mod words;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

pub(crate) use judge::Topics;
pub(crate) use language::Languages;
pub(crate) use pii::{Entities, PiiDetector};
pub(crate) use schema::OutputSchema;
pub use secret::KnownSecrets;
pub(crate) use secret::SecretDetector;
pub(crate) use words::{Keywords, Pattern, PatternError};

/// Bytes before a place that a detector may look at: words such as `phone` that say what a number is.
pub const LEFT_CONTEXT: usize = 128;

/// How sure a detector is. Millionths: 1 000 000 is certain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Score(u32);

impl Score {
    /// As sure as can be.
    pub const CERTAIN: Score = Score(1_000_000);
    /// What a rule acts on unless it says otherwise.
    pub const DEFAULT_THRESHOLD: Score = Score(500_000);

    /// From millionths; more than a million counts as a million.
    #[must_use]
    pub const fn millionths(value: u32) -> Score {
        Score(if value > 1_000_000 { 1_000_000 } else { value })
    }

    /// From hundredths.
    pub(crate) const fn percent(value: u32) -> Score {
        Score::millionths(value * 10_000)
    }

    /// In millionths.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    pub(crate) fn raised_by(self, other: Score) -> Score {
        Score::millionths(self.0.saturating_add(other.0))
    }

    pub(crate) fn lowered_by(self, other: Score) -> Score {
        Score(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        let short = text.trim_end_matches('0');
        f.write_str(short.strip_suffix('.').unwrap_or(short))
    }
}

/// What was found, by name: `EMAIL`, `CARD`, `AWS_KEY`, or what a rule calls its own patterns. Upper case, as it stands in
/// placeholders and in the counts of a row.
pub type Entity = Cow<'static, str>;

/// Something found in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub entity: Entity,
    /// Where it stands. In bytes.
    pub at: Range<usize>,
    /// How sure that is.
    pub score: Score,
}

impl Finding {
    pub(crate) fn new(entity: impl Into<Entity>, at: Range<usize>, score: Score) -> Finding {
        Finding { entity: entity.into(), at, score }
    }
}

/// Finds one or several kinds of things. See the module for what an implementation promises.
pub(crate) trait Detector: fmt::Debug + Send + Sync {
    /// Adds what is found in `text` and starts at `from` or later. Findings may overlap.
    fn find(&self, text: &str, from: usize, found: &mut Vec<Finding>);

    /// Where `text` begins to be undecided if more may follow: findings before that offset are final. At most `text.len()`.
    fn undecided_from(&self, text: &str) -> usize;
}

/// The largest offset of a character that is not beyond `at`.
pub(crate) fn floor_char(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Whether an escaped line break or tabulator ends at `at`: `\n` in two characters, as texts have it that are JSON within a text.
pub(crate) fn escape_before(bytes: &[u8], at: usize) -> bool {
    at >= 2 && bytes[at - 2] == b'\\' && matches!(bytes[at - 1], b'n' | b'r' | b't')
}

/// Whether a letter or digit, of any script, stands right before `at` and belongs to the same word.
pub(crate) fn word_before(text: &str, at: usize) -> bool {
    !escape_before(text.as_bytes(), at)
        && text.get(..at).and_then(|before| before.chars().next_back()).is_some_and(|before| before.is_alphanumeric())
}

/// Whether a letter or digit, of any script, stands at `at`.
pub(crate) fn word_at(text: &str, at: usize) -> bool {
    text.get(at..).and_then(|after| after.chars().next()).is_some_and(|after| after.is_alphanumeric())
}

#[cfg(test)]
mod tests;
