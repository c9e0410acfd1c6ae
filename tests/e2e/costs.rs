//! Costs reconcile to the last digit: calls of every class of usage, in two dialects, streamed and not, against a
//! computation that shares no code with the program. And what has no price is counted, listed and explained.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Scripted, Tollgate, eventually};

/// Prices with more digits than anybody charges, per million tokens; `web_search` per thousand calls.
const PRICES: &str = r#"provider: bench
source: made up
checked: 2026-11-26
models:
  - id: scripted
    prices:
      - {from: release, input: "2.500000000001", output: "10.070000000003", cache_read: "0.3123", cache_write_5m: "3.1",
         cache_write_1h: "5.000000000007", audio_input: "40", audio_output: "80.00000001", image_input: "3.3",
         image_output: "41", reasoning: "12.1", web_search: "10.5",
         above: [{input_tokens: 50000, input: "5.1", output: "20.2", cache_read: "0.6", cache_write_5m: "6.2",
         cache_write_1h: "10", audio_input: "41", audio_output: "81", image_input: "6.6", image_output: "42",
         reasoning: "24.2", web_search: "10.5"}]}
"#;

/// The same, as the computation here reads it: trillionths of a dollar.
struct Rates {
    input: i128,
    output: i128,
    cache_read: i128,
    write_5m: i128,
    write_1h: i128,
    audio_input: i128,
    audio_output: i128,
    image_input: i128,
    image_output: i128,
    reasoning: i128,
    search: i128,
}

const SHORT: Rates = Rates {
    input: 2_500_000_000_001,
    output: 10_070_000_000_003,
    cache_read: 312_300_000_000,
    write_5m: 3_100_000_000_000,
    write_1h: 5_000_000_000_007,
    audio_input: 40_000_000_000_000,
    audio_output: 80_000_000_010_000,
    image_input: 3_300_000_000_000,
    image_output: 41_000_000_000_000,
    reasoning: 12_100_000_000_000,
    search: 10_500_000_000_000,
};
const LONG: Rates = Rates {
    input: 5_100_000_000_000,
    output: 20_200_000_000_000,
    cache_read: 600_000_000_000,
    write_5m: 6_200_000_000_000,
    write_1h: 10_000_000_000_000,
    audio_input: 41_000_000_000_000,
    audio_output: 81_000_000_000_000,
    image_input: 6_600_000_000_000,
    image_output: 42_000_000_000_000,
    reasoning: 24_200_000_000_000,
    search: 10_500_000_000_000,
};

/// Numbers that look random and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What a call uses, apart.
struct Used {
    plain: u64,
    cached: u64,
    write_5m: u64,
    write_1h: u64,
    audio_input: u64,
    image_input: u64,
    text: u64,
    reasoning: u64,
    audio_output: u64,
    image_output: u64,
    searches: u64,
}

impl Used {
    fn imagine(numbers: &mut Numbers, dialect: Dialect) -> Used {
        let mut now_and_then = |bound: u64| if numbers.below(3) == 0 { 0 } else { numbers.below(bound) };
        let chat = dialect == Dialect::Chat;
        Used {
            plain: now_and_then(40_000),
            cached: now_and_then(30_000),
            write_5m: now_and_then(9_000),
            write_1h: if chat { 0 } else { now_and_then(7_000) },
            audio_input: if chat { now_and_then(900) } else { 0 },
            image_input: if chat { now_and_then(1_500) } else { 0 },
            text: now_and_then(4_000),
            reasoning: now_and_then(6_000),
            audio_output: if chat { now_and_then(700) } else { 0 },
            image_output: if chat { now_and_then(800) } else { 0 },
            searches: now_and_then(4),
        }
    }

    fn input(&self) -> u64 {
        self.plain + self.cached + self.write_5m + self.write_1h + self.audio_input + self.image_input
    }

    fn output(&self) -> u64 {
        self.text + self.reasoning + self.audio_output + self.image_output
    }

    /// In trillionths, rounded once, half to even.
    fn cost(&self) -> i128 {
        let rates = if self.input() > 50_000 { LONG } else { SHORT };
        let tokens = [
            (self.plain, rates.input),
            (self.cached, rates.cache_read),
            (self.write_5m, rates.write_5m),
            (self.write_1h, rates.write_1h),
            (self.audio_input, rates.audio_input),
            (self.image_input, rates.image_input),
            (self.text, rates.output),
            (self.reasoning, rates.reasoning),
            (self.audio_output, rates.audio_output),
            (self.image_output, rates.image_output),
            (self.searches * 1_000, rates.search),
        ];
        let millionths: i128 = tokens.iter().map(|(count, rate)| i128::from(*count) * rate).sum();
        let (whole, rest) = (millionths / 1_000_000, millionths % 1_000_000);
        match rest.cmp(&500_000) {
            std::cmp::Ordering::Less => whole,
            std::cmp::Ordering::Greater => whole + 1,
            std::cmp::Ordering::Equal => whole + whole % 2,
        }
    }

