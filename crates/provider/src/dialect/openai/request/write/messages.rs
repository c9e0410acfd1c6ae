//! The conversation of a request for a provider. Other dialects put results of tools, pictures and words into one turn;
//! here each result is a message of its own and comes straight after the calls, and a result holds text alone, so that
//! pictures out of a tool follow in a message of the user's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};
use tollgate_interaction::Dialect;

use crate::chat::{CacheFor, Content, Message, Part, Role, Said, Signature, Source, ToolCall, ToolResult};
use crate::dialect::openai::models::{self, BREAKPOINT};
use crate::dialect::openai::request::custom_call;
use crate::dialect::openai::thoughts::{self, Written};
use crate::dialect::openai::wire::{object, set};
use crate::translate::{Losses, Unsupported};

/// Writes the system prompt and the messages for `model`.
pub(super) fn write(
    system: Vec<Part>,
    messages: Vec<Message>,
    model: &str,
    losses: &mut Losses,
) -> Result<Value, Unsupported> {
    let mut writer = Writer {
        messages: Vec::new(),
        shown: Vec::new(),
        plain: models::thoughts_name(model),
        breakpoints: models::takes_breakpoints(model),
        losses,
    };
    if !system.is_empty() {
        writer.instruction(system, None)?;
    }
    for Message { role, parts, name } in messages {
        match role {
            Role::System => writer.instruction(parts, name)?,
            Role::User => writer.user(parts, name)?,
            Role::Assistant => writer.assistant(parts, name)?,
        }
    }
    writer.show();
    Ok(Value::Array(writer.messages))
}

struct Writer<'a> {
    messages: Vec<Value>,
    /// What tools answered other than text, to follow the last of their results.
    shown: Vec<Value>,
    /// Field for thoughts without a signature, if the model takes them.
    plain: Option<&'static str>,
    /// Whether the model takes breakpoints of the cache.
    breakpoints: bool,
    losses: &'a mut Losses,
}

