//! People, what they belong to, and what their keys are for.

use std::sync::atomic::{AtomicI64, Ordering};

use tollgate_policy::control::{ControlSnapshot, hash_key};
use tollgate_policy::key::KeyLimits;

use super::{START_US, new_key, on_each};
use crate::{
    GroupFacts, Metastore, MetastoreError, NewKey, Profile, Reach, Role, SignIn, TeamName, UserFilter, open_with_clock,
};

pub(super) fn person(name: &str) -> Profile {
    Profile {
        user_name: name.into(),
        external_id: Some(format!("sub-{name}")),
        display_name: name.to_uppercase(),
        emails: vec![format!("{name}@acme.test")],
        active: true,
    }
}

pub(super) fn team(name: &str) -> TeamName {
    TeamName { organisation: "acme".into(), team: name.into() }
}

pub(super) fn comes_in(name: &str, role: Option<Role>, teams: &[&str]) -> SignIn {
    let teams = teams.iter().map(|name| team(name)).collect();
    let reach = Reach::Installation;
    SignIn { organisation: "acme".into(), profile: person(name), role, reach, teams, until_us: None }
}

pub(super) async fn actions(store: &dyn Metastore) -> Vec<String> {
    store.control_events(50).await.unwrap().into_iter().rev().map(|event| event.action).collect()
}

#[tokio::test]
async fn what_is_created_is_listed_once_and_cannot_be_created_again() {
    on_each(|store| async move {
        let unknown = store.create_team(&team("kyc"), "ada").await.unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "there is no organisation `acme`; see the list of organisations, or create it first"
        );
        store.create_organisation("acme", "ada").await.unwrap();
        store.create_team(&team("kyc"), "ada").await.unwrap();
        store.create_project("acme", "onboarding", "ada").await.unwrap();
        for again in [
            store.create_organisation("acme", "ada").await,
            store.create_team(&team("kyc"), "ada").await,
            store.create_project("acme", "onboarding", "ada").await,
        ] {
            assert!(matches!(again, Err(MetastoreError::Exists { .. })), "{again:?}");
        }
        assert_eq!(store.list_organisations().await.unwrap()[0].name, "acme");
        assert_eq!(store.list_teams().await.unwrap()[0].name, "kyc");
        assert_eq!(store.list_projects().await.unwrap()[0].name, "onboarding");
        assert_eq!(actions(store.as_ref()).await, ["organisation.created", "team.created", "project.created"]);
    })
    .await;
}

#[tokio::test]
async fn a_person_is_found_by_name_whatever_its_case_and_changed_as_a_whole() {
    on_each(|store| async move {
        store.create_organisation("acme", "scim").await.unwrap();
        let ann = store.create_user("acme", person("Änn"), "scim").await.unwrap();
        store.create_user("acme", person("bob"), "scim").await.unwrap();
        let twice = store.create_user("acme", person("ÄNN"), "scim").await.unwrap_err();
        assert!(matches!(twice, MetastoreError::Exists { what: "user", .. }), "{twice}");
        let filter = UserFilter { user_name: Some("äNN".into()), ..UserFilter::default() };
        let found = store.list_users(Some("acme"), &filter, 0, 10).await.unwrap();
        assert_eq!((found.total, &found.items[0]), (1, &ann));
        let page = store.list_users(Some("acme"), &UserFilter::default(), 1, 1).await.unwrap();
        assert_eq!((page.total, page.items.len()), (2, 1));

        let renamed = Profile { user_name: "anna".into(), ..person("Änn") };
        assert_eq!(store.put_user(&ann.id, renamed.clone(), "scim").await.unwrap().profile, renamed);
        let revision = store.revision().await.unwrap();
        store.put_user(&ann.id, renamed, "scim").await.unwrap();
        assert_eq!(store.revision().await.unwrap(), revision, "the same again changes nothing");
        let taken = store.put_user(&ann.id, person("bob"), "scim").await.unwrap_err();
        assert!(matches!(taken, MetastoreError::Exists { .. }), "{taken}");
        let events = format!("{:?}", store.control_events(10).await.unwrap());
        assert!(
            !events.contains("anna") && !events.contains("acme.test"),
            "no name of a person is in an event: {events}"
        );
    })
    .await;
}

