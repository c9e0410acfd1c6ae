//! The order in which the candidates of one call are tried. Chance comes in as one number, drawn by the caller and logged, so
//! that the same question has the same answer for ever.

use std::cmp::Reverse;

use tollgate_interaction::{Reason, Share, Usd};

use super::{Assignment, Floor, OnUnknown, Strategy, WhenAllRest};
use crate::decide::Prefer;

/// Why-not of a target whose quality is not known, where the route wants it known.
const QUALITY_UNKNOWN: &str = "quality_unknown";
const MILLION: u64 = 1_000_000;
/// Parts of the sentence that the record has of a choice.
const FIRST_OF: &str = "` first of ";
const BY: &str = " by `";
const OF_BUNDLE: &str = " of the bundle";
const THEN: &str = ", then ";

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Whose route it is, for reasons: the id of a bundle's, or else the alias.
    pub route: &'a str,
    /// Whether it is a bundle's: then it is noted even where there was no choice.
    pub is_of_bundle: bool,
    /// How the candidates are ordered.
    pub strategy: Strategy,
    /// Least quality, for [`Strategy::Quality`].
    pub floor: Option<Floor>,
    /// What is done if all of them rest.
    pub when_all_rest: WhenAllRest,
    /// As the route has them.
    pub candidates: &'a [Candidate<'a>],
    /// What a budget prefers.
    pub prefer: Option<&'a Prefer>,
    /// Quality that a budget wants of a target, by the lower bound of what its feedback says; a route by
    /// [`Strategy::Quality`] goes by the higher of this and its own floor.
    pub min_quality: Option<Share>,
    /// The arm the call is in.
    pub assignment: Option<&'a Assignment>,
    /// A number from 0 up to, not including, 1. For [`Strategy::RoundRobin`] the turn, as a part of a whole round.
    pub draw: Share,
}

/// A target and what is known of it at the moment of the call.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// `provider/model`.
    pub target: &'a str,
    /// For [`Strategy::Weighted`].
    pub weight: u32,
    /// Why it may not be called; such a target is in no order.
    pub excluded: Option<&'a str>,
    /// Whether it is left alone for a while.
    pub rest: Rest,
    /// What this call may cost there; `None` if the price is not known.
    pub cost: Option<Usd>,
    /// Measured latency times one more than the calls in flight, in microseconds; `None` if nothing was ever measured.
    pub load_us: Option<u64>,
    /// Median latency in the log; `None` if it holds no call.
    pub p50_ms: Option<u64>,
    /// Lower bound of its quality; `None` if there is not feedback enough.
    pub quality_lower: Option<Share>,
    /// Whether it carries the tag that a budget prefers.
    pub has_preferred_tag: bool,
    /// Whether it only stands by for the targets of an arm.
    pub stands_by: bool,
}

/// Whether a target is left alone for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rest {
    /// It is not.
    #[default]
    No,
    /// It failed; it may be called if there is nobody else.
    Failing,
    /// It asked to be left alone for a stated time: it is not called.
    Strict,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Places among the candidates, in the order to try them. No excluded one is among them.
    pub order: Vec<usize>,
    /// Candidates that the strategy itself leaves out, with why-not.
    pub left_out: Vec<(usize, &'static str)>,
    /// The experiment the call takes part in.
    pub experiment: Option<String>,
    /// Its arm.
    pub arm: Option<String>,
    /// How likely that arm was or, without an experiment, the first target: `None` where chance has no part.
    pub propensity: Option<Share>,
    /// Whether the drawn number had a part in it.
    pub used_draw: bool,
    /// What it went by, for the record.
    pub reasons: Vec<Reason>,
}

/// What the record's sentence on a choice says: what it went by is not stored elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// How the candidates were ordered.
    pub strategy: Strategy,
    /// How many there were to order.
    pub among: usize,
    /// Whether the route was a bundle's. Records of before 2026-11-26 do not say: then it is false.
    pub is_of_bundle: bool,
    /// Whether a budget's preference had a part in it.
    pub has_preference: bool,
}

