//! The bundle as it is written: the shapes of its YAML, each text with the place it stands at. Unknown fields are
//! errors everywhere. Meaning is given to it in [`super::compile`].

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;
use tollgate_interaction::{Decision, Dialect, Operation, Usd};

use super::BundleError;
use super::budgets::BudgetSource;
use super::limits::LimitRuleSource;

/// A whole bundle.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BundleSource {
    #[serde(rename = "apiVersion")]
    pub(super) api_version: Spanned<ApiVersion>,
    pub(super) bundle: About,
    /// Only so that a reader sees it: there is no other way.
    #[serde(default, rename = "on_error")]
    pub(super) _on_error: OnError,
    #[serde(default)]
    pub(super) access: Vec<Spanned<AccessSource>>,
    #[serde(default)]
    pub(super) budgets: Vec<Spanned<BudgetSource>>,
    #[serde(default)]
    pub(super) limits: Vec<Spanned<LimitRuleSource>>,
    #[serde(default)]
    pub(super) tests: Vec<Spanned<TestSource>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum ApiVersion {
    #[serde(rename = "tollgate/v1")]
    V1,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnError {
    #[default]
    Deny,
}

/// Who wrote it and what for; only `name` and `version` are used.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct About {
    pub(super) name: String,
    #[serde(default)]
    pub(super) version: Option<String>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default, rename = "owner")]
    _owner: Option<String>,
    #[serde(default, rename = "review_by")]
    _review_by: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccessSource {
    pub(super) id: Spanned<String>,
    pub(super) when: Spanned<WhenSource>,
    #[serde(default)]
    pub(super) allow: Option<AllowSource>,
    #[serde(default)]
    pub(super) deny: Option<Spanned<String>>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default, rename = "basis")]
    _basis: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AllowSource {
    #[serde(default)]
    pub(super) models: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) operations: Vec<Operation>,
}

/// `cheapest`, or `{tag: …}`.
#[derive(Debug)]
pub(super) enum PreferSource {
    Word(String),
    Tag(String),
}

/// A condition, a list of conditions that must all hold, or `{all: […]}` or `{any: […]}`.
#[derive(Debug)]
pub(super) enum WhenSource {
    One(String),
    All(Vec<Spanned<String>>),
    Any(Vec<Spanned<String>>),
}

/// A test vector.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestSource {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) given: GivenSource,
    pub(super) expect: ExpectSource,
}

/// What a test assumes; whatever it does not say has the value given in [`super::vector`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GivenSource {
    #[serde(default, rename = "principal.key_id")]
    pub(super) key_id: Option<String>,
    #[serde(default, rename = "principal.tenant")]
    pub(super) tenant: Option<String>,
    #[serde(default, rename = "principal.project")]
    pub(super) project: Option<String>,
    #[serde(default, rename = "principal.team")]
    pub(super) team: Option<String>,
    #[serde(default, rename = "request.operation")]
    pub(super) operation: Option<Operation>,
    #[serde(default, rename = "request.dialect")]
    pub(super) dialect: Option<Dialect>,
    #[serde(default, rename = "request.model")]
    pub(super) model: Option<String>,
    #[serde(default, rename = "request.stream")]
    pub(super) stream: bool,
    #[serde(default, rename = "request.priority")]
    pub(super) priority: Option<String>,
    #[serde(default, rename = "request.metadata")]
    pub(super) metadata: BTreeMap<String, String>,
    #[serde(default, rename = "request.user")]
    pub(super) user: Option<String>,
    /// What the books say, by the id of the budget or limit.
    #[serde(default)]
    pub(super) spent: BTreeMap<String, Spanned<Usd>>,
    /// What the call itself is likely to use up.
    #[serde(default, rename = "request.estimated_cost")]
    pub(super) estimated_cost: Option<Usd>,
    #[serde(default, rename = "request.estimated_tokens")]
    pub(super) estimated_tokens: u64,
    #[serde(default, rename = "spend.known")]
    pub(super) spend_known: Option<bool>,
    #[serde(default, rename = "spend.month_to_date")]
    pub(super) month_to_date: Option<Usd>,
    #[serde(default, rename = "spend.age")]
    pub(super) spend_age: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) now: Option<Spanned<String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectSource {
    pub(super) decision: Decision,
    /// A rule that must be among the reasons.
    #[serde(default)]
    pub(super) rule: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) code: Option<String>,
    /// `cheapest`, `{tag: …}` or `none`.
    #[serde(default)]
    pub(super) prefer: Option<Spanned<PreferSource>>,
}

/// Reads the shapes.
pub(super) fn parse(yaml: &str) -> Result<BundleSource, BundleError> {
    let is_blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#') || line.trim() == "---";
    if yaml.lines().all(is_blank) {
        return Err(BundleError::at_start(
            "the bundle is empty, which would deny every call; start from `policies/default.yaml`",
        ));
    }
    serde_saphyr::from_str(yaml).map_err(|error| BundleError::from_yaml(&error))
}

impl Clone for PreferSource {
    fn clone(&self) -> Self {
        match self {
            PreferSource::Word(word) => PreferSource::Word(word.clone()),
            PreferSource::Tag(tag) => PreferSource::Tag(tag.clone()),
        }
    }
}

impl<'de> Deserialize<'de> for PreferSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = PreferSource;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`cheapest` or `{tag: NAME}`")
            }
            fn visit_str<E>(self, word: &str) -> Result<PreferSource, E> {
                Ok(PreferSource::Word(word.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PreferSource, A::Error> {
                match map.next_entry::<String, String>()? {
                    Some((key, tag)) if key == "tag" && map.next_key::<String>()?.is_none() => {
                        Ok(PreferSource::Tag(tag))
                    }
                    _ => Err(A::Error::custom("`prefer` is `cheapest` or `{tag: NAME}`")),
                }
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for WhenSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shape;
        impl<'de> Visitor<'de> for Shape {
            type Value = WhenSource;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a condition, a list of conditions, `{all: [...]}` or `{any: [...]}`")
            }
            fn visit_str<E>(self, text: &str) -> Result<WhenSource, E> {
                Ok(WhenSource::One(text.to_owned()))
            }
            // `when: true` without quotes is a YAML boolean.
            fn visit_bool<E>(self, value: bool) -> Result<WhenSource, E> {
                Ok(WhenSource::One(value.to_string()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<WhenSource, A::Error> {
                let mut conditions = Vec::new();
                while let Some(condition) = list.next_element()? {
                    conditions.push(condition);
                }
                Ok(WhenSource::All(conditions))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WhenSource, A::Error> {
                let entry = map.next_entry::<String, Vec<Spanned<String>>>()?;
                if map.next_key::<String>()?.is_some() {
                    return Err(A::Error::custom("write either `all` or `any`, not both"));
                }
                match entry {
                    Some((key, list)) if key == "all" => Ok(WhenSource::All(list)),
                    Some((key, list)) if key == "any" => Ok(WhenSource::Any(list)),
                    Some((key, _)) => Err(A::Error::unknown_field(&key, &["all", "any"])),
                    None => Err(A::Error::custom("write a condition, or `{any: [...]}`")),
                }
            }
        }
        deserializer.deserialize_any(Shape)
    }
}
