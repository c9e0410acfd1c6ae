use serde_json::{Value, json};
use tollgate_interaction::Dialect;

use super::{read, write};
use crate::chat::{
    CacheFor, Content, Effort, Message, Part, Reasoning, Request, Role, Said, Signature, Source, ToolCall, ToolChoice,
    ToolResult,
};
use crate::translate::{Losses, OnUnsupported};

fn chat(mut fields: Value) -> Value {
    let body = fields.as_object_mut().unwrap();
    body.entry("model").or_insert_with(|| "m".into());
    body.entry("messages").or_insert_with(|| json!([{"role": "user", "content": "Hi"}]));
    fields
}

fn reading(fields: Value) -> Request {
    read(chat(fields)).unwrap()
}

fn wrong(fields: Value) -> String {
    read(chat(fields)).unwrap_err().to_string()
}

fn others(fields: Value) -> Vec<String> {
    reading(fields).others.into_iter().map(|other| other.at).collect()
}

fn written(request: Request) -> (Value, Vec<String>) {
    let mut losses = Losses::new(Dialect::Openai, OnUnsupported::Drop);
    (write(request, &mut losses).unwrap(), losses.into_dropped())
}

fn refused(request: Request) -> String {
    let mut losses = Losses::new(Dialect::Openai, OnUnsupported::Refuse);
    crate::translate::write_request(Dialect::Openai, request, &mut losses).unwrap_err().to_string()
}

fn said(role: Role, contents: Vec<Content>) -> Message {
    let parts = contents.into_iter().enumerate().map(|(index, content)| Part::new(content, format!("p[{index}]")));
    Message { role, parts: parts.collect(), name: None }
}

fn asking(messages: Vec<Message>) -> Request {
    Request { model: "m".to_owned(), messages, ..Request::default() }
}

#[test]
fn what_nobody_knows_is_named_where_it_stands() {
    let body = json!({
        "min_p": 0.1,
        "logit_bias": {"50256": -100},
        "prediction": {"type": "content", "content": "x"},
        "tools": [{"type": "custom", "custom": {"name": "c", "w": 1, "format": {"type": "dice"}}}, {"type": "function", "function": {"name": "f", "x": 1}}],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "y": true}},
        "reasoning_effort": "ultra",
        "messages": [
            {"role": "system", "content": "S", "name": "s"},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a/b", "zoom": 2}, "z": 1}]},
            {"role": "assistant", "content": "A", "prefix": true},
        ],
    });
    let mut found = others(body);
    found.sort();
    let expected = [
        "logit_bias",
        "messages[0].name",
        "messages[1].content[0].image_url.zoom",
        "messages[1].content[0].z",
        "messages[2].prefix",
        "min_p",
        "prediction",
        "reasoning_effort",
        "response_format.json_schema.y",
        "tool_choice",
        "tools[0].custom.format.type",
        "tools[0].custom.w",
        "tools[1].function.x",
    ];
    assert_eq!(found, expected);
}

#[test]
fn defaults_say_nothing() {
    let body = json!({
        "n": 1, "stream": false, "tools": [], "tool_choice": "auto", "parallel_tool_calls": true, "logprobs": false,
        "top_logprobs": 0, "response_format": {"type": "text"}, "stop": null, "logit_bias": {}, "modalities": ["text"],
        "verbosity": "medium", "service_tier": "auto", "store": false, "metadata": {}, "frequency_penalty": 0,
        "presence_penalty": 0.0, "stream_options": {"include_usage": true}, "seed": null, "user": null,
    });
    assert_eq!(reading(body), reading(json!({})));
}

