//! What a provider's refusal means, in a word the record keeps and routing acts on. It looks at the status first and at
//! the provider's own words second; it does not decide whether to retry, only whether retrying could help.

mod body;
mod wait;

use tollgate_interaction::Dialect;

use crate::dialect::{ErrorKind, bedrock};
use crate::observe;
pub use wait::{wait_by_body_ms, wait_by_headers_ms};

/// The request is malformed or asks for what the model cannot do.
pub const INVALID_REQUEST: &str = "invalid_request";
/// The prompt is longer than the model's context.
pub const CONTEXT_LENGTH: &str = "context_length";
/// The provider's safety system refused the request.
pub const CONTENT_FILTERED: &str = "content_filtered";
/// The provider's key is missing or wrong.
pub const UNAUTHORIZED: &str = "unauthorized";
/// The provider's key may not do this.
pub const FORBIDDEN: &str = "forbidden";
/// The provider has no such model or path.
pub const NOT_FOUND: &str = "not_found";
/// The body is larger than the provider accepts.
pub const TOO_LARGE: &str = "too_large";
/// Too many requests or tokens for now.
pub const RATE_LIMITED: &str = "rate_limited";
/// The account has no money left; waiting does not help.
pub const QUOTA_EXHAUSTED: &str = "quota_exhausted";
/// The provider is out of capacity.
pub const OVERLOADED: &str = "overloaded";
/// The provider gave up waiting.
pub const TIMEOUT: &str = "timeout";
/// The provider failed.
pub const SERVER_ERROR: &str = "server_error";

/// What providers have no code for, by their words at a status of 400. Where they change, the class is that of the status.
/// Anthropic: <https://platform.claude.com/docs/en/build-with-claude/context-windows>,
/// <https://platform.claude.com/docs/en/api/errors> (2026-11-26). DeepSeek, vLLM, OpenRouter and others that speak OpenAI's
/// dialect use the words that OpenAI once had; Amazon has its own.
/// Text Generation Inference: <https://huggingface.co/docs/text-generation-inference>; Cohere says it in a `message` alone.
const WORDS: [(&str, &str); 11] = [
    // xAI's answer to a wrong key.
    ("Incorrect API key provided", UNAUTHORIZED),
    ("too many tokens: size limit exceeded", CONTEXT_LENGTH),
    ("`inputs` tokens + `max_new_tokens` must be <=", CONTEXT_LENGTH),
    ("`inputs` must have less than", CONTEXT_LENGTH),
    ("maximum context length", CONTEXT_LENGTH),
    ("Input is too long", CONTEXT_LENGTH),
    ("maximum prompt length", CONTEXT_LENGTH),
    ("prompt is too long", CONTEXT_LENGTH),
    ("exceed context limit", CONTEXT_LENGTH),
    ("credit balance is too low", QUOTA_EXHAUSTED),
    ("Output blocked by content filtering policy", CONTENT_FILTERED),
];

/// The class of a failed response; empty for a status below 400 whose body reports no error.
#[must_use]
pub fn classify(http_status: u16, body: &[u8]) -> &'static str {
    let error = body::read(http_status, body);
    if http_status < 400 && error.is_none() {
        return "";
    }
    let error = error.unwrap_or_default();
    classify_error(http_status, &error)
}

/// The class of a failed response whose header says what it is, as Amazon's `x-amzn-errortype` does; its bodies often do
/// not.
#[must_use]
pub fn classify_named(http_status: u16, header: &str, body: &[u8]) -> &'static str {
    let mut error = body::read(http_status, body).unwrap_or_default();
    if !header.is_empty() {
        bedrock::error_name(header).clone_into(&mut error.kind);
    }
    classify_error(http_status, &error)
}

/// The class of an error a provider reported, possibly inside a stream that began with 200.
#[must_use]
pub fn classify_error(http_status: u16, error: &observe::StreamError) -> &'static str {
    let code = error.code.as_deref().unwrap_or_default();
    match (code, error.kind.as_str()) {
        ("insufficient_quota" | "billing_hard_limit_reached", _) | (_, "insufficient_quota" | "billing_error") => {
            return QUOTA_EXHAUSTED;
        }
        // Anthropic's, at a status of 429.
        (
            "enforced_spend_limit_reached" | "contract_spend_limit_reached" | "linked_organization_spend_limit_reached",
            _,
        ) => return QUOTA_EXHAUSTED,
        ("context_length_exceeded" | "string_above_max_length", _) => return CONTEXT_LENGTH,
        ("content_filter" | "content_policy_violation", _) => return CONTENT_FILTERED,
        // OpenAI's Responses API, of prompts and pictures: <https://developers.openai.com/api/reference/resources/responses>.
        ("invalid_prompt" | "image_content_policy_violation" | "bio_policy" | "misalignment_policy_violation", _) => {
            return CONTENT_FILTERED;
        }
        ("server_is_overloaded" | "slow_down", _) | (_, "overloaded_error" | "service_unavailable_error") => {
            return OVERLOADED;
        }
        _ => {}
    }
    if let Some(class) = by_word(code, &error.kind).or_else(|| by_exception(error)) {
        return class;
    }
    if matches!(http_status, 400 | 422)
        && let Some((_, class)) = WORDS.iter().find(|(words, _)| error.message.contains(words))
    {
        return class;
    }
    if let Some(class) = google(http_status, error) {
        return class;
    }
    by_status(http_status).or_else(|| by_type(&error.kind, code)).unwrap_or(SERVER_ERROR)
}

