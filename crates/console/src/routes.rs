//! Which address is answered by what, and what one must be allowed to do for it. Only the routes of [`public`] answer
//! someone who is not signed in.

use axum::extract::{DefaultBodyLimit, Path};
use axum::http::{HeaderValue, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use tower_http::compression::CompressionLayer;

use crate::access::{MAX_BODY_BYTES, Need, guard};
use crate::edge::edge;
use crate::error::ConsoleError;
use crate::state::ConsoleState;
use crate::{api, assets, metrics, pages};

/// The console.
pub fn router(state: ConsoleState) -> Router {
    let behind = |need: Need, routes: Router<ConsoleState>| {
        routes.route_layer(middleware::from_fn_with_state((state.clone(), need), guard))
    };
    Router::new()
        .merge(public())
        .merge(behind(Need::Facts, facts()))
        .merge(behind(Need::Content, content()))
        .merge(behind(Need::Manage, manage()))
        .merge(behind(Need::Control, control()))
        .fallback(no_such_page)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(edge))
        .with_state(state)
}

fn public() -> Router<ConsoleState> {
    // Pages are not compressed: they hold a secret (the form token) next to text from outside (BREACH).
    let files = Router::new().route("/static/{file_name}", get(asset)).layer(CompressionLayer::new());
    Router::new()
        .merge(files)
        .route("/login", get(pages::login::show).post(pages::login::submit))
        .route("/metrics", get(metrics::show))
        .route("/api/v1/openapi.json", get(api::openapi::show))
}

fn facts() -> Router<ConsoleState> {
    Router::new()
        .route("/", get(pages::overview::show))
        .route("/interactions", get(pages::interactions::show))
        .route("/interactions/{id}", get(pages::interaction::show))
        .route("/costs", get(pages::costs::show))
        .route("/experiments", get(pages::experiments::show))
        .route("/policies", get(pages::policies::show))
        .route("/budgets", get(pages::budgets::show))
        .route("/models", get(pages::models::show))
        .route("/integrity", get(pages::integrity::show))
        .route("/setup", get(pages::setup::show))
        .route("/logout", post(pages::login::leave))
        .route("/api/v1/overview", get(api::overview::show))
        .route("/api/v1/interactions", get(api::interactions::list))
        .route("/api/v1/interactions/{id}", get(api::interactions::show))
        .route("/api/v1/costs", get(api::costs::show))
        .route("/api/v1/experiments", get(api::experiments::show))
        .route("/api/v1/policies", get(api::policies::show))
        .route("/api/v1/budgets", get(api::budgets::show))
        .route("/api/v1/models", get(api::models::show))
        .route("/api/v1/integrity", get(api::integrity::show))
        .route("/api/v1/setup", get(api::setup::show))
        .route("/api/v1/tail", get(api::tail::show))
}

fn content() -> Router<ConsoleState> {
    Router::new()
        .route("/reports", get(pages::reports::show))
        .route("/integrity", post(pages::integrity::verify))
        .route("/policies/simulate", post(pages::policies::try_out))
        .route("/api/v1/policies/simulate", post(api::policies::try_out))
        .route("/search", get(pages::search::show))
        .route("/sql", get(pages::sql::show).post(pages::sql::run))
        .route("/api/v1/interactions/{id}/request", get(api::interactions::request))
        .route("/api/v1/interactions/{id}/response", get(api::interactions::response))
        .route("/api/v1/reports/record-keeping", get(api::reports::record_keeping))
        .route("/api/v1/search", get(api::search::show))
        .route("/api/v1/integrity/verify", post(api::integrity::verify))
        .route("/api/v1/sql", post(api::sql::run))
}

fn manage() -> Router<ConsoleState> {
    Router::new()
        .route("/setup", post(pages::setup::create))
        .route("/keys", get(pages::keys::show).post(pages::keys::create))
        .route("/keys/{id}/revoke", post(pages::keys::revoke))
        .route("/api/v1/derived", get(api::derived::show))
        .route("/api/v1/keys", get(api::keys::list).post(api::keys::create))
        .route("/api/v1/keys/{id}", axum::routing::delete(api::keys::revoke))
        .route("/api/v1/prices/reprice", post(api::prices::reprice))
}

fn control() -> Router<ConsoleState> {
    Router::new()
        .route("/api/v1/control", get(api::control::show))
        .route("/api/v1/control/prices", get(api::prices::update))
}

async fn asset(Path(file_name): Path<String>) -> Result<Response, ConsoleError> {
    let no_such_file = || ConsoleError::NoSuchPage { path: format!("/static/{file_name}") };
    let asset = assets::find(&file_name).ok_or_else(no_such_file)?;
    let mut response = asset.content.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    Ok(response)
}

async fn no_such_page(uri: Uri) -> ConsoleError {
    ConsoleError::NoSuchPage { path: uri.path().chars().take(200).collect() }
}

async fn wrong_method(method: Method, uri: Uri) -> ConsoleError {
    ConsoleError::WrongMethod { path: uri.path().chars().take(200).collect(), method: method.to_string() }
}
