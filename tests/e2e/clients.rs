//! The official Python clients, unchanged, against the running binary, with providers of every format behind it.

use crate::support::{Mock, Python, Tollgate};

fn run(script: &str) {
    let mock = Mock::start(&["--chunk-delay-ms", "20"]);
    let provider = |dialect: &str| {
        format!("  mock-{dialect}: {{dialect: {dialect}, base_url: \"{}\", api_key: none}}\n", mock.url)
    };
    let providers: String = ["openai", "anthropic", "gemini", "bedrock"].map(provider).concat();
    let config = format!("log: {{flush_seconds: 1}}\nproviders:\n{providers}");
    let tollgate = Tollgate::with_config(&config);
    let token = std::fs::read_to_string(tollgate.data().join("api-token")).unwrap();
    let printed = Python::new().run(
        script,
        &[
            ("GATEWAY", tollgate.gateway_url.as_str()),
            ("CONSOLE", tollgate.console_url.as_str()),
            ("KEY", tollgate.key()),
            ("TOKEN", token.trim()),
        ],
    );
    println!("{printed}");
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
        "log: {{flush_seconds: 1}}\nproviders:\n  voice: {{dialect: openai, base_url: \"http://127.0.0.1:{port}\", api_key: sk-voice}}\n"
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
