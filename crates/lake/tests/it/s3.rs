//! The same on a real S3 server, when `TOLLGATE_TEST_S3` gives its endpoint (bucket `tollgate-test`, key `tollgate`,
//! secret `tollgate-secret`); without it there is nothing to test and the test says so.

use tollgate_flush::store::{self, Store, StoreOptions};
use tollgate_interaction::Outcome;

use crate::writer::{Process, assert_once, eventually, open_wal};

fn open(prefix: &str) -> Option<Store> {
    let endpoint = std::env::var("TOLLGATE_TEST_S3").ok()?;
    let options = StoreOptions {
        endpoint: Some(endpoint),
        allow_http: true,
        region: Some("us-east-1".into()),
        access_key_id: Some("tollgate".into()),
        secret_access_key: Some("tollgate-secret".into()),
    };
    Some(store::open(&format!("s3://tollgate-test/{prefix}"), &options).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lake_on_s3_holds_every_call_once() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().file_name().unwrap().to_string_lossy().trim_start_matches('.').to_owned();
    let Some(store) = open(&format!("it/{run}")) else {
        eprintln!("TOLLGATE_TEST_S3 is not set: not tested on S3");
        return;
    };
    eprintln!("the lake of this run is at {}", store.url);
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
