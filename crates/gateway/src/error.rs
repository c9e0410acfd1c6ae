//! Why a call was not answered as asked, and the only place in the proxy where that becomes an HTTP status. Each error
//! has a stable code, a message that names the object and says what to do, and a kind that tells the caller whether to
//! fix, ask, wait or retry. Nothing here writes a provider's own error: those reach the caller as they came.

use std::time::Duration;

use http::StatusCode;
use tollgate_interaction::Outcome;
use tollgate_policy::route::OPERATION_NOT_SUPPORTED;
use tollgate_provider::translate::Unsupported;
use tollgate_provider::websocket::FrameError;
use tollgate_provider::{ErrorKind, ErrorShape, RequestError};

use crate::spending::LEDGER_UNAVAILABLE;
use crate::token::TokenError;

/// Why a call ended without the answer it asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(
        "no key was sent; send a virtual key as `authorization: Bearer tg-…`, in `x-api-key`, in `x-goog-api-key`, or to `/v1beta/…` as `?key=`"
    )]
    KeyMissing,
    #[error("the key is unknown or revoked; ask for a new one (`tollgate key create NAME`)")]
    KeyUnknown,
    #[error(transparent)]
    Token(#[from] tollgate_identity::TokenError),
    #[error(
        "whether the token is good cannot be told, because the keys of its issuer `{issuer}` cannot be had; retry, or use a virtual key"
    )]
    TokenKeys { issuer: String },
    #[error("{message}")]
    Denied { code: &'static str, message: String, retry_after: Option<Duration> },
    #[error("no target of `{model}` may take this call ({why}); {advice}", advice = kind.advice())]
    NotServed { model: String, why: String, kind: NotServed, retry_after: Option<Duration> },
    #[error("the request headers have {bytes} bytes; send at most {limit}")]
    HeadersTooLarge { bytes: usize, limit: usize },
    #[error("the request headers could not be read to their end; send fewer and smaller ones (at most {limit} bytes)")]
    HeadersUnreadable { limit: usize },
    #[error("the request body is larger than {limit} bytes; send a smaller one, or raise `server.max_body_bytes`")]
    BodyTooLarge { limit: usize },
    #[error("the request body did not arrive within {waited_ms} ms; send it faster, or in smaller requests")]
    BodyTimeout { waited_ms: u128 },
    #[error("the connection broke before the request body was complete")]
    BodyBroken,
    #[error("header `{header}` is not valid; {expected}")]
    Header { header: &'static str, expected: &'static str },
    #[error("{0}")]
    Request(RequestError),
    #[error("model `{model}` is not known here; {hint}")]
    ModelUnknown { model: String, hint: String },
    #[error("model `{model}` of provider `{provider}`: {source}")]
    Unsupported { model: String, provider: String, source: Unsupported },
    #[error("provider `{provider}` has no operation `{operation}` for callers of this API; {hint}")]
    OperationNotSupported { provider: String, operation: &'static str, hint: String },
    #[error("no provider here has operation `{operation}` for callers of this API; {hint}")]
    NoProvider { operation: &'static str, hint: String },
    #[error(
        "the call names no model, and several providers have operation `{operation}`: {able}; name one of them in the header `x-tollgate-provider`"
    )]
    ProviderAmbiguous { operation: &'static str, able: String },
    #[error("no provider `{provider}` is configured, which the header `x-tollgate-provider` names; {hint}")]
    ProviderUnknown { provider: String, hint: String },
    #[error(
        "the gateway cannot record this call, so it was not made; retry, and look at the disk of the gateway's log"
    )]
    LogUnavailable,
    #[error(
        "the provider answered, but the gateway could not record the answer; retry, and look at the gateway's disk"
    )]
    LogLost,
    #[error("provider `{provider}` cannot be reached; retry, or look at its `base_url` and at the network")]
    UpstreamUnreachable { provider: String },
    #[error("provider `{provider}` did not {what} within {waited_ms} ms; retry, or raise `server.{setting}_seconds`")]
    UpstreamTimeout { provider: String, what: &'static str, waited_ms: u128, setting: &'static str },
    #[error("provider `{provider}` broke the connection before it answered; retry")]
    UpstreamReset { provider: String },
    #[error("provider `{provider}` broke off in the middle of its answer; retry")]
    UpstreamIncomplete { provider: String },
    #[error(
        "provider `{provider}` answered with something that is not {expected}{came}; look at its `base_url`, or report this to whoever runs it"
    )]
    UpstreamInvalid { provider: String, expected: &'static str, came: String },
    #[error(
        "provider `{provider}` refused the gateway's own credentials; correct its credentials in the configuration"
    )]
    UpstreamCredentials { provider: String },
    #[error(
        "provider `{provider}` wants an access token, and `{authority}` gave none: {source}; retry, or correct the provider's credentials"
    )]
    UpstreamToken { provider: String, authority: String, source: TokenError },
    #[error("provider `{provider}` answered with status {status} and no readable reason; {advice}", advice = of_status(*status))]
    UpstreamStatus { provider: String, status: u16, retry_after: Option<Duration> },
    #[error(
        "provider `{provider}` answered with a redirect (status {status}), which is not followed; correct its `base_url`"
    )]
    UpstreamRedirect { provider: String, status: u16 },
    #[error("`/v1/realtime` is a WebSocket; connect with one over HTTP/1.1 (`upgrade: websocket`)")]
    UpgradeRequired,
    #[error("`{name}` is missing from the query; {expected}")]
    QueryMissing { name: &'static str, expected: &'static str },
    #[error("neither side said anything for {waited_ms} ms; connect again, or raise `server.session_idle_seconds`")]
    SessionIdle { waited_ms: u128 },
    #[error("the conversation lasted {waited_ms} ms; connect again, or raise `server.session_total_seconds`")]
    SessionTooLong { waited_ms: u128 },
    #[error("the caller's WebSocket frames cannot be read: {why}; look at the client library")]
    FramesUnreadable { why: FrameError },
    #[error("provider `{provider}` ended the conversation with code {code} ({reason}); connect again")]
    UpstreamClosed { provider: String, code: u16, reason: String },
    #[error("{message}")]
    Feedback { message: String },
    #[error(
        "there is no call `{interaction_id}` of this key's organisation, so there is nothing to judge; take the id from the \
         header `x-tollgate-interaction-id` of the answer"
    )]
    FeedbackOnNothing { interaction_id: tollgate_interaction::InteractionId },
    #[error("the gateway cannot record this judgement; send it again, and look at the disk of the gateway's log")]
    FeedbackNotKept,
    #[error("the gateway is shutting down and broke the call off; retry")]
    Interrupted,
    #[error("the caller hung up before the answer was complete")]
    HungUp,
    #[error("the gateway failed while it handled this call; report the interaction id")]
    Internal,
    #[error("there is nothing at `{path}`; this gateway serves {served}", served = crate::endpoint::SERVED)]
    NotFound { path: String },
    #[error("`{path}` takes {allowed}, not {method}")]
    MethodNotAllowed { path: String, method: String, allowed: &'static str },
}

