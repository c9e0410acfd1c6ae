//! A process dies at every single write it makes to the store; the next one puts everything right.

use std::time::Duration;

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use tollgate_interaction::Outcome;

use crate::fault::{Hit, dying};
use crate::writer::{Process, assert_once, eventually, open_store, open_wal, opened, record};

/// Calls 1–20 are recorded and call 21 is in flight when the process dies; 22–30 are recorded by the next one.
fn expected() -> Vec<(u64, Outcome)> {
    let recorded = (1..=20).chain(22..=30).map(|number| (number, Outcome::Success));
    recorded.chain([(21, Outcome::Interrupted)]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_in_the_lake_once_wherever_a_process_dies() {
    for hit in [Hit::Before, Hit::After] {
        let mut survived = false;
        for at in 0.. {
            if survived {
                assert!(at > 8, "only {at} writes were seen");
                break;
            }
            survived = die_and_recover(at, hit).await;
            assert!(at < 60, "the process never survives");
        }
    }
}

/// True if the first process made all its writes before it could die.
async fn die_and_recover(at: i64, hit: Hit) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(&folder.path().join("lake"));
    let (dying_store, state) = dying(&store, at, hit);
    let wal = open_wal(folder.path());
    record(&wal, 1..=20).await;
    wal.appender().append_durable(&opened(21)).await.unwrap();
    let mut survived = false;
    if let Ok(process) = Process::start(&wal, folder.path(), dying_store).await {
        let hot = process.hot.clone();
        eventually("death or success", || state.is_dead() || process.lake.snapshot().interactions.rows() == 20).await;
        if !state.is_dead() {
            // Deleting the manifest is the last write.
            tokio::time::sleep(Duration::from_millis(300)).await;
            survived = !state.is_dead();
        }
        drop(hot);
        process.kill().await;
    }
    drop(wal);

    let when = format!("after dying at write {at} ({hit:?})");
    let wal = open_wal(folder.path());
    let process = Process::start(&wal, folder.path(), store.clone()).await.unwrap();
    process.record(22..=30).await;
    eventually(&when, || process.lake.snapshot().interactions.rows() >= 30).await;
    let hot = process.hot.clone();
    eventually("the hot tail empties", || hot.rows() == 0).await;
    let lake = process.stop().await;
    assert_once(&lake, expected(), &when).await;
    let inbox = Path::from("inbox");
    let left: Vec<_> = store.object_store.list(Some(&inbox)).try_collect().await.unwrap();
    assert!(left.is_empty(), "{left:?} {when}");
    assert!(wal.status().segments <= 2, "{} segments are left {when}", wal.status().segments);
    survived
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_down_costs_nothing_but_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(&folder.path().join("lake"));
    // The probe (put, put, delete) and two tables are five writes; then the store goes away.
    let (dying_store, state) = dying(&store, 5, Hit::Before);
    let wal = open_wal(folder.path());
    let process = Process::start(&wal, folder.path(), dying_store).await.unwrap();
    process.record(1..=500).await;
    eventually("the store dies", || state.is_dead()).await;
    eventually("all calls are in the hot tail", || process.hot.rows() == 500).await;
    state.revive();
    eventually("all calls are in the lake", || process.lake.snapshot().interactions.rows() == 500).await;
    let lake = process.stop().await;
    assert_once(&lake, (1..=500).map(|number| (number, Outcome::Success)), "after the store came back").await;
}
