//! Streams of other dialects, written as this one's.

use serde_json::json;
use tollgate_interaction::{Dialect, Usage};

use super::{asked, data, written};
use crate::chat::{Answer, Choice, Citation, Content, Delta, Event, Message, Part, Role, Signature, Stop, ToolCall};
use crate::dialect::responses::{answer, request};

fn begin() -> Event {
    Event::Begin { id: Some("msg_1".to_owned()), model: "other".to_owned(), usage: None }
}

fn begin_part(part: usize, content: Content) -> Event {
    Event::BeginPart { choice: 0, part, content }
}

fn go_on(part: usize, delta: Delta) -> Event {
    Event::Continue { choice: 0, part, delta }
}

fn end_part(part: usize) -> Event {
    Event::EndPart { choice: 0, part }
}

fn stop(stop: Stop) -> Event {
    Event::Stop { choice: 0, stop }
}

fn call(id: &str) -> Content {
    let (id, name) = (id.to_owned(), "look".to_owned());
    Content::ToolCall(ToolCall { id, name, arguments: String::new(), signature: None })
}

fn names(stream: &[u8]) -> Vec<String> {
    data(stream).iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_text_comes_in_the_official_order() {
    let stream = written(vec![
        begin(),
        begin_part(0, Content::text("")),
        go_on(0, Delta::Text("Par".to_owned())),
        go_on(0, Delta::Text("is".to_owned())),
        end_part(0),
        stop(Stop::End),
        Event::Usage(Usage { input_tokens: Some(21), output_tokens: Some(2), ..Usage::default() }),
        Event::End,
    ]);
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(names(&stream), expected);
    let last = data(&stream).pop().unwrap();
    assert_eq!(last["response"]["output"][0]["content"][0]["text"], "Paris");
    assert_eq!(last["response"]["usage"]["total_tokens"], 23);
    assert!(!String::from_utf8_lossy(&stream).contains("[DONE]"));
}

#[test]
fn thoughts_and_a_call_are_items_of_their_own() {
    let signature = Signature { of: Dialect::Anthropic, text: "EqQB".to_owned() };
    let stream = written(vec![
        begin(),
        begin_part(0, Content::Thinking { text: String::new(), signature: None }),
        go_on(0, Delta::Thinking("Hm.".to_owned())),
        go_on(0, Delta::Signature(signature)),
        end_part(0),
        begin_part(1, call("toolu_1")),
        go_on(1, Delta::Arguments("{\"at\":".to_owned())),
        go_on(1, Delta::Arguments("1}".to_owned())),
        end_part(1),
        stop(Stop::ToolUse),
        Event::End,
    ]);
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(names(&stream), expected);
    let output = data(&stream).pop().unwrap()["response"]["output"].take();
    assert_eq!(output[0]["encrypted_content"], "tollgate:anthropic:EqQB");
    assert_eq!(output[0]["summary"][0]["text"], "Hm.");
    assert_eq!((&output[1]["call_id"], &output[1]["id"]), (&json!("toolu_1"), &json!("fc_01_1")));
    assert_eq!(output[1]["arguments"], "{\"at\":1}");
}

#[test]
fn parts_may_be_open_at_once_and_never_get_a_word() {
    let stream = written(vec![
        begin(),
        begin_part(0, Content::text("")),
        go_on(0, Delta::Text("a".to_owned())),
        begin_part(1, call("one")),
        begin_part(2, call("two")),
        go_on(2, Delta::Arguments("{\"b\":2}".to_owned())),
        go_on(1, Delta::Arguments("{\"a\":1}".to_owned())),
        go_on(0, Delta::Text("b".to_owned())),
        end_part(2),
        end_part(0),
        end_part(1),
        begin_part(3, Content::text("")),
        end_part(3),
        Event::Usage(Usage { output_tokens: Some(7), ..Usage::default() }),
        stop(Stop::ToolUse),
        Event::End,
    ]);
    let mut all = data(&stream);
    let output = all.pop().unwrap()["response"]["output"].take();
    let ids: Vec<_> = output.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["msg_01_0", "fc_01_1", "fc_01_2", "msg_01_3"]);
    assert_eq!(output[0]["content"][0]["text"], "ab");
    assert_eq!((&output[1]["call_id"], &output[2]["call_id"]), (&json!("one"), &json!("two")), "as they began");
    let done = all.iter().filter(|event| event["type"] == "response.output_item.done").count();
    assert_eq!(done, 4, "every item is closed once");
}

