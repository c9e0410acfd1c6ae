//! A record-keeping pack from a real lake, checked as an auditor would.

#![expect(clippy::unwrap_used, reason = "a test says by panicking what is wrong")]

#[path = "../../analytics/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use support::{MORNING_US, TestLog, call, calls, denied};
use tollgate_analytics::{Analytics, AnalyticsSettings};
use tollgate_evidence::{EvidenceError, PackSummary, RecordKeepingRequest, record_keeping};
use tollgate_interaction::Usd;

const DAY_US: i64 = 86_400_000_000;

fn request() -> RecordKeepingRequest {
    RecordKeepingRequest {
        from_us: MORNING_US,
        to_us: MORNING_US + DAY_US,
        generated_at_us: MORNING_US + DAY_US,
        organisation: "Bank <Example> & Sons".into(),
        system: "Know your customer".into(),
        ..RecordKeepingRequest::default()
    }
}

fn analytics(log: &TestLog) -> Arc<Analytics> {
    Analytics::new(Arc::clone(&log.lake), Some(Arc::clone(&log.hot)), AnalyticsSettings::new(support::transcribe))
        .unwrap()
}

async fn pack(log: &TestLog) -> PackSummary {
    record_keeping(&analytics(log), request(), &log.dir.path().join("pack")).await.unwrap()
}

fn sha256(path: &Path) -> String {
    Sha256::digest(fs_err::read(path).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_pack_holds_every_record_of_the_period_and_the_hash_of_every_file() {
    let log = TestLog::new().await;
    let mut before = call(6);
    before.interaction.started_at_us -= DAY_US;
    log.settle([calls(1..=4), vec![denied(5), before, call(7)]].concat());
    log.commit(1, 3).await;
    log.commit(4, 5).await;
    log.forget_committed();
    let summary = pack(&log).await;
    assert_eq!(summary.findings, Vec::<String>::new());
    assert_eq!(summary.totals.rows, 6);
    assert_eq!(summary.totals.cost_usd, Usd::new(5 * 1_500_000_000));
    assert_eq!(summary.totals.rows_by_outcome, BTreeMap::from([("denied".to_owned(), 1), ("success".to_owned(), 5)]));
    assert_eq!(summary.hot_rows, 2);
    for file in &summary.files {
        let path = summary.dir.join(&file.path);
        assert_eq!(sha256(&path), file.sha256, "{}", file.path);
        assert_eq!(fs_err::metadata(&path).unwrap().len(), file.size_bytes);
    }
    let sums = fs_err::read_to_string(summary.dir.join("SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), summary.files.len() - 1);
    let csv = fs_err::read_to_string(summary.dir.join("data/interactions.csv")).unwrap();
    assert_eq!(csv.lines().count(), 7);
    assert!(csv.contains("0.001500000000") && csv.contains("2026-11-23T10:00:00.001000Z"));
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs_err::read(summary.dir.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["control_totals"]["cost_usd"], "0.0075");
    assert_eq!(manifest["completeness"]["writers"][0]["last_seq"], 5);
}

#[tokio::test]
async fn the_page_needs_nothing_beside_itself_and_escapes_what_it_is_told() {
    let log = TestLog::new().await;
    log.settle(vec![call(1), denied(2)]);
    let summary = pack(&log).await;
    let page = fs_err::read_to_string(summary.dir.join("report.html")).unwrap();
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
    assert!(page.contains("Bank &#60;Example&#62; &#38; Sons"), "{}", &page[..4_000]);
    assert!(page.contains("budget_exceeded") && page.contains("Know your customer"));
    assert!(page.contains("UTC day of started_at; the partition"));
}

#[tokio::test]
async fn a_file_that_was_lost_is_a_finding() {
    let log = TestLog::new().await;
    log.settle(calls(1..=6));
    log.commit(1, 2).await;
    log.commit(5, 6).await;
    log.forget_committed();
    let summary = pack(&log).await;
    assert_eq!(summary.findings, ["writer `gw`, run 1: no file covers the sequence numbers 3-4"]);
    let page = fs_err::read_to_string(summary.dir.join("report.html")).unwrap();
    assert!(page.contains("The log is not as it should be."));
}

#[tokio::test]
async fn a_pack_overwrites_nothing_and_an_empty_period_is_refused() {
    let log = TestLog::new().await;
    log.settle(vec![call(1)]);
    let first = pack(&log).await;
    let again = record_keeping(&analytics(&log), request(), &first.dir).await;
    assert!(matches!(again, Err(EvidenceError::Exists { .. })));
    let backwards = RecordKeepingRequest { to_us: MORNING_US, ..request() };
    let empty = record_keeping(&analytics(&log), backwards, &log.dir.path().join("other")).await;
    assert!(matches!(empty, Err(EvidenceError::EmptyPeriod)));
}
