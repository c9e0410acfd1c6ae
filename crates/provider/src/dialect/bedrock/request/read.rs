//! Reads a request of Converse. What only Converse can say goes to [`Request::others`] by name, or stays as it stands in
//! the message it is part of.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::chat::{CacheFor, Content, Format, Message, Part, Request, Role, Said, Tool, ToolChoice, WebSearch};
use crate::dialect::RequestError;
use crate::dialect::bedrock::additional;
use crate::dialect::bedrock::block::{self, Block};
use crate::translate::{Address, Fields, read_text};

/// Nova's search of the web.
pub(super) const GROUNDING: &str = "nova_grounding";
/// The one field of a model's answer that a request of ours asks for.
const STOP_SEQUENCE: &str = "/stop_sequence";

/// Reads the body of a request sent to `address`.
///
/// # Errors
/// [`RequestError`] names the field that is not what Converse wants.
pub(crate) fn read(body: Value, address: Address<'_>) -> Result<Request, RequestError> {
    let mut fields = Fields::of(body, "")?;
    let mut request = Request { model: address.model.to_owned(), stream: address.stream, ..Request::default() };
    if let Some(system) = fields.array("system")? {
        request.system = read_parts(system, &mut request.others)?;
    }
    read_messages(&mut fields, &mut request)?;
    if let Some(config) = fields.object("inferenceConfig")? {
        read_inference(config, &mut request)?;
    }
    if let Some(config) = fields.object("toolConfig")? {
        read_tools(config, &mut request)?;
    }
    if let Some(config) = fields.object("outputConfig")? {
        read_output(config, &mut request)?;
    }
    if let Some(more) = fields.object("additionalModelRequestFields")? {
        additional::read(more, &mut request)?;
    }
    if let Some(mut tier) = fields.object("serviceTier")? {
        // `default` is what everybody gets who says nothing.
        request.service_tier = tier.text("type")?.filter(|tier| tier.value != "default");
        request.others.extend(tier.rest());
    }
    if let Some(paths) = fields.array("additionalModelResponseFieldPaths")? {
        // Which of the stop texts it was is told anyway.
        if paths.value.iter().any(|path| path != STOP_SEQUENCE) {
            request.others.push(Said::new(Value::Array(paths.value), paths.at));
        }
    }
    for name in ["requestMetadata", "performanceConfig", "projectIdentifier"] {
        request.hints.extend(fields.said(name));
    }
    request.others.extend(fields.rest());
    Ok(request)
}

/// Blocks as parts; a cache point marks the part before it.
fn read_parts(blocks: Said<Vec<Value>>, others: &mut Vec<Said<Value>>) -> Result<Vec<Part>, RequestError> {
    let mut parts: Vec<Part> = Vec::with_capacity(blocks.value.len());
    for (index, value) in blocks.value.into_iter().enumerate() {
        let at = format!("{}[{index}]", blocks.at);
        match block::read(value, at.clone(), others)? {
            Block::Part(part) => parts.push(part),
            Block::CachePoint(cache) => match parts.last_mut() {
                Some(part) => part.cache = Some(cache),
                None => {
                    return Err(RequestError::Malformed { field: at, expected: "put it behind what is to be cached" });
                }
            },
            Block::Empty => {}
        }
    }
    Ok(parts)
}

fn read_messages(fields: &mut Fields, request: &mut Request) -> Result<(), RequestError> {
    let Some(messages) = fields.array("messages")? else { return Ok(()) };
    let mut names = HashMap::new();
    for (index, message) in messages.value.into_iter().enumerate() {
        let mut fields = Fields::of(message, format!("{}[{index}]", messages.at))?;
        let at = fields.path("role");
        let role = match fields.required_text("role")?.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            _ => return Err(RequestError::Malformed { field: at, expected: "send `user`, `assistant` or `system`" }),
        };
        let blocks = fields.array("content")?;
        let mut parts = blocks.map(|blocks| read_parts(blocks, &mut request.others)).transpose()?.unwrap_or_default();
        adopt_signatures(&mut parts);
        name_results(&mut parts, &mut names);
        request.others.extend(fields.rest());
        if !parts.is_empty() {
            request.messages.push(Message { role, parts, name: None });
        }
    }
    Ok(())
}

