//! Whether arms got the share of units that they were to get. Where they did not, something else than chance put units
//! aside, and no other figure of the experiment is worth reading.

/// Below this the arms did not get their shares: the usual threshold for a check that is looked at often.
const SUSPICIOUS_P: f64 = 0.001;

/// The result of the check.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct SampleRatio {
    /// Pearson's statistic.
    pub chi_square: f64,
    /// How likely as much or more is by chance.
    pub p: f64,
    /// Whether that is too unlikely.
    pub is_mismatch: bool,
}

/// Compares the numbers of units with the shares they were to be of all; `None` if there is nothing to compare. Shares are
/// taken in proportion to each other.
#[must_use]
pub fn sample_ratio(observed: &[u64], shares: &[f64]) -> Option<SampleRatio> {
    let total: u64 = observed.iter().sum();
    let whole: f64 = shares.iter().sum();
    if observed.len() != shares.len() || observed.len() < 2 || total == 0 || shares.iter().any(|share| *share <= 0.0) {
        return None;
    }
    let deviation = |(count, share): (&u64, &f64)| {
        let expected = total as f64 * share / whole;
        (*count as f64 - expected).powi(2) / expected
    };
    let chi_square = observed.iter().zip(shares).map(deviation).sum();
    let p = upper_gamma((observed.len() - 1) as f64 / 2.0, chi_square / 2.0);
    Some(SampleRatio { chi_square, p, is_mismatch: p < SUSPICIOUS_P })
}

/// The regularised upper incomplete gamma function Q(a, x): by its series where that is quick (DLMF 8.11.4), else by its
/// continued fraction (DLMF 8.9.2, evaluated as Lentz did).
fn upper_gamma(a: f64, x: f64) -> f64 {
    const STEPS: u32 = 1_000;
    const EPSILON: f64 = 1e-15;
    if x <= 0.0 {
        return 1.0;
    }
    let scale = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for step in 1..STEPS {
            term *= x / (a + f64::from(step));
            sum += term;
            if term < sum * EPSILON {
                break;
            }
        }
        return (1.0 - scale * sum).clamp(0.0, 1.0);
    }
    const TINY: f64 = 1e-300;
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1.0 / TINY, 1.0 / b);
    let mut fraction = d;
    for step in 1..STEPS {
        let step = f64::from(step);
        let a_step = -step * (step - a);
        b += 2.0;
        d = a_step * d + b;
        d = if d.abs() < TINY { TINY } else { d };
        c = b + a_step / c;
        c = if c.abs() < TINY { TINY } else { c };
        d = 1.0 / d;
        let factor = d * c;
        fraction *= factor;
        if (factor - 1.0).abs() < EPSILON {
            break;
        }
    }
    (scale * fraction).clamp(0.0, 1.0)
}

/// The logarithm of the gamma function for positive `z`, by Stirling's series after shifting `z` beyond where that converges
/// (DLMF 5.11.1 and 5.5.1).
fn ln_gamma(z: f64) -> f64 {
    let (mut shifted, mut product) = (z, 1.0);
    while shifted < 10.0 {
        product *= shifted;
        shifted += 1.0;
    }
    let square = shifted * shifted;
    let series = (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1_260.0 - 1.0 / (1_680.0 * square)) / square) / square) / shifted;
    (shifted - 0.5) * shifted.ln() - shifted + 0.5 * std::f64::consts::TAU.ln() + series - product.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From SciPy 1.16: `scipy.stats.chisquare`.
    #[test]
    fn the_check_gives_the_figures_that_scipy_gives() {
        for (observed, shares, chi_square, p) in [
            (vec![520_u64, 480], vec![0.5, 0.5], 1.6, 0.205_903_210_732_068_4),
            (vec![5_300, 4_700], vec![0.5, 0.5], 36.0, 1.973_175_290_075_396_4e-9),
            (vec![330, 340, 330], vec![1.0, 1.0, 1.0], 0.2, 0.904_837_418_035_959_5),
            (vec![91, 9], vec![0.9, 0.1], 0.111_111_111_111_111_12, 0.738_882_680_363_527),
        ] {
            let found = sample_ratio(&observed, &shares).unwrap();
            assert!((found.chi_square - chi_square).abs() < 1e-12, "{found:?}");
            assert!((found.p / p - 1.0).abs() < 1e-9, "{found:?}: {p}");
            assert_eq!(found.is_mismatch, p < 0.001);
        }
    }

    #[test]
    fn what_cannot_be_compared_is_not() {
        assert_eq!(sample_ratio(&[10], &[1.0]), None);
        assert_eq!(sample_ratio(&[0, 0], &[0.5, 0.5]), None);
        assert_eq!(sample_ratio(&[5, 5], &[1.0, 0.0]), None);
    }
}
