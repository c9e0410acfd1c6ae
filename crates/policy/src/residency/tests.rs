use tollgate_interaction::{Dialect, Operation};

use super::*;
use crate::bundle;
use crate::control::Principal;

const HEAD: &str = "apiVersion: tollgate/v1\nbundle: {name: test}\naccess: [{id: all, when: 'true', allow: {}}]\n";

const EU_BANK: &str = "data_classes:
  - {class: special, when: 'principal.team == \"hr\"'}
  - {class: personal, when: 'request.metadata.app == \"crm\"'}
  - {class: public}
residency:
  - id: personal-eu
    when: 'request.data_class in [\"personal\", \"special\"] || guard.pii_count > 0'
    require: {inference: [eu, on_prem], storage: EU}
    evidence_at_least: contract
  - id: special-at-home
    when: ['request.data_class == \"special\"', '!target.self_hosted']
    exclude: special categories stay on our machines
";

fn rules(text: &str) -> Bundle {
    bundle::load(&format!("{HEAD}{text}")).unwrap_or_else(|error| panic!("{error}"))
}

fn places(inference: &str, storage: &str, evidence: Evidence) -> Places {
    let place = |name: &str| Place::parse(name).ok();
    Places { inference: place(inference), storage: place(storage), evidence, ..Places::default() }
}

struct Asked<'a> {
    team: &'a str,
    metadata: &'a [(String, String)],
    pii: Option<u32>,
}

/// Which rule leaves the target out; empty if none does.
fn excluded_by(bundle: &Bundle, asked: &Asked<'_>, places: &Places, self_hosted: bool) -> (String, String) {
    let principal = Principal { team: asked.team.into(), ..Principal::default() };
    let pii_counts = asked.pii.map(|count| vec![("iban".to_owned(), count)]);
    let facts = Facts {
        metadata: asked.metadata,
        pii_counts: pii_counts.as_deref(),
        ..Facts::new(&principal, Operation::Chat, Dialect::Openai, "m", 0)
    };
    let facts = Facts { data_class: bundle.data_class(&facts), ..facts };
    let target = TargetFacts { provider: "p", model: "m", tags: &[], places, self_hosted };
    match eligible(bundle, &facts, &target) {
        Eligibility::Eligible => Default::default(),
        Eligibility::Excluded { rule, why } => (rule, why),
    }
}

fn labels(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_target_outside_what_is_required_is_left_out_with_the_place() {
    let (bundle, crm) = (rules(EU_BANK), labels(&[("app", "crm")]));
    let asked = Asked { team: "red", metadata: &crm, pii: Some(0) };
    let by = |places: &Places| excluded_by(&bundle, &asked, places, false);
    assert_eq!(by(&places("eu-central-1", "de", Evidence::Contract)).0, "");
    assert_eq!(by(&places("on_prem", "fr", Evidence::Header)).0, "");
    let (rule, why) = by(&places("us-east-1", "eu", Evidence::Contract));
    assert_eq!(
        (rule.as_str(), why.as_str()),
        ("personal-eu", "the place of inference is `us-east-1`, not `eu` or `on_prem`")
    );
    assert_eq!(by(&places("eu", "", Evidence::Contract)).1, "the place of storage is not known, not `eu`");
    let (_, why) = by(&places("eu", "eu", Evidence::Declared));
    assert_eq!(why, "its places are known by `declared` only, and `contract` is asked for");
    assert_eq!(by(&Places::default()).0, "personal-eu", "a place that is not known satisfies nothing");
}

#[test]
fn calls_that_no_rule_speaks_of_go_anywhere() {
    let (bundle, public) = (rules(EU_BANK), labels(&[("app", "web"), ("data_class", "public")]));
    let asked = Asked { team: "red", metadata: &public, pii: Some(0) };
    assert_eq!(excluded_by(&bundle, &asked, &Places::default(), false).0, "");
    let found = Asked { pii: Some(2), ..asked };
    assert_eq!(excluded_by(&bundle, &found, &Places::default(), false).0, "personal-eu");
}

#[test]
fn a_label_raises_the_class_and_never_lowers_it() {
    let (bundle, public) = (rules(EU_BANK), labels(&[("app", "crm"), ("data_class", "public")]));
    let abroad = places("us-east-1", "us", Evidence::Header);
    let lowered = Asked { team: "red", metadata: &public, pii: Some(0) };
    assert_eq!(excluded_by(&bundle, &lowered, &abroad, false).0, "personal-eu");
    let special = labels(&[("app", "web"), ("data_class", "special")]);
    let raised = Asked { team: "red", metadata: &special, pii: Some(0) };
    let at_home = places("eu", "eu", Evidence::Header);
    assert_eq!(excluded_by(&bundle, &raised, &at_home, false).0, "special-at-home");
    assert_eq!(excluded_by(&bundle, &raised, &at_home, true).0, "");
}

#[test]
fn what_cannot_be_told_counts_as_the_more_sensitive() {
    let bundle = rules(EU_BANK);
    // The condition on `request.metadata.app` fails without that label.
    let unlabelled = Asked { team: "red", metadata: &[], pii: Some(0) };
    assert_eq!(excluded_by(&bundle, &unlabelled, &Places::default(), false).0, "personal-eu");
    let mistyped = labels(&[("app", "web"), ("data_class", "pubic")]);
    let mistyped = Asked { team: "red", metadata: &mistyped, pii: Some(0) };
    assert_eq!(excluded_by(&bundle, &mistyped, &places("eu", "eu", Evidence::Header), false).0, "special-at-home");
    // Nothing looked for personal data: the rule cannot be evaluated, which excludes.
    let public = labels(&[("app", "web"), ("data_class", "public")]);
    let not_looked_at = Asked { team: "red", metadata: &public, pii: None };
    let (rule, why) = excluded_by(&bundle, &not_looked_at, &places("eu", "eu", Evidence::Header), false);
    assert_eq!(rule, "personal-eu");
    assert!(why.starts_with("a condition could not be evaluated"), "{why}");
}