#[test]
fn the_signature_of_a_call_finds_its_call_again() {
    let signature = Signature { of: Dialect::Gemini, text: "CiQ=".to_owned() };
    let early = vec![
        begin(),
        begin_part(0, call("call_0")),
        go_on(0, Delta::Signature(signature.clone())),
        go_on(0, Delta::Arguments("{}".to_owned())),
        end_part(0),
        begin_part(1, call("call_1")),
        go_on(1, Delta::Arguments("{}".to_owned())),
        end_part(1),
        stop(Stop::ToolUse),
        Event::End,
    ];
    let mut late = early.clone();
    late.swap(2, 3);
    let signed = |id: &str, signature| {
        let call = ToolCall { id: id.to_owned(), name: "look".to_owned(), arguments: "{}".to_owned(), signature };
        Part::new(Content::ToolCall(call), "")
    };
    let parts = vec![signed("call_0", Some(signature)), signed("call_1", None)];
    let choice = Choice { parts: parts.clone(), stop: Some(Stop::ToolUse), logprobs: Vec::new() };
    let whole = answer::write(Answer { choices: vec![choice], ..Answer::default() }, &asked());
    for mut response in
        [data(&written(early)).pop().unwrap(), data(&written(late)).pop().unwrap(), json!({"response": whole})]
    {
        let input = response["response"]["output"].take();
        let mut read = request::read(json!({"model": "m", "input": input})).unwrap();
        read.messages[0].parts.iter_mut().for_each(|part| part.at.clear());
        let expected = Message { role: Role::Assistant, parts: parts.clone(), name: None };
        assert_eq!(read.messages, [expected]);
    }
}

#[test]
fn an_ending_that_is_none_is_incomplete() {
    for (ended, name, reason) in [
        (Stop::Length, "response.incomplete", json!("max_output_tokens")),
        (Stop::ContextFull, "response.incomplete", json!("max_output_tokens")),
        (Stop::Filtered, "response.incomplete", json!("content_filter")),
        (Stop::Refused, "response.incomplete", json!("content_filter")),
        (Stop::Paused, "response.incomplete", json!("max_output_tokens")),
        (Stop::Other("NO_IMAGE".to_owned()), "response.incomplete", json!("max_output_tokens")),
        (Stop::MalformedCall, "response.failed", json!(null)),
        (Stop::StopText(None), "response.completed", json!(null)),
    ] {
        let stream = written(vec![begin(), begin_part(0, Content::text("x")), end_part(0), stop(ended), Event::End]);
        let last = data(&stream).pop().unwrap();
        assert_eq!(last["type"], name);
        assert_eq!(last["response"]["incomplete_details"]["reason"], reason);
        let code = if name == "response.failed" { json!("server_error") } else { json!(null) };
        assert_eq!(last["response"]["error"]["code"], code);
    }
}

#[test]
fn what_a_text_cites_is_told_behind_it() {
    let cited = |url: Option<&str>| {
        let url = url.map(str::to_owned);
        Delta::Citation(Citation { url, title: Some("T".to_owned()), quote: None, span: None, document: None })
    };
    let stream = written(vec![
        begin(),
        begin_part(0, Content::text("")),
        go_on(0, cited(Some("https://example.com/"))),
        go_on(0, cited(None)),
        go_on(0, Delta::Text("Über Paris.".to_owned())),
        end_part(0),
        stop(Stop::End),
        Event::End,
    ]);
    let names = names(&stream);
    assert_eq!(
        names[4..7],
        ["response.output_text.delta", "response.output_text.annotation.added", "response.output_text.done"]
    );
    let added = &data(&stream)[5];
    let annotation = json!(
        {"type": "url_citation", "start_index": 0, "end_index": 11, "url": "https://example.com/", "title": "T"}
    );
    assert_eq!((&added["annotation"], &added["annotation_index"]), (&annotation, &json!(0)));
    let last = data(&stream).pop().unwrap();
    assert_eq!(last["response"]["output"][0]["content"][0]["annotations"], json!([annotation]));
}

#[test]
fn the_first_of_several_answers_is_the_answer() {
    let other = |event| match event {
        Event::BeginPart { part, content, .. } => Event::BeginPart { choice: 1, part, content },
        Event::EndPart { part, .. } => Event::EndPart { choice: 1, part },
        event => event,
    };
    let stream = written(vec![
        begin(),
        begin_part(0, Content::text("One.")),
        other(begin_part(0, Content::text("Two."))),
        other(end_part(0)),
        Event::Stop { choice: 1, stop: Stop::Length },
        end_part(0),
        stop(Stop::End),
        Event::End,
    ]);
    let last = data(&stream).pop().unwrap();
    assert_eq!(last["response"]["output"][0]["content"][0]["text"], "One.");
    assert_eq!(
        (&last["type"], last["response"]["output"].as_array().unwrap().len()),
        (&json!("response.completed"), 1)
    );
}

#[test]
fn a_late_error_has_a_listed_code() {
    let error = crate::observe::StreamError {
        kind: "overloaded_error".to_owned(),
        code: Some("weird".to_owned()),
        message: "busy".to_owned(),
    };
    let events = data(&written(vec![begin(), Event::Error(error)]));
    let [.., error, failed] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("weird")));
    assert_eq!(failed["response"]["error"], json!({"code": "server_error", "message": "busy"}));
}

#[test]
fn an_error_of_the_gateways_is_one_that_clients_raise() {
    let error = crate::dialect::ErrorShape {
        code: "budget_exceeded".to_owned(),
        message: "the budget is spent".to_owned(),
        kind: crate::dialect::ErrorKind::Throttled,
        param: None,
        http_status: 429,
        interaction_id: "01J".to_owned(),
    };
    let event = crate::dialect::error_event(Dialect::Responses, &error);
    let data = data(&event).pop().unwrap();
    assert_eq!((&data["type"], &data["message"]), (&json!("error"), &json!("the budget is spent")));
    assert_eq!(data["error"]["type"], "rate_limit_error");
}