/// Why no target may take a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotServed {
    /// Rules leave out every one.
    NotEligible,
    /// None has what the request needs.
    Unfit,
    /// Those that could take it have failed too often just now.
    Resting,
    /// Those that could take it have asked to be left alone.
    Throttled,
}

impl NotServed {
    const fn code(self) -> &'static str {
        match self {
            NotServed::NotEligible => "no_eligible_target",
            NotServed::Unfit => "no_capable_target",
            NotServed::Resting | NotServed::Throttled => "targets_resting",
        }
    }

    const fn advice(self) -> &'static str {
        match self {
            NotServed::NotEligible => "choose another model, or ask whoever maintains the gateway's policy",
            NotServed::Unfit => "ask for less, or choose a model that has it",
            NotServed::Resting | NotServed::Throttled => "retry later",
        }
    }
}

impl CallError {
    /// The only target left has been found wanting by another call meanwhile.
    pub(crate) fn all_rest(target: &str) -> CallError {
        let why = format!("`{target}`: resting");
        CallError::NotServed { model: target.to_owned(), why, kind: NotServed::Resting, retry_after: None }
    }

    /// All the time a call may take has passed before anybody was called.
    pub(crate) fn out_of_time(target: Option<&std::sync::Arc<crate::route::Target>>, total: Duration) -> CallError {
        let provider = target.map(|target| target.provider.name.clone()).unwrap_or_default();
        CallError::UpstreamTimeout { provider, what: "answer", waited_ms: total.as_millis(), setting: "total" }
    }

