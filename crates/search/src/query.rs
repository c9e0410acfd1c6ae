//! The query language: words must all occur, `"a phrase"` in this order, `-word` must not occur, `word*` begins with,
//! `a OR b` either, and `team:x model:y provider:z outcome:failed id:…` narrow it down. A query that cannot be
//! understood is refused with the place and the reason; it is never guessed at.

use tantivy::Term;
use tantivy::query::{AllQuery, BooleanQuery, FuzzyTermQuery, Occur, PhraseQuery, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption};

use crate::fields::{self, Fields};

/// Longest query taken.
const MAX_BYTES: usize = 4_096;
/// Most words, phrases and filters taken.
const MAX_PARTS: usize = 64;
/// Names that filter.
const FILTERS: &[&str] = &["team", "model", "provider", "outcome", "tenant", "id"];

/// Why a query cannot be understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum QueryError {
    /// A quotation mark without its partner.
    #[error("the quotation mark at character {position} is not closed; add a `\"` or remove it")]
    OpenQuote {
        /// Position of the mark, from 1.
        position: usize,
    },
    /// `-` or `OR` without something to apply to.
    #[error(
        "`{operator}` at character {position} has nothing to apply to; write it before a word, or in quotation marks"
    )]
    Dangling {
        /// The operator.
        operator: String,
        /// Its position, from 1.
        position: usize,
    },
    /// A filter without a value.
    #[error("the filter `{filter}:` at character {position} has no value; write for example `{filter}:name`")]
    EmptyFilter {
        /// The filter.
        filter: String,
        /// Its position, from 1.
        position: usize,
    },
    /// Looks like a misspelt filter.
    #[error(
        "there is no filter `{given}:`; did you mean `{meant}:`? To search for the text itself put it in quotation marks"
    )]
    UnknownFilter {
        /// What was written.
        given: String,
        /// What exists.
        meant: String,
    },
    /// Longer than a query may be.
    #[error("the query is longer than {limit}; search for fewer words")]
    TooLong {
        /// The limit, in words.
        limit: &'static str,
    },
}

/// One word, phrase or filter.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Words in this order.
    Words { text: String, prefix: bool },
    /// A filter and its value.
    Filter { name: String, value: String, prefix: bool },
}

/// Parts of which one must hold, or, if excluded, none may.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Clause {
    any_of: Vec<Part>,
    excluded: bool,
}

/// Turns a text into a query of the index. An empty text means everything.
pub(crate) fn parse(text: &str, fields: &Fields) -> Result<Box<dyn Query>, QueryError> {
    let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
    for clause in Reader::new(text)?.clauses()? {
        let mut alternatives: Vec<Box<dyn Query>> =
            clause.any_of.iter().filter_map(|part| query_of(part, fields)).collect();
        let Some(last) = alternatives.pop() else { continue };
        let query = if alternatives.is_empty() {
            last
        } else {
            alternatives.push(last);
            Box::new(BooleanQuery::union(alternatives))
        };
        clauses.push((if clause.excluded { Occur::MustNot } else { Occur::Must }, query));
    }
    if clauses.iter().all(|(occur, _)| *occur == Occur::MustNot) {
        clauses.push((Occur::Must, Box::new(AllQuery)));
    }
    Ok(Box::new(BooleanQuery::new(clauses)))
}

/// Exactly this value of a field that is not cut into words.
pub(crate) fn exactly(field: Field, value: &str) -> Box<dyn Query> {
    Box::new(TermQuery::new(Term::from_field_text(field, value), IndexRecordOption::Basic))
}

/// `None` for a text without words in it, such as `...`: it narrows nothing down.
fn query_of(part: &Part, fields: &Fields) -> Option<Box<dyn Query>> {
    match part {
        Part::Words { text, prefix } => words(text, *prefix, fields),
        Part::Filter { name, value, prefix } => {
            let field = match name.as_str() {
                "team" => fields.team,
                "model" => fields.model,
                "provider" => fields.provider,
                "outcome" => fields.outcome,
                "tenant" => fields.tenant,
                _ => fields.interaction_id,
            };
            Some(if *prefix { beginning_with(field, value) } else { exactly(field, value) })
        }
    }
}

