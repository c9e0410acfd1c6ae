//! The choice among the targets of one call of the past, by `policy::route::choose`. Each figure that the strategy goes by
//! comes from the row; a choice that rests on one which the row does not tell stays as it was.

use tollgate_interaction::{Share, Usd};
use tollgate_policy::Prefer;
use tollgate_policy::bundle::Bundle;
use tollgate_policy::route::{
    self, Assignment, Candidate, Conduct, Offer, Question, Rest, Strategy, WhenAllRest, WhyNot,
};

use super::course::{Call, Notes, Seats};
use super::known::Target;
use super::logged::{Logged, LoggedSeat};
use super::report::Unlogged;

/// What is to be chosen from.
pub(super) struct Choosing<'a> {
    pub(super) seats: Seats<'a>,
    pub(super) conduct: &'a Conduct,
    /// For reasons: a route of the bundle, or what callers write as the model.
    pub(super) route: &'a str,
    pub(super) is_of_bundle: bool,
    pub(super) assignment: Option<&'a Assignment>,
    /// For a route that does not say.
    pub(super) when_all_rest: WhenAllRest,
}

/// What was chosen.
pub(super) struct Chosen {
    pub(super) first: Option<Target>,
    pub(super) arm: Option<(String, String)>,
    /// By name, the targets that may not serve the call; filled in where there is none to.
    pub(super) why_nots: Vec<(String, Option<WhyNot>)>,
    pub(super) why: String,
}

/// What is known of a target.
struct Figures {
    left_out: Option<String>,
    rest: Rest,
    cost: Option<Usd>,
    load_us: Option<u64>,
    p50_ms: Option<u64>,
    quality_lower: Option<Share>,
    /// What the row does not tell and the strategy goes by.
    unlogged: Option<Unlogged>,
}

