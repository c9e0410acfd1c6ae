//! What a call used and what it cost, in words and lines.

use serde_json::{Map, Value};
use tollgate_analytics::report::{InteractionDetail, InteractionRow};
use tollgate_interaction::{UsageSource, Usd};

use super::{number, text};
use crate::chart::{Tone, bar};
use crate::format;
use crate::unpriced::Why;

/// One class of what is counted.
#[derive(Debug)]
pub(super) struct TokenLine {
    pub(super) label: &'static str,
    pub(super) count: Option<u64>,
    /// Part of the line above that is no part.
    pub(super) is_part: bool,
    pub(super) bar: String,
}

/// Who counted the tokens.
pub(super) fn counted_by(source: Option<&str>) -> &'static str {
    match source.and_then(UsageSource::from_text) {
        Some(UsageSource::Provider) => "counted by the provider",
        Some(UsageSource::Partial) => "counted by the provider as far as it came",
        Some(UsageSource::Estimated) => "estimated by the gateway",
        Some(UsageSource::None) | None => "counted by nobody",
    }
}

/// What the provider itself says the call costs.
pub(super) fn provider_cost(columns: &Map<String, Value>) -> Option<Usd> {
    text(columns, "provider_cost_usd")?.parse().ok()
}

/// Where the cost comes from, and what the provider says where that is something else.
pub(super) fn cost_note(detail: &InteractionDetail, why: Option<&Why>) -> String {
    let is_corrected = detail.corrections.last().is_some_and(|last| last.new_cost_usd.is_some());
    if is_corrected {
        let recorded = detail.row.cost_usd.map_or_else(|| "no cost".to_owned(), format::usd);
        return format!("corrected; {recorded} was recorded");
    }
    let stated = provider_cost(&detail.columns);
    match (detail.row.cost_usd, text(&detail.columns, "cost_source").as_deref()) {
        (None, _) if detail.attempts.is_empty() && !crate::pages::call::was_interrupted(&detail.row) => {
            "no provider was called".to_owned()
        }
        (None, _) if detail.is_free_of_charge() => match detail.row.outcome.as_str() {
            "failed" => "none: the call failed, and nothing it used was counted".to_owned(),
            _ => format!("none: providers ask nothing for `{}` by itself", detail.row.operation),
        },
        (None, _) => why.map_or("unknown, which is not zero", |why| why.label).to_owned(),
        (Some(_), Some("provider")) => "as the provider stated".to_owned(),
        (Some(_), Some("cache")) => {
            match text(&detail.columns, "cost_saved_usd").and_then(|saved| saved.parse::<Usd>().ok()) {
                Some(saved) => format!("answered from the cache, which saved {}", format::usd(saved)),
                None => "answered from the cache".to_owned(),
            }
        }
        (Some(cost), Some("catalog")) => match stated {
            Some(stated) if stated == cost => "by the price catalogue; the provider says the same".to_owned(),
            Some(stated) => format!("by the price catalogue; the provider says {}", format::usd(stated)),
            None => "by the price catalogue".to_owned(),
        },
        (Some(_), _) => String::new(),
    }
}

/// Tokens by class; below them what the provider bills by the call.
pub(super) fn tokens(row: &InteractionRow, columns: &Map<String, Value>) -> Vec<TokenLine> {
    let largest = row.input_tokens.unwrap_or(0).max(row.output_tokens.unwrap_or(0)).max(1) as f64;
    let line = |label, count: Option<u64>, is_part, tone| TokenLine {
        label,
        count,
        is_part,
        bar: count.map(|count| bar(count as f64 / largest, tone)).unwrap_or_default(),
    };
    let mut lines = vec![line("Input", row.input_tokens, false, Tone::Rank(1))];
    for (label, name) in [
        ("read from cache", "cache_read_input_tokens"),
        ("written to cache, 5 min", "cache_write_5m_input_tokens"),
        ("written to cache, 1 h", "cache_write_1h_input_tokens"),
        ("audio", "audio_input_tokens"),
        ("images", "image_input_tokens"),
    ] {
        lines.extend(number(columns, name).map(|count| line(label, Some(count), true, Tone::Rank(1))));
    }
    lines.push(line("Output", row.output_tokens, false, Tone::Rank(0)));
    for (label, name) in
        [("reasoning", "reasoning_output_tokens"), ("audio", "audio_output_tokens"), ("images", "image_output_tokens")]
    {
        lines.extend(number(columns, name).map(|count| line(label, Some(count), true, Tone::Rank(0))));
    }
    // Calls, not tokens: no bar beside them.
    for (label, name) in
        [("Searches of the web, calls", "web_search_calls"), ("Other tools of the provider, calls", "other_tool_calls")]
    {
        let calls = |count| TokenLine { label, count: Some(count), is_part: false, bar: String::new() };
        lines.extend(number(columns, name).map(calls));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn detail(columns: Value) -> InteractionDetail {
        let mut detail = sample::detail();
        if let Value::Object(more) = columns {
            detail.columns.extend(more);
        }
        detail
    }

    #[test]
    fn the_providers_own_figure_stands_beside_ours() {
        let mut called = detail(serde_json::json!({ "provider_cost_usd": "0.004300000000" }));
        called.row.cost_usd = Some("0.0042".parse().unwrap());
        let note = |called: &InteractionDetail| cost_note(called, None);
        assert_eq!(note(&called), "corrected; $0.0042 was recorded");
        called.corrections[0].new_cost_usd = None;
        assert_eq!(
            note(&called),
            "by the price catalogue; the provider says $0.0043",
            "a correction to nothing is none"
        );
        called.corrections.clear();
        called.row.cost_usd = Some("0.0043".parse().unwrap());
        assert_eq!(note(&called), "by the price catalogue; the provider says the same");
        called.columns.insert("cost_source".to_owned(), "provider".into());
        assert_eq!(note(&called), "as the provider stated");
    }

    #[test]
    fn a_missing_cost_is_told_apart_from_none() {
        let mut called = detail(serde_json::json!({ "usage_source": "none" }));
        (called.row.cost_usd, called.corrections) = (None, Vec::new());
        let why = Why { label: "Tokens unknown", sentence: String::new(), command: None };
        assert_eq!((called.is_unpriced(), cost_note(&called, Some(&why)).as_str()), (true, "Tokens unknown"));
        called.row.operation = "count_tokens".to_owned();
        assert!(!called.is_unpriced() && cost_note(&called, None).starts_with("none: providers ask nothing"));
        (called.row.operation, called.row.outcome) = ("chat".to_owned(), "failed".to_owned());
        assert!(!called.is_unpriced() && cost_note(&called, None).starts_with("none: the call failed"));
        called.attempts.clear();
        assert_eq!(cost_note(&called, None), "no provider was called");
    }

    #[test]
    fn what_is_billed_by_the_call_is_listed_beside_the_tokens() {
        let called = detail(serde_json::json!({ "image_output_tokens": 40, "web_search_calls": 3 }));
        let lines = tokens(&called.row, &called.columns);
        let count = |label: &str| lines.iter().rfind(|line| line.label == label).and_then(|line| line.count);
        assert_eq!((count("images"), count("Searches of the web, calls")), (Some(40), Some(3)));
        assert_eq!(count("Other tools of the provider, calls"), None);
    }
}