impl Writer<'_> {
    fn push(&mut self, role: &str, content: Value, name: Option<Said<String>>) {
        self.show();
        let mut map = Map::new();
        map.insert("role".to_owned(), role.into());
        map.insert("content".to_owned(), content);
        set(&mut map, "name", name.map(|name| name.value.into()));
        self.messages.push(Value::Object(map));
    }

    fn show(&mut self) {
        if self.shown.is_empty() {
            return;
        }
        let content = Value::Array(std::mem::take(&mut self.shown));
        self.messages.push(object([("role", "user".into()), ("content", content)]));
    }

    /// One message of one text, unless a part of it is marked: templates of open models allow no more, and several servers
    /// take no array.
    fn instruction(&mut self, parts: Vec<Part>, name: Option<Said<String>>) -> Result<(), Unsupported> {
        let mut texts = Vec::new();
        for Part { content, at, cache } in parts {
            match content {
                Content::Text { text, citations: _ } => texts.push((text, self.marked(cache, &at))),
                other => self.losses.lose(&at, format!("{} in an instruction", other.described()))?,
            }
        }
        if !texts.is_empty() {
            let content = one_message(texts, "\n\n");
            self.push("system", content, name);
        }
        Ok(())
    }

    fn user(&mut self, parts: Vec<Part>, name: Option<Said<String>>) -> Result<(), Unsupported> {
        let mut pieces = Vec::new();
        for Part { content, at, cache } in parts {
            match content {
                Content::ToolResult(result) => self.tool_result(result, cache, &at)?,
                content => {
                    let marker = self.marked(cache, &at);
                    pieces.extend(self.piece(content, &at)?.map(|piece| with_marker(piece, marker)));
                }
            }
        }
        if !pieces.is_empty() {
            self.push("user", one_content(pieces), name);
        }
        Ok(())
    }

    fn tool_result(&mut self, result: ToolResult, cache: Option<CacheFor>, at: &str) -> Result<(), Unsupported> {
        let ToolResult { id, name: _, parts, is_error } = result;
        let (mut texts, mut shown) = (Vec::new(), Vec::new());
        for Part { content, at, cache } in parts {
            let marker = self.marked(cache, &at);
            match content {
                Content::Text { text, citations: _ } => texts.push((text, marker)),
                content => shown.extend(self.piece(content, &at)?.map(|piece| with_marker(piece, marker))),
            }
        }
        if texts.is_empty() {
            texts.push((String::new(), None));
        }
        // There is no field for it, so the model is told in words.
        if let (Some(true), Some((text, _))) = (is_error, texts.first_mut())
            && !text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("error"))
        {
            text.insert_str(0, "Error: ");
        }
        let marker = self.marked(cache, at);
        if let (Some(marker), Some((_, unmarked))) = (marker, texts.last_mut()) {
            unmarked.get_or_insert(marker);
        }
        let content = one_message(texts, "\n");
        if !shown.is_empty() {
            self.shown.push(piece_of_text(format!("Result of the tool call {id}:")));
            self.shown.append(&mut shown);
        }
        let fields = [("role", "tool".into()), ("tool_call_id", id.into()), ("content", content)];
        self.messages.push(object(fields));
        Ok(())
    }

    /// A piece of a user's content.
    fn piece(&mut self, content: Content, at: &str) -> Result<Option<Value>, Unsupported> {
        match content {
            Content::Text { text, citations: _ } => Ok(Some(piece_of_text(text))),
            Content::Image { source, detail } => self.image(source, detail, at),
            Content::Audio(source) => self.audio(source, at),
            Content::Document { source, name, context, citations } => {
                if citations {
                    self.losses.lose_beside(at, "citations of a document")?;
                }
                self.document(source, name, context, at)
            }
            Content::Native { dialect: Dialect::Openai, kind: _, value } => Ok(Some(value)),
            other @ (Content::Refusal(_)
            | Content::Video(_)
            | Content::ToolCall(_)
            | Content::ToolResult(_)
            | Content::Thinking { .. }
            | Content::Redacted(_)
            | Content::CustomCall(_)
            | Content::Native { .. }) => {
                self.losses.lose(at, format!("{} of the user's", other.described())).map(|()| None)
            }
        }
    }

    fn image(&mut self, source: Source, detail: Option<String>, at: &str) -> Result<Option<Value>, Unsupported> {
        let url = match source {
            Source::Base64 { media_type, base64 } => data_url(&media_type, &base64),
            Source::Url { url, media_type: _ } if is_web(&url) => url,
            other @ (Source::Url { .. } | Source::Text(_) | Source::File { .. }) => {
                return self.losses.lose(at, format!("an image given as {}", described(&other))).map(|()| None);
            }
        };
        let mut inner = Map::new();
        inner.insert("url".to_owned(), url.into());
        set(&mut inner, "detail", detail.map(Value::String));
        Ok(Some(object([("type", "image_url".into()), ("image_url", Value::Object(inner))])))
    }

    fn audio(&mut self, source: Source, at: &str) -> Result<Option<Value>, Unsupported> {
        let Source::Base64 { media_type, base64 } = source else {
            let what = format!("audio given as {}", described(&source));
            return self.losses.lose(at, what).map(|()| None);
        };
        let format = match media_type.as_str() {
            "audio/wav" | "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => "wav",
            "audio/mpeg" | "audio/mp3" => "mp3",
            _ => return self.losses.lose(at, format!("audio of type `{media_type}`")).map(|()| None),
        };
        let inner = object([("data", base64.into()), ("format", format.into())]);
        Ok(Some(object([("type", "input_audio".into()), ("input_audio", inner)])))
    }

    fn document(
        &mut self,
        source: Source,
        name: Option<String>,
        context: Option<String>,
        at: &str,
    ) -> Result<Option<Value>, Unsupported> {
        let (key, value, extension) = match source {
            // Words are read by every model, files by few.
            Source::Text(text) => {
                let texts = [name, context, Some(text)].into_iter().flatten().collect();
                return Ok(Some(piece_of_text(one_text(texts, "\n\n"))));
            }
            Source::Base64 { media_type, base64 } if is_plain_text(&media_type) => match decoded(&base64) {
                Some(text) => return self.document(Source::Text(text), name, context, at),
                None => ("file_data", data_url(&media_type, &base64), "txt"),
            },
            Source::Base64 { media_type, base64 } => {
                let extension = if media_type == "application/pdf" { "pdf" } else { "bin" };
                ("file_data", data_url(&media_type, &base64), extension)
            }
            Source::File { dialect: Dialect::Openai | Dialect::Responses, id } => ("file_id", id, ""),
            other @ (Source::Url { .. } | Source::File { .. }) => {
                return self.losses.lose(at, format!("a document given as {}", described(&other))).map(|()| None);
            }
        };
        if context.is_some() {
            self.losses.lose_beside(at, "what is said about a document")?;
        }
        let mut file = Map::new();
        // A file without a name is refused; one that OpenAI knows has its name already.
        let name = name.or_else(|| (key == "file_data").then(|| format!("document.{extension}")));
        set(&mut file, "filename", name.map(Value::String));
        file.insert(key.to_owned(), value.into());
        Ok(Some(object([("type", "file".into()), ("file", Value::Object(file))])))
    }

    fn assistant(&mut self, parts: Vec<Part>, name: Option<Said<String>>) -> Result<(), Unsupported> {
        let mut turn = Turn::default();
        for part in parts {
            // A breakpoint in a turn of the model's is overlooked.
            if part.cache.is_some() {
                self.losses.note_marker(&part.at);
            }
            self.said(part.content, &part.at, &mut turn)?;
        }
        let Turn { texts, pieces, refusal, plain, details, calls, audio } = turn;
        if texts.is_empty() && pieces.is_empty() && refusal.is_none() && calls.is_empty() && audio.is_none() {
            return Ok(());
        }
        let content = match (pieces.is_empty(), texts.is_empty()) {
            (true, true) => Value::Null,
            (true, false) => one_text(texts, "").into(),
            (false, _) => pieces.into_iter().chain(texts.into_iter().map(piece_of_text)).collect(),
        };
        self.push("assistant", content, name);
        let Some(Value::Object(message)) = self.messages.last_mut() else { return Ok(()) };
        set(message, "refusal", refusal.map(Value::String));
        set(message, "audio", audio.map(|id| object([("id", id.into())])));
        if let Some(name) = self.plain.filter(|_| !plain.is_empty()) {
            message.insert(name.to_owned(), plain.into());
        }
        let details = details.into_iter().enumerate().map(|(index, detail)| thoughts::numbered(detail, index));
        let details: Vec<Value> = details.collect();
        set(message, "reasoning_details", (!details.is_empty()).then_some(Value::Array(details)));
        set(message, "tool_calls", (!calls.is_empty()).then_some(Value::Array(calls)));
        Ok(())
    }

    fn said(&mut self, content: Content, at: &str, turn: &mut Turn) -> Result<(), Unsupported> {
        match content {
            Content::Text { text, citations } => {
                // The model does not read where it found what it said.
                if !citations.is_empty() {
                    self.losses.note(at);
                }
                turn.texts.push(text);
            }
            Content::Refusal(text) => turn.refusal.get_or_insert_default().push_str(&text),
            Content::ToolCall(call) => turn.calls.push(self.tool_call(call, at)),
            Content::Thinking { text, signature: None } if self.plain.is_some() => turn.plain.push_str(&text),
            Content::Thinking { text, signature: Some(signature) } if is_own(&signature) => {
                match thoughts::write(text, &signature) {
                    Written::Detail(detail) => turn.details.push(detail),
                    Written::Piece(piece) => turn.pieces.push(piece),
                }
            }
            Content::Redacted(signature) if is_own(&signature) && !signature.is_of_call() => {
                turn.details.push(thoughts::write_encrypted(&signature));
            }
            // Nobody else can read them.
            Content::Thinking { .. } | Content::Redacted(_) => self.losses.note(at),
            Content::Audio(Source::File { dialect: Dialect::Openai, id }) => turn.audio = Some(id),
            Content::CustomCall(ToolCall { id, name, arguments, signature: _ }) => {
                turn.calls.push(custom_call(id, name, arguments));
            }
            Content::Native { dialect: Dialect::Openai, kind: _, value } => turn.pieces.push(value),
            other @ (Content::Image { .. }
            | Content::Audio(_)
            | Content::Video(_)
            | Content::Document { .. }
            | Content::ToolResult(_)
            | Content::Native { .. }) => {
                self.losses.lose(at, format!("{} of the model's", other.described()))?;
            }
        }
        Ok(())
    }

    fn tool_call(&mut self, call: ToolCall, at: &str) -> Value {
        let ToolCall { id, name, arguments, signature } = call;
        // A call without arguments has an empty object, and strict servers parse it.
        let arguments = if arguments.is_empty() { "{}".to_owned() } else { arguments };
        let function = object([("name", name.into()), ("arguments", arguments.into())]);
        let mut map = Map::new();
        map.insert("id".to_owned(), id.into());
        map.insert("type".to_owned(), "function".into());
        map.insert("function".to_owned(), function);
        match signature {
            Some(signature) if is_own(&signature) => {
                map.insert("extra_content".to_owned(), signed(&signature));
            }
            // The call is whole without it.
            Some(_) => self.losses.note_signature(at),
            None => {}
        }
        Value::Object(map)
    }

    /// The marker behind what stands at `at`, where the model takes one. OpenAI's older models and most copies cache by
    /// themselves, and those that want a marker each want their own.
    fn marked(&mut self, cache: Option<CacheFor>, at: &str) -> Option<Value> {
        let cache = cache?;
        if !self.breakpoints {
            self.losses.note(at);
            return None;
        }
        Some(models::breakpoint(cache))
    }
}