#[test]
fn what_is_malformed_is_named_by_its_path() {
    let cases = [
        (json!({"messages": {}}), "`messages` of the body is not valid; send an array"),
        (json!({"messages": [1]}), "`messages[0]` of the body is not valid; send a JSON object"),
        (
            json!({"messages": [{"role": "bot"}]}),
            "`messages[0].role` of the body is not valid; send `system`, `developer`, `user`, `assistant` or `tool`",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "text"}]}]}),
            "`messages[0].content[0].text` of the body is not valid; it is missing: send a string",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]}),
            "`messages[0].content[0].image_url.url` of the body is not valid; send a web address, or a data URL in \
             base64, such as `data:image/png;base64,…`",
        ),
        (
            json!({"messages": [{"role": "tool", "content": "x"}]}),
            "`messages[0].tool_call_id` of the body is not valid; it is missing: send a string",
        ),
        (
            json!({"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]}),
            "`messages[0].tool_calls[0].function` of the body is not valid; it is missing: send an object with `name` \
             and `arguments`",
        ),
        (json!({"temperature": "hot"}), "`temperature` of the body is not valid; send a number"),
        (json!({"stop": [1]}), "`stop[0]` of the body is not valid; send a string"),
        (
            json!({"tools": [{"type": "function", "function": {}}]}),
            "`tools[0].function.name` of the body is not valid; it is missing: send a string",
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(wrong(body), expected);
    }
}

#[test]
fn thinking_is_asked_for_in_many_ways() {
    let effort = |effort| Reasoning { effort: Some(effort), ..Reasoning::default() };
    let cases = [
        (json!({"reasoning_effort": "xhigh"}), effort(Effort::ExtraHigh)),
        (
            json!({"reasoning": {"max_tokens": 2000, "exclude": true}}),
            Reasoning { budget_tokens: Some(2_000), shown: Some(false), ..Reasoning::default() },
        ),
        (json!({"thinking": {"type": "disabled"}}), Reasoning { enabled: Some(false), ..Reasoning::default() }),
        (
            json!({"thinking": {"type": "enabled"}, "reasoning_effort": "max"}),
            Reasoning { enabled: Some(true), ..effort(Effort::Max) },
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(reading(body.clone()).reasoning.unwrap().value, expected, "{body}");
    }
}

#[test]
fn old_functions_become_tools_and_their_results_find_their_calls() {
    let request = reading(json!({
        "functions": [{"name": "f"}],
        "function_call": {"name": "f"},
        "messages": [
            {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "done"},
        ],
    }));
    assert_eq!(request.tools[0].parameters, json!({"type": "object", "properties": {}}));
    assert_eq!(request.tool_choice.unwrap().value, ToolChoice::Named("f".to_owned()));
    let Content::ToolResult(result) = &request.messages[1].parts[0].content else { panic!() };
    assert_eq!((result.id.as_str(), result.name.as_deref()), ("call_0", Some("f")));
}

#[test]
fn markers_of_either_kind_are_cache_markers() {
    let part = |marker: Value| {
        let mut part = json!({"type": "text", "text": "x"});
        part.as_object_mut().unwrap().extend(marker.as_object().unwrap().clone());
        reading(json!({"messages": [{"role": "user", "content": [part]}]})).messages[0].parts[0].cache
    };
    assert_eq!(part(json!({"cache_control": {"type": "ephemeral"}})), Some(CacheFor::FiveMinutes));
    assert_eq!(part(json!({"cache_control": {"type": "ephemeral", "ttl": "1h"}})), Some(CacheFor::OneHour));
    assert_eq!(part(json!({"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}})), Some(CacheFor::OneHour));
    assert_eq!(part(json!({})), None);
}

#[test]
fn results_follow_their_calls_and_pictures_follow_the_results() {
    let result = |id: &str, parts: Vec<Content>, is_error| {
        let parts = parts.into_iter().map(|content| Part::new(content, "")).collect();
        Content::ToolResult(ToolResult { id: id.to_owned(), name: None, parts, is_error })
    };
    let picture = Content::Image {
        source: Source::Base64 { media_type: "image/png".to_owned(), base64: "AA==".to_owned() },
        detail: None,
    };
    let messages = vec![
        said(Role::User, vec![result("a", vec![picture], None)]),
        said(Role::User, vec![Content::text("Well?"), result("b", vec![Content::text("gone")], Some(true))]),
    ];
    let (body, dropped) = written(asking(messages));
    let expected = json!([
        {"role": "tool", "tool_call_id": "a", "content": ""},
        {"role": "tool", "tool_call_id": "b", "content": "Error: gone"},
        {"role": "user", "content": [
            {"type": "text", "text": "Result of the tool call a:"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        ]},
        {"role": "user", "content": "Well?"},
    ]);
    assert_eq!((&body["messages"], dropped), (&expected, Vec::new()));
}

#[test]
fn what_cannot_be_said_is_refused_by_its_path() {
    let user = |content| asking(vec![said(Role::User, vec![content])]);
    let address = |url: &str| Source::Url { url: url.to_owned(), media_type: None };
    let document = |source, citations| Content::Document { source, name: None, context: None, citations };
    let cases = [
        (user(Content::Video(address("https://a/b"))), "`p[0]` (video of the user's)"),
        (user(Content::Audio(address("https://a/b"))), "`p[0]` (audio given as an address)"),
        (user(document(address("https://a/b"), false)), "`p[0]` (a document given as an address)"),
        (user(document(Source::Text("x".to_owned()), true)), "`p[0]` (citations of a document)"),
        (user(Content::Image { source: address("s3://a/b"), detail: None }), "`p[0]` (an image given as an address)"),
        (
            Request { top_k: Some(Said::new(4, "top_k")), ..asking(Vec::new()) },
            "`top_k` (sampling from the likeliest tokens)",
        ),
        (
            Request { stop: Some(Said::new(vec!["a".to_owned(); 5], "stop_sequences")), ..asking(Vec::new()) },
            "`stop_sequences` (more than 4 stop texts)",
        ),
        (
            Request { tool_choice: Some(Said::new(ToolChoice::Required, "tool_choice")), ..asking(Vec::new()) },
            "`tool_choice` (a choice among no tools)",
        ),
        (
            Request { others: vec![Said::new(json!(1), "context_management")], ..asking(Vec::new()) },
            "`context_management` (a field that only the caller's API has)",
        ),
    ];
    for (request, expected) in cases {
        let refusal = refused(request);
        assert!(refusal.starts_with(expected), "{refusal}");
    }
}

#[test]
fn what_changes_nothing_about_the_answer_never_breaks_a_call() {
    let claude = Signature { of: Dialect::Anthropic, text: "E".to_owned() };
    let google = Signature { of: Dialect::Gemini, text: "C".to_owned() };
    let call =
        ToolCall { id: "c1".to_owned(), name: "f".to_owned(), arguments: "{}".to_owned(), signature: Some(google) };
    let contents = vec![
        Content::Thinking { text: "x".to_owned(), signature: Some(claude.clone()) },
        Content::Redacted(claude),
        Content::ToolCall(call),
    ];
    let request = Request {
        service_tier: Some(Said::new("reserved".to_owned(), "serviceTier.type")),
        hints: vec![Said::new(json!("fast"), "speed")],
        ..asking(vec![said(Role::Assistant, contents)])
    };
    let mut losses = Losses::new(Dialect::Openai, OnUnsupported::Refuse);
    let body = write(request, &mut losses).unwrap();
    assert_eq!(body["messages"][0]["tool_calls"][0]["id"], "c1");
    assert_eq!(losses.into_dropped(), ["p[0]", "p[1]", "p[2] (signature)", "serviceTier.type", "speed"]);
}

#[test]
fn the_signature_of_googles_endpoint_comes_back_to_it() {
    let extra = json!({"google": {"thought_signature": "CiQ="}});
    let call =
        json!({"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": extra});
    let request = reading(json!({"messages": [{"role": "assistant", "content": null, "tool_calls": [call]}]}));
    let Content::ToolCall(call) = &request.messages[0].parts[0].content else { panic!("no call") };
    assert!(call.signature.as_ref().unwrap().is_of_call());
    let (body, dropped) = written(request);
    assert_eq!((&body["messages"][0]["tool_calls"][0]["extra_content"], dropped.len()), (&extra, 0));
}

#[test]
fn openais_own_models_are_told_how_to_cache_and_nothing_they_do_not_know() {
    let parts = vec![
        Part { cache: Some(CacheFor::OneHour), ..Part::new(Content::text("Rules."), "system[0]") },
        Part::new(Content::text("Be brief."), "system[1]"),
    ];
    let thought = Content::Thinking { text: "Hm.".to_owned(), signature: None };
    let mut asked = Request { system: parts, ..asking(vec![said(Role::Assistant, vec![thought, Content::text("A")])]) };
    asked.hints = vec![Said::new(json!("k"), "prompt_cache_key"), Said::new(json!("low"), "text.verbosity")];
    asked.model = "gpt-5.6".to_owned();
    let (body, dropped) = written(asked.clone());
    let marked = json!([
        {"type": "text", "text": "Rules.", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
        {"type": "text", "text": "Be brief."},
    ]);
    let messages = json!([{"role": "system", "content": marked}, {"role": "assistant", "content": "A"}]);
    assert_eq!(body["messages"], messages);
    assert_eq!((&body["prompt_cache_key"], &body["verbosity"]), (&json!("k"), &json!("low")));
    assert_eq!(dropped, ["p[0]"]);
    asked.model = "deepseek-v4".to_owned();
    let (body, dropped) = written(asked);
    let messages = json!([
        {"role": "system", "content": "Rules.\n\nBe brief."},
        {"role": "assistant", "content": "A", "reasoning_content": "Hm."},
    ]);
    assert_eq!((&body["messages"], body.get("prompt_cache_key")), (&messages, None));
    assert_eq!(dropped, ["system[0]", "prompt_cache_key", "text.verbosity"]);
}

#[test]
fn a_search_is_for_models_that_search() {
    let place = json!({"type": "approximate", "approximate": {"city": "Oslo"}});
    let options = json!({"search_context_size": "low", "user_location": place});
    let asked = |model: &str| Request { model: model.to_owned(), ..reading(json!({"web_search_options": options})) };
    assert_eq!(written(asked("gpt-5-search-api")).0["web_search_options"], options);
    assert!(refused(asked("gpt-5.6")).starts_with("`web_search_options` (a search of the web"));
}

#[test]
fn a_model_that_never_thinks_is_not_told_how_hard_to() {
    let asked = |effort| {
        let reasoning = Reasoning { effort: Some(effort), ..Reasoning::default() };
        let reasoning = Some(Said::new(reasoning, "reasoning_effort"));
        Request { model: "gpt-4.1".to_owned(), reasoning, ..asking(Vec::new()) }
    };
    let (body, dropped) = written(asked(Effort::None));
    assert_eq!((body.get("reasoning_effort"), dropped.len()), (None, 0));
    assert!(refused(asked(Effort::High)).starts_with("`reasoning_effort` (thinking of a model"));
}

#[test]
fn documents_of_words_are_words_and_a_long_users_name_is_left_out() {
    let document = Content::Document {
        source: Source::Text("The sky is blue.".to_owned()),
        name: Some("Facts".to_owned()),
        context: None,
        citations: false,
    };
    let mut request = asking(vec![said(Role::User, vec![document])]);
    request.user = Some(Said::new("u".repeat(65), "metadata.user_id"));
    request.hints = vec![Said::new(json!(true), "store")];
    let (body, dropped) = written(request);
    assert_eq!(body["messages"][0]["content"], "Facts\n\nThe sky is blue.");
    assert_eq!(dropped, ["metadata.user_id", "store"]);
}

#[test]
fn a_stream_asks_for_its_usage() {
    let (body, _) = written(Request { stream: true, ..asking(Vec::new()) });
    assert_eq!(body["stream_options"], json!({"include_usage": true}));
}

#[test]
fn several_instructions_at_the_start_are_one() {
    let parts = ["Be kind.", "Be brief."].map(|text| Part::new(Content::text(text), ""));
    let (body, _) = written(Request { system: parts.to_vec(), ..asking(Vec::new()) });
    assert_eq!(body["messages"], json!([{"role": "system", "content": "Be kind.\n\nBe brief."}]));
}

#[test]
fn thoughts_without_a_signature_go_back_as_deepseek_wants_them() {
    let thought = Content::Thinking { text: "Hm.".to_owned(), signature: None };
    let (body, _) = written(asking(vec![said(Role::Assistant, vec![thought, Content::text("A")])]));
    assert_eq!(body["messages"], json!([{"role": "assistant", "content": "A", "reasoning_content": "Hm."}]));
}