impl Choosing<'_> {
    pub(super) fn choose(&self, bundle: &Bundle, call: Call<'_, '_>, logged: &Logged<'_>, notes: &mut Notes) -> Chosen {
        let mut why_nots = self.why_nots(bundle, call, logged);
        let seats = self.seats.iter().zip(&why_nots);
        let mut figures: Vec<Figures> = Vec::with_capacity(self.seats.len());
        for (seat, why_not) in seats {
            figures.push(self.figures(call, logged, seat.target, why_not.as_ref(), notes));
        }
        // Who only stands by is not compared with others, and who is alone is with nobody.
        let wants = call.verdict.prefer.is_some() || call.verdict.min_quality.is_some();
        let compared = self.seats.iter().zip(&figures).filter(|(seat, figures)| {
            figures.left_out.is_none() && figures.rest == Rest::No && (wants || !seat.stands_by)
        });
        let compared: Vec<&Figures> = compared.map(|(_, figures)| figures).collect();
        let unlogged = compared.iter().find_map(|figures| figures.unlogged).filter(|_| compared.len() > 1);
        let arm = self.assignment.map(|assignment| (assignment.experiment.clone(), assignment.arm.clone()));
        if let Some(unlogged) = unlogged {
            notes.unlogged = Some(unlogged);
            let first = logged.first.and_then(|at| logged.seats.get(at)).map(|seat| &seat.target);
            let is_ready = |target: &&Target| {
                let seats = self.seats.iter().zip(&figures);
                seats.into_iter().any(|(seat, figures)| {
                    seat.target.name() == target.name() && figures.left_out.is_none() && figures.rest == Rest::No
                })
            };
            let first = first.filter(is_ready).cloned();
            return Chosen { first, arm, why_nots: Vec::new(), why: unlogged.sentence().to_owned() };
        }
        let drawn = logged.draw(self.turns(&figures));
        let candidates = self.seats.iter().zip(&figures).map(|(seat, figures)| Candidate {
            target: seat.target.name(),
            weight: seat.weight,
            excluded: figures.left_out.as_deref(),
            rest: figures.rest,
            cost: figures.cost,
            load_us: figures.load_us,
            p50_ms: figures.p50_ms,
            quality_lower: figures.quality_lower,
            has_preferred_tag: match &call.verdict.prefer {
                Some(Prefer::Tag(tag)) => seat.target.facts().tags.contains(tag),
                Some(Prefer::Cheapest) | None => false,
            },
            stands_by: seat.stands_by,
        });
        let candidates: Vec<Candidate<'_>> = candidates.collect();
        let mut choice = route::choose(&Question {
            route: self.route,
            is_of_bundle: self.is_of_bundle,
            strategy: self.conduct.strategy,
            floor: self.conduct.floor,
            when_all_rest: self.conduct.when_all_rest.unwrap_or(self.when_all_rest),
            candidates: &candidates,
            prefer: call.verdict.prefer.as_ref(),
            min_quality: call.verdict.min_quality,
            assignment: self.assignment,
            draw: drawn.unwrap_or_else(|| drawn_for(call.row.id())),
        });
        notes.drawn_anew = choice.used_draw && drawn.is_none();
        let first = choice.order.first().and_then(|at| self.seats.get(*at)).map(|seat| seat.target.clone());
        let why = choice.reasons.pop().map_or_else(String::new, |reason| reason.detail);
        let named = |(seat, why_not): (&route::Seat<'_, Target>, &mut Option<WhyNot>)| {
            (seat.target.name().to_owned(), why_not.take())
        };
        let why_nots = match &first {
            Some(_) => Vec::new(),
            None => self.seats.iter().zip(&mut why_nots).map(named).collect(),
        };
        Chosen { first, arm: arm.filter(|_| choice.arm.is_some()), why_nots, why }
    }

    /// How many take turns; `None` where nobody does.
    fn turns(&self, figures: &[Figures]) -> Option<usize> {
        let count = |rest| {
            let seats = self.seats.iter().zip(figures);
            seats.filter(|(seat, of)| of.left_out.is_none() && of.rest == rest && !seat.stands_by).count()
        };
        let ready = || match count(Rest::No) {
            0 => count(Rest::Failing),
            ready => ready,
        };
        (self.conduct.strategy == Strategy::RoundRobin).then(ready)
    }

    /// Why each target may not serve the call. What the row says of a target itself holds; of others, what the configuration
    /// and the price list say now.
    fn why_nots(&self, bundle: &Bundle, call: Call<'_, '_>, logged: &Logged<'_>) -> Vec<Option<WhyNot>> {
        let facts = call.facts;
        let told = |target: &Target| logged.seat(target).filter(|seat| !seat.was_barred());
        let why_not = |seat: &route::Seat<'_, Target>| match told(seat.target) {
            Some(logged) => logged.why_not().or_else(|| route::barred(bundle, facts, seat.target)),
            None => route::why_not(bundle, facts, seat.target),
        };
        let mut found: Vec<Option<WhyNot>> = self.seats.iter().map(why_not).collect();
        if !found.contains(&None) && found.contains(&Some(WhyNot::TooShort)) {
            let asked: Vec<usize> = (0..found.len()).filter(|at| told(self.seats[*at].target).is_none()).collect();
            let offers: Vec<&dyn Offer> = asked.iter().map(|at| self.seats[*at].target as &dyn Offer).collect();
            for (at, why_not) in asked.into_iter().zip(route::why_nots(bundle, facts, &offers)) {
                found[at] = why_not;
            }
        }
        found
    }

    fn figures(
        &self,
        call: Call<'_, '_>,
        logged: &Logged<'_>,
        target: &Target,
        why_not: Option<&WhyNot>,
        notes: &mut Notes,
    ) -> Figures {
        let seat = logged.seat(target);
        let rest = seat.map_or(Rest::No, LoggedSeat::rest);
        let mut figures = Figures {
            left_out: why_not.map(WhyNot::text),
            rest,
            cost: None,
            load_us: None,
            p50_ms: None,
            quality_lower: None,
            unlogged: None,
        };
        if why_not.is_some() {
            return figures;
        }
        notes.assumed_ready |= seat.is_none();
        let strategy = self.conduct.strategy;
        let reading = seat.and_then(|seat| seat.reading.as_ref());
        let by_cost = matches!(strategy, Strategy::Cost | Strategy::Quality);
        if by_cost || call.verdict.prefer == Some(Prefer::Cheapest) {
            figures.cost = self.cost(call, logged, seat, target, notes);
        }
        if let Some(reading) = reading {
            (figures.p50_ms, figures.quality_lower) = (reading.p50_ms, reading.quality_lower);
            figures.load_us = reading.load_us;
        }
        let was_by = |strategy| logged.noted.is_some_and(|noted| noted.strategy == strategy);
        let has_load = reading.is_some_and(|reading| reading.load_us.is_some() || was_by(Strategy::Latency));
        figures.unlogged = match strategy {
            Strategy::Latency if !has_load => Some(Unlogged::LiveHealth),
            Strategy::Fastest if reading.is_none() => Some(Unlogged::Latency),
            Strategy::Quality if reading.is_none() => Some(Unlogged::Quality),
            _ if call.verdict.min_quality.is_some() && reading.is_none() => Some(Unlogged::Quality),
            _ => None,
        };
        figures
    }

    /// What the call was likely to cost at a target, as its route knew it then; where that was not looked up, by the prices
    /// in force now.
    fn cost(
        &self,
        call: Call<'_, '_>,
        logged: &Logged<'_>,
        seat: Option<&LoggedSeat<'_>>,
        target: &Target,
        notes: &mut Notes,
    ) -> Option<Usd> {
        let reading = seat.and_then(|seat| seat.reading.as_ref());
        if let Some(estimate) = reading.and_then(|reading| reading.estimate) {
            return Some(estimate);
        }
        let was_by_cost =
            logged.noted.is_some_and(|noted| matches!(noted.strategy, Strategy::Cost | Strategy::Quality));
        let is_any_known =
            logged.seats.iter().any(|seat| seat.reading.is_some_and(|reading| reading.estimate.is_some()));
        if reading.is_some() && (was_by_cost || is_any_known) {
            // It was looked up and not known.
            return None;
        }
        let tokens = call.row.estimated_input_tokens().zip(call.row.estimated_output_tokens());
        notes.priced_now = true;
        tokens.and_then(|(input, output)| target.list_cost(input, output))
    }
}

/// A number for a call of which none was drawn: the same whenever it is asked for, and even over all calls (SplitMix64 over
/// FNV-1a of its id).
fn drawn_for(id: &str) -> Share {
    let mut mixed = super::tally::order_of(id).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let millionths = (u128::from(mixed) * 1_000_000) >> 64;
    Share::new(u32::try_from(millionths).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_drawn_anew_are_even_and_stay() {
        let ids: Vec<String> = (0..20_000).map(|number| format!("019ab1c2-0000-7000-8000-{number:012x}")).collect();
        let mut tenths = [0_u32; 10];
        for id in &ids {
            tenths[(drawn_for(id).get() / 100_000) as usize] += 1;
        }
        // 2,000 in each, plus or minus five standard deviations.
        assert!(tenths.iter().all(|count| (1_787..2_213).contains(count)), "{tenths:?}");
        assert_eq!(drawn_for(&ids[7]), drawn_for(&ids[7]));
    }
}
