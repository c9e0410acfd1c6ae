//! Messages of Protobuf in JSON (<https://protobuf.dev/programming-guides/json/>, 2026-11-26): each field may be named in
//! camel case or as in the `.proto` file, numbers may stand in quotes, and Google's front end takes a single value for a list
//! of one. Paths are told as the caller wrote them.

use serde_json::Value;

use crate::chat::Said;
use crate::dialect::RequestError;
use crate::translate::{Fields, read_said, read_text};

/// The fields of one message that have not been taken yet. Names are asked for in camel case.
#[derive(Debug)]
pub(super) struct Proto(Fields);

impl Proto {
    /// The fields of `value`, which stands at `at`.
    ///
    /// # Errors
    /// [`RequestError::Malformed`] if it is no object.
    pub(super) fn of(value: Value, at: impl Into<String>) -> Result<Proto, RequestError> {
        Fields::of(value, at).map(Proto)
    }

    /// Path of the message.
    pub(super) fn at(&self) -> &str {
        self.0.at()
    }

    /// Takes a field with its path.
    pub(super) fn said(&mut self, name: &str) -> Option<Said<Value>> {
        match self.0.said(name) {
            Some(said) => Some(said),
            None if name.contains(|letter: char| letter.is_ascii_uppercase()) => self.0.said(&snake_case(name)),
            None => None,
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<Said<String>>, RequestError> {
        let Some(Said { value, at }) = self.said(name) else { return Ok(None) };
        Ok(Some(Said::new(read_text(value, &at)?, at)))
    }

    pub(super) fn number(&mut self, name: &str) -> Result<Option<Said<f64>>, RequestError> {
        self.read(name, "send a number", |value| match value {
            Value::String(digits) => digits.parse().ok().filter(|number: &f64| number.is_finite()),
            value => value.as_f64(),
        })
    }

    pub(super) fn integer(&mut self, name: &str) -> Result<Option<Said<i64>>, RequestError> {
        self.read(name, "send a whole number", whole)
    }

    pub(super) fn count(&mut self, name: &str) -> Result<Option<Said<u64>>, RequestError> {
        let expected = "send a whole number that is not negative";
        self.read(name, expected, |value| u64::try_from(whole(value)?).ok())
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<Option<Said<bool>>, RequestError> {
        self.read(name, "send `true` or `false`", |value| value.as_bool())
    }

    /// Takes a list; a single value counts as a list of one.
    pub(super) fn items(&mut self, name: &str) -> Option<Said<Vec<Value>>> {
        let Said { value, at } = self.said(name)?;
        let items = match value {
            Value::Array(items) => items,
            single => vec![single],
        };
        Some(Said::new(items, at))
    }

    /// Takes a message within this one.
    ///
    /// # Errors
    /// [`RequestError::Malformed`] if something else stands there.
    pub(super) fn message(&mut self, name: &str) -> Result<Option<Proto>, RequestError> {
        let Some(Said { value, at }) = self.said(name) else { return Ok(None) };
        Proto::of(value, at).map(Some)
    }

    /// What nobody took, with its path.
    pub(super) fn rest(self) -> impl Iterator<Item = Said<Value>> {
        self.0.rest()
    }

    fn read<T>(
        &mut self,
        name: &str,
        expected: &'static str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<Said<T>>, RequestError> {
        read_said(self.said(name), expected, read)
    }
}

/// `40`, `"40"` and `40.0`.
fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::String(digits) => digits.parse().ok(),
        Value::Number(number) => number.as_i64().or_else(|| {
            // Within the range in which every whole number is exact.
            let number = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= 9.0e15)?;
            #[expect(clippy::cast_possible_truncation, reason = "checked just above")]
            Some(number as i64)
        }),
        _ => None,
    }
}

/// `maxOutputTokens` as `max_output_tokens`.
pub(super) fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// A field of a message that needs no path, such as one of an answer. Answers are read in both spellings too: some
/// relays write them as in the `.proto` file.
pub(super) fn take(message: &mut Value, name: &str) -> Option<Value> {
    let fields = message.as_object_mut()?;
    let value = match fields.remove(name) {
        Some(value) => Some(value),
        None => fields.remove(&snake_case(name)),
    };
    value.filter(|value| !value.is_null())
}

/// A text in an answer.
pub(super) fn take_text(message: &mut Value, name: &str) -> Option<String> {
    match take(message, name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// A list in an answer; empty if there is none.
pub(super) fn take_items(message: &mut Value, name: &str) -> Vec<Value> {
    match take(message, name) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

/// A count in an answer.
pub(super) fn take_count(message: &mut Value, name: &str) -> Option<u64> {
    take(message, name).as_ref().and_then(whole).and_then(|count| u64::try_from(count).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_field_is_found_under_either_name_and_told_by_the_one_used() {
        let message = json!({"max_output_tokens": "64", "topP": 0.5, "top_k": 40.0, "stopSequences": "END"});
        let mut message = Proto::of(message, "generation_config").unwrap();
        let tokens = message.count("maxOutputTokens").unwrap().unwrap();
        assert_eq!((tokens.value, tokens.at.as_str()), (64, "generation_config.max_output_tokens"));
        assert!((message.number("topP").unwrap().unwrap().value - 0.5).abs() < 1e-9);
        assert_eq!(message.count("topK").unwrap().unwrap().value, 40);
        assert_eq!(message.items("stopSequences").unwrap().value, ["END"]);
        assert_eq!(message.rest().count(), 0);
    }
}
