//! What is wrong with a bundle, and where.

use serde_saphyr::Location;

use crate::suggestion;

/// Why a bundle was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct BundleError {
    /// From 1.
    pub line: u64,
    /// From 1, in characters.
    pub column: u64,
    /// What is wrong and what to do.
    pub message: String,
}

impl BundleError {
    /// A mistake at a place in a YAML text.
    #[must_use]
    pub fn new(location: Location, message: impl Into<String>) -> Self {
        let (line, column) = (location.line().max(1), location.column().max(1));
        BundleError { line, column, message: message.into() }
    }

    pub(super) fn at_start(message: impl Into<String>) -> Self {
        BundleError { line: 1, column: 1, message: message.into() }
    }

    /// Words the parser's error as ours are.
    #[must_use]
    pub fn from_yaml(error: &serde_saphyr::Error) -> Self {
        let error = error.without_snippet();
        let location = error.location().unwrap_or(Location::UNKNOWN);
        BundleError::new(location, message_of(error))
    }
}

fn message_of(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    match error {
        Error::SerdeUnknownField { field, expected, .. } => unknown("field", field, expected),
        Error::SerdeUnknownVariant { variant, expected, .. } => unknown("value", variant, expected),
        Error::SerdeMissingField { field, .. } => format!("the field `{field}` is missing"),
        Error::Unexpected { expected, .. } => format!("expected {}", in_yaml(expected)),
        other => {
            let text = other.render_with_formatter(&serde_saphyr::UserMessageFormatter);
            without_place(text.trim_end_matches('.')).to_owned()
        }
    }
}

/// The parser's words for parts of YAML, as they are written.
fn in_yaml(part: &str) -> &str {
    match part {
        "sequence start" => "a list: `[…]`, or lines that begin with `- `",
        "mapping start" => "fields: `{name: value}`, or lines of `name: value`",
        "scalar" | "string scalar" => "one value, not a list or fields",
        other => other,
    }
}

/// A text without ` at line 3, column 3` at its end: the place is told before it.
fn without_place(text: &str) -> &str {
    match text.rsplit_once(" at line ") {
        Some((before, place)) if place.chars().all(|c| c.is_ascii_digit() || ", column".contains(c)) => before,
        _ => text,
    }
}

fn unknown(what: &str, name: &str, expected: &[&'static str]) -> String {
    let suggestion = suggestion::phrase(name, expected.iter().copied());
    if suggestion.is_empty() {
        return format!("unknown {what} `{name}`; write one of {}", list(expected));
    }
    format!("unknown {what} `{name}`{suggestion}")
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
