//! Whether a target deserves the next call, from what the last ones met. Local to this process and forgotten with it;
//! what the whole fleet saw comes through the signals snapshot. A target is never switched off: one that keeps failing is
//! moved behind the others for a while, so that a lone target is still tried.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

/// Failures in a row after which a target is moved back.
const FAILURES_BEFORE_REST: u32 = 5;
/// For how long.
const REST: Duration = Duration::from_secs(10);
/// Longest rest a provider can ask for with `retry-after`.
const LONGEST_REST: Duration = Duration::from_secs(300);

/// What is remembered of one target.
#[derive(Debug, Default)]
pub(crate) struct Health {
    failures: AtomicU32,
    resting_until_us: AtomicI64,
}

impl Health {
    /// It answered.
    pub(crate) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// It failed in a way that another request would meet too.
    pub(crate) fn failed(&self, now_us: i64) {
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_BEFORE_REST {
            self.rest(now_us, REST);
        }
    }

    /// It asked to be left alone.
    pub(crate) fn throttled(&self, now_us: i64, wanted: Option<Duration>) {
        self.rest(now_us, wanted.unwrap_or(Duration::from_secs(1)).min(LONGEST_REST));
    }

    /// Whether it should stand behind the others now.
    pub(crate) fn is_resting(&self, now_us: i64) -> bool {
        self.resting_until_us.load(Ordering::Relaxed) > now_us
    }

    fn rest(&self, now_us: i64, length: Duration) {
        let until = now_us.saturating_add(i64::try_from(length.as_micros()).unwrap_or(i64::MAX));
        self.resting_until_us.fetch_max(until, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_rests_after_five_failures_in_a_row_and_comes_back() {
        let health = Health::default();
        (0..4).for_each(|_| health.failed(0));
        assert!(!health.is_resting(0));
        health.failed(0);
        assert!(health.is_resting(9_999_999));
        assert!(!health.is_resting(10_000_000));
    }

    #[test]
    fn a_success_between_failures_starts_the_count_again() {
        let health = Health::default();
        (0..4).for_each(|_| health.failed(0));
        health.succeeded();
        health.failed(0);
        assert!(!health.is_resting(0));
    }
}
