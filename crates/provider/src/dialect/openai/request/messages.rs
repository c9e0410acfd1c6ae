//! The conversation of a caller's request.

use serde_json::Value;
use tollgate_interaction::Dialect;

use super::read_cache;
use crate::chat::{Content, Message, Part, Request, Role, Said, Signature, Source, ToolCall, ToolResult};
use crate::dialect::RequestError;
use crate::dialect::openai::answer::read_image;
use crate::dialect::openai::thoughts;
use crate::dialect::openai::wire::object;
use crate::translate::Fields;
use crate::translate::called::Called;

/// Reads `turns` into the system prompt and the messages of `request`.
pub(super) fn read(turns: Said<Vec<Value>>, request: &mut Request) -> Result<(), RequestError> {
    let mut reader = Reader { request, calls: Called::default() };
    for (index, value) in turns.value.into_iter().enumerate() {
        reader.message(value, format!("{}[{index}]", turns.at))?;
    }
    Ok(())
}

struct Reader<'a> {
    request: &'a mut Request,
    /// The calls so far.
    calls: Called,
}

impl Reader<'_> {
    fn message(&mut self, value: Value, at: String) -> Result<(), RequestError> {
        let mut fields = Fields::of(value, at)?;
        let role = fields.required_text("role")?;
        let mut name = fields.text("name")?;
        let mut parts = Vec::new();
        let role = match role.as_str() {
            "system" | "developer" => {
                self.contents(&mut fields, &mut parts)?;
                Role::System
            }
            "user" => {
                self.contents(&mut fields, &mut parts)?;
                Role::User
            }
            "assistant" => {
                self.assistant(&mut fields, &mut parts)?;
                Role::Assistant
            }
            "tool" | "function" => {
                self.tool_result(&mut fields, &role, name.take(), &mut parts)?;
                Role::User
            }
            _ => {
                let expected = "send `system`, `developer`, `user`, `assistant` or `tool`";
                return Err(RequestError::Malformed { field: fields.path("role"), expected });
            }
        };
        if let (Some(cache), Some(last)) = (read_cache(&mut fields)?, parts.last_mut()) {
            last.cache = Some(cache);
        }
        self.request.others.extend(fields.rest());
        if role == Role::System && self.request.messages.is_empty() {
            self.request.others.extend(name.map(|name| Said::new(name.value.into(), name.at)));
            self.request.system.append(&mut parts);
        } else if !parts.is_empty() {
            self.request.messages.push(Message { role, parts, name });
        }
        Ok(())
    }

    fn assistant(&mut self, fields: &mut Fields, parts: &mut Vec<Part>) -> Result<(), RequestError> {
        self.thoughts(fields, parts)?;
        self.contents(fields, parts)?;
        if let Some(Said { value, at }) = fields.text("refusal")?.filter(|refusal| !refusal.value.is_empty()) {
            parts.push(Part::new(Content::Refusal(value), at));
        }
        if let Some(mut audio) = fields.object("audio")? {
            let at = audio.at().to_owned();
            let source = Source::File { dialect: Dialect::Openai, id: audio.required_text("id")? };
            parts.push(Part::new(Content::Audio(source), at));
            // A caller may send back the whole of what it got; the id stands for it.
            ["data", "transcript", "expires_at"].into_iter().for_each(|name| drop(audio.take(name)));
            self.request.others.extend(audio.rest());
        }
        // Pictures that the model drew, as OpenRouter and our own answers have them.
        if let Some(Said { value, at }) = fields.array("images")? {
            for (index, value) in value.into_iter().enumerate() {
                let at = format!("{at}[{index}]");
                match read_image(value.clone()) {
                    Some(image) => parts.push(Part::new(image, at)),
                    None => self.request.others.push(Said::new(value, at)),
                }
            }
        }
        if let Some(Said { value, at }) = fields.array("tool_calls")? {
            for (index, value) in value.into_iter().enumerate() {
                parts.push(self.tool_call(value, format!("{at}[{index}]"))?);
            }
        }
        if let Some(mut function) = fields.object("function_call")? {
            let at = function.at().to_owned();
            let id = format!("call_{}", self.calls.count());
            parts.push(self.function(&mut function, id, None, at)?);
            self.request.others.extend(function.rest());
        }
        // Sources of an earlier answer: the model does not read them.
        self.request.hints.extend(fields.said("annotations").filter(|said| said.value != Value::Array(Vec::new())));
        Ok(())
    }

    fn thoughts(&mut self, fields: &mut Fields, parts: &mut Vec<Part>) -> Result<(), RequestError> {
        let place = ["reasoning_details", "reasoning_content", "reasoning"].map(|name| (name, fields.said(name)));
        let Some(at) = place.iter().find_map(|(_, said)| Some(said.as_ref()?.at.clone())) else { return Ok(()) };
        for (name, said) in &place {
            let Some(said) = said else { continue };
            let (fits, expected) = match *name {
                "reasoning_details" => (said.value.is_array(), "send an array"),
                _ => (said.value.is_string(), "send a string"),
            };
            if !fits {
                return Err(RequestError::Malformed { field: said.at.clone(), expected });
            }
        }
        let given = place.into_iter().filter_map(|(name, said)| Some((name.to_owned(), said?.value)));
        let thoughts = thoughts::take(&mut given.collect());
        parts.extend(thoughts.into_iter().map(|thought| Part::new(thought, at.clone())));
        Ok(())
    }

    fn tool_call(&mut self, value: Value, at: String) -> Result<Part, RequestError> {
        let is_custom = value.get("type").is_some_and(|kind| kind == "custom");
        let mut fields = Fields::of(value, at.clone())?;
        let id = fields.text("id")?.map(|id| id.value).filter(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| format!("call_{}", self.calls.count()));
        ["type", "index"].into_iter().for_each(|name| drop(fields.take(name)));
        if is_custom {
            return self.custom_call(fields, id, at);
        }
        let signature = take_signature(&mut fields, &mut self.request.others)?;
        let Some(mut function) = fields.object("function")? else {
            let expected = "it is missing: send an object with `name` and `arguments`";
            return Err(RequestError::Malformed { field: fields.path("function"), expected });
        };
        let part = self.function(&mut function, id, signature, at)?;
        self.request.others.extend(function.rest());
        self.request.others.extend(fields.rest());
        Ok(part)
    }

    fn custom_call(&mut self, mut fields: Fields, id: String, at: String) -> Result<Part, RequestError> {
        let Some(mut custom) = fields.object("custom")? else {
            let expected = "it is missing: send an object with `name` and `input`";
            return Err(RequestError::Malformed { field: fields.path("custom"), expected });
        };
        let (name, arguments) = (custom.required_text("name")?, custom.required_text("input")?);
        self.calls.note(&id, &name);
        self.request.others.extend(custom.rest());
        self.request.others.extend(fields.rest());
        Ok(Part::new(Content::CustomCall(ToolCall { id, name, arguments, signature: None }), at))
    }

    fn function(
        &mut self,
        function: &mut Fields,
        id: String,
        signature: Option<Signature>,
        at: String,
    ) -> Result<Part, RequestError> {
        let name = function.required_text("name")?;
        let arguments = match function.take("arguments") {
            None => String::new(),
            Some(Value::String(text)) => text,
            // Some clients forget that arguments are a text.
            Some(object @ Value::Object(_)) => object.to_string(),
            Some(_) => {
                let expected = "send the arguments as a string of JSON";
                return Err(RequestError::Malformed { field: function.path("arguments"), expected });
            }
        };
        self.calls.note(&id, &name);
        Ok(Part::new(Content::ToolCall(ToolCall { id, name, arguments, signature }), at))
    }

    fn tool_result(
        &mut self,
        fields: &mut Fields,
        role: &str,
        name: Option<Said<String>>,
        parts: &mut Vec<Part>,
    ) -> Result<(), RequestError> {
        let mut answered = Vec::new();
        self.contents(fields, &mut answered)?;
        let at = fields.at().to_owned();
        let name = name.map(|name| name.value);
        let (id, name) = if role == "function" {
            let called = name.as_deref().and_then(|name| self.calls.id_of(name)).map(str::to_owned);
            let Some(id) = called else {
                let expected = "name the function of an earlier `function_call`";
                return Err(RequestError::Malformed { field: fields.path("name"), expected });
            };
            (id, name)
        } else {
            let id = fields.required_text("tool_call_id")?;
            let called = self.calls.name_of(&id).map(str::to_owned);
            (id, called.or(name))
        };
        let result = ToolResult { id, name, parts: answered, is_error: None };
        parts.push(Part::new(Content::ToolResult(result), at));
        Ok(())
    }

    /// Reads `content`: a text, or an array of pieces. Empty texts say nothing, and most dialects refuse them.
    fn contents(&mut self, fields: &mut Fields, parts: &mut Vec<Part>) -> Result<(), RequestError> {
        let Some(Said { value, at }) = fields.said("content") else { return Ok(()) };
        match value {
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => parts.push(Part::new(Content::text(text), at)),
            Value::Array(pieces) => {
                for (index, piece) in pieces.into_iter().enumerate() {
                    parts.extend(self.piece(piece, format!("{at}[{index}]"))?);
                }
            }
            _ => return Err(RequestError::Malformed { field: at, expected: "send a string or an array of parts" }),
        }
        Ok(())
    }

    fn piece(&mut self, value: Value, at: String) -> Result<Option<Part>, RequestError> {
        if let Value::String(text) = value {
            return Ok(Some(Part::new(Content::text(text), at)));
        }
        let kind = value.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        if kind == "thinking" {
            let Value::Object(map) = value else { return Ok(None) };
            let (mark, words) = thoughts::read_piece(map);
            return Ok(thoughts::content(mark, words).map(|thought| Part::new(thought, at)));
        }
        if !matches!(kind.as_str(), "text" | "refusal" | "image_url" | "input_audio" | "file" | "video_url") {
            if !value.is_object() {
                return Err(RequestError::Malformed { field: at, expected: "send an object with a `type`" });
            }
            return Ok(Some(Part::new(Content::Native { dialect: Dialect::Openai, kind, value }, at)));
        }
        let mut fields = Fields::of(value, at.clone())?;
        fields.take("type");
        let cache = read_cache(&mut fields)?;
        let content = match kind.as_str() {
            "text" => Content::text(fields.required_text("text")?),
            "refusal" => Content::Refusal(fields.required_text("refusal")?),
            "image_url" => self.image(&mut fields)?,
            "input_audio" => self.audio(&mut fields)?,
            "file" => self.file(&mut fields)?,
            _ => Content::Video(self.address(&mut fields, "video_url")?.0),
        };
        self.request.others.extend(fields.rest());
        let is_empty = matches!(&content, Content::Text { text, .. } if text.is_empty());
        Ok((!is_empty).then_some(Part { content, at, cache }))
    }

    fn image(&mut self, fields: &mut Fields) -> Result<Content, RequestError> {
        let (source, detail) = self.address(fields, "image_url")?;
        Ok(Content::Image { source, detail: detail.filter(|detail| detail != "auto") })
    }

    /// Reads an object with a `url` and perhaps a `detail`, or with Mistral just a URL.
    fn address(&mut self, fields: &mut Fields, name: &str) -> Result<(Source, Option<String>), RequestError> {
        let Some(Said { value, at }) = fields.said(name) else {
            let expected = "it is missing: send an object with a `url`";
            return Err(RequestError::Malformed { field: fields.path(name), expected });
        };
        if let Value::String(url) = value {
            return Ok((read_url(url, &at)?, None));
        }
        let mut inner = Fields::of(value, at)?;
        let source = read_url(inner.required_text("url")?, &inner.path("url"))?;
        let detail = inner.text("detail")?.map(|detail| detail.value);
        self.request.others.extend(inner.rest());
        Ok((source, detail))
    }

    fn audio(&mut self, fields: &mut Fields) -> Result<Content, RequestError> {
        let Some(mut inner) = fields.object("input_audio")? else {
            let expected = "it is missing: send an object with `data` and `format`";
            return Err(RequestError::Malformed { field: fields.path("input_audio"), expected });
        };
        let base64 = inner.required_text("data")?;
        let media_type = match inner.required_text("format")?.as_str() {
            "mp3" => "audio/mpeg".to_owned(),
            format => format!("audio/{format}"),
        };
        self.request.others.extend(inner.rest());
        Ok(Content::Audio(Source::Base64 { media_type, base64 }))
    }

    fn file(&mut self, fields: &mut Fields) -> Result<Content, RequestError> {
        let Some(mut inner) = fields.object("file")? else {
            let expected = "it is missing: send an object with `file_data` or `file_id`";
            return Err(RequestError::Malformed { field: fields.path("file"), expected });
        };
        let name = inner.text("filename")?.map(|name| name.value);
        let at = inner.path("file_data");
        let source = match (inner.text("file_data")?, inner.text("file_id")?) {
            (Some(file), _) if file.value.contains(':') => read_url(file.value, &at)?,
            // OpenAI wants a data URL; several clients send the bare bytes of a PDF.
            (Some(file), _) => Source::Base64 { media_type: "application/pdf".to_owned(), base64: file.value },
            (None, Some(file)) => Source::File { dialect: Dialect::Openai, id: file.value },
            (None, None) => {
                let expected = "send `file_data` or `file_id`";
                return Err(RequestError::Malformed { field: inner.at().to_owned(), expected });
            }
        };
        self.request.others.extend(inner.rest());
        Ok(Content::Document { source, name, context: None, citations: false })
    }
}

