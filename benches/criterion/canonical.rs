//! Budget: 40 µs for a request of 4 KB, which is 100 MB/s.
//!
//! What a call pays whose route keeps answers, found or not: its request in the one form in which requests are compared, and
//! the hash of that; and, where questions may come in other words, the form of all the rest.

use std::hint::black_box;

use anyhow::Context as _;
use serde_json::json;
use sha2::{Digest, Sha256};
use tollgate_interaction::Dialect;
use tollgate_provider::canonical::Canonical;

use crate::kept;
use crate::report::{Budget, Report, short};

const BUDGET_NS_PER_BYTE: f64 = 10.0;
const GROUP: &str = "canonical";
const SIZES: &[(&str, usize)] = &[("4 KB", 4_000), ("400 KB", 400_000)];

/// Measures and compares.
///
/// # Errors
/// If something cannot be measured.
pub(crate) fn run() -> anyhow::Result<Report> {
    let mut criterion = kept::criterion()?;
    let mut group = criterion.benchmark_group(GROUP);
    for &(name, bytes) in SIZES {
        let body = request(bytes);
        Canonical::read(&body, false)
            .and_then(|form| form.question(Dialect::Openai))
            .context("the request has a question")?;
        group.bench_function(format!("key {name}"), |bencher| {
            bencher.iter(|| Canonical::read(black_box(&body), false).map(|form| Sha256::digest(form.bytes())));
        });
        group.bench_function(format!("question {name}"), |bencher| {
            bencher.iter(|| Canonical::read(black_box(&body), false)?.question(Dialect::Openai));
        });
    }
    group.finish();
    criterion.final_summary();
    let mut report = Report::start(GROUP, "one request".to_owned(), vec!["what", "bytes", "ns"]);
    for &(name, bytes) in SIZES {
        let length = request(bytes).len();
        for what in ["key", "question"] {
            let took = kept::median_ns(GROUP, &format!("{what} {name}"))?;
            let kept = json!({"what": what, "bytes": length, "ns": took});
            report.row(vec![format!("{what} {name}"), length.to_string(), short(took)], kept);
            let most = BUDGET_NS_PER_BYTE * length as f64;
            report.budget(Budget::at_most(format!("{what} of {name}, ns"), took, most));
        }
    }
    Ok(report)
}

/// A conversation of about so many bytes, as Python's clients write it.
fn request(bytes: usize) -> Vec<u8> {
    let turn = |at: usize| {
        let role = if at.is_multiple_of(2) { "user" } else { "assistant" };
        json!({"role": role, "content": format!("turn {at}: {}", "a ledger is \"kept\", é\n".repeat(20))})
    };
    let one = turn(0).to_string().len();
    let turns: Vec<_> = (0..(bytes / one) | 1).map(turn).collect();
    json!({"model": "assistant", "temperature": 0.2, "user": "ann", "messages": turns}).to_string().into_bytes()
}
