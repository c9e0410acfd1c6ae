//! Parameters of an address or a form. Reading them never fails; a value that means nothing is refused by name where it
//! is used.

use std::collections::BTreeMap;
use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tollgate_analytics::report::{Cursor, InteractionFilter, TimeRange};

use crate::error::ConsoleError;
use crate::range::Range;

/// Names and values; of a name given twice the last counts, and an empty value is as good as none.
#[derive(Clone, Debug, Default)]
pub struct Params(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Params::parse(parts.uri.query().unwrap_or_default().as_bytes()))
    }
}

const RANGE_HINT: &str = "It is one of `1h`, `24h`, `7d`, `30d`, `this-month`, `last-month`; or give `from` and `to`.";
const TIME_HINT: &str =
    "Write a day such as `2026-11-23`, a time such as `2026-11-23T15:00:00Z`, or microseconds since 1970.";

impl Params {
    /// Reads `name=value&…`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        Params(url::form_urlencoded::parse(text).into_owned().collect())
    }

    /// The value of `name`, trimmed; `None` if it is empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// Like [`Params::get`], owned, or empty.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    /// Like [`Params::get`], owned.
    #[must_use]
    pub fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// The value exactly as it was sent.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A whole number.
    ///
    /// # Errors
    /// [`ConsoleError::Invalid`] if it is something else.
    pub fn number(&self, name: &str) -> Result<Option<usize>, ConsoleError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let invalid = |_| invalid(name, text, "It is a whole number.");
        text.parse().map(Some).map_err(invalid)
    }

    /// The named range, or `otherwise`.
    ///
    /// # Errors
    /// [`ConsoleError::Invalid`] if there is no such range.
    pub fn range(&self, otherwise: Range) -> Result<Range, ConsoleError> {
        let Some(text) = self.get("range") else { return Ok(otherwise) };
        Range::from_text(text).ok_or_else(|| invalid("range", text, RANGE_HINT))
    }

    /// A moment, in microseconds since 1970, UTC. A day stands for its midnight.
    ///
    /// # Errors
    /// [`ConsoleError::Invalid`] if it is not a time.
    pub fn time_us(&self, name: &str) -> Result<Option<i64>, ConsoleError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        parse_time_us(text).map(Some).ok_or_else(|| invalid(name, text, TIME_HINT))
    }

    /// `from` and `to` if either is given, else the named range.
    ///
    /// # Errors
    /// [`ConsoleError::Invalid`] if one of them means nothing, or `to` is not after `from`.
    pub fn span(&self, otherwise: Range, now_us: i64) -> Result<TimeRange, ConsoleError> {
        let (from_us, to_us) = (self.time_us("from")?, self.time_us("to")?);
        if from_us.is_none() && to_us.is_none() {
            return Ok(self.range(otherwise)?.at(now_us));
        }
        let span = TimeRange::new(from_us.unwrap_or(0), to_us.unwrap_or(now_us.saturating_add(1)));
        if span.length_us() == 0 {
            return Err(invalid("to", &self.text("to"), "It must be after `from`."));
        }
        Ok(span)
    }

    /// The filter of a list of calls, without its range.
    #[must_use]
    pub fn filter(&self) -> InteractionFilter {
        InteractionFilter {
            range: None,
            team: self.owned("team"),
            model: self.owned("model"),
            provider: self.owned("provider"),
            outcome: self.owned("outcome"),
            dialect: self.owned("dialect"),
            operation: self.owned("operation"),
            id: self.get("id").map(str::to_ascii_lowercase),
            api_key_id: self.owned("key"),
            conversation_id: self.owned("conversation"),
            unpriced: self.get("cost") == Some("unknown"),
        }
    }

    /// Where a list goes on.
    ///
    /// # Errors
    /// [`ConsoleError::Invalid`] if it is not a cursor.
    pub fn after(&self) -> Result<Option<Cursor>, ConsoleError> {
        let Some(text) = self.get("after") else { return Ok(None) };
        let invalid = |error: tollgate_analytics::report::ParseCursorError| ConsoleError::Invalid {
            message: error.to_string(),
            hint: "",
        };
        text.parse().map(Some).map_err(invalid)
    }
}

fn invalid(name: &str, value: &str, hint: &'static str) -> ConsoleError {
    ConsoleError::Invalid { message: format!("`{value}` is not a usable `{name}`"), hint }
}

/// A day, a time, or microseconds since 1970.
#[must_use]
pub fn parse_time_us(text: &str) -> Option<i64> {
    if let Ok(time_us) = text.parse::<i64>() {
        return Some(time_us);
    }
    if let Ok(day) = text.parse::<chrono::NaiveDate>() {
        return day.and_hms_opt(0, 0, 0).map(|time| time.and_utc().timestamp_micros());
    }
    if let Ok(time) = chrono::DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros());
    }
    text.parse::<chrono::NaiveDateTime>().ok().map(|time| time.and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_can_be_written_four_ways() {
        let midnight_us = 1_795_392_000_000_000;
        for text in [
            "2026-11-23",
            "2026-11-23T00:00:00Z",
            "2026-11-23T01:00:00+01:00",
            "1795392000000000",
            "2026-11-23T00:00:00",
        ] {
            assert_eq!(parse_time_us(text), Some(midnight_us), "{text}");
        }
        assert_eq!(parse_time_us("yesterday"), None);
    }

    #[test]
    fn a_range_that_ends_before_it_starts_is_refused() {
        let params = Params::parse(b"from=2026-11-23&to=2026-11-22");
        assert_eq!(params.span(Range::Day, 0).unwrap_err().code(), "parameter_invalid");
    }
}
