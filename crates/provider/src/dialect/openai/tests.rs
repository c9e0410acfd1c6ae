//! The golden scenarios, read and written by this dialect alone: a stream says what the whole answer says, what is
//! written is read as what it was, and the observer says what `turn.json` says. And the quirks, one by one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tollgate_interaction::{Dialect, Operation, Usage};

use super::{answer, request, stream};
use crate::chat::{
    Answer, Choice, Citation, CitedDocument, CitedPlace, Content, Delta, Event, Part, Request, Signature, Stop, Tier,
    ToolCall,
};
use crate::framing::Decoder;
use crate::observe::{Observer, StreamError};
use crate::transcript;
use crate::translate::{Asked, Losses, OnUnsupported, ReadStream, WriteStream};

fn scenarios() -> Vec<(String, PathBuf)> {
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("golden/openai");
    let folders = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = folders.filter(|folder| folder.join("turn.json").exists()).collect();
    folders.sort();
    assert!(folders.len() >= 38, "only {} scenarios", folders.len());
    folders.into_iter().map(|folder| (folder.file_name().unwrap().to_string_lossy().into_owned(), folder)).collect()
}

fn json_of(path: PathBuf) -> Option<Value> {
    fs::read(path).ok().map(|text| serde_json::from_slice(&text).unwrap())
}

fn asked() -> Asked {
    Asked {
        id: "7".to_owned(),
        created_at_s: 1,
        model: "m".to_owned(),
        include_usage: true,
        events: true,
        base64: false,
    }
}

fn events(body: &[u8]) -> Vec<Event> {
    let mut reader = stream::Reader::default();
    let mut events = Vec::new();
    let mut decoder = Decoder::of(Dialect::Openai);
    decoder.push(body, |event| reader.read(event.name, event.data, &mut events));
    decoder.finish(|event| reader.read(event.name, event.data, &mut events));
    reader.end(&mut events);
    events
}

fn chunks(chunks: &[Value]) -> Vec<Event> {
    let body: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    events(format!("{body}data: [DONE]\n\n").as_bytes())
}

