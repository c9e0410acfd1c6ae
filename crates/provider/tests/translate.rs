//! Every dialect to every other, over the same scenarios (`golden/<dialect>/<scenario>/`): the caller's request becomes the
//! provider's, the provider's answer and stream become the caller's. What comes out stands beside the caller's files in
//! `to_<provider's dialect>/` and is compared byte by byte; `TOLLGATE_BLESS=1` writes it anew, to be read before it is
//! committed. A stream is replayed as recorded, one byte at a time and all at once.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};
use tollgate_interaction::{Dialect, Operation, Usage, UsageSource};
use tollgate_provider::observe::Observer;
use tollgate_provider::translate::{self, Address, Asked, OnUnsupported, StreamTranslator};
use tollgate_provider::{dialect, eventstream};

/// What a scenario's answer says about itself, in either form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Turn {
    #[serde(rename = "about")]
    _about: String,
    usage: Usage,
    finish_reasons: Vec<String>,
    model_served: Option<String>,
    /// Names of the models at providers of these dialects, where the name decides what is written; else `m`.
    #[serde(default)]
    models: BTreeMap<Dialect, String>,
}

impl Turn {
    fn model(&self, target: Dialect) -> &str {
        self.models.get(&target).map_or("m", String::as_str)
    }
}

struct Scenario {
    dialect: Dialect,
    name: String,
    folder: PathBuf,
    request: Option<Vec<u8>>,
    answer: Option<Vec<u8>>,
    stream: Option<Vec<u8>>,
    turn: Turn,
}

fn address() -> Address<'static> {
    Address { model: "m", stream: false }
}

fn asked() -> Asked {
    Asked {
        id: "golden".to_owned(),
        created_at_s: 1_795_651_200,
        model: "m".to_owned(),
        include_usage: true,
        events: true,
    }
}

fn folders(parent: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let entries = fs::read_dir(parent)?.map(|entry| entry.map(|entry| entry.path()));
    let mut folders = entries.collect::<Result<Vec<_>, _>>()?;
    folders.sort();
    Ok(folders)
}

fn scenarios() -> BTreeMap<(Dialect, String), Scenario> {
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("golden");
    let mut all = BTreeMap::new();
    for &dialect in Dialect::ALL {
        for folder in folders(&root.join(dialect.as_str())).unwrap() {
            let Ok(turn) = fs::read(folder.join("turn.json")) else { continue };
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            let turn = serde_json::from_slice(&turn).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            let stream = match dialect {
                Dialect::Bedrock => fs::read(folder.join("response.events.json")).ok().map(|events| framed(&events)),
                _ => fs::read(folder.join("response.sse")).ok(),
            };
            let (request, answer) =
                (fs::read(folder.join("request.json")).ok(), fs::read(folder.join("response.json")).ok());
            all.insert((dialect, name.clone()), Scenario { dialect, name, folder, request, answer, stream, turn });
        }
    }
    all
}

/// Amazon's binary frames of the events in a JSON array.
fn framed(events: &[u8]) -> Vec<u8> {
    let events: Vec<Value> = serde_json::from_slice(events).unwrap();
    let mut stream = Vec::new();
    for event in &events {
        let (name, data) = (event["name"].as_str().unwrap(), event["data"].to_string());
        let write = if name.ends_with("Exception") { eventstream::write_exception } else { eventstream::write_event };
        write(&mut stream, name, data.as_bytes());
    }
    stream
}

/// The stream in the ways it is replayed.
fn replays(stream: &[u8]) -> Vec<(&'static str, Vec<&[u8]>)> {
    let mut events = Vec::new();
    let mut start = 0;
    for at in 0..stream.len() {
        if stream[..=at].ends_with(b"\n\n") {
            events.push(&stream[start..=at]);
            start = at + 1;
        }
    }
    events.push(&stream[start..]);
    vec![("as recorded", events), ("byte by byte", stream.chunks(1).collect()), ("all at once", vec![stream])]
}

