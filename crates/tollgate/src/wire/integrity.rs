//! The state of the log and of its proof, as the console shows it and `/health/ready` of the gateway depends on it.

use std::collections::BTreeMap;
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
use tollgate_lake::audit::{VerifySettings, verify};
use tollgate_lake::policy::Policy;
use tollgate_lake::witnessing::WitnessStatus;
use tollgate_lake::{Lake, Mode, ProofStatus};
use tollgate_wal::Wal;

/// Reads the parts of a running node.
pub(super) struct NodeIntegrity {
    pub(super) wal: Arc<Wal>,
    pub(super) hot: Arc<HotBuffer>,
    pub(super) flush: watch::Receiver<FlushStatus>,
    pub(super) lake: Arc<Lake>,
    pub(super) proof: watch::Receiver<ProofStatus>,
    pub(super) witness_policy: Option<Policy>,
}

impl Integrity for NodeIntegrity {
    fn status(&self) -> IntegrityStatus {
        let wal = self.wal.status();
        let flush = self.flush.borrow().clone();
        let proof = self.proof.borrow().clone();
        let snapshot = self.lake.snapshot();
        let mut problems = Vec::new();
        if let Some(failure) = &wal.failure {
            problems.push(format!(
                "The write-ahead log has failed ({failure}): calls are refused, or counted as lost if `on_full` is `fail_open`. \
                 Repair the disk and restart."
            ));
        }
        if let Some(error) = &flush.last_error {
            problems.push(format!(
                "Rows cannot be handed over to the store; the log keeps them and it is tried again: {error}"
            ));
        }
        if let Some(problem) = &proof.problem {
            problems.push(format!("Calls are recorded and committed, but the proof needs attention: {problem}"));
        }
        IntegrityStatus {
            healthy: problems.is_empty() && wal.dropped == 0,
            problems,
            writers: self.writers(wal.appended_seq),
            wal: WalLine {
                size_bytes: wal.size_bytes,
                quota_bytes: wal.quota_bytes,
                dropped: wal.dropped,
                gaps: flush.gaps,
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
            let lake = Lake::open(store, Mode::ReadOnly).await.map_err(|error| tollgate_flush::error_chain(&error))?;
            let settings = VerifySettings { keys: vec![key], older_checkpoint: None, policy };
            let found = verify(lake, settings).await.map_err(|error| tollgate_flush::error_chain(&error))?;
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
    let WitnessStatus { name, cosigned_at_us, problem } = status;
    WitnessLine { name, cosigned_at_us, problem }
}

impl NodeIntegrity {
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
