//! What becomes of requests, answers and streams, byte by byte.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tollgate_interaction::{Dialect, Operation, UsageSource};
use tollgate_provider::observe::Observer;
use tollgate_provider::translate::{self, OnUnsupported, StreamTranslator};
use tollgate_provider::{dialect, eventstream};

use crate::scenario::{Scenario, address, asked, replays, scenarios};

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
            // What the dialect has no form for, such as a picture to a caller of Messages, is named in brackets.
            let is_same = before.len() == after.len()
                && before.iter().zip(&after).all(|(before, after)| {
                    let after = after.strip_prefix("[an image]").unwrap_or(after);
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
