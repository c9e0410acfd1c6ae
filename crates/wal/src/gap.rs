//! The name of what could not be read.

use std::fmt;
use std::path::PathBuf;

use tollgate_interaction::WriterId;

/// Events that the log once numbered, or was asked to take, and cannot hand out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogGap {
    /// The log.
    pub writer: WriterId,
    /// Its epoch.
    pub epoch: u64,
    /// First sequence number concerned.
    pub first_seq: u64,
    /// Last sequence number known to be concerned; never below [`LogGap::first_seq`].
    pub last_seq: u64,
    /// Whether events after [`LogGap::last_seq`] may be missing too: the damage took the end of an epoch with it.
    pub more_may_be_missing: bool,
    /// What happened.
    pub reason: GapReason,
    /// Where the unreadable bytes were copied to, if there were any and the copy succeeded.
    pub quarantine: Option<PathBuf>,
}

/// Why events are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// The checksum of a frame, or of its header, does not match its bytes.
    Damaged,
    /// The segment says that the events existed, but their frames are gone.
    Missing,
    /// They were released before this cursor came to them: whoever released them has them.
    Released,
    /// The frame is intact, but this version cannot read what it holds.
    Unreadable,
    /// There was no room, and the operator chose to go on without a record. The gap's own sequence number is that of
    /// the note in the log; the dropped events never had one.
    Dropped {
        /// Calls whose `opened` event was dropped.
        opened: u64,
        /// Calls whose `settled` event was dropped.
        settled: u64,
    },
}

impl GapReason {
    /// The text that stands in the lake.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            GapReason::Damaged => "damaged",
            GapReason::Missing => "missing",
            GapReason::Released => "released",
            GapReason::Unreadable => "unreadable",
            GapReason::Dropped { .. } => "dropped",
        }
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
