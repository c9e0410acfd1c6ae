//! What was said and whom it concerns stands in rows alone, which an erasure can reach: not in manifests, not in the
//! table's log, not in the log of the proof, not in what Parquet files keep beside their rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::file::reader::{FileReader, SerializedFileReader};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tollgate_flush::flusher::{Committed, Flusher};
use tollgate_interaction::{Event, Interaction, Opened, Payload, Settled};
use tollgate_lake::Lake;

use crate::writer::{STARTED_AT_US, flush_settings, interaction, open_store, open_wal, proof_settings};

/// In everything that is planted, and in nothing else.
const PLANTED: &[u8] = b"planted-";

fn planted(number: u64) -> (Event, Event) {
    let text = |what: &str| format!("planted-{what}-{number}");
    let interaction = Interaction {
        team: text("team"),
        user_ref: Some(text("user")),
        conversation_id: Some(text("conversation")),
        error_message: Some(text("message")),
        tags: vec![(text("tag"), text("value"))],
        ..interaction(number)
    };
    let payload = |what| Payload { content_type: "application/json".into(), body: text(what).into() };
    let opened = Opened { interaction: interaction.clone(), request: payload("prompt") };
    let settled = Settled { interaction, request: None, response: payload("answer"), salt: None };
    (Event::Opened(Box::new(opened)), Event::Settled(Box::new(settled)))
}

fn holds_planted(content: &[u8]) -> bool {
    content.windows(PLANTED.len()).any(|bytes| bytes == PLANTED)
}

fn files_under(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_under(&path, found) } else { found.push(path) }
    }
}

/// A Parquet file without the pages of its columns: filters, indexes and footer.
fn beside_the_rows(content: Vec<u8>) -> Vec<u8> {
    let reader = SerializedFileReader::new(bytes::Bytes::from(content.clone())).unwrap();
    let columns = reader.metadata().row_groups().iter().flat_map(|group| group.columns());
    let end = columns.map(|column| column.byte_range()).map(|(start, length)| start + length).max().unwrap();
    content[usize::try_from(end).unwrap()..].to_vec()
}

/// Looks at everything in the bucket; gives how many files it looked at.
fn assert_nothing_leaks(lake: &Path) -> usize {
    let mut files = Vec::new();
    files_under(lake, &mut files);
    for file in &files {
        let mut content = std::fs::read(file).unwrap();
        if file.extension().is_some_and(|extension| extension == "parquet")
            && !file.to_str().unwrap().contains("_delta_log")
        {
            content = beside_the_rows(content);
        }
        assert!(!holds_planted(&content), "{}", file.display());
        assert!(!holds_planted(file.to_str().unwrap().as_bytes()), "{}", file.display());
    }
    files.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_and_names_stand_in_rows_alone() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = folder.path().join("lake");
    let wal = open_wal(folder.path());
    let settings = flush_settings(folder.path());
    let (store, notify) = (open_store(&bucket), Arc::new(Notify::new()));
    let flusher = Flusher::new(settings, Arc::clone(&wal), store, Committed::HandedOver, notify).unwrap();
    let (status, shutdown) = (flusher.status(), CancellationToken::new());
    let running = tokio::spawn(flusher.run(shutdown.clone()));
    let appender = wal.appender();
    for number in 1..=40 {
        let (opened, settled) = planted(number);
        appender.append_durable(&opened).await.unwrap();
        appender.append_written(&settled).unwrap();
        if number % 10 == 0 {
            let handed_over = || status.borrow().rows >= number;
            crate::writer::eventually("rows are handed over", handed_over).await;
        }
    }
    shutdown.cancel();
    running.await.unwrap();
    assert!(bucket.join("inbox").is_dir() && assert_nothing_leaks(&bucket) >= 12, "with manifests");
    let lake = Lake::open_proven(open_store(&bucket), proof_settings(&folder.path().join("spool"))).await.unwrap();
    lake.commit_inbox().await.unwrap();
    lake.publish_checkpoint().await;
    assert!(assert_nothing_leaks(&bucket) >= 12, "committed");
    let report = lake.compact(STARTED_AT_US + 100 * 3_600_000_000, 100).await.unwrap();
    assert!(report.commits >= 2);
    assert_nothing_leaks(&bucket);
    let mut files = Vec::new();
    files_under(&bucket, &mut files);
    let stands_in_rows = files.iter().any(|file| holds_planted(&std::fs::read(file).unwrap()));
    assert!(stands_in_rows, "the test would find it: short texts stand in the pages as they are");
}
