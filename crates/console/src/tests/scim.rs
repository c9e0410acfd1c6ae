//! An identity provider keeps people and groups, over the addresses it would use.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tollgate_metastore::{NewUser, Profile, Role};

use super::{Console, console};

impl Console {
    async fn scim(&self, token: &str, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(format!("/scim/v2{path}"));
        let request = request.header("authorization", format!("Bearer {token}"));
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let answer = self.ask(request.header("content-type", "application/scim+json").body(body).unwrap()).await;
        (answer.status, serde_json::from_str(&answer.text).unwrap_or(Value::Null))
    }
}

#[tokio::test]
async fn a_person_is_created_found_changed_deactivated_and_removed() {
    let console = console().await;
    let token = console.metastore.create_api_token(Role::Admin).await.unwrap();
    let scim = async |method, path: &str, body: Value| console.scim(&token, method, path, &body).await;
    let ann = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "ann@acme.test", "externalId": "00u1",
        "name": {"givenName": "Ann", "familyName": "Acre"}, "title": "Clerk",
        "emails": [{"value": "b@acme.test"}, {"value": "a@acme.test", "primary": true}],
    });
    let (status, made) = scim(Method::POST, "/Users", ann.clone()).await;
    assert_eq!(
        (status, &made["active"], &made["displayName"]),
        (StatusCode::CREATED, &json!(true), &json!("Ann Acre"))
    );
    assert_eq!(made["emails"][0]["value"], "a@acme.test");
    let id = made["id"].as_str().unwrap().to_owned();
    let (status, taken) = scim(Method::POST, "/Users", ann).await;
    assert_eq!((status, taken["scimType"].as_str()), (StatusCode::CONFLICT, Some("uniqueness")), "{taken}");
    assert_eq!(taken["schemas"][0], "urn:ietf:params:scim:api:messages:2.0:Error");

    let (_, found) = scim(Method::GET, "/Users?filter=userName+eq+%22ANN@acme.test%22", Value::Null).await;
    assert_eq!((&found["totalResults"], &found["Resources"][0]["id"]), (&json!(1), &json!(id)));
    let (status, refused) = scim(Method::GET, "/Users?filter=title+pr", Value::Null).await;
    assert_eq!((status, &refused["status"]), (StatusCode::BAD_REQUEST, &json!("400")), "{refused}");

    let path = format!("/Users/{id}");
    let off = json!({"schemas": ["x"], "Operations": [{"op": "Replace", "path": "active", "value": "False"}]});
    let (_, changed) = scim(Method::PATCH, &path, off).await;
    assert_eq!((&changed["active"], &changed["externalId"]), (&json!(false), &json!("00u1")), "{changed}");
    assert!(!console.metastore.user(&id).await.unwrap().unwrap().profile.active);
    let (status, _) = scim(Method::PUT, &path, json!({"userName": "ann", "active": true})).await;
    assert_eq!(status, StatusCode::OK);
    let (status, error) =
        scim(Method::PATCH, &path, json!({"Operations": [{"op": "replace", "path": "roles", "value": "owner"}]})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{error}");
    assert_eq!(console.metastore.user(&id).await.unwrap().unwrap().role, None);
    assert_eq!(scim(Method::DELETE, &path, Value::Null).await.0, StatusCode::NO_CONTENT);
    let (status, error) = scim(Method::GET, &path, Value::Null).await;
    assert!(status == StatusCode::NOT_FOUND && error["detail"].as_str().unwrap().contains(&id), "{error}");
}

#[tokio::test]
async fn an_administrator_s_provider_makes_an_owner_inactive_and_nobody_else_of_them() {
    let console = console().await;
    console.metastore.create_organisation("acme", "test").await.unwrap();
    let owners = [("olga", "00o"), ("otto", "00p")].map(|(user_name, external_id)| NewUser {
        organisation: "acme".to_owned(),
        profile: Profile {
            user_name: user_name.to_owned(),
            external_id: Some(external_id.to_owned()),
            active: true,
            ..Profile::default()
        },
        role: Some(Role::Owner),
        ..NewUser::default()
    });
    let [olga, otto] = owners.map(|owner| console.metastore.add_user(owner, "test"));
    let (olga, _) = (olga.await.unwrap(), otto.await.unwrap());
    let path = format!("/Users/{}", olga.id);
    let replace = |path: &str, value: Value| json!({"Operations": [{"op": "replace", "path": path, "value": value}]});
    let admin = console.metastore.create_api_token(Role::Admin).await.unwrap();
    for (what, value) in [("externalId", json!("mine")), ("userName", json!("me"))] {
        let (status, refused) = console.scim(&admin, Method::PATCH, &path, &replace(what, value)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{refused}");
    }
    let (status, changed) = console.scim(&admin, Method::PATCH, &path, &replace("active", json!(false))).await;
    assert_eq!((status, &changed["active"], &changed["externalId"]), (StatusCode::OK, &json!(false), &json!("00o")));
    let owner = console.metastore.create_api_token(Role::Owner).await.unwrap();
    let (status, changed) = console.scim(&owner, Method::PATCH, &path, &replace("externalId", json!("new"))).await;
    assert_eq!((status, &changed["externalId"]), (StatusCode::OK, &json!("new")), "{changed}");
}

#[tokio::test]
async fn a_group_has_members_that_exist() {
    let console = console().await;
    let token = console.metastore.create_api_token(Role::Admin).await.unwrap();
    let scim = async |method, path: &str, body: Value| console.scim(&token, method, path, &body).await;
    let (_, ann) = scim(Method::POST, "/Users", json!({"userName": "ann"})).await;
    let id = ann["id"].as_str().unwrap();
    let (status, group) =
        scim(Method::POST, "/Groups", json!({"displayName": "eng", "members": [{"value": id}]})).await;
    assert_eq!((status, &group["members"][0]["value"]), (StatusCode::CREATED, &json!(id)));
    let path = format!("/Groups/{}", group["id"].as_str().unwrap());
    let stranger = json!({"Operations": [{"op": "add", "path": "members", "value": [{"value": "user-none"}]}]});
    assert_eq!(scim(Method::PATCH, &path, stranger).await.0, StatusCode::NOT_FOUND);
    let (_, user) = scim(Method::GET, &format!("/Users/{id}"), Value::Null).await;
    assert_eq!(user["groups"][0]["display"], "eng");
    let out = json!({"Operations": [{"op": "remove", "path": format!("members[value eq \"{id}\"]")}]});
    assert_eq!(scim(Method::PATCH, &path, out).await.1["members"], json!([]));
    let (_, listed) = scim(Method::GET, "/Groups?filter=displayName+eq+%22eng%22&count=1", Value::Null).await;
    assert_eq!(listed["totalResults"], 1);
    assert_eq!(scim(Method::DELETE, &path, Value::Null).await.0, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn without_a_token_a_provider_is_told_so_in_its_own_terms() {
    let console = console().await;
    let (status, error) = console.scim("tgt-made-up", Method::GET, "/Users", &Value::Null).await;
    assert_eq!((status, &error["status"]), (StatusCode::UNAUTHORIZED, &json!("401")), "{error}");
    let auditor = console.metastore.create_api_token(Role::Auditor).await.unwrap();
    let body = json!({"userName": "x"});
    assert_eq!(console.scim(&auditor, Method::POST, "/Users", &body).await.0, StatusCode::FORBIDDEN);
    let (status, config) = console.scim(&auditor, Method::GET, "/ServiceProviderConfig", &Value::Null).await;
    assert!(status == StatusCode::OK && config["patch"]["supported"] == true, "{config}");
}