/// Gives calls back the signatures that Google keeps at the call: our answers carry them as encrypted thoughts right before
/// it, or right after it where the signature came late.
fn adopt_signatures(parts: &mut Vec<Part>) {
    let mut at = 0;
    while let Some(part) = parts.get(at) {
        let is_of_call = matches!(&part.content, Content::Redacted(signature) if signature.is_of_call());
        let call = [at + 1, at.wrapping_sub(1)].into_iter().find(|near| parts.get(*near).is_some_and(is_unsigned_call));
        let Some(call) = call.filter(|_| is_of_call) else {
            at += 1;
            continue;
        };
        let Content::Redacted(signature) = parts.remove(at).content else { continue };
        // What stood behind it has moved up.
        let call = if call > at { at } else { call };
        if let Some(Part { content: Content::ToolCall(call), .. }) = parts.get_mut(call) {
            call.signature = Some(signature);
        }
    }
}

fn is_unsigned_call(part: &Part) -> bool {
    matches!(&part.content, Content::ToolCall(call) if call.signature.is_none())
}

/// Tells each result the name of its function, which Converse says at the call only.
fn name_results(parts: &mut [Part], names: &mut HashMap<String, String>) {
    for part in parts {
        match &mut part.content {
            Content::ToolCall(call) => drop(names.insert(call.id.clone(), call.name.clone())),
            Content::ToolResult(result) => result.name = names.get(&result.id).cloned(),
            _ => {}
        }
    }
}

fn read_inference(mut config: Fields, request: &mut Request) -> Result<(), RequestError> {
    request.max_output_tokens = config.count("maxTokens")?;
    request.temperature = config.number("temperature")?;
    request.top_p = config.number("topP")?;
    if let Some(stop) = config.array("stopSequences")? {
        let mut texts = Vec::with_capacity(stop.value.len());
        for (index, text) in stop.value.into_iter().enumerate() {
            texts.push(read_text(text, &format!("{}[{index}]", stop.at))?);
        }
        request.stop = Some(Said::new(texts, stop.at)).filter(|stop| !stop.value.is_empty());
    }
    request.others.extend(config.rest());
    Ok(())
}

fn read_tools(mut config: Fields, request: &mut Request) -> Result<(), RequestError> {
    if let Some(tools) = config.array("tools")? {
        for (index, tool) in tools.value.into_iter().enumerate() {
            let tool = Fields::of(tool, format!("{}[{index}]", tools.at))?;
            read_tool(tool, request)?;
        }
    }
    if let Some(choice) = config.object("toolChoice")? {
        request.tool_choice = read_choice(choice, &mut request.others)?;
    }
    request.others.extend(config.rest());
    Ok(())
}

fn read_tool(mut tool: Fields, request: &mut Request) -> Result<(), RequestError> {
    let at = tool.at().to_owned();
    if let Some(point) = tool.object("cachePoint")? {
        let cache: CacheFor = block::read_cache_point(point, &mut request.others)?;
        let Some(before) = request.tools.last_mut() else {
            return Err(RequestError::Malformed { field: at, expected: "put it behind what is to be cached" });
        };
        before.cache = Some(cache);
    }
    if let Some(mut spec) = tool.object("toolSpec")? {
        let name = spec.required_text("name")?;
        let description = spec.text("description")?.map(|description| description.value);
        let strict = spec.flag("strict")?.map(|strict| strict.value);
        let mut schema = spec.object("inputSchema")?;
        let parameters = schema.as_mut().and_then(|schema| schema.take("json"));
        let parameters = parameters.unwrap_or_else(|| serde_json::json!({ "type": "object", "properties": {} }));
        request.others.extend(schema.into_iter().flat_map(Fields::rest));
        request.others.extend(spec.rest());
        request.tools.push(Tool { name, description, parameters, strict, cache: None, at });
    }
    if let Some(system) = tool.said("systemTool") {
        match system.value == serde_json::json!({ "name": GROUNDING }) {
            true => request.web_search = Some(Said::new(WebSearch::default(), system.at)),
            // Another tool of the provider's own.
            false => request.others.push(system),
        }
    }
    request.others.extend(tool.rest());
    Ok(())
}

