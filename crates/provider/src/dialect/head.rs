//! The head of a request: the few fields the gateway decides on, read from the raw bytes in one pass. The body is
//! checked to be JSON to its last byte, and a field that decides something may appear only once: otherwise policy could
//! judge one model and the provider run another. Everything else is left for the provider to judge.

use std::ops::Range;

use tollgate_interaction::{Dialect, Operation};

use super::{Endpoint, multipart};
use crate::scan::{Cursor, Kind, ScanError, Text};
use crate::translate::Address;

/// Bytes of a request that are counted as one token when a call is estimated before it is made. Rough on purpose: the
/// true count comes back with the answer.
const BYTES_PER_TOKEN: u64 = 4;

/// What the gateway needs to know of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// As the caller wrote it; empty where a call names none, as for files, and for some where a provider has a model of
    /// its own choice.
    pub model: String,
    /// Whether the caller asked for a stream.
    pub stream: bool,
    /// The caller's limit on the answer, if it set one.
    pub max_output_tokens: Option<u64>,
    /// Answers asked for (`n`), at least one.
    pub choices: u64,
    /// End user the caller named (`user`, `safety_identifier`, or `metadata.user_id`).
    pub user: Option<String>,
    /// Whether the request offers tools.
    pub tools: bool,
    /// Whether vectors are wanted as base64 (OpenAI's embeddings).
    pub base64: bool,
    /// Bytes of the body, or of the texts in an upload, divided by four.
    pub estimated_input_tokens: u64,
    /// `None` where the path names the model, or nothing does.
    pub(crate) model_at: Option<Range<usize>>,
    /// Whether the model stands in a form, as it is, rather than in JSON.
    pub(crate) is_form: bool,
    pub(crate) usage_at: UsageAt,
}

/// What must change in a body so that its stream ends with a usage chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UsageAt {
    /// Nothing: the caller asks for it already, or the answer carries usage anyway.
    Settled,
    /// There are no `stream_options`: add them at this offset, as the first field of the body.
    AddOptions(usize),
    /// There are, without `include_usage`: add it at this offset, as the first of possibly more fields.
    AddFlag { at: usize, alone: bool },
    /// `include_usage` is false or null.
    ReplaceFlag(Range<usize>),
    /// `stream_options` is null.
    ReplaceOptions(Range<usize>),
}

impl RequestHead {
    /// Of a call that names no model and says nothing else that decides anything.
    fn nameless(body: &[u8]) -> RequestHead {
        RequestHead {
            model: String::new(),
            stream: false,
            max_output_tokens: None,
            choices: 1,
            user: None,
            tools: false,
            base64: false,
            estimated_input_tokens: estimate(body.len()),
            model_at: None,
            is_form: false,
            usage_at: UsageAt::Settled,
        }
    }

    /// Whether the body is a form rather than JSON, so that its content type has to go with it.
    #[must_use]
    pub fn is_form(&self) -> bool {
        self.is_form
    }

    /// Whether [`with_model`](super::with_model) asks for a usage chunk the caller did not ask for, so that the answer
    /// must go through a [`UsageFilter`](super::UsageFilter) before the caller sees it.
    #[must_use]
    pub fn hides_usage(&self) -> bool {
        self.usage_at != UsageAt::Settled
    }
}

/// Tokens in a text of so many bytes, roughly.
pub(super) fn estimate(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(BYTES_PER_TOKEN)
}

/// Whether the caller of an OpenAI stream asked for the usage chunk itself.
pub(crate) fn asks_for_usage(head: &RequestHead) -> bool {
    head.stream && !head.hides_usage()
}

