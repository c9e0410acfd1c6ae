//! The slot for a classifier. A process has one, so this is a process of its own.

use std::sync::Arc;

use tollgate_interaction::{Dialect, GuardOutcome, GuardPhase, Operation};
use tollgate_policy::control::Principal;
use tollgate_policy::guard::Score;
use tollgate_policy::guard::injection::{Classifier, install};
use tollgate_policy::guard::redact::Vault;
use tollgate_policy::guard::rule::Session;
use tollgate_policy::residency::{Places, TargetFacts};
use tollgate_policy::{Facts, bundle};

/// Takes every text with a question mark for an attack.
#[derive(Debug)]
struct Suspicious;

impl Classifier for Suspicious {
    fn score(&self, text: &str) -> Score {
        Score::millionths(if text.contains('?') { 990_000 } else { 0 })
    }
}

fn yaml(guard: &str) -> String {
    format!(
        "apiVersion: tollgate/v1\nbundle: {{name: c}}\naccess: [{{id: a, when: \"true\", allow: {{}}}}]\n\
         guardrails: [{{id: g, phase: input, run: [\"{guard}\"], on_hit: {{action: block, score_at_least: 0.9}}}}]\n"
    )
}

#[test]
fn a_classifier_is_asked_once_it_is_installed_and_missed_by_name_before() {
    assert!(bundle::load(&yaml("injection.onnx")).unwrap_err().message.contains("no classifier is installed"));
    assert!(bundle::load(&yaml("injection.onnx?")).is_ok());
    assert!(install(Arc::new(Suspicious)) && !install(Arc::new(Suspicious)));
    let bundle = bundle::load(&yaml("injection.onnx")).unwrap();
    let (principal, places) = (Principal::default(), Places::default());
    let facts = Facts::new(&principal, Operation::Chat, Dialect::Openai, "m", 0);
    let target = TargetFacts { provider: "p", model: "m", tags: &[], places: &places, self_hosted: false };
    let mut session = Session::new(bundle.guardrails(GuardPhase::Input, &facts, &[target]).unwrap(), || 0);
    session.inspect("fine", &mut Vault::default());
    assert!(session.blocked_by().is_none());
    session.inspect("really?", &mut Vault::default());
    assert!(session.blocked_by().is_some());
    assert_eq!(session.verdicts()[0].verdict, GuardOutcome::Hit);
}
