//! Writes a request of Converse. Turns alternate there, so neighbours of one role become one message. `tool_choice: none`
//! has no word: the tools are left out instead, unless the conversation holds calls, which Converse takes only together
//! with tools; then Claude is told in its own words, and other models cannot be told. For a conversation with calls and
//! without tools the called names are declared as tools that are not available any more. Messages of the system in the
//! middle are Claude's newer models' alone; for others their words become the user's, and what they lost, their rank, is
//! listed.

use serde_json::{Map, Value, json};

use super::super::additional::{self, Family};
use super::super::block;
use super::super::media::Names;
use super::read::GROUNDING;
use crate::chat::{Content, Format, Message, Request, Role, Said, Tier, Tool, ToolChoice, WebSearch};
use crate::dialect::anthropic::request::goes_on_without_a_thought;
use crate::dialect::anthropic::takes_system_midway;
use crate::translate::{Losses, Unsupported};

mod part;

/// Writes the body of a request.
///
/// # Errors
/// [`Unsupported`] names what Converse, or the model behind it, cannot express.
pub(crate) fn write(mut request: Request, losses: &mut Losses) -> Result<Value, Unsupported> {
    let family = Family::of(&request.model);
    family.keep_markers(&mut request, losses);
    if family.thinks_by_budget(request.reasoning.as_ref()) && goes_on_without_a_thought(&request.messages) {
        request.reasoning.take().iter().for_each(|reasoning| losses.note(&reasoning.at));
    }
    let Request {
        model,
        stream: _,
        system,
        messages,
        tools,
        // Set apart before: it has none.
        custom_tools: _,
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
    let system_midway = takes_system_midway(&model);
    // A seed asks for the same answer again as far as it can be had, and is promised by nobody.
    seed.iter().for_each(|seed| losses.note(&seed.at));
    lose(frequency_penalty, "a frequency penalty", losses)?;
    lose(presence_penalty, "a presence penalty", losses)?;
    lose(logprobs, "log probabilities", losses)?;
    lose(choices.filter(|choices| choices.value != 1), "more than one answer", losses)?;
    for other in others {
        losses.lose_other(&other)?;
    }
    if let Some(user) = user {
        losses.note(&user.at);
    }
    let mut more = Map::new();
    let mut body = Map::new();
    let called = called_names(&messages);
    let max_tokens = max_output_tokens.as_ref().map(|most| most.value);
    body.insert("messages".to_owned(), write_messages(messages, family, system_midway, losses)?.into());
    if !system.is_empty() {
        body.insert("system".to_owned(), part::write_system(system, losses)?.into());
    }
    let has_stop = stop.is_some();
    let inference = write_inference(max_output_tokens, temperature, top_p, stop, losses)?;
    if !inference.is_empty() {
        body.insert("inferenceConfig".to_owned(), inference.into());
    }
    let toolbox = Toolbox { tools, choice: tool_choice, parallel: parallel_tool_calls, called, family };
    if let Some(config) = toolbox.write(&mut more, losses)? {
        body.insert("toolConfig".to_owned(), config);
    }
    if let Some(search) = web_search {
        write_search(search, family, &mut body, losses)?;
    }
    additional::write_top_k(top_k, family, &mut more, losses)?;
    let effort = additional::write_reasoning(reasoning, family, max_tokens, &mut more, losses)?;
    let mut output = Map::new();
    if let Some(format) = write_format(format, losses)? {
        output.insert("textFormat".to_owned(), format);
    }
    if let Some(effort) = effort {
        output.insert("effort".to_owned(), effort.as_str().into());
    }
    if !output.is_empty() {
        body.insert("outputConfig".to_owned(), output.into());
    }
    if !more.is_empty() {
        body.insert("additionalModelRequestFields".to_owned(), more.into());
    }
    if has_stop {
        // Else nobody is told which of the stop texts it was. Models that do not know it are silent.
        body.insert("additionalModelResponseFieldPaths".to_owned(), json!(["/stop_sequence"]));
    }
    write_hints(hints, &mut body, losses);
    if let Some(tier) = write_tier(service_tier, losses) {
        body.insert("serviceTier".to_owned(), json!({ "type": tier }));
    }
    Ok(Value::Object(body))
}

fn lose<T>(said: Option<Said<T>>, what: &str, losses: &mut Losses) -> Result<(), Unsupported> {
    said.map_or(Ok(()), |said| losses.lose(&said.at, what))
}

/// Names of the tools that the conversation has called, each once.
fn called_names(messages: &[Message]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for part in messages.iter().flat_map(|message| &message.parts) {
        let name = match &part.content {
            Content::ToolCall(call) => call.name.clone(),
            Content::ToolResult(result) => result.name.clone().unwrap_or_else(|| "unknown".to_owned()),
            _ => continue,
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn write_messages(
    messages: Vec<Message>,
    family: Family,
    system_midway: bool,
    losses: &mut Losses,
) -> Result<Vec<Value>, Unsupported> {
    let mut written: Vec<(Role, Vec<Value>)> = Vec::with_capacity(messages.len());
    let mut names = Names::default();
    // What the system says before the user's turn that it has to stand behind, as in Claude's own API.
    let mut waiting = Vec::new();
    for Message { mut role, parts, name } in messages {
        lose(name, "the name of a speaker", losses)?;
        if role == Role::System && !system_midway {
            // What is lost is its rank.
            parts.iter().for_each(|part| losses.note(&part.at));
            role = Role::User;
        }
        let mut blocks = Vec::with_capacity(parts.len());
        for part in parts {
            part::write(part, role, family, &mut names, &mut blocks, losses)?;
        }
        if role == Role::System && written.last().is_none_or(|(last, _)| *last == Role::Assistant) {
            waiting.append(&mut blocks);
            continue;
        }
        match written.last_mut() {
            _ if blocks.is_empty() => continue,
            Some((last, content)) if *last == role => content.append(&mut blocks),
            _ => written.push((role, blocks)),
        }
        if role == Role::User && !waiting.is_empty() {
            written.push((Role::System, std::mem::take(&mut waiting)));
        }
    }
    if !waiting.is_empty() {
        // Nothing of the user's came: then it is the user's turn.
        written.push((Role::User, waiting));
    }
    let messages = written.into_iter().map(|(role, content)| {
        let role = match role {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::System => "system",
        };
        json!({ "role": role, "content": content })
    });
    Ok(messages.collect())
}

fn write_inference(
    max_tokens: Option<Said<u64>>,
    temperature: Option<Said<f64>>,
    top_p: Option<Said<f64>>,
    stop: Option<Said<Vec<String>>>,
    losses: &mut Losses,
) -> Result<Map<String, Value>, Unsupported> {
    let mut config = Map::new();
    if let Some(most) = max_tokens {
        config.insert("maxTokens".to_owned(), most.value.into());
    }
    match temperature {
        Some(said) if said.value > 1.0 => losses.lose(&said.at, "a temperature above 1")?,
        Some(said) => drop(config.insert("temperature".to_owned(), said.value.into())),
        None => {}
    }
    if let Some(said) = top_p {
        config.insert("topP".to_owned(), said.value.into());
    }
    if let Some(stop) = stop {
        config.insert("stopSequences".to_owned(), stop.value.into());
    }
    Ok(config)
}

/// The tools of a request and what is to be done with them.
struct Toolbox {
    tools: Vec<Tool>,
    choice: Option<Said<ToolChoice>>,
    parallel: Option<Said<bool>>,
    /// Names the conversation has called.
    called: Vec<String>,
    family: Family,
}

impl Toolbox {
    fn write(self, more: &mut Map<String, Value>, losses: &mut Losses) -> Result<Option<Value>, Unsupported> {
        let Toolbox { tools, choice, parallel, called, family } = self;
        let is_none = choice.as_ref().is_some_and(|choice| choice.value == ToolChoice::None);
        if called.is_empty() && (is_none || tools.is_empty()) {
            let forced = choice.filter(|choice| matches!(choice.value, ToolChoice::Required | ToolChoice::Named(_)));
            lose(forced, "a call where no tools are offered", losses)?;
            return Ok(None);
        }
        let is_stub = tools.is_empty();
        let tools = if is_stub { stubs(called) } else { write_tools(tools) };
        let mut config = Map::new();
        config.insert("tools".to_owned(), tools.into());
        if is_none || is_stub {
            if family.is_claude() {
                more.insert("tool_choice".to_owned(), additional::tool_choice(Some(&ToolChoice::None), false));
            } else if !is_stub {
                lose(choice, "`none` in a conversation that holds calls", losses)?;
            }
            return Ok(Some(Value::Object(config)));
        }
        let one_at_a_time = parallel.filter(|parallel| !parallel.value);
        if one_at_a_time.is_some() && family.is_claude() {
            // Claude's own word says all of it; the two must not disagree.
            let choice = choice.as_ref().map(|choice| &choice.value);
            more.insert("tool_choice".to_owned(), additional::tool_choice(choice, true));
            return Ok(Some(Value::Object(config)));
        }
        // A wish: whoever can take one call at a time can take the first of several.
        one_at_a_time.iter().for_each(|one| losses.note(&one.at));
        let choice = match choice.map(|choice| choice.value) {
            None | Some(ToolChoice::None) => None,
            Some(ToolChoice::Auto) => Some(json!({ "auto": {} })),
            Some(ToolChoice::Required) => Some(json!({ "any": {} })),
            Some(ToolChoice::Named(name)) => Some(json!({ "tool": { "name": name } })),
        };
        if let Some(choice) = choice {
            config.insert("toolChoice".to_owned(), choice);
        }
        Ok(Some(Value::Object(config)))
    }
}

/// Only Nova searches the web by itself.
fn write_search(
    search: Said<WebSearch>,
    family: Family,
    body: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    let Said { value: search, at } = search;
    if family != Family::Nova {
        return losses.lose(&at, "a search of the web, which only Amazon's Nova does");
    }
    search.lose_domains(losses)?;
    search.note_wishes(losses);
    let tool = json!({ "systemTool": { "name": GROUNDING } });
    let config = body.entry("toolConfig").or_insert_with(|| json!({ "tools": [] }));
    if let Some(tools) = config.get_mut("tools").and_then(Value::as_array_mut) {
        tools.push(tool);
    }
    Ok(())
}

fn stubs(names: Vec<String>) -> Vec<Value> {
    let stub = |name: String| {
        json!({ "toolSpec": {
            "name": name,
            "description": "Not available any more.",
            "inputSchema": { "json": { "type": "object", "properties": {} } },
        } })
    };
    names.into_iter().map(stub).collect()
}

fn write_tools(tools: Vec<Tool>) -> Vec<Value> {
    let mut written = Vec::with_capacity(tools.len());
    for Tool { name, description, parameters, strict, cache, at: _ } in tools {
        let mut spec = Map::new();
        spec.insert("name".to_owned(), name.into());
        // An empty one is refused.
        if let Some(description) = description.filter(|description| !description.is_empty()) {
            spec.insert("description".to_owned(), description.into());
        }
        spec.insert("inputSchema".to_owned(), json!({ "json": parameters }));
        if let Some(strict) = strict {
            spec.insert("strict".to_owned(), strict.into());
        }
        written.push(json!({ "toolSpec": spec }));
        written.extend(cache.map(block::cache_point));
    }
    written
}

fn write_format(format: Option<Said<Format>>, losses: &mut Losses) -> Result<Option<Value>, Unsupported> {
    let Some(Said { value: format, at }) = format else { return Ok(None) };
    match format {
        Format::JsonObject => losses.lose(&at, "JSON without a schema").map(|()| None),
        // A schema is always kept to, asked for or not.
        Format::JsonSchema { name, description, schema, strict: _ } => {
            let mut definition = Map::new();
            definition.insert("schema".to_owned(), schema.to_string().into());
            if !name.is_empty() {
                definition.insert("name".to_owned(), name.into());
            }
            if let Some(description) = description {
                definition.insert("description".to_owned(), description.into());
            }
            let structure = json!({ "jsonSchema": definition });
            Ok(Some(json!({ "type": "json_schema", "structure": structure })))
        }
    }
}

/// Labels of the caller's go where Bedrock keeps them with its log of calls, as far as they fit there.
fn write_hints(hints: Vec<Said<Value>>, body: &mut Map<String, Value>, losses: &mut Losses) {
    for Said { value, at } in hints {
        match (at.as_str(), value) {
            ("requestMetadata" | "metadata" | "labels", Value::Object(labels)) if labels_fit(&labels) => {
                body.insert("requestMetadata".to_owned(), labels.into());
            }
            ("performanceConfig" | "projectIdentifier", value) => drop(body.insert(at, value)),
            _ => losses.note(&at),
        }
    }
}

fn labels_fit(labels: &Map<String, Value>) -> bool {
    const MAX_LABELS: usize = 16;
    const MAX_CHARS: usize = 256;
    let is_plain =
        |letter: char| letter.is_ascii_alphanumeric() || letter.is_ascii_whitespace() || ":_@$#=/+,-.".contains(letter);
    let fits = |text: &str| text.len() <= MAX_CHARS && text.chars().all(is_plain);
    (1..=MAX_LABELS).contains(&labels.len())
        && labels.iter().all(|(name, value)| !name.is_empty() && fits(name) && value.as_str().is_some_and(fits))
}

fn write_tier(tier: Option<Said<String>>, losses: &mut Losses) -> Option<&'static str> {
    let Said { value, at } = tier?;
    match Tier::from_word(&value) {
        Some(Tier::Standard) => Some("default"),
        Some(Tier::Priority) => Some("priority"),
        Some(Tier::Flex) => Some("flex"),
        // Capacity bought from another provider is none here.
        Some(Tier::Reserved) if value == "reserved" => Some("reserved"),
        Some(Tier::Reserved | Tier::Batch) | None => {
            losses.note(&at);
            None
        }
    }
}

#[cfg(test)]
mod tests;