/// Why the head of a request could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The body is not UTF-8.
    #[error("the body is not UTF-8 at byte {offset}; send JSON in UTF-8")]
    NotUtf8 {
        /// Of the first byte that cannot be right.
        offset: usize,
    },
    /// The body is not JSON.
    #[error("the body is not JSON at byte {offset}, in `{field}`: {reason}")]
    NotJson {
        /// Top-level field that was being read; `body` if none.
        field: String,
        /// Of the first byte that cannot be right.
        offset: usize,
        /// What was expected or found.
        reason: &'static str,
    },
    /// The body is not the form that its content type says it is.
    #[error("the body is not multipart/form-data at byte {offset}: {reason}")]
    NotForm {
        /// Of the first byte that cannot be right.
        offset: usize,
        /// What was expected or found.
        reason: &'static str,
    },
    /// A field without which nothing can be done is absent.
    #[error("`{field}` is missing from the body; {expected}")]
    Missing {
        /// Name of the field.
        field: &'static str,
        /// What it would hold.
        expected: &'static str,
    },
    /// A field holds something else than it should.
    #[error("`{field}` at byte {offset} of the body is not valid; {expected}")]
    Invalid {
        /// Path of the field.
        field: &'static str,
        /// Where its value begins.
        offset: usize,
        /// What it should hold.
        expected: &'static str,
    },
    /// A field that had to be translated holds something else than it should.
    #[error("`{field}` of the body is not valid; {expected}")]
    Malformed {
        /// Path of the field.
        field: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// A field that decides something appears more than once.
    #[error("`{field}` appears a second time at byte {offset} of the body; send it once")]
    Duplicate {
        /// Path of the field.
        field: &'static str,
        /// Where its second value begins.
        offset: usize,
    },
}

impl RequestError {
    /// For a body that was checked to be JSON and yet cannot be held: it is nested too deeply.
    pub(crate) fn unreadable(error: &serde_json::Error, body: &[u8]) -> Self {
        let reason = if error.is_syntax() { "it is nested too deeply, or no JSON" } else { "the text ends too early" };
        // Told as line and column, both from 1.
        let lines = body.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1));
        let offset = lines.map(<[u8]>::len).sum::<usize>() + error.column().saturating_sub(1);
        RequestError::NotJson { field: "body".to_owned(), offset, reason }
    }

    /// Path of the field that is at fault, where it is one.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            RequestError::Missing { field, .. }
            | RequestError::Invalid { field, .. }
            | RequestError::Duplicate { field, .. } => Some(field),
            RequestError::Malformed { field, .. } => Some(field),
            RequestError::NotUtf8 { .. } | RequestError::NotJson { .. } | RequestError::NotForm { .. } => None,
        }
    }

    /// Stable code for the caller.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            RequestError::NotUtf8 { .. } | RequestError::NotJson { .. } => "invalid_json",
            RequestError::NotForm { .. } => "invalid_form",
            RequestError::Missing { .. } => "missing_field",
            RequestError::Invalid { .. } | RequestError::Malformed { .. } => "invalid_field",
            RequestError::Duplicate { .. } => "duplicate_field",
        }
    }
}

impl From<ScanError> for RequestError {
    fn from(error: ScanError) -> Self {
        RequestError::NotJson { field: "body".to_owned(), offset: error.offset, reason: error.reason }
    }
}

/// Reads the head of `body`, sent to `endpoint` with a header `content-type`, which is empty if there was none.
///
/// # Errors
/// [`RequestError`] names the field and the byte at which the body stopped making sense.
pub fn parse(endpoint: &Endpoint, content_type: &str, body: &[u8]) -> Result<RequestHead, RequestError> {
    match endpoint.operation {
        // What is stored, and what a batch holds, is the provider's to read.
        Operation::Files | Operation::Batches => Ok(RequestHead::nameless(body)),
        operation if multipart::is_form(content_type) && takes_forms(operation) => {
            multipart::head(operation, content_type, body)
        }
        _ if endpoint.is_invoke() => parse_invoke(endpoint, body),
        operation => parse_head_at(endpoint.dialect, operation, endpoint.address(), body),
    }
}

