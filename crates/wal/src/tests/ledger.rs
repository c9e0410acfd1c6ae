//! What a log has promised, kept beside it by a test, and what a reader must therefore find.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_interaction::Event;

use super::Found;
use crate::{GapReason, LogGap};

/// Epoch and sequence number.
pub(crate) type Place = (u64, u64);

/// An append that returned a number.
#[derive(Clone, Copy, Debug)]
struct Promise {
    /// Which event it was; no two have the same number.
    event: u64,
    /// Known to be on the disk: nothing but damage to synced bytes may take it away.
    durable: bool,
    /// Written by a log that failed: what readers find may stand in the kernel's cache alone.
    cached: bool,
    /// A reader was told that it is gone.
    lost: bool,
}

/// Whatever may excuse a loss.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Excuses {
    /// The power failed, or the log did after the kernel had dropped what it had written: what was not durable may be
    /// missing, and what was refused may be there.
    pub(crate) unsynced_lost: bool,
    /// An fsync failed and nobody wrote the frames again: what is found may stand in the cache alone.
    pub(crate) cache_only: bool,
    /// The test damaged what was synced: durable events may be missing too, within gaps.
    pub(crate) synced_damaged: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    promises: BTreeMap<Place, Promise>,
    /// Events whose append failed, or did not return: they may be in the log, once.
    undecided: BTreeSet<u64>,
    /// Events that were refused: they may not be in the log.
    refused: BTreeSet<u64>,
    /// Everything before was released.
    released_before: Place,
    /// What the last reader was told.
    gaps: Vec<LogGap>,
}

/// Which event this is.
pub(crate) fn number_of(event: &Event) -> u64 {
    let interaction = if let Event::Opened(opened) = event {
        &opened.interaction
    } else if let Event::Settled(settled) = event {
        &settled.interaction
    } else {
        panic!("no test appended {event:?}");
    };
    interaction.usage.input_tokens.unwrap()
}

/// `Err` with what is said if `holds` is not true: an assertion that a failing case can be shrunk by.
macro_rules! hold {
    ($holds:expr, $($said:tt)+) => {
        if !$holds {
            return Err(format!($($said)+));
        }
    };
}
pub(crate) use hold;

impl Ledger {
    /// An append has returned `place`.
    pub(crate) fn promise(&mut self, place: Place, event: u64, durable: bool) -> Result<(), String> {
        let earlier = self.promises.insert(place, Promise { event, durable, cached: false, lost: false });
        hold!(earlier.is_none(), "{place:?} was given out twice: {earlier:?}, {event}");
        Ok(())
    }

    /// Nobody can say whether `event` is in the log.
    pub(crate) fn undecided(&mut self, event: u64) {
        self.undecided.insert(event);
    }

    /// `event` is not in the log.
    pub(crate) fn refused(&mut self, event: u64) {
        self.refused.insert(event);
    }

    /// The log says that its events of `epoch` are on the disk up to `seq`.
    pub(crate) fn durable_until(&mut self, epoch: u64, seq: u64) {
        self.promises.range_mut((epoch, 0)..=(epoch, seq)).for_each(|(_, promise)| promise.durable = true);
    }

    /// Events before `place` were released.
    pub(crate) fn released_before(&mut self, place: Place) {
        self.released_before = self.released_before.max(place);
    }

    /// Whether `place` was released.
    pub(crate) fn is_released(&self, place: Place) -> bool {
        place < self.released_before
    }

    /// Number of the event that was promised to be at `place`.
    pub(crate) fn event_at(&self, place: Place) -> Option<u64> {
        Some(self.promises.get(&place)?.event)
    }

    /// Last number promised in `epoch`; 0 if none.
    pub(crate) fn last_seq(&self, epoch: u64) -> u64 {
        self.promises.range((epoch, 0)..=(epoch, u64::MAX)).next_back().map_or(0, |((_, seq), _)| *seq)
    }

    /// Some place that was promised.
    pub(crate) fn some_place(&self, choice: u64) -> Option<Place> {
        let index = usize::try_from(choice % self.promises.len().max(1) as u64).unwrap();
        self.promises.keys().nth(index).copied()
    }

    /// Compares what a reader has found after an opening with what was promised. What it found counts as durable from
    /// here on, for whoever opens a log syncs it first.
    pub(crate) fn inspect(&mut self, found: &Found, excuses: Excuses) -> Result<(), String> {
        every_number_is_found_once(found)?;
        self.nothing_was_made_up(found, excuses)?;
        self.nothing_is_missing(found, excuses)?;
        let is_excused = excuses.unsynced_lost || excuses.synced_damaged;
        let new_gap = found.gaps.iter().find(|gap| !is_note(gap) && !self.gaps.contains(gap));
        hold!(is_excused || new_gap.is_none(), "nothing was damaged, and there is a new gap: {new_gap:?}");
        self.gaps = found.gaps.clone();
        Ok(())
    }

