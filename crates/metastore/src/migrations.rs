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
