//! Hot and cold together, read in the order that [`tollgate_flush::hot`] prescribes, while everything moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tollgate_flush::flusher::FlushSettings;
use tollgate_interaction::Outcome;
use tollgate_lake::{Lake, LakeError, Mode};

use crate::writer::{Process, assert_once, eventually, flush_settings, open_store, open_wal, opened, settled};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_hot_and_cold_never_loses_or_doubles_a_call() {
    const CALLS: u64 = 4_000;
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(&folder.path().join("lake"));
    let wal = open_wal(folder.path());
    let process = Process::start(&wal, folder.path(), store).await.unwrap();
    let begun = Arc::new(AtomicU64::new(0));
    let recording = {
        let (appender, begun) = (wal.appender(), Arc::clone(&begun));
        tokio::spawn(async move {
            for number in 1..=CALLS {
                begun.store(number, Ordering::SeqCst);
                appender.append_written(&opened(number)).unwrap();
                appender.append_written(&settled(number)).unwrap();
                if number % 50 == 0 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        })
    };
    let (mut seen, mut versions) = (0, std::collections::BTreeSet::new());
    while seen < CALLS {
        let hot = process.hot.snapshot();
        tokio::task::yield_now().await;
        let cold = process.lake.snapshot();
        versions.insert(cold.interactions.version);
        let count = hot.after(&cold.watermarks).rows() as u64 + cold.interactions.rows();
        assert!(count >= seen, "{seen} calls were seen before, now {count}");
        assert!(count <= begun.load(Ordering::SeqCst), "{count} calls are seen, more than there are");
        assert_eq!(cold.interactions.rows(), cold.payloads.rows());
        seen = count;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    recording.await.unwrap();
    assert!(versions.len() > 3, "the lake moved while it was read: {versions:?}");
    eventually("the hot tail empties", || process.hot.rows() == 0).await;
    let lake = process.stop().await;
    assert_once(&lake, (1..=CALLS).map(|number| (number, Outcome::Success)), "at the end").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_never_pause_are_handed_over_once_an_interval() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(&folder.path().join("lake"));
    let wal = open_wal(folder.path());
    let interval = Duration::from_millis(400);
    let settings = FlushSettings { interval, max_rows: 1_000_000, ..flush_settings(folder.path()) };
    let process = Process::start_with(&wal, settings, store).await.unwrap();
    let began = Instant::now();
    let mut recorded = 0;
    while began.elapsed() < 5 * interval {
        process.record(recorded + 1..=recorded + 10).await;
        recorded += 10;
    }
    let manifests = process.status.borrow().manifests;
    assert!((1..=5).contains(&manifests), "{manifests} manifests in five intervals");
    let lake = process.stop().await;
    assert_once(&lake, (1..=recorded).map(|number| (number, Outcome::Success)), "after the last interval").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_process_sees_what_the_committer_committed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(&folder.path().join("lake"));
    let too_early = Lake::open(store.clone(), Mode::ReadOnly).await;
    assert!(matches!(too_early, Err(LakeError::NoTable { .. })));
    let wal = open_wal(folder.path());
    let process = Process::start(&wal, folder.path(), store.clone()).await.unwrap();
    let reader = Lake::open(store.clone(), Mode::ReadOnly).await.unwrap();
    process.record(1..=30).await;
    let committer = process.stop().await;
    let refreshed = reader.refresh().await.unwrap();
    let reopened = Lake::open(store, Mode::ReadOnly).await.unwrap();
    for snapshot in [refreshed, reopened.snapshot()] {
        assert_eq!(snapshot.watermarks, committer.snapshot().watermarks);
        assert_eq!(snapshot.interactions.files, committer.snapshot().interactions.files);
        assert_eq!(snapshot.payloads.files, committer.snapshot().payloads.files);
    }
    assert!(matches!(reader.commit_inbox().await, Err(LakeError::ReadOnly { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watermarks_and_files_survive_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(&folder.path().join("lake"));
    let mut rounds = 0;
    // Several processes, so that several epochs have transactions, some of them only in the checkpoint.
    while rounds < 4 {
        let wal = open_wal(folder.path());
        let process = Process::start(&wal, folder.path(), store.clone()).await.unwrap();
        for commit in 1..=30 {
            let number = rounds * 30 + commit;
            process.record([number]).await;
            eventually("the call is committed", || process.lake.snapshot().interactions.rows() == number).await;
        }
        process.stop().await;
        rounds += 1;
    }
    let log = folder.path().join("lake/interactions/_delta_log");
    assert!(log.join("_last_checkpoint").exists());
    let reopened = Lake::open(store, Mode::Committer).await.unwrap();
    let snapshot = reopened.snapshot();
    assert!(snapshot.interactions.version >= 100, "{}", snapshot.interactions.version);
    assert_eq!(snapshot.watermarks.len(), 4, "{:?}", snapshot.watermarks);
    assert_once(&reopened, (1..=120).map(|number| (number, Outcome::Success)), "after a checkpoint").await;
}