/// Orders the candidates.
#[must_use]
pub fn choose(question: &Question<'_>) -> Choice {
    let mut choice = Choice::default();
    let mut eligible: Vec<usize> = Vec::with_capacity(question.candidates.len());
    for (at, candidate) in question.candidates.iter().enumerate() {
        match (candidate.excluded, question.unfit(candidate)) {
            (Some(_), _) => {}
            (None, Some(why)) => choice.left_out.push((at, why)),
            (None, None) => eligible.push(at),
        }
    }
    let is_awake = |at: &usize| question.candidates[*at].rest == Rest::No;
    let mut ready: Vec<usize> = eligible.iter().copied().filter(is_awake).collect();
    if ready.is_empty() && question.when_all_rest == WhenAllRest::Try {
        ready = eligible.into_iter().filter(|at| question.candidates[*at].rest == Rest::Failing).collect();
    }
    let (mut order, standing_by): (Vec<usize>, Vec<usize>) =
        ready.into_iter().partition(|at| !question.candidates[*at].stands_by);
    let among = order.len();
    question.sort(&mut order, &mut choice);
    order.extend(standing_by);
    question.apply_preference(&mut order);
    if question.prefer.is_some() || question.min_quality.is_some() {
        // What a budget wants is no chance.
        choice.propensity = None;
    }
    if question.strategy == Strategy::Single {
        order.truncate(1);
    }
    choice.order = order;
    question.note(&mut choice, among);
    choice
}

impl Question<'_> {
    fn unfit(&self, candidate: &Candidate<'_>) -> Option<&'static str> {
        let floor = self.floor()?;
        let is_unknown = candidate.quality_lower.is_none() && floor.on_unknown == OnUnknown::Exclude;
        is_unknown.then_some(QUALITY_UNKNOWN)
    }

    /// What a strategy by quality goes by.
    fn floor(&self) -> Option<Floor> {
        let floor = self.floor.filter(|_| self.strategy == Strategy::Quality)?;
        Some(Floor { at: self.min_quality.map_or(floor.at, |least| least.max(floor.at)), ..floor })
    }

    fn sort(&self, order: &mut [usize], choice: &mut Choice) {
        let candidates = self.candidates;
        match self.strategy {
            Strategy::Single | Strategy::Fallback => {}
            Strategy::Cost => order.sort_by_key(|at| by_cost(&candidates[*at])),
            Strategy::Fastest => order.sort_by_key(|at| candidates[*at].p50_ms.unwrap_or(u64::MAX)),
            Strategy::Quality => order.sort_by_key(|at| self.by_quality(&candidates[*at])),
            Strategy::RoundRobin => {
                let turn = part_of(self.draw, order.len() as u64);
                let number = order.len();
                order.rotate_left(usize::try_from(turn).unwrap_or(0).min(number));
                choice.used_draw = number > 1;
            }
            Strategy::Weighted => self.by_weight(order, choice),
            Strategy::Latency => self.by_load(order, choice),
        }
    }

    /// One by chance, then the heaviest of the others first.
    fn by_weight(&self, order: &mut [usize], choice: &mut Choice) {
        let weight = |at: usize| u64::from(self.candidates[at].weight);
        let total: u64 = order.iter().map(|at| weight(*at)).sum();
        let mut left = part_of(self.draw, total);
        let drawn = order.iter().position(|at| {
            let is_it = left < weight(*at);
            left = left.saturating_sub(weight(*at));
            is_it
        });
        // Where all weights are nothing the order stays as it is written.
        let Some(drawn) = drawn else { return };
        choice.used_draw = order.len() > 1;
        choice.propensity = Share::of(weight(order[drawn]), total).filter(|_| choice.used_draw);
        order[..=drawn].rotate_right(1);
        if let Some(others) = order.get_mut(1..) {
            others.sort_by_key(|at| Reverse(weight(*at)));
        }
    }

    /// The power of two choices: of two taken by chance the less busy one first, then the other, then the rest by load. A
    /// target of which nothing is known is tried, so that something is.
    fn by_load(&self, order: &mut [usize], choice: &mut Choice) {
        let load = |at: usize| self.candidates[at].load_us.unwrap_or(0);
        order.sort_by_key(|at| load(*at));
        let number = order.len() as u64;
        let pairs = number * number.saturating_sub(1) / 2;
        if pairs < 2 {
            return;
        }
        let (first, second) = pair(part_of(self.draw, pairs), number);
        choice.used_draw = true;
        // A target wins every pair with one that is busier.
        choice.propensity = Share::of(number - 1 - first, pairs);
        let (first, second) = (usize::try_from(first).unwrap_or(0), usize::try_from(second).unwrap_or(0));
        order[..=second].rotate_right(1);
        order[..=first + 1].rotate_right(1);
    }

    fn by_quality(&self, candidate: &Candidate<'_>) -> (u8, Reverse<Option<Share>>, (bool, Usd)) {
        let floor = self.floor().map(|floor| (floor.at, floor.on_unknown));
        let class = match (candidate.quality_lower, floor) {
            (_, None) => 0,
            (Some(lower), Some((at, _))) if lower >= at => 0,
            (None, Some((_, OnUnknown::Accept))) => 0,
            (None, Some(_)) => 1,
            (Some(_), Some(_)) => 2,
        };
        // Among those that are good enough the cost decides, among those that are not the quality.
        let lower = if class == 2 { candidate.quality_lower } else { None };
        (class, Reverse(lower), by_cost(candidate))
    }

    fn apply_preference(&self, order: &mut [usize]) {
        match self.prefer {
            Some(Prefer::Cheapest) => order.sort_by_key(|at| by_cost(&self.candidates[*at])),
            Some(Prefer::Tag(_)) => order.sort_by_key(|at| !self.candidates[*at].has_preferred_tag),
            None => {}
        }
        let is_sorted_by_it = self.strategy == Strategy::Quality && self.prefer.is_none();
        let Some(least) = self.min_quality.filter(|_| !is_sorted_by_it) else { return };
        let least = self.floor().map_or(least, |floor| floor.at);
        // Known to be good enough, not known, known not to be: each in the order they have, so that the cheapest of the first
        // comes first where a budget wants both.
        order.sort_by_key(|at| match self.candidates[*at].quality_lower {
            Some(lower) if lower >= least => 0,
            None => 1,
            Some(_) => 2,
        });
    }

    fn note(&self, choice: &mut Choice, among: usize) {
        if let Some(assignment) = self.assignment {
            choice.experiment = Some(assignment.experiment.clone());
            choice.arm = Some(assignment.arm.clone());
            choice.propensity = Some(assignment.propensity);
            choice.reasons.push(Reason {
                rule: assignment.experiment.clone(),
                effect: "assign".to_owned(),
                detail: assignment.detail(),
            });
        }
        let is_noted = self.candidates.len() > 1 || self.is_of_bundle;
        let Some(first) = choice.order.first().filter(|_| is_noted) else { return };
        let target = self.candidates[*first].target;
        let drawn = if choice.used_draw { format!(", {} drawn", self.draw) } else { String::new() };
        let mut preferred = match self.prefer {
            Some(prefer) => format!("{THEN}{}", prefer.phrase()),
            None => String::new(),
        };
        if let Some(least) = self.min_quality {
            preferred.push_str(&format!("{THEN}with a quality of at least {least}"));
        }
        let whose = if self.is_of_bundle { OF_BUNDLE } else { "" };
        choice.reasons.push(Reason {
            rule: self.route.to_owned(),
            effect: "route".to_owned(),
            detail: format!("`{target}{FIRST_OF}{among}{BY}{}`{whose}{drawn}{preferred}", self.strategy.as_str()),
        });
    }
}

