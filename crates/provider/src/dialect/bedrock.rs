//! Amazon Bedrock's Converse API in its own words: its errors, whole and inside a stream. What it shares with nobody else is
//! below: requests, answers and streams of Converse, and Claude's Messages through InvokeModel. Shapes are those of the
//! service model that Amazon's clients are made from (bedrock-runtime 2023-09-30 in botocore 1.44.8), which its reference
//! prints: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>,
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html> (2026-11-26).

mod additional;
pub(crate) mod answer;
mod block;
mod citation;
pub mod invoke;
mod media;
pub(crate) mod request;
pub(crate) mod stream;
mod usage;

use serde::Serialize;

pub(crate) use usage::TokenUsage;

use super::{ErrorKind, ErrorShape};
use crate::eventstream;

/// Amazon's clients read the type from the header [`error_type`] is for, else from `__type`, and the words from `message`.
/// The code may not be called `code`: they would take it for the type.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody<'a> {
    #[serde(rename = "__type")]
    kind: &'static str,
    message: &'a str,
    error_code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: &'a str,
}

/// The type of an error, which also belongs into the header `x-amzn-errortype` of the response.
#[must_use]
pub fn error_type(error: &ErrorShape) -> &'static str {
    match error.kind {
        ErrorKind::Invalid | ErrorKind::TooLarge => "ValidationException",
        ErrorKind::Unauthenticated => "UnrecognizedClientException",
        ErrorKind::Denied => "AccessDeniedException",
        ErrorKind::NotFound => "ResourceNotFoundException",
        ErrorKind::Throttled => "ThrottlingException",
        // Not tried again by Amazon's clients, as throttling is.
        ErrorKind::Spent => "ServiceQuotaExceededException",
        ErrorKind::Late => "ModelTimeoutException",
        ErrorKind::Unavailable | ErrorKind::Overloaded => "ServiceUnavailableException",
        ErrorKind::Internal => "InternalServerException",
    }
}

/// The name of an error in a response's header `x-amzn-errortype` or field `__type`, which may stand behind a namespace
/// and `#`, or before `:` and an address.
#[must_use]
pub fn error_name(text: &str) -> &str {
    let name = text.split_once(':').map_or(text, |(name, _)| name);
    name.rsplit_once('#').map_or(name, |(_, name)| name).trim()
}

pub(super) fn error_body(error: &ErrorShape) -> Vec<u8> {
    let body = ErrorBody {
        kind: error_type(error),
        message: &error.message,
        error_code: &error.code,
        field: error.param.as_deref(),
        request_id: &error.interaction_id,
    };
    serde_json::to_vec(&body).unwrap_or_default()
}

/// An exception frame of the event stream. A stream knows five exceptions only; a client that meets another one loses the
/// message.
pub(super) fn error_event(error: &ErrorShape) -> Vec<u8> {
    let name = match error.kind {
        ErrorKind::Throttled | ErrorKind::Spent => "throttlingException",
        ErrorKind::Unavailable | ErrorKind::Overloaded | ErrorKind::Late => "serviceUnavailableException",
        ErrorKind::Internal => "internalServerException",
        ErrorKind::Invalid
        | ErrorKind::TooLarge
        | ErrorKind::Unauthenticated
        | ErrorKind::Denied
        | ErrorKind::NotFound => "validationException",
    };
    let mut frame = Vec::new();
    eventstream::write_exception(&mut frame, name, &error_body(error));
    frame
}

#[cfg(test)]
mod scenarios;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_error_is_found_in_every_spelling() {
        let header = "ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/";
        assert_eq!(error_name(header), "ThrottlingException");
        assert_eq!(error_name("com.amazon.coral.service#ValidationException"), "ValidationException");
        assert_eq!(error_name("ModelErrorException"), "ModelErrorException");
    }

    #[test]
    fn an_error_is_what_amazons_clients_read() {
        let error = ErrorShape {
            code: "budget_exceeded".to_owned(),
            message: "the budget of `red` is spent".to_owned(),
            kind: ErrorKind::Throttled,
            param: None,
            http_status: 429,
            interaction_id: String::new(),
        };
        let body = String::from_utf8(error_body(&error)).unwrap();
        assert_eq!(
            body,
            r#"{"__type":"ThrottlingException","message":"the budget of `red` is spent","errorCode":"budget_exceeded"}"#
        );
        let mut decoder = eventstream::Decoder::default();
        let mut seen = Vec::new();
        decoder.push(&error_event(&error), |event| seen.push((event.name.to_vec(), event.data.to_vec())));
        assert_eq!(seen, [(b"throttlingException".to_vec(), body.into_bytes())]);
    }
}
