//! A guardrail as a bundle has it, compiled; and what the guardrails of a phase do with the texts of one call ([`Session`]).
//! What was found and what is done about it are two things: a finding makes a hit if its score reaches the rule's threshold,
//! and the rule's action makes of the hit a flag, a redaction or a block. Both are in the verdicts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::injection::Classifier;
use super::judge::{Judge, Judgement};
use super::redact::{Vault, placeholder};
use super::{Detector, Finding, Score};
use crate::condition::Conditions;
use tollgate_interaction::{GuardAction, GuardOutcome, GuardPhase, GuardVerdict};

/// One guardrail.
#[derive(Debug)]
pub struct GuardRule {
    /// Its id in the bundle.
    pub id: String,
    /// What it looks at.
    pub phase: GuardPhase,
    pub(crate) when: Conditions,
    pub(crate) items: Vec<Item>,
    /// Services that are asked besides.
    pub services: Vec<Service>,
    /// What a hit leads to.
    pub action: GuardAction,
    /// Whether what is redacted comes back in the answer.
    pub reversible: bool,
    /// From which score on a finding is a hit.
    pub threshold: Score,
    /// What becomes of a call whose guardrail cannot be evaluated.
    pub on_error: OnError,
}

/// What becomes of a call whose guardrail failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// It is refused.
    #[default]
    Block,
    /// It goes on, and its row says that nobody looked.
    Allow,
}

/// One entry of `run`.
#[derive(Debug)]
pub(crate) struct Item {
    /// As the row names it: `pii`, `secrets`, `keywords`, `injection.heuristic`.
    pub(crate) name: String,
    pub(crate) work: Work,
}

#[derive(Debug)]
pub(crate) enum Work {
    /// Finds places.
    Find(Box<dyn Detector>),
    /// Judges the text as a whole.
    Judge(Box<dyn Judge>),
}

/// A guardrail that takes its time and may fail: the gateway asks it.
#[derive(Clone, Debug)]
pub struct Service {
    /// Who is asked.
    pub adviser: Adviser,
    /// How long it may take.
    pub timeout: Duration,
    /// What becomes of the call if it does not answer, or not as it should.
    pub on_error: OnError,
}

/// Who is asked about texts.
#[derive(Clone, Debug)]
pub enum Adviser {
    /// Somebody behind HTTP.
    Http {
        /// Where the texts are posted to.
        url: String,
    },
    /// The classifier of this process.
    Classifier(Arc<dyn Classifier>),
}

impl Adviser {
    /// Every name that rows have for one.
    pub const NAMES: [&str; 2] = ["http", "injection.onnx"];

    /// As the row names it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Adviser::Http { .. } => "http",
            Adviser::Classifier(_) => "injection.onnx",
        }
    }
}

impl GuardRule {
    pub(crate) fn judges(&self) -> bool {
        !self.services.is_empty() || self.items.iter().any(|item| matches!(item.work, Work::Judge(_)))
    }

    /// Whether a stream has to wait for its end because of this rule: it may yet be blocked for what it says as a whole.
    #[must_use]
    pub fn holds_streams(&self) -> bool {
        self.action == GuardAction::Block && self.judges()
    }

    /// Whether it finds places in a text, so that streams are read by it.
    #[must_use]
    pub fn finds(&self) -> bool {
        self.items.iter().any(|item| matches!(item.work, Work::Find(_)))
    }
}

/// What the guardrails of one phase of one call have seen so far. Texts come one after the other, in pieces or whole.
#[derive(Debug)]
pub struct Session {
    rules: Vec<Arc<GuardRule>>,
    /// By rule, then by item; services behind the items.
    tallies: Vec<Vec<Tally>>,
    pii_counts: BTreeMap<String, u32>,
    blocked_by: Option<usize>,
    /// Microseconds from any moment on.
    clock: fn() -> u64,
}

#[derive(Clone, Debug, Default)]
struct Tally {
    matches: u32,
    duration_us: u64,
    detail: Option<String>,
    is_error: bool,
    action: Option<GuardAction>,
}

