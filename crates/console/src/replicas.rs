//! Other gateways of this installation, as far as this process serves them: slices of budgets, and what they report of themselves.

use serde::{Deserialize, Serialize};
use tollgate_policy::ledger::lease::{LeaseAnswer, LeaseRequest};

/// What a sidecar says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SidecarReport {
    /// Position of its log: `writer/epoch`.
    pub position: String,
    /// Hash of the bundle that it decides by.
    pub bundle: String,
    /// Why it does not decide by the active one; `None` if it does.
    pub trouble: Option<String>,
}

/// Why nothing was lent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotLent {
    /// The gateway has to open another session.
    UnknownSession,
    /// This process lends nothing.
    Refused(String),
}

/// What this process does for other gateways.
pub trait Replicas: Send + Sync {
    /// One exchange about slices of budgets.
    ///
    /// # Errors
    /// [`NotLent`] says why there is no answer.
    fn lend(&self, request: &LeaseRequest) -> Result<LeaseAnswer, NotLent>;
    /// Notes what a sidecar says of itself.
    fn note(&self, report: SidecarReport);
}
