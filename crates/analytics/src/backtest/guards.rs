//! Guardrails tried again on what was said: on the texts of some calls, since texts are long and kept for weeks only. Which
//! calls is decided by their ids alone, so that the same are taken every time. The texts are those of the log: what guardrails
//! took out then is not there to be found again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::{Array, AsArray, RecordBatch};
use futures::StreamExt as _;
use tollgate_interaction::{GuardAction, GuardOutcome, GuardPhase};
use tollgate_policy::guard::redact::Vault;
use tollgate_policy::guard::rule::Session;
use tollgate_policy::residency::{Places, TargetFacts};
use tollgate_policy::route::Offer as _;
use tollgate_policy::{Bundle, Facts};

use super::REPORT;
use super::known::Target;
use super::replay::{Replay, Scratch};
use super::report::{GuardCount, GuardReplay};
use super::row::Row;
use super::rows::{self, Rows};
use super::sql;
use crate::error::ReportError;
use crate::view::Reading;

/// What is done about a finding, from the least to the most.
const ACTIONS: [GuardAction; 3] = [GuardAction::Flag, GuardAction::Redact, GuardAction::Block];

/// Labels of calls from whose bodies the gateway took a secret before it wrote them down.
const SECRETS_TAKEN_OUT: [&str; 2] = ["request_secrets_redacted", "response_secrets_redacted"];

/// One message: who, and what.
type Said = (String, String);

/// Rules that hit in one call, with what they do.
type Hits = BTreeSet<(String, usize)>;

/// Looks at the texts of `ids` by the guardrails of the proposed bundle.
pub(super) async fn replay(reading: &Reading, replay: &Replay, ids: Vec<String>) -> Result<GuardReplay, ReportError> {
    let mut found = GuardReplay { chosen: ids.len() as u64, ..GuardReplay::default() };
    if ids.is_empty() {
        return Ok(found);
    }
    let mut said = texts(reading, &ids).await?;
    let mut counts: BTreeMap<String, [Found; 2]> = BTreeMap::new();
    let mut batches = reading.stream(REPORT, &sql::of_calls(&replay.trial, &ids));
    while let Some(batch) = batches.next().await {
        let rows = Rows::of(&batch?)?;
        let mut scratch = Scratch::new(&replay.trial);
        for row in (0..rows.count).map(|at| rows.row(at)) {
            let Some(said) = said.remove(row.id()).filter(|said| !said.is_empty()) else { continue };
            let did: Hits =
                row.guard_hits().filter_map(|(rule, action)| Some((rule.to_owned(), place(action)?))).collect();
            if is_altered(&row, &did) {
                found.altered += 1;
                continue;
            }
            let Some(would) = replay.look(&row, &mut scratch, &said) else {
                found.failed += 1;
                continue;
            };
            found.looked_at += 1;
            count(&mut found, &mut counts, &replay.trial.bundle, (&did, &would));
        }
    }
    found.without_texts = found.chosen.saturating_sub(found.looked_at + found.failed + found.altered);
    let named = |(rule, [did, would]): (String, [Found; 2])| GuardCount {
        asks_service: replay.trial.bundle.asks_guard_service(&rule),
        rule,
        action: Found::actions(did, would),
        before: did.calls,
        after: would.calls,
    };
    found.rules = counts.into_iter().map(named).collect();
    found.asks_services = replay.trial.bundle.asks_guard_services();
    Ok(found)
}

/// Whether the texts of a call are other than those that its guardrails read: something was redacted, or a secret taken out
/// before they were written down.
fn is_altered(row: &Row<'_>, did: &Hits) -> bool {
    did.iter().any(|(_, place)| ACTIONS[*place] == GuardAction::Redact) || row.has_own_label(&SECRETS_TAKEN_OUT)
}

/// What one rule finds, then or now.
#[derive(Clone, Copy, Default)]
struct Found {
    calls: u64,
    /// The most that it does about it, by its place among [`ACTIONS`].
    does: Option<usize>,
}

impl Found {
    /// What the rule does about it, and what it would do if that is something else.
    fn actions(did: Found, would: Found) -> String {
        let word = |found: Found| found.does.map(|place| ACTIONS[place].as_str());
        match (word(did), word(would)) {
            (Some(did), Some(would)) if did != would => format!("{did} → {would}"),
            (did, would) => would.or(did).unwrap_or_default().to_owned(),
        }
    }
}

