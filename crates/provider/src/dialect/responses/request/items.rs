//! Reads the conversation of a request: `instructions`, and `input` as a text or as items. The items of one turn of the
//! model's become one message; items that only this API has stay in their places as they stood.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tollgate_interaction::Dialect;

use super::super::content::{read_citation, read_data_url, read_thoughts};
use super::super::{answer, output};
use crate::chat::{CacheFor, Content, Message, Part, Request, Role, Said, Signature, Source, ToolCall, ToolResult};
use crate::dialect::RequestError;
use crate::translate::Fields;

/// Reads `instructions` and `input` into `request`. `stands_in` says that something the provider keeps can stand for an
/// absent `input`.
pub(super) fn read(fields: &mut Fields, stands_in: bool, request: &mut Request) -> Result<(), RequestError> {
    match fields.said("instructions") {
        Some(Said { value: Value::String(text), at }) => request.system.push(Part::new(Content::text(text), at)),
        Some(Said { at, .. }) => return Err(RequestError::Malformed { field: at, expected: "send a string" }),
        None => {}
    }
    let mut reader = Reader { request, names: HashMap::new(), loose: Vec::new(), answered: false };
    match fields.said("input") {
        Some(Said { value: Value::String(text), at }) => {
            reader.add(Role::User, vec![Part::new(Content::text(text), at)]);
        }
        Some(Said { value: Value::Array(items), .. }) => {
            for (index, item) in items.into_iter().enumerate() {
                reader.item(item, format!("input[{index}]"))?;
            }
        }
        None if stands_in => {}
        Some(_) | None => {
            let expected = "send a text or an array of items";
            return Err(RequestError::Malformed { field: "input".to_owned(), expected });
        }
    }
    reader.attach_loose();
    Ok(())
}

/// Reads items one after the other.
struct Reader<'r> {
    request: &'r mut Request,
    /// Names of the functions called, by the id of the call.
    names: HashMap<String, String>,
    /// Signatures of calls that stood in items of their own, each with that item's id and path.
    loose: Vec<(String, String, Signature)>,
    /// Whether the last message holds results of tools, which another joins.
    answered: bool,
}

