//! Tiers of service: what the providers call by a dozen words. A tier decides about price and waiting, not about the answer.

/// A tier of service that more than one dialect has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// What there is without a word.
    Standard,
    /// Served first, at a higher price. OpenAI takes `fast` for the same.
    Priority,
    /// Served when there is room, at a lower price.
    Flex,
    /// Served some time later.
    Batch,
    /// Out of capacity that was bought ahead.
    Reserved,
}

impl Tier {
    /// The tier of a word of any dialect's, in a request or in an answer; `None` for a word that only one of them has, and
    /// for `auto`, which names none.
    ///
    /// Sources: the types of `openai` 3.57.0, `anthropic` 2.14.0, `google-genai` 3.6.1 (`ServiceTier`, `TrafficType`) and
    /// `botocore` 1.44.8 (2026-11-26).
    #[must_use]
    pub fn from_word(word: &str) -> Option<Tier> {
        Some(match word.to_ascii_lowercase().as_str() {
            "default" | "standard" | "standard_only" | "on_demand" => Tier::Standard,
            "priority" | "fast" | "on_demand_priority" => Tier::Priority,
            "flex" | "on_demand_flex" => Tier::Flex,
            "batch" => Tier::Batch,
            "scale" | "reserved" | "provisioned_throughput" => Tier::Reserved,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_known_by_every_dialects_word() {
        for word in ["default", "standard", "standard_only", "ON_DEMAND"] {
            assert_eq!(Tier::from_word(word), Some(Tier::Standard), "{word}");
        }
        for word in ["PROVISIONED_THROUGHPUT", "scale", "reserved"] {
            assert_eq!(Tier::from_word(word), Some(Tier::Reserved), "{word}");
        }
        for word in ["auto", "ultrafast", "ON_DEMAND_OFFPEAK", "TRAFFIC_TYPE_UNSPECIFIED", ""] {
            assert_eq!(Tier::from_word(word), None, "{word}");
        }
    }
}
