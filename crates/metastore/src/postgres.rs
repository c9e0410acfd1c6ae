//! PostgreSQL: for an installation of several machines.

use std::time::Duration;

use sqlx::Postgres;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::error::{MetastoreError, without_password};
use crate::migrations;
use crate::sql::directory::implement_directory;
use crate::sql::implement_metastore;
use crate::transfer::implement_transfer;

/// How long a caller waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The control plane in a PostgreSQL database.
pub(crate) struct PostgresStore {
    pool: PgPool,
    /// Its URL without the password.
    shown: String,
    clock: Clock,
    changes: watch::Sender<u64>,
}

impl PostgresStore {
    pub(crate) async fn open(url: &str, clock: Clock) -> Result<Self, MetastoreError> {
        let shown = without_password(url);
        let pool = PgPoolOptions::new()
            .max_connections(8)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect(url)
            .await
            .map_err(|source| MetastoreError::Open { url: shown.clone(), source })?;
        let failed = |source| MetastoreError::Migrate { url: shown.clone(), source };
        migrations::postgres().run(&pool).await.map_err(failed)?;
        Ok(PostgresStore { pool, shown, clock, changes: watch::Sender::new(0) })
    }
}

// The first statement of every change locks the only row of `control`, so changes follow one another.
implement_metastore!(
    PostgresStore,
    Postgres,
    change: "BEGIN",
    snapshot: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
);
implement_directory!(PostgresStore, Postgres);
implement_transfer!(Postgres);
