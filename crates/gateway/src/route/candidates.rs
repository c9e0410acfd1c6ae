//! The candidates of one call: which targets there are, which of them may not serve it and why, and in which order the others
//! are tried. What leaves a target out is [`tollgate_policy::route`]'s, in one place, so that no hop of a fallback, no second
//! attempt and no copy escapes it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tollgate_interaction::{Candidate, Share, TargetReading};
use tollgate_policy::route::{
    self, Choice, NOT_NEEDED, Offer, Question, Rest, RestReason, Seat, Strategy, UNKNOWN_TARGET, WhenAllRest, WhyNot,
};
use tollgate_policy::signals::{SignalsSnapshot, TargetSignals};
use tollgate_policy::{Bundle, Facts, Prefer};

use super::{Course, Resolved, Target};
use crate::error::{CallError, NotServed};
use crate::residency::Exclusion;

/// What is asked of the candidates.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) bundle: &'a Bundle,
    pub(crate) facts: Facts<'a>,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) prefer: Option<&'a Prefer>,
    pub(crate) min_quality: Option<Share>,
    pub(crate) signals: &'a SignalsSnapshot,
    pub(crate) when_all_rest: WhenAllRest,
    pub(crate) now_us: i64,
    pub(crate) draw: Share,
}

/// Targets in the order to try them.
pub(crate) struct Ordered {
    pub(crate) targets: Vec<Arc<Target>>,
    /// All of them for the record, those left out with why-not.
    pub(crate) candidates: Vec<Candidate>,
    /// What was known of each, in the order of the route, for the record.
    pub(crate) readings: Vec<TargetReading>,
    /// Provider of the first target, if all were left out because none has the operation.
    pub(crate) unable: Option<String>,
    /// The targets that policy leaves out, by name, if no other is there.
    pub(crate) barred: Vec<(String, Exclusion)>,
    /// Why there is none, if not for that.
    pub(crate) denial: Option<CallError>,
    /// Whether they are tried although they rest.
    pub(crate) is_last_resort: bool,
    /// What was drawn and assigned.
    pub(crate) choice: Choice,
    /// The draw that the choice went by.
    pub(crate) draw: Share,
    /// The route that was taken.
    pub(crate) resolved: Arc<Resolved>,
}

/// One target and its part in the call.
struct Place {
    target: Arc<Target>,
    weight: u32,
    stands_by: bool,
    why_not: Option<WhyNot>,
    /// The same for the record.
    left_out: Option<String>,
    rest: Rest,
    resting: Option<(RestReason, i64)>,
}

/// Why `target` may not serve the call.
pub(crate) fn why_not(target: &Target, asking: &Asking<'_>) -> Option<WhyNot> {
    route::why_not(asking.bundle, &asking.facts, target)
}

impl Course {
    /// The targets in the order to try them, and that order for the record with why-not of those left out.
    pub(crate) fn order(&self, asking: &Asking<'_>) -> Ordered {
        let takes_part = route::takes_part(asking.prefer, asking.min_quality);
        let arm = self.arm.as_ref().filter(|_| takes_part);
        let resolved = match arm {
            Some(arm) if arm.is_route => &arm.to,
            _ => &self.base,
        };
        let first = arm.filter(|arm| !arm.is_route).map(|arm| arm.to.parts());
        let seats = route::seats(first, resolved.parts());
        let offers: Vec<&dyn Offer> = seats.iter().map(|seat| seat.target as &dyn Offer).collect();
        let why_nots = route::why_nots(asking.bundle, &asking.facts, &offers);
        let place = |(seat, why_not): (&Seat<'_, Arc<Target>>, Option<WhyNot>)| {
            let (rest, resting) = seat.target.health.rest(asking.now_us);
            let left_out = why_not.as_ref().map(WhyNot::text);
            let (target, weight, stands_by) = (Arc::clone(seat.target), seat.weight, seat.stands_by);
            Place { target, weight, stands_by, why_not, left_out, rest, resting }
        };
        let places: Vec<Place> = seats.iter().zip(why_nots).map(place).collect();
        let draw = turn_or_draw(resolved, asking.draw, &places);
        let choice = self.choose(resolved, arm.map(|arm| &arm.assignment), &places, asking, draw);
        arranged(resolved, &places, choice, draw, asking)
    }