    /// Never changes meaning; callers and dashboards match on it.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            CallError::KeyMissing => "key_missing",
            CallError::KeyUnknown => "key_unknown",
            CallError::Token(error) => error.code(),
            CallError::TokenKeys { .. } => "token_keys_unavailable",
            CallError::Denied { code, .. } => code,
            CallError::NotServed { kind, .. } => kind.code(),
            CallError::HeadersTooLarge { .. } | CallError::HeadersUnreadable { .. } => "headers_too_large",
            CallError::BodyTooLarge { .. } => "body_too_large",
            CallError::BodyTimeout { .. } => "body_timeout",
            CallError::BodyBroken => "body_incomplete",
            CallError::Header { .. } => "invalid_header",
            CallError::Request(error) => error.code(),
            CallError::ModelUnknown { .. } => "model_not_found",
            CallError::Unsupported { .. } => "unsupported_field",
            CallError::OperationNotSupported { .. } | CallError::NoProvider { .. } => OPERATION_NOT_SUPPORTED,
            CallError::ProviderAmbiguous { .. } => "provider_ambiguous",
            CallError::ProviderUnknown { .. } => "provider_not_found",
            CallError::LogUnavailable | CallError::LogLost | CallError::FeedbackNotKept => "log_unavailable",
            CallError::Feedback { .. } => "invalid_feedback",
            CallError::FeedbackOnNothing { .. } => "interaction_not_found",
            CallError::UpstreamUnreachable { .. } => "upstream_unreachable",
            CallError::UpstreamTimeout { .. } => "upstream_timeout",
            CallError::UpstreamReset { .. } => "upstream_reset",
            CallError::UpstreamIncomplete { .. } => "upstream_incomplete",
            CallError::UpstreamInvalid { .. } => "upstream_invalid_response",
            CallError::UpstreamCredentials { .. } => "upstream_credentials",
            CallError::UpstreamToken { .. } => "upstream_token",
            CallError::UpstreamStatus { .. } => "upstream_error",
            CallError::UpstreamRedirect { .. } => "upstream_redirect",
            CallError::UpgradeRequired => "upgrade_required",
            CallError::QueryMissing { .. } => "missing_field",
            CallError::SessionIdle { .. } => "session_idle",
            CallError::SessionTooLong { .. } => "session_too_long",
            CallError::FramesUnreadable { why: FrameError::TooLong { .. } } => "message_too_large",
            CallError::FramesUnreadable { why: FrameError::Protocol(_) } => "invalid_frame",
            CallError::UpstreamClosed { .. } => "upstream_closed",
            CallError::Interrupted => "interrupted",
            CallError::HungUp => "client_disconnected",
            CallError::Internal => "internal",
            CallError::NotFound { .. } => "path_not_found",
            CallError::MethodNotAllowed { .. } => "method_not_allowed",
        }
    }

    /// The status the caller gets, and what the caller should do.
    fn answer(&self) -> (StatusCode, ErrorKind) {
        match self {
            CallError::KeyMissing | CallError::KeyUnknown | CallError::Token(_) => {
                (StatusCode::UNAUTHORIZED, ErrorKind::Unauthenticated)
            }
            CallError::TokenKeys { .. } => (StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Unavailable),
            CallError::Denied { code, .. } => match *code {
                "key_expired" => (StatusCode::UNAUTHORIZED, ErrorKind::Unauthenticated),
                LEDGER_UNAVAILABLE => (StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Unavailable),
                // OpenAI's own status for a spent quota; its clients show the message and retry with backoff.
                "budget_exceeded" | "rate_limited" => (StatusCode::TOO_MANY_REQUESTS, ErrorKind::Throttled),
                _ => (StatusCode::FORBIDDEN, ErrorKind::Denied),
            },
            CallError::NotServed { kind, .. } => match kind {
                NotServed::NotEligible => (StatusCode::FORBIDDEN, ErrorKind::Denied),
                NotServed::Unfit => (StatusCode::BAD_REQUEST, ErrorKind::Invalid),
                NotServed::Throttled => (StatusCode::TOO_MANY_REQUESTS, ErrorKind::Throttled),
                NotServed::Resting => (StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Unavailable),
            },
            CallError::HeadersTooLarge { .. } | CallError::HeadersUnreadable { .. } => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, ErrorKind::TooLarge)
            }
            CallError::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, ErrorKind::TooLarge),
            CallError::BodyTimeout { .. } => (StatusCode::REQUEST_TIMEOUT, ErrorKind::Invalid),
            CallError::BodyBroken
            | CallError::Header { .. }
            | CallError::QueryMissing { .. }
            | CallError::FramesUnreadable { .. }
            | CallError::Request(_)
            | CallError::Feedback { .. }
            | CallError::Unsupported { .. }
            | CallError::OperationNotSupported { .. }
            | CallError::NoProvider { .. }
            | CallError::ProviderAmbiguous { .. } => (StatusCode::BAD_REQUEST, ErrorKind::Invalid),
            CallError::ModelUnknown { .. }
            | CallError::ProviderUnknown { .. }
            | CallError::FeedbackOnNothing { .. }
            | CallError::NotFound { .. } => (StatusCode::NOT_FOUND, ErrorKind::NotFound),
            CallError::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, ErrorKind::Invalid),
            CallError::LogUnavailable | CallError::LogLost | CallError::FeedbackNotKept | CallError::Interrupted => {
                (StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Unavailable)
            }
            CallError::UpgradeRequired => (StatusCode::UPGRADE_REQUIRED, ErrorKind::Invalid),
            CallError::SessionIdle { .. } | CallError::SessionTooLong { .. } => {
                (StatusCode::REQUEST_TIMEOUT, ErrorKind::Invalid)
            }
            CallError::UpstreamTimeout { .. } => (StatusCode::GATEWAY_TIMEOUT, ErrorKind::Late),
            CallError::UpstreamUnreachable { .. }
            | CallError::UpstreamReset { .. }
            | CallError::UpstreamIncomplete { .. }
            | CallError::UpstreamInvalid { .. }
            | CallError::UpstreamRedirect { .. }
            | CallError::UpstreamClosed { .. }
            | CallError::UpstreamToken { .. }
            | CallError::UpstreamCredentials { .. } => (StatusCode::BAD_GATEWAY, ErrorKind::Unavailable),
            CallError::UpstreamStatus { status, .. } => of_upstream(*status),
            CallError::HungUp | CallError::Internal => (StatusCode::INTERNAL_SERVER_ERROR, ErrorKind::Internal),
        }
    }

    /// The status the caller gets.
    pub(crate) fn status(&self) -> StatusCode {
        self.answer().0
    }

    /// How long the caller had better wait, where a provider or a limit says so.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            CallError::UpstreamStatus { retry_after, .. }
            | CallError::Denied { retry_after, .. }
            | CallError::NotServed { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// How such a call stands in the log.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            CallError::KeyMissing
            | CallError::KeyUnknown
            | CallError::Token(_)
            | CallError::TokenKeys { .. }
            | CallError::Denied { .. } => Outcome::Denied,
            CallError::NotServed { kind: NotServed::NotEligible | NotServed::Unfit, .. } => Outcome::Denied,
            CallError::Interrupted => Outcome::Interrupted,
            CallError::HungUp | CallError::BodyBroken => Outcome::Cancelled,
            _ => Outcome::Failed,
        }
    }

    /// Its code, if it says something about the provider that was called.
    pub(crate) fn of_provider(&self) -> Option<&'static str> {
        (!matches!(self, CallError::Denied { .. })).then(|| self.code())
    }

    /// The sentence for the caller and for the log. It may quote what the caller sent: hence the limit.
    pub(crate) fn message(&self) -> String {
        const MAX_CHARS: usize = 1_000;
        let whole = self.to_string();
        match whole.char_indices().nth(MAX_CHARS) {
            Some((at, _)) => format!("{}…", &whole[..at]),
            None => whole,
        }
    }

    /// Path of the field of the request that is at fault, where it is one.
    fn param(&self) -> Option<String> {
        match self {
            CallError::Request(error) => error.field().map(str::to_owned),
            CallError::Unsupported { source, .. } => source.fields.first().map(|first| first.field.clone()),
            CallError::ModelUnknown { .. } => Some("model".to_owned()),
            CallError::FeedbackOnNothing { .. } => Some("interaction_id".to_owned()),
            CallError::QueryMissing { name, .. } => Some((*name).to_owned()),
            _ => None,
        }
    }

    /// The error in the terms the dialects are written from.
    pub(crate) fn shape(&self, interaction_id: String) -> ErrorShape {
        let (status, kind) = self.answer();
        let (code, message, param) = (self.code().to_owned(), self.message(), self.param());
        ErrorShape { code, message, param, kind, http_status: status.as_u16(), interaction_id }
    }
}

