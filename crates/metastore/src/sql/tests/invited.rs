//! People whom an administrator puts into the directory: with a role and how far it reaches, by a link of their own.

use std::sync::atomic::{AtomicI64, Ordering};

use super::people::{actions, comes_in, person, team};
use super::{START_US, on_each};
use crate::{Grant, Metastore, MetastoreError, NewUser, Profile, Reach, Role, UserChange, UserFilter, open_with_clock};

fn acme() -> Reach {
    Reach::Organisation("acme".into())
}

/// Somebody new, whom no provider knows.
fn new_user(name: &str, role: Option<Role>, reach: Reach) -> NewUser {
    let profile = Profile { external_id: None, ..person(name) };
    NewUser { organisation: "acme".into(), profile, role, reach, teams: vec![team("kyc")] }
}

async fn with_a_team(store: &dyn Metastore) {
    store.create_organisation("acme", "ada").await.unwrap();
    store.create_team(&team("kyc"), "ada").await.unwrap();
}

#[tokio::test]
async fn someone_is_put_there_as_a_whole_or_not_at_all() {
    on_each(|store| async move {
        with_a_team(store.as_ref()).await;
        let nowhere = NewUser { teams: vec![team("nowhere")], ..new_user("ann", None, acme()) };
        let refused = store.add_user(nowhere, "ada").await.unwrap_err();
        assert!(matches!(refused, MetastoreError::Unknown { what: "team", .. }), "{refused}");
        let foreign = new_user("ann", Some(Role::Admin), Reach::Organisation("globex".into()));
        let refused = store.add_user(foreign, "ada").await.unwrap_err();
        assert!(matches!(refused, MetastoreError::ForeignReach { .. }) && refused.is_callers(), "{refused}");
        assert_eq!(store.list_users(None, &UserFilter::default(), 0, 9).await.unwrap().total, 0);

        let ann = store.add_user(new_user("ann", Some(Role::Admin), acme()), "ada").await.unwrap();
        assert_eq!((ann.role, &ann.reach, &ann.teams), (Some(Role::Admin), &acme(), &vec![team("kyc")]));
        assert_eq!(store.user(&ann.id).await.unwrap(), Some(ann));
        assert_eq!(store.team_sizes().await.unwrap(), [(team("kyc"), 1)]);
    })
    .await;
}

#[tokio::test]
async fn people_are_found_by_a_part_of_their_name_or_by_their_team() {
    on_each(|store| async move {
        with_a_team(store.as_ref()).await;
        store.create_organisation("globex", "ada").await.unwrap();
        store.add_user(new_user("ann_b", None, acme()), "ada").await.unwrap();
        store.create_user("globex", person("annab"), "ada").await.unwrap();
        let names = async |organisation: Option<&str>, filter: UserFilter| -> Vec<String> {
            let found = store.list_users(organisation, &filter, 0, 9).await.unwrap();
            found.items.into_iter().map(|user| user.profile.user_name).collect()
        };
        let holds = |text: &str| UserFilter { holds: Some(text.into()), ..UserFilter::default() };
        assert_eq!(names(None, holds("ANN")).await, ["ann_b", "annab"]);
        assert_eq!(names(None, holds("n_b")).await, ["ann_b"], "an underscore stands for itself");
        assert_eq!(names(None, holds("%")).await, Vec::<String>::new());
        assert_eq!(names(Some("globex"), holds("ann")).await, ["annab"]);
        let of_team = UserFilter { team: Some(team("kyc")), ..UserFilter::default() };
        assert_eq!(names(None, of_team).await, ["ann_b"]);
    })
    .await;
}

#[tokio::test]
async fn several_things_change_at_once_each_with_its_event_or_none_does() {
    on_each(|store| async move {
        with_a_team(store.as_ref()).await;
        let ann = store.add_user(new_user("ann", Some(Role::Viewer), Reach::Installation), "ada").await.unwrap();
        let session = store.sign_in(comes_in("ann", None, &[])).await.unwrap();
        let before = store.revision().await.unwrap();
        let wrong =
            UserChange { role: Some(Some(Role::Admin)), teams: Some(vec![team("nowhere")]), ..UserChange::default() };
        store.change_user(&ann.id, &wrong, "ada").await.unwrap_err();
        assert_eq!(store.user(&ann.id).await.unwrap().unwrap().role, Some(Role::Viewer));
        assert!(store.session(&session.id).await.unwrap().is_some() && store.revision().await.unwrap() == before);

        let change = UserChange {
            role: Some(Some(Role::Admin)),
            reach: Some(acme()),
            teams: Some(vec![]),
            display_name: Some("Ann".into()),
            ..UserChange::default()
        };
        let after = store.change_user(&ann.id, &change, "ada").await.unwrap();
        assert_eq!((after.role, &after.reach, after.teams.len()), (Some(Role::Admin), &acme(), 0));
        assert_eq!(after.profile.display_name, "Ann");
        assert_eq!(store.session(&session.id).await.unwrap(), None, "what they may do is different now");
        let told = actions(store.as_ref()).await;
        let last = ["user.changed", "user.role_set", "user.reach_set", "user.teams_set"];
        assert_eq!(told[told.len() - 4..], last);
        let revision = store.revision().await.unwrap();
        store.change_user(&ann.id, &change, "ada").await.unwrap();
        assert_eq!(store.revision().await.unwrap(), revision, "the same again changes nothing");
    })
    .await;
}

