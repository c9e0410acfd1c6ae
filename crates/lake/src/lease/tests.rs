//! The lease over a store in memory, with the time made up.

use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions, PutOptions,
    PutPayload, PutResult,
};
use parking_lot::Mutex;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn claim(store: &Arc<dyn ObjectStore>, holder: &str) -> Lease {
    let lease = InBucket::new(Arc::clone(store), holder.parse().unwrap());
    Lease { place: Place::Bucket(lease), standing: None }
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

async fn term(store: &Arc<dyn ObjectStore>) -> Term {
    let content = store.get(&Path::from(LEASE)).await.unwrap().bytes().await.unwrap();
    serde_json::from_slice(&content).unwrap()
}

#[tokio::test]
async fn the_first_takes_it_at_once_and_the_second_waits() {
    let (store, now) = (memory(), Instant::now());
    let (mut one, mut other) = (claim(&store, "one"), claim(&store, "other"));
    assert!(one.may_commit(now).await);
    assert!(!other.may_commit(now).await);
    for second in 1..100 {
        assert!(one.may_commit(now + second * SECOND).await);
        assert!(!other.may_commit(now + second * SECOND).await, "after {second} s");
    }
}

#[tokio::test]
async fn a_lease_that_stands_still_is_taken_after_its_time_and_not_before() {
    let (store, now) = (memory(), Instant::now());
    let (mut one, mut other) = (claim(&store, "one"), claim(&store, "other"));
    assert!(one.may_commit(now).await);
    // The watcher's time counts from when it first looked, however old the lease is.
    let looked = now + 60 * SECOND;
    assert!(!other.may_commit(looked).await);
    assert!(!other.may_commit(looked + TTL - SECOND).await);
    assert!(other.may_commit(looked + TTL).await);
    assert!(!one.may_commit(looked + TTL + SECOND).await, "it learns that it was replaced");
    assert!(other.may_commit(looked + TTL + SECOND).await);
}

#[tokio::test]
async fn the_same_holder_takes_its_own_lease_without_waiting() {
    let (store, now) = (memory(), Instant::now());
    assert!(claim(&store, "one").may_commit(now).await);
    let mut restarted = claim(&store, "one");
    assert!(restarted.may_commit(now + SECOND).await);
    assert_eq!(term(&store).await.counter, 2);
}

#[tokio::test]
async fn a_lease_that_was_given_up_is_free() {
    let (store, now) = (memory(), Instant::now());
    let (mut one, mut other) = (claim(&store, "one"), claim(&store, "other"));
    assert!(one.may_commit(now).await);
    assert!(!other.may_commit(now).await);
    one.release().await;
    assert!(other.may_commit(now + SECOND).await);
    assert_eq!(term(&store).await.holder.unwrap().as_str(), "other");
}

#[tokio::test]
async fn of_many_who_start_at_once_one_commits() {
    let (store, now) = (memory(), Instant::now());
    let names = ["a", "b", "c", "d", "e"];
    let mut claims: Vec<Lease> = names.iter().map(|name| claim(&store, name)).collect();
    let answers = futures::future::join_all(claims.iter_mut().map(|claim| claim.may_commit(now))).await;
    assert_eq!(answers.into_iter().filter(|answer| *answer).count(), 1);
}

#[tokio::test]
async fn it_is_not_renewed_more_often_than_needed() {
    let (store, now) = (memory(), Instant::now());
    let mut one = claim(&store, "one");
    for tenth in 0..100 {
        assert!(one.may_commit(now + tenth * SECOND / 10).await);
    }
    assert_eq!(term(&store).await.counter, 2, "ten seconds");
}

#[tokio::test]
async fn whoever_finds_something_else_there_waits_for_it_to_stand_still() {
    let (store, now) = (memory(), Instant::now());
    store.put(&Path::from(LEASE), "of a later version".into()).await.unwrap();
    let mut one = claim(&store, "one");
    assert!(!one.may_commit(now).await);
    assert!(one.may_commit(now + TTL).await);
}

#[tokio::test]
async fn a_holder_goes_on_while_the_store_is_silent_and_a_watcher_waits_as_long_as_it_would_have() {
    let flaky = Arc::new(Flaky::default());
    let (store, now): (Arc<dyn ObjectStore>, _) = (Arc::clone(&flaky) as _, Instant::now());
    let (mut one, mut other) = (claim(&store, "one"), claim(&store, "other"));
    assert!(one.may_commit(now).await);
    assert!(!other.may_commit(now).await);
    *flaky.fault.lock() = Fault::Down;
    assert!(one.may_commit(now + 8 * SECOND).await);
    assert!(!other.may_commit(now + 8 * SECOND).await);
    assert!(other.may_commit(now + TTL).await);
    *flaky.fault.lock() = Fault::None;
    assert!(one.may_commit(now + TTL + SECOND).await);
    assert!(!other.may_commit(now + TTL + SECOND).await, "the holder was alive all the time");
}

#[tokio::test]
async fn a_renewal_whose_answer_was_lost_is_still_a_renewal() {
    let flaky = Arc::new(Flaky::default());
    let (store, now): (Arc<dyn ObjectStore>, _) = (Arc::clone(&flaky) as _, Instant::now());
    let (mut one, mut other) = (claim(&store, "one"), claim(&store, "other"));
    assert!(one.may_commit(now).await);
    *flaky.fault.lock() = Fault::LosesAnswers;
    assert!(one.may_commit(now + 6 * SECOND).await);
    *flaky.fault.lock() = Fault::None;
    assert!(one.may_commit(now + 7 * SECOND).await, "it finds its own name");
    assert!(!other.may_commit(now + 7 * SECOND).await);
    assert_eq!(term(&store).await.counter, 3);
}

#[tokio::test]
async fn a_store_without_compare_and_swap_has_no_lease_and_commits_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn ObjectStore> =
        Arc::new(object_store::local::LocalFileSystem::new_with_prefix(folder.path()).unwrap());
    let now = Instant::now();
    let mut one = claim(&store, "one");
    assert!(one.may_commit(now).await && one.may_commit(now + 6 * SECOND).await);
}