/// Whether uploads of an operation are forms.
fn takes_forms(operation: Operation) -> bool {
    matches!(operation, Operation::Images | Operation::Transcription | Operation::Translation)
}

/// Whether a provider chooses a model by itself where a call names none.
pub(super) fn may_name_no_model(operation: Operation) -> bool {
    matches!(operation, Operation::Moderations | Operation::Images | Operation::Rerank)
}

/// Whether the body of an operation says if a stream is wanted.
fn streams(operation: Operation) -> bool {
    matches!(operation, Operation::Chat | Operation::Completions | Operation::Images | Operation::Speech)
}

/// Reads the body of InvokeModel: Claude's Messages, or what another model takes, of which nothing is known.
fn parse_invoke(endpoint: &Endpoint, body: &[u8]) -> Result<RequestHead, RequestError> {
    check_utf8(body)?;
    let mut reader = Reader::default();
    reader.read(Dialect::Anthropic, Operation::Chat, body)?;
    reader.model = Some((endpoint.model.clone(), None));
    reader.stream = Some(endpoint.stream);
    Ok(reader.head(Dialect::Bedrock, Operation::Chat, body))
}

fn check_utf8(body: &[u8]) -> Result<(), RequestError> {
    std::str::from_utf8(body).map(drop).map_err(|error| RequestError::NotUtf8 { offset: error.valid_up_to() })
}

/// Reads the head of `body`, whose dialect names the model in it.
///
/// # Errors
/// [`RequestError`] names the field and the byte at which the body stopped making sense.
pub fn parse_head(dialect: Dialect, operation: Operation, body: &[u8]) -> Result<RequestHead, RequestError> {
    parse_head_at(dialect, operation, Address::default(), body)
}

/// Reads the head of `body`, sent to a path that says `address`.
///
/// # Errors
/// [`RequestError`] names the field and the byte at which the body stopped making sense.
pub fn parse_head_at(
    dialect: Dialect,
    operation: Operation,
    address: Address<'_>,
    body: &[u8],
) -> Result<RequestHead, RequestError> {
    if operation == Operation::Models {
        return Ok(RequestHead::nameless(body));
    }
    if operation == Operation::Realtime {
        // There is no body: the conversation comes later.
        let model = Some((address.model.to_owned(), None));
        return Ok(Reader { model, stream: Some(true), ..Reader::default() }.head(dialect, operation, body));
    }
    check_utf8(body)?;
    let mut reader = Reader::default();
    reader.read(dialect, operation, body)?;
    if names_model_in_path(dialect) {
        reader.model = Some((address.model.to_owned(), None));
        reader.stream = Some(address.stream);
    }
    if reader.model.is_none() && !may_name_no_model(operation) {
        return Err(RequestError::Missing { field: "model", expected: "name a model, such as `sandbox/small`" });
    }
    match (operation, reader.content) {
        (Operation::CountTokens, false) if dialect == Dialect::Bedrock => {
            Err(RequestError::Missing { field: "input", expected: "send an object with `converse` or `invokeModel`" })
        }
        (Operation::Chat | Operation::CountTokens, false) => match dialect {
            Dialect::Gemini => Err(RequestError::Missing { field: "contents", expected: "send an array of contents" }),
            // Stored prompts and earlier answers can stand for it.
            Dialect::Responses => Ok(reader.head(dialect, operation, body)),
            Dialect::Openai | Dialect::Anthropic | Dialect::Bedrock => {
                Err(RequestError::Missing { field: "messages", expected: "send an array of messages" })
            }
        },
        (Operation::Embeddings, false) if dialect == Dialect::Gemini => {
            Err(RequestError::Missing { field: "content", expected: "send a content, or requests that hold one each" })
        }
        (Operation::Embeddings | Operation::Moderations | Operation::Speech, false) => {
            Err(RequestError::Missing { field: "input", expected: "send a text or an array of texts" })
        }
        _ => Ok(reader.head(dialect, operation, body)),
    }
}

