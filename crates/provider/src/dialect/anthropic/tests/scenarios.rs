//! Every scenario in `golden/anthropic/`: a request read and written says the same, a stream put together is the whole answer,
//! and an answer written, whole or as a stream, reads as the same answer.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tollgate_interaction::{Dialect, Operation, Usage};

use crate::chat::{Answer, Choice, Content, Delta, Event, Part};
use crate::dialect::anthropic::{answer, request, stream};
use crate::observe::{Observation, Observer};
use crate::sse::Decoder;
use crate::translate::{Asked, Losses, OnUnsupported, ReadStream, WriteStream};

/// Scenarios whose request needs a newer model than `m` is taken for.
const NEWER: [&str; 2] = ["system_midway", "thinking_interleaved"];

fn scenarios() -> Vec<(String, PathBuf)> {
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("golden/anthropic");
    let folders = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let mut scenarios: Vec<(String, PathBuf)> = folders
        .filter(|folder| folder.join("turn.json").exists())
        .map(|folder| (folder.file_name().unwrap().to_string_lossy().into_owned(), folder))
        .collect();
    scenarios.sort();
    assert!(scenarios.len() >= 30, "only {} scenarios were found", scenarios.len());
    scenarios
}

fn json(path: PathBuf) -> Option<Value> {
    Some(serde_json::from_slice(&fs::read(path).ok()?).unwrap())
}

pub(super) fn events(body: &[u8]) -> Vec<Event> {
    let mut reader = stream::Reader::default();
    let mut events = Vec::new();
    let mut decoder = Decoder::default();
    decoder.push(body, |event| reader.read(event.name, event.data, &mut events));
    decoder.finish(|event| reader.read(event.name, event.data, &mut events));
    reader.end(&mut events);
    events
}

/// Puts the events of a stream together, checking their order.
pub(super) fn folded(events: Vec<Event>) -> Answer {
    let mut answer = Answer::default();
    let mut choice = Choice::default();
    let mut open = Vec::new();
    let count = events.len();
    for (at, event) in events.into_iter().enumerate() {
        assert_eq!(at == 0, matches!(event, Event::Begin { .. }), "it begins once, first");
        match event {
            Event::Begin { id, model, usage } => {
                answer = Answer { id, model, usage, ..Answer::default() };
            }
            Event::BeginPart { part, content, .. } => {
                assert_eq!(part, choice.parts.len(), "parts are numbered in order");
                assert!(choice.stop.is_none(), "no part begins after the stop");
                choice.parts.push(Part::new(content, ""));
                open.push(part);
            }
            Event::Continue { part, delta, .. } => {
                assert!(open.contains(&part), "only an open part goes on");
                extend(&mut choice.parts[part].content, delta);
            }
            Event::EndPart { part, .. } => open.retain(|open| *open != part),
            Event::Logprobs { .. } => {}
            Event::Stop { stop, .. } => {
                assert!(open.is_empty(), "parts end before the stop");
                choice.stop = Some(stop);
            }
            Event::Usage(usage) => answer.usage = Some(usage),
            Event::ServiceTier(tier) => answer.service_tier = Some(tier),
            Event::End => assert_eq!(at + 1, count, "nothing comes after the end"),
            Event::Error(error) => panic!("{error:?}"),
        }
    }
    answer.choices = vec![choice];
    answer
}

fn extend(content: &mut Content, delta: Delta) {
    match (content, delta) {
        (Content::Text { text, .. } | Content::Refusal(text), Delta::Text(more))
        | (Content::Thinking { text, .. }, Delta::Thinking(more)) => text.push_str(&more),
        (Content::ToolCall(call) | Content::CustomCall(call), Delta::Arguments(more)) => call.arguments.push_str(&more),
        (Content::Text { citations, .. }, Delta::Citation(cited)) => citations.push(cited),
        (Content::Thinking { signature, .. }, Delta::Signature(given)) => *signature = Some(given),
        (content, delta) => panic!("{delta:?} does not belong to {content:?}"),
    }
}

/// The pieces of a call without arguments come to nothing, its whole to `{}`.
fn with_empty_input(mut answer: Answer) -> Answer {
    for part in &mut answer.choices[0].parts {
        if let Content::ToolCall(call) = &mut part.content
            && call.arguments.is_empty()
        {
            call.arguments = "{}".to_owned();
        }
    }
    answer
}

#[test]
fn a_request_says_the_same_when_it_is_read_and_written() {
    for (name, folder) in scenarios() {
        let Some(mut body) = json(folder.join("request.json")) else { continue };
        // A request alone is there for what becomes of it elsewhere.
        if !folder.join("response.sse").exists() {
            continue;
        }
        if NEWER.contains(&name.as_str()) {
            body["model"] = "claude-opus-4-8".into();
        }
        let mut losses = Losses::new(Dialect::Anthropic, OnUnsupported::Drop);
        let written = request::write(request::read(body.clone()).unwrap(), &mut losses).unwrap();
        // The provider's own tools but its search are named, and refused unless the operator drops them.
        let lost = losses.into_dropped();
        if body["tools"][0]["type"].as_str().is_some_and(|kind| !kind.starts_with("web_search_")) {
            assert_eq!(lost, ["tools[0]"], "{name}");
            body.as_object_mut().unwrap().remove("tools");
        } else {
            assert_eq!(lost, Vec::<String>::new(), "{name}");
        }
        assert_eq!(written, body, "{name}");
    }
}

