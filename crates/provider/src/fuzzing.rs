//! What `fuzz/` must reach and nobody else may: behind a feature that only its targets ask for.

use serde_json::{Map, Value};

use crate::scan::{Cursor, Tree};

/// Whether `text` is one JSON value, read by the scanner; else why not.
///
/// # Errors
/// The scanner's reason.
pub fn scan(text: &[u8]) -> Result<(), &'static str> {
    let mut cursor = Cursor::new(text);
    cursor.skip().and_then(|_| cursor.end()).map_err(|error| {
        assert!(error.offset <= text.len());
        error.reason
    })
}

/// The value of `text` as the borrowed tree has it, strings decoded.
#[must_use]
pub fn tree(text: &[u8]) -> Option<Value> {
    Some(value(&Tree::read(text).ok()?))
}

fn value(tree: &Tree<'_>) -> Value {
    if let Some(text) = tree.text() {
        return Value::String(text.into_owned());
    }
    if let Some(items) = tree.items() {
        return items.iter().map(value).collect();
    }
    let Some(fields) = tree.fields() else { return serde_json::from_str(&tree.raw()).unwrap_or_default() };
    fields.map(|(name, field)| (name.into_owned(), value(field))).collect::<Map<_, _>>().into()
}
