//! Data residency: where a target's answer is made, kept, administered and by whose law, on what evidence; and whether a
//! call may go there. A place that is not known satisfies nothing.

use serde::{Deserialize, Serialize};

use crate::bundle::{Bundle, ResidencyEffect, ResidencyRule};
use crate::condition::Scope;
use crate::facts::Facts;

mod contradiction;
mod reach;
mod region;
mod survey;

pub(crate) use contradiction::contradiction;
pub use reach::Reach;
pub use region::{ON_PREM, Place, UnknownPlace, known_names};
pub use survey::{Passage, Survey, SurveyRow, calls_of, survey};

/// Code of a call that no target may take, and why-not of targets that are left out begins with the rule's id.
pub const NO_ELIGIBLE_TARGET: &str = "no_eligible_target";

/// How the why-not of a target begins whose rule could not be evaluated.
pub const NOT_EVALUATED: &str = "a condition could not be evaluated";

/// How well a target's places are known.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The provider, or whoever configured it, says so.
    #[default]
    Declared,
    /// A contract binds the provider to it.
    Contract,
    /// Each answer says where it was made.
    Header,
}

impl Evidence {
    /// From the weakest to the strongest.
    pub const ALL: &'static [Evidence] = &[Evidence::Declared, Evidence::Contract, Evidence::Header];

    /// As it stands in bundles, in configuration and in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Evidence::Declared => "declared",
            Evidence::Contract => "contract",
            Evidence::Header => "header",
        }
    }
}

/// The four places that a call to a target touches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Where the model runs.
    pub inference: Option<Place>,
    /// Where prompts and answers are kept, if only for a while.
    pub storage: Option<Place>,
    /// Where keys, accounts and routing are administered.
    pub control_plane: Option<Place>,
    /// Whose law the operator is under.
    pub operator: Option<Place>,
    /// How well that is known.
    pub evidence: Evidence,
}

impl Places {
    /// The place of a layer.
    #[must_use]
    pub const fn at(&self, layer: Layer) -> Option<&Place> {
        match layer {
            Layer::Inference => self.inference.as_ref(),
            Layer::Storage => self.storage.as_ref(),
            Layer::ControlPlane => self.control_plane.as_ref(),
            Layer::Operator => self.operator.as_ref(),
        }
    }
}

/// One of the four places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// [`Places::inference`].
    Inference,
    /// [`Places::storage`].
    Storage,
    /// [`Places::control_plane`].
    ControlPlane,
    /// [`Places::operator`].
    Operator,
}

impl Layer {
    /// All of them.
    pub const ALL: [Layer; 4] = [Layer::Inference, Layer::Storage, Layer::ControlPlane, Layer::Operator];

    /// In a sentence: "the place of …".
    #[must_use]
    pub const fn phrase(self) -> &'static str {
        match self {
            Layer::Inference => "inference",
            Layer::Storage => "storage",
            Layer::ControlPlane => "the control plane",
            Layer::Operator => "the operator",
        }
    }
}

/// A target as residency sees it.
#[derive(Clone, Copy, Debug)]
pub struct TargetFacts<'a> {
    /// Name of the provider in the configuration.
    pub provider: &'a str,
    /// As the provider calls it.
    pub model: &'a str,
    /// The provider's labels.
    pub tags: &'a [String],
    /// Where it is.
    pub places: &'a Places,
    /// Whether it runs on machines of whoever runs this gateway.
    pub self_hosted: bool,
}

/// Whether a call may go to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Eligibility {
    /// No rule stands in the way.
    Eligible,
    /// A rule does.
    Excluded {
        /// Its id.
        rule: String,
        /// For the record: what is missing.
        why: String,
    },
}

/// Whether the bundle lets a call go to a target. The first rule that excludes it answers; a condition that cannot be
/// evaluated excludes.
#[must_use]
pub fn eligible(bundle: &Bundle, facts: &Facts<'_>, target: &TargetFacts<'_>) -> Eligibility {
    for rule in &bundle.residency {
        if let Some(why) = excluded(bundle, rule, facts, target) {
            return Eligibility::Excluded { rule: rule.id.clone(), why };
        }
    }
    Eligibility::Eligible
}

fn excluded(bundle: &Bundle, rule: &ResidencyRule, facts: &Facts<'_>, target: &TargetFacts<'_>) -> Option<String> {
    match rule.when.hold(&Scope::of_target(bundle, facts, target)) {
        Ok(false) => return None,
        Ok(true) => {}
        Err(error) => return Some(format!("{NOT_EVALUATED}: {error}")),
    }
    match &rule.effect {
        ResidencyEffect::Exclude { message } => Some(message.clone()),
        ResidencyEffect::Require { within, evidence } => missing(within, *evidence, target.places),
    }
}

/// What keeps `places` from being within what is required.
pub(crate) fn missing(within: &[(Layer, Vec<Place>)], evidence: Evidence, places: &Places) -> Option<String> {
    for (layer, allowed) in within {
        let place = match places.at(*layer) {
            None => format!("the place of {} is not known", layer.phrase()),
            Some(place) if allowed.iter().any(|area| place.is_within(area)) => continue,
            Some(place) => format!("the place of {} is {place}", layer.phrase()),
        };
        let allowed: Vec<String> = allowed.iter().map(Place::to_string).collect();
        return Some(format!("{place}, not {}", allowed.join(" or ")));
    }
    let known = places.evidence;
    (known < evidence)
        .then(|| format!("its places are known by `{}` only, and `{}` is asked for", known.as_str(), evidence.as_str()))
}

#[cfg(test)]
mod tests;
