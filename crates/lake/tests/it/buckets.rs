//! The same on real servers, when `TOLLGATE_TEST_S3` and `TOLLGATE_TEST_AZURE` give their endpoints (`cargo xtask test`
//! starts them); without them there is nothing to test and the tests say so.

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tollgate_flush::store::{self, AzureOptions, S3Options, Store, StoreOptions};
use tollgate_interaction::Outcome;
use tollgate_lake::{Lake, Mode};

use crate::writer::{Process, assert_once, eventually, open_wal};

/// Azurite's built-in key, which its documentation prints.
const AZURITE_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A server with a bucket `tollgate-test`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Server {
    S3,
    Azure,
}

impl Server {
    fn endpoint(self) -> Option<String> {
        let variable = match self {
            Server::S3 => "TOLLGATE_TEST_S3",
            Server::Azure => "TOLLGATE_TEST_AZURE",
        };
        let endpoint = std::env::var(variable).ok();
        if endpoint.is_none() {
            eprintln!("{variable} is not set: NOT TESTED on {self:?}");
        }
        endpoint
    }

    /// A fresh place in the bucket, named after a temporary folder.
    pub(crate) fn open(self, folder: &tempfile::TempDir) -> Option<Store> {
        let endpoint = Some(self.endpoint()?);
        let mut options = StoreOptions::default();
        let scheme = match self {
            Server::S3 => {
                options.s3 = S3Options {
                    endpoint,
                    region: Some("us-east-1".into()),
                    access_key_id: Some("tollgate".into()),
                    secret_access_key: Some("tollgate-secret".into()),
                };
                "s3"
            }
            Server::Azure => {
                options.azure = AzureOptions {
                    endpoint,
                    account: Some("devstoreaccount1".into()),
                    access_key: Some(AZURITE_KEY.into()),
                    sas_token: None,
                };
                "az"
            }
        };
        let run = folder.path().file_name().unwrap().to_string_lossy().trim_start_matches('.').to_owned();
        let store = store::open(&format!("{scheme}://tollgate-test/it/{run}"), &options).unwrap();
        eprintln!("the lake of this run is at {}", store.url);
        Some(store)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lake_on_s3_holds_every_call_once() {
    holds_every_call_once(Server::S3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lake_on_azure_holds_every_call_once() {
    holds_every_call_once(Server::Azure).await;
}

async fn holds_every_call_once(server: Server) {
    let folder = tempfile::tempdir().unwrap();
    let Some(store) = server.open(&folder) else { return };
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
            assert_once(&lake, recorded, &format!("on {server:?}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_is_written_to_and_read_from_s3() {
    writes_and_reads_a_checkpoint(Server::S3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_is_written_to_and_read_from_azure() {
    writes_and_reads_a_checkpoint(Server::Azure).await;
}

async fn writes_and_reads_a_checkpoint(server: Server) {
    let folder = tempfile::tempdir().unwrap();
    let Some(store) = server.open(&folder) else { return };
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
    let when = format!("after a checkpoint on {server:?}");
    assert_once(&reopened, (1..=105).map(|number| (number, Outcome::Success)), &when).await;
}

#[tokio::test]
async fn s3_lists_from_an_offset_and_deletes() {
    lists_from_an_offset_and_deletes(Server::S3).await;
}

#[tokio::test]
async fn azure_lists_from_an_offset_and_deletes() {
    lists_from_an_offset_and_deletes(Server::Azure).await;
}

/// The Delta library lists the log from the newest checkpoint on, and would take what comes before for a gap.
async fn lists_from_an_offset_and_deletes(server: Server) {
    let folder = tempfile::tempdir().unwrap();
    let Some(store) = server.open(&folder) else { return };
    let paths: Vec<Path> = (0..5).map(|number| Path::from(format!("log/{number:020}.json"))).collect();
    for path in &paths {
        store.object_store.put(path, "content".into()).await.unwrap();
    }
    let log = Path::from("log");
    let after: Vec<_> = store.object_store.list_with_offset(Some(&log), &paths[2]).try_collect().await.unwrap();
    assert_eq!(after.into_iter().map(|object| object.location).collect::<Vec<_>>(), paths[3..]);
    store.object_store.delete(&paths[0]).await.unwrap();
    let left: Vec<_> = store.object_store.list(Some(&log)).try_collect().await.unwrap();
    assert_eq!(left.len(), 4);
}
