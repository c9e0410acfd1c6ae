//! Writes the body of a request. What Google cannot be told is lost by name.
//! Sources: <https://ai.google.dev/api/generate-content>, <https://ai.google.dev/gemini-api/docs/thinking>,
//! <https://ai.google.dev/gemini-api/docs/structured-output> (2026-11-26).

use serde_json::{Map, Value, json};

use super::{MAX_STOP_TEXTS, no_parameters, turns};
use crate::chat::{Content, Effort, Format, Part, Reasoning, Request, Said, Tier, Tool, ToolChoice, WebSearch};
use crate::dialect::gemini::{is_third_generation, object};
use crate::translate::thinking::budget;
use crate::translate::{Losses, Unsupported};

/// Answers to one request, at most.
const MAX_CHOICES: u64 = 8;
/// Alternatives for each token, at most.
const MAX_LOGPROBS: u64 = 20;

/// Writes the body of a request.
///
/// # Errors
/// [`Unsupported`] names a field that Google cannot be told.
pub(crate) fn write(request: Request, losses: &mut Losses) -> Result<Value, Unsupported> {
    let Request {
        model,
        // The path says it.
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
    for other in &others {
        losses.lose_other(other)?;
    }
    hints.iter().for_each(|hint| losses.note(&hint.at));
    if let Some(user) = &user {
        losses.note(&user.at);
    }
    if let Some(parallel) = parallel_tool_calls.filter(|parallel| !parallel.value && !tools.is_empty()) {
        // A wish: whoever can take one call at a time can take the first of several.
        losses.note(&parallel.at);
    }
    let third_generation = is_third_generation(&model);
    let mut body = Map::new();
    if let Some(system) = write_system(system, losses)? {
        body.insert("systemInstruction".to_owned(), system);
    }
    body.insert("contents".to_owned(), turns::write(messages, third_generation, losses)?);
    let has_functions = !tools.is_empty();
    write_tools(tools, tool_choice, &mut body, losses)?;
    if let Some(search) = web_search {
        write_search(search, has_functions, &mut body, losses)?;
    }
    let limit = max_output_tokens.as_ref().map(|limit| limit.value);
    let mut config = Config { fields: Map::new(), losses };
    config.whole("maxOutputTokens", max_output_tokens, i64::from(i32::MAX))?;
    config.number("temperature", temperature, 0.0, 2.0)?;
    config.number("topP", top_p, 0.0, 1.0)?;
    config.whole("topK", top_k, i64::from(i32::MAX))?;
    config.seed(seed);
    // Google's limit is just below two: <https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference>.
    config.number("frequencyPenalty", frequency_penalty, -2.0, 1.999_999)?;
    config.number("presencePenalty", presence_penalty, -2.0, 1.999_999)?;
    config.whole("candidateCount", choices, i64::try_from(MAX_CHOICES).unwrap_or(i64::MAX))?;
    config.stop(stop)?;
    config.logprobs(logprobs)?;
    config.format(format);
    if let Some(reasoning) = reasoning {
        config.thinking(reasoning, &model, third_generation, limit)?;
    }
    let Config { fields, losses } = config;
    if !fields.is_empty() {
        body.insert("generationConfig".to_owned(), Value::Object(fields));
    }
    if let Some(tier) = service_tier {
        write_tier(tier, &mut body, losses);
    }
    Ok(Value::Object(body))
}

fn write_system(system: Vec<Part>, losses: &mut Losses) -> Result<Option<Value>, Unsupported> {
    let mut parts = Vec::with_capacity(system.len());
    for Part { content, at, cache } in system {
        if cache.is_some() {
            losses.note_marker(&at);
        }
        match content {
            Content::Text { text, .. } | Content::Refusal(text) => parts.push(object([("text", text.into())])),
            Content::Image { .. }
            | Content::Audio(_)
            | Content::Video(_)
            | Content::Document { .. }
            | Content::ToolCall(_)
            | Content::ToolResult(_)
            | Content::Thinking { .. }
            | Content::Redacted(_)
            | Content::CustomCall(_)
            | Content::Native { .. } => losses.lose(&at, format!("{} in the instruction", content.described()))?,
        }
    }
    Ok((!parts.is_empty()).then(|| object([("parts", Value::Array(parts))])))
}

fn write_tools(
    tools: Vec<Tool>,
    choice: Option<Said<ToolChoice>>,
    body: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    let strict = tools.iter().any(|tool| tool.strict == Some(true));
    let has_tools = !tools.is_empty();
    let mut declarations = Vec::with_capacity(tools.len());
    for Tool { name, description, parameters, strict: _, cache, at } in tools {
        if cache.is_some() {
            losses.note_marker(&at);
        }
        let mut declaration = Map::from_iter([("name".to_owned(), name.into())]);
        if let Some(description) = description {
            declaration.insert("description".to_owned(), description.into());
        }
        if parameters != no_parameters() {
            declaration.insert("parametersJsonSchema".to_owned(), parameters);
        }
        declarations.push(Value::Object(declaration));
    }
    if has_tools {
        let declared = object([("functionDeclarations", Value::Array(declarations))]);
        body.insert("tools".to_owned(), Value::Array(vec![declared]));
    }
    let calling = match choice.map(|choice| choice.value) {
        // A word about tools there are not.
        Some(ToolChoice::Auto | ToolChoice::None) if !has_tools => None,
        // Calls fit their schemas where one is forced; otherwise Google has a mode for it.
        Some(ToolChoice::Auto) | None if strict => Some(json!({"mode": "VALIDATED"})),
        Some(ToolChoice::Auto) => Some(json!({"mode": "AUTO"})),
        Some(ToolChoice::None) => Some(json!({"mode": "NONE"})),
        Some(ToolChoice::Required) => Some(json!({"mode": "ANY"})),
        Some(ToolChoice::Named(name)) => Some(json!({"mode": "ANY", "allowedFunctionNames": [name]})),
        None => None,
    };
    if let Some(calling) = calling {
        body.insert("toolConfig".to_owned(), object([("functionCallingConfig", calling)]));
    }
    Ok(())
}

/// Google searches as it sees fit. Beside functions it does so for Gemini 3 alone, not on Vertex AI, and only if every step of
/// its search comes back in the next turn, for which no other dialect has a place:
/// <https://ai.google.dev/gemini-api/docs/tool-combination> (2026-11-26).
fn write_search(
    search: Said<WebSearch>,
    has_functions: bool,
    body: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    let Said { value: search, at } = search;
    if has_functions {
        return losses.lose(&at, "a search of the web beside functions");
    }
    search.lose_domains(losses)?;
    search.note_wishes(losses);
    let tool = json!({"googleSearch": {}});
    match body.get_mut("tools").and_then(Value::as_array_mut) {
        Some(tools) => tools.push(tool),
        None => drop(body.insert("tools".to_owned(), Value::Array(vec![tool]))),
    }
    Ok(())
}

/// Google's tiers are `standard`, `flex` and `priority`: <https://ai.google.dev/gemini-api/docs/priority-inference>
/// (2026-11-26).
fn write_tier(tier: Said<String>, body: &mut Map<String, Value>, losses: &mut Losses) {
    let word = match Tier::from_word(&tier.value) {
        // OpenAI's word for what there is without one, which clients write out.
        Some(Tier::Standard) if tier.value == "default" => return,
        Some(Tier::Standard) => "standard",
        Some(Tier::Priority) => "priority",
        Some(Tier::Flex) => "flex",
        Some(Tier::Batch | Tier::Reserved) | None => return losses.note(&tier.at),
    };
    body.insert("serviceTier".to_owned(), word.into());
}

struct Config<'a> {
    fields: Map<String, Value>,
    losses: &'a mut Losses,
}

