//! What `/setup` tells people to copy, run as it is told.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Mock, Node, Python, Tollgate};

/// Starts a client that reads its settings from the environment, for settings of a tool that cannot run here.
const STARTED: [(&str, &str); 3] = [
    (
        "environment",
        "python3 -c 'import openai; print(openai.OpenAI().responses.create(model=\"{model}\", input=\"Hello\").output_text)'",
    ),
    (
        "claude-code",
        "python3 -c 'import anthropic, os; print(anthropic.Anthropic().messages.create(model=os.environ[\"ANTHROPIC_MODEL\"], \
         max_tokens=99, messages=[{\"role\": \"user\", \"content\": \"Hello\"}]).content[0].text)'",
    ),
    (
        "gemini-cli",
        "python3 -c 'import os; from google import genai; \
         client = genai.Client(); print(client.models.generate_content(model=os.environ[\"GEMINI_MODEL\"], contents=\"Hello\").text)'",
    ),
];

/// Does what a tool does with its file of settings.
const READ: [(&str, &str); 2] = [
    (
        "codex",
        "import os, tomllib, openai\n\
         told = tomllib.load(open('settings', 'rb'))\n\
         provider = told['model_providers'][told['model_provider']]\n\
         assert provider['wire_api'] == 'responses'\n\
         client = openai.OpenAI(base_url=provider['base_url'], api_key=os.environ[provider['env_key']])\n\
         with client.responses.stream(model=told['model'], input='Hello') as stream:\n\
         \x20   stream.until_done()\n\
         print(stream.get_final_response().output_text)",
    ),
    (
        "claude-code",
        "import json, os, subprocess, anthropic\n\
         told = json.load(open('settings'))\n\
         os.environ.update(told['env'])\n\
         key = subprocess.run(told['apiKeyHelper'], shell=True, check=True, capture_output=True, text=True).stdout.strip()\n\
         client = anthropic.Anthropic(auth_token=key)\n\
         turns = [{'role': 'user', 'content': 'Hello'}]\n\
         print(client.messages.create(model=os.environ['ANTHROPIC_MODEL'], max_tokens=99, messages=turns).content[0].text)",
    ),
];

fn named<'a>(table: &[(&str, &'a str)], id: &str) -> &'a str {
    table.iter().find(|(name, _)| *name == id).unwrap_or_else(|| panic!("nothing says how `{id}` is tried")).1
}

#[test]
fn everything_on_the_setup_page_works_as_it_is_told() {
    let mock = Mock::start(&[]);
    let model = "mock/claude-sonnet-4-5";
    let config = format!(
        "log: {{flush_seconds: 1}}\nproviders:\n  mock: {{dialect: anthropic, base_url: \"{}\", api_key: none, price_as: anthropic}}\n",
        mock.url
    );
    let tollgate = Tollgate::with_config(&config);
    let setup = tollgate.console().get(&format!("/api/v1/setup?model={model}")).json();
    let node = Node::new();
    let (mut tried, mut calls) = (Vec::new(), 0);
    for client in setup["clients"].as_array().unwrap() {
        let id = client["id"].as_str().unwrap();
        for block in client["blocks"].as_array().unwrap() {
            let (kind, text) = (block["kind"].as_str().unwrap(), block["text"].as_str().unwrap());
            let Some(mut command) = command(kind, id, text, model, node.folder()) else { continue };
            command.env("TOLLGATE_KEY", tollgate.key()).current_dir(node.folder());
            let output = command.output().unwrap();
            let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success() && printed.trim().len() > 5, "{id}: {text}\n{printed}\n{errors}");
            calls += 1;
            tried.push(format!("{id}/{}", block["label"].as_str().unwrap()));
        }
    }
    println!("ran {}", tried.join(", "));
    assert_eq!(setup["clients"].as_array().unwrap().len(), 15, "a client was added: is it tried?");
    assert_eq!(calls, 20, "{tried:?}");
    tollgate.await_count("select count(*) from interactions where outcome = 'success'", calls);
    assert_eq!(tollgate.console().number("select count(*) from interactions"), calls);
    let settings_with_key = setup.to_string().contains("tg-");
    assert!(!settings_with_key, "a key is told: {setup}");
    reaches_the_gateway(&setup, &tollgate.gateway_url);
}

/// What is done with a text of this kind; `None` for one that only a program with a window takes.
fn command(kind: &str, id: &str, text: &str, model: &str, folder: &Path) -> Option<Command> {
    let python = Python::new().program("python3");
    let shell = |script: String| {
        let mut command = Command::new("sh");
        let packages = python.parent().unwrap().display();
        let path = format!("{packages}:{}", std::env::var("PATH").unwrap());
        command.args(["-euc", &script]).env("PATH", path);
        command
    };
    // Not under the name of a package: Python would import the file itself.
    let written = |name: &str, text: &str, program: &Path| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        let mut command = Command::new(program);
        command.arg(path).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    match kind {
        "shell" => Some(shell(text.replacen("curl", "curl --silent --fail", 1))),
        "environment" => Some(shell(format!("{text}\n{}", named(&STARTED, id).replace("{model}", model)))),
        "python" => Some(written("hello.py", text, &python)),
        "node" => Some(written("hello.mjs", text, Path::new("node"))),
        "file" => {
            std::fs::write(folder.join("settings"), text).unwrap();
            Some(written("read.py", named(&READ, id), &python))
        }
        "field" => None,
        other => panic!("nothing says how a text of kind `{other}` is tried"),
    }
}

/// The fields for Cursor, which has a window, are this gateway's address and the model.
fn reaches_the_gateway(setup: &Value, gateway: &str) {
    let cursor = setup["clients"].as_array().unwrap().iter().find(|client| client["id"] == "cursor").unwrap();
    let texts: Vec<&str> =
        cursor["blocks"].as_array().unwrap().iter().filter_map(|block| block["text"].as_str()).collect();
    assert_eq!(texts, [format!("{gateway}/v1").as_str(), "mock/claude-sonnet-4-5"]);
}
