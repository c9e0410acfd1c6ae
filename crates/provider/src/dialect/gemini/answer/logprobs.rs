//! Log probabilities: `logprobsResult` holds the chosen tokens and, beside them, what else was likely at each.
//! Source: <https://ai.google.dev/api/generate-content#LogprobsResult> (2026-11-26).

use serde_json::{Value, json};

use crate::chat::TokenLogprob;
use crate::dialect::gemini::proto::{take, take_items, take_text};

pub(super) fn read(mut result: Value) -> Vec<TokenLogprob> {
    let mut tops = take_items(&mut result, "topCandidates").into_iter();
    let chosen = take_items(&mut result, "chosenCandidates").into_iter();
    chosen
        .map(|chosen| {
            let (token, logprob) = read_candidate(chosen);
            let top = tops.next().map(|mut top| take_items(&mut top, "candidates")).unwrap_or_default();
            let top = top.into_iter().map(read_candidate).map(|(token, logprob)| (token, logprob, None)).collect();
            TokenLogprob { token, logprob, bytes: None, top }
        })
        .collect()
}

/// A log probability of zero, which is certainty, is left out.
fn read_candidate(mut candidate: Value) -> (String, f64) {
    let token = take_text(&mut candidate, "token").unwrap_or_default();
    let logprob = take(&mut candidate, "logProbability").and_then(|logprob| logprob.as_f64()).unwrap_or(0.0);
    (token, logprob)
}

/// `logprobsResult` and `avgLogprobs`; `None` if there are no tokens.
pub(super) fn write(logprobs: Vec<TokenLogprob>) -> Option<(Value, f64)> {
    if logprobs.is_empty() {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "an answer has far fewer tokens than a float has whole numbers")]
    let average = logprobs.iter().map(|token| token.logprob).sum::<f64>() / logprobs.len() as f64;
    let mut chosen = Vec::with_capacity(logprobs.len());
    let mut tops = Vec::with_capacity(logprobs.len());
    for TokenLogprob { token, logprob, top, .. } in logprobs {
        chosen.push(json!({"token": token, "logProbability": logprob}));
        let top: Vec<_> =
            top.into_iter().map(|(token, logprob, _)| json!({"token": token, "logProbability": logprob})).collect();
        tops.push(json!({"candidates": top}));
    }
    Some((json!({"topCandidates": tops, "chosenCandidates": chosen}), average))
}
