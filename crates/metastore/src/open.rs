//! From a URL to a store.

use std::sync::Arc;

use crate::clock::{self, Clock};
use crate::error::{MetastoreError, without_password};
use crate::postgres::PostgresStore;
use crate::sqlite::SqliteStore;
use crate::store::Metastore;

/// Opens the metastore at `sqlite:PATH` or `postgres://…`, creating the SQLite file and all tables if needed.
///
/// # Errors
/// [`MetastoreError`] if the URL is of another kind, or the database cannot be reached or migrated.
pub async fn open(url: &str) -> Result<Arc<dyn Metastore>, MetastoreError> {
    open_with_clock(url, clock::system).await
}

/// [`open`] with a clock other than the machine's.
///
/// # Errors
/// As [`open`].
pub async fn open_with_clock(url: &str, clock: Clock) -> Result<Arc<dyn Metastore>, MetastoreError> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return Ok(Arc::new(SqliteStore::open(path, clock).await?));
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(Arc::new(PostgresStore::open(url, clock).await?));
    }
    Err(MetastoreError::UnknownUrl { url: without_password(url) })
}
