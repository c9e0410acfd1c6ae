//! Writes requests of the Responses API. A translated call leaves nothing behind at the provider (`store` is false unless
//! the caller said otherwise), so thoughts come back in their encrypted form and are sent again from there.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use tollgate_interaction::Dialect;

use super::super::content::{object, take_text, write_citation, write_data_url};
use super::super::output;
use super::custom;
use crate::chat::{
    CacheFor, Content, Effort, Format, Message, Part, Reasoning, Request, Role, Said, Signature, Source, Tier, Tool,
    ToolCall, ToolChoice, ToolResult, WebSearch,
};
use crate::dialect::openai::models::{self, BREAKPOINT};
use crate::translate::{Losses, Unsupported, search};

/// Characters of the end user's name that the API takes.
const MAX_USER_CHARS: usize = 64;
/// Most alternatives that can be told for each token.
const MAX_TOP_LOGPROBS: u64 = 20;

/// Writes a request.
///
/// # Errors
/// [`Unsupported`] names the field that the API cannot express.
pub(crate) fn write(request: Request, losses: &mut Losses) -> Result<Value, Unsupported> {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    let takes_breakpoints = models::takes_breakpoints(&request.model);
    let mut input = Input { items: Vec::new(), content: Vec::new(), custom_calls: HashSet::new(), takes_breakpoints };
    let never_thinks = models::never_thinks(&request.model);
    // Of models whose name says nothing it is not known.
    let takes_verbosity = models::takes_verbosity(&request.model) || !models::is_openais(&request.model);
    put("model", Value::String(request.model));
    if let Some(instructions) = input.system(request.system, losses)? {
        put("instructions", Value::String(instructions));
    }
    for message in request.messages {
        input.message(message, losses)?;
    }
    put("input", Value::Array(input.items));
    let mut tools: Vec<Value> = request.tools.into_iter().map(|tool| write_tool(tool, losses)).collect();
    let is_custom = |name: &str| request.custom_tools.iter().any(|tool| tool.name == name);
    let tool_choice = request.tool_choice.map(|choice| write_tool_choice(choice.value, is_custom));
    request.custom_tools.iter().filter(|tool| tool.cache.is_some()).for_each(|tool| losses.note_marker(&tool.at));
    tools.extend(request.custom_tools.into_iter().map(custom::write));
    if let Some(search) = request.web_search {
        tools.push(write_search(search.value, losses)?);
    }
    if !tools.is_empty() {
        put("tools", Value::Array(tools));
    }
    if let Some(choice) = tool_choice {
        put("tool_choice", choice);
    }
    if let Some(parallel) = request.parallel_tool_calls {
        put("parallel_tool_calls", Value::Bool(parallel.value));
    }
    if let Some(limit) = request.max_output_tokens {
        put("max_output_tokens", Value::from(limit.value));
    }
    for (name, number) in [("temperature", request.temperature), ("top_p", request.top_p)] {
        if let Some(number) = number {
            put(name, Value::from(number.value));
        }
    }
    lose_sampling(
        [
            (request.stop.map(|stop| stop.at), "texts that end the answer"),
            (request.top_k.map(|top_k| top_k.at), "sampling from the likeliest tokens"),
            (request.frequency_penalty.map(|penalty| penalty.at), "a penalty on frequent tokens"),
            (request.presence_penalty.map(|penalty| penalty.at), "a penalty on tokens that are present"),
            (request.choices.filter(|choices| choices.value > 1).map(|choices| choices.at), "several answers"),
        ],
        losses,
    )?;
    let mut options = Options { include: Vec::new(), text: Map::new(), reasoning: Map::new() };
    options.format(request.format);
    options.logprobs(request.logprobs, &mut put, losses)?;
    options.reasoning(request.reasoning, never_thinks, losses)?;
    for other in request.others {
        losses.lose_other(&other)?;
    }
    // A seed asks for the same answer again as far as it can be had, and is promised by nobody.
    request.seed.iter().for_each(|seed| losses.note(&seed.at));
    if let Some(tier) = request.service_tier {
        match Tier::from_word(&tier.value) {
            Some(Tier::Standard) => put("service_tier", Value::from("default")),
            Some(Tier::Priority) => put("service_tier", Value::from("priority")),
            Some(Tier::Flex) => put("service_tier", Value::from("flex")),
            Some(Tier::Batch | Tier::Reserved) | None => losses.note(&tier.at),
        }
    }
    match request.user {
        // Claude Code's is longer, and would be refused.
        Some(user) if user.value.chars().count() > MAX_USER_CHARS => losses.note(&user.at),
        Some(user) => put("safety_identifier", Value::String(user.value)),
        None => {}
    }
    put("store", Value::Bool(false));
    for hint in request.hints {
        options.hint(hint, takes_verbosity, &mut put, losses);
    }
    options.put(&mut put);
    if request.stream {
        put("stream", Value::Bool(true));
    }
    Ok(Value::Object(body))
}

