//! What stands between rows and the table, for whoever shows how the log is doing: why the last run over the inbox failed,
//! and which manifests lie where nobody commits them. Nothing here repairs anything.

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use tollgate_flush::inbox;
use tollgate_flush::store::Store;

use crate::error::LakeError;

/// Names that are kept; the rest is counted.
const NAMED: usize = 20;
/// Objects counted under `inbox/rejected/`. Whoever has so many needs no exact number.
const COUNTED: usize = 1_000;

/// What is wrong, as far as this process knows. Empty if nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Why the table could not be read or committed to the last time; `None` once that has worked again.
    pub error: Option<String>,
    /// Files under `inbox/rejected/`: damaged, foreign, or in contradiction to what is committed.
    pub rejected: Files,
    /// Manifests of a newer version, which stay in the inbox until this process is upgraded.
    pub newer: Files,
}

/// Some files, not all of them by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// How many there are; for rejected files at most 1 000 are counted.
    pub count: usize,
    /// The first 20, in the order of their names.
    pub names: Vec<String>,
}

impl Files {
    pub(crate) fn of(mut paths: Vec<Path>) -> Files {
        paths.sort();
        let names = paths.iter().take(NAMED).map(ToString::to_string).collect();
        Files { count: paths.len(), names }
    }
}

/// Lists what was moved out of the inbox.
pub(crate) async fn rejected(store: &Store) -> Result<Files, LakeError> {
    let folder = Path::from(inbox::REJECTED);
    let listed = store.object_store.list(Some(&folder)).map_ok(|object| object.location);
    let listed: Result<Vec<Path>, _> = futures::StreamExt::take(listed, COUNTED).try_collect().await;
    listed.map(Files::of).map_err(|source| LakeError::Io { path: folder.to_string(), source })
}
