//! Where the data of a class can go, all its targets taken together, and whether that is within the European Union. What the
//! configuration does not tell is said not to be told: neither that data stays, nor that it leaves.

use std::collections::{BTreeMap, BTreeSet};

use super::survey::{Passage, SurveyRow, listed};
use super::{Layer, ON_PREM, Place, TargetFacts};

/// The places that data is at. By whom and from where it is administered is another question.
const AT: [Layer; 2] = [Layer::Inference, Layer::Storage];

/// Where the data of one class can go.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Reach {
    /// The class; `None` for calls that nothing classifies.
    pub class: Option<String>,
    /// Targets that it may go to, those that depend included.
    pub targets: usize,
    /// Places of inference that it reaches; `unknown` among them where a target's is not known.
    pub inference: BTreeSet<String>,
    /// Places of storage that it reaches.
    pub storage: BTreeSet<String>,
    /// Whether inference and storage of every one of these targets lie in the European Union: `false` if one is known not to;
    /// `None` if there is no target, or if the configuration does not tell of one.
    pub stays_in_eu: Option<bool>,
    /// Targets of which a place is known to be outside the European Union, or anywhere.
    pub outside: BTreeSet<String>,
    /// Targets on premises, with whose law their operator is under, if the configuration tells.
    pub on_premises: BTreeMap<String, Option<String>>,
    /// Targets of which a place is not told.
    pub not_told: BTreeSet<String>,
}

/// Where a target is, as far as the question is the European Union.
enum Whereabouts {
    Inside,
    Outside,
    Premises,
    NotTold,
}