fn lose_sampling<const N: usize>(
    said: [(Option<String>, &'static str); N],
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    for (at, what) in said {
        if let Some(at) = at {
            losses.lose(&at, what)?;
        }
    }
    Ok(())
}

fn write_search(search: WebSearch, losses: &mut Losses) -> Result<Value, Unsupported> {
    let WebSearch { allowed_domains, blocked_domains, max_uses, depth, place } = search;
    let mut tool = json!({"type": "web_search"});
    if let Some(allowed) = allowed_domains {
        tool["filters"] = json!({"allowed_domains": allowed.value});
    }
    if let Some(blocked) = blocked_domains {
        losses.lose(&blocked.at, "a list of domains not to search")?;
    }
    max_uses.iter().for_each(|most| losses.note(&most.at));
    if let Some(depth) = depth {
        tool["search_context_size"] = Value::String(depth.value);
    }
    if let Some(place) = place {
        tool["user_location"] = search::location(place.value);
    }
    Ok(tool)
}

fn write_tool(tool: Tool, losses: &mut Losses) -> Value {
    if tool.cache.is_some() {
        losses.note_marker(&tool.at);
    }
    let mut value = json!({"type": "function", "name": tool.name});
    if let Some(description) = tool.description {
        value["description"] = Value::String(description);
    }
    value["parameters"] = tool.parameters;
    // Left out, the API would try to make the schema strict, which no other does.
    value["strict"] = Value::Bool(tool.strict.unwrap_or(false));
    value
}

fn write_tool_choice(choice: ToolChoice, is_custom: impl Fn(&str) -> bool) -> Value {
    match choice {
        ToolChoice::Auto => Value::from("auto"),
        ToolChoice::None => Value::from("none"),
        ToolChoice::Required => Value::from("required"),
        ToolChoice::Named(name) => {
            let kind = if is_custom(&name) { "custom" } else { "function" };
            json!({"type": kind, "name": name})
        }
    }
}

/// Fields that several of a request's come together in.
struct Options {
    include: Vec<&'static str>,
    text: Map<String, Value>,
    reasoning: Map<String, Value>,
}

impl Options {
    fn format(&mut self, format: Option<Said<Format>>) {
        let value = match format.map(|format| format.value) {
            None => return,
            Some(Format::JsonObject) => json!({"type": "json_object"}),
            Some(Format::JsonSchema { name, description, schema, strict }) => {
                let name = if name.is_empty() { "answer".to_owned() } else { name };
                let mut value = json!({"type": "json_schema", "name": name});
                if let Some(description) = description {
                    value["description"] = Value::String(description);
                }
                value["schema"] = schema;
                if let Some(strict) = strict {
                    value["strict"] = Value::Bool(strict);
                }
                value
            }
        };
        self.text.insert("format".to_owned(), value);
    }

    fn logprobs(
        &mut self,
        logprobs: Option<Said<u64>>,
        put: &mut impl FnMut(&str, Value),
        losses: &mut Losses,
    ) -> Result<(), Unsupported> {
        let Some(Said { value: top, at }) = logprobs else { return Ok(()) };
        if top > MAX_TOP_LOGPROBS {
            return losses.lose(&at, format!("more than {MAX_TOP_LOGPROBS} alternatives"));
        }
        self.include.push("message.output_text.logprobs");
        put("top_logprobs", Value::from(top));
        Ok(())
    }

    fn reasoning(
        &mut self,
        reasoning: Option<Said<Reasoning>>,
        never_thinks: bool,
        losses: &mut Losses,
    ) -> Result<(), Unsupported> {
        let Some(Said { value: Reasoning { effort, budget_tokens, enabled, shown }, at }) = reasoning else {
            return Ok(());
        };
        let effort = match enabled {
            Some(false) => Some(Effort::None),
            Some(true) | None => effort.or(budget_tokens.map(Effort::of_budget)),
        };
        let is_off = effort == Some(Effort::None);
        if never_thinks {
            let is_asked = !is_off && (effort.is_some() || enabled == Some(true));
            return if is_asked { losses.lose(&at, "thinking of a model that does not think") } else { Ok(()) };
        }
        if let Some(effort) = effort {
            self.reasoning.insert("effort".to_owned(), Value::from(effort.as_str()));
        }
        if is_off {
            return Ok(());
        }
        if shown == Some(true) {
            self.reasoning.insert("summary".to_owned(), Value::from("auto"));
        }
        // Without it the thoughts could not be sent back. Models that cannot think refuse it, so it is not always asked.
        self.include.push("reasoning.encrypted_content");
        Ok(())
    }

    /// Passes on a hint that the API knows, and notes any other.
    fn hint(
        &mut self,
        hint: Said<Value>,
        takes_verbosity: bool,
        put: &mut impl FnMut(&str, Value),
        losses: &mut Losses,
    ) {
        let Said { value, at } = hint;
        let are_texts = |value: &Value| value.as_object().is_some_and(|map| map.values().all(Value::is_string));
        match (at.as_str(), &value) {
            ("store", Value::Bool(_)) | ("prompt_cache_key" | "prompt_cache_retention", Value::String(_)) => {
                put(&at, value);
            }
            ("prompt_cache_options", Value::Object(_)) => put(&at, value),
            ("metadata", metadata) if are_texts(metadata) => put(&at, value),
            // Chat Completions has the same word in another place.
            ("verbosity" | "text.verbosity", Value::String(_)) if takes_verbosity => {
                drop(self.text.insert("verbosity".to_owned(), value))
            }
            ("reasoning.summary", Value::String(_)) if self.reasoning.contains_key("summary") => {
                self.reasoning.insert("summary".to_owned(), value);
            }
            _ => losses.note(&at),
        }
    }

    fn put(self, put: &mut impl FnMut(&str, Value)) {
        for (name, fields) in [("text", self.text), ("reasoning", self.reasoning)] {
            if !fields.is_empty() {
                put(name, Value::Object(fields));
            }
        }
        if !self.include.is_empty() {
            put("include", Value::from(self.include));
        }
    }
}

/// The items that are being written.
struct Input {
    items: Vec<Value>,
    /// Of the message that is not closed yet.
    content: Vec<Value>,
    /// Ids of calls of tools that take free text: their results are items of another type.
    custom_calls: HashSet<String>,
    takes_breakpoints: bool,
}

impl Input {
    /// One text becomes the instructions, which is returned; anything else a message before the others.
    fn system(&mut self, mut parts: Vec<Part>, losses: &mut Losses) -> Result<Option<String>, Unsupported> {
        let is_plain = |part: &Part| {
            let marked = part.cache.is_some() && self.takes_breakpoints;
            !marked && matches!(&part.content, Content::Text { .. })
        };
        if parts.len() == 1 && parts.iter().all(is_plain) {
            let Some(Part { content: Content::Text { text, .. }, at, cache }) = parts.pop() else { return Ok(None) };
            if cache.is_some() {
                losses.note_marker(&at);
            }
            return Ok(Some(text));
        }
        if !parts.is_empty() {
            self.message(Message { role: Role::System, parts, name: None }, losses)?;
        }
        Ok(None)
    }

    fn message(&mut self, message: Message, losses: &mut Losses) -> Result<(), Unsupported> {
        if let Some(name) = message.name {
            losses.lose(&name.at, "the name of a speaker")?;
        }
        for part in message.parts {
            self.part(message.role, part, losses)?;
        }
        self.close(message.role);
        Ok(())
    }

    fn close(&mut self, role: Role) {
        if self.content.is_empty() {
            return;
        }
        let role = match role {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::System => "developer",
        };
        let content = match std::mem::take(&mut self.content) {
            // In parts it would be an answer as the API gave it, which has an id.
            content if role == "assistant" => plain_text(content),
            content => Value::Array(content),
        };
        self.items.push(object([("type", Value::from("message")), ("role", Value::from(role)), ("content", content)]));
    }

    fn item(&mut self, role: Role, item: Value) {
        self.close(role);
        self.items.push(item);
    }

    fn part(&mut self, role: Role, part: Part, losses: &mut Losses) -> Result<(), Unsupported> {
        let Part { content, at, cache } = part;
        match content {
            Content::ToolCall(call) => self.call(role, call, &at, losses),
            Content::CustomCall(ToolCall { id, name, arguments, signature: _ }) => {
                self.custom_calls.insert(id.clone());
                self.item(role, custom::write_call(id, name, arguments));
            }
            Content::ToolResult(result) => return self.result(role, result, cache, &at, losses),
            Content::Thinking { text, signature } => self.thinking(role, Some(text), signature, &at, losses),
            Content::Redacted(signature) => self.thinking(role, None, Some(signature), &at, losses),
            Content::Native { dialect: Dialect::Responses, value, .. } => self.item(role, value),
            content => {
                let Some(mut value) = write_content(role, content, &at, losses)? else { return Ok(()) };
                self.mark(role, cache, &mut value, &at, losses);
                self.content.push(value);
                return Ok(());
            }
        }
        if cache.is_some() {
            losses.note_marker(&at);
        }
        Ok(())
    }

    /// Marks the end of a prefix to be cached, where the model and the kind of content take it.
    fn mark(&self, role: Role, cache: Option<CacheFor>, value: &mut Value, at: &str, losses: &mut Losses) {
        let Some(cache) = cache else { return };
        if !self.takes_breakpoints || role == Role::Assistant {
            return losses.note(at);
        }
        value[BREAKPOINT] = models::breakpoint(cache);
    }

    fn call(&mut self, role: Role, call: ToolCall, at: &str, losses: &mut Losses) {
        match call.signature {
            Some(signature) if signature.of == Dialect::Responses => {
                self.item(role, write_reasoning(None, signature));
            }
            // The call is whole without it.
            Some(_) => losses.note_signature(at),
            None => {}
        }
        let arguments = if call.arguments.is_empty() { "{}".to_owned() } else { call.arguments };
        let item = object([
            ("type", Value::from("function_call")),
            ("call_id", Value::String(call.id)),
            ("name", Value::String(call.name)),
            ("arguments", Value::String(arguments)),
        ]);
        self.item(role, item);
    }

    fn result(
        &mut self,
        role: Role,
        result: ToolResult,
        cache: Option<CacheFor>,
        at: &str,
        losses: &mut Losses,
    ) -> Result<(), Unsupported> {
        let ToolResult { id, name: _, mut parts, is_error } = result;
        if let Some(cache) = cache {
            // A marker behind the result is one behind the last of its contents.
            match parts.last_mut().filter(|_| self.takes_breakpoints) {
                Some(last) => drop(last.cache.get_or_insert(cache)),
                None => losses.note(at),
            }
        }
        if is_error == Some(true) {
            // The mark has no field here: it goes in front of the words, as in Chat Completions.
            match parts.first_mut() {
                Some(Part { content: Content::Text { text, .. }, .. }) => text.insert_str(0, "Error: "),
                _ => parts.insert(0, Part::new(Content::text("Error"), at)),
            }
        }
        let is_text = matches!(parts.as_slice(), [Part { content: Content::Text { .. }, cache: None, .. }]);
        let output = match parts.pop() {
            None => Value::from(""),
            Some(Part { content: Content::Text { text, .. }, .. }) if is_text => Value::String(text),
            Some(last) => {
                parts.push(last);
                let mut values = Vec::with_capacity(parts.len());
                for Part { content, at, cache } in parts {
                    let Some(mut value) = write_content(Role::User, content, &at, losses)? else { continue };
                    self.mark(Role::User, cache, &mut value, &at, losses);
                    values.push(value);
                }
                Value::Array(values)
            }
        };
        let kind = if self.custom_calls.contains(&id) { "custom_tool_call_output" } else { "function_call_output" };
        let item = object([("type", Value::from(kind)), ("call_id", Value::String(id)), ("output", output)]);
        self.item(role, item);
        Ok(())
    }

    fn thinking(
        &mut self,
        role: Role,
        text: Option<String>,
        signature: Option<Signature>,
        at: &str,
        losses: &mut Losses,
    ) {
        match signature {
            Some(signature) if signature.of == Dialect::Responses => self.item(role, write_reasoning(text, signature)),
            // Nobody else can read them, nor the API those of its own without their encrypted form.
            Some(_) | None => losses.note(at),
        }
    }
}

/// Thoughts the API gave. Their item's id is not asked for where the encrypted form is there and nothing is stored.
fn write_reasoning(text: Option<String>, signature: Signature) -> Value {
    let summary = text.filter(|text| !text.is_empty()).map(output::summary_text).into_iter().collect();
    object([
        ("type", Value::from("reasoning")),
        ("summary", Value::Array(summary)),
        ("encrypted_content", Value::String(signature.text)),
    ])
}

/// Writes content of a message or of a tool's result; `None` if it had to be left out.
fn write_content(role: Role, content: Content, at: &str, losses: &mut Losses) -> Result<Option<Value>, Unsupported> {
    let what = content.described();
    let is_models = role == Role::Assistant;
    let value = match content {
        Content::Text { text, citations } => {
            if !is_models {
                if !citations.is_empty() {
                    losses.note(at);
                }
                return Ok(Some(input_text(text)));
            }
            let length = text.chars().count() as u64;
            // Only citations of the web can be sent back: of a document's, the file is not the provider's.
            let (web, others): (Vec<_>, Vec<_>) = citations.into_iter().partition(|citation| citation.url.is_some());
            if !others.is_empty() {
                losses.note(at);
            }
            let annotations: Vec<Value> =
                web.into_iter().filter_map(|citation| write_citation(citation, length)).collect();
            Some(object([
                ("type", Value::from("output_text")),
                ("text", Value::String(text)),
                ("annotations", Value::Array(annotations)),
            ]))
        }
        Content::Refusal(text) if is_models => Some(output::refusal(text)),
        Content::Refusal(text) => Some(input_text(text)),
        Content::Image { source, detail } if !is_models => write_image(source, detail),
        Content::Document { source, name, context, citations } if !is_models => {
            if context.is_some() {
                losses.lose_beside(at, "what is said about a document beside its content")?;
            }
            if citations {
                losses.lose_beside(at, "citations of a document")?;
            }
            write_file(source, name)
        }
        Content::Image { .. }
        | Content::Document { .. }
        | Content::Audio(_)
        | Content::Video(_)
        | Content::ToolCall(_)
        | Content::ToolResult(_)
        | Content::Thinking { .. }
        | Content::Redacted(_)
        | Content::CustomCall(_)
        | Content::Native { .. } => None,
    };
    if value.is_none() {
        losses.lose(at, if is_models { format!("{what} of the model's") } else { what })?;
    }
    Ok(value)
}

fn input_text(text: String) -> Value {
    object([("type", Value::from("input_text")), ("text", Value::String(text))])
}

/// The content of a message of the model's as a text, if that is all it is.
fn plain_text(mut content: Vec<Value>) -> Value {
    if let [Value::Object(part)] = content.as_mut_slice()
        && part.get("annotations").and_then(Value::as_array).is_some_and(Vec::is_empty)
    {
        return Value::String(take_text(part, "text"));
    }
    Value::Array(content)
}

/// The files of both of OpenAI's APIs are the same.
fn is_own(dialect: Dialect) -> bool {
    matches!(dialect, Dialect::Openai | Dialect::Responses)
}

fn write_image(source: Source, detail: Option<String>) -> Option<Value> {
    let (field, content) = match source {
        Source::Base64 { media_type, base64 } => ("image_url", write_data_url(&media_type, &base64)),
        Source::Url { url, .. } if url.starts_with("http") => ("image_url", url),
        Source::File { dialect, id } if is_own(dialect) => ("file_id", id),
        Source::Url { .. } | Source::File { .. } | Source::Text(_) => return None,
    };
    let detail = detail.unwrap_or_else(|| "auto".to_owned());
    Some(object([
        ("type", Value::from("input_image")),
        (field, Value::String(content)),
        ("detail", Value::String(detail)),
    ]))
}

fn write_file(source: Source, name: Option<String>) -> Option<Value> {
    let (field, content, ending) = match source {
        Source::Base64 { media_type, base64 } => {
            let ending = media_type.rsplit('/').next().unwrap_or_default().to_owned();
            ("file_data", write_data_url(&media_type, &base64), ending)
        }
        Source::Text(text) => ("file_data", write_data_url("text/plain", &STANDARD.encode(text)), "txt".to_owned()),
        Source::Url { url, .. } if url.starts_with("http") => ("file_url", url, String::new()),
        Source::File { dialect, id } if is_own(dialect) => ("file_id", id, String::new()),
        Source::Url { .. } | Source::File { .. } => return None,
    };
    let mut value = object([("type", Value::from("input_file"))]);
    // Content needs a name, by which the API knows what it is.
    let default = || Some(format!("document.{ending}")).filter(|_| field == "file_data");
    if let Some(name) = name.or_else(default) {
        value["filename"] = Value::String(name);
    }
    value[field] = Value::String(content);
    Some(value)
}
