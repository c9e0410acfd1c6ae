//! Policy bundles that were put in force, and what has to hold before one is.

use serde::{Deserialize, Serialize};
use tollgate_policy::bundle::{self, Bundle};

use crate::error::MetastoreError;

/// A bundle that was put in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleRevision {
    /// The control revision it came with.
    pub revision: u64,
    /// SHA-256 of its text, hexadecimal; rows in the log name it.
    pub hash: String,
    /// What it calls itself.
    pub name: String,
    /// The version that its authors gave it, if they number it.
    #[serde(default)]
    pub version: Option<String>,
    /// Who put it.
    pub author: String,
    /// Why, in their words.
    pub reason: String,
    /// Microseconds since 1970, UTC.
    pub created_at_us: i64,
    /// The revision that it brought back; `Some(0)` for the built-in bundle, which has none. `None` if it was put for its own
    /// sake.
    #[serde(default)]
    pub restores: Option<u64>,
}

/// The event of a bundle that was put for its own sake, and of one that was brought back.
pub(crate) const ACTIVATED: &str = "bundle.activated";
pub(crate) const ROLLED_BACK: &str = "bundle.rolled_back";

/// What the event of a bundle that was brought back tells: which revision, and why.
pub(crate) fn restoring(revision: u64, reason: &str) -> String {
    format!("revision {revision}: {reason}")
}

/// The revision in such a text.
pub(crate) fn restored(detail: &str) -> Option<u64> {
    detail.strip_prefix("revision ")?.split_once(':')?.0.parse().ok()
}

/// Loads a bundle and runs its tests.
pub(crate) fn check(yaml: &str) -> Result<Bundle, MetastoreError> {
    let bundle = bundle::load(yaml).map_err(|source| MetastoreError::Bundle { source })?;
    for result in bundle::run_tests(&bundle) {
        if let Some(failure) = result.failure {
            return Err(MetastoreError::BundleTest { name: result.name, line: result.line, failure });
        }
    }
    Ok(bundle)
}
