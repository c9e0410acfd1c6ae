//! What the names of a route come to: the targets they stand for, each once, with their weights; and how the targets of an
//! experiment's arm and those of the route stand together.

use super::{Conduct, Offer};
use crate::bundle::Bundle;
use crate::decide::Prefer;
use tollgate_interaction::Share;

/// Aliases that a target of a bundle may lead through.
const MAX_DEPTH: usize = 16;

/// Targets with their weights.
#[derive(Clone, Debug)]
pub struct Layout<T> {
    /// Each once, in the order they are written.
    pub targets: Vec<T>,
    /// Of the targets, for the strategy that goes by them.
    pub weights: Vec<u32>,
    /// Names that nobody here serves.
    pub unknown: Vec<String>,
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub struct Way<T> {
    /// Its targets.
    pub layout: Layout<T>,
    /// How its calls are conducted.
    pub conduct: Conduct,
}

impl<T> Default for Layout<T> {
    fn default() -> Self {
        Layout { targets: Vec::new(), weights: Vec::new(), unknown: Vec::new() }
    }
}

impl<T: Offer + Clone> Layout<T> {
    /// Adds what one name stands for; its weight is divided among what that comes to. A target that is there already stays
    /// where it is.
    pub fn add(&mut self, found: &[T], weight: u32) {
        let share = weight / u32::try_from(found.len().max(1)).unwrap_or(u32::MAX);
        let share = if weight > 0 { share.max(1) } else { 0 };
        for target in found {
            if !self.targets.iter().any(|known| known.name() == target.name()) {
                self.targets.push(target.clone());
                self.weights.push(share);
            }
        }
    }

    /// What `names`, each with its weight, come to for a route of `bundle`. `stands_for` is what the configuration says; an
    /// alias that only the bundle has stands for the targets of its routes.
    pub fn of_bundle<'a>(
        bundle: &Bundle,
        names: impl Iterator<Item = (&'a str, u32)>,
        stands_for: &dyn Fn(&str) -> Option<Vec<T>>,
    ) -> Layout<T> {
        let mut layout = Layout::default();
        for (name, weight) in names {
            match named(bundle, name, stands_for, MAX_DEPTH) {
                found if found.is_empty() => layout.unknown.push(name.to_owned()),
                found => layout.add(&found, weight),
            }
        }
        layout
    }
}

fn named<T>(bundle: &Bundle, name: &str, stands_for: &dyn Fn(&str) -> Option<Vec<T>>, depth: usize) -> Vec<T> {
    if let Some(known) = stands_for(name) {
        return known;
    }
    let Some(depth) = depth.checked_sub(1) else { return Vec::new() };
    let own = bundle.routes().iter().filter(|route| route.alias == name).flat_map(|route| &route.targets);
    own.flat_map(|target| named(bundle, &target.name, stands_for, depth)).collect()
}

/// A target's place in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat<'a, T> {
    /// Which.
    pub target: &'a T,
    /// Of its route, for the strategy that goes by them.
    pub weight: u32,
    /// Whether it only stands by for the targets of an arm.
    pub stands_by: bool,
}

/// The targets of a call, each once: those of an arm that names a target, for which the others stand by, and those of the
/// route, each as (targets, weights).
pub fn seats<'a, T: Offer>(arm: Option<(&'a [T], &'a [u32])>, route: (&'a [T], &'a [u32])) -> Vec<Seat<'a, T>> {
    let mut seats: Vec<Seat<'a, T>> = Vec::with_capacity(route.0.len() + 1);
    for ((targets, weights), stands_by) in arm.map(|arm| (arm, false)).into_iter().chain([(route, arm.is_some())]) {
        for (at, target) in targets.iter().enumerate() {
            if !seats.iter().any(|known| known.target.name() == target.name()) {
                seats.push(Seat { target, weight: weights.get(at).copied().unwrap_or(1), stands_by });
            }
        }
    }
    seats
}

/// Whether a call may be divided by an experiment: what a budget wants of routing is no experiment's to divide.
#[must_use]
pub fn takes_part(prefer: Option<&Prefer>, min_quality: Option<Share>) -> bool {
    prefer.is_none() && min_quality.is_none()
}
