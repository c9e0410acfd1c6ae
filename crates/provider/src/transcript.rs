//! The conversation in a call, as text for search and display: who said what, best effort, from the raw bytes of both
//! bodies and nothing else, so that whoever has the bytes has the conversation: it is derived when it is read and stored
//! nowhere. It runs behind the request path and may build trees. What it cannot read it leaves out.

mod media;
mod realtime;
mod responses;

use std::borrow::Cow;

use crate::dialect::bedrock::invoke;
use crate::eventstream;
use crate::scan::Tree;
use crate::sse::Decoder;
use serde::{Deserialize, Serialize};

/// One turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool`, or as the caller wrote it.
    pub role: String,
    /// Its text. Tool calls read `name(arguments)`; what is not text is named in brackets, with what is known of it.
    pub content: String,
}

/// The turns of one logged call, as (role, text).
#[must_use]
pub fn of_call(request: &[u8], response: &[u8]) -> Vec<(String, String)> {
    messages(request, response).into_iter().map(|message| (message.role, message.content)).collect()
}

/// The turns of a request followed by the answer. The dialect is told from the shape of the bodies.
#[must_use]
pub fn messages(request: &[u8], response: &[u8]) -> Vec<Message> {
    let mut turns = Turns::default();
    if let Ok(request) = Tree::read(request) {
        asked(&mut turns, &request);
    }
    if realtime::is_record(response) {
        realtime::read(&mut turns, response);
        return turns.0;
    }
    match Tree::read(response) {
        Ok(response) => answered(&mut turns, &response),
        Err(_) => streamed(&mut turns, response),
    }
    turns.0
}

#[derive(Default)]
struct Turns(Vec<Message>);

impl Turns {
    fn add(&mut self, role: &str, content: String) {
        if !content.is_empty() {
            self.0.push(Message { role: role.to_owned(), content });
        }
    }
}

fn text<'a>(value: &Tree<'a>, field: &str) -> Cow<'a, str> {
    value.get(field).and_then(Tree::text).unwrap_or_default()
}

fn array<'t, 'a>(value: &'t Tree<'a>, field: &str) -> &'t [Tree<'a>] {
    value.get(field).and_then(Tree::items).unwrap_or_default()
}

fn asked(turns: &mut Turns, request: &Tree<'_>) {
    if let Some(system) = request.get("system") {
        turns.add("system", content_text(system));
    }
    for message in array(request, "messages") {
        let role = text(message, "role");
        turns.add(&role, message_text(message));
    }
    if let Some(instructions) = request.get("instructions") {
        turns.add("system", content_text(instructions));
    }
    asked_of_gemini(turns, request);
    // A text to go on with, what a picture is to show, or what texts are ranked by.
    for field in ["prompt", "query"] {
        turns.add("user", request.get(field).map(content_text).unwrap_or_default());
    }
    // A conversation of the Responses API, or texts to embed.
    let Some(input) = request.get("input") else { return };
    if let Some(input) = input.text() {
        turns.add("user", input.into_owned());
    }
    for input in input.items().unwrap_or_default() {
        match (input.text(), responses::asked_item(input)) {
            (Some(text), _) => turns.add("user", text.into_owned()),
            (None, Some((role, text))) => turns.add(&role, text),
            (None, None) => turns.add("user", "[tokens]".to_owned()),
        }
    }
}

/// Gemini's requests: the roles are brought to the names the other dialects have for them.
fn asked_of_gemini(turns: &mut Turns, request: &Tree<'_>) {
    if let Some(system) = either(request, "systemInstruction", "system_instruction") {
        turns.add("system", gemini_text(system));
    }
    let contents = request.get("contents");
    // A single one stands for a list of one.
    let single = contents.filter(|contents| contents.get("parts").is_some());
    for content in contents.and_then(Tree::items).unwrap_or_default().iter().chain(single) {
        let answers =
            array(content, "parts").iter().any(|part| either(part, "functionResponse", "function_response").is_some());
        let role = match text(content, "role").as_ref() {
            "model" => "assistant".to_owned(),
            _ if answers => "tool".to_owned(),
            "" => "user".to_owned(),
            role => role.to_owned(),
        };
        turns.add(&role, gemini_text(content));
    }
    // Texts to embed.
    let batch = array(request, "requests").iter().filter_map(|request| request.get("content"));
    request.get("content").into_iter().chain(batch).for_each(|content| turns.add("user", gemini_text(content)));
}

