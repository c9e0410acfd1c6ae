//! Deletes what no version of the tables that anybody may still read has: files that compaction or retention took out of
//! them, and files of attempts that were never committed. Nothing younger than a given age is touched.

use std::collections::HashSet;
use std::time::Duration;

use deltalake_core::table::state::DeltaTableState;
use futures::future::{BoxFuture, FutureExt};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use tollgate_flush::inbox::{self, Manifest};
use tollgate_interaction::schema::Table;

use crate::compact::level_of;
use crate::error::LakeError;
use crate::lake::Lake;

/// Shortest age that may be asked for: a flush may be writing files that its manifest will name.
pub const SHORTEST_AGE: Duration = Duration::from_secs(3_600);

/// What a vacuum did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct VacuumReport {
    /// Files deleted, relative to the root of the store.
    pub files: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
    /// Files that are in no version any more and too young to be deleted.
    pub waiting: u64,
}

/// How one table stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct TableStatus {
    /// Its name.
    pub table: String,
    /// Its Delta version.
    pub version: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Files by level: of flushes, of quarters of an hour, of hours, of days.
    pub files_by_level: [u64; 4],
}

/// How the lake stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct LakeStatus {
    /// Where it is.
    pub url: String,
    /// Its tables.
    pub tables: Vec<TableStatus>,
    /// Manifests that wait to be committed.
    pub inbox: u64,
    /// Manifests that could not be used.
    pub rejected: Vec<String>,
    /// Batches in the proof's log.
    pub log_size: u64,
}

impl Lake {
    /// Deletes, or with `dry_run` lists, what has been out of every table for `age`.
    ///
    /// # Errors
    /// [`LakeError`]; what was not deleted is found again the next time.
    pub fn vacuum(&self, age: Duration, dry_run: bool) -> BoxFuture<'_, Result<VacuumReport, LakeError>> {
        async move {
            let age = age.max(SHORTEST_AGE);
            let before = chrono::Utc::now() - age;
            self.refresh().await?;
            let waiting_manifests = self.named_by_manifests().await?;
            let mut report = VacuumReport::default();
            for table in Table::ALL {
                let kept = self.kept_files(table, before.timestamp_millis()).await?;
                let folder = Path::from(table.folder());
                let mut listed = self.store().object_store.list(Some(&folder));
                let failed = |source| LakeError::Io { path: folder.to_string(), source };
                while let Some(ObjectMeta { location, last_modified, size, .. }) =
                    listed.try_next().await.map_err(failed)?
                {
                    let path = location.to_string();
                    let is_data = path.ends_with(".parquet") && !path.contains("/_delta_log/");
                    if !is_data || kept.live.contains(&path) || waiting_manifests.contains(&path) {
                        continue;
                    }
                    if kept.lately_removed.contains(&path) || last_modified > before {
                        report.waiting += 1;
                        continue;
                    }
                    report.bytes += size;
                    report.files.push(path);
                }
            }
            if !dry_run {
                for path in &report.files {
                    match self.store().object_store.delete(&Path::from(path.as_str())).await {
                        Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                        Err(source) => return Err(LakeError::Io { path: path.clone(), source }),
                    }
                }
            }
            Ok(report)
        }
        .boxed()
    }

    /// How the lake stands.
    ///
    /// # Errors
    /// [`LakeError`] if the store does not answer.
    pub fn status(&self) -> BoxFuture<'_, Result<LakeStatus, LakeError>> {
        async move {
            let snapshot = self.refresh().await?;
            let of_table = |table: Table| {
                let files = snapshot.files(table);
                let mut files_by_level = [0; 4];
                for file in &files.files {
                    files_by_level[usize::from(level_of(file)).min(3)] += 1;
                }
                TableStatus {
                    table: table.folder().to_owned(),
                    version: files.version,
                    rows: files.rows(),
                    bytes: files.size_bytes(),
                    files_by_level,
                }
            };
            let paths = self.manifests().await?;
            let is_rejected = |path: &&Path| path.as_ref().starts_with(inbox::REJECTED);
            let rejected: Vec<String> = paths.iter().filter(is_rejected).map(ToString::to_string).collect();
            Ok(LakeStatus {
                url: self.store().url.to_string(),
                tables: Table::ALL.into_iter().map(of_table).collect(),
                inbox: (paths.len() - rejected.len()) as u64,
                rejected,
                log_size: snapshot.log_size,
            })
        }
        .boxed()
    }

    async fn manifests(&self) -> Result<Vec<Path>, LakeError> {
        let folder = Path::from(inbox::INBOX);
        let listed = self.store().object_store.list(Some(&folder)).map_ok(|object| object.location);
        listed.try_collect().await.map_err(|source| LakeError::Io { path: folder.to_string(), source })
    }

    /// Files of manifests that are not committed, or were rejected and may be repaired.
    async fn named_by_manifests(&self) -> Result<HashSet<String>, LakeError> {
        let mut named = HashSet::new();
        for path in self.manifests().await? {
            let failed = |source| LakeError::Io { path: path.to_string(), source };
            let content = match self.store().object_store.get(&path).await {
                Ok(found) => found.bytes().await.map_err(failed)?,
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(source) => return Err(failed(source)),
            };
            // What is no manifest names no files.
            let Ok(manifest) = serde_json::from_slice::<Manifest>(&content) else { continue };
            for table in Table::ALL {
                named.extend(manifest.files(table).iter().map(|file| format!("{}/{}", table.folder(), file.path)));
            }
        }
        Ok(named)
    }

    async fn kept_files(&self, table: Table, removed_since_ms: i64) -> Result<KeptFiles, LakeError> {
        let delta = {
            let tables = self.lock_tables().await;
            let log = tables.all().find(|log| log.delta.table == table);
            match log {
                Some(log) => log.delta.clone(),
                None => return Ok(KeptFiles::default()),
            }
        };
        let loaded = delta.load().await?;
        let state: &DeltaTableState = loaded.snapshot().map_err(delta.failed("reading it"))?;
        let full = |path: &str| format!("{}/{path}", table.folder());
        let live = state.log_data().iter().map(|file| full(&file.path())).collect();
        let mut lately_removed = HashSet::new();
        let mut tombstones = state.all_tombstones(delta.log_store.as_ref());
        while let Some(tombstone) = tombstones.next().await {
            let tombstone = tombstone.map_err(delta.failed("reading what was taken out of it"))?;
            if tombstone.deletion_timestamp().is_none_or(|at_ms| at_ms >= removed_since_ms) {
                lately_removed.insert(full(&tombstone.path()));
            }
        }
        Ok(KeptFiles { live, lately_removed })
    }
}

#[derive(Default)]
struct KeptFiles {
    live: HashSet<String>,
    lately_removed: HashSet<String>,
}
