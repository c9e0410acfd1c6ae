//! What a target has to offer, and whether that is what a call needs. Whoever knows targets, a gateway or a back-test, says
//! what one offers; why it may not serve a call is decided here and nowhere else.

use std::fmt;
use std::sync::Arc;

use tollgate_interaction::{Dialect, Operation, Usd};

use crate::bundle::Bundle;
use crate::facts::Facts;
use crate::residency::{self, Eligibility, TargetFacts};

/// Why-not of a target whose provider does not have the operation.
pub const OPERATION_NOT_SUPPORTED: &str = "operation_not_supported";
/// Why-not of a target whose context the prompt exceeds.
pub const CONTEXT_TOO_SHORT: &str = "context_too_short";
/// Why-not of a target that a bundle names and nobody here serves.
pub const UNKNOWN_TARGET: &str = "unknown_target";
/// Why-not of a target that would have been called next.
pub const NOT_NEEDED: &str = "not_needed";
/// How the why-not of a target begins that lacks a capability; its name follows.
const LACKS: &str = "no_";
/// An estimate of a prompt may be too high by so much: only beyond is it certain that a context is too short.
const SURELY: u64 = 2;

/// A model at a provider, as far as routing asks about it.
pub trait Offer: fmt::Debug + Send + Sync {
    /// `provider/model`.
    fn name(&self) -> &str;
    /// As residency rules see it.
    fn facts(&self) -> TargetFacts<'_>;
    /// Whether its provider can serve callers of `dialect` with an operation.
    fn has(&self, dialect: Dialect, operation: Operation) -> bool;
    /// The first of `capabilities` that the model is known not to have.
    fn lacks<'a>(&self, capabilities: &'a [String]) -> Option<&'a str>;
    /// Tokens it reads at most, if that is known.
    fn context_tokens(&self) -> Option<u64>;
    /// What a call may cost there by the price list; `None` if a price is not known.
    fn list_cost(&self, input_tokens: u64, output_tokens: u64) -> Option<Usd>;
}

impl<T: Offer + ?Sized> Offer for Arc<T> {
    fn name(&self) -> &str {
        T::name(self)
    }
    fn facts(&self) -> TargetFacts<'_> {
        T::facts(self)
    }
    fn has(&self, dialect: Dialect, operation: Operation) -> bool {
        T::has(self, dialect, operation)
    }
    fn lacks<'a>(&self, capabilities: &'a [String]) -> Option<&'a str> {
        T::lacks(self, capabilities)
    }
    fn context_tokens(&self) -> Option<u64> {
        T::context_tokens(self)
    }
    fn list_cost(&self, input_tokens: u64, output_tokens: u64) -> Option<Usd> {
        T::list_cost(self, input_tokens, output_tokens)
    }
}

/// Why a target may not serve a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyNot {
    /// Its provider does not have the operation.
    Unable,
    /// The bundle keeps such calls away from it.
    Barred {
        /// Rule of the bundle.
        rule: String,
        /// What is missing.
        why: String,
    },
    /// It does not have what the request needs.
    Lacks(String),
    /// The prompt exceeds its context.
    TooShort,
}

impl WhyNot {
    /// For the list of candidates: a code or, of a rule, its id and what is missing.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            WhyNot::Unable => OPERATION_NOT_SUPPORTED.to_owned(),
            WhyNot::Barred { rule, why } => format!("{rule}: {why}"),
            WhyNot::Lacks(capability) => format!("{LACKS}{capability}"),
            WhyNot::TooShort => CONTEXT_TOO_SHORT.to_owned(),
        }
    }

    /// What a logged text says of the target itself; `None` if it says what a rule, a strategy or its health did.
    #[must_use]
    pub fn of_target(text: &str) -> Option<WhyNot> {
        match text {
            OPERATION_NOT_SUPPORTED => Some(WhyNot::Unable),
            CONTEXT_TOO_SHORT => Some(WhyNot::TooShort),
            _ if text.contains(": ") => None,
            _ => text.strip_prefix(LACKS).map(|capability| WhyNot::Lacks(capability.to_owned())),
        }
    }
}

/// Whether the bundle keeps a call away from a target.
#[must_use]
pub fn barred(bundle: &Bundle, facts: &Facts<'_>, offer: &dyn Offer) -> Option<WhyNot> {
    match residency::eligible(bundle, facts, &offer.facts()) {
        Eligibility::Eligible => None,
        Eligibility::Excluded { rule, why } => Some(WhyNot::Barred { rule, why }),
    }
}

/// Why a target may not serve a call. Where [`why_nots`] is not asked about all candidates at once, a prompt that may be
/// too long counts as too long.
#[must_use]
pub fn why_not(bundle: &Bundle, facts: &Facts<'_>, offer: &dyn Offer) -> Option<WhyNot> {
    at_factor(bundle, facts, offer, 1)
}

