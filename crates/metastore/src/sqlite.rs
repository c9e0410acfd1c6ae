//! SQLite: one file, for one machine. Readers do not wait for the writer (WAL), and a change that was reported is on the
//! disk (`synchronous=FULL`).

use std::path::Path;
use std::time::Duration;

use sqlx::Sqlite;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::error::MetastoreError;
use crate::migrations;
use crate::sql::directory::implement_directory;
use crate::sql::implement_metastore;
use crate::transfer::implement_transfer;

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The control plane in a SQLite file.
pub(crate) struct SqliteStore {
    pool: SqlitePool,
    /// Its URL.
    shown: String,
    clock: Clock,
    changes: watch::Sender<u64>,
}

impl SqliteStore {
    /// Opens or creates the file, or a database in memory for `:memory:`.
    pub(crate) async fn open(path: &str, clock: Clock) -> Result<Self, MetastoreError> {
        let url = format!("sqlite:{path}");
        let in_memory = path == ":memory:";
        if path.is_empty() {
            return Err(MetastoreError::UnknownUrl { url });
        }
        if let Some(folder) = Path::new(path).parent().filter(|_| !in_memory) {
            let failed = |source| MetastoreError::Folder { path: path.to_owned(), source };
            tokio::fs::create_dir_all(folder).await.map_err(failed)?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true);
        // A database in memory belongs to its connection, which therefore must be the only one and never be closed.
        let pool = SqlitePoolOptions::new()
            .max_connections(if in_memory { 1 } else { 4 })
            .min_connections(u32::from(in_memory))
            .idle_timeout(if in_memory { None } else { Some(Duration::from_secs(60)) })
            .max_lifetime(None)
            .acquire_timeout(BUSY_TIMEOUT)
            .connect_with(options)
            .await
            .map_err(|source| MetastoreError::Open { url: url.clone(), source })?;
        // Two processes may find a new file at once; the loser's second look finds nothing left to do.
        let migrations = migrations::sqlite();
        if migrations.run(&pool).await.is_err() {
            let failed = |source| MetastoreError::Migrate { url: url.clone(), source };
            migrations.run(&pool).await.map_err(failed)?;
        }
        Ok(SqliteStore { pool, shown: url, clock, changes: watch::Sender::new(0) })
    }
}

// `IMMEDIATE` takes the write lock at once: a transaction that reads first and writes later could not wait its turn.
implement_metastore!(SqliteStore, Sqlite, change: "BEGIN IMMEDIATE", snapshot: "BEGIN DEFERRED");
implement_directory!(SqliteStore, Sqlite);
implement_transfer!(Sqlite);
