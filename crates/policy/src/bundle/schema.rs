//! The JSON Schema of bundles, for editors. It says what is written where; what it means together only loading can say.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use tollgate_interaction::Operation;

use super::access::AccessSource;
use super::data_classes::DataClassSource;
use super::residency::ResidencySource;
use super::source::{About, ApiVersion, OnError, OneOrMore, WhenSource};

/// The schema of a whole bundle.
#[must_use]
pub fn json_schema() -> Schema {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<BundleSource>();
    schema.insert("title".to_owned(), "Policy bundle of Tollgate".into());
    schema
}

/// A bundle. Its fields are those of [`super::source::BundleSource`], which a test holds against [`super::SECTIONS`].
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "stands in the schema for a type whose values know their place in the text")]
struct BundleSource {
    #[serde(rename = "apiVersion")]
    api_version: ApiVersion,
    bundle: About,
    #[serde(default)]
    on_error: OnError,
    #[serde(default)]
    data_classes: Vec<DataClassSource>,
    access: Vec<AccessSource>,
    #[serde(default)]
    residency: Vec<ResidencySource>,
    #[serde(default)]
    guardrails: Vec<Rule>,
    #[serde(default)]
    limits: Vec<Rule>,
    #[serde(default)]
    budgets: Vec<Rule>,
    #[serde(default)]
    routes: Vec<Rule>,
    #[serde(default)]
    experiments: Vec<Rule>,
    #[serde(default)]
    tests: Vec<Test>,
}

/// A rule of which the schema knows no more than its name.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "stands in the schema for several types")]
struct Rule {
    /// Unique in the bundle.
    id: String,
}

/// A test vector: what is given, by the names of variables, and what is expected.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "stands in the schema for a type whose values know their place in the text")]
struct Test {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    given: std::collections::BTreeMap<String, Anything>,
    expect: std::collections::BTreeMap<String, Anything>,
}

/// Any value.
struct Anything;

/// Declares a type that stands in the schema for a closed vocabulary of another crate.
macro_rules! words {
    ($name:ident of $of:ty) => {
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($of).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let words: Vec<&str> = <$of>::ALL.iter().map(|word| word.as_str()).collect();
                json_schema!({"type": "string", "enum": words})
            }
        }
    };
}

words!(OperationName of Operation);

/// Declares the schema of a shape that is read by hand.
macro_rules! by_hand {
    ($of:ty, $schema:tt) => {
        impl JsonSchema for $of {
            fn schema_name() -> Cow<'static, str> {
                stringify!($of).trim_end_matches("Source").into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

by_hand!(WhenSource, {
    "description": "A condition in CEL, a list of conditions that must all hold, or `any` or `all` of a list.",
    "anyOf": [
        {"type": ["string", "boolean"]},
        {"type": "array", "items": {"type": ["string", "boolean"]}, "minItems": 1},
        {
            "type": "object",
            "properties": {
                "any": {"type": "array", "items": {"type": ["string", "boolean"]}, "minItems": 1},
                "all": {"type": "array", "items": {"type": ["string", "boolean"]}, "minItems": 1}
            },
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1
        }
    ]
});

by_hand!(OneOrMore, {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
});

by_hand!(Anything, {});