fn read_choice(mut choice: Fields, others: &mut Vec<Said<Value>>) -> Result<Option<Said<ToolChoice>>, RequestError> {
    let at = choice.at().to_owned();
    let value = if choice.take("auto").is_some() {
        Some(ToolChoice::Auto)
    } else if choice.take("any").is_some() {
        Some(ToolChoice::Required)
    } else if let Some(mut tool) = choice.object("tool")? {
        let name = tool.required_text("name")?;
        others.extend(tool.rest());
        Some(ToolChoice::Named(name))
    } else {
        None
    };
    others.extend(choice.rest());
    Ok(value.map(|value| Said::new(value, at)))
}

fn read_output(mut config: Fields, request: &mut Request) -> Result<(), RequestError> {
    if let Some(effort) = config.text("effort")? {
        additional::read_effort(effort, request)?;
    }
    if let Some(format) = config.object("textFormat")? {
        request.format = read_format(format, &mut request.others)?;
    }
    request.others.extend(config.rest());
    Ok(())
}

fn read_format(mut format: Fields, others: &mut Vec<Said<Value>>) -> Result<Option<Said<Format>>, RequestError> {
    let at = format.at().to_owned();
    if let Some(kind) = format.text("type")?.filter(|kind| kind.value != "json_schema") {
        return Err(RequestError::Malformed { field: kind.at, expected: "send `json_schema`" });
    }
    let mut structure = format.object("structure")?;
    let schema = structure.as_mut().map(|structure| structure.object("jsonSchema")).transpose()?.flatten();
    others.extend(structure.into_iter().flat_map(Fields::rest));
    others.extend(format.rest());
    let Some(mut fields) = schema else { return Ok(None) };
    let field = fields.path("schema");
    let schema: Map<String, Value> = serde_json::from_str(&fields.required_text("schema")?)
        .map_err(|_| RequestError::Malformed { field, expected: "send a JSON schema, written as a string" })?;
    let name = fields.text("name")?.map(|name| name.value).unwrap_or_default();
    let description = fields.text("description")?.map(|description| description.value);
    others.extend(fields.rest());
    let schema = Value::Object(schema);
    // There is no other way than the strict one.
    Ok(Some(Said::new(Format::JsonSchema { name, description, schema, strict: Some(true) }, at)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(body: Value) -> Result<Request, String> {
        let address = Address { model: "m", stream: true };
        read(body, address).map_err(|error| match error {
            RequestError::Malformed { field, .. } => field,
            other => other.to_string(),
        })
    }

    #[test]
    fn what_only_converse_knows_is_kept_by_name() {
        let request = of(json!({
            "messages": [{"role": "user", "content": [{"text": "Hi", "tone": 1}, {"guardContent": {"text": {"text": "x"}}}], "mood": 2}],
            "guardrailConfig": {"guardrailIdentifier": "g"},
            "promptVariables": {"a": {"text": "b"}},
            "inferenceConfig": {"maxTokens": 5, "beams": 3},
            "toolConfig": {"tools": [{"systemTool": {"name": "nova_other"}}, {"systemTool": {"name": "nova_grounding"}}]},
            "additionalModelRequestFields": {"top_k": 3, "anthropic_beta": ["x"]},
            "additionalModelResponseFieldPaths": ["/stop_sequence"],
            "requestMetadata": {"ticket": "A-1"},
            "performanceConfig": {"latency": "optimized"},
        }))
        .unwrap();
        let mut others: Vec<&str> = request.others.iter().map(|other| other.at.as_str()).collect();
        others.sort_unstable();
        assert_eq!(
            others,
            [
                "additionalModelRequestFields.anthropic_beta",
                "guardrailConfig",
                "inferenceConfig.beams",
                "messages[0].content[0].tone",
                "messages[0].mood",
                "promptVariables",
                "toolConfig.tools[0].systemTool",
            ]
        );
        let hints: Vec<&str> = request.hints.iter().map(|hint| hint.at.as_str()).collect();
        assert_eq!(hints, ["requestMetadata", "performanceConfig"]);
        assert_eq!(request.web_search.map(|search| search.at).as_deref(), Some("toolConfig.tools[1].systemTool"));
        assert_eq!((request.model.as_str(), request.stream), ("m", true));
        assert!(
            matches!(&request.messages[0].parts[1].content, Content::Native { kind, .. } if kind == "guardContent")
        );
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        let message = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
        let cases = [
            (json!([]), "body"),
            (json!({"messages": [{"role": "tool", "content": []}]}), "messages[0].role"),
            (json!({"messages": [{"content": []}]}), "messages[0].role"),
            (message(json!([{"text": 1}])), "messages[0].content[0].text"),
            (message(json!([{"image": {"format": "png"}}])), "messages[0].content[0].image.source"),
            (message(json!([{"image": {"source": {}}}])), "messages[0].content[0].image.source"),
            (message(json!([{"toolUse": {"name": "x"}}])), "messages[0].content[0].toolUse.toolUseId"),
            (
                message(json!([{"toolResult": {"toolUseId": "1", "status": "?"}}])),
                "messages[0].content[0].toolResult.status",
            ),
            (message(json!([{"cachePoint": {"type": "default"}}])), "messages[0].content[0]"),
            (message(json!([{"text": "a"}, {"cachePoint": {"ttl": "2h"}}])), "messages[0].content[1].cachePoint.ttl"),
            (json!({"inferenceConfig": {"stopSequences": ["a", 1]}}), "inferenceConfig.stopSequences[1]"),
            (
                json!({"outputConfig": {"textFormat": {"structure": {"jsonSchema": {"schema": "{"}}}}}),
                "outputConfig.textFormat.structure.jsonSchema.schema",
            ),
            (json!({"outputConfig": {"effort": "huge"}}), "outputConfig.effort"),
        ];
        for (body, field) in cases {
            assert_eq!(of(body.clone()), Err(field.to_owned()), "{body}");
        }
    }

    #[test]
    fn a_call_of_geminis_gets_its_signature_back() {
        let call = |id: &str| json!({"toolUse": {"toolUseId": id, "name": "look", "input": {}}});
        let blob = json!({"reasoningContent": {"redactedContent": "dG9sbGdhdGU6Z2VtaW5pOkNn"}});
        for content in [json!([{"text": "a"}, blob, call("1"), call("2")]), json!([{"text": "a"}, call("1"), blob])] {
            let request = of(json!({"messages": [{"role": "assistant", "content": content}]})).unwrap();
            let Content::ToolCall(call) = &request.messages[0].parts[1].content else { panic!("no call") };
            assert_eq!(call.signature.as_ref().map(|signature| signature.text.as_str()), Some("Cg"));
        }
    }

    #[test]
    fn a_result_knows_the_name_of_its_function() {
        let request = of(json!({"messages": [
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "1", "name": "look", "input": {"b": 1, "a": 2}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "1", "content": [{"json": {"ok": true}}]}}]},
        ]}))
        .unwrap();
        let Content::ToolCall(call) = &request.messages[0].parts[0].content else { panic!("no call") };
        assert_eq!(call.arguments, r#"{"b":1,"a":2}"#);
        let Content::ToolResult(result) = &request.messages[1].parts[0].content else { panic!("no result") };
        assert_eq!(result.name.as_deref(), Some("look"));
        assert_eq!(result.parts[0].content, Content::text(r#"{"ok":true}"#));
    }
}
