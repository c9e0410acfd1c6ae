//! Requests of Chat Completions: how a caller's is read. OpenAI's own fields are known, the deprecated ones too, and those
//! of its copies that another dialect can say.
//! Sources: <https://platform.openai.com/docs/api-reference/chat/create>, the types of the official Python client 3.57.0,
//! <https://openrouter.ai/docs/api-reference/parameters>, <https://api-docs.deepseek.com/guides/thinking_mode>,
//! <https://console.groq.com/docs/reasoning> (2026-11-26).

mod custom;
mod messages;
mod write;

pub(super) use custom::write_call as custom_call;
pub(super) use messages::{read_signature, read_source};
use serde_json::{Value, json};
pub(super) use write::signed;
pub(crate) use write::write;

use crate::chat::{CacheFor, Effort, Format, Reasoning, Request, Said, Tool, ToolChoice, WebSearch};
use crate::dialect::RequestError;
use crate::translate::{Fields, search};

/// Fields that keep, label or route a call and change nothing about its answer, and wishes that nobody promises to grant.
const HINTS: [&str; 9] = [
    "metadata",
    "store",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "stream_options",
    "usage",
    "verbosity",
];

/// Reads a caller's request.
pub(crate) fn read(body: Value) -> Result<Request, RequestError> {
    let mut fields = Fields::of(body, "")?;
    let mut request = Request { model: fields.required_text("model")?, ..Request::default() };
    request.stream = fields.flag("stream")?.is_some_and(|stream| stream.value);
    let Some(turns) = fields.array("messages")? else {
        return Err(RequestError::Malformed { field: "messages".to_owned(), expected: "send an array of messages" });
    };
    read_tools(&mut fields, &mut request)?;
    read_sampling(&mut fields, &mut request)?;
    read_form(&mut fields, &mut request)?;
    read_reasoning(&mut fields, &mut request)?;
    read_search(&mut fields, &mut request)?;
    read_labels(&mut fields, &mut request)?;
    messages::read(turns, &mut request)?;
    request.others.extend(fields.rest().filter(|other| !says_nothing(other)));
    Ok(request)
}

/// Defaults, written out as many clients do.
fn says_nothing(other: &Said<Value>) -> bool {
    match other.at.as_str() {
        "logit_bias" => other.value == json!({}),
        "modalities" => other.value == json!(["text"]),
        "logprobs" => other.value == false,
        "top_logprobs" => other.value == 0,
        _ => false,
    }
}

fn read_sampling(fields: &mut Fields, request: &mut Request) -> Result<(), RequestError> {
    let limit = fields.count("max_completion_tokens")?;
    let old_limit = fields.count("max_tokens")?;
    // The new name wins, as with OpenAI; the old one counts tokens that can be seen.
    request.max_output_tokens = limit.or(old_limit);
    request.temperature = fields.number("temperature")?;
    request.top_p = fields.number("top_p")?;
    request.top_k = fields.count("top_k")?;
    request.seed = fields.integer("seed")?;
    request.frequency_penalty = fields.number("frequency_penalty")?.filter(|penalty| penalty.value != 0.0);
    request.presence_penalty = fields.number("presence_penalty")?.filter(|penalty| penalty.value != 0.0);
    request.choices = fields.count("n")?.filter(|choices| choices.value != 1);
    request.stop = read_stop(fields)?;
    Ok(())
}

/// A text, or an array of texts.
fn read_stop(fields: &mut Fields) -> Result<Option<Said<Vec<String>>>, RequestError> {
    let Some(Said { value, at }) = fields.said("stop") else { return Ok(None) };
    let texts = match value {
        Value::String(text) => vec![text],
        Value::Array(items) => {
            let text = |(index, item)| crate::translate::read_text(item, &format!("{at}[{index}]"));
            items.into_iter().enumerate().map(text).collect::<Result<Vec<_>, _>>()?
        }
        _ => return Err(RequestError::Malformed { field: at, expected: "send a string or an array of strings" }),
    };
    let texts: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).collect();
    Ok((!texts.is_empty()).then_some(Said::new(texts, at)))
}

