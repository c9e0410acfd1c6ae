//! The JSON Schema of bundles, for editors. It says what is written where; what it means together only loading can say.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use tollgate_interaction::Operation;

use super::access::AccessSource;
use super::data_classes::DataClassSource;
use super::residency::ResidencySource;
use super::routes::{ExperimentSource, RouteSource, TargetSource};
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
    guardrails: Vec<GuardrailRule>,
    #[serde(default)]
    limits: Vec<LimitRule>,
    #[serde(default)]
    budgets: Vec<BudgetRule>,
    #[serde(default)]
    routes: Vec<RouteSource>,
    #[serde(default)]
    experiments: Vec<ExperimentSource>,
    #[serde(default)]
    tests: Vec<Test>,
}

/// Of the section `guardrails`.
struct GuardrailRule;

/// Of the section `limits`.
struct LimitRule;

/// Of the section `budgets`.
struct BudgetRule;

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

/// Stands in the schema for a share: of one, as text or as a number.
pub(crate) struct Fraction;

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

by_hand!(Fraction, {"type": ["string", "number"]});

by_hand!(TargetSource, {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {"target": {"type": "string"}, "weight": {"type": "integer", "minimum": 0}},
            "required": ["target", "weight"],
            "additionalProperties": false
        }
    ]
});

by_hand!(GuardrailRule, {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "phase": {"type": "string", "enum": ["input", "output", "tool_result"]},
        "when": {"description": "A condition, a list of conditions that must all hold, or `{any: [...]}`."},
        "run": {"type": "array", "items": {"type": ["string", "object"], "maxProperties": 1}, "minItems": 1},
        "on_hit": {
            "type": "object",
            "properties": {
                "action": {"type": "string", "enum": ["flag", "redact", "block"]},
                "reversible": {"type": "boolean"},
                "score_at_least": {"type": ["string", "number"]}
            },
            "required": ["action"],
            "additionalProperties": false
        },
        "on_error": {"type": "string", "enum": ["block", "allow"]},
        "description": {"type": "string"},
        "basis": {"type": "array", "items": {"type": "string"}}
    },
    "required": ["id", "phase", "run", "on_hit"],
    "additionalProperties": false
});

by_hand!(LimitRule, {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "scope": {"type": "object", "additionalProperties": {"type": "string"}},
        "limit": {"type": "object"},
        "max_snapshot_age": {"type": "string"},
        "on_stale": {"type": "string", "enum": ["allow", "conservative", "deny"]},
        "on_missing": {"type": "string", "enum": ["allow", "conservative", "deny"]},
        "description": {"type": "string"}
    },
    "required": ["id", "scope", "limit"],
    "additionalProperties": false
});

by_hand!(BudgetRule, {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "scope": {"type": "object", "additionalProperties": {"type": "string"}},
        "limit": {"type": "object"},
        "steps": {
            "type": "array",
            "items": {"type": "object", "required": ["at"], "minProperties": 2},
            "minItems": 1
        },
        "max_snapshot_age": {"type": "string"},
        "on_stale": {"type": "string", "enum": ["allow", "conservative", "deny"]},
        "on_missing": {"type": "string", "enum": ["allow", "conservative", "deny"]},
        "description": {"type": "string"}
    },
    "required": ["id", "scope", "limit", "steps"],
    "additionalProperties": false
});
