//! `/login` and `/logout`. A link works once; an API token may be used to sign in as well, and so may an identity provider.

use std::sync::Arc;

use askama::Template;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use tollgate_metastore::{MetastoreError, Session, TokenHolder};

use crate::access::{SESSION_COOKIE, is_from_elsewhere};
use crate::error::ConsoleError;
use crate::params::Params;
use crate::shell::{cookie, theme};
use crate::sso::{self, Sso, SsoError};
use crate::state::ConsoleState;

/// The page.
#[derive(Debug, Template)]
#[template(path = "pages/login.html")]
pub struct LoginPage {
    /// Colours the reader chose.
    pub theme: Option<&'static str>,
    /// Why the last try failed.
    pub refused: Option<String>,
    /// Where to go afterwards.
    pub next: String,
    /// What the button of the identity provider says, if there is one.
    pub provider: Option<String>,
}

/// Cookie with what a sign-in through the identity provider needs to remember.
const ATTEMPT_COOKIE: &str = "tollgate_sign_in";
/// Cookie with where to go after it.
const NEXT_COOKIE: &str = "tollgate_sign_in_next";
/// How long a person may take at the provider. Seconds.
const ATTEMPT_SECONDS: u32 = 600;

/// Answers `GET /login`: with a token it signs in, without one it asks for it. A `HEAD` does not use the token up.
///
/// # Errors
/// `metastore_unavailable` if the control plane does not answer.
pub async fn show(
    State(state): State<ConsoleState>,
    method: Method,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ConsoleError> {
    match params.get("token") {
        Some(token) if method == Method::GET => sign_in(&state, &headers, token, &params).await,
        _ => {
            let trouble = match &state.sso {
                Some(sso) => sso.check(state.now_us()).await.err().map(|error| error.to_string()),
                None => None,
            };
            ask(&state, &headers, trouble, &params)
        }
    }
}

/// Answers `GET /login/oidc`: sends the browser to the identity provider.
///
/// # Errors
/// `page_not_found` if there is none.
pub async fn begin(
    State(state): State<ConsoleState>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ConsoleError> {
    let sso = sso_of(&state, "/login/oidc")?;
    match sso.begin(state.now_us()).await {
        Ok((url, attempt)) => {
            let response = Redirect::to(&url).into_response();
            let response = with_cookie(response, &kept(&state, ATTEMPT_COOKIE, &sso::to_cookie(&attempt)));
            let to: String = url::form_urlencoded::byte_serialize(next(&params).as_bytes()).collect();
            Ok(with_cookie(response, &kept(&state, NEXT_COOKIE, &to)))
        }
        Err(error) => ask(&state, &headers, Some(error.to_string()), &params),
    }
}

/// Answers `GET /login/oidc/callback`: the browser comes back from the identity provider.
///
/// # Errors
/// `page_not_found` if there is no provider.
pub async fn come_back(
    State(state): State<ConsoleState>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ConsoleError> {
    let sso = sso_of(&state, "/login/oidc/callback")?;
    let gone = |name: &str| format!("{name}=; Path=/login/oidc; HttpOnly; SameSite=Lax; Max-Age=0");
    let to = format!("next={}", cookie(&headers, NEXT_COOKIE).unwrap_or_default());
    let wanted = Params::parse(to.as_bytes());
    let response = match finish(&state, &sso, &headers, &params).await {
        Ok(session) => with_cookie(Redirect::to(next(&wanted)).into_response(), &session_cookie(&state, &session)),
        Err(error) => {
            tracing::warn!(%error, "a sign-in through the identity provider failed");
            ask(&state, &headers, Some(error.to_string()), &wanted)?
        }
    };
    Ok(with_cookie(with_cookie(response, &gone(ATTEMPT_COOKIE)), &gone(NEXT_COOKIE)))
}

async fn finish(state: &ConsoleState, sso: &Sso, headers: &HeaderMap, params: &Params) -> Result<Session, SsoError> {
    // Whoever sends the browser here with an error must have begun the sign-in, too.
    let attempt = sso::from_cookie(cookie(headers, ATTEMPT_COOKIE), params.get("state"))?;
    if let Some(code) = params.get("error") {
        return Err(SsoError::Refused { code: code.chars().filter(|one| !one.is_control()).take(64).collect() });
    }
    let code = params.get("code").ok_or(SsoError::NotBegun)?;
    sso.finish(&attempt, code, params.get("iss"), state.metastore.as_ref(), state.now_us()).await
}

fn sso_of(state: &ConsoleState, path: &str) -> Result<Arc<Sso>, ConsoleError> {
    state.sso.clone().ok_or_else(|| ConsoleError::NoSuchPage { path: path.to_owned() })
}

fn kept(state: &ConsoleState, name: &str, value: &str) -> String {
    let secure = if state.settings.secure_cookies { "; Secure" } else { "" };
    format!("{name}={value}; Path=/login/oidc; HttpOnly; SameSite=Lax; Max-Age={ATTEMPT_SECONDS}{secure}")
}

/// Answers `POST /login`.
///
/// # Errors
/// `csrf_refused` if another site sent the form; `metastore_unavailable` if the control plane does not answer.
pub async fn submit(
    State(state): State<ConsoleState>,
    headers: HeaderMap,
    form: Bytes,
) -> Result<Response, ConsoleError> {
    if is_from_elsewhere(&headers) {
        return Err(ConsoleError::ForeignForm);
    }
    let form = Params::parse(&form);
    sign_in(&state, &headers, &token_in(&form.text("token")), &form).await
}

/// Answers `POST /logout`.
///
/// # Errors
/// `metastore_unavailable` if the control plane does not answer.
pub async fn leave(State(state): State<ConsoleState>, headers: HeaderMap) -> Result<Response, ConsoleError> {
    if let Some(id) = cookie(&headers, SESSION_COOKIE) {
        state.metastore.delete_session(id).await?;
    }
    let gone = format!("{SESSION_COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    Ok(with_cookie(Redirect::to("/login").into_response(), &gone))
}

fn ask(
    state: &ConsoleState,
    headers: &HeaderMap,
    refused: Option<String>,
    params: &Params,
) -> Result<Response, ConsoleError> {
    let provider = state.sso.as_ref().map(|sso| sso.name().to_owned());
    let page = LoginPage { theme: theme(headers), refused, next: params.text("next"), provider };
    Ok(Html(page.render()?).into_response())
}

/// People paste the whole link.
fn token_in(pasted: &str) -> String {
    let token = pasted.split_once("token=").map_or(pasted, |(_, token)| token);
    token.split('&').next().unwrap_or_default().trim().to_owned()
}

async fn sign_in(
    state: &ConsoleState,
    headers: &HeaderMap,
    token: &str,
    params: &Params,
) -> Result<Response, ConsoleError> {
    let session = match session_for(state, token).await {
        Ok(session) => session,
        Err(error @ (ConsoleError::LoginRefused | ConsoleError::Metastore(MetastoreError::LoginRefused))) => {
            return ask(state, headers, Some(error.to_string()), params);
        }
        Err(error) => return Err(error),
    };
    Ok(with_cookie(Redirect::to(next(params)).into_response(), &session_cookie(state, &session)))
}

fn session_cookie(state: &ConsoleState, session: &Session) -> String {
    let seconds = (session.expires_at_us - state.now_us()).max(0) / 1_000_000;
    let secure = if state.settings.secure_cookies { "; Secure" } else { "" };
    format!("{SESSION_COOKIE}={}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}", session.id)
}

/// A path of this console, or the first page.
fn next(params: &Params) -> &str {
    let safe = |path: &&str| path.starts_with('/') && !path.starts_with("//") && !path.contains(['\\', '\r', '\n']);
    params.get("next").filter(safe).unwrap_or("/")
}

async fn session_for(state: &ConsoleState, token: &str) -> Result<Session, ConsoleError> {
    let store = &state.metastore;
    match store.api_token(token).await? {
        Some(TokenHolder { grant, .. }) if !grant.role.is_for_people() => Err(ConsoleError::LoginRefused),
        Some(TokenHolder { id, grant }) => {
            let link = store.create_login_link_for(&grant, &format!("console:{}:{id}", grant.role)).await?;
            Ok(store.redeem_login(&link).await?)
        }
        None => Ok(store.redeem_login(token).await?),
    }
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_signing_in_nobody_is_sent_to_another_site() {
        for (next_field, path) in
            [("/costs?a=1", "/costs?a=1"), ("//evil.test", "/"), ("https://evil.test", "/"), ("/\\evil", "/")]
        {
            let params = Params::parse(format!("next={}", next_field.replace('&', "%26")).as_bytes());
            assert_eq!(next(&params), path);
        }
    }

    #[test]
    fn a_whole_link_can_be_pasted() {
        assert_eq!(token_in("http://127.0.0.1:8081/login?token=tgl-abc&next=/"), "tgl-abc");
        assert_eq!(token_in("tgl-abc"), "tgl-abc");
    }
}
