//! Rules that leave a class of data nowhere to go, whatever targets there are: found when the bundle loads.

use super::region::all_places;
use super::survey::classes;
use super::{Layer, Place};
use crate::bundle::{BundleError, DataClass, ResidencyEffect, ResidencyRule};
use crate::condition::Abstract;

/// The first rule after which no target anywhere could take calls of some class; `None` if every class has somewhere to go.
pub(crate) fn contradiction(rules: &[ResidencyRule], data_classes: &[DataClass]) -> Option<BundleError> {
    classes(data_classes).into_iter().find_map(|class| of_class(rules, class))
}

fn of_class(rules: &[ResidencyRule], class: Option<&str>) -> Option<BundleError> {
    let calls = class.map_or("calls".to_owned(), |class| format!("calls of class `{class}`"));
    let known = |name: &str| match name {
        "request.data_class" => Abstract::optional(class),
        _ => Abstract::Unknown,
    };
    // The places that are left of each layer, with the rule that narrowed them last; `None` while all are.
    let mut left: [Option<(Vec<Place>, &str)>; Layer::ALL.len()] = Default::default();
    for rule in rules.iter().filter(|rule| rule.when.settled_by(&known) == Some(true)) {
        let within = match &rule.effect {
            ResidencyEffect::Require { within, .. } => within,
            ResidencyEffect::Exclude { .. } => {
                let message = format!(
                    "rule `{}` leaves out every target, so that {calls} can go nowhere; say of which targets it speaks, such as \
                     `!target.self_hosted`, or deny the calls in `access`",
                    rule.id
                );
                return Some(BundleError::new(rule.at, message));
            }
        };
        for (layer, areas) in within {
            let before = left[*layer as usize].take();
            let fits = |place: &Place| areas.iter().any(|area| place.is_within(area));
            let places: Vec<Place> = match &before {
                None => all_places().filter(fits).collect(),
                Some((places, _)) => places.iter().filter(|place| fits(place)).cloned().collect(),
            };
            if let (true, Some((_, other))) = (places.is_empty(), before) {
                let message = format!(
                    "rules `{other}` and `{}` contradict each other: no place of {} meets both, so that {calls} can go nowhere",
                    rule.id,
                    layer.phrase()
                );
                return Some(BundleError::new(rule.at, message));
            }
            left[*layer as usize] = Some((places, &rule.id));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::bundle;

    const HEAD: &str = "apiVersion: tollgate/v1\nbundle: {name: t}\naccess: [{id: all, when: 'true', allow: {}}]\n";

    fn refusal(rules: &str) -> Option<String> {
        bundle::load(&format!("{HEAD}{rules}")).err().map(|error| error.to_string())
    }

    #[test]
    fn rules_that_no_target_could_meet_are_refused_with_their_place() {
        let both = "residency:
  - {id: eu, when: 'true', require: {inference: eu}}
  - {id: us, when: 'request.data_class == \"secret\"', require: {inference: us}}
";
        let classes = "data_classes: [{class: secret}, {class: open, when: 'true'}]\n";
        let error = refusal(&format!("{classes}{both}")).unwrap();
        let expected = "line 7, column 10: rules `eu` and `us` contradict each other: no place of inference meets both, so \
                        that calls of class `secret` can go nowhere";
        assert_eq!(error, expected);
        // Without the class, the second rule speaks of no call at all.
        assert_eq!(refusal(both), None);
    }

    #[test]
    fn rules_that_narrow_each_other_are_no_contradiction() {
        let rules = "residency:
  - {id: eu, when: 'true', require: {inference: eu, storage: [eu, us]}}
  - {id: de, when: 'true', require: {inference: [de, us], storage: us}}
  - {id: sometimes, when: 'principal.team == \"x\"', require: {inference: jp}}
";
        assert_eq!(refusal(rules), None);
    }

    #[test]
    fn a_rule_that_leaves_out_every_target_is_refused() {
        let error = refusal("residency: [{id: none, when: 'true', exclude: never}]\n").unwrap();
        assert!(error.contains("rule `none` leaves out every target"), "{error}");
    }
}