fn count(
    found: &mut GuardReplay,
    counts: &mut BTreeMap<String, [Found; 2]>,
    bundle: &Bundle,
    (did, would): (&Hits, &Hits),
) {
    for (side, hits) in [did, would].into_iter().enumerate() {
        // A rule may do several things in a call, which is one call all the same.
        let rules: BTreeMap<&str, usize> = hits.iter().map(|(rule, place)| (rule.as_str(), *place)).collect();
        for (rule, place) in rules {
            let known = &mut counts.entry(rule.to_owned()).or_default()[side];
            known.calls += 1;
            known.does = known.does.max(Some(place));
        }
    }
    // What a service found then, it is not asked again.
    let does = |hits: &Hits, action: GuardAction| {
        hits.iter().any(|(rule, place)| ACTIONS[*place] == action && !bundle.asks_guard_service(rule))
    };
    found.blocked_before += u64::from(does(did, GuardAction::Block));
    found.blocked_after += u64::from(does(would, GuardAction::Block));
    found.redacted_after += u64::from(does(would, GuardAction::Redact));
}

fn place(action: &str) -> Option<usize> {
    ACTIONS.iter().position(|known| known.as_str() == action)
}

/// What was said in each of the calls, as far as it is kept.
async fn texts(reading: &Reading, ids: &[String]) -> Result<HashMap<String, Vec<Said>>, ReportError> {
    let sql = format!("SELECT interaction_id, messages FROM payloads WHERE interaction_id IN ({})", sql::listed(ids));
    let mut batches = reading.stream(REPORT, &sql);
    let mut said = HashMap::new();
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let ids = rows::texts(&batch, "interaction_id")?;
        for (at, id) in ids.into_iter().enumerate() {
            if let Some(id) = id {
                said.insert(id, messages(&batch, at)?);
            }
        }
    }
    Ok(said)
}

fn messages(batch: &RecordBatch, at: usize) -> Result<Vec<Said>, ReportError> {
    let unusable = || ReportError::Column { report: REPORT, column: "messages".to_owned() };
    let column = batch.column_by_name("messages").ok_or_else(unusable)?;
    let list = column.as_list_opt::<i32>().ok_or_else(unusable)?;
    if list.is_null(at) {
        return Ok(Vec::new());
    }
    let turns = list.value(at);
    let turns = turns.as_struct_opt().ok_or_else(unusable)?;
    let text = |place: usize| turns.columns().get(place).and_then(|column| column.as_string_opt::<i32>());
    let (Some(roles), Some(contents)) = (text(0), text(1)) else { return Err(unusable()) };
    let turn = |place| (roles.value(place).to_owned(), contents.value(place).to_owned());
    Ok((0..turns.len()).map(turn).collect())
}

impl Replay {
    /// Rules that would hit in what was said; `None` if a condition of theirs cannot be evaluated.
    fn look(&self, row: &Row<'_>, scratch: &mut Scratch, said: &[Said]) -> Option<Hits> {
        scratch.read(row, &self.trial);
        let mut targets: Vec<Target> = Vec::new();
        for target in row.targets() {
            targets.push(scratch.known.target(target.provider, target.model));
        }
        let nowhere = Places::default();
        let mut facing: Vec<TargetFacts<'_>> = targets.iter().map(|target| target.facts()).collect();
        if facing.is_empty() {
            facing.push(TargetFacts { provider: "", model: "", tags: &[], places: &nowhere, self_hosted: false });
        }
        let Scratch { tags, capabilities, principal, .. } = scratch;
        // They look before anybody knows what they find.
        let facts = self.facts(row, tags, capabilities, &[], principal)?;
        let facts = Facts { pii_counts: None, ..facts };
        let answer = said.iter().rev().take_while(|(role, _)| role == "assistant").count();
        let (asked, answered) = said.split_at(said.len() - answer);
        let results: Vec<&Said> = asked.iter().filter(|(role, _)| role == "tool").collect();
        let mut hits = Hits::new();
        for (phase, texts, facing) in [
            (GuardPhase::Input, asked.iter().collect(), facing.as_slice()),
            (GuardPhase::ToolResult, results, facing.as_slice()),
            (GuardPhase::Output, answered.iter().collect(), &facing[..1]),
        ] {
            let texts: Vec<&Said> = texts;
            let rules = self.trial.bundle.guardrails(phase, &facts, facing).ok()?;
            if rules.is_empty() || texts.is_empty() {
                continue;
            }
            let mut session = Session::new(rules, || 0);
            let mut vault = Vault::default();
            for (role, text) in texts {
                match role.as_str() {
                    // Whoever builds an application may tell its model what it may not be told by others.
                    "system" | "developer" => session.inspect_places(text, &mut vault),
                    _ => session.inspect(text, &mut vault),
                };
            }
            let verdicts = session.verdicts().into_iter().filter(|verdict| verdict.verdict == GuardOutcome::Hit);
            hits.extend(verdicts.filter_map(|verdict| Some((verdict.rule, place(verdict.action.as_str())?))));
        }
        Some(hits)
    }
}
