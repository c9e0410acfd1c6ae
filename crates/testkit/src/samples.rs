//! Records that look like real ones.

use tollgate_interaction::{
    CostSource, Decision, Dialect, Interaction, InteractionId, Operation, Outcome, Source, Usage, UsageSource, Usd,
    schema,
};

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
        project: None,
        team: "red".into(),
        user_ref: None,
        api_key_id: Some("key-1".into()),
        conversation_id: None,
        trace_id: None,
        span_id: None,
        source: Source::Proxy,
        operation: Operation::Chat,
        dialect: Dialect::Openai,
        stream: false,
        model_requested: "sandbox/small".into(),
        model_served: Some("small".into()),
        provider: Some("sandbox".into()),
        region: None,
        route_id: None,
        policy_bundle_hash: None,
        signals_id: None,
        decision: Decision::Allow,
        decision_reasons: Vec::new(),
        candidates: Vec::new(),
        attempts: Vec::new(),
        outcome: Outcome::Success,
        http_status: Some(200),
        error_type: None,
        error_message: None,
        finish_reasons: vec!["stop".into()],
        latency_us: 1_000 + number,
        ttft_us: None,
        gateway_overhead_us: Some(30),
        usage: Usage { input_tokens: Some(number), ..Usage::default() },
        usage_source: UsageSource::Provider,
        cost_usd: Some(Usd::new(37_500)),
        cost_source: CostSource::Catalog,
        price_id: None,
        request_bytes: 16,
        response_bytes: 2,
        tags: vec![("app".into(), "test".into())],
        service_tier: None,
        upstream_dialect: None,
        dropped: Vec::new(),
        provider_cost_usd: None,
    }
}
