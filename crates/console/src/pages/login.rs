//! `/login` and `/logout`. A link works once; an API token may be used to sign in as well.

use askama::Template;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use tollgate_metastore::{MetastoreError, Role, Session};

use crate::access::{SESSION_COOKIE, is_from_elsewhere};
use crate::error::ConsoleError;
use crate::params::Params;
use crate::shell::{cookie, theme};
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
}

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
        _ => ask(&headers, None, &params),
    }
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

fn ask(headers: &HeaderMap, refused: Option<String>, params: &Params) -> Result<Response, ConsoleError> {
    let page = LoginPage { theme: theme(headers), refused, next: params.text("next") };
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
            return ask(headers, Some(error.to_string()), params);
        }
        Err(error) => return Err(error),
    };
    let seconds = (session.expires_at_us - state.now_us()).max(0) / 1_000_000;
    let secure = if state.settings.secure_cookies { "; Secure" } else { "" };
    let id = &session.id;
    let set = format!("{SESSION_COOKIE}={id}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
    Ok(with_cookie(Redirect::to(next(params)).into_response(), &set))
}

/// A path of this console, or the first page.
fn next(params: &Params) -> &str {
    let safe = |path: &&str| path.starts_with('/') && !path.starts_with("//") && !path.contains(['\\', '\r', '\n']);
    params.get("next").filter(safe).unwrap_or("/")
}

async fn session_for(state: &ConsoleState, token: &str) -> Result<Session, ConsoleError> {
    let store = &state.metastore;
    match store.api_token(token).await? {
        Some((_, Role::Sidecar)) => Err(ConsoleError::LoginRefused),
        Some((id, role)) => {
            let link = store.create_login_link_for(role, &format!("console:{role}:{id}")).await?;
            Ok(store.redeem_login(&link).await?)
        }
        None => Ok(store.redeem_login(token).await?),
    }
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
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