impl Reader<'_> {
    fn item(&mut self, item: Value, at: String) -> Result<(), RequestError> {
        let kind = item.get("type").and_then(Value::as_str);
        let kind = match (kind, item.get("role").is_some(), item.get("id").is_some()) {
            (Some(kind), _, _) => kind.to_owned(),
            (None, true, _) => "message".to_owned(),
            (None, false, true) => "item_reference".to_owned(),
            (None, false, false) => {
                let expected = "send an item with a `type`, or a message with a `role`";
                return Err(RequestError::Malformed { field: at, expected });
            }
        };
        match kind.as_str() {
            "message" => self.message(Fields::of(item, at)?),
            "function_call" => self.call(Fields::of(item, at)?),
            "custom_tool_call" => self.custom_call(Fields::of(item, at)?),
            "function_call_output" | "custom_tool_call_output" => self.result(Fields::of(item, at)?),
            "image_generation_call" if item.get("result").is_some_and(Value::is_string) => self.picture(item, at),
            "reasoning" if item.as_object().is_some_and(answer::says_thoughts) => self.thoughts(item, at),
            _ => {
                let role = if belongs_to_user(&kind) { Role::User } else { Role::Assistant };
                let native = Content::Native { dialect: Dialect::Responses, kind, value: item };
                self.add(role, vec![Part::new(native, at)]);
                Ok(())
            }
        }
    }

    /// Adds what `role` says: to the turn before if it is the model's and goes on.
    fn add(&mut self, role: Role, parts: Vec<Part>) {
        if parts.is_empty() {
            return;
        }
        let answers = parts.iter().all(|part| matches!(part.content, Content::ToolResult(_)));
        let joins = role == Role::Assistant || (answers && self.answered);
        self.answered = answers;
        match self.request.messages.last_mut() {
            Some(last) if last.role == role && joins => last.parts.extend(parts),
            _ => self.request.messages.push(Message { role, parts, name: None }),
        }
    }

    fn message(&mut self, mut fields: Fields) -> Result<(), RequestError> {
        let at = fields.at().to_owned();
        let role = match fields.required_text("role")?.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" | "developer" => Role::System,
            _ => {
                let expected = "send `user`, `assistant`, `system` or `developer`";
                return Err(RequestError::Malformed { field: fields.path("role"), expected });
            }
        };
        // Given by the API to what it returns, and back to it.
        ["type", "id", "status"].iter().for_each(|name| drop(fields.take(name)));
        self.request.hints.extend(fields.said("phase"));
        let content = fields.said("content");
        let parts = self.content(content, &format!("{at}.content"))?;
        self.request.others.extend(fields.rest());
        if role == Role::System && self.request.messages.is_empty() {
            self.request.system.extend(parts);
        } else {
            self.add(role, parts);
        }
        Ok(())
    }

    /// Reads a text or an array of parts.
    fn content(&mut self, content: Option<Said<Value>>, at: &str) -> Result<Vec<Part>, RequestError> {
        match content.map(|said| said.value) {
            Some(Value::String(text)) => Ok(vec![Part::new(Content::text(text), at)]),
            Some(Value::Array(values)) => {
                let mut parts = Vec::with_capacity(values.len());
                for (index, value) in values.into_iter().enumerate() {
                    parts.extend(self.part(value, format!("{at}[{index}]"))?);
                }
                Ok(parts)
            }
            _ => Err(RequestError::Malformed { field: at.to_owned(), expected: "send a text or an array of parts" }),
        }
    }

    fn part(&mut self, value: Value, at: String) -> Result<Option<Part>, RequestError> {
        let known = ["input_text", "output_text", "text", "refusal", "input_image", "input_file", "input_audio"];
        let kind = value.get("type").and_then(Value::as_str).map(str::to_owned);
        let Some(kind) = kind else {
            return Err(RequestError::Malformed { field: at, expected: "send a part with a `type`" });
        };
        if !known.contains(&kind.as_str()) {
            self.request.others.push(Said::new(value, at));
            return Ok(None);
        }
        let mut fields = Fields::of(value, at.as_str())?;
        fields.take("type");
        let content = match kind.as_str() {
            "refusal" => Content::Refusal(fields.required_text("refusal")?),
            "input_image" => read_image(&mut fields)?,
            "input_file" => self.file(&mut fields)?,
            "input_audio" => read_audio(&mut fields)?,
            _ => {
                let annotations = fields.array("annotations")?.map(|said| said.value).unwrap_or_default();
                // Of an answer before; nobody can do anything with them again.
                fields.take("logprobs");
                let citations = annotations.iter().filter_map(read_citation).collect();
                Content::Text { text: fields.required_text("text")?, citations }
            }
        };
        let mut part = Part::new(content, at);
        if let Some(mut marker) = fields.object("prompt_cache_breakpoint")? {
            marker.take("mode");
            let long = marker.text("ttl")?.is_some_and(|ttl| ttl.value == "12h");
            part.cache = Some(if long { CacheFor::OneHour } else { CacheFor::FiveMinutes });
            self.request.others.extend(marker.rest());
        }
        self.request.others.extend(fields.rest());
        Ok(Some(part))
    }

    fn file(&mut self, fields: &mut Fields) -> Result<Content, RequestError> {
        let name = fields.text("filename")?.map(|name| name.value);
        self.request.others.extend(fields.said("detail").filter(|detail| detail.value != "auto"));
        let source = if let Some(Said { value: data, .. }) = fields.text("file_data")? {
            read_file_data(data)
        } else if let Some(Said { value: url, .. }) = fields.text("file_url")? {
            Source::Url { url, media_type: None }
        } else if let Some(Said { value: id, .. }) = fields.text("file_id")? {
            Source::File { dialect: Dialect::Openai, id }
        } else {
            let expected = "send `file_data`, `file_url` or `file_id`";
            return Err(RequestError::Malformed { field: fields.at().to_owned(), expected });
        };
        Ok(Content::Document { source, name, context: None, citations: false })
    }

    fn call(&mut self, mut fields: Fields) -> Result<(), RequestError> {
        let at = fields.at().to_owned();
        let call = ToolCall {
            id: fields.required_text("call_id")?,
            name: fields.required_text("name")?,
            arguments: fields.required_text("arguments")?,
            signature: None,
        };
        ["type", "id", "status"].iter().for_each(|name| drop(fields.take(name)));
        self.request.others.extend(fields.rest().filter(|field| !says_nothing(&field.value)));
        self.names.insert(call.id.clone(), call.name.clone());
        self.add(Role::Assistant, vec![Part::new(Content::ToolCall(call), at)]);
        Ok(())
    }

    /// A call of a tool that takes free text.
    fn custom_call(&mut self, mut fields: Fields) -> Result<(), RequestError> {
        let at = fields.at().to_owned();
        let call = ToolCall {
            id: fields.required_text("call_id")?,
            name: fields.required_text("name")?,
            arguments: fields.required_text("input")?,
            signature: None,
        };
        ["type", "id", "status"].iter().for_each(|name| drop(fields.take(name)));
        self.request.others.extend(fields.rest().filter(|field| !says_nothing(&field.value)));
        self.names.insert(call.id.clone(), call.name.clone());
        self.add(Role::Assistant, vec![Part::new(Content::CustomCall(call), at)]);
        Ok(())
    }

    /// A picture that the model drew.
    fn picture(&mut self, item: Value, at: String) -> Result<(), RequestError> {
        let mut fields = Fields::of(item, at.as_str())?;
        let format = fields.text("output_format")?.map_or_else(|| "png".to_owned(), |format| format.value);
        let source = Source::Base64 { media_type: format!("image/{format}"), base64: fields.required_text("result")? };
        // How it was drawn is told of it, and asked of nobody.
        self.add(Role::Assistant, vec![Part::new(Content::Image { source, detail: None }, at)]);
        Ok(())
    }

    fn result(&mut self, mut fields: Fields) -> Result<(), RequestError> {
        let at = fields.at().to_owned();
        let id = fields.required_text("call_id")?;
        ["type", "id", "status"].iter().for_each(|name| drop(fields.take(name)));
        let name = fields.text("name")?.map(|name| name.value).or_else(|| self.names.get(&id).cloned());
        let output = fields.said("output");
        let parts = self.content(output, &fields.path("output"))?;
        self.request.others.extend(fields.rest().filter(|field| !says_nothing(&field.value)));
        let result = ToolResult { id, name, parts, is_error: None };
        self.add(Role::User, vec![Part::new(Content::ToolResult(result), at)]);
        Ok(())
    }

    fn thoughts(&mut self, item: Value, at: String) -> Result<(), RequestError> {
        let mut fields = Fields::of(item, at.as_str())?;
        ["type", "status"].iter().for_each(|name| drop(fields.take(name)));
        let id = fields.text("id")?.map(|id| id.value).unwrap_or_default();
        let mut known = serde_json::Map::new();
        for name in ["summary", "content"] {
            if let Some(Said { value, .. }) = fields.array(name)? {
                known.insert(name.to_owned(), Value::Array(value));
            }
        }
        if let Some(Said { value, .. }) = fields.text("encrypted_content")? {
            known.insert("encrypted_content".to_owned(), Value::String(value));
        }
        self.request.others.extend(fields.rest());
        match read_thoughts(&mut known) {
            Some(Content::Redacted(signature)) if signature.is_of_call() => {
                self.loose.push((id, at, signature));
                // Keeps the place until its call is known.
                let placeholder = Content::Thinking { text: String::new(), signature: None };
                self.add(Role::Assistant, vec![Part::new(placeholder, self.loose_mark())]);
            }
            Some(content) => self.add(Role::Assistant, vec![Part::new(content, at)]),
            None => {}
        }
        Ok(())
    }

    /// Path of the newest placeholder: no caller's path begins like it.
    fn loose_mark(&self) -> String {
        format!("\0{}", self.loose.len() - 1)
    }

    /// Gives each loose signature to its call: the one whose id its item has, else the next in the same turn.
    fn attach_loose(&mut self) {
        for (index, (item_id, at, signature)) in std::mem::take(&mut self.loose).into_iter().enumerate() {
            let mark = format!("\0{index}");
            for message in &mut self.request.messages {
                let Some(place) = message.parts.iter().position(|part| part.at == mark) else { continue };
                match call_of(&message.parts, place, &item_id) {
                    Some(call) => {
                        if let Content::ToolCall(call) = &mut message.parts[call].content {
                            call.signature = Some(signature);
                        }
                        message.parts.remove(place);
                    }
                    None => message.parts[place] = Part::new(Content::Redacted(signature), at),
                }
                break;
            }
        }
    }
}

