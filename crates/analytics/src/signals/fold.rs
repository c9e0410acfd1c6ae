//! Rows folded into sums: attempts by minute and target. Folds add up, in any order, to the same
//! as folding all rows at once. What a row adds depends on the row alone, so that it adds the same from memory, from the
//! file it is written to, and from the file that one is merged into.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, PrimitiveArray, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};
use chrono::DateTime;
use serde_json::json;
use tollgate_interaction::Usd;
use tollgate_policy::ledger::{Amounts, Sums};
use tollgate_policy::signals::TargetSignals;

/// Columns needed.
pub(super) const COLUMNS: &[&str] = &["started_at", "attempts"];
/// An attempt that ended longer than this after its call had started says nothing about its target. The bound makes it
/// certain which files can hold attempts of a time, going by when their calls started.
pub(super) const LONGEST_CALL_US: i64 = 60 * US_PER_MINUTE;

pub(super) const US_PER_MINUTE: i64 = 60_000_000;

/// Sums over some rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Fold {
    /// Attempts by the minute they ended in, and target.
    minutes: BTreeMap<i64, BTreeMap<String, Target>>,
}

/// Attempts at one target.
#[derive(Clone, Debug)]
struct Target {
    calls: u64,
    errors: u64,
    cost_usd: Usd,
    priced: u64,
    latencies: Histogram,
}

impl Default for Target {
    fn default() -> Self {
        Target { calls: 0, errors: 0, cost_usd: Usd::ZERO, priced: 0, latencies: Histogram::default() }
    }
}

impl Fold {
    /// Adds the rows of a batch that has [`COLUMNS`].
    pub(super) fn rows(&mut self, batch: &RecordBatch) {
        let attempts = batch.column_by_name("attempts").and_then(|column| column.as_list_opt::<i32>());
        let calls_started = batch.column_by_name("started_at").and_then(|column| column.as_primitive_opt());
        let (Some(lists), Some(calls_started)) = (attempts, calls_started) else { return };
        let calls_started: &PrimitiveArray<TimestampMicrosecondType> = calls_started;
        let Some(attempts) = lists.values().as_struct_opt().and_then(Attempts::of) else { return };
        for (row, offsets) in lists.value_offsets().windows(2).enumerate() {
            let &[first, last] = offsets else { continue };
            let latest_us = calls_started.value(row).saturating_add(LONGEST_CALL_US);
            for at in index(first)..index(last) {
                attempts.fold_into(at, latest_us, self);
            }
        }
    }

    /// Adds the targets of another fold from a time on, to the minute.
    pub(super) fn add_targets(&mut self, other: &Fold, since_us: i64) {
        for (minute, targets) in other.minutes.range(since_us.div_euclid(US_PER_MINUTE)..) {
            let sums = self.minutes.entry(*minute).or_default();
            for (name, target) in targets {
                sums.entry(name.clone()).or_default().add(target);
            }
        }
    }

    /// Drops what is known of targets before a time.
    pub(super) fn forget_targets_before(&mut self, since_us: i64) {
        self.minutes = self.minutes.split_off(&since_us.div_euclid(US_PER_MINUTE));
    }

    /// Everything that is known, one line for each sum, in an order that depends on nothing but the sums: two folds of the
    /// same rows have the same lines.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (minute, targets) in &self.minutes {
            let minute = minute_text(*minute);
            lines.extend(targets.iter().map(|(name, target)| {
                let Target { calls, errors, cost_usd, priced, latencies } = target;
                let cost_usd = cost_usd.to_string();
                json!(["target", minute, name, calls, errors, cost_usd, priced, latencies.filled()]).to_string()
            }));
        }
        lines
    }

    /// Targets over all minutes.
    pub(super) fn targets(&self) -> BTreeMap<String, TargetSignals> {
        let mut sums: BTreeMap<&str, Target> = BTreeMap::new();
        for (name, target) in self.minutes.values().flatten() {
            sums.entry(name).or_default().add(target);
        }
        sums.into_iter().map(|(name, target)| (name.to_owned(), target.signals())).collect()
    }
}

