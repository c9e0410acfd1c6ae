//! Somebody whose role ends at one organisation tries every address, and finds nothing of another.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use tollgate_analytics::Visibility;
use tollgate_metastore::{NewKey, Reach, Role};
use tower::ServiceExt;

use super::doors::request;
use super::{Console, console};
use crate::access::Access;
use crate::routes::table;

async fn two_organisations() -> Console {
    let console = console().await;
    for organisation in ["acme", "globex"] {
        for team in ["kyc", "merger"] {
            let key = NewKey {
                name: format!("{team} of {organisation}"),
                tenant: organisation.into(),
                team: format!("{organisation}-{team}"),
                project: Some(format!("{organisation}-plan")),
                ..NewKey::default()
            };
            console.metastore.create_key(key).await.unwrap();
        }
        let reach = Reach::Organisation(organisation.into());
        console.user_of(organisation, &format!("ann of {organisation}"), Some(Role::Viewer), reach).await;
    }
    console
}

/// Everything that exists of the other one has its name in it.
fn tells(text: &str) -> bool {
    text.contains("globex")
}

#[tokio::test]
async fn every_address_opens_as_far_as_it_is_answered_from_ones_own_organisation() {
    let console = two_organisations().await;
    for role in Role::ALL {
        let token = console.token_within(role, "acme").await;
        for route in table() {
            let response = console.router.clone().oneshot(request(&route, Some(&token))).await.unwrap();
            let what = format!("{role} {} {}", route.method, route.path);
            let refused = response.status() == StatusCode::FORBIDDEN;
            let is_open = route.access.allows(role) && !matches!(route.access, Access::Needs(_));
            assert_eq!(refused, !is_open, "{what}: {}", response.status());
            assert!(!response.status().is_server_error(), "{what}");
            if route.path == "/api/v1/tail" {
                continue;
            }
            let body = axum::body::to_bytes(response.into_body(), 1 << 22).await.unwrap();
            let body = String::from_utf8_lossy(&body).into_owned();
            assert!(!tells(&body), "{what}: {body}");
            if refused && route.access.allows(role) && !route.path.starts_with("/scim") {
                assert!(body.contains("reach_insufficient") && body.contains("acme"), "{what}: {body}");
            }
        }
    }
}

#[tokio::test]
async fn the_log_is_asked_for_ones_own_organisation_alone_sql_included() {
    let console = two_organisations().await;
    let own = Visibility::of_tenant("acme");
    for role in [Role::Owner, Role::Admin, Role::Auditor, Role::Finance, Role::Viewer] {
        let token = console.token_within(role, "acme").await;
        for route in table() {
            console.asked.lock().unwrap().clear();
            let mut request = request(&route, Some(&token));
            if route.path.ends_with("search") {
                *request.uri_mut() = format!("{}?q=leak", route.path).parse().unwrap();
            }
            if route.path.ends_with("sql") && route.method == Method::POST {
                request.headers_mut().insert("content-type", "text/plain".parse().unwrap());
                *request.body_mut() = axum::body::Body::from("SELECT 1");
            }
            let response = console.router.clone().oneshot(request).await.unwrap();
            drop(response);
            let asked = console.asked.lock().unwrap().clone();
            assert!(
                asked.iter().all(|visibility| *visibility == own),
                "{role} {} {}: {asked:?}",
                route.method,
                route.path
            );
        }
    }
    let token = console.token_within(Role::Auditor, "acme").await;
    console.asked.lock().unwrap().clear();
    let (status, _) = console.api(&token, Method::POST, "/api/v1/sql", &json!({"query": "SELECT 1"})).await;
    assert_eq!((status, console.asked.lock().unwrap().as_slice()), (StatusCode::OK, [own].as_slice()));
    let events = console.readings.events.lock().unwrap();
    assert!(!events.is_empty() && events.iter().all(|event| event.tenant == "acme"), "{events:?}");
}

#[tokio::test]
async fn a_developer_of_teams_in_two_organisations_sees_those_of_the_one_they_end_at() {
    let console = two_organisations().await;
    let token = console.token_within(Role::Developer, "globex").await;
    console.api(&token, Method::GET, "/api/v1/overview", &Value::Null).await;
    assert_eq!(*console.asked.lock().unwrap(), [Visibility::of_teams([])]);
}

