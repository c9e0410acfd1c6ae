//! Latencies in buckets that are narrow where values are small and grow with them, after HdrHistogram: any value is
//! kept to better than one part in 128, in fixed memory. It knows no mean: a mean hides what a percentile shows.

use std::time::Duration;

/// Buckets in each doubling of the value.
const STEPS: u64 = 128;
const STEPS_LOG2: u32 = STEPS.trailing_zeros();
/// Enough for every `u64`.
const BUCKETS: usize = (u64::BITS as usize - STEPS_LOG2 as usize + 1) * STEPS as usize;

/// How often each latency was seen, in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: vec![0; BUCKETS], count: 0 }
    }
}

impl Histogram {
    /// Adds one latency.
    pub(crate) fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanoseconds)] += 1;
        self.count += 1;
    }

    /// Adds everything another one has seen.
    pub(crate) fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
    }

    /// How many were added.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The latency that `per_mille` of all do not exceed; zero if nothing was recorded.
    pub(crate) fn quantile(&self, per_mille: u64) -> Duration {
        let rank = (self.count * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(highest(index));
            }
        }
        Duration::ZERO
    }
}

/// Values below `STEPS` have a bucket each; above, the leading bits of a value choose.
fn bucket(value: u64) -> usize {
    let shift = (u64::BITS - STEPS_LOG2 - 1).saturating_sub(value.leading_zeros());
    usize::try_from(u64::from(shift) * STEPS + (value >> shift)).unwrap_or(BUCKETS - 1)
}

/// The largest value that falls into a bucket.
fn highest(index: usize) -> u64 {
    let index = index as u64;
    let shift = (index / STEPS).saturating_sub(1);
    let leading = index - shift * STEPS;
    (leading << shift) + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_that_ends_less_than_one_part_in_128_above_it() {
        for value in (0..1000).chain((0..57).map(|shift| (201 << shift) + 17)).chain([u64::MAX - 1, u64::MAX]) {
            let end = highest(bucket(value));
            assert!(end >= value, "{value} ends up in a bucket that ends at {end}");
            assert!(end - value <= value / 128, "{value} ends up in a bucket that ends at {end}");
        }
    }

    #[test]
    fn quantiles_of_a_thousand_latencies_are_those_of_their_ranks() {
        let mut histogram = Histogram::default();
        for microseconds in 1..=1000 {
            histogram.record(Duration::from_micros(microseconds));
        }
        for (per_mille, expected_us) in [(500, 500.0), (990, 990.0), (1000, 1000.0)] {
            let ratio = histogram.quantile(per_mille).as_secs_f64() * 1e6 / expected_us;
            assert!((1.0..1.0 + 1.0 / 128.0).contains(&ratio), "{per_mille}: {ratio}");
        }
    }

    #[test]
    fn two_merged_histograms_count_as_one() {
        let mut one = Histogram::default();
        let mut other = Histogram::default();
        one.record(Duration::from_nanos(1));
        other.record(Duration::from_nanos(3));
        one.merge(&other);
        assert_eq!((one.quantile(500), one.quantile(1000)), (Duration::from_nanos(1), Duration::from_nanos(3)));
    }

    #[test]
    fn an_empty_histogram_answers_zero() {
        assert_eq!(Histogram::default().quantile(500), Duration::ZERO);
    }
}
