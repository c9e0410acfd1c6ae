//! Whose spend is counted together: by organisation, project, team, user, key, model or label of a call, or by several of
//! them at once. A call without a value in one of them is not counted there.

use std::fmt;

use tollgate_interaction::Interaction;

/// Separates the values of a scope with several dimensions.
const SEPARATOR: char = '\u{1f}';

/// What calls are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// The organisation that the key belongs to.
    Tenant,
    /// The key's project.
    Project,
    /// The key's team.
    Team,
    /// The end user, by the reference that stands in the log.
    User,
    /// The virtual key, by its id.
    Key,
    /// The model as the caller wrote it.
    Model,
    /// A label of the caller's, by its name.
    Tag(String),
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dimension::Tenant => "tenant",
            Dimension::Project => "project",
            Dimension::Team => "team",
            Dimension::User => "user",
            Dimension::Key => "key",
            Dimension::Model => "model",
            Dimension::Tag(name) => return write!(f, "tag.{name}"),
        })
    }
}

impl Dimension {
    /// Reads what a bundle writes: `tenant` (or `organisation`), `project`, `team`, `user`, `key`, `model`, `tag.NAME`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Dimension> {
        Some(match text {
            "tenant" | "organisation" => Dimension::Tenant,
            "project" => Dimension::Project,
            "team" => Dimension::Team,
            "user" => Dimension::User,
            "key" => Dimension::Key,
            "model" => Dimension::Model,
            _ => Dimension::Tag(text.strip_prefix("tag.").filter(|name| !name.is_empty())?.to_owned()),
        })
    }
}

/// What a call says about itself, in whatever form it is at hand: a row of the log, or a call under way.
pub trait Attributes {
    /// Its value in a dimension; `None` if it has none.
    fn value(&self, dimension: &Dimension) -> Option<&str>;
}

impl Attributes for Interaction {
    fn value(&self, dimension: &Dimension) -> Option<&str> {
        match dimension {
            Dimension::Tenant => Some(&self.tenant),
            Dimension::Project => self.project.as_deref(),
            Dimension::Team => Some(&self.team),
            Dimension::User => self.user_ref.as_deref(),
            Dimension::Key => self.api_key_id.as_deref(),
            Dimension::Model => Some(&self.model_requested),
            Dimension::Tag(name) => self.tags.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()),
        }
    }
}

/// The values of one call in several dimensions, as one text: the name of an account within its tally.
#[must_use]
pub fn scope_of(dimensions: &[Dimension], attributes: &dyn Attributes) -> Option<String> {
    let mut scope = String::new();
    for (place, dimension) in dimensions.iter().enumerate() {
        if place > 0 {
            scope.push(SEPARATOR);
        }
        scope.push_str(attributes.value(dimension)?);
    }
    Some(scope)
}

/// The value that a scope has in one of its dimensions; `None` if it is not told apart by it.
#[must_use]
pub fn value_in<'a>(dimensions: &[Dimension], scope: &'a str, dimension: &Dimension) -> Option<&'a str> {
    let values = dimensions.iter().zip(scope.split(SEPARATOR));
    values.into_iter().find_map(|(known, value)| (known == dimension).then_some(value))
}

/// For a person and for the log: `team=kyc`, `team=kyc, user=5c0f…`, `everything`.
#[must_use]
pub fn scope_text(dimensions: &[Dimension], scope: &str) -> String {
    if dimensions.is_empty() {
        return "everything".to_owned();
    }
    let named = dimensions.iter().zip(scope.split(SEPARATOR)).map(|(dimension, value)| format!("{dimension}={value}"));
    named.collect::<Vec<_>>().join(", ")
}