impl Config<'_> {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    fn whole(&mut self, name: &str, said: Option<Said<u64>>, most: i64) -> Result<(), Unsupported> {
        let Some(Said { value, at }) = said else { return Ok(()) };
        match i64::try_from(value).ok().filter(|value| *value <= most) {
            Some(value) => self.put(name, value),
            None => self.losses.lose(&at, format!("more than {most}"))?,
        }
        Ok(())
    }

    fn number(&mut self, name: &str, said: Option<Said<f64>>, least: f64, most: f64) -> Result<(), Unsupported> {
        let Some(Said { value, at }) = said else { return Ok(()) };
        if (least..=most).contains(&value) {
            self.put(name, value);
            return Ok(());
        }
        self.losses.lose(&at, format!("a number outside {least} to {most}"))
    }

    /// A seed of more than 32 bits is none here; it asks for the same answer again as far as it can be had, and is promised by
    /// nobody.
    fn seed(&mut self, said: Option<Said<i64>>) {
        let Some(Said { value, at }) = said else { return };
        match i32::try_from(value) {
            Ok(seed) => self.put("seed", seed),
            Err(_) => self.losses.note(&at),
        }
    }

    fn stop(&mut self, said: Option<Said<Vec<String>>>) -> Result<(), Unsupported> {
        let Some(Said { value: mut texts, at }) = said else { return Ok(()) };
        if texts.len() > MAX_STOP_TEXTS {
            self.losses.lose(&at, format!("more than {MAX_STOP_TEXTS} stop texts"))?;
            texts.truncate(MAX_STOP_TEXTS);
        }
        if !texts.is_empty() {
            self.put("stopSequences", texts);
        }
        Ok(())
    }

    fn logprobs(&mut self, said: Option<Said<u64>>) -> Result<(), Unsupported> {
        let Some(Said { value, at }) = said else { return Ok(()) };
        if value > MAX_LOGPROBS {
            return self.losses.lose(&at, format!("more than {MAX_LOGPROBS} alternatives"));
        }
        self.put("responseLogprobs", true);
        if value > 0 {
            self.put("logprobs", value);
        }
        Ok(())
    }

    /// What a schema is called and what it is stands within it. Google always sees to it that the answer fits.
    fn format(&mut self, said: Option<Said<Format>>) {
        let Some(Said { value: format, .. }) = said else { return };
        self.put("responseMimeType", "application/json");
        let Format::JsonSchema { name, description, mut schema, strict: _ } = format else { return };
        if let Value::Object(fields) = &mut schema {
            if !name.is_empty() && !fields.contains_key("title") {
                fields.insert("title".to_owned(), name.into());
            }
            if let Some(description) = description.filter(|_| !fields.contains_key("description")) {
                fields.insert("description".to_owned(), description.into());
            }
        }
        self.put("responseJsonSchema", schema);
    }

    fn thinking(
        &mut self,
        said: Said<Reasoning>,
        model: &str,
        third_generation: bool,
        limit: Option<u64>,
    ) -> Result<(), Unsupported> {
        let Said { value: reasoning, at } = said;
        let mut thinking = Map::new();
        let off = reasoning.enabled == Some(false) || reasoning.effort == Some(Effort::None);
        if third_generation {
            if let Some(level) = self.level(&reasoning, off, model, &at)? {
                thinking.insert("thinkingLevel".to_owned(), level.into());
            }
        } else if let Some(budget) = self.budget(&reasoning, off, model, limit, &at)? {
            thinking.insert("thinkingBudget".to_owned(), budget.into());
        }
        if reasoning.shown == Some(true) && !off {
            thinking.insert("includeThoughts".to_owned(), true.into());
        }
        if !thinking.is_empty() {
            self.put("thinkingConfig", thinking);
        }
        Ok(())
    }

    /// Gemini 3 thinks by levels. Its larger models always think, and do not know the least level; the smaller ones think
    /// next to nothing at it. The level above `high` is too new for most. A level that is another than was asked for is
    /// listed.
    fn level(
        &mut self,
        reasoning: &Reasoning,
        off: bool,
        model: &str,
        at: &str,
    ) -> Result<Option<&'static str>, Unsupported> {
        let always_thinks = model.contains("pro");
        if off && always_thinks {
            self.losses.lose(at, "no thinking, which this model cannot do without")?;
            return Ok(None);
        }
        let effort = match (off, reasoning.effort, reasoning.budget_tokens) {
            (true, ..) => Effort::Minimal,
            (false, Some(effort), _) => effort,
            (false, None, Some(tokens)) => Effort::of_budget(tokens),
            (false, None, None) => return Ok(None),
        };
        let (level, word) = match effort {
            Effort::None | Effort::Minimal if always_thinks => (Effort::Low, "LOW"),
            Effort::None | Effort::Minimal => (Effort::Minimal, "MINIMAL"),
            Effort::Low => (Effort::Low, "LOW"),
            Effort::Medium => (Effort::Medium, "MEDIUM"),
            Effort::High | Effort::ExtraHigh | Effort::Max => (Effort::High, "HIGH"),
        };
        if off || level != effort {
            self.losses.note(at);
        }
        Ok(Some(word))
    }

    /// Gemini 2.5 thinks by tokens; -1 leaves the number to it, 0 switches it off where it can be.
    fn budget(
        &mut self,
        reasoning: &Reasoning,
        off: bool,
        model: &str,
        limit: Option<u64>,
        at: &str,
    ) -> Result<Option<i64>, Unsupported> {
        let always_thinks = model.contains("pro");
        if off || reasoning.budget_tokens == Some(0) {
            if always_thinks {
                self.losses.lose(at, "no thinking, which this model cannot do without")?;
                return Ok(None);
            }
            return Ok(Some(0));
        }
        if reasoning.budget_tokens.is_none() && reasoning.effort.is_none() {
            return Ok((reasoning.enabled == Some(true)).then_some(-1));
        }
        let (least, most) = thinks_within(model);
        if let Some(tokens) = reasoning.budget_tokens.filter(|tokens| *tokens > most) {
            self.losses.lose(at, format!("more than {most} tokens of thinking, of which {tokens} were asked for"))?;
        }
        let most = limit.map_or(most, |limit| limit.min(most));
        let tokens = budget(reasoning, at, least, Some(most), self.losses)?;
        Ok(tokens.and_then(|tokens| i64::try_from(tokens).ok()))
    }
}

/// The least and the most tokens that a model of Gemini 2.5 thinks with.
/// <https://ai.google.dev/gemini-api/docs/thinking#set-budget> (2026-11-26).
fn thinks_within(model: &str) -> (u64, u64) {
    if model.contains("pro") {
        (128, 32_768)
    } else if model.contains("flash-lite") {
        (512, 24_576)
    } else {
        (1, 24_576)
    }
}
