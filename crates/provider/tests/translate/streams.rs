//! What holds of every stream that a caller is sent.

use serde_json::{Value, json};
use tollgate_interaction::{Dialect, Operation};
use tollgate_provider::observe::Observer;
use tollgate_provider::translate::{self, StreamTranslator};

use crate::scenario::{asked, events, scenarios, translated};

/// The error event of a dialect, by which its clients tell that the stream has failed.
fn is_error(dialect: Dialect, (name, data): &(String, String)) -> bool {
    let data: Value = serde_json::from_str(data).unwrap_or_default();
    match dialect {
        Dialect::Openai | Dialect::Gemini => data["error"]["message"].is_string(),
        Dialect::Anthropic => name == "error" && data["error"]["type"].is_string(),
        Dialect::Responses => name == "error" && data["error"]["message"].is_string(),
        Dialect::Bedrock => name.ends_with("Exception") && data["message"].is_string(),
    }
}

#[test]
fn a_late_error_is_an_error_to_every_caller_and_to_the_books() {
    let (scenarios, mut cases) = (scenarios(), 0);
    for upstream in scenarios.values().filter(|scenario| scenario.name.starts_with("late_error")) {
        let what = upstream.folder.display();
        let mut observer = Observer::new(upstream.dialect, Operation::Chat, true);
        observer.push(upstream.stream.as_ref().unwrap());
        assert!(observer.finish(true).error.is_some(), "{what}: the provider's stream has failed");
        for &caller in Dialect::ALL.iter().filter(|caller| **caller != upstream.dialect) {
            cases += 1;
            let stream = translated(upstream, caller).unwrap();
            let seen = events(caller, &stream);
            let errors = seen.iter().filter(|event| is_error(caller, event)).count();
            assert_eq!(errors, 1, "{what} to {caller}: {seen:?}");
            // What follows is at most the word that the whole has failed.
            let (last, data) = seen.last().unwrap();
            let is_last = is_error(caller, seen.last().unwrap()) || last == "response.failed";
            assert!(is_last, "{what} to {caller} ends with {last} {data}");
            let mut observer = Observer::new(caller, Operation::Chat, true);
            observer.push(&stream);
            let observed = observer.finish(true);
            let ended = observed.finish_reasons.iter().any(|reason| reason != "failed");
            assert!(observed.error.is_some() && !ended, "{what} to {caller}: {observed:?}");
        }
    }
    assert!(cases >= 4 * Dialect::ALL.len(), "every dialect fails late in some scenario");
}

#[test]
fn every_stream_begins_once_and_ends_once_in_its_dialects_way() {
    for upstream in scenarios().values().filter(|scenario| !scenario.name.starts_with("late_error")) {
        for &caller in Dialect::ALL.iter().filter(|caller| **caller != upstream.dialect) {
            let Some(stream) = translated(upstream, caller) else { continue };
            let seen = events(caller, &stream);
            let what = format!("{} to {caller}: {seen:?}", upstream.folder.display());
            let named = |name: &str| seen.iter().filter(|(given, _)| given == name).count();
            let done = seen.iter().filter(|(_, data)| data == "[DONE]").count();
            let last = seen.last().map_or("", |(name, _)| name.as_str());
            match caller {
                Dialect::Openai => assert_eq!(done, 1, "{what}"),
                Dialect::Anthropic => {
                    assert_eq!(
                        (named("message_start"), named("message_delta"), named("message_stop")),
                        (1, 1, 1),
                        "{what}"
                    );
                    assert_eq!(last, "message_stop", "{what}");
                }
                Dialect::Responses => {
                    assert_eq!((named("response.created"), done), (1, 0), "{what}");
                    let endings = ["response.completed", "response.incomplete", "response.failed"];
                    assert!(
                        endings.contains(&last) && endings.iter().map(|ending| named(ending)).sum::<usize>() == 1,
                        "{what}"
                    );
                    for (number, (name, data)) in seen.iter().enumerate() {
                        let data: Value = serde_json::from_str(data).unwrap();
                        let said = (data["type"].as_str(), data["sequence_number"].as_u64());
                        assert_eq!(said, (Some(name.as_str()), Some(number as u64)), "{what}");
                    }
                }
                Dialect::Gemini => assert!(last.is_empty() && done == 0, "{what}"),
                Dialect::Bedrock => {
                    assert_eq!((named("messageStart"), named("messageStop")), (1, 1), "{what}");
                    assert!(named("metadata") <= 1, "{what}");
                }
            }
        }
    }
}