/// What to do about a status that comes without a reason.
fn of_status(status: u16) -> &'static str {
    match status {
        404 => "check the provider's `base_url` and the name of the model",
        _ => "retry",
    }
}

/// What a provider's status becomes when its body cannot be shown.
fn of_upstream(status: u16) -> (StatusCode, ErrorKind) {
    match StatusCode::from_u16(status) {
        Ok(StatusCode::TOO_MANY_REQUESTS) => (StatusCode::TOO_MANY_REQUESTS, ErrorKind::Throttled),
        Ok(known) if known.is_client_error() => (known, ErrorKind::Invalid),
        _ => (
            StatusCode::BAD_GATEWAY,
            if matches!(status, 503 | 529) { ErrorKind::Overloaded } else { ErrorKind::Unavailable },
        ),
    }
}

/// Whether a provider says that the account behind the gateway's key is empty.
pub(crate) fn is_unpaid(status: StatusCode) -> bool {
    status == StatusCode::PAYMENT_REQUIRED
}

/// What an upstream's status means for what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpstreamVerdict {
    /// An answer.
    Answered,
    /// The request itself is at fault: the provider's words go to the caller.
    Refused,
    /// Another target may do better; if there is none, the provider's words go to the caller.
    TryNext,
    /// As `TryNext`, and this target wants to be left alone for a while.
    Throttled,
    /// The provider sends the call elsewhere, where it does not go with the provider's key: another target may do better.
    Misled,
    /// The gateway's key is at fault: another target may do better, and the provider's words are not for the caller.
    Credentials,
}