/// What budgets have used up, one line for each bucket, in an order that depends on nothing but the sums.
pub(super) fn budget_lines(sums: &Sums) -> Vec<String> {
    let mut lines = Vec::new();
    for (tally, accounts) in &sums.tallies {
        for (scope, buckets) in accounts {
            lines.extend(buckets.iter().map(|(bucket_us, Amounts { usd, tokens, calls })| {
                json!(["budget", tally, scope, bucket_us, usd.to_string(), tokens, calls]).to_string()
            }));
        }
    }
    lines.sort_unstable();
    lines
}

fn minute_text(minute: i64) -> String {
    let time = DateTime::from_timestamp(minute.saturating_mul(60), 0);
    time.map_or_else(|| minute.to_string(), |time| time.format("%Y-%m-%dT%H:%MZ").to_string())
}

fn index(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or(0)
}

impl Target {
    fn add(&mut self, other: &Target) {
        self.calls += other.calls;
        self.errors += other.errors;
        self.cost_usd += other.cost_usd;
        self.priced += other.priced;
        self.latencies.add(&other.latencies);
    }

    fn signals(&self) -> TargetSignals {
        let mean = |count: u64| Usd::new(self.cost_usd.get() / i128::from(count));
        let (p50_us, p95_us) = (self.latencies.quantile_us(50), self.latencies.quantile_us(95));
        TargetSignals {
            calls: self.calls,
            errors: self.errors,
            // Rounded up: of a target that answered, no median is nothing.
            p50_ms: p50_us.div_ceil(1_000),
            p95_ms: p95_us.div_ceil(1_000),
            p50_us: Some(p50_us),
            p95_us: Some(p95_us),
            mean_cost: (self.priced > 0).then(|| mean(self.priced)),
            ..TargetSignals::default()
        }
    }
}

/// Error classes of attempts that this side ended: the caller hung up, its request broke off, or the gateway stopped.
const ENDED_HERE: [&str; 4] = ["client_disconnected", "body_incomplete", "interrupted", "cancelled"];

/// The columns of the `attempts` of many rows.
struct Attempts<'a> {
    providers: &'a StringArray,
    models: &'a StringArray,
    statuses: &'a PrimitiveArray<Int32Type>,
    error_classes: &'a StringArray,
    started_at: &'a PrimitiveArray<TimestampMicrosecondType>,
    durations_us: &'a PrimitiveArray<Int64Type>,
    costs: &'a PrimitiveArray<Decimal128Type>,
}

impl<'a> Attempts<'a> {
    fn of(all: &'a StructArray) -> Option<Self> {
        Some(Attempts {
            providers: all.column_by_name("provider")?.as_string_opt::<i32>()?,
            models: all.column_by_name("model")?.as_string_opt::<i32>()?,
            statuses: all.column_by_name("http_status")?.as_primitive_opt()?,
            error_classes: all.column_by_name("error_class")?.as_string_opt::<i32>()?,
            started_at: all.column_by_name("started_at")?.as_primitive_opt()?,
            durations_us: all.column_by_name("duration_us")?.as_primitive_opt()?,
            costs: all.column_by_name("cost_usd")?.as_primitive_opt()?,
        })
    }

    fn fold_into(&self, at: usize, latest_us: i64, fold: &mut Fold) {
        let duration_us = self.durations_us.value(at);
        let ended_at_us = self.started_at.value(at).saturating_add(duration_us);
        if ended_at_us > latest_us {
            return;
        }
        let minute = fold.minutes.entry(ended_at_us.div_euclid(US_PER_MINUTE)).or_default();
        let target = minute.entry(format!("{}/{}", self.providers.value(at), self.models.value(at))).or_default();
        target.calls += 1;
        target.errors += u64::from(self.is_the_targets_fault(at));
        target.latencies.count(u64::try_from(duration_us).unwrap_or(0));
        if self.costs.is_valid(at) {
            target.cost_usd += Usd::new(self.costs.value(at));
            target.priced += 1;
        }
    }

