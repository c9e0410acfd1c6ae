//! The bodies of errors. OpenAI's, Anthropic's and Google's have an object `error`; Amazon's and those of servers that copy
//! OpenAI's format have a dozen other shapes, which are all brought to one here. What is no error in any of them is none.

use crate::dialect::bedrock;
use crate::observe::{self, StreamError};
use crate::scan::{Cursor, Kind, ScanError, Tree};

/// Reasons of a list, such as the fields of a request that a server refuses, that are told.
const MAX_REASONS: usize = 4;

/// The error that `body` reports with `http_status`, if it is JSON and reports one. A `message` or `detail` alone means
/// nothing unless the status is that of an error.
pub(super) fn read(http_status: u16, body: &[u8]) -> Option<StreamError> {
    let (mut error, mut others) = named(body).ok()?;
    if let Some(error) = &mut error {
        if error.message.is_empty() {
            // Mistral's message may be an object or a list.
            error.message =
                Tree::read(body).ok().and_then(|body| words(body.get("error").unwrap_or(&body))).unwrap_or_default();
        }
        // xAI's code and the type of Text Generation Inference stand beside a text.
        error.code = error.code.take().or(others.code.take());
        if error.kind.is_empty() {
            error.kind = others.kind;
        }
        return Some(observe::StreamError { message: observe::bounded(&error.message), ..std::mem::take(error) });
    }
    if !others.is_amazons && http_status < 400 {
        return None;
    }
    let body = Tree::read(body).ok()?;
    others.message = words(&body).unwrap_or_default();
    if !others.is_amazons && others.message.is_empty() {
        return None;
    }
    Some(StreamError { kind: others.kind, code: others.code, message: observe::bounded(&others.message) })
}

/// Whether there is an object `error`, the shape that client libraries look for; Google puts it into a list.
pub(super) fn has_error_object(body: &[u8]) -> bool {
    let Ok(body) = Tree::read(body) else { return false };
    let first = body.items().map_or(Some(&body), <[_]>::first);
    first.and_then(|body| body.get("error")).is_some_and(|error| error.raw().starts_with('{'))
}

/// What stands beside or in place of `error`.
#[derive(Debug, Default)]
struct Others {
    kind: String,
    code: Option<String>,
    message: String,
    is_amazons: bool,
}

/// The value of `error`, and what stands beside it. A body that says itself that it is an error is one.
fn named(body: &[u8]) -> Result<(Option<StreamError>, Others), ScanError> {
    let mut cursor = Cursor::new(body);
    let mut error = None;
    let mut is_error = false;
    let mut others = Others::default();
    let mut read = |cursor: &mut Cursor<'_>| {
        if cursor.kind()? != Kind::Object {
            return cursor.skip().map(drop);
        }
        cursor.fields(|key, cursor| {
            if key.is("error") {
                error = observe::read_error(cursor)?;
            } else if key.is("base_resp") {
                error = observe::read_base_resp(cursor)?.or(error.take());
            } else if key.is("object") {
                is_error = cursor.text_or_skip()?.is_some_and(|object| object.is("error") || object.is("Error"));
            } else if key.is("__type") {
                let name = cursor.text_or_skip()?.map(|name| name.decode().into_owned()).unwrap_or_default();
                bedrock::error_name(&name).clone_into(&mut others.kind);
                others.is_amazons = true;
            } else if (key.is("type") || key.is("error_type")) && !others.is_amazons {
                others.kind = text(cursor)?.unwrap_or_default();
            } else if key.is("code") {
                others.code = text(cursor)?;
            } else {
                cursor.skip()?;
            }
            Ok(())
        })
    };
    match cursor.kind()? {
        Kind::Object => read(&mut cursor)?,
        Kind::Array => cursor.items(read)?,
        _ => {}
    }
    // Mistral and older vLLM: the body itself is the error.
    if is_error && error.is_none() {
        error = observe::read_error(&mut Cursor::new(body))?;
    }
    Ok((error, others))
}

/// A text, or a number as one.
fn text(cursor: &mut Cursor<'_>) -> Result<Option<String>, ScanError> {
    match cursor.kind()? {
        Kind::Text => Ok(Some(observe::bounded(&cursor.text()?.decode()))),
        Kind::Number => Ok(cursor.count_or_skip()?.map(|number| number.to_string())),
        _ => cursor.skip().map(|_| None),
    }
}

/// What a body without `error` says for people: `message` (Amazon, Cohere, Cerebras), `detail` (FastAPI: vLLM, NVIDIA,
/// Mistral, Voyage) or `title` (RFC 9457), each a text, a list of refused fields, or an object with one of these.
fn words(body: &Tree<'_>) -> Option<String> {
    let at = |name: &str| body.get(name).and_then(reason);
    at("message").or_else(|| at("Message")).or_else(|| at("detail")).or_else(|| at("msg")).or_else(|| at("title"))
}

