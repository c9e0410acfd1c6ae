//! The gateway on a real socket, with a real log in a temporary directory, in front of a scripted provider.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![expect(clippy::disallowed_methods, reason = "tasks of a test end with its runtime")]

mod answers;
mod bad_input;
mod budget;
mod compatible;
mod disconnect;
mod harness;
mod provider;
mod shutdown;
mod tokens;
mod translation;
mod upstream_faults;
