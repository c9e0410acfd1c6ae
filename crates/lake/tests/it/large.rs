//! Requests that are too large to be kept in memory while their calls are in flight.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use tollgate_interaction::schema::Table;
use tollgate_interaction::{Event, Interaction, Opened, Outcome, Payload};

use crate::writer::{Process, eventually, interaction, open_store, open_wal, read, settled};

const LARGE_BYTES: usize = (1 << 20) + 1;

fn opened(number: u64) -> Event {
    // Does not compress to nothing, and tells the calls apart.
    let body: Vec<u8> = (0..LARGE_BYTES as u64).map(|at| ((at * at * (number + 3)) >> 7) as u8).collect();
    let request = Payload { content_type: "application/json".into(), body: body.into() };
    let interaction = Interaction { outcome: Outcome::Interrupted, ..interaction(number) };
    Event::Opened(Box::new(Opened { interaction, request }))
}

fn body(number: u64) -> bytes::Bytes {
    let Event::Opened(opened) = opened(number) else { panic!("not an `Opened`") };
    opened.request.body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_request_is_with_its_row_whenever_its_call_settles() {
    let folder = tempfile::tempdir().unwrap();
    let wal = open_wal(folder.path());
    let process = Process::start(&wal, folder.path(), open_store(&folder.path().join("lake"))).await.unwrap();
    let appender = wal.appender();
    for number in 1..=6 {
        appender.append_durable(&opened(number)).await.unwrap();
    }
    // Some settle when their beginnings have long been read, one at once.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    for number in [5, 1, 3] {
        appender.append_written(&settled(number)).unwrap();
    }
    appender.append_written(&opened(7)).unwrap();
    appender.append_written(&settled(7)).unwrap();
    eventually("rows are committed", || process.lake.snapshot().interactions.rows() == 4).await;
    // The others were in flight when the process died.
    process.kill().await;
    drop(wal);
    let wal = open_wal(folder.path());
    let process = Process::start(&wal, folder.path(), open_store(&folder.path().join("lake"))).await.unwrap();
    eventually("orphans are settled", || process.lake.snapshot().interactions.rows() == 7).await;
    let lake = process.stop().await;
    let mut found = 0;
    for file in &lake.snapshot().payloads.files {
        for batch in read(&lake, file).await {
            let ids = batch.column_by_name("interaction_id").unwrap().as_string::<i32>();
            let requests = batch.column_by_name("request_body").unwrap().as_binary::<i32>();
            for (id, request) in ids.iter().zip(requests) {
                let number =
                    (1..=7).find(|number| interaction(*number).interaction_id.to_string() == id.unwrap()).unwrap();
                assert!(request.unwrap() == body(number), "call {number}");
                found += 1;
            }
        }
    }
    assert_eq!(found, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_request_that_cannot_be_read_again_is_told_as_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let wal = open_wal(folder.path());
    let process = Process::start(&wal, folder.path(), open_store(&folder.path().join("lake"))).await.unwrap();
    let appender = wal.appender();
    let lost = appender.append_durable(&opened(1)).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    // The disk loses a sector of what has been read once.
    for entry in std::fs::read_dir(folder.path().join("wal")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wal") {
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    appender.append_written(&settled(1)).unwrap();
    eventually("the call is a row", || process.lake.snapshot().interactions.rows() == 1).await;
    eventually("the loss is told", || process.lake.snapshot().files(Table::LogGaps).rows() == 1).await;
    let lake = process.stop().await;
    for file in &lake.snapshot().files(Table::LogGaps).files {
        for batch in read(&lake, file).await {
            let first_seq = batch.column_by_name("first_seq").unwrap().as_primitive::<Int64Type>().value(0);
            assert_eq!(first_seq.cast_unsigned(), lost);
        }
    }
}
