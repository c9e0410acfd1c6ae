//! Budget: a decision with ten rules, four of them CEL over the request's context, takes at most 20 µs in 99 of 100 cases.
//!
//! Each call is timed by itself, as a percentile of single calls cannot be told from Criterion's batches: the clock's own
//! cost is in it. The residency of three targets is measured beside it, since each candidate of a route is asked about.

use std::hint::black_box;
use std::time::Instant;

use serde_json::json;
use tollgate_interaction::{Decision, Dialect, Operation};
use tollgate_policy::control::Principal;
use tollgate_policy::residency::{Eligibility, Evidence, Place, Places, TargetFacts, eligible};
use tollgate_policy::{Bundle, Facts, bundle, decide};

use crate::report::{Budget, Report, short};

const BUDGET_NS: f64 = 20_000.0;
const CALLS: usize = 200_000;
/// 2026-11-23, a Monday.
const NOW_US: i64 = 1_795_392_000_000_000;

/// Ten access rules that all are looked at: the first six are settled by constants, four need the interpreter.
const RULES: &str = r#"
apiVersion: tollgate/v1
bundle: {name: bench}
data_classes:
  - {class: personal, when: 'has(request.metadata.app) && request.metadata.app == "crm"'}
  - {class: secret, when: 'has(request.metadata.app) && request.metadata.app == "vault"'}
  - {class: public, when: "true"}
access:
  - {id: embeddings, when: "true", allow: {operations: [embeddings]}}
  - {id: images, when: "true", allow: {operations: [images]}}
  - {id: speech, when: "true", allow: {operations: [speech]}}
  - {id: rerank, when: "true", allow: {operations: [rerank]}}
  - {id: small-models, when: "true", allow: {models: ["sandbox/*"]}}
  - {id: open-models, when: "true", allow: {models: ["own/*"]}}
  - {id: no-batch, when: ['has(request.priority) && request.priority == "batch"', 'request.weekday <= 5'], deny: not now}
  - {id: no-giants, when: 'request.estimated_input_tokens > 500000 && !("long" in request.capabilities)', deny: too long}
  - {id: staging, when: 'request.metadata.env in ["dev", "test"] && request.model.startsWith("openai/o")', deny: not here}
  - id: kyc
    when: 'principal.team in ["kyc", "fraud"] && has(request.metadata.case_id) && request.data_class != "secret"'
    allow: {models: ["openai/*"]}
residency:
  - id: personal-eu
    when: 'request.data_class in ["personal"]'
    require: {inference: eu, storage: eu}
  - {id: own-only, when: 'request.metadata.env == "prod" && "untrusted" in target.tags', exclude: not in production}
"#;

/// Measures and compares.
///
/// # Errors
/// If a bundle does not load or decides otherwise than it should.
pub(crate) fn run() -> anyhow::Result<Report> {
    let bundle = bundle::load(RULES)?;
    let principal = Principal {
        key_id: "key-1".to_owned(),
        tenant: "acme".to_owned(),
        team: "fraud".to_owned(),
        ..Principal::default()
    };
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let metadata = [label("app", "crm"), label("case_id", "4711"), label("env", "prod")];
    let capabilities = ["tools".to_owned(), "stream".to_owned()];
    let places = |name: &str| {
        let place = Place::parse(name).ok();
        Places { inference: place.clone(), storage: place, evidence: Evidence::Contract, ..Places::default() }
    };
    let targets = [places("eu-central-1"), places("us-east-1"), places("swedencentral")];
    let asked = || {
        let facts = Facts {
            stream: true,
            metadata: &metadata,
            estimated_input_tokens: Some(12_000),
            capabilities: &capabilities,
            ..Facts::new(&principal, Operation::Chat, Dialect::Openai, "openai/gpt-5", NOW_US)
        };
        Facts { data_class: bundle.data_class(&facts), ..facts }
    };
    let verdict = decide(&bundle, &asked());
    anyhow::ensure!(verdict.decision == Decision::Allow && verdict.reasons[0].rule == "kyc", "decided {verdict:?}");
    anyhow::ensure!(places_of(&bundle, &asked(), &targets) == 2, "two of the three targets are in Europe");

    let mut report =
        Report::start("policy", "ten rules, four of them CEL".to_owned(), vec!["what", "p50 ns", "p99 ns", "p99.9 ns"]);
    let decided = percentiles(|| drop(black_box(decide(black_box(&bundle), &asked()))));
    let placed = percentiles(|| {
        black_box(places_of(black_box(&bundle), &asked(), &targets));
    });
    for (what, [p50, p99, p999]) in [("decision", decided), ("residency of three targets", placed)] {
        let kept = json!({"what": what, "p50_ns": p50, "p99_ns": p99, "p999_ns": p999});
        report.row(vec![what.to_owned(), short(p50), short(p99), short(p999)], kept);
        report.budget(Budget::at_most(format!("{what}, p99 in ns"), p99, BUDGET_NS));
    }
    Ok(report)
}

/// How many of the targets the call may go to.
fn places_of(bundle: &Bundle, facts: &Facts<'_>, targets: &[Places]) -> usize {
    let may_go = |places: &&Places| {
        let target = TargetFacts { provider: "p", model: "m", tags: &[], places, self_hosted: false };
        eligible(bundle, facts, &target) == Eligibility::Eligible
    };
    targets.iter().filter(may_go).count()
}

/// The 50th, 99th and 99.9th percentile of single calls, in nanoseconds.
fn percentiles(mut run: impl FnMut()) -> [f64; 3] {
    (0..CALLS / 10).for_each(|_| run());
    let mut took: Vec<u64> = (0..CALLS)
        .map(|_| {
            let started = Instant::now();
            run();
            u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX)
        })
        .collect();
    took.sort_unstable();
    [500, 990, 999].map(|thousandths| took[(CALLS - 1) * thousandths / 1_000] as f64)
}
