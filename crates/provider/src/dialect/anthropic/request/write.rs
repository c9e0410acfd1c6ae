//! Writes a request. What a model would refuse is refused here by the caller's own field; the models differ, and how is in
//! their table.
//!
//! **Turns.** Messages of one role become one turn; the results of tools come first in theirs, as the dialect wants it.
//! **Messages of the system in the middle** may stand only right behind a turn of the user, and only newer models take them:
//! one that stands before a turn of the user is said behind it. For other models its words become the user's, as for every
//! provider without such messages, and what it lost, its rank, is listed.

use serde_json::{Map, Value, json};
use tollgate_interaction::Dialect;

use super::super::models::{Model, Thinking};
use super::super::object;
use super::sampling::Sampled;
use super::thinking::{self, Written};
use super::write_content::{cache_control, shortened, write_parts, write_system};
use crate::chat::{Content, Format, Message, Reasoning, Request, Role, Said, Tier, Tool, ToolChoice, WebSearch};
use crate::translate::{Losses, Unsupported, markers, search};

pub(crate) fn write(mut request: Request, losses: &mut Losses) -> Result<Value, Unsupported> {
    let model = Model::of(&request.model);
    let is_on = |said: &Said<Reasoning>| !said.value.is_off();
    let by_budget = match model.thinking {
        Thinking::Budget => request.reasoning.as_ref().is_some_and(is_on),
        Thinking::Either => {
            request.reasoning.as_ref().is_some_and(|said| is_on(said) && said.value.budget_tokens.is_some())
        }
        Thinking::Never | Thinking::Adaptive => false,
    };
    if by_budget && goes_on_without_a_thought(&request.messages) {
        request.reasoning.take().iter().for_each(|reasoning| losses.note(&reasoning.at));
    }
    markers::keep_last(&mut request, losses);
    let limit = request.max_output_tokens.as_ref().map(|limit| limit.value);
    let thinking = thinking::write(request.reasoning.as_ref(), limit, &request.model, model, losses)?;
    lose_unknown(&request, losses)?;
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    put("max_tokens", thinking.max_tokens.into());
    let tool_choice = write_tool_choice(&request, model, &thinking, losses)?;
    let schema = write_format(request.format, model, &request.model, losses)?;
    let sampled = Sampled { temperature: request.temperature, top_p: request.top_p, top_k: request.top_k };
    for (name, value) in sampled.write(&request.model, model.sampling, thinking.on, losses)? {
        put(name, value);
    }
    if let Some(stop) = write_stop(request.stop, losses)? {
        put("stop_sequences", stop);
    }
    if !request.system.is_empty() {
        put("system", write_system(request.system, losses)?);
    }
    put("messages", write_messages(request.messages, model, losses)?.into());
    let mut tools = write_tools(request.tools, model, losses)?;
    tools.extend(request.web_search.map(|search| write_search(search.value, losses)));
    if !tools.is_empty() {
        put("tools", tools.into());
        if let Some(choice) = tool_choice {
            put("tool_choice", choice);
        }
    }
    if let Some(config) = thinking::output_config(thinking.effort, schema) {
        put("output_config", config);
    }
    if let Some(thinking) = thinking.thinking {
        put("thinking", thinking);
    }
    if let Some(user) = request.user {
        put("metadata", json!({ "user_id": user.value }));
    }
    if let Some(tier) = write_tier(request.service_tier, losses) {
        put("service_tier", tier.into());
    }
    if request.stream {
        put("stream", true.into());
    }
    put("model", request.model.into());
    Ok(body.into())
}

/// Whether results of tools answer a turn of the model's that does not begin with a thought of its own, as callers of dialects
/// without signatures send it. With a budget of thinking the API refuses that ("Expected `thinking` … but found `tool_use`"), so
/// that this step goes on without; a model that thinks as it sees fit does not mind. The same holds on Bedrock.
/// <https://platform.claude.com/docs/en/build-with-claude/extended-thinking>, `…/adaptive-thinking` (2026-11-26).
pub(in crate::dialect) fn goes_on_without_a_thought(messages: &[Message]) -> bool {
    let answers = |message: &Message| {
        message.role == Role::User && message.parts.iter().any(|part| matches!(part.content, Content::ToolResult(_)))
    };
    if !messages.last().is_some_and(answers) {
        return false;
    }
    let turn = messages
        .iter()
        .rev()
        .skip_while(|message| answers(message))
        .take_while(|message| message.role == Role::Assistant);
    let first = turn.last().and_then(|message| message.parts.first());
    !first.is_some_and(|part| match &part.content {
        Content::Thinking { signature: Some(signature), .. } | Content::Redacted(signature) => {
            signature.of == Dialect::Anthropic
        }
        _ => false,
    })
}