    fn choose(
        &self,
        resolved: &Arc<Resolved>,
        assignment: Option<&route::Assignment>,
        places: &[Place],
        asking: &Asking<'_>,
        draw: Share,
    ) -> Choice {
        let candidates: Vec<route::Candidate<'_>> =
            places.iter().map(|place| place.candidate(asking, resolved.conduct.strategy)).collect();
        let named = resolved.rule.as_deref().or(resolved.alias.as_deref());
        route::choose(&Question {
            route: named.unwrap_or_default(),
            is_of_bundle: resolved.rule.is_some(),
            strategy: resolved.conduct.strategy,
            floor: resolved.conduct.floor,
            when_all_rest: resolved.conduct.when_all_rest.unwrap_or(asking.when_all_rest),
            candidates: &candidates,
            prefer: asking.prefer,
            min_quality: asking.min_quality,
            assignment,
            draw,
        })
    }
}

/// The drawn number or, for a round robin, the turn as a part of a whole round.
fn turn_or_draw(resolved: &Resolved, draw: Share, places: &[Place]) -> Share {
    if resolved.conduct.strategy != Strategy::RoundRobin {
        return draw;
    }
    let ready = places.iter().filter(|place| place.why_not.is_none() && place.rest == Rest::No).count().max(1) as u64;
    let turn = resolved.turn.fetch_add(1, Ordering::Relaxed) as u64 % ready;
    // The middle of its part, so that rounding does not move it.
    Share::of(2 * turn + 1, 2 * ready).unwrap_or_default()
}

