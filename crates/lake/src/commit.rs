//! From manifests to one Delta commit per table, the facts last. The facts are the truth: their transactions are the
//! watermarks, files of other tables without them are invisible ([`crate::lake`]), and their commits carry the entries of
//! the proof's log. Every step can be repeated after a crash.

use std::collections::{BTreeMap, HashMap};

use deltalake_core::kernel::{Action, Add, CommitInfo, Transaction};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use serde_json::json;
use tollgate_flush::batch_header::BatchHeader;
use tollgate_flush::inbox::{self, Manifest, ManifestFile};
use tollgate_flush::parquet_file::day_from_text;
use tollgate_flush::store::Store;
use tollgate_flush::{Watermarks, committed_seq};
use tollgate_interaction::schema::{DAY, FIRST_PROVEN_VERSION, SCHEMA_VERSION, Table};

use crate::error::LakeError;
use crate::log::{CHECKPOINT_APP_ID, LOG_APP_ID, LOG_INFO, LogInfo, LogPosition, TableLog, app_id};

/// Manifests of one commit, at most: keeps a commit after a long outage at a few megabytes.
const MANIFESTS_AT_ONCE: usize = 500;
/// Requests to the store at the same time.
const REQUESTS_AT_ONCE: usize = 16;

/// A manifest in the inbox that can be committed as far as it can be told alone.
pub(crate) struct Received {
    pub(crate) path: Path,
    pub(crate) manifest: Manifest,
}

/// What the inbox holds.
#[derive(Default)]
pub(crate) struct Inbox {
    /// In the order of writer, epoch and sequence.
    pub(crate) received: Vec<Received>,
    /// Unusable, with the reason.
    pub(crate) rejected: Vec<(Path, String)>,
    /// Written by a newer version; they stay.
    pub(crate) newer: Vec<Path>,
}

/// What an entry of the proof's log may have: `tlog-tiles` gives its length two bytes.
const MAX_ENTRY_BYTES: usize = u16::MAX as usize;

enum Judgement {
    Usable(Box<Manifest>),
    /// Deleted between listing and reading.
    Gone,
    Unusable(String),
    /// Written by a newer version: stays until the committer is upgraded.
    Newer(u16),
}

/// Lists and reads the inbox. Files that a manifest names are not looked at yet.
pub(crate) async fn read_inbox(store: &Store) -> Result<Inbox, LakeError> {
    let folder = Path::from(inbox::INBOX);
    let rejected = Path::from(inbox::REJECTED);
    let listed = store.object_store.list(Some(&folder));
    let mut paths: Vec<Path> = listed
        .map_ok(|object| object.location)
        .try_filter(|path| futures::future::ready(!path.prefix_matches(&rejected)))
        .try_collect()
        .await
        .map_err(|source| LakeError::Io { path: folder.to_string(), source })?;
    // Names sort like sequence numbers, so what is left for the next commit comes after what is taken now.
    paths.sort();
    paths.truncate(MANIFESTS_AT_ONCE);
    let judged = futures::stream::iter(paths.into_iter().map(|path| async move {
        let judgement = read_manifest(store, &path).await?;
        Ok::<_, LakeError>((path, judgement))
    }));
    let judged: Vec<_> = judged.buffered(REQUESTS_AT_ONCE).try_collect().await?;
    let mut inbox = Inbox::default();
    for (path, judgement) in judged {
        match judgement {
            Judgement::Usable(manifest) => inbox.received.push(Received { path, manifest: *manifest }),
            Judgement::Unusable(why) => inbox.rejected.push((path, why)),
            Judgement::Gone => {}
            Judgement::Newer(version) => {
                tracing::error!(
                    "the manifest `{path}` has columns of version {version}, this committer knows {SCHEMA_VERSION}; upgrade \
                     the committer (the manifest stays in the inbox)"
                );
                inbox.newer.push(path);
            }
        }
    }
    inbox.received.sort_by(|one, other| order(&one.manifest).cmp(&order(&other.manifest)));
    Ok(inbox)
}