#[tokio::test]
async fn in_a_folder_it_is_a_lock_that_ends_with_its_holder() {
    let folder = tempfile::tempdir().unwrap();
    let store = tollgate_flush::store::open(folder.path().to_str().unwrap(), &Default::default()).unwrap();
    let now = Instant::now();
    let mut one = Lease::new(&store, "one".parse().unwrap());
    let mut other = Lease::new(&store, "other".parse().unwrap());
    assert!(one.may_commit(now).await);
    assert!(!other.may_commit(now + 2 * TTL).await, "time does not end it");
    assert_eq!(other.standing, Some(Standing::Theirs { holder: "one".to_owned() }));
    drop(one);
    assert!(other.may_commit(now).await);
    other.release().await;
    assert!(Lease::new(&store, "one".parse().unwrap()).may_commit(now).await);
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Fault {
    #[default]
    None,
    Down,
    LosesAnswers,
}

/// A store in memory that fails as it is told.
#[derive(Debug, Default)]
struct Flaky {
    inner: InMemory,
    fault: Mutex<Fault>,
}

impl Flaky {
    fn fault(&self) -> Fault {
        *self.fault.lock()
    }
}

fn down() -> object_store::Error {
    object_store::Error::Generic { store: "flaky", source: "no answer".into() }
}

impl std::fmt::Display for Flaky {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Flaky")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(&self, at: &Path, content: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        if self.fault() == Fault::Down {
            return Err(down());
        }
        let written = self.inner.put_opts(at, content, options).await?;
        if self.fault() == Fault::LosesAnswers { Err(down()) } else { Ok(written) }
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        if self.fault() == Fault::Down {
            return Err(down());
        }
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