/// A field of a Protobuf message, which may be written either way.
fn either<'t, 'a>(value: &'t Tree<'a>, camel: &str, snake: &str) -> Option<&'t Tree<'a>> {
    value.get(camel).or_else(|| value.get(snake))
}

/// The parts of one of Gemini's contents, one per line.
fn gemini_text(content: &Tree<'_>) -> String {
    let parts = content.get("parts");
    let single = parts.filter(|parts| parts.items().is_none());
    joined(parts.and_then(Tree::items).unwrap_or_default().iter().chain(single).map(gemini_part).collect())
}

fn gemini_part(part: &Tree<'_>) -> String {
    if let Some(call) = either(part, "functionCall", "function_call") {
        return format!("{}({})", text(call, "name"), call.get("args").map_or_else(|| "{}".to_owned(), compact));
    }
    if let Some(answer) = either(part, "functionResponse", "function_response") {
        let Some(response) = answer.get("response") else { return String::new() };
        let told = ["output", "error", "result"].into_iter().find_map(|word| response.get(word)?.text());
        return told.map_or_else(|| compact(response), Cow::into_owned);
    }
    if let Some(code) = either(part, "executableCode", "executable_code") {
        return text(code, "code").into_owned();
    }
    if let Some(result) = either(part, "codeExecutionResult", "code_execution_result") {
        return text(result, "output").into_owned();
    }
    media::gemini(part).unwrap_or_else(|| text(part, "text").into_owned())
}

/// JSON without the white space that Google's whole answers are set in.
fn compact(value: &Tree<'_>) -> String {
    let raw = value.raw();
    serde_json::from_str::<serde_json::Value>(&raw).map_or_else(|_| raw.into_owned(), |value| value.to_string())
}

/// Whether a part only goes on with what the part before it began.
fn is_gemini_text(part: &Tree<'_>) -> Option<bool> {
    part.get("text")?;
    Some(part.get("thought").is_some_and(|thought| thought.raw() == "true"))
}

/// The answers of one of Gemini's bodies, added to those of the pieces before it.
fn read_candidates(pieces: &mut Vec<Candidate>, body: &Tree<'_>) {
    const MAX_CANDIDATES: usize = 128;
    for candidate in array(body, "candidates") {
        let index = index(candidate);
        if index >= MAX_CANDIDATES {
            continue;
        }
        if pieces.len() <= index {
            pieces.resize_with(index + 1, Candidate::default);
        }
        let Some(content) = candidate.get("content") else { continue };
        for part in array(content, "parts") {
            pieces[index].add(part);
        }
    }
    let feedback = either(body, "promptFeedback", "prompt_feedback");
    if let Some(message) = feedback.and_then(|feedback| either(feedback, "blockReasonMessage", "block_reason_message"))
    {
        pieces.push(Candidate { lines: vec![message.text().unwrap_or_default().into_owned()], kind: None });
    }
}

/// One of Gemini's answers: text that goes on stays on its line.
#[derive(Default)]
struct Candidate {
    lines: Vec<String>,
    kind: Option<bool>,
}

impl Candidate {
    fn add(&mut self, part: &Tree<'_>) {
        let (kind, text) = (is_gemini_text(part), gemini_part(part));
        match self.lines.last_mut().filter(|_| kind.is_some() && kind == self.kind) {
            Some(line) => line.push_str(&text),
            // What is empty only carries a signature.
            None if text.is_empty() => return,
            None => self.lines.push(text),
        }
        self.kind = kind;
    }
}

