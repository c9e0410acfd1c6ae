//! What is known about one call when policy is asked: nothing here is read from anywhere, the caller fills it in.

use tollgate_interaction::{Dialect, Operation, Usd};

use crate::control::Principal;
use crate::ledger::{Account, Amounts, Reading};
use crate::scope::{Attributes, Dimension};

/// The input of one decision.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Whom the key belongs to.
    pub principal: &'a Principal,
    /// What was asked for.
    pub operation: Operation,
    /// The caller's wire format.
    pub dialect: Dialect,
    /// Model as the caller wrote it: an alias, or `provider/model`.
    pub model: &'a str,
    /// Whether the caller asked for a stream.
    pub stream: bool,
    /// The caller's `priority` label, if it set one.
    pub priority: Option<&'a str>,
    /// The caller's labels (`x-tollgate-metadata`), each name once.
    pub metadata: &'a [(String, String)],
    /// The end user, by the reference that stands in the log, if the caller named one.
    pub user_ref: Option<&'a str>,
    /// The accounts of budgets and limits that the call draws on, as [`crate::Bundle::accounts`] gives them.
    pub accounts: &'a [Account],
    /// What the books say of each of them: the log, calls settled since, and the reservations of calls in flight.
    pub readings: &'a [Reading],
    /// What the call itself is likely to use up, which limits have to have room for.
    pub estimate: Amounts,
    /// Id of the signals snapshot the readings come from; empty if there is none. Only quoted in reasons.
    pub signals_id: &'a str,
    /// The time of the call. Microseconds since 1970, UTC.
    pub now_us: i64,
}

impl Attributes for Facts<'_> {
    fn value(&self, dimension: &Dimension) -> Option<&str> {
        match dimension {
            Dimension::Tenant => Some(&self.principal.tenant),
            Dimension::Project => self.principal.project.as_deref(),
            Dimension::Team => Some(&self.principal.team),
            Dimension::User => self.user_ref,
            Dimension::Key => Some(&self.principal.key_id),
            Dimension::Model => Some(self.model),
            Dimension::Tag(name) => {
                self.metadata.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
            }
        }
    }
}

/// A team's spend in the calendar month (UTC) of the call, everything included that the caller knows of: the signals
/// snapshot, calls settled since, and the reservations of calls in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spend {
    /// Since the first of the month, 00:00 UTC.
    pub month_to_date: Usd,
    /// Age of the signals snapshot underneath, in seconds.
    pub age_s: u64,
}