/// Why each of the candidates of a call may not serve it, in their order; `None` for those that may. Where the estimate of
/// the prompt alone leaves nobody, only what is certain counts.
#[must_use]
pub fn why_nots(bundle: &Bundle, facts: &Facts<'_>, offers: &[&dyn Offer]) -> Vec<Option<WhyNot>> {
    let at = |factor| offers.iter().map(|offer| at_factor(bundle, facts, *offer, factor)).collect::<Vec<_>>();
    let found = at(1);
    if found.contains(&None) || !found.contains(&Some(WhyNot::TooShort)) { found } else { at(SURELY) }
}

/// `factor` says how far an estimated prompt must exceed a context to count as too long.
fn at_factor(bundle: &Bundle, facts: &Facts<'_>, offer: &dyn Offer, factor: u64) -> Option<WhyNot> {
    if !offer.has(facts.dialect, facts.operation) {
        return Some(WhyNot::Unable);
    }
    if let Some(barred) = barred(bundle, facts, offer) {
        return Some(barred);
    }
    if let Some(capability) = offer.lacks(facts.capabilities) {
        return Some(WhyNot::Lacks(capability.to_owned()));
    }
    is_too_long(facts, offer, factor).then_some(WhyNot::TooShort)
}

/// A prompt with pictures, sound or files is not estimated by its bytes.
fn is_too_long(facts: &Facts<'_>, offer: &dyn Offer, factor: u64) -> bool {
    let is_text = !facts.capabilities.iter().any(|need| matches!(need.as_str(), "vision" | "audio" | "documents"));
    if !is_text || !matches!(facts.operation, Operation::Chat | Operation::Completions) {
        return false;
    }
    let tokens = facts.estimated_input_tokens.unwrap_or(0);
    offer.context_tokens().is_some_and(|context| tokens > context.saturating_mul(factor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle;
    use crate::control::Principal;
    use crate::residency::Places;

    #[derive(Debug)]
    struct Made {
        context: Option<u64>,
        lacks: Option<&'static str>,
        places: Places,
    }

    impl Offer for Made {
        fn name(&self) -> &str {
            "a/1"
        }
        fn facts(&self) -> TargetFacts<'_> {
            TargetFacts { provider: "a", model: "1", tags: &[], places: &self.places, self_hosted: false }
        }
        fn has(&self, _: Dialect, operation: Operation) -> bool {
            operation != Operation::Images
        }
        fn lacks<'a>(&self, capabilities: &'a [String]) -> Option<&'a str> {
            capabilities.iter().map(String::as_str).find(|need| Some(*need) == self.lacks)
        }
        fn context_tokens(&self) -> Option<u64> {
            self.context
        }
        fn list_cost(&self, _: u64, _: u64) -> Option<Usd> {
            None
        }
    }

    #[test]
    fn a_rough_estimate_leaves_nobody_out_unless_another_is_there() {
        let bundle = bundle::builtin_default().unwrap();
        let principal = Principal::default();
        let facts = Facts {
            estimated_input_tokens: Some(150),
            ..Facts::new(&principal, Operation::Chat, Dialect::Openai, "assistant", 0)
        };
        let made = |context| Made { context, lacks: None, places: Places::default() };
        let (short, shorter, long) = (made(Some(100)), made(Some(70)), made(None));
        let of = |offers: &[&dyn Offer]| {
            let found = why_nots(&bundle, &facts, offers);
            found.into_iter().map(|why| why.is_some()).collect::<Vec<_>>()
        };
        assert_eq!(of(&[&short, &long]), [true, false]);
        assert_eq!(of(&[&short, &shorter]), [false, true], "a hundred may hold what was taken for a hundred and fifty");
        assert_eq!(why_not(&bundle, &facts, &short), Some(WhyNot::TooShort));
    }

    #[test]
    fn what_the_log_says_of_a_target_reads_back() {
        for why in [WhyNot::Unable, WhyNot::TooShort, WhyNot::Lacks("vision".into())] {
            assert_eq!(WhyNot::of_target(&why.text()), Some(why));
        }
        let barred = WhyNot::Barred { rule: "no_us".into(), why: "it is in us".into() };
        for text in [barred.text().as_str(), NOT_NEEDED, "resting_after_failures", "quality_unknown", UNKNOWN_TARGET] {
            assert_eq!(WhyNot::of_target(text), None, "{text}");
        }
    }

    #[test]
    fn an_operation_that_nobody_has_comes_before_what_the_model_lacks() {
        let bundle = bundle::builtin_default().unwrap();
        let principal = Principal::default();
        let needs = ["vision".to_owned()];
        let made = Made { context: None, lacks: Some("vision"), places: Places::default() };
        let asked = |operation| {
            let facts = Facts::new(&principal, operation, Dialect::Openai, "assistant", 0);
            why_not(&bundle, &Facts { capabilities: &needs, ..facts }, &made)
        };
        assert_eq!(asked(Operation::Images), Some(WhyNot::Unable));
        assert_eq!(asked(Operation::Chat), Some(WhyNot::Lacks("vision".into())));
    }
}