/// For a sentence: ``team `kyc` ``, ``team `kyc` and user `5c0f…` ``, `the whole gateway`.
pub(crate) fn scope_phrase(dimensions: &[Dimension], scope: &str) -> String {
    if dimensions.is_empty() {
        return "the whole gateway".to_owned();
    }
    let name = |dimension: &Dimension| match dimension {
        Dimension::Tenant => "organisation".to_owned(),
        Dimension::Tag(name) => format!("label `{name}`"),
        other => other.to_string(),
    };
    let named = dimensions.iter().zip(scope.split(SEPARATOR));
    named.map(|(dimension, value)| format!("{} `{value}`", name(dimension))).collect::<Vec<_>>().join(" and ")
}

/// One dimension of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// `"*"`: every value, each apart.
    Each,
    /// This one.
    Only(String),
}

/// Which accounts a budget or limit is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScopePattern {
    /// In order, each dimension once.
    pub(crate) parts: Vec<(Dimension, Which)>,
}

impl ScopePattern {
    pub(crate) fn dimensions(&self) -> Vec<Dimension> {
        self.parts.iter().map(|(dimension, _)| dimension.clone()).collect()
    }

    /// Whether the account with this name is meant.
    pub(crate) fn matches(&self, scope: &str) -> bool {
        let mut values = scope.split(SEPARATOR);
        self.parts.iter().all(|(_, which)| {
            let value = values.next();
            match which {
                Which::Each => value.is_some(),
                Which::Only(wanted) => value == Some(wanted),
            }
        })
    }

    /// Whether every account of `other` is one of ours, and not the other way about; both have the same dimensions.
    pub(crate) fn is_wider_than(&self, other: &ScopePattern) -> bool {
        let covers = |ours: &Which, theirs: &Which| *ours == Which::Each || ours == theirs;
        self != other && self.parts.iter().zip(&other.parts).all(|((_, ours), (_, theirs))| covers(ours, theirs))
    }
}

/// As a bundle would write it, for pages and messages: `team=*`.
impl fmt::Display for ScopePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.parts.is_empty() {
            return f.write_str("everything");
        }
        for (place, (dimension, which)) in self.parts.iter().enumerate() {
            let separator = if place == 0 { "" } else { ", " };
            match which {
                Which::Each => write!(f, "{separator}{dimension}=*")?,
                Which::Only(value) => write!(f, "{separator}{dimension}={value}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(parts: &[(Dimension, &str)]) -> ScopePattern {
        let which = |text: &&str| if *text == "*" { Which::Each } else { Which::Only((*text).to_owned()) };
        ScopePattern { parts: parts.iter().map(|(dimension, text)| (dimension.clone(), which(text))).collect() }
    }

    struct Kyc;

    impl Attributes for Kyc {
        fn value(&self, dimension: &Dimension) -> Option<&str> {
            match dimension {
                Dimension::Team => Some("kyc"),
                Dimension::Tag(name) if name == "env" => Some("prod"),
                _ => None,
            }
        }
    }

    #[test]
    fn a_call_without_a_value_has_no_account() {
        assert_eq!(scope_of(&[Dimension::Team], &Kyc).as_deref(), Some("kyc"));
        assert_eq!(scope_of(&[Dimension::Team, Dimension::Project], &Kyc), None);
        assert_eq!(scope_of(&[], &Kyc).as_deref(), Some(""));
        let both = [Dimension::Team, Dimension::Tag("env".into())];
        let scope = scope_of(&both, &Kyc).unwrap();
        assert_eq!(scope_text(&both, &scope), "team=kyc, tag.env=prod");
        assert_eq!(scope_phrase(&both, &scope), "team `kyc` and label `env` `prod`");
    }

    #[test]
    fn the_narrower_pattern_is_the_one_that_names_more() {
        let (each, kyc) = (pattern(&[(Dimension::Team, "*")]), pattern(&[(Dimension::Team, "kyc")]));
        assert!(each.is_wider_than(&kyc) && !kyc.is_wider_than(&each) && !each.is_wider_than(&each));
        assert!(each.matches("red") && kyc.matches("kyc") && !kyc.matches("red"));
    }
}
