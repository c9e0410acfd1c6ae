//! What a catalogue makes of calls: the one that comes with the program, and small ones made for a rule.

use super::calendar::days_since_1970;
use super::*;

const NOW_US: i64 = 1_795_392_000_000_000; // 2026-11-23

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

fn tokens(input: u64, output: u64) -> Usage {
    Usage { input_tokens: Some(input), output_tokens: Some(output), ..Usage::default() }
}

fn call<'a>(provider: &'a str, model: &'a str, usage: &'a Usage) -> Call<'a> {
    Call { provider, model, region: None, service_tier: None, usage, at_us: NOW_US }
}

fn own(text: &str) -> Catalog {
    let head = "provider: own\nsource: contract\nchecked: 2026-11-01\n";
    let document = CatalogDocument::from_yaml("own", &format!("{head}{text}")).unwrap();
    Catalog::default().with_documents(vec![document]).unwrap()
}

/// Cost of a million tokens in and none out.
fn price(
    catalog: &Catalog,
    model: &str,
    region: Option<&str>,
    tier: Option<&str>,
    at_us: i64,
) -> Result<Usd, PriceError> {
    let usage = tokens(1_000_000, 0);
    catalog.cost(&Call { region, service_tier: tier, at_us, ..call("own", model, &usage) }).map(|priced| priced.cost)
}

#[test]
fn the_builtin_catalogue_is_sound_and_broad() {
    let documents = Catalog::builtin_documents().unwrap();
    for document in &documents {
        Provider::new(document.clone(), false).unwrap();
    }
    let wrong: Vec<Finding> = check(&documents).into_iter().filter(|it| it.severity == Severity::Wrong).collect();
    assert_eq!(wrong, []);
    let catalog = Catalog::builtin().unwrap();
    let models: usize = catalog.providers().map(|(_, models)| models).sum();
    assert!(catalog.providers().count() >= 25 && models >= 800, "{models}");
    let rows: usize = documents.iter().map(CatalogDocument::rows).sum();
    assert!(rows >= models, "{rows}");
}

#[test]
fn the_table_of_files_agrees_with_the_files() {
    let mut names = Vec::new();
    for (index, document) in Catalog::builtin_documents().unwrap().iter().enumerate() {
        assert_eq!(document.provider, builtin::FILES[index].0);
        let also = document.also_called.iter().map(String::as_str);
        names.extend(std::iter::once(document.provider.as_str()).chain(also).map(|name| (name.to_owned(), index)));
    }
    names.sort();
    let known: Vec<_> = builtin::NAMES.iter().map(|(name, index)| ((*name).to_owned(), *index)).collect();
    assert_eq!(names, known);
    assert!(builtin::FILES.is_sorted() && builtin::NAMES.is_sorted());
}

#[test]
fn well_known_models_have_a_price() {
    let catalog = Catalog::builtin().unwrap();
    for (provider, model) in [
        ("openai", "gpt-5"),
        ("openai", "gpt-6-sol-2026-10-01"),
        ("anthropic", "claude-sonnet-4-5-20250929"),
        ("anthropic", "claude-3-5-haiku-20241022"),
        ("anthropic", "claude-sonnet-4-20250514"),
        ("google", "gemini-2.5-pro"),
        ("gemini", "gemini-2.5-pro"),
        ("mistral", "mistral-large-4"),
        ("groq", "llama-3.3-70b-versatile"),
        ("together", "meta-llama/Llama-4-Scout-17B-16E-Instruct"),
        ("bedrock", "anthropic.claude-opus-4-5-20251101-v1:0"),
        ("bedrock", "us.anthropic.claude-opus-4-5-20251101-v1:0"),
        ("aws", "amazon.nova-lite-v1:0"),
        ("vertex", "claude-opus-4-5@20251101"),
        ("azure", "gpt-5"),
        ("vertex", "gemini-2.5-pro"),
        ("sandbox", "small"),
        ("sandbox", "sandbox/large"),
    ] {
        let priced = catalog.cost(&call(provider, model, &tokens(1, 1)));
        assert!(priced.is_ok(), "{provider} {model}: {priced:?}");
    }
}

