//! The guardrails of an answer, whole or in a stream.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tollgate_interaction::{GuardPhase, Operation, Payload};
use tollgate_policy::guard::redact::Vault;
use tollgate_policy::guard::rule::Session;
use tollgate_provider::RequestHead;
use tollgate_provider::dialect::Endpoint;
use tollgate_provider::texts::{self, Kind};
use tollgate_provider::translate::{AnswerStream, Asked, EditEvents, StreamTranslator};

use super::service::{self, Asker, Said};
use super::stream::Editor;
use super::{State, Watch, at_length, failed, microseconds, refusal};
use crate::call::Call;
use crate::error::CallError;

/// How an answer has to be treated.
pub(crate) enum Answer {
    /// No guardrail cares.
    Untouched,
    /// It is changed on its way.
    Edited(Box<dyn EditEvents>),
    /// It waits for its end, since it may yet be blocked for what it says as a whole.
    Held(Box<dyn EditEvents>),
}

/// Finds the guardrails of an answer that has begun, and says how its stream is to be treated.
///
/// # Errors
/// [`CallError::Denied`] if they cannot be told, or cannot be applied to such an answer and do not let it pass.
pub(crate) fn begin(call: &mut Call, head: &RequestHead, is_stream: bool) -> Result<Answer, CallError> {
    let (Some(watch), Some(target)) = (&call.guard, &call.target) else { return Ok(Answer::Untouched) };
    let (state, bundle) = (Arc::clone(&watch.state), Arc::clone(&watch.bundle));
    let session = match super::input::session(call, &bundle, head.into(), GuardPhase::Output, target) {
        Ok(session) => session,
        Err(failure) => return Err(failed(call, failure)),
    };
    let holds = session
        .as_ref()
        .is_some_and(|session| session.rules().iter().any(|rule| rule.holds_streams() || !rule.services.is_empty()));
    state.lock().answer = session;
    if !call.is_guarded() {
        return Ok(Answer::Untouched);
    }
    match reading(call, is_stream) {
        Reading::Text => {}
        Reading::Nothing => {
            state.lock().answer = None;
            return Ok(Answer::Untouched);
        }
        Reading::NoWords => {
            let mut state = state.lock();
            state
                .answer
                .iter_mut()
                .for_each(|session| session.note_passed("an answer that is no text is not looked into"));
            drop(state);
            return leave(call);
        }
        Reading::Closed => {
            let mut state = state.lock();
            state.answer.iter_mut().for_each(|session| session.note_unread("such an answer cannot be looked into"));
            drop(state);
            return leave(call);
        }
    }
    if !is_stream {
        return Ok(Answer::Untouched);
    }
    let editor = Box::new(Editor::new(state, true));
    Ok(if holds { Answer::Held(editor) } else { Answer::Edited(editor) })
}

/// What guardrails can make of an answer.
enum Reading {
    /// They read it.
    Text,
    /// It says nothing that the caller has not said.
    Nothing,
    /// It is a picture or a sound.
    NoWords,
    /// It holds words, and they cannot be read as they come.
    Closed,
}

fn reading(call: &Call, is_stream: bool) -> Reading {
    match call.record.operation {
        Operation::Chat => Reading::Text,
        Operation::Completions | Operation::Transcription | Operation::Translation if !is_stream && !call.is_opaque => {
            Reading::Text
        }
        Operation::Files | Operation::Batches if !call.is_opaque => Reading::Nothing,
        Operation::Embeddings
        | Operation::Models
        | Operation::CountTokens
        | Operation::Moderations
        | Operation::Rerank => Reading::Nothing,
        Operation::Images | Operation::Speech => Reading::NoWords,
        _ => Reading::Closed,
    }
}

/// Lets an answer pass as it is, unless a guardrail does not let it.
fn leave(call: &mut Call) -> Result<Answer, CallError> {
    if let Some(watch) = &mut call.guard {
        watch.is_logged_clean = true;
    }
    call.blocked_answer().map_or(Ok(Answer::Untouched), Err)
}

impl Call {
    /// Whether the answer has to be read before it goes out: guardrails apply to it, or values have to come back in it.
    pub(crate) fn is_guarded(&self) -> bool {
        self.guard.as_ref().is_some_and(|watch| {
            let state = watch.state.lock();
            state.answer.is_some() || !state.vault.is_empty()
        })
    }

    /// Whether what was replaced in the request comes back in the answer.
    pub(crate) fn has_values_to_restore(&self) -> bool {
        self.guard.as_ref().is_some_and(|watch| !watch.state.lock().vault.is_empty())
    }

    /// Why the answer ends here, if a guardrail has blocked it.
    pub(crate) fn blocked_answer(&mut self) -> Option<CallError> {
        let state = Arc::clone(&self.guard.as_ref()?.state);
        let state = state.lock();
        refusal(self, state.answer.as_ref()?)
    }
}