/// Words of those who copy OpenAI's format, and of no one else; 2026-11-26.
/// Moonshot <https://platform.moonshot.ai/docs/api/errors>, llama.cpp's server (its `tools/server`), Alibaba
/// <https://www.alibabacloud.com/help/en/model-studio/error-code>, Zhipu and Z.ai
/// <https://docs.z.ai/api-reference/api-code>, MiniMax <https://platform.minimax.io/docs/api-reference/errorcode>, whose
/// numbers mean something within `base_resp` alone.
fn by_word(code: &str, kind: &str) -> Option<&'static str> {
    Some(match (kind, code) {
        ("base_resp", "1000" | "1001" | "1024" | "1033") => SERVER_ERROR,
        ("base_resp", "1002" | "1039" | "1041" | "2045" | "2056") => RATE_LIMITED,
        ("base_resp", "1004" | "2049") => UNAUTHORIZED,
        ("base_resp", "1008") => QUOTA_EXHAUSTED,
        ("base_resp", "1026" | "1027") => CONTENT_FILTERED,
        ("base_resp", _) => INVALID_REQUEST,
        ("exceeded_current_quota_error", _) => QUOTA_EXHAUSTED,
        ("rate_limit_reached_error", _) => RATE_LIMITED,
        ("engine_overloaded_error", _) => OVERLOADED,
        ("invalid_authentication_error" | "incorrect_api_key_error", _) => UNAUTHORIZED,
        ("exceed_context_size_error", _) => CONTEXT_LENGTH,
        (_, "Arrearage") => QUOTA_EXHAUSTED,
        (_, "DataInspectionFailed" | "data_inspection_failed") => CONTENT_FILTERED,
        (_, code) if code.starts_with("Throttling") => RATE_LIMITED,
        (_, "1113") => QUOTA_EXHAUSTED,
        (_, "1261") => CONTEXT_LENGTH,
        (_, "1301") => CONTENT_FILTERED,
        (_, "1302" | "1303" | "1305" | "1308") => RATE_LIMITED,
        _ => return None,
    })
}

/// Google says much in one status and tells the rest in words: <https://ai.google.dev/gemini-api/docs/troubleshooting>
/// (2026-11-26).
fn google(http_status: u16, error: &observe::StreamError) -> Option<&'static str> {
    let says = |words: &str| error.message.contains(words);
    match error.kind.as_str() {
        "INVALID_ARGUMENT" if says("exceeds the maximum number of tokens") => Some(CONTEXT_LENGTH),
        "INVALID_ARGUMENT" if says("API key not valid") || says("API key expired") => Some(UNAUTHORIZED),
        // The place the call comes from, or a project without billing.
        "FAILED_PRECONDITION" => Some(FORBIDDEN),
        // Money that is gone does not come back with time, as a quota of tokens does.
        "RESOURCE_EXHAUSTED" if says("credits are depleted") || says("spending cap") => Some(QUOTA_EXHAUSTED),
        "RESOURCE_EXHAUSTED" => Some(RATE_LIMITED),
        "UNAVAILABLE" if http_status < 400 => Some(OVERLOADED),
        "DEADLINE_EXCEEDED" => Some(TIMEOUT),
        _ => None,
    }
}

/// Amazon's exceptions, which say more than their status: a missing signature is 403 and a model that failed 424. In a
/// stream their names begin with a small letter.
/// Source: <https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html> (2026-11-26).
fn by_exception(error: &observe::StreamError) -> Option<&'static str> {
    let name = error.kind.strip_suffix("Exception")?;
    Some(match name.to_ascii_lowercase().as_str() {
        "throttling" | "toomanyrequests" | "servicequotaexceeded" => RATE_LIMITED,
        "serviceunavailable" | "modelnotready" => OVERLOADED,
        "modeltimeout" => TIMEOUT,
        "modelerror" | "modelstreamerror" | "internalserver" | "corruptedstream" => SERVER_ERROR,
        "accessdenied" => FORBIDDEN,
        "resourcenotfound" => NOT_FOUND,
        "unrecognizedclient"
        | "expiredtoken"
        | "invalidsignature"
        | "incompletesignature"
        | "missingauthenticationtoken" => UNAUTHORIZED,
        "validation" if is_too_long(&error.message) => CONTEXT_LENGTH,
        "validation" => INVALID_REQUEST,
        _ => return None,
    })
}

