//! The guardrails of a request: on everything in it, and on the results of tools in it.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tollgate_interaction::{GuardPhase, Operation};
use tollgate_policy::control::Principal;
use tollgate_policy::guard::KnownSecrets;
use tollgate_policy::guard::redact::Vault;
use tollgate_policy::guard::rule::{Adviser, Session};
use tollgate_policy::residency::{Places, TargetFacts};
use tollgate_policy::route::Offer as _;
use tollgate_policy::{Bundle, Facts};
use tollgate_provider::RequestHead;
use tollgate_provider::texts::{self, Kind, Slot};

use super::service::{self, Asker, Said};
use super::{State, Watch, at_length, failed, microseconds, note, refusal};
use crate::admission::{Asked, request_facts};
use crate::call::Call;
use crate::error::CallError;
use crate::route::{Course, Target};

/// Looks at the texts of a request and returns its body as it goes on from here, which is also how it is logged. What blocks
/// the call is noted, and said in [`consult`]: whoever may not make the call at all is told that first.
pub(crate) fn input(
    call: &mut Call,
    bundle: &Arc<Bundle>,
    principal: &Principal,
    asked: Asked<'_>,
    course: Option<&Course>,
    body: Bytes,
) -> Bytes {
    if !GuardPhase::ALL.iter().any(|phase| bundle.has_guardrails(*phase)) {
        return body;
    }
    let mut watch = Watch {
        bundle: Arc::clone(bundle),
        state: Arc::new(Mutex::new(State::default())),
        before: Vec::new(),
        texts: Vec::new(),
        failure: None,
        is_logged_clean: false,
    };
    let nowhere = Places::default();
    let anywhere = TargetFacts { provider: "", model: "", tags: &[], places: &nowhere, self_hosted: false };
    let audience = course.into_iter().flat_map(Course::audience);
    let mut facing: Vec<TargetFacts<'_>> = audience.map(|target| target.facts()).collect();
    if facing.is_empty() {
        facing.push(anywhere);
    }
    for phase in [GuardPhase::Input, GuardPhase::ToolResult] {
        match bundle.guardrails(phase, &facts(call, bundle, principal, asked), &facing) {
            Ok(rules) if rules.is_empty() => {}
            Ok(rules) => watch.before.push(Session::new(rules, microseconds)),
            Err(failure) => watch.failure = Some(failure),
        }
    }
    let changed = at_length(body.len(), || look(&mut watch, &body));
    for session in &watch.before {
        note(call, session);
    }
    call.guard = Some(Box::new(watch));
    let Some(changed) = changed else { return body };
    // What the log may not hold anyway has been counted.
    call.request.body = KnownSecrets.redact(&changed).map_or_else(|| changed.clone(), |(body, _)| body.into());
    changed
}

/// What is known of the call so far.
fn facts<'a>(call: &'a Call, bundle: &'a Bundle, principal: &'a Principal, asked: Asked<'a>) -> Facts<'a> {
    request_facts(bundle, &call.record, principal, asked, call.record.started_at_us)
}

/// The guardrails of `phase` that apply to a call at these targets.
pub(super) fn session(
    call: &Call,
    bundle: &Bundle,
    asked: Asked<'_>,
    phase: GuardPhase,
    target: &Target,
) -> Result<Option<Session>, tollgate_policy::bundle::GuardFailure> {
    let Some(principal) = &call.principal else { return Ok(None) };
    let rules = bundle.guardrails(phase, &facts(call, bundle, principal, asked), &[target.facts()])?;
    Ok((!rules.is_empty()).then(|| Session::new(rules, microseconds)))
}

/// Ids of the guardrails that apply to what `target` answers a call; `None` if that cannot be told.
pub(crate) fn answer_rules(call: &Call, bundle: &Bundle, head: &RequestHead, target: &Target) -> Option<Vec<String>> {
    let facts = facts(call, bundle, call.principal.as_ref()?, head.into());
    let rules = bundle.guardrails(GuardPhase::Output, &facts, &[target.facts()]).ok()?;
    Some(rules.iter().map(|rule| rule.id.clone()).collect())
}

/// The body as it should be; `None` if nothing changes.
fn look(watch: &mut Watch, body: &Bytes) -> Option<Bytes> {
    if watch.before.is_empty() || body.is_empty() {
        return None;
    }
    let Some(slots) = texts::of_request(body) else {
        let why = "the body is not JSON, and cannot be looked into";
        watch.before.iter_mut().for_each(|session| session.note_unread(why));
        return None;
    };
    let asks_services = watch.before.iter().any(|session| session.rules().iter().any(|rule| !rule.services.is_empty()));
    let mut state = watch.state.lock();
    let mut changes = Vec::new();
    for slot in slots {
        let mut text: Option<String> = None;
        for session in &mut watch.before {
            let phase = session.rules().first().map(|rule| rule.phase);
            if phase == Some(GuardPhase::ToolResult) && !slot.is_tool_result {
                continue;
            }
            let now = text.as_deref().unwrap_or(&slot.text);
            text = inspect(session, &mut state.vault, &slot, now).or(text);
        }
        if asks_services {
            let text = text.clone().unwrap_or_else(|| slot.text.clone().into_owned());
            watch.texts.push(Said { role: role_of(&slot), text, is_tool_result: slot.is_tool_result });
        }
        changes.extend(text.map(|text| (slot.at, text)));
    }
    (!changes.is_empty()).then(|| texts::replaced(body, &changes))
}

