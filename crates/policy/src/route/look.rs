//! What a bundle and a configuration say of a route, in words that can be shown and sent: which calls take it, how an
//! experiment divides them, and where a target is.

use serde::{Deserialize, Serialize};

use super::{ArmTarget, Experiment, Route};
use crate::condition::Conditions;
use crate::residency::{Evidence, Place, Places};

/// Which calls a route or an experiment takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhenLook {
    /// As the bundle writes them.
    pub conditions: Vec<String>,
    /// Whether one of them is enough; else all have to hold.
    pub any: bool,
}

/// An experiment of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExperimentLook {
    /// Its id.
    pub id: String,
    /// What callers write as the model.
    pub alias: String,
    /// What is assigned to an arm: `user`, `conversation`, `key` or `metadata.NAME`.
    pub unit: String,
    /// Which calls take part; `None` if all do that have the unit.
    pub when: Option<WhenLook>,
    /// Its arms, in the order they are written.
    pub arms: Vec<ArmLook>,
}

/// One arm of an experiment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArmLook {
    /// Its name.
    pub name: String,
    /// Its part of the sum of all weights.
    pub weight: u32,
    /// The target that its calls try first, if it names one.
    pub target: Option<String>,
    /// The route of the bundle that its calls take, if it names one.
    pub route: Option<String>,
}

/// The places that calls to a target touch; `None` where nobody told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacesLook {
    /// Where the model runs.
    pub inference: Option<String>,
    /// Where prompts and answers are kept, if only for a while.
    pub storage: Option<String>,
    /// Where keys, accounts and routing are administered.
    pub control_plane: Option<String>,
    /// Whose law the operator is under.
    pub operator: Option<String>,
    /// How well that is known.
    pub evidence: Evidence,
}

impl WhenLook {
    fn of(conditions: &Conditions) -> WhenLook {
        WhenLook { conditions: conditions.texts().map(str::to_owned).collect(), any: conditions.is_any() }
    }
}

impl Route {
    /// Which calls take it; `None` if all do.
    #[must_use]
    pub fn when(&self) -> Option<WhenLook> {
        self.when.as_ref().map(WhenLook::of)
    }
}

impl Experiment {
    /// The experiment in words. `routes` are those of its bundle.
    #[must_use]
    pub fn look(&self, routes: &[Route]) -> ExperimentLook {
        let arms = self.arms.iter().map(|arm| {
            let (target, route) = match &arm.to {
                ArmTarget::Target(target) => (Some(target.name.clone()), None),
                ArmTarget::Route(at) => (None, routes.get(*at).map(|route| route.id.clone())),
            };
            ArmLook { name: arm.name.clone(), weight: arm.weight, target, route }
        });
        ExperimentLook {
            id: self.id.clone(),
            alias: self.alias.clone(),
            unit: self.unit.to_string(),
            when: self.when.as_ref().map(WhenLook::of),
            arms: arms.collect(),
        }
    }
}

impl From<&Places> for PlacesLook {
    fn from(places: &Places) -> PlacesLook {
        let named = |place: &Option<Place>| place.as_ref().map(|place| place.as_str().to_owned());
        PlacesLook {
            inference: named(&places.inference),
            storage: named(&places.storage),
            control_plane: named(&places.control_plane),
            operator: named(&places.operator),
            evidence: places.evidence,
        }
    }
}
