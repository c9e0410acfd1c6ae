//! The scenarios, and the translation of their streams.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use tollgate_interaction::{Dialect, Usage};
use tollgate_provider::eventstream;
use tollgate_provider::translate::{Address, Asked, StreamTranslator};

/// What a scenario's answer says about itself, in either form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Turn {
    #[serde(rename = "about")]
    _about: String,
    pub(crate) usage: Usage,
    pub(crate) finish_reasons: Vec<String>,
    pub(crate) model_served: Option<String>,
    /// Names of the models at providers of these dialects, where the name decides what is written; else `m`.
    #[serde(default)]
    models: BTreeMap<Dialect, String>,
}

impl Turn {
    pub(crate) fn model(&self, target: Dialect) -> &str {
        self.models.get(&target).map_or("m", String::as_str)
    }
}

pub(crate) struct Scenario {
    pub(crate) dialect: Dialect,
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) request: Option<Vec<u8>>,
    pub(crate) answer: Option<Vec<u8>>,
    pub(crate) stream: Option<Vec<u8>>,
    pub(crate) turn: Turn,
}

pub(crate) fn address() -> Address<'static> {
    Address { model: "m", stream: false }
}

pub(crate) fn asked() -> Asked {
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

pub(crate) fn scenarios() -> BTreeMap<(Dialect, String), Scenario> {
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
pub(crate) fn replays(stream: &[u8]) -> Vec<(&'static str, Vec<&[u8]>)> {
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

/// The bytes of a translated stream.
pub(crate) fn translated(upstream: &Scenario, caller: Dialect) -> Option<Vec<u8>> {
    let mut translator = StreamTranslator::new(upstream.dialect, caller, asked());
    let mut seen = translator.push(upstream.stream.as_ref()?).to_vec();
    seen.extend_from_slice(&translator.finish());
    Some(seen)
}

/// Name and data of every event of a stream, in whichever framing.
pub(crate) fn events(dialect: Dialect, stream: &[u8]) -> Vec<(String, String)> {
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