/// What this dialect cannot say at all.
fn lose_unknown(request: &Request, losses: &mut Losses) -> Result<(), Unsupported> {
    // A seed asks for the same answer again as far as it can be had, and is promised by nobody.
    request.seed.iter().for_each(|seed| losses.note(&seed.at));
    for penalty in [&request.frequency_penalty, &request.presence_penalty].into_iter().flatten() {
        // Zero is no penalty.
        if penalty.value.abs() > f64::EPSILON {
            losses.lose(&penalty.at, "a penalty on repetition")?;
        }
    }
    if let Some(choices) = request.choices.as_ref().filter(|choices| choices.value > 1) {
        losses.lose(&choices.at, "more than one answer")?;
    }
    if let Some(logprobs) = &request.logprobs {
        losses.lose(&logprobs.at, "log probabilities")?;
    }
    for other in &request.others {
        losses.lose_other(other)?;
    }
    for hint in &request.hints {
        losses.note(&hint.at);
    }
    Ok(())
}

fn write_stop(stop: Option<Said<Vec<String>>>, losses: &mut Losses) -> Result<Option<Value>, Unsupported> {
    let Some(Said { value: mut texts, at }) = stop else { return Ok(None) };
    if texts.iter().any(|text| text.trim().is_empty()) {
        losses.lose(&at, "a stop text of nothing but white space")?;
        texts.retain(|text| !text.trim().is_empty());
    }
    Ok((!texts.is_empty()).then(|| texts.into()))
}

/// Without a word, capacity that was bought is used where there is some.
fn write_tier(tier: Option<Said<String>>, losses: &mut Losses) -> Option<&'static str> {
    let Said { value, at } = tier?;
    match Tier::from_word(&value) {
        Some(Tier::Standard) => Some("standard_only"),
        Some(Tier::Priority | Tier::Flex | Tier::Batch | Tier::Reserved) | None => {
            losses.note(&at);
            None
        }
    }
}

fn write_tools(tools: Vec<Tool>, model: Model, losses: &mut Losses) -> Result<Vec<Value>, Unsupported> {
    let mut written = Vec::with_capacity(tools.len());
    for Tool { name, description, parameters, strict, cache, at } in tools {
        if !is_name(&name) {
            losses.lose(&at, "a tool's name of other than letters, digits, `_` and `-`, or longer than 128")?;
            continue;
        }
        let mut tool = Map::new();
        tool.insert("name".to_owned(), name.into());
        if let Some(description) = description {
            tool.insert("description".to_owned(), description.into());
        }
        tool.insert("input_schema".to_owned(), with_type(parameters));
        if strict == Some(true) && !model.schemas {
            losses.lose(&format!("{at}.strict"), "strict tools of this model")?;
        } else if strict == Some(true) {
            tool.insert("strict".to_owned(), true.into());
        }
        if let Some(cache) = cache {
            tool.insert("cache_control".to_owned(), cache_control(cache));
        }
        written.push(tool.into());
    }
    Ok(written)
}

/// The oldest version of the tool, which every model that searches knows.
fn write_search(search: WebSearch, losses: &mut Losses) -> Value {
    let WebSearch { allowed_domains, blocked_domains, max_uses, depth, place } = search;
    depth.iter().for_each(|depth| losses.note(&depth.at));
    let mut tool = json!({ "type": "web_search_20250305", "name": "web_search" });
    if let Some(most) = max_uses {
        tool["max_uses"] = most.value.into();
    }
    for (name, domains) in [("allowed_domains", allowed_domains), ("blocked_domains", blocked_domains)] {
        if let Some(domains) = domains {
            tool[name] = domains.value.into();
        }
    }
    if let Some(place) = place {
        tool["user_location"] = search::location(place.value);
    }
    tool
}

fn is_name(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=128).contains(&name.len()) && name.bytes().all(known)
}

/// A schema of arguments must say that they are an object.
fn with_type(mut parameters: Value) -> Value {
    if let Value::Object(schema) = &mut parameters
        && !schema.contains_key("type")
    {
        schema.insert("type".to_owned(), "object".into());
    }
    parameters
}

