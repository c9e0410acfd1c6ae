//! What the process tells of the log's state and of its proof. The console links neither the log nor the lake.

use futures::future::BoxFuture;
use serde::Serialize;

/// Where the state of the log comes from.
pub trait Integrity: Send + Sync {
    /// How things stand.
    fn status(&self) -> IntegrityStatus;
    /// Verifies the whole lake; takes its time.
    ///
    /// # Errors
    /// Says why nothing could be verified. What is wrong with the lake is in the result.
    fn verify(&self) -> BoxFuture<'static, Result<VerificationView, String>>;
}

/// How the log stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IntegrityStatus {
    /// Whether calls are recorded, committed and proven as they should be.
    pub healthy: bool,
    /// Whether calls can be recorded at the moment; if not, they are refused, or lost if `on_full` is `fail_open`.
    pub recording: bool,
    /// What is wrong and what is being done about it; empty if nothing is.
    pub problems: Vec<String>,
    /// Everybody who has written to this lake.
    pub writers: Vec<WriterLine>,
    /// The write-ahead log of this process.
    pub wal: WalLine,
    /// Version of the `interactions` table.
    pub lake_version: u64,
    /// Its rows.
    pub lake_rows: u64,
    /// Rows that can be queried and are not in the table yet.
    pub hot_rows: u64,
    /// When this process last handed rows over. Microseconds since 1970, UTC.
    pub last_commit_at_us: Option<i64>,
    /// Batches in the proof's log.
    pub log_size: u64,
    /// The newest checkpoint.
    pub checkpoint: Option<CheckpointLine>,
    /// The log's public key: what an auditor needs.
    pub public_key: String,
    /// Witnesses that are asked to cosign, and whether they did.
    pub witnesses: Vec<WitnessLine>,
}

/// One writer and epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WriterLine {
    /// Name of the log.
    pub writer: String,
    /// Its newest epoch.
    pub epoch: u64,
    /// Last number that is in the lake.
    pub committed_seq: u64,
    /// Last number of all, if it is this process's log.
    pub last_seq: Option<u64>,
    /// Whether it is this process.
    pub is_here: bool,
}

/// The write-ahead log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WalLine {
    /// Disk space it takes.
    pub size_bytes: u64,
    /// Disk space it may take.
    pub quota_bytes: u64,
    /// Events lost because the operator lets it fail open.
    pub dropped: u64,
    /// Places that could not be read.
    pub gaps: u64,
    /// Why it takes no more events, if it has failed.
    pub failure: Option<String>,
}

/// A published checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckpointLine {
    /// Batches it covers.
    pub size: u64,
    /// Root of the tree, base64.
    pub root: String,
    /// When it was published. Microseconds since 1970, UTC.
    pub at_us: i64,
}

/// A witness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WitnessLine {
    /// Its name.
    pub name: String,
    /// When it last cosigned. Microseconds since 1970, UTC.
    pub cosigned_at_us: Option<i64>,
    /// Why it did not the last time it was asked.
    pub problem: Option<String>,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerificationView {
    /// Whether nothing contradicts the proof.
    pub ok: bool,
    /// Records looked at.
    pub records: u64,
    /// Batches of the log.
    pub batches: u64,
    /// Entries that the checkpoint covers.
    pub checkpoint_size: u64,
    /// Batches committed since.
    pub uncovered_batches: u64,
    /// Records of a version before there were proofs.
    pub unproven_records: u64,
    /// Contents looked at.
    pub payloads: u64,
    /// Calls whose content has expired or was erased.
    pub payloads_missing: u64,
    /// Contradictions.
    pub problems: Vec<ProblemLine>,
    /// Contradictions beyond those listed.
    pub unlisted_problems: u64,
    /// How long it took.
    pub elapsed_ms: u64,
}

/// One contradiction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProblemLine {
    /// Of what kind.
    pub kind: String,
    /// The record, batch, file or checkpoint concerned.
    pub subject: String,
    /// What was expected and found.
    pub detail: String,
}
