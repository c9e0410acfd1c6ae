//! Residency by exhaustion: for every class of data and every target, whether calls may go there, before there are any.
//! Conditions are evaluated with the class and the target known and everything else not: what then is not settled is said
//! to depend, and never guessed at.

use std::collections::BTreeSet;

use super::{Layer, Place, TargetFacts, missing};
use crate::bundle::{Bundle, DataClass, ResidencyEffect, ResidencyRule};
use crate::condition::Abstract;

/// Whether calls of a class may go to a target.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "may_go", rename_all = "snake_case")]
pub enum Passage {
    /// No rule stands in the way, whatever else the call is.
    Yes,
    /// A rule leaves the target out, whatever else the call is.
    No {
        /// Its id.
        rule: String,
        /// What is missing.
        why: String,
    },
    /// A rule leaves it out where its conditions hold, which depends on more than class and target.
    Depends {
        /// Its id.
        rule: String,
        /// On what.
        on: String,
    },
}

/// One class of data and one target.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SurveyRow {
    /// Class of the data; `None` for calls that nothing classifies.
    pub class: Option<String>,
    /// `provider/model`.
    pub target: String,
    /// Whether the one may go to the other.
    #[serde(flatten)]
    pub passage: Passage,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Survey {
    /// Class by class, in the order of the bundle; each with every target.
    pub rows: Vec<SurveyRow>,
    /// For each class what can be said of where its data can go.
    pub reach: Vec<Reach>,
}

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
    /// Whether inference and storage of every one of these targets lie in the European Union; `None` if there is none.
    pub stays_in_eu: Option<bool>,
}

impl Survey {
    /// The classes that can go to none of the targets; `None` for calls that nothing classifies.
    pub fn nowhere(&self) -> impl Iterator<Item = Option<&str>> {
        self.reach.iter().filter(|reach| reach.targets == 0).map(|reach| reach.class.as_deref())
    }
}

