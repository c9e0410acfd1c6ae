//! Providers that answer with something else than an answer, as a table: each fault for each kind of caller, of the
//! provider's own format and of another, streamed and whole. The caller gets a clear error in its format's shape, in time,
//! and there is a row.

use tollgate_interaction::{Dialect, Outcome};
use tollgate_provider::eventstream;

use crate::golden::{self, CALLERS, Caller, PROVIDERS};
use crate::harness::{Answer, Bench, settings};
use crate::provider::{Provider, Step, chunk, end, respond, stream_head, stream_head_of};

/// An answer that is none, with the status and code that it becomes.
struct Fault {
    name: &'static str,
    steps: Vec<Step>,
    status: u16,
    code: &'static str,
    /// What the message says beside the provider's name.
    says: &'static str,
}

fn faults() -> Vec<Fault> {
    let fault = |name, steps, status, code, says| Fault { name, steps, status, code, says };
    let html = "<!doctype html><h1>Welcome to nginx!</h1>";
    let no_content = vec![Step::Send("HTTP/1.1 204 No Content\r\n\r\n".into())];
    vec![
        fault("HTML", respond(200, "content-type: text/html\r\n", html), 502, "upstream_invalid_response", "JSON"),
        fault("HTML of an error", respond(503, "content-type: text/html\r\n", html), 502, "upstream_error", "503"),
        fault(
            "gzip though not asked",
            respond(200, "content-type: application/json\r\ncontent-encoding: gzip\r\n", "\u{1f}\u{8b}"),
            502,
            "upstream_invalid_response",
            "uncompressed",
        ),
        fault(
            "an event stream in gzip",
            respond(200, "content-type: text/event-stream\r\ncontent-encoding: gzip\r\n", "\u{1f}\u{8b}"),
            502,
            "upstream_invalid_response",
            "uncompressed",
        ),
        fault("nothing", respond(200, "", ""), 502, "upstream_invalid_response", "JSON"),
        fault(
            "nothing, as JSON",
            respond(200, "content-type: application/json\r\n", ""),
            502,
            "upstream_invalid_response",
            "JSON",
        ),
        fault("no content", no_content, 502, "upstream_invalid_response", "JSON"),
        fault(
            "a redirect",
            respond(302, "location: https://elsewhere.invalid/\r\n", ""),
            502,
            "upstream_redirect",
            "302",
        ),
        fault(
            "a permanent redirect",
            respond(308, "location: https://elsewhere.invalid/\r\n", html),
            502,
            "upstream_redirect",
            "base_url",
        ),
        fault("no head", vec![Step::Close], 502, "upstream_reset", "retry"),
        fault("half of a head", vec![Step::Send("HTTP/1.1 200 O".into()), Step::Close], 502, "upstream_reset", "retry"),
        fault("no answer", vec![Step::Hang], 504, "upstream_timeout", "server.first_byte_seconds"),
    ]
}

fn check_failed(bench: &Bench, answer: &Answer, code: &str, what: &str) {
    let record = bench.row(answer).record;
    assert_eq!((record.outcome, record.error_type.as_deref()), (Outcome::Failed, Some(code)), "{what}");
    assert!(record.error_message.is_some_and(|message| !message.is_empty()), "{what}");
}

#[tokio::test]
async fn an_answer_that_is_none_becomes_an_error_in_the_caller_s_words() {
    for Fault { name: fault, steps, status, code, says } in faults() {
        let up = Provider::answering(steps).await;
        let bench = Bench::start(settings(up.address)).await;
        // Of the two providers, one speaks the caller's format unless that is Responses or Gemini.
        for provider in ["up", "claude", "google", "amazon"] {
            for caller in CALLERS {
                let is_own = PROVIDERS.contains(&(provider, caller.dialect));
                let is_other = provider == if caller.dialect == Dialect::Openai { "claude" } else { "up" };
                if !is_own && !is_other {
                    continue;
                }
                for stream in [false, true] {
                    let (path, body) = golden::request(caller, "text", &format!("{provider}/small"), stream);
                    let answer = bench.post(&path, &body.to_string()).await;
                    let what = format!("{fault} for {caller:?} at `{provider}`, stream {stream}: {}", answer.body);
                    assert_eq!(answer.status.as_u16(), status, "{what}");
                    assert_eq!(answer.header("content-type"), "application/json", "{what}");
                    let told = golden::told(caller.dialect, &answer.json());
                    let (told, message) = told.unwrap_or_else(|| panic!("{what}"));
                    assert_eq!(told, code, "{what}");
                    assert!(message.contains(&format!("`{provider}`")) && message.contains(says), "{what}");
                    assert!(answer.body.contains(answer.id()), "{what}");
                    check_failed(&bench, &answer, code, &what);
                }
            }
        }
    }
}

