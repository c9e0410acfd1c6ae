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
    /// Who put it.
    pub author: String,
    /// Why, in their words.
    pub reason: String,
    /// Microseconds since 1970, UTC.
    pub created_at_us: i64,
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
