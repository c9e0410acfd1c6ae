//! How the signature of one provider's thoughts travels through another dialect's conversation: wrapped in a text that
//! names whose it is, so that it comes back to its own provider in the next turn and to no other.

use tollgate_interaction::Dialect;

use super::Signature;

/// What a wrapped signature begins with.
const MARK: &str = "tollgate:";

/// What the signature of a call begins with that a copy of Chat Completions has given: the object in which it stands there
/// (`extra_content`), which tells it from the signature of a thought.
const OPENAI_CALL: &str = r#"{"google":"#;

impl Signature {
    /// Whether it is that of a call and not of a thought. Where a dialect has no place for it at the call it travels as an
    /// encrypted thought beside the call, and finds its way back by this. Gemini has encrypted thoughts in no other form.
    pub(crate) fn is_of_call(&self) -> bool {
        self.of == Dialect::Gemini || (self.of == Dialect::Openai && self.text.starts_with(OPENAI_CALL))
    }

    /// The text that stands for it in a conversation of dialect `own`: as it is if it is that dialect's own, else
    /// `tollgate:<dialect>:<text>`.
    pub(crate) fn wrapped(&self, own: Dialect) -> String {
        if self.of == own { self.text.clone() } else { format!("{MARK}{}:{}", self.of.as_str(), self.text) }
    }

    /// The signature that stands as `text` in a conversation of dialect `own`.
    pub(crate) fn unwrapped(text: String, own: Dialect) -> Signature {
        let foreign = text.strip_prefix(MARK).and_then(|rest| rest.split_once(':')).and_then(|(name, inner)| {
            let of = Dialect::ALL.iter().find(|dialect| dialect.as_str() == name)?;
            Some(Signature { of: *of, text: inner.to_owned() })
        });
        foreign.unwrap_or(Signature { of: own, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_comes_back_to_its_own_provider() {
        let signature = Signature { of: Dialect::Gemini, text: "CiQ:a==".to_owned() };
        let travelling = signature.wrapped(Dialect::Anthropic);
        assert_eq!(travelling, "tollgate:gemini:CiQ:a==");
        assert_eq!(Signature::unwrapped(travelling, Dialect::Anthropic), signature);
        assert_eq!(signature.wrapped(Dialect::Gemini), "CiQ:a==");
    }

    #[test]
    fn the_signature_of_a_call_is_told_from_that_of_a_thought() {
        let signature = |of, text: &str| Signature { of, text: text.to_owned() };
        assert!(signature(Dialect::Gemini, "CiQ=").is_of_call());
        assert!(signature(Dialect::Openai, r#"{"google":{"thought_signature":"CiQ="}}"#).is_of_call());
        assert!(!signature(Dialect::Openai, r#"{"data":"CiQ=","format":"anthropic-claude-v1"}"#).is_of_call());
        assert!(!signature(Dialect::Anthropic, "EqQB").is_of_call());
    }

    #[test]
    fn a_text_of_no_known_dialect_is_the_own_providers() {
        for text in ["EqQBCkYIARgC", "tollgate:", "tollgate:nobody:x", ""] {
            let signature = Signature::unwrapped(text.to_owned(), Dialect::Anthropic);
            assert_eq!((signature.of, signature.text.as_str()), (Dialect::Anthropic, text));
        }
    }
}