fn order(manifest: &Manifest) -> (&str, u64, u64) {
    (manifest.writer.as_str(), manifest.epoch, manifest.first_seq)
}

async fn read_manifest(store: &Store, path: &Path) -> Result<Judgement, LakeError> {
    let failed = |source| LakeError::Io { path: path.to_string(), source };
    let content = match store.object_store.get(path).await {
        Ok(found) => found.bytes().await.map_err(failed)?,
        Err(object_store::Error::NotFound { .. }) => return Ok(Judgement::Gone),
        Err(source) => return Err(failed(source)),
    };
    let manifest: Manifest = match serde_json::from_slice(&content) {
        Ok(manifest) => manifest,
        Err(error) => return Ok(Judgement::Unusable(format!("it is not a manifest ({error})"))),
    };
    if manifest.format != inbox::FORMAT {
        return Ok(Judgement::Unusable(format!("it has the form {}, known is {}", manifest.format, inbox::FORMAT)));
    }
    if manifest.schema_version > SCHEMA_VERSION {
        return Ok(Judgement::Newer(manifest.schema_version));
    }
    if manifest.path() != *path {
        return Ok(Judgement::Unusable(format!("its content belongs to `{}`", manifest.path())));
    }
    if manifest.first_seq == 0 || manifest.first_seq > manifest.last_seq || manifest.records() == 0 {
        return Ok(Judgement::Unusable("it covers no rows".to_owned()));
    }
    if let Err(why) = check_header(&manifest) {
        return Ok(Judgement::Unusable(why));
    }
    let odd = Table::ALL.into_iter().flat_map(|table| manifest.files(table)).find(|file| !is_well_formed(file));
    Ok(match odd {
        Some(file) => Judgement::Unusable(format!(
            "the path or the statistics of its file `{}` are not as they must be",
            file.path
        )),
        None => Judgement::Usable(Box::new(manifest)),
    })
}

/// Whether the batch's header is the writer's and tells of these files.
fn check_header(manifest: &Manifest) -> Result<(), String> {
    let Some(entry) = &manifest.header else {
        let needed = manifest.schema_version >= FIRST_PROVEN_VERSION;
        return if needed { Err("it has no batch header".to_owned()) } else { Ok(()) };
    };
    if entry.len() > MAX_ENTRY_BYTES {
        return Err(format!("its batch header has {} bytes; at most {MAX_ENTRY_BYTES} fit", entry.len()));
    }
    let header =
        BatchHeader::read(entry.as_bytes()).map_err(|error| format!("its batch header cannot be used: {error}"))?;
    let told = (&header.writer, header.epoch, header.last_seq, header.rows);
    let listed = (&manifest.writer, manifest.epoch, manifest.last_seq, manifest.records());
    if told != listed || header.first_seq > manifest.first_seq {
        return Err("its batch header tells of other rows than its files".to_owned());
    }
    Ok(())
}

/// A file stands in the folder of its day, and nowhere else.
fn is_well_formed(file: &ManifestFile) -> bool {
    let in_folder = file.path.strip_prefix(&format!("{DAY}={}/", file.day));
    let named = in_folder.is_some_and(|name| inbox::range_of_file(name).is_some() && !name.contains('/'));
    let counted = file.rows > 0 && file.stats.get("numRecords").and_then(serde_json::Value::as_u64) == Some(file.rows);
    named && counted && day_from_text(&file.day).is_some()
}

/// What to do with the manifests, given how far each writer has come.
#[derive(Default)]
pub(crate) struct Sorted<'a> {
    pub(crate) fresh: Vec<&'a Received>,
    /// In the lake already: only their deletion was missed.
    pub(crate) repeated: Vec<&'a Received>,
    pub(crate) rejected: Vec<(&'a Path, String)>,
}

