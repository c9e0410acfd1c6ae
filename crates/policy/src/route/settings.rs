//! What can be said of a route, in a bundle as in the configuration: one set of words for both.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use tollgate_interaction::Share;

use crate::bundle::Fraction;

/// How the targets of a route are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// There is one target and no other.
    Single,
    /// As written: the next one is used when the one before it failed.
    #[default]
    Fallback,
    /// Each call starts one target further along.
    RoundRobin,
    /// By chance, each as often as its weight says.
    Weighted,
    /// Lowest estimated cost of this very call first; targets without a known price last.
    #[serde(alias = "cheapest")]
    Cost,
    /// The less busy of two taken by chance: measured latency times calls in flight.
    Latency,
    /// Lowest median latency first, as the log last showed it; targets not in the log last.
    Fastest,
    /// The cheapest of those that are surely good enough.
    Quality,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Strategy; 8] = [
        Strategy::Single,
        Strategy::Fallback,
        Strategy::RoundRobin,
        Strategy::Weighted,
        Strategy::Cost,
        Strategy::Latency,
        Strategy::Fastest,
        Strategy::Quality,
    ];

    /// Its word in bundles, in the configuration and on pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Strategy::Single => "single",
            Strategy::Fallback => "fallback",
            Strategy::RoundRobin => "round_robin",
            Strategy::Weighted => "weighted",
            Strategy::Cost => "cost",
            Strategy::Latency => "latency",
            Strategy::Fastest => "fastest",
            Strategy::Quality => "quality",
        }
    }
}

/// Least quality of a target, by the lower bound of what its feedback says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// As a share: a score of −1 is nothing and one of 1 is all.
    pub at: Share,
    /// What becomes of targets without feedback enough for a bound.
    pub on_unknown: OnUnknown,
}

/// What becomes of a target whose quality is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// It counts as good enough.
    Accept,
    /// It is tried when those that are good enough fail, before those that are known not to be.
    #[default]
    Last,
    /// It is not called.
    Exclude,
}

/// What is done when every target of a route rests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenAllRest {
    /// Those that rest because they failed are tried all the same; not those that asked to be left alone for a stated time.
    #[default]
    Try,
    /// The call is refused at once.
    Refuse,
}

/// A second attempt, at another target, beside one from which nothing has come yet. The first byte wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hedge {
    /// When it is made.
    #[schemars(with = "String")]
    pub after: HedgeAfter,
    /// How many of them.
    #[serde(default = "one")]
    pub max: u32,
}

/// When a second attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeAfter {
    /// Once the first has taken longer than 95 % of the calls of its target in the last quarter of an hour; never, if that is
    /// not known.
    P95,
    /// After a fixed time.
    Fixed(Span),
}

/// A share of calls that is also sent to another target, once the caller has been answered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// `provider/model`, or an alias, of which the first target counts.
    pub to: String,
    /// Which part of the calls.
    #[schemars(with = "Fraction")]
    pub share: Share,
}

/// Further attempts when all targets have failed in a way that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retries {
    /// Rounds after the first.
    pub max: u32,
    /// Longest pause before the first of them; it doubles with each. The pause is drawn between nothing and that.
    #[serde(default = "Retries::default_base")]
    #[schemars(with = "String")]
    pub base: Span,
    /// No pause is longer, unless the provider asks for it.
    #[serde(default = "Retries::default_cap")]
    #[schemars(with = "String")]
    pub cap: Span,
}

/// How long is waited for an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TimeLimits {
    /// For the whole call, attempts and pauses together.
    #[schemars(with = "Option<String>")]
    pub total: Option<Span>,
    /// For the beginning of an answer, in each attempt.
    #[schemars(with = "Option<String>")]
    pub per_try: Option<Span>,
    /// Between two pieces of an answer.
    #[schemars(with = "Option<String>")]
    pub idle_stream: Option<Span>,
}

/// A length of time, written as `800ms`, `10s`, `5m` or `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    ms: u64,
}

const fn one() -> u32 {
    1
}

impl Default for Retries {
    fn default() -> Self {
        Retries::NONE
    }
}

impl Retries {
    /// None at all.
    pub const NONE: Retries = Retries { max: 0, base: Retries::default_base(), cap: Retries::default_cap() };

    const fn default_base() -> Span {
        Span { ms: 250 }
    }

    const fn default_cap() -> Span {
        Span { ms: 8_000 }
    }

    /// Longest pause before round `round`, from 1.
    #[must_use]
    pub fn longest_pause(&self, round: u32) -> Duration {
        let doubled = self.base.duration().saturating_mul(2_u32.saturating_pow(round.saturating_sub(1)));
        doubled.min(self.cap.duration())
    }
}

impl Span {
    /// So many milliseconds.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Span {
        Span { ms }
    }

    /// For clocks.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.ms)
    }

    /// Reads `800ms`, `10s`, `5m` or `1h`; `None` if it is anything else, nothing at all or longer than a day.
    #[must_use]
    pub fn parse(text: &str) -> Option<Span> {
        const DAY_MS: u64 = 86_400_000;
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let unit_ms = match &text[digits.len()..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        let ms = digits.parse::<u64>().ok()?.checked_mul(unit_ms)?;
        (1..=DAY_MS).contains(&ms).then_some(Span { ms })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ms {
            ms if ms % 1_000 == 0 => write!(f, "{}s", ms / 1_000),
            ms => write!(f, "{ms}ms"),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Span::parse(&text).ok_or_else(|| {
            let message = format!("`{text}` is not a length of time; write it as `800ms`, `10s`, `5m` or `1h`");
            serde::de::Error::custom(message)
        })
    }
}

impl fmt::Display for HedgeAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HedgeAfter::P95 => f.write_str("p95"),
            HedgeAfter::Fixed(span) => span.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for HedgeAfter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "p95" {
            return Ok(HedgeAfter::P95);
        }
        Span::parse(&text).map(HedgeAfter::Fixed).ok_or_else(|| {
            serde::de::Error::custom(format!("`{text}` is not when to hedge; write `p95`, or a time such as `800ms`"))
        })
    }
}
