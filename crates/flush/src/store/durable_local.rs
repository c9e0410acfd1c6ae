//! A local file system that keeps its word after a power cut. `object_store` 0.13 never calls fsync on local files, so a
//! table on a local disk could lose a commit it had acknowledged, or keep half of one.
//!
//! Every put here writes a temporary file beside its target, syncs it, links it into place (which fails if the target
//! exists) or renames it over the target, and syncs the folder. Reading, listing and deleting are `object_store`'s own.
//! Compare-and-swap (`PutMode::Update`) is refused, since a file system has none.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use fs_err as fs;
use futures::future::FutureExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

const NAME: &str = "durable-local";

/// The whole local file system as an object store; paths are absolute paths without the leading slash.
#[derive(Clone, Debug, Default)]
pub struct DurableLocal {
    inner: LocalFileSystem,
}

impl DurableLocal {
    /// Rooted at `/`.
    #[must_use]
    pub fn new() -> Self {
        DurableLocal { inner: LocalFileSystem::new() }
    }

    async fn put_durably(&self, location: &Path, payload: PutPayload, mode: PutMode) -> Result<PutResult> {
        let target = self.inner.path_to_filesystem(location)?;
        let replace = match mode {
            PutMode::Overwrite => Replace::Yes,
            PutMode::Create => Replace::No,
            PutMode::Update(_) => return Err(refused("compare-and-swap on a local file system")),
        };
        let written = tokio::task::spawn_blocking(move || write_durably(&target, &payload, replace));
        match written.await {
            Ok(Ok(())) => Ok(PutResult { e_tag: None, version: None }),
            Ok(Err(source)) if source.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::AlreadyExists { path: location.to_string(), source: source.into() })
            }
            Ok(Err(source)) => Err(Error::Generic { store: NAME, source: source.into() }),
            Err(source) => Err(Error::Generic { store: NAME, source: source.into() }),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Replace {
    Yes,
    No,
}

fn refused(what: &str) -> Error {
    Error::NotSupported { source: format!("{what} is not supported").into() }
}

fn write_durably(target: &FilePath, payload: &PutPayload, replace: Replace) -> io::Result<()> {
    let parent = target.parent().unwrap_or(FilePath::new("/"));
    create_folder_durably(parent)?;
    let (mut file, temporary) = create_temporary(target)?;
    let written = payload.iter().try_for_each(|part| file.write_all(part)).and_then(|()| file.sync_all());
    let placed = written.and_then(|()| match replace {
        Replace::Yes => fs::rename(&temporary, target),
        Replace::No => fs::hard_link(&temporary, target),
    });
    if replace == Replace::No || placed.is_err() {
        // The link, if it was made, is what counts; a temporary file that stays behind is never listed.
        drop(fs::remove_file(&temporary));
    }
    placed?;
    sync_folder(parent)
}

/// Creates a folder and those above it, each one synced into its parent.
///
/// # Errors
/// Whatever the system says.
pub fn create_folder_durably(folder: &FilePath) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent() else { return Ok(()) };
    create_folder_durably(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_folder(parent)
}

pub(crate) fn sync_folder(folder: &FilePath) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// A name that ends in `#` and digits is what `LocalFileSystem` leaves out of listings.
fn create_temporary(target: &FilePath) -> io::Result<(fs::File, PathBuf)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = target.file_name().unwrap_or_default();
    loop {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut temporary = name.to_owned();
        temporary.push(format!("#{}{nanos:09}{count:06}", std::process::id()));
        let path = target.with_file_name(temporary);
        match fs::OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Replaces a small file of our own, such as the flusher's notes, so that a crash leaves the old or the new one.
///
/// # Errors
/// Whatever the system says.
pub fn replace_file(target: &FilePath, content: &[u8]) -> io::Result<()> {
    write_durably(target, &PutPayload::from(content.to_vec()), Replace::Yes)
}

impl fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DurableLocal")
    }
}

#[async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.put_durably(location, payload, options.mode).await
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Upload { store: self.clone(), location: location.clone(), parts: Vec::new() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let content = self.inner.get_opts(from, GetOptions::default()).await?.bytes().await?;
        let mode = match options.mode {
            object_store::CopyMode::Overwrite => PutMode::Overwrite,
            object_store::CopyMode::Create => PutMode::Create,
        };
        self.put_durably(to, content.into(), mode).await.map(|_| ())
    }
}

/// Parts are held in memory until the end: what is uploaded in parts here is a Delta checkpoint, a few megabytes.
#[derive(Debug)]
struct Upload {
    store: DurableLocal,
    location: Path,
    parts: Vec<PutPayload>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        self.parts.push(part);
        futures::future::ready(Ok(())).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let parts = std::mem::take(&mut self.parts);
        let payload: PutPayload = parts.iter().flat_map(|part| part.iter().cloned()).collect();
        self.store.put_durably(&self.location, payload, PutMode::Overwrite).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use object_store::ObjectStoreExt;

    use super::*;

    fn path_in(folder: &tempfile::TempDir, name: &str) -> Path {
        Path::from_absolute_path(folder.path().join(name)).unwrap()
    }

    #[tokio::test]
    async fn of_two_creators_one_wins_and_its_content_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (store, path) = (DurableLocal::new(), path_in(&folder, "new/folder/key"));
        store.put_opts(&path, "first".into(), PutMode::Create.into()).await.unwrap();
        let second = store.put_opts(&path, "second".into(), PutMode::Create.into()).await;
        assert!(matches!(second, Err(Error::AlreadyExists { .. })), "{second:?}");
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "first");
    }

    #[tokio::test]
    async fn nothing_but_the_target_is_listed_after_a_put() {
        let folder = tempfile::tempdir().unwrap();
        let (store, path) = (DurableLocal::new(), path_in(&folder, "key"));
        store.put(&path, "first".into()).await.unwrap();
        store.put(&path, "second".into()).await.unwrap();
        let left_by_a_crash = folder.path().join("key#123");
        std::fs::write(left_by_a_crash, "half").unwrap();
        let prefix = Path::from_absolute_path(folder.path()).unwrap();
        let listed: Vec<_> = store.list(Some(&prefix)).try_collect().await.unwrap();
        assert_eq!(listed.into_iter().map(|meta| meta.location).collect::<Vec<_>>(), [path]);
    }
}
