//! The fold from events to rows, the same when the log is replayed and when it is followed live: an `Opened` waits for its
//! `Settled`, which becomes a row. When the history has been read, whatever still waits was in flight when the process
//! died; it is settled as `interrupted` by appending to the log, never by making up a row beside it. What is beside the
//! calls passes through. Gaps that were met and that no event tells of yet are told of in the same way.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use tollgate_interaction::commitment::Salt;
use tollgate_interaction::schema::SCHEMA_VERSION;
use tollgate_interaction::{
    Event, EventId, GapEvent, Governance, Interaction, InteractionId, Opened, Outcome, Payload, Settled,
};
use tollgate_wal::EventPlace;

use crate::hot::{HotItem, HotRow};

/// Stable code, in `error_type`, of a call whose process died.
pub const INTERRUPTED: &str = "interrupted";

/// Calls that were opened and not yet settled, and how far the log has been read.
#[derive(Debug, Default)]
pub struct Fold {
    waiting: HashMap<InteractionId, Waiting>,
    /// Places in the log of everything in `waiting`, oldest first.
    places: BTreeSet<(u64, u64)>,
    /// Place of the last event read.
    read_to: (u64, u64),
    /// Losses that were met.
    gaps_met: Vec<GapEvent>,
    /// Losses that an event of the log tells of.
    gaps_told: Vec<GapEvent>,
}

#[derive(Debug)]
struct Waiting {
    place: (u64, u64),
    opened: Box<Opened>,
    /// Its `interrupted` has been appended and will come back out of the log.
    settled_by_us: bool,
    /// Set if the body of its request is not kept here, but read again when the call has settled.
    request_in_log: Option<EventPlace>,
}

impl Fold {
    /// Takes the next event of the log and gives the row it completes.
    pub fn apply(&mut self, id: EventId, event: Event) -> Option<HotItem> {
        let place = (id.epoch, id.seq);
        self.read_to = self.read_to.max(place);
        match event {
            Event::Opened(opened) => {
                self.places.insert(place);
                let waiting = Waiting { place, opened, settled_by_us: false, request_in_log: None };
                let replaced = self.waiting.insert(waiting.opened.interaction.interaction_id, waiting);
                if let Some(replaced) = replaced {
                    self.places.remove(&replaced.place);
                }
                None
            }
            Event::Settled(settled) => Some(self.complete(id, *settled).into()),
            Event::Governance(event) => {
                if let Governance::Gap(gap) = &*event {
                    self.gap_told(gap);
                }
                Some(HotItem::Event { id, event })
            }
        }
    }

    /// Forgets what a call that is still in flight was asked, which stands in the log at `place`: a hundred large requests
    /// would fill the memory until their answers have come.
    pub fn leave_request_in_log(&mut self, id: &InteractionId, place: EventPlace) {
        if let Some(waiting) = self.waiting.get_mut(id) {
            waiting.opened.request.body = Bytes::new();
            waiting.request_in_log = Some(place);
        }
    }

    /// Where the request of this call has to be read again; hand it back with its `Settled`.
    #[must_use]
    pub fn request_in_log(&self, id: &InteractionId) -> Option<EventPlace> {
        self.waiting.get(id)?.request_in_log.clone()
    }

    /// A loss was met in the log.
    pub fn gap_met(&mut self, gap: GapEvent) {
        self.gaps_met.push(gap);
    }

    /// Losses that were met and that no event tells of yet. Call it when the history has been read; report each one that
    /// was appended with [`Fold::gap_told`].
    #[must_use]
    pub fn untold_gaps(&self) -> Vec<GapEvent> {
        let told = |gap: &&GapEvent| self.gaps_told.iter().any(|told| told.is_same_loss(gap));
        self.gaps_met.iter().filter(|gap| !told(gap)).cloned().collect()
    }

    /// An event of the log tells of this loss.
    pub fn gap_told(&mut self, gap: &GapEvent) {
        self.gaps_met.retain(|met| !met.is_same_loss(gap));
        self.gaps_told.push(gap.clone());
    }

    fn complete(&mut self, id: EventId, settled: Settled) -> HotRow {
        let waiting = self.waiting.remove(&settled.interaction.interaction_id);
        let mut needs_log_from = (id.epoch, id.seq);
        let mut request = settled.request;
        if let Some(waiting) = waiting {
            self.places.remove(&waiting.place);
            needs_log_from = needs_log_from.min(waiting.place);
            request = request.or(Some(waiting.opened.request));
        }
        // The row is built with the columns of this version, whichever version recorded the call.
        let interaction = Interaction { schema_version: SCHEMA_VERSION, ..settled.interaction };
        HotRow {
            id,
            needs_log_from,
            interaction,
            request: request.unwrap_or_default(),
            response: settled.response,
            salt: settled.salt.unwrap_or_else(draw_salt),
        }
    }

    /// What to append for the calls of epochs before `epoch` that never settled, oldest first. They keep waiting until
    /// these events come back out of the log; report each one appended with [`Fold::orphan_appended`].
    #[must_use]
    pub fn orphans(&self, epoch: u64) -> Vec<Event> {
        let orphaned = |waiting: &&Waiting| waiting.place.0 < epoch && !waiting.settled_by_us;
        let mut orphans: Vec<&Waiting> = self.waiting.values().filter(orphaned).collect();
        orphans.sort_by_key(|waiting| waiting.place);
        orphans.into_iter().map(|waiting| interrupted(&waiting.opened)).collect()
    }

