use super::*;
use crate::chat::{CacheFor, Effort, Part, Reasoning, Signature, Source, ToolCall, ToolResult};
use crate::translate::{OnUnsupported, write_request};
use tollgate_interaction::Dialect;

fn user(contents: Vec<Content>) -> Message {
    let parts =
        contents.into_iter().enumerate().map(|(index, content)| Part::new(content, format!("content[{index}]")));
    Message { role: Role::User, parts: parts.collect(), name: None }
}

fn asking(model: &str, messages: Vec<Message>) -> Request {
    Request { model: model.to_owned(), messages, ..Request::default() }
}

fn written(request: Request) -> Result<Value, String> {
    let mut losses = Losses::new(Dialect::Bedrock, OnUnsupported::Refuse);
    write_request(Dialect::Bedrock, request, &mut losses).map_err(|mut refused| refused.fields.remove(0).field)
}

fn dropped(request: Request) -> (Value, Vec<String>) {
    let mut losses = Losses::new(Dialect::Bedrock, OnUnsupported::Drop);
    let body = write(request, &mut losses).unwrap();
    (body, losses.into_dropped())
}

fn call(arguments: &str) -> Content {
    let (id, name) = ("call_1".to_owned(), "look".to_owned());
    Content::ToolCall(ToolCall { id, name, arguments: arguments.to_owned(), signature: None })
}

fn result() -> Content {
    let parts = vec![Part::new(Content::text("a cat"), "x")];
    Content::ToolResult(ToolResult { id: "call_1".to_owned(), name: Some("look".to_owned()), parts, is_error: None })
}

fn history() -> Vec<Message> {
    let mut answer = user(vec![call("{}")]);
    answer.role = Role::Assistant;
    vec![user(vec![Content::text("Look.")]), answer, user(vec![result()])]
}

fn tool() -> Tool {
    let parameters = json!({"type": "object", "properties": {}});
    Tool {
        name: "look".to_owned(),
        description: None,
        parameters,
        strict: None,
        cache: None,
        at: "tools[0]".to_owned(),
    }
}

#[test]
fn neighbours_of_one_role_become_one_message_and_blank_text_is_left_out() {
    let messages =
        vec![user(vec![Content::text("a")]), user(vec![Content::text("  ")]), user(vec![Content::text("b")])];
    let body = written(asking("m", messages)).unwrap();
    assert_eq!(body, json!({"messages": [{"role": "user", "content": [{"text": "a"}, {"text": "b"}]}]}));
}

#[test]
fn a_conversation_with_calls_always_has_tools() {
    let body = written(asking("us.anthropic.claude-opus-4-7", history())).unwrap();
    assert_eq!(body["toolConfig"]["tools"][0]["toolSpec"]["name"], "look");
    assert_eq!(body["additionalModelRequestFields"], json!({"tool_choice": {"type": "none"}}));
    let body = written(asking("amazon.nova-pro-v1:0", history())).unwrap();
    assert_eq!(body["toolConfig"]["tools"][0]["toolSpec"]["description"], "Not available any more.");
    assert_eq!(body.get("additionalModelRequestFields"), None);
}

#[test]
fn none_leaves_the_tools_out_or_is_refused() {
    let none = || Some(Said::new(ToolChoice::None, "tool_choice"));
    let fresh = vec![user(vec![Content::text("Hi")])];
    let body = written(Request { tools: vec![tool()], tool_choice: none(), ..asking("amazon.nova-pro-v1:0", fresh) });
    assert_eq!(body.unwrap().get("toolConfig"), None);
    let request = |model| Request { tools: vec![tool()], tool_choice: none(), ..asking(model, history()) };
    assert_eq!(written(request("amazon.nova-pro-v1:0")), Err("tool_choice".to_owned()));
    let body = written(request("anthropic.claude-opus-4-7")).unwrap();
    assert_eq!(body["additionalModelRequestFields"], json!({"tool_choice": {"type": "none"}}));
    assert_eq!(body["toolConfig"].get("toolChoice"), None);
}

