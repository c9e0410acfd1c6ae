//! What is known about one call when policy is asked: nothing here is read from anywhere, the caller fills it in.

use tollgate_interaction::{Dialect, Operation, Usd};

use crate::control::Principal;
use crate::ledger::{Account, Amounts, Reading};
use crate::scope::{Attributes, Dimension};

/// The input of one decision. Begin with [`Facts::new`] and say what else is known.
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
    /// The end user that the caller named, by the keyed hash that stands for it in the log.
    pub user_ref: Option<&'a str>,
    /// Class of the data, as [`crate::Bundle::data_class`] says; `None` if nothing classifies the call.
    pub data_class: Option<&'a str>,
    /// Tokens of the input, as far as they can be told before a provider counts them.
    pub estimated_input_tokens: Option<u64>,
    /// What the request needs of a model: `tools`, `vision`, `audio`, `documents`, `json_schema`, `reasoning`, `stream`.
    pub capabilities: &'a [String],
    /// Pieces of personal data that the guardrails found in the input, by kind; `None` if nothing looked for any.
    pub pii_counts: Option<&'a [(String, u32)]>,
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

impl<'a> Facts<'a> {
    /// A call about which nothing else is known: no stream, no labels, no spend.
    #[must_use]
    pub const fn new(
        principal: &'a Principal,
        operation: Operation,
        dialect: Dialect,
        model: &'a str,
        now_us: i64,
    ) -> Facts<'a> {
        Facts {
            principal,
            operation,
            dialect,
            model,
            stream: false,
            priority: None,
            metadata: &[],
            user_ref: None,
            data_class: None,
            estimated_input_tokens: None,
            capabilities: &[],
            pii_counts: None,
            accounts: &[],
            readings: &[],
            estimate: Amounts { usd: Usd::ZERO, tokens: 0, calls: 1 },
            signals_id: "",
            now_us,
        }
    }

    /// The caller's label of this name.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&'a str> {
        self.metadata.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
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
            Dimension::Tag(name) => self.label(name),
        }
    }
}
