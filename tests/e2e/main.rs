//! What Tollgate promises, tried from outside: real binaries, real sockets, a real S3 server, the official clients, a
//! real browser. `cargo xtask test` installs what this needs and says where it is in the environment.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it measured"
)]

mod audit;
mod bad_input;
mod bad_log;
mod browser;
mod budget;
mod budgets;
mod cache;
mod clients;
mod compat;
mod configuration;
mod costs;
mod feedback;
mod identity;
mod kill;
mod leases;
mod loop_around;
mod models;
mod policies;
mod policy;
mod prices;
mod rebuild;
mod setup;
mod sidecar;
mod support;
mod tenants;
mod witness;
