//! A process dies at every single write it makes to the store; the next one puts everything right. And what goes wrong
//! without anybody dying.

use std::time::Duration;

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use tollgate_flush::store::{self, StoreError};
use tollgate_interaction::Outcome;
use tollgate_interaction::schema::Table;

use crate::fault::{Fault, with_fault};
use crate::writer::{Process, assert_once, eventually, flush_settings, open_store, open_wal, opened, record, settled};

/// Calls 1–20 are recorded and call 21 is in flight when the process dies; 22–30 are recorded by the next one.
fn expected() -> Vec<(u64, Outcome)> {
    let recorded = (1..=20).chain(22..=30).map(|number| (number, Outcome::Success));
    recorded.chain([(21, Outcome::Interrupted)]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_in_the_lake_once_wherever_a_process_dies() {
    futures::join!(at_every_write(Fault::DiesBefore), at_every_write(Fault::DiesAfter), at_every_write(Fault::Lies));
}

async fn at_every_write(fault: Fault) {
    let mut at = 0;
    while run_and_recover(at, fault).await {
        at += 1;
        assert!(at < 60, "there is no end of writes");
    }
    assert!(at > 8, "only {at} writes were seen");
}

/// False if the first process made all its writes before the fault.
async fn run_and_recover(at: i64, fault: Fault) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(&folder.path().join("lake"));
    let (faulty, state) = with_fault(&store, at, fault);
    let wal = open_wal(folder.path());
    record(&wal, 1..=20).await;
    wal.appender().append_durable(&opened(21)).await.unwrap();
    if let Ok(process) = Process::start(&wal, folder.path(), faulty).await {
        eventually("death or success", || state.is_dead() || process.lake.snapshot().interactions.rows() == 20).await;
        if !state.is_dead() {
            // Deleting the manifest is the last write.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        process.kill().await;
    }
    drop(wal);

    let when = format!("after {fault:?} at write {at}");
    let wal = open_wal(folder.path());
    let process = Process::start(&wal, folder.path(), store.clone()).await.unwrap();
    process.record(22..=30).await;
    eventually(&when, || process.lake.snapshot().interactions.rows() >= 30).await;
    eventually("the hot tail empties", || process.hot.rows() == 0).await;
    let lake = process.stop().await;
    assert_once(&lake, expected(), &when).await;
    let inbox = Path::from("inbox");
    let left: Vec<_> = store.object_store.list(Some(&inbox)).try_collect().await.unwrap();
    assert!(left.is_empty(), "{left:?} {when}");
    assert!(wal.status().segments <= 2, "{} segments are left {when}", wal.status().segments);
    state.is_hit()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_down_costs_nothing_but_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(&folder.path().join("lake"));
    // The probe (put, put, delete) and the tables are written; then the store goes away.
    let (faulty, state) = with_fault(&store, 3 + Table::ALL.len() as i64, Fault::DiesBefore);
    let wal = open_wal(folder.path());
    let mut settings = flush_settings(folder.path());
    settings.hot_max_bytes = 150_000;
    let process = Process::start_with(&wal, settings, faulty).await.unwrap();
    let recorder = wal.appender();
    for number in 1..=3_000 {
        recorder.append_written(&opened(number)).unwrap();
        recorder.append_written(&settled(number)).unwrap();
    }
    eventually("the store dies", || state.is_dead()).await;
    eventually("the hot tail is full", || process.hot.bytes() >= 150_000).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(process.hot.rows() < 1_500, "the log was not read on: {} rows", process.hot.rows());
    assert!(process.status.borrow().last_error.is_some());
    state.revive();
    eventually("all calls are in the lake", || process.lake.snapshot().interactions.rows() == 3_000).await;
    assert_eq!(process.status.borrow().last_error, None);
    let lake = process.stop().await;
    assert_once(&lake, (1..=3_000).map(|number| (number, Outcome::Success)), "after the store came back").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_hands_over_what_the_hot_tail_has_no_room_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(&folder.path().join("lake"));
    let wal = open_wal(folder.path());
    let mut settings = flush_settings(folder.path());
    settings.hot_max_bytes = 150_000;
    settings.interval = Duration::from_secs(60);
    let process = Process::start_with(&wal, settings, store).await.unwrap();
    let recorder = wal.appender();
    for number in 1..=3_000 {
        recorder.append_written(&opened(number)).unwrap();
        recorder.append_written(&settled(number)).unwrap();
    }
    eventually("the hot tail is full", || process.hot.bytes() >= 150_000).await;
    let lake = process.stop().await;
    assert_once(&lake, (1..=3_000).map(|number| (number, Outcome::Success)), "after a stop under load").await;
}

#[tokio::test]
async fn a_store_that_overwrites_what_exists_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(folder.path());
    let (overwriting, _) = with_fault(&store, 0, Fault::Overwrites);
    let probed = store::probe_create_if_absent(&overwriting).await;
    assert!(matches!(probed, Err(StoreError::IgnoresCreateIfAbsent { .. })), "{probed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_restored_from_a_backup_hands_nothing_over_under_taken_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(&folder.path().join("lake"));
    drop(open_wal(folder.path()));
    let copy = tempfile::tempdir().unwrap();
    copy_files(&folder.path().join("wal"), &copy.path().join("wal"));

    let wal = open_wal(folder.path());
    let process = Process::start(&wal, folder.path(), store.clone()).await.unwrap();
    process.record(1..=10).await;
    process.stop().await;
    let wal = open_wal(copy.path());
    let process = Process::start(&wal, copy.path(), store).await.unwrap();
    process.record(11..=20).await;
    eventually("the flusher complains", || process.status.borrow().last_error.is_some()).await;
    let lake = process.stop().await;
    assert_once(&lake, (1..=10).map(|number| (number, Outcome::Success)), "beside a copied log").await;
    assert!(wal.status().appended_seq == 20, "the log keeps its rows");
}

fn copy_files(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}
