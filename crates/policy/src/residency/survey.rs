//! Residency by exhaustion: for every class of data and every target, whether calls may go there, before there are any.
//! Conditions are evaluated with the class and the target known and everything else not: what then is not settled is said
//! to depend, and never guessed at.

use super::reach::{Reach, reach};
use super::{Layer, Place, TargetFacts, missing};
use crate::bundle::{Bundle, BundleError, DataClass, ResidencyEffect, ResidencyRule};
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

impl Survey {
    /// The classes that can go to none of the targets; `None` for calls that nothing classifies.
    pub fn nowhere(&self) -> impl Iterator<Item = Option<&str>> {
        self.reach.iter().filter(|reach| reach.targets == 0).map(|reach| reach.class.as_deref())
    }

    /// A mistake for each class that can go to none of the targets, at the rule that leaves out most of them.
    #[must_use]
    pub fn stranded(&self, bundle: &Bundle) -> Vec<BundleError> {
        self.nowhere().map(|class| self.stranding(class, bundle)).collect()
    }

    fn stranding(&self, class: Option<&str>, bundle: &Bundle) -> BundleError {
        let rows = self.rows.iter().filter(|row| row.class.as_deref() == class);
        let out: Vec<(&str, &str, &str)> = rows
            .filter_map(|row| match &row.passage {
                Passage::No { rule, why } => Some((row.target.as_str(), rule.as_str(), why.as_str())),
                Passage::Yes | Passage::Depends { .. } => None,
            })
            .collect();
        let shuts = |rule: &ResidencyRule| out.iter().filter(|(_, by, _)| *by == rule.id).count();
        // Of several, the first: `max_by_key` would give the last.
        let worst = bundle.residency.iter().rev().max_by_key(|rule| shuts(rule));
        // Targets that the same rule leaves out for the same reason are told of together.
        let mut together: Vec<((&str, &str), Vec<String>)> = Vec::new();
        for (target, rule, why) in &out {
            let name = format!("`{target}`");
            match together.iter_mut().find(|(by, _)| *by == (*rule, *why)) {
                Some((_, names)) => names.push(name),
                None => together.push(((rule, why), vec![name])),
            }
        }
        let targets = together
            .into_iter()
            .map(|((rule, why), names)| format!("rule `{rule}` leaves out {} ({why})", listed(names.into_iter())));
        let message = format!(
            "{} can go to no target of the configuration: {}; add a target within what the rules demand, say where the present \
             ones are (`places`), or deny the calls in `access`",
            calls_of(class),
            listed(targets)
        );
        match worst {
            Some(rule) => BundleError::new(rule.at, message),
            None => BundleError::at_start(message),
        }
    }
}

/// Calls of a class, in words.
#[must_use]
pub fn calls_of(class: Option<&str>) -> String {
    class.map_or_else(|| "calls without a class".to_owned(), |class| format!("calls of class `{class}`"))
}

/// The first few of a list, and how many more there are.
pub(super) fn listed(items: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 4;
    let mut items: Vec<String> = items.collect();
    let more = items.len().saturating_sub(SHOWN);
    if more > 1 {
        items.truncate(SHOWN);
        items.push(format!("{more} more"));
    }
    match items.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        Some((last, _)) => last.clone(),
        None => "it has none".to_owned(),
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

    #[test]
    fn a_class_that_can_go_nowhere_is_a_mistake_at_the_rule_that_leaves_out_most() {
        let bundle = bundle::load(RULES).unwrap();
        let (frankfurt, virginia, unknown) = (places("eu-central-1"), places("us-east-1"), Places::default());
        let target = |places| TargetFacts { provider: "p", model: "m", tags: &[], places, self_hosted: false };
        let targets = [
            ("eu/m".to_owned(), target(&frankfurt)),
            ("us/m".to_owned(), target(&virginia)),
            ("odd/m".to_owned(), target(&unknown)),
            ("us/n".to_owned(), target(&virginia)),
        ];
        let stranded = survey(&bundle, &targets).stranded(&bundle);
        let [mistake] = stranded.as_slice() else { panic!("{stranded:?}") };
        let expected = "line 10, column 9: calls of class `special` can go to no target of the configuration: rule \
                        `special-at-home` leaves out `eu/m` (at home only), rule `personal-eu` leaves out `us/m` and `us/n` (the \
                        place of inference is `us-east-1`, not `eu`) and rule `personal-eu` leaves out `odd/m` (the place of \
                        inference is not known, not `eu`); add";
        assert!(mistake.to_string().starts_with(expected), "{mistake}");
        assert_eq!(survey(&bundle, &[]).stranded(&bundle).len(), 3, "without a target there is nowhere to go");
    }
}