    /// A refusal of the request itself (400, 404, 422, …) says nothing about the target's health; being turned away or
    /// not answered does.
    fn is_the_targets_fault(&self, at: usize) -> bool {
        let is_failed = self.error_classes.is_valid(at);
        if is_failed && ENDED_HERE.contains(&self.error_classes.value(at)) {
            return false;
        }
        const TURNED_AWAY: &[i32] = &[401, 403, 408, 429];
        if self.statuses.is_valid(at) {
            let status = self.statuses.value(at);
            let refused = (400..500).contains(&status) && !TURNED_AWAY.contains(&status);
            return !refused && (status >= 400 || is_failed);
        }
        // Without a status the target gave no answer.
        is_failed
    }
}

/// Counts of latencies in buckets an eighth of a doubling wide: quantiles are at most 9 % too high.
#[derive(Clone, Debug, Default)]
struct Histogram {
    counts: Vec<u32>,
}

impl Histogram {
    const STEPS: u64 = 8;

    fn bucket(value_us: u64) -> usize {
        if value_us < Self::STEPS {
            return usize::try_from(value_us).unwrap_or(0);
        }
        let exponent = u64::from(value_us.ilog2());
        let step = (value_us >> (exponent - 3)) & (Self::STEPS - 1);
        usize::try_from((exponent - 2) * Self::STEPS + step).unwrap_or(usize::MAX)
    }

    /// Largest value that falls into a bucket.
    fn upper_us(bucket: usize) -> u64 {
        let bucket = bucket as u64;
        if bucket < Self::STEPS {
            return bucket;
        }
        let (exponent, step) = (bucket / Self::STEPS + 2, bucket % Self::STEPS);
        ((Self::STEPS + step + 1) << (exponent - 3)) - 1
    }

    fn count(&mut self, value_us: u64) {
        // A day; nothing takes longer.
        const LONGEST_US: u64 = 86_400_000_000;
        let bucket = Self::bucket(value_us.min(LONGEST_US));
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
    }

    fn add(&mut self, other: &Histogram) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (sum, count) in self.counts.iter_mut().zip(&other.counts) {
            *sum += count;
        }
    }

    /// The buckets that are not empty, with their counts.
    fn filled(&self) -> Vec<(usize, u32)> {
        self.counts.iter().copied().enumerate().filter(|(_, count)| *count > 0).collect()
    }

    fn quantile_us(&self, percent: u64) -> u64 {
        let total: u64 = self.counts.iter().map(|count| u64::from(*count)).sum();
        let rank = (total * percent).div_ceil(100);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank && seen > 0 {
                return Self::upper_us(bucket);
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_at_most_an_eighth_too_high() {
        for value in [0, 1, 7, 8, 9, 100, 999, 12_345, 86_400_000, 86_400_000_000] {
            let mut histogram = Histogram::default();
            histogram.count(value);
            let found = histogram.quantile_us(95);
            assert!(found >= value && found <= value + value / 8, "{value} µs was reported as {found} µs");
        }
    }

    #[test]
    fn half_of_the_calls_are_below_the_median() {
        let mut histogram = Histogram::default();
        (1..=100).for_each(|value| histogram.count(value));
        assert!((50..=55).contains(&histogram.quantile_us(50)));
        assert!((95..=103).contains(&histogram.quantile_us(95)));
        assert_eq!(Histogram::default().quantile_us(50), 0);
    }

    #[test]
    fn a_median_below_a_millisecond_is_kept_in_microseconds_and_is_not_nothing() {
        let mut target = Target::default();
        (0..9).for_each(|_| target.latencies.count(400));
        let signals = target.signals();
        assert!(signals.p50_us.is_some_and(|p50_us| (400..=450).contains(&p50_us)), "{signals:?}");
        assert_eq!((signals.p50_ms, signals.p95_ms), (1, 1));
    }
}