/// Whether the path and not the body says which model is wanted and whether as a stream.
fn names_model_in_path(dialect: Dialect) -> bool {
    matches!(dialect, Dialect::Gemini | Dialect::Bedrock)
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    model: Option<(String, Option<Range<usize>>)>,
    stream: Option<bool>,
    max_tokens: Option<Option<u64>>,
    max_completion_tokens: Option<Option<u64>>,
    choices: Option<Option<u64>>,
    user: Option<String>,
    tools: bool,
    content: bool,
    base64: bool,
    /// Offset just behind the `{` of the body.
    body_opens_at: usize,
    options: Option<UsageAt>,
}

impl Reader {
    fn read(&mut self, dialect: Dialect, operation: Operation, body: &[u8]) -> Result<(), RequestError> {
        let mut cursor = Cursor::new(body);
        if cursor.kind()? != Kind::Object {
            return Err(RequestError::Invalid {
                field: "body",
                offset: cursor.offset(),
                expected: "send a JSON object",
            });
        }
        self.body_opens_at = cursor.offset() + 1;
        let mut reading = None;
        let read = cursor.fields(|key, cursor| {
            reading = Some(key);
            self.field(dialect, operation, key, cursor)?;
            reading = None;
            Ok(())
        });
        read.and_then(|()| cursor.end().map_err(RequestError::from)).map_err(|error| named(error, reading))
    }

    #[inline]
    fn field(
        &mut self,
        dialect: Dialect,
        operation: Operation,
        key: Text<'_>,
        cursor: &mut Cursor<'_>,
    ) -> Result<(), RequestError> {
        match dialect {
            Dialect::Gemini => return self.gemini_field(operation, key, cursor),
            Dialect::Bedrock => return self.bedrock_field(operation, key, cursor),
            Dialect::Openai | Dialect::Anthropic | Dialect::Responses => {}
        }
        if key.is("model") {
            return self.read_model(cursor);
        }
        if key.is("messages") && matches!(operation, Operation::Chat | Operation::CountTokens) {
            return self.read_messages(cursor);
        }
        if key.is("input") && matches!(operation, Operation::Embeddings | Operation::Moderations | Operation::Speech) {
            self.content = true;
            return Ok(cursor.skip().map(drop)?);
        }
        if key.is("stream") {
            return self.read_stream(cursor);
        }
        if key.is("max_tokens") && dialect != Dialect::Responses {
            return read_count("max_tokens", &mut self.max_tokens, cursor);
        }
        if key.is("tools") || key.is("functions") {
            // `[]` and `{}` offer nothing.
            self.tools |= cursor.skip()?.len() > 2;
            return Ok(());
        }
        match dialect {
            Dialect::Anthropic => self.anthropic_field(key, cursor),
            Dialect::Responses => self.responses_field(key, cursor),
            Dialect::Openai | Dialect::Gemini | Dialect::Bedrock => self.openai_field(operation, key, cursor),
        }
    }