#[tokio::test]
async fn an_owner_of_one_organisation_does_not_stand_in_for_the_last_of_the_installation() {
    on_each(|store| async move {
        with_a_team(store.as_ref()).await;
        let ann = store.add_user(new_user("ann", Some(Role::Owner), Reach::Installation), "ada").await.unwrap();
        let bob = store.add_user(new_user("bob", Some(Role::Owner), acme()), "ada").await.unwrap();
        let off = UserChange { active: Some(false), ..UserChange::default() };
        let narrower = UserChange { reach: Some(acme()), ..UserChange::default() };
        for change in [&off, &narrower] {
            let refused = store.change_user(&ann.id, change, "ada").await;
            assert!(matches!(refused, Err(MetastoreError::LastOwner { .. })), "{refused:?}");
        }
        store.change_user(&bob.id, &off, "ada").await.unwrap();
        let on = UserChange { active: Some(true), reach: Some(Reach::Installation), ..UserChange::default() };
        store.change_user(&bob.id, &on, "ada").await.unwrap();
        store.change_user(&ann.id, &off, "ada").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_link_signs_its_person_in_once_with_what_they_may_do_by_then() {
    on_each(|store| async move {
        with_a_team(store.as_ref()).await;
        let ann = store.add_user(new_user("ann", None, acme()), "ada").await.unwrap();
        let refused = store.invite_user(&ann.id, "ada").await.unwrap_err();
        assert!(matches!(refused, MetastoreError::NoRole { .. }), "{refused}");
        store.set_user_role(&ann.id, Some(Role::Viewer), "ada").await.unwrap();
        let first = store.invite_user(&ann.id, "ada").await.unwrap();
        let second = store.invite_user(&ann.id, "ada").await.unwrap();
        let refused = store.redeem_login(&first).await;
        assert!(matches!(refused, Err(MetastoreError::LoginRefused)), "a new link takes the place of the one before");
        store.set_user_role(&ann.id, Some(Role::Finance), "ada").await.unwrap();
        let session = store.redeem_login(&second).await.unwrap();
        let known = store.session(&session.id).await.unwrap().unwrap();
        assert_eq!((known.role, &known.reach, &known.teams), (Role::Finance, &acme(), &vec![team("kyc")]));
        assert_eq!(known.user_id.as_ref(), Some(&ann.id));
        assert!(matches!(store.redeem_login(&second).await, Err(MetastoreError::LoginRefused)));
        assert!(store.user(&ann.id).await.unwrap().unwrap().signed_in_at_us.is_some());

        let third = store.invite_user(&ann.id, "ada").await.unwrap();
        let off = UserChange { active: Some(false), ..UserChange::default() };
        store.change_user(&ann.id, &off, "ada").await.unwrap();
        assert!(matches!(store.redeem_login(&third).await, Err(MetastoreError::LoginRefused)));
        let refused = store.invite_user(&ann.id, "ada").await.unwrap_err();
        assert!(matches!(refused, MetastoreError::SignInRefused { .. }), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn an_invitation_lasts_three_days() {
    static NOW_US: AtomicI64 = AtomicI64::new(START_US);
    let store = open_with_clock("sqlite::memory:", || NOW_US.load(Ordering::Relaxed)).await.unwrap();
    with_a_team(store.as_ref()).await;
    let ann = store.add_user(new_user("ann", Some(Role::Viewer), acme()), "ada").await.unwrap();
    let hours_later = |hours: i64| NOW_US.store(START_US + hours * 3_600_000_000, Ordering::Relaxed);
    let link = store.invite_user(&ann.id, "ada").await.unwrap();
    hours_later(71);
    store.redeem_login(&link).await.unwrap();
    let link = store.invite_user(&ann.id, "ada").await.unwrap();
    hours_later(71 + 72);
    assert!(matches!(store.redeem_login(&link).await, Err(MetastoreError::LoginRefused)));
}

#[tokio::test]
async fn a_token_and_a_link_keep_how_far_they_reach() {
    on_each(|store| async move {
        let grant = Grant::of(Role::Admin).within(acme());
        let token = store.create_api_token_by(&grant, "", "ada").await.unwrap();
        assert_eq!(store.api_token(&token).await.unwrap().unwrap().grant, grant);
        assert_eq!(store.list_api_tokens().await.unwrap()[0].reach, acme());
        let link = store.create_login_link_for(&grant, "ada").await.unwrap();
        let session = store.redeem_login(&link).await.unwrap();
        assert_eq!(store.session(&session.id).await.unwrap().unwrap().reach, acme());
    })
    .await;
}