/// Compares `text` with the file, or writes it.
fn hold(path: &Path, text: &[u8], faults: &mut Vec<String>) {
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        return;
    }
    match fs::read(path) {
        Ok(expected) if expected == text => {}
        Ok(expected) => faults.push(format!(
            "{}:\n--- expected\n{}\n--- came\n{}",
            path.display(),
            String::from_utf8_lossy(&expected),
            String::from_utf8_lossy(text)
        )),
        Err(error) => faults.push(format!("{}: {error}", path.display())),
    }
}

fn pretty(body: &[u8]) -> Vec<u8> {
    let value: Value = serde_json::from_slice(body).unwrap();
    let mut text = serde_json::to_vec_pretty(&value).unwrap();
    text.push(b'\n');
    text
}

/// A binary stream is held as the JSON of its events, so that a person can read it.
fn readable(dialect: Dialect, stream: &[u8]) -> Vec<u8> {
    if dialect != Dialect::Bedrock {
        return stream.to_vec();
    }
    let mut events = Vec::new();
    eventstream::Decoder::default().push(stream, |event| {
        let (name, data) = (String::from_utf8_lossy(event.name), serde_json::from_slice::<Value>(event.data).unwrap());
        events.push(serde_json::json!({ "name": name, "data": data }));
    });
    let mut text = serde_json::to_vec_pretty(&Value::Array(events)).unwrap();
    text.push(b'\n');
    text
}

fn stream_file(dialect: Dialect) -> &'static str {
    if dialect == Dialect::Bedrock { "client.events.json" } else { "client.sse" }
}

