//! The crate graph is a decision (design section 1), not an accident: every edge between our crates is listed here,
//! and an edge that is not listed needs an architecture decision record.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Each crate with the crates of ours it may depend on.
const ALLOWED: &[(&str, &[&str])] = &[
    ("interaction", &[]),
    ("policy", &["interaction"]),
    ("provider", &["interaction"]),
    ("identity", &[]),
    ("wal", &["interaction"]),
    ("metastore", &["interaction", "policy"]),
    ("flush", &["interaction", "wal"]),
    ("lake", &["interaction", "flush"]),
    ("search", &["interaction", "flush", "lake"]),
    ("analytics", &["interaction", "policy", "flush", "lake"]),
    ("evidence", &["interaction", "lake", "analytics", "search"]),
    ("gateway", &["interaction", "policy", "provider", "wal", "identity"]),
    ("console", &["interaction", "policy", "metastore", "analytics", "search", "evidence", "identity"]),
    ("classifier", &["policy"]),
    ("config", &["interaction", "policy", "provider", "wal", "flush", "gateway", "classifier"]),
    ("sidecar", &["interaction", "policy", "provider", "wal", "flush", "gateway", "config"]),
    ("testkit", &["interaction"]),
];

/// Crates that do no I/O at all, and what they must therefore never reach.
const PURE: &[&str] = &["interaction", "policy", "provider", "identity"];
const IO: &[&str] = &["tokio", "hyper", "object_store", "sqlx", "socket2", "mio"];

/// What the proxy must never link, and the crates that make it up.
const PROXY: &[&str] = &["gateway", "sidecar", "config", "flush", "wal"];
const HEAVY: &[&str] = &["tollgate-lake", "datafusion", "tantivy", "deltalake-core", "sqlx", "tollgate-metastore"];

/// The resolved graph of normal dependencies, by package name.
struct Graph(BTreeMap<String, BTreeSet<String>>);

impl Graph {
    fn read() -> Graph {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--offline"])
            .current_dir(std::env::var("CARGO_MANIFEST_DIR").unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let names: BTreeMap<&str, &str> = metadata["packages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|package| (package["id"].as_str().unwrap(), package["name"].as_str().unwrap()))
            .collect();
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in metadata["resolve"]["nodes"].as_array().unwrap() {
            let normal = |dependency: &&Value| {
                dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null())
            };
            let dependencies = node["deps"].as_array().unwrap().iter().filter(normal);
            let found = dependencies.map(|dependency| names[dependency["pkg"].as_str().unwrap()].to_owned());
            graph.entry(names[node["id"].as_str().unwrap()].to_owned()).or_default().extend(found);
        }
        Graph(graph)
    }

    fn reachable(&self, from: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut waiting = vec![from];
        while let Some(name) = waiting.pop() {
            for dependency in &self.0[name] {
                if seen.insert(dependency.as_str()) {
                    waiting.push(dependency);
                }
            }
        }
        seen
    }
}

fn package(name: &str) -> String {
    format!("tollgate-{name}")
}

#[test]
fn every_edge_between_our_crates_is_allowed() {
    let graph = Graph::read();
    for (name, allowed) in ALLOWED {
        let allowed: BTreeSet<String> = allowed.iter().map(|name| package(name)).collect();
        let ours = graph.0[&package(name)].iter().filter(|dependency| dependency.starts_with("tollgate-"));
        let forbidden: Vec<_> = ours.filter(|dependency| !allowed.contains(*dependency)).collect();
        assert!(forbidden.is_empty(), "`{name}` must not depend on {forbidden:?}; write an ADR or move the code");
    }
}

#[test]
fn every_crate_of_the_workspace_is_listed() {
    let known: BTreeSet<String> = ALLOWED.iter().map(|(name, _)| package(name)).collect();
    let unlisted: Vec<String> = Graph::read()
        .0
        .into_keys()
        .filter(|name| {
            name.starts_with("tollgate-")
                && !["tollgate-tests", "tollgate-benches", "tollgate-criterion"].contains(&name.as_str())
        })
        .filter(|name| !known.contains(name))
        .collect();
    assert!(unlisted.is_empty(), "list the allowed edges of {unlisted:?}");
}

#[test]
fn the_pure_crates_reach_no_io() {
    let graph = Graph::read();
    for name in PURE {
        let reached = graph.reachable(&package(name));
        let forbidden: Vec<_> = IO.iter().filter(|io| reached.contains(**io)).collect();
        assert!(forbidden.is_empty(), "`{name}` reaches {forbidden:?}");
    }
}

#[test]
fn the_proxy_links_no_query_engine_and_no_database() {
    let graph = Graph::read();
    for name in PROXY {
        let reached = graph.reachable(&package(name));
        let forbidden: Vec<_> = HEAVY.iter().filter(|heavy| reached.contains(**heavy)).collect();
        assert!(forbidden.is_empty(), "`{name}` reaches {forbidden:?}");
    }
}

#[test]
fn the_query_engine_is_linked_by_analytics_alone() {
    let linking = Graph::read().0.into_iter().filter(|(_, dependencies)| dependencies.contains("datafusion"));
    let ours: Vec<String> = linking.map(|(name, _)| name).filter(|name| name.starts_with("tollgate")).collect();
    assert_eq!(ours, ["tollgate-analytics"]);
}

#[test]
fn status_codes_are_named_in_the_error_modules_alone() {
    // The sandbox and the mock play a provider: their statuses are part of what they make up. Those of a witness are the
    // protocol's.
    let exempt = [
        "gateway/src/error.rs",
        "console/src/error.rs",
        "gateway/src/sandbox.rs",
        "tollgate/src/command/mock_provider.rs",
        "tollgate/src/command/witness/status.rs",
    ];
    let crates = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../crates");
    let mut waiting = vec![crates.join("gateway/src"), crates.join("console/src"), crates.join("tollgate/src")];
    let (mut read, mut naming) = (0, Vec::new());
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let is_test = path.ends_with("tests.rs")
                || path.strip_prefix(&crates).unwrap().components().any(|part| part.as_os_str() == "tests")
                || exempt.iter().any(|exempt| path.ends_with(exempt));
            if !is_test && code.split("StatusCode::").skip(1).any(|rest| rest.starts_with(char::is_uppercase)) {
                naming.push(path);
            } else {
                read += 1;
            }
        }
    }
    assert!(read > 50, "{read} files were read");
    assert!(naming.is_empty(), "{naming:?} name status codes; an error's status is for its `error` module to say");
}
