//! An answer given again: what goes to the caller, and what the row says of it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use tollgate_interaction::{CacheKind, CostSource, Dialect, Share, Usd};

use super::entry::Entry;
use crate::call::Call;
use crate::clock;
use crate::error::own;
use crate::upstream::AnswerHead;

/// An answer that fits.
pub(crate) struct Hit {
    pub(super) entry: Arc<Entry>,
    pub(super) kind: CacheKind,
    pub(super) similarity: Share,
}

/// What goes to the caller.
pub(crate) struct Replay {
    pub(crate) head: AnswerHead,
    /// The answer as it was given then.
    pub(crate) body: Bytes,
    /// What a stream ends with beyond that.
    pub(crate) ending: Option<Bytes>,
}

/// Puts onto the record what was saved, and prepares the answer. No provider is called, so nothing was used and nothing is
/// owed; what the call of then used stands in its row.
pub(crate) fn replay(call: &mut Call, hit: &Hit) -> Replay {
    let Hit { entry, kind, similarity } = hit;
    let spent_us = clock::elapsed_us(call.started);
    let record = &mut call.record;
    record.cache_kind = Some(*kind);
    record.cache_similarity = Some(*similarity);
    record.cached_from = Some(entry.from);
    record.cost_saved_usd = entry.cost_usd;
    (record.cost_usd, record.cost_source) = (Some(Usd::ZERO), CostSource::Cache);
    record.model_served.clone_from(&entry.model_served);
    record.finish_reasons.clone_from(&entry.finish_reasons);
    record.ttft_us = Some(spent_us);
    record.gateway_overhead_us = Some(spent_us.saturating_sub(clock::micros(call.body_wait)));
    let mut headers = HeaderMap::new();
    if let Ok(content_type) = HeaderValue::from_str(&entry.content_type) {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    let age_us = call.now_us().saturating_sub(entry.card.kept_at_us).max(0);
    headers.insert(header::AGE, HeaderValue::from(age_us / 1_000_000));
    let has_comments = !matches!(call.dialect, Dialect::Gemini | Dialect::Bedrock);
    let ending = format!(": tollgate cost_usd={}\n\n", Usd::ZERO);
    Replay {
        head: AnswerHead { status: own::OK, headers },
        body: Bytes::copy_from_slice(&entry.body),
        ending: (entry.is_stream && has_comments).then(|| ending.into()),
    }
}
