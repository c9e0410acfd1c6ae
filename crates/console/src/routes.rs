//! Which address is answered by what, and what one must be allowed to do for it: one table, from which the router is
//! made, so that there is no address without an entry. What a role may do is the metastore's table.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::{DefaultBodyLimit, Path};
use axum::handler::Handler;
use axum::http::{HeaderValue, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter};
use axum::{Router, middleware};
use tollgate_metastore::Permission;
use tower_http::compression::CompressionLayer;

use crate::access::{Access, MAX_BODY_BYTES, guard};
use crate::edge::edge;
use crate::error::ConsoleError;
use crate::scim::{Groups, Users};
use crate::state::ConsoleState;
use crate::{api, assets, metrics, pages, scim};

/// One address and one method.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    handler: MethodRouter<ConsoleState>,
}

/// Every address, with what it needs. [`Access::OfTeams`] is for those whose handler asks [`crate::access::Reader::ledger`]
/// and nothing else of the log: they alone open for a reader who is bound to teams. [`Access::OfTenant`] is for those that are
/// answered from the reader's own organisation, if there is one that they end at.
pub(crate) fn table() -> Vec<Route> {
    use Access::{Needs, OfTeams, OfTenant, Public, SignedIn};
    use Permission as P;
    vec![
        // Pages are not compressed: they hold a secret (the form token) next to text from outside (BREACH).
        get("/static/{file_name}", Public, asset).compressed(),
        get("/login", Public, pages::login::show),
        post("/login", Public, pages::login::submit),
        get("/login/oidc", Public, pages::login::begin),
        get("/login/oidc/callback", Public, pages::login::come_back),
        post("/logout", SignedIn, pages::login::leave),
        get("/metrics", Public, metrics::show),
        get("/api/v1/openapi.json", Public, api::openapi::show),
        // The log.
        get("/", OfTeams(P::ReadFigures), pages::overview::show),
        get("/interactions", OfTeams(P::ReadFigures), pages::interactions::show),
        get("/interactions/{id}", OfTeams(P::ReadFigures), pages::interaction::show),
        get("/models", Needs(P::ReadFigures), pages::models::show),
        get("/api/v1/models", Needs(P::ReadFigures), api::models::show),
        get("/costs", OfTeams(P::ReadCosts), pages::costs::show),
        get("/budgets", OfTenant(P::ReadCosts), pages::budgets::show),
        get("/api/v1/budgets", OfTenant(P::ReadCosts), api::budgets::show),
        // Policy.
        get("/policies", Needs(P::ReadFigures), pages::policies::show),
        post("/policies/simulate", Needs(P::Query), pages::policies::try_out),
        get("/api/v1/policies", Needs(P::ReadFigures), api::policies::show),
        post("/api/v1/policies/simulate", Needs(P::Query), api::policies::try_out),
        get("/experiments", OfTenant(P::ReadFigures), pages::experiments::show),
        get("/api/v1/experiments", OfTenant(P::ReadFigures), api::experiments::show),
        get("/api/v1/overview", OfTeams(P::ReadFigures), api::overview::show),
        get("/api/v1/interactions", OfTeams(P::ReadFigures), api::interactions::list),
        get("/api/v1/interactions/{id}", OfTeams(P::ReadFigures), api::interactions::show),
        get("/api/v1/interactions/{id}/request", OfTeams(P::ReadContent), api::interactions::request),
        get("/api/v1/interactions/{id}/response", OfTeams(P::ReadContent), api::interactions::response),
        get("/api/v1/costs", OfTeams(P::ReadCosts), api::costs::show),
        get("/api/v1/tail", OfTeams(P::ReadFigures), api::tail::show),
        // Questions.
        get("/search", OfTeams(P::ReadContent), pages::search::show),
        get("/api/v1/search", OfTeams(P::ReadContent), api::search::show),
        get("/sql", OfTenant(P::Query), pages::sql::show),
        post("/sql", OfTenant(P::Query), pages::sql::run),
        post("/api/v1/sql", OfTenant(P::Query), api::sql::run),
        get("/reports", Needs(P::Audit), pages::reports::show),
        get("/api/v1/reports/record-keeping", Needs(P::Audit), api::reports::record_keeping),
        get("/integrity", Needs(P::ReadFigures), pages::integrity::show),
        post("/integrity", Needs(P::Audit), pages::integrity::verify),
        get("/api/v1/integrity", Needs(P::ReadFigures), api::integrity::show),
        post("/api/v1/integrity/verify", Needs(P::Audit), api::integrity::verify),
        // Access.
        get("/setup", OfTeams(P::ReadFigures), pages::setup::show),
        post("/setup", OfTenant(P::ChangeKeys), pages::setup::create),
        get("/api/v1/setup", OfTeams(P::ReadFigures), api::setup::show),
        get("/keys", OfTenant(P::ReadKeys), pages::keys::show),
        post("/keys", OfTenant(P::ChangeKeys), pages::keys::create),
        post("/keys/{id}/rotate", OfTenant(P::ChangeKeys), pages::keys::rotate),
        post("/keys/{id}/revoke", OfTenant(P::ChangeKeys), pages::keys::revoke),
        get("/api/v1/keys", OfTenant(P::ReadKeys), api::keys::list),
        post("/api/v1/keys", OfTenant(P::ChangeKeys), api::keys::create),
        post("/api/v1/keys/{id}/rotate", OfTenant(P::ChangeKeys), api::keys::rotate),
        delete("/api/v1/keys/{id}", OfTenant(P::ChangeKeys), api::keys::revoke),
        post("/api/v1/prices/reprice", Needs(P::ChangePrices), api::prices::reprice),
        get("/api/v1/cache", Needs(P::ReadFigures), api::cache::show),
        post("/api/v1/cache/purge", Needs(P::ChangePolicy), api::cache::purge),
        // People.
        get("/people", OfTenant(P::ReadPeople), pages::people::show),
        post("/people", OfTenant(P::ChangePeople), pages::people::add),
        post("/people/organisations", Needs(P::ChangePeople), pages::people::add_organisation),
        post("/people/teams", OfTenant(P::ChangePeople), pages::people::add_team),
        post("/people/projects", OfTenant(P::ChangePeople), pages::people::add_project),
        get("/people/{id}", OfTenant(P::ReadPeople), pages::person::show),
        post("/people/{id}", OfTenant(P::ChangePeople), pages::person::change),
        post("/people/{id}/sign-in-link", OfTenant(P::ChangePeople), pages::person::invite),
        get("/api/v1/people", OfTenant(P::ReadPeople), api::people::list),
        post("/api/v1/people", OfTenant(P::ChangePeople), api::people::add),
        get("/api/v1/people/{id}", OfTenant(P::ReadPeople), api::people::show),
        patch("/api/v1/people/{id}", OfTenant(P::ChangePeople), api::people::change),
        post("/api/v1/people/{id}/sign-in-link", OfTenant(P::ChangePeople), api::people::invite),
        post("/api/v1/organisations", Needs(P::ChangePeople), api::people::add_organisation),
        post("/api/v1/teams", OfTenant(P::ChangePeople), api::people::add_team),
        post("/api/v1/projects", OfTenant(P::ChangePeople), api::people::add_project),
        // The same, as an identity provider keeps them.
        get("/scim/v2/ServiceProviderConfig", OfTenant(P::ReadPeople), scim::config),
        get("/scim/v2/Users", OfTenant(P::ReadPeople), scim::list_of::<Users>),
        post("/scim/v2/Users", OfTenant(P::ChangePeople), scim::create::<Users>),
        get("/scim/v2/Users/{id}", OfTenant(P::ReadPeople), scim::show::<Users>),
        put("/scim/v2/Users/{id}", OfTenant(P::ChangePeople), scim::replace::<Users>),
        patch("/scim/v2/Users/{id}", OfTenant(P::ChangePeople), scim::modify::<Users>),
        delete("/scim/v2/Users/{id}", OfTenant(P::ChangePeople), scim::delete::<Users>),
        get("/scim/v2/Groups", OfTenant(P::ReadPeople), scim::list_of::<Groups>),
        post("/scim/v2/Groups", OfTenant(P::ChangePeople), scim::create::<Groups>),
        get("/scim/v2/Groups/{id}", OfTenant(P::ReadPeople), scim::show::<Groups>),
        put("/scim/v2/Groups/{id}", OfTenant(P::ChangePeople), scim::replace::<Groups>),
        patch("/scim/v2/Groups/{id}", OfTenant(P::ChangePeople), scim::modify::<Groups>),
        delete("/scim/v2/Groups/{id}", OfTenant(P::ChangePeople), scim::delete::<Groups>),
        // Other processes of this installation.
        get("/api/v1/derived", Needs(P::Audit), api::derived::show),
        get("/api/v1/control", Needs(P::Control), api::control::show),
        get("/api/v1/control/prices", Needs(P::Control), api::prices::update),
        post("/api/v1/control/report", Needs(P::Control), api::replicas::report),
        post("/api/v1/leases", Needs(P::Control), api::replicas::lend),
    ]
}

