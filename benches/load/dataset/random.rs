//! Numbers from a seed: splitmix64 (<https://prng.di.unimi.it/splitmix64.c>), so that a data set is the same with every
//! version of every library.

/// A sequence of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence that belongs to `seed`.
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0xD134_2543_DE82_EF95) ^ 0x5851_F42D_4C95_7F2D)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A length in `least..=most`; short ones are likelier, as with real prompts.
    pub(crate) fn length(&mut self, least: usize, most: usize) -> usize {
        let span = (most - least + 1) as u64;
        least + self.below(span).min(self.below(span + span / 2)) as usize
    }

    /// One of several.
    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    /// True in `per_cent` of a hundred cases.
    pub(crate) fn chance(&mut self, per_cent: u64) -> bool {
        self.below(100) < per_cent
    }

    /// Random bytes.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next() as u8)
    }

    /// So many hexadecimal digits.
    pub(crate) fn hexadecimal(&mut self, digits: usize) -> String {
        self.text(b"0123456789abcdef", digits)
    }

    /// So many digits and letters.
    pub(crate) fn base62(&mut self, digits: usize) -> String {
        self.text(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", digits)
    }

    fn text(&mut self, alphabet: &[u8], digits: usize) -> String {
        (0..digits).map(|_| char::from(*self.one(alphabet))).collect()
    }
}
