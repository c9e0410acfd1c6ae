//! Slices of budgets, from the control plane that keys and policy come from.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tollgate_gateway::{LeaseError, LeaseOffice};
use tollgate_policy::ledger::lease::{LeaseAnswer, LeaseRequest};

use crate::door::{Door, DoorError};

/// The control plane as lender.
#[derive(Debug)]
pub(crate) struct Lender(pub(crate) Arc<Door>);

impl LeaseOffice for Lender {
    fn exchange(&self, request: LeaseRequest) -> Pin<Box<dyn Future<Output = Result<LeaseAnswer, LeaseError>> + Send>> {
        let door = Arc::clone(&self.0);
        Box::pin(async move {
            let failed = |error: DoorError| match error {
                DoorError::Refused { code, .. } if code == "lease_session_unknown" => LeaseError::UnknownSession,
                error => LeaseError::Failed(error.to_string()),
            };
            let body = serde_json::to_vec(&request).map_err(|error| LeaseError::Failed(error.to_string()))?;
            let answer = door.post("/api/v1/leases", body).await.map_err(failed)?;
            serde_json::from_slice(&answer).map_err(|error| LeaseError::Failed(format!("its answer is none: {error}")))
        })
    }
}