fn read_form(fields: &mut Fields, request: &mut Request) -> Result<(), RequestError> {
    let top = fields.count("top_logprobs")?;
    match fields.flag("logprobs")? {
        Some(Said { value: true, at }) => request.logprobs = Some(Said::new(top.map_or(0, |top| top.value), at)),
        // OpenAI refuses alternatives without the tokens they are alternatives to.
        _ => request.others.extend(top.filter(|top| top.value > 0).map(|top| Said::new(top.value.into(), top.at))),
    }
    let Some(Said { value, at }) = fields.said("response_format") else { return Ok(()) };
    let mut format = Fields::of(value, at.clone())?;
    match format.required_text("type")?.as_str() {
        "text" => {}
        "json_object" => request.format = Some(Said::new(Format::JsonObject, at)),
        "json_schema" => {
            let Some(mut schema) = format.object("json_schema")? else {
                let field = format.path("json_schema");
                return Err(RequestError::Malformed {
                    field,
                    expected: "it is missing: send an object with a `schema`",
                });
            };
            let value = Format::JsonSchema {
                name: schema.text("name")?.map(|name| name.value).unwrap_or_default(),
                description: schema.text("description")?.map(|description| description.value),
                schema: schema.take("schema").unwrap_or_else(|| json!({})),
                strict: schema.flag("strict")?.map(|strict| strict.value),
            };
            request.format = Some(Said::new(value, at));
            request.others.extend(schema.rest());
        }
        other => request.others.push(Said::new(other.into(), format.path("type"))),
    }
    request.others.extend(format.rest());
    Ok(())
}

fn read_tools(fields: &mut Fields, request: &mut Request) -> Result<(), RequestError> {
    for (name, is_old) in [("tools", false), ("functions", true)] {
        let Some(Said { value, at }) = fields.array(name)? else { continue };
        for (index, value) in value.into_iter().enumerate() {
            let at = format!("{at}[{index}]");
            let kind = value.get("type").filter(|_| !is_old).and_then(Value::as_str).unwrap_or("function");
            match kind {
                "function" => request.tools.push(read_tool(value, at, is_old, &mut request.others)?),
                "custom" => request.custom_tools.push(custom::read(value, at, &mut request.others)?),
                _ => request.others.push(Said::new(value, at)),
            }
        }
    }
    request.parallel_tool_calls = fields.flag("parallel_tool_calls")?.filter(|parallel| !parallel.value);
    for name in ["tool_choice", "function_call"] {
        let Some(said) = fields.said(name) else { continue };
        match read_tool_choice(&said.value) {
            // What happens anyway.
            Some(ToolChoice::Auto) => {}
            Some(choice) => request.tool_choice = Some(Said::new(choice, said.at)),
            None => request.others.push(said),
        }
    }
    Ok(())
}

fn read_tool(value: Value, at: String, is_old: bool, others: &mut Vec<Said<Value>>) -> Result<Tool, RequestError> {
    let mut outer = Fields::of(value, at.clone())?;
    let mut function = if is_old { None } else { outer.object("function")? };
    let fields = function.as_mut().unwrap_or(&mut outer);
    let name = fields.required_text("name")?;
    let description = fields.text("description")?.map(|description| description.value);
    let parameters = fields.take("parameters").unwrap_or_else(|| json!({"type": "object", "properties": {}}));
    let strict = fields.flag("strict")?.map(|strict| strict.value);
    let cache = read_cache(&mut outer)?;
    outer.take("type");
    others.extend(function.into_iter().flat_map(Fields::rest));
    others.extend(outer.rest());
    Ok(Tool { name, description, parameters, strict, cache, at })
}

/// `None` for what only this dialect has: a choice among some tools.
fn read_tool_choice(value: &Value) -> Option<ToolChoice> {
    match value {
        Value::String(word) => match word.as_str() {
            "auto" => Some(ToolChoice::Auto),
            "none" => Some(ToolChoice::None),
            // `any` is Mistral's word.
            "required" | "any" => Some(ToolChoice::Required),
            _ => None,
        },
        Value::Object(map) => {
            let kind = map.get("type").map_or(Some("function"), Value::as_str);
            let kind = kind.filter(|kind| matches!(*kind, "function" | "custom"))?;
            let name = map.get(kind).map_or_else(|| map.get("name"), |tool| tool.get("name"));
            name.and_then(Value::as_str).map(|name| ToolChoice::Named(name.to_owned()))
        }
        _ => None,
    }
}