#[tokio::test]
async fn keys_people_and_teams_of_another_organisation_do_not_exist_and_cannot_be_made() {
    let console = two_organisations().await;
    let token = console.token_within(Role::Owner, "acme").await;
    let api = async |method, path: &str, body: Value| console.api(&token, method, path, &body).await;
    let (_, keys) = api(Method::GET, "/api/v1/keys", Value::Null).await;
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2, "{keys}");
    let (_, people) = api(Method::GET, "/api/v1/people?organisation=globex", Value::Null).await;
    assert!(people["total"] == 1 && !tells(&people.to_string()), "{people}");
    let theirs = console.metastore.list_keys().await.unwrap().into_iter().find(|key| key.tenant == "globex").unwrap();
    let other = console.metastore.list_users(Some("globex"), &Default::default(), 0, 1).await.unwrap().items.remove(0);
    for (method, path, body, expected) in [
        (Method::POST, format!("/api/v1/keys/{}/rotate", theirs.id), Value::Null, StatusCode::NOT_FOUND),
        (
            Method::POST,
            format!("/api/v1/keys/{}/rotate", theirs.name.replace(' ', "%20")),
            Value::Null,
            StatusCode::NOT_FOUND,
        ),
        (Method::DELETE, format!("/api/v1/keys/{}", theirs.id), Value::Null, StatusCode::NOT_FOUND),
        (
            Method::POST,
            "/api/v1/keys".into(),
            json!({"name": "a", "team": "b", "tenant": "globex"}),
            StatusCode::FORBIDDEN,
        ),
        (Method::GET, format!("/api/v1/people/{}", other.id), Value::Null, StatusCode::NOT_FOUND),
        (Method::PATCH, format!("/api/v1/people/{}", other.id), json!({"active": false}), StatusCode::NOT_FOUND),
        (Method::POST, format!("/api/v1/people/{}/sign-in-link", other.id), Value::Null, StatusCode::NOT_FOUND),
        (
            Method::POST,
            "/api/v1/people".into(),
            json!({"user_name": "eve", "organisation": "globex"}),
            StatusCode::FORBIDDEN,
        ),
        (
            Method::POST,
            "/api/v1/people".into(),
            json!({"user_name": "eve", "reach": "installation", "role": "viewer"}),
            StatusCode::FORBIDDEN,
        ),
        (
            Method::POST,
            "/api/v1/people".into(),
            json!({"user_name": "eve", "teams": ["globex/globex-kyc"]}),
            StatusCode::FORBIDDEN,
        ),
        (Method::POST, "/api/v1/teams".into(), json!({"name": "x", "organisation": "globex"}), StatusCode::FORBIDDEN),
        (
            Method::POST,
            "/api/v1/projects".into(),
            json!({"name": "x", "organisation": "globex"}),
            StatusCode::FORBIDDEN,
        ),
        (Method::POST, "/api/v1/organisations".into(), json!({"name": "mine"}), StatusCode::FORBIDDEN),
    ] {
        let revision = console.metastore.revision().await.unwrap();
        let (status, told) = api(method.clone(), &path, body.clone()).await;
        assert_eq!(status, expected, "{method} {path} {body}: {told}");
        assert_eq!(console.metastore.revision().await.unwrap(), revision, "{method} {path} changed something");
    }
    let (status, made) = api(Method::POST, "/api/v1/keys", json!({"name": "a", "team": "b"})).await;
    assert_eq!(status, StatusCode::OK, "{made}");
    let newest = console.metastore.list_keys().await.unwrap().pop().unwrap();
    assert_eq!(newest.tenant, "acme", "what is made without saying where belongs to one's own organisation");
    let (_, bob) = api(Method::POST, "/api/v1/people", json!({"user_name": "bob", "role": "owner"})).await;
    assert_eq!(bob["reach"], json!({"organisation": "acme"}));
}

/// Somebody of the same organisation may still be beyond reach: an administrator of the whole installation.
#[tokio::test]
async fn nobody_decides_about_somebody_who_reaches_further() {
    let console = two_organisations().await;
    let root = console.user_of("acme", "root", Some(Role::Admin), Reach::Installation).await;
    let token = console.token_within(Role::Owner, "acme").await;
    let path = format!("/api/v1/people/{}", root.id);
    for (method, path, body) in [
        (Method::PATCH, path.clone(), json!({"active": false})),
        (Method::PATCH, path.clone(), json!({"reach": "organisation"})),
        (Method::POST, format!("{path}/sign-in-link"), Value::Null),
        (Method::PUT, format!("/scim/v2/Users/{}", root.id), json!({"userName": "root", "externalId": "mine"})),
        (Method::DELETE, format!("/scim/v2/Users/{}", root.id), Value::Null),
        (Method::POST, "/scim/v2/Groups".into(), json!({"displayName": "owners", "members": [{"value": root.id}]})),
    ] {
        let (status, told) = console.api(&token, method.clone(), &path, &body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path}: {told}");
    }
    let (status, told) = console.api(&token, Method::GET, &path, &Value::Null).await;
    assert_eq!((status, &told["user_name"]), (StatusCode::OK, &Value::Null), "they are seen: {told}");
    assert_eq!(told["profile"]["user_name"], "root");
}

