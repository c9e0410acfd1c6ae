//! Writes a request of Converse. Turns alternate there, so neighbours of one role become one message. `tool_choice: none`
//! has no word: the tools are left out instead, unless the conversation holds calls, which Converse takes only together
//! with tools; then Claude is told in its own words, and other models cannot be told. For a conversation with calls and
//! without tools the called names are declared as tools that are not available any more.

use serde_json::{Map, Value, json};

use super::super::additional::{self, Family};
use super::super::block;
use super::super::media::Names;
use crate::chat::{Content, Format, Message, Request, Role, Said, Tool, ToolChoice};
use crate::translate::{Losses, Unsupported};

mod part;

/// Writes the body of a request.
///
/// # Errors
/// [`Unsupported`] names what Converse, or the model behind it, cannot express.
pub(crate) fn write(request: Request, losses: &mut Losses) -> Result<Value, Unsupported> {
    let Request {
        model,
        stream: _,
        system,
        messages,
        tools,
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
    let family = Family::of(&model);
    lose(seed, "a seed", losses)?;
    lose(frequency_penalty, "a frequency penalty", losses)?;
    lose(presence_penalty, "a presence penalty", losses)?;
    lose(logprobs, "log probabilities", losses)?;
    lose(choices.filter(|choices| choices.value != 1), "more than one answer", losses)?;
    for other in others {
        losses.lose(&other.at, "a field of another dialect")?;
    }
    if let Some(user) = user {
        losses.note(&user.at);
    }
    let mut more = Map::new();
    let mut body = Map::new();
    let called = called_names(&messages);
    let max_tokens = max_output_tokens.as_ref().map(|most| most.value);
    body.insert("messages".to_owned(), write_messages(messages, family, losses)?.into());
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
    additional::write_top_k(top_k, family, &mut more, losses)?;
    let effort = additional::write_reasoning(reasoning, family, max_tokens, &mut more, losses)?;
    let mut output = Map::new();
    if let Some(format) = write_format(format, losses)? {
        output.insert("textFormat".to_owned(), format);
    }
    if let Some(effort) = effort {
        // Claude's least word is `low`.
        output.insert("effort".to_owned(), effort.max(crate::chat::Effort::Low).as_str().into());
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
    if let Some(tier) = write_tier(service_tier, losses)? {
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

fn write_messages(messages: Vec<Message>, family: Family, losses: &mut Losses) -> Result<Vec<Value>, Unsupported> {
    let mut written: Vec<(Role, Vec<Value>)> = Vec::with_capacity(messages.len());
    let mut names = Names::default();
    for Message { role, parts, name } in messages {
        lose(name, "the name of a speaker", losses)?;
        let mut blocks = Vec::with_capacity(parts.len());
        for part in parts {
            part::write(part, role, family, &mut names, &mut blocks, losses)?;
        }
        match written.last_mut() {
            _ if blocks.is_empty() => {}
            Some((last, content)) if *last == role => content.append(&mut blocks),
            _ => written.push((role, blocks)),
        }
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
        lose(one_at_a_time, "one call at a time", losses)?;
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

fn write_tier(tier: Option<Said<String>>, losses: &mut Losses) -> Result<Option<&'static str>, Unsupported> {
    let Some(Said { value, at }) = tier else { return Ok(None) };
    Ok(match value.as_str() {
        // As the provider sees fit: what it does anyway.
        "auto" => None,
        "default" | "standard" | "standard_only" => Some("default"),
        "priority" => Some("priority"),
        "flex" => Some("flex"),
        "reserved" => Some("reserved"),
        _ => {
            losses.lose(&at, format!("the tier `{value}`"))?;
            None
        }
    })
}

#[cfg(test)]
mod tests;
