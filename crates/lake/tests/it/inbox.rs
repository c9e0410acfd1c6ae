//! What the committer makes of manifests that are not as they should be.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tollgate_flush::flusher::{Committed, FlushSettings, Flusher};
use tollgate_flush::inbox::Manifest;
use tollgate_flush::store::Store;
use tollgate_interaction::Outcome;
use tollgate_lake::{CommitReport, Lake, Mode};

use crate::fault::{Fault, with_fault};
use crate::writer::{assert_once, flush_settings, open_store, open_wal, record};

/// A sidecar records calls and hands them over; its folder is `name` under `folder`.
async fn sidecar(folder: &FilePath, name: &str, store: &Store, numbers: std::ops::RangeInclusive<u64>) {
    let folder = folder.join(name);
    let wal = open_wal(&folder);
    let notify = Arc::new(Notify::new());
    let flusher =
        Flusher::new(flush_settings(&folder), Arc::clone(&wal), store.clone(), Committed::HandedOver, notify).unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(flusher.run(shutdown.clone()));
    record(&wal, numbers).await;
    shutdown.cancel();
    running.await.unwrap();
    assert!(wal.status().segments <= 2);
}

async fn manifests(store: &Store) -> Vec<(Path, Manifest)> {
    let inbox = Path::from("inbox");
    let listed: Vec<_> = store.object_store.list(Some(&inbox)).try_collect().await.unwrap();
    let mut manifests = Vec::new();
    for object in listed {
        let content = store.object_store.get(&object.location).await.unwrap().bytes().await.unwrap();
        manifests.push((object.location, serde_json::from_slice(&content).unwrap()));
    }
    manifests.sort_by(|one, other| one.0.cmp(&other.0));
    manifests
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_manifests_of_many_writers_are_one_commit_per_table() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(&folder.path().join("lake"));
    sidecar(folder.path(), "one", &store, 1..=20).await;
    sidecar(folder.path(), "one", &store, 21..=40).await;
    sidecar(folder.path(), "two", &store, 41..=60).await;
    let handed_over = manifests(&store).await.len() as u64;
    let lake = Lake::open(store, Mode::Committer).await.unwrap();
    let report = lake.commit_inbox().await.unwrap();
    assert_eq!((report.manifests, report.rows), (handed_over, 60));
    let snapshot = lake.snapshot();
    assert_eq!((snapshot.interactions.version, snapshot.payloads.version), (1, 1));
    assert_eq!(snapshot.watermarks.len(), 3, "two epochs of one writer and one of another");
    assert_once(&lake, (1..=60).map(|number| (number, Outcome::Success)), "after one commit").await;
    assert_eq!(lake.commit_inbox().await.unwrap(), CommitReport::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_manifest_is_moved_away_and_blocks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(&folder.path().join("lake"));
    sidecar(folder.path(), "one", &store, 1..=10).await;
    sidecar(folder.path(), "two", &store, 11..=20).await;
    let (_, broken) = manifests(&store).await.remove(0);
    let lost = Path::from(format!("interactions/{}", broken.interactions[0].path));
    store.object_store.delete(&lost).await.unwrap();
    store.object_store.put(&Path::from("inbox/stranger/note.json"), "not a manifest".into()).await.unwrap();
    let lake = Lake::open(store.clone(), Mode::Committer).await.unwrap();
    let report = lake.commit_inbox().await.unwrap();
    assert_eq!((report.manifests > 0, report.rejected), (true, 2));
    let moved = broken.path().to_string().replace("inbox/", "inbox/rejected/");
    assert!(store.object_store.head(&Path::from(moved)).await.is_ok());
    assert_eq!(lake.snapshot().interactions.rows(), 20 - broken.rows());
    assert_eq!(lake.commit_inbox().await.unwrap().rejected, 0, "what was moved away is not looked at again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_comes_twice_counts_once_and_one_that_overlaps_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(&folder.path().join("lake"));
    sidecar(folder.path(), "one", &store, 1..=10).await;
    let (path, manifest) = manifests(&store).await.remove(0);
    let lake = Lake::open(store.clone(), Mode::Committer).await.unwrap();
    lake.commit_inbox().await.unwrap();
    let rows = lake.snapshot().interactions.rows();
    store.object_store.put(&path, serde_json::to_vec(&manifest).unwrap().into()).await.unwrap();
    assert_eq!(lake.commit_inbox().await.unwrap().repeated, 1);
    let overlapping = Manifest { last_seq: manifest.last_seq + 1_000, ..manifest };
    let content = serde_json::to_vec(&overlapping).unwrap();
    store.object_store.put(&overlapping.path(), content.into()).await.unwrap();
    assert_eq!(lake.commit_inbox().await.unwrap().rejected, 1);
    assert_eq!(lake.snapshot().interactions.rows(), rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_after_a_gap_waits_until_the_gap_is_closed_or_has_lasted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(&folder.path().join("lake"));
    let wal = open_wal(folder.path());
    let settings = FlushSettings { max_rows: 4, ..flush_settings(folder.path()) };
    let notify = Arc::new(Notify::new());
    let flusher = Flusher::new(settings, Arc::clone(&wal), store.clone(), Committed::HandedOver, notify).unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(flusher.run(shutdown.clone()));
    for number in 1..=6 {
        record(&wal, [number * 2 - 1, number * 2]).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    shutdown.cancel();
    running.await.unwrap();
    let handed_over = manifests(&store).await;
    assert!(handed_over.len() >= 3, "{} manifests", handed_over.len());
    let (early, lost) = (&handed_over[0], &handed_over[handed_over.len() - 2]);
    for (path, _) in [early, lost] {
        store.object_store.delete(path).await.unwrap();
    }
    let lake = Lake::open(store.clone(), Mode::Committer).await.unwrap();
    assert_eq!(lake.commit_inbox().await.unwrap(), CommitReport::default(), "the first may yet come");
    store.object_store.put(&early.0, serde_json::to_vec(&early.1).unwrap().into()).await.unwrap();
    lake.commit_inbox().await.unwrap();
    let last = &handed_over[handed_over.len() - 1].1;
    assert_eq!(lake.snapshot().interactions.rows(), 12 - lost.1.rows() - last.rows());
    let waited = Instant::now();
    while lake.snapshot().interactions.rows() < 12 - lost.1.rows() {
        assert!(waited.elapsed() < Duration::from_secs(12), "the gap blocks for ever");
        tokio::time::sleep(Duration::from_millis(200)).await;
        lake.commit_inbox().await.unwrap();
    }
    assert!(waited.elapsed() > Duration::from_secs(4), "the gap was believed after {:?}", waited.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_needs_no_more_than_the_right_to_put() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(&folder.path().join("lake"));
    let (put_only, _) = with_fault(&store, 0, Fault::MayOnlyPut);
    sidecar(folder.path(), "one", &put_only, 1..=10).await;
    // Its notes say that the last range was begun, as after a crash between the manifest and the note.
    let notes = folder.path().join("one/spool/flush.json");
    let (_, manifest) = manifests(&store).await.pop().unwrap();
    let mut content: serde_json::Value = serde_json::from_slice(&std::fs::read(&notes).unwrap()).unwrap();
    content["handed_over"] = serde_json::json!({ "1": manifest.first_seq - 1 });
    content["plan"] = serde_json::json!({
        "epoch": 1, "first_seq": manifest.first_seq, "last_seq": manifest.last_seq, "nonce": manifest.nonce
    });
    std::fs::write(&notes, content.to_string()).unwrap();
    sidecar(folder.path(), "one", &put_only, 11..=20).await;
    let lake = Lake::open(store, Mode::Committer).await.unwrap();
    lake.commit_inbox().await.unwrap();
    assert_once(&lake, (1..=20).map(|number| (number, Outcome::Success)), "from a sidecar").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_committers_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(&folder.path().join("lake"));
    let one = Lake::open(store.clone(), Mode::Committer).await.unwrap();
    let other = Lake::open(store.clone(), Mode::Committer).await.unwrap();
    for round in 0..6 {
        sidecar(folder.path(), "one", &store, round * 10 + 1..=round * 10 + 10).await;
        let (first, second) = futures::join!(one.commit_inbox(), other.commit_inbox());
        first.unwrap();
        second.unwrap();
    }
    one.refresh().await.unwrap();
    assert_once(&one, (1..=60).map(|number| (number, Outcome::Success)), "with two committers").await;
}