/// Which of `parts` is the call whose signature stood in an item of id `item_id` at `place`.
fn call_of(parts: &[Part], place: usize, item_id: &str) -> Option<usize> {
    let is_named = |part: &Part| match &part.content {
        Content::ToolCall(call) => output::thought_of_call(&call.id) == item_id,
        _ => false,
    };
    let is_free = |part: &Part| matches!(&part.content, Content::ToolCall(call) if call.signature.is_none());
    let next = || parts.iter().skip(place).position(is_free).map(|after| place + after);
    parts.iter().position(is_named).or_else(next)
}

/// Whether an item that only this API has is the caller's word and not the model's.
fn belongs_to_user(kind: &str) -> bool {
    ["_output", "_response", "_trigger"].iter().any(|end| kind.ends_with(end))
}

/// The defaults of the fields beside a call: not asynchronous, by the model itself.
fn says_nothing(value: &Value) -> bool {
    *value == Value::Bool(false) || value.get("type").and_then(Value::as_str) == Some("direct")
}

fn read_image(fields: &mut Fields) -> Result<Content, RequestError> {
    let detail = fields.text("detail")?.map(|detail| detail.value).filter(|detail| detail != "auto");
    let source = if let Some(Said { value: url, .. }) = fields.text("image_url")? {
        read_data_url(url).unwrap_or_else(|url| Source::Url { url, media_type: None })
    } else if let Some(Said { value: id, .. }) = fields.text("file_id")? {
        Source::File { dialect: Dialect::Openai, id }
    } else {
        let expected = "send `image_url` or `file_id`";
        return Err(RequestError::Malformed { field: fields.at().to_owned(), expected });
    };
    Ok(Content::Image { source, detail })
}

/// The reference has the type and no list of content has it yet; what servers make of it is theirs to say.
fn read_audio(fields: &mut Fields) -> Result<Content, RequestError> {
    let Some(Said { value, at }) = fields.said("input_audio") else {
        let field = fields.path("input_audio");
        return Err(RequestError::Malformed { field, expected: "it is missing: send `data` and `format`" });
    };
    let mut audio = Fields::of(value, at)?;
    let base64 = audio.required_text("data")?;
    let media_type = match audio.required_text("format")?.as_str() {
        "mp3" => "audio/mpeg".to_owned(),
        format => format!("audio/{format}"),
    };
    Ok(Content::Audio(Source::Base64 { media_type, base64 }))
}

/// A file's content: a data URL, or base64 alone, which the API takes for a PDF. Plain text is told apart, because other
/// dialects take it as text only.
fn read_file_data(data: String) -> Source {
    let source = read_data_url(data)
        .unwrap_or_else(|base64| Source::Base64 { media_type: "application/pdf".to_owned(), base64 });
    match source {
        Source::Base64 { media_type, base64 } if media_type == "text/plain" => {
            let text = STANDARD.decode(&base64).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            text.map_or(Source::Base64 { media_type, base64 }, Source::Text)
        }
        other => other,
    }
}
