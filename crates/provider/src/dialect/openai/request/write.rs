//! Writes a request for a provider that speaks Chat Completions: OpenAI or one of its many copies. What is written is what
//! the copies know too, since several of them (Groq, Mistral) refuse a request with a field they do not know. Hence hints
//! and cache markers are passed on to OpenAI's own models alone and else listed, instructions are `system` and not
//! `developer` messages, and the limit has the name that [`models::limit_name`] chooses.
//! Sources: <https://platform.openai.com/docs/api-reference/chat/create>, <https://api-docs.deepseek.com/api/create-chat-completion>,
//! <https://docs.mistral.ai/api/endpoint/chat>, <https://console.groq.com/docs/openai> (2026-11-26).

mod messages;

pub(in crate::dialect::openai) use messages::signed;
use serde_json::{Map, Value};

use super::super::models;
use super::super::wire::{object, set};
use super::custom;
use crate::chat::{CustomTool, Effort, Format, Reasoning, Request, Said, Tier, Tool, ToolChoice, WebSearch};
use crate::translate::{Losses, Unsupported};

/// Texts that may end an answer; OpenAI's limit.
const MAX_STOPS: usize = 4;
/// Alternatives that may be told for each token; OpenAI's limit.
const MAX_TOP_LOGPROBS: u64 = 20;
/// Characters of the end user's name; OpenAI refuses a longer one, and Claude Code's is longer.
const MAX_USER_CHARS: usize = 64;
/// Fields that no other dialect has under this name: they were read from Chat Completions and go back as they were.
const OWN: [&str; 5] = ["audio", "logit_bias", "modalities", "moderation", "prediction"];

/// Writes a request.
pub(crate) fn write(request: Request, losses: &mut Losses) -> Result<Value, Unsupported> {
    let Request {
        model,
        stream,
        system,
        messages,
        tools,
        custom_tools,
        web_search,
        tool_choice,
        parallel_tool_calls,
        format,
        max_output_tokens,
        stop,
        temperature,
        top_p,
        top_k,
        seed,
        frequency_penalty,
        presence_penalty,
        choices,
        logprobs,
        reasoning,
        user,
        service_tier,
        hints,
        others,
    } = request;
    let mut body = Map::new();
    let (limit_name, is_openais) = (models::limit_name(&model), models::is_openais(&model));
    let (never_thinks, searches) = (models::never_thinks(&model), models::searches(&model));
    let takes_verbosity = models::takes_verbosity(&model);
    let conversation = messages::write(system, messages, &model, losses)?;
    body.insert("model".to_owned(), model.into());
    body.insert("messages".to_owned(), conversation);
    if stream {
        body.insert("stream".to_owned(), true.into());
        body.insert("stream_options".to_owned(), object([("include_usage", true.into())]));
    }
    write_tools(&mut body, tools, custom_tools, tool_choice, parallel_tool_calls, losses)?;
    if let Some(search) = web_search {
        set(&mut body, "web_search_options", write_search(search, searches, losses)?);
    }
    set(&mut body, "response_format", format.map(|format| write_format(format.value)));
    set(&mut body, limit_name, max_output_tokens.map(|limit| limit.value.into()));
    set(&mut body, "stop", write_stop(stop, losses)?);
    set(&mut body, "temperature", temperature.map(|temperature| temperature.value.into()));
    set(&mut body, "top_p", top_p.map(|top_p| top_p.value.into()));
    if let Some(top_k) = top_k {
        // Some copies have it; OpenAI and others refuse the request for it.
        losses.lose(&top_k.at, "sampling from the likeliest tokens")?;
    }
    set(&mut body, "seed", seed.map(|seed| seed.value.into()));
    set(&mut body, "frequency_penalty", frequency_penalty.map(|penalty| penalty.value.into()));
    set(&mut body, "presence_penalty", presence_penalty.map(|penalty| penalty.value.into()));
    set(&mut body, "n", choices.map(|choices| choices.value.into()));
    write_logprobs(&mut body, logprobs, losses)?;
    set(&mut body, "reasoning_effort", write_reasoning(reasoning, never_thinks, losses)?);
    set(&mut body, "service_tier", write_service_tier(service_tier, is_openais, losses));
    set(&mut body, "user", write_user(user, losses));
    write_hints(&mut body, hints, is_openais, takes_verbosity, losses);
    write_others(&mut body, others, losses)?;
    Ok(Value::Object(body))
}