#[test]
fn classes_are_priced_apart_and_the_sum_is_exact() {
    let catalog = Catalog::builtin().unwrap();
    let usage = Usage {
        cache_read_input_tokens: Some(1_000),
        cache_write_5m_input_tokens: Some(200),
        cache_write_1h_input_tokens: Some(100),
        reasoning_output_tokens: Some(50),
        ..tokens(1_500, 300)
    };
    let priced = catalog.cost(&call("anthropic", "claude-opus-4-5-20251101", &usage)).unwrap();
    // 200 × 5 + 1000 × 0.5 + 200 × 6.25 + 100 × 10 + 300 × 25, per million.
    assert_eq!(priced.cost, usd("0.01125"));
    assert_eq!(priced.price_id, "anthropic/claude-opus-4-5@release");
}

#[test]
fn the_day_of_the_call_chooses_the_row() {
    let catalog = Catalog::builtin().unwrap();
    let on = |year, month, day| {
        let at_us = days_since_1970(year, month, day) * 86_400_000_000;
        catalog.cost(&Call { at_us, ..call("openai", "o3", &tokens(1_000_000, 0)) }).unwrap()
    };
    assert_eq!(on(2025, 6, 9), Priced { cost: usd("10"), price_id: "openai/o3@release".to_owned() });
    assert_eq!(on(2025, 6, 10), Priced { cost: usd("2"), price_id: "openai/o3@2025-06-10".to_owned() });
}

#[test]
fn a_long_prompt_moves_the_whole_call_to_the_higher_rate() {
    let catalog = Catalog::builtin().unwrap();
    let cost = |input| catalog.cost(&call("google", "gemini-2.5-pro", &tokens(input, 1_000))).unwrap().cost;
    assert_eq!(cost(200_000), usd("0.26"));
    assert_eq!(cost(200_001), usd("0.5150025"));
}

#[test]
fn what_is_unknown_is_an_error_and_never_zero() {
    let catalog = Catalog::builtin().unwrap();
    let error = |provider, model, usage: &Usage| catalog.cost(&call(provider, model, usage)).unwrap_err();
    for model in ["gpt-5-turbo-x", "my-gpt-5", "gpt-5-20250807-x", "unpriced", "GPT-5"] {
        assert!(matches!(error("openai", model, &tokens(1, 1)), PriceError::UnknownModel { .. }), "{model}");
    }
    assert!(matches!(error("nobody", "gpt-5", &tokens(1, 1)), PriceError::UnknownModel { .. }));
    let unknown = Usage { input_tokens: Some(5), ..Usage::default() };
    assert_eq!(error("openai", "gpt-5", &unknown), PriceError::UnknownUsage { class: "output" });
    let inconsistent = Usage { cache_read_input_tokens: Some(9), ..tokens(5, 1) };
    assert_eq!(error("openai", "gpt-5", &inconsistent), PriceError::Inconsistent { class: "input" });
    let audio = Usage { audio_input_tokens: Some(2), ..tokens(5, 1) };
    assert!(matches!(error("openai", "gpt-5", &audio), PriceError::UnpricedClass { class: "audio_input", .. }));
    let tools = Usage { other_tool_calls: Some(1), ..tokens(5, 1) };
    assert!(matches!(error("openai", "gpt-5", &tools), PriceError::UnpricedClass { class: "other_tool", .. }));
    let search = Usage { web_search_calls: Some(1), ..tokens(5, 1) };
    assert!(matches!(
        error("groq", "llama-3.3-70b-versatile", &search),
        PriceError::UnpricedClass { class: "web_search", .. }
    ));
    let embedding = Usage { input_tokens: Some(1_000_000), ..Usage::default() };
    assert_eq!(catalog.cost(&call("sandbox", "embed", &embedding)).unwrap().cost, usd("0.02"));
    assert_eq!(catalog.cost(&call("mistral", "mistral-embed", &embedding)).unwrap().cost, usd("0.1"));
}