/// A message's content and tool calls, one per line.
fn message_text(message: &Tree<'_>) -> String {
    let mut lines = vec![thoughts_text(message)];
    for field in ["content", "refusal"] {
        lines.push(message.get(field).map(content_text).unwrap_or_default());
    }
    lines.extend(message.get("audio").map(|audio| text(audio, "transcript").into_owned()));
    for call in array(message, "tool_calls").iter().chain(message.get("function_call")) {
        let (name, arguments) = call_text(call);
        lines.extend((!name.is_empty()).then(|| format!("{name}({arguments})")));
    }
    joined(lines)
}

/// Thoughts in either of the fields that copies of Chat Completions have for them.
fn thoughts_text(message: &Tree<'_>) -> String {
    let thoughts = ["reasoning_content", "reasoning"].map(|field| text(message, field));
    let [content, reasoning] = thoughts;
    if content.is_empty() { reasoning.into_owned() } else { content.into_owned() }
}

/// Name and arguments of a call, or the text that a custom tool is given.
fn call_text<'a>(call: &Tree<'a>) -> (Cow<'a, str>, Cow<'a, str>) {
    let function = call.get("function").or_else(|| call.get("custom")).unwrap_or(call);
    let arguments = text(function, "arguments");
    (text(function, "name"), if arguments.is_empty() { text(function, "input") } else { arguments })
}

fn joined(mut lines: Vec<String>) -> String {
    lines.retain(|line| !line.is_empty());
    lines.join("\n")
}

/// Content as a text or as parts, in either dialect.
fn content_text(content: &Tree<'_>) -> String {
    match (content.text(), content.items()) {
        (Some(text), _) => text.into_owned(),
        (None, Some(parts)) => joined(parts.iter().map(part_text).collect()),
        (None, None) => String::new(),
    }
}

fn part_text(part: &Tree<'_>) -> String {
    match text(part, "type").as_ref() {
        "text" | "input_text" | "output_text" => text(part, "text").into_owned(),
        "thinking" => part.get("thinking").map(content_text).unwrap_or_default(),
        "refusal" => text(part, "refusal").into_owned(),
        "tool_use" | "server_tool_use" => {
            let input = part.get("input").map(Tree::raw).unwrap_or_default();
            format!("{}({input})", text(part, "name"))
        }
        "tool_result" => part.get("content").map(content_text).unwrap_or_default(),
        "" => part.text().map_or_else(|| block_text(part), Cow::into_owned),
        other => media::part(other, part).unwrap_or_else(|| format!("[{other}]")),
    }
}

/// A block of Bedrock's, which says what it is by the name of its field.
fn block_text(block: &Tree<'_>) -> String {
    if let Some(text) = block.get("text").and_then(Tree::text) {
        return text.into_owned();
    }
    if let Some(call) = block.get("toolUse") {
        return format!("{}({})", text(call, "name"), call.get("input").map(Tree::raw).unwrap_or_default());
    }
    if let Some(json) = block.get("json") {
        return json.raw().into_owned();
    }
    let inner = ["toolResult", "citationsContent"].into_iter().find_map(|name| block.get(name)?.get("content"));
    if let Some(content) = inner {
        return content_text(content);
    }
    if let Some(thoughts) = block.get("reasoningContent") {
        return thoughts.get("reasoningText").map(|thoughts| text(thoughts, "text")).unwrap_or_default().into_owned();
    }
    if let Some(media) = media::block(block) {
        return media;
    }
    let named = ["guardContent", "searchResult"];
    named.into_iter().find(|name| block.get(name).is_some()).map(|name| format!("[{name}]")).unwrap_or_default()
}

