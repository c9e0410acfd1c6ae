//! Budget: texts are searched for all personal data and secrets at 100 MB/s or more on one processor.
//!
//! Over a conversation in prose, as prompts mostly are; a letter with a finding in each paragraph; and source code. The full
//! set of patterns, a list of a hundred words and an expression. The heuristic for injections, which reads a text in another
//! way, is printed beside it without a budget, as is what a stream in pieces of four characters costs.

use std::hint::black_box;

use anyhow::Context as _;
use criterion::Throughput;
use serde_json::json;
use tollgate_interaction::{Dialect, GuardPhase, Operation};
use tollgate_policy::control::Principal;
use tollgate_policy::guard::injection::Heuristic;
use tollgate_policy::guard::redact::Vault;
use tollgate_policy::guard::rule::Session;
use tollgate_policy::guard::stream::Channel;
use tollgate_policy::residency::{Places, TargetFacts};
use tollgate_policy::{Bundle, Facts, bundle};

use crate::kept;
use crate::report::{Budget, Report, short};

const BUDGET_MB_PER_S: f64 = 100.0;
const TEXT_BYTES: usize = 1_000_000;
const GROUP: &str = "guardrails";

const PROSE: &str = "Thank you for your letter. The committee has read the draft with interest and would like to see the second \
    part before the summer. There are some remarks about the argument in the first chapter, where it is not quite clear why the \
    author prefers one reading over the other, and about the use of sources. We met in 2024 and again last spring, and the notes \
    of both meetings are attached.\n\n";
const LETTER: &str = "Dear Ms Lovelace, please pay the amount to DE89 3704 0044 0532 0130 00 and send the receipt to \
    office@example.org, or call us at (212) 555-0123 in the morning. The card that ends in the usual digits, 4111 1111 1111 1111, \
    is no longer valid. Our server at 10.1.2.3 has a new address as well, and the old key AKIAIOSFODNN7EXAMPLE is gone. Kind \
    regards from all of us here, and have a very good day.\n\n";
const CODE: &str = "    let mut total = 0;\n    for (index, line) in lines.iter().enumerate() {\n        // 42 is the answer\n        \
    if line.starts_with(\"#\") && index > 16 { continue; }\n        total += line.split(',').nth(3).map_or(0, |n| n.len());\n    }\n    \
    assert_eq!(total, 1024);\n\n";

/// Measures and compares.
///
/// # Errors
/// If something cannot be measured.
pub(crate) fn run() -> anyhow::Result<Report> {
    let policy = policy()?;
    let mut criterion = kept::criterion()?;
    let texts = [("prose", PROSE), ("letter", LETTER), ("code", CODE)];
    let texts = texts.map(|(name, text)| (name, text.repeat(TEXT_BYTES / text.len())));
    let mut group = criterion.benchmark_group(GROUP);
    for (name, text) in &texts {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(format!("scan_{name}"), |bencher| {
            bencher
                .iter(|| session(&policy).map(|mut session| session.inspect(black_box(text), &mut Vault::default())));
        });
        group.bench_function(format!("injection_{name}"), |bencher| {
            bencher.iter(|| Heuristic.suspect(black_box(text)));
        });
        let start: String = text.chars().take(20_000).collect();
        group.throughput(Throughput::Bytes(start.len() as u64));
        group.bench_function(format!("stream_{name}"), |bencher| {
            bencher.iter(|| stream(&policy, black_box(&start)));
        });
    }
    group.finish();
    criterion.final_summary();
    let title = "texts of a megabyte, every pattern there is, one processor".to_owned();
    let mut report =
        Report::start(GROUP, title, vec!["text", "scanned MB/s", "injection MB/s", "streamed by 4 characters MB/s"]);
    for (name, text) in &texts {
        let rate = |what: &str, bytes: usize| -> anyhow::Result<f64> {
            Ok(bytes as f64 * 1e3 / kept::median_ns(GROUP, &format!("{what}_{name}"))?)
        };
        let scanned = rate("scan", text.len())?;
        let (injection, streamed) = (rate("injection", text.len())?, rate("stream", 20_000)?);
        let kept = json!({"text": name, "bytes": text.len(), "scanned_mb_per_s": scanned, "injection_mb_per_s": injection,
            "streamed_mb_per_s": streamed});
        report.row(vec![(*name).to_owned(), short(scanned), short(injection), short(streamed)], kept);
        if *name == "prose" {
            report.budget(Budget::at_least(format!("searching {name}, MB/s"), scanned, BUDGET_MB_PER_S));
        }
    }
    Ok(report)
}

fn policy() -> anyhow::Result<Bundle> {
    let words: Vec<String> = (0..100).map(|number| format!("codeword{number}")).collect();
    let rule = "guardrails: [{id: g, phase: output, on_hit: {action: redact}, run: [pii, pii.url, pii.uuid, secrets, \
        {regex: '\\bX-\\d{4}\\b'}, {keywords: [WORDS]}]}]\n";
    let yaml = format!(
        "apiVersion: tollgate/v1\nbundle: {{name: b}}\naccess: [{{id: a, when: \"true\", allow: {{}}}}]\n{}",
        rule.replace("WORDS", &words.join(", "))
    );
    Ok(bundle::load(&yaml)?)
}

fn session(policy: &Bundle) -> anyhow::Result<Session> {
    let principal = Principal::default();
    let facts = Facts::new(&principal, Operation::Chat, Dialect::Openai, "m", 0);
    let places = Places::default();
    let target = TargetFacts { provider: "p", model: "m", tags: &[], places: &places, self_hosted: false };
    let rules = policy.guardrails(GuardPhase::Output, &facts, &[target]).ok().context("the rule applies")?;
    Ok(Session::new(rules, || 0))
}

fn stream(policy: &Bundle, text: &str) -> anyhow::Result<usize> {
    let (mut session, mut vault) = (session(policy)?, Vault::default());
    let mut channel = Channel::new(&session);
    let mut gone = 0;
    // The texts are ASCII.
    for piece in text.as_bytes().chunks(4).filter_map(|piece| std::str::from_utf8(piece).ok()) {
        gone += channel.push(&mut session, &mut vault, piece).len();
    }
    Ok(gone + channel.finish(&mut session, &mut vault).len())
}
