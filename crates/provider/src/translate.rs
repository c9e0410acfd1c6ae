//! Translates a call whose caller speaks another dialect than its provider: the request on its way there, the answer or
//! the stream on its way back. Every dialect is read into and written from [`crate::chat`], so that a new one is one module
//! and not one for each other dialect. What the target cannot express is refused with the field's path, or dropped by name
//! where the operator allows it; nothing is lost unsaid.

mod call;
mod call_ids;
pub(crate) mod called;
mod count;
mod custom;
mod embeddings;
mod emptied;
mod fields;
mod foreign;
mod losses;
pub(crate) mod markers;
pub(crate) mod search;
mod soundness;
mod stream;
pub(crate) mod thinking;

use bytes::Bytes;
use call_ids::CallIds;
use serde_json::Value;
use tollgate_interaction::Dialect;

pub use call::{AnswerStream, answer_at, request_at};
pub use embeddings::vertex::request as vertex_embeddings;
pub(crate) use fields::{Fields, read_said, read_text};
pub use losses::{Losses, MAX_NAMED, OnUnsupported, Remedy, Unsupported, UnsupportedField};
pub use stream::{EditEvents, StreamTranslator};
pub(crate) use stream::{ReadStream, WriteStream};

use crate::chat::{Answer, Format, Request, Said};
use crate::dialect::{RequestError, anthropic, bedrock, gemini, openai, responses};
use crate::preset::Quirks;

/// What the path of a request says where the body does not: the model and whether a stream is wanted (Gemini, Bedrock).
/// The other dialects say both in the body, and there this is not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address<'a> {
    /// Name of the model.
    pub model: &'a str,
    /// Whether the path is that of a stream.
    pub stream: bool,
}

/// What a writer of answers has to know of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Stands for the answer's id where the provider gives none; also the seed of ids of its parts.
    pub id: String,
    /// Stands for the time of the answer where the provider gives none. Seconds since 1970.
    pub created_at_s: i64,
    /// Model that was called, by its provider's name for it; stands for the served one where the answer names none.
    pub model: String,
    /// Whether the caller of a Chat Completions stream wants the usage chunk.
    pub include_usage: bool,
    /// Whether the stream is to be one of server-sent events rather than a JSON array (Gemini).
    pub events: bool,
    /// Whether vectors are to be written as base64 (OpenAI's embeddings).
    pub base64: bool,
}

/// A request in the provider's dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translated {
    /// The body.
    pub body: Bytes,
    /// Paths in the caller's body of what was left out, in order.
    pub dropped: Vec<String>,
    /// For the header `anthropic-beta`, where the caller's body named them; else empty.
    pub betas: String,
}

