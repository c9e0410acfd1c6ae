//! Guardrails at the gateway: which texts of a call they look at, and what becomes of the call. Detection and redaction are
//! `tollgate_policy::guard`'s, finding the texts is `tollgate_provider::texts`'; here they meet the call.
//!
//! The input is looked at before anything is decided or written down: what is redacted is neither sent nor logged. An answer
//! is looked at on its way to the caller, and the log gets it as the guardrails leave it. A call that no guardrail applies to
//! keeps its bytes.

mod classifier;
mod input;
mod output;
mod service;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeFlavor};
use tollgate_interaction::{GuardAction, GuardPhase, GuardVerdict, Payload, Reason};
use tollgate_policy::Bundle;
use tollgate_policy::bundle::GuardFailure;
use tollgate_policy::decide::code::POLICY_ERROR;
use tollgate_policy::guard::KnownSecrets;
use tollgate_policy::guard::redact::Vault;
use tollgate_policy::guard::rule::Session;

pub(crate) use input::{answer_rules, consult, conversation, input, unreadable};
pub(crate) use output::{Answer, answer, begin, held, restored};
pub(crate) use service::Adapters;

use crate::call::Call;
use crate::clock;
use crate::error::CallError;
use crate::settle;

/// Code of a call, or of an answer, that a guardrail blocks.
pub(crate) const GUARDRAIL_BLOCKED: &str = "guardrail_blocked";

/// What the guardrails of a call keep while it lasts.
#[derive(Debug)]
pub(crate) struct Watch {
    bundle: Arc<Bundle>,
    state: Arc<Mutex<State>>,
    /// Sessions of the input and of the results of tools; services have still to be asked.
    before: Vec<Session>,
    /// Texts of the request after redaction, for services.
    texts: Vec<service::Said>,
    /// A condition that could not be evaluated.
    failure: Option<GuardFailure>,
    /// Whether what is recorded of the answer has been through the guardrails already.
    is_logged_clean: bool,
}

/// What the answer's guardrails and the call share: the stream is edited where the call is not at hand.
#[derive(Debug, Default)]
struct State {
    vault: Vault,
    /// There if guardrails apply to the answer.
    answer: Option<Session>,
    /// What the answer says, for services.
    said: Vec<service::Said>,
}

impl Watch {
    /// What a copy of the call starts with: its answer is logged under the same rules.
    pub(crate) fn of_copy(&self) -> Watch {
        Watch {
            bundle: Arc::clone(&self.bundle),
            state: Arc::default(),
            before: Vec::new(),
            texts: Vec::new(),
            failure: None,
            is_logged_clean: false,
        }
    }
}

/// Microseconds since the first question, for the durations of guardrails.
fn microseconds() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    clock::elapsed_us(*START)
}

/// Bytes that are searched in less than half a millisecond, at the hundred megabytes a second that searching makes at least.
const QUICK_BYTES: usize = 48 * 1024;

/// Searches `bytes` bytes; where that takes a while, other calls of this thread go on meanwhile.
fn at_length<T>(bytes: usize, search: impl FnOnce() -> T) -> T {
    // A runtime with one thread has none to hand its work to.
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) if bytes > QUICK_BYTES => tokio::task::block_in_place(search),
        _ => search(),
    }
}

/// A body for the log, without secrets of known shape (invariant 9 of the design).
pub(crate) fn without_secrets(call: &mut Call, body: &Bytes, what: &str) -> Bytes {
    match KnownSecrets.redact(body) {
        None => body.clone(),
        Some((redacted, count)) => {
            settle::label(&mut call.record, &format!("{what}_secrets_redacted"), count.to_string());
            redacted.into()
        }
    }
}

/// Notes on the row what the guardrails of the answer found, and takes out of the answer what must not be logged.
pub(crate) fn finish(call: &mut Call, response: &mut Payload) {
    if let Some(watch) = call.guard.take() {
        output::clean(call, &watch, response);
        let mut state = watch.state.lock();
        if let Some(session) = state.answer.take() {
            note(call, &session);
        }
    }
    response.body = without_secrets(call, &response.body, "response");
}

/// Enters what a session found into the row.
fn note(call: &mut Call, session: &Session) {
    call.record.guards.extend(session.verdicts());
    let mut counts: BTreeMap<String, u32> = std::mem::take(&mut call.record.pii_counts).into_iter().collect();
    for (kind, count) in session.pii_counts() {
        *counts.entry(kind.clone()).or_insert(0) += count;
    }
    call.record.pii_counts = counts.into_iter().collect();
}

/// The refusal of a call or an answer that a session blocks, if it does, with its reason on the row.
fn refusal(call: &mut Call, session: &Session) -> Option<CallError> {
    let rule = session.blocked_by()?;
    let verdicts = session.verdicts();
    let why = verdicts.iter().find(|verdict| verdict.rule == rule.id && verdict.action == GuardAction::Block);
    let message = sentence(rule.phase, &rule.id, why);
    let reason = Reason { rule: rule.id.clone(), effect: "deny".to_owned(), detail: message.clone() };
    call.record.decision_reasons.push(reason);
    let message = format!("{message}; ask whoever maintains the gateway's policy");
    Some(CallError::Denied { code: GUARDRAIL_BLOCKED, message, retry_after: None })
}

fn sentence(phase: GuardPhase, rule: &str, why: Option<&GuardVerdict>) -> String {
    let what = match phase {
        GuardPhase::Input => "the request",
        GuardPhase::ToolResult => "the result of a tool",
        GuardPhase::Output => "the answer",
    };
    let (guard, detail) = why.map_or(("", None), |why| (why.guard.as_str(), why.detail.as_deref()));
    let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("guardrail `{rule}` blocks {what} (`{guard}`{detail})")
}

/// The refusal of a call whose guardrails could not be told.
fn failed(call: &mut Call, failure: GuardFailure) -> CallError {
    let GuardFailure { rule, message } = failure;
    call.record.decision_reasons.push(Reason { rule, effect: "deny".to_owned(), detail: message.clone() });
    let message = format!("{message}; ask whoever maintains the gateway's policy to correct it");
    CallError::Denied { code: POLICY_ERROR, message, retry_after: None }
}