fn words(text: &str, prefix: bool, fields: &Fields) -> Option<Box<dyn Query>> {
    let mut analyser = fields::analyser();
    let mut tokens = analyser.token_stream(text);
    let mut terms = Vec::new();
    while let Some(token) = tokens.next() {
        terms.push((token.position, Term::from_field_text(fields.body, &token.text)));
    }
    let (_, last) = terms.last()?.clone();
    if prefix {
        // Only a single word has a beginning: in `a-b*` the star belongs to `b`.
        let mut all: Vec<Box<dyn Query>> = Vec::new();
        terms.pop();
        all.extend(terms.into_iter().map(|(_, term)| -> Box<dyn Query> { Box::new(word(term)) }));
        all.push(Box::new(FuzzyTermQuery::new_prefix(last, 0, true)));
        return Some(Box::new(BooleanQuery::intersection(all)));
    }
    if terms.len() == 1 {
        return Some(Box::new(word(last)));
    }
    Some(Box::new(PhraseQuery::new_with_offset(terms)))
}

fn word(term: Term) -> TermQuery {
    TermQuery::new(term, IndexRecordOption::WithFreqs)
}

fn beginning_with(field: Field, value: &str) -> Box<dyn Query> {
    Box::new(FuzzyTermQuery::new_prefix(Term::from_field_text(field, value), 0, true))
}

/// Reads a query character by character.
struct Reader {
    letters: Vec<char>,
    at: usize,
}

impl Reader {
    fn new(text: &str) -> Result<Self, QueryError> {
        if text.len() > MAX_BYTES {
            return Err(QueryError::TooLong { limit: "4096 bytes" });
        }
        Ok(Reader { letters: text.chars().collect(), at: 0 })
    }

    fn clauses(mut self) -> Result<Vec<Clause>, QueryError> {
        let mut clauses: Vec<Clause> = Vec::new();
        let mut parts = 0;
        let mut joins: Option<usize> = None;
        while self.skip_spaces() {
            let position = self.at + 1;
            let excluded = self.take_minus()?;
            let part = self.part()?;
            if !excluded && part == (Part::Words { text: "OR".to_owned(), prefix: false }) && !self.quoted_before() {
                if clauses.is_empty() || joins.is_some() {
                    return Err(QueryError::Dangling { operator: "OR".to_owned(), position });
                }
                joins = Some(position);
                continue;
            }
            parts += 1;
            if parts > MAX_PARTS {
                return Err(QueryError::TooLong { limit: "64 words" });
            }
            match (joins.take(), clauses.last_mut()) {
                (Some(_), Some(last)) if !last.excluded && !excluded => last.any_of.push(part),
                (Some(position), _) => return Err(QueryError::Dangling { operator: "OR".to_owned(), position }),
                (None, _) => clauses.push(Clause { any_of: vec![part], excluded }),
            }
        }
        match joins {
            Some(position) => Err(QueryError::Dangling { operator: "OR".to_owned(), position }),
            None => Ok(clauses),
        }
    }

    /// Whether anything is left.
    fn skip_spaces(&mut self) -> bool {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
        self.at < self.letters.len()
    }

    fn peek(&self) -> Option<char> {
        self.letters.get(self.at).copied()
    }

    /// Whether the part just read ended with a quotation mark.
    fn quoted_before(&self) -> bool {
        self.at > 0 && self.letters[self.at - 1] == '"'
    }

    fn take_minus(&mut self) -> Result<bool, QueryError> {
        if self.peek() != Some('-') {
            return Ok(false);
        }
        let position = self.at + 1;
        self.at += 1;
        match self.peek() {
            Some(next) if !next.is_whitespace() => Ok(true),
            _ => Err(QueryError::Dangling { operator: "-".to_owned(), position }),
        }
    }

    fn part(&mut self) -> Result<Part, QueryError> {
        if self.peek() == Some('"') {
            return Ok(Part::Words { text: self.quoted()?, prefix: false });
        }
        let position = self.at + 1;
        if let Some(name) = self.filter_name()? {
            let (value, prefix) = self.value()?;
            if value.is_empty() {
                return Err(QueryError::EmptyFilter { filter: name, position });
            }
            return Ok(Part::Filter { name, value, prefix });
        }
        let (text, prefix) = self.bare();
        Ok(Part::Words { text, prefix })
    }

