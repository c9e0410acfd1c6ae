//! What is refused, and by which path; and what is said in other words.

use serde_json::{Value, json};
use tollgate_interaction::Dialect;

use crate::chat::{CacheFor, Content, Message, Part, Reasoning, Request, Role, Said, Signature, Source, Tool};
use crate::dialect::responses::{answer, request};
use crate::translate::{Losses, OnUnsupported, write_request};

fn read(body: Value) -> Result<Request, String> {
    request::read(body).map_err(|error| error.to_string())
}

fn write(request: Request) -> Result<Value, String> {
    let mut losses = Losses::new(Dialect::Responses, OnUnsupported::Refuse);
    let written = write_request(Dialect::Responses, request, &mut losses);
    written.map_err(|refused| format!("{} ({})", refused.fields[0].field, refused.fields[0].what))
}

fn user(content: Content) -> Request {
    let parts = vec![Part::new(content, "messages[0].content")];
    Request { messages: vec![Message { role: Role::User, parts, name: None }], ..Request::default() }
}

#[test]
fn malformed_requests_are_refused_by_path() {
    let cases = [
        (json!([]), "body"),
        (json!({"model": "m"}), "input"),
        (json!({"model": "m", "input": 1}), "input"),
        (json!({"model": 1, "input": "x"}), "model"),
        (json!({"model": "m", "input": ["x"]}), "input[0]"),
        (json!({"model": "m", "input": [{}]}), "input[0]"),
        (json!({"model": "m", "input": [{"role": "tool", "content": "x"}]}), "input[0].role"),
        (json!({"model": "m", "input": [{"role": "user"}]}), "input[0].content"),
        (json!({"model": "m", "input": [{"role": "user", "content": ["x"]}]}), "input[0].content[0]"),
        (
            json!({"model": "m", "input": [{"role": "user", "content": [{"type": "input_image"}]}]}),
            "input[0].content[0]",
        ),
        (json!({"model": "m", "input": [{"type": "function_call", "name": "f"}]}), "input[0].call_id"),
        (json!({"model": "m", "input": [{"type": "function_call_output", "call_id": "c"}]}), "input[0].output"),
        (json!({"model": "m", "input": [{"type": "reasoning", "summary": [1], "content": 2}]}), "input[0].content"),
        (json!({"model": "m", "input": "x", "tools": [{"name": "f"}]}), "tools[0]"),
        (json!({"model": "m", "input": "x", "tool_choice": "any"}), "tool_choice"),
        (
            json!({"model": "m", "input": "x", "text": {"format": {"type": "json_schema", "name": "n"}}}),
            "text.format.schema",
        ),
        (json!({"model": "m", "input": "x", "include": [1]}), "include[0]"),
        (json!({"model": "m", "input": "x", "max_output_tokens": -1}), "max_output_tokens"),
    ];
    for (body, field) in cases {
        let error = read(body.clone()).unwrap_err();
        assert!(error.starts_with(&format!("`{field}` of the body")), "{body}: {error}");
    }
}

#[test]
fn what_only_this_api_has_is_kept_by_name() {
    let body = json!({
        "model": "m",
        "previous_response_id": "resp_1",
        "input": [
            {"type": "item_reference", "id": "msg_1"},
            {"id": "rs_1", "type": "reasoning", "summary": []},
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            {"role": "user", "content": [{"type": "input_text", "text": "x", "odd": 1}, {"type": "input_smell"}]}
        ],
        "tools": [{"type": "code_interpreter"}, {"type": "function", "name": "f", "strict": true, "defer_loading": true}],
        "tool_choice": {"type": "web_search"},
        "text": {"verbosity": "low", "format": {"type": "text"}},
        "reasoning": {"effort": "colossal", "mode": "pro"},
        "truncation": "auto",
        "background": true,
        "max_tool_calls": 3,
        "stream_options": {"include_obfuscation": false},
        "parallel_tool_calls": true,
        "service_tier": "auto"
    });
    let read = read(body).unwrap();
    let mut others: Vec<_> = read.others.iter().map(|other| other.at.as_str()).collect();
    others.sort_unstable();
    assert_eq!(
        others,
        [
            "background",
            "input[3].content[0].odd",
            "input[3].content[1]",
            "max_tool_calls",
            "previous_response_id",
            "reasoning.effort",
            "reasoning.mode",
            "tool_choice",
            "tools[0]",
            "tools[1].defer_loading",
            "truncation"
        ]
    );
    assert_eq!((&read.parallel_tool_calls, &read.service_tier, &read.reasoning), (&None, &None, &None));
    let natives: Vec<_> = read.messages[0].parts.iter().map(|part| part.content.described()).collect();
    assert_eq!(natives, ["`item_reference`", "`reasoning`", "`web_search_call`"]);
}

