//! Every fact holds on both databases: on SQLite always, on PostgreSQL if `TOLLGATE_TEST_POSTGRES` holds the URL of one.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tollgate_policy::bundle::DEFAULT_YAML;
use tollgate_policy::control::{ControlSnapshot, hash_key};

use crate::{Grant, LOCAL_AUTHOR, Metastore, MetastoreError, NewKey, Role, TokenHolder, open, open_with_clock};

mod invited;
mod people;
mod transfer;

const START_US: i64 = 1_795_000_000_000_000;

/// Runs a test on a new, empty store of each kind.
pub(super) async fn on_each<Fact: Future<Output = ()>>(test: impl Fn(Arc<dyn Metastore>) -> Fact) {
    let folder = tempfile::tempdir().unwrap();
    test(open(&format!("sqlite:{}", folder.path().join("new/meta.db").display())).await.unwrap()).await;
    if let Some(url) = new_postgres().await {
        test(open(&url).await.unwrap()).await;
    }
}

/// The URL of an empty schema.
pub(super) async fn new_postgres() -> Option<String> {
    let url = std::env::var("TOLLGATE_TEST_POSTGRES").ok()?;
    let schema = crate::secret::new_id("test_").unwrap().to_lowercase();
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).execute(&pool).await.unwrap();
    pool.close().await;
    let separator = if url.contains('?') { '&' } else { '?' };
    Some(format!("{url}{separator}options=-c%20search_path%3D{schema}"))
}

pub(super) fn new_key(name: &str) -> NewKey {
    let project = Some("onboarding".into());
    NewKey { name: name.into(), tenant: "acme".into(), project, team: "kyc".into(), ..NewKey::default() }
}

#[tokio::test]
async fn a_created_key_opens_the_gate_until_it_is_revoked() {
    on_each(|store| async move {
        let before = store.revision().await.unwrap();
        let created = store.create_key(new_key("ci")).await.unwrap();
        let document = store.control_document().await.unwrap();
        // The organisation, the team and the project came to be with it.
        assert_eq!(document.revision, before + 4);
        let snapshot = ControlSnapshot::compile(&document).unwrap();
        let principal = snapshot.principal(&hash_key(&created.secret)).unwrap();
        assert_eq!((principal.key_id.as_str(), principal.team.as_str()), (created.id.as_str(), "kyc"));
        assert_eq!(principal.project.as_deref(), Some("onboarding"));

        store.revoke_key(&created.id).await.unwrap();
        let document = store.control_document().await.unwrap();
        let snapshot = ControlSnapshot::compile(&document).unwrap();
        assert!(snapshot.principal(&hash_key(&created.secret)).is_none());
        store.revoke_key(&created.id).await.unwrap();
        assert_eq!(store.revision().await.unwrap(), document.revision, "revoking once more changes nothing");
        let unknown = store.revoke_key("key-none").await.unwrap_err();
        assert!(matches!(unknown, MetastoreError::UnknownKey { .. }), "{unknown}");
    })
    .await;
}

#[tokio::test]
async fn a_listing_shows_how_a_key_begins_and_never_the_key() {
    on_each(|store| async move {
        let created = store.create_key(new_key("ci")).await.unwrap();
        let keys = store.list_keys().await.unwrap();
        assert_eq!(keys[0].display, format!("{}…", &created.secret[..7]));
        assert!(!format!("{keys:?}").contains(&created.secret[..8]));
        assert!(!format!("{created:?}").contains(&created.secret));
        let events = format!("{:?}", store.control_events(10).await.unwrap());
        assert!(events.contains(&created.id) && !events.contains(&created.secret[..8]), "{events}");
    })
    .await;
}

#[tokio::test]
async fn a_key_can_be_given_an_end() {
    on_each(|store| async move {
        let created = store.create_key(new_key("ci")).await.unwrap();
        store.set_key_expiry(&created.id, Some(START_US), "ada").await.unwrap();
        let document = store.control_document().await.unwrap();
        assert_eq!(document.keys[0].expires_at_us, Some(START_US));
        assert_eq!(store.control_events(1).await.unwrap()[0].author, "ada");
    })
    .await;
}

