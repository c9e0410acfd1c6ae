//! Requests of Gemini: the body of `generateContent` and `streamGenerateContent`. Reading is here, in [`config`] and in
//! [`contents`]; writing in [`written`] and [`turns`].
//! Source: <https://ai.google.dev/api/generate-content> (2026-11-26).

mod config;
mod contents;
mod media;
mod turns;
mod written;

use serde_json::Value;

pub(crate) use written::write;

use super::proto::Proto;
use super::schema;
use crate::chat::{Request, Said, Tool, ToolChoice, WebSearch};
use crate::dialect::RequestError;
use crate::translate::Address;

/// Texts that end an answer which Google takes at most.
const MAX_STOP_TEXTS: usize = 5;
/// Takes the place of the signature of a call that Gemini did not make, without which its third generation refuses a
/// history: <https://ai.google.dev/gemini-api/docs/thought-signatures> (2026-11-26).
const FOREIGN_CALL: &str = "skip_thought_signature_validator";

/// Reads the body of a request.
///
/// # Errors
/// [`RequestError::Malformed`] names the field that is not what Google wants.
pub(crate) fn read(body: Value, address: Address<'_>) -> Result<Request, RequestError> {
    let mut body = Proto::of(body, "")?;
    let mut request = Request { model: address.model.to_owned(), stream: address.stream, ..Request::default() };
    // The path has said it.
    body.said("model");
    contents::read(&mut body, &mut request)?;
    read_tools(&mut body, &mut request)?;
    if let Some(config) = body.message("toolConfig")? {
        read_tool_config(config, &mut request)?;
    }
    if let Some(config) = body.message("generationConfig")? {
        config::read(config, &mut request)?;
    }
    read_rest(body, &mut request)?;
    Ok(request)
}

fn read_rest(mut body: Proto, request: &mut Request) -> Result<(), RequestError> {
    let tier = body.text("serviceTier")?;
    request.service_tier = tier.filter(|tier| !matches!(tier.value.as_str(), "" | "unspecified" | "UNSPECIFIED"));
    request.hints.extend(body.said("labels"));
    request.hints.extend(body.said("store"));
    if let Some(settings) = body.items("safetySettings") {
        let filters = !settings.value.iter().all(switches_filter_off);
        let settings = Said::new(Value::Array(settings.value), settings.at);
        if filters { request.others.push(settings) } else { request.hints.push(settings) }
    }
    request.others.extend(body.rest());
    Ok(())
}

/// Whether a setting only switches a filter off, which a provider without that filter grants anyway.
fn switches_filter_off(setting: &Value) -> bool {
    matches!(setting.get("threshold").and_then(Value::as_str), Some("OFF" | "BLOCK_NONE") | None)
}

fn read_tools(body: &mut Proto, request: &mut Request) -> Result<(), RequestError> {
    let Some(Said { value: tools, at }) = body.items("tools") else { return Ok(()) };
    for (index, tool) in tools.into_iter().enumerate() {
        let mut tool = Proto::of(tool, format!("{at}[{index}]"))?;
        if let Some(declarations) = tool.items("functionDeclarations") {
            for (index, declaration) in declarations.value.into_iter().enumerate() {
                let declaration = Proto::of(declaration, format!("{}[{index}]", declarations.at))?;
                read_declaration(declaration, request)?;
            }
        }
        if let Some(search) = tool.message("googleSearch")? {
            let at = search.at().to_owned();
            request.others.extend(search.rest());
            request.web_search = Some(Said::new(WebSearch::default(), at));
        }
        // Google's other tools.
        request.others.extend(tool.rest());
    }
    Ok(())
}

fn read_declaration(mut declaration: Proto, request: &mut Request) -> Result<(), RequestError> {
    let at = declaration.at().to_owned();
    let Some(name) = declaration.text("name")? else {
        return Err(RequestError::Malformed {
            field: format!("{at}.name"),
            expected: "it is missing: name the function",
        });
    };
    let description = declaration.text("description")?.map(|said| said.value);
    let parameters = match (declaration.said("parametersJsonSchema"), declaration.said("parameters")) {
        (Some(schema), _) => schema.value,
        (None, Some(schema)) => schema::to_json_schema(schema.value),
        (None, None) => no_parameters(),
    };
    request.tools.push(Tool { name: name.value, description, parameters, strict: None, cache: None, at });
    request.others.extend(declaration.rest());
    Ok(())
}

/// The schema of a function without parameters.
fn no_parameters() -> Value {
    serde_json::json!({"type": "object", "properties": {}})
}

fn read_tool_config(mut config: Proto, request: &mut Request) -> Result<(), RequestError> {
    // Whether the steps of Google's own tools are shown.
    request.hints.extend(config.said("includeServerSideToolInvocations"));
    if let Some(mut calling) = config.message("functionCallingConfig")? {
        let allowed = calling.items("allowedFunctionNames").filter(|allowed| !allowed.value.is_empty());
        let mode = calling.text("mode")?;
        // How the stream is cut, and nothing about the answer.
        request.hints.extend(calling.said("streamFunctionCallArguments"));
        let choice = match (mode.as_ref().map_or("", |mode| mode.value.as_str()), allowed) {
            ("ANY", Some(Said { value, .. })) if value.len() == 1 => match value.into_iter().next() {
                Some(Value::String(name)) => Some(ToolChoice::Named(name)),
                _ => Some(ToolChoice::Required),
            },
            ("AUTO" | "VALIDATED", None) => Some(ToolChoice::Auto),
            ("ANY", None) => Some(ToolChoice::Required),
            ("NONE", _) => Some(ToolChoice::None),
            ("" | "MODE_UNSPECIFIED", None) => None,
            (mode, allowed) => {
                // No other dialect picks several of the tools it was given.
                request.others.extend(allowed.map(|Said { value, at }| Said::new(Value::Array(value), at)));
                if mode == "ANY" { Some(ToolChoice::Required) } else { Some(ToolChoice::Auto) }
            }
        };
        if mode.as_ref().is_some_and(|mode| mode.value == "VALIDATED") {
            request.tools.iter_mut().for_each(|tool| tool.strict = Some(true));
        }
        let at = mode.map_or_else(|| calling.at().to_owned(), |mode| mode.at);
        request.tool_choice = choice.map(|choice| Said::new(choice, at));
        request.others.extend(calling.rest());
    }
    request.others.extend(config.rest());
    Ok(())
}
