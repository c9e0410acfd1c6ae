//! The time, as a parameter.

use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time in microseconds since 1970, UTC.
pub type Clock = fn() -> i64;

/// The machine's clock.
pub(crate) fn system() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
