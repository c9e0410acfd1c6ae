//! Names of models in a bundle: exact, or a prefix followed by `*`. Nothing more, so that a reader sees at once which
//! models a line covers.

/// One entry of a list of models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelPattern {
    /// This name.
    Exact(String),
    /// Every name that begins so.
    Prefix(String),
}

impl ModelPattern {
    /// `None` if a `*` stands anywhere but at the end, or there is nothing at all.
    #[must_use]
    pub fn parse(text: &str) -> Option<ModelPattern> {
        let (prefix, exact) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, false),
            None => (text, true),
        };
        if text.is_empty() || prefix.contains('*') {
            return None;
        }
        Some(if exact { ModelPattern::Exact(text.to_owned()) } else { ModelPattern::Prefix(prefix.to_owned()) })
    }

    /// Whether it covers `model`.
    #[must_use]
    pub fn matches(&self, model: &str) -> bool {
        match self {
            ModelPattern::Exact(name) => name == model,
            ModelPattern::Prefix(prefix) => model.starts_with(prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_allowed_at_the_end_only() {
        assert!(ModelPattern::parse("gpt-5*").unwrap().matches("gpt-5-mini"));
        assert!(!ModelPattern::parse("gpt-5").unwrap().matches("gpt-5-mini"));
        assert!(ModelPattern::parse("*").unwrap().matches(""));
        assert_eq!(ModelPattern::parse("*-mini"), None);
        assert_eq!(ModelPattern::parse(""), None);
    }
}