    fn nothing_was_made_up(&mut self, found: &Found, excuses: Excuses) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for (epoch, seq, event) in &found.events {
            let (place, event) = ((*epoch, *seq), number_of(event));
            hold!(seen.insert(event), "event {event} is found twice, again at {place:?}");
            if let Some(promise) = self.promises.get_mut(&place) {
                hold!(promise.event == event, "{place:?} holds {event} instead of {}", promise.event);
                // What was gone from the cache of a broken disk may stand on its platter.
                let may_return = excuses.synced_damaged || promise.cached;
                hold!(!promise.lost || may_return, "{place:?} was lost and is back");
                promise.cached |= excuses.cache_only;
                promise.durable |= !promise.cached;
                continue;
            }
            let came_back = excuses.unsynced_lost && self.refused.remove(&event);
            hold!(self.undecided.remove(&event) || came_back, "{place:?} holds {event}, which is not in the log");
            self.promises.insert(
                place,
                Promise { event, durable: !excuses.cache_only, cached: excuses.cache_only, lost: false },
            );
        }
        Ok(())
    }

    fn nothing_is_missing(&mut self, found: &Found, excuses: Excuses) -> Result<(), String> {
        let seqs = found.seqs();
        let begin = found_places(found).first().map(|(first, _)| *first);
        let (mut vanished, released_before) = (Vec::new(), self.released_before);
        for (place, promise) in &mut self.promises {
            if *place < released_before || seqs.binary_search(place).is_ok() {
                continue;
            }
            let (durable, gaps) = (promise.durable, &found.gaps);
            let is_excused = promise.lost || excuses.synced_damaged || !durable && excuses.unsynced_lost;
            hold!(is_excused, "{place:?} was acknowledged (durable: {durable}) and is not found; gaps: {gaps:?}");
            if is_named(found, *place) {
                promise.lost = true;
                promise.cached |= excuses.cache_only;
                continue;
            }
            // Who was told once need not be told by a log of which nothing from before it, or nothing at all, is left.
            if promise.lost && begin.is_none_or(|begin| *place < begin) {
                continue;
            }
            let may_vanish = !durable && excuses.unsynced_lost;
            hold!(may_vanish, "{place:?} (durable: {durable}) is not found, and no gap names it: {gaps:?}");
            let behind = seqs.iter().find(|(epoch, seq)| *epoch == place.0 && *seq > place.1);
            hold!(behind.is_none(), "{place:?} is not found, {behind:?} is, and no gap is between: {gaps:?}");
            vanished.push(*place);
        }
        // The end of an epoch that never reached the disk: as far as the log knows, it was never there.
        self.promises.retain(|place, _| !vanished.contains(place));
        Ok(())
    }
}

fn is_note(gap: &LogGap) -> bool {
    matches!(gap.reason, GapReason::Dropped { .. })
}

/// First and last place of each event and each gap, in order.
fn found_places(found: &Found) -> Vec<(Place, Place)> {
    let events = found.events.iter().map(|(epoch, seq, _)| ((*epoch, *seq), (*epoch, *seq)));
    let gaps = found.gaps.iter().map(|gap| ((gap.epoch, gap.first_seq), (gap.epoch, gap.last_seq)));
    let mut places: Vec<_> = events.chain(gaps).collect();
    places.sort_unstable();
    places
}

fn every_number_is_found_once(found: &Found) -> Result<(), String> {
    hold!(found.seqs().is_sorted_by(|one, other| one < other), "out of order: {:?}", found.seqs());
    let places = found_places(found);
    for pair in places.windows(2) {
        let [(_, before), (after, _)] = pair else { continue };
        let follows = if before.0 == after.0 { after.1 == before.1 + 1 } else { after.1 == 1 };
        hold!(follows, "{after:?} is found behind {before:?}; gaps: {:?}", found.gaps);
    }
    let backwards = found.gaps.iter().find(|gap| gap.first_seq > gap.last_seq);
    hold!(backwards.is_none(), "{backwards:?}");
    Ok(())
}

fn is_named(found: &Found, (epoch, seq): Place) -> bool {
    found
        .gaps
        .iter()
        .filter(|gap| gap.epoch == epoch && gap.first_seq <= seq)
        .any(|gap| seq <= gap.last_seq || gap.more_may_be_missing)
}