#[test]
fn a_conversation_the_provider_keeps_is_refused_with_a_way_out() {
    let mut losses = Losses::new(Dialect::Anthropic, OnUnsupported::Refuse);
    losses.lose("previous_response_id", "unknown").unwrap();
    let error = losses.check().unwrap_err().to_string();
    assert!(error.contains("send its items in `input`"), "{error}");
}

#[test]
fn what_the_api_cannot_say_is_refused_by_path() {
    let audio = Content::Audio(Source::Base64 { media_type: "audio/wav".to_owned(), base64: "UklG".to_owned() });
    assert_eq!(write(user(audio)).unwrap_err(), "messages[0].content (audio)");
    let cases = [
        Request { stop: Some(Said::new(vec!["END".to_owned()], "stop")), ..Request::default() },
        Request { top_k: Some(Said::new(40, "stop")), ..Request::default() },
        Request { frequency_penalty: Some(Said::new(0.5, "stop")), ..Request::default() },
        Request { presence_penalty: Some(Said::new(0.5, "stop")), ..Request::default() },
        Request { choices: Some(Said::new(2, "stop")), ..Request::default() },
        Request { logprobs: Some(Said::new(21, "stop")), ..Request::default() },
        Request { others: vec![Said::new(json!(1), "stop")], ..Request::default() },
    ];
    for request in cases {
        assert!(write(request.clone()).unwrap_err().starts_with("stop ("), "{request:?}");
    }
}

#[test]
fn what_changes_nothing_about_the_answer_is_listed_and_never_refused() {
    let signature = Signature { of: Dialect::Anthropic, text: "E".to_owned() };
    let thinking = Content::Thinking { text: "t".to_owned(), signature: Some(signature) };
    let request = Request {
        seed: Some(Said::new(7, "seed")),
        service_tier: Some(Said::new("reserved".to_owned(), "serviceTier.type")),
        user: Some(Said::new("u".repeat(65), "metadata.user_id")),
        hints: vec![Said::new(json!("low"), "verbosity"), Said::new(json!("fast"), "speed")],
        ..user(thinking)
    };
    let mut losses = Losses::new(Dialect::Responses, OnUnsupported::Refuse);
    let body = request::write(request, &mut losses).unwrap();
    assert_eq!((&body["text"]["verbosity"], body.get("service_tier")), (&json!("low"), None));
    let expected = ["messages[0].content", "seed", "serviceTier.type", "metadata.user_id", "speed"];
    assert_eq!(losses.into_dropped(), expected);
}

#[test]
fn the_code_of_a_failed_response_is_one_of_the_listed() {
    use super::super::output::error_code;
    use crate::failure;
    assert_eq!(error_code(Some("invalid_image"), failure::INVALID_REQUEST), "invalid_image");
    assert_eq!(error_code(Some("insufficient_quota"), failure::QUOTA_EXHAUSTED), "rate_limit_exceeded");
    assert_eq!(error_code(Some("context_length_exceeded"), failure::CONTEXT_LENGTH), "invalid_prompt");
    assert_eq!(error_code(Some("503"), failure::OVERLOADED), "server_error");
    assert_eq!(error_code(None, failure::SERVER_ERROR), "server_error");
}

