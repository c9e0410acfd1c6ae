//! The official Python clients, unchanged, against the running binary.

use crate::support::{Mock, Python, Tollgate};

fn run(script: &str) {
    let mock = Mock::start(&["--chunk-delay-ms", "20"]);
    let config = format!(
        "log: {{flush_seconds: 1}}\nproviders:\n  mock-openai: {{dialect: openai, base_url: \"{0}/v1\", api_key: none}}\n  mock-anthropic: {{dialect: anthropic, base_url: \"{0}/v1\", api_key: none}}\n",
        mock.url
    );
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
fn the_anthropic_client_works_unchanged() {
    run("anthropic_client.py");
}
