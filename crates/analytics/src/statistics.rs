//! The statistics of experiments, and nothing else: sums in, figures out, no clock and no randomness. Who looks at an
//! experiment looks again tomorrow, so the intervals here hold at every look at once and not only at one that was fixed
//! before: asymptotic confidence sequences (Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas: *Time-uniform central limit
//! theory and asymptotic confidence sequences*, 2021, theorem 2.2). One formula serves rates, costs and durations.
//!
//! Dollars become floating-point numbers here: a variance is no amount of money, and nothing is paid from it.

mod chi_square;

pub use chi_square::{SampleRatio, sample_ratio};

/// Units that an arm must have before anything is said about it: the intervals are asymptotic, and what is asymptotic is
/// nonsense for a handful.
pub const MIN_UNITS: u64 = 100;

/// Sums of one metric over the units of one arm. A unit is what was assigned to the arm as one, such as a user, with as many
/// observations as it made: those of one user are alike, and counting them as independent would make every interval too
/// narrow.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// Units with at least one observation.
    pub units: u64,
    /// Observations of all units.
    pub observations: f64,
    /// Sum of all observations.
    pub sum: f64,
    /// Over units: sum of the squares of their sums.
    pub sum_squared: f64,
    /// Over units: sum of the squares of their numbers of observations.
    pub observations_squared: f64,
    /// Over units: sum of the products of both.
    pub product: f64,
}

impl Moments {
    /// Adds a unit that made `observations` observations which add up to `sum`.
    pub fn add_unit(&mut self, sum: f64, observations: f64) {
        self.units += 1;
        self.observations += observations;
        self.sum += sum;
        self.sum_squared += sum * sum;
        self.observations_squared += observations * observations;
        self.product += sum * observations;
    }

    /// Mean of the observations; `None` without any.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.observations > 0.0).then(|| self.sum / self.observations)
    }

    /// Variance of what one unit adds to [`Moments::mean`], to first order (the mean is a ratio of two sums). With one
    /// observation per unit it is their variance.
    fn variance(&self) -> Option<f64> {
        let mean = self.mean().filter(|_| self.units > 1)?;
        let units = self.units as f64;
        let squares = self.sum_squared - 2.0 * mean * self.product + mean * mean * self.observations_squared;
        let per_unit = self.observations / units;
        Some((squares / (units - 1.0)).max(0.0) / (per_unit * per_unit))
    }
}

/// How sure an interval is, at every look together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Confidence {
    /// Probability that the sequence of intervals ever leaves out what it estimates.
    pub alpha: f64,
    /// Number of units at which the interval shall be narrowest. It holds at every other number too.
    pub tuned_for: f64,
}

impl Default for Confidence {
    fn default() -> Self {
        Confidence { alpha: 0.05, tuned_for: 1_000.0 }
    }
}

impl Confidence {
    /// The same with twice the risk: of a two-sided interval at this one, one bound alone is as sure as `self`.
    #[must_use]
    pub fn one_sided(self) -> Confidence {
        Confidence { alpha: self.alpha * 2.0, ..self }
    }

    /// Half the width of the interval of a mean of `units` units with this variance.
    #[must_use]
    pub fn radius(self, variance: f64, units: f64) -> f64 {
        let tightest = -2.0 * self.alpha.ln();
        let rho_squared = (tightest + tightest.ln() + 1.0) / self.tuned_for;
        let scale = units * rho_squared + 1.0;
        let boundary = 2.0 * scale / (units * units * rho_squared) * (scale.sqrt() / self.alpha).ln();
        (variance * boundary).sqrt()
    }
}

/// An estimate between two bounds.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Interval {
    /// What is most likely.
    pub estimate: f64,
    /// What it is at least.
    pub lower: f64,
    /// What it is at most.
    pub upper: f64,
}

impl Interval {
    fn around(estimate: f64, radius: f64) -> Interval {
        Interval { estimate, lower: estimate - radius, upper: estimate + radius }
    }

    /// Whether zero is not in it: of a difference, that there is one.
    #[must_use]
    pub fn excludes_zero(&self) -> bool {
        self.lower > 0.0 || self.upper < 0.0
    }
}

/// The mean of one arm; `None` below [`MIN_UNITS`].
#[must_use]
pub fn mean(arm: &Moments, confidence: Confidence) -> Option<Interval> {
    let (mean, variance) = (arm.mean()?, arm.variance()?);
    (arm.units >= MIN_UNITS).then(|| Interval::around(mean, confidence.radius(variance, arm.units as f64)))
}

/// What the mean of `arm` is above that of `control`; `None` while either is below [`MIN_UNITS`]. Units must have been
/// assigned at random, each to one arm.
#[must_use]
pub fn difference(arm: &Moments, control: &Moments, confidence: Confidence) -> Option<Interval> {
    if arm.units < MIN_UNITS || control.units < MIN_UNITS {
        return None;
    }
    let (here, there) = (arm.units as f64, control.units as f64);
    let units = here + there;
    // Of what one more unit, whichever arm it falls to, adds to the difference.
    let variance = units * (arm.variance()? / here + control.variance()? / there);
    Some(Interval::around(arm.mean()? - control.mean()?, confidence.radius(variance, units)))
}