#[test]
fn every_request_is_translated_or_refused_by_name() {
    let (scenarios, mut faults, mut cases) = (scenarios(), Vec::new(), 0);
    for scenario in scenarios.values() {
        let Some(body) = &scenario.request else { continue };
        for &target in Dialect::ALL.iter().filter(|target| **target != scenario.dialect) {
            cases += 1;
            let folder = scenario.folder.join(format!("to_{}", target.as_str()));
            let model = scenario.turn.model(target);
            let ask = |on| translate::request(scenario.dialect, target, body, address(), model, on);
            match ask(OnUnsupported::Refuse) {
                Ok(translated) => {
                    if folder.join("refused.txt").exists() {
                        faults.push(format!("{}: it is not refused any more", folder.display()));
                    }
                    hold(&folder.join("upstream_request.json"), &pretty(&translated.body), &mut faults);
                    let noted: String = translated.dropped.iter().map(|field| format!("{field}\n")).collect();
                    if !noted.is_empty() {
                        hold(&folder.join("noted.txt"), noted.as_bytes(), &mut faults);
                    }
                }
                Err(error) => {
                    if folder.join("upstream_request.json").exists() {
                        faults.push(format!("{}: it is refused now: {error}", folder.display()));
                    }
                    hold(&folder.join("refused.txt"), format!("{error}\n").as_bytes(), &mut faults);
                    let dropping = ask(OnUnsupported::Drop).unwrap_or_else(|error| {
                        panic!("{} to {target}: even dropped it is refused: {error}", scenario.folder.display())
                    });
                    hold(&folder.join("upstream_request_dropped.json"), &pretty(&dropping.body), &mut faults);
                    let dropped: String = dropping.dropped.iter().map(|field| format!("{field}\n")).collect();
                    assert!(!dropped.is_empty(), "{} to {target} lost something unsaid", scenario.folder.display());
                    hold(&folder.join("dropped.txt"), dropped.as_bytes(), &mut faults);
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} of {cases} differ\n{}", faults.len(), faults.join("\n\n"));
}

#[test]
fn every_answer_reaches_every_caller_in_its_own_words() {
    let (scenarios, mut faults, mut cases) = (scenarios(), Vec::new(), 0);
    for upstream in scenarios.values() {
        for &caller in Dialect::ALL.iter().filter(|caller| **caller != upstream.dialect) {
            // What the caller would see stands with the scenario of the caller's, if it has it, else with the provider's.
            let beside = scenarios.get(&(caller, upstream.name.clone()));
            let folder = match beside {
                Some(scenario) => scenario.folder.join(format!("to_{}", upstream.dialect.as_str())),
                None => upstream.folder.join(format!("from_{}", caller.as_str())),
            };
            if let Some(body) = &upstream.answer {
                cases += 1;
                let translated = translate::answer(upstream.dialect, caller, body, &asked());
                let translated = translated.unwrap_or_else(|error| panic!("{}: {error}", upstream.folder.display()));
                hold(&folder.join("client.json"), &pretty(&translated), &mut faults);
            }
            if let Some(stream) = &upstream.stream {
                cases += 1;
                let mut first: Option<Vec<u8>> = None;
                for (way, pieces) in replays(stream) {
                    let mut translator = StreamTranslator::new(upstream.dialect, caller, asked());
                    let mut seen: Vec<u8> = Vec::new();
                    pieces.iter().for_each(|piece| seen.extend_from_slice(&translator.push(piece)));
                    seen.extend_from_slice(&translator.finish());
                    let first = first.get_or_insert_with(|| seen.clone());
                    assert_eq!(
                        String::from_utf8_lossy(first),
                        String::from_utf8_lossy(&seen),
                        "{} to {caller} {way}",
                        upstream.folder.display()
                    );
                }
                let readable = readable(caller, &first.unwrap_or_default());
                hold(&folder.join(stream_file(caller)), &readable, &mut faults);
            }
        }
    }
    assert!(faults.is_empty(), "{} of {cases} differ\n{}", faults.len(), faults.join("\n\n"));
}

#[test]
fn an_answer_says_the_same_about_itself_whole_and_streamed() {
    let mut faults = Vec::new();
    for Scenario { dialect, folder, answer, stream, turn, .. } in scenarios().values() {
        for (form, bytes) in [("whole", answer), ("streamed", stream)] {
            let Some(bytes) = bytes else { continue };
            for (way, pieces) in replays(bytes) {
                let mut observer = Observer::new(*dialect, Operation::Chat, form == "streamed");
                pieces.iter().for_each(|piece| observer.push(piece));
                let seen = observer.finish(true);
                let said = (seen.usage, seen.finish_reasons, seen.model_served);
                let expected = (turn.usage, turn.finish_reasons.clone(), turn.model_served.clone());
                if said != expected {
                    faults.push(format!(
                        "{} {form} {way}\n  came     {said:?}\n  expected {expected:?}",
                        folder.display()
                    ));
                    break;
                }
                if seen.error.is_none() && !turn.usage.is_empty() && seen.usage_source != UsageSource::Provider {
                    faults.push(format!("{} {form} {way}: usage is {:?}", folder.display(), seen.usage_source));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What a caller is sent is read back as the very answer the provider gave, as far as the caller's dialect can say it.
#[test]
fn what_is_written_to_a_caller_reads_as_the_same_words_and_stop() {
    let mut faults = Vec::new();
    for upstream in scenarios().values() {
        let Some(body) = &upstream.answer else { continue };
        let meant = translate::read_answer(upstream.dialect, serde_json::from_slice(body).unwrap()).unwrap();
        for &caller in Dialect::ALL.iter().filter(|caller| **caller != upstream.dialect) {
            let written = translate::write_answer(caller, meant.clone(), &asked());
            let read = match translate::read_answer(caller, written) {
                Ok(read) => read,
                // What is no answer is told as a failed response.
                Err(error) if error.at == "status" && upstream.name == "malformed_call" => continue,
                Err(error) => {
                    faults.push(format!("{} to {caller}: {error}", upstream.folder.display()));
                    continue;
                }
            };
            let (before, after) = (words(&meant), words(&read));
            // A caller of the others cannot ask for several answers.
            let many = matches!(caller, Dialect::Openai | Dialect::Gemini);
            if !many && before.len() > 1 {
                continue;
            }
            // What the dialect has no form for, such as a picture to a caller of Messages, is named in brackets at the end.
            let is_same = before.len() == after.len()
                && before.iter().zip(&after).all(|(before, after)| {
                    after.strip_prefix(before.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
                });
            if !is_same {
                faults
                    .push(format!("{} to {caller}\n  meant {before:?}\n  read  {after:?}", upstream.folder.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The text and the tool calls of each choice.
fn words(answer: &tollgate_provider::chat::Answer) -> Vec<String> {
    use tollgate_provider::chat::Content;
    let of_choice = |choice: &tollgate_provider::chat::Choice| {
        let mut said = String::new();
        for part in &choice.parts {
            match &part.content {
                Content::Text { text, .. } | Content::Refusal(text) => said.push_str(text),
                Content::ToolCall(call) => {
                    let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
                    said.push_str(&format!("[{} {arguments}]", call.name));
                }
                _ => {}
            }
        }
        said
    };
    answer.choices.iter().map(of_choice).collect()
}

/// The bytes of a translated stream.
fn translated(upstream: &Scenario, caller: Dialect) -> Option<Vec<u8>> {
    let mut translator = StreamTranslator::new(upstream.dialect, caller, asked());
    let mut seen = translator.push(upstream.stream.as_ref()?).to_vec();
    seen.extend_from_slice(&translator.finish());
    Some(seen)
}

/// Name and data of every event of a stream, in whichever framing.
fn events(dialect: Dialect, stream: &[u8]) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut events = Vec::new();
    let mut add = |name: &[u8], data: &[u8]| events.push((text(name), text(data)));
    match dialect {
        Dialect::Bedrock => eventstream::Decoder::default().push(stream, |event| add(event.name, event.data)),
        _ => {
            let mut decoder = tollgate_provider::sse::Decoder::default();
            decoder.push(stream, |event| add(event.name, event.data));
        }
    }
    events
}

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

/// Every text that lets a provider recognise its own thoughts.
fn signatures(value: &Value, found: &mut Vec<String>) {
    let names = ["thoughtSignature", "thought_signature", "signature", "encrypted_content", "redactedContent"];
    match value {
        // What belongs to a step of the provider's own tools, which no other dialect can say.
        Value::Object(map) if map.get("type").is_some_and(|kind| kind == "web_search_result") => {}
        Value::Object(map) if map.contains_key("executableCode") || map.contains_key("toolCall") => {}
        Value::Object(map) => {
            let hides = |kind: &Value| kind == "redacted_thinking" || kind == "reasoning.encrypted";
            let hides = map.get("type").is_some_and(hides);
            for (name, value) in map {
                match value {
                    Value::String(text) if names.contains(&name.as_str()) || (hides && name == "data") => {
                        found.extend(Some(text.clone()).filter(|text| !text.is_empty()));
                    }
                    value => signatures(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| signatures(item, found)),
        _ => {}
    }
}

/// The next request of a caller that sends back the answer it was given, as client libraries do, and the results of calls.
fn second_turn(caller: Dialect, answer: &Value) -> Value {
    let each = |items: &Value, pointer: &str, name: &str, made: &dyn Fn(&Value) -> Value| -> Vec<Value> {
        let items = items.as_array().cloned().unwrap_or_default();
        items
            .iter()
            .filter(|item| item["type"] == name || item.get(name).is_some())
            .map(|item| made(item.pointer(pointer).unwrap()))
            .collect()
    };
    match caller {
        Dialect::Openai => {
            let message = &answer["choices"][0]["message"];
            let results = each(
                &message["tool_calls"],
                "/id",
                "function",
                &|id| json!({"role": "tool", "tool_call_id": id, "content": "ok"}),
            );
            let mut messages = vec![json!({"role": "user", "content": "Go."}), message.clone()];
            messages.extend(results);
            json!({"model": "m", "messages": messages})
        }
        Dialect::Anthropic => {
            let results = each(
                &answer["content"],
                "/id",
                "tool_use",
                &|id| json!({"type": "tool_result", "tool_use_id": id, "content": "ok"}),
            );
            json!({"model": "m", "max_tokens": 9, "messages": [
                {"role": "user", "content": "Go."}, {"role": "assistant", "content": answer["content"]}, {"role": "user", "content": results},
            ]})
        }
        Dialect::Responses => {
            let mut input = vec![json!({"role": "user", "content": "Go."})];
            input.extend(answer["output"].as_array().unwrap().iter().cloned());
            input.extend(each(
                &answer["output"],
                "/call_id",
                "function_call",
                &|id| json!({"type": "function_call_output", "call_id": id, "output": "ok"}),
            ));
            json!({"model": "m", "input": input})
        }
        Dialect::Gemini => {
            let content = &answer["candidates"][0]["content"];
            let results = each(
                &content["parts"],
                "/functionCall",
                "functionCall",
                &|call| json!({"functionResponse": {"id": call["id"], "name": call["name"], "response": {"output": "ok"}}}),
            );
            json!({"contents": [{"role": "user", "parts": [{"text": "Go."}]}, content, {"role": "user", "parts": results}]})
        }
        Dialect::Bedrock => {
            let message = &answer["output"]["message"];
            let results = each(
                &message["content"],
                "/toolUse/toolUseId",
                "toolUse",
                &|id| json!({"toolResult": {"toolUseId": id, "content": [{"text": "ok"}]}}),
            );
            json!({"messages": [{"role": "user", "content": [{"text": "Go."}]}, message, {"role": "user", "content": results}]})
        }
    }
}

#[test]
fn what_a_provider_signed_comes_back_to_it_on_the_second_turn_of_every_caller() {
    let mut cases = 0;
    for upstream in scenarios().values() {
        let Some(body) = &upstream.answer else { continue };
        let mut signed = Vec::new();
        signatures(&serde_json::from_slice(body).unwrap(), &mut signed);
        if signed.is_empty() {
            continue;
        }
        for &caller in Dialect::ALL.iter().filter(|caller| **caller != upstream.dialect) {
            let answer = translate::answer(upstream.dialect, caller, body, &asked()).unwrap();
            let request = second_turn(caller, &serde_json::from_slice(&answer).unwrap()).to_string();
            let back =
                translate::request(caller, upstream.dialect, request.as_bytes(), address(), "m", OnUnsupported::Refuse);
            let what = format!("{} by a caller of {caller}", upstream.folder.display());
            // A signature of no words and no call has no place in some dialects; every other comes back as it was.
            let back = back.unwrap_or_else(|error| panic!("{what}: {error}"));
            let mut given = Vec::new();
            signatures(&serde_json::from_slice(&back.body).unwrap(), &mut given);
            for signature in &signed {
                assert!(given.contains(signature), "{what}: {signature} is not among {given:?}\n{request}");
                cases += 1;
            }
        }
    }
    assert!(cases >= 40, "only {cases} signatures");
}

#[test]
fn ids_of_calls_differ_from_answer_to_answer() {
    let scenarios = scenarios();
    for (dialect, name) in [(Dialect::Openai, "tool_calls_without_ids"), (Dialect::Gemini, "tool_calls_without_ids")] {
        let upstream = &scenarios[&(dialect, name.to_owned())];
        let ids = |id: &str| -> Vec<Value> {
            let asked = Asked { id: id.to_owned(), ..asked() };
            let body =
                translate::answer(dialect, Dialect::Anthropic, upstream.answer.as_ref().unwrap(), &asked).unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            let blocks = body["content"].as_array().unwrap().iter();
            blocks.filter(|block| block["type"] == "tool_use").map(|block| block["id"].clone()).collect()
        };
        let (first, second) =
            (ids("01938c2e-7b1a-7c3d-9e4f-0123456789ab"), ids("01938c2e-7b1a-7c3d-9e4f-0123456789ac"));
        assert!(first.len() > 1 && first.iter().all(|id| !second.contains(id)), "{first:?} {second:?}");
        let stream = translated(upstream, Dialect::Anthropic).unwrap();
        let stream = String::from_utf8(stream).unwrap();
        for id in ids("golden") {
            assert!(stream.contains(id.as_str().unwrap()), "{id} in {stream}");
        }
    }
}

#[test]
fn there_are_enough_cases() {
    let scenarios = scenarios();
    for &dialect in Dialect::ALL {
        let count = scenarios.keys().filter(|(of, _)| *of == dialect).count();
        assert!(count >= 20, "`{dialect}` has only {count} scenarios");
    }
    // The heads of all requests can be read, too.
    for scenario in scenarios.values() {
        let Some(body) = &scenario.request else { continue };
        let head = dialect::parse_head_at(scenario.dialect, Operation::Chat, address(), body);
        assert!(!head.unwrap().model.is_empty(), "{}", scenario.folder.display());
    }
}
