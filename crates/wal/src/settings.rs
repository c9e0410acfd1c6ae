//! What the operator decides about the log.

use std::path::PathBuf;

use tollgate_interaction::WriterId;

/// Where the log lives and how much of the disk it may take.
#[derive(Clone, Debug)]
pub struct WalSettings {
    /// Directory of this log alone; created if missing.
    pub dir: PathBuf,
    /// Name of the log. `None` keeps the one in `dir/writer`, or draws one and keeps it there.
    pub writer: Option<WriterId>,
    /// A segment is closed before it grows past this size (a larger frame gets a segment of its own).
    pub segment_bytes: u64,
    /// Size of all segments together at which new events are refused; at least twice [`WalSettings::segment_bytes`].
    pub quota_bytes: u64,
    /// What happens to an event when there is no room for it.
    pub on_full: OnFull,
}

impl WalSettings {
    /// Segments of 64 MiB, 8 GiB of them, fail closed.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        WalSettings {
            dir: dir.into(),
            writer: None,
            segment_bytes: 64 << 20,
            quota_bytes: 8 << 30,
            on_full: OnFull::FailClosed,
        }
    }
}

/// What to do with an event that cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// Refuse it: whoever appends must not go on.
    FailClosed,
    /// Drop it, count it, and write the count to the log as soon as there is room again: whoever appends may go on.
    FailOpen,
}
