//! What the log showed, as of a moment: spend against budgets, latency, errors and quality, computed by analytics and read by
//! every proxy. The snapshot is immutable; its age and its watermarks travel with it so that a reader can tell what it does
//! not hold yet.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike};
use serde::{Deserialize, Serialize};
use tollgate_interaction::{Share, Usd};

use crate::ledger::Sums;

/// Signals derived from the log. The default value stands for "never taken": it knows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalsSnapshot {
    /// Names this snapshot in decision reasons; `sig-` and a unique suffix. Empty if no snapshot was ever taken.
    pub id: String,
    /// When it was computed. Microseconds since 1970, UTC.
    pub taken_at_us: i64,
    /// Last settled sequence number included, by `writer/epoch`.
    pub watermarks: BTreeMap<String, u64>,
    /// How each target did recently, by `provider/model`.
    pub targets: BTreeMap<String, TargetSignals>,
    /// What the budgets and limits of the bundle that was active then have used up, by scope and window.
    #[serde(default)]
    pub budgets: Sums,
}

/// How one target did in the window the snapshot looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetSignals {
    /// Calls that reached it.
    pub calls: u64,
    /// Of those, calls that failed at the target.
    pub errors: u64,
    /// Median latency in milliseconds, rounded up.
    pub p50_ms: u64,
    /// 95th percentile of latency in milliseconds, rounded up.
    pub p95_ms: u64,
    /// Median latency in microseconds; `None` in a snapshot of a control plane that did not take it.
    #[serde(default)]
    pub p50_us: Option<u64>,
    /// 95th percentile of latency in microseconds, as above.
    #[serde(default)]
    pub p95_us: Option<u64>,
    /// Mean cost of a call whose price is known.
    pub mean_cost: Option<Usd>,
    /// Mean of what its answers were judged, a score of −1 as nothing and of 1 as all; `None` if none was judged. Looks
    /// further back than the other figures, see [`QUALITY_DAYS`].
    #[serde(default)]
    pub quality_mean: Option<Share>,
    /// What that mean is at least, at 95 % one-sided: Wilson's bound, which holds for few judgements too. What routing goes by.
    #[serde(default)]
    pub quality_lower: Option<Share>,
    /// Judgements behind both.
    #[serde(default)]
    pub quality_n: u64,
}

/// How many days back judgements count.
pub const QUALITY_DAYS: i64 = 30;

impl SignalsSnapshot {
    /// Age in whole seconds; zero if the clock went backwards.
    #[must_use]
    pub fn age_s(&self, now_us: i64) -> u64 {
        u64::try_from(now_us.saturating_sub(self.taken_at_us) / 1_000_000).unwrap_or(0)
    }
}

/// The first moment of the calendar month (UTC) that `time_us` is in. Microseconds since 1970.
#[must_use]
pub fn month_start_us(time_us: i64) -> i64 {
    let time = DateTime::from_timestamp_micros(time_us).unwrap_or_default();
    let first = time.date_naive().with_day(1).and_then(|day| day.and_hms_opt(0, 0, 0));
    first.map_or(0, |first| first.and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-30T23:59:59.999999Z.
    const LAST_OF_NOVEMBER_US: i64 = 1_796_083_199_999_999;

    #[test]
    fn a_month_ends_with_its_last_microsecond() {
        let december_us = LAST_OF_NOVEMBER_US + 1;
        assert_eq!(month_start_us(december_us), december_us);
        assert_eq!(month_start_us(LAST_OF_NOVEMBER_US), december_us - 30 * 86_400_000_000);
    }

    #[test]
    fn a_snapshot_has_an_age_even_if_the_clock_went_back() {
        let taken = SignalsSnapshot { taken_at_us: LAST_OF_NOVEMBER_US - 5_000_000, ..SignalsSnapshot::default() };
        assert_eq!((taken.age_s(LAST_OF_NOVEMBER_US), taken.age_s(0)), (5, 0));
    }
}
