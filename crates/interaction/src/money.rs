//! Money is an integer of trillionths. Every cost in the system is a [`Usd`]; it becomes the column type
//! `DECIMAL(20,12)` in the lake and a rounded string on a page. There are no floats.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

use minicbor::{Decode, Decoder, Encode, Encoder};

/// Units in one dollar.
const UNITS_PER_USD: i128 = 1_000_000_000_000;
/// Decimal places of the column type.
pub const SCALE: i8 = 12;
/// Decimal digits of the column type.
pub const PRECISION: u8 = 20;

/// US dollars in units of 10⁻¹². One token at 0.0375 USD per million is 37 500 units: exact, where
/// micro-dollars would round it to zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(i128);

/// A text that is not an amount of dollars.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not an amount in US dollars; write digits with at most twelve decimal places, such as `1250.00`")]
pub struct ParseUsdError {
    /// What was given.
    pub text: String,
}

impl Usd {
    /// Nothing. Not the same as an unknown price, which is `None`.
    pub const ZERO: Usd = Usd(0);

    /// An amount in units of 10⁻¹² dollars.
    #[must_use]
    pub const fn new(units: i128) -> Self {
        Usd(units)
    }

    /// Whole dollars.
    #[must_use]
    pub const fn from_dollars(dollars: i64) -> Self {
        Usd(dollars as i128 * UNITS_PER_USD)
    }

    /// The amount in units of 10⁻¹² dollars, as the column stores it.
    #[must_use]
    pub const fn get(self) -> i128 {
        self.0
    }

    /// The share of `part` in `self`, in parts per ten thousand, rounded down; `None` if `self` is not positive.
    #[must_use]
    pub fn basis_points_used(self, part: Usd) -> Option<i64> {
        if self.0 <= 0 {
            return None;
        }
        i64::try_from(part.0.saturating_mul(10_000).div_euclid(self.0)).ok()
    }

    /// For axes of charts and for metrics, where an approximation is what is wanted. Never for sums.
    #[must_use]
    pub fn to_f64_lossy(self) -> f64 {
        self.0 as f64 / UNITS_PER_USD as f64
    }
}

impl Add for Usd {
    type Output = Usd;
    fn add(self, other: Usd) -> Usd {
        Usd(self.0.saturating_add(other.0))
    }
}

impl Sub for Usd {
    type Output = Usd;
    fn sub(self, other: Usd) -> Usd {
        Usd(self.0.saturating_sub(other.0))
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Usd) {
        *self = *self + other;
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Usd>>(amounts: I) -> Usd {
        amounts.fold(Usd::ZERO, Add::add)
    }
}

/// All twelve places without trailing zeros, but at least two: `1.50`, `0.000000037500` becomes `0.0000000375`.
impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        let whole = magnitude / UNITS_PER_USD.unsigned_abs();
        // Below 10¹², so that 64 bits hold it and division is cheap.
        let mut rest = (magnitude % UNITS_PER_USD.unsigned_abs()) as u64;
        let mut digits = [b'0'; SCALE as usize];
        for digit in digits.iter_mut().rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
        let kept = digits.iter().rposition(|digit| *digit != b'0').map_or(2, |last| (last + 1).max(2));
        write!(f, "{sign}{whole}.{}", std::str::from_utf8(&digits[..kept]).unwrap_or_default())
    }
}

impl FromStr for Usd {
    type Err = ParseUsdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseUsdError { text: text.to_owned() };
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || fraction.len() > 12 || !all_digits(whole) || !all_digits(fraction) {
            return Err(refuse());
        }
        let units: i128 = format!("{whole}{fraction:0<12}").parse().map_err(|_| refuse())?;
        Ok(Usd(if negative { -units } else { units }))
    }
}

impl serde::Serialize for Usd {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Usd {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Usd;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount in US dollars, as a string or a whole number")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Usd, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_u64<E: serde::de::Error>(self, dollars: u64) -> Result<Usd, E> {
                i64::try_from(dollars).map(Usd::from_dollars).map_err(E::custom)
            }
            fn visit_i64<E: serde::de::Error>(self, dollars: i64) -> Result<Usd, E> {
                Ok(Usd::from_dollars(dollars))
            }
            // YAML and JSON hand `0.5` over as a float: its shortest text is what the author wrote.
            fn visit_f64<E: serde::de::Error>(self, dollars: f64) -> Result<Usd, E> {
                dollars.to_string().parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// A CBOR integer, or sixteen big-endian bytes for an amount beyond 9.2 million dollars.
impl<C> Encode<C> for Usd {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match i64::try_from(self.0) {
            Ok(units) => encoder.i64(units)?.ok(),
            Err(_) => encoder.bytes(&self.0.to_be_bytes())?.ok(),
        }
    }
}

impl<'b, C> Decode<'b, C> for Usd {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        if decoder.datatype()? == minicbor::data::Type::Bytes {
            let bytes: [u8; 16] = decoder
                .bytes()?
                .try_into()
                .map_err(|_| minicbor::decode::Error::message("an amount is an integer or sixteen bytes"))?;
            return Ok(Usd(i128::from_be_bytes(bytes)));
        }
        Ok(Usd(decoder.i64()?.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_reads_back_as_it_was_written() {
        for text in ["0.00", "1.50", "-0.000000000001", "0.0000000375", "99999999.123456789012"] {
            assert_eq!(text.parse::<Usd>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_an_amount_is_refused_by_name() {
        for text in ["", ".5", "1e3", "1.0000000000001", "one", "--1"] {
            assert_eq!(text.parse::<Usd>().unwrap_err().text, text);
        }
    }

    #[test]
    fn an_amount_survives_cbor_at_both_sizes() {
        for amount in [Usd::new(-1), Usd::new(37_500), Usd::new(i128::from(i64::MAX) + 1)] {
            let bytes = minicbor::to_vec(amount).unwrap();
            assert_eq!(minicbor::decode::<Usd>(&bytes).unwrap(), amount);
        }
    }

    #[test]
    fn use_of_a_budget_is_rounded_down() {
        assert_eq!(Usd::from_dollars(3).basis_points_used(Usd::from_dollars(1)), Some(3_333));
        assert_eq!(Usd::ZERO.basis_points_used(Usd::from_dollars(1)), None);
    }
}
