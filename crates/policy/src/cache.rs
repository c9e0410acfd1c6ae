//! What a route says about answering calls again without a provider, in a bundle as in the configuration. Whether there is an
//! answer to give is the gateway's to find out; who may be given whose, and for how long, is decided by these words alone.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_saphyr::Spanned;
use tollgate_interaction::Share;

use crate::bundle::Fraction;
use crate::route::{NamedTarget, Span};

/// How long the embedding of a question is waited for, unless the rule says it.
const USUAL_WAIT: Span = Span::from_ms(2_000);
/// Below it, two texts have hardly more in common than their language.
const LEAST_THRESHOLD: Share = Share::new(500_000);

/// How the answers of a route are kept, and to whom they are given again.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheRule {
    /// How long an answer is given again.
    #[schemars(with = "String")]
    pub ttl: Lifetime,
    /// Whose answers one caller is given. Never those of another tenant.
    #[serde(default)]
    pub per: Per,
    /// Answers to questions that mean nearly the same.
    #[serde(default)]
    pub semantic: Option<Semantic>,
    /// Whether a call waits for the answer to the same request of another that is under way.
    #[serde(default)]
    pub coalesce: bool,
}

/// Whose answers one caller is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// Everybody's of the tenant.
    #[default]
    Tenant,
    /// The team's.
    Team,
    /// Those of the same virtual key.
    Key,
    /// Those of the end user whom the call names or, where it names none, of the same virtual key.
    User,
}

impl Per {
    /// Its word in bundles and in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Per::Tenant => "tenant",
            Per::Team => "team",
            Per::Key => "key",
            Per::User => "user",
        }
    }
}

/// When a question counts as the same as one that was asked in other words. Only within one subject: the end user or, where
/// a call names none, the virtual key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Semantic {
    /// The model that turns the question into a vector: `PROVIDER/MODEL`, or an alias.
    #[serde(deserialize_with = "model")]
    #[schemars(with = "String")]
    pub model: NamedTarget,
    /// Least cosine of the angle between the two, from 0.5 to 1.
    #[serde(deserialize_with = "threshold")]
    #[schemars(with = "Fraction")]
    pub threshold: Share,
    /// How long the vector is waited for; then the call goes on as if there were no other question.
    #[serde(default = "usual_wait")]
    #[schemars(with = "String")]
    pub timeout: Span,
}

/// How long an answer is kept: `90s`, `15m`, `12h` or `7d`, from a second to thirty days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lifetime {
    seconds: u32,
}

const fn usual_wait() -> Span {
    USUAL_WAIT
}

fn model<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NamedTarget, D::Error> {
    let written = Spanned::<String>::deserialize(deserializer)?;
    let name = written.value;
    if name.is_empty() || name.len() > 256 || name.contains(['*', ' ']) || name.starts_with('/') || name.ends_with('/')
    {
        let message = format!("`{name}` is not an embedding model; write `PROVIDER/MODEL`, or an alias");
        return Err(serde::de::Error::custom(message));
    }
    let at = written.referenced;
    Ok(NamedTarget { name, weight: 1, line: at.line().max(1), column: at.column().max(1) })
}

fn threshold<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Share, D::Error> {
    let share = Share::deserialize(deserializer)?;
    if share < LEAST_THRESHOLD {
        let message =
            format!("a threshold of {share} would take nearly any two questions for one; write 0.5 to 1, such as 0.95");
        return Err(serde::de::Error::custom(message));
    }
    Ok(share)
}

impl Lifetime {
    const LONGEST_S: u64 = 30 * 86_400;

    /// So many seconds, as far as that is at most thirty days.
    #[must_use]
    pub const fn from_secs(seconds: u32) -> Lifetime {
        Lifetime { seconds }
    }

