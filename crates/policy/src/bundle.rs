//! A policy bundle: one YAML text with access rules, budgets and the tests that show what they mean. Loading refuses
//! whatever it does not fully understand, with line, column and the name that was probably meant; nothing is ignored.
//! The bundle's hash is SHA-256 over the exact text, so that a row in the log leads to the very words that decided.

use std::fmt;
use std::sync::Arc;

use cel::Env;
use sha2::{Digest, Sha256};
use tollgate_interaction::Usd;

use crate::condition::Conditions;
use crate::control::hash_text;

mod compile;
mod error;
mod glob;
mod source;
mod vector;

pub use error::BundleError;
pub use glob::ModelPattern;
pub use vector::{TestResult, run_tests};

/// The bundle that is active until another is put in its place.
pub const DEFAULT_YAML: &str = include_str!("../../../policies/default.yaml");

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
    pub(crate) access: Vec<AccessRule>,
    pub(crate) budgets: Vec<Budget>,
    pub(crate) tests: Vec<vector::TestVector>,
    /// Functions and operators of conditions: built once, since that costs more than a decision.
    pub(crate) env: Arc<Env>,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle").field("name", &self.name).field("hash", &self.hash).finish_non_exhaustive()
    }
}

/// Allows or denies calls that meet its conditions.
#[derive(Debug)]
pub(crate) struct AccessRule {
    pub(crate) id: String,
    pub(crate) when: Conditions,
    pub(crate) effect: Effect,
}

/// What an access rule does.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Empty lists stand for everything.
    Allow { models: Vec<ModelPattern>, operations: Vec<tollgate_interaction::Operation> },
    /// With the text shown to the caller.
    Deny { message: String },
}

/// A limit on what one team spends in a calendar month (UTC).
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) id: String,
    /// `None` for every team that no other budget names.
    pub(crate) team: Option<String>,
    pub(crate) limit: Usd,
    /// In ascending order of `at`.
    pub(crate) steps: Vec<Step>,
    pub(crate) max_snapshot_age_s: u64,
    pub(crate) on_stale: Uncertain,
    pub(crate) on_missing: Uncertain,
}

/// What happens from a share of the limit on.
#[derive(Debug)]
pub(crate) struct Step {
    /// Share of the limit; a `Usd` for its exact twelve places: `0.80` is 0.8 × 10¹².
    pub(crate) at: Usd,
    pub(crate) action: StepAction,
}

/// See [`Step`].
#[derive(Debug)]
pub(crate) enum StepAction {
    Prefer(crate::decide::Prefer),
    DenyUnless(Conditions),
}

/// What a budget does when it cannot tell what has been spent by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uncertain {
    /// Goes by the last known figure, or stands aside if there is none.
    Allow,
    /// Prefers as if every step were reached; denies by the last known figure.
    Conservative,
    /// Acts as if every step were reached.
    Deny,
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
