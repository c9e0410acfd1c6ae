//! End-to-end tests: they start the real binaries and talk to them as their users do. This library is empty; the
//! tests are in `architecture.rs` and `e2e/`.
