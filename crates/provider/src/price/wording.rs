//! What a parser says of a price file, in words that say what to write. The place is told beside it, so it is left out here.

use serde_saphyr::Error;

use super::rates::Class;

/// Fields of a price that are no classes.
const CONDITIONS: [&str; 6] = ["from", "service_tier", "region", "hours_utc", "source", "above"];

/// What is wrong, without its place.
pub(super) fn of(error: &Error) -> String {
    match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            format!("unknown field `{field}`; there are {}", listed(expected))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            format!("unknown value `{variant}`; write one of {}", listed(expected))
        }
        Error::SerdeMissingField { field, .. } => format!("the field `{field}` is missing"),
        Error::Unexpected { expected, .. } => format!("expected {}", in_yaml(expected)),
        other => {
            let text = other.render_with_formatter(&serde_saphyr::UserMessageFormatter);
            without_place(text.trim_end_matches('.')).to_owned()
        }
    }
}

/// What a price can say.
pub(super) fn fields_of_a_price() -> String {
    let classes: Vec<&str> = Class::ALL.into_iter().map(Class::name).collect();
    format!("it has {} and the classes {}", listed(&CONDITIONS), listed(&classes))
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The parser's words for parts of YAML, as they are written.
fn in_yaml(part: &str) -> String {
    match part {
        "sequence start" => "a list: `[…]`, or lines that begin with `- `".to_owned(),
        "mapping start" => "fields: `{name: value}`, or lines of `name: value`".to_owned(),
        "scalar" | "string scalar" => "one value, not a list or fields".to_owned(),
        other => other.to_owned(),
    }
}

/// A text without ` at line 3, column 3` at its end.
fn without_place(text: &str) -> &str {
    match text.rsplit_once(" at line ") {
        Some((before, place)) if place.chars().all(|c| c.is_ascii_digit() || ", column".contains(c)) => before,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use crate::price::CatalogDocument;

    fn refusal(models: &str) -> String {
        let text = format!("provider: p\nsource: s\nchecked: 2026-11-26\n{models}\n");
        CatalogDocument::from_yaml("p.yaml", &text).unwrap_err().to_string()
    }

    #[test]
    fn a_mistake_is_told_once_with_what_to_write() {
        let list = refusal("models:\n- id: m\n  prices: {input: 2}");
        assert!(list.contains("line 6, column 11: expected a list: `[…]`"), "{list}");
        assert_eq!(list.matches("line ").count(), 1, "{list}");
        let field = refusal("models: [{id: m, price: []}]");
        assert!(field.contains("unknown field `price`; there are `id`, ") && field.contains("`prices`"), "{field}");
        let class = refusal("models: [{id: m, prices: [{from: release, inptu: 1}]}]");
        assert!(class.contains("unknown field `inptu` of a price; it has `from`, "), "{class}");
        assert!(class.contains("`input`") && class.contains("`cache_read`") && !class.contains("at line"), "{class}");
        let missing = refusal("models: [{id: m}]");
        assert!(missing.contains("the field `prices` is missing"), "{missing}");
    }
}
