//! Reads `systemInstruction` and `contents`. Google links a call with its result by order and by name; an `id` is optional,
//! and where there is none one is made up.
//! Sources: <https://ai.google.dev/api/caching#Content>, <https://ai.google.dev/gemini-api/docs/function-calling>,
//! <https://ai.google.dev/gemini-api/docs/thought-signatures> (2026-11-26).

use std::collections::{HashMap, VecDeque};

use serde_json::{Map, Value};
use tollgate_interaction::Dialect;

use super::media;
use crate::chat::{Content, Message, Part, Request, Role, Said, Signature, ToolCall, ToolResult};
use crate::dialect::RequestError;
use crate::dialect::gemini::proto::Proto;
use crate::dialect::gemini::{native_kind, read_signature};

pub(super) fn read(body: &mut Proto, request: &mut Request) -> Result<(), RequestError> {
    let mut reader = Reader { request, calls: Calls::default() };
    if let Some(system) = body.said("systemInstruction") {
        reader.request.system = match system.value {
            Value::String(text) => vec![Part::new(Content::text(text), system.at)],
            // Whatever role it names says nothing.
            value => reader.content(value, &system.at)?.1,
        };
    }
    let Some(Said { value: contents, at }) = body.items("contents") else {
        return Err(RequestError::Malformed { field: "contents".to_owned(), expected: "send an array of contents" });
    };
    for (index, content) in contents.into_iter().enumerate() {
        let (role, parts) = reader.content(content, &format!("{at}[{index}]"))?;
        let role = read_role(role)?;
        if !parts.is_empty() {
            reader.request.messages.push(Message { role, parts, name: None });
        }
    }
    Ok(())
}

/// Results of functions once had a role of their own.
fn read_role(role: Option<Said<String>>) -> Result<Role, RequestError> {
    let Some(Said { value, at }) = role else { return Ok(Role::User) };
    match value.as_str() {
        "model" => Ok(Role::Assistant),
        "user" | "function" | "tool" | "" => Ok(Role::User),
        _ => Err(RequestError::Malformed { field: at, expected: "say `user` or `model`" }),
    }
}

/// The calls that were read, for their results to be linked with. Each is found without looking at all the others.
#[derive(Default)]
struct Calls {
    ids: Vec<String>,
    is_answered: Vec<bool>,
    /// The first of each id.
    by_id: HashMap<String, usize>,
    /// Those of each function, the oldest first; answered ones among them are passed over.
    by_name: HashMap<String, VecDeque<usize>>,
    /// None before this one is open.
    oldest: usize,
}

impl Calls {
    fn note(&mut self, id: &str, name: &str) {
        let at = self.ids.len();
        self.ids.push(id.to_owned());
        self.is_answered.push(false);
        self.by_id.entry(id.to_owned()).or_insert(at);
        self.by_name.entry(name.to_owned()).or_default().push_back(at);
    }

    fn answer(&mut self, id: &str) {
        if let Some(at) = self.by_id.get(id) {
            self.is_answered[*at] = true;
        }
    }

    /// Takes the oldest open call of a function, or else the oldest open one, for answered.
    fn answer_oldest(&mut self, name: Option<&str>) -> Option<&str> {
        let Calls { is_answered, by_name, .. } = self;
        let of_name = name.and_then(|name| by_name.get_mut(name)).and_then(|queue| {
            while queue.front().is_some_and(|at| is_answered[*at]) {
                queue.pop_front();
            }
            queue.pop_front()
        });
        while self.is_answered.get(self.oldest).copied().unwrap_or(false) {
            self.oldest += 1;
        }
        let at = of_name.unwrap_or(self.oldest);
        *self.is_answered.get_mut(at)? = true;
        self.ids.get(at).map(String::as_str)
    }
}

struct Reader<'a> {
    request: &'a mut Request,
    calls: Calls,
}

