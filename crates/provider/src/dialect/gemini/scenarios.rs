//! The golden scenarios (`golden/gemini/`) one by one: requests keep their meaning through reading and writing, a stream
//! says what the whole answer says, the observer sees the same in both, and what the writer writes the reader reads.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};
use tollgate_interaction::{Dialect, Operation, Usage};

use super::{answer, request, stream};
use crate::chat::{Answer, Choice, Content, Delta, Event, Part, Request};
use crate::observe::{self, Observer};
use crate::sse;
use crate::transcript;
use crate::translate::{Address, Asked, Losses, OnUnsupported, ReadStream, WriteStream, write_request};

#[derive(Deserialize)]
struct Turn {
    usage: Usage,
    finish_reasons: Vec<String>,
    model_served: Option<String>,
}

fn scenarios() -> Vec<(String, PathBuf)> {
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("golden/gemini");
    let mut folders: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    // The others are no conversations, and only read by the observer.
    folders.retain(|folder| folder.join("turn.json").exists());
    folders.sort();
    folders.into_iter().map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path)).collect()
}

fn json_file(path: &Path) -> Option<Value> {
    fs::read(path).ok().map(|bytes| serde_json::from_slice(&bytes).unwrap())
}

fn model_of(folder: &Path) -> String {
    json_file(&folder.join("turn.json")).unwrap()["model_served"].as_str().unwrap_or("gemini-3.6-flash").to_owned()
}

fn read_request(body: Value, model: &str) -> Request {
    request::read(body, Address { model, stream: false }).unwrap()
}

fn events(bytes: &[u8]) -> Vec<Event> {
    let mut reader = stream::Reader::default();
    let mut events = Vec::new();
    let mut decoder = sse::Decoder::default();
    decoder.push(bytes, |event| reader.read(event.name, event.data, &mut events));
    decoder.finish(|event| reader.read(event.name, event.data, &mut events));
    reader.end(&mut events);
    events
}

/// The answer that `events` add up to; refuses an order that the stream's rules do not allow.
fn fold(events: Vec<Event>) -> Answer {
    let mut answer = Answer::default();
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut has_ended = false;
    for event in events {
        assert!(!has_ended, "an event after the end");
        match event {
            Event::Begin { id, model, .. } => {
                answer.id = id;
                answer.model = model;
            }
            Event::BeginPart { choice, part, content } => {
                if answer.choices.len() <= choice {
                    answer.choices.resize_with(choice + 1, Choice::default);
                }
                assert_eq!(answer.choices[choice].parts.len(), part, "parts are numbered in order");
                answer.choices[choice].parts.push(Part::new(content, ""));
                open.push((choice, part));
            }
            Event::Continue { choice, part, delta } => {
                assert!(open.contains(&(choice, part)), "a part that is not open goes on");
                go_on(&mut answer.choices[choice].parts[part].content, delta);
            }
            Event::EndPart { choice, part } => {
                let at = open.iter().position(|opened| *opened == (choice, part)).unwrap();
                open.remove(at);
            }
            Event::Logprobs { choice, logprobs } => answer.choices[choice].logprobs.extend(logprobs),
            Event::Stop { choice, stop } => {
                assert!(open.iter().all(|(opened, _)| *opened != choice), "a part is left open");
                if answer.choices.len() <= choice {
                    answer.choices.resize_with(choice + 1, Choice::default);
                }
                answer.choices[choice].stop = Some(stop);
            }
            Event::Usage(usage) => answer.usage = Some(usage),
            Event::ServiceTier(tier) => answer.service_tier = Some(tier),
            Event::End | Event::Error(_) => has_ended = true,
        }
    }
    answer
}

