//! Judgements on a text as a whole: what it is about. They say nothing about places in it, so they can flag or block and
//! not redact, and a stream that one of them may block is held back until its end.

use std::fmt;

use super::{Entity, Keywords, PatternError, Score};

/// What is said about a whole text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) entity: Entity,
    pub(crate) score: Score,
    /// For the row: no word of the text.
    pub(crate) detail: String,
}

/// Judges whole texts.
pub(crate) trait Judge: fmt::Debug + Send + Sync {
    /// `None` if there is nothing to be said against the text.
    fn judge(&self, text: &str) -> Option<Judgement>;
}

/// A topic: words, of which so many different ones must be there.
#[derive(Debug)]
pub(crate) struct Topics {
    name: String,
    words: Vec<Keywords>,
    at_least: usize,
}

impl Topics {
    pub(crate) fn new(name: &str, words: &[&str], at_least: usize) -> Result<Self, PatternError> {
        if at_least == 0 || at_least > words.len() {
            let message =
                format!("`at_least: {at_least}` of {} words cannot be; write 1 to {}", words.len(), words.len());
            return Err(PatternError(message));
        }
        let words = words.iter().map(|word| Keywords::new("TOPIC", &[word], true)).collect::<Result<_, _>>()?;
        Ok(Topics { name: name.to_owned(), words, at_least })
    }
}

impl Judge for Topics {
    fn judge(&self, text: &str) -> Option<Judgement> {
        let found = self.words.iter().filter(|word| word.places(text, 0).next().is_some()).count();
        (found >= self.at_least).then(|| Judgement {
            entity: "TOPIC".into(),
            score: Score::CERTAIN,
            detail: format!("topic `{}`: {found} of its words", self.name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_needs_several_of_its_words() {
        let topic = Topics::new("weapons", &["rifle", "ammunition", "calibre"], 2).unwrap();
        assert!(topic.judge("A rifle is a rifle.").is_none());
        assert_eq!(topic.judge("Rifle and ammunition").unwrap().detail, "topic `weapons`: 2 of its words");
        assert!(Topics::new("x", &["a"], 2).is_err());
    }
}