/// OpenRouter's marker (Anthropic's own), or OpenAI's. OpenAI keeps half an hour where no time is said: the default.
/// Sources: <https://openrouter.ai/docs/features/prompt-caching>,
/// <https://platform.openai.com/docs/guides/prompt-caching> (2026-11-26).
fn read_cache(fields: &mut Fields) -> Result<Option<CacheFor>, RequestError> {
    let mut cache = None;
    for name in ["cache_control", "prompt_cache_breakpoint"] {
        let Some(mut marker) = fields.object(name)? else { continue };
        let ttl = marker.text("ttl")?.map(|ttl| ttl.value);
        cache = Some(match ttl.as_deref() {
            Some("1h" | "12h") => CacheFor::OneHour,
            _ => CacheFor::FiveMinutes,
        });
    }
    Ok(cache)
}

fn read_reasoning(fields: &mut Fields, request: &mut Request) -> Result<(), RequestError> {
    let mut reasoning = Reasoning::default();
    let mut places = Vec::new();
    if let Some(Said { value, at }) = fields.text("reasoning_effort")? {
        read_effort(value, at, &mut reasoning, &mut places, request);
    }
    if let Some(mut object) = fields.object("reasoning")? {
        if let Some(Said { value, at }) = object.text("effort")? {
            read_effort(value, at, &mut reasoning, &mut places, request);
        }
        reasoning.budget_tokens = object.count("max_tokens")?.map(|budget| budget.value);
        reasoning.enabled = object.flag("enabled")?.map(|enabled| enabled.value);
        reasoning.shown = object.flag("exclude")?.map(|exclude| !exclude.value);
        places.push(object.at().to_owned());
        request.others.extend(object.rest());
    }
    if let Some(mut object) = fields.object("thinking")? {
        let kind = object.text("type")?.map(|kind| kind.value).unwrap_or_default();
        match kind.as_str() {
            "enabled" => reasoning.enabled = Some(true),
            "disabled" => reasoning.enabled = Some(false),
            _ => request.others.push(Said::new(kind.into(), object.path("type"))),
        }
        reasoning.budget_tokens = object.count("budget_tokens")?.map(|budget| budget.value).or(reasoning.budget_tokens);
        places.push(object.at().to_owned());
        request.others.extend(object.rest());
    }
    if let Some(Said { value, at }) = fields.flag("include_reasoning")? {
        reasoning.shown = Some(value);
        places.push(at);
    }
    let place = places.into_iter().next().filter(|_| reasoning != Reasoning::default());
    request.reasoning = place.map(|at| Said::new(reasoning, at));
    Ok(())
}

fn read_effort(word: String, at: String, reasoning: &mut Reasoning, places: &mut Vec<String>, request: &mut Request) {
    match Effort::from_word(&word) {
        Some(effort) => {
            reasoning.effort = Some(effort);
            places.push(at);
        }
        None => request.others.push(Said::new(word.into(), at)),
    }
}

fn read_search(fields: &mut Fields, request: &mut Request) -> Result<(), RequestError> {
    let Some(mut options) = fields.object("web_search_options")? else { return Ok(()) };
    let search = WebSearch {
        depth: options.text("search_context_size")?.filter(|depth| depth.value != "medium"),
        place: search::take_place(&mut options, &mut request.others)?,
        ..WebSearch::default()
    };
    request.web_search = Some(Said::new(search, options.at()));
    request.others.extend(options.rest());
    Ok(())
}

fn read_labels(fields: &mut Fields, request: &mut Request) -> Result<(), RequestError> {
    request.user = match fields.text("user")? {
        Some(user) => Some(user),
        None => fields.text("safety_identifier")?,
    };
    request.service_tier = fields.text("service_tier")?.filter(|tier| tier.value != "auto");
    for name in HINTS {
        let Some(hint) = fields.said(name) else { continue };
        let says_nothing = match name {
            "store" => hint.value == false,
            "verbosity" => hint.value == "medium",
            "metadata" => hint.value == json!({}),
            // Whether the caller sees the usage chunk is the answer writer's to know.
            "stream_options" => hint.value.as_object().is_some_and(|map| map.keys().all(|key| key == "include_usage")),
            _ => false,
        };
        if !says_nothing {
            request.hints.push(hint);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