/// Whether the words say that the prompt does not fit: Anthropic's, also within Amazon's, and Amazon's own.
fn is_too_long(message: &str) -> bool {
    ["prompt is too long", "Input is too long", "exceed context limit", "maximum context length"]
        .iter()
        .any(|words| message.contains(words))
}

fn by_status(http_status: u16) -> Option<&'static str> {
    Some(match http_status {
        0..400 => return None,
        401 => UNAUTHORIZED,
        402 => QUOTA_EXHAUSTED,
        403 => FORBIDDEN,
        404 => NOT_FOUND,
        408 | 504 => TIMEOUT,
        413 => TOO_LARGE,
        // Amazon's: the model failed.
        424 => SERVER_ERROR,
        429 => RATE_LIMITED,
        400..500 => INVALID_REQUEST,
        503 | 529 => OVERLOADED,
        _ => SERVER_ERROR,
    })
}

/// For errors inside a stream, whose status said 200.
fn by_type(kind: &str, code: &str) -> Option<&'static str> {
    let named = |name: &str| match name {
        "invalid_request_error" => Some(INVALID_REQUEST),
        "authentication_error" | "invalid_api_key" => Some(UNAUTHORIZED),
        "permission_error" => Some(FORBIDDEN),
        "not_found_error" | "model_not_found" => Some(NOT_FOUND),
        "request_too_large" => Some(TOO_LARGE),
        "rate_limit_error" | "rate_limit_exceeded" | "tokens" | "requests" => Some(RATE_LIMITED),
        "INVALID_ARGUMENT" => Some(INVALID_REQUEST),
        "UNAUTHENTICATED" => Some(UNAUTHORIZED),
        "PERMISSION_DENIED" => Some(FORBIDDEN),
        "NOT_FOUND" => Some(NOT_FOUND),
        "timeout_error" | "vector_store_timeout" => Some(TIMEOUT),
        "data_residency_mismatch" => Some(FORBIDDEN),
        _ if name.contains("image") => Some(INVALID_REQUEST),
        _ => name.parse().ok().and_then(by_status),
    };
    named(code).or_else(|| named(kind))
}

/// Whether the same call might succeed if made again, here or elsewhere: classes that judge the request are not.
#[must_use]
pub fn may_retry(class: &str) -> bool {
    !matches!(class, INVALID_REQUEST | CONTEXT_LENGTH | CONTENT_FILTERED | TOO_LARGE)
}

/// The error a body reports, in the provider's words; `None` if it is not JSON to its end or reports none.
#[must_use]
pub fn reported(http_status: u16, body: &[u8]) -> Option<observe::StreamError> {
    let error = body::read(http_status, body)?;
    serde_json::from_slice::<serde::de::IgnoredAny>(body).ok()?;
    Some(error)
}

/// Whether `body` is an error as client libraries of `dialect` read one. Where it is not, such as `{"detail": …}` of a
/// server that copies OpenAI's format, the caller is better told in its own dialect.
#[must_use]
pub fn is_worded(dialect: Dialect, body: &[u8]) -> bool {
    match dialect {
        Dialect::Openai | Dialect::Responses | Dialect::Anthropic | Dialect::Gemini => body::has_error_object(body),
        Dialect::Bedrock => true,
    }
}