    fn responses_field(&mut self, key: Text<'_>, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        if key.is("max_output_tokens") {
            return read_count("max_output_tokens", &mut self.max_tokens, cursor);
        }
        if key.is("user") || key.is("safety_identifier") {
            return self.read_user(cursor);
        }
        // There is one answer to a call, and its usage always comes.
        Ok(cursor.skip().map(drop)?)
    }

    fn gemini_field(
        &mut self,
        operation: Operation,
        key: Text<'_>,
        cursor: &mut Cursor<'_>,
    ) -> Result<(), RequestError> {
        if operation == Operation::Embeddings {
            // `embedContent`, `batchEmbedContents`, and Vertex AI's `predict`.
            self.content |= key.is("content") || key.is("requests") || key.is("instances");
            return Ok(cursor.skip().map(drop)?);
        }
        // `countTokens` may hold a whole request.
        let is_request = key.is("generateContentRequest") || key.is("generate_content_request");
        if is_request && cursor.kind()? == Kind::Object {
            return cursor.fields(|key, cursor| {
                if key.is("contents") { self.read_contents(cursor) } else { Ok(cursor.skip().map(drop)?) }
            });
        }
        if key.is("contents") {
            return self.read_contents(cursor);
        }
        if key.is("tools") {
            self.tools |= cursor.skip()?.len() > 2;
            return Ok(());
        }
        if (key.is("generationConfig") || key.is("generation_config")) && cursor.kind()? == Kind::Object {
            return cursor.fields(|key, cursor| {
                if key.is("maxOutputTokens") || key.is("max_output_tokens") {
                    return read_count("generationConfig.maxOutputTokens", &mut self.max_tokens, cursor);
                }
                if key.is("candidateCount") || key.is("candidate_count") {
                    return read_count("generationConfig.candidateCount", &mut self.choices, cursor);
                }
                Ok(cursor.skip().map(drop)?)
            });
        }
        Ok(cursor.skip().map(drop)?)
    }

    /// Google's front end takes a single content for a list of one.
    fn read_contents(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        if cursor.kind()? == Kind::Object && !self.content {
            self.content = true;
            return Ok(cursor.skip().map(drop)?);
        }
        self.read_turns("contents", "send an array of contents", cursor)
    }

    fn bedrock_field(
        &mut self,
        operation: Operation,
        key: Text<'_>,
        cursor: &mut Cursor<'_>,
    ) -> Result<(), RequestError> {
        if operation == Operation::CountTokens {
            self.content |= key.is("input");
            return Ok(cursor.skip().map(drop)?);
        }
        if key.is("messages") {
            return self.read_messages(cursor);
        }
        if key.is("toolConfig") {
            self.tools |= cursor.skip()?.len() > 2;
            return Ok(());
        }
        if key.is("inferenceConfig") && cursor.kind()? == Kind::Object {
            return cursor.fields(|key, cursor| {
                if key.is("maxTokens") {
                    return read_count("inferenceConfig.maxTokens", &mut self.max_tokens, cursor);
                }
                Ok(cursor.skip().map(drop)?)
            });
        }
        Ok(cursor.skip().map(drop)?)
    }

    fn openai_field(
        &mut self,
        operation: Operation,
        key: Text<'_>,
        cursor: &mut Cursor<'_>,
    ) -> Result<(), RequestError> {
        if key.is("max_completion_tokens") {
            return read_count("max_completion_tokens", &mut self.max_completion_tokens, cursor);
        }
        if key.is("n") {
            return read_count("n", &mut self.choices, cursor);
        }
        if key.is("stream_options") {
            return self.read_stream_options(cursor);
        }
        if key.is("user") || key.is("safety_identifier") {
            return self.read_user(cursor);
        }
        if key.is("encoding_format") && operation == Operation::Embeddings {
            self.base64 = cursor.text_or_skip()?.is_some_and(|format| format.is("base64"));
            return Ok(());
        }
        if key.is("stream_format") && operation == Operation::Speech {
            self.stream = Some(cursor.text_or_skip()?.is_some_and(|format| format.is("sse")));
            return Ok(());
        }
        Ok(cursor.skip().map(drop)?)
    }

    fn read_user(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        self.user = cursor.text_or_skip()?.map(|user| user.decode().into_owned());
        Ok(())
    }

    fn anthropic_field(&mut self, key: Text<'_>, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        if key.is("metadata") && cursor.kind()? == Kind::Object {
            return cursor.fields(|key, cursor| {
                if key.is("user_id") {
                    self.user = cursor.text_or_skip()?.map(|user| user.decode().into_owned());
                    return Ok(());
                }
                Ok(cursor.skip().map(drop)?)
            });
        }
        Ok(cursor.skip().map(drop)?)
    }

    fn read_model(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        let kind = cursor.kind()?;
        let start = cursor.offset();
        if self.model.is_some() {
            return Err(RequestError::Duplicate { field: "model", offset: start });
        }
        let expected = "name a model as a string, such as `sandbox/small`";
        if kind != Kind::Text {
            return Err(RequestError::Invalid { field: "model", offset: start, expected });
        }
        let text = cursor.text()?;
        if text.is_empty() {
            return Err(RequestError::Invalid { field: "model", offset: start, expected });
        }
        self.model = Some((text.decode().into_owned(), Some(start..cursor.offset())));
        Ok(())
    }

    fn read_messages(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        self.read_turns("messages", "send an array of messages", cursor)
    }

    fn read_turns(
        &mut self,
        field: &'static str,
        expected: &'static str,
        cursor: &mut Cursor<'_>,
    ) -> Result<(), RequestError> {
        let kind = cursor.kind()?;
        let offset = cursor.offset();
        if self.content {
            return Err(RequestError::Duplicate { field, offset });
        }
        if kind != Kind::Array {
            return Err(RequestError::Invalid { field, offset, expected });
        }
        self.content = true;
        Ok(cursor.skip().map(drop)?)
    }

    fn read_stream(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        let kind = cursor.kind()?;
        let offset = cursor.offset();
        if self.stream.is_some() {
            return Err(RequestError::Duplicate { field: "stream", offset });
        }
        let value = cursor.bool_or_skip()?;
        if value.is_none() && kind != Kind::Null {
            return Err(RequestError::Invalid { field: "stream", offset, expected: "send `true` or `false`" });
        }
        self.stream = Some(value.unwrap_or(false));
        Ok(())
    }

    fn read_stream_options(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        let kind = cursor.kind()?;
        let offset = cursor.offset();
        if self.options.is_some() {
            return Err(RequestError::Duplicate { field: "stream_options", offset });
        }
        match kind {
            Kind::Null => self.options = Some(UsageAt::ReplaceOptions(cursor.skip()?)),
            Kind::Object => self.options = Some(read_usage_flag(cursor)?),
            _ => {
                let expected = "send an object, such as `{\"include_usage\": true}`";
                return Err(RequestError::Invalid { field: "stream_options", offset, expected });
            }
        }
        Ok(())
    }

    fn head(self, dialect: Dialect, operation: Operation, body: &[u8]) -> RequestHead {
        let stream = streams(operation) && self.stream.unwrap_or(false);
        let tells_usage_if_asked = matches!(operation, Operation::Chat | Operation::Completions);
        let usage_at = match (dialect, stream && tells_usage_if_asked) {
            (Dialect::Openai, true) => self.options.unwrap_or(UsageAt::AddOptions(self.body_opens_at)),
            _ => UsageAt::Settled,
        };
        let (model, model_at) = self.model.unwrap_or_default();
        RequestHead {
            model,
            stream,
            max_output_tokens: self.max_completion_tokens.flatten().or(self.max_tokens.flatten()),
            choices: self.choices.flatten().unwrap_or(1).max(1),
            user: self.user.filter(|user| !user.is_empty()),
            tools: self.tools,
            base64: self.base64,
            estimated_input_tokens: estimate(body.len()),
            model_at,
            is_form: false,
            usage_at,
        }
    }
}