#[test]
fn a_function_is_not_made_strict_unasked_and_nothing_is_stored() {
    let tool = Tool {
        name: "f".to_owned(),
        description: None,
        parameters: json!({"type": "object", "properties": {}}),
        strict: None,
        cache: None,
        at: "tools[0]".to_owned(),
    };
    let body = write(Request { tools: vec![tool], ..Request::default() }).unwrap();
    assert_eq!((&body["tools"][0]["strict"], &body["store"]), (&json!(false), &json!(false)));
    let asked = Request { hints: vec![Said::new(json!(true), "store")], ..Request::default() };
    assert_eq!(write(asked).unwrap()["store"], true);
}

#[test]
fn thinking_budgets_become_words_and_thoughts_come_back_encrypted() {
    let asked = |reasoning: Reasoning| {
        write(Request { reasoning: Some(Said::new(reasoning, "thinking")), ..Request::default() }).unwrap()
    };
    let body = asked(Reasoning { budget_tokens: Some(8_000), shown: Some(true), ..Reasoning::default() });
    assert_eq!(body["reasoning"], json!({"effort": "medium", "summary": "auto"}));
    assert_eq!(body["include"], json!(["reasoning.encrypted_content"]));
    let off = asked(Reasoning { enabled: Some(false), shown: Some(true), ..Reasoning::default() });
    assert_eq!((&off["reasoning"], off.get("include")), (&json!({"effort": "none"}), None));
}

#[test]
fn breakpoints_are_written_for_models_that_take_them() {
    let marked = |model: &str| {
        let part = Part { cache: Some(CacheFor::OneHour), ..Part::new(Content::text("rules"), "system[0]") };
        let request = Request { model: model.to_owned(), system: vec![part], ..Request::default() };
        let mut losses = Losses::new(Dialect::Responses, OnUnsupported::Refuse);
        let body = request::write(request, &mut losses).unwrap();
        (body, losses.into_dropped())
    };
    let (body, dropped) = marked("gpt-5.6-sol");
    assert_eq!(body["input"][0]["content"][0]["prompt_cache_breakpoint"]["mode"], "explicit");
    assert!(dropped.is_empty());
    for model in ["gpt-5", "gpt-5.5", "o4-mini", "gpt-4o", "m"] {
        let (body, dropped) = marked(model);
        assert_eq!(
            (&body["instructions"], dropped),
            (&json!("rules"), vec!["system[0] (cache marker)".to_owned()]),
            "{model}"
        );
    }
}

#[test]
fn an_answer_that_is_none_is_not_read_as_one() {
    for (body, at) in [
        (json!("x"), "body"),
        (json!({"status": "failed", "error": {"code": "server_error", "message": "m"}, "output": []}), "status"),
        (json!({"status": "queued", "output": []}), "status"),
        (json!({"status": "completed"}), "output"),
        (json!({"error": {"message": "m"}}), "output"),
    ] {
        assert_eq!(answer::read(body).unwrap_err().at, at);
    }
}

#[test]
fn no_json_makes_a_reader_panic() {
    let odd = [json!(null), json!(1), json!("x"), json!([]), json!({}), json!([[{}]]), json!([{"type": "message"}])];
    for field in ["input", "tools", "text", "reasoning", "include", "instructions", "tool_choice", "prompt", "output"] {
        for value in &odd {
            let _ = request::read(json!({"model": "m", "input": "x", field: value}));
            let _ = answer::read(json!({"output": [], field: value}));
            for inner in ["content", "summary", "output", "annotations", "logprobs", "arguments"] {
                for kind in ["message", "reasoning", "function_call", "function_call_output", "output_text"] {
                    let item = json!({"type": kind, "role": "user", "call_id": "c", inner: value, "content": [value]});
                    let _ = request::read(json!({"model": "m", "input": [item]}));
                    let _ = answer::read(json!({"output": [item]}));
                }
            }
        }
    }
}
