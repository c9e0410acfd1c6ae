//! PostgreSQL: for an installation of several machines.

use std::time::Duration;

use sqlx::Postgres;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::error::{MetastoreError, without_password};
use crate::migrations;
use crate::sql::implement_metastore;

/// How long a caller waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The control plane in a PostgreSQL database.
pub(crate) struct PostgresStore {
    pool: PgPool,
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
        migrations::postgres().run(&pool).await.map_err(|source| MetastoreError::Migrate { url: shown, source })?;
        Ok(PostgresStore { pool, clock, changes: watch::Sender::new(0) })
    }
}

// The first statement of every change locks the only row of `control`, so changes follow one another.
implement_metastore!(
    PostgresStore,
    Postgres,
    change: "BEGIN",
    snapshot: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
);