fn role_of(slot: &Slot<'_>) -> &'static str {
    match (slot.is_system, slot.is_tool_result) {
        (true, _) => "system",
        (false, true) => "tool",
        (false, false) => "conversation",
    }
}

fn inspect(session: &mut Session, vault: &mut Vault, slot: &Slot<'_>, text: &str) -> Option<String> {
    match slot.kind {
        Kind::Arguments => session.inspect_json(text, vault),
        // Whoever builds an application may tell its model what it may not be told by others.
        Kind::Text if !slot.is_system => session.inspect(text, vault),
        Kind::Text | Kind::Thinking => session.inspect_places(text, vault),
    }
}

/// Asks the services of the request's guardrails, and says whether the call may go on.
///
/// # Errors
/// [`CallError::Denied`] if a guardrail blocks it, or cannot be evaluated and does not let such calls pass.
pub(crate) async fn consult(call: &mut Call) -> Result<(), CallError> {
    let Some(mut watch) = call.guard.take() else { return Ok(()) };
    if let Some(failure) = watch.failure.take() {
        call.guard = Some(watch);
        return Err(failed(call, failure));
    }
    let asker = Asker::of(call);
    let mut refused = None;
    for session in &mut watch.before {
        let before = session.verdicts().len();
        let is_tools = session.rules().first().is_some_and(|rule| rule.phase == GuardPhase::ToolResult);
        let texts: Vec<&Said> = watch.texts.iter().filter(|said| !is_tools || said.is_tool_result).collect();
        if session.blocked_by().is_none() && service::ask_all(&asker, session, &texts).await {
            // Their verdicts stand in the row as not yet asked.
            let told = session.verdicts();
            replace_verdicts(call, &told, before);
        }
        refused = refused.or_else(|| refusal(call, session));
    }
    watch.texts.clear();
    call.guard = Some(watch);
    refused.map_or(Ok(()), Err)
}

fn replace_verdicts(call: &mut Call, told: &[tollgate_interaction::GuardVerdict], count: usize) {
    debug_assert_eq!(told.len(), count);
    for verdict in told.iter().filter(|verdict| Adviser::NAMES.contains(&verdict.guard.as_str())) {
        let is_it = |known: &&mut tollgate_interaction::GuardVerdict| {
            known.guard == verdict.guard && known.rule == verdict.rule && known.phase == verdict.phase
        };
        if let Some(known) = call.record.guards.iter_mut().find(is_it) {
            known.clone_from(verdict);
        }
    }
}

/// Takes what guardrails find out of the body of a request that cannot be read as a call, which is refused and logged.
pub(crate) fn unreadable(call: &mut Call, bundle: &Arc<Bundle>, principal: &Principal) {
    let body = call.request.body.clone();
    let changed = input(call, bundle, principal, Asked::default(), None, body.clone());
    if changed == body
        && let Some(watch) = &mut call.guard
        && let Ok(text) = std::str::from_utf8(&body)
    {
        // Not JSON: as plain text, for the log alone.
        let mut state = watch.state.lock();
        let State { vault, .. } = &mut *state;
        let redacted = watch.before.iter_mut().find_map(|session| session.inspect_places(text, vault));
        drop(state);
        if let Some(redacted) = redacted {
            call.request.body = redacted.into();
        }
    }
}

/// Refuses a conversation over a WebSocket that guardrails would have to look into and cannot.
///
/// # Errors
/// [`CallError::Denied`], unless each of those guardrails lets such calls pass.
pub(crate) fn conversation(
    call: &mut Call,
    bundle: &Arc<Bundle>,
    principal: &Principal,
    head: &RequestHead,
    course: &Course,
) -> Result<(), CallError> {
    debug_assert_eq!(call.record.operation, Operation::Realtime);
    let facing: Vec<TargetFacts<'_>> = course.audience().map(|target| target.facts()).collect();
    for phase in GuardPhase::ALL.iter().copied() {
        let rules = match bundle.guardrails(phase, &facts(call, bundle, principal, head.into()), &facing) {
            Ok(rules) => rules,
            Err(failure) => return Err(failed(call, failure)),
        };
        let mut session = Session::new(rules, microseconds);
        session.note_unread("what is said over a WebSocket is not looked into");
        note(call, &session);
        if let Some(error) = refusal(call, &session) {
            return Err(error);
        }
    }
    Ok(())
}
