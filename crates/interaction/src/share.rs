//! Parts of a whole and scores, exact to a millionth. Both are integers, as money is: a share that is logged, sorted by and
//! committed to must be the same number wherever it is read.

use std::fmt;

use minicbor::{Decode, Decoder, Encode, Encoder};

/// Units in one whole.
const UNITS: u32 = 1_000_000;
/// Decimal places of the column type of both.
pub const SCALE: i8 = 6;
/// Decimal digits of the column type of both.
pub const PRECISION: u8 = 7;

/// A part of a whole, from nothing to all of it, in millionths. The column type is `DECIMAL(7,6)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u32);

/// A judgement from −1 (as bad as can be) to 1 (as good as can be), in millionths. The column type is `DECIMAL(7,6)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Score(i32);

impl Share {
    /// Nothing of it.
    pub const ZERO: Share = Share(0);
    /// All of it.
    pub const ONE: Share = Share(UNITS);

    /// A share in millionths; more than a million are all of it.
    #[must_use]
    pub const fn new(millionths: u32) -> Self {
        Share(if millionths > UNITS { UNITS } else { millionths })
    }

    /// Millionths, as the column stores it.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// What `part` is of `whole`, rounded down; `None` of nothing.
    #[must_use]
    pub fn of(part: u64, whole: u64) -> Option<Self> {
        let millionths = (u128::from(part) * u128::from(UNITS)).checked_div(u128::from(whole))?;
        Some(Share::new(u32::try_from(millionths).unwrap_or(UNITS)))
    }

    /// To the nearest millionth; `None` outside 0 to 1 and for what is no number.
    #[must_use]
    pub fn from_f64(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then(|| Share((share * f64::from(UNITS)).round() as u32))
    }

    /// For statistics and pages.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        f64::from(self.0) / f64::from(UNITS)
    }
}

impl Score {
    /// A score in millionths; `None` outside −1,000,000 to 1,000,000.
    #[must_use]
    pub const fn new(millionths: i32) -> Option<Self> {
        if millionths.unsigned_abs() > UNITS { None } else { Some(Score(millionths)) }
    }

    /// Millionths, as the column stores it.
    #[must_use]
    pub const fn get(self) -> i32 {
        self.0
    }

    /// To the nearest millionth; `None` outside −1 to 1 and for what is no number.
    #[must_use]
    pub fn from_f64(score: f64) -> Option<Self> {
        (-1.0..=1.0).contains(&score).then(|| Score((score * f64::from(UNITS)).round() as i32))
    }

    /// For statistics and pages.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        f64::from(self.0) / f64::from(UNITS)
    }
}

/// All six places without trailing zeros: `0.25`, `1`.
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_f64())
    }
}

/// All six places without trailing zeros: `-0.5`, `1`.
impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_f64())
    }
}

/// As a number, which with six places every JSON reader takes for the same one.
impl serde::Serialize for Share {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.to_f64())
    }
}

impl<'de> serde::Deserialize<'de> for Share {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// A number, or a text of one: what is neither is quoted as it was written.
        struct Number;
        fn refuse<E: serde::de::Error>(written: impl fmt::Display) -> E {
            E::custom(format!("`{written}` is not a share; write a number from 0 to 1, such as 0.25"))
        }
        impl serde::de::Visitor<'_> for Number {
            type Value = Share;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number from 0 to 1")
            }
            fn visit_f64<E: serde::de::Error>(self, share: f64) -> Result<Share, E> {
                Share::from_f64(share).ok_or_else(|| refuse(share))
            }
            fn visit_u64<E: serde::de::Error>(self, share: u64) -> Result<Share, E> {
                self.visit_f64(share as f64)
            }
            fn visit_i64<E: serde::de::Error>(self, share: i64) -> Result<Share, E> {
                self.visit_f64(share as f64)
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Share, E> {
                text.trim().parse().ok().and_then(Share::from_f64).ok_or_else(|| refuse(text))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

impl serde::Serialize for Score {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.to_f64())
    }
}

impl<'de> serde::Deserialize<'de> for Score {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let score = f64::deserialize(deserializer)?;
        Score::from_f64(score).ok_or_else(|| {
            serde::de::Error::custom(format!("`{score}` is not a score; write a number from -1 to 1, such as 0.8"))
        })
    }
}

impl<C> Encode<C> for Share {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.u32(self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Share {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        match decoder.u32()? {
            millionths if millionths <= UNITS => Ok(Share(millionths)),
            _ => Err(minicbor::decode::Error::message("a share is at most a million millionths")),
        }
    }
}

impl<C> Encode<C> for Score {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.i32(self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Score {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Score::new(decoder.i32()?)
            .ok_or_else(|| minicbor::decode::Error::message("a score is from minus one to one, in millionths"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_exact_to_a_millionth_and_never_more_than_all() {
        assert_eq!(Share::from_f64(0.1).unwrap().get(), 100_000);
        assert_eq!(Share::of(1, 3).unwrap().get(), 333_333);
        assert_eq!(Share::of(7, 3), Some(Share::ONE));
        assert_eq!(Share::of(0, 0), None);
        assert_eq!(Share::new(2_000_000), Share::ONE);
        assert_eq!(Share::from_f64(0.25).unwrap().to_string(), "0.25");
    }

    #[test]
    fn what_is_out_of_range_is_no_share_and_no_score() {
        for number in [f64::NAN, f64::INFINITY, 1.000_001, -0.1] {
            assert_eq!(Share::from_f64(number), None, "{number}");
        }
        assert_eq!(Score::from_f64(-1.1), None);
        assert_eq!(Score::new(-1_000_001), None);
        assert!(serde_json::from_str::<Score>("1.5").unwrap_err().to_string().contains("`1.5`"));
        assert!(minicbor::decode::<Share>(&minicbor::to_vec(1_000_001_u32).unwrap()).is_err());
    }

    #[test]
    fn every_millionth_reads_back_from_json_and_from_cbor() {
        for millionths in (-1_000_000..=1_000_000).step_by(997) {
            let score = Score::new(millionths).unwrap();
            assert_eq!(serde_json::from_str::<Score>(&serde_json::to_string(&score).unwrap()).unwrap(), score);
            assert_eq!(minicbor::decode::<Score>(&minicbor::to_vec(score).unwrap()).unwrap(), score);
        }
    }
}
