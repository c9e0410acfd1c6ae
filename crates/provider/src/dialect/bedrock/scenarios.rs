//! Every golden scenario, both ways and in both forms: a request keeps its meaning, a stream says what the whole answer
//! says, what we write is read again as it was, and the observer agrees.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tollgate_interaction::{Dialect, Operation, Usage};

use super::{answer, request, stream};
use crate::chat::{Answer, Choice, Content, Delta, Event, Part};
use crate::eventstream::{self, Decoder};
use crate::observe::{Observer, whole};
use crate::translate::{Address, Losses, OnUnsupported, ReadStream as _, WriteStream as _};

fn folders() -> Vec<PathBuf> {
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("golden/bedrock");
    let mut folders: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    // The others are no conversations of Converse, and only read by the observer.
    folders.retain(|folder| folder.join("turn.json").exists());
    folders.sort();
    assert!(folders.len() > 25);
    folders
}

fn json(folder: &Path, file: &str) -> Option<Value> {
    let text = fs::read(folder.join(file)).ok()?;
    Some(serde_json::from_slice(&text).unwrap())
}

/// The stream of a scenario, framed.
fn frames(folder: &Path) -> Vec<u8> {
    let mut frames = Vec::new();
    for event in json(folder, "response.events.json").unwrap().as_array().unwrap() {
        let (name, data) = (event["name"].as_str().unwrap(), event["data"].to_string());
        match eventstream::is_failure(name.as_bytes()) {
            true => eventstream::write_exception(&mut frames, name, data.as_bytes()),
            false => eventstream::write_event(&mut frames, name, data.as_bytes()),
        }
    }
    frames
}

fn read(frames: &[u8]) -> Vec<Event> {
    let (mut decoder, mut reader, mut events) = (Decoder::default(), stream::Reader::default(), Vec::new());
    frames.chunks(11).for_each(|piece| decoder.push(piece, |event| reader.read(event.name, event.data, &mut events)));
    reader.end(&mut events);
    events
}

/// The answer that a stream comes to. Panics where the order of events is not what [`Event`] promises.
fn fold(events: Vec<Event>) -> Answer {
    let mut answer = Answer { choices: vec![Choice::default()], ..Answer::default() };
    let mut open = Vec::new();
    let mut events = events.into_iter();
    assert!(matches!(events.next(), Some(Event::Begin { .. })));
    let mut has_ended = false;
    for event in events {
        assert!(!has_ended);
        let choice = &mut answer.choices[0];
        match event {
            Event::BeginPart { choice: 0, part, content } => {
                assert_eq!(part, choice.parts.len());
                open.push(part);
                choice.parts.push(Part::new(content, ""));
            }
            Event::Continue { choice: 0, part, delta } => {
                assert!(open.contains(&part) && choice.stop.is_none());
                add(&mut choice.parts[part].content, delta);
            }
            Event::EndPart { choice: 0, part } => {
                assert!(open.contains(&part));
                open.retain(|open| *open != part);
            }
            Event::Stop { choice: 0, stop } => {
                assert!(open.is_empty());
                choice.stop = Some(stop);
            }
            Event::Usage(usage) => answer.usage = Some(usage),
            Event::ServiceTier(tier) => answer.service_tier = Some(tier),
            Event::End => has_ended = choice.stop.is_some(),
            other => panic!("{other:?}"),
        }
    }
    assert!(has_ended);
    answer
}

fn add(content: &mut Content, delta: Delta) {
    match (content, delta) {
        (Content::Text { text, .. }, Delta::Text(more)) | (Content::Thinking { text, .. }, Delta::Thinking(more)) => {
            text.push_str(&more);
        }
        (Content::Text { citations, .. }, Delta::Citation(citation)) => citations.push(citation),
        (Content::ToolCall(call) | Content::CustomCall(call), Delta::Arguments(more)) => call.arguments.push_str(&more),
        (Content::Thinking { signature, .. }, Delta::Signature(given)) => *signature = Some(given),
        (content, delta) => panic!("{delta:?} for {content:?}"),
    }
}

#[test]
fn a_request_is_written_as_it_was_read() {
    for folder in folders() {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let Some(body) = json(&folder, "request.json") else { continue };
        // A request alone is there for what becomes of it elsewhere.
        if !folder.join("response.events.json").exists() {
            continue;
        }
        // Only newer models take an instruction in the middle.
        let model = if name == "system_midway" { "anthropic.claude-opus-4-8" } else { "m" };
        let asked = request::read(body.clone(), Address { model, stream: true }).unwrap();
        let mut losses = Losses::new(Dialect::Bedrock, OnUnsupported::Drop);
        let written = request::write(asked, &mut losses).unwrap();
        match name.as_str() {
            "guardrail_blocked" => assert_eq!(losses.into_dropped(), ["guardrailConfig"]),
            "server_tool" => assert_eq!(losses.into_dropped(), ["toolConfig.tools[0].systemTool"]),
            _ => {
                assert_eq!(written, body, "{name}");
                assert!(losses.into_dropped().is_empty(), "{name}");
            }
        }
    }
}

#[test]
fn a_stream_says_what_the_whole_answer_says() {
    for folder in folders() {
        let Some(body) = json(&folder, "response.json") else { continue };
        let mut expected = answer::read(body).unwrap();
        // A stream begins before anybody can say which model it is.
        expected.model = String::new();
        assert_eq!(fold(read(&frames(&folder))), expected, "{}", folder.display());
    }
}

#[test]
fn what_is_written_is_read_again_as_it_was() {
    for folder in folders() {
        let Some(body) = json(&folder, "response.json") else { continue };
        let mut expected = answer::read(body).unwrap();
        expected.model = String::new();
        let again = answer::read(answer::write(expected.clone())).unwrap();
        assert_eq!(again, expected, "{}", folder.display());
        let mut writer = stream::Writer::default();
        let mut bytes = Vec::new();
        read(&frames(&folder)).into_iter().for_each(|event| writer.write(event, &mut bytes));
        assert_eq!(fold(read(&bytes)), expected, "{}", folder.display());
    }
}

#[test]
fn an_error_inside_a_stream_is_the_last_that_is_said() {
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("golden/bedrock/late_error");
    let events = read(&frames(&root));
    let Some(Event::Error(error)) = events.last() else { panic!("{events:?}") };
    assert_eq!(error.kind, "serviceUnavailableException");
}

#[test]
fn the_observer_reads_both_forms_alike() {
    for folder in folders() {
        let turn = json(&folder, "turn.json").unwrap();
        if !folder.join("response.events.json").exists() {
            continue;
        }
        let usage: Usage = serde_json::from_value(turn["usage"].clone()).unwrap();
        let reasons: Vec<String> = serde_json::from_value(turn["finish_reasons"].clone()).unwrap();
        let model = turn.get("model_served").and_then(Value::as_str);
        let frames = frames(&folder);
        let mut observer = Observer::new(Dialect::Bedrock, Operation::Chat, true);
        frames.chunks(7).for_each(|piece| observer.push(piece));
        let mut seen = vec![observer.finish(true)];
        if let Ok(body) = fs::read(folder.join("response.json")) {
            seen.push(whole(Dialect::Bedrock, Operation::Chat, &body));
        }
        for observation in seen {
            assert_eq!(observation.usage, usage, "{}", folder.display());
            assert_eq!(observation.finish_reasons, reasons, "{}", folder.display());
            assert_eq!(observation.model_served.as_deref(), model, "{}", folder.display());
            assert_eq!(observation.terminated, !reasons.is_empty(), "{}", folder.display());
        }
    }
}
