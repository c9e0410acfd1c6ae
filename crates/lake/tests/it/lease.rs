//! Two processes over one lake: one commits, the other waits its turn. Without the lease they would do the same work, and
//! `contention.rs` shows that they would do no harm by it.

use std::time::{Duration, Instant};

use object_store::ObjectStoreExt;
use object_store::path::Path;
use tollgate_flush::store::Store;
use tollgate_interaction::Outcome;

use crate::buckets::Server;
use crate::writer::{Process, assert_once, eventually, open_store, open_wal};

/// What a lease outlives its holder by, and a poll.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_on_a_folder_one_commits_and_the_other_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let took = one_commits_and_the_other_takes_over(&folder, open_store(&folder.path().join("lake"))).await;
    assert!(took < Duration::from_secs(5), "a lock ends with its process, but it took {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_on_a_bucket_one_commits_and_the_other_takes_over() {
    futures::join!(of_two_processes_on(Server::S3), of_two_processes_on(Server::Azure));
}

async fn of_two_processes_on(server: Server) {
    let folder = tempfile::tempdir().unwrap();
    let Some(store) = server.open(&folder) else { return };
    let took = one_commits_and_the_other_takes_over(&folder, store.clone()).await;
    assert!(took > Duration::from_secs(8), "the holder might have been alive, but it took {took:?}");
    let lease = store.object_store.get(&Path::from("lease/committer")).await.unwrap().bytes().await.unwrap();
    let lease: serde_json::Value = serde_json::from_slice(&lease).unwrap();
    assert_eq!(lease["holder"], serde_json::Value::Null, "the last process gave it up: {lease}");
}

/// How long the lake was without a committer.
async fn one_commits_and_the_other_takes_over(folder: &tempfile::TempDir, store: Store) -> Duration {
    let (one_folder, other_folder) = (folder.path().join("one"), folder.path().join("other"));
    let one = Process::start(&open_wal(&one_folder), &one_folder, store.clone()).await.unwrap();
    one.record(1..=10).await;
    eventually("the first process commits", || one.lake.snapshot().interactions.rows() == 10).await;
    let other = Process::start(&open_wal(&other_folder), &other_folder, store.clone()).await.unwrap();
    eventually("the second process reads", || !other.lake.commits()).await;
    other.record(11..=20).await;
    eventually("the first commits for both", || one.lake.snapshot().interactions.rows() == 20).await;
    eventually("the second sees it", || other.hot.rows() == 0 && other.lake.snapshot().interactions.rows() == 20).await;
    assert!(one.lake.commits() && !other.lake.commits());

    one.kill().await;
    let killed = Instant::now();
    other.record(21..=30).await;
    while other.lake.snapshot().interactions.rows() < 30 {
        assert!(killed.elapsed() < TAKEN_OVER_WITHIN, "nobody took over");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let took = killed.elapsed();
    assert!(other.lake.commits());
    let restarted = Process::start(&open_wal(&one_folder), &one_folder, store).await.unwrap();
    eventually("the first, restarted, reads", || !restarted.lake.commits()).await;
    restarted.stop().await;
    let lake = other.stop().await;
    assert_once(&lake, (1..=30).map(|number| (number, Outcome::Success)), "after the lease changed hands").await;
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_has_its_own_lease_again_at_once() {
    for server in [Server::S3, Server::Azure] {
        let folder = tempfile::tempdir().unwrap();
        let Some(store) = server.open(&folder) else { continue };
        let wal = open_wal(folder.path());
        let process = Process::start(&wal, folder.path(), store.clone()).await.unwrap();
        process.record(1..=10).await;
        eventually("it commits", || process.lake.snapshot().interactions.rows() == 10).await;
        process.kill().await;
        let process = Process::start(&wal, folder.path(), store).await.unwrap();
        let started = Instant::now();
        process.record(11..=20).await;
        eventually("it commits again", || process.lake.snapshot().interactions.rows() == 20).await;
        assert!(started.elapsed() < Duration::from_secs(5), "{:?} on {server:?}", started.elapsed());
        process.stop().await;
    }
}
