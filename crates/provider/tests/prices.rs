//! Costs against those of another calculator, and what pricing costs. `prices.json` is computed by genai-prices (see
//! `prices.py`); its decimals are exact, so they agree to the last of our twelve places, halves rounded to even.

use std::time::Instant;

use serde::Deserialize;
use tollgate_interaction::{Usage, Usd};
use tollgate_provider::price::{Call, Catalog, CatalogDocument, check};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    provider: String,
    model: String,
    at_us: i64,
    #[serde(default)]
    service_tier: Option<String>,
    usage: Counts,
    usd: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Counts {
    input: u64,
    #[serde(default)]
    output: Option<u64>,
    #[serde(default)]
    cache_read: Option<u64>,
    #[serde(default)]
    cache_write_5m: Option<u64>,
    #[serde(default)]
    cache_write_1h: Option<u64>,
    #[serde(default)]
    audio_input: Option<u64>,
    #[serde(default)]
    audio_output: Option<u64>,
    #[serde(default)]
    image_input: Option<u64>,
    #[serde(default)]
    image_output: Option<u64>,
    #[serde(default)]
    web_search: Option<u64>,
}

impl Case {
    fn usage(&self) -> Usage {
        Usage {
            input_tokens: Some(self.usage.input),
            output_tokens: self.usage.output,
            cache_read_input_tokens: self.usage.cache_read,
            cache_write_5m_input_tokens: self.usage.cache_write_5m,
            cache_write_1h_input_tokens: self.usage.cache_write_1h,
            audio_input_tokens: self.usage.audio_input,
            audio_output_tokens: self.usage.audio_output,
            image_input_tokens: self.usage.image_input,
            image_output_tokens: self.usage.image_output,
            web_search_calls: self.usage.web_search,
            ..Usage::default()
        }
    }

    fn call<'a>(&'a self, usage: &'a Usage) -> Call<'a> {
        let Case { provider, model, at_us, service_tier, .. } = self;
        Call { provider, model, region: None, service_tier: service_tier.as_deref(), usage, at_us: *at_us }
    }
}

fn cases() -> serde_json::Result<Vec<Case>> {
    serde_json::from_str(include_str!("prices.json"))
}

#[test]
fn costs_agree_with_another_calculator_to_the_last_digit() {
    let catalog = Catalog::builtin().unwrap();
    let cases = cases().unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let usage = case.usage();
        let ours = catalog.cost(&case.call(&usage));
        let expected: Usd = case.usd.parse().unwrap();
        if !ours.as_ref().is_ok_and(|priced| priced.cost == expected) {
            wrong.push(format!("{}/{} at {}: {ours:?} instead of {expected}", case.provider, case.model, case.at_us));
        }
    }
    assert!(cases.len() >= 200, "{}", cases.len());
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Budget: 1 µs per call on one core. `cargo test --release -p tollgate-provider --test prices -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn pricing_takes_less_than_a_microsecond() {
    const ROUNDS: u32 = 200;
    let catalog = Catalog::builtin().unwrap();
    let cases = cases().unwrap();
    let usages: Vec<Usage> = cases.iter().map(Case::usage).collect();
    let price_all = || {
        let calls = cases.iter().zip(&usages);
        calls.filter(|(case, usage)| catalog.cost(&std::hint::black_box(case.call(usage))).is_ok()).count()
    };
    assert_eq!(price_all(), cases.len());
    let started = Instant::now();
    for _ in 0..ROUNDS {
        std::hint::black_box(price_all());
    }
    let calls = u128::from(ROUNDS) * cases.len() as u128;
    let ns = started.elapsed().as_nanos() / calls;
    println!("{ns} ns per call, over {} calls of {} cases", calls, cases.len());
    assert!(ns < 1_000, "{ns} ns");
}

/// What somebody should look at when the catalogue has been written anew.
#[test]
#[ignore = "a report"]
fn what_is_suspicious_about_the_catalogue() {
    let documents = Catalog::builtin_documents().unwrap();
    println!("{} price rows", documents.iter().map(CatalogDocument::rows).sum::<usize>());
    for finding in check(&documents) {
        println!("{finding}");
    }
}

/// What the catalogue costs at the start, for one provider and for all.
#[test]
#[ignore = "a measurement"]
fn reading_the_catalogue() {
    let resident_kib = || {
        let pages: u64 =
            std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4
    };
    let timed = |what: &str, work: &mut dyn FnMut()| {
        let (before, started) = (resident_kib(), Instant::now());
        work();
        println!("{what}: {:?}, {} KiB more resident", started.elapsed(), resident_kib().saturating_sub(before));
    };
    let mut catalog = Catalog::default();
    timed("builtin()", &mut || catalog = Catalog::builtin().unwrap());
    for provider in ["groq", "anthropic", "openai", "bedrock", "openrouter"] {
        timed(provider, &mut || assert!(catalog.prepare(provider)));
    }
    timed("all others", &mut || assert!(catalog.providers().count() >= 25));
}
