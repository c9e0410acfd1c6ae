//! A disk that fails in every way the log must survive, or must admit that it did not.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::faulty_disk::{EINTR, EIO, FaultyDisk};
use super::{copy, drain, eventually, reopen_and_drain, segment_files, settings};
use crate::samples::{opened, settled};
use crate::{AppendError, DropCause, GapReason, NoRoom, OnFull, Wal, WalSettings};

fn open(dir: &Path) -> (Wal, FaultyDisk) {
    let disk = FaultyDisk::default();
    (Wal::open_on(Arc::new(disk.clone()), settings(dir)).unwrap(), disk)
}

fn seqs_until(last: u64) -> Vec<(u64, u64)> {
    (1..=last).map(|seq| (1, seq)).collect()
}

#[tokio::test]
async fn short_writes_are_continued() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, disk) = open(dir.path());
    disk.0.lock().short_bytes = Some(7);
    for number in 1..=20 {
        wal.appender().append_durable(&opened(number, 1000)).await.unwrap();
    }
    wal.close().unwrap();
    let found = reopen_and_drain(dir.path());
    assert_eq!((found.seqs(), found.gaps), (seqs_until(20), vec![]));
}

#[tokio::test]
async fn an_interrupted_write_is_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, disk) = open(dir.path());
    disk.0.lock().writes = [Some(EINTR), Some(EINTR), None].into();
    assert_eq!(wal.appender().append_durable(&opened(1, 10)).await, Ok(1));
    assert_eq!(wal.status().segments, 1);
}

#[tokio::test]
async fn a_full_disk_refuses_events_without_a_trace_and_takes_them_again_when_there_is_room() {
    for room_bytes in [0, 1, 24, 26, 700, 1500, 5000, 9000, 30_000] {
        let dir = tempfile::tempdir().unwrap();
        let (wal, disk) = open(dir.path());
        let appender = wal.appender();
        disk.0.lock().room_bytes = Some(room_bytes);
        let mut taken = Vec::new();
        for number in 0..40_u64 {
            let (opened, settled) = (opened(number, 900), settled(number, 500));
            match appender.append_durable(&opened).await {
                Ok(seq) => taken.push((1, seq, opened)),
                Err(error) => assert_eq!(error, AppendError::Full),
            }
            match appender.append_written(&settled) {
                Ok(seq) => taken.push((1, seq, settled)),
                Err(error) => assert_eq!(error, AppendError::Full),
            }
        }
        assert!(taken.len() < 80);
        disk.0.lock().room_bytes = None;
        let last = opened(99, 10);
        taken.push((1, appender.append_durable(&last).await.unwrap(), last));
        let live = drain(&mut wal.tail());
        assert_eq!((live.events, live.gaps), (taken.clone(), vec![]));
        wal.close().unwrap();
        let later = reopen_and_drain(dir.path());
        assert_eq!((later.events, later.gaps), (taken, vec![]));
    }
}

#[tokio::test]
async fn a_full_disk_is_told_until_it_has_room_again_even_if_nobody_appends() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, disk) = open(dir.path());
    assert_eq!((wal.status().no_room, wal.status().problem()), (None, None));
    disk.0.lock().room_bytes = Some(0);
    assert_eq!(wal.appender().append_durable(&opened(1, 10)).await, Err(AppendError::Full));
    let full = wal.status();
    assert_eq!((full.no_room, full.takes_calls()), (Some(NoRoom::Disk), false));
    assert!(full.problem().unwrap().contains("is full: calls are refused"), "{:?}", full.problem());
    disk.0.lock().room_bytes = None;
    std::thread::sleep(std::time::Duration::from_millis(1_050));
    assert_eq!((wal.status().no_room, wal.status().takes_calls()), (None, true));
    assert_eq!(
        std::fs::read_dir(dir.path())
            .unwrap()
            .filter(|entry| { entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("room") })
            .count(),
        0
    );
}

