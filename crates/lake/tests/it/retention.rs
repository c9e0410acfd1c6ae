//! Retention: what expires goes, what is held stays, and whoever verifies finds the reason for what is missing.

use tollgate_interaction::{ControlEvent, Governance};
use tollgate_lake::audit::{ProblemKind, VerifySettings, verify};
use tollgate_lake::retain::{HoldScope, RetentionClass, RetentionPolicy};
use tollgate_lake::{Lake, Mode};

use crate::writer::{Process, STARTED_AT_US, eventually, open_store, open_wal};

const DAY_US: i64 = 86_400_000_000;

fn policy(payload_days: u32, record_days: Option<u32>, holds: Vec<HoldScope>) -> RetentionPolicy {
    let class = RetentionClass { name: "default".into(), teams: vec![], payload_days: Some(payload_days), record_days };
    RetentionPolicy { classes: vec![class], holds }
}

async fn process_with_calls(folder: &std::path::Path) -> Process {
    let wal = open_wal(folder);
    let process = Process::start(&wal, folder, open_store(&folder.join("lake"))).await.unwrap();
    // The tenth call starts a millisecond after midnight: on the second of two days.
    for first in [1, 6, 11, 16] {
        process.record(first..first + 5).await;
        eventually("rows are committed", || process.lake.snapshot().interactions.rows() == first + 4).await;
    }
    process
}

async fn problems(folder: &std::path::Path, key: &str) -> (Vec<ProblemKind>, u64, u64) {
    let lake = Lake::open(open_store(&folder.join("lake")), Mode::ReadOnly).await.unwrap();
    let settings = VerifySettings { keys: vec![key.to_owned()], ..VerifySettings::default() };
    let found = verify(lake, settings).await.unwrap();
    (found.problems.iter().map(|problem| problem.kind).collect(), found.payloads_missing, found.expired_batches)
}

async fn announce(process: &Process, expiries: &[tollgate_lake::retain::Expiry]) {
    for expiry in expiries.iter().filter(|expiry| expiry.rows > 0) {
        let event = ControlEvent {
            event_id: expiry.subject(),
            at_us: STARTED_AT_US,
            tenant: String::new(),
            actor: "retention".into(),
            action: expiry.action().into(),
            subject: expiry.subject(),
            detail: String::new(),
        };
        process.wal.appender().append_durable(&Governance::Control(event).into()).await.unwrap();
    }
    let events = process.lake.snapshot().control_events.rows();
    let wanted = events + expiries.iter().filter(|expiry| expiry.rows > 0).count() as u64;
    eventually("the announcement is in the lake", || process.lake.snapshot().control_events.rows() == wanted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_expires_after_it_was_announced_and_the_proof_still_holds() {
    let folder = tempfile::tempdir().unwrap();
    let process = process_with_calls(folder.path()).await;
    let key = process.lake.proof().borrow().public_key.clone();
    let now_us = STARTED_AT_US + 40 * DAY_US;
    let rules = policy(30, None, vec![]);
    assert!(process.lake.expired(&rules, STARTED_AT_US + 20 * DAY_US).await.unwrap().is_empty());
    let expiries = process.lake.expired(&rules, now_us).await.unwrap();
    let listed: Vec<_> = expiries.iter().map(|expiry| (expiry.table, expiry.day.as_str(), expiry.rows)).collect();
    assert_eq!(listed, [("payloads", "2026-11-23", 9), ("payloads", "2026-11-24", 11)]);
    assert_eq!(process.lake.snapshot().payloads.rows(), 20, "a list takes nothing away");
    announce(&process, &expiries).await;
    let done = process.lake.expire(&rules, &expiries, now_us).await.unwrap();
    assert_eq!(done.rows, 20);
    let snapshot = process.lake.snapshot();
    assert_eq!((snapshot.payloads.rows(), snapshot.interactions.rows()), (0, 20), "the records stay");
    process.stop().await;
    assert_eq!(problems(folder.path(), &key).await, (vec![], 20, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_stays_and_what_nobody_announced_is_found_missing() {
    let folder = tempfile::tempdir().unwrap();
    let process = process_with_calls(folder.path()).await;
    let key = process.lake.proof().borrow().public_key.clone();
    let now_us = STARTED_AT_US + 400 * DAY_US;
    // A hold on a part of the first day, and on the whole second one.
    let held = HoldScope { team: None, from_us: Some(STARTED_AT_US + 501), to_us: None };
    let rules = policy(30, Some(200), vec![held]);
    let expiries = process.lake.expired(&rules, now_us).await.unwrap();
    let of = |table: &str| {
        expiries.iter().filter(|expiry| expiry.table == table).map(|e| (e.rows, e.held)).collect::<Vec<_>>()
    };
    assert_eq!(of("payloads"), [(5, 4), (0, 11)]);
    assert_eq!(of("interactions"), [(5, 4), (0, 11)]);
    assert_eq!(process.lake.expire(&rules, &expiries, now_us).await.unwrap().rows, 10);
    let snapshot = process.lake.snapshot();
    assert_eq!((snapshot.payloads.rows(), snapshot.interactions.rows()), (15, 15));
    let (found, ..) = problems(folder.path(), &key).await;
    assert!(found.contains(&ProblemKind::BatchRows), "{found:?}");
    announce(&process, &expiries).await;
    process.stop().await;
    assert_eq!(problems(folder.path(), &key).await, (vec![], 0, 1), "announced, if late");
}
