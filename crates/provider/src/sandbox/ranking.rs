//! Texts in the order in which they answer a question: the more words they share with it, the earlier.
//! Source: <https://docs.cohere.com/reference/rerank> (2026-11-26).

use serde_json::{Value, json};

use super::SandboxReply;
use super::embedding::vector;
use super::perform::Stage;

/// Components of the vectors that are compared.
const DIMENSIONS: usize = 64;
/// Texts in one search, as it is billed.
const TEXTS_PER_SEARCH: usize = 100;

pub(super) fn ranking(stage: &Stage<'_>) -> SandboxReply {
    let (query, documents) = (stage.text("query"), stage.texts("documents"));
    if query.is_empty() || documents.is_empty() {
        return stage.refuse("`query` and `documents` must hold a text each, at least");
    }
    let asked = vector(query, DIMENSIONS);
    let score = |text: &str| {
        let product: f32 = vector(text, DIMENSIONS).iter().zip(&asked).map(|(left, right)| left * right).sum();
        f64::from((product + 1.0) / 2.0)
    };
    let mut ranked: Vec<(usize, f64)> = documents.iter().map(|text| score(text)).enumerate().collect();
    ranked.sort_by(|left, right| right.1.total_cmp(&left.1));
    let top = stage.request.get("top_n").and_then(Value::as_u64).and_then(|top| usize::try_from(top).ok());
    ranked.truncate(top.unwrap_or(usize::MAX));
    let results: Vec<Value> =
        ranked.into_iter().map(|(index, score)| json!({ "index": index, "relevance_score": score })).collect();
    let searches = documents.len().div_ceil(TEXTS_PER_SEARCH);
    let version = if stage.sent.method.starts_with("v2") { "2" } else { "1" };
    stage.whole(&json!({
        "id": format!("{:032x}", stage.key),
        "results": results,
        "meta": { "api_version": { "version": version }, "billed_units": { "search_units": searches } },
    }))
}