#[tokio::test]
async fn names_that_nobody_could_read_are_refused() {
    on_each(|store| async move {
        for team in ["", " kyc", "a\nb", &"x".repeat(101)] {
            let error = store.create_key(NewKey { team: team.into(), ..new_key("ci") }).await.unwrap_err();
            assert!(matches!(error, MetastoreError::Unacceptable { what: "team of a key", .. }), "{error}");
            assert!(error.is_callers());
        }
        assert_eq!(store.revision().await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn every_change_bumps_the_revision_and_leaves_an_event() {
    on_each(|store| async move {
        let mut changes = store.changes();
        let id = store.create_key_by(new_key("ci"), "ada").await.unwrap().id;
        assert!(changes.has_changed().unwrap());
        assert_eq!(*changes.borrow_and_update(), 5);
        store.revoke_key_by(&id, "grace").await.unwrap();
        store.create_api_token(Role::Sidecar).await.unwrap();
        let events = store.control_events(10).await.unwrap();
        let seen: Vec<_> =
            events.iter().map(|event| (event.revision, event.action.as_str(), event.author.as_str())).collect();
        let expected = [
            (7, "token.created", LOCAL_AUTHOR),
            (6, "key.revoked", "grace"),
            (5, "key.created", "ada"),
            (4, "project.created", "ada"),
            (3, "team.created", "ada"),
            (2, "organisation.created", "ada"),
        ];
        assert_eq!(seen, expected);
    })
    .await;
}

#[tokio::test]
async fn changes_at_the_same_time_all_get_a_revision_of_their_own() {
    on_each(|store| async move {
        let mut creations = tokio::task::JoinSet::new();
        for number in 0..20 {
            let store = Arc::clone(&store);
            creations.spawn(async move { store.create_key(new_key(&format!("k{number}"))).await.map(|_| ()) });
        }
        for creation in creations.join_all().await {
            creation.unwrap();
        }
        assert_eq!(store.revision().await.unwrap(), 24);
        assert_eq!(store.control_document().await.unwrap().keys.len(), 20);
        assert_eq!(*store.changes().borrow(), 24);
    })
    .await;
}

#[tokio::test]
async fn another_process_s_changes_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let mut urls = vec![format!("sqlite:{}", folder.path().join("meta.db").display())];
    urls.extend(new_postgres().await);
    for url in urls {
        let (mine, theirs) = (open(&url).await.unwrap(), open(&url).await.unwrap());
        assert_eq!(mine.revision().await.unwrap(), 1);
        let mut changes = mine.changes();
        changes.mark_unchanged();
        theirs.create_key(new_key("ci")).await.unwrap();
        assert!(!changes.has_changed().unwrap());
        assert_eq!(mine.revision().await.unwrap(), 5);
        assert!(changes.has_changed().unwrap(), "the poll passes it on");
    }
}

#[tokio::test]
async fn a_legal_hold_lasts_until_it_is_released() {
    on_each(|store| async move {
        store.place_hold("matter 7", r#"{"team":"kyc"}"#, "counsel").await.unwrap();
        let again = store.place_hold("matter 7", "{}", "counsel").await;
        assert!(matches!(again, Err(MetastoreError::HoldExists { .. })), "{again:?}");
        let holds = store.list_holds().await.unwrap();
        assert_eq!(holds.len(), 1);
        assert_eq!((holds[0].matter.as_str(), holds[0].author.as_str()), ("matter 7", "counsel"));
        store.release_hold("matter 7", "counsel").await.unwrap();
        assert!(store.list_holds().await.unwrap().is_empty());
        let gone = store.release_hold("matter 7", "counsel").await;
        assert!(matches!(gone, Err(MetastoreError::UnknownHold { .. })), "{gone:?}");
        let events = store.control_events(2).await.unwrap();
        assert_eq!([events[0].action.as_str(), events[1].action.as_str()], ["hold.released", "hold.placed"]);
    })
    .await;
}

#[tokio::test]
async fn a_bundle_is_in_force_once_put_and_stays_readable() {
    on_each(|store| async move {
        assert_eq!(store.control_document().await.unwrap().bundle_yaml, DEFAULT_YAML);
        let yaml = format!("{DEFAULT_YAML}# ours\n");
        let put = store.put_bundle(&yaml, "ada", "tighten").await.unwrap();
        assert_eq!((put.author.as_str(), put.reason.as_str(), put.name.as_str()), ("ada", "tighten", "default"));
        let document = store.control_document().await.unwrap();
        assert_eq!(document.bundle_yaml, yaml);
        assert_eq!(ControlSnapshot::compile(&document).unwrap().bundle.hash, put.hash);

        let again = store.put_bundle(&yaml, "bob", "again").await.unwrap();
        assert_eq!(again, put, "the active text once more changes nothing");
        store.put_bundle(DEFAULT_YAML, "ada", "back").await.unwrap();
        assert_eq!(store.list_bundles().await.unwrap().len(), 2);
        assert_eq!(store.bundle_yaml(&put.hash).await.unwrap(), Some(yaml));
        assert_eq!(store.bundle_yaml("nothing").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_bundle_that_is_brought_back_says_which_revision_it_was() {
    on_each(|store| async move {
        let yaml = DEFAULT_YAML.replace("name: default", "name: ours\n  version: 2026.11");
        let put = store.put_bundle(&yaml, "ada", "revision 9: no more than a reason").await.unwrap();
        assert_eq!((put.version.as_deref(), put.restores), (Some("2026.11"), None));
        let back = store.put_bundle_back(0, DEFAULT_YAML, "ada", "too strict").await.unwrap();
        let forth = store.put_bundle_back(put.revision, &yaml, "bob", "after all").await.unwrap();
        assert_eq!((back.restores, forth.restores), (Some(0), Some(put.revision)));
        assert_eq!(store.list_bundles().await.unwrap(), [forth.clone(), back, put]);
        let again = store.put_bundle_back(1, &yaml, "bob", "once more").await.unwrap();
        assert_eq!(again, forth, "the active text once more changes nothing");
        let event = store.control_events(1).await.unwrap().remove(0);
        assert_eq!((event.action.as_str(), event.subject), ("bundle.rolled_back", forth.hash));
    })
    .await;
}

#[tokio::test]
async fn a_bundle_that_is_broken_or_fails_its_tests_is_not_put() {
    on_each(|store| async move {
        let broken = store.put_bundle("acess: []", "ada", "oops").await.unwrap_err();
        assert!(matches!(broken, MetastoreError::Bundle { .. }), "{broken}");
        let wrong = DEFAULT_YAML.replace("{decision: deny, code: budget_exceeded}", "{decision: allow}");
        let failing = store.put_bundle(&wrong, "ada", "oops").await.unwrap_err();
        assert!(failing.to_string().contains("`spend that was over when it was last known still denies`"), "{failing}");
        assert_eq!(store.revision().await.unwrap(), 1);
        assert_eq!(store.control_document().await.unwrap().bundle_yaml, DEFAULT_YAML);
    })
    .await;
}

#[tokio::test]
async fn a_login_link_works_once() {
    on_each(|store| async move {
        let token = store.create_login_link().await.unwrap();
        let session = store.redeem_login(&token).await.unwrap();
        assert_eq!(session.role, Role::Admin);
        assert_eq!(store.session(&session.id).await.unwrap().unwrap(), session);
        assert!(matches!(store.redeem_login(&token).await, Err(MetastoreError::LoginRefused)));
        assert!(matches!(store.redeem_login("tgl-guess").await, Err(MetastoreError::LoginRefused)));
        store.delete_session(&session.id).await.unwrap();
        assert_eq!(store.session(&session.id).await.unwrap(), None);
        assert_eq!(store.session(&session.csrf).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn links_and_sessions_end() {
    static NOW_US: AtomicI64 = AtomicI64::new(START_US);
    let store = open_with_clock("sqlite::memory:", || NOW_US.load(Ordering::Relaxed)).await.unwrap();
    let minutes_later = |minutes: i64| NOW_US.store(START_US + minutes * 60_000_000, Ordering::Relaxed);
    let (soon, late) = (store.create_login_link().await.unwrap(), store.create_login_link().await.unwrap());
    minutes_later(14);
    let session = store.redeem_login(&soon).await.unwrap();
    minutes_later(15);
    assert!(matches!(store.redeem_login(&late).await, Err(MetastoreError::LoginRefused)));
    minutes_later(14 + 12 * 60 - 1);
    assert!(store.session(&session.id).await.unwrap().is_some());
    minutes_later(14 + 12 * 60);
    assert!(store.session(&session.id).await.unwrap().is_none());
}

#[tokio::test]
async fn an_api_token_has_its_role_until_it_is_revoked() {
    on_each(|store| async move {
        let token = store.create_api_token_by(&Grant::of(Role::Auditor), "quarterly review", "ada").await.unwrap();
        let listed = store.list_api_tokens().await.unwrap();
        let holder = TokenHolder { id: listed[0].id.clone(), grant: Grant::of(Role::Auditor) };
        assert_eq!(store.api_token(&token).await.unwrap(), Some(holder));
        assert_eq!(store.api_token("tgt-guess").await.unwrap(), None);
        assert_eq!((listed[0].role, listed[0].name.as_str()), (Role::Auditor, "quarterly review"));
        store.revoke_api_token(&listed[0].id, "ada").await.unwrap();
        store.revoke_api_token(&listed[0].id, "ada").await.unwrap();
        assert_eq!(store.api_token(&token).await.unwrap(), None);
        let unknown = store.revoke_api_token("tok-none", "ada").await.unwrap_err();
        assert!(matches!(unknown, MetastoreError::UnknownToken { .. }), "{unknown}");
    })
    .await;
}

#[tokio::test]
async fn what_was_committed_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("meta.db").display());
    let id = open(&url).await.unwrap().create_key(new_key("ci")).await.unwrap().id;
    assert_eq!(open(&url).await.unwrap().list_keys().await.unwrap()[0].id, id);
}

#[tokio::test]
async fn a_url_of_another_kind_is_refused_without_its_password() {
    let error = open("mysql://me:hunter2@db/gate").await.err().unwrap().to_string();
    assert!(error.starts_with("`mysql://db/gate` is not a metastore"), "{error}");
}