fn reason(said: &Tree<'_>) -> Option<String> {
    if let Some(text) = said.text() {
        return Some(text.into_owned()).filter(|text| !text.is_empty());
    }
    let Some(items) = said.items() else { return words(said) };
    let reasons: Vec<String> = items.iter().take(MAX_REASONS).filter_map(refused_field).collect();
    let more = items.len().saturating_sub(MAX_REASONS);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    (!reasons.is_empty()).then(|| reasons.join("; ") + &more)
}

/// `body.stream_options.include_usage: Extra inputs are not permitted`. The value that is refused is the caller's, and
/// stays out.
fn refused_field(item: &Tree<'_>) -> Option<String> {
    let message = item.text().or_else(|| item.get("msg")?.text())?;
    let place = item.get("loc").and_then(Tree::items).unwrap_or_default();
    let place: Vec<_> = place.iter().map(|step| step.text().unwrap_or_else(|| step.raw())).collect();
    Some(if place.is_empty() { message.into_owned() } else { format!("{}: {message}", place.join(".")) })
}

#[cfg(test)]
mod tests {
    use super::super::{
        CONTENT_FILTERED, CONTEXT_LENGTH, INVALID_REQUEST, NOT_FOUND, OVERLOADED, QUOTA_EXHAUSTED, RATE_LIMITED,
        SERVER_ERROR, UNAUTHORIZED, classify,
    };
    use super::*;

