//! What is missing for a reason: records of the log say that content expired or was erased.

use std::collections::HashSet;

use crate::retain::{PAYLOADS_EXPIRED, RECORDS_EXPIRED};

/// `control_events.action` of content that went, by retention or by a request for erasure.
pub(super) const PAYLOADS_GONE: [&str; 2] = [PAYLOADS_EXPIRED, "payloads.erased"];

/// What a subject such as `team=kyc day=2026-11-23` covers: everything of the parts that it leaves out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Selector {
    day: Option<String>,
    team: Option<String>,
    interaction_id: Option<String>,
}

/// The explanations that proven records give.
#[derive(Debug, Default)]
pub(super) struct Explained {
    payloads: HashSet<Selector>,
    records: HashSet<Selector>,
}

impl Explained {
    /// Takes one control event.
    pub(super) fn take(&mut self, action: &str, subject: &str) {
        let Some(selector) = Selector::parse(subject) else { return };
        if PAYLOADS_GONE.contains(&action) {
            self.payloads.insert(selector);
        } else if action == RECORDS_EXPIRED {
            self.records.insert(selector);
        }
    }

    /// Whether content may be missing.
    pub(super) fn covers_payload(&self, day: &str, team: &str, interaction_id: &str) -> bool {
        let day = || Some(day.to_owned());
        let candidates = [
            Selector { day: day(), ..Selector::default() },
            Selector { day: day(), team: Some(team.to_owned()), ..Selector::default() },
            Selector { interaction_id: Some(interaction_id.to_owned()), ..Selector::default() },
        ];
        candidates.iter().any(|candidate| self.payloads.contains(candidate))
    }

    /// Whether a call's personal fields may be missing.
    pub(super) fn covers_erasure_of(&self, interaction_id: &str) -> bool {
        self.payloads.contains(&Selector { interaction_id: Some(interaction_id.to_owned()), ..Selector::default() })
    }

    /// Whether records of this day may be missing.
    pub(super) fn covers_records_of(&self, day: &str) -> bool {
        self.records.iter().any(|selector| selector.day.as_deref() == Some(day))
    }
}

impl Selector {
    fn parse(subject: &str) -> Option<Selector> {
        let mut selector = Selector::default();
        // A team's name may have spaces: the day stands last.
        let (rest, day) = match subject.rsplit_once("day=") {
            Some((rest, day)) => (rest.trim_end(), Some(day.to_owned())),
            None => (subject, None),
        };
        selector.day = day;
        if let Some(team) = rest.strip_prefix("team=") {
            selector.team = Some(team.to_owned());
        } else if let Some(id) = rest.strip_prefix("interaction_id=") {
            selector.interaction_id = Some(id.to_owned());
        } else if !rest.is_empty() {
            return None;
        }
        (selector != Selector::default()).then_some(selector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_covers_what_it_names_and_no_more() {
        let mut explained = Explained::default();
        explained.take("payloads.expired", "team=risk and fraud day=2026-11-23");
        explained.take("payloads.erased", "interaction_id=a");
        explained.take("create_key", "day=2026-11-24");
        assert!(explained.covers_payload("2026-11-23", "risk and fraud", "x"));
        assert!(!explained.covers_payload("2026-11-23", "kyc", "x"));
        assert!(!explained.covers_payload("2026-11-24", "kyc", "x"));
        assert!(explained.covers_payload("2026-11-25", "kyc", "a"));
        explained.take("records.expired", "day=2026-01-01");
        assert!(explained.covers_records_of("2026-01-01") && !explained.covers_records_of("2026-01-02"));
    }
}
