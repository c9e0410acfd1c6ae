//! The log through its public door.

mod crash;
mod fault;
mod faulty_disk;
mod ledger;
mod life;
mod schedule;

use std::path::Path;
use std::time::Duration;

use tollgate_interaction::Event;

use crate::{LogGap, Tail, TailItem, Wal, WalSettings};

/// A log with small segments.
pub(crate) fn settings(dir: &Path) -> WalSettings {
    WalSettings { segment_bytes: 8 << 10, quota_bytes: 64 << 20, ..WalSettings::new(dir) }
}

/// What a cursor found: `(epoch, seq, event)`, gaps, and how many events came before the end of history.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Found {
    pub(crate) events: Vec<(u64, u64, Event)>,
    pub(crate) gaps: Vec<LogGap>,
    pub(crate) history: Option<usize>,
}

impl Found {
    pub(crate) fn seqs(&self) -> Vec<(u64, u64)> {
        self.events.iter().map(|(epoch, seq, _)| (*epoch, *seq)).collect()
    }
}

/// Reads everything there is now.
pub(crate) fn drain(tail: &mut Tail) -> Found {
    let mut found = Found::default();
    while let Some(item) = tail.try_next().unwrap() {
        match item {
            TailItem::Event { id, event } => found.events.push((id.epoch, id.seq, event)),
            TailItem::Gap(gap) => found.gaps.push(gap),
            TailItem::EndOfHistory => assert_eq!(found.history.replace(found.events.len()), None),
        }
    }
    found
}

/// Opens the log in `dir`, reads everything and closes it.
pub(crate) fn reopen_and_drain(dir: &Path) -> Found {
    let wal = Wal::open(settings(dir)).unwrap();
    let found = drain(&mut wal.tail());
    wal.close().unwrap();
    found
}

/// Copies a log's directory, as a crash would leave it.
pub(crate) fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, to.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    to
}

/// Segment files, in order.
pub(crate) fn segment_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    files.sort();
    files
}

/// Waits until `done`.
pub(crate) fn eventually(mut done: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it did not happen within five seconds");
}