/// Streams `pieces` of a provider to `caller` and returns what it got.
async fn stream(provider: &str, spoken: Dialect, pieces: &[Vec<u8>], caller: Caller) -> (Bench, Answer) {
    let steps = [stream_head_of(golden::stream_type(spoken))].into_iter().chain(pieces.iter().map(chunk));
    let up = Provider::answering(steps.chain([end()]).collect()).await;
    let mut settings = settings(up.address);
    // 20 MB take a while on a busy machine.
    settings.timeouts.idle_stream = std::time::Duration::from_secs(10);
    let bench = Bench::start(settings).await;
    let (path, body) = golden::request(caller, "text", &format!("{provider}/small"), true);
    let answer = bench.post(&path, &body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    (bench, answer)
}

async fn fails_with(provider: &str, spoken: Dialect, pieces: &[Vec<u8>], caller: Caller, code: &str) {
    let (bench, answer) = stream(provider, spoken, pieces, caller).await;
    let what = format!("{caller:?} at `{provider}`: {:.2000}", answer.body);
    let (told, message) = golden::told_in_stream(caller, &answer.bytes).unwrap_or_else(|| panic!("{what}"));
    assert_eq!(told, code, "{what}");
    assert!(message.contains(&format!("`{provider}`")), "{what}");
    check_failed(&bench, &answer, code, &what);
}

#[tokio::test]
async fn a_stream_cut_within_a_character_ends_in_a_whole_error() {
    for (name, spoken) in PROVIDERS {
        let mut events = golden::events(spoken, "unicode");
        let word = "挨拶".as_bytes();
        let (place, at) = events
            .iter()
            .enumerate()
            .find_map(|(place, event)| Some((place, event.windows(word.len()).position(|piece| piece == word)?)))
            .unwrap_or_else(|| panic!("no such character in the stream of {spoken}"));
        events.truncate(place + 1);
        events[place].truncate(at + 1);
        for caller in CALLERS {
            fails_with(name, spoken, &events, caller, "upstream_incomplete").await;
        }
    }
}

/// An event of a provider that says 20 MB of text.
fn long_event(spoken: Dialect) -> Vec<u8> {
    let text = "x".repeat(20_000_000);
    let data = match spoken {
        Dialect::Openai => {
            format!(r#"{{"id":"c","model":"small","choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#)
        }
        Dialect::Anthropic => {
            let delta = format!(r#"{{"type":"text_delta","text":"{text}"}}"#);
            return format!(
                "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{delta}}}\n\n"
            )
            .into_bytes();
        }
        Dialect::Gemini => format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}]}},"index":0}}]}}"#),
        Dialect::Responses | Dialect::Bedrock => unreachable!("not in this test"),
    };
    format!("data: {data}\n\n").into_bytes()
}

#[tokio::test]
async fn a_line_of_20_mb_passes_as_it_is_or_is_an_error_but_is_never_left_out() {
    for (name, spoken) in &PROVIDERS[..3] {
        let mut events = golden::events(*spoken, "text");
        events.insert(if *spoken == Dialect::Anthropic { 3 } else { 1 }, long_event(*spoken));
        for caller in CALLERS {
            if caller.dialect == *spoken && caller.events {
                let (bench, answer) = stream(name, *spoken, &events, caller).await;
                assert!(answer.bytes.len() > 20_000_000, "{caller:?}");
                assert_eq!(bench.row(&answer).record.outcome, Outcome::Success, "{caller:?}");
            } else {
                fails_with(name, *spoken, &events, caller, "upstream_invalid_response").await;
            }
        }
    }
}

#[tokio::test]
async fn a_damaged_or_cut_frame_of_amazon_s_is_an_error_wherever_it_stands() {
    let events = golden::events(Dialect::Bedrock, "text");
    for place in 0..events.len() {
        let mut cut = events[..=place].to_vec();
        let half = cut[place].len() / 2;
        cut[place].truncate(half);
        let mut damaged = events.clone();
        let middle = damaged[place].len() - 6;
        damaged[place][middle] ^= 1;
        for caller in CALLERS {
            fails_with("amazon", Dialect::Bedrock, &cut, caller, "upstream_incomplete").await;
            let (bench, answer) = stream("amazon", Dialect::Bedrock, &damaged, caller).await;
            let what = format!("{caller:?}, frame {place}: {}", answer.body);
            let (_, message) = golden::told_in_stream(caller, &answer.bytes).unwrap_or_else(|| panic!("{what}"));
            assert!(message.contains("damaged"), "{what}");
            let record = bench.row(&answer).record;
            assert_eq!(record.outcome, Outcome::Failed, "{what}");
        }
    }
}

#[tokio::test]
async fn a_stream_of_nothing_is_an_error() {
    for (name, spoken) in PROVIDERS {
        for caller in CALLERS {
            fails_with(name, spoken, &[], caller, "upstream_incomplete").await;
        }
    }
}

#[tokio::test]
async fn an_event_that_no_format_has_is_not_an_end() {
    let nonsense =
        [b"data: <html>\n\n".to_vec(), b"data: {\"\n\n".to_vec(), b":\n\n".to_vec(), b"\xff\xfe\n\n".to_vec()];
    for caller in CALLERS {
        fails_with("up", Dialect::Openai, &nonsense, caller, "upstream_incomplete").await;
    }
    let mut frame = Vec::new();
    eventstream::write_event(&mut frame, "whatever", b"<html>");
    for caller in CALLERS {
        fails_with("amazon", Dialect::Bedrock, std::slice::from_ref(&frame), caller, "upstream_incomplete").await;
    }
}

#[tokio::test]
async fn a_pause_within_a_stream_is_not_an_end() {
    for caller in CALLERS {
        let begun = golden::events(Dialect::Openai, "text").into_iter().take(2).map(chunk);
        let up = Provider::answering([stream_head()].into_iter().chain(begun).chain([Step::Hang]).collect()).await;
        let bench = Bench::start(settings(up.address)).await;
        let (path, body) = golden::request(caller, "text", "up/small", true);
        let answer = bench.post(&path, &body.to_string()).await;
        let what = format!("{caller:?}: {}", answer.body);
        let (code, message) = golden::told_in_stream(caller, &answer.bytes).unwrap_or_else(|| panic!("{what}"));
        assert_eq!(code, "upstream_timeout", "{what}");
        assert!(message.contains("server.idle_stream_seconds"), "{what}");
        check_failed(&bench, &answer, "upstream_timeout", &what);
    }
}
