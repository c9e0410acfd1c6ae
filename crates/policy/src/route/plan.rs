//! Which route and which arm of an experiment a bundle has for one call.

use sha2::{Digest, Sha256};
use tollgate_interaction::{Reason, Share};

use super::{Arm, Experiment, Route, Unit};
use crate::bundle::Bundle;
use crate::condition::Scope;
use crate::decide::Denial;
use crate::facts::Facts;

/// What is known of one call.
#[derive(Clone, Copy, Debug)]
pub struct RouteFacts<'a> {
    /// What access rules know.
    pub request: Facts<'a>,
    /// The conversation.
    pub conversation: Option<&'a str>,
}

/// What a bundle says of where a call goes.
#[derive(Debug, Default)]
pub struct Planned<'b> {
    /// The route that takes the place of what the configuration says, by its place among [`Bundle::routes`].
    pub route: Option<(usize, &'b Route)>,
    /// The arm the call is in, and how it came there.
    pub arm: Option<(&'b Experiment, &'b Arm, Assignment)>,
    /// Experiments that the call could not take part in, for the record.
    pub reasons: Vec<Reason>,
}

/// How a call came into an arm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Id of the experiment.
    pub experiment: String,
    /// Name of the arm.
    pub arm: String,
    /// How likely it was.
    pub propensity: Share,
    /// What was assigned: `user`, `conversation`, `key` or `metadata.NAME`.
    pub unit: String,
}

impl Assignment {
    pub(super) fn detail(&self) -> String {
        let Assignment { experiment, arm, propensity, unit } = self;
        format!("arm `{arm}` of experiment `{experiment}` by the call's {unit}, with a share of {propensity}")
    }
}

/// A route or an experiment's condition failed to evaluate: the call is denied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {hint}")]
pub struct PlanError {
    /// The rule.
    pub rule: String,
    /// For the log.
    pub detail: String,
    /// For the caller.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl From<Denial> for PlanError {
    fn from(denial: Denial) -> Self {
        let Denial { rule, detail, message, hint, .. } = denial;
        PlanError { rule, detail, message, hint }
    }
}

/// Finds the first experiment and the first route of the bundle for the model that was asked for whose conditions hold.
///
/// # Errors
/// [`PlanError`] if a condition cannot be evaluated.
pub fn plan<'b>(bundle: &'b Bundle, facts: &RouteFacts<'_>) -> Result<Planned<'b>, PlanError> {
    let mut planned = Planned::default();
    if bundle.routes.is_empty() && bundle.experiments.is_empty() {
        return Ok(planned);
    }
    let scope = Scope::of_request(bundle, &facts.request);
    for experiment in bundle.experiments.iter().filter(|experiment| experiment.alias == facts.request.model) {
        if !holds(&experiment.id, experiment.when.as_ref(), &scope)? {
            continue;
        }
        let Some(unit) = experiment.unit.of(facts) else {
            planned.reasons.push(Reason {
                rule: experiment.id.clone(),
                effect: "skip".to_owned(),
                detail: format!("the call has no {}, so it is in no arm of `{}`", experiment.unit, experiment.id),
            });
            continue;
        };
        if let Some((arm, propensity)) = experiment.arm_of(unit) {
            let (experiment_id, arm_name) = (experiment.id.clone(), arm.name.clone());
            let unit = experiment.unit.to_string();
            let assignment = Assignment { experiment: experiment_id, arm: arm_name, propensity, unit };
            planned.arm = Some((experiment, arm, assignment));
            break;
        }
    }
    for (at, route) in bundle.routes.iter().enumerate().filter(|(_, route)| route.alias == facts.request.model) {
        if holds(&route.id, route.when.as_ref(), &scope)? {
            planned.route = Some((at, route));
            break;
        }
    }
    Ok(planned)
}

fn holds(rule: &str, when: Option<&crate::condition::Conditions>, scope: &Scope<'_>) -> Result<bool, PlanError> {
    let Some(when) = when else { return Ok(true) };
    when.hold(scope).map_err(|error| Denial::of_error(rule, &error).into())
}

impl Unit {
    fn of<'a>(&self, facts: &RouteFacts<'a>) -> Option<&'a str> {
        let unit = match self {
            Unit::User => facts.request.user_ref,
            Unit::Conversation => facts.conversation,
            Unit::Key => Some(facts.request.principal.key_id.as_str()),
            Unit::Metadata(name) => {
                facts.request.metadata.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
            }
        };
        unit.filter(|unit| !unit.is_empty())
    }
}

/// As bundles write it.
impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unit::User => f.write_str("user"),
            Unit::Conversation => f.write_str("conversation"),
            Unit::Key => f.write_str("key"),
            Unit::Metadata(name) => write!(f, "metadata.{name}"),
        }
    }
}

/// The place among `weights` that salt and unit lead to: 64 bits of SHA-256, as a part of the sum of the weights. `None` if
/// all weights are nothing.
pub(super) fn arm_at(salt: &str, unit: &str, weights: impl Iterator<Item = u32> + Clone) -> Option<usize> {
    let mut hash = Sha256::new();
    hash.update(salt.as_bytes());
    // A salt ends here whatever the unit begins with.
    hash.update([0]);
    hash.update(unit.as_bytes());
    let digest = hash.finalize();
    let drawn = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let total: u64 = weights.clone().map(u64::from).sum();
    let mut left = u64::try_from((u128::from(drawn) * u128::from(total)) >> 64).ok()?;
    weights.map(u64::from).position(|weight| {
        let is_it = left < weight;
        left = left.saturating_sub(weight);
        is_it
    })
}
