//! Records that look like real ones.

use tollgate_interaction::{CostSource, Interaction, InteractionId, Outcome, Usage, UsageSource, Usd, schema};

/// Call number `number`: successful, priced, told apart by its id, its latency and its input tokens.
#[must_use]
pub fn interaction(number: u64, started_at_us: i64) -> Interaction {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    Interaction {
        schema_version: schema::SCHEMA_VERSION,
        interaction_id: InteractionId::new(started_at_us.unsigned_abs() / 1_000, &random),
        started_at_us,
        ended_at_us: started_at_us + 1_000,
        tenant: "acme".into(),
        team: "red".into(),
        api_key_id: Some("key-1".into()),
        model_requested: "sandbox/small".into(),
        model_served: Some("small".into()),
        provider: Some("sandbox".into()),
        outcome: Outcome::Success,
        http_status: Some(200),
        finish_reasons: vec!["stop".into()],
        latency_us: 1_000 + number,
        gateway_overhead_us: Some(30),
        usage: Usage { input_tokens: Some(number), ..Usage::default() },
        usage_source: UsageSource::Provider,
        cost_usd: Some(Usd::new(37_500)),
        cost_source: CostSource::Catalog,
        request_bytes: 16,
        response_bytes: 2,
        tags: vec![("app".into(), "test".into())],
        ..Interaction::blank()
    }
}
