//! The state of the log and of its proof, as the console shows it and `/health/ready` of the gateway depends on it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tollgate_console::integrity::{
    CheckpointLine, Integrity, IntegrityStatus, ProblemLine, VerificationView, WalLine, WitnessLine, WriterLine,
};
use tollgate_flush::flusher::FlushStatus;
use tollgate_flush::hot::HotBuffer;
use tollgate_gateway::Readiness;
use tollgate_interaction::schema::Table;
use tollgate_lake::audit::{VerifySettings, verify_store};
use tollgate_lake::policy::Policy;
use tollgate_lake::trouble::{Files, Trouble};
use tollgate_lake::witnessing::WitnessStatus;
use tollgate_lake::{Lake, ProofStatus};
use tollgate_wal::{Wal, WalStatus};

/// Reads the parts of a running node.
pub(super) struct NodeIntegrity {
    pub(super) wal: Arc<Wal>,
    pub(super) hot: Arc<HotBuffer>,
    pub(super) flush: watch::Receiver<FlushStatus>,
    pub(super) lake: Arc<Lake>,
    pub(super) proof: watch::Receiver<ProofStatus>,
    pub(super) witness_policy: Option<Policy>,
    pub(super) trouble: watch::Receiver<Trouble>,
    /// Where the write-ahead log keeps bytes that it could not read.
    pub(super) quarantine: PathBuf,
}

impl Integrity for NodeIntegrity {
    fn status(&self) -> IntegrityStatus {
        let wal = self.wal.status();
        let flush = self.flush.borrow().clone();
        let proof = self.proof.borrow().clone();
        let snapshot = self.lake.snapshot();
        let problems = self.problems(&wal);
        IntegrityStatus {
            healthy: problems.is_empty() && wal.dropped == 0,
            recording: wal.failure.is_none() && wal.no_room.is_none(),
            problems,
            writers: self.writers(wal.appended_seq),
            wal: WalLine {
                size_bytes: wal.size_bytes,
                quota_bytes: wal.quota_bytes,
                dropped: wal.dropped,
                gaps: flush.gaps.max(snapshot.files(Table::LogGaps).rows()),
                failure: wal.failure,
            },
            lake_version: snapshot.interactions.version,
            lake_rows: snapshot.interactions.rows(),
            hot_rows: self.hot.snapshot().after(&snapshot.watermarks).rows() as u64,
            last_commit_at_us: flush.last_handed_over_at_us,
            log_size: proof.size.max(snapshot.log_size),
            checkpoint: proof.checkpoint.map(|checkpoint| CheckpointLine {
                size: checkpoint.size,
                root: checkpoint.root,
                at_us: checkpoint.at_us,
            }),
            public_key: proof.public_key,
            witnesses: proof.witnesses.into_iter().map(witness).collect(),
        }
    }

    fn verify(&self) -> BoxFuture<'static, Result<VerificationView, String>> {
        let (store, key) = (self.lake.store().clone(), self.proof.borrow().public_key.clone());
        let policy = self.witness_policy.clone();
        async move {
            let begun = Instant::now();
            // A reader of its own: what this process believes is not what is to be verified.
            let settings = VerifySettings { keys: vec![key], older_checkpoint: None, policy };
            let found = verify_store(store, settings).await.map_err(|error| tollgate_flush::error_chain(&error))?;
            let line = |problem: tollgate_lake::audit::Problem| ProblemLine {
                kind: problem.kind.to_string(),
                subject: problem.subject,
                detail: problem.detail,
            };
            Ok(VerificationView {
                ok: found.ok,
                records: found.records,
                batches: found.batches,
                checkpoint_size: found.checkpoint_size,
                uncovered_batches: found.uncovered_batches,
                unproven_records: found.unproven_records,
                payloads: found.payloads,
                payloads_missing: found.payloads_missing,
                problems: found.problems.into_iter().map(line).collect(),
                unlisted_problems: found.unlisted_problems,
                elapsed_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            })
        }
        .boxed()
    }
}