/// Takes the signature of a call from where Google's compatible endpoint has it.
/// Source: <https://ai.google.dev/gemini-api/docs/thought-signatures> (2026-11-26).
fn take_signature(fields: &mut Fields, others: &mut Vec<Said<Value>>) -> Result<Option<Signature>, RequestError> {
    let Some(mut extra) = fields.object("extra_content")? else { return Ok(None) };
    let mut signature = None;
    if let Some(mut google) = extra.object("google")? {
        signature = google.text("thought_signature")?.map(|text| read_signature(text.value));
        others.extend(google.rest());
    }
    others.extend(extra.rest());
    Ok(signature)
}

/// Reads the signature of a call: another provider's, or the endpoint's own in the object in which it stands.
pub(in crate::dialect::openai) fn read_signature(text: String) -> Signature {
    let read = Signature::unwrapped(text, Dialect::Openai);
    if read.of != Dialect::Openai {
        return read;
    }
    let own = object([("google", object([("thought_signature", read.text.into())]))]);
    Signature { of: Dialect::Openai, text: own.to_string() }
}

/// Reads a URL: bytes if it is a data URL.
pub(in crate::dialect::openai) fn read_source(mut url: String) -> Option<Source> {
    if !url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) {
        return Some(Source::Url { url, media_type: None });
    }
    let comma = url.find(',')?;
    let media = url.get(5..comma)?.strip_suffix(";base64")?;
    let media_type = media.split(';').next().unwrap_or_default().to_owned();
    url.drain(..=comma);
    Some(Source::Base64 { media_type, base64: url })
}

fn read_url(url: String, at: &str) -> Result<Source, RequestError> {
    read_source(url).ok_or_else(|| RequestError::Malformed {
        field: at.to_owned(),
        expected: "send a web address, or a data URL in base64, such as `data:image/png;base64,…`",
    })
}