#[test]
fn a_name_within_a_name_and_another_seller_are_other_prices() {
    let catalog = Catalog::builtin().unwrap();
    let rates = |provider, model| {
        let price = |usage: &Usage| catalog.cost(&call(provider, model, usage)).unwrap().cost.to_string();
        (price(&tokens(1_000_000, 0)), price(&tokens(0, 1_000_000)))
    };
    let is = |input: &str, output: &str| (input.to_owned(), output.to_owned());
    assert_eq!(rates("openai", "gpt-4o"), is("2.50", "10.00"));
    assert_eq!(rates("openai", "gpt-4o-mini"), is("0.15", "0.60"));
    assert_eq!(rates("openai", "gpt-4"), is("30.00", "60.00"));
    assert_eq!(rates("anthropic", "claude-opus-4-1"), is("15.00", "75.00"));
    assert_eq!(rates("anthropic", "claude-opus-4-5"), is("5.00", "25.00"));
    assert_eq!(rates("anthropic", "claude-haiku-4-5-20251001"), is("1.00", "5.00"));
    assert_eq!(rates("groq", "openai/gpt-oss-120b"), is("0.15", "0.60"));
    for (provider, model) in [
        ("openai", "openai/gpt-4o"),
        ("anthropic", "claude-haiku-4-5-opus"),
        ("anthropic", "anthropic/claude-opus-4-5"),
        ("bedrock", "xx.anthropic.claude-opus-4-5-20251101-v1:0"),
        ("bedrock", "reseller/anthropic.claude-opus-4-5-20251101-v1:0"),
    ] {
        let result = catalog.cost(&call(provider, model, &tokens(1, 1)));
        assert!(matches!(result, Err(PriceError::UnknownModel { .. })), "{provider} {model}: {result:?}");
    }
}

#[test]
fn a_service_tier_has_a_row_of_its_own_or_no_price() {
    let catalog = Catalog::builtin().unwrap();
    let usage = tokens(1_000_000, 0);
    let at = |tier| catalog.cost(&Call { service_tier: tier, ..call("openai", "gpt-5", &usage) });
    for tier in [None, Some("default"), Some("auto")] {
        assert_eq!(at(tier).unwrap(), Priced { cost: usd("1.25"), price_id: "openai/gpt-5@release".to_owned() });
    }
    let flex = at(Some("flex")).unwrap();
    assert_eq!(flex, Priced { cost: usd("0.625"), price_id: "openai/gpt-5@2026-10-12?tier=flex".to_owned() });
    assert_eq!(at(Some("priority")).unwrap().cost, usd("2.5"));
    assert_eq!(at(Some("batch")).unwrap().cost, usd("0.625"));
    assert!(matches!(at(Some("scale")), Err(PriceError::UnknownTier { tier, .. }) if tier == "scale"));
    let early = Call { service_tier: Some("flex"), at_us: 0, ..call("openai", "gpt-5", &usage) };
    assert!(matches!(catalog.cost(&early), Err(PriceError::NotYetPriced { .. })));
}

#[test]
fn a_region_is_settled_before_the_tier_and_falls_back_only_as_stated() {
    let catalog = own(concat!(
        "standard_tiers: [default]\nstandard_regions: [global]\nother_regions: regional\nmodels:\n  - id: m\n    prices:\n",
        "      - {from: release, input: \"10\"}\n",
        "      - {from: release, service_tier: batch, input: \"5\"}\n",
        "      - {from: release, region: eu, input: \"12\"}\n",
        "      - {from: release, region: regional, input: \"11\"}\n",
        "  - id: n\n    prices:\n      - {from: release, region: eu, input: \"3\"}\n",
    ));
    let cost = |model, region, tier| price(&catalog, model, region, tier, NOW_US).map(|cost| cost.to_string());
    assert_eq!(cost("m", None, None).unwrap(), "10.00");
    assert_eq!(cost("m", Some("global"), Some("default")).unwrap(), "10.00");
    assert_eq!(cost("m", Some("eu"), None).unwrap(), "12.00");
    assert_eq!(cost("m", Some("asia-east1"), None).unwrap(), "11.00");
    assert_eq!(cost("m", None, Some("batch")).unwrap(), "5.00");
    assert!(matches!(cost("m", Some("eu"), Some("batch")), Err(PriceError::UnknownTier { .. })));
    assert_eq!(cost("n", Some("eu"), None).unwrap(), "3.00");
    assert!(matches!(cost("n", None, None), Err(PriceError::UnknownRegion { .. })));
    assert!(matches!(cost("n", Some("us"), None), Err(PriceError::UnknownRegion { region, .. }) if region == "us"));
}

