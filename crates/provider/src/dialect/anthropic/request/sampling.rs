//! Writes how tokens are drawn. The newest models take no such parameter, older ones a temperature or `top_p`, and none
//! draws as it is told while it thinks: <https://platform.claude.com/docs/en/build-with-claude/thinking> (2026-11-26).

use serde_json::Value;

use super::super::models::Sampling;
use crate::chat::Said;
use crate::translate::{Losses, Unsupported};

/// The least `top_p` of a model that thinks.
const MIN_THINKING_TOP_P: f64 = 0.95;

/// What the caller said of it.
pub(super) struct Sampled {
    pub(super) temperature: Option<Said<f64>>,
    pub(super) top_p: Option<Said<f64>>,
    pub(super) top_k: Option<Said<u64>>,
}

impl Sampled {
    /// The fields for the model `name`.
    pub(super) fn write(
        self,
        name: &str,
        sampling: Sampling,
        thinks: bool,
        losses: &mut Losses,
    ) -> Result<Vec<(&'static str, Value)>, Unsupported> {
        let Sampled { temperature, top_p, top_k } = self;
        let mut fields = Vec::new();
        if let Some(said) = temperature.filter(|said| sampling != Sampling::Fixed || !is_one(said)) {
            match why_no_temperature(said.value, name, sampling, thinks) {
                Some(why) => losses.lose(&said.at, why)?,
                None => fields.push(("temperature", said.value.into())),
            }
        }
        let is_alone = fields.is_empty();
        // One is what there is without a word, so it need not be said where it may not.
        let may_say = match sampling {
            Sampling::Free => true,
            Sampling::One => is_alone,
            Sampling::Fixed => false,
        };
        if let Some(said) = top_p.filter(|said| may_say || !is_one(said)) {
            match why_no_top_p(said.value, name, sampling, thinks, is_alone) {
                Some(why) => losses.lose(&said.at, why)?,
                None => fields.push(("top_p", said.value.into())),
            }
        }
        if let Some(said) = top_k {
            match (sampling, thinks) {
                (Sampling::Fixed, _) => losses.lose(&said.at, format!("sampling parameters of `{name}`"))?,
                (_, true) => losses.lose(&said.at, "`top_k` together with thinking")?,
                (Sampling::Free | Sampling::One, false) => fields.push(("top_k", said.value.into())),
            }
        }
        Ok(fields)
    }
}

fn is_one(said: &Said<f64>) -> bool {
    (said.value - 1.0).abs() <= f64::EPSILON
}

fn why_no_temperature(value: f64, name: &str, sampling: Sampling, thinks: bool) -> Option<String> {
    let why = match value {
        _ if sampling == Sampling::Fixed => return Some(format!("sampling parameters of `{name}`")),
        value if value > 1.0 => "a temperature above 1",
        value if value < 0.0 => "a temperature below 0",
        value if thinks && value < 1.0 => "a temperature other than 1 together with thinking",
        _ => return None,
    };
    Some(why.to_owned())
}

fn why_no_top_p(value: f64, name: &str, sampling: Sampling, thinks: bool, is_alone: bool) -> Option<String> {
    match sampling {
        Sampling::Fixed => Some(format!("sampling parameters of `{name}`")),
        Sampling::One if !is_alone => Some(format!("`top_p` together with a temperature for `{name}`")),
        Sampling::Free | Sampling::One if thinks && value < MIN_THINKING_TOP_P => {
            Some(format!("a `top_p` below {MIN_THINKING_TOP_P} together with thinking"))
        }
        Sampling::Free | Sampling::One => None,
    }
}