fn write_tool_choice(
    request: &Request,
    model: Model,
    thinking: &Written,
    losses: &mut Losses,
) -> Result<Option<Value>, Unsupported> {
    let alone = request.parallel_tool_calls.as_ref().is_some_and(|parallel| !parallel.value);
    let mut choice = match &request.tool_choice {
        None if alone => json!({ "type": "auto" }),
        None => return Ok(None),
        Some(Said { value: ToolChoice::None, .. }) => return Ok(Some(json!({ "type": "none" }))),
        Some(Said { value: ToolChoice::Auto, .. }) => json!({ "type": "auto" }),
        Some(Said { value: ToolChoice::Required | ToolChoice::Named(_), at }) if !model.forced_tools => {
            losses.lose(at, format!("a forced tool call of `{}`", request.model))?;
            json!({ "type": "auto" })
        }
        Some(Said { value: ToolChoice::Required | ToolChoice::Named(_), at }) if thinking.budget => {
            losses.lose(at, "a forced tool call together with thinking")?;
            json!({ "type": "auto" })
        }
        Some(Said { value: ToolChoice::Required, .. }) => json!({ "type": "any" }),
        Some(Said { value: ToolChoice::Named(name), .. }) => json!({ "type": "tool", "name": name }),
    };
    if alone {
        choice["disable_parallel_tool_use"] = true.into();
    }
    Ok(Some(choice))
}

/// The schema of the answer. Its name is a label that this dialect has no place for; its description stands in the schema.
fn write_format(
    format: Option<Said<Format>>,
    model: Model,
    name: &str,
    losses: &mut Losses,
) -> Result<Option<Value>, Unsupported> {
    let Some(Said { value, at }) = format else { return Ok(None) };
    match value {
        Format::JsonObject => {
            losses.lose(&at, "JSON without a schema")?;
            Ok(None)
        }
        Format::JsonSchema { .. } if !model.schemas => {
            losses.lose(&at, format!("a schema of the answer for `{name}`"))?;
            Ok(None)
        }
        Format::JsonSchema { name: _, description, mut schema, strict: _ } => {
            if let (Some(description), Value::Object(schema)) = (description, &mut schema) {
                schema.entry("description").or_insert(description.into());
            }
            Ok(Some(schema))
        }
    }
}

/// A turn that is being put together.
struct Turn {
    role: Role,
    blocks: Vec<Value>,
}

fn write_messages(messages: Vec<Message>, model: Model, losses: &mut Losses) -> Result<Vec<Value>, Unsupported> {
    let mut turns: Vec<Turn> = Vec::with_capacity(messages.len());
    // What the system says before the user's turn that it has to stand behind.
    let mut waiting = Vec::new();
    for Message { mut role, parts, name } in messages {
        if let Some(name) = name {
            losses.lose(&name.at, "the name of a speaker")?;
        }
        if role == Role::System && !model.system_midway {
            // What is lost is its rank.
            parts.iter().for_each(|part| losses.note(&part.at));
            role = Role::User;
        }
        let blocks = write_parts(parts, losses)?;
        if role == Role::System && turns.last().is_none_or(|turn| turn.role == Role::Assistant) {
            waiting.extend(blocks);
            continue;
        }
        if role == Role::Assistant && !waiting.is_empty() {
            add(&mut turns, Role::User, std::mem::take(&mut waiting));
        }
        add(&mut turns, role, blocks);
        if role == Role::User && !waiting.is_empty() {
            add(&mut turns, Role::System, std::mem::take(&mut waiting));
        }
    }
    // Nothing of the user's came: then it is the user's turn.
    add(&mut turns, Role::User, waiting);
    Ok(turns.into_iter().map(written).collect())
}

fn add(turns: &mut Vec<Turn>, role: Role, blocks: Vec<Value>) {
    if blocks.is_empty() {
        return;
    }
    // A turn of the user's goes on before what the system says behind it.
    let behind = match turns.as_slice() {
        [.., user, system] if role == Role::User && user.role == role && system.role == Role::System => 2,
        _ => 1,
    };
    let open = turns.len().checked_sub(behind).and_then(|at| turns.get_mut(at)).filter(|turn| turn.role == role);
    match open {
        Some(turn) => turn.blocks.extend(blocks),
        None => turns.push(Turn { role, blocks }),
    }
}

fn written(Turn { role, mut blocks }: Turn) -> Value {
    let role = match role {
        Role::User => {
            // Stable: everything else keeps its order.
            blocks.sort_by_key(|block| block.get("type").is_none_or(|kind| kind != "tool_result"));
            "user"
        }
        Role::Assistant => "assistant",
        Role::System => "system",
    };
    object([("role", role.into()), ("content", shortened(blocks))])
}