/// One chunk of the first answer.
fn delta(delta: Value) -> Value {
    json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn finish(reason: &str) -> Value {
    json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

/// Puts a stream together again, and checks the order of its events on the way.
fn fold(events: Vec<Event>) -> Answer {
    let mut answer = Answer::default();
    let mut parts: BTreeMap<(usize, usize), (Content, bool)> = BTreeMap::new();
    let mut choices: BTreeMap<usize, Choice> = BTreeMap::new();
    let (mut begun, mut ended) = (false, false);
    for event in events {
        assert!(!ended, "{event:?} after the end");
        assert_eq!(matches!(event, Event::Begin { .. }), !begun, "{event:?}");
        match event {
            Event::Begin { id, model, usage } => {
                begun = true;
                (answer.id, answer.model, answer.usage) = (id, model, usage);
            }
            Event::BeginPart { choice, part, content } => {
                let count = parts.keys().filter(|(of, _)| *of == choice).count();
                assert_eq!(part, count, "parts are numbered in the order they begin");
                assert!(choices.get(&choice).is_none_or(|choice| choice.stop.is_none()));
                choices.entry(choice).or_default();
                parts.insert((choice, part), (content, true));
            }
            Event::Continue { choice, part, delta } => {
                let (content, is_open) = parts.get_mut(&(choice, part)).unwrap();
                assert!(*is_open, "{delta:?} for a part that has ended");
                add(content, delta);
            }
            Event::EndPart { choice, part } => {
                let (_, is_open) = parts.get_mut(&(choice, part)).unwrap();
                assert!(std::mem::replace(is_open, false), "part {part} ended twice");
            }
            Event::Logprobs { choice, logprobs } => choices.entry(choice).or_default().logprobs.extend(logprobs),
            Event::Stop { choice, stop } => {
                assert!(parts.iter().all(|((of, _), (_, is_open))| *of != choice || !is_open));
                assert!(choices.entry(choice).or_default().stop.replace(stop).is_none());
            }
            Event::Usage(usage) => answer.usage = Some(usage),
            Event::ServiceTier(tier) => answer.service_tier = Some(tier),
            Event::End => ended = true,
            Event::Error(error) => panic!("{error:?}"),
        }
    }
    assert!(ended);
    for ((choice, _), (content, _)) in parts {
        choices.get_mut(&choice).unwrap().parts.push(Part::new(content, ""));
    }
    answer.choices = choices.into_values().collect();
    answer
}

fn add(content: &mut Content, delta: Delta) {
    match (content, delta) {
        (Content::Text { text, .. } | Content::Refusal(text), Delta::Text(more))
        | (Content::Thinking { text, .. }, Delta::Thinking(more)) => text.push_str(&more),
        (Content::Text { citations, .. }, Delta::Citation(citation)) => citations.push(citation),
        (Content::ToolCall(call) | Content::CustomCall(call), Delta::Arguments(more)) => call.arguments.push_str(&more),
        (
            Content::ToolCall(ToolCall { signature, .. }) | Content::Thinking { signature, .. },
            Delta::Signature(given),
        ) => {
            assert!(signature.replace(given).is_none());
        }
        (content, delta) => panic!("{delta:?} for {content:?}"),
    }
}

fn write_stream(events: Vec<Event>, asked: Asked) -> Vec<u8> {
    let mut writer = stream::Writer::new(asked);
    let mut out = Vec::new();
    events.into_iter().for_each(|event| writer.write(event, &mut out));
    out
}

#[test]
fn a_stream_says_what_the_whole_answer_says() {
    let mut differences = Differences::default();
    for (name, folder) in scenarios() {
        let Some(whole) = json_of(folder.join("response.json")) else { continue };
        let mut whole = answer::read(whole).unwrap();
        whole.created_at_s = None;
        let mut streamed = fold(events(&fs::read(folder.join("response.sse")).unwrap()));
        // A server may leave it out of the chunks.
        streamed.service_tier = streamed.service_tier.or(whole.service_tier);
        differences.compare(&name, &streamed, &whole);
    }
    differences.assert_none();
}

#[test]
fn an_answer_that_is_written_is_read_as_what_it_was() {
    let mut differences = Differences::default();
    for (name, folder) in scenarios() {
        // Chat Completions has no word of its own for it.
        if name == "malformed_call" {
            continue;
        }
        let Some(whole) = json_of(folder.join("response.json")) else { continue };
        let whole = answer::read(whole).unwrap();
        let written = answer::write(whole.clone(), &asked());
        let mut read = answer::read(written).unwrap();
        read.service_tier = whole.service_tier;
        differences.compare(&name, &unmarked(read), &unmarked(whole.clone()));
        let stream = write_stream(events(&fs::read(folder.join("response.sse")).unwrap()), asked());
        let mut read = fold(events(&stream));
        read.created_at_s = whole.created_at_s;
        // One that OpenAI does not have is not written.
        read.service_tier = whole.service_tier;
        differences.compare(&format!("{name} as a stream"), &unmarked(read), &unmarked(whole));
    }
    differences.assert_none();
}

/// Thoughts that Mistral told as pieces of content need no mark in a conversation of Chat Completions.
fn unmarked(mut answer: Answer) -> Answer {
    for part in answer.choices.iter_mut().flat_map(|choice| &mut choice.parts) {
        if let Content::Thinking { signature, .. } = &mut part.content {
            *signature = signature.take().filter(|signature| signature.text != r#"{"type":"thinking"}"#);
        }
    }
    answer
}

#[test]
fn the_observer_says_what_the_turn_says_of_both_forms() {
    for (name, folder) in scenarios() {
        let turn = json_of(folder.join("turn.json")).unwrap();
        let usage: Usage = serde_json::from_value(turn["usage"].clone()).unwrap();
        for (file, is_stream) in [("response.json", false), ("response.sse", true)] {
            let Ok(body) = fs::read(folder.join(file)) else { continue };
            let mut observer = Observer::new(Dialect::Openai, Operation::Chat, is_stream);
            body.chunks(7).for_each(|piece| observer.push(piece));
            let observed = observer.finish(true);
            assert_eq!(observed.usage, usage, "{name} {file}");
            assert_eq!(json!(observed.finish_reasons), turn["finish_reasons"], "{name} {file}");
            assert_eq!(json!(observed.model_served), turn["model_served"], "{name} {file}");
            assert_eq!(observed.error.is_some(), name.starts_with("late_error"), "{name} {file}");
        }
    }
}

#[test]
fn a_request_that_is_written_is_read_as_what_it_was() {
    let mut differences = Differences::default();
    for (name, folder) in scenarios() {
        let body = json_of(folder.join("request.json")).unwrap();
        // A request alone is there for what becomes of it elsewhere.
        if !folder.join("response.sse").exists() {
            continue;
        }
        let mut request = request::read(body).unwrap();
        if request.web_search.is_some() {
            request.model = "gpt-5-search-api".to_owned();
        }
        let mut losses = Losses::new(Dialect::Openai, OnUnsupported::Refuse);
        let written = request::write(request.clone(), &mut losses).unwrap_or_else(|error| panic!("{name}: {error}"));
        let markers = request.system.iter().filter(|part| part.cache.is_some()).count();
        assert_eq!(losses.into_dropped().len(), request.hints.len() + markers, "{name}");
        differences.compare(&name, &meaning(request::read(written).unwrap()), &meaning(request));
    }
    differences.assert_none();
}

/// A request without the places where it was said, and without what is no part of its meaning.
fn meaning(mut request: Request) -> Vec<String> {
    request.hints.clear();
    request.others.sort_by(|one, other| one.at.cmp(&other.at));
    let messages = request.messages.iter_mut().flat_map(|message| &mut message.parts);
    request.system.iter_mut().chain(messages).for_each(|part| part.cache = None);
    // To ask for much thinking is to ask for thinking.
    if let Some(reasoning) = &mut request.reasoning {
        reasoning.value.enabled = None;
    }
    let text = format!("{request:#?}");
    text.lines().filter(|line| !line.trim_start().starts_with("at: ")).map(str::to_owned).collect()
}

/// Lists every scenario that differs, and not just the first.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn compare<T: PartialEq + std::fmt::Debug>(&mut self, name: &str, found: &T, expected: &T) {
        if found != expected {
            self.0.push(format!("{name}\n  found    {found:?}\n  expected {expected:?}\n"));
        }
    }

    fn assert_none(self) {
        assert!(self.0.is_empty(), "{}", self.0.concat());
    }
}

#[test]
fn a_transcript_holds_the_question_and_the_answer() {
    for (name, folder) in scenarios() {
        let request = fs::read(folder.join("request.json")).unwrap();
        for file in ["response.json", "response.sse"] {
            let Ok(response) = fs::read(folder.join(file)) else { continue };
            let turns = transcript::messages(&request, &response);
            assert!(turns.iter().any(|turn| turn.role == "user" && !turn.content.is_empty()), "{name}");
            let is_answered = turns.last().is_some_and(|turn| turn.role == "assistant");
            let has_words = !["empty", "malformed_call", "late_error_first"].contains(&name.as_str());
            assert_eq!(is_answered, has_words, "{name} {file} {turns:?}");
        }
    }
}

#[test]
fn an_error_ends_the_stream_and_reaches_the_caller() {
    let (_, folder) = scenarios().into_iter().find(|(name, _)| name == "late_error").unwrap();
    let read = events(&fs::read(folder.join("response.sse")).unwrap());
    let Some(Event::Error(error)) = read.last() else { panic!("{read:?}") };
    assert_eq!(error.code.as_deref(), Some("server_is_overloaded"));
    let written = String::from_utf8(write_stream(read, asked())).unwrap();
    assert!(!written.contains("[DONE]"));
    assert!(written.ends_with(
        "data: {\"error\":{\"message\":\"The server is currently overloaded. Please try again later.\",\
         \"type\":\"service_unavailable_error\",\"param\":null,\"code\":\"server_is_overloaded\"}}\n\n"
    ));
    for body in [
        "data: {\"error\":\"boom\"}\n\n",
        "event: error\ndata: {\"message\":\"boom\"}\n\n",
        "data: {\"object\":\"error\",\"message\":\"boom\",\"code\":400}\n\n",
        "data: {\"id\":\"c\",\"choices\":[],\"x_groq\":{\"error\":\"boom\"}}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"error\",\"error\":{\"message\":\"boom\"}}]}\n\n",
    ] {
        let read = events(body.as_bytes());
        assert!(
            matches!(&read[..], [Event::Error(StreamError { message, .. })] if message == "boom"),
            "{body} {read:?}"
        );
    }
}

#[test]
fn a_stream_has_the_role_first_and_the_usage_only_if_asked_for() {
    let events = || {
        chunks(&[
            delta(json!({"content": "Hi"})),
            finish("stop"),
            json!({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}),
        ])
    };
    let head = r#""id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":"#;
    let choice = |delta: &str, reason: &str| {
        format!(r#"[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{reason}}}]"#)
    };
    let role = choice(r#"{"role":"assistant","content":"","refusal":null}"#, "null");
    let text = choice(r#"{"content":"Hi"}"#, "null");
    let stop = choice("{}", r#""stop""#);
    let unasked = Asked { include_usage: false, ..asked() };
    let lines = [&role, &text, &stop].map(|choices| format!("data: {{{head}{choices}}}\n\n"));
    let written = String::from_utf8(write_stream(events(), unasked)).unwrap();
    assert_eq!(written, format!("{}data: [DONE]\n\n", lines.concat()));
    let usage = r#"{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}"#;
    let lines = [&role, &text, &stop].map(|choices| format!("data: {{{head}{choices},\"usage\":null}}\n\n"));
    let written = String::from_utf8(write_stream(events(), asked())).unwrap();
    assert_eq!(written, format!("{}data: {{{head}[],\"usage\":{usage}}}\n\ndata: [DONE]\n\n", lines.concat()));
}

#[test]
fn a_stream_is_whole_with_a_reason_or_with_a_terminator() {
    let line = |chunk: Value| format!("data: {chunk}\n\n");
    let text = line(delta(json!({"content": "Hi"})));
    let reason = events(format!("{text}{}", line(finish("length"))).as_bytes());
    assert_eq!(fold(reason).choices[0].stop, Some(Stop::Length));
    let done = events(format!("{text}data: [DONE]\n\n").as_bytes());
    assert_eq!(fold(done).choices[0].stop, Some(Stop::End));
    let neither = events(text.as_bytes());
    assert!(!neither.iter().any(|event| matches!(event, Event::Stop { .. } | Event::End)), "{neither:?}");
    let call = json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]});
    assert_eq!(fold(chunks(&[delta(call), finish("stop")])).choices[0].stop, Some(Stop::ToolUse));
}

#[test]
fn calls_are_told_apart_with_and_without_numbers() {
    let call = |index: Option<u64>, id: Option<&str>, name: Option<&str>, arguments: &str| {
        let mut call = json!({"function": {"name": name, "arguments": arguments}, "id": id});
        if let Some(index) = index {
            call["index"] = index.into();
        }
        delta(json!({"tool_calls": [call]}))
    };
    let expected = [("f", r#"{"a":1}"#), ("g", r#"{"b":2}"#)];
    let ways = [
        // OpenAI's.
        vec![
            call(Some(0), Some("x"), Some("f"), ""),
            call(Some(0), None, None, r#"{"a":"#),
            call(Some(0), None, None, "1}"),
            call(Some(1), Some("y"), Some("g"), r#"{"b":"#),
            call(Some(1), None, None, "2}"),
        ],
        // Taking turns.
        vec![
            call(Some(0), Some("x"), Some("f"), r#"{"a":"#),
            call(Some(1), Some("y"), Some("g"), r#"{"b":"#),
            call(Some(0), None, None, "1}"),
            call(Some(1), None, None, "2}"),
        ],
        // All of them zero.
        vec![call(Some(0), Some("x"), Some("f"), r#"{"a":1}"#), call(Some(0), Some("y"), Some("g"), r#"{"b":2}"#)],
        // Neither numbers nor ids.
        vec![
            call(None, None, Some("f"), r#"{"a":"#),
            call(None, None, None, "1}"),
            call(None, None, Some("g"), r#"{"b":2}"#),
        ],
    ];
    for mut way in ways {
        way.push(finish("tool_calls"));
        let answer = fold(chunks(&way));
        let calls: Vec<_> = answer.choices[0].parts.iter().collect();
        assert_eq!(calls.len(), 2, "{way:?}");
        for (part, (name, arguments)) in calls.into_iter().zip(expected) {
            let Content::ToolCall(call) = &part.content else { panic!("{part:?}") };
            assert_eq!((call.name.as_str(), call.arguments.as_str()), (name, arguments), "{way:?}");
        }
    }
}

#[test]
fn another_providers_signature_travels_and_comes_back() {
    let signature = Signature { of: Dialect::Anthropic, text: "EqQB==".to_owned() };
    let thought = Content::Thinking { text: "Hm.".to_owned(), signature: Some(signature.clone()) };
    let hidden = Content::Redacted(Signature { of: Dialect::Anthropic, text: "Zm9v".to_owned() });
    let gemini = Signature { of: Dialect::Gemini, text: "CiQ=".to_owned() };
    let call =
        ToolCall { id: "c1".to_owned(), name: "f".to_owned(), arguments: "{}".to_owned(), signature: Some(gemini) };
    let contents = [thought, hidden, Content::ToolCall(call)];
    let parts: Vec<_> = contents.iter().map(|content| Part::new(content.clone(), "")).collect();
    let choice = Choice { parts, stop: Some(Stop::ToolUse), logprobs: Vec::new() };
    let written = answer::write(Answer { choices: vec![choice], ..Answer::default() }, &asked());
    let message = &written["choices"][0]["message"];
    assert_eq!(message["reasoning_content"], "Hm.");
    assert_eq!(
        message["reasoning_details"],
        json!([
            {"type": "reasoning.text", "text": "Hm.", "signature": "tollgate:anthropic:EqQB==", "format": "unknown", "index": 0},
            {"type": "reasoning.encrypted", "data": "tollgate:anthropic:Zm9v", "format": "unknown", "index": 1},
        ])
    );
    assert_eq!(message["tool_calls"][0]["extra_content"]["google"]["thought_signature"], "tollgate:gemini:CiQ=");
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}, message]});
    let read = request::read(body).unwrap();
    let read: Vec<_> = read.messages[1].parts.iter().map(|part| part.content.clone()).collect();
    assert_eq!(read, contents);
}

#[test]
fn the_same_signature_travels_in_a_stream() {
    let signature = Signature { of: Dialect::Anthropic, text: "EqQB==".to_owned() };
    let begun = Content::Thinking { text: String::new(), signature: None };
    let piece = |delta| Event::Continue { choice: 0, part: 0, delta };
    let stream = write_stream(
        vec![
            Event::Begin { id: None, model: String::new(), usage: None },
            Event::BeginPart { choice: 0, part: 0, content: begun },
            piece(Delta::Thinking("H".to_owned())),
            piece(Delta::Thinking("m.".to_owned())),
            piece(Delta::Signature(signature.clone())),
            Event::EndPart { choice: 0, part: 0 },
            Event::Stop { choice: 0, stop: Stop::End },
            Event::End,
        ],
        asked(),
    );
    let answer = fold(events(&stream));
    let expected = Content::Thinking { text: "Hm.".to_owned(), signature: Some(signature) };
    assert_eq!(answer.choices[0].parts, [Part::new(expected, "")]);
    assert_eq!((answer.id.as_deref(), answer.model.as_str()), (Some("chatcmpl-7"), "m"));
}

#[test]
fn a_cited_page_has_a_place_in_the_answer_and_a_document_is_not_made_one() {
    let cited = Citation {
        url: Some("https://example.com/facts".to_owned()),
        title: Some("Facts".to_owned()),
        quote: Some("The sky is blue.".to_owned()),
        span: None,
        document: None,
    };
    // There is no annotation without an address, and none is invented.
    let document = Some(CitedDocument { index: 0, place: CitedPlace::Chars(20, 36) });
    let in_document = Citation { url: None, document, ..cited.clone() };
    let citations = vec![in_document.clone(), cited.clone()];
    let parts = [Content::text("Über: "), Content::Text { text: "Blue.".to_owned(), citations: citations.clone() }];
    let expected = json!([{"type": "url_citation", "url_citation":
        {"url": "https://example.com/facts", "title": "Facts", "start_index": 6, "end_index": 11, "content": "The sky is blue."}}]);
    let whole = parts.iter().map(|content| Part::new(content.clone(), "")).collect();
    let choice = Choice { parts: whole, stop: None, logprobs: Vec::new() };
    let written = answer::write(Answer { choices: vec![choice], ..Answer::default() }, &asked());
    assert_eq!(written["choices"][0]["message"]["annotations"], expected);
    let mut events = vec![Event::Begin { id: None, model: String::new(), usage: None }];
    for (part, text) in ["Über: ", "Blue."].into_iter().enumerate() {
        let piece = |delta| Event::Continue { choice: 0, part, delta };
        events.push(Event::BeginPart { choice: 0, part, content: Content::text("") });
        if part == 1 {
            events.extend(citations.iter().map(|cited| piece(Delta::Citation(cited.clone()))));
        }
        events.push(piece(Delta::Text(text.to_owned())));
        events.push(Event::EndPart { choice: 0, part });
    }
    events.push(Event::Stop { choice: 0, stop: Stop::End });
    let stream = String::from_utf8(write_stream(events, asked())).unwrap();
    let last = stream.trim_end().rsplit("data: ").nth(1).unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["choices"][0]["delta"]["annotations"], expected);
}

#[test]
fn sources_told_before_their_text_are_its_own() {
    let annotation = json!({"type": "url_citation", "url_citation": {"url": "https://example.com/a", "title": "A"}});
    let stream = [delta(json!({"annotations": [annotation]})), delta(json!({"content": "Yes."})), finish("stop")];
    let answer = fold(chunks(&stream));
    let Content::Text { citations, .. } = &answer.choices[0].parts[0].content else { panic!("{answer:?}") };
    assert_eq!(citations[0].url.as_deref(), Some("https://example.com/a"));
}

#[test]
fn the_tier_stands_in_every_chunk_once_it_is_known() {
    let stream = write_stream(
        vec![
            Event::Begin { id: None, model: String::new(), usage: None },
            Event::ServiceTier(Tier::Priority),
            Event::BeginPart { choice: 0, part: 0, content: Content::text("Hi") },
            Event::EndPart { choice: 0, part: 0 },
            Event::Stop { choice: 0, stop: Stop::End },
            Event::Usage(Usage { input_tokens: Some(1), output_tokens: Some(1), ..Usage::default() }),
            Event::End,
        ],
        asked(),
    );
    let stream = String::from_utf8(stream).unwrap();
    let chunks: Vec<&str> = stream.lines().filter(|line| line.starts_with("data: {")).collect();
    assert_eq!(chunks.len(), 4, "{stream}");
    assert!(chunks.iter().all(|chunk| chunk.contains(r#""service_tier":"priority""#)), "{stream}");
}

#[test]
fn an_ending_that_is_none_does_not_look_like_one() {
    let cases = [
        ("eos_token", Stop::End, "stop"),
        ("function_call_filter: MALFORMED_FUNCTION_CALL", Stop::MalformedCall, "content_filter"),
        ("error", Stop::MalformedAnswer, "content_filter"),
        ("insufficient_system_resource", Stop::Other("insufficient_system_resource".to_owned()), "length"),
    ];
    for (word, stop, written) in cases {
        let whole = json!({"choices": [{"index": 0, "message": {"content": ""}, "finish_reason": word}]});
        let read = answer::read(whole).unwrap();
        assert_eq!(read.choices[0].stop, Some(stop), "{word}");
        assert_eq!(answer::write(read, &asked())["choices"][0]["finish_reason"], written, "{word}");
    }
}

#[test]
fn sources_beside_the_choices_are_citations() {
    let sources = json!({"citations": ["https://example.com/a"]});
    let mut whole = json!({"choices": [{"index": 0, "message": {"content": "Yes."}, "finish_reason": "stop"}]});
    whole["citations"] = sources["citations"].clone();
    let mut text = delta(json!({"content": "Yes."}));
    text["citations"] = sources["citations"].clone();
    for answer in [answer::read(whole).unwrap(), fold(chunks(&[text, finish("stop")]))] {
        let Content::Text { citations, .. } = &answer.choices[0].parts[0].content else { panic!("{answer:?}") };
        assert_eq!(citations[0].url.as_deref(), Some("https://example.com/a"));
    }
}

#[test]
fn no_json_brings_a_reader_down() {
    let seeds = [json!(null), json!(1), json!("x"), json!([]), json!({}), json!([{}]), json!([null]), json!({"x": 1})];
    let whole = ["choices", "usage", "message", "delta", "content", "tool_calls", "function", "audio", "logprobs"];
    for seed in &seeds {
        let _ = answer::read(seed.clone());
        let _ = request::read(seed.clone());
        for name in whole {
            let _ = answer::read(json!({ "choices": [{ "message": { name: seed }, name: seed }], name: seed }));
            events(format!("data: {}\n\n", json!({ "choices": [{ "delta": { name: seed } , name: seed}] })).as_bytes());
        }
        for role in ["system", "user", "assistant", "tool"] {
            for name in ["content", "tool_calls", "reasoning_details", "audio", "name", "function_call"] {
                let message = json!({ "role": role, "tool_call_id": "a", name: seed });
                let _ =
                    request::read(json!({ "model": "m", "messages": [message, seed], "tools": seed, "stop": seed }));
            }
        }
    }
}

/// The official client's accumulator raises an error otherwise, and wants a `function` in every piece of a call of one.
#[test]
fn items_of_lists_that_grow_have_an_index() {
    for (name, folder) in scenarios() {
        let Ok(stream) = fs::read(folder.join("response.sse")) else { continue };
        let stream = write_stream(events(&stream), asked());
        let stream = String::from_utf8(stream).unwrap();
        let mut annotated = 0;
        for chunk in stream.lines().filter_map(|line| line.strip_prefix("data: {")) {
            let chunk: Value = serde_json::from_str(&format!("{{{chunk}")).unwrap();
            let delta = &chunk["choices"][0]["delta"];
            for list in ["tool_calls", "reasoning_details", "images"] {
                for item in delta[list].as_array().into_iter().flatten() {
                    let is_call = item["function"].is_object() || item["custom"].is_object();
                    assert!(item["index"].is_u64() && (list != "tool_calls" || is_call), "{name}");
                }
            }
            annotated += usize::from(delta["annotations"].is_array());
        }
        assert!(annotated <= 1, "{name}");
    }
}