/// Why a request was not translated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TranslateError {
    /// The caller's body is not what its dialect wants.
    #[error("{0}")]
    Request(#[from] RequestError),
    /// The provider's dialect cannot say it.
    #[error("{0}")]
    Unsupported(#[from] Unsupported),
}

/// Why an answer could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{at}` of the provider's answer is not {expected}")]
pub struct AnswerError {
    /// Path in the answer; `body` for all of it.
    pub at: String,
    /// What it should be.
    pub expected: &'static str,
}

/// Translates the body of a request from the caller's dialect to the provider's. `model` is the model's name at the
/// provider.
///
/// # Errors
/// [`TranslateError`] names the field.
pub fn request(
    from: Dialect,
    to: Dialect,
    body: &[u8],
    address: Address<'_>,
    model: &str,
    on_unsupported: OnUnsupported,
) -> Result<Translated, TranslateError> {
    write(&Quirks::default(), from, to, read(from, body, address)?, model, on_unsupported)
}

/// Reads the body of a request: the first half of its translation, which is the same whoever it is written for.
///
/// # Errors
/// [`RequestError`] names the field that is not what the dialect wants, or not what it says it is.
pub fn read(from: Dialect, body: &[u8], address: Address<'_>) -> Result<Request, RequestError> {
    let parsed = serde_json::from_slice(body).map_err(|error| RequestError::unreadable(&error, body))?;
    soundness::check_length(&parsed)?;
    let request = read_request(from, parsed, address)?;
    soundness::check(&request)?;
    Ok(request)
}

/// Writes what [`read`] has read of a caller of dialect `from` for a provider of dialect `to` with `quirks`, which knows the
/// model as `model`.
///
/// # Errors
/// [`TranslateError`] names the fields of the caller's that the dialect cannot express, or the one that holds no message.
pub fn write(
    quirks: &Quirks,
    from: Dialect,
    to: Dialect,
    mut request: Request,
    model: &str,
    on_unsupported: OnUnsupported,
) -> Result<Translated, TranslateError> {
    model.clone_into(&mut request.model);
    let mut losses = Losses::new(to, on_unsupported);
    let mut body = write_request(to, request, &mut losses)?;
    emptied::check_written(from, to, &body)?;
    if to == Dialect::Openai {
        quirks.adapt(&mut body);
    }
    Ok(Translated { body: encode(&body), dropped: losses.into_dropped(), betas: String::new() })
}

/// Reads a request of `dialect`.
///
/// # Errors
/// [`RequestError`] names the field that is not what the dialect wants.
pub fn read_request(dialect: Dialect, body: Value, address: Address<'_>) -> Result<Request, RequestError> {
    let request = match dialect {
        Dialect::Openai => openai::request::read(body),
        Dialect::Anthropic => anthropic::request::read(body),
        Dialect::Responses => responses::request::read(body),
        Dialect::Gemini => gemini::request::read(body, address),
        Dialect::Bedrock => bedrock::request::read(body, address),
    }?;
    check_schemas(&request)?;
    Ok(request)
}

/// Some dialect has a schema as a text, another an older form of it: what all agree on is that it is an object.
fn check_schemas(request: &Request) -> Result<(), RequestError> {
    if let Some(tool) = request.tools.iter().find(|tool| !tool.parameters.is_object()) {
        let expected = "the JSON schema of its arguments must be an object";
        return Err(RequestError::Malformed { field: tool.at.clone(), expected });
    }
    match &request.format {
        Some(Said { value: Format::JsonSchema { schema, .. }, at }) if !schema.is_object() => {
            Err(RequestError::Malformed { field: at.clone(), expected: "its JSON schema must be an object" })
        }
        _ => Ok(()),
    }
}

/// Writes a request in `dialect`.
///
/// # Errors
/// [`Unsupported`] names the fields of the caller's that the dialect cannot express.
pub fn write_request(dialect: Dialect, mut request: Request, losses: &mut Losses) -> Result<Value, Unsupported> {
    custom::set_apart(dialect, &mut request);
    let sayings = losses.may_drop().then(|| emptied::Sayings::of(&request.messages));
    let written = match dialect {
        Dialect::Openai => openai::request::write(request, losses),
        Dialect::Anthropic => anthropic::request::write(request, losses),
        Dialect::Responses => responses::request::write(request, losses),
        Dialect::Gemini => gemini::request::write(request, losses),
        Dialect::Bedrock => bedrock::request::write(request, losses),
    }?;
    losses.check()?;
    sayings.map_or(Ok(()), |sayings| sayings.check(losses))?;
    Ok(written)
}

/// Translates a whole answer from the provider's dialect to the caller's.
///
/// # Errors
/// [`AnswerError`] if it is not an answer of the provider's dialect.
pub fn answer(from: Dialect, to: Dialect, body: &[u8], asked: &Asked) -> Result<Bytes, AnswerError> {
    let body = serde_json::from_slice(body).map_err(|_| AnswerError { at: "body".to_owned(), expected: "JSON" })?;
    Ok(encode(&write_answer(to, read_answer(from, body)?, asked)))
}

/// Reads a whole answer of `dialect`.
///
/// # Errors
/// [`AnswerError`] names the field that is not what the dialect promises.
pub fn read_answer(dialect: Dialect, body: Value) -> Result<Answer, AnswerError> {
    match dialect {
        Dialect::Openai => openai::answer::read(body),
        Dialect::Anthropic => anthropic::answer::read(body),
        Dialect::Responses => responses::answer::read(body),
        Dialect::Gemini => gemini::answer::read(body),
        Dialect::Bedrock => bedrock::answer::read(body),
    }
}

/// Writes a whole answer in `dialect`.
#[must_use]
pub fn write_answer(dialect: Dialect, mut answer: Answer, asked: &Asked) -> Value {
    CallIds::of(&asked.id).name_all(&mut answer);
    match dialect {
        Dialect::Openai => openai::answer::write(answer, asked),
        Dialect::Anthropic => anthropic::answer::write(answer, asked),
        Dialect::Responses => responses::answer::write(answer, asked),
        Dialect::Gemini => gemini::answer::write(answer, asked),
        Dialect::Bedrock => bedrock::answer::write(answer),
    }
}

pub(crate) fn read_stream(dialect: Dialect) -> Box<dyn ReadStream> {
    match dialect {
        Dialect::Openai => Box::<openai::stream::Reader>::default(),
        Dialect::Anthropic => Box::<anthropic::stream::Reader>::default(),
        Dialect::Responses => Box::<responses::stream::Reader>::default(),
        Dialect::Gemini => Box::<gemini::stream::Reader>::default(),
        Dialect::Bedrock => Box::<bedrock::stream::Reader>::default(),
    }
}

pub(crate) fn write_stream(dialect: Dialect, asked: Asked) -> Box<dyn WriteStream> {
    match dialect {
        Dialect::Openai => Box::new(openai::stream::Writer::new(asked)),
        Dialect::Anthropic => Box::new(anthropic::stream::Writer::new(asked)),
        Dialect::Responses => Box::new(responses::stream::Writer::new(asked)),
        Dialect::Gemini => Box::new(gemini::stream::Writer::new(asked)),
        Dialect::Bedrock => Box::<bedrock::stream::Writer>::default(),
    }
}

fn encode(body: &Value) -> Bytes {
    // A value whose names are texts can always be written; its own form of itself is the same JSON, written more slowly.
    serde_json::to_vec(body).unwrap_or_else(|_| body.to_string().into_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_that_is_no_object_is_refused_by_its_place() {
        let bodies = [
            (
                Dialect::Openai,
                r#"{"model":"m","messages":[],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":[]}}}"#,
            ),
            (
                Dialect::Openai,
                r#"{"model":"m","messages":[],"tools":[{"type":"function","function":{"name":"a","parameters":"x"}}]}"#,
            ),
            (
                Dialect::Gemini,
                r#"{"contents":[],"tools":[{"functionDeclarations":[{"name":"a","parametersJsonSchema":[]}]}]}"#,
            ),
            (
                Dialect::Bedrock,
                r#"{"messages":[],"toolConfig":{"tools":[{"toolSpec":{"name":"a","inputSchema":{"json":7}}}]}}"#,
            ),
        ];
        for (dialect, body) in bodies {
            let read =
                read_request(dialect, serde_json::from_str(body).unwrap(), Address { model: "m", stream: false });
            let Err(RequestError::Malformed { field, .. }) = read else { panic!("{body}: {read:?}") };
            assert!(field.contains("tools") || field.contains("response_format"), "{field}");
        }
    }
}