/// Reads a whole number or null into `slot`.
fn read_count(
    field: &'static str,
    slot: &mut Option<Option<u64>>,
    cursor: &mut Cursor<'_>,
) -> Result<(), RequestError> {
    let kind = cursor.kind()?;
    let offset = cursor.offset();
    if slot.is_some() {
        return Err(RequestError::Duplicate { field, offset });
    }
    let value = match kind {
        // Protobuf's JSON may quote numbers, which Google's client libraries make use of.
        Kind::Text if field.starts_with("generationConfig.") => cursor.text()?.decode().parse().ok(),
        _ => cursor.count_or_skip()?,
    };
    if value.is_none() && kind != Kind::Null {
        return Err(RequestError::Invalid { field, offset, expected: "send a whole number that is not negative" });
    }
    *slot = Some(value);
    Ok(())
}

/// Reads `stream_options` and says what must change in it.
fn read_usage_flag(cursor: &mut Cursor<'_>) -> Result<UsageAt, RequestError> {
    let opens_at = cursor.offset() + 1;
    let mut alone = true;
    let mut flag = None;
    cursor.fields(|key, cursor| {
        alone = false;
        if !key.is("include_usage") {
            return Ok(cursor.skip().map(drop)?);
        }
        let kind = cursor.kind()?;
        let offset = cursor.offset();
        if flag.is_some() {
            return Err(RequestError::Duplicate { field: "stream_options.include_usage", offset });
        }
        let value = cursor.bool_or_skip()?;
        if value.is_none() && kind != Kind::Null {
            let expected = "send `true` or `false`";
            return Err(RequestError::Invalid { field: "stream_options.include_usage", offset, expected });
        }
        let at = offset..cursor.offset();
        flag = Some(if value == Some(true) { UsageAt::Settled } else { UsageAt::ReplaceFlag(at) });
        Ok(())
    })?;
    Ok(flag.unwrap_or(UsageAt::AddFlag { at: opens_at, alone }))
}