#[test]
fn one_call_at_a_time_is_said_in_claudes_words() {
    let request = |model| Request {
        tools: vec![tool()],
        tool_choice: Some(Said::new(ToolChoice::Named("look".to_owned()), "tool_choice")),
        parallel_tool_calls: Some(Said::new(false, "parallel_tool_calls")),
        ..asking(model, vec![user(vec![Content::text("Hi")])])
    };
    let body = written(request("m")).unwrap();
    let choice = json!({"type": "tool", "name": "look", "disable_parallel_tool_use": true});
    assert_eq!(body["additionalModelRequestFields"]["tool_choice"], choice);
    assert_eq!(body["toolConfig"].get("toolChoice"), None);
    // A wish that this model knows nothing of.
    let body = written(request("meta.llama3-1-70b-instruct-v1:0")).unwrap();
    assert_eq!(body["toolConfig"]["toolChoice"], json!({"tool": {"name": "look"}}));
}

#[test]
fn what_cannot_be_said_is_named() {
    let url = Source::Url { url: "https://example.com/cat.png".to_owned(), media_type: None };
    let tiff = Source::Base64 { media_type: "image/tiff".to_owned(), base64: "AA==".to_owned() };
    let contents = [
        Content::Image { source: url, detail: None },
        Content::Image { source: tiff, detail: None },
        Content::Native { dialect: Dialect::Openai, kind: "x".to_owned(), value: Value::Null },
        call("not json"),
    ];
    for content in contents {
        let body = written(asking("m", vec![user(vec![content.clone()])]));
        assert_eq!(body, Err("content[0]".to_owned()), "{content:?}");
    }
    let request = Request {
        seed: Some(Said::new(7, "seed")),
        frequency_penalty: Some(Said::new(0.5, "frequency_penalty")),
        presence_penalty: Some(Said::new(0.5, "presence_penalty")),
        choices: Some(Said::new(2, "n")),
        logprobs: Some(Said::new(0, "logprobs")),
        temperature: Some(Said::new(1.5, "temperature")),
        format: Some(Said::new(Format::JsonObject, "response_format")),
        service_tier: Some(Said::new("scale".to_owned(), "service_tier")),
        user: Some(Said::new("user-7".to_owned(), "user")),
        hints: vec![Said::new(json!(true), "store"), Said::new(json!({"ticket": "A-1"}), "metadata")],
        others: vec![Said::new(json!(1), "logit_bias")],
        ..asking("m", vec![user(vec![Content::text("Hi")])])
    };
    let (body, dropped) = dropped(request);
    let expected = [
        "seed",
        "frequency_penalty",
        "presence_penalty",
        "logprobs",
        "n",
        "logit_bias",
        "user",
        "temperature",
        "response_format",
        "store",
        "service_tier",
    ];
    assert_eq!(dropped, expected);
    let content = json!([{"role": "user", "content": [{"text": "Hi"}]}]);
    assert_eq!(body, json!({"messages": content, "requestMetadata": {"ticket": "A-1"}}));
}

#[test]
fn cache_markers_stand_behind_what_they_mark() {
    let mut message = user(vec![Content::text("rules"), Content::text("Hi")]);
    message.parts[0].cache = Some(CacheFor::OneHour);
    let tools = vec![Tool { cache: Some(CacheFor::OneHour), ..tool() }];
    let body = written(Request { tools, ..asking("m", vec![message]) }).unwrap();
    let point = json!({"cachePoint": {"type": "default", "ttl": "1h"}});
    assert_eq!(body["messages"][0]["content"], json!([{"text": "rules"}, point, {"text": "Hi"}]));
    assert_eq!(body["toolConfig"]["tools"][1], point);
}

#[test]
fn claudes_signature_goes_back_to_claude() {
    let signature = Some(Signature { of: Dialect::Anthropic, text: "Eq".to_owned() });
    let thinking = Content::Thinking { text: "t".to_owned(), signature };
    let body = written(asking("m", vec![user(vec![thinking.clone()])])).unwrap();
    let expected = json!({"reasoningContent": {"reasoningText": {"text": "t", "signature": "Eq"}}});
    assert_eq!(body["messages"][0]["content"][0], expected);
    let elsewhere = asking("deepseek.r1-v1:0", vec![user(vec![thinking, Content::text("Hi")])]);
    assert_eq!(written(elsewhere).unwrap()["messages"][0]["content"], json!([{"text": "Hi"}]));
}