#[test]
fn the_prefix_of_an_inference_profile_is_a_region() {
    let catalog = Catalog::builtin().unwrap();
    let usage = tokens(1_000_000, 0);
    let at = |model, region| catalog.cost(&Call { region, ..call("bedrock", model, &usage) });
    let id = "anthropic.claude-sonnet-4-5-20250929-v1:0";
    let (eu, global) = (format!("eu.{id}"), format!("global.{id}"));
    assert_eq!(at(id, None).unwrap().cost, usd("3.3"));
    assert_eq!(at(&eu, Some("eu-central-1")).unwrap().cost, usd("3.3"));
    let priced = at(&global, Some("eu-central-1")).unwrap();
    assert_eq!(priced.cost, usd("3"));
    assert_eq!(priced.price_id, format!("bedrock/{id}@release?region=global"));
    // No source states a price for the global profile of this one.
    assert!(matches!(at("global.amazon.nova-lite-v1:0", None), Err(PriceError::UnknownRegion { .. })));
}

#[test]
fn the_hour_of_the_call_chooses_among_the_rows_of_the_day_and_a_later_day_ends_them_all() {
    let catalog = own(concat!(
        "models:\n  - id: m\n    prices:\n",
        "      - {from: release, input: \"2\"}\n",
        "      - {from: release, hours_utc: \"16:30-00:30\", input: \"1\"}\n",
        "      - {from: 2026-09-05, input: \"3\"}\n",
    ));
    let at = |year, month, day, minute: i64| {
        let at_us = (days_since_1970(year, month, day) * 24 * 60 + minute) * 60_000_000;
        price(&catalog, "m", None, None, at_us).unwrap().to_string()
    };
    let half_past_four = 16 * 60 + 30;
    assert_eq!(at(2026, 9, 4, half_past_four - 1), "2.00");
    assert_eq!(at(2026, 9, 4, half_past_four), "1.00");
    assert_eq!(at(2026, 9, 4, 0), "1.00");
    assert_eq!(at(2026, 9, 4, 29), "1.00");
    assert_eq!(at(2026, 9, 4, 30), "2.00");
    assert_eq!(at(2026, 9, 5, half_past_four), "3.00");
}

#[test]
fn an_override_replaces_a_row_and_says_so() {
    let text = "provider: openai\nsource: contract\nchecked: 2026-11-01\nmodels:\n  - id: gpt-5\n    prices:\n      - {from: 2026-01-01, input: \"1\", output: \"2\"}\n";
    let document = CatalogDocument::from_yaml("mine", text).unwrap();
    let catalog = Catalog::builtin().unwrap().with_overrides(document).unwrap();
    let usage = tokens(1_000_000, 1_000_000);
    let priced = catalog.cost(&call("openai", "gpt-5", &usage)).unwrap();
    assert_eq!(priced, Priced { cost: usd("3"), price_id: "openai/gpt-5@2026-01-01+override".to_owned() });
    let early = Call { at_us: 0, ..call("openai", "gpt-5", &usage) };
    assert!(matches!(catalog.cost(&early), Err(PriceError::NotYetPriced { .. })));
    let default = Call { service_tier: Some("default"), ..call("openai", "gpt-5", &usage) };
    assert_eq!(catalog.cost(&default).unwrap().cost, usd("3"));
    assert_eq!(catalog.cost(&call("openai", "gpt-5-mini", &usage)).unwrap().cost, usd("2.25"));
    assert_eq!(catalog.models("openai").filter(|id| *id == "gpt-5").count(), 1);
}

