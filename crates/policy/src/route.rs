//! Where an admitted call goes. Pure steps, so that a back-test takes the very same ones: [`plan()`] finds the route and the
//! arm of an experiment that a bundle has for the call, [`Layout`] and [`seats`] what their names come to, [`why_nots`] which
//! targets may not serve it, and [`choose()`] puts the others in the order to try them. What a target costs, how busy it is
//! and what number was drawn are facts that the caller brings.

mod choose;
mod layout;
mod look;
mod offer;
mod plan;
mod settings;
mod status;

pub use choose::{Candidate, Choice, Noted, Question, Rest, choose};
pub use layout::{Layout, Seat, Way, seats, takes_part};
pub use look::{ArmLook, ExperimentLook, PlacesLook, WhenLook};
pub use offer::{
    CONTEXT_TOO_SHORT, NOT_NEEDED, OPERATION_NOT_SUPPORTED, Offer, UNKNOWN_TARGET, WhyNot, barred, why_not, why_nots,
};
pub use plan::{Assignment, PlanError, Planned, RouteFacts, plan};
pub use settings::{Floor, Hedge, HedgeAfter, OnUnknown, Retries, Shadow, Span, Strategy, TimeLimits, WhenAllRest};
pub use status::{CircuitState, ModelsSnapshot, RestReason, RouteLook, TargetHealth, TargetLook};

use tollgate_interaction::Share;

use crate::cache::CacheRule;
use crate::condition::Conditions;

/// How calls by one route are conducted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conduct {
    /// How its targets are ordered.
    pub strategy: Strategy,
    /// Least quality, for [`Strategy::Quality`].
    pub floor: Option<Floor>,
    /// A second attempt beside the first.
    pub hedge: Option<Hedge>,
    /// A copy to another target.
    pub shadow: Option<Shadow>,
    /// Further attempts after a pause; `None` for what is set for all.
    pub retries: Option<Retries>,
    /// How long is waited; what is not said is as set for all.
    pub timeouts: TimeLimits,
    /// What is done when no target may be called just now; `None` for what is set for all.
    pub when_all_rest: Option<WhenAllRest>,
    /// How answers are given again; `None` if they are not.
    pub cache: Option<CacheRule>,
}

/// A target as a bundle names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTarget {
    /// `provider/model`, or an alias.
    pub name: String,
    /// For [`Strategy::Weighted`].
    pub weight: u32,
    /// Line of the bundle, from 1.
    pub line: u64,
    /// Column of the bundle, from 1.
    pub column: u64,
}

/// A route of a bundle: it takes the place of what the configuration says of an alias.
#[derive(Debug)]
pub struct Route {
    /// Its id in the bundle.
    pub id: String,
    /// What callers write as the model.
    pub alias: String,
    /// Where its calls go.
    pub targets: Vec<NamedTarget>,
    /// How they get there.
    pub conduct: Conduct,
    /// `None` for every call.
    pub(crate) when: Option<Conditions>,
}

/// An experiment of a bundle: calls are divided among arms, and whoever is in one stays there.
#[derive(Debug)]
pub struct Experiment {
    /// Its id in the bundle.
    pub id: String,
    /// What callers write as the model.
    pub alias: String,
    /// What is assigned to an arm.
    pub unit: Unit,
    /// Goes into the hash: another salt is another division.
    pub salt: String,
    /// At least two.
    pub arms: Vec<Arm>,
    /// `None` for every call.
    pub(crate) when: Option<Conditions>,
}

/// One side of an experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// Unique in its experiment.
    pub name: String,
    /// Its part of the sum of all weights.
    pub weight: u32,
    /// Where its calls go.
    pub to: ArmTarget,
}

/// Where the calls of an arm go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArmTarget {
    /// To this target first; the others of the alias stand by in case it fails.
    Target(NamedTarget),
    /// By this route of the bundle: its place among [`crate::Bundle::routes`].
    Route(usize),
}

/// What an experiment assigns to its arms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The end user whom the caller names, by the keyed hash that stands for it in the log.
    User,
    /// The conversation.
    Conversation,
    /// The virtual key.
    Key,
    /// The caller's label of this name.
    Metadata(String),
}

impl Experiment {
    /// The arm that `unit` is in: always the same for the same salt, unit and weights.
    #[must_use]
    pub fn arm_of(&self, unit: &str) -> Option<(&Arm, Share)> {
        let at = plan::arm_at(&self.salt, unit, self.arms.iter().map(|arm| arm.weight))?;
        let arm = self.arms.get(at)?;
        let total: u64 = self.arms.iter().map(|arm| u64::from(arm.weight)).sum();
        Some((arm, Share::of(u64::from(arm.weight), total)?))
    }
}

impl crate::Bundle {
    /// The routes of the bundle, in the order they are written.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The experiments of the bundle, in the order they are written.
    #[must_use]
    pub fn experiments(&self) -> &[Experiment] {
        &self.experiments
    }

    /// Whether the bundle says where calls to `alias` go.
    #[must_use]
    pub fn has_route_for(&self, alias: &str) -> bool {
        self.routes.iter().any(|route| route.alias == alias)
    }
}

#[cfg(test)]
mod tests;
