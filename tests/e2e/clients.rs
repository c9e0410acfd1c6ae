//! Other people's clients, unchanged, against the running binary, with providers of every format behind it.

use serde_json::json;

use crate::support::{Mock, Node, Python, Tollgate};

/// The formats that providers are played in for every client, each with a model, the name of its provider here, and its price
/// in USD for a million tokens: input, input from the cache, output. A change of those prices in the catalogue belongs here.
const UPSTREAMS: [(&str, &str, &str, [&str; 3]); 3] = [
    ("openai", "gpt-5-mini", "up-openai", ["0.25", "0.025", "2"]),
    ("anthropic", "claude-sonnet-4-5", "up-anthropic", ["3", "0.3", "15"]),
    ("gemini", "gemini-2.5-flash", "up-gemini", ["0.3", "0.03", "2.5"]),
];

/// A gateway in front of mock providers.
struct Scene {
    tollgate: Tollgate,
    _mocks: Vec<Mock>,
    token: String,
    upstreams: String,
}

impl Scene {
    /// One mock provider that speaks every format.
    fn with_one_mock() -> Scene {
        let mock = Mock::start(&["--chunk-delay-ms", "20"]);
        let provider = |dialect: &str| {
            format!(
                "  mock-{dialect}: {{dialect: {dialect}, base_url: \"{}\", api_key: none, price_as: {dialect}}}\n",
                mock.url
            )
        };
        let providers: String = ["openai", "anthropic", "gemini", "bedrock"].map(provider).concat();
        Scene::new(&providers, vec![mock], String::new())
    }

    /// One mock provider for each of [`UPSTREAMS`], so that its counts are those of one model.
    fn with_a_mock_each() -> Scene {
        let mocks: Vec<Mock> = UPSTREAMS.iter().map(|_| Mock::start(&[])).collect();
        let mut providers = String::new();
        let mut upstreams = json!({});
        for ((dialect, model, provider, usd_per_mtok), mock) in UPSTREAMS.iter().zip(&mocks) {
            let url = &mock.url;
            providers.push_str(&format!(
                "  {provider}: {{dialect: {dialect}, base_url: \"{url}\", api_key: none, price_as: {dialect}}}\n"
            ));
            let name = format!("{provider}/{model}");
            upstreams[dialect] = json!({
                "name": name, "model": model, "provider": provider, "url": url, "usd_per_mtok": usd_per_mtok,
            });
        }
        Scene::new(&providers, mocks, upstreams.to_string())
    }

    fn new(providers: &str, mocks: Vec<Mock>, upstreams: String) -> Scene {
        let tollgate = Tollgate::with_config(&format!("log: {{flush_seconds: 1}}\nproviders:\n{providers}"));
        let token = std::fs::read_to_string(tollgate.data().join("api-token")).unwrap().trim().to_owned();
        Scene { tollgate, _mocks: mocks, token, upstreams }
    }

    fn environment(&self) -> [(&str, &str); 5] {
        [
            ("GATEWAY", &self.tollgate.gateway_url),
            ("CONSOLE", &self.tollgate.console_url),
            ("KEY", self.tollgate.key()),
            ("TOKEN", &self.token),
            ("UPSTREAMS", &self.upstreams),
        ]
    }
}

fn run(script: &str) {
    println!("{}", Python::new().run(script, &Scene::with_one_mock().environment()));
}

#[test]
fn the_openai_client_works_unchanged() {
    run("openai_client.py");
}

#[test]
fn the_openai_client_s_other_operations_work_unchanged() {
    run("openai_operations.py");
}

#[test]
fn the_anthropic_client_works_unchanged() {
    run("anthropic_client.py");
}

#[test]
fn each_client_is_served_by_providers_of_every_format() {
    run("every_dialect.py");
}

#[test]
fn the_openai_client_holds_a_conversation_over_a_websocket() {
    // The script itself plays the provider, at a port that is free now.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "log: {{flush_seconds: 1}}\nproviders:\n  voice: {{dialect: openai, base_url: \"http://127.0.0.1:{port}\", api_key: sk-voice, price_as: openai}}\n"
    );
    let tollgate = Tollgate::with_config(&config);
    let token = std::fs::read_to_string(tollgate.data().join("api-token")).unwrap();
    let port = port.to_string();
    let printed = Python::new().run(
        "realtime_client.py",
        &[
            ("GATEWAY", tollgate.gateway_url.as_str()),
            ("CONSOLE", tollgate.console_url.as_str()),
            ("KEY", tollgate.key()),
            ("TOKEN", token.trim()),
            ("PORT", port.as_str()),
        ],
    );
    println!("{printed}");
}

#[test]
fn langchain_and_litellm_work_unchanged() {
    println!("{}", Python::new().run("frameworks.py", &Scene::with_a_mock_each().environment()));
}

#[test]
fn the_npm_packages_work_unchanged() {
    println!("{}", Node::new().run("npm.mjs", &Scene::with_a_mock_each().environment()));
}