/// Wilson's lower bound for a mean of `n` values between 0 and 1, at 95 % one-sided. Values between the two ends vary less
/// than those at the ends, so it is on the safe side for them. `None` without any.
#[must_use]
pub fn wilson_lower(mean: f64, n: u64) -> Option<f64> {
    const Z: f64 = 1.644_853_626_951_472_2;
    if n == 0 {
        return None;
    }
    let n = n as f64;
    let centre = mean + Z * Z / (2.0 * n);
    let spread = Z * (mean * (1.0 - mean) / n + Z * Z / (4.0 * n * n)).max(0.0).sqrt();
    Some(((centre - spread) / (1.0 + Z * Z / n)).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64 (Steele, Lea and Flood, 2014): the same runs every time.
    struct Draws(u64);

    impl Draws {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut drawn = self.0;
            drawn = (drawn ^ drawn >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            drawn = (drawn ^ drawn >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            (drawn ^ drawn >> 31) as f64 / u64::MAX as f64
        }
    }

    const RUNS: u64 = 2_000;
    const BATCHES: u64 = 40;
    const BATCH: u64 = 50;

    /// Runs an experiment and looks after every batch; whether a difference was ever found.
    fn ever_found(
        seed: u64,
        share: f64,
        draw: fn(&mut Draws, bool) -> f64,
        found: fn(&Moments, &Moments) -> bool,
    ) -> bool {
        let mut draws = Draws(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let (mut arm, mut control) = (Moments::default(), Moments::default());
        for _ in 0..BATCHES {
            for _ in 0..BATCH {
                let is_treated = draws.next() < share;
                let value = draw(&mut draws, is_treated);
                if is_treated { &mut arm } else { &mut control }.add_unit(value, 1.0);
            }
            if found(&arm, &control) {
                return true;
            }
        }
        false
    }

    fn by_sequence(arm: &Moments, control: &Moments) -> bool {
        difference(arm, control, Confidence::default()).is_some_and(|interval| interval.excludes_zero())
    }

    /// What one would do who does not know better: a z-test at every look.
    fn by_z_test(arm: &Moments, control: &Moments) -> bool {
        let enough = arm.units >= MIN_UNITS && control.units >= MIN_UNITS;
        let error =
            (arm.variance().unwrap() / arm.units as f64 + control.variance().unwrap() / control.units as f64).sqrt();
        enough && (arm.mean().unwrap() - control.mean().unwrap()).abs() > 1.96 * error
    }

    fn rate(draws: &mut Draws, _: bool) -> f64 {
        f64::from(u8::from(draws.next() < 0.1))
    }

    /// Skewed, as latency and cost are.
    fn duration(draws: &mut Draws, _: bool) -> f64 {
        let normal = (-2.0 * draws.next().max(1e-300).ln()).sqrt() * (std::f64::consts::TAU * draws.next()).cos();
        (0.8 * normal).exp()
    }

    #[test]
    fn two_equal_arms_looked_at_after_every_batch_are_told_apart_in_at_most_one_run_of_twenty() {
        for (share, draw) in [(0.5, rate as fn(&mut Draws, bool) -> f64), (0.5, duration), (0.2, rate), (0.2, duration)]
        {
            let wrong = (0..RUNS).filter(|seed| ever_found(*seed, share, draw, by_sequence)).count() as u64;
            assert!(wrong * 20 <= RUNS, "{wrong} of {RUNS} runs at a share of {share}");
        }
    }

    #[test]
    fn a_z_test_at_every_look_would_be_wrong_more_often() {
        let wrong = (0..RUNS).filter(|seed| ever_found(*seed, 0.5, rate, by_z_test)).count() as u64;
        assert!(wrong * 20 > 3 * RUNS, "{wrong} of {RUNS} runs");
    }

    #[test]
    fn a_difference_that_is_there_is_found() {
        fn better(draws: &mut Draws, is_treated: bool) -> f64 {
            f64::from(u8::from(draws.next() < if is_treated { 0.2 } else { 0.1 }))
        }
        let found = (0..200).filter(|seed| ever_found(*seed, 0.5, better, by_sequence)).count();
        assert!(found >= 190, "{found} of 200");
    }

    #[test]
    fn ten_equal_observations_of_each_user_are_worth_one() {
        let (mut once, mut ten_times) = (Moments::default(), Moments::default());
        let mut draws = Draws(1);
        for _ in 0..500 {
            let value = duration(&mut draws, false);
            once.add_unit(value, 1.0);
            ten_times.add_unit(10.0 * value, 10.0);
        }
        let width =
            |moments| mean(&moments, Confidence::default()).map(|interval| interval.upper - interval.lower).unwrap();
        assert!((width(once) / width(ten_times) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_is_said_of_a_handful() {
        let mut few = Moments::default();
        (1..MIN_UNITS).for_each(|_| few.add_unit(1.0, 1.0));
        assert_eq!(mean(&few, Confidence::default()), None);
        assert_eq!(difference(&few, &few, Confidence::default()), None);
        assert_eq!(Moments::default().mean(), None);
    }

    #[test]
    fn wilson_is_careful_with_few_and_sure_with_many() {
        assert_eq!(wilson_lower(1.0, 0), None);
        let bound = |mean, n| format!("{:.4}", wilson_lower(mean, n).unwrap());
        assert_eq!(bound(1.0, 1), "0.2699");
        assert_eq!(bound(0.95, 100), "0.9008");
        assert!(wilson_lower(0.95, 100_000).unwrap() > 0.948);
    }
}