/// Surveys a bundle over `targets`, each with its name.
#[must_use]
pub fn survey(bundle: &Bundle, targets: &[(String, TargetFacts<'_>)]) -> Survey {
    let mut survey = Survey { rows: Vec::new(), reach: Vec::new() };
    for class in classes(&bundle.data_classes) {
        let rows: Vec<SurveyRow> = targets
            .iter()
            .map(|(name, target)| SurveyRow {
                class: class.map(str::to_owned),
                target: name.clone(),
                passage: passage(bundle, class, target),
            })
            .collect();
        survey.reach.push(reach(class, targets, &rows));
        survey.rows.extend(rows);
    }
    survey
}

/// The classes that calls can be of. A call is of none if the bundle has no class that holds for every call.
pub(super) fn classes(classes: &[DataClass]) -> Vec<Option<&str>> {
    let named = classes.iter().map(|class| Some(class.name.as_str()));
    let always = classes.iter().any(|class| class.always_holds());
    named.chain((!always).then_some(None)).collect()
}

fn passage(bundle: &Bundle, class: Option<&str>, target: &TargetFacts<'_>) -> Passage {
    let mut depends = None;
    for rule in &bundle.residency {
        let Some(why) = in_the_way(rule, target) else { continue };
        match rule.when.settled_by(&|name| known(name, class, target)) {
            Some(true) => return Passage::No { rule: rule.id.clone(), why },
            Some(false) => {}
            None => {
                depends.get_or_insert_with(|| Passage::Depends { rule: rule.id.clone(), on: rule.when.to_string() });
            }
        }
    }
    depends.unwrap_or(Passage::Yes)
}

/// Why a rule leaves the target out of the calls it speaks of.
fn in_the_way(rule: &ResidencyRule, target: &TargetFacts<'_>) -> Option<String> {
    match &rule.effect {
        ResidencyEffect::Exclude { message } => Some(message.clone()),
        ResidencyEffect::Require { within, evidence } => missing(within, *evidence, target.places),
    }
}

fn known(name: &str, class: Option<&str>, target: &TargetFacts<'_>) -> Abstract {
    let place = |layer| Abstract::optional(target.places.at(layer).map(Place::as_str));
    match name {
        "request.data_class" => Abstract::optional(class),
        "target.provider" => Abstract::text(target.provider),
        "target.model" => Abstract::text(target.model),
        "target.tags" => Abstract::List(target.tags.iter().map(|tag| Abstract::text(tag)).collect()),
        "target.inference_region" => place(Layer::Inference),
        "target.storage_region" => place(Layer::Storage),
        "target.control_plane_region" => place(Layer::ControlPlane),
        "target.operator_jurisdiction" => place(Layer::Operator),
        "target.self_hosted" => Abstract::Bool(target.self_hosted),
        "target.evidence" => Abstract::text(target.places.evidence.as_str()),
        _ => Abstract::Unknown,
    }
}

fn reach(class: Option<&str>, targets: &[(String, TargetFacts<'_>)], rows: &[SurveyRow]) -> Reach {
    let open: Vec<&TargetFacts<'_>> = targets
        .iter()
        .zip(rows)
        .filter(|(_, row)| !matches!(row.passage, Passage::No { .. }))
        .map(|((_, target), _)| target)
        .collect();
    let places = |layer| -> BTreeSet<String> {
        open.iter()
            .map(|target| target.places.at(layer).map_or("unknown".to_owned(), |place| place.as_str().to_owned()))
            .collect()
    };
    let union = Place::parse("eu").ok();
    let in_union = |target: &TargetFacts<'_>| {
        [Layer::Inference, Layer::Storage].iter().all(|layer| {
            let (place, union) = (target.places.at(*layer), union.as_ref());
            place.zip(union).is_some_and(|(place, union)| place.is_within(union))
        })
    };
    Reach {
        class: class.map(str::to_owned),
        targets: open.len(),
        inference: places(Layer::Inference),
        storage: places(Layer::Storage),
        stays_in_eu: (!open.is_empty()).then(|| open.iter().all(|target| in_union(target))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Evidence, Places};
    use super::*;
    use crate::bundle;

    const RULES: &str = r#"
apiVersion: tollgate/v1
bundle: {name: survey}
data_classes:
  - {class: special}
  - {class: personal, when: 'principal.team == "hr"'}
  - {class: public, when: "true"}
access: [{id: all, when: "true", allow: {}}]
residency:
  - id: personal-eu
    when: 'request.data_class in ["personal", "special"]'
    require: {inference: eu, storage: eu}
    evidence_at_least: contract
  - id: special-at-home
    when: 'request.data_class == "special" && !target.self_hosted'
    exclude: at home only
  - id: no-america-for-red
    when: 'principal.team == "red"'
    require: {inference: [eu, gb]}
"#;

    fn places(name: &str) -> Places {
        let place = Place::parse(name).ok();
        Places { inference: place.clone(), storage: place, evidence: Evidence::Contract, ..Places::default() }
    }

    #[test]
    fn every_pair_of_class_and_target_is_answered() {
        let bundle = bundle::load(RULES).unwrap();
        let (frankfurt, virginia, unknown) = (places("eu-central-1"), places("us-east-1"), Places::default());
        let target = |places, self_hosted| TargetFacts { provider: "p", model: "m", tags: &[], places, self_hosted };
        let targets = [
            ("eu/m".to_owned(), target(&frankfurt, false)),
            ("us/m".to_owned(), target(&virginia, false)),
            ("own/m".to_owned(), target(&frankfurt, true)),
            ("odd/m".to_owned(), target(&unknown, false)),
        ];
        let survey = survey(&bundle, &targets);
        let short = |row: &SurveyRow| match &row.passage {
            Passage::Yes => "yes".to_owned(),
            Passage::No { rule, .. } => format!("no: {rule}"),
            Passage::Depends { rule, .. } => format!("depends: {rule}"),
        };
        let found: Vec<String> = survey.rows.iter().map(short).collect();
        assert_eq!(
            found,
            [
                "no: special-at-home",
                "no: personal-eu",
                "yes",
                "no: personal-eu",
                "yes",
                "no: personal-eu",
                "yes",
                "no: personal-eu",
                "yes",
                "depends: no-america-for-red",
                "yes",
                "depends: no-america-for-red",
            ]
        );
        let stays: Vec<Option<bool>> = survey.reach.iter().map(|reach| reach.stays_in_eu).collect();
        assert_eq!(stays, [Some(true), Some(true), Some(false)]);
        assert!(survey.reach[2].inference.contains("unknown"));
    }
}