fn answered(turns: &mut Turns, response: &Tree<'_>) {
    for choice in array(response, "choices") {
        turns.add("assistant", choice.get("message").map(message_text).unwrap_or_default());
        turns.add("assistant", text(choice, "text").into_owned());
    }
    // What was heard in a recording.
    turns.add("assistant", text(response, "text").into_owned());
    turns.add("assistant", responses::answer(response));
    if let Some(message) = response.get("output").and_then(|output| output.get("message")) {
        turns.add("assistant", message_text(message));
    }
    if text(response, "type") == "message" {
        turns.add("assistant", response.get("content").map(content_text).unwrap_or_default());
    }
    let mut candidates = Vec::new();
    read_candidates(&mut candidates, response);
    // A stream of Gemini's that came as one array.
    for piece in response.items().unwrap_or_default() {
        read_candidates(&mut candidates, piece);
    }
    candidates.into_iter().for_each(|candidate| turns.add("assistant", joined(candidate.lines)));
}

/// Pieces of one choice or one content block, put together again.
#[derive(Default)]
struct Piece {
    text: String,
    calls: Vec<(String, String)>,
}

impl Piece {
    fn call(&mut self, index: usize) -> Option<&mut (String, String)> {
        const MAX_CALLS: usize = 1_024;
        if index >= MAX_CALLS {
            return None;
        }
        if self.calls.len() <= index {
            self.calls.resize(index + 1, Default::default());
        }
        self.calls.get_mut(index)
    }

    fn into_text(self) -> String {
        let calls = self.calls.into_iter().filter(|(name, _)| !name.is_empty());
        let calls = calls.map(|(name, arguments)| format!("{name}({arguments})"));
        joined(std::iter::once(self.text).chain(calls).collect())
    }
}

/// The first byte of a frame of Amazon's, which is never longer than 16 MiB in practice; of no text.
const FRAME: u8 = 0;

fn streamed(turns: &mut Turns, response: &[u8]) {
    if response.first() == Some(&FRAME) {
        let mut blocks = Pieces::default();
        eventstream::Decoder::default().push(response, |event| match event.name {
            b"chunk" => read_wrapped(&mut blocks, event.data),
            _ => read_frame(&mut blocks, &event),
        });
        return turns.add("assistant", joined(blocks.0.into_iter().map(Piece::into_text).collect()));
    }
    let (mut choices, mut blocks, mut items) = (Pieces::default(), Pieces::default(), Pieces::default());
    let mut candidates = Vec::new();
    let mut decoder = Decoder::default();
    let mut read = |event: crate::sse::Event<'_>| {
        let Ok(data) = Tree::read(event.data) else { return };
        read_chunk(&mut choices, &data);
        read_event(&mut blocks, &data);
        responses::read_event(&mut items, &data);
        read_candidates(&mut candidates, &data);
    };
    decoder.push(response, &mut read);
    decoder.finish(&mut read);
    // Each choice is an answer of its own; content blocks are parts of one answer.
    choices.0.into_iter().for_each(|piece| turns.add("assistant", piece.into_text()));
    turns.add("assistant", joined(blocks.0.into_iter().map(Piece::into_text).collect()));
    turns.add("assistant", joined(items.0.into_iter().map(Piece::into_text).collect()));
    candidates.into_iter().for_each(|candidate| turns.add("assistant", joined(candidate.lines)));
}

/// An event of a model's own in a frame of InvokeModel's.
fn read_wrapped(pieces: &mut Pieces, chunk: &[u8]) {
    let Some(event) = invoke::unwrapped(chunk) else { return };
    if let Ok(event) = Tree::read(&event) {
        read_event(pieces, &event);
    }
}

