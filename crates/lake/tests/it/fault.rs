//! A store that stops working at a chosen write, as it looks to a process that is killed there.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use tollgate_flush::store::Store;

/// Whether the write that is hit takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    Before,
    After,
}

#[derive(Debug)]
pub(crate) struct Faulty {
    inner: Arc<dyn ObjectStore>,
    state: Arc<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    writes_left: AtomicI64,
    hit: Hit,
    dead: AtomicBool,
}

impl State {
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    pub(crate) fn revive(&self) {
        self.dead.store(false, Ordering::SeqCst);
    }
}

/// The same store, which dies at write number `at` (from 0).
pub(crate) fn dying(store: &Store, at: i64, hit: Hit) -> (Store, Arc<State>) {
    let state = Arc::new(State { writes_left: AtomicI64::new(at), hit, dead: AtomicBool::new(false) });
    let faulty = |inner: &Arc<dyn ObjectStore>| -> Arc<dyn ObjectStore> {
        Arc::new(Faulty { inner: Arc::clone(inner), state: Arc::clone(&state) })
    };
    let store = Store { object_store: faulty(&store.object_store), root: faulty(&store.root), url: store.url.clone() };
    (store, state)
}

fn dead() -> Error {
    Error::Generic { store: "faulty", source: "the store is gone".into() }
}

impl Faulty {
    fn alive(&self) -> Result<()> {
        if self.state.is_dead() { Err(dead()) } else { Ok(()) }
    }

    /// True if this is the write to die at.
    fn count(&self) -> Result<bool> {
        self.alive()?;
        let is_hit = self.state.writes_left.fetch_sub(1, Ordering::SeqCst) == 0;
        if is_hit {
            self.state.dead.store(true, Ordering::SeqCst);
        }
        Ok(is_hit)
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        match (self.count()?, self.state.hit) {
            (false, _) => self.inner.put_opts(location, payload, options).await,
            (true, Hit::Before) => Err(dead()),
            (true, Hit::After) => {
                self.inner.put_opts(location, payload, options).await?;
                Err(dead())
            }
        }
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.alive()?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.alive()?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match (self.count(), self.state.hit) {
            (Err(error), _) => futures::stream::once(async move { Err(error) }).boxed(),
            (Ok(true), Hit::Before) => futures::stream::once(async { Err(dead()) }).boxed(),
            (Ok(_), _) => self.inner.delete_stream(locations),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.alive() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures::stream::once(async move { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.alive()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.alive()?;
        self.inner.copy_opts(from, to, options).await
    }
}
