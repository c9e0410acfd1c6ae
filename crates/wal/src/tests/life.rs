//! A log's ordinary life: appending, reading, closing, opening again, releasing.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{copy, drain, eventually, reopen_and_drain, segment_files, settings};
use crate::samples::{opened, settled};
use crate::{AppendError, GapReason, NoRoom, OnFull, TailError, TailItem, Wal, WalError, WalSettings};

#[tokio::test]
async fn what_was_appended_is_read_back_in_order_by_every_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::open(settings(dir.path())).unwrap();
    let (appender, mut early) = (wal.appender(), wal.tail());
    for number in 1..=50 {
        let event = opened(number, usize::try_from(number).unwrap() * 100);
        assert_eq!(appender.append_durable(&event).await, Ok(2 * number - 1));
        assert_eq!(appender.append_written(&settled(number, 300)), Ok(2 * number));
    }
    let (early, late) = (drain(&mut early), drain(&mut wal.tail()));
    assert_eq!(early, late);
    assert_eq!(early.seqs(), (1..=100).map(|seq| (1, seq)).collect::<Vec<_>>());
    assert_eq!(early.events[98].2, opened(50, 5000));
    assert_eq!((early.history, early.gaps.len()), (Some(0), 0));
    assert!(wal.status().segments > 1);
}

#[tokio::test]
async fn every_opening_is_a_new_epoch_and_history_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut writers = Vec::new();
    for epoch in 1..=3 {
        let wal = Wal::open(settings(dir.path())).unwrap();
        assert_eq!(wal.epoch(), epoch);
        writers.push(wal.writer().clone());
        wal.appender().append_written(&opened(epoch, 10)).unwrap();
        let found = drain(&mut wal.tail());
        assert_eq!(found.seqs(), (1..=epoch).map(|epoch| (epoch, 1)).collect::<Vec<_>>());
        assert_eq!(found.history, Some(usize::try_from(epoch).unwrap() - 1));
        wal.close().unwrap();
    }
    assert!(writers.iter().all(|writer| *writer == writers[0]));
}

#[test]
fn epochs_without_events_leave_no_files_and_no_gaps() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::open(settings(dir.path())).unwrap();
    wal.appender().append_written(&opened(1, 10)).unwrap();
    wal.close().unwrap();
    for _ in 0..5 {
        assert_eq!(reopen_and_drain(dir.path()).gaps, []);
    }
    assert_eq!(segment_files(dir.path()).len(), 2);
    let wal = Wal::open(settings(dir.path())).unwrap();
    wal.appender().append_written(&opened(2, 10)).unwrap();
    let found = drain(&mut wal.tail());
    assert_eq!((found.seqs(), found.gaps), (vec![(1, 1), (7, 1)], vec![]));
}

#[test]
fn a_second_process_is_told_that_the_log_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let first = Wal::open(settings(dir.path())).unwrap();
    let error = Wal::open(settings(dir.path())).unwrap_err();
    assert!(matches!(error, WalError::InUse { .. }), "{error}");
    first.close().unwrap();
    Wal::open(settings(dir.path())).unwrap();
}

#[test]
fn a_directory_keeps_its_writer_and_refuses_another() {
    let dir = tempfile::tempdir().unwrap();
    let named = |name: &str| WalSettings { writer: Some(name.parse().unwrap()), ..settings(dir.path()) };
    assert_eq!(Wal::open(named("edge-1")).unwrap().writer().as_str(), "edge-1");
    assert_eq!(Wal::open(settings(dir.path())).unwrap().writer().as_str(), "edge-1");
    assert!(matches!(Wal::open(named("edge-2")), Err(WalError::OtherWriter { .. })));
}

#[test]
fn a_lost_boot_counter_is_not_counted_anew() {
    let dir = tempfile::tempdir().unwrap();
    Wal::open(settings(dir.path())).unwrap().close().unwrap();
    std::fs::remove_file(dir.path().join("epoch")).unwrap();
    assert!(matches!(Wal::open(settings(dir.path())), Err(WalError::Epoch { .. })));
}

#[test]
fn a_written_event_is_in_the_file_before_any_fsync_and_survives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::open(settings(dir.path())).unwrap();
    for number in 1..=20 {
        wal.appender().append_written(&settled(number, 2000)).unwrap();
        let killed = copy(dir.path());
        assert_eq!(reopen_and_drain(killed.path()).seqs().len() as u64, number);
    }
}

