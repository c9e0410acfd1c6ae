//! The gateway on a real socket, with a real log in a temporary directory, in front of a scripted provider.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![expect(clippy::disallowed_methods, reason = "tasks of a test end with its runtime")]

mod answers;
mod bad_input;
mod bad_requests;
mod budget;
mod cache;
mod cap;
mod classifier;
mod compatible;
mod counts;
mod disconnect;
mod encrypted;
mod feedback;
mod files;
mod golden;
mod guardrails;
mod hang_up;
mod harness;
mod invoke;
mod jwt;
mod key_limits;
mod late_error;
mod leased;
mod media;
mod operations;
mod provider;
mod provider_faults;
mod realtime;
mod residency;
mod routing;
mod shared_ledger;
mod shutdown;
mod talker;
mod tokens;
mod translation;
mod upstream_faults;
