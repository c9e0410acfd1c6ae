//! Every scenario: read and written again, whole and as a stream, it says the same.

use serde_json::{Value, json};
use tollgate_interaction::{Dialect, Operation, Usage};

use super::{asked, data, events, fold, scenarios, written};
use crate::chat::{Answer, Content, Event, Part, Request};
use crate::dialect::responses::{answer, request};
use crate::observe::Observer;
use crate::transcript;
use crate::translate::{Losses, OnUnsupported};

#[test]
fn a_stream_comes_to_what_the_whole_answer_says() {
    for scenario in scenarios() {
        let (Some(whole), Some(stream)) = (scenario.json("response.json"), scenario.stream()) else { continue };
        let whole = Answer { created_at_s: None, ..answer::read(whole).unwrap() };
        assert_eq!(fold(&events(&stream)), whole, "{}", scenario.name);
    }
}

#[test]
fn an_answer_read_and_written_says_the_same() {
    for scenario in scenarios() {
        let Some(whole) = scenario.json("response.json") else { continue };
        let read = answer::read(whole).unwrap();
        let again = answer::read(answer::write(read.clone(), &asked())).unwrap();
        assert_eq!(again, counted(read), "{}", scenario.name);
    }
}

/// Searches are billed beside the usage, in a field that a translated answer has not: they are counted by their items. A
/// count of reasoning and counts of what was cached are always written, for client libraries demand them; Perplexity and
/// xAI do not tell all.
fn counted(mut answer: Answer) -> Answer {
    let is_search = |part: &Part| matches!(&part.content, Content::Native { kind, .. } if kind == "web_search_call");
    let searches = answer.choices.iter().flat_map(|choice| &choice.parts).filter(|part| is_search(part)).count() as u64;
    if let Some(usage) = &mut answer.usage {
        usage.web_search_calls = Some(searches).filter(|searches| *searches > 0);
        usage.reasoning_output_tokens.get_or_insert(0);
        usage.cache_read_input_tokens.get_or_insert(0);
        usage.cache_write_5m_input_tokens.get_or_insert(0);
    }
    answer
}

#[test]
fn a_stream_read_and_written_says_the_same() {
    for scenario in scenarios() {
        let (Some(whole), Some(stream)) = (scenario.json("response.json"), scenario.stream()) else { continue };
        let read = events(&stream);
        let again = written(read.clone());
        assert_eq!(fold(&events(&again)), fold(&read), "{}", scenario.name);
        let last = data(&again).pop().unwrap();
        let mut expected = answer::write(answer::read(whole).unwrap(), &asked());
        // Usage of tools and the ids of items are not the point here; what was written is.
        let mut got = last["response"].clone();
        for response in [&mut expected, &mut got] {
            response["created_at"] = Value::Null;
        }
        assert_eq!(got, expected, "{}", scenario.name);
    }
}

#[test]
fn a_request_read_and_written_means_the_same() {
    let native_tools = ["picture_answer", "stored_previous"];
    for scenario in scenarios() {
        let Some(body) = scenario.json("request.json") else { continue };
        // A request alone is there for what becomes of it elsewhere.
        if scenario.stream().is_none() && !native_tools.contains(&scenario.name.as_str()) {
            continue;
        }
        let read = request::read(body).unwrap();
        let mut losses = Losses::new(Dialect::Responses, OnUnsupported::Refuse);
        let again = crate::translate::write_request(Dialect::Responses, read.clone(), &mut losses);
        if native_tools.contains(&scenario.name.as_str()) {
            assert!(again.is_err(), "{}", scenario.name);
            continue;
        }
        let again = request::read(again.unwrap()).unwrap();
        // The name of the model, which a breakpoint depends on, is `m`: the marker is noted and not written.
        let noted: &[&str] = if scenario.name == "cache" { &["input[0].content[0] (cache marker)"] } else { &[] };
        assert_eq!(losses.into_dropped(), noted, "{}", scenario.name);
        assert_eq!(without_places(again), without_places(read), "{}", scenario.name);
    }
}