#[test]
fn a_broken_catalogue_is_refused_with_the_row_named() {
    let parse = |price: &str| {
        let text =
            format!("provider: p\nsource: s\nchecked: 2026-11-01\nmodels:\n  - id: m\n    prices:\n      - {price}\n");
        CatalogDocument::from_yaml("mine", &text).and_then(|document| Catalog::default().with_overrides(document))
    };
    assert!(matches!(parse("{from: release, input: \"-1\"}"), Err(CatalogError::Syntax { .. })));
    assert!(matches!(parse("{from: yesterday, input: \"1\"}"), Err(CatalogError::Invalid { .. })));
    assert!(matches!(parse("{from: release, hours_utc: \"9-17\", input: \"1\"}"), Err(CatalogError::Invalid { .. })));
    assert!(matches!(parse("{from: release, inptu: \"1\"}"), Err(CatalogError::Syntax { .. })));
    assert!(matches!(parse("{from: release, input: \"1\", ouptut: \"1\"}"), Err(CatalogError::Syntax { .. })));
    assert!(parse("{from: 2026-02-29, input: \"1\"}").is_err());
    assert!(parse("{from: release, input: \"1\"}").is_ok());
}

#[test]
fn an_explanation_names_the_row_its_source_and_each_class() {
    let catalog = Catalog::builtin().unwrap();
    let usage = Usage { cache_read_input_tokens: Some(100_000), ..tokens(300_000, 1_000) };
    let explanation = catalog.explain(&call("gemini", "gemini-2.5-pro", &usage), &Beside::default()).unwrap();
    assert_eq!((explanation.found_by, explanation.above_input_tokens), (FoundBy::Id, Some(200_000)));
    assert_eq!(explanation.price_id, "google/gemini-2.5-pro@release");
    assert_eq!(explanation.source, "https://ai.google.dev/gemini-api/docs/pricing");
    let classes: Vec<_> = explanation.lines.iter().map(|line| (line.class, line.quantity, line.rate)).collect();
    let expected = [("cache_read", 100_000, usd("0.25")), ("input", 200_000, usd("2.5")), ("output", 1_000, usd("15"))];
    assert_eq!(classes, expected);
    assert_eq!(explanation.cost, Ok(usd("0.54")));
    let alias = catalog.explain(&call("openai", "gpt-5-2025-08-07", &usage), &Beside::default()).unwrap();
    assert_eq!((alias.found_by, alias.model.as_str()), (FoundBy::Alias, "gpt-5"));
    let dated = catalog.explain(&call("openai", "gpt-6-sol-20261001", &usage), &Beside::default()).unwrap();
    assert_eq!(dated.found_by, FoundBy::Snapshot);
}

#[test]
fn an_update_takes_the_place_of_a_file() {
    let text = "provider: groq\nsource: s\nchecked: 2026-11-01\nmodels:\n  - {id: m, context_tokens: 8, prices: [{from: release, input: \"1\"}]}\n";
    let document = CatalogDocument::from_yaml("groq", text).unwrap();
    let catalog = Catalog::builtin().unwrap().with_documents(vec![document]).unwrap();
    assert_eq!(catalog.models("groq").collect::<Vec<_>>(), ["m"]);
    assert_eq!(catalog.limits("groq", "m").unwrap().context_tokens, Some(8));
    assert!(catalog.models("openai").count() > 50);
}

#[test]
fn a_name_that_says_more_than_the_model_is_priced_as_the_model() {
    let catalog = Catalog::builtin().unwrap();
    let usage = tokens(1_000_000, 0);
    let cost = |provider: &str, model: &str| catalog.cost(&call(provider, model, &usage)).map(|priced| priced.cost);
    let claude = "anthropic.claude-sonnet-4-5-20250929-v1:0";
    for arn in ["inference-profile/global.", "inference-profile/eu.", "foundation-model/"] {
        let (_, prefix) = arn.split_once('/').unwrap();
        let name = format!("arn:aws:bedrock:eu-central-1:123456789012:{arn}{claude}");
        assert_eq!(cost("aws", &name).unwrap(), cost("bedrock", &format!("{prefix}{claude}")).unwrap(), "{arn}");
    }
    assert_ne!(cost("aws", &format!("global.{claude}")), cost("aws", &format!("eu.{claude}")));
    let application = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/abc";
    assert!(matches!(cost("aws", application), Err(PriceError::UnknownModel { .. })));
    let plain = cost("vertex", "claude-sonnet-4-5@20250929").unwrap();
    assert_eq!(cost("vertex", "anthropic/claude-sonnet-4-5@20250929").unwrap(), plain);
    assert_eq!(cost("vertex", "google/gemini-2.5-flash").unwrap(), cost("vertex", "gemini-2.5-flash").unwrap());
}
