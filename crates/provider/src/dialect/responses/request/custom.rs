//! Tools that take free text, as the Responses API has them.

use serde_json::{Value, json};

use super::super::content::object;
use crate::chat::{CustomTool, Grammar, Said};
use crate::dialect::RequestError;
use crate::translate::Fields;

/// Reads a tool.
pub(super) fn read(tool: Value, at: String, others: &mut Vec<Said<Value>>) -> Result<CustomTool, RequestError> {
    let mut fields = Fields::of(tool, at.as_str())?;
    fields.take("type");
    let name = fields.required_text("name")?;
    let description = fields.text("description")?.map(|description| description.value);
    let mut grammar = None;
    if let Some(mut format) = fields.object("format")? {
        match format.required_text("type")?.as_str() {
            "text" => {}
            "grammar" => {
                let (syntax, definition) = (format.required_text("syntax")?, format.required_text("definition")?);
                grammar = Some(Grammar { syntax, definition });
            }
            other => others.push(Said::new(other.into(), format.path("type"))),
        }
        others.extend(format.rest());
    }
    others.extend(fields.rest().filter(|field| field.value != json!(false) && field.value != json!(["direct"])));
    Ok(CustomTool { name, description, grammar, cache: None, at })
}

/// Writes a tool.
pub(super) fn write(tool: CustomTool) -> Value {
    let CustomTool { name, description, grammar, cache: _, at: _ } = tool;
    let mut value = json!({"type": "custom", "name": name});
    if let Some(description) = description {
        value["description"] = Value::String(description);
    }
    if let Some(Grammar { syntax, definition }) = grammar {
        value["format"] = json!({"type": "grammar", "syntax": syntax, "definition": definition});
    }
    value
}

/// A call of one, as it stands in a conversation.
pub(super) fn write_call(call_id: String, name: String, input: String) -> Value {
    object([
        ("type", Value::from("custom_tool_call")),
        ("call_id", Value::String(call_id)),
        ("name", Value::String(name)),
        ("input", Value::String(input)),
    ])
}
