//! What the configuration and the bundle say of routes, in words: where a target is, which calls a route takes, and how an
//! experiment divides them.

use tollgate_policy::residency::{Evidence, ON_PREM};
use tollgate_policy::route::{ArmLook, ExperimentLook, TargetLook, WhenLook};

use crate::format;
use crate::html::escape;

/// What stands where nobody told where a target is.
const NOT_TOLD: &str = "not told";

/// Where a target is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Where {
    /// Where the model runs: a region, a country, or `on premises`.
    pub(super) place: String,
    /// By whose law, if that was told.
    pub(super) law: String,
    /// All four places and how well they are known.
    pub(super) exact: String,
    /// Whether somebody told where the model runs.
    pub(super) is_told: bool,
}

/// An experiment on the calls of an alias.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) id: String,
    pub(super) href: String,
    pub(super) alias: String,
    /// What is assigned to an arm.
    pub(super) unit: String,
    /// HTML of its condition, if it has one.
    pub(super) when: Option<String>,
    pub(super) arms: Vec<TrialArm>,
}

/// One arm of it.
#[derive(Debug)]
pub(super) struct TrialArm {
    pub(super) name: String,
    pub(super) share: String,
    /// `to` with a target, `by route` with a route; nothing if the bundle does not say.
    pub(super) way: &'static str,
    pub(super) to: String,
}

impl Where {
    pub(super) fn of(target: &TargetLook) -> Where {
        let places = &target.places;
        let known = |place: &Option<String>| place.as_deref().map_or_else(|| NOT_TOLD.to_owned(), place_name);
        // A region that is in no table of places is still where calls are sent.
        let inference = places.inference.as_ref().or(target.region.as_ref());
        let evidence = match places.evidence {
            Evidence::Declared => "as declared",
            Evidence::Contract => "bound by contract",
            Evidence::Header => "said by each answer",
        };
        let parts = [
            ("runs in", inference.cloned()),
            ("kept in", places.storage.clone()),
            ("administered in", places.control_plane.clone()),
            ("under the law of", places.operator.clone()),
        ];
        let is_any_told = parts.iter().any(|(_, place)| place.is_some());
        let mut exact: Vec<String> = parts.iter().map(|(what, place)| format!("{what}: {}", known(place))).collect();
        exact.extend(is_any_told.then(|| evidence.to_owned()));
        Where {
            place: known(&inference.cloned()),
            law: match places.operator.as_deref() {
                // Of one's own machines, whose law it is goes without saying.
                Some(ON_PREM) => String::new(),
                Some(operator) => format!("law: {}", place_name(operator)),
                None => String::new(),
            },
            exact: exact.join("; "),
            is_told: inference.is_some(),
        }
    }
}

/// A place as people write it: countries and groups of countries in capitals.
fn place_name(place: &str) -> String {
    match place {
        ON_PREM => "on premises".to_owned(),
        short if short.len() <= 3 => short.to_uppercase(),
        longer => longer.to_owned(),
    }
}

/// HTML of a condition, each part set as code.
pub(super) fn condition(when: &WhenLook) -> String {
    let parts: Vec<String> = when.conditions.iter().map(|text| format!("<code>{}</code>", escape(text))).collect();
    parts.join(if when.any { " or " } else { " and " })
}

impl Trial {
    pub(super) fn of(experiment: &ExperimentLook) -> Trial {
        let total: u64 = experiment.arms.iter().map(|arm| u64::from(arm.weight)).sum();
        let unit = match experiment.unit.strip_prefix("metadata.") {
            Some(label) => format!("label {label}"),
            None => experiment.unit.clone(),
        };
        Trial {
            id: experiment.id.clone(),
            href: format!("/experiments#{}", experiment.id),
            alias: experiment.alias.clone(),
            unit,
            when: experiment.when.as_ref().map(condition),
            arms: experiment.arms.iter().map(|arm| TrialArm::of(arm, total)).collect(),
        }
    }
}

impl TrialArm {
    fn of(arm: &ArmLook, total: u64) -> TrialArm {
        let share = match total {
            0 => format::UNKNOWN.to_owned(),
            total => format::percent(f64::from(arm.weight) / total as f64),
        };
        let (way, to) = match (&arm.target, &arm.route) {
            (Some(target), _) => ("to", target.clone()),
            (None, Some(route)) => ("by route", route.clone()),
            (None, None) => ("", String::new()),
        };
        TrialArm { name: arm.name.clone(), share, way, to }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_policy::route::PlacesLook;

    use super::*;

    fn target(region: Option<&str>, places: PlacesLook) -> TargetLook {
        let snapshot = crate::sample::routing();
        let some = snapshot.routes[0].targets[0].clone();
        TargetLook { region: region.map(str::to_owned), places, ..some }
    }

    #[test]
    fn a_place_that_is_told_by_places_alone_is_shown() {
        let text = |name: &str| Some(name.to_owned());
        let places = PlacesLook { inference: text("eu"), operator: text("us"), ..PlacesLook::default() };
        let found = Where::of(&target(None, places));
        assert_eq!((found.place.as_str(), found.law.as_str(), found.is_told), ("EU", "law: US", true));
        assert_eq!(
            found.exact,
            "runs in: EU; kept in: not told; administered in: not told; under the law of: US; as declared"
        );
        let own = PlacesLook { inference: text("on_prem"), ..PlacesLook::default() };
        assert_eq!(Where::of(&target(None, own)).place, "on premises");
    }

    #[test]
    fn a_region_that_no_table_knows_is_shown_and_nothing_is_said_to_be_nothing() {
        assert_eq!(Where::of(&target(Some("moon-base-1"), PlacesLook::default())).place, "moon-base-1");
        let untold = Where::of(&target(None, PlacesLook::default()));
        assert_eq!((untold.place.as_str(), untold.law.as_str(), untold.is_told), (NOT_TOLD, "", false));
    }

    #[test]
    fn conditions_are_set_as_code_and_never_as_markup() {
        let when = WhenLook { conditions: vec!["a < 1".to_owned(), "b".to_owned()], any: true };
        assert_eq!(condition(&when), "<code>a &lt; 1</code> or <code>b</code>");
    }
}