/// An event of a ConverseStream.
fn read_frame(pieces: &mut Pieces, event: &crate::sse::Event<'_>) {
    let Ok(data) = Tree::read(event.data) else { return };
    let number = data.get("contentBlockIndex").and_then(Tree::count);
    let Some(piece) = number.and_then(|number| pieces.nth(usize::try_from(number).ok()?)) else { return };
    let Some(said) = data.get("start").or(data.get("delta")) else { return };
    piece.text.push_str(&text(said, "text"));
    piece.text.push_str(&said.get("reasoningContent").map(|thoughts| text(thoughts, "text")).unwrap_or_default());
    if let (Some(part), Some(call)) = (said.get("toolUse"), piece.call(0)) {
        call.0.push_str(&text(part, "name"));
        call.1.push_str(&text(part, "input"));
    }
}

#[derive(Default)]
struct Pieces(Vec<Piece>);

impl Pieces {
    fn at(&mut self, value: &Tree<'_>) -> Option<&mut Piece> {
        self.nth(index(value))
    }

    fn nth(&mut self, index: usize) -> Option<&mut Piece> {
        const MAX_PIECES: usize = 4_096;
        if index >= MAX_PIECES {
            return None;
        }
        if self.0.len() <= index {
            self.0.resize_with(index + 1, Piece::default);
        }
        self.0.get_mut(index)
    }
}

fn index(value: &Tree<'_>) -> usize {
    value.get("index").and_then(Tree::count).and_then(|index| usize::try_from(index).ok()).unwrap_or(0)
}

fn read_chunk(pieces: &mut Pieces, chunk: &Tree<'_>) {
    for choice in array(chunk, "choices") {
        let Some(piece) = pieces.at(choice) else { continue };
        // Of a text that continues a text.
        piece.text.push_str(&text(choice, "text"));
        let Some(delta) = choice.get("delta") else { continue };
        piece.text.push_str(&thoughts_text(delta));
        for field in ["content", "refusal"] {
            piece.text.push_str(&delta.get(field).map(content_text).unwrap_or_default());
        }
        piece.text.push_str(&delta.get("audio").map(|audio| text(audio, "transcript")).unwrap_or_default());
        for part in array(delta, "tool_calls").iter().chain(delta.get("function_call")) {
            let Some(call) = piece.call(index(part)) else { continue };
            let (name, arguments) = call_text(part);
            call.0.push_str(&name);
            call.1.push_str(&arguments);
        }
    }
}

