//! Requests: what is read with which path, and what is refused for which model.

use serde_json::{Value, json};
use tollgate_interaction::Dialect;

use crate::chat::{CacheFor, Content, Effort, Message, Part, Reasoning, Request, Role, Said, Signature, ToolCall};
use crate::dialect::RequestError;
use crate::dialect::anthropic::request::{read, write};
use crate::translate::{Losses, OnUnsupported, write_request};

fn refused(request: Request) -> (String, String) {
    let mut losses = Losses::new(Dialect::Anthropic, OnUnsupported::Refuse);
    let first = write_request(Dialect::Anthropic, request, &mut losses).unwrap_err().fields.remove(0);
    (first.field, first.what)
}

fn written(request: Request) -> (Value, Vec<String>) {
    let mut losses = Losses::new(Dialect::Anthropic, OnUnsupported::Drop);
    let body = write(request, &mut losses).unwrap();
    (body, losses.into_dropped())
}

fn asking(model: &str) -> Request {
    let parts = vec![Part::new(Content::text("Hi"), "messages[0].content")];
    let messages = vec![Message { role: Role::User, parts, name: None }];
    Request { model: model.to_owned(), messages, ..Request::default() }
}

fn thinking(model: &str, reasoning: Reasoning, limit: Option<u64>) -> Request {
    Request {
        reasoning: Some(Said::new(reasoning, "reasoning_effort")),
        max_output_tokens: limit.map(|limit| Said::new(limit, "max_tokens")),
        ..asking(model)
    }
}