fn go_on(content: &mut Content, delta: Delta) {
    match (content, delta) {
        (Content::Text { text, .. } | Content::Refusal(text), Delta::Text(more)) => text.push_str(&more),
        (Content::Text { citations, .. }, Delta::Citation(citation)) => citations.push(citation),
        (Content::Thinking { text, .. }, Delta::Thinking(more)) => text.push_str(&more),
        (Content::Thinking { signature, .. }, Delta::Signature(given)) => *signature = Some(given),
        (Content::ToolCall(call) | Content::CustomCall(call), Delta::Arguments(more)) => call.arguments.push_str(&more),
        (Content::ToolCall(call), Delta::Signature(given)) => call.signature = Some(given),
        (content, delta) => panic!("{delta:?} does not belong to {content:?}"),
    }
}

#[test]
fn a_request_keeps_its_meaning_through_reading_and_writing() {
    // Not written as Google's newest documentation does, or of what no other dialect can say.
    let rewritten = [
        "snake_case_request",
        "tool_calls_without_ids",
        "signature_streamed_history",
        "server_tool",
        "code_execution",
        "picture_answer",
        "labels",
    ];
    let mut checked = 0;
    for (name, folder) in scenarios() {
        let Some(body) = json_file(&folder.join("request.json")) else { continue };
        // A request alone is there for what becomes of it elsewhere.
        if !folder.join("response.sse").exists() {
            continue;
        }
        checked += 1;
        let model = model_of(&folder);
        let read = read_request(body.clone(), &model);
        let mut losses = Losses::new(Dialect::Gemini, OnUnsupported::Drop);
        let written = request::write(read, &mut losses).unwrap();
        let mut again = Losses::new(Dialect::Gemini, OnUnsupported::Refuse);
        let rewrite = request::write(read_request(written.clone(), &model), &mut again).unwrap();
        assert_eq!(rewrite, written, "{name}");
        if !rewritten.contains(&name.as_str()) {
            assert_eq!(written, body, "{name}");
            assert!(losses.into_dropped().is_empty(), "{name}");
        }
    }
    assert!(checked >= 30, "only {checked} requests were found");
}

#[test]
fn a_stream_says_what_the_whole_answer_says() {
    for (name, folder) in scenarios() {
        let Some(body) = json_file(&folder.join("response.json")) else { continue };
        let Ok(stream) = fs::read(folder.join("response.sse")) else { continue };
        assert_eq!(fold(events(&stream)), answer::read(body).unwrap(), "{name}");
    }
}

#[test]
fn the_observer_sees_the_same_in_both() {
    for (name, folder) in scenarios() {
        let turn: Turn = serde_json::from_value(json_file(&folder.join("turn.json")).unwrap()).unwrap();
        let mut seen = Vec::new();
        if let Ok(body) = fs::read(folder.join("response.json")) {
            seen.push(observe::whole(Dialect::Gemini, Operation::Chat, &body));
        }
        if let Ok(stream) = fs::read(folder.join("response.sse")) {
            for size in [1, 7, stream.len()] {
                let mut observer = Observer::new(Dialect::Gemini, Operation::Chat, true);
                stream.chunks(size).for_each(|piece| observer.push(piece));
                seen.push(observer.finish(true));
            }
        }
        for observation in seen {
            // Where the turn names none it is the one of all scenarios, unless nothing was served.
            let served = (name != "late_error_first").then(|| "gemini-3.6-flash".to_owned());
            assert_eq!(observation.usage, turn.usage, "{name}");
            assert_eq!(observation.finish_reasons, turn.finish_reasons, "{name}");
            assert_eq!(observation.model_served, turn.model_served.clone().or(served), "{name}");
            assert_eq!(observation.terminated, observation.error.is_none(), "{name}");
        }
    }
}

