//! Events for the tests of this crate.

use bytes::Bytes;
use tollgate_interaction::{
    CostSource, Decision, Dialect, Event, Interaction, InteractionId, Opened, Operation, Outcome, Payload, Settled,
    Source, Usage, UsageSource,
};

pub(crate) fn interaction(number: u64) -> Interaction {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    Interaction {
        schema_version: 1,
        interaction_id: InteractionId::new(1_795_000_000_000, &random),
        started_at_us: 1_795_000_000_000_000,
        ended_at_us: 1_795_000_000_420_000,
        tenant: "default".into(),
        project: None,
        team: "search".into(),
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
        model_served: None,
        provider: Some("sandbox".into()),
        region: None,
        route_id: None,
        policy_bundle_hash: None,
        signals_id: None,
        decision: Decision::Allow,
        decision_reasons: Vec::new(),
        candidates: Vec::new(),
        attempts: Vec::new(),
        outcome: Outcome::Interrupted,
        http_status: None,
        error_type: None,
        error_message: None,
        finish_reasons: Vec::new(),
        latency_us: 420_000,
        ttft_us: None,
        gateway_overhead_us: None,
        usage: Usage::default(),
        usage_source: UsageSource::None,
        cost_usd: None,
        cost_source: CostSource::None,
        price_id: None,
        request_bytes: 0,
        response_bytes: 0,
        tags: Vec::new(),
    }
}

fn text(length: usize) -> Bytes {
    b"the quick brown fox jumps over the lazy dog, ".iter().copied().cycle().take(length).collect()
}

/// Bytes that do not compress.
pub(crate) fn noise(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

pub(crate) fn opened_with(number: u64, body: Bytes) -> Event {
    let request = Payload { content_type: "application/json".into(), body };
    Event::Opened(Box::new(Opened { interaction: interaction(number), request }))
}

pub(crate) fn opened(number: u64, payload_bytes: usize) -> Event {
    opened_with(number, text(payload_bytes))
}

pub(crate) fn settled(number: u64, payload_bytes: usize) -> Event {
    let response = Payload { content_type: "application/json".into(), body: text(payload_bytes) };
    Event::Settled(Box::new(Settled { interaction: interaction(number), request: None, response }))
}
