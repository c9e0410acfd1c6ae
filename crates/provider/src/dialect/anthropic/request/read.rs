//! Reads a request. Fields that no other dialect has stay by name: those that change the answer in `others`, labels in `hints`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::read_content::{Seen, read_cache, read_content, read_object};
use super::thinking;
use crate::chat::{Content, Format, Message, Part, Request, Role, Said, Tool, ToolChoice, WebSearch};
use crate::dialect::RequestError;
use crate::translate::{Fields, search};

/// Fields that label or route a call and change nothing about its answer.
const HINTS: [&str; 4] = ["diagnostics", "user_profile_id", "workspace_id", "anthropic_beta"];

pub(crate) fn read(body: Value) -> Result<Request, RequestError> {
    let mut fields = Fields::of(body, "")?;
    let mut seen = Seen { others: Vec::new(), names: HashMap::new(), search: None, marked_search: None };
    let mut request = Request {
        model: fields.text("model")?.map(|model| model.value).unwrap_or_default(),
        stream: fields.flag("stream")?.is_some_and(|stream| stream.value),
        system: read_system(&mut fields, &mut seen)?,
        messages: read_messages(&mut fields, &mut seen)?,
        tools: read_tools(&mut fields, &mut seen)?,
        max_output_tokens: fields.count("max_tokens")?,
        stop: read_stop(&mut fields)?,
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        top_k: fields.count("top_k")?,
        service_tier: fields.text("service_tier")?.filter(|tier| tier.value != "auto"),
        ..Request::default()
    };
    read_tool_choice(&mut fields, &mut request, &mut seen)?;
    read_output_config(&mut fields, &mut request, &mut seen)?;
    thinking::read(&mut fields, &mut request, &mut seen)?;
    read_automatic_cache(&mut fields, &mut request)?;
    read_labels(&mut fields, &mut request, &mut seen)?;
    seen.others.extend(fields.rest());
    request.web_search = seen.search;
    // The marker's place is that of a tool, and this is none of ours.
    request.hints.extend(seen.marked_search.map(|at| Said::new(Value::Null, format!("{at}.cache_control"))));
    request.others = seen.others;
    Ok(request)
}

fn read_system(fields: &mut Fields, seen: &mut Seen) -> Result<Vec<Part>, RequestError> {
    match fields.said("system") {
        Some(system) => read_content(system, seen),
        None => Ok(Vec::new()),
    }
}

fn read_messages(fields: &mut Fields, seen: &mut Seen) -> Result<Vec<Message>, RequestError> {
    let Some(Said { value, at }) = fields.array("messages")? else { return Ok(Vec::new()) };
    let mut messages = Vec::with_capacity(value.len());
    for (index, message) in value.into_iter().enumerate() {
        let mut fields = Fields::of(message, format!("{at}[{index}]"))?;
        let role = match fields.required_text("role")?.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            _ => {
                let expected = "send `user`, `assistant` or `system`";
                return Err(RequestError::Malformed { field: fields.path("role"), expected });
            }
        };
        let Some(content) = fields.said("content") else {
            let expected = "it is missing: send a string or an array of content blocks";
            return Err(RequestError::Malformed { field: fields.path("content"), expected });
        };
        let mut parts = read_content(content, seen)?;
        adopt_signatures(&mut parts);
        seen.others.extend(fields.rest());
        if !parts.is_empty() {
            messages.push(Message { role, parts, name: None });
        }
    }
    Ok(messages)
}

/// Gives tool calls back the signatures that other providers keep at the call: this dialect's answers carry them as encrypted
/// thinking right before it, or right after it where the signature came late.
fn adopt_signatures(parts: &mut Vec<Part>) {
    let mut at = 0;
    while at < parts.len() {
        let foreign = matches!(&parts[at].content, Content::Redacted(signature) if signature.is_of_call());
        let unsigned = |part: Option<&Part>| {
            part.is_some_and(|part| matches!(&part.content, Content::ToolCall(call) if call.signature.is_none()))
        };
        let before = at.checked_sub(1);
        if !foreign || !(unsigned(parts.get(at + 1)) || unsigned(before.and_then(|before| parts.get(before)))) {
            at += 1;
            continue;
        }
        let call = if unsigned(parts.get(at + 1)) { at } else { at - 1 };
        let Content::Redacted(signature) = parts.remove(at).content else { continue };
        if let Some(Part { content: Content::ToolCall(call), .. }) = parts.get_mut(call) {
            call.signature = Some(signature);
        }
    }
}