/// Without tools nothing may be said about their choice: OpenAI refuses it.
fn write_tools(
    body: &mut Map<String, Value>,
    tools: Vec<Tool>,
    custom_tools: Vec<CustomTool>,
    choice: Option<Said<ToolChoice>>,
    parallel: Option<Said<bool>>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    if tools.is_empty() && custom_tools.is_empty() {
        return match choice {
            Some(Said { value: ToolChoice::Required | ToolChoice::Named(_), at }) => {
                losses.lose(&at, "a choice among no tools")
            }
            Some(Said { value: ToolChoice::Auto | ToolChoice::None, .. }) | None => Ok(()),
        };
    }
    set(body, "tool_choice", choice.map(|choice| write_tool_choice(choice.value, &custom_tools)));
    let mut written: Vec<Value> = tools.into_iter().map(|tool| write_tool(tool, losses)).collect();
    custom_tools.iter().filter(|tool| tool.cache.is_some()).for_each(|tool| losses.note_marker(&tool.at));
    written.extend(custom_tools.into_iter().map(custom::write));
    body.insert("tools".to_owned(), written.into());
    set(body, "parallel_tool_calls", parallel.map(|parallel| parallel.value.into()));
    Ok(())
}

/// How a model that searches the web is to do so. Any other overlooks the field or refuses it.
fn write_search(search: Said<WebSearch>, searches: bool, losses: &mut Losses) -> Result<Option<Value>, Unsupported> {
    let Said { value: search, at } = search;
    if !searches {
        return losses.lose(&at, "a search of the web by a model that does not search").map(|()| None);
    }
    search.lose_domains(losses)?;
    let WebSearch { max_uses, depth, place, .. } = search;
    max_uses.iter().for_each(|most| losses.note(&most.at));
    let mut options = Map::new();
    set(&mut options, "search_context_size", depth.map(|depth| depth.value.into()));
    let place = place.map(|place| Value::Object(place.value));
    set(
        &mut options,
        "user_location",
        place.map(|place| object([("type", "approximate".into()), ("approximate", place)])),
    );
    Ok(Some(Value::Object(options)))
}

fn write_tool(tool: Tool, losses: &mut Losses) -> Value {
    let Tool { name, description, parameters, strict, cache, at } = tool;
    if cache.is_some() {
        losses.note_marker(&at);
    }
    let mut function = Map::new();
    function.insert("name".to_owned(), name.into());
    set(&mut function, "description", description.map(Value::String));
    function.insert("parameters".to_owned(), parameters);
    set(&mut function, "strict", strict.map(Value::Bool));
    object([("type", "function".into()), ("function", Value::Object(function))])
}

fn write_tool_choice(choice: ToolChoice, custom_tools: &[CustomTool]) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => {
            let kind = if custom_tools.iter().any(|tool| tool.name == name) { "custom" } else { "function" };
            object([("type", kind.into()), (kind, object([("name", name.into())]))])
        }
    }
}

fn write_format(format: Format) -> Value {
    match format {
        Format::JsonObject => object([("type", "json_object".into())]),
        Format::JsonSchema { name, description, schema, strict } => {
            let mut map = Map::new();
            // OpenAI demands a name, and other dialects have none.
            let name = if name.is_empty() { "answer".to_owned() } else { name };
            map.insert("name".to_owned(), name.into());
            set(&mut map, "description", description.map(Value::String));
            map.insert("schema".to_owned(), schema);
            set(&mut map, "strict", strict.map(Value::Bool));
            object([("type", "json_schema".into()), ("json_schema", Value::Object(map))])
        }
    }
}

