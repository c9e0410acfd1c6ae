//! Servers under test. Each is a child process on free ports with a data directory of its own, and ends with its test.

mod client;
mod forwarder;
mod node;
mod object_store;
mod oidc;
mod python;
mod scripted;
mod server;

pub(crate) use client::{Answer, Api, chat_request};
pub(crate) use forwarder::Forwarder;
pub(crate) use node::Node;
pub(crate) use object_store::ObjectStore;
pub(crate) use oidc::{Browser, OidcProvider, Page};
pub(crate) use python::Python;
pub(crate) use scripted::Scripted;
pub(crate) use server::{Mock, Sidecar, Tollgate, Witness};

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A program of the workspace, built by `cargo xtask test` beside the tests.
pub(crate) fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap().join(name);
    assert!(path.exists(), "`{}` is missing; run the tests by `cargo xtask test`, which builds it", path.display());
    path
}

/// How many times as long as on a quiet machine a test waits before it fails: other builds may share the two processors.
const PATIENCE: u32 = 5;

/// Waits until `check` finds something, and returns it. `within` is what a quiet machine takes at most.
pub(crate) fn eventually<Found>(what: &str, within: Duration, mut check: impl FnMut() -> Option<Found>) -> Found {
    let deadline = Instant::now() + within * PATIENCE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {:?}", within * PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