#[tokio::test]
async fn a_full_disk_that_fails_open_leaves_a_note_of_what_was_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let open = WalSettings { on_full: OnFull::FailOpen, ..settings(dir.path()) };
    let wal = Wal::open_on(Arc::new(disk.clone()), open).unwrap();
    disk.0.lock().room_bytes = Some(0);
    let full = AppendError::Dropped { cause: DropCause::Full };
    for number in 1..=3 {
        assert_eq!(wal.appender().append_durable(&opened(number, 10)).await, Err(full.clone()));
        assert_eq!(wal.appender().append_written(&settled(number, 10)), Err(full.clone()));
    }
    disk.0.lock().room_bytes = None;
    wal.close().unwrap();
    let found = reopen_and_drain(dir.path());
    let [gap] = &found.gaps[..] else { panic!("{found:?}") };
    assert_eq!(gap.reason, GapReason::Dropped { opened: 3, settled: 3 });
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_fsync_every_event_is_written_again_and_read_once() {
    for failing_sync in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let (wal, disk) = open(dir.path());
        let mut early = wal.tail();
        disk.0.lock().syncs = (0..=failing_sync).map(|call| (call == failing_sync).then_some(EIO)).collect();
        let mut tasks = JoinSet::new();
        for task in 0..4 {
            let appender = wal.appender();
            tasks.spawn(async move {
                for number in 0..20 {
                    appender.append_durable(&opened(task * 20 + number, 900)).await.unwrap();
                    appender.append_written(&settled(task * 20 + number, 10)).unwrap();
                }
            });
        }
        tasks.join_all().await;
        assert_eq!(wal.status().failure, None);
        let live = drain(&mut early);
        assert_eq!((live.seqs(), &live.gaps[..]), (seqs_until(160), &[][..]));
        // Killed now, with whatever the poisoned segment holds still in place.
        let found = reopen_and_drain(copy(dir.path()).path());
        assert_eq!((found.seqs(), &found.gaps[..]), (seqs_until(160), &[][..]));
        assert_eq!(found.events, live.events);
        wal.close().unwrap();
    }
}

#[tokio::test]
async fn what_a_failed_fsync_spoils_in_the_old_segment_is_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, disk) = open(dir.path());
    wal.appender().append_durable(&opened(1, 100)).await.unwrap();
    disk.0.lock().syncs = [Some(EIO)].into();
    disk.0.lock().sync_takes = Duration::from_millis(100);
    // All in the old segment before its fsync fails.
    for number in 2..=4 {
        wal.appender().append_written(&opened(number, 100)).unwrap();
    }
    wal.close().unwrap();
    let [poisoned, _rewritten] = &segment_files(dir.path())[..] else { panic!() };
    let whole = std::fs::read(poisoned).unwrap();
    let frame_bytes = (whole.len() - 1024) / 4;
    for frame in 1..4 {
        for place in [2, 100] {
            let killed = copy(dir.path());
            let mut bytes = whole.clone();
            bytes[1024 + frame * frame_bytes + place] ^= 1;
            std::fs::write(killed.path().join(poisoned.file_name().unwrap()), bytes).unwrap();
            let found = reopen_and_drain(killed.path());
            assert_eq!((found.seqs(), found.gaps), (seqs_until(4), vec![]));
            assert!(!killed.path().join("quarantine").exists());
        }
    }
}

#[tokio::test]
async fn a_second_failure_in_a_row_ends_the_log_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, disk) = open(dir.path());
    let appender = wal.appender();
    appender.append_durable(&opened(1, 10)).await.unwrap();
    disk.0.lock().syncs = vec![Some(EIO); 100].into();
    let error = appender.append_durable(&opened(2, 10)).await.unwrap_err();
    assert!(matches!(error, AppendError::Failed { .. }), "{error}");
    assert!(matches!(appender.append_written(&opened(3, 10)), Err(AppendError::Failed { .. })));
    assert!(wal.status().failure.is_some());
    assert!(wal.close().is_err());
}

#[tokio::test]
async fn a_failed_log_that_fails_open_counts_every_event_it_loses() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let open = WalSettings { on_full: OnFull::FailOpen, ..settings(dir.path()) };
    let wal = Wal::open_on(Arc::new(disk.clone()), open).unwrap();
    disk.0.lock().writes = vec![Some(EIO); 100].into();
    let broken = Err(AppendError::Dropped { cause: DropCause::Failed });
    assert_eq!(wal.appender().append_durable(&opened(1, 10)).await, broken);
    assert_eq!(wal.appender().append_written(&settled(1, 10)), broken);
    assert_eq!(wal.status().dropped, 2);
}

#[test]
fn a_failed_write_moves_the_log_to_a_new_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, disk) = open(dir.path());
    wal.appender().append_written(&opened(1, 100)).unwrap();
    eventually(|| wal.status().durable_seq == 1);
    disk.0.lock().writes = [Some(EIO)].into();
    assert_eq!(wal.appender().append_written(&opened(2, 100)), Ok(2));
    assert_eq!(wal.appender().append_written(&opened(3, 100)), Ok(3));
    assert_eq!(wal.status().segments, 2);
    assert_eq!(drain(&mut wal.tail()).seqs(), seqs_until(3));
}

