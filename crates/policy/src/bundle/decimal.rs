//! Amounts and parts as they are written in a bundle: read from their digits, so that `0.10` is a tenth and not the binary
//! number next to it, and what is wrong is quoted as it stands there.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use tollgate_interaction::Usd;

/// US dollars: `100`, `0.25`, `"1250.00"`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dollars(pub(super) Usd);

/// A part of a whole, as exact as an amount: `0.80` for 80 %.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part(pub(super) Usd);

impl<'de> Deserialize<'de> for Dollars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        exact(&String::deserialize(deserializer)?).map(Dollars).map_err(de::Error::custom)
    }
}

/// A number may begin with its point, as in `.80`.
fn exact(text: &str) -> Result<Usd, <Usd as FromStr>::Err> {
    match text.strip_prefix('.') {
        Some(decimals) if !decimals.is_empty() => format!("0.{decimals}").parse(),
        _ => text.parse(),
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        exact(&text).map(Part).map_err(|_| {
            de::Error::custom(format!(
                "`{text}` is not a part of a whole; write it as a decimal number, such as 0.80 for 80 %"
            ))
        })
    }
}