    /// In the words of the dialect.
    fn reported(&self, dialect: Dialect, stated_cost: Option<&str>) -> Value {
        if dialect == Dialect::Messages {
            return json!({
                "input_tokens": self.plain,
                "cache_read_input_tokens": self.cached,
                "cache_creation_input_tokens": self.write_5m + self.write_1h,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": self.write_5m, "ephemeral_1h_input_tokens": self.write_1h,
                },
                "output_tokens": self.output(),
                "output_tokens_details": {"thinking_tokens": self.reasoning},
                "server_tool_use": {"web_search_requests": self.searches},
            });
        }
        let mut usage = json!({
            "prompt_tokens": self.input(),
            "completion_tokens": self.output(),
            "total_tokens": self.input() + self.output(),
            "prompt_tokens_details": {
                "cached_tokens": self.cached, "cache_write_tokens": self.write_5m,
                "audio_tokens": self.audio_input, "image_tokens": self.image_input,
            },
            "completion_tokens_details": {
                "reasoning_tokens": self.reasoning, "audio_tokens": self.audio_output,
                "image_tokens": self.image_output,
            },
            "server_tool_use": {"web_search_requests": self.searches},
        });
        if let Some(cost) = stated_cost {
            usage["cost"] = serde_json::from_str(cost).unwrap();
        }
        usage
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Dialect {
    Chat,
    Messages,
}

/// As the log writes it.
fn dollars(trillionths: i128) -> String {
    let sign = if trillionths < 0 { "-" } else { "" };
    let amount = trillionths.abs();
    format!("{sign}{}.{:012}", amount / 1_000_000_000_000, amount % 1_000_000_000_000)
}

fn start(provider: &Scripted) -> Tollgate {
    let config = format!(
        "log: {{flush_seconds: 1}}\ncatalog: {{prices: own.yaml}}\nproviders:\n  \
         chat: {{dialect: openai, base_url: \"{0}/v1\", api_key: k, price_as: bench}}\n  \
         claude: {{dialect: anthropic, base_url: \"{0}/v1\", api_key: k, price_as: bench}}\n\
         models:\n  cheap: {{targets: [chat/unheard-of]}}\n",
        provider.url
    );
    Tollgate::with_files(&[("tollgate.yaml", &config), ("own.yaml", PRICES)], &[])
}

#[test]
fn costs_of_every_class_of_usage_reconcile_to_the_last_digit() {
    const CALLS: u64 = 80;
    let provider = Scripted::start();
    let tollgate = start(&provider);
    let gateway = tollgate.gateway();
    let mut numbers = Numbers(7);
    let mut expected: BTreeMap<String, i128> = BTreeMap::new();
    let (mut stated, mut stated_by_catalogue, mut differing) = (0_i128, 0_i128, 0);
    for number in 0..CALLS {
        let dialect = if number % 2 == 0 { Dialect::Chat } else { Dialect::Messages };
        let used = Used::imagine(&mut numbers, dialect);
        // Every fourth call the provider states a cost of its own, now and then another than the catalogue's.
        let own = (number % 4 == 0).then(|| used.cost() + i128::from(number % 8 == 0) * 7_000_000);
        let usage = used.reported(dialect, own.map(dollars).as_deref());
        let (path, model) = match dialect {
            Dialect::Chat => ("/v1/chat/completions", "chat/scripted"),
            Dialect::Messages => ("/v1/messages", "claude/scripted"),
        };
        let messages = json!([{"role": "user", "content": usage.to_string()}]);
        let request = json!({"model": model, "max_tokens": 9_000, "stream": number % 3 == 0, "messages": messages});
        let answer = gateway.post(path, &request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        expected.insert(answer.interaction_id(), used.cost());
        if let Some(own) = own {
            stated += own;
            stated_by_catalogue += used.cost();
            differing += u64::from(own != used.cost());
        }
    }
    tollgate.await_count("select count(*) from interactions where provider in ('chat', 'claude')", CALLS as i64);
    let console = tollgate.console();
    for row in console.rows("select interaction_id, cost_usd, cost_source, price_id from interactions") {
        let id = row["interaction_id"].as_str().unwrap();
        assert_eq!(row["cost_usd"], json!(dollars(expected[id])), "{row}");
        assert_eq!(
            (&row["cost_source"], &row["price_id"]),
            (&json!("catalog"), &json!("bench/scripted@release+override"))
        );
    }
    let sum: i128 = expected.values().sum();
    let total = console.rows("select sum(cost_usd) as total from interactions").remove(0);
    assert_eq!(total["total"], json!(dollars(sum)));
    let report = console.get("/api/v1/costs?range=24h&group=provider").json();
    assert_eq!(report["total"]["cost_usd"], json!(short(sum)));
    let reconciled = &report["reconciliation"][0];
    assert_eq!(reconciled["provider"], "chat");
    assert_eq!((&reconciled["calls"], &reconciled["differing"]), (&json!(CALLS / 4), &json!(differing)));
    assert_eq!(reconciled["provider_usd"], json!(short(stated)));
    assert_eq!(reconciled["catalog_usd"], json!(short(stated_by_catalogue)));
    let page = console.get("/costs?range=24h").text();
    assert!(
        page.contains("Against the providers") && page.contains(&format!("+{}", short(stated - stated_by_catalogue)))
    );
    println!("{CALLS} calls cost {} USD, every one as computed", dollars(sum));
}

/// As reports write it: without zeros at the end.
fn short(trillionths: i128) -> String {
    let text = dollars(trillionths);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[test]
fn a_call_without_a_known_price_is_counted_listed_and_explained() {
    let provider = Scripted::start();
    let tollgate = start(&provider);
    let gateway = tollgate.gateway();
    let usage = json!({"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15}).to_string();
    let mut unpriced: Vec<String> = Vec::new();
    // An alias is no name that a price could be looked up by.
    for model in ["chat/scripted", "chat/unheard-of", "cheap"] {
        let answer = gateway.chat(model, &usage);
        assert_eq!(answer.status, 200, "{}", answer.text());
        if model != "chat/scripted" {
            assert_eq!(answer.header("x-tollgate-cost-usd"), "", "an unknown cost is not zero");
            unpriced.push(answer.interaction_id());
        }
    }
    tollgate.await_count("select count(*) from interactions where provider = 'chat'", 3);
    let console = tollgate.console();
    let report = console.get("/api/v1/costs?range=24h").json();
    assert_eq!(report["total"]["unpriced"], 2);
    let row = &report["unpriced"][0];
    assert_eq!((&row["provider"], &row["model"], &row["calls"]), (&json!("chat"), &json!("unheard-of"), &json!(2)));
    assert_eq!((&row["input_tokens"], &row["output_tokens"], &row["uncounted"]), (&json!(22), &json!(8), &json!(0)));
    let reason = row["reason"].as_str().unwrap();
    assert!(reason.starts_with("no price for model `unheard-of` at `bench`"), "{reason}");
    let page = console.get("/costs?range=24h").text();
    assert!(page.contains("cost=unknown") && page.contains("<b>Price unknown</b>: no price for model"), "{page}");
    assert!(page.contains("over the 1 call of 3 that has a cost"), "{page}");
    let detail = console.get(&format!("/interactions/{}", unpriced[1])).text();
    assert!(detail.contains("<b>Price unknown</b>: no price for model"), "{detail}");
    for shown in [copyable(&page), copyable(&detail)] {
        assert!(shown.ends_with("prices explain unheard-of --provider chat"), "{shown}");
        let said = tollgate.run_as_written(&shown);
        assert!(said.contains(reason), "what `{shown}` says: {said}");
    }
    let listed = console.get("/api/v1/interactions?range=24h&cost=unknown").json();
    let mut listed: Vec<String> = listed["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["interaction_id"].as_str().unwrap().to_owned())
        .collect();
    listed.sort();
    unpriced.sort();
    assert_eq!(listed, unpriced);
    eventually("the counter", Duration::from_secs(5), || {
        console.get("/metrics").text().contains("tollgate_gateway_calls_unpriced_total 2\n").then_some(())
    });
}

/// The command that a page offers to copy, without its markup.
fn copyable(page: &str) -> String {
    let offered = page.split("data-copy-inline>").find(|part| part.starts_with("tollgate ")).unwrap();
    let end = ["</th>", "</code>"].iter().filter_map(|tag| offered.find(tag)).min().unwrap();
    // Text and tags take turns.
    offered[..end].split(['<', '>']).step_by(2).collect()
}

#[test]
fn a_call_says_what_was_asked_for_and_can_be_found_by_it() {
    let tollgate = Tollgate::start();
    let gateway = tollgate.gateway();
    assert_eq!(gateway.chat("sandbox/small", "Hello").status, 200);
    let embedding = gateway.post("/v1/embeddings", &json!({"model": "sandbox/embed", "input": "Hello"}));
    assert_eq!(embedding.status, 200, "{}", embedding.text());
    tollgate.await_count("select count(*) from interactions", 2);
    let console = tollgate.console();
    let listed = console.get("/api/v1/interactions?range=24h&operation=embeddings").json();
    let rows = listed["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["interaction_id"], json!(embedding.interaction_id()));
    let page = console.get("/interactions?range=24h&operation=embeddings").text();
    assert!(page.contains("<option selected>embeddings</option>"), "{page}");
    assert_eq!(page.matches("class=\"call\"").count(), 1);
}