/// What a caller should do about an error of `class`.
#[must_use]
pub fn kind_of(class: &str) -> ErrorKind {
    match class {
        INVALID_REQUEST | CONTEXT_LENGTH | CONTENT_FILTERED => ErrorKind::Invalid,
        UNAUTHORIZED => ErrorKind::Unauthenticated,
        FORBIDDEN => ErrorKind::Denied,
        NOT_FOUND => ErrorKind::NotFound,
        TOO_LARGE => ErrorKind::TooLarge,
        RATE_LIMITED => ErrorKind::Throttled,
        QUOTA_EXHAUSTED => ErrorKind::Spent,
        OVERLOADED => ErrorKind::Overloaded,
        TIMEOUT => ErrorKind::Late,
        _ => ErrorKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_decides_unless_the_provider_is_more_precise() {
        let openai = |code: &str| format!(r#"{{"error":{{"message":"m","type":"t","param":null,"code":"{code}"}}}}"#);
        let anthropic = |kind: &str| format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"m"}}}}"#);
        let google = |code: u16, message: &str, status: &str| {
            format!(r#"{{"error":{{"code":{code},"message":"{message}","status":"{status}"}}}}"#)
        };
        let cases = [
            (429, openai("rate_limit_exceeded"), RATE_LIMITED),
            (429, openai("insufficient_quota"), QUOTA_EXHAUSTED),
            (400, openai("context_length_exceeded"), CONTEXT_LENGTH),
            (400, openai("content_filter"), CONTENT_FILTERED),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 > 8"}}"#
                    .to_owned(),
                CONTEXT_LENGTH,
            ),
            (
                429,
                r#"{"type":"error","error":{"type":"rate_limit_error","message":"m","details":{"error_code":"enforced_spend_limit_reached"}}}"#
                    .to_owned(),
                QUOTA_EXHAUSTED,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the API."}}"#
                    .to_owned(),
                QUOTA_EXHAUSTED,
            ),
            (529, anthropic("overloaded_error"), OVERLOADED),
            (200, openai("server_is_overloaded"), OVERLOADED),
            (
                400,
                r#"{"object":"error","message":"This model's maximum context length is 8192 tokens.","code":400}"#
                    .to_owned(),
                CONTEXT_LENGTH,
            ),
            (413, anthropic("request_too_large"), TOO_LARGE),
            (401, "not json".to_owned(), UNAUTHORIZED),
            (422, String::new(), INVALID_REQUEST),
            (502, "<html>".to_owned(), SERVER_ERROR),
            (504, String::new(), TIMEOUT),
            (200, r#"{"error":"boom"}"#.to_owned(), SERVER_ERROR),
            (200, r#"{"error":{"code":429,"message":"slow"}}"#.to_owned(), RATE_LIMITED),
            (200, "{}".to_owned(), ""),
            (200, r#"{"id":"resp_1","error":null,"status":"completed"}"#.to_owned(), ""),
            (200, r#"{"status":"failed","error":{"code":"server_error","message":"m"}}"#.to_owned(), SERVER_ERROR),
            (200, openai("invalid_prompt"), CONTENT_FILTERED),
            (200, openai("image_too_large"), INVALID_REQUEST),
            (200, openai("server_is_overloaded"), OVERLOADED),
            (429, google(429, "You exceeded your current quota", "RESOURCE_EXHAUSTED"), RATE_LIMITED),
            (429, google(429, "Your prepayment credits are depleted.", "RESOURCE_EXHAUSTED"), QUOTA_EXHAUSTED),
            (
                400,
                google(
                    400,
                    "The input token count exceeds the maximum number of tokens allowed 9.",
                    "INVALID_ARGUMENT",
                ),
                CONTEXT_LENGTH,
            ),
            (400, google(400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT"), UNAUTHORIZED),
            (400, google(400, "User location is not supported.", "FAILED_PRECONDITION"), FORBIDDEN),
            (503, format!("[{}]", google(503, "The model is overloaded.", "UNAVAILABLE")), OVERLOADED),
            (200, google(503, "The model is overloaded.", "UNAVAILABLE"), OVERLOADED),
        ];
        for (status, body, expected) in cases {
            assert_eq!(classify(status, body.as_bytes()), expected, "{status} {body}");
        }
        assert!(may_retry(OVERLOADED) && !may_retry(CONTEXT_LENGTH));
    }

    #[test]
    fn amazons_exceptions_are_known_by_their_names() {
        let body = |words: &str| format!(r#"{{"message":"{words}"}}"#).into_bytes();
        let cases = [
            (429, "ThrottlingException:http://internal.amazon.com/", "Too many tokens, please wait", RATE_LIMITED),
            (400, "ServiceQuotaExceededException", "quota", RATE_LIMITED),
            (400, "ValidationException", "Input is too long for requested model.", CONTEXT_LENGTH),
            (400, "ValidationException", "The toolConfig field must be defined", INVALID_REQUEST),
            (403, "UnrecognizedClientException", "The security token is invalid", UNAUTHORIZED),
            (403, "AccessDeniedException", "not authorized", FORBIDDEN),
            (424, "ModelErrorException", "failed", SERVER_ERROR),
            (408, "ModelTimeoutException", "late", TIMEOUT),
            (503, "ServiceUnavailableException", "busy", OVERLOADED),
            (400, "", "Input is too long for requested model.", CONTEXT_LENGTH),
        ];
        for (status, header, words, expected) in cases {
            assert_eq!(classify_named(status, header, &body(words)), expected, "{status} {header} {words}");
        }
        assert_eq!(classify(424, &body("failed")), SERVER_ERROR);
        assert_eq!(classify(200, &body("hello")), "");
        assert_eq!(classify(200, br#"{"__type":"x#ThrottlingException"}"#), RATE_LIMITED);
        let late = observe::StreamError { kind: "throttlingException".to_owned(), ..Default::default() };
        assert_eq!(classify_error(200, &late), RATE_LIMITED);
    }
}