fn witness(status: WitnessStatus) -> WitnessLine {
    let WitnessStatus { name, cosigned_at_us, problem, .. } = status;
    WitnessLine { name, cosigned_at_us, problem }
}

impl NodeIntegrity {
    /// For `/health/ready`: the same problems as on `/integrity`. Only a log that takes no calls makes the node unready;
    /// everything else is repaired, or waits, behind the calls.
    pub(super) fn readiness(&self) -> Readiness {
        let wal = self.wal.status();
        Readiness { ready: wal.takes_calls(), problems: self.problems(&wal) }
    }

    /// What is wrong and what is being done about it, the worst first.
    fn problems(&self, wal: &WalStatus) -> Vec<String> {
        let flush = self.flush.borrow().clone();
        let trouble = self.trouble.borrow().clone();
        let proof = self.proof.borrow().clone();
        let mut problems: Vec<String> = wal.problem().into_iter().collect();
        for WitnessStatus { name, problem, .. } in proof.witnesses.iter().filter(|each| each.saw_another_history) {
            let problem = problem.as_deref().unwrap_or_default();
            problems.push(format!(
                "witness `{name}` does not know this history: {problem}. Keep the bucket as it is, and compare it with the checkpoint \
                 that the witness holds"
            ));
        }
        if flush.gaps > 0 {
            problems.push(format!(
                "{} of the write-ahead log could not be read: the numbers that are missing stand in the table `log_gaps`, the bytes \
                 are kept in `{}`, and everything else was read",
                counted(flush.gaps, "place"),
                self.quarantine.display()
            ));
        }
        if let Some(error) = flush.last_error {
            problems.push(format!(
                "rows cannot be handed over to the store: the write-ahead log keeps them and it is tried again: {error}"
            ));
        }
        if let Some(error) = trouble.error {
            problems.push(format!(
                "the table cannot be read or committed to: what was handed over stays in the inbox and it is tried again: {error}"
            ));
        }
        if trouble.rejected.count > 0 {
            problems.push(format!(
                "{} set aside from the inbox, foreign, damaged or in contradiction to what is committed: {}. Why is in the log \
                 of this process; repair and move them back, or delete them",
                counted(trouble.rejected.count as u64, "file"),
                named(&trouble.rejected)
            ));
        }
        if trouble.newer.count > 0 {
            problems.push(format!(
                "{} of a newer version waiting in the inbox until this process is upgraded: {}",
                counted(trouble.newer.count as u64, "manifest"),
                named(&trouble.newer)
            ));
        }
        if let Some(problem) = &proof.problem {
            problems.push(format!("calls are recorded and committed, but the proof needs attention: {problem}"));
        }
        problems
    }

    /// The newest epoch of every writer; this process's, which may have nothing in the lake yet, first.
    fn writers(&self, appended_seq: u64) -> Vec<WriterLine> {
        let (here, epoch) = (self.wal.writer(), self.wal.epoch());
        let snapshot = self.lake.snapshot();
        let mut newest: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for ((writer, epoch), seq) in &snapshot.watermarks {
            newest.insert(writer.as_str(), (*epoch, *seq));
        }
        let committed = newest.remove(here.as_str()).filter(|(of, _)| *of == epoch).map_or(0, |(_, seq)| seq);
        let mut writers = vec![WriterLine {
            writer: here.to_string(),
            epoch,
            committed_seq: committed,
            last_seq: Some(appended_seq),
            is_here: true,
        }];
        writers.extend(newest.into_iter().map(|(writer, (epoch, committed_seq))| WriterLine {
            writer: writer.to_owned(),
            epoch,
            committed_seq,
            last_seq: None,
            is_here: false,
        }));
        writers
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn named(files: &Files) -> String {
    let mut names: Vec<String> = files.names.iter().map(|name| format!("`{name}`")).collect();
    if files.count > files.names.len() {
        names.push(format!("and {} more", files.count - files.names.len()));
    }
    names.join(", ")
}
