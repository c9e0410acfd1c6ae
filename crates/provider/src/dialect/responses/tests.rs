//! What the scenarios under `golden/responses` promise of a request, an answer and its stream.

mod refusals;
mod scenarios;
mod streams;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tollgate_interaction::Dialect;

use crate::chat::{Answer, Choice, Content, Delta, Event, Part};
use crate::framing::Decoder;
use crate::translate::{Asked, ReadStream, WriteStream};

struct Scenario {
    name: String,
    folder: PathBuf,
}

impl Scenario {
    fn json(&self, file: &str) -> Option<Value> {
        let bytes = fs::read(self.folder.join(file)).ok()?;
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    fn stream(&self) -> Option<Vec<u8>> {
        fs::read(self.folder.join("response.sse")).ok()
    }
}

fn scenarios() -> Vec<Scenario> {
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("golden/responses");
    let mut scenarios: Vec<Scenario> = fs::read_dir(root)
        .unwrap()
        .map(|entry| {
            let folder = entry.unwrap().path();
            Scenario { name: folder.file_name().unwrap().to_string_lossy().into_owned(), folder }
        })
        .collect();
    scenarios.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(scenarios.len() >= 30, "only {} scenarios were found", scenarios.len());
    scenarios
}

fn asked() -> Asked {
    Asked {
        id: "01".to_owned(),
        created_at_s: 1_795_651_200,
        model: "m".to_owned(),
        include_usage: true,
        events: true,
        base64: false,
    }
}

/// The events of a stream, as the dialect's reader hands them out.
fn events(stream: &[u8]) -> Vec<Event> {
    let mut reader = super::stream::Reader::default();
    let mut decoder = Decoder::of(Dialect::Responses);
    let mut events = Vec::new();
    decoder.push(stream, |event| reader.read(event.name, event.data, &mut events));
    decoder.finish(|event| reader.read(event.name, event.data, &mut events));
    reader.end(&mut events);
    events
}

/// The stream of `events`, as the dialect's writer writes it.
fn written(events: Vec<Event>) -> Vec<u8> {
    let mut writer = super::stream::Writer::new(asked());
    let mut out = Vec::new();
    events.into_iter().for_each(|event| writer.write(event, &mut out));
    out
}

/// The data of every event of a stream, its name checked against its type.
fn data(stream: &[u8]) -> Vec<Value> {
    let mut all = Vec::new();
    let mut decoder = Decoder::of(Dialect::Responses);
    decoder.push(stream, |event| {
        let data: Value = serde_json::from_slice(event.data).unwrap();
        assert_eq!(data["type"].as_str().unwrap().as_bytes(), event.name);
        assert_eq!(data["sequence_number"].as_u64().unwrap(), all.len() as u64);
        all.push(data);
    });
    all
}

/// What the events of a stream come to. Checks the rules of their order on the way.
fn fold(events: &[Event]) -> Answer {
    let mut answer = Answer::default();
    let mut parts: BTreeMap<(usize, usize), (Part, bool)> = BTreeMap::new();
    let mut choices: BTreeMap<usize, Choice> = BTreeMap::new();
    assert!(matches!(events.first(), Some(Event::Begin { .. })), "it begins with {:?}", events.first());
    for event in events {
        match event.clone() {
            Event::Begin { id, model, usage } => (answer.id, answer.model, answer.usage) = (id, model, usage),
            Event::BeginPart { choice, part, content } => {
                let next = parts.keys().filter(|(whose, _)| *whose == choice).count();
                assert_eq!(part, next, "parts are numbered in the order they begin");
                parts.insert((choice, part), (Part::new(content, ""), true));
            }
            Event::Continue { choice, part, delta } => {
                let (part, open) = parts.get_mut(&(choice, part)).unwrap();
                assert!(*open, "a part is not added to after its end");
                add(&mut part.content, delta);
            }
            Event::EndPart { choice, part } => {
                let open = &mut parts.get_mut(&(choice, part)).unwrap().1;
                assert!(std::mem::replace(open, false), "a part ends once");
            }
            Event::Logprobs { choice, logprobs } => choices.entry(choice).or_default().logprobs.extend(logprobs),
            Event::Stop { choice, stop } => {
                assert!(parts.iter().all(|((whose, _), (_, open))| *whose != choice || !open), "a part is open");
                choices.entry(choice).or_default().stop = Some(stop);
            }
            Event::Usage(usage) => answer.usage = Some(usage),
            Event::ServiceTier(tier) => answer.service_tier = Some(tier),
            Event::End | Event::Error(_) => {}
        }
    }
    for ((choice, _), (part, _)) in parts {
        choices.entry(choice).or_default().parts.push(part);
    }
    answer.choices = choices.into_values().collect();
    answer
}

fn add(content: &mut Content, delta: Delta) {
    match (content, delta) {
        (Content::Text { text, .. } | Content::Refusal(text), Delta::Text(delta)) => text.push_str(&delta),
        (Content::Text { citations, .. }, Delta::Citation(citation)) => citations.push(citation),
        (Content::Thinking { text, .. }, Delta::Thinking(delta)) => text.push_str(&delta),
        (Content::Thinking { signature, .. }, Delta::Signature(given)) => *signature = Some(given),
        (Content::ToolCall(call) | Content::CustomCall(call), Delta::Arguments(delta)) => {
            call.arguments.push_str(&delta)
        }
        (Content::ToolCall(call), Delta::Signature(given)) => call.signature = Some(given),
        (content, delta) => panic!("{delta:?} cannot be added to {content:?}"),
    }
}
