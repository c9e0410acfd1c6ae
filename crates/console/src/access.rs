//! Who is asking and what they may do. Every route outside the short public list stands behind [`guard`], which takes a
//! session cookie or a bearer token, checks the role against what the address needs, and, for changes that rely on the
//! cookie, that they come from one of our own pages.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use tollgate_analytics::Visibility;
use tollgate_metastore::{MetastoreError, Permission, Reach, Role, TeamName, TokenHolder};

use crate::bounds;
use crate::error::ConsoleError;
use crate::ledger::Ledger;
use crate::params::Params;
use crate::shell::{Shell, cookie, theme};
use crate::state::ConsoleState;

/// Name of the session cookie.
pub const SESSION_COOKIE: &str = "tollgate_session";
/// Header that a script sends the token of its page in.
pub const CSRF_HEADER: &str = "x-csrf-token";
/// Largest request body the console reads.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// What an address asks of whoever comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing, not even a name.
    Public,
    /// A session or a token of any role.
    SignedIn,
    /// A role with this permission that is not bound to teams and reaches the whole installation: the answer is about
    /// everybody.
    Needs(Permission),
    /// A role with this permission that is not bound to teams. One that reaches no further than an organisation is answered
    /// from what is that organisation's.
    OfTenant(Permission),
    /// A role with this permission. One that is bound to teams is answered from their rows alone.
    OfTeams(Permission),
}

impl Access {
    /// Whether `role` is enough, as far as it reaches.
    #[must_use]
    pub fn admits(self, role: Role, reach: &Reach) -> bool {
        self.allows(role) && (*reach == Reach::Installation || !matches!(self, Access::Needs(_)))
    }

    /// Whether `role` is enough if it reaches the whole installation.
    #[must_use]
    pub fn allows(self, role: Role) -> bool {
        match self {
            Access::Public | Access::SignedIn => true,
            Access::Needs(permission) | Access::OfTenant(permission) => {
                role.may(permission) && !role.is_bound_to_teams()
            }
            Access::OfTeams(permission) => role.may(permission),
        }
    }

    /// Whether it is for a change of the control plane.
    #[must_use]
    pub const fn changes(self) -> bool {
        use Permission as P;
        let permission = self.permission();
        matches!(permission, Some(P::ChangeKeys | P::ChangePeople | P::ChangeOwners | P::ChangePolicy))
    }

    const fn permission(self) -> Option<Permission> {
        match self {
            Access::Public | Access::SignedIn => None,
            Access::Needs(permission) | Access::OfTenant(permission) | Access::OfTeams(permission) => Some(permission),
        }
    }

    /// Whether the permission is among those of `role`, however far that reaches.
    pub(crate) fn is_granted_to(self, role: Role) -> bool {
        self.permission().is_none_or(|permission| role.may(permission))
    }

    pub(crate) const fn words(self) -> &'static str {
        match self.permission() {
            None => "do this",
            Some(permission) => permission.words(),
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
    /// Teams they belong to; a role that is bound to teams sees these and no others.
    pub teams: Vec<TeamName>,
    /// How far the role reaches.
    pub reach: Reach,
    /// Token that forms send back; empty for programs, which have no forms.
    pub csrf: String,
    /// Colours they chose.
    pub theme: Option<&'static str>,
    /// When their session ends; `None` for a token. Microseconds since 1970, UTC.
    pub ends_at_us: Option<i64>,
    /// Whether the control plane is away and they are known from before: they may read.
    pub is_remembered: bool,
}

impl Reader {
    /// Whether they may do it.
    #[must_use]
    pub fn may(&self, permission: Permission) -> bool {
        self.role.may(permission)
    }

    /// The log as far as it exists for them.
    #[must_use]
    pub fn ledger(&self, state: &ConsoleState) -> Arc<dyn Ledger> {
        if self.role.is_bound_to_teams() {
            let teams = self.teams.iter().filter(|name| self.reach.covers(&name.organisation));
            let teams = teams.map(|name| (name.organisation.clone(), name.team.clone()));
            return state.ledger.only(Visibility::of_teams(teams));
        }
        match self.reach.organisation() {
            Some(organisation) => state.ledger.only(Visibility::of_tenant(organisation)),
            None => Arc::clone(&state.ledger),
        }
    }

