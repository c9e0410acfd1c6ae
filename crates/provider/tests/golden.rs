//! Replays responses in the formats the providers document (`golden/<dialect>/<case>/`): event by event as a provider
//! sends them, one byte at a time, in pieces of every small size, and all at once. Every way must give what `case.json`
//! says. The responses are written after the documentation, not copied from anybody's traffic.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Deserialize;
use tollgate_interaction::{Dialect, Operation, Usage, UsageSource};
use tollgate_provider::dialect::UsageFilter;
use tollgate_provider::observe::{self, Observation, Observer, StreamError};
use tollgate_provider::price::{Call, Catalog};
use tollgate_provider::tokens::Estimate;
use tollgate_provider::{failure, transcript};

/// 2026-11-23, when the cases were written.
const NOW_US: i64 = 1_795_392_000_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(rename = "about")]
    _about: String,
    operation: Operation,
    stream: bool,
    complete: bool,
    expected: Expected,
    /// Texts of the answer, if the transcript is to be checked.
    assistant: Option<Vec<String>>,
    cost: Option<Cost>,
    /// What the provider itself says the call costs, in dollars.
    provider_cost_usd: Option<String>,
    failure_class: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    model_served: Option<String>,
    usage: Usage,
    usage_source: UsageSource,
    finish_reasons: Vec<String>,
    error: Option<ExpectedError>,
    terminated: bool,
    output_chars: u64,
    /// Where audio is counted in seconds.
    #[serde(default)]
    audio_seconds: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedError {
    kind: String,
    code: Option<String>,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cost {
    provider: String,
    usd: String,
}

struct Recording {
    name: String,
    folder: PathBuf,
    dialect: Dialect,
    case: Case,
    response: Vec<u8>,
}

fn folders(parent: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    if !parent.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(parent)?.map(|entry| entry.map(|entry| entry.path()));
    let mut folders = entries.collect::<Result<Vec<_>, _>>()?;
    folders.sort();
    Ok(folders)
}

fn recordings() -> Result<Vec<Recording>, Box<dyn Error>> {
    let root = Path::new("golden").to_path_buf();
    let mut recordings = Vec::new();
    for dialect in Dialect::ALL {
        for folder in folders(&root.join(dialect.as_str())).unwrap_or_default() {
            let name = folder.strip_prefix(&root)?.display().to_string();
            // The scenarios of translation have none.
            let Ok(case) = fs::read(folder.join("case.json")) else { continue };
            let case = serde_json::from_slice(&case).map_err(|error| format!("{name}: {error}"))?;
            let response = fs::read(folder.join("response.sse")).or_else(|_| fs::read(folder.join("response.json")))?;
            recordings.push(Recording { name, folder, dialect: *dialect, case, response });
        }
    }
    Ok(recordings)
}

/// The response in the pieces a provider sends: one event each.
fn events(response: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for at in 0..response.len() {
        let rest = &response[..=at];
        if rest.ends_with(b"\n\n") || rest.ends_with(b"\r\n\r\n") {
            pieces.push(&response[start..=at]);
            start = at + 1;
        }
    }
    pieces.push(&response[start..]);
    pieces
}

/// Every way in which a response is replayed.
fn replays(response: &[u8]) -> Vec<(String, Vec<&[u8]>)> {
    let mut replays = vec![("event by event".to_owned(), events(response)), ("all at once".to_owned(), vec![response])];
    for size in [1, 2, 3, 7, 64, 1_000] {
        replays.push((format!("in pieces of {size} bytes"), response.chunks(size).collect()));
    }
    replays
}

fn observed(recording: &Recording, pieces: &[&[u8]]) -> Observation {
    let Recording { dialect, case, .. } = recording;
    let mut observer = Observer::new(*dialect, case.operation, case.stream);
    pieces.iter().for_each(|piece| observer.push(piece));
    observer.finish(case.complete)
}

#[test]
fn every_response_is_read_alike_however_it_is_cut() {
    let recordings = recordings().unwrap();
    assert!(recordings.len() >= 20, "only {} cases were found", recordings.len());
    for recording in &recordings {
        let Expected {
            model_served,
            usage,
            usage_source,
            finish_reasons,
            error,
            terminated,
            output_chars,
            audio_seconds,
        } = &recording.case.expected;
        let error = error.as_ref().map(|error| StreamError {
            kind: error.kind.clone(),
            code: error.code.clone(),
            message: error.message.clone(),
        });
        let expected = Observation {
            model_served: model_served.clone(),
            usage: *usage,
            usage_source: *usage_source,
            finish_reasons: finish_reasons.clone(),
            error,
            terminated: *terminated,
            output_chars: *output_chars,
            service_tier: None,
            cost: None,
            audio_seconds: audio_seconds.clone(),
            images: None,
        };
        let plain = |observed: Observation| Observation { service_tier: None, cost: None, images: None, ..observed };
        for (way, pieces) in replays(&recording.response) {
            assert_eq!(plain(observed(recording, &pieces)), expected, "{} {way}", recording.name);
        }
        if !recording.case.stream && recording.case.complete {
            let whole = observe::whole(recording.dialect, recording.case.operation, &recording.response);
            assert_eq!(plain(whole), expected, "{} without a copy", recording.name);
        }
    }
}

#[test]
fn a_client_that_did_not_ask_for_usage_never_sees_it() {
    let mut checked = 0;
    for recording in recordings().unwrap() {
        let Ok(expected) = fs::read(recording.folder.join("client.sse")) else { continue };
        checked += 1;
        for (way, pieces) in replays(&recording.response) {
            let mut filter = UsageFilter::new();
            let mut seen: Vec<u8> = Vec::new();
            for piece in pieces {
                seen.extend_from_slice(&filter.push(Bytes::copy_from_slice(piece)));
            }
            seen.extend_from_slice(&filter.finish());
            assert_eq!(String::from_utf8_lossy(&seen), String::from_utf8_lossy(&expected), "{} {way}", recording.name);
        }
    }
    assert!(checked >= 4, "only {checked} cases have a `client.sse`");
}

#[test]
fn the_transcript_holds_what_the_model_wrote() {
    for recording in recordings().unwrap() {
        let Recording { name, case, response, .. } = &recording;
        let Some(expected) = &case.assistant else { continue };
        let messages = transcript::messages(b"", response);
        let texts: Vec<String> = messages.into_iter().map(|message| message.content).collect();
        assert_eq!(&texts, expected, "{name}");
    }
}

#[test]
fn the_bill_is_exact() {
    let catalog = Catalog::builtin().unwrap();
    for recording in recordings().unwrap() {
        let Some(Cost { provider, usd }) = &recording.case.cost else { continue };
        let observation = observed(&recording, &[&recording.response]);
        let model = observation.model_served.unwrap();
        let usage = &observation.usage;
        let call = Call { provider, model: &model, region: None, service_tier: None, usage, at_us: NOW_US };
        let priced = catalog.cost(&call).unwrap();
        assert_eq!(priced.cost, usd.parse().unwrap(), "{} by {}", recording.name, priced.price_id);
    }
}

#[test]
fn what_the_provider_says_it_costs_is_read() {
    let mut checked = 0;
    for recording in recordings().unwrap() {
        let Some(expected) = &recording.case.provider_cost_usd else { continue };
        checked += 1;
        for (way, pieces) in replays(&recording.response) {
            let said = observed(&recording, &pieces).cost;
            assert_eq!(said, Some(expected.parse().unwrap()), "{} {way}", recording.name);
        }
    }
    assert!(checked >= 5, "only {checked} cases state a cost of the provider's own");
}

#[test]
fn a_failure_is_classed_wherever_it_is_reported() {
    for recording in recordings().unwrap() {
        let Some(expected) = &recording.case.failure_class else { continue };
        let error = observed(&recording, &[&recording.response]).error.unwrap();
        let http_status = match (recording.case.stream, expected.as_str()) {
            (_, "rate_limited" | "quota_exhausted") => 429,
            (_, "overloaded") => 529,
            (_, "context_length") => 400,
            _ => 200,
        };
        assert_eq!(failure::classify_error(http_status, &error), expected, "{}", recording.name);
    }
}

#[test]
fn a_call_that_was_cut_off_is_charged_for_what_was_written() {
    for recording in recordings().unwrap() {
        let before = observed(&recording, &[&recording.response]);
        let written = before.output_chars.div_ceil(4);
        let estimate = Estimate { input_tokens: 100, output_tokens: written };
        let after = before.clone().with_estimate(estimate);
        if before.usage_source == UsageSource::Provider || (before.output_chars == 0 && before.usage.is_empty()) {
            assert_eq!(after, before, "{}", recording.name);
            continue;
        }
        assert!(after.usage.output_tokens.unwrap() >= written, "{}", recording.name);
        assert_eq!(after.usage.input_tokens, before.usage.input_tokens.or(Some(100)), "{}", recording.name);
        assert_ne!(after.usage_source, UsageSource::None, "{}", recording.name);
    }
}

/// Found by fuzzing.
#[test]
fn white_space_before_an_answer_is_nothing_whichever_piece_it_comes_in() {
    let stream = b" data: {\"model\":\"m\",\"choices\":[]}\n\n".as_slice();
    let observed = |pieces: &[&[u8]]| {
        let mut observer = Observer::new(Dialect::Openai, Operation::Chat, true);
        pieces.iter().for_each(|piece| observer.push(piece));
        observer.finish(true)
    };
    let whole = observed(&[stream]);
    assert_eq!(whole.model_served.as_deref(), Some("m"));
    for cut in 0..stream.len() {
        let (before, after) = stream.split_at(cut);
        assert_eq!(observed(&[before, after]), whole, "cut at {cut}");
    }
}

/// Found by fuzzing.
#[test]
fn counts_that_no_model_can_reach_do_not_wrap() {
    let most = u64::MAX;
    let body = format!(
        r#"{{"choices":[],"usage":{{"prompt_tokens":{most},"completion_tokens":{most},"total_tokens":1,"completion_tokens_details":{{"reasoning_tokens":3}}}}}}"#
    );
    let usage = observe::whole(Dialect::Openai, Operation::Chat, body.as_bytes()).usage;
    assert_eq!((usage.input_tokens, usage.output_tokens), (Some(most), Some(most)));
    let answer = tollgate_provider::chat::Answer { usage: Some(usage), ..Default::default() };
    for &caller in Dialect::ALL {
        let asked = tollgate_provider::translate::Asked::default();
        let written = tollgate_provider::translate::write_answer(caller, answer.clone(), &asked).to_string();
        assert!(written.contains(&most.to_string()), "{caller}: {written}");
    }
}
