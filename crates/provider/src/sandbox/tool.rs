//! Calls of tools, and JSON that fits a schema: whatever the schema asks for, with words of the prompt as texts.

use serde_json::{Map, Value, json};

use super::ask::{Ask, Choice, Tool};
use super::prose::Dice;

/// Schemas are followed this deep; a recursive one ends in `null`.
const MAX_DEPTH: u32 = 8;

/// A call of a tool.
pub(super) struct Call {
    pub(super) name: String,
    /// As JSON, or the text of a tool that takes text.
    pub(super) arguments: String,
    pub(super) takes_text: bool,
}

/// The tool call that answers `ask`, if it calls for one: the caller insists, or the prompt names the tool. After a tool
/// has answered, text follows.
pub(super) fn call(ask: &Ask, seed: u64) -> Option<Call> {
    let (tool, mut dice) = (chosen(ask)?, Dice::new(seed));
    // A text of the sandbox's fits no grammar but by chance.
    let arguments = if tool.takes_text {
        format!("{} {}", word(ask, &mut dice), word(ask, &mut dice))
    } else {
        example(&tool.schema, ask, &mut dice).to_string()
    };
    Some(Call { name: tool.name.clone(), arguments, takes_text: tool.takes_text })
}

fn chosen(ask: &Ask) -> Option<&Tool> {
    match &ask.choice {
        Choice::Never => None,
        Choice::Named(name) => ask.tools.iter().find(|tool| tool.name == *name),
        Choice::Any => ask.tools.first(),
        Choice::Auto if ask.is_answered => None,
        Choice::Auto => {
            let last = ask.messages.last().filter(|message| message.role == "user")?;
            ask.tools.iter().find(|tool| last.content.contains(&tool.name))
        }
    }
}

/// A value that fits `schema`, as far as plain types, enums and required properties go.
pub(super) fn example(schema: &Value, ask: &Ask, dice: &mut Dice) -> Value {
    let value = value(schema, ask, dice, 0);
    // A tool's arguments and an answer in JSON mode are objects even if the schema does not say so.
    match (schema.get("type"), value) {
        (None, Value::Null) => json!({ "answer": word(ask, dice) }),
        (_, value) => value,
    }
}

fn value(schema: &Value, ask: &Ask, dice: &mut Dice, depth: u32) -> Value {
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    if let Some(constant) = schema.get("const").or_else(|| schema.get("enum")?.get(0)) {
        return constant.clone();
    }
    if let Some(first) = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(|either| either.get(0)) {
        return value(first, ask, dice, depth + 1);
    }
    let kind = schema.get("type");
    let kind = kind.and_then(|kind| kind.as_str().or_else(|| kind.get(0)?.as_str()));
    match kind {
        Some("string") => Value::from(word(ask, dice)),
        Some("integer") => Value::from(1 + dice.roll(12)),
        Some("number") => Value::from(dice.roll(1_000) as f64 / 10.0),
        Some("boolean") => Value::from(true),
        Some("array") => Value::Array(vec![value(schema.get("items").unwrap_or(&Value::Null), ask, dice, depth + 1)]),
        Some("object") => object(schema, ask, dice, depth),
        _ if schema.get("properties").is_some() => object(schema, ask, dice, depth),
        _ => Value::Null,
    }
}

/// The required properties, or all of them if the schema requires none.
fn object(schema: &Value, ask: &Ask, dice: &mut Dice, depth: u32) -> Value {
    let required = schema.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut object = Map::new();
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if required.is_empty() || required.iter().any(|required| required.as_str() == Some(name)) {
            object.insert(name.clone(), value(property, ask, dice, depth + 1));
        }
    }
    Value::Object(object)
}

fn word(ask: &Ask, dice: &mut Dice) -> String {
    match ask.words.len() {
        0 => "example".to_owned(),
        words => ask.words[dice.roll(words)].clone(),
    }
}
