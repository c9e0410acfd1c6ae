//! What attempts cost that did not answer. Most cost nothing, since a provider charges for no error; but one that counts
//! what it used in its error does, and so may one whose answer nobody waited for any longer. What such an attempt used stands
//! with it among the attempts of the record, and the cost of the call is that of all of them. The row's own usage is that of
//! the last attempt.

use tollgate_interaction::{CostSource, Interaction, Operation, Usage, UsageSource, Usd};
use tollgate_provider::price::Beside;
use tollgate_provider::tokens::Estimate;
use tollgate_provider::{Observation, observe};

use crate::call::Call;
use crate::error::CallError;
use crate::settle::{self, Cost};

/// What the attempts before the last cost together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Earlier {
    cost: Usd,
    source: CostSource,
    /// Whether one of them used something that has no known price.
    is_unknown: bool,
}

/// What a refusal says was used, if it says so.
pub(crate) fn of_refusal(call: &Call, body: &[u8]) -> Option<Observation> {
    let observation = observe::whole(call.spoken, call.record.operation, body);
    (!observation.usage.is_empty()).then_some(observation)
}

/// What a provider has read that was asked and not waited for: it will charge for that as if its caller had hung up.
pub(crate) fn of_silence(call: &Call, error: &CallError) -> Option<Observation> {
    if matches!(error, CallError::UpstreamTimeout { .. }) { of_unread(call) } else { None }
}

/// The same of an attempt that was broken off because another had answered.
pub(crate) fn of_unread(call: &Call) -> Option<Observation> {
    let reads_text = matches!(call.record.operation, Operation::Chat | Operation::Completions | Operation::Embeddings);
    if !call.is_sent || !reads_text {
        return None;
    }
    let nothing = Observation { terminated: false, ..Observation::opaque() };
    let Estimate { input_tokens, .. } = settle::estimate(call, &nothing, b"");
    let usage = Usage { input_tokens: Some(input_tokens), output_tokens: Some(0), ..Usage::default() };
    Some(Observation { usage, usage_source: UsageSource::Estimated, ..nothing })
}

/// Enters what the present attempt has used, before the next one begins.
pub(crate) fn enter(call: &mut Call, lost: &Observation) {
    let cost = settle::cost_of(call, call.record.started_at_us, lost, &Beside::default());
    let nothing = Earlier { cost: Usd::ZERO, source: CostSource::None, is_unknown: false };
    let earlier = call.earlier.get_or_insert(nothing);
    match &cost {
        Some(Cost { usd, source, .. }) => {
            earlier.cost += *usd;
            earlier.source = *source;
        }
        None => earlier.is_unknown = true,
    }
    let at = call.attempt_at();
    if let Some(attempt) = call.record.attempts.get_mut(at) {
        attempt.input_tokens = lost.usage.input_tokens;
        attempt.output_tokens = lost.usage.output_tokens;
        attempt.cost_usd = cost.map(|cost| cost.usd);
    }
}

/// Adds to the cost of the last attempt, which stands on the record, what those before it cost.
pub(crate) fn add(record: &mut Interaction, earlier: Earlier) {
    // The last may have cost nothing, as where nobody could be reached.
    let last = record.cost_usd.or_else(|| record.usage.is_empty().then_some(Usd::ZERO));
    match last.filter(|_| !earlier.is_unknown) {
        Some(last) => {
            if record.cost_usd.is_none() {
                record.cost_source = earlier.source;
            }
            record.cost_usd = Some(last + earlier.cost);
        }
        // Of a sum of which a part is not known, the sum is not known either.
        None => (record.cost_usd, record.cost_source, record.price_id) = (None, CostSource::None, None),
    }
}