/// The request without the paths, which change when it is written in another order, and without what says nothing.
fn without_places(mut request: Request) -> String {
    request.hints.retain(|hint| hint.at != "store");
    let parts = request.messages.iter_mut().flat_map(|message| &mut message.parts).chain(&mut request.system);
    for part in parts {
        part.at.clear();
        part.cache = None;
        if let Content::ToolResult(result) = &mut part.content {
            result.parts.iter_mut().for_each(|part| part.at.clear());
        }
    }
    if let Some(logprobs) = &mut request.logprobs {
        logprobs.at.clear();
    }
    format!("{request:#?}")
}

#[test]
fn the_observer_says_of_both_forms_what_the_turn_says() {
    for scenario in scenarios() {
        let Some(turn) = scenario.json("turn.json") else { continue };
        let whole = scenario.json("response.json").map(|body| (body.to_string().into_bytes(), false));
        let stream = scenario.stream().map(|stream| (stream, true));
        let mut chars = Vec::new();
        for (body, is_stream) in [whole, stream].into_iter().flatten() {
            let mut observer = Observer::new(Dialect::Responses, Operation::Chat, is_stream);
            body.chunks(7).for_each(|piece| observer.push(piece));
            let seen = observer.finish(true);
            let usage: Usage = serde_json::from_value(turn["usage"].clone()).unwrap();
            assert_eq!(seen.usage, usage, "{} {is_stream}", scenario.name);
            assert_eq!(seen.model_served.as_deref(), turn["model_served"].as_str(), "{}", scenario.name);
            assert_eq!(json!(seen.finish_reasons), turn["finish_reasons"], "{} {is_stream}", scenario.name);
            assert_eq!(seen.error.is_some(), scenario.name.starts_with("late_error"), "{}", scenario.name);
            assert_eq!(seen.terminated, seen.error.is_none(), "{}", scenario.name);
            chars.push(seen.output_chars);
        }
        if chars.is_empty() {
            continue;
        }
        chars.dedup();
        // A call that comes whole is not counted, and a surrogate pair counts for two.
        let differs = ["stream_terse", "unicode"].contains(&scenario.name.as_str());
        assert!(chars.len() == 1 || differs, "{}: {chars:?}", scenario.name);
    }
}

#[test]
fn the_transcript_reads_alike_in_both_forms() {
    for scenario in scenarios() {
        let Some(request) = scenario.json("request.json") else { continue };
        let request = request.to_string().into_bytes();
        let asked = transcript::of_call(&request, b"");
        assert!(!asked.is_empty(), "{}", scenario.name);
        let (Some(whole), Some(stream)) = (scenario.json("response.json"), scenario.stream()) else { continue };
        let read = transcript::of_call(&request, whole.to_string().as_bytes());
        let streamed = transcript::of_call(&request, &stream);
        // Passages of thought run together in a stream.
        let differs = ["stream_terse", "reasoning_parts", "reasoning_open"].contains(&scenario.name.as_str());
        assert!(differs || read == streamed, "{}: {read:?} {streamed:?}", scenario.name);
        let has_text = !["empty", "reasoning_hidden"].contains(&scenario.name.as_str());
        assert!(!has_text || read.len() > asked.len(), "{}: {read:?}", scenario.name);
    }
}

#[test]
fn a_late_error_is_the_last_word() {
    for (name, kind, code) in [
        ("late_error", "server_error", Some("server_is_overloaded")),
        ("late_error_failed", "", Some("rate_limit_exceeded")),
        ("late_error_flat", "error", Some("server_error")),
    ] {
        let scenario = scenarios().into_iter().find(|scenario| scenario.name == name).unwrap();
        let events = events(&scenario.stream().unwrap());
        let Some(Event::Error(error)) = events.last() else { panic!("{name}: {events:?}") };
        assert_eq!((error.kind.as_str(), error.code.as_deref()), (kind, code));
        let mut observer = Observer::new(Dialect::Responses, Operation::Chat, true);
        observer.push(&scenario.stream().unwrap());
        assert_eq!(observer.finish(true).error.as_ref(), Some(error), "{name}");
        let again = data(&super::written(events.clone()));
        let names: Vec<_> = again.iter().rev().take(2).map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(names, ["response.failed", "error"]);
        assert_eq!(again.last().unwrap()["response"]["output"][0]["content"][0]["text"], "Hel");
    }
}