#[test]
fn words_are_passed_on_as_they_come() {
    let scenarios = scenarios();
    for &provider in Dialect::ALL {
        let upstream = &scenarios[&(provider, "text".to_owned())];
        let stream = upstream.stream.as_ref().unwrap();
        for &caller in Dialect::ALL.iter().filter(|caller| **caller != provider) {
            let mut translator = StreamTranslator::new(provider, caller, asked());
            // The answer is `Paris`, in two or three pieces: some of it has to be seen while the rest is still to come.
            let mut seen = Vec::new();
            let pieces = stream.chunks(16).map(|piece| {
                seen.extend_from_slice(&translator.push(piece));
                text_of(caller, &events(caller, &seen))
            });
            let pieces: Vec<String> = pieces.collect();
            let partly = |text: &String| !text.is_empty() && text != "Paris";
            assert!(pieces.iter().any(partly), "{provider} to {caller} holds words back: {pieces:?}");
        }
    }
}

/// The text that the events of a stream have brought so far.
fn text_of(dialect: Dialect, events: &[(String, String)]) -> String {
    let pointer = match dialect {
        Dialect::Openai => "/choices/0/delta/content",
        Dialect::Anthropic => "/delta/text",
        Dialect::Responses => "/delta",
        Dialect::Gemini => "/candidates/0/content/parts/0/text",
        Dialect::Bedrock => "/delta/text",
    };
    let piece = |(_, data): &(String, String)| {
        let data: Value = serde_json::from_str(data).unwrap_or_default();
        data.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    events.iter().map(piece).collect()
}

/// Anthropic's clients add every delta to the block it names: one of another kind breaks them.
#[test]
fn every_delta_of_messages_fits_its_block() {
    let fits = |block: &str, delta: &str| match delta {
        "text_delta" | "citations_delta" => block == "text",
        "thinking_delta" | "signature_delta" => block == "thinking",
        "input_json_delta" => block == "tool_use",
        _ => false,
    };
    for upstream in scenarios().values().filter(|scenario| scenario.dialect != Dialect::Anthropic) {
        let Some(stream) = translated(upstream, Dialect::Anthropic) else { continue };
        let mut open: Option<(u64, String)> = None;
        let mut next = 0;
        for (name, data) in events(Dialect::Anthropic, &stream) {
            let data: Value = serde_json::from_str(&data).unwrap();
            let what = format!("{}: {data}", upstream.folder.display());
            match name.as_str() {
                "content_block_start" => {
                    assert!(open.is_none() && data["index"] == next, "{what}");
                    open = Some((next, data["content_block"]["type"].as_str().unwrap().to_owned()));
                    next += 1;
                }
                "content_block_delta" => {
                    let (index, block) = open.as_ref().unwrap();
                    assert!(data["index"] == *index && fits(block, data["delta"]["type"].as_str().unwrap()), "{what}");
                }
                "content_block_stop" => assert_eq!(data["index"], open.take().unwrap().0, "{what}"),
                _ => {}
            }
        }
    }
}

/// Output without what can only be known at one end of a stream: where the signature of a call came too late it follows it.
fn plain_output(response: &Value) -> Value {
    let items = response["output"].as_array().unwrap().iter();
    let items = items.filter(|item| !item["id"].as_str().is_some_and(|id| id.starts_with("rs_call")));
    let without_ids = items.cloned().map(|mut item| {
        item.as_object_mut().unwrap().remove("id");
        item
    });
    without_ids.collect()
}

#[test]
fn a_response_says_the_same_whole_and_streamed_in_the_same_order() {
    for upstream in scenarios().values().filter(|scenario| scenario.dialect != Dialect::Responses) {
        let (Some(body), Some(stream)) = (&upstream.answer, translated(upstream, Dialect::Responses)) else { continue };
        let whole = translate::answer(upstream.dialect, Dialect::Responses, body, &asked()).unwrap();
        let whole: Value = serde_json::from_slice(&whole).unwrap();
        let (_, last) = events(Dialect::Responses, &stream).pop().unwrap();
        let last: Value = serde_json::from_str(&last).unwrap();
        let what = upstream.folder.display();
        assert_eq!(plain_output(&last["response"]), plain_output(&whole), "{what}");
        for field in ["status", "incomplete_details", "error"] {
            assert_eq!(last["response"][field], whole[field], "{what}: {field}");
        }
        let known = [json!(null), json!("max_output_tokens"), json!("content_filter")];
        assert!(known.contains(&whole["incomplete_details"]["reason"]), "{what}");
    }
}