fn read_tools(fields: &mut Fields, seen: &mut Seen) -> Result<Vec<Tool>, RequestError> {
    let Some(Said { value, at }) = fields.array("tools")? else { return Ok(Vec::new()) };
    let mut tools = Vec::with_capacity(value.len());
    for (index, tool) in value.into_iter().enumerate() {
        let at = format!("{at}[{index}]");
        let kind = tool.get("type").and_then(Value::as_str).unwrap_or("custom");
        if kind.starts_with("web_search_") && seen.search.is_none() {
            seen.search = Some(read_search(tool, at, seen)?);
            continue;
        }
        if kind != "custom" {
            // One of the provider's own.
            seen.others.push(Said::new(tool, at));
            continue;
        }
        tools.push(read_tool(tool, at, seen)?);
    }
    Ok(tools)
}

fn read_search(tool: Value, at: String, seen: &mut Seen) -> Result<Said<WebSearch>, RequestError> {
    let mut fields = Fields::of(tool, at)?;
    ["type", "name"].into_iter().for_each(|name| drop(fields.take(name)));
    if read_cache(&mut fields)?.is_some() {
        seen.marked_search = Some(fields.at().to_owned());
    }
    let search = WebSearch {
        allowed_domains: search::take_domains(&mut fields, "allowed_domains")?,
        blocked_domains: search::take_domains(&mut fields, "blocked_domains")?,
        max_uses: fields.count("max_uses")?,
        depth: None,
        place: search::take_place(&mut fields, &mut seen.others)?,
    };
    let at = fields.at().to_owned();
    // Called by the model itself, and there from the beginning: as everywhere.
    let says_nothing = |field: &Said<Value>| field.value == json!(["direct"]) || field.value == json!(false);
    seen.others.extend(fields.rest().filter(|field| !says_nothing(field)));
    Ok(Said::new(search, at))
}

fn read_tool(tool: Value, at: String, seen: &mut Seen) -> Result<Tool, RequestError> {
    let mut fields = Fields::of(tool, at)?;
    fields.take("type");
    // When its arguments arrive, not what they are.
    fields.take("eager_input_streaming");
    if fields.flag("defer_loading")?.is_some_and(|defer| defer.value) {
        seen.others.push(Said::new(true.into(), fields.path("defer_loading")));
    }
    if let Some(callers) = fields.said("allowed_callers").filter(|callers| callers.value != json!(["direct"])) {
        seen.others.push(callers);
    }
    let tool = Tool {
        name: fields.required_text("name")?,
        description: fields.text("description")?.map(|description| description.value),
        parameters: match read_object(&mut fields, "input_schema")? {
            Some(schema) => schema,
            None => json!({ "type": "object", "properties": Map::new() }),
        },
        strict: fields.flag("strict")?.map(|strict| strict.value),
        cache: read_cache(&mut fields)?,
        at: fields.at().to_owned(),
    };
    seen.others.extend(fields.rest());
    Ok(tool)
}

fn read_tool_choice(fields: &mut Fields, request: &mut Request, seen: &mut Seen) -> Result<(), RequestError> {
    let Some(mut fields) = fields.object("tool_choice")? else { return Ok(()) };
    let choice = match fields.required_text("type")?.as_str() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Named(fields.required_text("name")?),
        _ => {
            let expected = "send `auto`, `any`, `tool` or `none`";
            return Err(RequestError::Malformed { field: fields.path("type"), expected });
        }
    };
    request.tool_choice = Some(Said::new(choice, fields.at()));
    let alone = fields.flag("disable_parallel_tool_use")?.filter(|alone| alone.value);
    request.parallel_tool_calls = alone.map(|alone| Said::new(false, alone.at));
    seen.others.extend(fields.rest());
    Ok(())
}

