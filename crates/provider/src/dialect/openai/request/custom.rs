//! Tools that take free text, as Chat Completions has them.

use serde_json::{Map, Value};

use super::read_cache;
use crate::chat::{CustomTool, Grammar, Said};
use crate::dialect::RequestError;
use crate::dialect::openai::wire::{object, set};
use crate::translate::Fields;

/// Reads a tool.
pub(super) fn read(value: Value, at: String, others: &mut Vec<Said<Value>>) -> Result<CustomTool, RequestError> {
    let mut outer = Fields::of(value, at.clone())?;
    outer.take("type");
    let cache = read_cache(&mut outer)?;
    let Some(mut fields) = outer.object("custom")? else {
        let expected = "it is missing: send an object with a `name`";
        return Err(RequestError::Malformed { field: outer.path("custom"), expected });
    };
    let name = fields.required_text("name")?;
    let description = fields.text("description")?.map(|description| description.value);
    let mut grammar = None;
    if let Some(mut format) = fields.object("format")? {
        match format.required_text("type")?.as_str() {
            "text" => {}
            "grammar" => {
                let Some(mut inner) = format.object("grammar")? else {
                    let expected = "it is missing: send an object with `syntax` and `definition`";
                    return Err(RequestError::Malformed { field: format.path("grammar"), expected });
                };
                let (syntax, definition) = (inner.required_text("syntax")?, inner.required_text("definition")?);
                grammar = Some(Grammar { syntax, definition });
                others.extend(inner.rest());
            }
            other => others.push(Said::new(other.into(), format.path("type"))),
        }
        others.extend(format.rest());
    }
    others.extend(fields.rest());
    others.extend(outer.rest());
    Ok(CustomTool { name, description, grammar, cache, at })
}

/// Writes a tool.
pub(super) fn write(tool: CustomTool) -> Value {
    let CustomTool { name, description, grammar, cache: _, at: _ } = tool;
    let mut custom = Map::new();
    custom.insert("name".to_owned(), name.into());
    set(&mut custom, "description", description.map(Value::String));
    let format = grammar.map(|Grammar { syntax, definition }| {
        let grammar = object([("syntax", syntax.into()), ("definition", definition.into())]);
        object([("type", "grammar".into()), ("grammar", grammar)])
    });
    set(&mut custom, "format", format);
    object([("type", "custom".into()), ("custom", Value::Object(custom))])
}

/// A call of one.
pub(in crate::dialect::openai) fn write_call(id: String, name: String, input: String) -> Value {
    let custom = object([("name", name.into()), ("input", input.into())]);
    object([("id", id.into()), ("type", "custom".into()), ("custom", custom)])
}
