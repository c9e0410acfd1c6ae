//! A store that misbehaves now and then, as networks do, in an order that a seed decides: answers that are lost, puts that
//! say "already exists" of themselves, requests that never arrive, delays, and listings that miss what was put while they
//! were made. What it does to a request it does to no other process: each has its own.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use tollgate_flush::store::Store;

/// A sequence that looks random and is the same in every run.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// What can happen to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mishap {
    /// It never arrives.
    NeverArrives,
    /// It takes place, and the answer is lost.
    AnswerLost,
    /// A creation takes place, and the answer says that the key exists.
    ExistsAlready,
    /// A listing misses an object that was put while it was made.
    Missed,
    /// A listing shows what was there a moment ago.
    Stale,
}

/// Attempts to write a version of a table, as the store saw them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) written: u64,
    /// Another process had written it, or this one had and had not been told.
    pub(crate) refused: u64,
}

/// One process's view of the store.
#[derive(Debug)]
struct Weathered {
    inner: Arc<dyn ObjectStore>,
    weather: Arc<Weather>,
}

/// What the requests of one process go through.
#[derive(Debug)]
pub(crate) struct Weather {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    dice: Dice,
    is_fair: bool,
    happened: BTreeMap<Mishap, u64>,
    versions: Versions,
    /// What a listing has shown or missed: no later one misses it.
    known: HashSet<Path>,
    last_listing: BTreeMap<Option<Path>, Vec<ObjectMeta>>,
}

/// The same store as one process sees it.
pub(crate) fn with_weather(store: &Store, seed: u64) -> (Store, Arc<Weather>) {
    let state = State {
        dice: Dice::new(seed),
        is_fair: false,
        happened: BTreeMap::new(),
        versions: Versions::default(),
        known: HashSet::new(),
        last_listing: BTreeMap::new(),
    };
    let weather = Arc::new(Weather { state: Mutex::new(state) });
    let weathered = |inner: &Arc<dyn ObjectStore>| -> Arc<dyn ObjectStore> {
        Arc::new(Weathered { inner: Arc::clone(inner), weather: Arc::clone(&weather) })
    };
    let (object_store, root) = (weathered(&store.object_store), weathered(&store.root));
    (Store { object_store, root, url: store.url.clone() }, weather)
}

impl Weather {
    /// From now on every request succeeds.
    pub(crate) fn clear_up(&self) {
        self.state.lock().is_fair = true;
    }

    pub(crate) fn happened(&self) -> BTreeMap<Mishap, u64> {
        self.state.lock().happened.clone()
    }

    pub(crate) fn versions(&self) -> Versions {
        self.state.lock().versions
    }

    fn count_version(&self, location: &Path, put: &Result<PutResult>) {
        if !location.as_ref().contains("_delta_log/") {
            return;
        }
        let versions = &mut self.state.lock().versions;
        match put {
            Ok(_) => versions.written += 1,
            Err(Error::AlreadyExists { .. }) => versions.refused += 1,
            Err(_) => {}
        }
    }

    /// Draws one of `mishaps`, each in so many of a thousand cases.
    fn draw(&self, mishaps: &[(Mishap, u64)]) -> Option<Mishap> {
        let mut state = self.state.lock();
        if state.is_fair {
            return None;
        }
        let mut drawn = state.dice.below(1_000);
        for (mishap, of_thousand) in mishaps {
            if drawn < *of_thousand {
                *state.happened.entry(*mishap).or_default() += 1;
                return Some(*mishap);
            }
            drawn -= of_thousand;
        }
        None
    }

    async fn delay(&self) {
        let delay = {
            let mut state = self.state.lock();
            if state.is_fair || state.dice.below(3) > 0 { 0 } else { state.dice.below(6) }
        };
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
    }

    /// What a listing shows of what is there.
    fn shown(&self, prefix: Option<&Path>, there: Vec<ObjectMeta>) -> Vec<ObjectMeta> {
        if self.draw(&[(Mishap::Stale, 100)]).is_some()
            && let Some(before) = self.state.lock().last_listing.get(&prefix.cloned())
        {
            return before.clone();
        }
        let mut shown = Vec::with_capacity(there.len());
        for object in there {
            let is_new = self.state.lock().known.insert(object.location.clone());
            if !is_new || self.draw(&[(Mishap::Missed, 150)]).is_none() {
                shown.push(object);
            }
        }
        self.state.lock().last_listing.insert(prefix.cloned(), shown.clone());
        shown
    }
}

fn lost() -> Error {
    Error::Generic { store: "weathered", source: "no answer came".into() }
}

impl fmt::Display for Weathered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Weathered({})", self.inner)
    }
}

impl Weathered {
    /// Reads fail rarely: a commit makes hundreds of them, and one failure ends it.
    async fn read(&self) -> Result<()> {
        self.weather.delay().await;
        if self.weather.draw(&[(Mishap::NeverArrives, 2)]).is_some() { Err(lost()) } else { Ok(()) }
    }
}

#[async_trait]
impl ObjectStore for Weathered {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.weather.delay().await;
        let is_creation = options.mode == PutMode::Create;
        let odds: &[_] = if is_creation {
            &[(Mishap::NeverArrives, 60), (Mishap::AnswerLost, 80), (Mishap::ExistsAlready, 80)]
        } else {
            &[(Mishap::NeverArrives, 60), (Mishap::AnswerLost, 60)]
        };
        let mishap = self.weather.draw(odds);
        if mishap == Some(Mishap::NeverArrives) {
            return Err(lost());
        }
        let put = self.inner.put_opts(location, payload, options).await;
        self.weather.count_version(location, &put);
        let put = put?;
        // Somebody else may be faster than whoever waits for this answer.
        self.weather.delay().await;
        match mishap {
            Some(Mishap::AnswerLost) => Err(lost()),
            Some(Mishap::ExistsAlready) => {
                let source = "a conflicting request is in progress".into();
                Err(Error::AlreadyExists { path: location.to_string(), source })
            }
            _ => Ok(put),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.read().await?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.read().await?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (weather, inner) = (Arc::clone(&self.weather), Arc::clone(&self.inner));
        let deleted = async move {
            weather.delay().await;
            let mishap = weather.draw(&[(Mishap::NeverArrives, 8), (Mishap::AnswerLost, 8)]);
            if mishap == Some(Mishap::NeverArrives) {
                return Err(lost());
            }
            let deleted: Vec<_> = inner.delete_stream(locations).try_collect().await?;
            if mishap.is_some() { Err(lost()) } else { Ok(futures::stream::iter(deleted.into_iter().map(Ok))) }
        };
        futures::stream::once(deleted).try_flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (weather, listed, prefix) = (Arc::clone(&self.weather), self.inner.list(prefix), prefix.cloned());
        let shown = async move {
            weather.delay().await;
            let there: Vec<ObjectMeta> = listed.try_collect().await?;
            let shown = weather.shown(prefix.as_ref(), there);
            Ok::<_, Error>(futures::stream::iter(shown.into_iter().map(Ok)))
        };
        futures::stream::once(shown).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.read().await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.read().await?;
        self.inner.copy_opts(from, to, options).await
    }
}