#[test]
fn the_first_segment_of_an_epoch_keeps_its_link_when_it_is_rewritten() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::open(settings(dir.path())).unwrap();
    for number in 1..=20 {
        wal.appender().append_written(&opened(number, 900)).unwrap();
    }
    wal.close().unwrap();
    let (wal, disk) = open(dir.path());
    disk.0.lock().writes = [Some(EIO)].into();
    wal.appender().append_written(&opened(21, 900)).unwrap();
    wal.close().unwrap();
    let files = segment_files(dir.path());
    std::fs::File::options().write(true).open(&files[files.len() - 2]).unwrap().set_len(1100).unwrap();
    let found = reopen_and_drain(dir.path());
    let [gap] = &found.gaps[..] else { panic!("{:?}", found.gaps) };
    assert_eq!((gap.epoch, gap.last_seq, found.events.last().unwrap().0), (1, 20, 2));
}

#[test]
fn a_segment_that_cannot_be_created_does_not_end_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, disk) = open(dir.path());
    disk.0.lock().creations = [Some(EIO)].into();
    for number in 1..=20 {
        wal.appender().append_written(&opened(number, 900)).unwrap();
    }
    assert_eq!(drain(&mut wal.tail()).seqs(), seqs_until(20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_acknowledged_survives_a_loss_of_power_at_any_moment() {
    let two_failures = (0..20).map(|call| (call == 2 || call == 12).then_some(EIO)).collect();
    for failing_syncs in [VecDeque::new(), two_failures] {
        let dir = tempfile::tempdir().unwrap();
        let (wal, disk) = open(dir.path());
        disk.0.lock().syncs = failing_syncs;
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        for task in 0..6 {
            let (appender, acknowledged) = (wal.appender(), acknowledged.clone());
            tasks.spawn(async move {
                for number in 0..50 {
                    let seq = appender.append_durable(&opened(task * 50 + number, 1500)).await.unwrap();
                    acknowledged.lock().push((1, seq));
                    appender.append_written(&settled(task * 50 + number, 1500)).unwrap();
                }
            });
        }
        for sample in 0..12 {
            tokio::time::sleep(Duration::from_millis(sample % 4)).await;
            let promised = acknowledged.lock().clone();
            let found = reopen_and_drain(disk.lose_power(dir.path()).path());
            let seqs = found.seqs();
            let lost: Vec<_> = promised.iter().filter(|seq| seqs.binary_search(seq).is_err()).collect();
            assert!(lost.is_empty(), "{lost:?}; gaps {:?}", found.gaps);
        }
        tasks.join_all().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_fsync_of_a_segment_that_was_replaced_meanwhile_acknowledges_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, disk) = open(dir.path());
    disk.0.lock().sync_takes = Duration::from_millis(100);
    let before = disk.0.lock().sync_calls;
    let mut first = JoinSet::new();
    let appender = wal.appender();
    first.spawn(async move { appender.append_durable(&opened(1, 10)).await });
    eventually(|| disk.0.lock().sync_calls > before);
    disk.0.lock().writes = [Some(EIO)].into();
    assert_eq!(wal.appender().append_written(&opened(2, 10)), Ok(2));
    assert_eq!(first.join_all().await, [Ok(1)]);
    let found = reopen_and_drain(disk.lose_power(dir.path()).path());
    assert_eq!(found.seqs(), seqs_until(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_that_arrive_during_an_fsync_share_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, disk) = open(dir.path());
    disk.0.lock().sync_takes = Duration::from_millis(50);
    let before = disk.0.lock().sync_calls;
    let mut tasks = JoinSet::new();
    for number in 0..100 {
        let appender = wal.appender();
        tasks.spawn(async move { appender.append_durable(&opened(number, 10)).await.unwrap() });
    }
    tasks.join_all().await;
    // A hundred appends, each of which would have taken 50 ms: one starts, the others share the next few.
    let calls = disk.0.lock().sync_calls - before;
    assert!((1..=12).contains(&calls), "{calls}");
}

#[test]
fn a_written_append_does_not_wait_for_a_slow_fsync() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, disk) = open(dir.path());
    disk.0.lock().sync_takes = Duration::from_millis(400);
    wal.appender().append_written(&opened(1, 10)).unwrap();
    let before = disk.0.lock().sync_calls;
    eventually(|| disk.0.lock().sync_calls > before);
    // The fsync is under way, and stays so while all of these are written.
    for number in 2..=20 {
        wal.appender().append_written(&opened(number, 900)).unwrap();
    }
    assert_eq!(wal.status().durable_seq, 0);
}

#[test]
fn an_idle_log_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, disk) = open(dir.path());
    wal.appender().append_written(&opened(1, 10)).unwrap();
    eventually(|| wal.status().unsynced_bytes == 0);
    let before = disk.0.lock().sync_calls;
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(disk.0.lock().sync_calls, before);
}
