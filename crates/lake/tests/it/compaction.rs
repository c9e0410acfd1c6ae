//! Compaction: fewer files, the same rows, whoever reads, dies or competes meanwhile.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use tollgate_interaction::Outcome;
use tollgate_lake::audit::{VerifySettings, verify};
use tollgate_lake::compact::level_of;
use tollgate_lake::{Lake, Mode};

use crate::fault::{Fault, with_fault};
use crate::writer::{Process, STARTED_AT_US, assert_once, eventually, open_store, open_wal, proof_settings, read};

const HOUR_US: i64 = 3_600_000_000;

/// A lake of calls `1..=last` in many small files, all of the same evening and the next day's first moment.
async fn make(folder: &std::path::Path, last: u64) -> String {
    let wal = open_wal(folder);
    let process = Process::start(&wal, folder, open_store(&folder.join("lake"))).await.unwrap();
    for first in (1..=last).step_by(5) {
        process.record(first..=(first + 4).min(last)).await;
        let rows = (first + 4).min(last);
        eventually("rows are committed", || process.lake.snapshot().interactions.rows() >= rows).await;
    }
    let key = process.lake.proof().borrow().public_key.clone();
    process.stop().await;
    key
}

fn all(last: u64) -> impl Iterator<Item = (u64, Outcome)> {
    (1..=last).map(|number| (number, Outcome::Success))
}

async fn open(folder: &std::path::Path) -> Arc<Lake> {
    Lake::open_proven(open_store(&folder.join("lake")), proof_settings(&folder.join("spool"))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_files_become_few_with_the_same_rows_and_the_same_proof() {
    let folder = tempfile::tempdir().unwrap();
    let key = make(folder.path(), 60).await;
    let lake = open(folder.path()).await;
    let before = lake.snapshot();
    let report = lake.compact(STARTED_AT_US + 30 * HOUR_US, 100).await.unwrap();
    let after = lake.snapshot();
    assert!(report.commits >= 2 && report.files_before > report.files_after, "{report:?}");
    assert!(
        before.interactions.files.len() >= 10 && after.interactions.files.len() <= 3,
        "{}",
        after.interactions.files.len()
    );
    assert!(after.interactions.files.iter().any(|file| level_of(file) > 0 && file.range.is_none()));
    assert_once(&lake, all(60), "after compaction").await;
    let nothing = lake.compact(STARTED_AT_US + 30 * HOUR_US, 100).await.unwrap();
    assert_eq!(nothing.commits, 0, "there is an end to it");
    // Whoever began to read before goes on reading.
    for file in &before.payloads.files {
        assert!(!read(&lake, file).await.is_empty());
    }
    let reader = Lake::open(open_store(&folder.path().join("lake")), Mode::ReadOnly).await.unwrap();
    assert_once(&reader, all(60), "for a reader that comes later").await;
    let found = verify(reader, VerifySettings { keys: vec![key], older_checkpoint: None, ..VerifySettings::default() })
        .await
        .unwrap();
    assert!(found.ok && found.records == 60 && found.payloads == 60, "{found:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compacted_rows_are_ordered_by_tenant_and_time() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), 40).await;
    let lake = open(folder.path()).await;
    lake.compact(STARTED_AT_US + 30 * HOUR_US, 100).await.unwrap();
    for file in lake.snapshot().interactions.files.iter().filter(|file| level_of(file) > 0) {
        let batches: Vec<_> = lake.read_columns(file, None).await.unwrap().try_collect::<Vec<_>>().await.unwrap();
        let mut times = Vec::new();
        for batch in &batches {
            let column = batch.column_by_name("started_at").unwrap();
            let column: &arrow::array::TimestampMicrosecondArray = arrow::array::AsArray::as_primitive(column);
            times.extend(column.values().iter().copied());
        }
        assert!(times.is_sorted(), "{times:?}");
        assert_eq!(times.len() as u64, file.rows);
        assert_eq!((times.first().copied(), times.last().copied()), (file.min_started_at_us, file.max_started_at_us));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_that_dies_anywhere_costs_no_row() {
    // The probe is three writes; after the last compaction there are none.
    for at in 3..14 {
        for fault in [Fault::DiesBefore, Fault::DiesAfter, Fault::Lies] {
            let folder = tempfile::tempdir().unwrap();
            make(folder.path(), 15).await;
            let (faulty, state) = with_fault(&open_store(&folder.path().join("lake")), at, fault);
            if let Ok(lake) = Lake::open_proven(faulty, proof_settings(&folder.path().join("spool"))).await {
                // It may fail: what it leaves behind is what this is about.
                drop(lake.compact(STARTED_AT_US + 30 * HOUR_US, 100).await);
            }
            let lake = open(folder.path()).await;
            lake.compact(STARTED_AT_US + 30 * HOUR_US, 100).await.unwrap();
            assert_once(&lake, all(15), &format!("after {fault:?} at write {at}")).await;
            if !state.is_hit() {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_beside_a_committer_and_another_compaction_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), 40).await;
    let wal = open_wal(folder.path());
    let process = Process::start(&wal, folder.path(), open_store(&folder.path().join("lake"))).await.unwrap();
    let (one, other) = (open(folder.path()).await, open(folder.path()).await);
    let now_us = STARTED_AT_US + 30 * HOUR_US;
    let work = |lake: Arc<Lake>| async move {
        for _ in 0..6 {
            lake.refresh().await.unwrap();
            lake.compact(now_us, 2).await.unwrap();
        }
    };
    let recording = async {
        for number in 41..=80 {
            process.record([number]).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::join!(work(one), work(other), recording);
    eventually("rows are committed", || process.lake.snapshot().interactions.rows() == 80).await;
    let lake = process.stop().await;
    lake.refresh().await.unwrap();
    assert_once(&lake, all(80), "after everything").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vacuum_deletes_what_no_reader_can_see_and_nothing_young() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), 30).await;
    let lake = open(folder.path()).await;
    lake.compact(STARTED_AT_US + 30 * HOUR_US, 100).await.unwrap();
    let left_by_a_crash = folder.path().join("lake/interactions/day=2026-11-23/gw.9.1.2.x.parquet");
    std::fs::write(&left_by_a_crash, "half a file").unwrap();
    let young = lake.vacuum(Duration::ZERO, false).await.unwrap();
    assert!(young.files.is_empty() && young.waiting > 5, "{young:?}");
    // An hour and a bit later, as far as the files can tell: a fault of the clock alone deletes nothing that was just removed.
    let old = std::time::SystemTime::now() - Duration::from_secs(4_000);
    for file in walk(&folder.path().join("lake")) {
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
    }
    let listed = lake.vacuum(Duration::ZERO, true).await.unwrap();
    assert_eq!(listed.files, ["interactions/day=2026-11-23/gw.9.1.2.x.parquet"], "what was removed lately stays");
    assert!(left_by_a_crash.exists(), "a dry run");
    lake.vacuum(Duration::ZERO, false).await.unwrap();
    assert!(!left_by_a_crash.exists());
    assert_once(&lake, all(30), "after the vacuum").await;
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files
}