fn read_event(pieces: &mut Pieces, event: &Tree<'_>) {
    let kind = text(event, "type");
    if !kind.starts_with("content_block_") {
        return;
    }
    let Some(piece) = pieces.at(event) else { return };
    match kind.as_ref() {
        "content_block_start" => {
            let block = event.get("content_block").unwrap_or(event);
            piece.text.push_str(&text(block, "text"));
            let name = text(block, "name");
            if let Some(call) = piece.call(0).filter(|_| !name.is_empty()) {
                call.0.push_str(&name);
            }
        }
        "content_block_delta" => {
            let delta = event.get("delta").unwrap_or(event);
            piece.text.push_str(&text(delta, "text"));
            piece.text.push_str(&text(delta, "thinking"));
            if let Some(call) = piece.call(0) {
                call.1.push_str(&text(delta, "partial_json"));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(messages: Vec<Message>) -> Vec<String> {
        messages.into_iter().map(|Message { role, content }| format!("{role}: {content}")).collect()
    }

    #[test]
    fn a_conversation_with_tools_reads_as_text() {
        let request = br#"{"messages":[
            {"role":"system","content":"Be brief."},
            {"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image_url","image_url":{"url":"data:"}}]},
            {"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"look","arguments":"{\"at\":1}"}}]},
            {"role":"tool","tool_call_id":"1","content":"a cat"}]}"#;
        let response = br#"{"choices":[{"message":{"role":"assistant","content":"A cat."}}]}"#;
        let read = messages(request, response);
        assert_eq!(
            turns(read),
            [
                "system: Be brief.",
                "user: What is this?\n[image]",
                "assistant: look({\"at\":1})",
                "tool: a cat",
                "assistant: A cat."
            ]
        );
    }

    #[test]
    fn a_stream_is_put_together_again() {
        let response = b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
            data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Let me \"}}\n\n\
            data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"look.\"}}\n\n\
            data: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"look\",\"input\":{}}}\n\n\
            data: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"at\\\":1}\"}}\n\n\
            data: {\"type\":\"content_block_de";
        let request = br#"{"system":[{"type":"text","text":"Be brief."}],"messages":[{"role":"user","content":"Hi"}]}"#;
        let read = messages(request, response);
        assert_eq!(turns(read), ["system: Be brief.", "user: Hi", "assistant: Let me look.\nlook({\"at\":1})"]);
    }

    #[test]
    fn bedrocks_blocks_and_frames_are_read() {
        let request = br#"{"system":[{"text":"Be brief."},{"cachePoint":{"type":"default"}}],"messages":[
            {"role":"user","content":[{"image":{"format":"png","source":{"bytes":""}}},{"text":"What?"}]},
            {"role":"assistant","content":[{"toolUse":{"toolUseId":"1","name":"look","input":{"at":1}}}]},
            {"role":"user","content":[{"toolResult":{"toolUseId":"1","content":[{"text":"a cat"},{"json":{"n":2}}]}}]}]}"#;
        let response = br#"{"output":{"message":{"role":"assistant","content":[
            {"reasoningContent":{"reasoningText":{"text":"hm"}}},{"text":"A cat."}]}},"stopReason":"end_turn"}"#;
        let asked =
            ["system: Be brief.", "user: [image: png]\nWhat?", "assistant: look({\"at\":1})", "user: a cat\n{\"n\":2}"];
        let read = turns(messages(request, response));
        assert_eq!((&read[..4], read[4].as_str()), (asked.map(str::to_owned).as_slice(), "assistant: hm\nA cat."));
        let mut frames = Vec::new();
        let mut event = |name: &str, data: &str| eventstream::write_event(&mut frames, name, data.as_bytes());
        event("messageStart", r#"{"role":"assistant"}"#);
        event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"Let me "}}"#);
        event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"look."}}"#);
        event("contentBlockStart", r#"{"contentBlockIndex":1,"start":{"toolUse":{"toolUseId":"1","name":"look"}}}"#);
        event("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{\"at\":1}"}}}"#);
        assert_eq!(turns(messages(b"{}", &frames)), ["assistant: Let me look.\nlook({\"at\":1})"]);
    }

    #[test]
    fn what_is_no_conversation_reads_as_one_turn_or_two() {
        let read = |request: &str, response: &str| turns(messages(request.as_bytes(), response.as_bytes()));
        let completion = r#"{"choices":[{"text":" upon a time","index":0}]}"#;
        assert_eq!(read(r#"{"prompt":"Once"}"#, completion), ["user: Once", "assistant:  upon a time"]);
        let stream = "data: {\"choices\":[{\"text\":\" upon\"}]}\n\ndata: {\"choices\":[{\"text\":\" a time\"}]}\n\ndata: [DONE]\n\n";
        assert_eq!(read(r#"{"prompt":["Once"]}"#, stream), ["user: Once", "assistant:  upon a time"]);
        assert_eq!(read("--x", r#"{"text":"heard"}"#), ["assistant: heard"]);
        assert_eq!(read(r#"{"query":"Who?","documents":["a"]}"#, r#"{"results":[]}"#), ["user: Who?"]);
        let events = "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n";
        let frames = invoke::Wrapper::default().push(events.as_bytes());
        assert_eq!(turns(messages(b"{}", &frames)), ["assistant: Hi"]);
    }

    #[test]
    fn embeddings_keep_what_was_embedded() {
        let read = messages(br#"{"input":["a",[1,2]]}"#, b"{}");
        assert_eq!(turns(read), ["user: a", "user: [tokens]"]);
        let read = messages(br#"{"requests":[{"content":{"parts":[{"text":"b"}]}}]}"#, b"{}");
        assert_eq!(turns(read), ["user: b"]);
    }
}