#[test]
fn what_is_written_is_read_back_whole_and_in_pieces() {
    for (name, folder) in scenarios() {
        let Some(body) = json_file(&folder.join("response.json")) else { continue };
        let Ok(stream) = fs::read(folder.join("response.sse")) else { continue };
        // A refusal is told differently, searches are not told at all, and some traffic has no name elsewhere.
        if matches!(name.as_str(), "refusal" | "server_tool" | "tier_off_peak") {
            continue;
        }
        let read = answer::read(body).unwrap();
        let asked = Asked { id: "made-up".to_owned(), events: true, ..Asked::default() };
        assert_eq!(answer::read(answer::write(read.clone(), &asked)).unwrap(), read, "{name}");
        let mut writer = stream::Writer::new(asked);
        let mut out = Vec::new();
        events(&stream).into_iter().for_each(|event| writer.write(event, &mut out));
        let read_back = fold(events(&out));
        assert_eq!(read_back, read, "{name}");
    }
}

#[test]
fn a_caller_who_asks_for_no_events_gets_one_array() {
    let stream =
        fs::read(Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("golden/gemini/text/response.sse"))
            .unwrap();
    let mut writer = stream::Writer::new(Asked { events: false, ..Asked::default() });
    let mut out = Vec::new();
    events(&stream).into_iter().for_each(|event| writer.write(event, &mut out));
    let pieces: Vec<Value> = serde_json::from_slice(&out).unwrap();
    let texts: Vec<_> =
        pieces.iter().map(|piece| piece["candidates"][0]["content"]["parts"][0]["text"].clone()).collect();
    assert_eq!(texts, ["Pa", "ris", ""]);
    assert_eq!(pieces[2]["candidates"][0]["finishReason"], "STOP");
    assert_eq!(pieces[2]["usageMetadata"]["candidatesTokenCount"], 2);
    let observation = observe::whole(Dialect::Gemini, Operation::Chat, &out);
    assert_eq!((observation.usage.input_tokens, observation.usage.output_tokens), (Some(21), Some(2)));
    assert_eq!(observation.finish_reasons, ["STOP"]);
}

#[test]
fn a_stream_that_broke_off_has_no_end_and_one_that_failed_an_error() {
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("golden/gemini");
    let stream = fs::read(root.join("text/response.sse")).unwrap();
    let cut = &stream[..stream.len() / 2];
    assert!(!events(cut).contains(&Event::End));
    let failed = events(&fs::read(root.join("late_error/response.sse")).unwrap());
    let Some(Event::Error(error)) = failed.last() else { panic!("no error") };
    assert_eq!((error.kind.as_str(), error.code.as_deref()), ("UNAVAILABLE", Some("503")));
}

#[test]
fn a_conversation_reads_as_text_in_every_form() {
    for (name, folder) in scenarios() {
        let (Ok(request), Ok(whole)) = (fs::read(folder.join("request.json")), fs::read(folder.join("response.json")))
        else {
            continue;
        };
        let Ok(stream) = fs::read(folder.join("response.sse")) else { continue };
        assert_eq!(transcript::messages(&request, &stream), transcript::messages(&request, &whole), "{name}");
    }
    let folder = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("golden/gemini/tool_result");
    let read = |file: &str| fs::read(folder.join(file)).unwrap();
    let turns = transcript::messages(&read("request.json"), &read("response.sse"));
    let turns: Vec<_> = turns.into_iter().map(|turn| format!("{}: {}", turn.role, turn.content)).collect();
    assert_eq!(
        turns,
        [
            "user: Compare the weather in Paris and Rome.",
            "assistant: I will look up both.\nget_weather({\"city\":\"Paris\"})\nget_weather({\"city\":\"Rome\"})",
            "tool: 18 °C, cloudy\nno such city",
            "assistant: Paris has 18 °C; I could not find Rome."
        ]
    );
}