impl Noted {
    /// Reads the detail of a reason with the effect `route`; `None` of what [`choose`] did not write.
    #[must_use]
    pub fn read(detail: &str) -> Option<Noted> {
        let (among, rest) = detail.split_once(FIRST_OF)?.1.split_once(BY)?;
        let (strategy, rest) = rest.split_once('`')?;
        let strategy = Strategy::ALL.into_iter().find(|known| known.as_str() == strategy)?;
        let (among, is_of_bundle) = (among.parse().ok()?, rest.starts_with(OF_BUNDLE));
        Some(Noted { strategy, among, is_of_bundle, has_preference: rest.contains(THEN) })
    }
}

fn by_cost(candidate: &Candidate<'_>) -> (bool, Usd) {
    (candidate.cost.is_none(), candidate.cost.unwrap_or(Usd::ZERO))
}

/// Which of `parts` equal parts the number falls into.
fn part_of(draw: Share, parts: u64) -> u64 {
    (u64::from(draw.get()).min(MILLION - 1)).saturating_mul(parts) / MILLION
}

/// The pair number `index` of those that `number` things make, the smaller place first.
fn pair(index: u64, number: u64) -> (u64, u64) {
    let mut left = index;
    for first in 0..number.saturating_sub(1) {
        let with_first = number - 1 - first;
        if left < with_first {
            return (first, first + 1 + left);
        }
        left -= with_first;
    }
    (0, 1)
}
