//! Rows for the tests of this crate.

use std::ops::RangeInclusive;

use arrow::datatypes::DataType;
use tollgate_interaction::{
    CostSource, Decision, Dialect, EventId, Interaction, InteractionId, Operation, Outcome, Source, Usage, UsageSource,
    schema,
};

/// 2026-11-23 10:00 UTC.
pub(crate) const STARTED_AT_US: i64 = 1_795_428_000_000_000;

pub(crate) fn interaction(number: u64) -> Interaction {
    let started_at_us = STARTED_AT_US + i64::try_from(number).unwrap();
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    Interaction {
        schema_version: schema::SCHEMA_VERSION,
        interaction_id: InteractionId::new(u64::try_from(started_at_us).unwrap() / 1_000, &random),
        started_at_us,
        ended_at_us: started_at_us + 1_000,
        tenant: "acme".into(),
        project: None,
        team: "red".into(),
        user_ref: None,
        api_key_id: None,
        conversation_id: None,
        trace_id: None,
        span_id: None,
        source: Source::Proxy,
        operation: Operation::Chat,
        dialect: Dialect::Openai,
        stream: false,
        model_requested: "sandbox/small".into(),
        model_served: None,
        provider: None,
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
        finish_reasons: Vec::new(),
        latency_us: 1_000,
        ttft_us: None,
        gateway_overhead_us: None,
        usage: Usage::default(),
        usage_source: UsageSource::None,
        cost_usd: None,
        cost_source: CostSource::None,
        price_id: None,
        request_bytes: 2,
        response_bytes: 2,
        tags: Vec::new(),
    }
}

pub(crate) fn event_id(epoch: u64, seq: u64) -> EventId {
    EventId { writer: "gw".parse().unwrap(), epoch, seq }
}

pub(crate) fn facts(seqs: RangeInclusive<u64>) -> Vec<(EventId, Interaction)> {
    seqs.map(|seq| (event_id(1, seq), interaction(seq))).collect()
}

/// Whether the column of the facts has an Arrow type whose name starts like this.
pub(crate) fn is_kind(column: &str, kind: &str) -> bool {
    let schema = schema::interactions();
    let data_type: Option<DataType> = schema.field_with_name(column).ok().map(|field| field.data_type().clone());
    data_type.is_some_and(|data_type| format!("{data_type:?}").starts_with(kind))
}