/// A finding that is a hit, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub(crate) finding: Finding,
    pub(crate) rule: usize,
    item: usize,
}

impl Session {
    /// A session of `rules`, all of one phase. `clock` tells microseconds, for the durations in the verdicts.
    #[must_use]
    pub fn new(rules: Vec<Arc<GuardRule>>, clock: fn() -> u64) -> Session {
        let tallies = rules.iter().map(|rule| vec![Tally::default(); rule.items.len() + rule.services.len()]).collect();
        Session { rules, tallies, pii_counts: BTreeMap::new(), blocked_by: None, clock }
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &[Arc<GuardRule>] {
        &self.rules
    }

    /// The rule that blocks the call, if one does.
    #[must_use]
    pub fn blocked_by(&self) -> Option<&GuardRule> {
        self.blocked_by.map(|rule| self.rules[rule].as_ref())
    }

    /// How many there were of each kind of personal data or secret.
    #[must_use]
    pub fn pii_counts(&self) -> &BTreeMap<String, u32> {
        &self.pii_counts
    }

    /// Looks at a whole text and returns it as it should be read from now on; `None` if nothing in it changes. What blocks the
    /// call is redacted as well: nobody shall read it in the log.
    pub fn inspect(&mut self, text: &str, vault: &mut Vault) -> Option<String> {
        self.judge(text);
        self.inspect_places(text, vault)
    }

    /// The same without judging the text as a whole: for texts that nobody says, such as arguments and thoughts.
    pub fn inspect_places(&mut self, text: &str, vault: &mut Vault) -> Option<String> {
        let mut hits = Vec::new();
        self.find(text, 0, &mut hits);
        let hits = self.settle(hits);
        if let Some(first) = hits.iter().find(|hit| self.rules[hit.rule].action == GuardAction::Block) {
            self.block(first.rule);
        }
        let mut out = String::new();
        let mut copied = 0;
        for hit in hits.iter().filter(|hit| self.rules[hit.rule].action != GuardAction::Flag) {
            if hit.finding.at.start < copied {
                continue;
            }
            out.push_str(&text[copied..hit.finding.at.start]);
            out.push_str(&self.stand_in(hit, text, vault));
            copied = hit.finding.at.end;
        }
        (copied > 0).then(|| {
            out.push_str(&text[copied..]);
            out
        })
    }

    /// What is found in a text, in order: what reaches its rule's threshold and does not overlap an earlier finding of the rule.
    pub fn hits(&mut self, text: &str) -> Vec<Finding> {
        let mut hits = Vec::new();
        self.find(text, 0, &mut hits);
        self.settle(hits).into_iter().map(|hit| hit.finding).collect()
    }

    /// Judges a whole text, such as a stream that has ended.
    pub fn judge(&mut self, text: &str) {
        for number in 0..self.rules.len() {
            let rule = Arc::clone(&self.rules[number]);
            for (place, item) in rule.items.iter().enumerate() {
                let Work::Judge(judge) = &item.work else { continue };
                let started = (self.clock)();
                let judgement = judge.judge(text).filter(|judgement| judgement.score >= rule.threshold);
                let tally = &mut self.tallies[number][place];
                tally.duration_us += (self.clock)().saturating_sub(started);
                let Some(Judgement { detail, .. }) = judgement else { continue };
                tally.matches += 1;
                tally.detail.get_or_insert(detail);
                if rule.action == GuardAction::Block {
                    self.block(number);
                }
            }
        }
    }

    /// Notes what a service said: the number of its rule and its own among the rule's services, whether that is a hit, how long
    /// it took, and a detail without any of the text.
    pub fn note_service(
        &mut self,
        (rule, service): (usize, usize),
        is_hit: bool,
        duration_us: u64,
        detail: Option<String>,
    ) {
        let place = self.rules[rule].items.len() + service;
        let tally = &mut self.tallies[rule][place];
        tally.matches += u32::from(is_hit);
        (tally.duration_us, tally.detail) = (tally.duration_us + duration_us, detail.or(tally.detail.take()));
        if is_hit && self.rules[rule].action == GuardAction::Block {
            self.block(rule);
        }
    }

    /// Notes that a service failed, and why. Whether the call goes on is what the service's `on_error` says.
    pub fn note_failure(&mut self, (rule, service): (usize, usize), duration_us: u64, why: String) {
        let place = self.rules[rule].items.len() + service;
        let blocks = self.rules[rule].services[service].on_error == OnError::Block;
        let tally = &mut self.tallies[rule][place];
        (tally.is_error, tally.detail) = (true, Some(why));
        tally.duration_us += duration_us;
        tally.action = Some(if blocks { GuardAction::Block } else { GuardAction::None });
        if blocks {
            self.block(rule);
        }
    }

    /// Looks into JSON text: every string in it is a text. What is no JSON is looked at as it is.
    pub fn inspect_json(&mut self, text: &str, vault: &mut Vault) -> Option<String> {
        let Ok(mut value) = serde_json::from_str::<serde_json::Value>(text) else {
            return self.inspect_places(text, vault);
        };
        self.inspect_value(&mut value, vault).then(|| value.to_string())
    }

    fn inspect_value(&mut self, value: &mut serde_json::Value, vault: &mut Vault) -> bool {
        use serde_json::Value;
        match value {
            Value::String(text) => match self.inspect_places(text, vault) {
                Some(changed) => {
                    *text = changed;
                    true
                }
                None => false,
            },
            Value::Array(items) => items.iter_mut().fold(false, |any, item| self.inspect_value(item, vault) | any),
            Value::Object(fields) => {
                fields.values_mut().fold(false, |any, field| self.inspect_value(field, vault) | any)
            }
            // A card's digits may stand there as a number.
            Value::Number(number) => match self.inspect_places(&number.to_string(), vault) {
                Some(changed) => {
                    *value = Value::String(changed);
                    true
                }
                None => false,
            },
            Value::Null | Value::Bool(_) => false,
        }
    }

    /// Notes that there is a body that no guardrail can read, and why. Whether the call goes on is what each rule's `on_error`
    /// says; a rule that would only flag lets it pass.
    pub fn note_unread(&mut self, why: &str) {
        for number in 0..self.rules.len() {
            let rule = Arc::clone(&self.rules[number]);
            let blocks = rule.on_error == OnError::Block && rule.action != GuardAction::Flag;
            for tally in &mut self.tallies[number] {
                tally.is_error = true;
                tally.detail = Some(why.to_owned());
                tally.action = Some(if blocks { GuardAction::Block } else { GuardAction::None });
            }
            if blocks {
                self.block(number);
            }
        }
    }

    /// Notes that a text was not looked at, and that this stops nothing.
    pub fn note_passed(&mut self, why: &str) {
        for tally in self.tallies.iter_mut().flatten() {
            (tally.is_error, tally.detail, tally.action) = (true, Some(why.to_owned()), Some(GuardAction::None));
        }
    }

    /// What the row says: one verdict for each entry of each rule.
    #[must_use]
    pub fn verdicts(&self) -> Vec<GuardVerdict> {
        let mut verdicts = Vec::new();
        for (rule, tallies) in self.rules.iter().zip(&self.tallies) {
            let services = rule.services.iter().map(|service| service.adviser.name());
            let names = rule.items.iter().map(|item| item.name.as_str()).chain(services);
            for (name, tally) in names.zip(tallies) {
                let (verdict, action) = match (tally.is_error, tally.matches) {
                    (true, _) => (GuardOutcome::Error, tally.action.unwrap_or(GuardAction::None)),
                    (false, 0) => (GuardOutcome::Pass, GuardAction::None),
                    (false, _) => (GuardOutcome::Hit, rule.action),
                };
                verdicts.push(GuardVerdict {
                    guard: name.to_owned(),
                    rule: rule.id.clone(),
                    phase: rule.phase,
                    verdict,
                    action,
                    matches: tally.matches,
                    duration_us: tally.duration_us,
                    detail: tally.detail.clone(),
                });
            }
        }
        verdicts
    }

    pub(crate) fn block(&mut self, rule: usize) {
        self.blocked_by.get_or_insert(rule);
    }

    /// Hits of all rules in `text` that start at `from` or later.
    pub(crate) fn find(&mut self, text: &str, from: usize, hits: &mut Vec<Hit>) {
        let mut found = Vec::new();
        for (rule, GuardRule { items, threshold, .. }) in self.rules.iter().map(AsRef::as_ref).enumerate() {
            for (item, Item { work, .. }) in items.iter().enumerate() {
                let Work::Find(detector) = work else { continue };
                let started = (self.clock)();
                detector.find(text, from, &mut found);
                self.tallies[rule][item].duration_us += (self.clock)().saturating_sub(started);
                let found = found.drain(..).filter(|finding| finding.score >= *threshold);
                hits.extend(found.map(|finding| Hit { finding, rule, item }));
            }
        }
    }

    /// Puts the hits of a whole text in order, takes out those that overlap an earlier one of the same rule, and counts the
    /// rest.
    pub(crate) fn settle(&mut self, hits: Vec<Hit>) -> Vec<Hit> {
        self.settle_after(hits, &mut vec![0; self.rules.len()])
    }

    /// The same for a part of a text, where the last hit of each rule before it ended at `ends`.
    pub(crate) fn settle_after(&mut self, mut hits: Vec<Hit>, ends: &mut [usize]) -> Vec<Hit> {
        hits.sort_by_key(|hit| {
            let Finding { at, score, entity } = &hit.finding;
            let first = self.rules[hit.rule].action == GuardAction::Block;
            (at.start, !first, std::cmp::Reverse(*score), std::cmp::Reverse(at.end), hit.rule, entity.clone())
        });
        hits.retain(|hit| {
            let is_free = hit.finding.at.start >= ends[hit.rule];
            if is_free {
                ends[hit.rule] = hit.finding.at.end;
            }
            is_free
        });
        hits.iter().for_each(|hit| self.count(hit));
        self.count_kinds(&hits);
        hits
    }

    pub(crate) fn count(&mut self, hit: &Hit) {
        self.tallies[hit.rule][hit.item].matches += 1;
    }

    /// Counts kinds of personal data, one place once, however many rules found it.
    pub(crate) fn count_kinds(&mut self, hits: &[Hit]) {
        let mut seen: Vec<&Finding> = Vec::new();
        for hit in hits {
            let name = self.rules[hit.rule].items[hit.item].name.as_str();
            let is_known = seen.iter().any(|known| known.at == hit.finding.at && known.entity == hit.finding.entity);
            if matches!(name, "pii" | "secrets") && !is_known {
                *self.pii_counts.entry(hit.finding.entity.to_string()).or_insert(0) += 1;
                seen.push(&hit.finding);
            }
        }
    }

    /// What stands in the place of a hit.
    pub(crate) fn stand_in(&self, hit: &Hit, text: &str, vault: &mut Vault) -> String {
        if self.rules[hit.rule].reversible {
            return vault.keep(&hit.finding.entity, &text[hit.finding.at.clone()]);
        }
        placeholder(&hit.finding.entity)
    }

    pub(crate) fn action_of(&self, hit: &Hit) -> GuardAction {
        self.rules[hit.rule].action
    }

    /// Where a text becomes undecided for the detectors of these rules.
    pub(crate) fn undecided_from(&self, text: &str) -> usize {
        let detectors = self.rules.iter().flat_map(|rule| &rule.items).filter_map(|item| match &item.work {
            Work::Find(detector) => Some(detector.undecided_from(text)),
            Work::Judge(_) => None,
        });
        detectors.min().unwrap_or(text.len())
    }
}
