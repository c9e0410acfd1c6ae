//! What a row says of the route that its call took.

use tollgate_interaction::Share;
use tollgate_policy::route::{Conduct, Layout, Noted, Offer as _, Rest, Seat, Strategy, UNKNOWN_TARGET, WhyNot};

use super::known::{Known, Target};
use super::row::{LoggedReading, Row};

/// The route of a logged call.
pub(super) struct Logged<'a> {
    /// Its targets in the order of the route; where the row does not tell that, in the order they were preferred.
    pub(super) seats: Vec<LoggedSeat<'a>>,
    /// Of the seats, the target that was tried first; `None` if there was none to try.
    pub(super) first: Option<usize>,
    /// How the choice was made, if there was one.
    pub(super) noted: Option<Noted>,
    /// Whether a bundle's route or an experiment had a part in it.
    pub(super) was_planned: bool,
    /// Whether there were targets and none that might serve the call.
    pub(super) had_nobody: bool,
    draw: Option<Share>,
}

/// One target of a logged route.
pub(super) struct LoggedSeat<'a> {
    pub(super) target: Target,
    /// `None` for one that was tried or stood ready.
    pub(super) rejected_because: Option<&'a str>,
    pub(super) reading: Option<LoggedReading<'a>>,
    rest: Rest,
    /// Its place in the order they were preferred.
    place: usize,
}

impl<'a> Logged<'a> {
    pub(super) fn of(row: &Row<'a>, known: &mut Known) -> Logged<'a> {
        let mut seats: Vec<LoggedSeat<'a>> = Vec::with_capacity(2);
        for (place, target) in row.targets().enumerate() {
            if target.rejected_because != Some(UNKNOWN_TARGET) {
                let rest = target.rest();
                let rejected_because = target.rejected_because;
                let target = known.target(target.provider, target.model);
                seats.push(LoggedSeat { target, rejected_because, reading: None, rest, place });
            }
        }
        // The readings have the order of the route.
        for (at, reading) in row.readings().enumerate() {
            let is_it = |seat: &LoggedSeat<'_>| {
                let facts = seat.target.facts();
                facts.provider == reading.provider && facts.model == reading.model
            };
            if let Some(found) = seats.iter().skip(at).position(is_it) {
                seats[at..=at + found].rotate_right(1);
                (seats[at].rest, seats[at].reading) = (reading.rest, Some(reading));
            }
        }
        let tried = seats.iter().enumerate().filter(|(_, seat)| seat.rejected_because.is_none());
        let first = tried.min_by_key(|(_, seat)| seat.place).map(|(at, _)| at);
        let (mut noted, mut is_of_bundle) = (None, false);
        for (rule, effect, detail) in row.reasons() {
            if effect == "route" {
                noted = Noted::read(detail);
                // What the configuration routes is named as callers write it.
                is_of_bundle = noted.is_some_and(|noted| noted.is_of_bundle) || rule != row.model();
            }
        }
        let had_nobody = first.is_none() && row.targets().next().is_some();
        Logged { had_nobody, seats, first, noted, was_planned: is_of_bundle || row.arm().is_some(), draw: row.draw() }
    }

    /// Its seat for a target.
    pub(super) fn seat(&self, target: &Target) -> Option<&LoggedSeat<'a>> {
        self.seats.iter().find(|seat| seat.target.name() == target.name())
    }

    /// Whether a choice was made as `conduct` says, as far as there was one.
    pub(super) fn is_by(&self, conduct: &Conduct) -> bool {
        self.seats.len() <= 1 || self.noted.is_some_and(|noted| noted.strategy == conduct.strategy)
    }

    /// Whether these are its targets, as they stood.
    pub(super) fn is_seated_as(&self, seats: &[Seat<'_, Target>]) -> bool {
        let is_same = |(logged, seat): (&LoggedSeat<'_>, &Seat<'_, Target>)| {
            let reading = logged.reading.as_ref();
            let is_placed =
                |reading: &LoggedReading<'_>| reading.weight == seat.weight && reading.stands_by == seat.stands_by;
            logged.target.name() == seat.target.name() && reading.is_none_or(is_placed)
        };
        self.seats.len() == seats.len() && self.seats.iter().zip(seats).all(is_same)
    }

    /// Its targets, to be chosen from again.
    pub(super) fn seated(&self) -> Vec<Seat<'_, Target>> {
        self.seats.iter().map(LoggedSeat::seated).collect()
    }

    /// Its targets in the order they were preferred.
    pub(super) fn as_preferred(&self) -> Vec<Seat<'_, Target>> {
        let mut seats: Vec<&LoggedSeat<'_>> = self.seats.iter().collect();
        seats.sort_by_key(|seat| seat.place);
        seats.into_iter().map(|seat| Seat { target: &seat.target, weight: 1, stands_by: false }).collect()
    }

    /// Its targets as a route.
    pub(super) fn layout(&self) -> Layout<Target> {
        let weight = |seat: &LoggedSeat<'_>| seat.reading.as_ref().map_or(1, |reading| reading.weight);
        Layout {
            targets: self.seats.iter().map(|seat| Target::clone(&seat.target)).collect(),
            weights: self.seats.iter().map(weight).collect(),
            unknown: Vec::new(),
        }
    }

    /// The number that chance came in as; `None` if it had no part. A turn of a round robin is such a number for the same
    /// turns alone: `turns` says how many there are now, for a strategy that goes by turns.
    pub(super) fn draw(&self, turns: Option<usize>) -> Option<Share> {
        let was_turn = self.noted.filter(|noted| noted.strategy == Strategy::RoundRobin);
        match (was_turn, turns) {
            (Some(noted), Some(turns)) if noted.among == turns => self.draw,
            (None, None) => self.draw,
            _ => None,
        }
    }
}

impl LoggedSeat<'_> {
    fn seated(&self) -> Seat<'_, Target> {
        let reading = self.reading.as_ref();
        let (weight, stands_by) = reading.map_or((1, false), |reading| (reading.weight, reading.stands_by));
        Seat { target: &self.target, weight, stands_by }
    }

    /// How its target was.
    pub(super) fn rest(&self) -> Rest {
        self.rest
    }

    /// Why the target could not serve the call whatever a bundle says.
    pub(super) fn why_not(&self) -> Option<WhyNot> {
        self.rejected_because.and_then(WhyNot::of_target)
    }

    /// Whether what the target has was not looked at, since a rule had left it out.
    pub(super) fn was_barred(&self) -> bool {
        self.rejected_because.is_some_and(|why| why.contains(": "))
    }
}
