//! Where a call may go: every candidate is looked at, each fallback included.

use tollgate_gateway::settings::GatewaySettings;
use tollgate_interaction::Outcome;
use tollgate_policy::residency::{Evidence, Place, Places};

use crate::harness::{Answer, Bench, CHAT, chat, settings};
use crate::provider::{self, Provider, json};

const EUROPE_ONLY: &str = r#"
apiVersion: tollgate/v1
bundle: {name: europe}
data_classes:
  - {class: personal, when: 'principal.team == "hr"'}
  - {class: public, when: "true"}
access: [{id: all, when: "true", allow: {}}]
residency:
  - id: personal-in-europe
    when: 'request.data_class == "personal"'
    require: {inference: eu, storage: eu}
    evidence_at_least: contract
"#;

fn placed(mut settings: GatewaySettings, provider: &str, inference: &str) -> GatewaySettings {
    let place = Place::parse(inference).ok();
    let places = Places { inference: place.clone(), storage: place, evidence: Evidence::Contract, ..Places::default() };
    settings
        .providers
        .iter_mut()
        .filter(|known| known.name == provider)
        .for_each(|known| known.places = places.clone());
    settings
}

async fn ask(bench: &Bench, model: &str, class: &str) -> Answer {
    let mut request = bench.request(CHAT, chat(model));
    let label = format!(r#"{{"data_class":"{class}"}}"#);
    request.headers_mut().insert("x-tollgate-metadata", label.parse().unwrap());
    bench.send(request).await
}

#[tokio::test]
async fn a_fallback_outside_the_union_is_not_taken_for_personal_data() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let settings = placed(placed(settings(up.address), "up", "us-east-1"), "gone", "eu-central-1");
    let bench = Bench::start(settings).await;
    bench.put_policy(EUROPE_ONLY);

    // `gone` is in the Union and does not answer; `up` would, and is in America.
    let answer = ask(&bench, "resilient", "public").await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-provider")), (200, "up"));
    let answer = ask(&bench, "resilient", "personal").await;
    assert_eq!(answer.status.as_u16(), 502, "{answer:?}");
    assert_eq!(up.received().len(), 1, "the provider abroad has heard of the first call only");
    let candidates = bench.row(&answer).record.candidates;
    let found: Vec<(&str, Option<&str>)> = candidates
        .iter()
        .map(|candidate| (candidate.provider.as_str(), candidate.rejected_because.as_deref()))
        .collect();
    let why = "personal-in-europe: the place of inference is `us-east-1`, not `eu`";
    assert_eq!(found, [("gone", None), ("up", Some(why))]);
    assert_eq!(bench.row(&answer).record.data_class.as_deref(), Some("personal"));
    assert_eq!(bench.row(&answer).record.region_evidence.as_deref(), Some("contract"));
}

#[tokio::test]
async fn no_target_at_all_is_a_denial_with_a_name_and_a_row() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let bench = Bench::start(placed(settings(up.address), "up", "us")).await;
    bench.put_policy(EUROPE_ONLY);
    let answer = ask(&bench, "assistant", "personal").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (403, &"no_eligible_target".into()));
    let message = answer.json()["error"]["message"].to_string();
    assert!(message.contains("personal-in-europe") && message.contains("`up/large`"), "{message}");
    let row = bench.row(&answer);
    assert_eq!((row.record.outcome, row.record.decision.as_str(), row.was_opened), (Outcome::Denied, "deny", false));
    assert_eq!(row.record.error_type.as_deref(), Some("no_eligible_target"));
    assert!(row.record.decision_reasons.iter().any(|reason| reason.rule == "personal-in-europe"));
    assert_eq!(row.record.candidates.len(), 2);
    assert_eq!(up.received().len(), 0);
}

#[tokio::test]
async fn a_class_that_is_none_is_refused_with_the_one_that_was_meant() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let bench = Bench::start(placed(settings(up.address), "up", "eu")).await;
    bench.put_policy(EUROPE_ONLY);
    let answer = ask(&bench, "assistant", "persnal").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (403, &"data_class_unknown".into()));
    assert!(answer.json()["error"]["message"].to_string().contains("did you mean `personal`?"));
}

#[tokio::test]
async fn a_cross_region_profile_of_amazon_s_is_served_wherever_its_geography_reaches() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let bench = Bench::start(placed(settings(up.address), "amazon", "eu-central-1")).await;
    bench.put_policy(EUROPE_ONLY);
    for (model, why) in [
        ("amazon/us.anthropic.claude-sonnet-4-5", "the place of inference is `us`, not `eu`"),
        ("amazon/global.anthropic.claude-sonnet-4-5", "the place of inference is `global`, not `eu`"),
        ("amazon/sa.anthropic.claude-sonnet-4-5", "the place of inference is not known, not `eu`"),
    ] {
        let answer = ask(&bench, model, "personal").await;
        assert_eq!(answer.status.as_u16(), 403, "{model}");
        let message = answer.json()["error"]["message"].to_string();
        assert!(message.contains(why), "{message}");
    }
    assert_ne!(ask(&bench, "amazon/eu.anthropic.claude-sonnet-4-5", "personal").await.status.as_u16(), 403);
}
