//! A broken configuration is refused before any port is bound, with line, column and what was meant.

use std::net::TcpListener;
use std::process::Command;

use tempfile::TempDir;

use crate::support::program;

/// Starts `serve` with a file that must be refused; returns what it said.
fn refusal(yaml: &str, bundle: Option<&str>) -> String {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("tollgate.yaml"), yaml).unwrap();
    if let Some(bundle) = bundle {
        std::fs::write(folder.path().join("bundle.yaml"), bundle).unwrap();
    }
    // Held, so that a server that binds before it reads its configuration fails with another message.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = Command::new(program("tollgate"))
        .arg("--config")
        .arg(folder.path().join("tollgate.yaml"))
        .arg("--data")
        .arg(folder.path().join("data"))
        .args(["serve", "--gateway", &taken.local_addr().unwrap().to_string(), "--console", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("listening"), "it tried to bind first: {said}");
    said
}

#[test]
fn a_mistyped_field_is_named_with_its_place_and_its_right_name() {
    let said = refusal("server:\n  gatway: 127.0.0.1:8080\n", None);
    assert!(said.contains("tollgate.yaml:line 2, column 3"), "{said}");
    assert!(said.contains("did you mean `gateway`?"), "{said}");
}

#[test]
fn a_target_without_a_provider_is_named_with_its_place() {
    let said = refusal("models:\n  assistant: {targets: [sandbx/small]}\n", None);
    assert!(said.contains("line 2") && said.contains("`sandbx`") && said.contains("`sandbox`"), "{said}");
}

#[test]
fn a_preset_that_is_none_is_named_with_its_place_and_the_nearest() {
    let said = refusal("providers:\n  fast: {preset: gorq, api_key: k}\n", None);
    assert!(said.contains("line 2, column 18") && said.contains("`gorq`"), "{said}");
    assert!(said.contains("did you mean `groq`?"), "{said}");
}

#[test]
fn yaml_that_is_none_is_refused_with_its_place() {
    let said = refusal("server: {gateway: [\n", None);
    assert!(said.contains("line "), "{said}");
}

#[test]
fn a_store_that_is_none_is_refused() {
    let said = refusal("log:\n  store: ftp://somewhere\n", None);
    assert!(said.contains("line 2") && said.contains("`ftp://somewhere`") && said.contains("s3://"), "{said}");
}

#[test]
fn a_policy_bundle_with_a_mistake_is_refused_with_its_place() {
    let bundle = "apiVersion: tollgate/v1\nbundle: {name: x}\naccess:\n  - {id: a, when: 'principal.taem == \"kyc\"', allow: {}}\n";
    let said = refusal("policies: bundle.yaml\n", Some(bundle));
    assert!(said.contains("line 4") && said.contains("principal.taem") && said.contains("principal.team"), "{said}");
}

#[test]
fn files_that_the_configuration_names_are_told_by_their_place_in_it() {
    let said = refusal("server: {}\npolicies: policies/default.yaml\n", None);
    assert!(said.contains("tollgate.yaml:line 2, column 11"), "{said}");
    assert!(said.contains("policies/default.yaml") && said.contains("built-in"), "{said}");
    let said = refusal("catalog:\n  prices: prices.yaml\n", None);
    assert!(said.contains("tollgate.yaml:line 2, column 11") && said.contains("prices.yaml"), "{said}");
    let said = refusal("catalog: {prices: bundle.yaml}\n", Some("provider: x\nmodels: [\n"));
    assert!(said.contains("`bundle.yaml`, line ") && said.contains("bundle.yaml` cannot be used"), "{said}");
}

#[test]
fn a_provider_that_cannot_work_is_refused_and_one_that_may_not_is_told() {
    let folder = TempDir::new().unwrap();
    let check = |yaml: &str| {
        std::fs::write(folder.path().join("tollgate.yaml"), yaml).unwrap();
        let mut command = Command::new(program("tollgate"));
        command.env_remove("OPENAI_API_KEY").current_dir(folder.path());
        let output = command.args(["--config", "tollgate.yaml", "config", "check"]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = check("providers:\n  openai: {}\n");
    assert_eq!(code, Some(64), "{said}");
    assert!(
        said.contains("tollgate.yaml:line 2") && said.contains("`openai`") && said.contains("OPENAI_API_KEY"),
        "{said}"
    );
    let (code, said) = check("providers:\n  mine: {dialect: openai, base_url: \"https://llm.acme.example/v1\"}\n");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("warning: tollgate.yaml:line 2") && said.contains("`llm.acme.example`"), "{said}");
    let (code, said) = check("providers:\n  mine: {dialect: openai, base_url: \"http://127.0.0.1:9/v1\"}\n");
    assert_eq!((code, said.as_str()), (Some(0), ""));
}

/// The first YAML of the README, as a reader would copy it.
fn readme_example() -> String {
    let manifest = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let text = std::fs::read_to_string(std::path::Path::new(&manifest).join("../README.md")).unwrap();
    let configure = text.split_once("\n## Configure\n").unwrap().1;
    configure.split_once("```yaml\n").unwrap().1.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_example_of_the_readme_works_as_it_stands() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("tollgate.yaml"), readme_example()).unwrap();
    let mut command = Command::new(program("tollgate"));
    command.env_clear().current_dir(folder.path());
    let output = command.args(["--config", "tollgate.yaml", "config", "check"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_missing_file_is_named() {
    let output =
        Command::new(program("tollgate")).args(["--config", "/nowhere/tollgate.yaml", "serve"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8(output.stderr).unwrap().contains("`/nowhere/tollgate.yaml`"));
}