impl Place {
    /// What the strategy goes by; what it does not go by is not looked up.
    fn candidate(&self, asking: &Asking<'_>, strategy: Strategy) -> route::Candidate<'_> {
        let target = &self.target;
        let by_cost =
            matches!(strategy, Strategy::Cost | Strategy::Quality) || asking.prefer == Some(&Prefer::Cheapest);
        let estimate = || target.list_cost(asking.input_tokens, asking.output_tokens);
        let by_load = strategy == Strategy::Latency;
        let seen: Option<&TargetSignals> = asking.signals.targets.get(&target.name).filter(|seen| seen.calls > 0);
        let seed = seen.map(|seen| Duration::from_millis(seen.p50_ms));
        route::Candidate {
            target: &target.name,
            weight: self.weight,
            excluded: self.left_out.as_deref(),
            rest: self.rest,
            cost: if by_cost { estimate() } else { None },
            load_us: if by_load { target.health.load_us(asking.now_us, seed) } else { None },
            p50_ms: seen.map(|seen| seen.p50_ms),
            quality_lower: asking.signals.targets.get(&target.name).and_then(|seen| seen.quality_lower),
            has_preferred_tag: match asking.prefer {
                Some(Prefer::Tag(tag)) => target.provider.tags.contains(tag),
                Some(Prefer::Cheapest) | None => false,
            },
            stands_by: self.stands_by,
        }
    }

    /// What it stands at, so that the choice can be made again.
    fn reading(&self, asking: &Asking<'_>, strategy: Strategy) -> TargetReading {
        let known = self.candidate(asking, strategy);
        TargetReading {
            provider: self.target.provider.name.clone(),
            model: self.target.model.clone(),
            health: match self.rest {
                Rest::No => "ready",
                Rest::Failing => "failing",
                Rest::Strict => "resting",
            }
            .to_owned(),
            weight: self.weight,
            stands_by: self.stands_by,
            load_us: known.load_us,
            p50_ms: known.p50_ms,
            estimate_usd: known.cost,
            quality_lower: known.quality_lower,
        }
    }

    fn left_out_because(&self, choice: &Choice, at: usize) -> String {
        let by_strategy = choice.left_out.iter().find(|(out, _)| *out == at).map(|(_, why)| (*why).to_owned());
        let resting = || self.resting.map(|(why, _)| why.code().to_owned());
        self.left_out.clone().or(by_strategy).or_else(resting).unwrap_or_else(|| NOT_NEEDED.to_owned())
    }
}

fn arranged(resolved: &Arc<Resolved>, places: &[Place], choice: Choice, draw: Share, asking: &Asking<'_>) -> Ordered {
    let ordered = choice.order.iter().filter_map(|at| places.get(*at));
    let mut candidates: Vec<Candidate> = ordered.clone().map(|place| place.target.candidate(None)).collect();
    for (at, place) in places.iter().enumerate().filter(|(at, _)| !choice.order.contains(at)) {
        candidates.push(place.target.candidate(Some(place.left_out_because(&choice, at))));
    }
    for name in &resolved.unknown {
        let (provider, model) = name.split_once('/').unwrap_or(("", name));
        let rejected_because = Some(UNKNOWN_TARGET.to_owned());
        candidates.push(Candidate { provider: provider.to_owned(), model: model.to_owned(), rejected_because });
    }
    let targets: Vec<Arc<Target>> = ordered.clone().map(|place| Arc::clone(&place.target)).collect();
    let is_unable = |place: &Place| place.why_not == Some(WhyNot::Unable);
    let unable = places.first().filter(|_| resolved.unknown.is_empty() && places.iter().all(is_unable));
    let unable = unable.map(|place| place.target.provider.name.clone());
    let is_nobody_left = targets.is_empty() && places.iter().all(|place| place.why_not.is_some());
    let barred = places.iter().filter(|_| is_nobody_left).filter_map(|place| match &place.why_not {
        Some(WhyNot::Barred { rule, why }) => {
            Some((place.target.name.clone(), Exclusion { rule: rule.clone(), why: why.clone() }))
        }
        _ => None,
    });
    let barred: Vec<(String, Exclusion)> = barred.collect();
    let is_denied = targets.is_empty() && unable.is_none() && barred.is_empty();
    let denial = is_denied.then(|| nobody(resolved, places, &candidates, asking));
    let is_last_resort = ordered.clone().next().is_some_and(|place| place.rest != Rest::No);
    let resolved = Arc::clone(resolved);
    let readings = places.iter().map(|place| place.reading(asking, resolved.conduct.strategy)).collect();
    Ordered { targets, candidates, readings, unable, barred, denial, is_last_resort, choice, draw, resolved }
}

/// The named denial of a call that no target may serve.
fn nobody(resolved: &Resolved, places: &[Place], candidates: &[Candidate], asking: &Asking<'_>) -> CallError {
    let named = |candidate: &Candidate| {
        let why = candidate.rejected_because.as_deref().unwrap_or_default();
        format!("`{}/{}`: {why}", candidate.provider, candidate.model)
    };
    let why = candidates.iter().map(named).collect::<Vec<_>>().join(", ");
    let able: Vec<&Place> = places.iter().filter(|place| place.why_not.is_none() && place.rest != Rest::No).collect();
    let soonest_us = able.iter().filter_map(|place| Some(place.resting?.1)).min();
    let is_throttled = |place: &&Place| place.resting.is_some_and(|(why, _)| why == RestReason::Throttled);
    let needs_more = |place: &Place| matches!(place.why_not, Some(WhyNot::Lacks(_) | WhyNot::TooShort));
    let is_unfit = resolved.unknown.is_empty() && places.iter().all(needs_more);
    let kind = match soonest_us {
        Some(_) if able.iter().all(is_throttled) => NotServed::Throttled,
        Some(_) => NotServed::Resting,
        None if is_unfit => NotServed::Unfit,
        None => NotServed::NotEligible,
    };
    let wait = soonest_us
        .map(|until_us| Duration::from_micros(u64::try_from(until_us.saturating_sub(asking.now_us)).unwrap_or(0)));
    let model = resolved.alias.clone().or_else(|| Some(places.first()?.target.name.clone())).unwrap_or_default();
    CallError::NotServed { model, why, kind, retry_after: wait }
}