/// The console.
pub fn router(state: ConsoleState) -> Router {
    let mut router = Router::new();
    for Route { path, access, handler, .. } in table() {
        let guarded = middleware::from_fn_with_state((state.clone(), access, path), guard);
        router = router.route(path, handler.route_layer(guarded));
    }
    router
        .fallback(no_such_page)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(edge))
        .with_state(state)
}

/// What the page at `path` needs; `None` if there is none.
pub(crate) fn access_of_page(path: &str) -> Option<Access> {
    static PAGES: LazyLock<HashMap<&'static str, Access>> = LazyLock::new(|| {
        let pages = table().into_iter().filter(|route| route.method == Method::GET);
        pages.map(|route| (route.path, route.access)).collect()
    });
    PAGES.get(path).copied()
}

fn get<H: Handler<T, ConsoleState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    Route { method: Method::GET, path, access, handler: routing::get(handler) }
}

fn post<H: Handler<T, ConsoleState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    Route { method: Method::POST, path, access, handler: routing::post(handler) }
}

fn put<H: Handler<T, ConsoleState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    Route { method: Method::PUT, path, access, handler: routing::put(handler) }
}

fn patch<H: Handler<T, ConsoleState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    Route { method: Method::PATCH, path, access, handler: routing::patch(handler) }
}

fn delete<H: Handler<T, ConsoleState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    Route { method: Method::DELETE, path, access, handler: routing::delete(handler) }
}

impl Route {
    fn compressed(self) -> Route {
        Route { handler: self.handler.route_layer(CompressionLayer::new()), ..self }
    }
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
