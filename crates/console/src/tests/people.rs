//! People, teams, projects and organisations over the pages and the API, as those may who have the role for it.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tollgate_metastore::{NewKey, NewUser, Profile, Reach, Role, User, UserFilter};

use super::{Answer, Console, console, csrf_in, location};

/// A form of the page at `path`, filled in.
async fn submit(console: &Console, cookie: &str, page: &str, action: &str, fields: &str) -> Answer {
    let shown = console.get(page, cookie).await;
    assert_eq!(shown.status, StatusCode::OK, "{page}: {}", shown.text);
    let csrf = csrf_in(&shown.text).to_owned();
    console.post_form(action, cookie, format!("csrf={csrf}&{fields}")).await
}

impl Console {
    pub(super) async fn api(&self, token: &str, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let answer = self.ask(request.header("content-type", "application/json").body(body).unwrap()).await;
        (answer.status, serde_json::from_str(&answer.text).unwrap_or(Value::Null))
    }

    async fn only_user(&self) -> User {
        let found = self.metastore.list_users(None, &UserFilter::default(), 0, 2).await.unwrap();
        assert_eq!(found.total, 1);
        found.items.into_iter().next().unwrap()
    }

    pub(super) async fn user_of(&self, organisation: &str, name: &str, role: Option<Role>, reach: Reach) -> User {
        // There already, mostly.
        let _ = self.metastore.create_organisation(organisation, "test").await;
        let profile = Profile { user_name: name.into(), active: true, ..Profile::default() };
        let user = NewUser { organisation: organisation.into(), profile, role, reach, teams: vec![] };
        self.metastore.add_user(user, "test").await.unwrap()
    }
}

#[tokio::test]
async fn somebody_is_added_given_a_team_a_key_and_a_link_and_deactivated_on_the_pages() {
    let console = console().await;
    let cookie = console.signed_in_as(Role::Admin).await;
    let empty = console.get("/people", &cookie).await;
    assert!(empty.text.contains("Nobody is in the directory yet"), "{}", empty.text);
    assert_eq!(
        location(&submit(&console, &cookie, "/people", "/people/organisations", "name=default").await),
        "/people#organisations"
    );
    assert_eq!(location(&submit(&console, &cookie, "/people", "/people/teams", "name=kyc").await), "/people#teams");
    assert_eq!(
        location(&submit(&console, &cookie, "/people", "/people/projects", "name=intake").await),
        "/people#projects"
    );
    let fields = "user_name=ann%40acme.test&display_name=Ann+%3CA%3E&role=viewer&reach=organisation&teams=kyc";
    let added = submit(&console, &cookie, "/people", "/people", fields).await;
    let ann = console.only_user().await;
    assert_eq!(location(&added), format!("/people/{}", ann.id));
    assert_eq!((ann.role, &ann.reach), (Some(Role::Viewer), &Reach::Organisation("default".into())));
    let list = console.get("/people?q=ANN&team=default/kyc", &cookie).await.text;
    assert!(
        list.contains("1 person") && list.contains("Ann &#60;A&#62;") && list.contains("own organisation"),
        "{list}"
    );
    assert!(console.get("/people?q=bob", &cookie).await.text.contains("Nobody is like that"));

    let page = format!("/people/{}", ann.id);
    let saved =
        submit(&console, &cookie, &page, &page, "role=finance&reach=installation&teams=&display_name=Ann").await;
    assert_eq!(location(&saved), page);
    let now = console.only_user().await;
    assert_eq!((now.role, &now.reach, now.teams.len()), (Some(Role::Finance), &Reach::Installation, 0));

    let key = submit(
        &console,
        &cookie,
        &page,
        "/keys",
        &format!("person={}&user=ann%40acme.test&tenant=default&name=laptop&team=kyc", ann.id),
    )
    .await;
    assert!(key.text.contains("is ready") && key.text.contains("Last signed in"), "{}", key.text);
    let key = console.metastore.list_keys().await.unwrap().remove(0);
    let rotated =
        submit(&console, &cookie, &page, &format!("/keys/{}/rotate", key.id), &format!("person={}", ann.id)).await;
    assert!(rotated.text.contains("The secret before it works until") && rotated.text.contains("Last signed in"));
    let revoked =
        submit(&console, &cookie, &page, &format!("/keys/{}/revoke", key.id), &format!("person={}", ann.id)).await;
    assert_eq!(location(&revoked), page);

    let link = submit(&console, &cookie, &page, &format!("{page}/sign-in-link"), "").await.text;
    let token = link.split("/login?token=").nth(1).unwrap().split('<').next().unwrap();
    let came = console.get(&format!("/login?token={token}"), "").await;
    let hers = came.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(console.get("/costs", &hers).await.status, StatusCode::OK);
    assert_eq!(console.get("/people", &hers).await.status, StatusCode::FORBIDDEN, "finance reads no directory");
    assert!(!console.get(&page, &cookie).await.text.contains("<dd>never</dd>"));

    submit(&console, &cookie, &page, &page, "active=false").await;
    assert_eq!(console.get("/costs", &hers).await.status, StatusCode::SEE_OTHER, "she is signed out");
    assert!(console.get(&page, &cookie).await.text.contains("Activate"));
    let told: Vec<String> =
        console.metastore.control_events(40).await.unwrap().into_iter().map(|event| event.action).collect();
    for action in [
        "user.created",
        "team.created",
        "project.created",
        "organisation.created",
        "user.role_set",
        "user.reach_set",
        "user.teams_set",
        "key.created",
        "key.rotated",
        "key.revoked",
        "user.invited",
        "user.signed_in",
        "user.changed",
    ] {
        assert!(told.iter().any(|known| known == action), "{action} left no event: {told:?}");
    }
}