pub(super) fn reach(class: Option<&str>, targets: &[(String, TargetFacts<'_>)], rows: &[SurveyRow]) -> Reach {
    let open = || {
        let open = targets.iter().zip(rows).filter(|(_, row)| !matches!(row.passage, Passage::No { .. }));
        open.map(|(target, _)| target)
    };
    let places = |layer| -> BTreeSet<String> {
        let name = |target: &TargetFacts<'_>| {
            target.places.at(layer).map_or("unknown".to_owned(), |place| place.as_str().to_owned())
        };
        open().map(|(_, target)| name(target)).collect()
    };
    let mut reach = Reach {
        class: class.map(str::to_owned),
        targets: open().count(),
        inference: places(Layer::Inference),
        storage: places(Layer::Storage),
        stays_in_eu: None,
        outside: BTreeSet::new(),
        on_premises: BTreeMap::new(),
        not_told: BTreeSet::new(),
    };
    let mut inside = 0;
    for (name, target) in open() {
        match whereabouts(target) {
            Whereabouts::Inside => inside += 1,
            Whereabouts::Outside => _ = reach.outside.insert(name.clone()),
            Whereabouts::Premises => _ = reach.on_premises.insert(name.clone(), law(target)),
            Whereabouts::NotTold => _ = reach.not_told.insert(name.clone()),
        }
    }
    reach.stays_in_eu = match reach.targets {
        0 => None,
        _ if !reach.outside.is_empty() => Some(false),
        targets => (inside == targets).then_some(true),
    };
    reach
}

/// The worse of the two places counts: one outside makes the target one that is outside.
fn whereabouts(target: &TargetFacts<'_>) -> Whereabouts {
    let Ok(union) = Place::parse("eu") else { return Whereabouts::NotTold };
    let places = || AT.into_iter().map(|layer| target.places.at(layer));
    let is_premises = |place: &Place| place.as_str() == ON_PREM;
    if places().flatten().any(|place| !is_premises(place) && !place.is_within(&union)) {
        Whereabouts::Outside
    } else if places().any(|place| place.is_none()) {
        Whereabouts::NotTold
    } else if places().flatten().any(is_premises) {
        Whereabouts::Premises
    } else {
        Whereabouts::Inside
    }
}

/// Whose law the operator is under. That it is on its own premises says nothing of that.
fn law(target: &TargetFacts<'_>) -> Option<String> {
    let operator = target.places.operator.as_ref().filter(|place| place.as_str() != ON_PREM)?;
    Some(operator.as_str().to_owned())
}

impl Reach {
    /// Whether data of the class stays in the European Union, for people.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Reach { targets, outside, on_premises, not_told, .. } = self;
        let names = |names: &mut dyn Iterator<Item = &String>| listed(names.map(|name| format!("`{name}`")));
        if *targets == 0 {
            return "can go nowhere".to_owned();
        }
        let mut said = vec![match (outside.is_empty(), on_premises.len() + not_told.len()) {
            (false, _) => format!("can leave the European Union: {}", names(&mut outside.iter())),
            (true, 0) => "stays in the European Union".to_owned(),
            (true, others) if others == *targets && not_told.is_empty() => "stays on premises".to_owned(),
            (true, _) if not_told.is_empty() => "stays in the European Union or on premises".to_owned(),
            (true, _) => "not known to stay in the European Union".to_owned(),
        }];
        let laws: BTreeSet<Option<&String>> = on_premises.values().map(Option::as_ref).collect();
        for law in laws {
            let of_law = names(&mut on_premises.iter().filter(|(_, of)| of.as_ref() == law).map(|(name, _)| name));
            said.push(match law {
                Some(law) => format!("{of_law} on premises, of an operator under the law of `{law}`"),
                None => format!(
                    "{of_law} on premises, and where that is the configuration does not tell (`places: {{operator: …}}` says \
                     whose law the operator is under)"
                ),
            });
        }
        if !not_told.is_empty() {
            let verb = if not_told.len() == 1 { "is" } else { "are" };
            said.push(format!("where {} {verb}, the configuration does not tell", names(&mut not_told.iter())));
        }
        said.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Evidence, Places, TargetFacts, survey};
    use super::*;
    use crate::bundle;

    const RULES: &str = "apiVersion: tollgate/v1\nbundle: {name: t}\naccess: [{id: all, when: 'true', allow: {}}]\n";

    fn sentence(targets: &[(&str, [&str; 3])]) -> (Option<bool>, String) {
        let bundle = bundle::load(RULES).unwrap();
        let places: Vec<(String, Places)> = targets
            .iter()
            .map(|(name, [inference, storage, operator])| {
                let place = |name: &str| Place::parse(name).ok();
                let places = Places {
                    inference: place(inference),
                    storage: place(storage),
                    control_plane: None,
                    operator: place(operator),
                    evidence: Evidence::Declared,
                };
                ((*name).to_owned(), places)
            })
            .collect();
        let facts = |places| TargetFacts { provider: "p", model: "m", tags: &[], places, self_hosted: false };
        let targets: Vec<_> = places.iter().map(|(name, places)| (name.clone(), facts(places))).collect();
        let reach = survey(&bundle, &targets).reach.remove(0);
        (reach.stays_in_eu, reach.sentence())
    }

    #[test]
    fn what_is_on_premises_is_neither_in_the_union_nor_known_to_leave_it() {
        let (frankfurt, virginia) = (("eu/m", ["eu-central-1", "eu", "us"]), ("us/m", ["us-east-1", "eu", "us"]));
        let (own, ours) = (("own/m", ["on_prem", "on_prem", ""]), ("ours/m", ["on_prem", "de", "de"]));
        let not_told = " on premises, and where that is the configuration does not tell (`places: {operator: …}` says whose law \
                        the operator is under)";
        assert_eq!(sentence(&[frankfurt]), (Some(true), "stays in the European Union".to_owned()));
        assert_eq!(sentence(&[frankfurt, virginia]), (Some(false), "can leave the European Union: `us/m`".to_owned()));
        assert_eq!(sentence(&[own]), (None, format!("stays on premises; `own/m`{not_told}")));
        assert_eq!(
            sentence(&[frankfurt, ours]),
            (
                None,
                "stays in the European Union or on premises; `ours/m` on premises, of an operator under the law of `de`"
                    .to_owned()
            )
        );
        assert_eq!(
            sentence(&[virginia, own]),
            (Some(false), format!("can leave the European Union: `us/m`; `own/m`{not_told}"))
        );
        assert_eq!(
            sentence(&[frankfurt, ("odd/m", ["eu", "", ""])]),
            (
                None,
                "not known to stay in the European Union; where `odd/m` is, the configuration does not tell".to_owned()
            )
        );
        assert_eq!(sentence(&[("any/m", ["global", "eu", ""])]).0, Some(false), "wherever there is room is anywhere");
    }

    #[test]
    fn long_lists_are_cut_short_with_their_number() {
        let names: Vec<String> = (1..=9).map(|number| format!("us/{number}")).collect();
        let targets: Vec<(&str, [&str; 3])> = names.iter().map(|name| (name.as_str(), ["us", "us", "us"])).collect();
        let said = sentence(&targets).1;
        assert_eq!(said, "can leave the European Union: `us/1`, `us/2`, `us/3`, `us/4` and 5 more");
    }
}