#[test]
fn a_written_event_reaches_the_disk_soon_although_nobody_waits() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::open(settings(dir.path())).unwrap();
    wal.appender().append_written(&settled(1, 10)).unwrap();
    eventually(|| wal.status().durable_seq == 1 && wal.status().unsynced_bytes == 0);
}

#[tokio::test]
async fn a_written_event_carries_the_buffered_ones_before_it_along() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::open(settings(dir.path())).unwrap();
    let appender = wal.appender();
    for number in 1..=200 {
        let event = opened(number, 10);
        let durable = appender.append_durable(&event);
        let mut durable = std::pin::pin!(durable);
        // The first poll takes the event; whether it is written yet is up to the sync thread.
        let polled = futures_poll(durable.as_mut()).await;
        let seq = appender.append_written(&settled(number, 10)).unwrap();
        assert_eq!(seq, 2 * number);
        let opened_seq = match polled {
            Some(result) => result,
            None => durable.await,
        };
        assert_eq!(opened_seq, Ok(2 * number - 1));
    }
    let seqs = drain(&mut wal.tail()).seqs();
    assert_eq!(seqs, (1..=400).map(|seq| (1, seq)).collect::<Vec<_>>());
}

/// Polls once.
async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cursor_sees_everything_in_order_while_many_tasks_append() {
    const TASKS: u64 = 8;
    const EACH: u64 = 250;
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::open(WalSettings { segment_bytes: 32 << 10, ..settings(dir.path()) }).unwrap();
    let mut tail = wal.tail();
    let mut reader = JoinSet::new();
    reader.spawn(async move {
        let mut seqs = Vec::new();
        while seqs.len() as u64 != TASKS * EACH * 2 {
            match tail.next().await.unwrap() {
                TailItem::Event { id, .. } => seqs.push(id.seq),
                TailItem::EndOfHistory => {}
                TailItem::Gap(gap) => panic!("{gap:?}"),
            }
        }
        seqs
    });
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let appender = wal.appender();
        tasks.spawn(async move {
            let mut seqs = Vec::new();
            for number in 0..EACH {
                seqs.push(appender.append_durable(&opened(task * EACH + number, 700)).await.unwrap());
                seqs.push(appender.append_written(&settled(task * EACH + number, 500)).unwrap());
            }
            assert!(seqs.is_sorted());
            seqs
        });
    }
    let mut given = tasks.join_all().await.concat();
    given.sort_unstable();
    let all: Vec<_> = (1..=TASKS * EACH * 2).collect();
    assert_eq!(given, all);
    assert_eq!(reader.join_all().await.concat(), all);
    wal.close().unwrap();
    assert_eq!(reopen_and_drain(dir.path()).events.len(), all.len());
}

#[tokio::test]
async fn a_waiting_cursor_wakes_for_a_new_event_and_for_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::open(settings(dir.path())).unwrap();
    let mut tail = wal.tail().with_linger(Duration::from_millis(5));
    assert_eq!(tail.next().await.unwrap(), TailItem::EndOfHistory);
    let appender = wal.appender();
    let append = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        appender.append_written(&opened(1, 10)).unwrap();
    };
    let (item, ()) = tokio::join!(tail.next(), append);
    assert!(matches!(item.unwrap(), TailItem::Event { id, .. } if id.seq == 1));
    appender.append_written(&opened(2, 10)).unwrap();
    wal.close().unwrap();
    assert!(matches!(tail.next().await.unwrap(), TailItem::Event { id, .. } if id.seq == 2));
    assert!(matches!(tail.next().await, Err(TailError::Closed)));
    assert_eq!(appender.append_written(&opened(3, 10)), Err(AppendError::Closed));
}

#[test]
fn only_segments_whose_events_are_all_before_the_mark_are_released() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::open(settings(dir.path())).unwrap();
    for number in 1..=40 {
        wal.appender().append_written(&opened(number, 1000)).unwrap();
    }
    wal.close().unwrap();
    let wal = Wal::open(settings(dir.path())).unwrap();
    wal.appender().append_written(&opened(41, 1000)).unwrap();
    let before = wal.status();
    for seq in 1..=40 {
        wal.release_before(1, seq).unwrap();
        let oldest = drain(&mut wal.tail()).seqs()[0];
        assert!(oldest <= (1, seq) && oldest.1 + 9 > seq, "{oldest:?} {seq}");
    }
    wal.release_before(1, 41).unwrap();
    assert_eq!(drain(&mut wal.tail()).seqs(), [(2, 1)]);
    wal.release_before(9, 9).unwrap();
    assert_eq!(drain(&mut wal.tail()).seqs(), [(2, 1)]);
    assert!(wal.status().size_bytes < before.size_bytes / 10);
    assert_eq!((wal.status().segments, segment_files(dir.path()).len()), (1, 1));
}

