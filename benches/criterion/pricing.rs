//! Budget: pricing a call takes at most a microsecond.
//!
//! Over models of several providers, with exact names, dated ones and aliases, and with every class of token.

use std::hint::black_box;

use anyhow::Context as _;
use serde_json::json;
use tollgate_interaction::Usage;
use tollgate_provider::price::{Call, Catalog};

use crate::kept;
use crate::report::{Budget, Report, short};

const BUDGET_NS: f64 = 1_000.0;
/// 2026-11-23.
const NOW_US: i64 = 1_795_392_000_000_000;
const GROUP: &str = "pricing";
const MODELS: &[(&str, &str)] = &[
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-4o-2024-08-06"),
    ("anthropic", "claude-sonnet-4-5"),
    ("google", "gemini-2.5-pro"),
    ("mistral", "mistral-large-latest"),
];

/// Measures and compares.
///
/// # Errors
/// If something cannot be measured.
pub(crate) fn run() -> anyhow::Result<Report> {
    let catalog = Catalog::builtin()?;
    let usage = Usage {
        input_tokens: Some(210_000),
        output_tokens: Some(1_200),
        cache_read_input_tokens: Some(180_000),
        cache_write_5m_input_tokens: Some(2_000),
        reasoning_output_tokens: Some(400),
        ..Usage::default()
    };
    let call = |provider, model| Call {
        provider,
        model,
        region: None,
        service_tier: Some("default"),
        usage: &usage,
        at_us: NOW_US,
    };
    let mut criterion = kept::criterion()?;
    let mut group = criterion.benchmark_group(GROUP);
    for &(provider, model) in MODELS {
        catalog.cost(&call(provider, model)).with_context(|| format!("`{provider}/{model}` has no price"))?;
        group.bench_function(model, |bencher| {
            bencher.iter(|| catalog.cost(black_box(&call(provider, model))));
        });
    }
    group.finish();
    criterion.final_summary();
    let mut report = Report::start(GROUP, "one call, every class of token".to_owned(), vec!["provider", "model", "ns"]);
    for &(provider, model) in MODELS {
        let took = kept::median_ns(GROUP, model)?;
        let kept = json!({"provider": provider, "model": model, "ns": took});
        report.row(vec![provider.to_owned(), model.to_owned(), short(took)], kept);
        report.budget(Budget::at_most(format!("pricing a call to {provider}/{model}, ns"), took, BUDGET_NS));
    }
    Ok(report)
}
