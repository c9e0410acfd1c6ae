//! Streams of other dialects written in this one: whatever order they come in, one block follows another.

use serde_json::{Value, json};
use tollgate_interaction::{Dialect, Usage};

use super::scenarios::{events, folded};
use crate::chat::{Content, Delta, Event, Signature, Stop, ToolCall};
use crate::dialect::anthropic::stream::Writer;
use crate::observe::StreamError;
use crate::translate::{Asked, WriteStream};

fn begin(usage: Option<Usage>) -> Event {
    Event::Begin { id: None, model: String::new(), usage }
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

fn call(id: &str) -> Content {
    Content::ToolCall(ToolCall { id: id.to_owned(), name: "a".to_owned(), arguments: String::new(), signature: None })
}

fn thoughts() -> Content {
    Content::Thinking { text: String::new(), signature: None }
}

fn written(events: Vec<Event>) -> Vec<u8> {
    let asked = Asked { id: "7".to_owned(), model: "m".to_owned(), ..Asked::default() };
    let mut writer = Writer::new(asked);
    let mut out = Vec::new();
    events.into_iter().for_each(|event| writer.write(event, &mut out));
    out
}

fn lines(out: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(out).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

/// Type and index of every event.
fn outline(out: &[u8]) -> Vec<String> {
    let name = |event: &Value| match event["index"].as_u64() {
        Some(index) => format!("{} {index}", event["type"].as_str().unwrap().trim_start_matches("content_block_")),
        None => event["type"].as_str().unwrap().to_owned(),
    };
    lines(out).iter().map(name).collect()
}

#[test]
fn parts_that_are_open_together_are_written_one_after_the_other() {
    let out = written(vec![
        begin(None),
        begin_part(0, thoughts()),
        go_on(0, Delta::Thinking("Hm".to_owned())),
        begin_part(1, Content::text("")),
        go_on(1, Delta::Text("I".to_owned())),
        begin_part(2, call("1")),
        go_on(2, Delta::Arguments("{}".to_owned())),
        go_on(0, Delta::Thinking("m.".to_owned())),
        end_part(2),
        end_part(1),
        end_part(0),
        Event::Stop { choice: 0, stop: Stop::End },
        Event::End,
    ]);
    let expected = [
        "message_start",
        "start 0",
        "delta 0",
        "delta 0",
        "stop 0",
        "start 1",
        "delta 1",
        "stop 1",
        "start 2",
        "delta 2",
        "stop 2",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(outline(&out), expected);
    let answer = folded(events(&out));
    assert_eq!(answer.choices[0].stop, Some(Stop::ToolUse), "clients go by the reason alone");
    assert_eq!((answer.id.as_deref(), answer.model.as_str()), (Some("msg_7"), "m"));
}

#[test]
fn a_piece_of_another_kind_never_enters_a_block() {
    let out = written(vec![
        begin(None),
        begin_part(0, Content::text("")),
        go_on(0, Delta::Text("a".to_owned())),
        go_on(0, Delta::Thinking("b".to_owned())),
        go_on(0, Delta::Arguments("c".to_owned())),
        end_part(0),
        Event::End,
    ]);
    assert_eq!(outline(&out)[2..4], ["delta 0", "stop 0"]);
}

#[test]
fn parts_that_say_nothing_are_no_blocks() {
    let out = written(vec![
        begin(None),
        begin_part(0, Content::text("")),
        end_part(0),
        begin_part(1, thoughts()),
        end_part(1),
        begin_part(2, call("1")),
        end_part(2),
        Event::Stop { choice: 0, stop: Stop::ToolUse },
        Event::End,
    ]);
    assert_eq!(outline(&out), ["message_start", "start 0", "stop 0", "message_delta", "message_stop"]);
    assert_eq!(lines(&out)[1]["content_block"], json!({ "type": "tool_use", "id": "1", "name": "a", "input": {} }));
}

#[test]
fn usage_is_told_as_early_as_it_is_known_and_at_the_end() {
    let usage = Usage {
        input_tokens: Some(1_600),
        cache_read_input_tokens: Some(1_024),
        cache_write_5m_input_tokens: Some(512),
        ..Usage::default()
    };
    let all = Usage { output_tokens: Some(9), reasoning_output_tokens: Some(4), ..usage };
    let early = written(vec![begin(Some(usage)), begin_part(0, Content::text("")), Event::Usage(all), Event::End]);
    let start = &lines(&early)[0]["message"]["usage"];
    assert_eq!((&start["input_tokens"], &start["output_tokens"]), (&json!(64), &json!(0)));
    // Some providers tell it with their first piece.
    let second = written(vec![begin(None), Event::Usage(usage), begin_part(0, Content::text("")), Event::End]);
    assert_eq!(&lines(&second)[0]["message"]["usage"]["input_tokens"], &json!(64));
    // Others behind the stop.
    let stop = Event::Stop { choice: 0, stop: Stop::End };
    let late =
        written(vec![begin(None), begin_part(0, Content::text("")), end_part(0), stop, Event::Usage(all), Event::End]);
    assert_eq!(&lines(&late)[0]["message"]["usage"], &json!({ "input_tokens": 0, "output_tokens": 0 }));
    let expected = json!({
        "input_tokens": 64, "cache_creation_input_tokens": 512, "cache_read_input_tokens": 1024, "output_tokens": 9,
        "output_tokens_details": { "thinking_tokens": 4 },
    });
    assert_eq!(lines(&late)[1]["usage"], expected);
}

#[test]
fn signatures_of_others_travel_wrapped() {
    let of = |dialect, text: &str| Signature { of: dialect, text: text.to_owned() };
    let out = written(vec![
        begin(None),
        begin_part(0, thoughts()),
        go_on(0, Delta::Thinking("Hm.".to_owned())),
        go_on(0, Delta::Signature(of(Dialect::Responses, "gAAA"))),
        end_part(0),
        begin_part(1, call("1")),
        go_on(1, Delta::Signature(of(Dialect::Gemini, "CiQ="))),
        go_on(1, Delta::Arguments("{}".to_owned())),
        end_part(1),
        Event::End,
    ]);
    let lines = lines(&out);
    assert_eq!(lines[3]["delta"], json!({ "type": "signature_delta", "signature": "tollgate:responses:gAAA" }));
    let block = json!({ "type": "redacted_thinking", "data": "tollgate:gemini:CiQ=" });
    assert_eq!((&lines[5]["content_block"], &lines[7]["content_block"]["type"]), (&block, &json!("tool_use")));
}

#[test]
fn other_answers_and_log_probabilities_are_passed_over() {
    let out = written(vec![
        begin(None),
        Event::BeginPart { choice: 1, part: 0, content: Content::text("") },
        Event::Continue { choice: 1, part: 0, delta: Delta::Text("Tails".to_owned()) },
        Event::Logprobs { choice: 0, logprobs: Vec::new() },
        Event::End,
    ]);
    assert_eq!(outline(&out), ["message_start", "message_delta", "message_stop"]);
}

#[test]
fn a_refusal_is_said_by_the_reason() {
    let out = written(vec![
        begin(None),
        begin_part(0, Content::Refusal(String::new())),
        go_on(0, Delta::Text("No.".to_owned())),
        end_part(0),
        Event::Stop { choice: 0, stop: Stop::End },
        Event::End,
    ]);
    let lines = lines(&out);
    assert_eq!(
        (&lines[1]["content_block"]["type"], &lines[4]["delta"]["stop_reason"]),
        (&json!("text"), &json!("refusal"))
    );
}

#[test]
fn an_error_of_others_is_said_in_this_dialects_words() {
    let error = StreamError {
        kind: "requests".to_owned(),
        code: Some("rate_limit_exceeded".to_owned()),
        message: "Slow".to_owned(),
    };
    let out = written(vec![begin(None), Event::Error(error)]);
    let expected = json!({ "type": "error", "error": { "type": "rate_limit_error", "message": "Slow" } });
    assert_eq!(lines(&out), [expected]);
}

#[test]
fn a_stream_that_was_cut_has_no_end() {
    let whole = written(vec![begin(None), begin_part(0, Content::text("Hi")), end_part(0), Event::End]);
    let text = String::from_utf8(whole).unwrap();
    let cut = text.split("event: message_stop").next().unwrap();
    assert!(!events(cut.as_bytes()).contains(&Event::End));
    let late = b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let read = events(&[cut.as_bytes(), late, text.as_bytes()].concat());
    assert!(matches!(read.last(), Some(Event::Error(error)) if error.kind == "overloaded_error"));
}
