//! A policy bundle: one YAML text with access rules, budgets, limits and the tests that show what they mean. Loading refuses
//! whatever it does not fully understand, with line, column and the name that was probably meant; nothing is ignored.
//! The bundle's hash is SHA-256 over the exact text, so that a row in the log leads to the very words that decided.

use std::fmt;
use std::sync::Arc;

use cel::Env;
use sha2::{Digest, Sha256};

use crate::allowance::Allowance;
use crate::control::hash_text;
use crate::guard::rule::GuardRule;
use crate::ledger::Tally;

mod about;
mod access;
mod budgets;
mod compile;
mod data_classes;
mod decimal;
mod diff;
mod error;
mod glob;
mod guardrails;
mod limits;
mod mentions;
mod residency;
mod review;
mod routes;
mod schema;
mod source;
mod vector;

pub use about::version_of;
pub(crate) use access::{AccessRule, Effect};
pub(crate) use budgets::{Step, Uncertain, Wall};
pub(crate) use data_classes::{DataClass, LABEL as DATA_CLASS_LABEL};
pub use diff::{Change, ChangeKind, Detail, diff};
pub use error::BundleError;
pub use glob::ModelPattern;
pub use guardrails::GuardFailure;
pub use mentions::{Mention, Naming};
pub(crate) use residency::{ResidencyEffect, ResidencyRule};
pub(crate) use schema::Fraction;
pub use schema::json_schema;
pub use vector::{TestResult, run_tests};

/// The bundle that is active until another is put in its place.
pub const DEFAULT_YAML: &str = include_str!("../../../policies/default.yaml");

/// The parts of a bundle, in the order they are usually written and shown.
pub const SECTIONS: [&str; 12] = [
    "apiVersion",
    "bundle",
    "on_error",
    "data_classes",
    "access",
    "residency",
    "guardrails",
    "limits",
    "budgets",
    "routes",
    "experiments",
    "tests",
];

/// Longest bundle that is accepted, in bytes.
pub const MAX_BYTES: usize = 1_000_000;

/// A bundle, checked and compiled.
pub struct Bundle {
    /// SHA-256 of the YAML text, hexadecimal.
    pub hash: String,
    /// What its authors call it.
    pub name: String,
    /// Their version of it, if they number it.
    pub version: Option<String>,
    pub(crate) review_by: Option<review::ReviewBy>,
    /// See [`Bundle::remarks`].
    pub(crate) remarks: Vec<BundleError>,
    pub(crate) mentions: Vec<Mention>,
    /// From the most sensitive to the least.
    pub(crate) data_classes: Vec<DataClass>,
    pub(crate) access: Vec<AccessRule>,
    pub(crate) residency: Vec<ResidencyRule>,
    pub(crate) guardrails: Vec<Arc<GuardRule>>,
    /// What the allowances add up, each once.
    pub(crate) tallies: Arc<[Tally]>,
    /// Budgets and limits, as they are written.
    pub(crate) allowances: Vec<Allowance>,
    pub(crate) routes: Vec<crate::route::Route>,
    pub(crate) experiments: Vec<crate::route::Experiment>,
    pub(crate) tests: Vec<vector::TestVector>,
    /// Whether a condition may ask what guardrails found.
    pub(crate) asks_guards: bool,
    /// Functions and operators of conditions: built once, since that costs more than a decision.
    pub(crate) env: Arc<Env>,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle").field("name", &self.name).field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl Bundle {
    /// Whether a condition may ask what guardrails found: only then does a decision depend on it.
    #[must_use]
    pub fn asks_guards(&self) -> bool {
        self.asks_guards
    }
}

/// Reads, checks and compiles a bundle. Its own tests are not run: see [`run_tests`].
///
/// # Errors
/// [`BundleError`] with line and column at the first thing that is wrong.
pub fn load(yaml: &str) -> Result<Bundle, BundleError> {
    if yaml.len() > MAX_BYTES {
        let message = format!("the bundle has {} bytes; the limit is {MAX_BYTES}", yaml.len());
        return Err(BundleError::at_start(message));
    }
    let source = source::parse(yaml)?;
    let env = Arc::new(Env::stdlib().with_optional_support(false));
    compile::compile(yaml, source, env)
}

/// The built-in bundle, [`DEFAULT_YAML`].
///
/// # Errors
/// Never, as long as this crate's tests pass.
pub fn builtin_default() -> Result<Bundle, BundleError> {
    load(DEFAULT_YAML)
}

/// SHA-256 over the exact text, hexadecimal.
pub(crate) fn hash_of(yaml: &str) -> String {
    hash_text(&Sha256::digest(yaml.as_bytes()).into())
}

#[cfg(test)]
mod tests;
