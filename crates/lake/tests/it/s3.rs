//! The same on a real S3 server, when `TOLLGATE_TEST_S3` gives its endpoint (bucket `tollgate-test`, key `tollgate`,
//! secret `tollgate-secret`); without it there is nothing to test and the test says so.

use object_store::ObjectStoreExt;
use object_store::path::Path;
use tollgate_flush::store::{self, S3Options, Store, StoreOptions};
use tollgate_interaction::Outcome;
use tollgate_lake::{Lake, Mode};

use crate::writer::{Process, assert_once, eventually, open_wal};

/// A fresh place in the bucket, named after a temporary folder.
fn open(folder: &tempfile::TempDir) -> Option<Store> {
    let Ok(endpoint) = std::env::var("TOLLGATE_TEST_S3") else {
        eprintln!("TOLLGATE_TEST_S3 is not set: not tested on S3");
        return None;
    };
    let s3 = S3Options {
        endpoint: Some(endpoint),
        region: Some("us-east-1".into()),
        access_key_id: Some("tollgate".into()),
        secret_access_key: Some("tollgate-secret".into()),
    };
    let options = StoreOptions { s3, ..StoreOptions::default() };
    let run = folder.path().file_name().unwrap().to_string_lossy().trim_start_matches('.').to_owned();
    let store = store::open(&format!("s3://tollgate-test/it/{run}"), &options).unwrap();
    eprintln!("the lake of this run is at {}", store.url);
    Some(store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lake_on_s3_holds_every_call_once() {
    let folder = tempfile::tempdir().unwrap();
    let Some(store) = open(&folder) else { return };
    store::probe_create_if_absent(&store).await.unwrap();
    for round in 0..3 {
        let wal = open_wal(folder.path());
        let process = Process::start(&wal, folder.path(), store.clone()).await.unwrap();
        process.record(round * 100 + 1..=round * 100 + 100).await;
        if round == 1 {
            eventually("some rows are committed", || process.lake.snapshot().interactions.rows() > 100).await;
            process.kill().await;
        } else {
            let lake = process.stop().await;
            let recorded = (1..=round * 100 + 100).map(|number| (number, Outcome::Success));
            assert_once(&lake, recorded, "on S3").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_is_written_to_and_read_from_s3() {
    let folder = tempfile::tempdir().unwrap();
    let Some(store) = open(&folder) else { return };
    let wal = open_wal(folder.path());
    let process = Process::start(&wal, folder.path(), store.clone()).await.unwrap();
    for number in 1..=105 {
        process.record([number]).await;
        eventually("the call is committed", || process.lake.snapshot().interactions.rows() == number).await;
    }
    process.stop().await;
    let hint = Path::from("interactions/_delta_log/_last_checkpoint");
    assert!(store.object_store.head(&hint).await.is_ok());
    let reopened = Lake::open(store, Mode::ReadOnly).await.unwrap();
    assert_eq!(reopened.snapshot().watermarks.len(), 1);
    assert_once(&reopened, (1..=105).map(|number| (number, Outcome::Success)), "after a checkpoint on S3").await;
}
