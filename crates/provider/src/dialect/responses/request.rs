//! Requests of the Responses API. Here the fields around the conversation are read; `items` reads the conversation and
//! `writer` writes requests.

mod custom;
mod items;
mod writer;

use serde_json::{Value, json};

pub(crate) use writer::write;

use crate::chat::{Effort, Format, Reasoning, Request, Said, Tool, ToolChoice, WebSearch};
use crate::dialect::RequestError;
use crate::translate::{Fields, search};

/// Fields that change nothing about the answer.
const HINTS: [&str; 7] = [
    "metadata",
    "store",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "stream_options",
    "client_metadata",
];
/// Names of the search of the web.
const SEARCHES: [&str; 4] =
    ["web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11"];
/// Fields any of which can stand for an absent `input`.
const STAND_INS: [&str; 3] = ["previous_response_id", "conversation", "prompt"];

/// Reads a request.
///
/// # Errors
/// [`RequestError`] names the field that is not what the API wants.
pub(crate) fn read(body: Value) -> Result<Request, RequestError> {
    let stands_in = STAND_INS.iter().any(|name| body.get(name).is_some_and(|value| !value.is_null()));
    let mut fields = Fields::of(body, "")?;
    let mut request = Request {
        model: fields.required_text("model")?,
        stream: fields.flag("stream")?.is_some_and(|stream| stream.value),
        max_output_tokens: fields.count("max_output_tokens")?,
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        // The default is said by saying nothing.
        parallel_tool_calls: fields.flag("parallel_tool_calls")?.filter(|parallel| !parallel.value),
        service_tier: fields.text("service_tier")?.filter(|tier| tier.value != "auto"),
        ..Request::default()
    };
    items::read(&mut fields, stands_in, &mut request)?;
    read_tools(&mut fields, &mut request)?;
    read_tool_choice(&mut fields, &mut request)?;
    read_text_options(&mut fields, &mut request)?;
    read_reasoning(&mut fields, &mut request)?;
    read_include(&mut fields, &mut request)?;
    read_user(&mut fields, &mut request)?;
    request.hints.extend(HINTS.iter().filter_map(|name| fields.said(name)));
    for name in ["background", "truncation"] {
        let said = fields.said(name).filter(|said| said.value != json!(false) && said.value != json!("disabled"));
        request.others.extend(said);
    }
    request.others.extend(fields.rest());
    Ok(request)
}

fn read_tools(fields: &mut Fields, request: &mut Request) -> Result<(), RequestError> {
    let Some(tools) = fields.array("tools")? else { return Ok(()) };
    for (index, tool) in tools.value.into_iter().enumerate() {
        let at = format!("tools[{index}]");
        match tool.get("type").and_then(Value::as_str) {
            Some("function") => request.tools.push(read_function(tool, at, &mut request.others)?),
            Some("custom") => request.custom_tools.push(custom::read(tool, at, &mut request.others)?),
            Some(kind) if SEARCHES.contains(&kind) && request.web_search.is_none() => {
                request.web_search = Some(read_search(tool, at, &mut request.others)?);
            }
            Some(_) => request.others.push(Said::new(tool, at)),
            None => return Err(RequestError::Malformed { field: at, expected: "send a tool with a `type`" }),
        }
    }
    Ok(())
}

fn read_search(tool: Value, at: String, others: &mut Vec<Said<Value>>) -> Result<Said<WebSearch>, RequestError> {
    let mut fields = Fields::of(tool, at)?;
    fields.take("type");
    let mut search = WebSearch {
        depth: fields.text("search_context_size")?.filter(|depth| depth.value != "medium"),
        place: search::take_place(&mut fields, others)?,
        ..WebSearch::default()
    };
    if let Some(mut filters) = fields.object("filters")? {
        search.allowed_domains = search::take_domains(&mut filters, "allowed_domains")?;
        others.extend(filters.rest());
    }
    let at = fields.at().to_owned();
    others.extend(
        fields.rest().filter(|field| field.value != json!(true) || !field.at.ends_with(".external_web_access")),
    );
    Ok(Said::new(search, at))
}

fn read_function(tool: Value, at: String, others: &mut Vec<Said<Value>>) -> Result<Tool, RequestError> {
    let mut fields = Fields::of(tool, at)?;
    fields.take("type");
    let function = Tool {
        name: fields.required_text("name")?,
        description: fields.text("description")?.map(|description| description.value),
        parameters: match fields.said("parameters") {
            Some(Said { value: schema @ Value::Object(_), .. }) => schema,
            Some(Said { at, .. }) => return Err(RequestError::Malformed { field: at, expected: "send a JSON schema" }),
            None => json!({"type": "object", "properties": {}}),
        },
        // Where nothing is said, the API makes the schema strict if it can and does without if not.
        strict: fields.flag("strict")?.map(|strict| strict.value),
        cache: None,
        at: fields.at().to_owned(),
    };
    others.extend(fields.rest().filter(|field| field.value != json!(false) && field.value != json!(["direct"])));
    Ok(function)
}