/// What one turn of the model's comes to.
#[derive(Default)]
struct Turn {
    texts: Vec<String>,
    pieces: Vec<Value>,
    refusal: Option<String>,
    plain: String,
    details: Vec<Value>,
    calls: Vec<Value>,
    audio: Option<String>,
}

fn is_own(signature: &Signature) -> bool {
    signature.of == Dialect::Openai
}

/// The signature of a call, where Google's compatible endpoint has it.
pub(in crate::dialect::openai) fn signed(signature: &Signature) -> Value {
    if signature.is_of_call()
        && let Ok(own @ Value::Object(_)) = serde_json::from_str(&signature.text)
    {
        return own;
    }
    let text = signature.wrapped(Dialect::Openai);
    object([("google", object([("thought_signature", text.into())]))])
}

fn piece_of_text(text: String) -> Value {
    object([("type", "text".into()), ("text", text.into())])
}

fn with_marker(mut piece: Value, marker: Option<Value>) -> Value {
    if let (Value::Object(piece), Some(marker)) = (&mut piece, marker) {
        piece.insert(BREAKPOINT.to_owned(), marker);
    }
    piece
}

/// Texts and their markers as one text if none is marked.
fn one_message(texts: Vec<(String, Option<Value>)>, between: &str) -> Value {
    if texts.iter().any(|(_, marker)| marker.is_some()) {
        return texts.into_iter().map(|(text, marker)| with_marker(piece_of_text(text), marker)).collect();
    }
    one_text(texts.into_iter().map(|(text, _)| text).collect(), between).into()
}

