//! A metastore copied into another one.

use std::collections::BTreeSet;

use sqlx::Row as _;

use super::{new_key, new_postgres};
use crate::transfer::{Cell, TABLES};
use crate::{GroupFacts, Metastore, MetastoreError, NewKey, Profile, Reach, Role, SignIn, TeamName, open};

/// Something in every table.
async fn fill(store: &dyn Metastore) -> String {
    let secret = store.create_key(NewKey { user: Some("ann".into()), ..new_key("ci") }).await.unwrap().secret;
    store.rotate_key("ci", 1, "ada").await.unwrap();
    store.put_bundle(&format!("{}# ours\n", tollgate_policy::bundle::DEFAULT_YAML), "ada", "why").await.unwrap();
    store.create_login_link().await.unwrap();
    store.create_api_token(Role::Auditor).await.unwrap();
    let team = TeamName { organisation: "acme".into(), team: "kyc".into() };
    let profile =
        Profile { user_name: "ann".into(), external_id: Some("s".into()), active: true, ..Profile::default() };
    let reach = Reach::Organisation("acme".into());
    let who = SignIn {
        organisation: "acme".into(),
        profile,
        role: Some(Role::Developer),
        reach,
        teams: vec![],
        until_us: None,
    };
    let user = store.sign_in(who).await.unwrap().user_id.unwrap();
    let session = {
        store.set_teams(&user, &[team], "ada").await.unwrap();
        let link = store.create_login_link().await.unwrap();
        store.redeem_login(&link).await.unwrap()
    };
    let members = vec![user];
    let group = GroupFacts { display_name: "g".into(), external_id: None, members };
    store.create_group("acme", group, "ada").await.unwrap();
    assert!(!secret.is_empty());
    session.id
}

#[tokio::test]
async fn everything_is_copied_and_compared_and_works_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let source = open(&file("from.db")).await.unwrap();
    let session = fill(source.as_ref()).await;
    let dump = source.dump().await.unwrap();
    for (shape, rows) in TABLES.iter().zip(&dump.tables) {
        assert!(!rows.is_empty(), "the test puts nothing into `{}`", shape.name);
    }
    let mut targets = vec![file("to.db")];
    targets.extend(new_postgres().await);
    for url in targets {
        let target = open(&url).await.unwrap();
        let copied = target.fill(&dump).await.unwrap();
        assert_eq!(copied.len(), TABLES.len());
        assert_eq!(target.revision().await.unwrap(), source.revision().await.unwrap());
        assert!(target.session(&session).await.unwrap().is_some(), "who was signed in still is");
        let (mut ours, mut theirs) =
            (target.control_document().await.unwrap(), source.control_document().await.unwrap());
        (ours.issued_at_us, theirs.issued_at_us) = (0, 0);
        assert_eq!(ours, theirs);
        target.create_key(new_key("new")).await.unwrap();
        let again = target.fill(&dump).await.unwrap_err();
        assert!(matches!(again, MetastoreError::NotEmpty { table: "control", .. }), "{again}");
        assert!(!again.to_string().contains("tollgate@"), "{again}");
    }
}

#[tokio::test]
async fn a_copy_that_differs_by_one_value_is_not_kept() {
    let source = open("sqlite::memory:").await.unwrap();
    fill(source.as_ref()).await;
    let dump = source.dump().await.unwrap();
    for (at, known) in TABLES.iter().enumerate() {
        let mut changed = dump.clone();
        let cell = changed.tables[at][0].last_mut().unwrap();
        *cell = match cell {
            Cell::Text(_) => Cell::Text(Some("something else".into())),
            Cell::Number(_) => Cell::Number(Some(-1)),
        };
        let error = dump.compare(&changed).unwrap_err();
        assert!(matches!(error, MetastoreError::CopyDiffers { table, .. } if table == known.name), "{error}");
    }
    let mut shorter = dump.clone();
    shorter.tables[1].clear();
    assert!(matches!(dump.compare(&shorter), Err(MetastoreError::CopyDiffers { found: 0, .. })));
}

#[tokio::test]
async fn every_table_and_column_that_the_migrations_make_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meta.db");
    open(&format!("sqlite:{}", path.display())).await.unwrap();
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    let made = "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c \
                WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE '_sqlx_%'";
    let made = sqlx::query(made).fetch_all(&pool).await.unwrap();
    let made: BTreeSet<(String, String)> = made.iter().map(|row| (row.get(0), row.get(1))).collect();
    let columns = TABLES.iter().flat_map(|shape| shape.columns.iter().map(|(name, _)| (shape.name, *name)));
    let listed: BTreeSet<(String, String)> = columns.map(|(table, name)| (table.to_owned(), name.to_owned())).collect();
    assert_eq!(made, listed);
}