fn write_stop(stop: Option<Said<Vec<String>>>, losses: &mut Losses) -> Result<Option<Value>, Unsupported> {
    let Some(Said { mut value, at }) = stop else { return Ok(None) };
    if value.len() > MAX_STOPS {
        losses.lose(&at, "more than 4 stop texts")?;
        value.truncate(MAX_STOPS);
    }
    Ok(Some(value.into()))
}

fn write_logprobs(
    body: &mut Map<String, Value>,
    logprobs: Option<Said<u64>>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    let Some(Said { value, at }) = logprobs else { return Ok(()) };
    if value > MAX_TOP_LOGPROBS {
        losses.lose(&at, "more than 20 alternatives for a token")?;
    }
    body.insert("logprobs".to_owned(), true.into());
    if value > 0 {
        body.insert("top_logprobs".to_owned(), value.min(MAX_TOP_LOGPROBS).into());
    }
    Ok(())
}

/// The effort in OpenAI's words. Whether thoughts are shown cannot be said: a server that shows any, shows them unasked.
fn write_reasoning(
    reasoning: Option<Said<Reasoning>>,
    never_thinks: bool,
    losses: &mut Losses,
) -> Result<Option<Value>, Unsupported> {
    let Some(Said { value: Reasoning { effort, budget_tokens, enabled, shown }, at }) = reasoning else {
        return Ok(None);
    };
    if shown.is_some() {
        losses.note(&at);
    }
    let effort = match (enabled, effort, budget_tokens) {
        (Some(false), _, _) => Effort::None,
        (_, Some(effort), _) => effort,
        (_, None, Some(budget)) => Effort::of_budget(budget),
        // Models differ in what they do unasked; the middle is what they do when asked for no more than to think.
        (Some(true), None, None) => Effort::Medium,
        (None, None, None) => return Ok(None),
    };
    match (never_thinks, effort) {
        (false, effort) => Ok(Some(effort.as_str().into())),
        // It does not anyway.
        (true, Effort::None) => Ok(None),
        (true, _) => losses.lose(&at, "thinking of a model that does not think").map(|()| None),
    }
}

/// The tier, if it is one that another dialect can mean. Copies have no name for the one there is without a word.
fn write_service_tier(tier: Option<Said<String>>, is_openais: bool, losses: &mut Losses) -> Option<Value> {
    let Said { value, at } = tier?;
    let word = match Tier::from_word(&value) {
        Some(Tier::Standard) if is_openais => "default",
        Some(Tier::Standard) => return None,
        Some(Tier::Priority) => "priority",
        Some(Tier::Flex) => "flex",
        // Capacity bought from another provider is none here.
        Some(Tier::Batch | Tier::Reserved) | None => {
            losses.note(&at);
            return None;
        }
    };
    Some(word.into())
}

/// Passes on how the Responses API was told to cache, which OpenAI's models take here, too. Its copies refuse the fields.
fn write_hints(
    body: &mut Map<String, Value>,
    hints: Vec<Said<Value>>,
    is_openais: bool,
    takes_verbosity: bool,
    losses: &mut Losses,
) {
    for Said { value, at } in hints {
        match at.as_str() {
            "prompt_cache_key" | "prompt_cache_retention" | "prompt_cache_options" if is_openais => {
                body.insert(at, value);
            }
            // The Responses API's place for the same.
            "text.verbosity" | "verbosity" if takes_verbosity => {
                body.insert("verbosity".to_owned(), value);
            }
            _ => losses.note(&at),
        }
    }
}

fn write_user(user: Option<Said<String>>, losses: &mut Losses) -> Option<Value> {
    let Said { value, at } = user?;
    if value.chars().count() > MAX_USER_CHARS {
        losses.note(&at);
        return None;
    }
    Some(value.into())
}

fn write_others(
    body: &mut Map<String, Value>,
    others: Vec<Said<Value>>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    for other in others {
        match OWN.contains(&other.at.as_str()) {
            true => drop(body.insert(other.at, other.value)),
            false => losses.lose_other(&other)?,
        }
    }
    Ok(())
}
