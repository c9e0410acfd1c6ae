//! Who is asking and what they may do. Every route outside the short public list stands behind [`guard`], which takes a
//! session cookie or a bearer token, checks the role, and, for changes that rely on the cookie, that they come from one
//! of our own pages.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use tollgate_metastore::Role;

use crate::error::ConsoleError;
use crate::params::Params;
use crate::shell::{Shell, cookie, theme};
use crate::state::ConsoleState;

/// Name of the session cookie.
pub const SESSION_COOKIE: &str = "tollgate_session";
/// Header that a script sends the token of its page in.
pub const CSRF_HEADER: &str = "x-csrf-token";
/// Largest request body the console reads.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// What a route needs its reader to be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// See figures: who called which model when, and what it cost.
    Facts,
    /// See what was said.
    Content,
    /// Change keys.
    Manage,
    /// Download keys, policy and signals, as a sidecar does.
    Control,
}

impl Need {
    /// Whether `role` is enough.
    #[must_use]
    pub const fn allows(self, role: Role) -> bool {
        match self {
            Need::Facts => matches!(role, Role::Admin | Role::Auditor | Role::Viewer),
            Need::Content => matches!(role, Role::Admin | Role::Auditor),
            Need::Manage => matches!(role, Role::Admin),
            Need::Control => matches!(role, Role::Admin | Role::Sidecar),
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Need::Facts => "read the log",
            Need::Content => "read what was said",
            Need::Manage => "change keys",
            Need::Control => "download the control plane",
        }
    }
}

/// The one who is asking, as [`guard`] found out.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Who they are, for the record of a change or a reading: role, and session or API token.
    pub author: String,
    /// What they may do.
    pub role: Role,
    /// Token that forms send back; empty for programs, which have no forms.
    pub csrf: String,
    /// Colours they chose.
    pub theme: Option<&'static str>,
}

impl Reader {
    /// Whether they may do what `need` asks.
    #[must_use]
    pub const fn may(&self, need: Need) -> bool {
        need.allows(self.role)
    }

    /// The frame of a page for them.
    #[must_use]
    pub fn shell(&self, state: &ConsoleState, title: &str, active: &'static str) -> Shell {
        Shell {
            title: title.to_owned(),
            active,
            role: self.role.to_string(),
            csrf: self.csrf.clone(),
            program: state.settings.program.clone(),
            may_read_content: self.may(Need::Content),
            may_manage: self.may(Need::Manage),
            theme: self.theme,
            books: state.instruments.books(),
            alarm: state.instruments.budget_trouble(),
        }
    }
}

/// Lets a request through with a [`Reader`] among its extensions, or answers it.
pub async fn guard(State((state, need)): State<(ConsoleState, Need)>, request: Request, next: Next) -> Response {
    match admit(&state, need, request).await {
        Ok(request) => next.run(request).await,
        Err(Refusal::Error(error)) => error.into_response(),
        Err(Refusal::SignIn(to)) => Redirect::to(&to).into_response(),
    }
}

enum Refusal {
    Error(ConsoleError),
    /// A person without a session who asked for a page: they are shown where to sign in.
    SignIn(String),
}

impl<E: Into<ConsoleError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Refusal::Error(error.into())
    }
}

