//! Guardrails tried again on what was said: on the texts of some calls, since texts are long and kept for weeks only. Which
//! calls is decided by their ids alone, so that the same are taken every time. The texts are those of the log: what guardrails
//! took out then is not there to be found again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::{Array, AsArray, RecordBatch};
use futures::StreamExt as _;
use tollgate_interaction::{GuardAction, GuardOutcome, GuardPhase};
use tollgate_policy::Facts;
use tollgate_policy::guard::redact::Vault;
use tollgate_policy::guard::rule::Session;
use tollgate_policy::residency::{Places, TargetFacts};
use tollgate_policy::route::Offer as _;

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
    let mut counts: BTreeMap<(String, usize), (u64, u64)> = BTreeMap::new();
    let mut batches = reading.stream(REPORT, &sql::of_calls(&replay.trial, &ids));
    while let Some(batch) = batches.next().await {
        let rows = Rows::of(&batch?)?;
        let mut scratch = Scratch::new(&replay.trial);
        for row in (0..rows.count).map(|at| rows.row(at)) {
            let Some(said) = said.remove(row.id()).filter(|said| !said.is_empty()) else { continue };
            let did = row.guard_hits().filter_map(|(rule, action)| Some((rule.to_owned(), place(action)?))).collect();
            let Some(would) = replay.look(&row, &mut scratch, &said) else {
                found.failed += 1;
                continue;
            };
            found.looked_at += 1;
            count(&mut found, &mut counts, &did, &would);
        }
    }
    found.without_texts = found.chosen.saturating_sub(found.looked_at + found.failed);
    let named = |((rule, place), (before, after)): ((String, usize), (u64, u64))| GuardCount {
        rule,
        action: ACTIONS[place].as_str().to_owned(),
        before,
        after,
    };
    found.rules = counts.into_iter().map(named).collect();
    found.asks_services = replay.trial.bundle.asks_guard_services();
    Ok(found)
}

fn count(found: &mut GuardReplay, counts: &mut BTreeMap<(String, usize), (u64, u64)>, did: &Hits, would: &Hits) {
    for hit in did {
        counts.entry(hit.clone()).or_default().0 += 1;
    }
    for hit in would {
        counts.entry(hit.clone()).or_default().1 += 1;
    }
    let does = |hits: &Hits, action: usize| hits.iter().any(|(_, place)| *place == action);
    let (redact, block) = (1, 2);
    found.blocked_before += u64::from(does(did, block));
    found.blocked_after += u64::from(does(would, block));
    found.redacted_before += u64::from(does(did, redact));
    found.redacted_after += u64::from(does(would, redact));
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