#[test]
fn a_stream_put_together_is_the_whole_answer() {
    for (name, folder) in scenarios() {
        let Some(whole) = json(folder.join("response.json")) else { continue };
        let mut whole = answer::read(whole).unwrap();
        let pieces = with_empty_input(folded(events(&fs::read(folder.join("response.sse")).unwrap())));
        if name == "relay_whole_input" {
            // It tells its tier too late.
            whole.service_tier = None;
        }
        assert_eq!(pieces, whole, "{name}");
    }
}

#[test]
fn an_answer_reads_the_same_when_it_was_written() {
    for (name, folder) in scenarios() {
        let Some(body) = json(folder.join("response.json")) else { continue };
        let read = answer::read(body.clone()).unwrap();
        let written = answer::write(read.clone(), &Asked::default());
        assert_eq!(answer::read(written.clone()).unwrap(), read, "{name}");
        for field in ["id", "type", "role", "model", "stop_reason", "stop_sequence"] {
            assert_eq!(written[field], body[field], "{name} {field}");
        }
        assert_eq!(written["usage"]["input_tokens"], body["usage"]["input_tokens"], "{name}");
        assert_eq!(written["usage"]["output_tokens"], body["usage"]["output_tokens"], "{name}");
    }
}

#[test]
fn a_stream_reads_the_same_when_it_was_written() {
    for (name, folder) in scenarios() {
        if !folder.join("response.json").exists() {
            continue;
        }
        let read = events(&fs::read(folder.join("response.sse")).unwrap());
        let mut writer = stream::Writer::new(Asked::default());
        let mut written = Vec::new();
        read.iter().cloned().for_each(|event| writer.write(event, &mut written));
        let mut again = folded(events(&written));
        let expected = folded(read);
        again.usage = again.usage.map(|usage| Usage { cache_write_1h_input_tokens: None, ..usage });
        let usage = expected.usage.map(|usage| Usage { cache_write_1h_input_tokens: None, ..usage });
        if name == "relay_whole_input" {
            // Their sum is all that the end can say, and the beginning knew nothing.
            again.usage = usage;
        }
        assert_eq!(again, Answer { usage, ..expected }, "{name}");
        let text = String::from_utf8(written).unwrap();
        assert_eq!(text.matches("event: message_start\n").count(), 1, "{name}");
        assert!(text.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"), "{name}");
    }
}

#[test]
fn the_observer_says_what_the_turn_says() {
    for (name, folder) in scenarios() {
        let turn = json(folder.join("turn.json")).unwrap();
        let usage: Usage = serde_json::from_value(turn["usage"].clone()).unwrap();
        let reasons: Vec<String> = serde_json::from_value(turn["finish_reasons"].clone()).unwrap();
        for (file, is_stream) in [("response.json", false), ("response.sse", true)] {
            let Ok(body) = fs::read(folder.join(file)) else { continue };
            let mut observer = Observer::new(Dialect::Anthropic, Operation::Chat, is_stream);
            body.chunks(7).for_each(|piece| observer.push(piece));
            let Observation { model_served, usage: counted, finish_reasons, .. } = observer.finish(true);
            assert_eq!(model_served.as_deref(), turn["model_served"].as_str(), "{name} {file}");
            assert_eq!((counted, finish_reasons), (usage, reasons.clone()), "{name} {file}");
        }
    }
}

/// `value` with each of its values in turn replaced by something else.
fn oddities(value: &Value) -> Vec<Value> {
    let mut odd = vec![Value::Null, Value::from(-7), Value::from("x"), Value::Array(vec![]), Value::Object(Map::new())];
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                odd.extend(oddities(field).into_iter().map(|strange| {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), strange);
                    Value::Object(fields)
                }));
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                odd.extend(oddities(item).into_iter().map(|strange| {
                    let mut items = items.clone();
                    items[index] = strange;
                    Value::Array(items)
                }));
            }
        }
        _ => {}
    }
    odd
}

#[test]
fn nothing_odd_brings_it_down() {
    let mut tried = 0;
    for (_, folder) in scenarios() {
        for body in oddities(&json(folder.join("request.json")).unwrap()) {
            tried += 1;
            let Ok(request) = request::read(body) else { continue };
            let _ = request::write(request, &mut Losses::new(Dialect::Anthropic, OnUnsupported::Drop));
        }
        for body in json(folder.join("response.json")).iter().flat_map(oddities) {
            tried += 1;
            let Ok(answer) = answer::read(body) else { continue };
            let _ = answer::write(answer, &Asked::default());
        }
        let Ok(body) = fs::read_to_string(folder.join("response.sse")) else { continue };
        let lines: Vec<&str> = body.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        for (at, line) in lines.iter().enumerate() {
            for odd in oddities(&serde_json::from_str(line).unwrap()) {
                tried += 1;
                let mut reader = stream::Reader::default();
                let mut events = Vec::new();
                lines[..at].iter().for_each(|line| reader.read(b"", line.as_bytes(), &mut events));
                reader.read(b"", odd.to_string().as_bytes(), &mut events);
                lines[at + 1..].iter().for_each(|line| reader.read(b"", line.as_bytes(), &mut events));
                let mut writer = stream::Writer::new(Asked::default());
                let mut written = Vec::new();
                events.into_iter().for_each(|event| writer.write(event, &mut written));
            }
        }
    }
    assert!(tried > 10_000, "only {tried} were tried");
}