#[test]
fn calls_without_ids_are_linked_by_order_and_name() {
    let folder = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("golden/gemini/tool_calls_without_ids");
    let read = read_request(json_file(&folder.join("request.json")).unwrap(), "gemini-2.5-flash");
    let results = &read.messages[2].parts;
    let ids: Vec<_> = results
        .iter()
        .map(|part| match &part.content {
            Content::ToolResult(result) => (result.id.as_str(), result.is_error),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, [("call_1", None), ("call_0", None), ("call_2", Some(true))]);
    let answered = answer::read(json_file(&folder.join("response.json")).unwrap()).unwrap();
    let Content::ToolCall(call) = &answered.choices[0].parts[1].content else { panic!("no call") };
    assert_eq!(call.id, "", "whoever translates the answer names it");
}

#[test]
fn a_call_of_another_model_is_marked_and_foreign_thoughts_are_listed() {
    let foreign = super::write_signature(&crate::chat::Signature { of: Dialect::Anthropic, text: "s".to_owned() });
    let body = json!({"contents": [
        {"role": "user", "parts": [{"text": "Hi"}]},
        {"role": "model", "parts": [
            {"text": "Hm.", "thought": true, "thoughtSignature": foreign},
            {"functionCall": {"id": "1", "name": "a", "args": {}}},
            {"functionCall": {"id": "2", "name": "b", "args": {}}}
        ]}
    ]});
    let read = read_request(body, "gemini-3-pro-preview");
    let mut losses = Losses::new(Dialect::Gemini, OnUnsupported::Refuse);
    let written = request::write(read, &mut losses).unwrap();
    let calls = &written["contents"][1]["parts"];
    assert_eq!(calls[0]["thoughtSignature"], "skip_thought_signature_validator");
    assert!(calls[1].get("thoughtSignature").is_none());
    assert_eq!(losses.into_dropped(), ["contents[1].parts[0]"]);
}

#[test]
fn what_google_cannot_be_told_is_named() {
    let cases = [
        (json!({"contents": [], "safetySettings": [{"threshold": "BLOCK_LOW_AND_ABOVE"}]}), "safetySettings"),
        (json!({"contents": [], "cachedContent": "cachedContents/1"}), "cachedContent"),
        (json!({"contents": [], "tools": [{"code_execution": {}}]}), "tools[0].code_execution"),
        (json!({"contents": [], "generationConfig": {"temperature": 2.5}}), "generationConfig.temperature"),
        (json!({"contents": [], "generationConfig": {"candidateCount": 9}}), "generationConfig.candidateCount"),
        (
            json!({"contents": [], "generationConfig": {"stopSequences": ["1", "2", "3", "4", "5", "6"]}}),
            "generationConfig.stopSequences",
        ),
        (
            json!({"contents": [{"parts": [{"text": "Hi", "video_metadata": {"fps": 1}}]}]}),
            "contents[0].parts[0].video_metadata",
        ),
        (
            json!({"contents": [], "generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}),
            "generationConfig.thinkingConfig",
        ),
    ];
    for (body, field) in cases {
        let read = read_request(body, "gemini-3-pro-preview");
        let mut losses = Losses::new(Dialect::Gemini, OnUnsupported::Refuse);
        let refused = write_request(Dialect::Gemini, read, &mut losses).unwrap_err();
        assert_eq!(refused.fields[0].field, field);
    }
}

#[test]
fn what_is_malformed_is_named_and_nothing_panics() {
    let cases = [
        (json!([]), "body"),
        (json!({}), "contents"),
        (json!({"contents": 1}), "contents[0]"),
        (json!({"contents": [{"role": "robot"}]}), "contents[0].role"),
        (json!({"contents": [{"parts": [{"text": 1}]}]}), "contents[0].parts[0].text"),
        (json!({"contents": [{"parts": [{"functionCall": {}}]}]}), "contents[0].parts[0].functionCall.name"),
        (
            json!({"contents": [{"parts": [{"functionResponse": {"name": "a", "response": "x"}}]}]}),
            "contents[0].parts[0].functionResponse.response",
        ),
        (json!({"contents": [], "generation_config": {"top_k": "x"}}), "generation_config.top_k"),
        (json!({"contents": [], "tools": [{"functionDeclarations": [{}]}]}), "tools[0].functionDeclarations[0].name"),
    ];
    for (body, field) in cases {
        let error = request::read(body, Address::default()).unwrap_err();
        assert!(error.to_string().contains(&format!("`{field}`")), "{field}: {error}");
    }
    for body in
        [json!({}), json!([]), json!(null), json!({"candidates": [{"content": 1}, 2]}), json!({"candidates": 3})]
    {
        let _ = answer::read(body.clone());
        let mut reader = stream::Reader::default();
        let mut events = Vec::new();
        reader.read(b"", body.to_string().as_bytes(), &mut events);
        reader.end(&mut events);
    }
}

#[test]
fn a_stream_of_another_dialect_is_written_as_google_would() {
    use crate::chat::{Citation, Signature, Stop, ToolCall};
    let citation =
        Citation { url: Some("https://example.com/".to_owned()), title: None, quote: None, span: None, document: None };
    let call = |id: &str| {
        let (id, name) = (id.to_owned(), "f".to_owned());
        Content::ToolCall(ToolCall { id, name, arguments: String::new(), signature: None })
    };
    let go_on = |part, delta| Event::Continue { choice: 0, part, delta };
    let begin = |part, content| Event::BeginPart { choice: 0, part, content };
    let end = |part| Event::EndPart { choice: 0, part };
    let usage = |output| Usage { input_tokens: Some(9), output_tokens: Some(output), ..Usage::default() };
    let events = [
        Event::Begin { id: None, model: "claude".to_owned(), usage: Some(usage(1)) },
        begin(0, Content::Thinking { text: String::new(), signature: None }),
        go_on(0, Delta::Thinking("Hm.".to_owned())),
        go_on(0, Delta::Signature(Signature { of: Dialect::Anthropic, text: "s".to_owned() })),
        end(0),
        begin(1, Content::text("")),
        go_on(1, Delta::Text("Grüße.".to_owned())),
        end(1),
        begin(2, Content::text("")),
        go_on(2, Delta::Text("Ja.".to_owned())),
        go_on(2, Delta::Citation(citation)),
        end(2),
        // Two calls at once, the pieces of their arguments in turn; one is no JSON.
        begin(3, call("a")),
        begin(4, call("b")),
        go_on(3, Delta::Arguments("{\"x\":".to_owned())),
        go_on(4, Delta::Arguments("{oops".to_owned())),
        go_on(3, Delta::Arguments("1}".to_owned())),
        end(4),
        end(3),
        Event::Stop { choice: 0, stop: Stop::ToolUse },
        Event::Usage(usage(30)),
        Event::End,
    ];
    let mut writer = stream::Writer::new(Asked { id: "i-1".to_owned(), ..Asked::default() });
    let mut out = Vec::new();
    events.into_iter().for_each(|event| writer.write(event, &mut out));
    let pieces: Vec<Value> = serde_json::from_slice(&out).unwrap();
    let parts: Vec<_> = pieces.iter().map(|piece| piece["candidates"][0]["content"]["parts"][0].clone()).collect();
    let expected = [
        json!({"text": "Hm.", "thought": true}),
        json!({"text": "", "thought": true, "thoughtSignature": "dG9sbGdhdGU6YW50aHJvcGljOnM="}),
        json!({"text": "Grüße."}),
        json!({"text": "Ja."}),
        json!({"functionCall": {"id": "b", "name": "f", "args": {"arguments": "{oops"}}}),
        json!({"functionCall": {"id": "a", "name": "f", "args": {"x": 1}}}),
        json!({"text": ""}),
    ];
    assert_eq!(parts, expected);
    assert!(pieces.iter().all(|piece| piece["responseId"] == "i-1" && piece["modelVersion"] == "claude"));
    assert_eq!(pieces[0]["usageMetadata"]["promptTokenCount"], 9);
    assert_eq!(pieces[6]["usageMetadata"]["candidatesTokenCount"], 30);
    let last = &pieces[6]["candidates"][0];
    assert_eq!(last["finishReason"], "STOP");
    let segment = &last["groundingMetadata"]["groundingSupports"][0]["segment"];
    assert_eq!(segment, &json!({"startIndex": 8, "endIndex": 11, "text": "Ja."}));
}

#[test]
fn an_error_of_another_provider_ends_the_array() {
    let mut writer = stream::Writer::new(Asked::default());
    let mut out = Vec::new();
    let error =
        observe::StreamError { kind: "overloaded_error".to_owned(), code: None, message: "Overloaded".to_owned() };
    writer.write(Event::Begin { id: None, model: String::new(), usage: None }, &mut out);
    writer.write(Event::Error(error), &mut out);
    let body: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(body, json!([{"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}}]));
}

#[test]
fn thought_is_asked_for_by_level_or_by_tokens_as_the_generation_wants_it() {
    use crate::chat::{Effort, Reasoning, Said};
    let cases = [
        ("gemini-3-flash-preview", Some(Effort::High), None, json!({"thinkingLevel": "HIGH"})),
        ("gemini-3-flash-preview", Some(Effort::None), None, json!({"thinkingLevel": "MINIMAL"})),
        ("gemini-3-pro-preview", Some(Effort::Minimal), None, json!({"thinkingLevel": "LOW"})),
        ("gemini-3-pro-preview", None, Some(2_000), json!({"thinkingLevel": "MEDIUM"})),
        ("gemini-2.5-flash", Some(Effort::Medium), None, json!({"thinkingBudget": 8_192})),
        ("gemini-2.5-flash", Some(Effort::None), None, json!({"thinkingBudget": 0})),
        ("gemini-2.5-pro", None, Some(30_000), json!({"thinkingBudget": 30_000})),
    ];
    for (model, effort, budget_tokens, expected) in cases {
        let reasoning = Reasoning { effort, budget_tokens, ..Reasoning::default() };
        let asked = Request {
            model: model.to_owned(),
            reasoning: Some(Said::new(reasoning, "reasoning_effort")),
            ..Request::default()
        };
        let mut losses = Losses::new(Dialect::Gemini, OnUnsupported::Refuse);
        let written = request::write(asked, &mut losses).unwrap();
        assert_eq!(written["generationConfig"]["thinkingConfig"], expected, "{model}");
        let is_nearest = effort.is_some_and(|effort| effort < Effort::Low) && model.contains("gemini-3");
        assert_eq!(!losses.into_dropped().is_empty(), is_nearest, "{model}: a level of another name is listed");
    }
}

/// Twenty thousand calls and as many results, each of which looks for its own.
#[test]
fn results_find_their_calls_without_looking_at_all_of_them() {
    const CALLS: usize = 9_000;
    let call = |at: usize| json!({"functionCall": {"name": format!("f{}", at % 7), "args": {}}});
    let result = |at: usize| json!({"functionResponse": {"name": format!("f{}", at % 7), "response": {"output": "x"}}});
    let body = json!({"contents": [
        {"role": "model", "parts": (0..CALLS).map(call).collect::<Vec<_>>()},
        {"role": "user", "parts": (0..CALLS).rev().map(result).collect::<Vec<_>>()},
    ]});
    let read = read_request(body, "m");
    let mut answered = std::collections::HashSet::new();
    for part in read.messages.iter().flat_map(|message| &message.parts) {
        if let Content::ToolResult(result) = &part.content {
            assert!(answered.insert(result.id.clone()), "{} is answered twice", result.id);
        }
    }
    assert_eq!(answered.len(), CALLS);
    // The oldest open call of a function is the one that its next result answers.
    let first = read.messages[1].parts.iter().find_map(|part| match &part.content {
        Content::ToolResult(result) => Some(result.id.clone()),
        _ => None,
    });
    assert_eq!(first, Some(format!("call_{}", (CALLS - 1) % 7)));
}