    /// Takes `name:` if it stands here and names a filter. Other words with a colon in them (`12:30`, `https:`) are text.
    fn filter_name(&mut self) -> Result<Option<String>, QueryError> {
        let rest = &self.letters[self.at..];
        let length = rest.iter().take_while(|letter| letter.is_ascii_alphabetic()).count();
        if length == 0 || rest.get(length) != Some(&':') {
            return Ok(None);
        }
        let name: String = rest[..length].iter().collect::<String>().to_ascii_lowercase();
        if FILTERS.contains(&name.as_str()) {
            self.at += length + 1;
            return Ok(Some(name));
        }
        let is_close = |filter: &&&str| filter.len() > 2 && strsim::osa_distance(filter, &name) <= 1;
        match FILTERS.iter().find(is_close) {
            Some(meant) => Err(QueryError::UnknownFilter { given: name, meant: (*meant).to_owned() }),
            None => Ok(None),
        }
    }

    fn value(&mut self) -> Result<(String, bool), QueryError> {
        if self.peek() == Some('"') {
            return Ok((self.quoted()?, false));
        }
        Ok(self.bare())
    }

    /// Takes what stands between two quotation marks.
    fn quoted(&mut self) -> Result<String, QueryError> {
        let position = self.at + 1;
        self.at += 1;
        let rest = &self.letters[self.at..];
        let Some(length) = rest.iter().position(|letter| *letter == '"') else {
            return Err(QueryError::OpenQuote { position });
        };
        let text = rest[..length].iter().collect();
        self.at += length + 1;
        Ok(text)
    }

    /// Takes everything up to the next space or quotation mark; a star at its end means "begins with".
    fn bare(&mut self) -> (String, bool) {
        let rest = &self.letters[self.at..];
        let length = rest.iter().take_while(|letter| !letter.is_whitespace() && **letter != '"').count();
        let text: String = rest[..length].iter().collect();
        self.at += length;
        match text.strip_suffix('*') {
            Some(beginning) if !beginning.is_empty() => (beginning.to_owned(), true),
            _ => (text, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clauses(text: &str) -> Result<Vec<Clause>, QueryError> {
        Reader::new(text)?.clauses()
    }

    fn words(text: &str) -> Part {
        Part::Words { text: text.to_owned(), prefix: false }
    }

    #[test]
    fn words_phrases_filters_and_exclusions_are_told_apart() {
        let parsed = clauses("loan \"interest rate\" -secret team:kyc at 12:30 refund*").unwrap();
        let filter = Part::Filter { name: "team".into(), value: "kyc".into(), prefix: false };
        let expected = [
            (words("loan"), false),
            (words("interest rate"), false),
            (words("secret"), true),
            (filter, false),
            (words("at"), false),
            (words("12:30"), false),
            (Part::Words { text: "refund".into(), prefix: true }, false),
        ];
        let expected: Vec<_> =
            expected.into_iter().map(|(part, excluded)| Clause { any_of: vec![part], excluded }).collect();
        assert_eq!(parsed, expected);
    }

    #[test]
    fn either_of_two_words_may_be_asked_for() {
        let either = Clause { any_of: vec![words("red"), words("green")], excluded: false };
        assert_eq!(clauses("red OR green").unwrap(), [either]);
        assert_eq!(clauses("\"OR\"").unwrap(), [Clause { any_of: vec![words("OR")], excluded: false }]);
    }

    #[test]
    fn what_cannot_be_understood_is_refused_with_its_place() {
        assert_eq!(clauses("a \"b c"), Err(QueryError::OpenQuote { position: 3 }));
        assert_eq!(clauses("team: x"), Err(QueryError::EmptyFilter { filter: "team".into(), position: 1 }));
        assert_eq!(clauses("teem:x"), Err(QueryError::UnknownFilter { given: "teem".into(), meant: "team".into() }));
        assert_eq!(clauses("a - b"), Err(QueryError::Dangling { operator: "-".into(), position: 3 }));
        assert_eq!(clauses("a OR"), Err(QueryError::Dangling { operator: "OR".into(), position: 3 }));
        assert!(matches!(clauses(&"a ".repeat(100)), Err(QueryError::TooLong { .. })));
    }
}
