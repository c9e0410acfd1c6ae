//! Budget: translating a chat request of 100,000 tokens from any dialect to any other takes at most twice as long as
//! `serde_json` needs to parse and write it once.
//!
//! The request is a long conversation with an agent: instructions, tools, calls and their results, in about 400 KB. It is
//! written in each dialect by the translator itself; the yardstick of a pair is the caller's body.

use std::hint::black_box;

use anyhow::Context as _;
use serde_json::{Value, json};
use tollgate_interaction::Dialect;
use tollgate_provider::translate::{self, Address, OnUnsupported};

use crate::kept;
use crate::report::{Budget, Report, short};

const BUDGET: f64 = 2.0;
/// Four bytes to a token, as the gateway estimates.
const REQUEST_BYTES: usize = 400_000;
const WORDS: &[&str] = &[
    "the",
    "report",
    "of",
    "quarter",
    "shows",
    "that",
    "revenue",
    "rose",
    "by",
    "four",
    "per",
    "cent",
    "while",
    "costs",
    "fell",
    "and",
    "auditors",
    "ask",
    "for",
    "evidence",
    "\"approved\"",
    "in",
    "a",
    "letter",
    "über",
    "Prüfung",
];

/// Measures and compares.
///
/// # Errors
/// If something cannot be measured.
pub(crate) fn run() -> anyhow::Result<Report> {
    let mut criterion = kept::criterion()?;
    let bodies = bodies()?;
    for (from, body) in &bodies {
        let mut group = criterion.benchmark_group(format!("translate_{from}"));
        group.bench_function("serde_json", |bencher| {
            bencher
                .iter(|| serde_json::from_slice::<Value>(black_box(body)).and_then(|value| serde_json::to_vec(&value)));
        });
        for &to in Dialect::ALL.iter().filter(|to| *to != from) {
            group.bench_function(to.as_str(), |bencher| {
                bencher.iter(|| translated(*from, to, black_box(body)));
            });
        }
        group.finish();
    }
    criterion.final_summary();
    let header = vec!["from", "to", "KB", "µs", "serde_json µs", "ratio"];
    let title = "a request of 100,000 tokens, all pairs, beside serde_json parsing and writing the caller's body once";
    let mut report = Report::start("translate", title.to_owned(), header);
    let mut dearest = (0.0, String::new());
    for (from, body) in &bodies {
        let group = format!("translate_{from}");
        let yardstick = kept::median_ns(&group, "serde_json")?;
        for &to in Dialect::ALL.iter().filter(|to| *to != from) {
            let took = kept::median_ns(&group, to.as_str())?;
            let ratio = took / yardstick;
            if ratio > dearest.0 {
                dearest = (ratio, format!("{from} to {to}"));
            }
            let kilobytes = (body.len() / 1000).to_string();
            let cells = [from.to_string(), to.to_string(), kilobytes].into_iter();
            let figures = [short(took / 1e3), short(yardstick / 1e3), short(ratio)];
            let kept = json!({"from": from, "to": to, "bytes": body.len(), "ns": took, "serde_json_ns": yardstick});
            report.row(cells.chain(figures).collect(), kept);
            report.budget(Budget::at_most(format!("{from} to {to}, beside serde_json"), ratio, BUDGET));
        }
    }
    report.note(format!("the dearest pair is {}", dearest.1));
    Ok(report)
}

fn translated(from: Dialect, to: Dialect, body: &[u8]) -> anyhow::Result<translate::Translated> {
    let address = Address { model: "gpt-5", stream: false };
    Ok(translate::request(from, to, body, address, "gpt-5", OnUnsupported::Refuse)?)
}

/// The request in every dialect.
fn bodies() -> anyhow::Result<Vec<(Dialect, Vec<u8>)>> {
    let original = conversation().to_string().into_bytes();
    let mut bodies = Vec::new();
    for &dialect in Dialect::ALL {
        let body = match dialect {
            Dialect::Openai => original.clone(),
            _ => {
                let translated = translated(Dialect::Openai, dialect, &original);
                translated.with_context(|| format!("writing the request as `{dialect}`"))?.body.to_vec()
            }
        };
        bodies.push((dialect, body));
    }
    Ok(bodies)
}

fn conversation() -> Value {
    let mut words = WORDS.iter().cycle();
    let mut prose = |bytes: usize| {
        let mut text = String::with_capacity(bytes + 16);
        while text.len() < bytes {
            text.extend(words.by_ref().take(1 + text.len() % 5).flat_map(|word| [word, " "]));
            text.push_str(if text.len().is_multiple_of(7) { "\n" } else { "" });
        }
        text
    };
    let mut messages = vec![json!({"role": "system", "content": prose(8_000)})];
    let mut bytes = 8_000;
    while bytes < REQUEST_BYTES {
        let id = format!("call_{bytes}");
        let arguments = json!({"path": prose(60), "lines": [bytes, bytes + 40]}).to_string();
        let call = json!({"id": id, "type": "function", "function": {"name": "read_file", "arguments": arguments}});
        messages.push(json!({"role": "user", "content": prose(600)}));
        messages.push(json!({"role": "assistant", "content": prose(300), "tool_calls": [call]}));
        messages.push(json!({"role": "tool", "tool_call_id": id, "content": prose(4_000)}));
        messages.push(json!({"role": "assistant", "content": prose(900)}));
        bytes += 5_900;
    }
    messages.push(json!({"role": "user", "content": prose(200)}));
    let parameters = json!({"type": "object", "properties": {"path": {"type": "string"},
        "lines": {"type": "array", "items": {"type": "integer"}}}, "required": ["path"]});
    let tool = |name: &str| json!({"type": "function", "function": {"name": name, "description": "Reads.", "parameters": parameters}});
    json!({"model": "gpt-5", "messages": messages, "tools": [tool("read_file"), tool("search")],
        "max_completion_tokens": 4096})
}
