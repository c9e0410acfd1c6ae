//! What the answer of each scenario costs, by the catalogue that comes with the program: the same whoever the caller is.
//! `golden/costs.json` holds it, and `TOLLGATE_BLESS=1` writes it anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tollgate_interaction::Dialect;
use tollgate_provider::price::{Call, Catalog};

use crate::scenario::scenarios;

/// 2026-11-26.
const AT_US: i64 = 1_795_651_200_000_000;

fn list(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Openai | Dialect::Responses => "openai",
        Dialect::Anthropic => "anthropic",
        Dialect::Gemini => "google",
        Dialect::Bedrock => "bedrock",
    }
}

#[test]
fn every_answer_costs_what_the_file_says() {
    let catalog = Catalog::builtin().unwrap();
    let mut costs = BTreeMap::new();
    for ((dialect, name), scenario) in scenarios() {
        // Amazon's answers do not name the model: it stands in the path.
        let model = match (&scenario.turn.model_served, dialect) {
            (Some(model), _) => model.as_str(),
            (None, Dialect::Bedrock) => "anthropic.claude-sonnet-4-5-20250929-v1:0",
            (None, _) => continue,
        };
        let usage = &scenario.turn.usage;
        let call = Call { provider: list(dialect), model, region: None, service_tier: None, usage, at_us: AT_US };
        let cost = match catalog.cost(&call) {
            Ok(priced) => json!({"usd": priced.cost.to_string(), "price_id": priced.price_id}),
            Err(unknown) => json!({"usd": null, "why": unknown.to_string()}),
        };
        costs.insert(format!("{dialect}/{name}"), cost);
    }
    let path = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("golden/costs.json");
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        fs::write(&path, serde_json::to_string_pretty(&costs).unwrap() + "\n").unwrap();
    }
    let expected: BTreeMap<String, Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let known = expected.values().filter(|cost| !cost["usd"].is_null()).count();
    assert!(known > 120, "{known} answers have a known cost");
    for (name, cost) in &costs {
        assert_eq!(Some(cost), expected.get(name), "{name}");
    }
    assert_eq!(costs.len(), expected.len(), "the file names scenarios that are gone");
}
