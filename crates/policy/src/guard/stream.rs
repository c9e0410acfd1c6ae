//! Guardrails on a text that comes in pieces. What is not decided yet is held back; what is decided goes out redacted, or not
//! at all if it is blocked. The text that went out, put together, is the text redacted as a whole, however it was cut.

use super::redact::Vault;
use super::rule::{Hit, Session};
use super::{LEFT_CONTEXT, floor_char};
use tollgate_interaction::GuardAction;

/// Let go of what has been dealt with only when it is worth a copy.
const TRIM_BYTES: usize = 512;

/// One text of a stream: what one part of one answer says.
#[derive(Debug, Default)]
pub struct Channel {
    /// The text from a little before `decided` on.
    buffer: String,
    /// Whatever starts before is dealt with.
    decided: usize,
    /// What is before has gone out, or something in its place.
    written: usize,
    /// For each rule, where its last hit ended.
    ends: Vec<usize>,
    /// All of the text, if a rule judges it as a whole.
    whole: Option<String>,
}

impl Channel {
    /// A text under the rules of `session`.
    #[must_use]
    pub fn new(session: &Session) -> Channel {
        let judges = session.rules().iter().any(|rule| rule.judges());
        Channel { ends: vec![0; session.rules().len()], whole: judges.then(String::new), ..Channel::default() }
    }

    /// The same for a text that nobody says, such as thoughts: it is not judged as a whole.
    #[must_use]
    pub fn of_places(session: &Session) -> Channel {
        Channel { ends: vec![0; session.rules().len()], ..Channel::default() }
    }

    /// Reads a piece and returns what may go out now. Nothing goes out once the session has blocked the call.
    pub fn push(&mut self, session: &mut Session, vault: &mut Vault, piece: &str) -> String {
        if session.blocked_by().is_some() {
            return String::new();
        }
        self.buffer.push_str(piece);
        if let Some(whole) = &mut self.whole {
            whole.push_str(piece);
        }
        let undecided = session.undecided_from(&self.buffer);
        self.advance(session, vault, undecided)
    }

    /// Returns what is left when the text has ended, and judges it as a whole.
    pub fn finish(&mut self, session: &mut Session, vault: &mut Vault) -> String {
        if session.blocked_by().is_some() {
            return String::new();
        }
        let out = self.advance(session, vault, self.buffer.len());
        if let Some(whole) = self.whole.take() {
            session.judge(&whole);
        }
        out
    }

    fn advance(&mut self, session: &mut Session, vault: &mut Vault, until: usize) -> String {
        let until = floor_char(&self.buffer, until);
        let mut out = String::new();
        if until <= self.decided {
            return out;
        }
        let mut hits = Vec::new();
        session.find(&self.buffer, self.decided, &mut hits);
        hits.retain(|hit| hit.finding.at.start < until);
        let hits = self.in_order(session, hits);
        for hit in &hits {
            let at = &hit.finding.at;
            if session.action_of(hit) == GuardAction::Block {
                out.push_str(self.buffer.get(self.written..at.start).unwrap_or_default());
                session.block(hit.rule);
                self.buffer.clear();
                return out;
            }
            if session.action_of(hit) == GuardAction::Redact && at.start >= self.written {
                out.push_str(&self.buffer[self.written..at.start]);
                out.push_str(&session.stand_in(hit, &self.buffer, vault));
                self.written = at.end;
            }
        }
        if until > self.written {
            out.push_str(&self.buffer[self.written..until]);
            self.written = until;
        }
        self.decided = until;
        self.trim();
        out
    }

    /// As [`Session::settle`] does for a whole text, going on where the last piece ended.
    fn in_order(&mut self, session: &mut Session, hits: Vec<Hit>) -> Vec<Hit> {
        session.settle_after(hits, &mut self.ends)
    }

    fn trim(&mut self) {
        let keep_from = floor_char(&self.buffer, self.decided.min(self.written).saturating_sub(LEFT_CONTEXT));
        if keep_from < TRIM_BYTES {
            return;
        }
        self.buffer.drain(..keep_from);
        self.decided -= keep_from;
        self.written -= keep_from;
        self.ends.iter_mut().for_each(|end| *end = end.saturating_sub(keep_from));
    }
}