/// Looks at a whole answer in the provider's format and returns it as the guardrails leave it: for the log, and, translated
/// and with its values back, for the caller.
///
/// # Errors
/// [`CallError::Denied`] if a guardrail blocks it.
pub(crate) async fn answer(call: &mut Call, received: Bytes) -> Result<Bytes, CallError> {
    let Some(watch) = call.guard.as_mut() else { return Ok(received) };
    watch.is_logged_clean = true;
    let state = Arc::clone(&watch.state);
    let (dialect, operation) = (call.spoken, call.record.operation);
    let (changed, said, asked) = {
        let mut state = state.lock();
        let State { vault, answer, .. } = &mut *state;
        let Some(session) = answer else { return Ok(received) };
        let search = || inspected(session, vault, dialect, operation, &received);
        let (changed, said) = at_length(received.len(), search);
        (changed, said, session.rules().iter().any(|rule| !rule.services.is_empty()))
    };
    if asked {
        consult(Asker::of(call), &state, said).await;
    }
    match call.blocked_answer() {
        Some(error) => Err(error),
        None => Ok(changed),
    }
}

/// Asks the services of the answer's guardrails.
async fn consult(asker: Asker, state: &Arc<Mutex<State>>, said: Vec<Said>) {
    // Not held while they are asked.
    let Some(mut session) = state.lock().answer.take() else { return };
    if session.blocked_by().is_none() {
        let texts: Vec<&Said> = said.iter().collect();
        service::ask_all(&asker, &mut session, &texts).await;
    }
    state.lock().answer = Some(session);
}

fn inspected(
    session: &mut Session,
    vault: &mut Vault,
    dialect: tollgate_interaction::Dialect,
    operation: Operation,
    received: &Bytes,
) -> (Bytes, Vec<Said>) {
    let Some(slots) = texts::of_answer(dialect, operation, received) else { return (received.clone(), Vec::new()) };
    let (mut changes, mut said): (Vec<(Range<usize>, String)>, Vec<Said>) = (Vec::new(), Vec::new());
    for slot in slots {
        let changed = match slot.kind {
            Kind::Text => session.inspect(&slot.text, vault),
            Kind::Arguments => session.inspect_json(&slot.text, vault),
            Kind::Thinking => session.inspect_places(&slot.text, vault),
        };
        if slot.kind == Kind::Text {
            let text = changed.clone().unwrap_or_else(|| slot.text.into_owned());
            said.push(Said { role: "assistant", text, is_tool_result: false });
        }
        changes.extend(changed.map(|text| (slot.at, text)));
    }
    if changes.is_empty() {
        return (received.clone(), said);
    }
    let changed = texts::replaced(received, &changes);
    let doubled = texts::logprobs(&changed);
    (texts::nulled(&changed, &doubled), said)
}

/// An answer in the caller's format with the values back that were replaced in the request.
pub(crate) fn restored(call: &Call, body: Bytes) -> Bytes {
    let Some(watch) = &call.guard else { return body };
    let state = watch.state.lock();
    if state.vault.is_empty() {
        return body;
    }
    let Some(slots) = texts::of_answer(call.dialect, call.record.operation, &body) else { return body };
    let changes: Vec<_> = slots
        .into_iter()
        .filter_map(|slot| {
            let text = match slot.kind {
                Kind::Arguments => state.vault.restore_json(&slot.text),
                Kind::Text | Kind::Thinking => state.vault.restore(&slot.text),
            };
            (text != slot.text).then_some((slot.at, text))
        })
        .collect();
    if changes.is_empty() { body } else { texts::replaced(&body, &changes) }
}

/// A stream that was held to its end: what the caller gets of it.
///
/// # Errors
/// [`CallError::Denied`] if a guardrail blocks it.
pub(crate) async fn held(
    call: &mut Call,
    endpoint: &Endpoint,
    asked: Asked,
    editor: Box<dyn EditEvents>,
    received: &Bytes,
) -> Result<Bytes, CallError> {
    let mut stream = AnswerStream::edited(endpoint, call.spoken, asked, editor);
    let out = [stream.push(received), stream.finish()].concat();
    let Some(watch) = &call.guard else { return Ok(out.into()) };
    let state = Arc::clone(&watch.state);
    let said = std::mem::take(&mut state.lock().said);
    consult(Asker::of(call), &state, said).await;
    match call.blocked_answer() {
        Some(error) => Err(error),
        None => Ok(out.into()),
    }
}

/// Takes out of a recorded answer what guardrails redact or block. What was recorded is the provider's, as it came.
pub(super) fn clean(call: &Call, watch: &Watch, response: &mut Payload) {
    let Some(rules) = watch.state.lock().answer.as_ref().map(|session| session.rules().to_vec()) else { return };
    if watch.is_logged_clean || response.body.is_empty() || !call.has_answer_head {
        return;
    }
    let again = State { answer: Some(Session::new(rules, microseconds)), ..State::default() };
    let is_json = response.body.first().is_some_and(|first| matches!(first, b'{' | b'['));
    if is_json && let State { vault, answer: Some(mut session), .. } = again {
        let mut vault = vault;
        response.body = inspected(&mut session, &mut vault, call.spoken, call.record.operation, &response.body).0;
        return;
    }
    // A stream, in the format it came in. What blocks is left out of it, with what follows.
    let editor = Editor::new(Arc::new(Mutex::new(again)), false);
    let asked = Asked { include_usage: true, events: true, ..Asked::default() };
    let mut stream = StreamTranslator::new(call.spoken, call.spoken, asked).edited_by(Box::new(editor));
    response.body = [stream.push(&response.body), stream.finish()].concat().into();
}
