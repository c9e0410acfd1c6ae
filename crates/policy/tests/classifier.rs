//! The slot for a classifier. A process has one, so this is a process of its own.

use std::sync::Arc;
use std::time::Duration;

use tollgate_interaction::{Dialect, GuardOutcome, GuardPhase, Operation};
use tollgate_policy::control::Principal;
use tollgate_policy::guard::Score;
use tollgate_policy::guard::injection::{Classifier, ClassifierError, install};
use tollgate_policy::guard::rule::{Adviser, OnError, Session};
use tollgate_policy::residency::{Places, TargetFacts};
use tollgate_policy::{Facts, bundle};

/// Takes every text with a question mark for an attack.
#[derive(Debug)]
struct Suspicious;

impl Classifier for Suspicious {
    fn score(&self, text: &str, _: &dyn Fn() -> bool) -> Result<Score, ClassifierError> {
        Ok(Score::millionths(if text.contains('?') { 990_000 } else { 0 }))
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(250)
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
    let rules = bundle.guardrails(GuardPhase::Input, &facts, &[target]).unwrap();
    let service = &rules[0].services[0];
    assert_eq!((service.timeout, service.on_error), (Duration::from_millis(250), OnError::Block));
    let Adviser::Classifier(classifier) = &service.adviser else { panic!("{service:?} is not the classifier") };
    let mut session = Session::new(rules.clone(), || 0);
    for (text, is_hit) in [("fine", false), ("really?", true)] {
        let score = classifier.score(text, &|| false).unwrap();
        session.note_service((0, 0), score >= rules[0].threshold, 0, None);
        assert_eq!(session.blocked_by().is_some(), is_hit);
    }
    let verdict = &session.verdicts()[0];
    assert_eq!((verdict.guard.as_str(), verdict.verdict), ("injection.onnx", GuardOutcome::Hit));
    let mut failed = Session::new(rules, || 0);
    failed.note_failure((0, 0), 0, "no tokens".to_owned());
    assert!(failed.blocked_by().is_some(), "a rule that says nothing else does not let pass what was not looked at");
    let redacts = yaml("injection.onnx").replace("block", "redact");
    assert!(bundle::load(&redacts).unwrap_err().message.contains("finds nothing to redact"));
}
