//! The bundle as it is written: its sections, and the shapes that several of them share, each text with the place it
//! stands at. Unknown fields are errors everywhere. The shape of a section and its meaning are in the section's own file.

use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use super::BundleError;
use super::access::AccessSource;
use super::budgets::BudgetSource;
use super::data_classes::DataClassSource;
use super::guardrails::GuardrailSource;
use super::limits::LimitRuleSource;
use super::residency::ResidencySource;
use super::vector::TestSource;

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
    pub(super) data_classes: Vec<Spanned<DataClassSource>>,
    #[serde(default)]
    pub(super) access: Vec<Spanned<AccessSource>>,
    #[serde(default)]
    pub(super) residency: Vec<Spanned<ResidencySource>>,
    #[serde(default)]
    pub(super) budgets: Vec<Spanned<BudgetSource>>,
    #[serde(default)]
    pub(super) guardrails: Vec<Spanned<GuardrailSource>>,
    #[serde(default)]
    pub(super) limits: Vec<Spanned<LimitRuleSource>>,
    #[serde(default)]
    pub(super) routes: Vec<Spanned<super::routes::RouteSource>>,
    #[serde(default)]
    pub(super) experiments: Vec<Spanned<super::routes::ExperimentSource>>,
    #[serde(default)]
    pub(super) tests: Vec<Spanned<TestSource>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
pub(super) enum ApiVersion {
    #[serde(rename = "tollgate/v1")]
    V1,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnError {
    #[default]
    Deny,
}

/// Who wrote it and what for; only `name` and `version` are used.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct About {
    pub(super) name: String,
    #[serde(default)]
    pub(super) version: Option<String>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default, rename = "owner")]
    _owner: Option<String>,
    #[schemars(with = "Option<String>")]
    #[serde(default)]
    pub(super) review_by: Option<Spanned<String>>,
}

/// `cheapest`, or `{tag: …}`.
#[derive(Clone, Debug)]
pub(super) enum PreferSource {
    Word(String),
    Tag(String),
}

/// One text, or a list of at least one.
#[derive(Debug)]
pub(super) struct OneOrMore(pub(super) Vec<Spanned<String>>);

/// A condition, a list of conditions that must all hold, or `{all: […]}` or `{any: […]}`.
#[derive(Debug)]
pub(super) enum WhenSource {
    One(String),
    All(Vec<Spanned<String>>),
    Any(Vec<Spanned<String>>),
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

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The place is that of the whole value: a text alone does not come with its own.
        let whole: Spanned<Several> = Spanned::deserialize(deserializer)?;
        Ok(OneOrMore(match whole.value {
            Several::One(text) => vec![Spanned::new(text, whole.referenced, whole.defined)],
            Several::List(list) => list,
        }))
    }
}

enum Several {
    One(String),
    List(Vec<Spanned<String>>),
}

impl<'de> Deserialize<'de> for Several {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shape;
        impl<'de> Visitor<'de> for Shape {
            type Value = Several;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a list of texts")
            }
            fn visit_str<E>(self, text: &str) -> Result<Several, E> {
                Ok(Several::One(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Several, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                if texts.is_empty() {
                    return Err(A::Error::custom("the list is empty; leave it out, or name at least one"));
                }
                Ok(Several::List(texts))
            }
        }
        deserializer.deserialize_any(Shape)
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
