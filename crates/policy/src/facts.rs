//! What is known about one call when policy is asked: nothing here is read from anywhere, the caller fills it in.

use tollgate_interaction::{Dialect, Operation, Usd};

use crate::control::Principal;

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
    /// What the caller's team has spent this month; `None` if nothing is known about it. See [`Spend`].
    pub spend: Option<Spend>,
    /// Id of the signals snapshot the spend comes from; empty if there is none. Only quoted in reasons.
    pub signals_id: &'a str,
    /// The time of the call. Microseconds since 1970, UTC.
    pub now_us: i64,
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