    /// The frame of a page for them.
    #[must_use]
    pub fn shell(&self, state: &ConsoleState, title: &str, active: &'static str) -> Shell {
        Shell {
            title: title.to_owned(),
            active,
            role: self.role,
            reach: self.reach.clone(),
            csrf: self.csrf.clone(),
            program: state.settings.program.clone(),
            may_read_content: self.may(Permission::ReadContent),
            may_manage: self.may(Permission::ChangeKeys),
            theme: self.theme,
            is_cut_off: self.is_remembered || state.standing.is_away(),
            books: state.instruments.books(),
            alarms: {
                let sign_in = state.sso.as_ref().and_then(|sso| sso.trouble());
                let own = state.instruments.budget_trouble().into_iter().chain(sign_in);
                own.chain(state.instruments.alarms()).collect()
            },
        }
    }
}

impl ConsoleState {
    /// Who has this secret: as the metastore says, or as it said before it went away.
    async fn look_up(
        &self,
        secret: &str,
        ask: impl Future<Output = Result<Option<Reader>, MetastoreError>>,
    ) -> Result<Option<Reader>, MetastoreError> {
        let found = self.standing.look_up(secret, self.now_us(), ask, |reader| reader.ends_at_us).await?;
        Ok(found.map(|found| Reader { is_remembered: found.is_remembered, ..found.what }))
    }
}

/// Lets a request through with a [`Reader`] among its extensions, or answers it.
/// `path` is the address in the table of routes.
pub async fn guard(
    State((state, access, path)): State<(ConsoleState, Access, &'static str)>,
    request: Request,
    next: Next,
) -> Response {
    if access == Access::Public {
        return next.run(request).await;
    }
    match admit(&state, access, path, request).await {
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

async fn admit(state: &ConsoleState, access: Access, path: &'static str, request: Request) -> Result<Request, Refusal> {
    let (mut reader, request) = match bearer(request.headers()) {
        Some(token) => (by_token(state, token).await?, request),
        None => by_session(state, request).await?,
    };
    if let Some(refusal) = bounds::refusal(access, path, &reader) {
        return Err(refusal.into());
    }
    if reader.is_remembered && access.changes() && changes_something(request.method()) {
        return Err(MetastoreError::Unavailable { action: access.words() }.into());
    }
    reader.theme = theme(request.headers());
    let mut request = request;
    request.extensions_mut().insert(reader);
    Ok(request)
}

async fn by_token(state: &ConsoleState, token: &str) -> Result<Reader, ConsoleError> {
    let ask = async {
        let holder = state.metastore.api_token(token).await?;
        Ok(holder.map(|TokenHolder { id, grant }| Reader {
            author: format!("console:{}:{id}", grant.role),
            role: grant.role,
            teams: grant.teams,
            reach: grant.reach,
            csrf: String::new(),
            theme: None,
            ends_at_us: None,
            is_remembered: false,
        }))
    };
    state.look_up(token, ask).await?.ok_or(ConsoleError::UnknownToken)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

async fn by_session(state: &ConsoleState, request: Request) -> Result<(Reader, Request), Refusal> {
    let Some(id) = cookie(request.headers(), SESSION_COOKIE) else { return Err(signed_out(&request)) };
    let ask = async {
        let session = state.metastore.session(id).await?;
        Ok(session.map(|session| Reader {
            author: session.author(),
            role: session.role,
            teams: session.teams,
            reach: session.reach,
            csrf: session.csrf,
            theme: None,
            ends_at_us: Some(session.expires_at_us),
            is_remembered: false,
        }))
    };
    let Some(reader) = state.look_up(id, ask).await? else { return Err(signed_out(&request)) };
    let request = match changes_something(request.method()) {
        true => from_our_page(request, &reader.csrf).await?,
        false => request,
    };
    Ok((reader, request))
}

fn signed_out(request: &Request) -> Refusal {
    let path = request.uri().path();
    if path.starts_with("/api/") || path.starts_with("/scim/") || request.method() != Method::GET {
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
    fn what_is_about_everybody_does_not_open_for_a_role_that_is_bound_to_teams() {
        assert!(Access::OfTeams(Permission::ReadFigures).allows(Role::Developer));
        assert!(!Access::Needs(Permission::ReadFigures).allows(Role::Developer));
        assert!(!Access::OfTenant(Permission::ReadFigures).allows(Role::Developer));
        assert!(Access::Needs(Permission::ReadFigures).allows(Role::Viewer));
        assert!(!Access::Needs(Permission::ReadFigures).allows(Role::Sidecar));
    }

    #[test]
    fn what_is_about_everybody_does_not_open_for_a_role_that_ends_at_an_organisation() {
        let acme = Reach::Organisation("acme".into());
        assert!(!Access::Needs(Permission::ChangePolicy).admits(Role::Owner, &acme));
        assert!(Access::Needs(Permission::ChangePolicy).admits(Role::Owner, &Reach::Installation));
        assert!(Access::OfTenant(Permission::ChangeKeys).admits(Role::Admin, &acme));
        assert!(Access::OfTeams(Permission::ReadFigures).admits(Role::Viewer, &acme));
        assert!(!Access::OfTenant(Permission::ChangeKeys).admits(Role::Viewer, &acme));
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