/// Sorts out what is in the lake already and what overlaps it or another manifest.
pub(crate) fn sort<'a>(received: &'a [Received], watermarks: &Watermarks) -> Sorted<'a> {
    let mut sorted = Sorted::default();
    let mut reached: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    for each in received {
        let Manifest { writer, epoch, first_seq, last_seq, .. } = &each.manifest;
        let before =
            reached.entry((writer.as_str(), *epoch)).or_insert_with(|| committed_seq(watermarks, writer, *epoch));
        if *last_seq <= committed_seq(watermarks, writer, *epoch) {
            sorted.repeated.push(each);
            continue;
        }
        if *first_seq <= *before {
            let why = format!(
                "it starts at {first_seq} but rows up to {before} are taken; its log was copied or its notes were lost"
            );
            sorted.rejected.push((&each.path, why));
            continue;
        }
        if *first_seq > *before + 1 {
            tracing::error!(
                writer.id = %writer, epoch, "rows {}–{} of epoch {epoch} of writer `{writer}` never reached the inbox, or \
                 their manifest was rejected", *before + 1, first_seq - 1
            );
        }
        *before = *last_seq;
        sorted.fresh.push(each);
    }
    sorted
}

/// Checks that every file of every manifest is in the store at its stated size. Gives the unusable ones.
pub(crate) async fn missing_files(store: &Store, received: &[&Received]) -> Result<HashMap<Path, String>, LakeError> {
    let mut wanted = Vec::new();
    for each in received {
        for table in Table::ALL {
            let files = each.manifest.files(table);
            wanted.extend(files.iter().map(|file| (each.path.clone(), file_path(table, file), file.size_bytes)));
        }
    }
    let checks = wanted.into_iter().map(|(manifest, file, size_bytes)| async move {
        match store.object_store.head(&file).await {
            Ok(found) if found.size == size_bytes => Ok(None),
            Ok(found) => {
                Ok(Some((manifest, format!("its file `{file}` has {} bytes instead of {size_bytes}", found.size))))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(Some((manifest, format!("its file `{file}` is missing")))),
            Err(source) => Err(LakeError::Io { path: file.to_string(), source }),
        }
    });
    let problems = futures::stream::iter(checks).buffer_unordered(REQUESTS_AT_ONCE);
    problems.try_filter_map(|problem| futures::future::ready(Ok(problem))).try_collect().await
}

fn file_path(table: Table, file: &ManifestFile) -> Path {
    Path::from(format!("{}/{}", table.folder(), file.path))
}

/// The actions that add the files of one table, for manifests beyond the table's own watermarks; `None` if there is nothing
/// to add. The facts are committed even without files: their commit is what makes the others' rows count.
pub(crate) fn actions(table: Table, fresh: &[&Received], log: &TableLog) -> Option<Vec<Action>> {
    let mut adds = Vec::new();
    let mut entries = Vec::new();
    let mut reached: BTreeMap<String, u64> = BTreeMap::new();
    for each in fresh {
        let manifest = &each.manifest;
        if manifest.last_seq <= committed_seq(&log.watermarks, &manifest.writer, manifest.epoch) {
            continue;
        }
        let files = manifest.files(table);
        adds.extend(files.iter().map(|file| Action::Add(add_of(file, manifest.created_at_us))));
        entries.extend(manifest.header.clone());
        let seq = reached.entry(app_id(manifest.writer.as_str(), manifest.epoch)).or_insert(0);
        *seq = (*seq).max(manifest.last_seq);
    }
    let is_facts = table == Table::Interactions;
    if reached.is_empty() || (adds.is_empty() && !is_facts) {
        return None;
    }
    let now_ms = chrono::Utc::now().timestamp_millis();
    let mut info = commit_info("WRITE", now_ms, log.files.version);
    let transaction = |app_id: String, seq: u64| {
        let version = i64::try_from(seq).unwrap_or(i64::MAX);
        Action::Txn(Transaction::new_with_last_update(app_id, version, Some(now_ms)))
    };
    let mut actions: Vec<Action> = reached.into_iter().map(|(app_id, seq)| transaction(app_id, seq)).collect();
    if is_facts {
        let LogPosition { size, published, .. } = log.proof;
        let size = size + entries.len() as u64;
        actions.push(transaction(LOG_APP_ID.to_owned(), size));
        actions.push(transaction(CHECKPOINT_APP_ID.to_owned(), published));
        info.info.insert(LOG_INFO.to_owned(), json!(LogInfo { size, entries }));
    }
    actions.insert(0, Action::CommitInfo(info));
    actions.append(&mut adds);
    Some(actions)
}

/// The actions that append one entry to the proof's log and nothing to the table.
pub(crate) fn entry_actions(entry: &str, log: &TableLog) -> Vec<Action> {
    let now_ms = chrono::Utc::now().timestamp_millis();
    let size = log.proof.size + 1;
    let mut info = commit_info("APPEND ENTRY", now_ms, log.files.version);
    info.info.insert(LOG_INFO.to_owned(), json!(LogInfo { size, entries: vec![entry.to_owned()] }));
    let version = i64::try_from(size).unwrap_or(i64::MAX);
    let transaction = Transaction::new_with_last_update(LOG_APP_ID.to_owned(), version, Some(now_ms));
    vec![Action::CommitInfo(info), Action::Txn(transaction)]
}

fn add_of(file: &ManifestFile, created_at_us: i64) -> Add {
    Add {
        path: file.path.clone(),
        partition_values: HashMap::from([(DAY.to_owned(), Some(file.day.clone()))]),
        size: i64::try_from(file.size_bytes).unwrap_or(i64::MAX),
        modification_time: created_at_us / 1_000,
        data_change: true,
        stats: Some(file.stats.to_string()),
        ..Add::default()
    }
}

/// The nonce makes the bytes of this commit unlike those of any other, which is how a lost answer is told from a lost race.
pub(crate) fn commit_info(operation: &str, now_ms: i64, read_version: u64) -> CommitInfo {
    CommitInfo {
        timestamp: Some(now_ms),
        operation: Some(operation.to_owned()),
        operation_parameters: Some(HashMap::from([
            ("mode".to_owned(), json!("Append")),
            ("partitionBy".to_owned(), json!("[\"day\"]")),
        ])),
        read_version: Some(read_version),
        is_blind_append: Some(true),
        engine_info: Some(concat!("tollgate/", env!("CARGO_PKG_VERSION")).to_owned()),
        info: HashMap::from([("nonce".to_owned(), json!(uuid::Uuid::now_v7().simple().to_string()))]),
        ..CommitInfo::default()
    }
}

/// Moves a manifest out of the way, loudly. What it covers is not lost: the manifest and its files stay in the store.
pub(crate) async fn reject(store: &Store, path: &Path, why: &str) -> Result<(), LakeError> {
    let failed = |source| LakeError::Io { path: path.to_string(), source };
    let tail = path.as_ref().strip_prefix(inbox::INBOX).unwrap_or(path.as_ref()).trim_start_matches('/');
    let target = Path::from(format!("{}/{tail}", inbox::REJECTED));
    tracing::error!(
        manifest = %path, "the manifest `{path}` was rejected and moved to `{target}`: {why}; the rows it covers are not in the \
         lake until it is repaired and moved back"
    );
    let content = match store.object_store.get(path).await {
        Ok(found) => found.bytes().await.map_err(failed)?,
        Err(object_store::Error::NotFound { .. }) => return Ok(()),
        Err(source) => return Err(failed(source)),
    };
    match store.object_store.put_opts(&target, content.into(), PutMode::Create.into()).await {
        Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
        Err(source) => return Err(failed(source)),
    }
    delete_all(store, vec![path.clone()]).await
}

/// Deletes manifests; one that is gone already is as good.
pub(crate) async fn delete_all(store: &Store, paths: Vec<Path>) -> Result<(), LakeError> {
    let deletions = paths.into_iter().map(|path| async move {
        match store.object_store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(LakeError::Io { path: path.to_string(), source }),
        }
    });
    let deletions = futures::stream::iter(deletions).buffer_unordered(REQUESTS_AT_ONCE);
    deletions.try_for_each(|()| futures::future::ready(Ok(()))).await
}