/// Says in which top-level field the text stopped being JSON.
fn named(error: RequestError, reading: Option<Text<'_>>) -> RequestError {
    match error {
        RequestError::NotJson { offset, reason, .. } => {
            let field = reading.map_or_else(|| "body".to_owned(), |key| key.decode().into_owned());
            RequestError::NotJson { field, offset, reason }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(body: &str) -> Result<RequestHead, RequestError> {
        parse_head(Dialect::Openai, Operation::Chat, body.as_bytes())
    }

    #[test]
    fn the_fields_that_decide_are_read_and_the_rest_is_left_alone() {
        let body = r#" {"messages":[{"role":"user","content":"hi"}],"mod\u0065l":"gpt\u002d5","stream":true,
            "max_completion_tokens":77,"max_tokens":9,"n":2,"user":"u-1","tools":[{"type":"function"}],"seed":1.5e3}"#;
        let head = chat(body).unwrap();
        assert_eq!(head.model, "gpt-5");
        assert!(head.stream && head.tools && head.hides_usage());
        assert_eq!((head.max_output_tokens, head.choices), (Some(77), 2));
        assert_eq!(head.user.as_deref(), Some("u-1"));
        assert_eq!(head.estimated_input_tokens, (body.len() as u64).div_ceil(4));
        assert_eq!(&body[head.model_at.clone().unwrap()], r#""gpt\u002d5""#);
    }

    #[test]
    fn an_anthropic_head_names_its_user_in_the_metadata() {
        let body =
            br#"{"model":"claude-sonnet-4-5","max_tokens":5,"metadata":{"user_id":"u-2"},"messages":[],"stream":true}"#;
        let head = parse_head(Dialect::Anthropic, Operation::Chat, body).unwrap();
        assert_eq!(head.user.as_deref(), Some("u-2"));
        assert_eq!(head.max_output_tokens, Some(5));
        assert!(!head.hides_usage(), "a Messages stream always carries its usage");
    }

    #[test]
    fn a_responses_head_needs_no_input_and_names_its_own_limit() {
        let body = br#"{"model":"gpt-5","previous_response_id":"resp_1","max_output_tokens":64,"stream":true,
            "stream_options":{"include_obfuscation":false},"safety_identifier":"u-3","tools":[{"type":"web_search"}]}"#;
        let head = parse_head(Dialect::Responses, Operation::Chat, body).unwrap();
        assert!(head.stream && head.tools && !head.hides_usage());
        assert_eq!((head.max_output_tokens, head.user.as_deref()), (Some(64), Some("u-3")));
        let twice = br#"{"model":"gpt-5","input":"Hi","model":"gpt-5-nano"}"#;
        assert_eq!(parse_head(Dialect::Responses, Operation::Chat, twice).unwrap_err().code(), "duplicate_field");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_byte() {
        let text = |body: &str| chat(body).unwrap_err().to_string();
        assert_eq!(
            text(r#"{"model":"m","messages":[{"role":}]}"#),
            "the body is not JSON at byte 33, in `messages`: expected a value"
        );
        assert_eq!(text(""), "the body is not JSON at byte 0, in `body`: the text ends too early");
        assert_eq!(text("[]"), "`body` at byte 0 of the body is not valid; send a JSON object");
        assert_eq!(
            text(r#"{"messages":[]}"#),
            "`model` is missing from the body; name a model, such as `sandbox/small`"
        );
        assert_eq!(text(r#"{"model":"m"}"#), "`messages` is missing from the body; send an array of messages");
        assert_eq!(
            text(r#"{"model":"m","stream":1}"#),
            "`stream` at byte 22 of the body is not valid; send `true` or `false`"
        );
        assert_eq!(
            text(r#"{"model":"m","max_tokens":-1}"#),
            "`max_tokens` at byte 26 of the body is not valid; send a whole number that is not negative"
        );
        assert_eq!(
            text(r#"{"model":"m","messages":[]} x"#),
            "the body is not JSON at byte 28, in `body`: the text goes on after the value"
        );
        let error = parse_head(Dialect::Openai, Operation::Chat, b"{\"model\":\"\xff\"}").unwrap_err();
        assert_eq!(error, RequestError::NotUtf8 { offset: 10 });
    }

    #[test]
    fn a_second_model_cannot_slip_past_policy() {
        for body in [
            r#"{"model":"cheap","messages":[],"model":"dear"}"#,
            r#"{"model":"cheap","messages":[],"mod\u0065l":"dear"}"#,
        ] {
            assert_eq!(chat(body).unwrap_err().code(), "duplicate_field");
        }
    }

    #[test]
    fn googles_head_names_its_model_in_the_path_and_is_read_in_either_spelling() {
        let address = Address { model: "gemini-3-flash-preview", stream: true };
        for body in [
            r#"{"contents":[],"generationConfig":{"maxOutputTokens":5,"candidateCount":2},"tools":[{}]}"#,
            r#"{"contents":{"parts":{"text":"Hi"}},"generation_config":{"max_output_tokens":5,"candidate_count":2},"tools":[{}]}"#,
        ] {
            let head = parse_head_at(Dialect::Gemini, Operation::Chat, address, body.as_bytes()).unwrap();
            assert_eq!((head.model.as_str(), head.stream, head.tools), ("gemini-3-flash-preview", true, true));
            assert_eq!((head.max_output_tokens, head.choices), (Some(5), 2));
        }
        let count = br#"{"generateContentRequest":{"model":"models/m","contents":[]}}"#;
        assert!(parse_head_at(Dialect::Gemini, Operation::Chat, address, count).is_ok());
        for embedded in [r#"{"content":{"parts":[{"text":"a"}]}}"#, r#"{"requests":[]}"#, r#"{"instances":[]}"#] {
            let head = parse_head_at(Dialect::Gemini, Operation::Embeddings, address, embedded.as_bytes()).unwrap();
            assert!(!head.stream, "{embedded}");
        }
        let twice = br#"{"contents":{},"contents":{}}"#;
        let error = parse_head_at(Dialect::Gemini, Operation::Chat, address, twice).unwrap_err();
        assert_eq!(error.code(), "duplicate_field");
    }

    #[test]
    fn embeddings_need_an_input_and_never_stream() {
        let head = parse_head(Dialect::Openai, Operation::Embeddings, br#"{"model":"e","input":["a"],"stream":true}"#);
        assert!(!head.unwrap().stream);
        let error = parse_head(Dialect::Openai, Operation::Embeddings, br#"{"model":"e"}"#).unwrap_err();
        assert_eq!(error.code(), "missing_field");
    }
}
