//! What is wrong with a bundle, and where.

use serde_saphyr::{Location, MessageFormatter as _, UserMessageFormatter};

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

    pub(crate) fn at_start(message: impl Into<String>) -> Self {
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
        Error::SerdeInvalidType { unexpected, expected, .. } => other_type(unexpected, expected),
        Error::InvalidScalar { ty, .. } => format!("expected {}", scalar(ty)),
        Error::NullIntoString { .. } => "nothing is written here; expected a text".to_owned(),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("`{key}` is written here a second time; write it once")
        }
        Error::UnknownAnchor { .. } => {
            "`*…` stands for a value that no `&…` before it names; write the value itself".to_owned()
        }
        Error::MultipleDocuments { .. } => "a second document begins here (`---`); write one".to_owned(),
        // A value that was written elsewhere and is used here.
        Error::AliasError { error, locations, .. } => {
            let at = locations.defined_location;
            let whence = format!("; the value comes from line {}, column {}", at.line(), at.column());
            let is_known = at != Location::UNKNOWN && at != locations.reference_location;
            format!("{}{}", message_of(error.without_snippet()), if is_known { &whence } else { "" })
        }
        other => {
            let text = UserMessageFormatter.format_message(other);
            in_words(without_place(text.trim_end_matches('.')))
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

fn other_type(unexpected: &str, expected: &str) -> String {
    let stands = match unexpected {
        "unit value" | "Option value" => return format!("nothing is written here; expected {expected}"),
        "sequence" => "a list",
        "map" => "fields",
        other => {
            let number = other.strip_prefix("integer ").or_else(|| other.strip_prefix("floating point "));
            number.unwrap_or(other)
        }
    };
    format!("expected {expected}, not {stands}")
}

/// What a type of the program is in a file.
fn scalar(ty: &str) -> String {
    match ty {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, without a sign, decimals or a unit".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number, without decimals or a unit".to_owned(),
        "floating point" | "f32" | "f64" => "a number, without a unit".to_owned(),
        "boolean" | "bool" => "`true` or `false`".to_owned(),
        other => format!("a value of the kind {other}"),
    }
}

/// What the parser says of a text that is no YAML.
fn in_words(said: &str) -> String {
    let between = |before: &str| Some(said.strip_prefix(before)?.split_once('\'')?.0);
    if said.contains("tab cannot be used") || said.contains("tabs disallowed") {
        return "a tab cannot indent; write spaces".to_owned();
    }
    if let Some(bracket) = between("unclosed bracket '") {
        return format!("`{bracket}` is opened here and never closed");
    }
    if said.contains("unclosed quote") {
        return "a quote is opened here and never closed".to_owned();
    }
    if said.contains("did not find expected") || said.contains("invalid indentation") {
        return "this line fits none of those above it: look at how far it is indented, and for a bracket or quote before it"
            .to_owned();
    }
    if said.contains("mapping values are not allowed") {
        return "there is a second `: ` on the line; put a text that holds `: ` in quotes".to_owned();
    }
    if said.contains("simple key expected ':'") {
        return "there is no `: ` behind the name; write `name: value`".to_owned();
    }
    said.to_owned()
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
    if let ([only], true) = (expected, suggestion.is_empty()) {
        return format!("unknown {what} `{name}`; write `{only}`");
    }
    if suggestion.is_empty() {
        return format!("unknown {what} `{name}`; write one of {}", list(expected));
    }
    format!("unknown {what} `{name}`{suggestion}")
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