#[test]
fn what_nobody_else_can_read_is_listed_and_never_refused() {
    let of = |dialect| Signature { of: dialect, text: "s".to_owned() };
    let contents = vec![
        Content::Thinking { text: "t".to_owned(), signature: Some(of(Dialect::Gemini)) },
        Content::Thinking { text: "t".to_owned(), signature: None },
        Content::Redacted(of(Dialect::Responses)),
        Content::text("Hi"),
    ];
    let (body, dropped) = dropped(asking("m", vec![user(contents.clone())]));
    assert_eq!(body["messages"][0]["content"], json!([{"text": "Hi"}]));
    assert_eq!(dropped, ["content[0]", "content[1]", "content[2]"]);
    assert!(written(asking("m", vec![user(contents)])).is_ok());
}

#[test]
fn an_open_turn_without_a_thought_of_its_own_goes_on_without_thinking() {
    let asked = |model: &str, reasoning: Reasoning| {
        let mut request = asking(model, history());
        request.tools = vec![tool()];
        request.reasoning = Some(Said::new(reasoning, "reasoning_effort"));
        dropped(request)
    };
    let high = Reasoning { effort: Some(Effort::High), ..Reasoning::default() };
    let (body, dropped) = asked("anthropic.claude-sonnet-4-5-20250929-v1:0", high);
    assert_eq!((body.get("additionalModelRequestFields"), dropped), (None, vec!["reasoning_effort".to_owned()]));
    // A model that thinks as it sees fit does not mind, unless it is given a budget.
    let (body, dropped) = asked("anthropic.claude-opus-4-7", high);
    assert_eq!(body["additionalModelRequestFields"]["thinking"]["type"], "adaptive");
    assert!(dropped.is_empty());
    let budget = Reasoning { budget_tokens: Some(2_000), ..Reasoning::default() };
    assert_eq!(asked("anthropic.claude-opus-4-6-v1", budget).1, ["reasoning_effort"]);
}

#[test]
fn models_get_the_cache_points_they_take() {
    let marked = |model: &str| {
        let mut message = user(vec![Content::text("rules")]);
        message.parts[0].cache = Some(CacheFor::OneHour);
        let tools = vec![Tool { cache: Some(CacheFor::FiveMinutes), ..tool() }];
        dropped(Request { tools, ..asking(model, vec![message]) })
    };
    let (body, dropped) = marked("amazon.nova-pro-v1:0");
    assert_eq!(body["messages"][0]["content"][1], json!({"cachePoint": {"type": "default"}}));
    assert_eq!((body["toolConfig"]["tools"].as_array().unwrap().len(), dropped.len()), (1, 2));
    let (body, dropped) = marked("us.meta.llama4-scout-17b-instruct-v1:0");
    assert_eq!((body["messages"][0]["content"].as_array().unwrap().len(), dropped.len()), (1, 2));
}

#[test]
fn only_newer_claudes_take_an_instruction_in_the_middle() {
    let request = |model: &str| {
        let system = Message { role: Role::System, ..user(vec![Content::text("Now be brief.")]) };
        dropped(asking(model, vec![user(vec![Content::text("Hi")]), system]))
    };
    let (body, dropped) = request("anthropic.claude-opus-4-8-v1");
    assert_eq!((&body["messages"][1]["role"], dropped.len()), (&json!("system"), 0));
    let (body, dropped) = request("meta.llama3-1-70b-instruct-v1:0");
    let content = json!([{"text": "Hi"}, {"text": "Now be brief."}]);
    assert_eq!(body["messages"], json!([{"role": "user", "content": content}]));
    assert_eq!(dropped, ["content[0]"]);
}

#[test]
fn a_level_that_a_model_does_not_have_is_listed() {
    let asked = |model: &str, effort| {
        let reasoning = Reasoning { effort: Some(effort), ..Reasoning::default() };
        let mut request = asking(model, vec![user(vec![Content::text("Hi")])]);
        request.reasoning = Some(Said::new(reasoning, "reasoning_effort"));
        dropped(request).1
    };
    assert_eq!(asked("amazon.nova-2-lite-v1:0", Effort::ExtraHigh), ["reasoning_effort"]);
    assert_eq!(asked("openai.gpt-oss-20b-1:0", Effort::Minimal), ["reasoning_effort"]);
    assert_eq!(asked("anthropic.claude-opus-4-7", Effort::Minimal), ["reasoning_effort"]);
    assert_eq!(asked("amazon.nova-2-lite-v1:0", Effort::Low), Vec::<String>::new());
}