#[test]
fn a_cursor_that_is_overtaken_by_a_release_says_what_it_missed() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::open(settings(dir.path())).unwrap();
    wal.appender().append_written(&opened(1, 10)).unwrap();
    let mut slow = wal.tail();
    assert_eq!(drain(&mut slow).seqs(), [(1, 1)]);
    for number in 2..=40 {
        wal.appender().append_written(&opened(number, 1000)).unwrap();
    }
    wal.release_before(1, 40).unwrap();
    let found = drain(&mut slow);
    let [gap] = &found.gaps[..] else { panic!("{:?}", found.gaps) };
    assert_eq!(gap.reason, GapReason::Released);
    // The segment it had open was still readable.
    let before = found.seqs().iter().take_while(|(_, seq)| *seq < gap.first_seq).count() as u64;
    assert_eq!(before + 2, gap.first_seq);
    assert_eq!(found.events.len() as u64 + gap.last_seq - gap.first_seq + 1, 39);
}

#[tokio::test]
async fn a_full_log_refuses_new_calls_first_and_takes_events_again_after_a_release() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::open(WalSettings { quota_bytes: 32 << 10, ..settings(dir.path()) }).unwrap();
    let appender = wal.appender();
    let mut number = 0;
    let refused = loop {
        number += 1;
        if let Err(error) = appender.append_durable(&opened(number, 1000)).await {
            break error;
        }
        assert!(number < 100);
    };
    assert_eq!(refused, AppendError::Full);
    assert!(!refused.may_proceed());
    assert_eq!((wal.status().no_room, wal.status().takes_calls()), (Some(NoRoom::Quota), false));
    let last = appender.append_written(&settled(1, 1000)).unwrap();
    assert_eq!(last, number);
    assert!(wal.status().size_bytes <= (32 << 10) + (8 << 10));
    wal.release_before(1, last).unwrap();
    assert_eq!(wal.status().no_room, None);
    assert_eq!(appender.append_durable(&opened(99, 1000)).await, Ok(last + 1));
    assert_eq!(drain(&mut wal.tail()).gaps, []);
}

#[tokio::test]
async fn a_log_that_fails_open_counts_what_it_drops_and_notes_it_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let quota = WalSettings { quota_bytes: 32 << 10, on_full: OnFull::FailOpen, ..settings(dir.path()) };
    let wal = Wal::open(quota).unwrap();
    let appender = wal.appender();
    let mut last = 0;
    let mut dropped = 0;
    for number in 0..60 {
        match appender.append_durable(&opened(number, 1000)).await {
            Ok(seq) => last = seq,
            Err(error) => {
                assert!(error.may_proceed(), "{error}");
                dropped += 1;
            }
        }
    }
    assert_eq!(wal.status().dropped, dropped);
    wal.release_before(1, last).unwrap();
    assert_eq!(appender.append_durable(&opened(99, 10)).await, Ok(last + 2));
    let found = drain(&mut wal.tail());
    let [gap] = &found.gaps[..] else { panic!("{:?}", found.gaps) };
    assert_eq!((gap.first_seq, gap.last_seq), (last + 1, last + 1));
    assert_eq!(gap.reason, GapReason::Dropped { opened: dropped, settled: 0 });
}

#[test]
fn a_quota_without_room_for_two_segments_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let tight = WalSettings { quota_bytes: (16 << 10) - 1, ..settings(dir.path()) };
    assert!(matches!(Wal::open(tight), Err(WalError::Quota { .. })));
}

#[test]
fn an_event_larger_than_a_segment_gets_one_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::open(settings(dir.path())).unwrap();
    let big = crate::samples::opened_with(2, crate::samples::noise(100_000));
    for event in [&opened(1, 10), &big, &opened(3, 10)] {
        wal.appender().append_written(event).unwrap();
    }
    let found = drain(&mut wal.tail());
    assert_eq!(found.events[1].2, big);
    assert_eq!((found.seqs().len(), wal.status().segments), (3, 3));
}
