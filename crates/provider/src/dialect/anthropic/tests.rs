//! The dialect against its own scenarios, and what it refuses, by path.

mod request;
mod scenarios;
mod stream;

use super::rfc3339;

#[test]
fn a_time_is_written_in_utc() {
    assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
    assert_eq!(rfc3339(1_739_836_800 + 3_723), "2025-02-18T01:02:03Z");
    assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
}