impl UpstreamVerdict {
    pub(crate) fn of(status: StatusCode) -> UpstreamVerdict {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                UpstreamVerdict::Credentials
            }
            StatusCode::TOO_MANY_REQUESTS => UpstreamVerdict::Throttled,
            // The account there is empty, which says nothing about the next.
            StatusCode::REQUEST_TIMEOUT | StatusCode::PAYMENT_REQUIRED => UpstreamVerdict::TryNext,
            // Anthropic says 529 when it is overloaded.
            status if status.is_server_error() || status.as_u16() == 529 => UpstreamVerdict::TryNext,
            // Only asked of those who are to speak another protocol.
            StatusCode::SWITCHING_PROTOCOLS => UpstreamVerdict::Answered,
            status if status.is_success() => UpstreamVerdict::Answered,
            status if status.is_redirection() => UpstreamVerdict::Misled,
            _ => UpstreamVerdict::Refused,
        }
    }
}

/// Statuses of the answers the gateway gives in its own name.
pub(crate) mod own {
    use http::StatusCode;

    /// Alive, ready, or a list of models.
    pub(crate) const OK: StatusCode = StatusCode::OK;
    /// A conversation begins.
    pub(crate) const SWITCHED: StatusCode = StatusCode::SWITCHING_PROTOCOLS;
    /// Kept, and whether it counts will be seen.
    pub(crate) const ACCEPTED: StatusCode = StatusCode::ACCEPTED;
    /// Not ready.
    pub(crate) const NOT_READY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
}

/// Start of the answer hyper gives by itself to a request head that it cannot hold. See [`crate::listener`].
pub(crate) const HYPER_HEADERS_TOO_LARGE: &[u8] = b"HTTP/1.1 431 ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_by_policy_is_a_denied_call_and_a_broken_upstream_a_failed_one() {
        let denied = CallError::Denied { code: "budget_exceeded", message: "spent".into(), retry_after: None };
        assert_eq!((denied.outcome(), denied.status()), (Outcome::Denied, StatusCode::TOO_MANY_REQUESTS));
        let broken = CallError::UpstreamReset { provider: "up".into() };
        assert_eq!((broken.outcome(), broken.code()), (Outcome::Failed, "upstream_reset"));
    }

    #[test]
    fn only_what_another_target_could_answer_is_tried_again() {
        let verdict = |status| UpstreamVerdict::of(StatusCode::from_u16(status).unwrap());
        assert_eq!([200, 400, 404, 422].map(verdict)[1..], [UpstreamVerdict::Refused; 3]);
        assert_eq!([500, 503, 529, 408, 402].map(verdict), [UpstreamVerdict::TryNext; 5]);
        assert_eq!([302, 307].map(verdict), [UpstreamVerdict::Misled; 2]);
        assert_eq!((verdict(429), verdict(401)), (UpstreamVerdict::Throttled, UpstreamVerdict::Credentials));
    }
}