    /// For clocks.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.seconds as u64)
    }

    /// In microseconds, as times are told.
    #[must_use]
    pub const fn us(self) -> i64 {
        self.seconds as i64 * 1_000_000
    }

    /// Reads `90s`, `15m`, `12h` or `7d`; `None` if it is anything else, nothing at all or longer than thirty days.
    #[must_use]
    pub fn parse(text: &str) -> Option<Lifetime> {
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let unit_s = match &text[digits.len()..] {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return None,
        };
        let seconds = digits.parse::<u64>().ok()?.checked_mul(unit_s)?;
        let is_within = (1..=Self::LONGEST_S).contains(&seconds);
        u32::try_from(seconds).ok().filter(|_| is_within).map(|seconds| Lifetime { seconds })
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seconds {
            seconds if seconds % 86_400 == 0 => write!(f, "{}d", seconds / 86_400),
            seconds if seconds % 3_600 == 0 => write!(f, "{}h", seconds / 3_600),
            seconds if seconds % 60 == 0 => write!(f, "{}m", seconds / 60),
            seconds => write!(f, "{seconds}s"),
        }
    }
}

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Lifetime::parse(&text).ok_or_else(|| {
            let message = format!(
                "`{text}` is not how long an answer can be kept; write `90s`, `15m`, `12h` or `7d`, at most 30 days; to keep \
                 none, leave `cache` out"
            );
            serde::de::Error::custom(message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle;

    fn bundle(cache: &str) -> Result<bundle::Bundle, bundle::BundleError> {
        bundle::load(&format!(
            "apiVersion: tollgate/v1\nbundle: {{name: t}}\naccess: [{{id: all, when: 'true', allow: {{}}}}]\nroutes:\n  \
             - id: r\n    alias: fast\n    targets: [up/a]\n    cache: {cache}\n"
        ))
    }

    #[test]
    fn a_route_says_how_long_and_for_whom_answers_are_kept() {
        let bundle = bundle("{ttl: 2h, per: team, semantic: {model: up/embed, threshold: 0.93}}").unwrap();
        let rule = bundle.routes()[0].conduct.cache.as_ref().unwrap();
        assert_eq!((rule.ttl.duration(), rule.per, rule.coalesce), (Duration::from_secs(7_200), Per::Team, false));
        let semantic = rule.semantic.as_ref().unwrap();
        assert_eq!((semantic.threshold, semantic.timeout), (Share::new(930_000), Span::from_ms(2_000)));
        assert_eq!((semantic.model.name.as_str(), semantic.model.line), ("up/embed", 8));
        assert_eq!(bundle.named_targets().map(|target| target.name.as_str()).collect::<Vec<_>>(), ["up/a", "up/embed"]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        for (cache, message) in [
            ("{ttl: 0s}", "`0s` is not how long an answer can be kept"),
            ("{ttl: 31d}", "at most 30 days"),
            ("{ttl: 5}", "`5` is not how long"),
            ("{per: team}", "ttl"),
            ("{ttl: 1h, per: teem}", "did you mean `team`?"),
            ("{ttl: 1h, semantic: {model: up/e, threshold: 1.2}}", "not a share"),
            ("{ttl: 1h, semantic: {model: up/e, threshold: 0.2}}", "nearly any two questions"),
            ("{ttl: 1h, semantic: {model: 'up/', threshold: 0.9}}", "`up/` is not an embedding model"),
            ("{ttl: 1h, semantic: {modell: up/e, threshold: 0.9}}", "did you mean `model`?"),
        ] {
            let error = bundle(cache).unwrap_err();
            assert_eq!(error.line, 8, "{cache}: {error}");
            assert!(error.message.contains(message), "{cache}: {error}");
        }
    }

    #[test]
    fn a_lifetime_is_shown_as_it_is_written() {
        for text in ["90s", "15m", "12h", "7d"] {
            assert_eq!(Lifetime::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Lifetime::parse("3600s").unwrap(), Lifetime::from_secs(3_600));
        for wrong in ["", "s", "1", "1w", "-1s", "1.5h", "99999999999999999999d"] {
            assert_eq!(Lifetime::parse(wrong), None, "{wrong}");
        }
    }
}