/// Reads `output_config.format`, and `output_format` as it was called in its beta.
fn read_output_config(fields: &mut Fields, request: &mut Request, seen: &mut Seen) -> Result<(), RequestError> {
    let early = fields.object("output_format")?;
    let Some(mut config) = fields.object("output_config")? else {
        return read_format(early, request, seen);
    };
    let format = config.object("format")?.or(early);
    thinking::read_effort(&mut config, request)?;
    seen.others.extend(config.rest());
    read_format(format, request, seen)
}

fn read_format(format: Option<Fields>, request: &mut Request, seen: &mut Seen) -> Result<(), RequestError> {
    let Some(mut format) = format else { return Ok(()) };
    if format.required_text("type")? != "json_schema" {
        return Err(RequestError::Malformed { field: format.path("type"), expected: "send `json_schema`" });
    }
    let Some(schema) = read_object(&mut format, "schema")? else {
        return Err(RequestError::Malformed { field: format.path("schema"), expected: "it is missing: send a schema" });
    };
    let value = Format::JsonSchema {
        name: String::new(),
        description: None,
        schema,
        // This provider always sees to it.
        strict: Some(true),
    };
    request.format = Some(Said::new(value, format.at()));
    seen.others.extend(format.rest());
    Ok(())
}

fn read_stop(fields: &mut Fields) -> Result<Option<Said<Vec<String>>>, RequestError> {
    let Some(Said { value, at }) = fields.array("stop_sequences")? else { return Ok(None) };
    let mut texts = Vec::with_capacity(value.len());
    for (index, text) in value.into_iter().enumerate() {
        texts.push(crate::translate::read_text(text, &format!("{at}[{index}]"))?);
    }
    Ok((!texts.is_empty()).then(|| Said::new(texts, at)))
}

/// `cache_control` of the body marks the last block that can be marked.
fn read_automatic_cache(fields: &mut Fields, request: &mut Request) -> Result<(), RequestError> {
    let Some(cache) = read_cache(fields)? else { return Ok(()) };
    let markable = |part: &&mut Part| {
        !matches!(part.content, Content::Thinking { .. } | Content::Redacted(_) | Content::Native { .. })
    };
    let said = request.messages.iter_mut().rev().flat_map(|message| message.parts.iter_mut().rev());
    if let Some(part) = said.chain(request.system.iter_mut().rev()).find(markable) {
        part.cache.get_or_insert(cache);
    }
    Ok(())
}

/// Whether `context_management` only says which of the model's own thoughts of earlier turns it shall see again, as Claude
/// Code does with every call. Another provider's model never sees them.
fn only_clears_thoughts(management: &Value) -> bool {
    let is_of_thoughts =
        |edit: &Value| edit.get("type").and_then(Value::as_str).is_some_and(|kind| kind.starts_with("clear_thinking_"));
    let edits = management.get("edits").and_then(Value::as_array);
    management.as_object().is_some_and(|fields| fields.len() == 1)
        && edits.is_some_and(|edits| edits.iter().all(is_of_thoughts))
}

fn read_labels(fields: &mut Fields, request: &mut Request, seen: &mut Seen) -> Result<(), RequestError> {
    // The form of the body, on Bedrock and Vertex.
    fields.take("anthropic_version");
    if let Some(mut metadata) = fields.object("metadata")? {
        request.user = metadata.text("user_id")?;
        request.hints.extend(metadata.rest());
    }
    request.hints.extend(HINTS.iter().filter_map(|name| fields.said(name)));
    // How fast, at which price: not what.
    request.hints.extend(fields.said("speed").filter(|speed| speed.value != "standard"));
    if let Some(edits) = fields.said("context_management") {
        let of_thoughts = only_clears_thoughts(&edits.value);
        if of_thoughts { request.hints.push(edits) } else { seen.others.push(edits) }
    }
    Ok(())
}
