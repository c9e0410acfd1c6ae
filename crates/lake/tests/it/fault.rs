//! A store that misbehaves at a chosen write.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tollgate_flush::store::Store;

/// What happens at the chosen write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process is killed before it.
    DiesBefore,
    /// The process is killed after it.
    DiesAfter,
    /// It takes place, but the answer says that somebody else was faster, or that it failed.
    Lies,
    /// From it on, nothing may be read, listed or deleted, as with the keys of a sidecar.
    MayOnlyPut,
    /// From it on, creating a key that exists overwrites it, as `rclone serve s3` does.
    Overwrites,
}

#[derive(Debug)]
pub(crate) struct Faulty {
    inner: Arc<dyn ObjectStore>,
    state: Arc<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    writes_left: AtomicI64,
    fault: Fault,
    dead: AtomicBool,
}

impl State {
    /// Whether the chosen write has been reached.
    pub(crate) fn is_hit(&self) -> bool {
        self.writes_left.load(Ordering::SeqCst) < 0
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    pub(crate) fn revive(&self) {
        self.dead.store(false, Ordering::SeqCst);
    }
}

/// The same store, with a fault at write number `at` (from 0).
pub(crate) fn with_fault(store: &Store, at: i64, fault: Fault) -> (Store, Arc<State>) {
    let state = Arc::new(State { writes_left: AtomicI64::new(at), fault, dead: AtomicBool::new(false) });
    let faulty = |inner: &Arc<dyn ObjectStore>| -> Arc<dyn ObjectStore> {
        Arc::new(Faulty { inner: Arc::clone(inner), state: Arc::clone(&state) })
    };
    let store = Store { object_store: faulty(&store.object_store), root: faulty(&store.root), url: store.url.clone() };
    (store, state)
}

fn gone() -> Error {
    Error::Generic { store: "faulty", source: "the store is gone".into() }
}

impl Faulty {
    fn alive(&self) -> Result<()> {
        if self.state.is_dead() { Err(gone()) } else { Ok(()) }
    }

    fn may_read(&self) -> Result<()> {
        self.alive()?;
        if self.state.fault == Fault::MayOnlyPut {
            return Err(Error::PermissionDenied { path: "any".into(), source: "only puts are allowed".into() });
        }
        Ok(())
    }

    /// The fault, if this is its write.
    fn count(&self) -> Result<Option<Fault>> {
        self.alive()?;
        if self.state.writes_left.fetch_sub(1, Ordering::SeqCst) != 0 {
            return Ok(None);
        }
        if matches!(self.state.fault, Fault::DiesBefore | Fault::DiesAfter) {
            self.state.dead.store(true, Ordering::SeqCst);
        }
        Ok(Some(self.state.fault))
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        let hit = self.count()?;
        if self.state.fault == Fault::Overwrites && self.state.is_hit() {
            options.mode = PutMode::Overwrite;
        }
        let is_creation = options.mode == PutMode::Create;
        match hit {
            None | Some(Fault::Overwrites | Fault::MayOnlyPut) => self.inner.put_opts(location, payload, options).await,
            Some(Fault::DiesBefore) => Err(gone()),
            Some(Fault::DiesAfter) => {
                self.inner.put_opts(location, payload, options).await?;
                Err(gone())
            }
            Some(Fault::Lies) => {
                self.inner.put_opts(location, payload, options).await?;
                let source = "a conflicting request is in progress".into();
                Err(if is_creation { Error::AlreadyExists { path: location.to_string(), source } } else { gone() })
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.alive()?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.may_read()?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.may_read().and_then(|()| self.count()) {
            Err(error) => futures::stream::once(async move { Err(error) }).boxed(),
            Ok(Some(Fault::DiesBefore)) => futures::stream::once(async { Err(gone()) }).boxed(),
            Ok(_) => self.inner.delete_stream(locations),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.may_read() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures::stream::once(async move { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.may_read()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.may_read()?;
        self.inner.copy_opts(from, to, options).await
    }
}