fn read_tool_choice(fields: &mut Fields, request: &mut Request) -> Result<(), RequestError> {
    let Some(Said { value, at }) = fields.said("tool_choice") else { return Ok(()) };
    let choice = match (&value, value.get("type").and_then(Value::as_str)) {
        (Value::String(word), _) => match word.as_str() {
            "auto" => ToolChoice::Auto,
            "none" => ToolChoice::None,
            "required" => ToolChoice::Required,
            _ => {
                let expected = "send `auto`, `none`, `required` or an object that names a tool";
                return Err(RequestError::Malformed { field: at, expected });
            }
        },
        (_, Some("function" | "custom")) => {
            let mut choice = Fields::of(value, at.as_str())?;
            choice.take("type");
            let name = choice.required_text("name")?;
            request.others.extend(choice.rest());
            ToolChoice::Named(name)
        }
        (_, Some(_)) => {
            request.others.push(Said::new(value, at));
            return Ok(());
        }
        (_, None) => {
            let expected = "send `auto`, `none`, `required` or an object that names a tool";
            return Err(RequestError::Malformed { field: at, expected });
        }
    };
    request.tool_choice = Some(Said::new(choice, at));
    Ok(())
}

fn read_text_options(fields: &mut Fields, request: &mut Request) -> Result<(), RequestError> {
    let Some(mut text) = fields.object("text")? else { return Ok(()) };
    if let Some(mut format) = text.object("format")? {
        let at = format.at().to_owned();
        let read = match format.required_text("type")?.as_str() {
            "text" => None,
            "json_object" => Some(Format::JsonObject),
            "json_schema" => Some(Format::JsonSchema {
                name: format.required_text("name")?,
                description: format.text("description")?.map(|description| description.value),
                schema: match format.take("schema") {
                    Some(schema @ Value::Object(_)) => schema,
                    _ => {
                        let field = format.path("schema");
                        return Err(RequestError::Malformed { field, expected: "send a JSON schema" });
                    }
                },
                strict: format.flag("strict")?.map(|strict| strict.value),
            }),
            // A grammar, or what else may come.
            other => {
                request.others.push(Said::new(Value::from(other), format.path("type")));
                None
            }
        };
        request.format = read.map(|read| Said::new(read, at));
        request.others.extend(format.rest());
    }
    // A wish that nobody promises to grant; `medium` is the default.
    request.hints.extend(text.said("verbosity").filter(|verbosity| verbosity.value != json!("medium")));
    request.others.extend(text.rest());
    Ok(())
}

fn read_reasoning(fields: &mut Fields, request: &mut Request) -> Result<(), RequestError> {
    let Some(mut reasoning) = fields.object("reasoning")? else { return Ok(()) };
    let mut read = Reasoning::default();
    if let Some(Said { value: word, at }) = reasoning.text("effort")? {
        read.effort = Effort::from_word(&word);
        if read.effort.is_none() {
            request.others.push(Said::new(Value::from(word), at));
        }
    }
    for name in ["summary", "generate_summary"] {
        let Some(length) = reasoning.text(name)? else { continue };
        read.shown = Some(true);
        if length.value != "auto" {
            // How long the summary is to be: not whether the model thinks, nor what it answers.
            request.hints.push(Said::new(Value::from(length.value), length.at));
        }
    }
    for (name, default) in [("context", "auto"), ("mode", "standard")] {
        request.others.extend(reasoning.said(name).filter(|said| said.value != json!(default)));
    }
    if read != Reasoning::default() {
        request.reasoning = Some(Said::new(read, reasoning.at()));
    }
    request.others.extend(reasoning.rest());
    Ok(())
}

/// `include` asks for more of the answer. Log probabilities are translated, the encrypted form of thoughts is always
/// given; the rest is about tools and echoes of the request, of which there are none without the provider's own.
fn read_include(fields: &mut Fields, request: &mut Request) -> Result<(), RequestError> {
    let top = fields.count("top_logprobs")?;
    request.logprobs = top.filter(|top| top.value > 0);
    let Some(include) = fields.array("include")? else { return Ok(()) };
    for (index, value) in include.value.into_iter().enumerate() {
        let at = format!("include[{index}]");
        match value.as_str() {
            Some("message.output_text.logprobs") => {
                request.logprobs.get_or_insert(Said::new(0, at));
            }
            Some("reasoning.encrypted_content") => {}
            Some(_) => request.hints.push(Said::new(value, at)),
            None => return Err(RequestError::Malformed { field: at, expected: "send a string" }),
        }
    }
    Ok(())
}

fn read_user(fields: &mut Fields, request: &mut Request) -> Result<(), RequestError> {
    let old = fields.text("user")?;
    request.user = fields.text("safety_identifier")?;
    match (&request.user, old) {
        (None, old) => request.user = old,
        (Some(_), old) => request.hints.extend(old.map(|old| Said::new(Value::from(old.value), old.at))),
    }
    Ok(())
}
