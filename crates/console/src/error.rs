//! What can go wrong in the console, as people and programs are told: a status, a stable code, a message that names the
//! object, and a hint. This is the only place in the console that knows HTTP status codes.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tollgate_analytics::{ReportError, SqlError};
use tollgate_evidence::EvidenceError;
use tollgate_metastore::{MetastoreError, Reach, Role};
use tollgate_search::SearchError;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// Nobody is signed in, or no longer.
    #[error("you are not signed in, or no longer")]
    SignedOut,
    /// The token after `Bearer` is unknown or revoked.
    #[error("the API token is unknown or was revoked")]
    UnknownToken,
    /// The role does not reach.
    #[error("the role `{role}` may not {what}")]
    Forbidden {
        /// Of the one who asked.
        role: Role,
        /// What was tried.
        what: &'static str,
    },
    /// The role would do, but it ends before that.
    #[error("your role ends at {reach}, and {why}")]
    OutOfReach {
        /// Of the one who asked.
        reach: Reach,
        /// What lies beyond it, as the rest of the sentence.
        why: String,
    },
    /// The role would do, but it is bound to teams.
    #[error("the role `{role}` ends at its teams, and {why}")]
    OutOfTeams {
        /// Of the one who asked.
        role: Role,
        /// What lies beyond them, as the rest of the sentence.
        why: &'static str,
    },
    /// A change that did not come from one of our pages.
    #[error("this form was not sent from a page of this console, or the page is older than your session")]
    ForeignForm,
    /// A login link or token that does not work.
    #[error("this link or token is unknown, was used already, is too old, or may not sign in here")]
    LoginRefused,
    /// No page has this address.
    #[error("there is no page `{path}`")]
    NoSuchPage {
        /// What was asked for.
        path: String,
    },
    /// Nothing here routes calls.
    #[error("this process routes no calls, so there is nothing to show of them")]
    NoRouting,
    /// The page exists, but not for this method.
    #[error("`{path}` does not answer `{method}`")]
    WrongMethod {
        /// What was asked for.
        path: String,
        /// How.
        method: String,
    },
    /// The log has no such call.
    #[error("interaction `{id}` is not in the log")]
    NoSuchCall {
        /// What was asked for.
        id: String,
    },
    /// The call is there, its bytes are not.
    #[error("the {part} of interaction `{id}` is not kept, or no longer")]
    NoSuchBody {
        /// Which call.
        id: String,
        /// `request` or `response`.
        part: &'static str,
    },
    /// A parameter that means nothing.
    #[error("{message}")]
    Invalid {
        /// What is wrong with which parameter.
        message: String,
        /// What it may be.
        hint: &'static str,
    },
    /// More bytes than a request to the console may have.
    #[error("the request is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// A query without an answer.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// A report that could not be made.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// An evidence pack that could not be made.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// A search without an answer.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The control plane refused or failed.
    #[error(transparent)]
    Metastore(#[from] MetastoreError),
    /// The reading of content could not be recorded.
    #[error("what was said is not shown, because it cannot be recorded that it is: {why}")]
    NotRecorded {
        /// What the log said.
        why: String,
    },
    /// The lake could not be verified, which says nothing about what is in it.
    #[error("the lake could not be verified: {why}")]
    NotVerified {
        /// What the store said.
        why: String,
    },
    /// Calls could not be priced again, or not all of them.
    #[error("the calls could not be priced again: {why}")]
    NotRepriced {
        /// What the log said.
        why: String,
    },
    /// A gateway that has to say again what it holds of budgets.
    #[error("no session of slices is known of gateway `{gateway}`, or not at this exchange")]
    NoSuchSession {
        /// Position of its log.
        gateway: String,
    },
    /// No slice of a budget was lent.
    #[error("no slice of a budget is lent: {why}")]
    NotLent {
        /// Why.
        why: String,
    },
    /// Answers that were kept to be given again could not be forgotten.
    #[error("the answers could not be forgotten: {why}")]
    NotPurged {
        /// What the store said.
        why: String,
    },
    /// A defect of ours.
    #[error("{what} could not be made")]
    Internal {
        /// What.
        what: &'static str,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Statuses of answers that are no errors and not plain successes.
pub(crate) mod own {
    use axum::http::StatusCode;

    /// Something new is there.
    pub(crate) const CREATED: StatusCode = StatusCode::CREATED;
    /// It is done and there is nothing to say.
    pub(crate) const NO_CONTENT: StatusCode = StatusCode::NO_CONTENT;
}

impl From<askama::Error> for ConsoleError {
    fn from(source: askama::Error) -> Self {
        ConsoleError::Internal { what: "the page", source: Box::new(source) }
    }
}

/// An error on its way out; [`crate::edge`] turns it into a page or into JSON.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorNote {
    /// Status to answer with.
    #[serde(skip)]
    pub status: StatusCode,
    /// Stable name.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl ConsoleError {
    fn status(&self) -> StatusCode {
        use ConsoleError as E;
        let of_caller = |is_callers| if is_callers { StatusCode::BAD_REQUEST } else { StatusCode::SERVICE_UNAVAILABLE };
        match self {
            E::SignedOut | E::UnknownToken => StatusCode::UNAUTHORIZED,
            E::Forbidden { .. } | E::OutOfReach { .. } | E::OutOfTeams { .. } | E::ForeignForm | E::LoginRefused => {
                StatusCode::FORBIDDEN
            }
            E::NoRouting | E::NoSuchPage { .. } | E::NoSuchCall { .. } | E::NoSuchBody { .. } => StatusCode::NOT_FOUND,
            E::WrongMethod { .. } => StatusCode::METHOD_NOT_ALLOWED,
            E::Invalid { .. } => StatusCode::BAD_REQUEST,
            E::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            E::Sql(SqlError::TimedOut { .. }) | E::Report(ReportError::TimedOut { .. }) => StatusCode::GATEWAY_TIMEOUT,
            E::Sql(error) => of_caller(error.is_callers()),
            E::Evidence(EvidenceError::EmptyPeriod) => StatusCode::BAD_REQUEST,
            E::Report(_)
            | E::Evidence(_)
            | E::NotRecorded { .. }
            | E::NotVerified { .. }
            | E::NotRepriced { .. }
            | E::NotPurged { .. }
            | E::NotLent { .. } => StatusCode::SERVICE_UNAVAILABLE,
            E::Search(error) => of_caller(error.is_callers()),
            E::Metastore(
                MetastoreError::UnknownKey { .. }
                | MetastoreError::UnknownToken { .. }
                | MetastoreError::UnknownUser { .. }
                | MetastoreError::Unknown { .. },
            ) => StatusCode::NOT_FOUND,
            E::NoSuchSession { .. } | E::Metastore(MetastoreError::Exists { .. }) => StatusCode::CONFLICT,
            E::Metastore(error) => of_caller(error.is_callers()),
            E::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether whoever asked can mend it by asking for something else.
    pub(crate) fn is_the_askers(&self) -> bool {
        self.status().is_client_error()
    }

    /// The answer with this error's status that is a page of its own: the one that the request came from.
    pub(crate) fn shown_on(&self, page: axum::response::Html<String>) -> Response {
        (self.status(), page).into_response()
    }

    /// Stable name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        use ConsoleError as E;
        match self {
            E::SignedOut => "signed_out",
            E::UnknownToken => "token_unknown",
            E::Forbidden { .. } | E::OutOfTeams { .. } => "role_insufficient",
            E::OutOfReach { .. } => "reach_insufficient",
            E::ForeignForm => "csrf_refused",
            E::LoginRefused => "login_refused",
            E::NoSuchPage { .. } => "page_not_found",
            E::NoRouting => "routing_unknown",
            E::WrongMethod { .. } => "method_not_allowed",
            E::NoSuchCall { .. } => "interaction_not_found",
            E::NoSuchBody { .. } => "payload_not_kept",
            E::Invalid { .. } => "parameter_invalid",
            E::TooLarge { .. } => "request_too_large",
            E::Sql(error) => error.code(),
            E::Report(error) => error.code(),
            E::Evidence(error) => error.code(),
            E::Search(error) => error.code(),
            E::Metastore(MetastoreError::UnknownKey { .. }) => "key_not_found",
            E::Metastore(MetastoreError::Unknown { .. } | MetastoreError::UnknownUser { .. }) => "not_found",
            E::Metastore(MetastoreError::Exists { .. }) => "already_exists",
            E::Metastore(MetastoreError::SignInRefused { .. }) => "sign_in_refused",
            E::Metastore(MetastoreError::LastOwner { .. }) => "last_owner",
            E::Metastore(error) if error.is_callers() => "change_refused",
            E::Metastore(_) => "metastore_unavailable",
            E::NotRecorded { .. } => "access_not_recorded",
            E::NotVerified { .. } => "verification_impossible",
            E::NotRepriced { .. } => "repricing_failed",
            E::NoSuchSession { .. } => "lease_session_unknown",
            E::NotLent { .. } => "lease_refused",
            E::NotPurged { .. } => "purge_failed",
            E::Internal { .. } => "internal_error",
        }
    }

    /// What to do about it; empty if the message says so already.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        use ConsoleError as E;
        match self {
            E::SignedOut => "Open the login link that `tollgate serve` printed, or send `Authorization: Bearer TOKEN`.",
            E::UnknownToken => "`tollgate token create --role auditor` makes a new one.",
            E::Forbidden { .. } => "Ask an administrator for a role that may.",
            E::OutOfTeams { .. } => "Ask an administrator, or a colleague whose role sees the whole organisation.",
            E::OutOfReach { .. } => "Ask an administrator of the whole installation.",
            E::ForeignForm => "Go back, reload the page and try again.",
            E::LoginRefused => "`tollgate serve` prints a fresh link each time it starts.",
            E::NoSuchPage { .. } => "The address may be mistyped, or the page may have moved.",
            E::NoRouting => "Ask the process that runs the gateway.",
            E::WrongMethod { .. } => "See `/api/v1/openapi.json` for what it answers.",
            E::NoSuchCall { .. } => "The id may be cut off, or the call older than what the log keeps.",
            E::NoSuchBody { .. } => "Payloads are kept for weeks, the facts of a call for years.",
            E::Invalid { hint, .. } => hint,
            E::TooLarge { .. } => "Send a shorter query.",
            E::Sql(SqlError::Plan { .. }) => "`SHOW TABLES` and `DESCRIBE interactions` list what there is.",
            E::Sql(SqlError::Unavailable { .. }) | E::Report(_) | E::NotVerified { .. } => {
                "The store may be out of reach; try again shortly."
            }
            E::Metastore(error) if !error.is_callers() => "The database of the control plane may be out of reach.",
            E::NotRecorded { .. } => {
                "The write-ahead log must take events again first; `/integrity` says how it is doing."
            }
            E::NotRepriced { .. } => "Ask again: what was corrected already is left alone.",
            E::NoSuchSession { .. } => "A gateway opens another by itself.",
            E::NotLent { .. } => "See `docs/budgets.md`, Several gateways.",
            E::NotPurged { .. } => {
                "Try again; with the server stopped, `tollgate cache purge` works on the file itself."
            }
            E::Internal { .. } => "Report the request id: the server's log says more.",
            E::Sql(_) | E::Search(_) | E::Evidence(_) | E::Metastore(_) => "",
        }
    }
}

impl IntoResponse for ConsoleError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            let cause = std::error::Error::source(&self).map(ToString::to_string);
            tracing::error!(code = self.code(), cause, "{self}");
        }
        let note = ErrorNote { status, code: self.code(), message: self.to_string(), hint: self.hint().to_owned() };
        let mut response = status.into_response();
        response.extensions_mut().insert(note);
        response
    }
}