#[tokio::test]
async fn a_provider_of_one_organisation_keeps_its_people_and_no_others() {
    let console = two_organisations().await;
    let token = console.token_within(Role::Admin, "acme").await;
    let scim = async |method, path: &str, body: Value| console.api(&token, method, path, &body).await;
    let (status, made) = scim(Method::POST, "/scim/v2/Users", json!({"userName": "bob"})).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let bob = console.metastore.user(made["id"].as_str().unwrap()).await.unwrap().unwrap();
    assert_eq!((bob.organisation.as_str(), &bob.reach), ("acme", &Reach::Organisation("acme".into())));
    let (_, listed) = scim(Method::GET, "/scim/v2/Users", Value::Null).await;
    assert!(listed["totalResults"] == 2 && !tells(&listed.to_string()), "{listed}");
    let other = console.metastore.list_users(Some("globex"), &Default::default(), 0, 1).await.unwrap().items.remove(0);
    let path = format!("/scim/v2/Users/{}", other.id);
    for (method, body) in
        [(Method::GET, Value::Null), (Method::PUT, json!({"userName": "x"})), (Method::DELETE, Value::Null)]
    {
        assert_eq!(scim(method.clone(), &path, body).await.0, StatusCode::NOT_FOUND, "{method}");
    }
}

/// What a refusal says is true of whoever reads it: they do read the log, change people and keys, within their organisation.
#[tokio::test]
async fn a_refusal_names_what_lies_beyond_and_not_what_one_may_do() {
    let console = two_organisations().await;
    let root = console.user_of("acme", "root", Some(Role::Admin), Reach::Installation).await;
    let boss = console.user_of("acme", "boss", Some(Role::Owner), Reach::Organisation("acme".into())).await;
    let owner = console.token_within(Role::Owner, "acme").await;
    let admin = console.token_within(Role::Admin, "acme").await;
    let person = |user: &tollgate_metastore::User| format!("/api/v1/people/{}", user.id);
    let get = |path: &str| (Method::GET, path.to_owned(), Value::Null);
    let post = |path: &str, body: Value| (Method::POST, path.to_owned(), body);
    for (token, (method, path, body), expected) in [
        (&owner, get("/api/v1/models"), "the routes, targets and their health are those of the whole installation"),
        (&owner, get("/api/v1/policies"), "one policy is in force for all organisations"),
        (&owner, get("/api/v1/integrity"), "the log and its proof are one for all organisations"),
        (&owner, get("/api/v1/reports/record-keeping"), "an evidence pack holds the calls of all organisations"),
        (&owner, post("/api/v1/organisations", json!({"name": "mine"})), "another organisation would lie beyond it"),
        (
            &owner,
            post("/api/v1/keys", json!({"name": "a", "team": "b", "tenant": "x"})),
            "a key of `x` would lie beyond",
        ),
        (&owner, post("/api/v1/teams", json!({"name": "a", "organisation": "x"})), "a team of `x` would lie beyond it"),
        (
            &owner,
            post("/api/v1/people", json!({"user_name": "eve", "teams": ["x/kyc"]})),
            "the team `x/kyc` lies beyond",
        ),
        (
            &owner,
            post("/api/v1/people", json!({"user_name": "eve", "role": "viewer", "reach": "installation"})),
            "a role that reaches the installation would go beyond it",
        ),
        (
            &owner,
            (Method::PATCH, person(&root), json!({"display_name": "R"})),
            "what `root` may do reaches the installation",
        ),
        (
            &admin,
            (Method::PATCH, person(&boss), json!({"display_name": "B"})),
            "may not change anything about an owner",
        ),
    ] {
        let (status, told) = console.api(token, method.clone(), &path, &body).await;
        let message = told["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path}: {told}");
        assert!(message.contains(expected), "{method} {path}: {message}");
        let is_of_reach = told["error"]["code"] == "reach_insufficient";
        assert!(!is_of_reach || message.starts_with("your role ends at organisation `acme`, and "), "{message}");
    }
    // Nor is it said to a developer that they may not read the log or the costs.
    let developer = console.token_within(Role::Developer, "acme").await;
    let (_, told) = console.api(&developer, Method::GET, "/api/v1/budgets", &Value::Null).await;
    let expected = "the role `developer` ends at its teams, and budgets are told for all teams together";
    assert_eq!((&told["error"]["code"], &told["error"]["message"]), (&json!("role_insufficient"), &json!(expected)));
}
