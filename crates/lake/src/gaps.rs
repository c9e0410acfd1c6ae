//! Manifests that are not in the inbox although later ones of the same log are. Committing the later ones moves the
//! watermark past the earlier, which would then be taken for committed and deleted: their rows would be lost. So what comes
//! after a gap waits until the gap has been there for a while.
//!
//! A writer puts its manifests one after the other, so most gaps are none: another process has committed the earlier one
//! and deleted it, which the log tells; or the listing missed it, since a local folder is read in pieces while files are
//! added, a listing of a bucket comes in pages, and some servers list what was put only a moment later. A gap that stays is
//! a manifest that was rejected or removed. It blocks nobody for longer than [`PATIENCE`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tollgate_flush::store::Store;
use tollgate_flush::{Watermarks, committed_seq};
use tollgate_interaction::WriterId;

use crate::commit::{self, Inbox, Received};
use crate::error::LakeError;
use crate::log::TableLog;

/// How long a gap must have been seen before it is believed. S3, Azure, Google and local folders list what was put before
/// the listing began; this is for those that promise less.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first row after a gap: writer, epoch, sequence number.
type AfterGap = (WriterId, u64, u64);

/// The gaps of the last listing and when each was first seen.
#[derive(Debug, Default)]
pub(crate) struct Gaps(BTreeMap<AfterGap, Instant>);

impl Gaps {
    /// Reads the inbox, without the manifests that come after a gap which may be none. Takes in what other processes have
    /// committed if there seems to be one.
    pub(crate) async fn read_inbox(
        &mut self,
        store: &Store,
        interactions: &mut TableLog,
        now: Instant,
    ) -> Result<Inbox, LakeError> {
        let mut inbox = commit::read_inbox(store).await?;
        if !after_gaps(&inbox.received, &interactions.watermarks).is_empty() {
            // After the inbox was read: what another process had deleted from it is in the log by now.
            interactions.refresh().await?;
        }
        let unproved = self.unproved(after_gaps(&inbox.received, &interactions.watermarks), now);
        inbox.received.retain(|each| !unproved.iter().any(|gap| is_beyond(each, gap)));
        Ok(inbox)
    }

    /// Of the gaps found now, those that are not to be believed yet.
    fn unproved(&mut self, found: BTreeSet<AfterGap>, now: Instant) -> Vec<AfterGap> {
        self.0.retain(|gap, _| found.contains(gap));
        let mut unproved = Vec::new();
        for gap in found {
            let first_seen = *self.0.entry(gap.clone()).or_insert(now);
            if now.duration_since(first_seen) < PATIENCE {
                unproved.push(gap);
            }
        }
        unproved
    }
}

fn is_beyond(each: &Received, (writer, epoch, first_seq): &AfterGap) -> bool {
    let manifest = &each.manifest;
    manifest.writer == *writer && manifest.epoch == *epoch && manifest.first_seq >= *first_seq
}

fn after_gaps(received: &[Received], watermarks: &Watermarks) -> BTreeSet<AfterGap> {
    let mut reached: BTreeMap<(&WriterId, u64), u64> = BTreeMap::new();
    let mut gaps = BTreeSet::new();
    for each in received {
        let manifest = &each.manifest;
        let (writer, epoch) = (&manifest.writer, manifest.epoch);
        let before = reached.entry((writer, epoch)).or_insert_with(|| committed_seq(watermarks, writer, epoch));
        if manifest.first_seq > *before + 1 {
            gaps.insert((writer.clone(), epoch, manifest.first_seq));
        }
        *before = (*before).max(manifest.last_seq);
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(writer: &str, first_seq: u64) -> AfterGap {
        (writer.parse().unwrap(), 1, first_seq)
    }

    #[test]
    fn a_gap_is_believed_when_it_has_lasted() {
        let (mut gaps, now) = (Gaps::default(), Instant::now());
        let found = BTreeSet::from([gap("one", 5), gap("other", 9)]);
        assert_eq!(gaps.unproved(found.clone(), now).len(), 2);
        let one = BTreeSet::from([gap("one", 5)]);
        assert_eq!(gaps.unproved(one.clone(), now + PATIENCE / 2), [gap("one", 5)]);
        assert_eq!(gaps.unproved(found, now + PATIENCE), [gap("other", 9)], "the other was closed in between");
        assert_eq!(gaps.unproved(one, now + PATIENCE), []);
    }
}
