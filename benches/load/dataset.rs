//! Calls as applications and agents make them, the same for the same seed. Their text is made to compress as English
//! does: whoever measures a log with a repeated sentence measures his compressor's best day. `files` prints how far a
//! general compressor gets with it, beside the prose of this repository.

mod agent;
mod ordinary;
mod prose;
mod random;

use bytes::Bytes;
use tollgate_interaction::{Attempt, Candidate, Interaction, InteractionId, Payload, Reason, Usage, Usd, schema};
use tollgate_interaction::{CostSource, Outcome, UsageSource};

pub(crate) use agent::Conversation;
pub(crate) use ordinary::Ordinary;
pub(crate) use prose::Prose;
pub(crate) use random::Random;

/// 2026-11-23 00:00 UTC: everything that starts within the next 24 hours is of one day.
pub(crate) const DAY_BEGINS_US: i64 = 1_795_392_000_000_000;

/// One call with both bodies.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The facts.
    pub(crate) interaction: Interaction,
    /// As received.
    pub(crate) request: Payload,
    /// As sent.
    pub(crate) response: Payload,
}

/// Who calls what: the part of a call's facts that its application decides.
#[derive(Clone, Copy, Debug)]
struct Caller<'a> {
    team: &'a str,
    application: &'a str,
    model: &'a str,
    usd_per_mtok: (i128, i128),
    /// Set for agents, which name their conversation and trace it.
    conversation: Option<&'a str>,
    user: Option<&'a str>,
}

fn json_payload(body: String) -> Payload {
    Payload { content_type: "application/json".into(), body: Bytes::from(body) }
}

/// The facts of a successful call as the gateway records them.
fn facts(random: &mut Random, caller: Caller<'_>, started_at_us: i64, request: usize, response: usize) -> Interaction {
    // About four bytes of English are one token.
    let input_tokens = (request / 4) as u64 + random.below(9);
    let output_tokens = (response / 4) as u64 + random.below(9);
    let ttft_us = 180_000 + random.below(400_000);
    let latency_us = ttft_us + output_tokens * (9_000 + random.below(6_000));
    let overhead_us = 60 + random.below(90);
    let trillionths =
        i128::from(input_tokens) * caller.usd_per_mtok.0 + i128::from(output_tokens) * caller.usd_per_mtok.1;
    // A thousandth of a dollar for a million tokens is 10⁻⁹ dollars for one: a thousand units of 10⁻¹².
    let cost_usd = Some(Usd::new(trillionths * 1_000));
    let (provider, served) = caller.model.split_once('/').unwrap_or(("openai", caller.model));
    let is_traced = random.below(2) == 0;
    let attempt = Attempt {
        provider: provider.into(),
        model: served.into(),
        http_status: Some(200),
        error_class: None,
        started_at_us: started_at_us + i64::try_from(overhead_us).unwrap_or(0),
        duration_us: latency_us - overhead_us,
        input_tokens: Some(input_tokens),
        output_tokens: Some(output_tokens),
        cost_usd,
    };
    Interaction {
        schema_version: schema::SCHEMA_VERSION,
        interaction_id: InteractionId::new(started_at_us.unsigned_abs() / 1_000, &random.bytes()),
        started_at_us,
        ended_at_us: started_at_us + i64::try_from(latency_us).unwrap_or(0),
        tenant: "acme".into(),
        project: Some(caller.application.into()),
        team: caller.team.into(),
        user_ref: caller.user.map(Into::into),
        api_key_id: Some(format!("key-{}", caller.application)),
        conversation_id: caller.conversation.map(Into::into),
        trace_id: is_traced.then(|| random.hexadecimal(32)),
        span_id: is_traced.then(|| random.hexadecimal(16)),
        model_requested: caller.model.into(),
        model_served: Some(served.into()),
        provider: Some(provider.into()),
        region: Some("eu-central-1".into()),
        policy_bundle_hash: Some("9f2c".repeat(16)),
        signals_id: Some(format!("signals-{}", started_at_us / 30_000_000)),
        decision_reasons: vec![Reason {
            rule: "teams-may-use-their-models".into(),
            effect: "allow".into(),
            detail: "the key's team may call this model".into(),
        }],
        candidates: vec![Candidate { provider: provider.into(), model: served.into(), rejected_because: None }],
        attempts: vec![attempt],
        outcome: Outcome::Success,
        http_status: Some(200),
        finish_reasons: vec!["stop".into()],
        latency_us,
        ttft_us: Some(ttft_us),
        gateway_overhead_us: Some(overhead_us),
        usage: Usage { input_tokens: Some(input_tokens), output_tokens: Some(output_tokens), ..Usage::default() },
        usage_source: UsageSource::Provider,
        cost_usd,
        cost_source: CostSource::Catalog,
        price_id: Some(format!("{}@2026-11-01", caller.model)),
        request_bytes: request as u64,
        response_bytes: response as u64,
        tags: vec![("app".into(), caller.application.into()), ("env".into(), "production".into())],
        ..Interaction::blank()
    }
}

/// The provider's answer around a message, as OpenAI writes it.
fn completion(
    random: &mut Random,
    model: &str,
    started_at_us: i64,
    message: &serde_json::Value,
    tokens: (usize, usize),
) -> String {
    serde_json::json!({
        "id": format!("chatcmpl-{}", random.base62(29)),
        "object": "chat.completion",
        "created": started_at_us / 1_000_000,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": tokens.0,
            "completion_tokens": tokens.1,
            "total_tokens": tokens.0 + tokens.1,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb",
    })
    .to_string()
}
