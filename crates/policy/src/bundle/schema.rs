//! The JSON Schema of bundles, for editors. It says what is written where; what it means together only loading can say.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use tollgate_interaction::{Decision, Dialect, Operation};

use super::source::{BundleSource, OneOrMore, PreferSource, WhenSource};

/// The schema of a whole bundle.
#[must_use]
pub fn json_schema() -> Schema {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<BundleSource>();
    schema.insert("title".to_owned(), "Policy bundle of Tollgate".into());
    schema
}

/// Stands in the schema for an amount of money: as text, so that no place is lost, or as a number.
pub(super) struct Amount;

impl JsonSchema for Amount {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number"], "pattern": r"^\d+(\.\d{1,12})?$"})
    }
}

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
words!(DialectName of Dialect);
words!(DecisionName of Decision);

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

by_hand!(PreferSource, {
    "anyOf": [
        {"type": "string", "enum": ["cheapest", "none"]},
        {
            "type": "object",
            "properties": {"tag": {"type": "string"}},
            "required": ["tag"],
            "additionalProperties": false
        }
    ]
});