#[tokio::test]
async fn groups_have_members_and_lose_those_who_are_removed() {
    on_each(|store| async move {
        store.create_organisation("acme", "scim").await.unwrap();
        let ann = store.create_user("acme", person("ann"), "scim").await.unwrap();
        let facts = |members: &[&str]| GroupFacts {
            display_name: "auditors".into(),
            external_id: None,
            members: members.iter().map(|id| (*id).to_owned()).collect(),
        };
        let stranger = store.create_group("acme", facts(&["user-none"]), "scim").await.unwrap_err();
        assert!(matches!(stranger, MetastoreError::Unknown { what: "user", .. }), "{stranger}");
        let group = store.create_group("acme", facts(&[&ann.id]), "scim").await.unwrap();
        assert_eq!(store.user(&ann.id).await.unwrap().unwrap().groups, ["auditors"]);
        assert_eq!(
            store.list_groups("acme", Some("auditors"), 0, 5).await.unwrap().items,
            std::slice::from_ref(&group)
        );
        assert!(store.put_group(&group.id, facts(&[]), "scim").await.unwrap().members.is_empty());
        store.put_group(&group.id, facts(&[&ann.id]), "scim").await.unwrap();
        store.delete_user(&ann.id, "scim").await.unwrap();
        assert!(store.group(&group.id).await.unwrap().unwrap().members.is_empty());
        store.delete_group(&group.id, "scim").await.unwrap();
        assert_eq!(store.group(&group.id).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn someone_a_provider_vouches_for_comes_in_with_a_role_or_not_at_all() {
    on_each(|store| async move {
        let nobody = store.sign_in(comes_in("ann", None, &[])).await.unwrap_err();
        assert_eq!(nobody.to_string(), "none of your groups has a role here; ask an administrator");
        assert!(store.list_organisations().await.unwrap().is_empty(), "and leaves nothing behind");

        let session = store.sign_in(comes_in("ann", Some(Role::Developer), &["kyc"])).await.unwrap();
        let known = store.session(&session.id).await.unwrap().unwrap();
        assert_eq!((known.role, &known.teams), (Role::Developer, &vec![team("kyc")]));
        let user_id = session.user_id.clone().unwrap();
        assert_eq!(session.author(), format!("console:developer:{user_id}"));
        let again = store.sign_in(comes_in("ann", Some(Role::Developer), &[])).await.unwrap();
        assert_eq!(again.user_id, session.user_id, "the same person again");

        store.set_user_role(&user_id, Some(Role::Finance), "ada").await.unwrap();
        assert_eq!(store.session(&session.id).await.unwrap(), None, "a new role means signing in again");
        let session = store.sign_in(comes_in("ann", Some(Role::Developer), &[])).await.unwrap();
        assert_eq!(session.role, Role::Finance, "what an administrator says goes before what groups say");

        store.put_user(&user_id, Profile { active: false, ..person("ann") }, "scim").await.unwrap();
        assert_eq!(store.session(&session.id).await.unwrap(), None);
        let refused = store.sign_in(comes_in("ann", Some(Role::Admin), &[])).await.unwrap_err();
        assert_eq!(refused.to_string(), "this account is not active here; ask an administrator");
    })
    .await;
}

#[tokio::test]
async fn a_session_lasts_no_longer_than_the_provider_says() {
    static NOW_US: AtomicI64 = AtomicI64::new(START_US);
    let store = open_with_clock("sqlite::memory:", || NOW_US.load(Ordering::Relaxed)).await.unwrap();
    let who = SignIn { until_us: Some(START_US + 60_000_000), ..comes_in("ann", Some(Role::Viewer), &[]) };
    let session = store.sign_in(who).await.unwrap();
    NOW_US.store(START_US + 59_000_000, Ordering::Relaxed);
    assert!(store.session(&session.id).await.unwrap().is_some());
    NOW_US.store(START_US + 60_000_000, Ordering::Relaxed);
    assert!(store.session(&session.id).await.unwrap().is_none());
}

#[tokio::test]
async fn the_last_owner_stays_and_a_person_is_no_sidecar() {
    on_each(|store| async move {
        store.create_organisation("acme", "ada").await.unwrap();
        let ann = store.create_user("acme", person("ann"), "ada").await.unwrap();
        store.set_user_role(&ann.id, Some(Role::Owner), "ada").await.unwrap();
        for refused in [
            store.set_user_role(&ann.id, Some(Role::Admin), "ada").await,
            store.delete_user(&ann.id, "ada").await,
            store.put_user(&ann.id, Profile { active: false, ..person("ann") }, "ada").await.map(|_| ()),
        ] {
            assert!(matches!(refused, Err(MetastoreError::LastOwner { .. })), "{refused:?}");
        }
        let bob = store.create_user("acme", person("bob"), "ada").await.unwrap();
        store.set_user_role(&bob.id, Some(Role::Owner), "ada").await.unwrap();
        store.set_user_role(&ann.id, None, "ada").await.unwrap();
        let sidecar = store.set_user_role(&ann.id, Some(Role::Sidecar), "ada").await.unwrap_err();
        assert!(matches!(sidecar, MetastoreError::Unacceptable { .. }), "{sidecar}");
        let nowhere = store.set_teams(&ann.id, &[team("nowhere")], "ada").await.unwrap_err();
        assert!(matches!(nowhere, MetastoreError::Unknown { what: "team", .. }), "{nowhere}");
    })
    .await;
}

#[tokio::test]
async fn a_key_stops_with_its_user() {
    on_each(|store| async move {
        let key = NewKey { user: Some("ÄNN".into()), ..new_key("laptop") };
        let secret = store.create_key(key).await.unwrap().secret;
        let works = async || {
            let document = store.control_document().await.unwrap();
            ControlSnapshot::compile(&document).unwrap().principal(&hash_key(&secret)).is_some()
        };
        assert!(works().await, "someone the directory does not know is not held against a key");
        let ann = store.create_user("acme", person("änn"), "scim").await.unwrap();
        assert!(works().await);
        store.put_user(&ann.id, Profile { active: false, ..person("änn") }, "scim").await.unwrap();
        assert!(!works().await && store.list_keys().await.unwrap()[0].user_inactive);
        store.put_user(&ann.id, person("änn"), "scim").await.unwrap();
        assert!(works().await);
        store.delete_user(&ann.id, "scim").await.unwrap();
        assert!(!works().await && !store.list_keys().await.unwrap()[0].enabled);
    })
    .await;
}

#[tokio::test]
async fn a_key_is_for_nobody_whom_the_directory_would_know() {
    on_each(|store| async move {
        store.create_key(NewKey { user: Some("anybody".into()), ..new_key("first") }).await.unwrap();
        store.create_user("acme", person("ann"), "scim").await.unwrap();
        store.create_key(NewKey { user: Some("ANN".into()), ..new_key("hers") }).await.unwrap();
        let error = store.create_key(NewKey { user: Some("anne".into()), ..new_key("his") }).await.unwrap_err();
        assert!(matches!(error, MetastoreError::UnknownUser { .. }) && error.is_callers(), "{error}");
        let told = error.to_string();
        assert!(told.contains("no user `anne` in organisation `acme`; did you mean `ann`?"), "{told}");
        let elsewhere = NewKey { tenant: "globex".into(), user: Some("anne".into()), ..new_key("theirs") };
        store.create_key(elsewhere).await.expect("of that organisation the directory knows nobody");
        assert_eq!(store.list_keys().await.unwrap().len(), 3, "and of the one that was refused nothing is left");
    })
    .await;
}

#[tokio::test]
async fn a_key_has_the_role_of_its_user_for_as_long_as_they_have_it() {
    on_each(|store| async move {
        let key = NewKey { user: Some("ÄNN".into()), ..new_key("laptop") };
        let secret = store.create_key(key).await.unwrap().secret;
        let role = async || {
            let control = ControlSnapshot::compile(&store.control_document().await.unwrap()).unwrap();
            control.principal(&hash_key(&secret)).unwrap().role.clone()
        };
        assert_eq!(role().await, None);
        let ann = store.create_user("acme", person("änn"), "scim").await.unwrap();
        assert_eq!(role().await, None);
        let before = store.revision().await.unwrap();
        store.set_user_role(&ann.id, Some(Role::Finance), "ada").await.unwrap();
        assert_eq!(role().await.as_deref(), Some("finance"));
        assert!(store.revision().await.unwrap() > before, "gateways take it up");
        store.set_user_role(&ann.id, None, "ada").await.unwrap();
        assert_eq!(role().await, None);
    })
    .await;
}

#[tokio::test]
async fn a_key_keeps_what_it_is_for_and_means_nothing_that_it_cannot_keep() {
    on_each(|store| async move {
        let limits = KeyLimits {
            scopes: vec!["chat".into(), "anthropic".into()],
            models: vec!["openai/*".into()],
            sources: vec!["10.0.0.0/8".into()],
        };
        let tags = [("cost_centre".to_owned(), "42".to_owned())].into();
        let key = NewKey { limits: limits.clone(), tags, expires_at_us: Some(START_US), ..new_key("ci") };
        store.create_key(key).await.unwrap();
        let record = store.control_document().await.unwrap().keys.remove(0);
        assert_eq!((&record.limits, record.expires_at_us), (&limits, Some(START_US)));
        assert_eq!(record.tags["cost_centre"], "42");
        assert_eq!(store.list_keys().await.unwrap()[0].limits, limits);
        let wrong = KeyLimits { sources: vec!["10.0.0.1/8".into()], ..KeyLimits::default() };
        let error = store.create_key(NewKey { limits: wrong, ..new_key("ci") }).await.unwrap_err();
        assert!(error.is_callers() && error.to_string().contains("`10.0.0.1/8`"), "{error}");
        let own = NewKey { tags: [("tollgate.x".to_owned(), "1".to_owned())].into(), ..new_key("ci") };
        assert!(store.create_key(own).await.unwrap_err().to_string().contains("`tollgate.x`"));
    })
    .await;
}

#[tokio::test]
async fn both_secrets_of_a_rotated_key_are_known_and_the_one_before_them_is_not() {
    on_each(|store| async move {
        let first = store.create_key(new_key("ci")).await.unwrap();
        let second = store.rotate_key("ci", 60_000_000, "ada").await.unwrap();
        assert_eq!(second.id, first.id);
        let document = store.control_document().await.unwrap();
        let snapshot = ControlSnapshot::compile(&document).unwrap();
        let ends_of = |secret: &str| snapshot.principal(&hash_key(secret)).map(|principal| principal.expires_at_us);
        assert_eq!(ends_of(&first.secret), Some(Some(second.previous_until_us)));
        assert_eq!(ends_of(&second.secret), Some(None));
        let third = store.rotate_key(&first.id, 0, "ada").await.unwrap();
        let document = store.control_document().await.unwrap();
        let snapshot = ControlSnapshot::compile(&document).unwrap();
        assert!(snapshot.principal(&hash_key(&first.secret)).is_none());
        assert!(snapshot.principal(&hash_key(&third.secret)).is_some());
        assert!(!format!("{third:?}").contains(&third.secret));

        store.create_key(new_key("ci")).await.unwrap();
        let which = store.rotate_key("ci", 0, "ada").await.unwrap_err();
        assert!(matches!(which, MetastoreError::AmbiguousKey { .. }), "{which}");
        store.revoke_key(&first.id).await.unwrap();
        let gone = store.rotate_key(&first.id, 0, "ada").await.unwrap_err();
        assert!(matches!(gone, MetastoreError::UnknownKey { .. }), "{gone}");
    })
    .await;
}
