//! The one place where the gateway reads the wall clock. Durations are measured with [`std::time::Instant`] instead.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since 1970, UTC.
pub(crate) fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Microseconds of a duration, for a column.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds since `started`.
pub(crate) fn elapsed_us(started: Instant) -> u64 {
    micros(started.elapsed())
}
