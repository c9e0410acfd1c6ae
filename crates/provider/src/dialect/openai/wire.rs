//! Builds objects and takes their fields apart. What a server says is believed as far as it fits: a field of another
//! shape counts as absent, since servers that copy Chat Completions differ in a hundred small ways.

use serde_json::{Map, Value};

/// An object of `fields`, which are moved and not copied as `json!` would.
pub(super) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Sets `name` if there is a value.
pub(super) fn set(map: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        map.insert(name.to_owned(), value);
    }
}

/// Takes a text that is not empty.
pub(super) fn take_text(map: &mut Map<String, Value>, name: &str) -> Option<String> {
    match map.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// Takes an object.
pub(super) fn take_object(map: &mut Map<String, Value>, name: &str) -> Option<Map<String, Value>> {
    match map.remove(name) {
        Some(Value::Object(inner)) => Some(inner),
        _ => None,
    }
}

/// Takes the items of an array; none if something else stands there.
pub(super) fn take_array(map: &mut Map<String, Value>, name: &str) -> Vec<Value> {
    match map.remove(name) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

/// Takes a count.
pub(super) fn take_count(map: &mut Map<String, Value>, name: &str) -> Option<u64> {
    map.remove(name).and_then(|value| value.as_u64())
}