#[test]
fn what_is_malformed_is_named_by_its_path() {
    let cases = [
        (json!([]), "body"),
        (json!({ "messages": {} }), "messages"),
        (json!({ "messages": ["Hi"] }), "messages[0]"),
        (json!({ "messages": [{ "role": "tool", "content": "x" }] }), "messages[0].role"),
        (json!({ "messages": [{ "role": "user" }] }), "messages[0].content"),
        (json!({ "messages": [{ "role": "user", "content": [{ "text": "x" }] }] }), "messages[0].content[0]"),
        (json!({ "messages": [{ "role": "user", "content": [{ "type": "text" }] }] }), "messages[0].content[0].text"),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "image", "source": { "type": "url" } }] }] }),
            "messages[0].content[0].source.url",
        ),
        (json!({ "system": 1 }), "system"),
        (json!({ "max_tokens": -1 }), "max_tokens"),
        (json!({ "stop_sequences": ["a", 1] }), "stop_sequences[1]"),
        (json!({ "tools": [{ "input_schema": {} }] }), "tools[0].name"),
        (json!({ "tool_choice": { "type": "tool" } }), "tool_choice.name"),
        (json!({ "tool_choice": { "type": "all" } }), "tool_choice.type"),
        (json!({ "thinking": { "type": "on" } }), "thinking.type"),
        (json!({ "output_config": { "effort": "huge" } }), "output_config.effort"),
        (json!({ "output_config": { "format": { "type": "json_schema" } } }), "output_config.format.schema"),
        (
            json!({ "system": [{ "type": "text", "text": "x", "cache_control": { "ttl": "2h" } }] }),
            "system[0].cache_control.ttl",
        ),
    ];
    for (body, expected) in cases {
        match read(body.clone()) {
            Err(RequestError::Malformed { field, .. }) => assert_eq!(field, expected, "{body}"),
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn what_only_this_dialect_has_is_kept_by_name() {
    let request = read(json!({
        "model": "m", "max_tokens": 8, "inference_geo": "us", "anthropic_version": "vertex-2023-10-16", "speed": "standard",
        "diagnostics": { "previous_message_id": null }, "metadata": { "user_id": "u", "x": 1 },
        "tools": [
            { "name": "a", "input_schema": { "type": "object" }, "input_examples": [{}], "allowed_callers": ["direct"] },
            { "type": "bash_20250124", "name": "bash" },
        ],
        "messages": [{ "role": "user", "content": [
            { "type": "image", "source": { "type": "file", "file_id": "f" }, "transformations": {} },
            { "type": "container_upload", "file_id": "f" },
        ] }],
    }))
    .unwrap();
    let paths = |said: &[Said<Value>]| said.iter().map(|said| said.at.clone()).collect::<Vec<_>>();
    assert_eq!(
        paths(&request.others),
        ["messages[0].content[0].transformations", "tools[0].input_examples", "tools[1]", "inference_geo"]
    );
    assert_eq!(paths(&request.hints), ["metadata.x", "diagnostics"]);
    assert!(
        matches!(&request.messages[0].parts[1].content, Content::Native { kind, .. } if kind == "container_upload")
    );
    assert_eq!(request.user.unwrap().value, "u");
}

#[test]
fn a_count_of_tokens_reads_as_a_request_without_a_limit() {
    let request = read(json!({ "model": "m", "messages": [{ "role": "user", "content": "Hi" }] })).unwrap();
    assert_eq!((request.max_output_tokens.clone(), request.stream), (None, false));
    assert_eq!(written(request).0["max_tokens"], 8_192);
}

#[test]
fn a_mark_for_the_whole_body_marks_the_last_part() {
    let request = read(json!({
        "cache_control": { "type": "ephemeral", "ttl": "1h" },
        "messages": [{ "role": "user", "content": "Hi" }],
    }))
    .unwrap();
    assert_eq!(request.messages[0].parts[0].cache, Some(CacheFor::OneHour));
}

#[test]
fn a_signature_of_a_call_comes_back_to_it() {
    let block = |data: &str| json!({ "type": "redacted_thinking", "data": data });
    let call = |id: &str| json!({ "type": "tool_use", "id": id, "name": "a", "input": {} });
    let content =
        json!([block("tollgate:gemini:x=="), call("1"), call("2"), block("tollgate:gemini:y=="), block("own")]);
    let request = read(json!({ "messages": [{ "role": "assistant", "content": content }] })).unwrap();
    let parts = request.messages[0].parts.iter().map(|part| part.content.clone());
    let signed = |id: &str, text: &str| {
        let signature = Some(Signature { of: Dialect::Gemini, text: text.to_owned() });
        Content::ToolCall(ToolCall { id: id.to_owned(), name: "a".to_owned(), arguments: "{}".to_owned(), signature })
    };
    let own = Content::Redacted(Signature { of: Dialect::Anthropic, text: "own".to_owned() });
    assert_eq!(parts.collect::<Vec<_>>(), [signed("1", "x=="), signed("2", "y=="), own]);
}

#[test]
fn an_effort_is_said_as_the_model_understands_it() {
    let high = Reasoning { effort: Some(Effort::High), ..Reasoning::default() };
    let (body, dropped) = written(thinking("claude-sonnet-4-5", high, Some(5_000)));
    assert_eq!(body["thinking"], json!({ "type": "enabled", "budget_tokens": 4_999 }));
    assert_eq!((&body["max_tokens"], dropped), (&json!(5_000), vec!["reasoning_effort".to_owned()]));
    assert!(refused(thinking("claude-sonnet-4-5", high, Some(500))).1.contains("raise the limit"));
    let (body, _) = written(thinking("claude-opus-4-8", high, Some(500)));
    assert_eq!((&body["thinking"], &body["max_tokens"]), (&json!({ "type": "adaptive" }), &json!(500)));
    assert_eq!(body["output_config"], json!({ "effort": "high" }));
    let more = Reasoning { effort: Some(Effort::ExtraHigh), shown: Some(true), ..Reasoning::default() };
    let (body, _) = written(thinking("claude-opus-4-6", more, None));
    assert_eq!(body["output_config"], json!({ "effort": "high" }), "it has no such level");
    assert_eq!(body["thinking"]["display"], "summarized");
    let (body, _) = written(thinking("claude-opus-4-1", high, None));
    assert_eq!((&body["max_tokens"], &body["thinking"]["budget_tokens"]), (&json!(32_000), &json!(23_808)));
    let counted = Reasoning { budget_tokens: Some(2_000), enabled: Some(true), ..Reasoning::default() };
    let (body, _) = written(thinking("claude-opus-5-5", counted, None));
    assert_eq!(body["output_config"], json!({ "effort": "medium" }));
}

#[test]
fn thinking_is_turned_off_as_the_model_understands_it() {
    let off = Reasoning { effort: Some(Effort::None), ..Reasoning::default() };
    let cases = [("m", "disabled"), ("claude-opus-5", "disabled"), ("claude-sonnet-5-5", "between_tools")];
    for (model, expected) in cases {
        assert_eq!(written(thinking(model, off, None)).0["thinking"], json!({ "type": expected }), "{model}");
    }
    let (field, what) = refused(thinking("claude-opus-5-5", off, None));
    assert_eq!((field.as_str(), what.as_str()), ("reasoning_effort", "no thinking: `claude-opus-5-5` always thinks"));
}

#[test]
fn a_budget_must_fit() {
    let budget = |tokens| Reasoning { budget_tokens: Some(tokens), ..Reasoning::default() };
    assert!(refused(thinking("m", budget(1_000), None)).1.contains("below 1024"));
    let (body, _) = written(thinking("m", budget(4_000), Some(4_000)));
    assert_eq!((&body["max_tokens"], &body["thinking"]["budget_tokens"]), (&json!(4_000), &json!(3_999)));
    assert_eq!(written(thinking("m", budget(4_000), None)).0["max_tokens"], 12_192);
}

#[test]
fn what_changes_nothing_about_the_answer_is_listed_and_never_refused() {
    let request = read(json!({
        "model": "m", "speed": "fast", "messages": [{ "role": "user", "content": "Hi" }],
        "context_management": { "edits": [{ "type": "clear_thinking_20251015", "keep": "all" }] },
    }))
    .unwrap();
    assert_eq!(request.others, []);
    let foreign = Signature { of: Dialect::Responses, text: "gA".to_owned() };
    let thoughts =
        [Content::Thinking { text: "t".to_owned(), signature: None }, Content::Redacted(foreign), Content::text("A")];
    let parts = thoughts.into_iter().enumerate().map(|(index, content)| Part::new(content, format!("p[{index}]")));
    let mut asked = Request {
        seed: Some(Said::new(7, "seed")),
        service_tier: Some(Said::new("flex".to_owned(), "service_tier")),
        hints: vec![Said::new(json!("low"), "verbosity")],
        ..asking("claude-opus-4-7")
    };
    asked.messages.push(Message { role: Role::Assistant, parts: parts.collect(), name: None });
    let mut losses = Losses::new(Dialect::Anthropic, OnUnsupported::Refuse);
    let body = write(asked, &mut losses).unwrap();
    assert_eq!(body["messages"][1]["content"], "A");
    assert_eq!(losses.into_dropped(), ["seed", "verbosity", "p[0]", "p[1]", "service_tier"]);
}

#[test]
fn an_open_turn_without_a_thought_of_its_own_goes_on_without_a_budget() {
    let open = |model: &str, reasoning: Reasoning| {
        let call = ToolCall { id: "c1".to_owned(), name: "a".to_owned(), arguments: "{}".to_owned(), signature: None };
        let parts = vec![Part::new(Content::text("ok"), "r")];
        let result = crate::chat::ToolResult { id: "c1".to_owned(), name: None, parts, is_error: None };
        let mut request = thinking(model, reasoning, None);
        for (role, content) in [(Role::Assistant, Content::ToolCall(call)), (Role::User, Content::ToolResult(result))] {
            request.messages.push(Message { role, parts: vec![Part::new(content, "x")], name: None });
        }
        let (body, listed) = written(request);
        (body.get("thinking").map(|thinking| thinking["type"].clone()), listed.len())
    };
    let high = Reasoning { effort: Some(Effort::High), ..Reasoning::default() };
    let budget = Reasoning { budget_tokens: Some(2_000), ..Reasoning::default() };
    assert_eq!(open("claude-sonnet-4-5", high), (None, 1));
    assert_eq!(open("claude-opus-4-6", budget), (None, 1));
    // A model that thinks as it sees fit does not mind.
    assert_eq!(open("claude-opus-4-6", high), (Some("adaptive".into()), 0));
}

#[test]
fn a_level_that_a_model_does_not_have_is_listed() {
    let cases = [
        ("claude-opus-4-6", Effort::ExtraHigh, vec!["reasoning_effort"]),
        ("claude-opus-4-7", Effort::ExtraHigh, vec![]),
        ("claude-opus-4-7", Effort::Minimal, vec!["reasoning_effort"]),
        ("claude-sonnet-5-5", Effort::None, vec!["reasoning_effort"]),
    ];
    for (model, effort, listed) in cases {
        let reasoning = Reasoning { effort: Some(effort), ..Reasoning::default() };
        assert_eq!(written(thinking(model, reasoning, None)).1, listed, "{model} {effort:?}");
    }
}

#[test]
fn values_out_of_range_are_named() {
    let said = |value: f64, at: &str| Some(Said::new(value, at));
    assert_eq!(refused(Request { temperature: said(1.5, "temperature"), ..asking("m") }).1, "a temperature above 1");
    let both =
        Request { temperature: said(0.5, "temperature"), top_p: said(0.9, "top_p"), ..asking("claude-haiku-4-5") };
    assert_eq!(refused(both).0, "top_p");
    let fixed = Request { temperature: said(0.5, "temperature"), ..asking("claude-opus-4-7") };
    assert_eq!(refused(fixed).0, "temperature");
    let default =
        Request { temperature: said(1.0, "temperature"), top_p: said(1.0, "top_p"), ..asking("claude-opus-4-7") };
    let (body, lost) = written(default);
    assert!(body.get("temperature").is_none() && lost.is_empty(), "{body} {lost:?}");
    let stop = Request { stop: Some(Said::new(vec!["\n".to_owned(), "END".to_owned()], "stop")), ..asking("m") };
    let (body, lost) = written(stop);
    assert_eq!((&body["stop_sequences"], lost), (&json!(["END"]), vec!["stop".to_owned()]));
    let zero = Request { presence_penalty: said(0.0, "presence_penalty"), ..asking("m") };
    assert_eq!(written(zero).1, Vec::<String>::new());
}

fn message(role: Role, index: usize, text: &str) -> Message {
    let at = format!("messages[{index}].content");
    Message { role, parts: vec![Part::new(Content::text(text), at)], name: None }
}

#[test]
fn an_instruction_in_the_middle_stands_behind_the_users_turn() {
    let messages = || {
        vec![
            message(Role::User, 0, "Hi"),
            message(Role::Assistant, 1, "Hello."),
            message(Role::System, 2, "Now be brief."),
            message(Role::User, 3, "Bye"),
        ]
    };
    let (body, lost) = written(Request { messages: messages(), ..asking("claude-opus-5") });
    let roles: Vec<&str> =
        body["messages"].as_array().unwrap().iter().map(|turn| turn["role"].as_str().unwrap()).collect();
    assert_eq!((roles, lost.len()), (vec!["user", "assistant", "user", "system"], 0));
    let older = || Request { messages: messages(), ..asking("claude-sonnet-4-5") };
    // Its rank is lost, not the call.
    assert!(write(older(), &mut Losses::new(Dialect::Anthropic, OnUnsupported::Refuse)).is_ok());
    let (body, lost) = written(older());
    assert_eq!(lost, ["messages[2].content"]);
    let texts = json!([{ "type": "text", "text": "Now be brief." }, { "type": "text", "text": "Bye" }]);
    assert_eq!(body["messages"][2], json!({ "role": "user", "content": texts }));
}

#[test]
fn results_come_first_in_one_turn() {
    let result = |id: &str| {
        let parts = vec![Part::new(Content::text("ok"), "x")];
        Content::ToolResult(crate::chat::ToolResult { id: id.to_owned(), name: None, parts, is_error: Some(false) })
    };
    let call =
        ToolCall { id: "functions.a:0".to_owned(), name: "a".to_owned(), arguments: String::new(), signature: None };
    let messages = vec![
        Message { role: Role::Assistant, parts: vec![Part::new(Content::ToolCall(call), "x")], name: None },
        message(Role::User, 1, "And?"),
        Message { role: Role::User, parts: vec![Part::new(result("functions.a:0"), "x")], name: None },
    ];
    let (body, _) = written(Request { messages, ..Request::default() });
    let call = json!({ "type": "tool_use", "id": "functions_a_0", "name": "a", "input": {} });
    assert_eq!(body["messages"][0]["content"], json!([call]));
    let result = json!({ "type": "tool_result", "tool_use_id": "functions_a_0", "content": "ok" });
    assert_eq!(body["messages"][1]["content"], json!([result, { "type": "text", "text": "And?" }]));
}
