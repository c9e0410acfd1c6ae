//! Who may open what: every address the router has, for every role, by real requests; and what a role that is bound to
//! teams is answered from.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use tollgate_analytics::Visibility;
use tollgate_metastore::{Grant, Reach, Role, TeamName};
use tower::ServiceExt;

use super::{Console, console, csrf_in, location};
use crate::access::Access;
use crate::routes::{Route, table};
use crate::sample;

/// An address with something in the place of each parameter.
fn filled(path: &str) -> String {
    let id = sample::rows(1)[0].interaction_id.to_string();
    path.replace("{id}", &id).replace("{file_name}", "style.css")
}

pub(super) fn request(route: &Route, token: Option<&str>) -> Request<Body> {
    let mut request = Request::builder().method(route.method.clone()).uri(filled(route.path));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(Body::empty()).unwrap()
}

impl Console {
    /// The status and the error's code; the body of an answer that goes on for ever is not waited for.
    async fn opened(&self, route: &Route, token: Option<&str>) -> (StatusCode, String) {
        let response = self.router.clone().oneshot(request(route, token)).await.unwrap();
        let status = response.status();
        if status.is_success() {
            return (status, String::new());
        }
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    async fn token_of(&self, role: Role) -> String {
        let teams = [TeamName { organisation: "acme".into(), team: "kyc".into() }];
        self.metastore.create_api_token_by(&Grant::of(role).in_teams(&teams), "", "test").await.unwrap()
    }

    /// The same for a role that ends at an organisation.
    pub(super) async fn token_within(&self, role: Role, organisation: &str) -> String {
        let teams = ["kyc", "red"].map(|team| TeamName { organisation: "acme".into(), team: team.into() });
        let grant = Grant::of(role).in_teams(&teams).within(Reach::Organisation(organisation.into()));
        self.metastore.create_api_token_by(&grant, "", "test").await.unwrap()
    }
}

#[tokio::test]
async fn every_address_opens_for_the_roles_that_may_and_for_no_other() {
    let console = console().await;
    let mut tried = 0;
    for role in Role::ALL {
        let token = console.token_of(role).await;
        for route in table() {
            let (status, body) = console.opened(&route, Some(&token)).await;
            let (what, refused) = (format!("{role} {} {}", route.method, route.path), status == StatusCode::FORBIDDEN);
            assert_eq!(!refused, route.access.allows(role), "{what}: {status} {body}");
            // SCIM's errors have no codes.
            let is_said = body.contains("role_insufficient") || body.contains(&format!("the role `{role}` may not"));
            assert_eq!(refused, is_said, "{what}: {status} {body}");
            assert!(status != StatusCode::UNAUTHORIZED && !status.is_server_error(), "{what}: {status} {body}");
            tried += 1;
        }
    }
    assert!(tried >= 7 * 40, "{tried}");
}

#[tokio::test]
async fn nothing_but_the_public_addresses_opens_for_nobody() {
    let console = console().await;
    for route in table() {
        for token in [None, Some("tgt-made-up"), Some("")] {
            let (status, body) = console.opened(&route, token).await;
            let is_open = route.access == Access::Public;
            let is_refused = status == StatusCode::UNAUTHORIZED || (status.is_redirection() && token.is_none());
            assert_eq!(is_refused, !is_open, "{} {} {token:?}: {status} {body}", route.method, route.path);
        }
    }
    let open: Vec<_> =
        table().into_iter().filter(|route| route.access == Access::Public).map(|route| route.path).collect();
    let expected = [
        "/static/{file_name}",
        "/login",
        "/login",
        "/login/oidc",
        "/login/oidc/callback",
        "/metrics",
        "/api/v1/openapi.json",
    ];
    assert_eq!(open, expected, "an address is made public on purpose or not at all");
}

#[tokio::test]
async fn the_router_has_no_address_that_is_not_in_the_table() {
    let console = console().await;
    // The router cannot be asked for its addresses; what it prints of itself for debugging has them.
    let printed = format!("{:?}", console.router);
    let known: Vec<&str> = table().iter().map(|route| route.path).collect();
    let mut found = 0;
    let addresses = printed.split('"').skip(1).step_by(2).filter(|text| text.starts_with('/'));
    // Where an address that nobody has leads: to `no_such_page`.
    for quoted in addresses.filter(|text| !text.contains("__private__axum_fallback") && *text != "/") {
        assert!(known.contains(&quoted), "`{quoted}` is answered and not in the table");
        found += 1;
    }
    assert!(found >= 30, "the router prints its addresses no more ({found}): {printed:.300}");
    // And a method that the table does not give is not answered.
    let token = console.token_of(Role::Owner).await;
    for path in known {
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            if table().iter().any(|route| route.path == path && route.method == method) {
                continue;
            }
            let request = Request::builder().method(method.clone()).uri(filled(path));
            let request = request.header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap();
            let status = console.router.clone().oneshot(request).await.unwrap().status();
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_role_that_the_open_api_document_names_is_enough() {
    for (method, path, role) in crate::api::openapi::roles() {
        let route = table().into_iter().find(|route| route.path == path && route.method.as_str() == method);
        let access = route.map(|route| route.access);
        assert!(access.is_some_and(|access| access.allows(role.parse().unwrap())), "{method} {path}: {role}");
    }
}

#[tokio::test]
async fn a_developer_is_answered_from_the_rows_of_their_teams_alone() {
    let console = console().await;
    let token = console.token_of(Role::Developer).await;
    let own = Visibility::of_teams([("acme".to_owned(), "kyc".to_owned())]);
    for route in table().into_iter().filter(|route| route.access.allows(Role::Developer)) {
        console.asked.lock().unwrap().clear();
        let mut request = request(&route, Some(&token));
        if route.path.ends_with("search") {
            *request.uri_mut() = format!("{}?q=leak", route.path).parse().unwrap();
        }
        let response = console.router.clone().oneshot(request).await.unwrap();
        if route.path == "/api/v1/tail" {
            // The first look is taken when the stream is.
            let mut stream = Box::pin(response.into_body().into_data_stream());
            let first = futures::StreamExt::next(&mut stream);
            let _ = tokio::time::timeout(std::time::Duration::from_millis(500), first).await;
        }
        let asked = console.asked.lock().unwrap().clone();
        assert!(asked.iter().all(|visibility| *visibility == own), "{} {}: {asked:?}", route.method, route.path);
        let is_of_the_log = matches!(route.access, Access::OfTeams(_)) && !route.path.ends_with("setup");
        assert_eq!(!asked.is_empty(), is_of_the_log, "{} {}", route.method, route.path);
    }
}

#[tokio::test]
async fn a_developer_without_a_team_sees_nothing_rather_than_everything() {
    let console = console().await;
    let token = console.metastore.create_api_token(Role::Developer).await.unwrap();
    let get = Request::get("/api/v1/overview").header("authorization", format!("Bearer {token}"));
    assert_eq!(console.ask(get.body(Body::empty()).unwrap()).await.status, StatusCode::OK);
    assert_eq!(*console.asked.lock().unwrap(), [Visibility::of_teams([])]);
}

#[tokio::test]
async fn signing_in_with_a_token_keeps_its_teams() {
    let console = console().await;
    let token = console.token_of(Role::Developer).await;
    let signed_in = console.post_form("/login", "", format!("token={token}")).await;
    let cookie = signed_in.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(location(&signed_in), "/");
    console.get("/costs", &cookie).await;
    let own = Visibility::of_teams([("acme".to_owned(), "kyc".to_owned())]);
    assert_eq!(*console.asked.lock().unwrap(), [own]);
}

#[tokio::test]
async fn finance_reads_costs_and_no_content_and_an_auditor_reads_content_leaving_a_trace() {
    let console = console().await;
    let id = sample::rows(1)[0].interaction_id;
    let finance = console.signed_in_as(Role::Finance).await;
    assert_eq!(console.get("/costs", &finance).await.status, StatusCode::OK);
    let facts = console.get(&format!("/api/v1/interactions/{id}"), &finance).await;
    assert!(facts.status == StatusCode::OK && !facts.text.contains("policyholder"), "{}", facts.text);
    for path in ["/search?q=a".to_owned(), "/sql".to_owned(), format!("/api/v1/interactions/{id}/request")] {
        assert_eq!(console.get(&path, &finance).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert!(console.readings.events.lock().unwrap().is_empty());
    let auditor = console.signed_in_as(Role::Auditor).await;
    let seen = console.get(&format!("/interactions/{id}?purpose=complaint+17"), &auditor).await;
    assert!(seen.text.contains("policyholder"));
    let events = console.readings.events.lock().unwrap();
    assert_eq!((events.len(), events[0].purpose.as_str()), (1, "complaint 17"));
}

#[tokio::test]
async fn the_navigation_shows_what_opens() {
    let console = console().await;
    for role in Role::ALL.into_iter().filter(|role| role.is_for_people()) {
        let cookie = console.signed_in_as(role).await;
        let page = console.get("/", &cookie).await.text;
        for path in
            ["/", "/interactions", "/costs", "/search", "/sql", "/reports", "/integrity", "/people", "/keys", "/setup"]
        {
            let is_shown = page.contains(&format!("<li><a href=\"{path}\""));
            let opens = console.get(path, &cookie).await.status == StatusCode::OK;
            assert_eq!(is_shown, opens, "{role} {path}");
        }
    }
}

#[tokio::test]
async fn an_auditor_reads_the_list_of_keys_and_is_shown_no_form() {
    let console = console().await;
    let cookie = console.signed_in_as(Role::Auditor).await;
    let page = console.get("/keys", &cookie).await;
    assert!(page.status == StatusCode::OK && !page.text.contains("Create key"), "{}", page.text);
    let csrf = csrf_in(&page.text).to_owned();
    let form = format!("csrf={csrf}&name=a&team=b");
    assert_eq!(console.post_form("/keys", &cookie, form).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_key_is_made_with_limits_rotated_and_refused_with_limits_that_mean_nothing() {
    let console = console().await;
    let cookie = console.signed_in_as(Role::Admin).await;
    let csrf = csrf_in(&console.get("/keys", &cookie).await.text).to_owned();
    let form = |limits: &str| format!("csrf={csrf}&name=bot&team=kyc&{limits}");
    let limits = "scopes=chat,+anthropic&models=openai/*&sources=10.0.0.0/8&expires_days=30&user=ann";
    let created = console.post_form("/keys", &cookie, form(limits)).await;
    assert!(created.text.contains("for chat, anthropic; models openai/*; from 10.0.0.0/8"), "{}", created.text);
    assert!(created.text.contains(r#"bot<span class="note">ann</span>"#), "{}", created.text);
    let key = console.metastore.list_keys().await.unwrap().remove(0);
    assert!(key.expires_at_us.is_some() && key.limits.scopes == ["chat", "anthropic"]);
    for (wrong, named) in
        [("sources=10.0.0.1/8", "10.0.0.1/8"), ("scopes=chta", "chta"), ("expires_days=0", "expires_days")]
    {
        let refused = console.post_form("/keys", &cookie, form(wrong)).await;
        assert!(refused.status == StatusCode::BAD_REQUEST && refused.text.contains(named), "{}", refused.text);
    }
    let path = format!("/keys/{}/rotate", key.id);
    let rotated = console.post_form(&path, &cookie, format!("csrf={csrf}&grace_hours=2")).await;
    assert!(
        rotated.text.contains("The secret before it works until") && rotated.text.contains("tg-"),
        "{}",
        rotated.text
    );
    let after = console.metastore.list_keys().await.unwrap().remove(0);
    assert!(after.previous_until_us.is_some() && after.display != key.display);
    let token = console.metastore.create_api_token(Role::Admin).await.unwrap();
    let ask = async |path: String, body: &str| {
        let request = Request::post(path).header("authorization", format!("Bearer {token}"));
        console.ask(request.body(Body::from(body.to_owned())).unwrap()).await
    };
    let path = format!("/api/v1/keys/{}/rotate", key.id);
    let rotated: serde_json::Value = serde_json::from_str(&ask(path.clone(), "").await.text).unwrap();
    assert!(rotated["secret"].as_str().unwrap().starts_with("tg-") && rotated["previous_until_us"].is_i64());
    assert_eq!(ask(path, r#"{"grace":1}"#).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(ask("/api/v1/keys/key-none/rotate".into(), "").await.status, StatusCode::NOT_FOUND);
}
