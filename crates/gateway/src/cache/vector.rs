//! How near two questions are: the cosine of the angle between their vectors. Vectors are kept at length one, so that it is
//! the sum of their products, which the compiler turns into instructions for several numbers at once.

use tollgate_interaction::Share;

use super::key::Key;

/// Most numbers of a vector. The longest of today's models have 4,096.
const MOST_NUMBERS: usize = 16_384;
/// Numbers that are summed up side by side.
const LANES: usize = 16;

/// A direction: a vector of length one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Vector(Vec<f32>);

/// A question that was asked before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Near {
    pub(super) key: Key,
    pub(super) similarity: Share,
}

impl Vector {
    /// The direction of what a model says; `None` if it has none.
    pub(super) fn of(numbers: &[f32]) -> Option<Vector> {
        let squares: f64 = numbers.iter().map(|number| f64::from(*number) * f64::from(*number)).sum();
        let length = squares.sqrt();
        let is_direction = length.is_finite() && length > 0.0 && numbers.len() <= MOST_NUMBERS;
        is_direction.then(|| Vector(numbers.iter().map(|number| (f64::from(*number) / length) as f32).collect()))
    }

    /// What was kept.
    pub(super) fn read(kept: &[u8]) -> Option<Vector> {
        let numbers = kept.chunks_exact(4).map(|bytes| bytes.try_into().map(f32::from_le_bytes));
        Some(Vector(numbers.collect::<Result<_, _>>().ok()?))
    }

    /// As it is kept: four bytes for each number, the lowest first.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|number| number.to_le_bytes()).collect()
    }
}

/// The cosine of the angle to a vector that was kept; `None` if it has another number of numbers, as of another model. What
/// points away is not near at all, and counts as nothing.
pub(super) fn similarity(asked: &Vector, kept: &[u8]) -> Option<Share> {
    if kept.len() != asked.0.len() * 4 {
        return None;
    }
    let number = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).map_or(f32::NAN, f32::from_le_bytes);
    let mut sums = [0.0_f32; LANES];
    let (numbers, others) = (asked.0.chunks_exact(LANES), kept.chunks_exact(LANES * 4));
    let rest = numbers.remainder().iter().zip(others.remainder().chunks_exact(4));
    let rest: f32 = rest.map(|(one, other)| one * number(other)).sum();
    for (numbers, others) in numbers.zip(others) {
        for ((sum, one), other) in sums.iter_mut().zip(numbers).zip(others.chunks_exact(4)) {
            *sum += one * number(other);
        }
    }
    let cosine = f64::from(sums.iter().sum::<f32>() + rest);
    // A damaged number makes it none.
    (!cosine.is_nan()).then(|| Share::from_f64(cosine.clamp(0.0, 1.0)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: &[f32], other: &[f32]) -> Option<Share> {
        similarity(&Vector::of(one).unwrap(), &Vector::of(other).unwrap().bytes())
    }

    #[test]
    fn the_same_direction_is_one_and_a_right_angle_nothing() {
        assert_eq!(near(&[3.0, 4.0], &[6.0, 8.0]), Some(Share::ONE));
        assert_eq!(near(&[1.0, 0.0], &[0.0, 2.0]), Some(Share::ZERO));
        assert_eq!(near(&[1.0, 0.0], &[-1.0, 0.0]), Some(Share::ZERO));
        assert_eq!(near(&[1.0, 0.0], &[1.0, 1.0]).unwrap().get(), 707_107);
        assert_eq!(near(&[1.0, 0.0], &[1.0, 0.0, 0.0]), None, "another model's");
    }

    #[test]
    fn every_number_counts_however_many_there_are() {
        for count in [1, 15, 16, 17, 100, 1_536] {
            let one: Vec<f32> = (0..count).map(|at| (at as f32 * 0.37).sin() + 0.1).collect();
            for changed in 0..count {
                let mut other = one.clone();
                other[changed] += 50.0;
                let plain: f64 = {
                    let (one, other) = (Vector::of(&one).unwrap(), Vector::of(&other).unwrap());
                    one.0.iter().zip(&other.0).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum()
                };
                let found = near(&one, &other).unwrap().to_f64();
                assert!((found - plain.clamp(0.0, 1.0)).abs() < 0.000_01, "{count}/{changed}: {found} {plain}");
            }
        }
    }

    #[test]
    fn what_has_no_direction_is_no_vector() {
        for numbers in [&[][..], &[0.0, 0.0], &[f32::NAN], &[f32::INFINITY, 1.0]] {
            assert_eq!(Vector::of(numbers), None, "{numbers:?}");
        }
        let mut damaged = Vector::of(&[1.0, 0.0]).unwrap().bytes();
        damaged[3] = 0xff;
        damaged[2] = 0xff;
        assert_eq!(similarity(&Vector::of(&[1.0, 0.0]).unwrap(), &damaged), None);
    }
}