impl Reader<'_> {
    /// Reads one content: its role, if it has one, and its parts.
    fn content(&mut self, content: Value, at: &str) -> Result<(Option<Said<String>>, Vec<Part>), RequestError> {
        let mut content = Proto::of(content, at)?;
        let role = content.text("role")?;
        let mut parts = Vec::new();
        if let Some(items) = content.items("parts") {
            for (index, part) in items.value.into_iter().enumerate() {
                self.part(part, format!("{}[{index}]", items.at), &mut parts)?;
            }
        }
        self.request.others.extend(content.rest());
        Ok((role, parts))
    }

    fn part(&mut self, part: Value, at: String, parts: &mut Vec<Part>) -> Result<(), RequestError> {
        if let Some(kind) = native_kind(&part) {
            let content = Content::Native { dialect: Dialect::Gemini, kind: kind.to_owned(), value: part };
            parts.push(Part::new(content, at));
            return Ok(());
        }
        let mut part = Proto::of(part, at.as_str())?;
        let signature = part.text("thoughtSignature")?.map(|said| read_signature(said.value));
        let thought = part.flag("thought")?.is_some_and(|said| said.value);
        if let Some(call) = part.message("functionCall")? {
            let call = self.call(call, signature)?;
            parts.push(Part::new(Content::ToolCall(call), at));
        } else if let Some(response) = part.message("functionResponse")? {
            let result = self.result(response)?;
            parts.push(Part::new(Content::ToolResult(result), at));
        } else if let Some(content) = media::take(&mut part, self.request)? {
            parts.push(Part::new(content, at.clone()));
            add_words(parts, at, String::new(), false, signature);
        } else {
            let text = part.text("text")?.map(|said| said.value).unwrap_or_default();
            add_words(parts, at, text, thought, signature);
        }
        // A label of the caller's, which Google does not read.
        self.request.hints.extend(part.said("partMetadata"));
        self.request.others.extend(part.rest());
        Ok(())
    }

    fn call(&mut self, mut call: Proto, signature: Option<Signature>) -> Result<ToolCall, RequestError> {
        let missing = || RequestError::Malformed {
            field: format!("{}.name", call.at()),
            expected: "it is missing: name the function",
        };
        let missing = missing();
        let name = call.text("name")?.ok_or(missing)?.value;
        let made_up = format!("call_{}", self.calls.ids.len());
        let id = call.text("id")?.map(|said| said.value).filter(|id| !id.is_empty()).unwrap_or(made_up);
        let arguments = match call.said("args") {
            Some(Said { value: args @ Value::Object(_), .. }) => args.to_string(),
            Some(Said { at, .. }) => return Err(RequestError::Malformed { field: at, expected: "send an object" }),
            None => "{}".to_owned(),
        };
        self.request.others.extend(call.rest());
        self.calls.note(&id, &name);
        let signature = signature.filter(|signature| signature.text != super::FOREIGN_CALL);
        Ok(ToolCall { id, name, arguments, signature })
    }

    fn result(&mut self, mut response: Proto) -> Result<ToolResult, RequestError> {
        let name = response.text("name")?.map(|said| said.value).filter(|name| !name.is_empty());
        let given = response.text("id")?.map(|said| said.value).filter(|id| !id.is_empty());
        let id = self.answered(given, name.as_deref());
        let at = response.at().to_owned();
        let mut parts = Vec::new();
        let mut is_error = None;
        if let Some(Said { value, at }) = response.said("response") {
            let Value::Object(answer) = value else {
                return Err(RequestError::Malformed { field: at, expected: "send an object" });
            };
            let (text, failed) = answer_text(answer);
            is_error = failed.then_some(true);
            parts.push(Part::new(Content::text(text), at));
        }
        if let Some(items) = response.items("parts") {
            for (index, item) in items.value.into_iter().enumerate() {
                let at = format!("{}[{index}]", items.at);
                let mut item = Proto::of(item, at.as_str())?;
                parts.extend(media::take(&mut item, self.request)?.map(|content| Part::new(content, at)));
                self.request.others.extend(item.rest());
            }
        }
        if parts.is_empty() {
            parts.push(Part::new(Content::text(""), at));
        }
        self.request.others.extend(response.rest());
        Ok(ToolResult { id, name, parts, is_error })
    }

    /// The id of the call that a result answers: the one it names, else that of the oldest open call of its function,
    /// else that of the oldest open one.
    fn answered(&mut self, given: Option<String>, name: Option<&str>) -> String {
        if let Some(id) = given {
            self.calls.answer(&id);
            return id;
        }
        let found = self.calls.answer_oldest(name).map(str::to_owned);
        // A result of nothing: what comes of it is the provider's to say.
        found.unwrap_or_else(|| format!("call_{}", self.calls.ids.len()))
    }
}

/// The text of a function's answer and whether it is an error. `output` and `error` are Google's own words for the two,
/// `result` its client's; an answer that says more than one of them is told whole.
fn answer_text(mut answer: Map<String, Value>) -> (String, bool) {
    if answer.len() == 1 {
        for (word, failed) in [("error", true), ("output", false), ("result", false)] {
            match answer.remove(word) {
                Some(Value::String(text)) => return (text, failed),
                Some(value) => return (value.to_string(), failed),
                None => {}
            }
        }
    }
    (Value::Object(answer).to_string(), false)
}

/// Adds text or thoughts and their signature. A client that kept a stream sends each piece of a thought as a part of its
/// own, and the signature with the last, so thoughts that follow each other unsigned are one. The signature of text stands
/// behind it, as it does in a stream.
fn add_words(parts: &mut Vec<Part>, at: String, text: String, thought: bool, signature: Option<Signature>) {
    if thought {
        let last = parts.last_mut().map(|part| &mut part.content);
        if let Some(Content::Thinking { text: before, signature: unsigned @ None }) = last {
            before.push_str(&text);
            *unsigned = signature;
        } else if !text.is_empty() || signature.is_some() {
            parts.push(Part::new(Content::Thinking { text, signature }, at));
        }
        return;
    }
    if !text.is_empty() {
        parts.push(Part::new(Content::text(text), at.clone()));
    }
    let Some(signature) = signature else { return };
    // Another provider's thoughts are always marked as thoughts when they are told: without the mark they are encrypted.
    let content = match signature.of {
        Dialect::Gemini => Content::Thinking { text: String::new(), signature: Some(signature) },
        _ => Content::Redacted(signature),
    };
    parts.push(Part::new(content, at));
}
