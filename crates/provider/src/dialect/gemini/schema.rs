//! Google's older form of schemas, a subset of OpenAPI's (`responseSchema`, `parameters`), brought to JSON Schema. Nothing is
//! translated the other way: Google reads JSON Schema (`responseJsonSchema`, `parametersJsonSchema`).
//! Source: <https://ai.google.dev/api/caching#Schema> (2026-11-26).

use serde_json::{Map, Value, json};

use super::proto::snake_case;

/// Deeper than any schema that Google takes.
const MAX_DEPTH: usize = 64;
/// Keywords of more than one word, which may be written either way.
const WORDS: [&str; 10] = [
    "anyOf",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "minProperties",
    "maxProperties",
    "propertyOrdering",
    "additionalProperties",
    "prefixItems",
];

/// `schema` as JSON Schema.
pub(super) fn to_json_schema(schema: Value) -> Value {
    convert(schema, 0)
}

fn convert(schema: Value, depth: usize) -> Value {
    let Value::Object(fields) = schema else { return schema };
    if depth > MAX_DEPTH {
        return Value::Object(fields);
    }
    let mut converted = Map::new();
    let mut nullable = false;
    let mut ordering = Vec::new();
    for (name, value) in fields {
        let name = WORDS.iter().find(|word| snake_case(word) == name).map_or(name, |word| (*word).to_owned());
        match (name.as_str(), value) {
            ("nullable", value) => nullable = value == Value::Bool(true),
            ("propertyOrdering", Value::Array(names)) => ordering = names,
            ("type", Value::String(word)) => drop(converted.insert(name, word.to_ascii_lowercase().into())),
            ("example", value) => drop(converted.insert("examples".to_owned(), Value::Array(vec![value]))),
            ("properties", Value::Object(properties)) => {
                let properties =
                    properties.into_iter().map(|(name, value)| (name, convert(value, depth + 1))).collect();
                converted.insert(name, Value::Object(properties));
            }
            ("anyOf" | "prefixItems", Value::Array(schemas)) => {
                let schemas = schemas.into_iter().map(|schema| convert(schema, depth + 1)).collect();
                converted.insert(name, Value::Array(schemas));
            }
            ("items" | "additionalProperties", value) => drop(converted.insert(name, convert(value, depth + 1))),
            // Protobuf writes numbers of 64 bits in quotes.
            (word, Value::String(digits)) if word.starts_with("min") || word.starts_with("max") => {
                let number = digits.parse::<i64>().map_or(Value::String(digits), Value::from);
                converted.insert(name, number);
            }
            (_, value) => drop(converted.insert(name, value)),
        }
    }
    order(&mut converted, &ordering);
    if nullable {
        allow_null(&mut converted);
    }
    Value::Object(converted)
}

/// Puts the properties into the order that `propertyOrdering` asks for; JSON Schema has the order they stand in.
fn order(schema: &mut Map<String, Value>, names: &[Value]) {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    let mut unordered = std::mem::take(properties);
    for name in names.iter().filter_map(Value::as_str) {
        if let Some((name, value)) = unordered.shift_remove_entry(name) {
            properties.insert(name, value);
        }
    }
    properties.extend(unordered);
}

fn allow_null(schema: &mut Map<String, Value>) {
    match schema.get_mut("type") {
        Some(word) => *word = json!([word.take(), "null"]),
        None => {
            if let Some(Value::Array(schemas)) = schema.get_mut("anyOf") {
                schemas.push(json!({"type": "null"}));
            }
        }
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.push(Value::Null);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subset_of_openapi_becomes_json_schema() {
        let schema = json!({
            "type": "OBJECT",
            "properties": {
                "b": {"type": "STRING", "nullable": true, "enum": ["x"]},
                "a": {"type": "ARRAY", "items": {"type": "INTEGER"}, "min_items": "1"},
                "type": {"anyOf": [{"type": "NUMBER"}]}
            },
            "property_ordering": ["a", "b"],
            "required": ["a"]
        });
        let expected = json!({
            "type": "object",
            "properties": {
                "a": {"type": "array", "items": {"type": "integer"}, "minItems": 1},
                "b": {"type": ["string", "null"], "enum": ["x", null]},
                "type": {"anyOf": [{"type": "number"}]}
            },
            "required": ["a"]
        });
        assert_eq!(to_json_schema(schema).to_string(), expected.to_string());
    }
}
