//! The steps from an empty database to today's tables, in the same order for SQLite and PostgreSQL. Listed by hand:
//! the macro that lists a folder would build both database drivers a second time, for the compiler to run.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

macro_rules! steps {
    ($($version:literal $description:literal $file:literal),+ $(,)?) => {
        /// Steps for SQLite: version, description, statements.
        const SQLITE: &[(i64, &str, &str)] =
            &[$(($version, $description, include_str!(concat!("../../../migrations/sqlite/", $file)))),+];
        /// The same for PostgreSQL.
        const POSTGRES: &[(i64, &str, &str)] =
            &[$(($version, $description, include_str!(concat!("../../../migrations/postgres/", $file)))),+];
        #[cfg(test)]
        const FILES: &[&str] = &[$($file),+];
    };
}

steps![
    1 "create control tables" "0001_create_control_tables.sql",
    2 "create directory tables" "0002_create_directory_tables.sql",
    3 "add reach and invitations" "0003_add_reach_and_invitations.sql",
];

/// For SQLite.
pub(crate) fn sqlite() -> Migrator {
    migrator(SQLITE)
}

/// For PostgreSQL.
pub(crate) fn postgres() -> Migrator {
    migrator(POSTGRES)
}

fn migrator(steps: &'static [(i64, &'static str, &'static str)]) -> Migrator {
    let step = |(version, description, sql): &(i64, &'static str, &'static str)| {
        Migration::new(*version, (*description).into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(steps.iter().map(step).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_keys_named_before_there_was_a_directory_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("meta.db").display());
        let pool = sqlx::SqlitePool::connect(&format!("{url}?mode=rwc")).await.unwrap();
        migrator(&SQLITE[..1]).run(&pool).await.unwrap();
        const INSERT: &str = "INSERT INTO api_keys (id, hash, display, name, tenant, project, team, created_at_us) \
                              VALUES ($1, $2, 'tg-', 'n', 'acme', $3, 'kyc', 7)";
        let hash = "0".repeat(64);
        sqlx::query(INSERT).bind("key-1").bind(&hash).bind("onboarding").execute(&pool).await.unwrap();
        sqlx::query(INSERT).bind("key-2").bind("f".repeat(64)).bind(None::<String>).execute(&pool).await.unwrap();
        pool.close().await;

        let store = crate::open(&url).await.unwrap();
        assert_eq!(store.list_organisations().await.unwrap()[0].name, "acme");
        let (teams, projects) = (store.list_teams().await.unwrap(), store.list_projects().await.unwrap());
        assert_eq!((teams.len(), teams[0].name.as_str()), (1, "kyc"));
        assert_eq!((projects.len(), projects[0].created_at_us), (1, 7));
        let document = store.control_document().await.unwrap();
        assert_eq!((document.keys.len(), document.keys[0].hash.as_str()), (2, hash.as_str()));
        assert_eq!(document.keys[0].limits, tollgate_policy::key::KeyLimits::default());
    }

    #[test]
    fn every_file_in_the_folders_is_a_step() {
        for folder in ["sqlite", "postgres"] {
            let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/../../migrations/" + folder;
            let listed = std::fs::read_dir(folder).unwrap();
            let mut files: Vec<String> =
                listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            files.sort();
            assert_eq!(files, FILES);
        }
    }
}