#[tokio::test]
async fn programs_do_the_same_and_are_told_what_is_wrong() {
    let console = console().await;
    let token = console.metastore.create_api_token(Role::Admin).await.unwrap();
    let api = async |method, path: &str, body: Value| console.api(&token, method, path, &body).await;
    let (status, told) = api(Method::POST, "/api/v1/people", json!({"user_name": "ann"})).await;
    assert_eq!((status, &told["error"]["code"]), (StatusCode::NOT_FOUND, &json!("not_found")), "{told}");
    for path in ["/api/v1/organisations", "/api/v1/teams", "/api/v1/projects"] {
        assert_eq!(api(Method::POST, path, json!({"name": "default"})).await.0, StatusCode::OK, "{path}");
        let (status, told) = api(Method::POST, path, json!({"name": "default"})).await;
        assert_eq!((status, &told["error"]["code"]), (StatusCode::CONFLICT, &json!("already_exists")), "{path}");
        assert_eq!(api(Method::POST, path, json!({"nam": "x"})).await.0, StatusCode::BAD_REQUEST, "{path}");
    }
    let (_, ann) =
        api(Method::POST, "/api/v1/people", json!({"user_name": "ann", "role": "viewer", "teams": ["default"]})).await;
    assert_eq!((&ann["role"], &ann["reach"]), (&json!("viewer"), &json!("installation")));
    let path = format!("/api/v1/people/{}", ann["id"].as_str().unwrap());
    let key = NewKey {
        name: "k".into(),
        tenant: "default".into(),
        team: "default".into(),
        user: Some("ANN".into()),
        project: Some("default".into()),
        ..NewKey::default()
    };
    console.metastore.create_key(key).await.unwrap();
    let (_, list) = api(Method::GET, "/api/v1/people?limit=1", Value::Null).await;
    assert_eq!((&list["total"], &list["people"][0]["keys"][0]["name"]), (&json!(1), &json!("k")));
    for units in ["teams", "projects"] {
        assert_eq!((&list[units][0]["members"], &list[units][0]["keys"]), (&json!(1), &json!(1)), "{units}");
    }
    let (_, changed) = api(Method::PATCH, &path, json!({"role": null, "reach": "organisation"})).await;
    assert_eq!((&changed["role"], &changed["reach"]), (&Value::Null, &json!({"organisation": "default"})));
    assert_eq!(changed["teams"][0]["team"], "default", "what is not named stays");
    let (status, told) = api(Method::POST, &format!("{path}/sign-in-link"), Value::Null).await;
    assert_eq!((status, &told["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("change_refused")), "{told}");
    api(Method::PATCH, &path, json!({"role": "viewer"})).await;
    let (_, link) = api(Method::POST, &format!("{path}/sign-in-link"), Value::Null).await;
    assert!(link["path"].as_str().unwrap().starts_with("/login?token=tgl-"), "{link}");
    for wrong in
        [json!({"role": "sidecar"}), json!({"reach": "moon"}), json!({"rol": "viewer"}), json!({"teams": ["/"]})]
    {
        let (status, told) = api(Method::PATCH, &path, wrong.clone()).await;
        assert_eq!((status, &told["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("parameter_invalid")), "{wrong}");
    }
    let (status, _) = api(Method::PATCH, &path, json!({"teams": ["nowhere"]})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(api(Method::GET, "/api/v1/people/user-none", Value::Null).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_form_that_is_refused_is_shown_again_as_it_was_filled_in() {
    let console = console().await;
    let cookie = console.signed_in_as(Role::Admin).await;
    let ann = console.user_of("default", "ann", Some(Role::Viewer), Reach::Installation).await;
    let fields = "user_name=bob%40acme.test&display_name=Bob+%3CB%3E&role=finance&reach=installation&teams=nowhere";
    let shown = submit(&console, &cookie, "/people", "/people", fields).await;
    assert_eq!(shown.status, StatusCode::NOT_FOUND);
    for kept in [
        "there is no team <code>default/nowhere</code>",
        r#"value="bob@acme.test" autofocus"#,
        r#"value="Bob &#60;B&#62;""#,
        "<option selected>finance</option>",
        r#"<option value="installation" selected>"#,
        r#"value="nowhere""#,
    ] {
        assert!(shown.text.contains(kept), "`{kept}` is missing: {}", shown.text);
    }
    assert!(!shown.text.contains(r#"name="name" value="bob"#), "another form is filled in: {}", shown.text);
    for (page, action, fields, status, kept) in [
        ("/people", "/people/teams", "name=%07x", StatusCode::BAD_REQUEST, " autofocus"),
        ("/people", "/people/organisations", "name=default", StatusCode::CONFLICT, r#"value="default" autofocus"#),
        ("/keys", "/keys", "name=k&team=t&user=an&expires_days=7", StatusCode::NOT_FOUND, r#"value="7""#),
        ("/keys", "/keys", "name=k&team=t&expires_days=0", StatusCode::BAD_REQUEST, r#"name="team" value="t""#),
        ("/setup", "/setup?client=curl", "name=my+laptop&team=%07", StatusCode::BAD_REQUEST, r#"value="my laptop""#),
    ] {
        let shown = submit(&console, &cookie, page, action, fields).await;
        assert_eq!(shown.status, status, "{action}: {}", shown.text);
        assert!(shown.text.contains(kept) && shown.text.contains(r#"role="alert""#), "{action}: {}", shown.text);
    }
    let path = format!("/people/{}", ann.id);
    let shown = submit(&console, &cookie, &path, &path, "role=finance&teams=kyc&display_name=Ann+A").await;
    assert_eq!(shown.status, StatusCode::NOT_FOUND);
    for kept in [r#"value="kyc""#, r#"value="Ann A""#, "<option selected>finance</option>", "there is no team"] {
        assert!(shown.text.contains(kept), "`{kept}` is missing: {}", shown.text);
    }
    let unchanged = console.metastore.user(&ann.id).await.unwrap().unwrap();
    assert_eq!((unchanged.role, unchanged.profile.display_name.as_str()), (Some(Role::Viewer), ""));
    let fields = format!("name=laptop&team=%07&user=ann&tenant=default&person={}", ann.id);
    let shown = submit(&console, &cookie, &path, "/keys", &fields).await;
    assert!(shown.status == StatusCode::BAD_REQUEST && shown.text.contains(r#"value="laptop""#), "{}", shown.text);
}

#[tokio::test]
async fn an_administrator_decides_about_no_owner_and_the_last_owner_stays() {
    let console = console().await;
    let ann = console.user_of("default", "ann", Some(Role::Owner), Reach::Installation).await;
    let bob = console.user_of("default", "bob", Some(Role::Viewer), Reach::Installation).await;
    let path = |user: &User| format!("/api/v1/people/{}", user.id);
    let admin = console.metastore.create_api_token(Role::Admin).await.unwrap();
    for (method, path, body) in [
        (Method::PATCH, path(&ann), json!({"role": "viewer"})),
        (Method::PATCH, path(&ann), json!({"active": false})),
        (Method::PATCH, path(&ann), json!({"display_name": "A"})),
        (Method::PATCH, path(&bob), json!({"role": "owner"})),
        (Method::POST, format!("{}/sign-in-link", path(&ann)), Value::Null),
        (Method::POST, "/api/v1/people".to_owned(), json!({"user_name": "eve", "role": "owner"})),
    ] {
        let (status, told) = console.api(&admin, method, &path, &body).await;
        assert_eq!((status, &told["error"]["code"]), (StatusCode::FORBIDDEN, &json!("role_insufficient")), "{body}");
    }
    let cookie = console.signed_in_as(Role::Admin).await;
    let page = console.get(&format!("/people/{}", ann.id), &cookie).await.text;
    assert!(!page.contains("Deactivate") && !page.contains("Save") && page.contains("only an owner"), "{page}");
    let owner = console.metastore.create_api_token(Role::Owner).await.unwrap();
    for change in [json!({"role": "admin"}), json!({"active": false}), json!({"reach": "organisation"})] {
        let (status, told) = console.api(&owner, Method::PATCH, &path(&ann), &change).await;
        assert_eq!((status, &told["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("last_owner")), "{change}");
        assert!(told["error"]["message"].as_str().unwrap().contains("make another user an owner first"));
    }
    assert_eq!(console.api(&owner, Method::PATCH, &path(&bob), &json!({"role": "owner"})).await.0, StatusCode::OK);
    assert_eq!(console.api(&owner, Method::PATCH, &path(&ann), &json!({"active": false})).await.0, StatusCode::OK);
}

#[tokio::test]
async fn an_auditor_reads_the_directory_and_is_shown_no_form() {
    let console = console().await;
    let ann = console.user_of("default", "ann", None, Reach::Installation).await;
    let cookie = console.signed_in_as(Role::Auditor).await;
    for page in ["/people".to_owned(), format!("/people/{}", ann.id)] {
        let shown = console.get(&page, &cookie).await;
        assert!(shown.status == StatusCode::OK && shown.text.contains("by groups"), "{}", shown.text);
        for form in ["Add person", "Add team", "Save", "Deactivate", "Create key", "Sign-in link"] {
            assert!(!shown.text.contains(form), "{page} has `{form}`");
        }
    }
    let refused = submit(&console, &cookie, "/people", "/people/teams", "name=kyc").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_form_of_another_site_adds_nobody() {
    let console = console().await;
    let cookie = console.signed_in_as(Role::Owner).await;
    console.metastore.create_organisation("default", "test").await.unwrap();
    for csrf in ["", "&csrf=tgc-guessed"] {
        let answer = console.post_form("/people", &cookie, format!("user_name=eve&role=owner{csrf}")).await;
        assert!(answer.status == StatusCode::FORBIDDEN && answer.text.contains("csrf_refused"), "{}", answer.text);
    }
    assert_eq!(console.metastore.list_users(None, &UserFilter::default(), 0, 1).await.unwrap().total, 0);
}