    /// Errors as each provider's documentation or source shows them: status, body, what is read of it, and its class.
    const BODIES: &[(&str, u16, &str, &str, &str)] = &[
        (
            "Mistral",
            422,
            r#"{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","stream_options","include_usage"],"msg":"Extra inputs are not permitted","input":true}]},"type":"invalid_request_error","param":null,"code":null}"#,
            "body.stream_options.include_usage: Extra inputs are not permitted",
            INVALID_REQUEST,
        ),
        (
            "Mistral",
            422,
            r#"{"object":"Error","detail":[{"type":"extra_forbidden","loc":["body","tools"],"msg":"Extra inputs are not permitted","input":[]}],"message":[{"type":"extra_forbidden","loc":["body","tools"],"msg":"Extra inputs are not permitted","input":[]}],"type":"invalid_request_error","code":3001}"#,
            "body.tools: Extra inputs are not permitted",
            INVALID_REQUEST,
        ),
        (
            "Mistral",
            422,
            r#"{"detail":[{"loc":["body","messages",0,"role"],"msg":"field required","type":"value_error.missing"}]}"#,
            "body.messages.0.role: field required",
            INVALID_REQUEST,
        ),
        ("Mistral", 401, r#"{"detail":"Unauthorized"}"#, "Unauthorized", UNAUTHORIZED),
        (
            "Mistral",
            429,
            r#"{"message":"Requests rate limit exceeded","request_id":"a"}"#,
            "Requests rate limit exceeded",
            RATE_LIMITED,
        ),
        (
            "vLLM",
            400,
            r#"{"error":{"message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.","type":"BadRequestError","param":null,"code":400}}"#,
            "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
            CONTEXT_LENGTH,
        ),
        (
            "vLLM, older",
            404,
            r#"{"object":"error","message":"The model `m` does not exist.","type":"NotFoundError","param":null,"code":404}"#,
            "The model `m` does not exist.",
            NOT_FOUND,
        ),
        ("vLLM's router", 404, r#"{"detail":"Not Found"}"#, "Not Found", NOT_FOUND),
        (
            "Ollama",
            404,
            r#"{"error":"model \"m\" not found, try pulling it first"}"#,
            "model \"m\" not found, try pulling it first",
            NOT_FOUND,
        ),
        (
            "Ollama",
            500,
            r#"{"error":{"message":"llama runner process has terminated","type":"api_error","param":null,"code":null}}"#,
            "llama runner process has terminated",
            SERVER_ERROR,
        ),
        (
            "TGI",
            422,
            r#"{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens and 20 `max_new_tokens`","error_type":"validation"}"#,
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens and 20 `max_new_tokens`",
            CONTEXT_LENGTH,
        ),
        (
            "TGI",
            429,
            r#"{"error":"Model is overloaded","error_type":"overloaded"}"#,
            "Model is overloaded",
            RATE_LIMITED,
        ),
        (
            "Hugging Face",
            503,
            r#"{"error":"Model m is currently loading","estimated_time":20.0}"#,
            "Model m is currently loading",
            OVERLOADED,
        ),
        (
            "llama.cpp",
            400,
            r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error","n_prompt_tokens":9,"n_ctx":8}}"#,
            "the request exceeds the available context size",
            CONTEXT_LENGTH,
        ),
        (
            "llama.cpp",
            503,
            r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
            "Loading model",
            OVERLOADED,
        ),
        ("LM Studio", 400, r#"{"error":"No models loaded."}"#, "No models loaded.", INVALID_REQUEST),
        (
            "Cohere",
            429,
            r#"{"message":"You are using a Trial key, which is limited to 10 API calls / minute."}"#,
            "You are using a Trial key, which is limited to 10 API calls / minute.",
            RATE_LIMITED,
        ),
        (
            "Cohere",
            400,
            r#"{"id":"1","message":"too many tokens: size limit exceeded by 96 tokens"}"#,
            "too many tokens: size limit exceeded by 96 tokens",
            CONTEXT_LENGTH,
        ),
        (
            "Cerebras",
            429,
            r#"{"message":"Requests per day limit exceeded","type":"too_many_requests_error","param":"quota","code":"request_quota_exceeded"}"#,
            "Requests per day limit exceeded",
            RATE_LIMITED,
        ),
        (
            "xAI",
            400,
            r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***ey."}"#,
            "Incorrect API key provided: xa***ey.",
            UNAUTHORIZED,
        ),
        (
            "NVIDIA",
            404,
            r#"{"status":404,"title":"Not Found","detail":"Function '1' version '2': Not found for account"}"#,
            "Function '1' version '2': Not found for account",
            NOT_FOUND,
        ),
        (
            "NVIDIA",
            402,
            r#"{"type":"about:blank","title":"Payment Required","status":402}"#,
            "Payment Required",
            QUOTA_EXHAUSTED,
        ),
        (
            "DeepSeek",
            402,
            r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}"#,
            "Insufficient Balance",
            QUOTA_EXHAUSTED,
        ),
        (
            "OpenRouter",
            402,
            r#"{"error":{"code":402,"message":"Insufficient credits","metadata":{}},"user_id":"u"}"#,
            "Insufficient credits",
            QUOTA_EXHAUSTED,
        ),
        (
            "OpenRouter",
            200,
            r#"{"error":{"code":502,"message":"Provider returned error","metadata":{"provider_name":"p","raw":"x"}}}"#,
            "Provider returned error",
            SERVER_ERROR,
        ),
        (
            "Moonshot",
            429,
            r#"{"error":{"message":"You exceeded your current quota","type":"exceeded_current_quota_error"}}"#,
            "You exceeded your current quota",
            QUOTA_EXHAUSTED,
        ),
        (
            "Moonshot",
            429,
            r#"{"error":{"message":"The engine is currently overloaded","type":"engine_overloaded_error"}}"#,
            "The engine is currently overloaded",
            OVERLOADED,
        ),
        (
            "Z.ai",
            429,
            r#"{"error":{"code":"1113","message":"Insufficient balance or no resource package."}}"#,
            "Insufficient balance or no resource package.",
            QUOTA_EXHAUSTED,
        ),
        (
            "MiniMax",
            200,
            r#"{"id":"1","choices":null,"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}"#,
            "insufficient balance",
            QUOTA_EXHAUSTED,
        ),
        (
            "MiniMax",
            200,
            r#"{"base_resp":{"status_code":2049,"status_msg":"invalid api key"}}"#,
            "invalid api key",
            UNAUTHORIZED,
        ),
        (
            "Alibaba",
            400,
            r#"{"error":{"code":"data_inspection_failed","message":"Input data may contain inappropriate content.","param":null,"type":"data_inspection_failed"},"request_id":"1"}"#,
            "Input data may contain inappropriate content.",
            CONTENT_FILTERED,
        ),
        ("Voyage", 401, r#"{"detail":"Provided API key is invalid."}"#, "Provided API key is invalid.", UNAUTHORIZED),
        ("FastAPI", 500, r#"{"detail":{"message":"engine is dead"}}"#, "engine is dead", SERVER_ERROR),
    ];

    #[test]
    fn every_shape_is_read() {
        for (who, status, body, message, class) in BODIES {
            let error = read(*status, body.as_bytes()).unwrap_or_else(|| panic!("{who}: {body}"));
            assert_eq!(&error.message, message, "{who}: {body}");
            assert_eq!(&classify(*status, body.as_bytes()), class, "{who}: {body}");
        }
    }

    #[test]
    fn what_is_no_error_is_none() {
        for body in [
            r#"{"id":"1","choices":[],"detail":"low","message":"hello"}"#,
            r#"{"base_resp":{"status_code":0,"status_msg":"success"}}"#,
            r#"{"type":"message","role":"assistant"}"#,
            "[]",
        ] {
            assert_eq!(read(200, body.as_bytes()), None, "{body}");
        }
        assert_eq!(read(500, b"{}"), None);
        assert_eq!(read(500, b"<html>"), None);
    }

    #[test]
    fn long_lists_of_reasons_are_cut_and_say_so() {
        let item = r#"{"loc":["body"],"msg":"no"}"#;
        let body = format!(r#"{{"detail":[{}]}}"#, [item; 6].join(","));
        assert_eq!(read(422, body.as_bytes()).unwrap().message, "body: no; body: no; body: no; body: no; and 2 more");
    }

    #[test]
    fn only_an_object_is_what_client_libraries_look_for() {
        for (body, is_there) in [
            (r#"{"error":{"message":"m"}}"#, true),
            (r#"[{"error":{"code":429}}]"#, true),
            (r#"{"error":"m"}"#, false),
            (r#"{"detail":"m"}"#, false),
            ("", false),
        ] {
            assert_eq!(has_error_object(body.as_bytes()), is_there, "{body}");
        }
    }
}
