//! Takes the fields of a JSON object one by one, so that what nobody took is known by name.

use serde_json::{Map, Value};

use crate::chat::Said;
use crate::dialect::RequestError;

/// The fields of one object of a request that have not been taken yet.
#[derive(Debug)]
pub(crate) struct Fields {
    map: Map<String, Value>,
    /// Path of the object; empty for the body.
    at: String,
}

impl Fields {
    /// The fields of `value`, which stands at `at`.
    ///
    /// # Errors
    /// [`RequestError::Malformed`] if it is no object.
    pub(crate) fn of(value: Value, at: impl Into<String>) -> Result<Fields, RequestError> {
        let at = at.into();
        match value {
            Value::Object(map) => Ok(Fields { map, at }),
            _ => {
                let field = if at.is_empty() { "body".to_owned() } else { at };
                Err(RequestError::Malformed { field, expected: "send a JSON object" })
            }
        }
    }

    /// Path of the object.
    pub(crate) fn at(&self) -> &str {
        &self.at
    }

    /// Path of the field `name`.
    pub(crate) fn path(&self, name: &str) -> String {
        if self.at.is_empty() { name.to_owned() } else { format!("{}.{name}", self.at) }
    }

    /// Takes the field `name`. `null` counts as absent: no dialect means anything else by it.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// Takes the field `name` with its path.
    pub(crate) fn said(&mut self, name: &str) -> Option<Said<Value>> {
        let value = self.take(name)?;
        Some(Said::new(value, self.path(name)))
    }

    /// Takes a text.
    ///
    /// # Errors
    /// [`RequestError::Malformed`] if it is something else.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<Said<String>>, RequestError> {
        let Some(Said { value, at }) = self.said(name) else { return Ok(None) };
        Ok(Some(Said::new(read_text(value, &at)?, at)))
    }

    /// Takes a text that must be there.
    ///
    /// # Errors
    /// [`RequestError::Malformed`] if it is absent or something else.
    pub(crate) fn required_text(&mut self, name: &str) -> Result<String, RequestError> {
        let at = self.path(name);
        match self.take(name) {
            Some(value) => read_text(value, &at),
            None => Err(RequestError::Malformed { field: at, expected: "it is missing: send a string" }),
        }
    }

    /// Takes a number.
    ///
    /// # Errors
    /// [`RequestError::Malformed`] if it is something else.
    pub(crate) fn number(&mut self, name: &str) -> Result<Option<Said<f64>>, RequestError> {
        self.read(name, "send a number", |value| value.as_f64())
    }

    /// Takes a whole number that is not negative.
    ///
    /// # Errors
    /// [`RequestError::Malformed`] if it is something else.
    pub(crate) fn count(&mut self, name: &str) -> Result<Option<Said<u64>>, RequestError> {
        self.read(name, "send a whole number that is not negative", as_count)
    }

    /// Takes a whole number.
    ///
    /// # Errors
    /// [`RequestError::Malformed`] if it is something else.
    pub(crate) fn integer(&mut self, name: &str) -> Result<Option<Said<i64>>, RequestError> {
        self.read(name, "send a whole number", |value| value.as_i64())
    }

    /// Takes a truth value.
    ///
    /// # Errors
    /// [`RequestError::Malformed`] if it is something else.
    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<Said<bool>>, RequestError> {
        self.read(name, "send `true` or `false`", |value| value.as_bool())
    }

    /// Takes an array.
    ///
    /// # Errors
    /// [`RequestError::Malformed`] if it is something else.
    pub(crate) fn array(&mut self, name: &str) -> Result<Option<Said<Vec<Value>>>, RequestError> {
        let Some(Said { value, at }) = self.said(name) else { return Ok(None) };
        match value {
            Value::Array(items) => Ok(Some(Said::new(items, at))),
            _ => Err(RequestError::Malformed { field: at, expected: "send an array" }),
        }
    }

    /// Takes an object.
    ///
    /// # Errors
    /// [`RequestError::Malformed`] if it is something else.
    pub(crate) fn object(&mut self, name: &str) -> Result<Option<Fields>, RequestError> {
        let Some(Said { value, at }) = self.said(name) else { return Ok(None) };
        Fields::of(value, at).map(Some)
    }

    /// The object, without what was taken.
    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.map)
    }

    /// What nobody took, with its path. `null`s are not worth telling.
    pub(crate) fn rest(self) -> impl Iterator<Item = Said<Value>> {
        let Fields { map, at } = self;
        map.into_iter().filter(|(_, value)| !value.is_null()).map(move |(name, value)| {
            let at = if at.is_empty() { name } else { format!("{at}.{name}") };
            Said::new(value, at)
        })
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

/// What `read` makes of the value in `said`.
///
/// # Errors
/// [`RequestError::Malformed`] if it makes nothing of it.
pub(crate) fn read_said<T>(
    said: Option<Said<Value>>,
    expected: &'static str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Option<Said<T>>, RequestError> {
    let Some(Said { value, at }) = said else { return Ok(None) };
    match read(&value) {
        Some(value) => Ok(Some(Said::new(value, at))),
        None => Err(RequestError::Malformed { field: at, expected }),
    }
}

/// The text in `value`, which stands at `at`.
///
/// # Errors
/// [`RequestError::Malformed`] if it is something else.
pub(crate) fn read_text(value: Value, at: &str) -> Result<String, RequestError> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(RequestError::Malformed { field: at.to_owned(), expected: "send a string" }),
    }
}

/// `4096`, and `4096.0` as some clients write it.
fn as_count(value: &Value) -> Option<u64> {
    if let Some(count) = value.as_u64() {
        return Some(count);
    }
    let number = value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=9.0e15).contains(number))?;
    // Within the range in which every whole number is exact.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just above")]
    Some(number as u64)
}