    /// The event that settles this orphan is in the log.
    pub fn orphan_appended(&mut self, id: &InteractionId) {
        if let Some(waiting) = self.waiting.get_mut(id) {
            waiting.settled_by_us = true;
        }
    }

    /// Oldest place in the log that is still needed here: everything before it has settled and been passed on.
    #[must_use]
    pub fn needs_log_from(&self) -> (u64, u64) {
        let next = (self.read_to.0, self.read_to.1 + 1);
        self.places.first().copied().map_or(next, |oldest| oldest.min(next))
    }

    /// Place of the last event read.
    #[must_use]
    pub fn read_to(&self) -> (u64, u64) {
        self.read_to
    }

    /// Calls in flight.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// What is known of a call whose process died: that it had been recorded and was about to go to its first target. When
/// it ended, and what the provider did, nobody saw; its end is its start, and it names that provider, so that its unknown
/// cost is counted as unknown.
fn interrupted(opened: &Opened) -> Event {
    let mut interaction = opened.interaction.clone();
    interaction.outcome = Outcome::Interrupted;
    interaction.ended_at_us = interaction.started_at_us;
    if interaction.provider.is_none() {
        let target = interaction.candidates.iter().find(|candidate| candidate.rejected_because.is_none());
        interaction.provider = target.map(|target| target.provider.clone());
    }
    interaction.error_type = Some(INTERRUPTED.to_owned());
    interaction.error_message =
        Some("the gateway stopped while this call was in flight; its usage is unknown".to_owned());
    let response = Payload::default();
    Event::Settled(Box::new(Settled { interaction, request: None, response, salt: Some(draw_salt()) }))
}

/// For calls whose event has none: those of a version that drew none, and those that nobody was there to settle.
fn draw_salt() -> Salt {
    let mut salt = Salt::default();
    if let Err(error) = getrandom::fill(&mut salt) {
        tracing::error!(%error, "the system gave no randomness: what this call said could be guessed from its commitment");
    }
    salt
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{event_id, interaction};

    fn opened(number: u64) -> Event {
        let request = Payload { content_type: "application/json".into(), body: "{}".into() };
        Event::Opened(Box::new(Opened { interaction: interaction(number), request }))
    }

    fn settled(number: u64) -> Event {
        let response = Payload::default();
        let salt = Some([number.to_le_bytes()[0]; 32]);
        Event::Settled(Box::new(Settled { interaction: interaction(number), request: None, response, salt }))
    }

    fn call(item: Option<HotItem>) -> HotRow {
        let Some(HotItem::Call(row)) = item else { panic!("not a call: {item:?}") };
        row
    }

    #[test]
    fn a_loss_is_told_of_once_however_often_it_is_met() {
        let mut fold = Fold::default();
        let gap = |at_us| GapEvent {
            at_us,
            writer: "gw".parse().unwrap(),
            epoch: 1,
            first_seq: 4,
            last_seq: 9,
            more_may_be_missing: false,
            reason: "damaged".to_owned(),
            dropped_opened: None,
            dropped_settled: None,
        };
        fold.gap_met(gap(100));
        assert_eq!(fold.untold_gaps(), [gap(100)]);
        fold.gap_told(&gap(100));
        assert!(fold.apply(event_id(2, 1), Governance::Gap(gap(100)).into()).is_some(), "a row of its own");
        fold.gap_met(gap(200));
        assert!(fold.untold_gaps().is_empty());
    }

    #[test]
    fn a_settled_call_carries_its_request_and_holds_the_log_from_where_it_opened() {
        let mut fold = Fold::default();
        assert!(fold.apply(event_id(1, 1), opened(1)).is_none());
        assert!(fold.apply(event_id(1, 2), opened(2)).is_none());
        let row = call(fold.apply(event_id(1, 3), settled(2)));
        assert_eq!((row.request.body.as_ref(), row.needs_log_from), (b"{}".as_slice(), (1, 2)));
        assert_eq!(fold.needs_log_from(), (1, 1), "the first call is still in flight");
        fold.apply(event_id(1, 4), settled(1)).unwrap();
        assert_eq!(fold.needs_log_from(), (1, 5));
    }

    #[test]
    fn a_call_whose_process_died_is_settled_once_through_the_log() {
        let mut fold = Fold::default();
        fold.apply(event_id(1, 1), opened(1));
        fold.apply(event_id(2, 1), opened(2));
        let mut orphans = fold.orphans(2);
        assert_eq!(orphans.len(), 1, "a call of this process is not an orphan");
        fold.orphan_appended(&orphans[0].interaction_id().unwrap());
        assert!(fold.orphans(2).is_empty());
        let row = call(fold.apply(event_id(2, 2), orphans.remove(0)));
        assert_eq!((row.interaction.outcome, row.request.body.as_ref()), (Outcome::Interrupted, b"{}".as_slice()));
        assert_eq!(row.interaction.ended_at_us, row.interaction.started_at_us, "never before it began");
        assert_eq!(fold.needs_log_from(), (2, 1));
    }
}