async fn admit(state: &ConsoleState, need: Need, request: Request) -> Result<Request, Refusal> {
    let (reader, request) = match bearer(request.headers()) {
        Some(token) => {
            let (id, role) = state.metastore.api_token(token).await?.ok_or(ConsoleError::UnknownToken)?;
            (Reader { author: format!("console:{role}:{id}"), role, csrf: String::new(), theme: None }, request)
        }
        None => by_session(state, request).await?,
    };
    if !reader.may(need) {
        return Err(ConsoleError::Forbidden { role: reader.role, what: need.words() }.into());
    }
    let mut request = request;
    request.extensions_mut().insert(reader);
    Ok(request)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

async fn by_session(state: &ConsoleState, request: Request) -> Result<(Reader, Request), Refusal> {
    let id = cookie(request.headers(), SESSION_COOKIE);
    let session = match id {
        Some(id) => state.metastore.session(id).await?,
        None => None,
    };
    let Some(session) = session else { return Err(signed_out(&request)) };
    let request = match changes_something(request.method()) {
        true => from_our_page(request, &session.csrf).await?,
        false => request,
    };
    let theme = theme(request.headers());
    Ok((Reader { author: session.author(), role: session.role, csrf: session.csrf, theme }, request))
}

fn signed_out(request: &Request) -> Refusal {
    let path = request.uri().path();
    if path.starts_with("/api/") || request.method() != Method::GET {
        return ConsoleError::SignedOut.into();
    }
    let wanted = request.uri().path_and_query().map_or("/", |wanted| wanted.as_str());
    match wanted {
        "/" => Refusal::SignIn("/login".to_owned()),
        _ => Refusal::SignIn(format!("/login?{}", &crate::range::parameter("next", wanted)[1..])),
    }
}

fn changes_something(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether the browser says that another site made this request. `Sec-Fetch-Site` decides where it is sent; browsers leave
/// it out over plain HTTP to other machines, and a proxy that ends TLS may change `Host`, so `Origin` comes second.
#[must_use]
pub fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok()) {
        return site != "same-origin" && site != "none";
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match (text(header::ORIGIN), text(header::HOST)) {
        (Some(origin), Some(host)) => origin.split_once("://").is_none_or(|(_, origin)| origin != host),
        _ => false,
    }
}

/// Refuses a change unless it carries the token of its session, in a header or in the form.
async fn from_our_page(request: Request, csrf: &str) -> Result<Request, ConsoleError> {
    if is_from_elsewhere(request.headers()) {
        return Err(ConsoleError::ForeignForm);
    }
    if let Some(sent) = request.headers().get(CSRF_HEADER) {
        return if is_same(sent.as_bytes(), csrf.as_bytes()) { Ok(request) } else { Err(ConsoleError::ForeignForm) };
    }
    if !is_form(request.headers()) {
        return Err(ConsoleError::ForeignForm);
    }
    let (parts, body) = request.into_parts();
    let body: Bytes =
        to_bytes(body, MAX_BODY_BYTES).await.map_err(|_| ConsoleError::TooLarge { limit_bytes: MAX_BODY_BYTES })?;
    let form = Params::parse(&body);
    if !is_same(form.raw("csrf").unwrap_or_default().as_bytes(), csrf.as_bytes()) {
        return Err(ConsoleError::ForeignForm);
    }
    Ok(Request::from_parts(parts, Body::from(body)))
}

/// Whether the body is what a form of a page sends.
#[must_use]
pub fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.starts_with("application/x-www-form-urlencoded")
}

/// Compares without telling by its duration where the difference is.
fn is_same(sent: &[u8], expected: &[u8]) -> bool {
    let difference = sent.iter().zip(expected).fold(0, |seen, (left, right)| seen | (left ^ right));
    !expected.is_empty() && sent.len() == expected.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_sees_figures_but_not_what_was_said() {
        assert!(Need::Facts.allows(Role::Viewer) && !Need::Content.allows(Role::Viewer));
        assert!(Need::Content.allows(Role::Auditor) && !Need::Manage.allows(Role::Auditor));
        assert!(Need::Control.allows(Role::Sidecar) && !Need::Facts.allows(Role::Sidecar));
    }

    #[test]
    fn a_request_that_another_site_made_is_recognised() {
        let headers = |pairs: &[(&'static str, &str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
        };
        assert!(is_from_elsewhere(&headers(&[("sec-fetch-site", "cross-site")])));
        assert!(is_from_elsewhere(&headers(&[("origin", "null"), ("host", "127.0.0.1:8081")])));
        assert!(!is_from_elsewhere(&headers(&[("origin", "http://127.0.0.1:8081"), ("host", "127.0.0.1:8081")])));
        assert!(!is_from_elsewhere(&headers(&[])));
        let behind_proxy = [("sec-fetch-site", "same-origin"), ("origin", "https://books.test"), ("host", "127.0.0.1")];
        assert!(!is_from_elsewhere(&headers(&behind_proxy)));
    }

    #[test]
    fn an_empty_token_matches_nothing() {
        assert!(!is_same(b"", b"") && !is_same(b"a", b"ab") && is_same(b"ab", b"ab"));
    }
}