/// One text of several, without a copy if there is only one.
fn one_text(mut texts: Vec<String>, between: &str) -> String {
    if texts.len() == 1 { texts.pop().unwrap_or_default() } else { texts.join(between) }
}

/// A lone text as a text, which every server takes.
fn one_content(mut pieces: Vec<Value>) -> Value {
    if let [Value::Object(piece)] = pieces.as_mut_slice()
        && piece.get("type").is_some_and(|kind| kind == "text")
        && piece.len() == 2
    {
        return piece.remove("text").unwrap_or_default();
    }
    Value::Array(pieces)
}

fn data_url(media_type: &str, base64: &str) -> String {
    format!("data:{media_type};base64,{base64}")
}

fn is_web(url: &str) -> bool {
    ["https://", "http://", "data:"].iter().any(|scheme| url.starts_with(scheme))
}

fn is_plain_text(media_type: &str) -> bool {
    matches!(media_type, "text/plain" | "text/markdown" | "text/csv")
}

fn decoded(base64: &str) -> Option<String> {
    String::from_utf8(BASE64.decode(base64).ok()?).ok()
}

fn described(source: &Source) -> &'static str {
    match source {
        Source::Base64 { .. } => "bytes",
        Source::Text(_) => "text",
        Source::Url { .. } => "an address",
        Source::File { .. } => "a file of another provider",
    }
}
